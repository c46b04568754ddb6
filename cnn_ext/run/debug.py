"""Two switches for whoever looks for a fault: recordings off, and every result looked at."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _check as check
from ..graph.graph import Graph
from ..graph.node import Node
from ..lanes import Lanes
from ..parameter import Parameter
from .by_batch import ByBatch

_recording = os.environ.get("CNN_EXT_RECORD") != "0"
_debug = os.environ.get("CNN_EXT_DEBUG") == "1"


def set_recording(on: bool) -> None:
    """Let networks record their passes and run the recordings, or call kernel by kernel.

    They record from the start unless the environment variable CNN_EXT_RECORD is 0.  The results are
    the same, bit for bit; without recordings a pass takes longer, and a debugger or profiler sees
    each operator in Python (`ByBatch.do`).  Plans are recordings either way.

    Raises
    ------
    TypeError
        If `on` is not a bool.
    """
    global _recording
    _recording = check.boolean(on, "on")


def get_recording() -> bool:
    """Whether networks record their passes."""
    return _recording and not _debug


def set_debug(on: bool) -> None:
    """Look at every result of every layer, and name the first that is not finite.

    It is off from the start unless the environment variable CNN_EXT_DEBUG is 1.  While it is on,
    networks run operator by operator as their ``forward`` names them, without recordings, and a
    NaN or an infinity in an input, a weight, an output or a gradient is a FloatingPointError with
    the name of the layer.  Plans, training in bfloat16, and functions of `ops` on arrays are not
    looked at.

    Raises
    ------
    TypeError
        If `on` is not a bool.
    """
    global _debug
    _debug = check.boolean(on, "on")


def get_debug() -> bool:
    """Whether every result is looked at."""
    return _debug


class Watched(ByBatch):
    """A pass that looks at all that it computes.

    Parameters
    ----------
    graph : Graph
    back : bool
        As for `ByBatch`.

    Attributes
    ----------
    layer : str
        Whose nodes come next; to be set by whoever adds them.
    """

    def __init__(self, graph: Graph, back: bool) -> None:
        super().__init__(graph, back)
        self.layer = ""
        self._layers: dict[str, str] = {}  # of each value that was made

    def do(self, node: Node, x: list[Lanes], over: bool = False) -> Lanes:
        self._layers[node.output] = self.layer
        for name, value in zip(node.inputs, x, strict=True):
            if name in self.graph.inputs:
                look(value, f"the input of the network, {self.layer}")
        for key in node.weights:
            look(node.weight(key), f"{self.layer}: {key} of {node.op}")
        y = super().do(node, x, over)
        look(y, f"{self.layer}: the output of {node.op}", x)
        return y

    def go_back(self, node: Node, dy: Lanes, *others: Any) -> Sequence[Lanes | None]:
        self.layer = self._layers[node.output]
        look(dy, f"{self.layer}: the gradient that comes to the output of {node.op}")
        dxs = super().go_back(node, dy, *others)
        for dx in dxs:
            look(dx, f"{self.layer}: the gradient at an input of {node.op}")
        return dxs

    def learn_parameter(
        self, parameter: Parameter, gradient: np.ndarray, whole: bool = False
    ) -> None:
        look(gradient, f"{self.layer}: the gradient of a weight of {parameter.shape}")
        super().learn_parameter(parameter, gradient, whole)


def look(value: Any, what: str, inputs: Sequence[Lanes] = ()) -> None:
    """Raise FloatingPointError if there is NaN or infinity among the numbers of the images."""
    if value is None or np.isfinite(value.data if isinstance(value, Lanes) else value).all():
        return
    array = value.unpack() if isinstance(value, Lanes) else np.asarray(value)
    wrong = ~np.isfinite(array)
    if not wrong.any():  # in lanes without an image alone
        return
    first = tuple(map(int, np.argwhere(wrong)[0]))
    largest = max((float(np.abs(x.unpack()).max(initial=0)) for x in inputs), default=None)
    beside = "" if largest is None else f"; the largest number of its inputs is {largest:.3g}"
    raise FloatingPointError(
        f"{what} has {np.isnan(array).sum()} NaN and {np.isinf(array).sum()} infinities among "
        f"{array.size} numbers of shape {array.shape}, the first at {first}{beside}"
    )
