"""ONNX models as graphs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import _check as check
from ..graph.graph import Graph
from ..graph.node import Shape
from ..graph.rewrite import simplify
from ..graph.spelled import spelled
from ..task import KEY as TASK
from ..task import Task, meaning_of
from ._package import BYTE_SCALE, onnx_package
from .building import BATCH, ROOM, Builder, Classes, Operand, Value
from .constants import FLOATS, FOLDED, folded
from .operators import READERS
from .step import Step
from .tensors import array_of

OLDEST = 7  # opset: broadcasting as in NumPy, batch normalisation without the flag for testing
FAULTS = (ValueError, TypeError, KeyError, IndexError, ArithmeticError, MemoryError)


def load(
    path: str | os.PathLike[str],
    byte_scale: float | None = None,
    input_shape: Sequence[int] | None = None,
    output: str | int | None = None,
) -> Graph:
    """Read an ONNX file.

    Parameters
    ----------
    path : str or path
        A model with one input of floating point, of which axis 0 counts images; see docs/onnx.md
        for the operators.
    byte_scale : float, optional
        What bytes (uint8) are multiplied by, 1 to take whole numbers as they are.  By default what
        the file says of it, as those of `export` do; another file takes no whole numbers.
    input_shape : tuple of int, optional
        Of one image, without N; needed where the file leaves sizes free.
    output : str or int, optional
        Which value is the output: the name of any value of the model, or the number of one of its
        outputs, from 0.  Needed where the model has more than one output.

    Returns
    -------
    Graph
        Simplified.  If the model is made for a batch of one size, the graph is not.  Of a model
        that ends in ArgMax it gives the scores before that, and the task is classes.

    Raises
    ------
    ValueError
        If the file is damaged, or not a model of this kind; the message names the file and all
        nodes that are not supported.
    OSError
        If it cannot be read.
    ImportError
        If the package `onnx` is not installed.
    """
    onnx = onnx_package()
    content = Path(path).read_bytes()
    try:
        model = onnx.ModelProto.FromString(content)
    except Exception as error:  # DecodeError of whatever protobuf is there
        raise ValueError(f"{path}: not an ONNX file: {error}") from error
    graph, _ = read(model, str(path), Path(path).parent, Asked(input_shape, output))
    return _told(graph, model, str(path), byte_scale)


def from_model(
    model: Any,
    byte_scale: float | None = None,
    input_shape: Sequence[int] | None = None,
    output: str | int | None = None,
) -> Graph:
    """As `load`, of a ModelProto with all its data inside.

    Raises
    ------
    ValueError
        If it is not a model of this kind.
    """
    graph, _ = read(model, "model", None, Asked(input_shape, output))
    return _told(graph, model, "model", byte_scale)


def _told(graph: Graph, model: Any, name: str, byte_scale: float | None) -> Graph:
    # with what the model keeps about itself
    kept = {entry.key: entry.value for entry in model.metadata_props}
    try:
        if byte_scale is None and BYTE_SCALE in kept:
            byte_scale = float(kept[BYTE_SCALE])
        if byte_scale is not None:
            graph.byte_scale = check.number(byte_scale, "byte_scale")
        if TASK in kept:
            graph.task = Task.from_json(kept[TASK])
        meaning_of(graph)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return graph


class Asked(NamedTuple):
    """What is asked of a model beside what its file says; `load` tells what it means."""

    input_shape: Sequence[int] | None = None
    output: str | int | None = None
    one_image: bool = False  # whether the whole input, axis 0 and all, is one image


NOTHING = Asked()


def read(model: Any, name: str, folder: Path | None, asked: Asked = NOTHING) -> tuple[Graph, Shape]:
    """The graph of a model, and the shape of its output, where the batch is `BATCH`.

    Parameters
    ----------
    model : onnx.ModelProto
    name : str
        Of the file, for messages.
    folder : Path or None
        Where data outside the model may lie.
    asked : Asked
    """
    try:
        with np.errstate(all="ignore"):  # what is not finite is found below
            reader = _Reader(model, folder, asked)
            output = reader.run()
            graph = spelled(simplify(reader.build.graph))
    except (*FAULTS, RecursionError) as error:
        raise ValueError(f"{name}: {error}") from error
    for node in graph.nodes:
        for key, array in node.weights.items():
            if not np.isfinite(array).all():
                raise ValueError(f"{name}: a {key} of {node.op} is not finite")
    return graph, output.shape


class _Reader:
    """What is known of a model while its nodes are read one after the other."""

    def __init__(self, model: Any, folder: Path | None, asked: Asked) -> None:
        self.graph, self.folder = model.graph, folder
        self.opset = _opset(model)
        self.known: dict[str, Operand | None] = {}  # None: its node is not supported
        self.names: dict[int, str] = {}  # of tensors, by where their numbers are
        count = 0
        if len(self.graph.sparse_initializer):
            raise ValueError("sparse tensors are not supported")
        for tensor in self.graph.initializer:
            if tensor.name in self.known:
                raise ValueError(f"there are two tensors {tensor.name!r}")
            try:
                self.known[tensor.name] = array = array_of(tensor, folder)
                self.names[_address(array)] = tensor.name
            except FAULTS as error:
                raise ValueError(f"tensor {tensor.name[:60]!r}: {error}") from error
            count += array.size
        inputs = [value for value in self.graph.input if value.name not in self.known]
        if len(inputs) != 1:
            raise ValueError(f"expected one input, got {len(inputs)} ({_names(inputs)})")
        self.target = _target(self.graph, asked.output)
        shape, fixed = _shape(inputs[0], asked.input_shape)
        one_image = asked.one_image
        shape = (fixed, *shape[1:]) if fixed is not None and (one_image or fixed == 1) else shape
        if one_image and fixed is None:
            raise ValueError("the size of axis 0 is not known")
        try:
            self.build = Builder(shape, fixed, ROOM + 4 * count)
        except ValueError as error:
            raise ValueError(f"input {inputs[0].name[:60]!r}: {error}") from error
        self.known[inputs[0].name] = self.build.input

    def run(self) -> Value:
        """Read all nodes that the output needs, and say what is not supported."""
        target = self.target
        needed = {target}
        nodes = []
        for node in reversed(self.graph.node):
            if not needed.isdisjoint(node.output):
                needed.update(_inputs(node))
                nodes.append(node)
        faults = []
        for node in reversed(nodes):
            try:
                self._read(node, needed)
            except FAULTS as error:
                called = f" {node.name[:60]!r}" if node.name else ""
                faults.append(f"{node.op_type[:60]}{called} ({error})")
                self.known.update(dict.fromkeys(filter(None, node.output)))
        if faults:
            raise ValueError(f"not supported: {'; '.join(faults)}")
        if target not in self.known:
            raise ValueError(f"output: there is no value {target[:60]!r}")
        output = self.known[target]
        if not isinstance(output, Value):
            raise ValueError(f"the output {target[:60]!r} does not depend on the input")
        self.build.finish(output)
        if isinstance(output, Classes):
            graph = self.build.graph
            graph.task = Task("pictures" if len(graph.shapes[graph.output]) > 1 else "classes")
        return output

    def _read(self, node: Any, needed: set[str]) -> None:
        if node.domain not in ("", "ai.onnx"):
            raise ValueError(f"operators of {node.domain[:60]!r} are not known")
        if node.op_type not in READERS and node.op_type != "If":
            raise ValueError("this operator is not known")
        self._check(node)
        if not node.output or not node.output[0] or not self.known.keys().isdisjoint(node.output):
            raise ValueError("it makes no value of its own")
        for name in filter(None, node.input):
            if name not in self.known:
                raise ValueError(f"there is no value {name[:60]!r} before it")
        inputs = [self.known[name] if name else None for name in node.input]
        results: tuple[Operand | None, ...] = (None,) * len(node.output)
        if all(self.known[name] is not None for name in filter(None, node.input)):
            step = Step(node, self.opset, inputs, self.folder)
            results = self._branch(step, needed) if node.op_type == "If" else self._made(step)
        for name in node.output[len(results) :]:
            if name in needed:
                raise ValueError(f"only its first output is supported, not {name[:60]!r}")
        self.known.update(zip(filter(None, node.output), results, strict=False))

    def _made(self, step: Step) -> tuple[Operand, ...]:
        arrays = [array for array in step.inputs if isinstance(array, np.ndarray)]
        if arrays and len(arrays) == len(step.inputs) and step.op in FOLDED:
            return (folded(self.build, step, arrays),)
        nodes = self.build.graph.nodes
        start = len(nodes)
        made = READERS[step.op](self.build, step)
        for node in nodes[start:]:
            for key, array in node.weights.items():
                if _address(array) in self.names:
                    node.names[key] = self.names[_address(array)]
        return made if isinstance(made, tuple) else (made,)

    def _branch(self, step: Step, needed: set[str]) -> tuple[Operand | None, ...]:
        # what is done if a condition holds that is known; the other branch is not looked at
        chosen = step.constant(0).reshape(()).astype(bool)
        graph = step.attribute("then_branch" if chosen else "else_branch", "g", None)
        if len(graph.initializer) or len(graph.sparse_initializer):
            raise ValueError("tensors of a branch are not supported")
        for node in graph.node:
            try:
                self._read(node, needed)
            except FAULTS as error:
                raise ValueError(f"{node.op_type[:60]}: {str(error)[:300]}") from error
        return tuple(self.known[value.name] for value in graph.output)

    def _check(self, node: Any) -> None:
        # inputs and attributes that the operator has not would be left out silently
        defs = onnx_package().defs
        if not defs.has(node.op_type, self.opset, ""):
            raise ValueError(f"opset {self.opset} has no such operator")
        schema = defs.get_schema(node.op_type, self.opset, "")
        if not schema.min_input <= len(node.input) <= schema.max_input:
            raise ValueError(f"it does not take {len(node.input)} inputs")
        names = {attribute.name for attribute in node.attribute}
        unknown = names - schema.attributes.keys()
        if unknown:
            raise ValueError(f"attribute {min(unknown)[:60]} is not known")
        for name, attribute in schema.attributes.items():
            if attribute.required and name not in names:
                raise ValueError(f"attribute {name} is missing")


def _opset(model: Any) -> int:
    newest = onnx_package().defs.onnx_opset_version()
    # twice the same is common; of two versions one program takes the last, the format the highest
    versions = sorted({x.version for x in model.opset_import if x.domain in ("", "ai.onnx")})
    if len(versions) > 1:
        raise ValueError(f"expected one version of the default opset, got {versions[:9]}")
    if len(versions) != 1 or not OLDEST <= versions[0] <= newest:
        raise ValueError(f"expected an opset of {OLDEST} to {newest}, got {versions[:9]}")
    return versions[0]


def _inputs(node: Any) -> Iterator[str]:
    # the names that a node takes, also within its branches
    yield from node.input
    for attribute in node.attribute:
        for inner in attribute.g.node:
            yield from _inputs(inner)
        yield from (value.name for value in attribute.g.output)


def _address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def _names(values: Any) -> str:
    return ", ".join(repr(value.name[:60]) for value in values[:9])


def _target(graph: Any, asked: str | int | None) -> str:
    # the name of the value that shall be the output
    if isinstance(asked, str):
        return asked
    outputs = graph.output
    if asked is None and len(outputs) != 1:
        raise ValueError(
            f"expected one output, got {len(outputs)} ({_names(outputs)}): output= says which"
        )
    place = check.whole(0 if asked is None else asked, "output", 0)
    if place >= len(outputs):
        raise ValueError(f"output: expected one of {len(outputs)}, got {place}")
    return str(outputs[place].name)


def _shape(value: Any, asked: Sequence[int] | None) -> tuple[Shape, int | None]:
    # the shape of the input, with BATCH in front, and the size of the batch if it is known
    kind = value.type.tensor_type
    if kind.elem_type not in FLOATS:
        raise ValueError(f"input {value.name[:60]!r}: expected float32, got type {kind.elem_type}")
    sizes = [size.dim_value if size.HasField("dim_value") else None for size in kind.shape.dim]
    shown = [size.dim_param or size.dim_value for size in kind.shape.dim][:9]
    if asked is not None:
        own = [check.whole(size, "input_shape", 1) for size in asked]
        if len(own) != len(sizes) - 1 or not all(
            size in (None, new) for size, new in zip(sizes[1:], own, strict=True)
        ):
            raise ValueError(f"input_shape: {tuple(own)} does not fit {shown}")
        sizes[1:] = own
    if not sizes or any(size is None or size < 1 for size in sizes[1:]):
        raise ValueError(
            f"input {value.name[:60]!r}: expected images of one known size, got {shown};"
            " input_shape= says which"
        )
    fixed = sizes[0] if sizes[0] and sizes[0] > 0 else None
    return (BATCH, *(int(size or 0) for size in sizes[1:])), fixed
