"""One picture from a file: its own depth, upright, without transparency; needs Pillow.

Everything that reads pictures, for training and for answers, reads them here.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import IO, Any, Literal

import numpy as np

from cnn_ext.data._reading import Array, StrPath, named

Mode = Literal["L", "RGB"]
Size = int | tuple[int, int] | None
Background = str | int | tuple[int, int, int]

# whose depth is known: 8 bits by definition, or told by `_depth`
_FORMATS = ("BMP", "DIB", "GIF", "JPEG", "PNG", "PPM", "TGA", "TIFF", "WEBP")
_ALPHA = frozenset(("LA", "La", "PA", "RGBA", "RGBa"))
_EIGHT_BITS = _ALPHA | {"1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"}
_PNM = re.compile(rb"P([2356])" + rb"(?:\s|#[^\r\n]*[\r\n])+(\d+)" * 3)
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # tags of TIFF
_ORIENTATION = 0x0112  # of EXIF
_GREY = frozenset(("1", "L", "LA", "La", "I;16", "I;16B", "I"))
_LARGEST = 96  # pixels of a side that a network learns from at once
_HEADER = 4096  # bytes from which the depth is told


def read_image(
    path: StrPath, size: Size = None, mode: Mode = "L", background: Background = "white"
) -> Array:
    """Read one picture, the first if the file has several.

    Parameters
    ----------
    path
        BMP, GIF, JPEG, PNG, PNM (PBM, PGM, PPM), TGA, TIFF or WebP, whatever its suffix. The
        orientation that EXIF gives is applied.
    size
        Pixels to resize to, bilinear and without regard to the proportions: (height, width), or
        one number for a square. None keeps the picture's own size.
    mode
        ``"L"`` for one grey channel, ``"RGB"`` for three.
    background
        What transparent pixels are laid over: the name of a colour, a grey from 0 to 255, or red,
        green and blue.

    Returns
    -------
    ndarray
        (C, H, W), uint8; uint16 if the file has 16 bits a channel, stretched to 0 to 65535 if its
        own maximum is less.

    Raises
    ------
    ValueError
        If the picture cannot be decoded, has more pixels than Pillow allows, or numbers that
        would lose digits: real ones, 32 bits, 16 bits in colour or with an alpha channel (the
        message names the file); or if another argument is not one of those above.
    TypeError
        If `background` is of another type.
    ImportError
        If Pillow is not installed.
    """
    pillow = _pillow()
    height_width = _check_size(size)
    if mode not in ("L", "RGB"):
        raise ValueError(f"mode: expected 'L' or 'RGB', got {mode!r}")
    ground = _check_background(background)
    data = Path(path).read_bytes()
    # in memory, a length that lies cannot make a decoder's read allocate more than the file holds,
    # and broken data make a decoder raise whatever its format module happens to raise
    with named(path, Exception), _open(pillow, BytesIO(data)) as file:
        bits = _depth(file, data)
        file.load()
        picture = _upright(file)
        clear = _clear_grey(file, data)
        if bits == 16:
            flat = _sixteen_bits(picture, clear, ground)
        elif clear is not None:
            alpha = np.where(np.asarray(picture.convert("L")) == clear, 0, 255)
            flat = _composed(picture.convert("L").convert("RGB"), alpha, ground)
        elif picture.mode in _ALPHA or "transparency" in file.info:
            rgba = picture.convert("LA" if picture.mode == "La" else "RGBA").convert("RGBA")
            flat = _composed(rgba.convert("RGB"), np.asarray(rgba.getchannel("A")), ground)
        else:
            flat = picture
        if bits == 8:
            flat = flat.convert(mode)
        if height_width is not None:
            flat = flat.resize(height_width[::-1], pillow.Resampling.BILINEAR)
        pixels: Array = np.array(flat).astype(np.uint8 if bits == 8 else np.uint16)
    if pixels.ndim == 2:
        return np.repeat(pixels[None], len(mode), axis=0)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def is_coloured(path: StrPath) -> bool:
    """Whether any pixel of a picture is not grey; of one that cannot be read, no.

    Raises ImportError if Pillow is not installed.
    """
    pillow = _pillow()
    with suppress(OSError, ValueError):
        with pillow.open(path, formats=_FORMATS) as file:
            if file.mode in _GREY:
                return False
        red, green, blue = read_image(path, mode="RGB")
        return bool((red != green).any() or (green != blue).any())
    return False


def common_size(paths: Iterable[StrPath]) -> tuple[int, int] | None:
    """Height and width that pictures are resized to, or None if all can stay as they are.

    They have one size and no side is longer than 96 pixels then; else they get the size between
    those of the smaller and of the larger half, made smaller to have no longer side.  What cannot
    be read does not count.  Raises ImportError if Pillow is not installed.
    """
    pillow, sizes = _pillow(), []
    for path in paths:
        with suppress(Exception), pillow.open(path, formats=_FORMATS) as file:
            turned = file.getexif().get(_ORIENTATION, 1) >= 5
            sizes.append(file.size if turned else file.size[::-1])
    if len(set(sizes)) < 2 and max(map(max, sizes), default=0) <= _LARGEST:
        return None
    height, width = np.median(sizes, 0)
    scale = min(1.0, _LARGEST / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def examine(path: StrPath) -> tuple[int, int, int]:
    """Bits of a channel, 8 or 16, height and width as the header of a picture says, unturned.

    Its errors are those of `read_image`.
    """
    pillow = _pillow()
    with open(path, "rb") as file, named(path, Exception):
        start = file.read(_HEADER)
        with _open(pillow, file) as picture:
            return _depth(picture, start), picture.height, picture.width


def stack(images: Iterable[Array]) -> Array:
    """Pictures of one shape as one array (N, C, H, W), of their own depth.

    Where any has 16 bits, all have: those of 8 bits are multiplied by 257, which keeps black black
    and white white.
    """
    data, dtype = bytearray(), np.dtype(np.uint8)
    count, shape = 0, (0, 0, 0)
    for image in images:
        if image.dtype == np.uint16 and dtype == np.uint8:
            data = bytearray(widened(np.frombuffer(data, np.uint8)).tobytes())
            dtype = image.dtype
        data += (image if image.dtype == dtype else widened(image)).tobytes()
        count, shape = count + 1, image.shape
    return np.ndarray((count, *shape), dtype, data)


def widened(pixels: Array) -> Array:
    """Pixels of 8 bits as pixels of 16, white remaining white; those of 16 as they are."""
    return pixels if pixels.dtype == np.uint16 else pixels.astype(np.uint16) * np.uint16(257)


def _open(pillow: ModuleType, file: IO[bytes]) -> Any:
    try:
        return pillow.open(file, formats=_FORMATS)
    except pillow.UnidentifiedImageError as error:  # whose text is an address in memory
        raise ValueError(f"not a picture of a known format ({', '.join(_FORMATS)})") from error


def _depth(picture: Any, data: bytes) -> int:
    """Bits of a channel, 8 or 16, as the file itself says: Pillow narrows some without a word."""
    bits, signed, odd = 8, False, False
    if picture.format == "PNG":
        if data[12:16] != b"IHDR":
            raise ValueError("a PNG should begin with its header")
        bits = max(data[24], 8)
    elif picture.format == "PPM" and (header := _PNM.match(data)):
        bits = 8 if int(header[4]) < 256 else 16
    elif picture.format == "TIFF":
        tags = picture.tag_v2
        own = tags.get(_BITS, (1,))
        bits = max(8, *(own if isinstance(own, tuple) else (own,)))
        kinds = tags.get(_SAMPLE_FORMAT, (1,))
        signed = set(kinds if isinstance(kinds, tuple) else (kinds,)) != {1}
        odd = bits > 8 and tags.get(_PHOTOMETRIC) != 1  # white may be 0
    if bits == 8 and picture.mode in _EIGHT_BITS and not signed:
        return 8
    if bits == 16 and picture.mode[0] == "I" and not signed and not odd:
        return 16
    kind = "signed or real numbers" if signed or picture.mode == "F" else f"{bits} bits a channel"
    raise ValueError(
        f"expected 8 bits a channel, or 16 in grey without transparency, got {kind} of mode "
        f"{picture.mode}"
    )


def _upright(picture: Any) -> Any:
    """The picture, turned as the orientation in its EXIF data says; without any, as it is."""
    orientation = 1
    with suppress(Exception):  # broken EXIF data are no reason to lose the picture
        orientation = picture.getexif().get(_ORIENTATION, 1)
    turn = _pillow().Transpose
    method = {
        2: turn.FLIP_LEFT_RIGHT,
        3: turn.ROTATE_180,
        4: turn.FLIP_TOP_BOTTOM,
        5: turn.TRANSPOSE,
        6: turn.ROTATE_270,
        7: turn.TRANSVERSE,
        8: turn.ROTATE_90,
    }.get(orientation)
    return picture if method is None else picture.transpose(method)


def _clear_grey(picture: Any, data: bytes) -> int | None:
    """The transparent grey of a grey PNG, in the picture's own numbers."""
    value = picture.info.get("transparency")
    if picture.format != "PNG" or data[25] != 0 or value is None:
        return None
    bits = data[24]  # Pillow stretches pixels of less than 8 bits, and this value not
    return int(value) if bits in (1, 8, 16) else int(value) * 255 // ((1 << bits) - 1)


def _sixteen_bits(picture: Any, clear: int | None, ground: tuple[int, int, int]) -> Any:
    """A grey picture of 16 bits in Pillow's mode of 32."""
    pixels = np.array(picture).astype(np.int32)
    if clear is not None:
        grey = _pillow().new("RGB", (1, 1), ground).convert("L").getpixel((0, 0))
        pixels[pixels == clear] = 257 * grey
    return _pillow().fromarray(pixels)


def _composed(rgb: Any, alpha: Array, ground: tuple[int, int, int]) -> Any:
    """A picture laid over a colour; where alpha is 0 or 255, one or the other, exactly."""
    over = alpha.astype(np.uint32)[..., None]
    mixed = np.asarray(rgb) * over + np.array(ground, np.uint32) * (255 - over)
    return _pillow().fromarray(((mixed + 127) // 255).astype(np.uint8))


def _check_size(size: Size) -> tuple[int, int] | None:
    match size:
        case None:
            return None
        case int(side) if side > 0:
            return side, side
        case (int(height), int(width)) if height > 0 and width > 0:
            return height, width
    raise ValueError(f"size: expected a positive number of pixels or two of them, got {size!r}")


def _check_background(background: Background) -> tuple[int, int, int]:
    """Red, green and blue."""
    fault = f"background: expected a colour, 0 to 255 or three of these, got {background!r}"
    if isinstance(background, str):
        from PIL import ImageColor

        try:
            values: tuple[int, ...] = ImageColor.getrgb(background)
        except ValueError as error:
            raise ValueError(fault) from error
    else:
        try:
            numbers = background if isinstance(background, (tuple, list)) else (background,) * 3
            if any(isinstance(number, bool) for number in numbers):
                raise TypeError
            values = tuple(map(operator.index, numbers))
        except TypeError:
            raise TypeError(fault) from None
    if len(values) != 3 or not all(0 <= value <= 255 for value in values):
        raise ValueError(fault)
    return values[0], values[1], values[2]


def _pillow() -> ModuleType:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("reading pictures needs Pillow: pip install 'cnn_ext[images]'") from error
    return Image
