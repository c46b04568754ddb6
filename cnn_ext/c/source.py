"""A graph as one C99 file: weights, buffers and two functions, and nothing to link but libm."""

from __future__ import annotations

import math
import operator
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import _core
from .._files import atomic_write
from ..graph.bytes import Grid
from ..graph.graph import Graph
from ..graph.layout import MOST
from ..graph.node import Node, Shape
from ..graph.rewrite import bytes_fused, fused, lowered
from ..operators import OPERATORS, bytes_c
from ..operators.c_text import Image, number, pad, unary
from ..operators.elementwise import Elementwise
from ..operators.quantize import grid_of
from ..run.rules import most_at_once
from ..scale import AS_THEY_ARE
from ..task import Task, meaning_of
from . import frame

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
    if any(node.op == "fake_quantize" for node in graph.nodes):
        graph = bytes_fused(fused(graph))
    writer = Writer(graph)
    functions = [text.replace("NAME", key, 1) for text, key in writer.functions.items()]
    offsets, size = writer.plan()
    outputs = graph.shapes[graph.output]
    classify = frame.is_vector(outputs) and task.kind in (None, "classes", "probability")
    classify = classify and task.outputs not in (None, "numbers")
    kept = 4 * (size + outputs[0] * classify)
    shapes = (graph.input_shape, graph.output_shape)
    about = f"""\
/* {name}: a network from {frame.by(shapes[0])} to {frame.by(shapes[1])} numbers.
   {writer.constant_bytes} bytes of constants, {kept} bytes of buffers,
   {writer.multiply_adds} multiply-adds an image.  Fastest with -O3.{_scale_note(graph)} */
"""
    top = f'{about}#include "{header}"\n\n#include <math.h>\n'
    parts = [top, frame.RESTRICT, *writer.definitions, *functions, "".join(writer.constants)]
    if size:
        parts.append(f"static float memory[{size}];\n")
    buffers = [writer.buffer(key, offset) for key, offset in offsets.items()]
    lines = [*buffers, *writer.calls]
    if writer.odd:
        count = math.prod(outputs)
        lines = ["float odd = 0.0f;", *lines, f"for (int i = 0; i < {count}; i++)"]
        lines.append("    output[i] += odd;")
    text = "".join(f"    {line}\n" for line in lines)
    parts.append(f"void {name}_predict(const float *input, float *output)\n{{\n{text}}}\n")
    if classify:
        parts.append(frame.classify(name, outputs[0], str(task.outputs)))
    return "\n".join(filter(None, parts)), frame.header(name, *shapes, about, classify)


def _scale_note(graph: Graph) -> str:
    if graph.byte_scale is None or graph.byte_scale == AS_THEY_ARE:
        return ""
    return f"\n   Input of bytes is multiplied by {number(graph.byte_scale)} first."


class Writer:
    """What a graph needs in C, in the order in which it was found to be needed."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.definitions: dict[str, None] = {}  # that stand before all functions
        self.functions: dict[str, str] = {}  # text with NAME in it: the name
        self.constants: list[str] = []
        self.calls: list[str] = []
        self.shapes: dict[str, Shape] = {}  # of every buffer
        self.spans: dict[str, list[int]] = {}  # first and last call that needs it
        self.grids: dict[str, tuple[Shape, Grid]] = {}  # of buffers of bytes, with their image
        self.constant_bytes = self.multiply_adds = 0
        self.odd = False  # whether `odd` may become NaN, which is to be seen in the outputs
        most, node = most_at_once(graph, lambda name: math.prod(graph.shapes[name]))
        if most > MOST:
            raise ValueError(f"{graph.said(node)}: {TOO_LARGE}, this needs {most} at once")
        self._translate()

    def plan(self) -> tuple[dict[str, int], int]:
        """Where in memory each buffer lies, and the size of the memory."""
        sizes = [
            -(-math.prod(shape) // 4) if name in self.grids else math.prod(shape)
            for name, shape in self.shapes.items()
        ]
        starts = [self.spans[name][0] for name in self.shapes]
        ends = [self.spans[name][1] + 1 for name in self.shapes]
        offsets, _ = _core.first_fit(sizes, starts, ends, ALIGNMENT)
        whole = max(map(operator.add, offsets, sizes), default=0)
        return dict(zip(self.shapes, offsets, strict=True)), whole

    def buffer(self, name: str, offset: int) -> str:
        """The definition of a buffer."""
        start, said = f"memory + {offset}", frame.by(self.shapes[name])
        if name in self.grids:
            return f"unsigned char *const {name} = (unsigned char *)({start}); /* {said} */"
        return f"float *const {name} = {start}; /* {said} */"

    # ------------------------------------------------------------- what operators may ask

    def define(self, signature: str, expression: str) -> None:
        """A function of one expression, ``name(float v, ...)``."""
        self.define_text(f"static inline float {signature} {{ return {expression}; }}\n")

    def define_text(self, text: str) -> None:
        """What must stand before all functions, once."""
        self.definitions[text] = None

    def constant(self, name: str, array: np.ndarray) -> str:
        """An array of floats, or a table of whole numbers; its name, which begins so."""
        name = f"{name}{len(self.constants)}"
        if array.dtype == np.float32:
            flat = array.ravel()
            parts = (flat[i : i + 6].astype(str) for i in range(0, array.size, 6))
            rows = [", ".join([f"{text}f" for text in part]) for part in parts]  # the shortest
            kind = f"float {name}[{array.size}]"
        elif array.dtype == np.int8:
            numbers = [str(value) for value in array.ravel().tolist()]
            rows = [", ".join(numbers[i : i + 24]) for i in range(0, len(numbers), 24)]
            kind = f"signed char {name}[{array.size}]"
        else:
            texts = [f"{{{', '.join(map(str, row))}}}" for row in array.tolist()]
            rows = [", ".join(texts[i : i + 6]) for i in range(0, len(texts), 6)]
            kind = f"int {name}[{array.shape[0]}][{array.shape[1]}]"
        self.constants.append(f"static const {kind} = {{\n" + ",\n".join(rows) + "\n};\n")
        self.constant_bytes += array.size if array.dtype == np.int8 else 4 * array.size
        return name

    def line(self, text: str, *buffers: str) -> None:
        """A line of the function that predicts, and the buffers that it needs."""
        for name in buffers:
            self.spans.setdefault(name, [len(self.calls), 0])[1] = len(self.calls)
        self.calls.append(text)

    def call(self, kind: str, text: str, buffers: Sequence[str], *arguments: str) -> None:
        """Call a C function; the buffers that stand in its arguments are named beside them."""
        name = self.functions.setdefault(text, f"{kind}_{len(self.functions)}")
        self.line(f"{name}({', '.join(arguments or buffers)});", *buffers)

    def padded(
        self, x: str, shape: Shape, before: Sequence[int], used: Sequence[int], fill: str
    ) -> tuple[str, Image]:
        """An image with what windows need around it; they use so many rows and columns of it."""
        C, H, W = shape
        top, left = before
        whole = (C, max(used[0], top + H), max(used[1], left + W))
        if whole == (C, H, W):
            return x, whole
        y = f"padded{len(self.calls)}"
        if math.prod(whole) > MOST:
            raise ValueError(f"{TOO_LARGE}, this needs {whole} with padding")
        self.shapes[y] = whole
        self.call("pad", pad((C, H, W), top, left, *whole[1:], fill), [x, y])
        return y, whole

    # ------------------------------------------------------------------------------- nodes

    def _translate(self) -> None:
        graph = self.graph
        root = {graph.input: graph.input}  # of every value: the one whose numbers it has
        chains = _chains(graph)
        for chain in chains:
            name, same = chain[-1].output, OPERATORS[chain[0].op].same_memory
            root[name] = root[chain[0].inputs[0]] if same else name
        end = root[graph.output]
        buffers = {name: name for name in root} | {end: "output", graph.input: "input"}
        for chain in chains:
            node, last = chain[0], chain[-1]
            if OPERATORS[node.op].same_memory:
                continue
            for key, array in node.weights.items():
                if not np.isfinite(array).all():
                    raise ValueError(f"graph: {node.output}: {key}: NaN or infinity among weights")
            y = buffers[last.output]
            if y != "output":
                self.shapes[y] = graph.shapes[last.output]
            self.multiply_adds += OPERATORS[node.op].multiply_adds(node, graph.shapes[node.output])
            self._write_chain(chain, [buffers[root[name]] for name in node.inputs], y)
        if end == graph.input:
            text = unary(math.prod(graph.input_shape), "{v}")
            self.call("copy", text, ["input", "output"])

    def _write_chain(self, chain: list[Node], inputs: list[str], y: str) -> None:
        # where bytes come in, or go out, beside what knows numbers alone
        node, shape = chain[0], self.graph.shapes[chain[-1].output]
        known = [self.grids.get(name) for name in inputs]
        grids = [None if found is None else found[1] for found in known]
        own = [(name, *found) for name, found in zip(inputs, known, strict=True) if found]
        if bytes_c.takes_bytes(node, grids) and len(chain) == 1 and same_shapes(node, own):
            made = bytes_c.made_of(node, own)
            z = self._room(y, shape, made)
            bytes_c.write(self, node, own, z, made)
            self._bring(z, y, shape, made)
            return
        numbers = [
            name if found is None else self._as_numbers(name, *found)
            for name, found in zip(inputs, known, strict=True)
        ]
        wanted = node.attributes.get("quantize")
        if node.op == "fake_quantize":
            grid, x = grid_of(node), numbers[0]
        elif wanted is not None:
            grid, x = Grid(*wanted), f"numbers{len(self.calls)}"
            self.shapes[x] = shape
            self._write(node, chain[1:], numbers, x)
        else:
            self._write(node, chain[1:], numbers, y)
            return
        z = self._room(y, shape, grid)
        bytes_c.to_bytes(self, x, shape, z, grid)
        self._bring(z, y, shape, grid)

    def _room(self, y: str, shape: Shape, grid: Grid | None) -> str:
        # a buffer for the result: the output has numbers, so bytes go somewhere else first
        if grid is None:
            return y
        z = y if y != "output" else f"bytes{len(self.calls)}"
        self.shapes[z] = shape
        self.grids[z] = shape, grid
        return z

    def _bring(self, z: str, y: str, shape: Shape, grid: Grid | None) -> None:
        if z != y and grid is not None:
            bytes_c.to_numbers(self, z, shape, y, grid)

    def _as_numbers(self, name: str, shape: Shape, grid: Grid) -> str:
        y = f"numbers{len(self.calls)}"
        self.shapes[y] = shape
        bytes_c.to_numbers(self, name, shape, y, grid)
        return y

    def _write(self, node: Node, functions: list[Node], inputs: list[str], y: str) -> None:
        here, after = node, "{v}"
        try:
            for here in functions:
                operator: Any = OPERATORS[here.op]
                after = operator.expression(self, here, after)
            here = node
            OPERATORS[node.op].c(self, node, inputs, y, after)
        except ValueError as error:
            raise ValueError(f"{self.graph.said(here)}: {error}") from error


def same_shapes(node: Node, inputs: Sequence[tuple[str, Shape, Grid]]) -> bool:
    """Whether the inputs of a sum have one shape: bytes are not repeated."""
    return node.op != "add" or inputs[0][1] == inputs[-1][1]


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
        operator = OPERATORS[node.op]
        goes_on = isinstance(operator, Elementwise) and node.op != "fake_quantize"
        chain = ends.get(node.inputs[0]) if goes_on else None
        if chain is None:
            chain = []
            chains.append(chain)
        chain.append(node)
        is_bytes = node.op == "fake_quantize" or node.attributes.get("quantize") is not None
        if operator.c_goes_on and uses[node.output] == 1 and not is_bytes:
            ends[node.output] = chain
    return chains
