"""A module on arrays: as a recorded program, or kernel by kernel; and the way back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import _check as check
from .. import _core
from ..graph.precision import FLOAT32
from ..lanes import Lanes, contiguous
from ..run.by_batch import ByBatch
from ..run.debug import get_debug
from ..run.large import one_by_one
from ..run.program import Program, worth_it
from ..scale import as_numbers, scale_of
from .tracing import Trace, formed, run_traced, trace_of

if TYPE_CHECKING:
    from .module import Module


class Tape(NamedTuple):
    """A forward pass that can go back."""

    run: ByBatch
    shapes: list[tuple[int, ...]]  # of the outputs
    form: Any  # of the outputs: a class or names of a dictionary, None for a single one


class Begun(NamedTuple):
    """A module, its trace, and the inputs as the network's numbers."""

    module: Module
    function: Callable[..., Any] | None
    trace: Trace
    batches: list[Any]
    dtype: np.dtype

    @property
    def images(self) -> int:
        return int(self.batches[0].shape[0])

    @property
    def pays(self) -> bool:
        """Whether so many images should go block by block through a recorded program."""
        first, graph = self.batches[0], self.trace.graph
        if isinstance(first, Lanes) or not len(first) or graph is None or not graph.nodes:
            return False
        lanes = _core.lanes(self.dtype.itemsize)
        return worth_it(len(first), lanes, self.trace.multiply_adds)

    @property
    def is_few_and_large(self) -> bool:
        """Whether one image at a time takes less time and memory than a block."""
        if isinstance(self.batches[0], Lanes):
            return False
        few = _core.lanes(self.dtype.itemsize) // 4
        return 0 < self.images <= few and self.trace.is_large

    def one_by_one(self) -> np.ndarray | None:
        """The output of large images, if they can be done one at a time."""
        graph = self.trace.graph
        return None if graph is None else one_by_one(graph, contiguous(self.batches[0]))

    def program(self, costs: Any = None) -> Program | None:
        """The recorded program for such images, if there can be one."""
        return self.trace.program(self.batches, costs)

    def forward(self, back: bool) -> tuple[Tape, list[Lanes]]:
        """The outputs in lanes, kernel by kernel, and the way back, if asked."""
        trace = self.trace
        lanes = [
            batch if isinstance(batch, Lanes)
            else Lanes.pack(batch, self.dtype, scale_of(batch.dtype, trace.byte_scale))
            for batch in self.batches
        ]  # fmt: skip
        if trace.graph is None:
            traced, outputs = run_traced(self.module, self.function, lanes, back)
            run, form = traced.run, traced.form
            assert run is not None
        else:
            run, form = ByBatch(trace.graph, back, trace.packed), trace.form
            run.begin(self.images)
            outputs = run.forward(lanes)
        run.settle(self.images)
        return Tape(run, [y.shape for y in outputs], form), outputs


def start(
    module: Module,
    function: Callable[..., Any] | None,
    inputs: Sequence[Any],
    precision: str = FLOAT32,
) -> Begun:
    """Check and scale the inputs of a module."""
    batches = [_batch(x, f"inputs[{i}]" if i else "x") for i, x in enumerate(inputs)]
    if not batches:
        raise TypeError(f"{type(module).__name__}: expected a batch (N, ...)")
    shapes = [batch.shape[1:] for batch in batches]
    trace = trace_of(module, function, shapes, check.common_dtype(*batches), precision)
    dtype = trace.dtype
    if get_debug() and precision == FLOAT32:  # as the modules say it, operator by operator
        trace = Trace(None, dtype, trace.in_training, trace.byte_scale, None, trace.normalize)
    for i, batch in enumerate(batches):
        if len(batch.shape) and batch.shape[0] != batches[0].shape[0]:
            raise ValueError(
                f"inputs[{i}]: expected {batches[0].shape[0]} images, got {batch.shape[0]}"
            )
    batches = [
        batch if isinstance(batch, Lanes) else as_numbers(batch, dtype, trace.byte_scale)
        for batch in batches
    ]
    return Begun(module, function, trace, batches, dtype)


def run(module: Module, function: Callable[..., Any], inputs: Sequence[Any]) -> Any:
    """What `function(module, x, ...)` makes of arrays, or of batches in lanes."""
    begun = start(module, function, inputs)
    if not module.training and begun.is_few_and_large:
        found = begun.one_by_one()
        if found is not None:
            return formed(begun.trace.form, [found])
    elif not module.training and begun.pays:
        program = begun.program()
        if program is not None:
            return formed(begun.trace.form, program(*begun.batches))
    tape, outputs = begun.forward(module.training)
    if module.training:
        module._saved = tape
    in_lanes = isinstance(begun.batches[0], Lanes)
    return formed(tape.form, [y if in_lanes else y.unpack() for y in outputs])


def go_back(module: Module, dy: Any, need_dx: bool) -> Any:
    """The gradient at the input of the last forward pass; see `Module.backward`."""
    tape: Tape | None = module._saved
    if tape is None:
        module.saved()  # says so
    assert tape is not None
    if isinstance(tape.form, list):
        gradients = [dy[key] for key in tape.form]
    else:
        gradients = [dy] if len(tape.shapes) == 1 else list(dy)
    if len(gradients) != len(tape.shapes):
        raise ValueError(f"dy: expected {len(tape.shapes)} gradients, got {len(gradients)}")
    lanes = []
    for gradient, shape in zip(gradients, tape.shapes, strict=True):
        array = gradient if isinstance(gradient, Lanes) else check.real_array(gradient, "dy")
        check.same_shape(array, "dy", shape)
        lanes.append(check.packed(array, tape.run.graph.dtype, "dy"))
    module.saved()
    own = not any(isinstance(gradient, Lanes) for gradient in gradients)
    dxs = tape.run.backward(lanes, need_dx, own)
    tape.run.give()
    if not need_dx:
        return None
    made = [dx if dx is None or not own else dx.unpack() for dx in dxs]
    return made[0] if len(made) == 1 else tuple(made)


def first_numbers(module: Module, x: Any) -> np.ndarray:
    """The numbers of a batch as the first layer gets them, behind `Normalize` if there is one."""
    begun = start(module, None, [x])
    batch, scale = begun.batches[0], begun.trace.byte_scale
    lanes = Lanes.pack(batch, begun.dtype, scale_of(batch.dtype, scale))
    normalize = begun.trace.normalize
    numbers: np.ndarray = (lanes if normalize is None else normalize(lanes)).unpack()
    return numbers


def evaluation_mode(net: Module) -> AbstractContextManager[None]:
    """Evaluation mode for a while; afterwards every layer has the mode that it had."""
    layers = [layer for _, layer in net.named_modules()]
    modes = [layer.training for layer in layers]

    def back() -> None:
        for layer, mode in zip(layers, modes, strict=True):
            layer.train(mode)

    return _core.Restored([(layer, "training") for layer in layers], net.eval, back)


def _batch(x: Any, name: str) -> Any:
    batch = check.batch(x, name)
    if len(batch.shape) < 2:
        raise ValueError(f"{name}: expected a batch (N, ...), got shape {batch.shape}")
    return batch
