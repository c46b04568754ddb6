"""Published sets under their own names, and the layout of images in ``.npz`` files."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn_ext.data import datasets, write_idx
from cnn_ext.data.npz_sets import images_first

RNG = np.random.default_rng(0)
MNIST = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte",
         "t10k-labels-idx1-ubyte")  # fmt: skip
QMNIST = ("qmnist-train-images-idx3-ubyte", "qmnist-train-labels-idx2-int",
          "qmnist-test-images-idx3-ubyte", "qmnist-test-labels-idx2-int")  # fmt: skip


def emnist(split):
    return tuple(f"emnist-{split}-{part}-{what}" for part in ("train", "test")
                 for what in ("images-idx3-ubyte", "labels-idx1-ubyte"))  # fmt: skip


def pictures(n):
    return RNG.integers(0, 256, (n, 28, 28)).astype(np.uint8)


def labels(n, classes=10, first=0):
    return (np.arange(n) % classes + first).astype(np.uint8)


def write(folder, names, arrays, packed=False):
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(names, arrays, strict=True):
        write_idx(folder / name, array)
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
            (folder / name).unlink()


def check(data, arrays, classes):
    x_train, y_train, x_test, y_test = arrays
    np.testing.assert_array_equal(data.x_train, x_train[:, None])
    np.testing.assert_array_equal(data.y_train, y_train)
    np.testing.assert_array_equal(data.x_test, x_test[:, None])
    np.testing.assert_array_equal(data.y_test, y_test)
    assert data.classes == tuple(classes)
    assert data.x_train.dtype == np.uint8 and data.y_train.dtype == np.int64


ARRAYS = (pictures(20), labels(20), pictures(10), labels(10))


# The folders of torchvision


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("home", "first", "last"),
    [("MNIST", "0", "9"), ("FashionMNIST", "T-shirt/top", "Ankle boot"), ("KMNIST", "o", "wo")],
)
def test_the_folders_of_torchvision(tmp_path, home, first, last, packed, monkeypatch):
    raw = tmp_path / home / "raw"
    write(raw, MNIST, ARRAYS, packed)
    classes = datasets.load(tmp_path).classes
    assert (classes[0], classes[-1], len(classes)) == (first, last, 10)
    for folder in (tmp_path, tmp_path / home, raw):
        check(datasets.load(folder), ARRAYS, classes)
    monkeypatch.chdir(raw)
    check(datasets.load("."), ARRAYS, classes)


def test_mnist_by_name_in_the_folders_of_torchvision(tmp_path):
    other = (pictures(20), labels(20), pictures(10), labels(10))
    write(tmp_path / "MNIST" / "raw", MNIST, ARRAYS)
    write(tmp_path / "FashionMNIST" / "raw", MNIST, other)
    check(datasets.mnist(tmp_path), ARRAYS, "0123456789")
    check(datasets.fashion_mnist(tmp_path), other, datasets.fashion_mnist(tmp_path).classes)
    with pytest.raises(ValueError, match=r"got several in \S*FashionMNIST\S*, \S*MNIST\S*; name"):
        datasets.load(tmp_path)
    # a set in the folder itself comes before those below it, and is never mixed with them
    write_idx(tmp_path / MNIST[0], pictures(20))
    check(datasets.mnist(tmp_path), ARRAYS, "0123456789")
    third = (pictures(20), labels(20), pictures(10), labels(10))
    write(tmp_path, MNIST, third)
    check(datasets.mnist(tmp_path), third, "0123456789")
    check(datasets.load(tmp_path), third, "0123456789")


# EMNIST, QMNIST

CLASSES = {"byclass": 62, "bymerge": 47, "balanced": 47, "letters": 26, "digits": 10, "mnist": 10}


@pytest.mark.parametrize("split", CLASSES)
@pytest.mark.parametrize("place", ["", "gzip", "EMNIST/raw"])
def test_emnist_is_turned_upright_and_its_letters_begin_at_a(tmp_path, split, place):
    count = CLASSES[split]
    first = int(split == "letters")
    arrays = (pictures(62), labels(62, count, first), pictures(9), labels(9, count, first))
    write(tmp_path / place, emnist(split), arrays, packed=True)
    data = datasets.load(tmp_path)
    upright = (arrays[0].transpose(0, 2, 1), arrays[1].astype(int) - first,
               arrays[2].transpose(0, 2, 1), arrays[3].astype(int) - first)  # fmt: skip
    check(data, upright, data.classes)
    assert len(data.classes) == len(set(data.classes)) == count
    assert data.classes[0] == ("a" if split == "letters" else "0")
    # the numbers of Unicode in the mapping that is published with the files
    mapping = {10: 65, 35: 90, 36: 97, 38: 100, 46: 116, 61: 122}
    if split in ("bymerge", "balanced"):
        assert all(data.classes[i] == chr(mapping[i]) for i in (10, 35, 36, 46))
        assert data.classes[36:] == tuple("abdefghnqrt")
    elif split == "byclass":
        assert all(data.classes[i] == chr(mapping[i]) for i in (10, 35, 36, 61))


def test_several_parts_of_emnist_are_asked_for(tmp_path):
    first = (pictures(26), labels(26, 26, 1), pictures(26), labels(26, 26, 1))
    write(tmp_path, emnist("letters"), first)
    write(tmp_path, emnist("digits"), ARRAYS)
    with pytest.raises(ValueError, match="the parts 'letters', 'digits' of EMNIST; split tells"):
        datasets.load(tmp_path)
    assert len(datasets.load(tmp_path, split="letters").classes) == 26
    assert len(datasets.load(tmp_path, split="digits").classes) == 10
    with pytest.raises(ValueError, match="split: expected 'letters', 'digits' for .*got 'mnist'"):
        datasets.load(tmp_path, split="mnist")
    write(tmp_path / "MNIST" / "raw", MNIST, ARRAYS)
    assert len(datasets.load(tmp_path, split="letters").classes) == 26


def test_split_is_for_emnist_only(tmp_path):
    write(tmp_path, MNIST, ARRAYS)
    with pytest.raises(ValueError, match="split: expected None for what .* got 'letters'"):
        datasets.load(tmp_path, split="letters")


@pytest.mark.parametrize("place", ["", "QMNIST/raw"])
def test_qmnist_has_the_class_in_the_first_of_eight_columns(tmp_path, place):
    def columns(n):
        return np.column_stack([labels(n), RNG.integers(-1, 4000, (n, 7))]).astype(np.int32)

    arrays = (pictures(20), columns(20), pictures(12), columns(12))
    write(tmp_path / place, QMNIST, arrays, packed=True)
    expected = (arrays[0], arrays[1][:, 0], arrays[2], arrays[3][:, 0])
    check(datasets.load(tmp_path), expected, "0123456789")


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_labels_in_a_column(tmp_path, dtype):
    arrays = (ARRAYS[0], ARRAYS[1][:, None].astype(dtype), ARRAYS[2], ARRAYS[3].astype(dtype))
    write(tmp_path, MNIST, arrays)
    check(datasets.load(tmp_path), ARRAYS, "0123456789")
    check(datasets.mnist(tmp_path), ARRAYS, "0123456789")


@pytest.mark.parametrize("wrong", [np.zeros((20, 8), np.uint8), np.zeros(20, np.float32)])
def test_other_labels_are_refused(tmp_path, wrong):
    write(tmp_path, MNIST, (ARRAYS[0], wrong, *ARRAYS[2:]))
    with pytest.raises(ValueError, match=r"labels-idx1-ubyte: labels: expected \(N,\) or \(N, 1\)"):
        datasets.load(tmp_path)


# .npz: Keras and MedMNIST


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_mnist_npz_of_keras(tmp_path, save):
    names = ("x_train", "y_train", "x_test", "y_test")
    save(tmp_path / "mnist.npz", **dict(zip(names, ARRAYS, strict=True)))
    for source in (tmp_path, tmp_path / "mnist.npz"):
        check(datasets.load(source), ARRAYS, "0123456789")
    save(tmp_path / "other.npz", x=ARRAYS[0], y=ARRAYS[1])
    with pytest.raises(ValueError, match="or one .npz file; found 2 .npz files"):
        datasets.load(tmp_path)
    check(datasets.load(tmp_path / "mnist.npz"), ARRAYS, "0123456789")
    save(tmp_path / "data.npz", x=ARRAYS[2], y=ARRAYS[3])
    assert len(datasets.load(tmp_path, test_fraction=0).x_train) == 10
    with pytest.raises(FileNotFoundError):
        datasets.load(tmp_path / "none.npz")


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("validation", [False, True])
def test_medmnist(tmp_path, colour, validation):
    parts = {}
    for part, n in (("train", 12), ("val", 6), ("test", 3)):
        if part != "val" or validation:
            shape = (n, 28, 28, 3) if colour else (n, 28, 28)
            parts[f"{part}_images"] = RNG.integers(0, 256, shape).astype(np.uint8)
            parts[f"{part}_labels"] = labels(n, 3)[:, None]
    np.savez(tmp_path / "bloodmnist.npz", **parts)
    data = datasets.load(tmp_path)
    for part in ("train", "val", "test"):
        x, y = getattr(data, f"x_{part}"), getattr(data, f"y_{part}")
        if part == "val" and not validation:
            assert x is None and y is None
            continue
        images = parts[f"{part}_images"]
        expected = images.transpose(0, 3, 1, 2) if colour else images[:, None]
        np.testing.assert_array_equal(x, expected)
        assert x.flags.c_contiguous and y.dtype == np.int64
        np.testing.assert_array_equal(y, parts[f"{part}_labels"][:, 0])
    assert data.classes == ("0", "1", "2")
    assert ("12 + 3 + 6 images" if validation else "12 + 3 images") in repr(data)


@pytest.mark.parametrize(
    ("images", "y", "message"),
    [
        ((4, 28, 28, 28), (4, 1), r"train_images: expected MedMNIST's .*got shape \(4, 28"),
        ((4, 3, 28, 28), (4, 1), "train_images: expected MedMNIST's"),
        (
            (4, 28, 28),
            (4, 14),
            r"train_labels: expected \(N,\) or \(N, 1\) integers, got",
        ),
    ],
)
def test_medmnist_of_volumes_or_several_labels_is_refused(tmp_path, images, y, message):
    x, y = np.zeros(images, np.uint8), np.zeros(y, np.uint8)
    np.savez(tmp_path / "m.npz", train_images=x, train_labels=y, test_images=x, test_labels=y)
    with pytest.raises(ValueError, match=message):
        datasets.load(tmp_path)


def test_the_parts_for_validation(tmp_path):
    x, y = pictures(8), labels(8, 2)
    own = {"x_train": x, "y_train": y, "x_test": x[:4], "y_test": y[:4]}
    np.savez(tmp_path / "data.npz", **own, x_val=x[:2], y_val=y[:2, None])
    data = datasets.load(tmp_path)
    np.testing.assert_array_equal(data.x_val, x[:2, None])
    assert data.y_val.tolist() == [0, 1]
    np.savez(tmp_path / "data.npz", **own, x_val=x[:2])
    with pytest.raises(ValueError, match="data.npz: expected the arrays x_train, .*, got x_test"):
        datasets.load(tmp_path)
    np.savez(tmp_path / "data.npz", **own, x_val=x[:2, :5], y_val=y[:2])
    with pytest.raises(ValueError, match=r"data.npz: x_val: expected images of shape \(1, 28, 28"):
        datasets.load(tmp_path)
    with pytest.raises(ValueError, match="x_val: expected both images and labels for validation"):
        datasets.Dataset(data.x_train, data.y_train, data.x_test, data.y_test, ("0", "1"), x[:2])


# Layout


@pytest.mark.parametrize(
    "shape",
    [(3, 32, 32), (1, 28, 28), (1, 5, 5), (4, 6, 7), (3, 4, 6), (2, 8, 5), (16, 7, 7), (6, 64, 64)],
)
def test_a_shape_that_leaves_no_doubt(shape):
    x = RNG.random((5, *shape))
    assert images_first("x", x, None) is x


LAST = [(32, 32, 3), (28, 28, 1), (32, 24, 4), (16, 16, 2), (64, 64, 6), (5, 7, 1)]
EITHER = [(3, 4, 4), (32, 32, 32), (8, 24, 32), (3, 3, 5), (1, 28, 1), (4, 32, 3), (2, 2, 2)]


@pytest.mark.parametrize("shape", [*LAST, *EITHER])
@pytest.mark.parametrize("names", ["x y", "x_train y_train x_test y_test"])
def test_a_shape_in_doubt_is_asked_about(tmp_path, shape, names):
    """Never guessed: pictures with their channels last would be trained as many channels."""
    x, y = RNG.integers(0, 256, (10, *shape)).astype(np.uint8), labels(10, 2)
    arrays = {name: x if name[0] == "x" else y for name in names.split()}
    np.savez(tmp_path / "data.npz", **arrays)
    what = r"looks like \(N, H, W, C\)" if shape in LAST else "may be either"
    with pytest.raises(ValueError, match=f'data.npz: x.*{what}; layout="channels_last" or'):
        datasets.load(tmp_path)
    last = datasets.load(tmp_path, layout="channels_last", test_fraction=0)
    first = datasets.load(tmp_path, layout="channels_first", test_fraction=0)
    assert last.x_train.shape[1:] == (shape[2], *shape[:2]) and first.x_train.shape[1:] == shape
    assert last.x_train.flags.c_contiguous
    order = np.argsort(np.random.PCG64(0).random_raw(10)) if names == "x y" else np.arange(10)
    np.testing.assert_array_equal(first.x_train, x[order])
    np.testing.assert_array_equal(last.x_train, x[order].transpose(0, 3, 1, 2))


def test_grey_pictures_are_never_asked_about(tmp_path):
    np.savez(tmp_path / "data.npz", x=np.zeros((10, 3, 3)), y=labels(10, 2))
    for layout in (None, "channels_first", "channels_last"):
        assert datasets.load(tmp_path, layout=layout, test_fraction=0).x_train.shape[1:] == (
            1,
            3,
            3,
        )


def test_layout_is_checked(tmp_path):
    with pytest.raises(ValueError, match="layout: expected 'channels_first', .*, got 'NHWC'"):
        datasets.load(tmp_path, layout="NHWC")


# Whatever the arrays are


def arrays_of(draw, names):
    return {
        name: np.zeros(draw(st.lists(st.integers(0, 5), max_size=5)), draw(st.sampled_from(KINDS)))
        + draw(st.integers(0, 3))
        for name in names
    }


KINDS = ["u1", "i8", "u8", "i4", "f4", "?", "c8"]
NAMES = [
    ("x", "y"),
    ("x_train", "y_train", "x_test", "y_test"),
    tuple(f"{part}_{what}" for part in ("train", "val", "test") for what in ("images", "labels")),
]


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_arrays_are_a_set_or_a_value_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.npz"
    np.savez(path, **arrays_of(data.draw, data.draw(st.sampled_from(NAMES))))
    layout = data.draw(st.sampled_from([None, "channels_first", "channels_last"]))
    try:
        read = datasets.load(path, layout=layout)
    except ValueError as error:
        assert str(error).startswith(f"{path}: ")
    else:
        assert read.x_train.ndim == 4 and read.y_train.dtype == np.int64


@pytest.mark.parametrize("largest", [10**6, 2**40, 2**62])
def test_a_label_cannot_ask_for_a_memory_of_names(tmp_path, largest):
    np.savez(tmp_path / "data.npz", x=np.zeros((2, 3, 3)), y=[0, largest])
    with pytest.raises(ValueError, match=f"data.npz: expected labels below 1000000, got {largest}"):
        datasets.load(tmp_path)
