"""The optional package `onnx`, imported where it is needed."""

from __future__ import annotations

from typing import Any

BYTE_SCALE = "cnn_ext.byte_scale"  # in the metadata of a model: what bytes are multiplied by


def onnx_package() -> Any:
    """The module `onnx`.

    Raises
    ------
    ImportError
        If it is not installed; the message says how to install it.
    """
    try:
        import onnx
    except ImportError as error:
        raise ImportError("ONNX files need: pip install 'cnn_ext[onnx]'") from error
    return onnx
