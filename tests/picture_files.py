"""Pictures that Pillow does not write: PNG of every kind, byte by byte."""

from __future__ import annotations

import zlib

import numpy as np

CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}  # by PNG's number for a kind of colour
ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
         (1, 0, 2, 1)]  # fmt: skip


def chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def rows(pixels: np.ndarray, bits: int) -> bytes:
    """Lines of a picture (H, W, C), each behind the number of its filter, 0."""
    lines = []
    for line in pixels.reshape(len(pixels), -1):
        if bits == 16:
            packed = line.astype(">u2").tobytes()
        else:
            digits = np.unpackbits(line.astype(np.uint8)[:, None], axis=1)[:, 8 - bits :]
            packed = np.packbits(digits.ravel()).tobytes()
        lines.append(b"\0" + packed)
    return b"".join(lines)


def png(
    pixels: np.ndarray, bits: int = 8, interlaced: bool = False, transparent: int | None = None
) -> bytes:
    """A PNG of the pixels (H, W, C): grey, grey and alpha, colour, or colour and alpha."""
    height, width, channels = pixels.shape
    kind = next(kind for kind, n in CHANNELS.items() if n == channels)
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    header += bytes((bits, kind, 0, 0, interlaced))
    parts = [pixels]
    if interlaced:
        parts = [pixels[top::down, left::right] for top, left, down, right in ADAM7]
    data = b"".join(rows(part, bits) for part in parts if part.size)
    clear = b"" if transparent is None else chunk(b"tRNS", transparent.to_bytes(2, "big"))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + clear
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )
