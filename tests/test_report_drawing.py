"""From strokes and pictures to what a network takes: the page's own arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import cnn_ext
from cnn_ext.report.inputs import examples, inputs_of

pytest.importorskip("py_mini_racer", reason="no JavaScript engine (mini-racer)")
from report_engine import Engine

ENGINE = Engine()
LOOK = {"width": 28, "height": 28, "box": 20, "pen": 2.5, "ground": 0}
PLANE = "{width: p.width, height: p.height, data: Float32Array.from(p.data)}"


def ink(strokes: Any, **look: Any) -> np.ndarray:
    found = ENGINE.ask("Array.from(inkOf(s, l).data)", s=strokes, l=LOOK | look)
    return np.array(found).reshape((LOOK | look)["height"], -1)


def plane(pixels: np.ndarray) -> dict[str, Any]:
    return {"width": pixels.shape[1], "height": pixels.shape[0], "data": pixels.ravel().tolist()}


def mass(image: np.ndarray) -> np.ndarray:
    return np.array(
        [(image * (axis + 0.5)).sum() / image.sum() for axis in np.indices(image.shape)]
    )


def extents(image: np.ndarray) -> tuple[int, int]:
    rows, columns = np.nonzero(image > 0.3)
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


STROKES = {
    "seven": [[[0.1, 0.1], [0.3, 0.1], [0.15, 0.4]]],
    "one": [[[0.9, 0.2], [0.9, 0.9]]],
    "cross": [[[0.4, 0.4], [0.6, 0.6]], [[0.6, 0.4], [0.4, 0.6]]],
}


@pytest.mark.parametrize("name", STROKES)
def test_drawings_are_scaled_and_centred_as_mnist_is(name: str) -> None:
    found = ink(STROKES[name])
    assert max(extents(found)) in (20, 21)
    assert_allclose(mass(found), 14, atol=0.1)
    moved = [[[x / 2 + 0.3, y / 2 + 0.2] for x, y in s] for s in STROKES[name]]
    assert_allclose(ink(moved), found, atol=1e-4)  # where and how large it was drawn is the same


def test_what_fills_the_field_stays_inside() -> None:
    strokes = [[[0.0, 0.0], [0.0, 1.0], [0.1, 1.0]]]
    found = ink(strokes, width=8, height=8, box=8, pen=1)
    assert extents(found)[0] == 8
    assert found[-1].max() == pytest.approx(1, abs=0.1)


def test_dots_nothing_and_fields_without_a_box() -> None:
    assert 2 <= ink([[[0.2, 0.7]]]).sum() <= 8
    assert not ink([]).any()
    free = ink([[[0.25, 0.5]]], box=None)
    assert_allclose(mass(free), (14, 7), atol=0.01)
    wide = ink([[[0.9, 0.25]]], box=None, height=14)
    assert_allclose(mass(wide), (7, 0.9 * 28), atol=0.1)


@pytest.mark.parametrize(
    ("size", "to"), [((50, 61), (28, 20)), ((9, 7), (28, 28)), ((8, 8), (3, 8))]
)
def test_resizing_is_that_of_predict(size: tuple[int, int], to: tuple[int, int]) -> None:
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, size, np.uint8)
    true = np.asarray(image.fromarray(pixels).resize(to[::-1], image.Resampling.BILINEAR))
    found = ENGINE.ask(f"Array.from(resized({PLANE}, W, H).data)", p=plane(pixels / 255),
                       W=to[1], H=to[0])  # fmt: skip
    assert np.abs(np.array(found).reshape(to) * 255 - true).max() < 1.01


def test_colours_and_transparency_are_those_of_predict() -> None:
    image = pytest.importorskip("PIL.Image")
    rgba = np.random.default_rng(0).integers(0, 256, (5, 6, 4), np.uint8)
    rgba[0, :, 3], rgba[1, :, 3] = 0, 255
    parts = rgba.astype(int)
    over = (parts[..., :3] * parts[..., 3:] + 255 * (255 - parts[..., 3:]) + 127) // 255
    flat = image.fromarray(over.astype(np.uint8))
    for channels, mode in ((3, "RGB"), (1, "L")):
        true = np.asarray(flat.convert(mode)).reshape(5, 6, channels).transpose(2, 0, 1)
        found = ENGINE.ask("planesOf(q, 6, 5, C).map((p) => Array.from(p.data))",
                           q=rgba.ravel().tolist(), C=channels)  # fmt: skip
        assert_array_equal(np.round(np.array(found) * 255).reshape(true.shape), true)


@pytest.mark.parametrize("light", [False, True])
def test_pictures_are_cut_out_centred_and_inverted(light: bool) -> None:
    picture = np.zeros((100, 80))
    picture[30:90, 10:20] = picture[30:40, 10:50] = 0.8  # a gamma, aside
    shown = 1 - picture if light else picture
    found = np.array(ENGINE.ask(f"Array.from(inkIn({PLANE}, l).data)", p=plane(shown), l=LOOK))
    found = found.reshape(28, 28)
    assert extents(found) == (20, 13)
    assert_allclose(mass(found), 14, atol=0.51)  # whole pixels
    assert found.max() == pytest.approx(1)
    none = ENGINE.ask(f"Array.from(inkIn({PLANE}, l).data)", p=plane(np.zeros((9, 9))), l=LOOK)
    assert not np.any(none)


def test_numbers_are_as_the_set_has_them() -> None:
    found = ENGINE.ask("Array.from(numbersOf([p, p], {low: -1, high: 3}))",
                       p=plane(np.array([[0, 0.5, 1]])))  # fmt: skip
    assert found == [-1, 1, 3, -1, 1, 3]
    assert ENGINE.ask(f"Array.from(onGround({PLANE}, 1).data)", p=plane(np.array([[0, 1]]))) == [
        1,
        0,
    ]


# ------------------------------------------------------------------ how pictures of a set look


def test_the_look_of_digits() -> None:
    digits = cnn_ext.datasets.digits()
    look = inputs_of(digits.x_test, 1 / 255)
    assert (look.low, look.high, look.ground, look.box) == (0, 1, 0, 8)
    assert look.drawable and look.pictures
    assert look.pen == pytest.approx(1.57, abs=0.01)
    assert inputs_of(1 - digits.x_test, 1 / 255).ground == 1


def test_the_width_of_strokes_is_measured() -> None:
    for pen in (2.0, 3.0, 4.5):
        drawn = [ink(strokes, pen=pen) for strokes in STROKES.values()]
        look = inputs_of(np.array(drawn)[:, None].astype(np.float32), None)
        assert look.pen == pytest.approx(pen, rel=0.15)
        assert (look.ground, look.box) == (0, pytest.approx(20, abs=2))


def test_the_look_of_other_sets() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (40, 1, 9, 9), np.uint8)
    assert inputs_of(noise, 1 / 255)[1:6] == (1 / 255, 0, pytest.approx(1), None, None)
    assert inputs_of(noise, 1.0)[1:4] == (1, 0, 255)
    deep = inputs_of(noise.astype(np.uint16) * 257, 1 / 255)
    assert deep[2:4] == (0, pytest.approx(1))
    assert deep.numbers(noise.astype(np.uint16) * 257).max() == pytest.approx(1)
    anywhere = np.zeros((40, 1, 20, 20), np.float32)
    for k, picture in enumerate(anywhere[:, 0]):
        picture[1 + k % 15 : 4 + k % 15, 2:6] = 5
    look = inputs_of(anywhere, 1 / 255)
    assert (look.high, look.ground, look.box) == (5, 0, None)  # where it lies may matter
    assert inputs_of(np.zeros((3, 1, 9, 9)), None).box is None
    colour, row = inputs_of(rng.random((9, 3, 8, 8)), None), inputs_of(rng.random((9, 2, 30)), None)
    assert colour.pictures and not colour.drawable
    assert not row.pictures and not row.drawable
    assert (row.described()["height"], row.described()["width"]) == (1, 60)


def test_examples_are_one_of_each_class() -> None:
    y = np.array([2, 2, 0, 1, 0])
    assert examples(np.zeros((5, 1, 8, 8)), y) == [2, 3, 0]
    assert examples(np.zeros((5, 3, 400, 400)), y) == [2]
