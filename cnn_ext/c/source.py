"""A graph as one C99 file: weights, buffers and two functions, and nothing to link but libm."""

from __future__ import annotations

import math
import operator
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from .. import _core
from .._files import atomic_write
from ..graph.graph import Graph
from ..graph.node import Node, Shape
from ..graph.rewrite import lowered
from ..run.layout import MOST
from ..run.rules import most_at_once
from ..scale import AS_THEY_ARE
from ..task import Task, meaning_of
from . import kernels
from .kernels import Image, Part

UNARY = ("clip", "leaky_relu", "sigmoid", "tanh")
FUSING = (*UNARY, "conv2d", "linear", "max_pool", "avg_pool", "add", "mul")
FEW = 4  # fewer outputs of a group are not worth a block
ALIGNMENT = 16  # floats
TOO_LARGE = f"the buffers of a C file may have {MOST} numbers"


def write_c(
    graph: Graph,
    path: str | os.PathLike[str],
    name: str | None = None,
    outputs: str | None = None,
) -> None:
    """Write a graph as C99: ``net.c`` and, beside it, ``net.h``.

    The header declares ``NAME_predict``, from one image to the outputs, and, if the outputs are
    one vector and it is known what they mean, ``NAME_classify``, which gives the likeliest class.
    The same graph gives the same bytes.

    Parameters
    ----------
    graph : Graph
    path : str or path
        Of the file with the suffix ``.c``; it and the header are replaced if they are there.
    name : str, optional
        What the functions' names begin with; by default that of the file.
    outputs : str, optional
        What the outputs are, if it is known better than the graph knows it, see `Plan`.

    Raises
    ------
    TypeError
        If `graph` is not a Graph.
    ValueError
        If the name is not one of C, a weight is not finite, a path is not that of a file, or
        `outputs` is unknown.
    OSError
        If a file cannot be written.
    """
    if not isinstance(graph, Graph):
        raise TypeError(f"graph: expected a Graph, got {type(graph).__name__}")
    source, header, prefix = names_of(path, name)
    text, declarations = c_source(graph, prefix, header.name, meaning_of(graph, outputs))
    with atomic_write(header) as second, atomic_write(source) as first:
        first.write(text.encode())
        second.write(declarations.encode())


def names_of(path: str | os.PathLike[str], name: str | None) -> tuple[Path, Path, str]:
    """The C file, its header and what the functions' names begin with; ValueError as `write_c`."""
    source = Path(path)
    if source.suffix != ".c" or not re.fullmatch(r"[\w.+ -]+", source.name):
        raise ValueError(f"path: expected the name of a file that ends in .c, got {str(source)!r}")
    prefix = source.stem if name is None else name
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,62}", prefix):
        raise ValueError(
            f"name: expected a letter, then letters, digits and underscores, got {prefix!r}"
        )
    return source, source.with_suffix(".h"), prefix


def c_source(graph: Graph, name: str, header: str, task: Task) -> tuple[str, str]:
    """The text of the C file and that of its header, whose file is called `header`."""
    graph = lowered(graph)
    writer = _Writer(graph)
    helpers = "".join(
        f"static inline float {key}({kernels.HELPERS[key]}\n" for key in sorted(writer.helpers)
    )
    functions = [text.replace("NAME", key, 1) for text, key in writer.functions.items()]
    if any("lanes" in text for text in functions):
        functions.insert(0, kernels.LANES)
    if any("gather(" in call for call in writer.calls):
        functions.append(kernels.GATHER)
    offsets, size = writer.plan()
    outputs = graph.shapes[graph.output]
    classify = kernels.is_vector(outputs) and task.kind in (None, "classes", "probability")
    classify = classify and task.outputs not in (None, "numbers")
    kept = 4 * (size + outputs[0] * classify)
    shapes = (graph.input_shape, graph.output_shape)
    about = f"""\
/* {name}: a network from {kernels.by(shapes[0])} to {kernels.by(shapes[1])} numbers.
   {writer.constant_bytes} bytes of constants, {kept} bytes of buffers,
   {writer.multiply_adds} multiply-adds an image.  Fastest with -O3.{_scale_note(graph)} */
"""
    top = f'{about}#include "{header}"\n\n#include <math.h>\n'
    parts = [top, kernels.RESTRICT, helpers, *functions, "".join(writer.constants)]
    if size:
        parts.append(f"static float memory[{size}];\n")
    buffers = [
        f"float *const {key} = memory + {offset}; /* {kernels.by(writer.shapes[key])} */"
        for key, offset in offsets.items()
    ]
    text = "".join(f"    {line}\n" for line in [*buffers, *writer.calls])
    parts.append(f"void {name}_predict(const float *input, float *output)\n{{\n{text}}}\n")
    if classify:
        parts.append(kernels.classify(name, outputs[0], str(task.outputs)))
    return "\n".join(filter(None, parts)), kernels.header(name, *shapes, about, classify)


def _scale_note(graph: Graph) -> str:
    if graph.byte_scale is None or graph.byte_scale == AS_THEY_ARE:
        return ""
    return f"\n   Input of bytes is multiplied by {_number(graph.byte_scale)} first."


class _Writer:
    """What a graph needs in C, in the order in which it was found to be needed."""

    def __init__(self, graph: Graph) -> None:
        self.functions: dict[str, str] = {}  # text with NAME in it: the name
        self.helpers: set[str] = set()
        self.constants: list[str] = []
        self.calls: list[str] = []
        self.shapes: dict[str, Shape] = {}  # of every buffer
        self.spans: dict[str, list[int]] = {}  # first and last call that needs it
        self.constant_bytes = self.multiply_adds = 0
        most, node = most_at_once(graph, lambda name: math.prod(graph.shapes[name]))
        if most > MOST:
            raise ValueError(f"{graph.said(node)}: {TOO_LARGE}, this needs {most} at once")
        self._translate(graph)

    def plan(self) -> tuple[dict[str, int], int]:
        """Where in memory each buffer lies, and the size of the memory."""
        sizes = [math.prod(shape) for shape in self.shapes.values()]
        starts = [self.spans[name][0] for name in self.shapes]
        ends = [self.spans[name][1] + 1 for name in self.shapes]
        offsets, _ = _core.first_fit(sizes, starts, ends, ALIGNMENT)
        whole = max(map(operator.add, offsets, sizes), default=0)
        return dict(zip(self.shapes, offsets, strict=True)), whole

    # ------------------------------------------------------------------------- parts

    def _constant(self, name: str, array: np.ndarray) -> str:
        name = f"{name}{len(self.constants)}"
        if array.dtype == np.float32:
            flat = array.ravel()
            parts = (flat[i : i + 6].astype(str) for i in range(0, array.size, 6))
            rows = [", ".join([f"{text}f" for text in part]) for part in parts]  # the shortest
            kind = f"float {name}[{array.size}]"
        else:
            texts = [f"{{{', '.join(map(str, row))}}}" for row in array.tolist()]
            rows = [", ".join(texts[i : i + 6]) for i in range(0, len(texts), 6)]
            kind = f"int {name}[{array.shape[0]}][{array.shape[1]}]"
        self.constants.append(f"static const {kind} = {{\n" + ",\n".join(rows) + "\n};\n")
        self.constant_bytes += 4 * array.size
        return name

    def _line(self, text: str, *buffers: str) -> None:
        for name in buffers:
            self.spans.setdefault(name, [len(self.calls), 0])[1] = len(self.calls)
        self.calls.append(text)

    def _call(self, kind: str, text: str, buffers: Sequence[str], *arguments: str) -> None:
        """Call a C function; the buffers that stand in its arguments are named beside them."""
        name = self.functions.setdefault(text, f"{kind}_{len(self.functions)}")
        self._line(f"{name}({', '.join(arguments or buffers)});", *buffers)

    def _after(self, nodes: Sequence[Node]) -> str:
        """Activations as one expression of {v}."""
        text = "{v}"
        for node in nodes:
            if node.op == "clip":
                bounds = (("at_least", "low", -math.inf), ("at_most", "high", math.inf))
                for helper, key, none in bounds:
                    if node.attributes[key] != none:
                        text = f"{helper}({text}, {_number(node.attributes[key])})"
                        self.helpers.add(helper)
            elif node.op == "tanh":
                text = f"tanhf({text})"
            else:
                slope = node.attributes.get("negative_slope")
                text = f"{node.op}({text}{'' if slope is None else ', ' + _number(slope)})"
                self.helpers.add(node.op)
        return text

    # ------------------------------------------------------------------------- nodes

    def _translate(self, graph: Graph) -> None:
        root = {graph.input: graph.input}  # of every value: the one whose numbers it has
        chains = _chains(graph)
        for chain in chains:
            name = chain[-1].output
            root[name] = root[chain[0].inputs[0]] if chain[0].op == "reshape" else name
        end = root[graph.output]
        buffers = {name: name for name in root} | {end: "output", graph.input: "input"}
        for node, *activations in chains:
            if node.op == "reshape":
                continue
            last = (activations or [node])[-1]
            for key, array in node.weights.items():
                if not np.isfinite(array).all():
                    raise ValueError(f"graph: {node.output}: {key}: NaN or infinity among weights")
            inputs = [buffers[root[name]] for name in node.inputs]
            y = buffers[last.output]
            if y != "output":
                self.shapes[y] = graph.shapes[last.output]
            shapes = [graph.shapes[name] for name in (*node.inputs, node.output)]
            if node.op in UNARY:
                after = self._after([node, *activations])
                self._call("unary", kernels.unary(math.prod(shapes[0]), after), [*inputs, y])
            else:
                add = getattr(self, f"_{node.op}")
                try:
                    add(node, shapes, self._after(activations), [*inputs, y])
                except ValueError as error:
                    raise ValueError(f"{graph.said(node)}: {error}") from error
        if end == graph.input:
            text = kernels.unary(math.prod(graph.input_shape), "{v}")
            self._call("copy", text, ["input", "output"])

    def _padded(
        self, x: str, shape: Shape, padding: Sequence[int], used: Sequence[int], fill: str
    ) -> tuple[str, Image]:
        """An image with what windows need around it; they use so many rows and columns of it."""
        C, H, W = shape
        top, _, left, _ = padding
        whole = (C, max(used[0], top + H), max(used[1], left + W))
        if whole == (C, H, W):
            return x, whole
        y = f"padded{len(self.calls)}"
        if math.prod(whole) > MOST:
            raise ValueError(f"{TOO_LARGE}, this needs {whole} with padding")
        self.shapes[y] = whole
        self._call("pad", kernels.pad((C, H, W), top, left, *whole[1:], fill), [x, y])
        return y, whole

    def _conv2d(self, node: Node, shapes: list[Shape], after: str, buffers: list[str]) -> None:
        x, y = buffers
        a, weight = node.attributes, node.weights["weight"]
        (K, C, *kernel), (_, P, Q), G = weight.shape, shapes[1], a["groups"]
        used = _used((P, Q), kernel, a["stride"], a["dilation"])
        x, (_, H, W) = self._padded(x, shapes[0], a["padding"], used, "0.0f")
        self.multiply_adds += P * Q * weight.size
        bias = node.weights.get("bias", np.zeros(K, np.float32))
        if G == 1 and [H, W] == kernel:
            self._dense(weight.reshape(K, -1), bias, after, x, y)
            return
        windows = (tuple(kernel), a["stride"], a["dilation"])
        if K // G < FEW:
            text = kernels.conv2d_rows((C, H, W), (K // G, P, Q), G, *windows, after)
            w, b = self._constant("w", weight), self._constant("b", bias)
            self._call("conv2d", text, [x, y], x, w, b, y)
            return
        if kernel == [1, 1] and tuple(a["stride"]) == (1, 1):
            H, W, P, Q = 1, H * W, 1, P * Q  # one long row has fewer ends
        groups = (weight.reshape(G, K // G, C, *kernel), bias.reshape(G, K // G))
        for (first, count, block), w, b in self._blocks(*groups, 16):
            sizes = ((C, H, W), (count, P, Q), K // G, G)
            text = kernels.conv2d(*sizes, *windows, block, after)
            self._call("conv2d", text, [x, y], x, w, b, _at(y, first * P * Q))

    def _linear(self, node: Node, shapes: list[Shape], after: str, buffers: list[str]) -> None:
        weight = node.weights["weight"]
        self.multiply_adds += weight.size
        bias = node.weights.get("bias", np.zeros(len(weight), np.float32))
        self._dense(weight, bias, after, *buffers)

    def _dense(self, weight: np.ndarray, bias: np.ndarray, after: str, x: str, y: str) -> None:
        for (first, count, block), w, b in self._blocks(weight[None], bias[None], 32):
            text = kernels.linear(weight.shape[1], count, block, after)
            self._call("linear", text, [x, y], x, w, b, _at(y, first))

    def _blocks(
        self, weight: np.ndarray, bias: np.ndarray, width: int
    ) -> Iterator[tuple[Part, str, str]]:
        """Weights (groups, outputs, ...) in blocks: each part of the outputs with its constants."""
        parts = kernels.split(weight.shape[1], width)
        pieces = [[kernels.blocks(array, part) for part in parts] for array in (weight, bias)]
        w, b = (self._constant(name, np.concatenate(pieces[i])) for i, name in enumerate("wb"))
        at = bias_at = 0
        for part, piece, bias_piece in zip(parts, *pieces, strict=True):
            yield part, _at(w, at), _at(b, bias_at)
            at += piece.size
            bias_at += bias_piece.size

    def _max_pool(self, node: Node, shapes: list[Shape], after: str, buffers: list[str]) -> None:
        a = node.attributes
        used = _used(shapes[1][1:], a["kernel"], a["stride"], a["dilation"])
        x, shape = self._padded(buffers[0], shapes[0], a["padding"], used, "-INFINITY")
        windows = (a["kernel"], a["stride"], a["dilation"])
        text = kernels.pool(shape, _image(shapes[1]), *windows, None, after)
        self._call("max_pool", text, [x, buffers[1]])

    def _avg_pool(self, node: Node, shapes: list[Shape], after: str, buffers: list[str]) -> None:
        a = node.attributes
        (_, H, W), (_, P, Q) = shapes
        top, bottom, left, right = a["padding"]
        used = _used((P, Q), a["kernel"], a["stride"], (1, 1))
        x, shape = self._padded(buffers[0], shapes[0], a["padding"], used, "0.0f")
        counts = []
        kernels.check_rows(P + Q)
        for axis, (size, before, behind) in enumerate(((H, top, bottom), (W, left, right))):
            low, high = before, before + size
            if a["count_include_pad"]:
                low, high = 0, high + behind
            starts = [i * a["stride"][axis] for i in range(shapes[1][axis + 1])]
            kernel = a["kernel"][axis]
            counts.append([min(start + kernel, high) - max(start, low) for start in starts])
        windows = (a["kernel"], a["stride"], (1, 1))
        text = kernels.pool(shape, _image(shapes[1]), *windows, (counts[0], counts[1]), after)
        self._call("avg_pool", text, [x, buffers[1]])

    def _add(self, node: Node, shapes: list[Shape], after: str, buffers: list[str]) -> None:
        *inputs, y = buffers
        arguments = list(inputs)
        *operands, shape = shapes
        if node.weights:
            constant = node.weights["constant"]
            kernels.check_rows(constant.size)
            arguments.append(self._constant("c", constant))
            operands.append(constant.shape)
        text = kernels.binary("+" if node.op == "add" else "*", shape, operands, after)
        self._call(node.op, text, buffers, *arguments, y)

    _mul = _add

    def _gather(self, node: Node, shapes: list[Shape], after: str, buffers: list[str]) -> None:
        *inputs, y = buffers
        runs = kernels.runs(node.attributes["index"], [math.prod(shape) for shape in shapes[:-1]])
        table = self._constant("t", runs)
        sources = ", ".join([*inputs, "&fill"])
        self._line(
            f"{{\n        static const float fill = {_number(node.attributes['fill'])};\n"
            f"        const float *const from[] = {{{sources}}};\n"
            f"        gather(from, {table}, {len(runs)}, {y});\n    }}",
            *buffers,
        )

    def _softmax(self, node: Node, shapes: list[Shape], after: str, buffers: list[str]) -> None:
        classes, *pixels = shapes[0]
        text = kernels.softmax(classes, math.prod(pixels), node.op == "log_softmax")
        self._call(node.op, text, buffers)

    _log_softmax = _softmax


def _chains(graph: Graph) -> list[list[Node]]:
    """The nodes that the output needs, each with the activations that follow it alone."""
    needed = {graph.output}
    for node in reversed(graph.nodes):
        if node.output in needed:
            needed.update(node.inputs)
    nodes = [node for node in graph.nodes if node.output in needed]
    uses = Counter([graph.output, *(name for node in nodes for name in node.inputs)])
    chains: list[list[Node]] = []
    ends: dict[str, list[Node]] = {}  # by the value that an activation may still change
    for node in nodes:
        chain = ends.get(node.inputs[0]) if node.op in UNARY else None
        if chain is None:
            chain = []
            chains.append(chain)
        chain.append(node)
        if node.op in FUSING and uses[node.output] == 1:
            ends[node.output] = chain
    return chains


def _used(
    outputs: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> list[int]:
    # rows and columns up to the last that a window sees
    axes = zip(outputs, kernel, stride, dilation, strict=True)
    return [(count - 1) * step + (size - 1) * gap + 1 for count, size, step, gap in axes]


def _image(shape: Shape) -> Image:
    C, H, W = shape
    return C, H, W


def _at(name: str, offset: int) -> str:
    return f"{name} + {offset}" if offset else name


def _number(value: float) -> str:
    if math.isnan(value):
        raise ValueError("graph: NaN among the attributes of a node")
    with np.errstate(over="ignore"):
        number = np.float32(value)
    if np.isinf(number):
        return "INFINITY" if number > 0 else "-INFINITY"
    return f"{number!s}f"
