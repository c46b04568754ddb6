"""Layers of one's own on plain arrays: a step of a network of which only the passes are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import _check as check
from ..graph.node import Node, Shape
from ..graph.operator import Operator
from ..lanes import Lanes


class Opaque(Operator):
    """The attribute `layer` has `forward` and `backward` on arrays (N, ...)."""

    attributes = {"layer": ..., "shape": ...}

    def shape(self, node: Node, *shapes: Shape) -> Shape:
        return tuple(node.attributes["shape"])

    def recordable(self, node: Node, shapes: Sequence[Shape]) -> bool:
        return False

    def forward(self, run: Any, node: Node, *inputs: Lanes, over: Any = None) -> Lanes:
        layer = node.attributes["layer"]
        y = plainly(layer.forward, *inputs)
        if run.back:
            run.keep(take_saved(run, layer))
        return y

    def backward(
        self, run: Any, node: Node, dy: Lanes, x: Sequence[Any], y: Any, wanted: Sequence[bool]
    ) -> Sequence[Any]:
        layer = node.attributes["layer"]
        for part, saved in run.kept():
            part._saved = saved
        parameters = layer.parameters()
        for parameter in parameters:
            parameter.grad = None
        dx = layer.backward(dy.unpack())
        for parameter in parameters:
            if parameter.grad is not None:
                run.learn_parameter(parameter, parameter.grad)
        if not any(wanted):
            return (None,)
        gradient: Any = check.batch(dx, "the gradient at the input")
        check.same_shape(gradient, "the gradient at the input",
                         (dy.images, *run.graph.shapes[node.inputs[0]]))  # fmt: skip
        return (Lanes.pack(gradient, dy.dtype),)


def take_saved(run: Any, layer: Any) -> list[tuple[Any, Any]]:
    """What a layer and those below it keep, before another use writes over it.

    Raises
    ------
    TypeError
        If it was called before in this pass and keeps nothing, at least not so that it is known.
    """
    saved = [(part, vars(part).pop("_saved", None)) for _, part in layer.named_modules()]
    if id(layer) in run.opaque and all(values is None for _, values in saved):
        raise TypeError(
            "a layer that stands more than once must keep what backward needs by "
            "save_for_backward, even if it is nothing"
        )
    run.opaque.add(id(layer))
    return saved


def plainly(step: Any, *inputs: Lanes) -> Lanes:
    """One pass of a layer that knows plain arrays alone."""
    here = inputs[0]
    y: Any = check.batch(step(*(x.unpack() for x in inputs)), "output")
    if y.shape[0] != here.images:
        raise ValueError(f"output: expected {here.images} images, got shape {y.shape}")
    return Lanes.pack(y, here.dtype)


Opaque("opaque")
