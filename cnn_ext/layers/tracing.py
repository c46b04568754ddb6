"""What a module consists of, and its `forward` on symbolic values: the graph that it makes."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core
from ..graph.graph import Graph
from ..graph.layout import FLOAT, Packed
from ..graph.node import Node, Shape
from ..graph.operator import OPERATORS
from ..graph.precision import BFLOAT16, FLOAT32, in_bfloat16
from ..graph.rewrite import clips_behind_pools, fused
from ..graph.value import Value
from ..parameter import Kept
from ..run.by_batch import EAGER_ROOM, ByBatch
from ..run.debug import Watched, get_debug, get_recording
from ..run.large import too_large
from ..run.program import Program

if TYPE_CHECKING:
    from .module import Module

METHODS = ("forward", "backward")  # what does the work of a module
PASSING = frozenset(
    ("_saved", "_traces", "task", "input_shape")
)  # attributes that no trace depends on
PLAIN = frozenset((int, float, bool, str, bytes, type(None), complex))
SMALL = 1024  # numbers of an array that is compared by what it holds
MOST_TRACES = 8  # that a module keeps


class Untraceable(Exception):
    """A layer of one's own is in the way, of which only the passes are known.

    Parameters
    ----------
    name : str
        Of its class.
    graph : TracedGraph
        So far.
    """

    def __init__(self, name: str, graph: TracedGraph) -> None:
        super().__init__(name)
        self.graph = graph


class TracedGraph(Graph):
    """A graph while a module is traced, perhaps run at the same time.

    Parameters
    ----------
    shapes : sequence of tuple of int
        Of the inputs, without N.
    byte_scale : float
    dtype : float32 or float64
    exact : bool
        Whether a layer of one's own raises `Untraceable`; else what it says of its shape is taken.
    back : bool or None
        If it is given, the graph is run as it is traced, and goes back if it is True.
    """

    def __init__(
        self,
        shapes: Sequence[Shape],
        byte_scale: float | None,
        dtype: np.dtype,
        exact: bool = False,
        back: bool | None = None,
    ) -> None:
        super().__init__(shapes[0], byte_scale, dtype=dtype)
        for shape in shapes[1:]:
            self.add_input(shape)
        self.exact = exact
        self.normalize: Module | None = None  # what the input goes through first
        self.run: ByBatch | None = None
        if back is not None:
            self.run = Watched(self, back) if get_debug() else ByBatch(self, back)
        self.modules: list[Module] = []  # whose forward is at work, the innermost last
        self.form: Any = None  # of several outputs: names of a dictionary, or a class
        # what the outermost module called: under which name, what came of it, and its nodes
        self.rows: list[tuple[str, Module, Shape, list[Node]]] = []

    def run_now(self, made: Value, inputs: Sequence[Value]) -> None:
        """Do the newest node, on the numbers of its inputs."""
        assert self.run is not None
        node, lanes = self.nodes[-1], [value.lanes for value in inputs]
        OPERATORS[node.op].begin(node, made.features, lanes[0].images)
        self._watch(self.modules)
        made.lanes = self.run.do(node, lanes)

    def _watch(self, modules: Sequence[Module]) -> None:
        # tell who watches the pass which layer the next node belongs to
        if isinstance(self.run, Watched):
            path = ".".join(name_in(*pair) for pair in itertools.pairwise(modules))
            kind = type(modules[-1]).__name__
            self.run.layer = f"{path} ({kind})" if path else kind

    def opaque(self, module: Module, values: Sequence[Value]) -> Value:
        """The value that a layer of one's own makes."""
        if self.exact:
            raise Untraceable(type(module).__name__, self)
        names = tuple(value.name for value in values)
        node = Node("opaque", names, f"v{len(self.nodes)}", {}, {"layer": module, "shape": ()})
        if self.run is None:
            shape = module.output_shape(*(value.features for value in values))
            lanes = None
        else:
            self._watch([*self.modules, module])
            lanes = self.run.do(node, [value.lanes for value in values])
            shape = lanes.shape[1:]
        node.attributes["shape"] = shape
        return Value(self, self.append(node, shape), lanes)

    def finish(self, outputs: Any) -> list[Value]:
        """Take what the outermost `forward` returned for the outputs."""
        values: list[Any] = [outputs]
        if isinstance(outputs, dict):
            self.form, values = list(outputs), list(outputs.values())
        elif isinstance(outputs, (tuple, list)):
            self.form, values = tuple, list(outputs)
        for value in values:
            if not isinstance(value, Value) or value.graph is not self:
                raise TypeError(
                    f"forward: expected to return values of the network, got {outputs!r:.99}"
                )
        if not values:
            raise ValueError("forward: expected at least one output")
        self.outputs = tuple(value.name for value in values)
        return values


def formed(form: Any, outputs: Sequence[Any]) -> Any:
    """Outputs as `forward` returned them: one alone, in a tuple or in a dictionary."""
    if form is None:
        return outputs[0]
    return tuple(outputs) if form is tuple else dict(zip(form, outputs, strict=True))


def is_opaque(module: Module) -> bool:
    """Whether only the passes of a module are known, on plain arrays.

    So it is if its class has a `backward` of its own, or if one of its methods was replaced.
    """
    return not type(module).has_gradient() or is_wrapped(module)


def is_wrapped(module: Module) -> bool:
    """Whether it has methods of its own in place of those of its class."""
    return not vars(module).keys().isdisjoint(METHODS)


def known_names(module: Module) -> tuple[str, ...] | None:
    """Attributes in which alone there may be parameters; None if all must be searched.

    The class itself must say it: a subclass may have more, and so may a layer that was wrapped.
    """
    return None if is_wrapped(module) else vars(type(module)).get("keeps")


def is_leaf(module: Module) -> bool:
    """Whether it is known without a search that there is no layer below."""
    return type(module).is_leaf_kind and not is_wrapped(module)


def attributes_of(module: Module) -> list[tuple[str, Any]]:
    """Names and values of the attributes in which something may be found."""
    own, known = vars(module), known_names(module)
    if known is not None:
        return [(name, own[name]) for name in known]
    return [(name, value) for name, value in own.items() if name not in PASSING]


def found_in(name: str, value: Any, kind: type[Any]) -> Sequence[tuple[str, Any]]:
    # the value itself, or what is of that kind in lists, tuples and dictionaries
    if isinstance(value, kind):
        return ((name, value),)
    if isinstance(value, dict):
        pairs: Iterable[tuple[Any, Any]] = value.items()
    elif isinstance(value, (list, tuple)):
        pairs = enumerate(value)
    else:
        return ()
    return [found for key, inner in pairs for found in found_in(f"{name}.{key}", inner, kind)]


def emit(module: Module, values: Sequence[Value], label: str | None = None) -> Any:
    """What a module makes of values; errors say which module it was, `label` or its name."""
    graph: Any = values[0].graph
    start = len(graph.nodes)
    try:
        if is_opaque(module):
            made: Any = graph.opaque(module, values)
        else:
            graph.modules.append(module)
            try:
                made = module.forward(*values)
            finally:
                graph.modules.pop()
        if len(graph.modules) == 1 and isinstance(made, Value):
            label = label or name_in(graph.modules[0], module)
            graph.rows.append((label, module, made.features, graph.nodes[start:]))
        return made
    except (TypeError, ValueError) as error:
        if not graph.modules:
            raise
        label = label or name_in(graph.modules[-1], module)
        raise named(error, label, type(module).__name__) from error


def name_in(parent: Module, child: Module) -> str:
    """What the parent calls a module below it."""
    return next((name for name, module in parent.named_children() if module is child), "a module")


def named(error: Exception, label: str, kind: Any) -> Exception:
    """The same error with its module in front."""
    sort = TypeError if isinstance(error, TypeError) else ValueError
    return sort(f"{label} ({kind}): {error}")


def trace(
    module: Module,
    function: Callable[..., Any] | None,
    shapes: Sequence[Shape],
    dtype: np.dtype,
    exact: bool = False,
) -> TracedGraph:
    """The graph that `function(module, x, ...)` makes, or the module itself."""
    graph = TracedGraph(shapes, module.byte_scale, dtype, exact)
    values = [Value(graph, name) for name in graph.inputs]
    graph.finish(_called(module, function, values, graph))
    return graph


def _called(
    module: Module, function: Callable[..., Any] | None, values: list[Value], graph: TracedGraph
) -> Any:
    if function is None:
        return emit(module, values)
    graph.modules.append(module)
    return function(module, *values)


def run_traced(
    module: Module, function: Callable[..., Any] | None, inputs: Sequence[Any], back: bool
) -> tuple[TracedGraph, list[Any]]:
    """The graph and the outputs for inputs in lanes, done as it is traced."""
    shapes = [lanes.shape[1:] for lanes in inputs]
    graph = TracedGraph(shapes, module.byte_scale, inputs[0].dtype, back=back)
    values = [Value(graph, *pair) for pair in zip(graph.inputs, inputs, strict=True)]
    del inputs
    result = _called(module, function, values, graph)
    del values
    return graph, [value.lanes for value in graph.finish(result)]


class Trace:
    """A traced module, ready to run; programs are recorded where they are asked for.

    Parameters
    ----------
    graph : Graph or None
        None if a layer of one's own is in the way.
    dtype : dtype
        Of parameters and numbers.
    in_training : bool
        Whether all layers were in training mode.
    byte_scale : float or None
    form
        Of the outputs, see `formed`.
    normalize : Module, optional
    """

    def __init__(
        self,
        graph: Graph | None,
        dtype: np.dtype,
        in_training: bool,
        byte_scale: float | None,
        form: Any = None,
        normalize: Module | None = None,
    ) -> None:
        self.graph = graph
        self.dtype = dtype
        self.in_training = in_training
        self.byte_scale = byte_scale
        self.form = form
        self.normalize = normalize
        self.packed = Packed(EAGER_ROOM)
        self.programs: dict[Any, Program] = {}

    def program(self, batches: Sequence[np.ndarray], costs: Any = None) -> Program | None:
        """The recorded pass for such images, also back if costs are given; None if none can be."""
        if self.graph is None or not get_recording():
            return None
        key = tuple(x.dtype for x in batches), costs, _core.get_winograd()
        if key not in self.programs:
            try:
                self.programs[key] = Program(self.graph, batches, costs, self.packed)
            except _core.RecordingError:  # or something else used its arrays meanwhile
                return None
        return self.programs[key]

    @functools.cached_property
    def multiply_adds(self) -> int:
        """Those of one image."""
        return 0 if self.graph is None else self.graph.multiply_adds()

    @functools.cached_property
    def is_large(self) -> bool:
        """Whether it is answered one image at a time: from one input to one output, in float32."""
        graph = self.graph
        if graph is None or graph.dtype != FLOAT or len(graph.inputs) > 1 or len(graph.outputs) > 1:
            return False
        return too_large(graph)


def trace_of(
    module: Module,
    function: Callable[..., Any] | None,
    shapes: Sequence[Shape],
    given: np.dtype,
    precision: str = FLOAT32,
) -> Trace:
    """The trace of a module, as it is now, for inputs of such shapes and that number type.

    That of its parameters counts, if there are any.
    """
    key = function, tuple(shapes), given, precision
    now: list[Any] = []
    describe(module, now, set())
    known = module._traces.get(key)
    if known is not None and known[0] == now:
        found: Trace = known[1]
        return found
    first = module.first_kept()
    dtype = given if first is None else first.data.dtype
    in_training = all(layer.training for _, layer in module.named_modules())
    try:
        traced = trace(module, function, shapes, dtype, exact=True)
        if module.training:  # what else fuses has no gradient of its clip
            graph = clips_behind_pools(fused(traced, ("batch_norm",)))
        else:
            graph = fused(traced)
        if precision == BFLOAT16:
            graph = in_bfloat16(graph)
        scale, form, normalize = traced.byte_scale, traced.form, traced.normalize
    except Untraceable as error:
        scale, form, normalize = error.graph.byte_scale, None, error.graph.normalize
        graph = None
    made = Trace(graph, dtype, in_training, scale, form, normalize)
    # many threads may be here: nobody changes a dictionary that another one reads
    kept = list(module._traces.items())[-MOST_TRACES + 1 :]
    module._traces = {**dict(kept), key: (now, made)}
    return made


def describe(module: Module, out: list[Any], seen: set[int]) -> None:
    """All that the graph of a module depends on: classes and attributes, here and below."""
    kind = type(module)
    out += kind, kind.forward, kind.backward
    if kind.is_leaf_kind:  # plain attributes, and arrays that the class names
        own, keeps = module.__dict__, kind.keeps
        if PASSING.isdisjoint(own):
            out += own.values()
        else:
            out += [value for name, value in own.items() if name not in PASSING]
        for name in keeps:
            kept = own[name]
            if kept is not None:
                out += id(kept._data), getattr(kept, "trainable", False)
        return
    out.append(is_wrapped(module))
    for name, value in vars(module).items():
        if name not in PASSING:
            _describe(value, out, seen)
    out.append(module.training)


def _describe(value: Any, out: list[Any], seen: set[int]) -> None:
    if type(value) in PLAIN:
        out.append(value)
    elif hasattr(value, "named_children"):
        out.append(id(value))
        if id(value) not in seen:
            seen.add(id(value))
            describe(value, out, seen)
    elif isinstance(value, Kept):
        out += id(value), id(value._data), getattr(value, "trainable", True)
    elif isinstance(value, dict):
        _describe_all((item for pair in value.items() for item in pair), out, seen)
    elif isinstance(value, (list, tuple)):
        _describe_all(value, out, seen)
    elif isinstance(value, np.ndarray):
        out += id(value), value.shape, value.tobytes() if value.size <= SMALL else None
    else:
        out.append(id(value))


def _describe_all(values: Iterable[Any], out: list[Any], seen: set[int]) -> None:
    out.append(list)
    for value in values:
        _describe(value, out, seen)
    out.append(None)
