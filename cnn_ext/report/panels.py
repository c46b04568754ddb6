"""The panels of the page, each as HTML; all texts are escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .. import _figure as fig
from .. import _html
from ..layers import Conv1d, Conv2d, Module
from ..layers.summary import HEADER, summary_rows
from ..training.history import History
from . import charts, pictures
from .answers import Answers, Calibration
from .inputs import Inputs
from .pictures import BESIDE

MOST_CLASSES = 20  # in a table of the confusion matrix
MOST_PAIRS = 6
DEEP = 0.85  # of a cell's colour, from which its number is white
MOST_KERNELS = 64


def by(shape: Sequence[int]) -> str:
    """A shape as people write it."""
    return " × ".join(map(str, shape))  # noqa: RUF001


def panel(key: str, title: str, lead: str, body: str, wide: bool = False) -> str:
    """A panel with its heading, a sentence that says what it shows, and what it shows."""
    return (
        f'<section class="panel{" wide" if wide else ""}" id="{key}" aria-labelledby="h-{key}">'
        f'<h2 id="h-{key}">{html.escape(title)}</h2><p class="lead">{html.escape(lead)}</p>'
        f"{body}</section>"
    )


def figures(pairs: Iterable[tuple[str, str, str]]) -> str:
    """The row of key figures: name, figure, what it means."""
    items = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd><b>{html.escape(figure)}</b>"
        f"<span>{html.escape(meaning)}</span></dd></div>"
        for name, figure, meaning in pairs
    )
    return f'<dl class="figures">{items}</dl>'


def scrolled(label: str, content: str) -> str:
    """What may be wider than the page, which then does not scroll itself."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{label}">{content}</div>'


# ------------------------------------------------------------------------------------- answers


def confusion(matrix: np.ndarray, classes: Sequence[str]) -> str:
    """The matrix as a table, or as a picture where it is large, and the pairs mixed up most."""
    parts = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    if len(classes) > MOST_CLASSES:
        shades = np.cbrt(parts) * np.where(np.eye(len(matrix), dtype=bool), -1, 1)
        size = max(1, 480 // len(matrix))
        address = pictures.png(pictures.signed(shades, 1.0))
        lead = "A row for each true class, a column for each guess. Blue is right, orange is wrong."
        body = (
            f'<img class="matrix" src="{address}" width="{size * len(matrix)}" '
            f'height="{size * len(matrix)}" alt="Confusion matrix of {len(matrix)} classes">'
        )
        return panel("confusion", "What is taken for what", lead, body + _pairs(matrix, classes))
    head = "".join(f'<th scope="col"><span>{html.escape(name)}</span></th>' for name in classes)
    rows = []
    for i, name in enumerate(classes):
        cells = []
        for k, count in enumerate(matrix[i]):
            share = float(np.cbrt(parts[i, k]))  # the root shows rare mistakes too
            kind = ("right" if i == k else "wrong") + (" deep" if share > DEEP else "")
            title = f"{name} taken for {classes[k]}: {count:,}, {100 * parts[i, k]:.1f} % of {name}"
            cells.append(
                f'<td class="{kind}" style="--part:{share:.2f}" '
                f'title="{html.escape(title, quote=True)}">{count if count else ""}</td>'
            )
        rows.append(f'<tr><th scope="row">{html.escape(name)}</th>{"".join(cells)}</tr>')
    steep = " steep" if max(map(len, classes)) > 3 else ""
    table = (
        f'<table class="confusion{steep}"><thead><tr><td class="corner">true \\ guess</td>{head}'
        f"</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )
    lead = "A row for each true class, a column for each guess. Blue is right, orange is wrong."
    return panel("confusion", "What is taken for what", lead, scrolled("Confusion matrix", table)
                 + _pairs(matrix, classes))  # fmt: skip


def _pairs(matrix: np.ndarray, classes: Sequence[str]) -> str:
    wrong = matrix - np.diag(matrix.diagonal())
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS]
    items = [
        f"<li>{html.escape(f'{classes[i]} taken for {classes[k]}')} <b>{wrong[i, k]:,}</b></li>"
        for i, k in (divmod(int(at), len(matrix)) for at in order)
        if wrong[i, k]
    ]
    if not items:
        return '<p class="note">No picture of the test part is guessed wrong.</p>'
    return f'<h3>Mixed up most</h3><ul class="pairs">{"".join(items)}</ul>'


def mistakes(
    x: np.ndarray, answers: Answers, classes: Sequence[str], look: Inputs, limit: int
) -> str:
    """The pictures that are guessed wrong, the surest first."""
    order = answers.mistakes()
    chosen, count = order[:limit], f"Guessed wrong: {len(order):,} of {len(x):,} test pictures"
    if len(chosen) < len(order):
        known = "of which it was surest" if answers.sure is not None else "that come first"
        count += f", here the {len(chosen)} {known}"
    tiles = []
    for i, picture in zip(chosen, _pictured(x[chosen], look), strict=True):
        true, guess = classes[answers.true[i]], classes[answers.guessed[i]]
        sure = "" if answers.sure is None else f" {100 * answers.sure[i]:.0f} %"
        alt = html.escape(f"Test picture {i}: {true}, taken for {guess}", quote=True)
        tiles.append(
            f"<figure>{picture.format(alt=alt)}<figcaption><b>{html.escape(guess)}</b>{sure}"
            f"<span>is {html.escape(true)}</span></figcaption></figure>"
        )
    sureness = "" if answers.sure is None else ", with which probability"
    tile = 78 if max(map(len, classes)) < 8 else 104  # pixels
    body = f'<div class="tiles" style="--tile:{tile}px">{"".join(tiles)}</div>'
    lead = f"{count}. Below each: what it was taken for{sureness}, and what it is."
    if not len(order):
        lead, body = f"None of the {len(x):,} test pictures is guessed wrong.", ""
    return panel("mistakes", "Worst mistakes", lead, body, wide=True)


def _pictured(x: np.ndarray, look: Inputs) -> list[str]:
    # images as HTML with a place for what they are called
    if not len(x):
        return []
    if x.ndim != 4 or min(x.shape[2:]) == 1:  # sequences and vectors
        return [f'<div role="img" aria-label="{{alt}}">{charts.spark(image.ravel().tolist())}</div>'
                for image in x]  # fmt: skip
    return [
        f'<img src="{pictures.png(image)}" width="{image.shape[1]}" height="{image.shape[0]}" '
        'alt="{alt}">'
        for image in pictures.shown(look.numbers(x), look.low, look.high)
    ]


def calibration(found: Calibration | None) -> str:
    """The reliability diagram, or why there is none."""
    title = "Can its probabilities be trusted?"
    if found is None:
        return panel("calibration", title, "The outputs of this network are no probabilities.", "")
    lead = (
        "Of guesses given 90 %, nine in ten should be right: bars should end on the dashed line. "
        f"In the mean they are {100 * found.ece:.1f} points off (expected calibration error)."
    )
    note = (
        '<p class="note">The number over a bar is how many guesses it stands for; pale bars stand '
        "for few, and say little.</p>"
    )
    return panel("calibration", title, lead, charts.reliability(found) + note)


# ------------------------------------------------------------------------------------- network


def training(history: History | None) -> str:
    """The curves of training, or how to get them."""
    if not history:
        lead = "Its history was not given: train with --history FILE, and give it to report too."
        return panel("training", "Training", lead, "", wide=True)
    drawn = []
    for name, percent in (("accuracy", True), ("cost", False)):
        lines = {
            label: [
                (float(e.number), float(v)) for e in history if (v := getattr(e, key)) is not None
            ]
            for label, key in (("training", name), ("validation", f"validation_{name}"))
        }
        lines = {label: line for label, line in lines.items() if line}
        if lines:
            drawn.append(
                charts.curves(f"{name.capitalize()} over the epochs", lines, name, percent)
            )
    seconds = sum(epoch.seconds for epoch in history)
    lead = (
        f"{len(history)} {'passes' if len(history) > 1 else 'pass'} over the training pictures "
        f"(epochs) in {seconds:,.0f} seconds. Accuracy should rise, cost should fall"
        + (", for validation as well." if history.epochs[-1].validation_cost is not None else ".")
    )
    body = f'<div class="charts">{"".join(drawn)}</div>'
    return panel("training", "Training", lead, body, wide=True)


def kernels(layers: Sequence[tuple[str, Module]]) -> str:
    """The kernels of the first convolution; nothing if there is none."""
    first = next(((name, m) for name, m in layers if isinstance(m, (Conv1d, Conv2d))), None)
    if first is None:
        return ""
    name, layer = first
    K, C, *size = layer.weight.data.shape
    tiles = pictures.kernels(layer, MOST_KERNELS)
    extreme = fig.largest(np.asarray(layer.weight.data))
    which = f"The {K} kernels of {by(size)}" if K <= MOST_KERNELS else (
        f"The first {MOST_KERNELS} of {K} kernels of {by(size)}"
    )  # fmt: skip
    colours = f"orange above 0, blue below, up to {extreme:.2g}"
    if layer.in_channels == 3 == C and len(size) == 2:
        colours = f"red, green and blue from {-extreme:.2g} to {extreme:.2g}, grey is 0"
    elif C > 1 and len(size) == 1:
        colours += "; a row for each channel"
    elif C > 1:
        colours += f"; {f'the first {BESIDE} of ' if C > BESIDE else ''}{C} channels side by side"
    lead = f"{which} that slide over the input in layer {name}: {colours}."
    wide = max(1, tiles[0].shape[1] // size[-1])
    images = "".join(
        f'<img src="{pictures.png(tile)}" style="--wide:{wide}" alt="Kernel {k}">'
        for k, tile in enumerate(tiles)
    )
    body = f'<div class="kernels">{images}</div>'
    return panel("kernels", "Kernels of the first layer", lead, body, wide=True)


def sizes(graph: Any, net: Module, facts: Iterable[tuple[str, str]]) -> str:
    """Parameters and work by layer, and what was measured."""
    measured = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd></div>"
        for name, value in facts
    )
    table = ""
    if graph is not None:
        table = _html.table(HEADER, summary_rows(graph, net), numbers=(3, 4))
        table = scrolled("Sizes by layer", table)
    lead = "Where its parameters are, what an answer costs, and how fast it is on this machine."
    return panel("sizes", "Size and speed", lead, f'<dl class="facts">{measured}</dl>{table}')


def repeat(commands: str, config: str | None, facts: Iterable[tuple[str, str]]) -> str:
    """How to get this network and this page again."""
    body = f"<h3>Commands</h3><pre>{html.escape(commands)}</pre>" if commands else ""
    if config:
        body += f"<h3>Options of the training</h3><pre>{html.escape(config.strip())}</pre>"
    known = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd></div>"
        for name, value in facts
    )
    lead = "What to type to get this network and this page again."
    return panel("repeat", "How to repeat it", lead, f'{body}<dl class="facts">{known}</dl>')
