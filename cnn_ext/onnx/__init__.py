"""ONNX files: networks for other programs, and trained networks of other programs.

`export` and `load` need the package `onnx` (``pip install 'cnn_ext[onnx]'``); what a loaded file
becomes, a `cnn_ext.graph.Graph`, needs it no more.
"""

from .exporter import export
from .loader import from_model, load

__all__ = ["export", "from_model", "load"]
