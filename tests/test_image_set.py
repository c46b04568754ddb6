"""Folders of pictures that are decoded when they are used: the same as those read at once."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from stored import assert_same_training, readers, trained

from cnn_ext.data import ImageFolder, Shards, image_folder, read_image, write_shards
from cnn_ext.data.pictures import examine

Image = pytest.importorskip("PIL.Image")


def draw(
    path: Path, seed: int, size: tuple[int, int] = (6, 6), mode: str = "L", **how: Any
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = () if mode == "L" else (len(mode),)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, *channels)).astype(np.uint8)
    Image.fromarray(pixels).save(path, **how)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(70):
        suffix = (".png", ".jpg", ".bmp", ".tiff", ".ppm")[number % 5]
        kind = "RGBA" if suffix == ".png" else "RGB" if number % 2 and suffix != ".ppm" else "L"
        draw(tmp_path / "abc"[number % 3] / f"{number}{suffix}", number, mode=kind)
    return tmp_path


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mode": "RGB", "background": 10},
        {"size": (5, 7)},
        {"classes": ["c", "none", "b", "a"]},
    ],
    ids=str,
)
def test_it_has_the_images_of_the_folder(folder: Path, options: Any) -> None:
    images, labels, classes = image_folder(folder, **options)
    found = ImageFolder(folder, **options, readers=3)
    assert (found.shape, found.dtype, found.classes) == (images.shape, images.dtype, classes)
    assert_array_equal(found.y, labels)
    assert found.y.dtype == labels.dtype
    assert_array_equal(found[:], images)
    rows = [69, 3, 3, -1, 0]
    assert_array_equal(found[rows], images[rows])
    assert_array_equal(found[7], images[7])
    assert repr(found).startswith(f"ImageFolder({images.shape} of uint8, {len(classes)} cl")
    assert not readers()


def test_deep_pictures_make_all_deep(folder: Path) -> None:
    deep = np.arange(36, dtype=np.uint16).reshape(6, 6) * 1000
    Image.fromarray(deep).save(folder / "b" / "deep.png")
    images, _, _ = image_folder(folder)
    found = ImageFolder(folder)
    assert found.dtype == images.dtype == np.uint16
    assert_array_equal(found[:], images)


@pytest.mark.parametrize("number", [1, 4])
def test_training_is_that_in_memory(folder: Path, number: int) -> None:
    images, labels, _ = image_folder(folder)
    found = ImageFolder(folder, readers=number)
    for options in ({}, {"validation_split": 0.3}):
        assert_same_training(trained(found, found.y, **options), trained(images, labels, **options))
    assert not readers()


def test_pictures_are_decoded_by_threads(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: set[str] = set()

    def noted(*arguments: Any) -> Any:
        names.add(threading.current_thread().name)
        return read_image(*arguments)

    found = ImageFolder(folder, readers=2)
    monkeypatch.setattr("cnn_ext.data.image_set.read_image", noted)
    trained(found, found.y)
    assert len(names) >= 2 and threading.main_thread().name not in names


def test_pictures_become_shards(folder: Path) -> None:
    found = ImageFolder(folder, readers=2)
    write_shards(folder / "shards", found, found.y, 9)
    written = Shards(folder / "shards")
    assert_array_equal(written[:], found[:])
    assert_array_equal(written.y, found.y)
    (folder / "a" / "0.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"0\.png"):
        write_shards(folder / "more", found, found.y, 9)
    assert not readers() and not (folder / "more").exists()


# ---------------------------------------------------------------------------------- what is refused


def test_a_file_that_is_no_picture_is_found_at_once(folder: Path) -> None:
    for name in ("text.png", "empty.jpg"):
        path = folder / "c" / name
        path.write_bytes(b"no picture" if "text" in name else b"")
        with pytest.raises(ValueError, match=rf"{name}: not a picture of a known format"):
            ImageFolder(folder)
        path.unlink()
    rgb = np.zeros((6, 6, 3), np.uint16)
    (folder / "c" / "deep.ppm").write_bytes(b"P6 6 6 65535\n" + rgb.tobytes())
    with pytest.raises(ValueError, match=r"deep\.ppm: expected 8 bits a channel, or 16 in grey"):
        ImageFolder(folder)


def test_another_size_is_found_at_once(folder: Path) -> None:
    draw(folder / "c" / "odd.png", 0, (6, 9))
    told = r"odd\.png: expected 6 x 6 pixels as in the pictures before it, got 6 x 9; size resizes"
    with pytest.raises(ValueError, match=told):
        ImageFolder(folder)
    with pytest.raises(ValueError, match=told):
        image_folder(folder)
    assert ImageFolder(folder, 6).shape == (71, 1, 6, 6)


def test_pictures_on_their_side(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    draw(tmp_path / "a" / "1.jpg", 1, (6, 9))
    draw(tmp_path / "a" / "2.jpg", 2, (9, 6), exif=exif)
    images, _, _ = image_folder(tmp_path)
    assert_array_equal(ImageFolder(tmp_path)[:], images)
    draw(tmp_path / "a" / "3.jpg", 3, (9, 6))
    found = ImageFolder(tmp_path)  # which only the whole picture tells
    with pytest.raises(ValueError, match=r"3\.jpg: expected 6 x 9 pixels .*, got 9 x 6"):
        found[2]


def test_a_picture_that_breaks_off_is_named_by_fit(folder: Path) -> None:
    path = folder / "c" / "2.bmp"
    assert path.exists()
    path.write_bytes(path.read_bytes()[:-30])
    found = ImageFolder(folder)
    with pytest.raises(ValueError, match=r"2\.bmp: .*truncated"):
        trained(found, found.y)
    assert not readers()
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"2\.bmp"):
        trained(found, found.y)


def test_a_picture_that_became_deep(folder: Path) -> None:
    found = ImageFolder(folder)
    Image.fromarray(np.full((6, 6), 300, np.uint16)).save(folder / "a" / "0.png")
    with pytest.raises(ValueError, match=r"0\.png: changed since it was opened: 16 bits"):
        found[:]


def test_folders_without_classes_or_pictures(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected one sub-folder per class, got none"):
        ImageFolder(tmp_path)
    (tmp_path / "a").mkdir()
    with pytest.raises(ValueError, match="a: the class has no pictures"):
        ImageFolder(tmp_path)
    draw(tmp_path / "a" / "1.png", 0)
    with pytest.raises(ValueError, match=r"sub-folders \['a'\] are not among the classes"):
        ImageFolder(tmp_path, classes=["b"])
    for options, message in (
        ({"size": 0}, "size: expected a positive"),
        ({"mode": "CMYK"}, "mode: expected 'L' or 'RGB'"),
        ({"readers": 0}, "readers: expected 1"),
    ):
        with pytest.raises(ValueError, match=message):
            ImageFolder(tmp_path, **options)  # type: ignore[arg-type]


def test_headers_tell_what_whole_pictures_do(folder: Path) -> None:
    for path in sorted(folder.rglob("*.*")):
        bits, height, width = examine(path)
        image = read_image(path)
        assert (bits, height, width) == (8 * image.itemsize, *image.shape[1:])
