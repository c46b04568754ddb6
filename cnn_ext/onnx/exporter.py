"""Networks and graphs as ONNX files."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import __version__
from .._files import atomic_write
from ..graph.graph import Graph
from ..graph.node import Node, Shape
from ..graph.rewrite import CLIP_NONE, lowered
from ..layers import Module, graph_of
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
    content = _Writer(onnx, lowered(graph), names).content()
    with atomic_write(path) as file:
        file.write(content)


class _Writer:
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
            self.known[node.output] = WRITE[node.op](self, node, *map(self.known.get, node.inputs))
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

    def weights(self, node: Node) -> list[str]:
        """Append weight and bias, under the names that the network has for them.

        What stands again is written again without its name.
        """
        return [
            self.tensor(node.weight(key), name=self.names.pop(id(node.weights[key]), None))
            for key in ("weight", "bias")
            if key in node.weights
        ]

    def pad(self, x: str, padding: Sequence[int], value: float) -> str:
        """Pad images (N, C, H, W)."""
        begin, end = [0, 0, *padding[::2]], [0, 0, *padding[1::2]]
        return self.node("Pad", x, self.tensor([*begin, *end], np.int64), self.tensor(value))

    def reshape(self, x: str, shape: Shape) -> str:
        return self.node("Reshape", x, self.tensor([0, *shape], np.int64))


def _conv2d(model: _Writer, node: Node, x: str) -> str:
    a = node.attributes
    return model.node(
        "Conv", x, *model.weights(node), kernel_shape=node.weights["weight"].shape[2:],
        strides=a["stride"], pads=_pads(a["padding"]), dilations=a["dilation"], group=a["groups"],
    )  # fmt: skip


def _pads(padding: Sequence[int]) -> list[int]:
    top, bottom, left, right = padding
    return [top, left, bottom, right]


def _linear(model: _Writer, node: Node, x: str) -> str:
    return model.node("Gemm", x, *model.weights(node), transB=1)


def _pool(model: _Writer, node: Node, x: str) -> str:
    a = dict(node.attributes)
    (_, *size), output = model.graph.shapes[node.inputs[0]], model.graph.shapes[node.output]
    top, bottom, left, right = a["padding"]
    gaps = a.get("dilation", (1, 1))
    if (*a["kernel"], *gaps, *a["padding"]) == (*size, 1, 1, 0, 0, 0, 0):
        return model.node("GlobalMaxPool" if node.op == "max_pool" else "GlobalAveragePool", x)
    # programs disagree about ceil_mode; padding behind the image says the same
    more = [
        max((output[i + 1] - 1) * a["stride"][i] + (a["kernel"][i] - 1) * gaps[i] + 1 - whole, 0)
        for i, whole in enumerate((size[0] + top + bottom, size[1] + left + right))
    ]
    pads = [top, bottom + more[0], left, right + more[1]]
    common = {"kernel_shape": a["kernel"], "strides": a["stride"]}
    if node.op == "max_pool":
        if any(n >= a["kernel"][i // 2] for i, n in enumerate(pads)):  # few programs take that
            x, pads = model.pad(x, pads, -math.inf), [0, 0, 0, 0]
        return model.node("MaxPool", x, **common, pads=_pads(pads), dilations=gaps)
    count = a["count_include_pad"]
    if count and any(more):  # the padding that counts becomes part of the image
        x, pads, count = model.pad(x, a["padding"], 0.0), [0, more[0], 0, more[1]], False
    return model.node("AveragePool", x, **common, pads=_pads(pads), count_include_pad=int(count))


def _clip(model: _Writer, node: Node, x: str) -> str:
    low, high = node.attributes["low"], node.attributes["high"]
    if (low, high) == (0.0, math.inf):
        return model.node("Relu", x)
    bounds = [
        "" if bound == none else model.tensor(bound)
        for bound, none in zip((low, high), CLIP_NONE, strict=True)
    ]
    return model.node("Clip", x, *bounds)


def _binary(op: str) -> Callable[..., str]:
    def add(model: _Writer, node: Node, *inputs: str) -> str:
        if len(inputs) == 1:
            return model.node(op, inputs[0], model.tensor(node.weight("constant")))
        # axes are aligned from the back, so the batch must not meet any other axis
        shapes = [model.graph.shapes[name] for name in node.inputs]
        rank = max(map(len, shapes))
        fitting = [
            x if len(shape) == rank else model.reshape(x, (1,) * (rank - len(shape)) + shape)
            for x, shape in zip(inputs, shapes, strict=True)
        ]
        return model.node(op, *fitting)

    return add


def _gather(model: _Writer, node: Node, *inputs: str) -> str:
    index, shapes = node.attributes["index"], [model.graph.shapes[name] for name in node.inputs]
    size = sum(map(math.prod, shapes))
    flat = [
        x if len(shape) == 1 else model.node("Flatten", x)
        for x, shape in zip(inputs, shapes, strict=True)
    ]
    x = flat[0] if len(flat) == 1 else model.node("Concat", *flat, axis=1)
    if (index < 0).any():  # one more number at the end
        x = model.node("Pad", x, model.tensor([0, 0, 0, 1], np.int64),
                       model.tensor(node.attributes["fill"]))  # fmt: skip
    where = np.where(index < 0, size, index).ravel()
    x = model.node("Gather", x, model.tensor(where, np.int64), axis=1)
    return x if index.ndim == 1 else model.reshape(x, index.shape)


def _plain(op: str, **attributes: Any) -> Callable[..., str]:
    return lambda model, node, x: model.node(op, x, **attributes)


WRITE: dict[str, Callable[..., str]] = {
    "conv2d": _conv2d,
    "linear": _linear,
    "max_pool": _pool,
    "avg_pool": _pool,
    "clip": _clip,
    "leaky_relu": lambda model, node, x: model.node(
        "LeakyRelu", x, alpha=float(node.attributes["negative_slope"])
    ),
    "sigmoid": _plain("Sigmoid"),
    "tanh": _plain("Tanh"),
    "softmax": _plain("Softmax", axis=1),
    "log_softmax": _plain("LogSoftmax", axis=1),
    "add": _binary("Add"),
    "mul": _binary("Mul"),
    "gather": _gather,
    "reshape": lambda model, node, x: model.reshape(x, tuple(node.attributes["shape"])),
}
