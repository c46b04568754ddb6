"""A network as it works in evaluation mode, as a graph for plans, ONNX files and C files."""

from __future__ import annotations

from collections.abc import Sequence

from .. import _check as check
from ..graph.graph import Graph
from ..graph.rewrite import frozen
from .module import Module
from .running import evaluation_mode
from .tracing import Untraceable, trace


def graph_of(
    net: Module, input_shape: Sequence[int] | None = None, with_names: bool = False
) -> Graph:
    """The network as it works in evaluation mode, on images of one shape.

    Parameters
    ----------
    net : Module
    input_shape : tuple of int, optional
        (C, H, W) or (F,), without N; by default that of the network, where it is known.
    with_names : bool
        Whether the weights stay those of the network; else they are copies in float32.

    Raises
    ------
    TypeError
        If it has layers of one's own on plain arrays.
    ValueError
        If the input of a layer does not fit; the message names the layer.
    """
    shape = net.input_shape if input_shape is None else input_shape
    if shape is None:
        raise ValueError("input_shape: expected the shape of one image, (C, H, W)")
    sizes = check.image_shape(shape)
    with evaluation_mode(net):
        try:
            graph = trace(net, None, [sizes], net.dtype, exact=True)
        except Untraceable as error:
            raise TypeError(
                f"net: {error} has passes of its own on plain arrays, which no graph knows"
            ) from None
    if len(graph.outputs) > 1:
        raise ValueError(f"net: expected one output, got {len(graph.outputs)}")
    graph.task = net.task
    return graph if with_names else frozen(graph)
