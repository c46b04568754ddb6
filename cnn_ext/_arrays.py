"""Array-likes of other packages as plain NumPy arrays, and arrays in dictionaries and tuples.

What would lose its meaning is refused.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def is_masked(x: Any) -> bool:
    """Whether it is a masked array: of a module that is slow to import, and is there if one is."""
    module = sys.modules.get("numpy.ma")
    return isinstance(x, getattr(module, "MaskedArray", ()))


def refuse_wrapped(x: Any, name: str) -> None:
    """Refuse what NumPy would unwrap without its mask, or wrap as one object.

    Raises TypeError if `x` is a masked array, a list of them, or a sparse matrix; the message has
    the cure.
    """
    first = x[0] if isinstance(x, (list, tuple)) and x else x
    if is_masked(first):
        raise TypeError(
            f"{name}: expected numbers without a mask, got a masked array; x.filled(value) says "
            "what stands in the masked places"
        )
    if hasattr(first, "nnz") and hasattr(first, "toarray"):
        raise TypeError(
            f"{name}: expected a dense array, got a sparse {type(first).__name__}; x.toarray() "
            "makes one"
        )


def plain_array(x: Any, name: str) -> NDArray[Any]:
    """`x` as a plain array of its own dtype: the rows of a DataFrame, whatever its index.

    Raises
    ------
    TypeError
        As `refuse_wrapped`, or if `x` does not let go of its numbers (a tensor with a gradient).
    ValueError
        If the rows of `x` differ in length.
    """
    if type(x) is np.ndarray:
        return x
    refuse_wrapped(x, name)
    try:
        return np.asarray(x)
    except ValueError as error:
        raise ValueError(f"{name}: expected an array of numbers: {error}") from None
    except (RuntimeError, TypeError) as error:
        raise TypeError(f"{name}: expected an array of numbers: {error}") from error


def each_of(function: Callable[..., Any], *given: Any) -> Any:
    """What a function makes of arrays, or of those in dictionaries or tuples of one form."""
    first = given[0]
    if isinstance(first, dict):
        return {name: function(*(each[name] for each in given)) for name in first}
    if isinstance(first, tuple):
        return tuple(map(function, *given))
    return function(*given)
