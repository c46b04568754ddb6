"""Apply a fixed kernel to a picture.

The kernel is laid over each pixel as it stands (cross-correlation), each channel for itself; beyond
the border the picture goes on with its last pixels, and results are cut to 0 to 255. Needs Pillow.
"""

from __future__ import annotations

import argparse
from io import BytesIO
from pathlib import Path

import numpy as np

from .. import ops
from .._files import atomic_write
from ..data.pictures import Mode, read_image
from ..filters import FILTERS
from ._files import check_output
from ._options import UsageError


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", metavar="NAME", choices=FILTERS, help=f"kernel, one of {', '.join(FILTERS)}"
    )
    parser.add_argument("source", metavar="IN", help="picture to read, grey or colour")
    parser.add_argument("out", metavar="OUT", help="picture to write; its suffix is its format")


def run(arguments: argparse.Namespace) -> int:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("filter needs Pillow: pip install 'cnn_ext[images]'") from error

    kind = Image.registered_extensions().get(Path(arguments.out).suffix.lower())
    if kind not in Image.SAVE:
        raise UsageError(f"argument OUT: {arguments.out} has no suffix of a known picture format")
    check_output("OUT", arguments.out)
    mode: Mode = "RGB"
    try:
        with Image.open(arguments.source) as picture:
            if picture.mode in ("1", "L", "LA") or picture.mode.startswith("I"):
                mode = "L"
    except Image.UnidentifiedImageError as error:
        raise ValueError(f"{arguments.source}: not a picture of a known format") from error
    pixels = read_image(arguments.source, mode=mode).transpose(1, 2, 0)
    extended = np.pad(pixels, ((1, 1), (1, 1), (0, 0)), "edge")
    filtered = ops.correlate2d(extended.astype(np.float32), FILTERS[arguments.name], "valid")
    largest = np.iinfo(pixels.dtype).max
    result = filtered.round().clip(0, largest).astype(pixels.dtype)
    buffer = BytesIO()
    Image.fromarray(result[..., 0] if mode == "L" else result).save(buffer, kind)
    with atomic_write(arguments.out) as file:
        file.write(buffer.getbuffer())
    return 0
