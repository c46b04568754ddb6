"""Networks and graphs as ONNX files."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import __version__
from .._files import atomic_write
from ..graph.graph import Graph
from ..graph.node import Node, Shape
from ..graph.operator import OPERATORS, Operator
from ..graph.rewrite import CLIP_NONE, lowered
from ..layers import Module, graph_of
from ..operators.bytes import by_row, has_byte_weights
from ..task import KEY as TASK
from ..task import meaning_of
from ._package import BYTE_SCALE, onnx_package

OPSET, IR_VERSION = 17, 8  # of 2022: any program that reads ONNX today reads these


def export(
    net: Module | Graph, path: str | os.PathLike[str], input_shape: Sequence[int] | None = None
) -> None:
    """Write a network, as it works in evaluation mode, as an ONNX file.

    The input "input" is (N, C, H, W) or (N, F), float32, the output "output"; N is free.  What the
    network is for and how it scales whole numbers are kept in the metadata, for `load`; the model
    itself takes floating-point numbers as the network does.

    Parameters
    ----------
    net : Module or Graph
        The weights of a network keep their names.
    path : str or path
        Replaced only when the new file is complete and on the disk.
    input_shape : tuple of int, optional
        (C, H, W) or (F,), of one image.  A Graph knows it, and so may a network.

    Raises
    ------
    TypeError
        If `net` is neither, has a layer that is not built in, or `input_shape` is missing.
    ValueError
        If the input shape does not fit, or the file would exceed the 2 GB of the format.
    OSError
        If the file cannot be written.
    ImportError
        If the package `onnx` is not installed.
    """
    onnx = onnx_package()
    names: dict[int, str] = {}
    if isinstance(net, Module):
        if input_shape is None and net.input_shape is None:
            raise TypeError("input_shape: expected (C, H, W) or (F,), got None")
        graph = graph_of(net, input_shape, with_names=True)
        names = {id(kept): name for name, kept in net.named_state()}
    elif isinstance(net, Graph):
        graph = net
        if input_shape is not None and tuple(input_shape) != graph.input_shape:
            raise ValueError(f"input_shape: the graph takes {graph.input_shape}, got {input_shape}")
    else:
        raise TypeError(f"net: expected a Module or a Graph, got {type(net).__name__}")
    content = Writer(onnx, lowered(graph, _has_form), names).content()
    with atomic_write(path) as file:
        file.write(content)


def _has_form(node: Node) -> bool:
    # whether the operator says itself what it is in ONNX
    return type(OPERATORS[node.op]).onnx is not Operator.onnx


class Writer:
    """The nodes and tensors of a model while they are made from a graph."""

    def __init__(self, onnx: Any, graph: Graph, names: dict[int, str]) -> None:
        self.onnx = onnx
        self.graph = graph
        self.names = names
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []
        # every value of the graph under its name in the model
        self.known = {graph.input: "input"}

    def content(self) -> bytes:
        """The bytes of the file."""
        helper, graph = self.onnx.helper, self.graph
        if graph.input_shape != graph.shapes[graph.input]:
            self.known[graph.input] = self.reshape("input", graph.shapes[graph.input])
        for node in graph.nodes:
            self.known[node.output] = self.written(node)
        if graph.output_shape != graph.shapes[graph.output]:
            self.known[graph.output] = self.reshape(self.known[graph.output], graph.output_shape)
        self.node("Identity", self.known[graph.output], output="output")
        values = [
            helper.make_tensor_value_info(name, self.onnx.TensorProto.FLOAT, ["N", *shape])
            for name, shape in (("input", graph.input_shape), ("output", graph.output_shape))
        ]
        model = helper.make_model(
            helper.make_graph(self.nodes, "cnn_ext", values[:1], values[1:], self.tensors),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="cnn_ext",
            producer_version=__version__,
        )
        metadata = {TASK: meaning_of(graph).to_json()}
        if graph.byte_scale is not None:
            metadata[BYTE_SCALE] = repr(graph.byte_scale)
        helper.set_model_props(model, metadata)
        if model.ByteSize() >= 2**31:
            raise ValueError("net: an ONNX file may have 2 GB")
        return model.SerializeToString(deterministic=True)

    def node(self, op: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Append a node of ONNX; returns the name of its value."""
        name = output or f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(
            self.onnx.helper.make_node(
                op, inputs, [name], name=f"{op}{len(self.nodes)}", **attributes
            )
        )
        return name

    def tensor(self, array: Any, dtype: Any = np.float32, name: str | None = None) -> str:
        """Append a constant; returns its name."""
        name = name or f"constant{len(self.tensors)}"
        self.tensors.append(self.onnx.numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def written(self, node: Node) -> str:
        """Append what the operator of a node says; returns the name of its value."""
        return OPERATORS[node.op].onnx(self, node, *(self.known[name] for name in node.inputs))

    # ------------------------------------------------------------ what the operators put together

    def weight(self, node: Node, key: str, shape: Sequence[int] | None = None) -> str:
        """Append a weight, perhaps in another shape, under the name that the network has for it.

        What stands again is written again without its name.
        """
        array, scale = np.asarray(node.weight(key)), node.weight("weight_scale")
        name = self.names.pop(id(node.weights[key]), None)
        if key == "weight" and scale is not None and has_byte_weights(node):
            return self._bytes_of(array if shape is None else array.reshape(shape), scale, name)
        return self.tensor(array if shape is None else array.reshape(shape), name=name)

    def _bytes_of(self, array: np.ndarray, scale: np.ndarray, name: str | None) -> str:
        # signed bytes, with a scale of each row
        steps = np.rint(array / by_row(scale, array))
        whole = self.tensor(steps.clip(-128, 127), np.int8, name)
        zeros = self.tensor(np.zeros(len(scale)), np.int8)
        return self.node("DequantizeLinear", whole, self.tensor(scale), zeros, axis=0)

    def on_grid(self, x: str, scale: float, zero_point: int) -> str:
        """The nearest numbers of a grid of bytes."""
        grid = self.tensor(scale), self.tensor(zero_point, np.uint8)
        return self.node("DequantizeLinear", self.node("QuantizeLinear", x, *grid), *grid)

    def weights(self, node: Node) -> list[str]:
        """Append weight and bias, as far as there are such."""
        return [self.weight(node, key) for key in ("weight", "bias") if key in node.weights]

    def pads(self, padding: Sequence[int]) -> list[int]:
        """Padding in the order of ONNX."""
        top, bottom, left, right = padding
        return [top, left, bottom, right]

    def pad(self, x: str, padding: Sequence[int], value: float) -> str:
        """Pad images (N, C, H, W)."""
        begin, end = [0, 0, *padding[::2]], [0, 0, *padding[1::2]]
        return self.node("Pad", x, self.tensor([*begin, *end], np.int64), self.tensor(value))

    def clip(self, x: str, bounds: tuple[float, float] | None) -> str:
        """Clip, if there are bounds."""
        if bounds is None:
            return x
        if bounds == (0.0, math.inf):
            return self.node("Relu", x)
        pairs = zip(bounds, CLIP_NONE, strict=True)
        return self.node("Clip", x, *("" if b == none else self.tensor(b) for b, none in pairs))

    def reshape(self, x: str, shape: Shape) -> str:
        return self.node("Reshape", x, self.tensor([0, *shape], np.int64))
