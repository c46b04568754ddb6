"""Small sets of pictures of different kinds, drawn from a seed: arrays, or folders of PNG files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

Array = np.ndarray
Set = tuple[Array, Array, tuple[str, ...]]  # (N, C, H, W) of bytes, (N,), names of the classes


def textures(count: int, rng: np.random.Generator, side: int = 48) -> Set:
    """Five kinds of noise, told apart by grain and direction alone: light and contrast vary."""
    grains = {
        "across": (0.05, 0.25), "along": (0.25, 0.05), "coarse": (0.08, 0.08),
        "fine": (0.22, 0.22), "even": (0.14, 0.14),
    }  # fmt: skip
    y = np.arange(count) % len(grains)
    rows, columns = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    pictures = []
    for label in y:
        height, width = list(grains.values())[label]
        filtered = np.fft.rfft2(rng.normal(size=(side, side)))
        filtered *= np.exp(-((rows / height) ** 2) - (columns / width) ** 2)
        grain = np.fft.irfft2(filtered, (side, side))
        light, contrast = rng.uniform(60, 190), rng.uniform(10, 35)
        noise = rng.normal(0, 8, (side, side))
        pictures.append(light + contrast * grain / grain.std() + noise)
    return _bytes(pictures), y, tuple(grains)


def shapes(count: int, rng: np.random.Generator, side: int = 32, noise: float = 12.0) -> Set:
    """A disc, a square, a triangle, a cross or a ring of any colour, anywhere, on any colour."""
    names = ("disc", "square", "triangle", "cross", "ring")
    y = np.arange(count) % len(names)
    pictures = []
    for label in y:
        size = rng.uniform(5, 10)
        row, column = rng.uniform(size, side - size, 2)
        r, c = np.mgrid[:side, :side] - np.array([row, column])[:, None, None]
        turn = rng.uniform(-0.4, 0.4)
        v, u = np.cos(turn) * r - np.sin(turn) * c, np.sin(turn) * r + np.cos(turn) * c
        away, widest = np.hypot(u, v), np.maximum(abs(u), abs(v))
        inside = (
            away < size,
            widest < 0.85 * size,
            (v < 0.7 * size) & (abs(u) < (v + size) * 0.6),
            (widest < size) & (np.minimum(abs(u), abs(v)) < 0.3 * size),
            (away < size) & (away > 0.55 * size),
        )[label]
        ground, ink = rng.uniform(0, 255, (2, 3))
        while abs(ground - ink).max() < 60:
            ink = rng.uniform(0, 255, 3)
        picture = np.where(inside, ink[:, None, None], ground[:, None, None])
        pictures.append(picture + rng.normal(0, noise, picture.shape))
    return _bytes(pictures), y, names


def noisy(count: int, rng: np.random.Generator) -> Set:
    """The shapes under so much noise that the eye has to look twice."""
    return shapes(count, rng, noise=40.0)


def digits(count: int, rng: np.random.Generator) -> Set:
    """Handwritten digits of 8 x 8 pixels, each somewhere in a picture of 12 x 12."""
    from cnn_ext import datasets

    data = datasets.digits(0.0)
    chosen = rng.permutation(len(data.x_train))[:count]
    pictures = np.zeros((count, 12, 12))
    for picture, digit in zip(pictures, data.x_train[chosen, 0], strict=True):
        row, column = rng.integers(0, 5, 2)
        picture[row : row + 8, column : column + 8] = digit * 255
    return _bytes(list(pictures)), data.y_train[chosen], data.classes


def faults(count: int, rng: np.random.Generator, side: int = 40) -> Set:
    """A surface of fine grain, every eighth time with a scratch."""
    y = (np.arange(count) % 8 == 7).astype(int)
    pictures = []
    for label in y:
        picture = rng.uniform(90, 160) + rng.normal(0, 12, (side, side))
        picture = (picture + np.roll(picture, 1, 0) + np.roll(picture, 1, 1)) / 3
        if label:
            length = rng.integers(8, 16)
            slope, start = rng.uniform(-1, 1), rng.integers(length, side - length, 2)
            for step in range(length):
                place = start + np.array([slope * step, step]).astype(int)
                picture[tuple(place.clip(0, side - 1))] += rng.uniform(25, 45)
        pictures.append(picture)
    return _bytes(pictures), y, ("good", "scratched")


SETS: dict[str, Callable[[int, np.random.Generator], Set]] = {
    "textures": textures, "shapes": shapes, "noisy": noisy, "digits": digits, "faults": faults,
}  # fmt: skip


def write(made: Set, folder: Path) -> None:
    """A folder with one of PNG files for each class."""
    from PIL import Image

    x, y, names = made
    for number, (picture, label) in enumerate(zip(x, y, strict=True)):
        place = folder / names[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.squeeze(picture.transpose(1, 2, 0))).save(place / f"{number:05}.png")


def _bytes(pictures: list[Array]) -> Array:
    array = np.rint(np.array(pictures)).clip(0, 255).astype(np.uint8)
    return array if array.ndim == 4 else array[:, None]
