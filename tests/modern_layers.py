"""Layers of today, each with inputs that it takes: for the tests that go through all layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cnn_ext
from cnn_ext import (
    GELU,
    Activation,
    Add,
    Concat,
    Conv2d,
    GlobalMaxPool2d,
    Hardsigmoid,
    LayerNorm,
    LogSoftmax,
    Module,
    ReLU,
    Residual,
    Sequential,
)

IMAGE, SEQUENCE, VECTOR = (4, 5, 6), (4, 17), (7,)


class Modern(NamedTuple):
    """A layer and the shape of one input; `torch` is the same in PyTorch's words, if it has it."""

    build: Callable[[], Module]
    shape: tuple[int, ...]
    torch: str | None = None

    @property
    def name(self) -> str:
        return f"{self.build()!r}-{'x'.join(map(str, self.shape))}".replace("\n", "")


def _same(build: str, shape: tuple[int, ...]) -> Modern:
    # one that PyTorch writes in the same way
    return Modern(lambda: eval(build, vars(cnn_ext)), shape, f"nn.{build}")


MODERN: list[Modern] = [
    *(
        _same(text, shape)
        for text in (
            "ReLU6()",
            "ELU()",
            "ELU(0.5)",
            "SELU()",
            "GELU()",
            "GELU('tanh')",
            "SiLU()",
            "Hardswish()",
            "Softplus()",
            "Softplus(2.0, 3.0)",
            "Softsign()",
            "PReLU()",
        )
        for shape in (IMAGE, VECTOR)
        if text != "GELU('tanh')"
    ),
    Modern(lambda: GELU("tanh"), IMAGE, "nn.GELU(approximate='tanh')"),
    Modern(Hardsigmoid, IMAGE),  # PyTorch's own derivative has a sixth in float32
    Modern(lambda: Activation("leaky_relu", {"negative_slope": 0.3}), IMAGE, "nn.LeakyReLU(0.3)"),
    Modern(lambda: Activation("erf"), VECTOR),
    Modern(lambda: Activation("mish"), IMAGE, "nn.Mish()"),
    Modern(lambda: LogSoftmax(), IMAGE, "nn.LogSoftmax(1)"),
    _same("PReLU(4)", IMAGE),
    _same("BatchNorm2d(4)", IMAGE),
    _same("BatchNorm2d(4, 0.1, None, False)", IMAGE),
    _same("BatchNorm2d(4, track_running_stats=False)", IMAGE),
    _same("BatchNorm1d(7)", VECTOR),
    _same("BatchNorm1d(4)", SEQUENCE),
    _same("GroupNorm(2, 4)", IMAGE),
    _same("GroupNorm(4, 4, affine=False)", SEQUENCE),
    _same("LayerNorm(7)", VECTOR),
    _same("LayerNorm(7, bias=False)", VECTOR),
    Modern(lambda: LayerNorm(4), IMAGE),
    _same("LocalResponseNorm(3, 0.1, 0.7, 2.0)", IMAGE),
    _same("LocalResponseNorm(2, 0.1, 0.7, 2.0)", IMAGE),
    _same("AdaptiveAvgPool2d(1)", IMAGE),
    _same("AdaptiveAvgPool2d((2, 4))", IMAGE),
    _same("AdaptiveAvgPool2d((None, 3))", IMAGE),
    Modern(GlobalMaxPool2d, IMAGE, "nn.AdaptiveMaxPool2d(1)"),
    _same("Conv1d(4, 6, 5, 2, 2)", SEQUENCE),
    _same("Conv1d(4, 4, 3, padding='same', dilation=2, groups=2, bias=False)", SEQUENCE),
    _same("MaxPool1d(3, 2, 1)", SEQUENCE),
    _same("AvgPool1d(3, 2, 1)", SEQUENCE),
    _same("ConvTranspose2d(4, 6, 3, 2, 1, 1)", IMAGE),
    _same("ConvTranspose2d(4, 6, (3, 2), (2, 3), 0, 0, 2, False, (2, 1))", IMAGE),
    _same("ConvTranspose2d(4, 2, 2, 2)", IMAGE),
    _same("ConvTranspose2d(4, 2, 1, 1, 1)", IMAGE),
    _same("ZeroPad2d((1, 2, 0, 3))", IMAGE),
    _same("Upsample(scale_factor=2)", IMAGE),
    _same("Upsample((7, 9))", IMAGE),
    _same("Upsample(scale_factor=2, mode='bilinear')", IMAGE),
    _same("Upsample((7, 9), mode='bilinear', align_corners=True)", IMAGE),
    Modern(lambda: Concat(Conv2d(4, 2, 1), Conv2d(4, 3, 3, padding=1)), IMAGE),
    Modern(lambda: Add(Conv2d(4, 3, 1), Conv2d(4, 3, 3, padding=1)), IMAGE),
    Modern(lambda: Residual(Sequential(Conv2d(4, 4, 3, padding=1), ReLU())), IMAGE),
    Modern(lambda: Residual(Conv2d(4, 6, 3, 2, 1), Conv2d(4, 6, 1, 2)), IMAGE),
]
