"""Data: readers, the bundled digits, sets by name, and mini-batches; loaded at first use.

Where a file cannot be opened, what reads it raises OSError.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cnn_ext.data import datasets
    from cnn_ext.data.arrays import load_npy, load_npz
    from cnn_ext.data.batching import batches, gather
    from cnn_ext.data.cifar import read_cifar, read_cifar_archive
    from cnn_ext.data.dataset import Dataset, stratified_split
    from cnn_ext.data.file_array import FileArray
    from cnn_ext.data.folders import image_folder
    from cnn_ext.data.idx import read_idx, write_idx
    from cnn_ext.data.image_set import ImageFolder
    from cnn_ext.data.pictures import read_image
    from cnn_ext.data.shards import Shards, write_shards
    from cnn_ext.data.stream import ReadAhead

__all__ = [
    "Dataset",
    "FileArray",
    "ImageFolder",
    "ReadAhead",
    "Shards",
    "batches",
    "datasets",
    "gather",
    "image_folder",
    "load_npy",
    "load_npz",
    "read_cifar",
    "read_cifar_archive",
    "read_idx",
    "read_image",
    "stratified_split",
    "write_idx",
    "write_shards",
]

_HOMES = {
    "arrays": ("load_npy", "load_npz"),
    "batching": ("batches", "gather"),
    "cifar": ("read_cifar", "read_cifar_archive"),
    "dataset": ("Dataset", "stratified_split"),
    "file_array": ("FileArray",),
    "folders": ("image_folder",),
    "idx": ("read_idx", "write_idx"),
    "image_set": ("ImageFolder",),
    "pictures": ("read_image",),
    "shards": ("Shards", "write_shards"),
    "stream": ("ReadAhead",),
}


def __getattr__(name: str) -> Any:
    if name == "datasets":
        return import_module("cnn_ext.data.datasets")
    for module, members in _HOMES.items():
        if name in members:
            return getattr(import_module(f"cnn_ext.data.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
