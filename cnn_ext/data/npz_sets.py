"""Sets in one ``.npz`` file: the names that tell its parts, and where its channels are."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from cnn_ext.data._reading import Array, laid_out, named
from cnn_ext.data.arrays import load_npz
from cnn_ext.data.dataset import Dataset, column, divided, numbered

Layout = Literal["channels_first", "channels_last"]

_PARTS = ("train", "test", "val")
_OWN = {part: (f"x_{part}", f"y_{part}") for part in _PARTS}  # and Keras's
_MEDMNIST = {part: (f"{part}_images", f"{part}_labels") for part in _PARTS}
_FEW = 4  # most channels of a picture


def check_layout(layout: Layout | None) -> None:
    """Raise ValueError unless `layout` is one that `images_first` knows."""
    if layout not in (None, "channels_first", "channels_last"):
        raise ValueError(
            f"layout: expected 'channels_first', 'channels_last' or None, got {layout!r}"
        )


def read_npz_set(
    file: Path, test_fraction: float, layout: Layout | None, in_memory: bool = True
) -> Dataset:
    """Read x_train, y_train, x_test, y_test, if wanted x_val and y_val; x and y; or MedMNIST's.

    Arrays that are not compressed stay in the file if they are not to be in memory.

    Raises ValueError if the file is damaged, has other arrays, or the channels may be in either
    place.
    """
    arrays = load_npz(file, in_memory)
    names = arrays.pop("classes", None)
    with named(file):
        if arrays.keys() == {"x", "y"}:
            x, y = images_first("x", arrays["x"], layout), column("y", arrays["y"])
            return divided(x, y, numbered(y) if names is None else _words(names), test_fraction)
        for naming in (_OWN, _MEDMNIST):
            parts = [part for part, pair in naming.items() if arrays.keys() >= set(pair)]
            if parts[:2] == ["train", "test"] and len(arrays) == 2 * len(parts):
                break
        else:
            raise ValueError(
                "expected the arrays x_train, y_train, x_test and y_test (and x_val and y_val), "
                "train_images, train_labels, test_images and test_labels (and val_images and "
                f"val_labels), or x and y, got {', '.join(sorted(arrays)) or 'none'}"
            )
        found: dict[str, Array] = {}
        for part in parts:
            x_name, y_name = naming[part]
            x = arrays.pop(x_name)
            if naming is _MEDMNIST and layout is None:
                found[f"x_{part}"] = _medmnist(x_name, x)
            else:
                found[f"x_{part}"] = images_first(x_name, x, layout)
            found[f"y_{part}"] = column(y_name, arrays[y_name])
        labels = [array for name, array in found.items() if name.startswith("y")]
        return Dataset(**found, classes=numbered(*labels) if names is None else _words(names))


def images_first(name: str, x: Array, layout: Layout | None) -> Array:
    """Images as (N, C, H, W), whichever of the two layouts they have; (N, H, W) are grey.

    Without `layout`, four axes are taken for (N, C, H, W) if that is plausible and (N, H, W, C) is
    not. An axis is plausible for channels if it has one to four places, or if the other two are
    equal.

    Raises ValueError if `layout` is needed.
    """
    if x.ndim == 3:
        return x[:, None]
    if x.ndim != 4 or layout == "channels_first":
        return x  # of other numbers of axes, `Dataset` complains
    if layout == "channels_last":
        return laid_out(x.transpose(0, 3, 1, 2))
    _, first, middle, last = x.shape
    may_be_first = first <= _FEW or middle == last
    may_be_last = last <= _FEW or first == middle
    if may_be_first and not may_be_last:
        return x
    seems = "looks like (N, H, W, C)" if may_be_last and not may_be_first else "may be either"
    raise ValueError(
        f"{name}: expected images (N, C, H, W), got shape {x.shape}, which {seems}; "
        'layout="channels_last" or layout="channels_first" tells'
    )


def _medmnist(name: str, x: Array) -> Array:
    """Images of MedMNIST, which are (N, H, W) or (N, H, W, 3) by definition."""
    if x.ndim != 3 and (x.ndim != 4 or x.shape[3] not in (1, 3)):
        raise ValueError(
            f"{name}: expected MedMNIST's pictures (N, H, W) or (N, H, W, 3), got shape {x.shape}"
        )
    return images_first(name, x, "channels_last")


def _words(array: Array) -> tuple[str, ...]:
    if array.ndim != 1 or array.dtype.kind != "U":
        raise ValueError(f"classes: expected strings, got shape {array.shape} of {array.dtype}")
    return tuple(array.tolist())
