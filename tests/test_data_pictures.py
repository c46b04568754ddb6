"""Pictures of every kind: their depth, their transparency, which way is up."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
from picture_files import png
from PIL import Image

from cnn_ext._figure import pixels as figure_pixels
from cnn_ext.data import read_image
from cnn_ext.data.pictures import stack

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (5, 7)).astype(np.uint8)
COLOUR = RNG.integers(0, 256, (5, 7, 3)).astype(np.uint8)
DEEP = RNG.integers(0, 65536, (5, 7)).astype(np.uint16)
DEEP[0, :2] = 0, 65535


def read(tmp_path, data, **options):
    path = tmp_path / "picture"
    path.write_bytes(data)
    return read_image(path, **options)


def saved(picture, form, **options):
    out = io.BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()


def tiff(pixels, **tags):
    """An uncompressed TIFF of pixels (H, W) or (H, W, C), with tags of one's own."""
    height, width = pixels.shape[:2]
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    bits = [8 * pixels.itemsize] * channels
    fields = {256: [width], 257: [height], 258: bits, 259: [1], 262: [2 if channels > 2 else 1],
              273: [0], 277: [channels], 278: [height], 279: [pixels.nbytes],
              **{int(tag.removeprefix("t")): value for tag, value in tags.items()}}  # fmt: skip
    start = 8 + 2 + 12 * len(fields) + 4
    behind, directory = b"", len(fields).to_bytes(2, "little")
    end = start + sum(2 * len(v) for v in fields.values() if len(v) > 2)
    fields[273] = [end]
    for tag, values in sorted(fields.items()):
        data = np.array(values, "<u2").tobytes()
        if len(data) > 4:
            data, behind = (start + len(behind)).to_bytes(4, "little"), behind + data
        directory += np.array([tag, 3], "<u2").tobytes()
        directory += len(values).to_bytes(4, "little") + data.ljust(4, b"\0")
    return (
        b"II*\0\x08\0\0\0"
        + directory
        + bytes(4)
        + behind
        + pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    )


def pgm(pixels, largest, kind=b"P5"):
    head = b"%s\n# made here\n%d %d\n%d\n" % (kind, pixels.shape[1], pixels.shape[0], largest)
    if kind in (b"P2", b"P3"):
        return head + b" ".join(b"%d" % n for n in pixels.ravel().tolist())
    return head + pixels.astype("u1" if largest < 256 else ">u2").tobytes()


# Depth


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_eight_bits_or_less_are_bytes(tmp_path, bits, interlaced):
    pixels = GREY >> (8 - bits)
    image = read(tmp_path, png(pixels[..., None], bits, interlaced))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image[0], pixels.astype(int) * 255 // (2**bits - 1))


SIXTEEN = {
    "png": png(DEEP[..., None], 16),
    "png interlaced": png(DEEP[..., None], 16, True),
    "png of Pillow": saved(Image.fromarray(DEEP), "PNG"),
    "tiff": tiff(DEEP),
    "tiff, big-endian": saved(Image.fromarray(DEEP.astype(">u2")), "TIFF"),
    "tiff, deflated": saved(Image.fromarray(DEEP), "TIFF", compression="tiff_deflate"),
    "pgm": pgm(DEEP, 65535),
    "pgm in letters": pgm(DEEP, 65535, b"P2"),
}


@pytest.mark.parametrize("kind", SIXTEEN)
def test_sixteen_bits_stay_sixteen(tmp_path, kind):
    image = read(tmp_path, SIXTEEN[kind])
    assert image.dtype == np.uint16 and image.dtype.isnative
    np.testing.assert_array_equal(image, DEEP[None])
    colour = read(tmp_path, SIXTEEN[kind], mode="RGB")
    assert colour.dtype == np.uint16 and colour.flags.c_contiguous
    np.testing.assert_array_equal(colour, [DEEP] * 3)


def test_sixteen_bits_are_resized_as_sixteen(tmp_path):
    steps = np.repeat(np.array([[0, 40_000, 40_003]], np.uint16), 6, axis=0)
    image = read(tmp_path, png(steps[..., None], 16), size=(12, 12))
    assert image.dtype == np.uint16 and image.shape == (1, 12, 12)
    assert image.min() == 0 and image.max() == 40_003
    assert not (image % 257 == 0).all()
    np.testing.assert_array_equal(read(tmp_path, png(steps[..., None], 16), size=(6, 3))[0], steps)


@pytest.mark.parametrize("largest", [300, 4095, 65535])
@pytest.mark.parametrize("kind", [b"P2", b"P5"])
def test_a_pgm_is_stretched_from_its_own_largest_number(tmp_path, largest, kind):
    pixels = np.array([[0, 1, largest // 3, largest]])
    image = read(tmp_path, pgm(pixels, largest, kind))
    assert image.dtype == np.uint16
    np.testing.assert_array_equal(image[0], np.rint(pixels / largest * 65535))


def test_a_pgm_of_few_greys_is_bytes(tmp_path):
    image = read(tmp_path, pgm(np.array([[0, 1, 15]]), 15))
    assert image.dtype == np.uint8 and image.tolist() == [[[0, 17, 255]]]


WIDE = RNG.integers(0, 65536, (5, 7, 4)).astype(np.uint16)
REFUSED = {
    "png, 16 bits, colour": (png(WIDE[..., :3], 16), "got 16 bits a channel"),
    "png, 16 bits, colour and alpha": (png(WIDE, 16), "got 16 bits a channel"),
    "png, 16 bits, grey and alpha": (png(WIDE[..., :2], 16), "got 16 bits a channel"),
    "tiff, 16 bits, colour": (tiff(WIDE[..., :3]), "got 16 bits a channel"),
    "tiff, 16 bits, white is 0": (tiff(DEEP, t262=[0]), "got 16 bits a channel"),
    "tiff, 16 bits, signed": (tiff(DEEP, t339=[2]), "got signed or real numbers"),
    "tiff, 8 bits, signed": (tiff(GREY, t339=[2]), "got signed or real numbers"),
    "tiff, 12 bits": (tiff(DEEP, t258=[12]), "got 12 bits a channel"),
    "tiff, 32 bits": (saved(Image.new("I", (7, 5)), "TIFF"), "got signed or real numbers"),
    "tiff, real": (saved(Image.new("F", (7, 5)), "TIFF"), "got signed or real numbers"),
    "ppm, 16 bits": (pgm(WIDE[..., :3], 65535, b"P6"), "got 16 bits a channel"),
    "ppm in letters, 16 bits": (pgm(WIDE[..., :3], 300, b"P3"), "got 16 bits a channel"),
    "pfm": (b"Pf\n1 1\n-1.0\n" + bytes(4), "got signed or real numbers"),
    "sgi": (saved(Image.fromarray(GREY), "SGI"), "not a picture of a known format"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_would_lose_digits_is_refused_by_name(tmp_path, kind):
    data, message = REFUSED[kind]
    for mode in ("L", "RGB"):
        with pytest.raises(ValueError, match=message) as caught:
            read(tmp_path, data, mode=mode)
        assert str(caught.value).startswith(f"{tmp_path / 'picture'}: ")


def test_a_stack_of_mixed_depth_has_sixteen_bits():
    shallow, deep = GREY[None], DEEP[None]
    for images in ([shallow, deep], [deep, shallow], [shallow, shallow, deep, shallow]):
        stacked = stack(iter(images))
        assert stacked.dtype == np.uint16 and stacked.flags.writeable
        for one, image in zip(stacked, images, strict=True):
            np.testing.assert_array_equal(one / 65535, image / np.iinfo(image.dtype).max)
    assert stack([shallow, shallow]).dtype == np.uint8
    assert stack([]).shape == (0, 0, 0, 0)


def test_sixteen_bits_are_shown_as_bright_as_eight():
    dark = (GREY // 4)[None, None]
    shown = figure_pixels(dark.astype(np.uint16) * 257)
    np.testing.assert_allclose(shown, figure_pixels(dark))
    assert shown.max() < 0.26


# Transparency


def over(pixels, alpha, ground):
    """`pixels` (H, W, 3) over a colour, as real numbers."""
    part = alpha[..., None] / 255
    return pixels * part + np.array(ground) * (1 - part)


GROUNDS = {"white": (255,) * 3, "black": (0,) * 3, "#ff8000": (255, 128, 0), 7: (7,) * 3,
           (1, 2, 250): (1, 2, 250)}  # fmt: skip


@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF"])
def test_transparent_pixels_lie_over_the_background(tmp_path, form, ground):
    alpha = GREY.copy()
    alpha[0] = 0
    alpha[1] = 255
    picture = Image.fromarray(np.dstack([COLOUR, alpha]))
    options = {"lossless": True, "exact": True} if form == "WEBP" else {}
    data = saved(picture, form, **options)
    image = read(tmp_path, data, mode="RGB", background=ground).transpose(1, 2, 0)
    expected = over(COLOUR, alpha, GROUNDS[ground])
    assert np.abs(image - expected).max() <= 0.5
    np.testing.assert_array_equal(image[0], [GROUNDS[ground]] * 7)
    np.testing.assert_array_equal(image[1], COLOUR[1])
    if ground == "white":
        np.testing.assert_array_equal(read(tmp_path, data, mode="RGB"), image.transpose(2, 0, 1))


def test_black_ink_on_transparent_ground_is_ink(tmp_path):
    ink = np.zeros((8, 8, 4), np.uint8)
    ink[2:6, 2:6, 3] = 255
    image = read(tmp_path, saved(Image.fromarray(ink), "PNG"))
    np.testing.assert_array_equal(image[0], 255 - ink[..., 3])


def palette(form, **options):
    picture = Image.new("P", (7, 5))
    picture.putdata((GREY % 4).ravel().tolist())
    picture.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200, 9, 9, 9])
    return saved(picture, form, **options)


COLOURS = np.array([[200, 0, 0], [0, 200, 0], [0, 0, 200], [9, 9, 9]])
PARTS = np.array([0, 255, 128, 255])


def grey_and_alpha():
    return saved(Image.fromarray(np.dstack([GREY, GREY[::-1]])), "PNG")


TRANSPARENT = {
    "grey and alpha": (grey_and_alpha(), np.dstack([GREY] * 3), GREY[::-1]),
    "palette, one clear": (palette("PNG", transparency=2), COLOURS[GREY % 4],
                           255 * (GREY % 4 != 2)),
    "palette, alpha of each": (palette("PNG", transparency=bytes(PARTS.tolist())),
                               COLOURS[GREY % 4], PARTS[GREY % 4]),
    "gif": (palette("GIF", transparency=3), COLOURS[GREY % 4], 255 * (GREY % 4 != 3)),
    "colour, one clear": (saved(Image.fromarray(COLOUR), "PNG",
                                transparency=tuple(COLOUR[2, 3].tolist())),
                          COLOUR, 255 * (COLOUR != COLOUR[2, 3]).any(-1)),
    **{f"grey of {bits} bits, one clear": (
        png((GREY >> 8 - bits)[..., None], bits, transparent=1),
        np.dstack([(GREY >> 8 - bits).astype(int) * 255 // (2**bits - 1)] * 3),
        255 * (GREY >> 8 - bits != 1)) for bits in (1, 2, 4, 8)},
}  # fmt: skip


@pytest.mark.parametrize("kind", TRANSPARENT)
@pytest.mark.parametrize("ground", [255, (30, 60, 90)])
def test_every_kind_of_transparency(tmp_path, kind, ground):
    data, pixels, alpha = TRANSPARENT[kind]
    expected = over(pixels, alpha, np.broadcast_to(ground, 3))
    image = read(tmp_path, data, mode="RGB", background=ground).transpose(1, 2, 0)
    assert np.abs(image - expected).max() <= 0.5
    grey = read(tmp_path, data, background=ground)[0]
    assert np.abs(grey - expected @ [0.299, 0.587, 0.114]).max() <= 1.5


def test_sixteen_bits_with_a_transparent_grey(tmp_path):
    data = png(DEEP[..., None], 16, transparent=int(DEEP[2, 3]))
    image = read(tmp_path, data, background=100)[0]
    np.testing.assert_array_equal(image, np.where(DEEP == DEEP[2, 3], 25_700, DEEP))


def test_other_modes(tmp_path):
    bilevel = Image.fromarray(GREY > 99)
    for form in ("PNG", "TIFF", "PPM", "BMP"):
        np.testing.assert_array_equal(read(tmp_path, saved(bilevel, form))[0], (GREY > 99) * 255)
    cmyk = Image.fromarray(COLOUR).convert("CMYK")
    np.testing.assert_array_equal(
        read(tmp_path, saved(cmyk, "TIFF"), mode="RGB"), COLOUR.transpose(2, 0, 1)
    )
    data = saved(cmyk, "JPEG", quality=100, subsampling=0)
    assert (
        np.abs(read(tmp_path, data, mode="RGB").transpose(1, 2, 0) - COLOUR.astype(int)).max() < 9
    )
    for form in ("TGA", "WEBP", "BMP", "TIFF"):
        options = {"lossless": True} if form == "WEBP" else {}
        image = read(tmp_path, saved(Image.fromarray(COLOUR), form, **options), mode="RGB")
        np.testing.assert_array_equal(image, COLOUR.transpose(2, 0, 1))


@pytest.mark.parametrize("form", ["GIF", "WEBP", "TIFF", "PNG"])
def test_of_several_pictures_the_first_is_read(tmp_path, form):
    first, second = Image.fromarray(GREY), Image.fromarray(255 - GREY)
    options = {"lossless": True} if form == "WEBP" else {}
    data = saved(first, form, save_all=True, append_images=[second], **options)
    np.testing.assert_array_equal(read(tmp_path, data)[0], GREY)


@pytest.mark.parametrize(
    ("background", "error"),
    [("no colour", ValueError), (256, ValueError), (-1, ValueError), ((1, 2), ValueError),
     ((1, 2, 300), ValueError), ("#11223344", ValueError), (0.5, TypeError), (True, TypeError),
     (None, TypeError), ((1, 2, 0.5), TypeError)],
)  # fmt: skip
def test_background_is_checked(tmp_path, background, error):
    with pytest.raises(error, match="background: expected a colour, 0 to 255 or three of these"):
        read(tmp_path, png(GREY[..., None]), background=background)


# Orientation


UPRIGHT = {
    1: lambda p: p, 2: lambda p: p[:, ::-1], 3: lambda p: p[::-1, ::-1], 4: lambda p: p[::-1],
    5: lambda p: p.T, 6: lambda p: np.rot90(p, -1), 7: lambda p: p[::-1, ::-1].T,
    8: lambda p: np.rot90(p),
}  # fmt: skip


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("form", ["PNG", "WEBP", "JPEG", "TIFF"])
def test_exif_says_which_way_is_up(tmp_path, orientation, form):
    """The eight orientations, by the definition of the tag: where row 0 and column 0 are."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    blocks = (GREY > 127).astype(np.uint8).repeat(16, 0).repeat(16, 1) * 255
    options = {"lossless": True} if form == "WEBP" else {}
    image = read(tmp_path, saved(Image.fromarray(blocks), form, exif=exif, **options))[0]
    np.testing.assert_array_equal(image > 127, UPRIGHT[orientation](blocks) > 127)
    assert read_image(tmp_path / "picture", (3, 9)).shape == (1, 3, 9)


def test_sixteen_bits_are_turned_too(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = read(tmp_path, saved(Image.fromarray(DEEP), "PNG", exif=exif))
    np.testing.assert_array_equal(image[0], np.rot90(DEEP, -1))


@pytest.mark.parametrize("value", [0, 9, 77])
def test_an_orientation_that_is_none_changes_nothing(tmp_path, value):
    exif = Image.Exif()
    exif[0x0112] = value
    np.testing.assert_array_equal(
        read(tmp_path, saved(Image.fromarray(GREY), "PNG", exif=exif))[0], GREY
    )


def test_broken_exif_data_do_not_cost_the_picture(tmp_path):
    data = saved(Image.fromarray(GREY), "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    np.testing.assert_array_equal(read(tmp_path, data)[0], GREY)


def test_a_decompression_bomb_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 15)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=r"picture: .*exceeds limit of 30 pixels"):
            read(tmp_path, png(GREY[..., None]))
