"""Arrays as pictures within the page."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np

from .. import _figure as fig
from ..layers import Conv1d, Conv2d

BESIDE = 8  # channels of a kernel that are shown
LONGEST = 64  # pixels of a side of a picture that is shown
ABOVE, BELOW = (213, 94, 0), (0, 114, 178)  # colours that all eyes tell apart (Okabe and Ito)


def png(pixels: np.ndarray) -> str:
    """The address of a picture, (H, W, 3) or (H, W, 4) of bytes, that holds the picture itself."""
    H, W, channels = pixels.shape
    lines = np.zeros((H, 1 + W * channels), np.uint8)  # each begins with its filter, none
    lines[:, 1:] = pixels.reshape(H, -1)
    head = struct.pack(">IIBBBBB", W, H, 8, {3: 2, 4: 6}[channels], 0, 0, 0)
    parts = (b"IHDR", head), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b"")
    chunks = [
        struct.pack(">I", len(content)) + kind + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in parts
    ]  # fmt: skip
    whole = b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
    return f"data:image/png;base64,{base64.b64encode(whole).decode()}"


def shown(images: np.ndarray, low: float, high: float) -> list[np.ndarray]:
    """Images (N, C, H, W) from black to white as bytes (H, W, 3), with fewer pixels if large."""
    step = -(-max(images.shape[2:]) // LONGEST)
    scaled = (images[:, :, ::step, ::step].astype(np.float64) - low) / (high - low)
    return [fig.opaque(image)[..., :3] for image in fig.pixels(scaled.clip(0, 1))]


def signed(values: np.ndarray, extreme: float) -> np.ndarray:
    """Numbers (H, W) as colours (H, W, 4): one above 0, another below, nothing at 0."""
    part = np.clip(np.abs(values) / (extreme or 1.0), 0, 1)
    colours = np.empty((*values.shape, 4), np.uint8)
    colours[..., :3] = np.where(values[..., None] > 0, ABOVE, BELOW)
    colours[..., 3] = np.round(255 * part)
    return colours


def kernels(layer: Conv1d | Conv2d, most: int) -> list[np.ndarray]:
    """Kernels of a convolution as pictures: in colour over red, green and blue, else the channels
    side by side; of sequences, a row for each channel."""
    weight = np.asarray(layer.weight.data, np.float64)[:most]
    extreme = fig.largest(weight)
    if weight.ndim == 3:
        return [signed(kernel, extreme) for kernel in weight]
    if layer.in_channels == 3 == weight.shape[1]:
        colours = (weight.transpose(0, 2, 3, 1) / (2 * (extreme or 1.0)) + 0.5) * 255
        return list(colours.round().astype(np.uint8))
    beside = np.pad(weight[:, :BESIDE], ((0, 0), (0, 0), (0, 0), (0, 1)))  # a gap between channels
    return [signed(np.concatenate(list(kernel), 1)[:, :-1], extreme) for kernel in beside]
