"""Evaluation mode for a while."""

from __future__ import annotations

from contextlib import AbstractContextManager

from .. import _core
from .module import Module


def evaluation_mode(net: Module) -> AbstractContextManager[None]:
    """Evaluation mode for a while; afterwards every layer has the mode that it had."""
    layers = [layer for _, layer in net.named_modules()]
    modes = [layer.training for layer in layers]

    def back() -> None:
        for layer, mode in zip(layers, modes, strict=True):
            layer.train(mode)

    return _core.Restored([(layer, "training") for layer in layers], net.eval, back)
