"""What each of several ranks reads: its own images alone, where files allow it; the same bits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rank_cases import lock, points, small, the_same, told
from thread_group import on_ranks

from cnn_ext import Module, Trainer, _core
from cnn_ext.cli import build_parser
from cnn_ext.cli._files import load_for_training
from cnn_ext.cli._training import Training
from cnn_ext.data import FileArray, Shards, shards, write_idx, write_shards

LANES = _core.lanes(4)
IMAGES, BATCH = 8 * LANES, 4 * LANES
SAMPLES = 16  # that ranks compare before they begin


def plain(folder: Path, x: np.ndarray) -> Callable[[], Any]:
    write_shards(folder / "shards", x, per_shard=10)
    return lambda: Shards(folder / "shards", window=30)


def packed(folder: Path, x: np.ndarray) -> Callable[[], Any]:
    write_shards(folder / "shards", x, per_shard=10, compressed=True)
    return lambda: Shards(folder / "shards", window=30)


def hdf5(folder: Path, x: np.ndarray, **chunks: Any) -> Callable[[], Any]:
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "x.h5", "w") as file:
        file.create_dataset("x", data=x, **chunks)
    return lambda: h5py.File(folder / "x.h5")["x"]


def hdf5_single(folder: Path, x: np.ndarray) -> Callable[[], Any]:
    return hdf5(folder, x, chunks=(1, *x.shape[1:]), compression="gzip")


def hdf5_chunks(folder: Path, x: np.ndarray) -> Callable[[], Any]:
    return hdf5(folder, x, chunks=(10, *x.shape[1:]), compression="gzip")


def zarr_single(folder: Path, x: np.ndarray) -> Callable[[], Any]:
    package = pytest.importorskip("zarr")
    array = package.open_array(
        store=str(folder / "x.zarr"), mode="w", shape=x.shape, chunks=(1, *x.shape[1:]),
        dtype=x.dtype,
    )  # fmt: skip
    array[:] = x
    return lambda: package.open_array(store=str(folder / "x.zarr"), mode="r")


def memmap(folder: Path, x: np.ndarray) -> Callable[[], Any]:
    np.save(folder / "x.npy", x)
    return lambda: FileArray(np.load(folder / "x.npy", mmap_mode="r"), window=30)


SOURCES = [plain, packed, hdf5, hdf5_single, hdf5_chunks, zarr_single, memmap]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.__name__)
def test_any_number_of_ranks_gives_the_weights_of_one_process(
    source: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cnn_ext.data.file_array.BLOCK", 10 * 36)
    x, y = points(IMAGES + 5)
    opened = source(tmp_path, x)

    def work(group: Any) -> Any:
        images, trainer = opened(), Trainer(small(), group=group)
        history = trainer.fit(images, y, 2, BATCH, validation_split=0.2, progress=False)
        return told(trainer, history), trainer.evaluate(images, y, 32)

    the_same(work, (1, 2, 3))


def test_two_inputs_are_read_by_share(tmp_path: Path) -> None:
    opened = plain(tmp_path, points(IMAGES)[0])
    x, y = points(IMAGES)

    class Two(Module):
        def __init__(self) -> None:
            self.net = small()

        def forward(self, a: Any, b: Any) -> Any:
            return self.net(a + b)

    def work(group: Any) -> Any:
        trainer = Trainer(Two(), group=group)
        return told(trainer, trainer.fit((opened(), x), y, 2, BATCH, progress=False))

    the_same(work)


@pytest.mark.parametrize(("form", "ranks"), [(plain, 2), (plain, 3), (packed, 2)])
def test_bytes_that_are_read_of_shards(
    form: Callable[..., Any], ranks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = points(IMAGES)
    opened, fill, unpacked = form(tmp_path, x), shards._fill, shards.read_member
    read: list[int] = []
    files: list[str] = []

    def filled(file: Any, out: Any) -> None:
        read.append(len(out))
        fill(file, out)

    def member(archive: Any, info: Any) -> Any:
        files.append(archive.filename)
        return unpacked(archive, info)

    monkeypatch.setattr(shards, "_fill", filled)
    monkeypatch.setattr(shards, "read_member", member)

    def work(group: Any) -> None:
        Trainer(small(), group=group).fit(opened(), y, 3, BATCH, progress=False)

    assert on_ranks(ranks, work) == [None] * ranks
    if form is plain:  # all ranks together read the set once in an epoch
        assert not files
        assert sum(read) == (3 * IMAGES + ranks * SAMPLES) * x[0].nbytes
    else:  # each rank reads each file in each epoch
        count = -(-IMAGES // 10)
        assert 3 * ranks * count <= len(files) <= ranks * (3 * count + SAMPLES)


class Chunked:
    """An array in chunks that counts the images that are asked for."""

    def __init__(self, x: np.ndarray, chunk: int) -> None:
        self.x, self.shape, self.dtype = x, x.shape, x.dtype
        self.chunks, self.asked = (chunk, *x.shape[1:]), 0

    def __getitem__(self, chosen: Any) -> np.ndarray:
        found = self.x[chosen]
        self.asked += len(found)
        return found


@pytest.mark.parametrize("chunk", [1, 2, 4])
def test_chunks_are_read_one_by_one_where_that_is_less(chunk: int) -> None:
    x, y = points(IMAGES)
    asked = []

    def work(group: Any) -> None:
        array = Chunked(x, chunk)
        Trainer(small(), group=group).fit(FileArray(array), y, 2, BATCH, progress=False)
        asked.append(array.asked - SAMPLES)

    assert on_ranks(4, work) == [None] * 4
    assert asked == [2 * IMAGES // 4 if chunk < 4 else 2 * IMAGES] * 4


# -------------------------------------------------------------------------- the command line


def written(folder: Path, kind: str) -> Path:
    """A set of pictures in two classes, and some for a test."""
    rng = np.random.default_rng(3)
    y = np.arange(150) % 2
    x = (rng.integers(0, 128, (150, 8, 8)) + 100 * y[:, None, None]).astype(np.uint8)
    place = folder / kind
    if kind.startswith("pictures"):
        pillow = pytest.importorskip("PIL.Image")
        for number, (image, label) in enumerate(zip(x, y, strict=True)):
            part = "test" if number % 5 == 0 else "train"
            home = place / ("" if kind == "pictures" else part) / f"class{label}"
            home.mkdir(parents=True, exist_ok=True)
            pillow.fromarray(image).save(home / f"{number:03d}.png")
        return place
    place.mkdir()
    if kind == "idx":
        for name, part in (("train", slice(30, None)), ("t10k", slice(30))):
            write_idx(place / f"{name}-images-idx3-ubyte", x[part])
            write_idx(place / f"{name}-labels-idx1-ubyte", y[part].astype(np.uint8))
        return place
    save = np.savez_compressed if kind == "packed" else np.savez
    if kind == "last":
        save(place / "data.npz", x=np.stack([x] * 3, 3), y=y)
    else:
        save(place / "data.npz", x=x, y=y)
    return place


@pytest.mark.parametrize("kind", ["pictures", "pictures and test", "idx", "npz", "packed", "last"])
def test_the_command_line_gives_the_weights_of_one_process(kind: str, tmp_path: Path) -> None:
    place = written(tmp_path, kind)
    words = ["--epochs", "2", "--batch-size", "37", "--validation-split", "0.2", "--quiet"]
    if kind == "last":
        words += ["--layout", "channels_last"]
    if kind != "idx":  # for which the rate is tried
        words += ["--lr", "0.01"]
    parser = build_parser()

    def work(group: Any) -> Any:
        arguments = parser.parse_args(["train", "--data", str(place), *words])
        with lock:  # the warnings of a process are caught by one at a time
            arguments.colour, arguments.size = False, (8, 8)
            data = load_for_training(arguments, group)
        training = Training(arguments, data, group)
        history = training.fit()
        scores = training.trainer.evaluate(data.x_test, data.y_test)
        kept = "packed" if type(data.x_train) is np.ndarray else "in files"
        assert kept == ("in files" if group is not None and kind != "packed" else "packed")
        return told(training.trainer, history), scores, len(data.x_train), data.x_train.shape

    the_same(work)


def test_a_rank_decodes_its_own_pictures_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cnn_ext.data import image_set

    place = written(tmp_path, "pictures and test")
    decoded: list[str] = []
    read = image_set.read_image

    def counted(file: str, *options: Any) -> np.ndarray:
        decoded.append(file)
        return read(file, *options)

    words = ["--epochs", "20", "--lr", "0.01", "--batch-size", "60", "--no-normalize", "--quiet"]
    parser = build_parser()

    def work(group: Any) -> None:
        arguments = parser.parse_args(["train", "--data", str(place), *words])
        with lock:
            arguments.colour, arguments.size = False, (8, 8)
            data = load_for_training(arguments, group)
        group.barrier()
        if group.rank == 0:
            monkeypatch.setattr(image_set, "read_image", counted)
        group.barrier()
        Training(arguments, data, group).fit()

    assert on_ranks(3, work) == [None] * 3
    assert len(decoded) == 20 * 120 + 3 * SAMPLES
    assert min(Counter(decoded).values()) == 20
