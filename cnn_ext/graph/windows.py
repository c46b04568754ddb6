"""How many windows lie along an axis, and what they see: the only place where that is computed."""

from __future__ import annotations


def reach(kernel: int, gap: int) -> int:
    """From the first tap of a window to its last."""
    return gap * (kernel - 1)


def count(
    size: int, before: int, after: int, kernel: int, stride: int, gap: int, ceil: bool = False
) -> int:
    """Windows over `size` pixels with so many of padding before and behind; below 1 if none fits.

    ``(size + before + after - gap (kernel - 1) - 1) // stride + 1``.  With `ceil` the quotient is
    rounded up, and a window that would begin in the padding behind the input is dropped.
    """
    spare = size + before + after - reach(kernel, gap) - 1
    if not ceil:
        return spare // stride + 1
    windows = -(-spare // stride) + 1
    return windows - 1 if (windows - 1) * stride >= size + before else windows


def used(count: int, kernel: int, stride: int, gap: int) -> int:
    """Pixels, padding included, up to the last one that one of the windows sees."""
    return (count - 1) * stride + reach(kernel, gap) + 1


def holds_nothing(size: int, before: int, count: int, stride: int, gap: int) -> bool:
    """Whether all taps of one of the windows lie outside the `size` pixels.

    The first tap that is not before the input may be behind it.
    """
    return gap > size and any(
        start % gap >= size for start in range(-before, 0, stride)[: max(count, 0)]
    )
