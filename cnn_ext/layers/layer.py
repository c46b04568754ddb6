"""`Layer`, what layers of one's own on plain arrays derive from."""

from __future__ import annotations

from typing import Any

from .module import Module


class Layer(Module):
    """A layer of one's own on NumPy's arrays: `forward` and its derivative, `backward`.

    Derive from this class and define `forward(x)` and `backward(dy)` on plain arrays (N, ...);
    `backward` gets the gradient at the output and returns the one at the input.  Keep learned
    arrays in attributes of type `Parameter` and set their `grad` in `backward`; keep state in a
    `Buffer`.  Define `output_shape` if it differs from the input's, name the constructor's
    arguments in `arguments` if the network shall be saved, and look at `training` where the two
    modes differ.

    A class that derives from another module and defines `backward` is such a layer too.
    """

    def forward(self, x: Any) -> Any:
        """The output for a batch, (N, ...) -> (N, ...)."""
        raise NotImplementedError(f"{type(self).__name__}.forward")

    def backward(self, dy: Any) -> Any:  # type: ignore[override]
        """The gradient at the input of the last forward pass, given the one at its output."""
        raise NotImplementedError(f"{type(self).__name__}.backward")

    def output_shape(self, *input_shapes: tuple[int, ...]) -> tuple[int, ...]:
        return input_shapes[0]

    def multiply_adds(self, *input_shapes: tuple[int, ...]) -> int:
        return 0
