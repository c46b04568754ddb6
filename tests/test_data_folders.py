"""Folders of pictures: which files count, in which order, and what a broken one does."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from cnn_ext.data import datasets, image_folder
from cnn_ext.data.folders import SUFFIXES, pictures


def draw(path, value=0, size=(4, 3), kind="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(kind, size, value).save(path, "PNG")


def values(images):
    return images[:, 0, 0, 0].tolist()


@pytest.fixture
def tree(tmp_path):
    """Two classes with pictures at several depths, and what the systems of users leave there."""
    for i, name in enumerate(
        ("ant/2.png", "ant/10.PNG", "ant/z/1.png", "ant/b/deep/3.jfif", "ant/b/4.png", "bee/1.png")
    ):
        draw(tmp_path / name, i)
    for rubbish in ("ant/.hidden.png", "ant/.git/x.png", "__MACOSX/ant/._2.png", ".cache/x.png",
                    "ant/__MACOSX/._2.png", "ant/notes.txt", "ant/b/Thumbs.db"):  # fmt: skip
        (tmp_path / rubbish).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / rubbish).write_bytes(b"no picture")
    (tmp_path / "ant" / "a folder.png").mkdir()
    return tmp_path


def test_folders_below_a_class_belong_to_it(tree):
    images, labels, classes = image_folder(tree)
    assert classes == ("ant", "bee")
    # 10.PNG, 2.png; then b: 4.png; then b/deep; then z
    assert values(images) == [1, 0, 4, 3, 2, 5] and labels.tolist() == [0] * 5 + [1]
    data = datasets.load(tree)
    assert len(data.x_train) + len(data.x_test) == 6 and data.classes == classes


def test_train_test_and_validation(tmp_path):
    root = tmp_path
    for name in ("train", "test", "valid"):
        for i in range(3):
            draw(root / name / "ant" / "sub" / f"{i}.png", i)
            draw(root / name / "bee" / f"{i}.png", 10 + i)
    data = datasets.load(root)
    assert data.classes == ("ant", "bee")
    for part in ("train", "test", "val"):
        assert values(getattr(data, f"x_{part}")) == [0, 1, 2, 10, 11, 12]
        assert getattr(data, f"y_{part}").tolist() == [0] * 3 + [1] * 3
    Image.fromarray(np.full((3, 4), 9 * 257, np.uint16)).save(root / "test" / "bee" / "2.png")
    data = datasets.load(root)
    assert {x.dtype for x in (data.x_train, data.x_test, data.x_val)} == {np.dtype(np.uint16)}
    assert values(data.x_train) == [257 * v for v in (0, 1, 2, 10, 11, 12)]
    assert values(data.x_test) == [257 * v for v in (0, 1, 2, 10, 11, 9)]
    (root / "val" / "ant").mkdir(parents=True)
    with pytest.raises(ValueError, match="expected one folder for validation, got val, valid"):
        datasets.load(root)


def test_parts_are_not_taken_for_classes(tmp_path):
    """Where folders are descended, train and val look like two classes of pictures."""
    for part in ("train", "val"):
        for name in ("ant", "bee"):
            draw(tmp_path / part / name / "1.png")
    with pytest.raises(ValueError, match="expected folders train and test, got train, val"):
        datasets.load(tmp_path)


def test_a_folder_too_far_up_is_not_one_class(tmp_path):
    for name in ("ant", "bee"):
        draw(tmp_path / "archive" / name / "1.png")
    with pytest.raises(ValueError, match=r"got archive alone, .* \(ant, bee\); \S+archive may be"):
        datasets.load(tmp_path)
    assert datasets.load(tmp_path / "archive", test_fraction=0).classes == ("ant", "bee")
    draw(tmp_path / "archive" / "own.png")
    assert datasets.load(tmp_path, test_fraction=0).classes == ("archive",)


@pytest.mark.skipif(not hasattr(os, "symlink") or os.name == "nt", reason="needs links")
def test_links_are_followed_but_not_in_circles(tree, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    draw(elsewhere / "8.png", 8)
    (tree / "ant" / "loop").symlink_to(tree / "ant")
    (tree / "ant" / "b" / "up").symlink_to(tree)
    (tree / "ant" / "link").symlink_to(elsewhere)
    (tree / "ant" / "link again").symlink_to(elsewhere)
    (tree / "cow").symlink_to(elsewhere)
    found = [path.name for path in pictures(tree / "ant")]
    assert found == ["10.PNG", "2.png", "4.png", "3.jfif", "8.png", "1.png"]
    images, labels, classes = image_folder(tree)
    assert classes == ("ant", "bee", "cow") and images[labels == 2, 0, 0, 0].tolist() == [8]
    (tree / "bee" / "gone.png").symlink_to(tree / "nowhere.png")
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        image_folder(tree)


def test_one_deep_picture_makes_all_deep(tmp_path):
    draw(tmp_path / "a" / "1.png", 200)
    draw(tmp_path / "a" / "3.png", 3)
    Image.fromarray(np.full((3, 4), 300, np.uint16)).save(tmp_path / "a" / "2.png")
    images, _, _ = image_folder(tmp_path)
    assert images.dtype == np.uint16 and values(images) == [200 * 257, 300, 3 * 257]


@pytest.mark.parametrize("background", ["white", 10, (0, 0, 255)])
def test_the_background_is_that_of_read_image(tmp_path, background):
    draw(tmp_path / "a" / "1.png", (0, 0, 0, 0), kind="RGBA")
    expected = {"white": [255] * 3, 10: [10] * 3, (0, 0, 255): [0, 0, 255]}[background]
    images, _, _ = image_folder(tmp_path, mode="RGB", background=background)
    assert images[0, :, 0, 0].tolist() == expected
    data = datasets.load(tmp_path, mode="RGB", background=background, test_fraction=0)
    np.testing.assert_array_equal(data.x_train, images)


# Broken pictures


def broken(tree):
    for i in range(5):
        (tree / "ant" / "b" / f"broken{i}.png").write_bytes(b"text")
    good = (tree / "ant" / "2.png").read_bytes()
    (tree / "bee" / "0.png").write_bytes(good[: len(good) // 2])


def test_a_broken_picture_is_an_error_or_left_out(tree):
    expected, labels, _ = image_folder(tree)
    broken(tree)
    with pytest.raises(ValueError, match=r"broken0\.png: not a picture of a known format"):
        image_folder(tree)
    with pytest.raises(ValueError, match=r"broken0\.png: not a picture"):
        datasets.load(tree)
    said = r"6 of 12 pictures cannot be read and are left out: .*broken0.*broken2.*, \.\.\.$"
    with pytest.warns(UserWarning, match=said):
        images, found, classes = image_folder(tree, on_error="skip")
    np.testing.assert_array_equal(images, expected)
    np.testing.assert_array_equal(found, labels)
    assert classes == ("ant", "bee")
    with pytest.warns(UserWarning, match=said):
        data = datasets.load(tree, on_error="skip", test_fraction=0)
    np.testing.assert_array_equal(np.sort(values(data.x_train)), np.arange(6))


def test_a_class_without_a_picture_that_can_be_read_is_an_error(tree):
    broken(tree)
    (tree / "bee" / "1.png").unlink()
    with pytest.raises(ValueError, match="bee: the class has no pictures; 1 cannot be read: "):
        image_folder(tree, on_error="skip")


def test_pictures_of_other_sizes_are_not_skipped(tree):
    draw(tree / "ant" / "odd.png", size=(9, 9))
    with pytest.raises(ValueError, match=r"4\.png: expected 9 x 9|odd\.png: expected 3 x 4"):
        image_folder(tree, on_error="skip")


def test_on_error_is_checked(tree):
    with pytest.raises(ValueError, match="on_error: expected 'raise' or 'skip', got 'ignore'"):
        image_folder(tree, on_error="ignore")


def test_every_suffix_is_one_that_pillow_knows():
    assert SUFFIXES <= Image.registered_extensions().keys()
    assert {".jfif", ".jpe", ".jpg", ".tif", ".tiff", ".png", ".webp"} <= SUFFIXES


@pytest.mark.parametrize("suffix", sorted(SUFFIXES - {".pbm"}))
def test_a_picture_of_every_suffix_is_read(tmp_path, suffix):
    (tmp_path / "a").mkdir()
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    options = {"lossless": True} if suffix == ".webp" else {}
    form = "JPEG" if suffix == ".mpo" else None
    Image.fromarray(grey).save(tmp_path / "a" / f"1{suffix}", form, **options)
    images, _, _ = image_folder(tmp_path)
    assert np.abs(images[0, 0].astype(int) - grey).max() < 12
