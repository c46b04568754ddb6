"""Curves of training: costs, scores and learning rates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _figure as fig
from ..training.history import VALIDATION, History
from ..training.rate_finder import LearningRates

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

IN_A_LINE = 3  # curves


def history(history: History, ax: Axes | Sequence[Axes] | None = None) -> Figure:
    """The cost and what else there is over the epochs: accuracy, metrics, the learning rate.

    The learning rate is that of the last step of each epoch; it is left out where it never changes.

    Parameters
    ----------
    history : History
        What `Trainer.fit` returned.
    ax : matplotlib.axes.Axes or sequence of them, optional
        Where to draw, one for each of these, or fewer for the first of them; by default in a new
        figure.  The figure of the first one is returned then.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or `history` has no epoch.
    ImportError
        If Matplotlib is not installed.
    """
    if not isinstance(history, History):
        raise TypeError(f"history: expected a History, got {type(history).__name__}")
    if not len(history):
        raise ValueError("history: expected at least one epoch, got none")
    names = ["cost", "accuracy", *dict.fromkeys(n for e in history for n in e.validation_metrics)]
    names = [n for n in names if _curve(history, n)[1] or _curve(history, VALIDATION + n)[1]]
    if len(set(history["learning_rate"])) > 1:
        names.append("learning_rate")
    title = "Training, 1 epoch" if len(history) == 1 else f"Training, {len(history)} epochs"
    if ax is None:
        columns = min(IN_A_LINE, len(names))
        lines = -(-len(names) // columns)
        figure = fig.figure(4.6 * columns + 1, 3.8 * lines + 0.4, title, "constrained")
        grid = list(figure.subplots(lines, columns, squeeze=False).flat)
        for unused in grid[len(names) :]:
            unused.remove()
    else:
        grid = list(ax) if isinstance(ax, (Sequence, np.ndarray)) else [ax]
        if not 1 <= len(grid) <= len(names):
            raise ValueError(
                f"ax: expected at most {len(names)}, for {', '.join(names)}, got {len(grid)}"
            )
        figure, *_ = [fig.checked_axes(one, "ax", title)[0] for one in grid]
    for axes, name in zip(grid, names, strict=False):
        _draw(axes, history, name)
    return figure


def learning_rates(found: LearningRates, ax: Axes | None = None) -> Figure:
    """The cost over the learning rate, with the rate that is suggested.

    Parameters
    ----------
    found : LearningRates
        What `learning_rate_finder` returned, which says where the method is from.
    ax : matplotlib.axes.Axes, optional
        Where to draw, by default in a new figure.  The figure of `ax` is returned then.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or `found` has no step.
    ImportError
        If Matplotlib is not installed.
    """
    if not isinstance(found, LearningRates):
        raise TypeError(f"found: expected LearningRates, got {type(found).__name__}")
    if not len(found.rates):
        raise ValueError("found: expected at least one step, got none")
    told = "none" if found.suggestion is None else f"{found.suggestion:.2g}"
    figure, axes = fig.one_axes(ax, f"Cost by learning rate, {told} is suggested", 6.4, 4.2)
    axes.plot(found.rates, found.costs, color=fig.COLOURS[0], label="cost, smoothed")
    if found.suggestion is not None:
        axes.axvline(
            found.suggestion, color=fig.COLOURS[1], linestyle="--", label="falls fastest here"
        )
    axes.set(xscale="log", xlabel="learning rate", ylabel="cost")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def _draw(axes: Any, history: History, name: str) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    many = len(history) > 40
    for prefix, label, look, colour in (
        ("", "training", "o-", fig.COLOURS[0]),
        (VALIDATION, "validation", "s--", fig.COLOURS[1]),
    ):
        numbers, values = _curve(history, prefix + name)
        if values:
            axes.plot(numbers, values, look[many:], color=colour, markersize=4, label=label)
    axes.set(xlabel="epoch", ylabel=name.replace("_", " "))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    axes.grid(alpha=0.3)
    if name != "learning_rate":
        axes.legend()
    if name == "accuracy":
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))


def _curve(history: History, name: str) -> tuple[list[int], list[float]]:
    # the epochs that have this figure, and the figure
    figures = [(epoch.number, epoch.figures().get(name)) for epoch in history]
    known = [(number, value) for number, value in figures if value is not None]
    return [number for number, _ in known], [value for _, value in known]
