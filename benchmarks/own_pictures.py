"""Folders of one's own pictures: `cnn-ext train` at its defaults beside a good PyTorch script.

    python benchmarks/own_pictures.py [--seeds 3] [--threads 2] [--sets NAME ...] [--count N]
        [--json FILE]

The sets are drawn (`tests/picture_sets.py`): 240 to 500 pictures to learn from, 1,000 for the test;
"photographs" are crops of five pictures of scikit-image, those for the test from other parts of
them.  The script has the same kind of network and as many epochs, batch normalisation, normalised
inputs, AdamW with one cycle, shifts by a few pixels, and the best weights by the same validation
part, the last ones if there are too few pictures to keep one.  Each run is a process of its own;
seconds are those of training.  One run of the script:

    python benchmarks/own_pictures.py torch FOLDER SEED THREADS
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from processes import output_of

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import picture_sets

COUNTS = {
    "textures": 240, "shapes": 300, "noisy": 500, "digits": 300, "faults": 240, "photographs": 240,
}  # fmt: skip
FOR_TEST = 1_000
LR, DECAY = 0.005, 0.01


def photographs(count: int, rng: np.random.Generator, part: str) -> picture_sets.Set:
    """Crops of 48 x 48 pixels from the left or the right of five pictures."""
    from skimage import data

    names = ("brick", "coins", "grass", "gravel", "moon")
    pictures = [getattr(data, name)() for name in names]
    y = np.arange(count) % len(names)
    x = []
    for label in y:
        height, width = pictures[label].shape
        border = int(0.6 * width)
        low, high = (0, border) if part == "train" else (border, width)
        row, column = rng.integers(0, height - 47), rng.integers(low, high - 47)
        x.append(pictures[label][row : row + 48, column : column + 48])
    return np.array(x)[:, None], y, names


def write(name: str, folder: Path) -> None:
    """The two parts of a set as folders of pictures."""
    for seed, (part, count) in enumerate((("train", COUNTS[name]), ("test", FOR_TEST))):
        rng = np.random.default_rng(seed + 1)
        if name == "photographs":
            made = photographs(count, rng, part)
        else:
            made = picture_sets.SETS[name](count, rng)
        picture_sets.write(made, folder / part)


def torch_run(folder: Path, seed: int, threads: int) -> dict[str, float]:
    """Train and test with PyTorch, as one would write it."""
    import torch
    from torch import nn

    from cnn_ext.data import datasets, pictures
    from cnn_ext.data.dataset import stratified_split
    from cnn_ext.training.defaults import PER_PIXEL, defaults_for

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    some = next((folder / "train").rglob("*.png"))
    data = datasets.load(folder, mode="RGB" if pictures.is_coloured(some) else "L")
    chosen = defaults_for(len(data.x_train), data.x_train.shape[1:])
    train, val = stratified_split(data.y_train, chosen.validation_split)

    def tensors(x: np.ndarray, y: np.ndarray) -> tuple[Any, Any]:
        return torch.from_numpy(x / np.float32(255)), torch.from_numpy(y)

    x, y = tensors(data.x_train[train], data.y_train[train])
    x_val, y_val = tensors(data.x_train[val], data.y_train[val])
    x_test, y_test = tensors(data.x_test, data.y_test)
    mean, std = x.mean((0, 2, 3), keepdim=True), x.std((0, 2, 3), keepdim=True)
    x, x_val, x_test = ((each - mean) / std for each in (x, x_val, x_test))

    layers: list[nn.Module] = []
    inputs, side = x.shape[1], min(x.shape[2:])
    widths = (32, 64) if side < 20 else (16, 32, 64) if side < 64 else (16, 32, 64, 128)
    for number, width in enumerate(widths):
        layers += [nn.MaxPool2d(2)] if number else []
        for first in (True, False)[: 2 if number else 1]:
            conv = nn.Conv2d(inputs if first else width, width, 3, padding=1, bias=False)
            layers += [conv, nn.BatchNorm2d(width), nn.ReLU()]
        inputs = width
    last = nn.Linear(inputs, len(data.classes))
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), last)
    loss = nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(net.parameters(), lr=LR, weight_decay=DECAY)
    steps = -(-len(x) // chosen.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=steps * chosen.epochs)
    most = max(1, round(PER_PIXEL * side))
    best, kept = float("inf"), None
    started = time.perf_counter()
    for _ in range(chosen.epochs):
        net.train()
        for indices in torch.randperm(len(x)).split(chosen.batch_size):
            padded = nn.functional.pad(x[indices], (most,) * 4, mode="replicate")
            moves = torch.randint(0, 2 * most + 1, (len(indices), 2)).tolist()
            H, W = x.shape[2:]
            batch = [each[:, r : r + H, c : c + W] for each, (r, c) in zip(padded, moves)]  # noqa: B905
            optimizer.zero_grad()
            loss(net(torch.stack(batch)), y[indices]).backward()
            optimizer.step()
            schedule.step()
        net.eval()
        with torch.inference_mode():
            cost = loss(net(x_val), y_val).item() if len(val) else -1.0
        if cost < best or not len(val):
            best = cost
            kept = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    seconds = time.perf_counter() - started
    assert kept is not None
    net.load_state_dict(kept)
    with torch.inference_mode():
        outputs = torch.cat([net(images) for images in x_test.split(256)])
    return {"accuracy": (outputs.argmax(1) == y_test).float().mean().item(), "seconds": seconds}


def cnn_ext_run(folder: Path, seed: int, threads: int) -> dict[str, float]:
    """`cnn-ext train`, told nothing but the folder and the seed."""
    history = folder / "history.json"
    command = [
        sys.executable, "-m", "cnn_ext", "train", "--data", folder, "--seed", seed, "--quiet",
        "--history", history, "--out", folder / "model.safetensors",
    ]  # fmt: skip
    printed = output_of(command, threads)
    found = re.search(r"test accuracy ([\d.]+) %", printed)
    assert found, printed
    seconds = sum(epoch["seconds"] for epoch in json.loads(history.read_text())["epochs"])
    return {"accuracy": float(found[1]) / 100, "seconds": seconds}


def torch_process(folder: Path, seed: int, threads: int) -> dict[str, float]:
    """`torch_run` in a process of its own."""
    command = [sys.executable, __file__, "torch", folder, seed, threads]
    result: dict[str, float] = json.loads(output_of(command, threads))
    return result


def main() -> None:
    if sys.argv[1:2] == ["torch"]:
        folder, seed, threads = sys.argv[2:]
        print(json.dumps(torch_run(Path(folder), int(seed), int(threads))))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=COUNTS, default=list(COUNTS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--count", type=int, help="pictures to learn from in each set")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    options = parser.parse_args()
    if options.count:
        COUNTS.update(dict.fromkeys(COUNTS, options.count))
    runs = {"cnn_ext": cnn_ext_run, "PyTorch": torch_process}
    if not find_spec("torch"):
        print("PyTorch is left out: torch not installed")
        del runs["PyTorch"]
    figures: dict[str, dict[str, list[dict[str, float]]]] = {}
    print(f"| set | {' | '.join(f'{name} | seconds' for name in runs)} |\n|", " --- |" * 5, sep="")
    for name in options.sets:
        if name == "photographs" and not find_spec("skimage"):
            print("photographs are left out: scikit-image not installed")
            continue
        with tempfile.TemporaryDirectory() as place:
            write(name, Path(place))
            turns = {
                side: [run(Path(place), seed, options.threads) for seed in range(options.seeds)]
                for side, run in runs.items()
            }
        figures[name] = turns
        cells = []
        for side in runs:
            found = [turn["accuracy"] for turn in turns[side]]
            shown = f"{statistics.mean(found):.1%} ({min(found):.1%} to {max(found):.1%})"
            cells.append(f"{shown} | {statistics.median(t['seconds'] for t in turns[side]):.1f}")
        print(f"| {name}, {COUNTS[name]} | {' | '.join(cells)} |", flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
