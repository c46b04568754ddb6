"""A whole run on MNIST, `cnn-ext train` beside a plain PyTorch script that does the same.

    python benchmarks/train_mnist.py [FOLDER] [--epochs 5] [--threads 2] [--rounds 1] [--json FILE]

FOLDER holds the four IDX files; by default what CNN_EXT_MNIST names.  Both train nielsen with the
same first weights, order of images, batches of 64, one-cycle schedule, momentum and weight decay.
Each runs in a process of its own; the seconds are those of the whole process, from its start to
the accuracy on the test set, and those of training alone.  The PyTorch script is `torch_run`:

    python benchmarks/train_mnist.py torch FOLDER EPOCHS THREADS
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import re
import statistics
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from processes import output_of

BATCH, LR, MOMENTUM, DECAY, SEED = 64, 0.05, 0.9, 1e-4, 0
WARM_UP, START, FINAL = 0.3, 0.04, 1e-4  # of the schedule, parts of LR but for the first
Result = dict[str, float]


def read_idx(folder: Path, stem: str, header: int) -> np.ndarray:
    """The bytes of an IDX file after its header, flat."""
    plain, packed = folder / stem, folder / f"{stem}.gz"
    data = plain.read_bytes() if plain.is_file() else gzip.decompress(packed.read_bytes())
    return np.frombuffer(data, np.uint8, offset=header)


def learning_rate(done: float) -> float:
    """One cycle: half a cosine up, half a cosine down."""
    if done < WARM_UP:
        low, part = START, 1 - done / WARM_UP
    else:
        low, part = FINAL, (done - WARM_UP) / (1 - WARM_UP)
    return LR * (low + (1 - low) * (1 + math.cos(math.pi * part)) / 2)


def torch_run(folder: Path, epochs: int, threads: int) -> Result:
    """Train and test with PyTorch, as one would write it."""
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    sets = []
    for part in ("train", "t10k"):
        images = read_idx(folder, f"{part}-images-idx3-ubyte", 16).reshape(-1, 1, 28, 28)
        labels = read_idx(folder, f"{part}-labels-idx1-ubyte", 8).astype(np.int64)
        sets.append((torch.from_numpy(images / np.float32(255)), torch.from_numpy(labels)))
    (x, y), (x_test, y_test) = sets

    net = nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(20, 40, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(640, 100), nn.ReLU(), nn.Linear(100, 10),
    )  # fmt: skip
    rng = np.random.default_rng(SEED)
    with torch.no_grad():
        for layer in net:
            if isinstance(layer, (nn.Conv2d, nn.Linear)):  # He's first weights
                shape = tuple(layer.weight.shape)
                weight = rng.normal(0, math.sqrt(2 / math.prod(shape[1:])), shape)
                layer.weight.copy_(torch.from_numpy(weight))
        for name, parameter in net.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
    loss = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(
        net.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=DECAY, fused=True
    )
    steps = -(-len(x) // BATCH)
    rng = np.random.default_rng(SEED)
    net.train()
    started = time.perf_counter()
    for epoch in range(epochs):
        order = torch.from_numpy(rng.permutation(len(x)))
        costs = 0.0
        for step, indices in enumerate(order.split(BATCH)):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate((epoch + step / steps) / epochs)
            optimizer.zero_grad()
            cost = loss(net(x[indices]), y[indices])
            cost.backward()
            optimizer.step()
            costs += cost.item() * len(indices)
    training = time.perf_counter() - started
    net.eval()
    with torch.inference_mode():
        outputs = torch.cat([net(images) for images in x_test.split(256)])
    accuracy = (outputs.argmax(1) == y_test).float().mean().item()
    return {"training": training, "cost": costs / len(x), "accuracy": accuracy}


def cnn_ext_run(folder: Path, epochs: int, threads: int) -> Result:
    """`cnn-ext train`, whose settings must be those above."""
    with tempfile.TemporaryDirectory() as place:
        history = Path(place, "history.json")
        command = [
            sys.executable, "-m", "cnn_ext", "train", "--data", folder, "--arch", "nielsen",
            "--epochs", epochs, "--batch-size", BATCH, "--lr", LR, "--momentum", MOMENTUM,
            "--weight-decay", DECAY, "--schedule", "one-cycle", "--initializer", "he",
            "--no-normalize", "--augment", "none", "--validation-split", 0,
            "--seed", SEED, "--threads", threads, "--out", Path(place, "model.safetensors"),
            "--history", history, "--quiet",
        ]  # fmt: skip
        printed = output_of(command, threads)
        records = json.loads(history.read_text())["epochs"]
    found = re.search(r"test accuracy ([\d.]+) %", printed)
    if not found:
        raise SystemExit(f"cnn-ext train printed no accuracy: {printed}")
    return {
        "training": sum(record["seconds"] for record in records),
        "cost": records[-1]["cost"],
        "accuracy": float(found[1]) / 100,
    }


def torch_process(folder: Path, epochs: int, threads: int) -> Result:
    """`torch_run` in a process of its own."""
    command = [sys.executable, __file__, "torch", folder, epochs, threads]
    result: Result = json.loads(output_of(command, threads))
    return result


def main() -> None:
    if sys.argv[1:2] == ["torch"]:
        folder, epochs, threads = sys.argv[2:]
        print(json.dumps(torch_run(Path(folder), int(epochs), int(threads))))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="?", default=os.environ.get("CNN_EXT_MNIST"))
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1, help="the two take turns; medians")
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    options = parser.parse_args()
    if options.folder is None:
        parser.error("expected the folder of MNIST's files, or CNN_EXT_MNIST")
    runs = {"cnn_ext": cnn_ext_run}
    if find_spec("torch"):
        runs["PyTorch"] = torch_process
    else:
        print("PyTorch is left out: torch not installed")
    turns: dict[str, list[Result]] = {name: [] for name in runs}
    for _ in range(options.rounds):
        for name, run in runs.items():
            started = time.perf_counter()
            result = run(Path(options.folder), options.epochs, options.threads)
            turns[name].append({"seconds": time.perf_counter() - started, **result})

    def median(name: str, figure: str) -> float:
        return statistics.median(turn[figure] for turn in turns[name])

    print(f"nielsen, {options.epochs} epochs, batch {BATCH}, {options.threads} threads\n")
    print("| | seconds | of training | last cost | test accuracy |\n|" + " --- |" * 5)
    for name in runs:
        print(
            f"| {name} | {median(name, 'seconds'):.1f} | {median(name, 'training'):.1f} "
            f"| {median(name, 'cost'):.4f} | {median(name, 'accuracy'):.2%} |"
        )
    if "PyTorch" in runs:
        ratios = [
            statistics.median(
                theirs[figure] / ours[figure]
                for ours, theirs in zip(turns["cnn_ext"], turns["PyTorch"], strict=True)
            )
            for figure in ("seconds", "training")
        ]
        print(f"| ratio | {ratios[0]:.2f} x | {ratios[1]:.2f} x | | |")
    if options.json:
        options.json.write_text(json.dumps({**vars(options), "json": None, "runs": turns}) + "\n")


if __name__ == "__main__":
    main()
