"""The page as a whole: what is measured, put together and written."""

from __future__ import annotations

import html
import json
import math
import os
import platform
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import __version__
from .. import _check as check
from .._dispatch import config as machine
from .._dispatch import get_num_threads, threads
from .._files import atomic_write
from ..layers import Module
from ..run.plan import Plan
from ..run.timing import times
from ..training.history import History
from ..training.metrics import class_numbers
from . import panels
from .answers import answers_of, calibration_of
from .inputs import Inputs, examples, inputs_of
from .live import live
from .network import CannotShow, Memory, described, steps, traced
from .words import about

HERE = Path(__file__).parent
SECONDS = 0.3  # of each measurement of speed
BATCH = 256


@dataclass(frozen=True)
class Origin:
    """Where a network comes from, for its page.

    Parameters
    ----------
    title : str
        What the page is called.
    file_bytes : int, optional
        Size of the network's file.
    sha256 : str, optional
        Of the file.
    commands : str
        What to type to get network and page again, a line for each command.
    config : str, optional
        The options of its training.
    """

    title: str = "A network"
    file_bytes: int | None = None
    sha256: str | None = None
    commands: str = ""
    config: str | None = None


def write(
    path: str | os.PathLike[str],
    net: Module,
    x: ArrayLike,
    y: ArrayLike,
    classes: Sequence[str] | None = None,
    *,
    outputs: str | None = None,
    history: History | None = None,
    origin: Origin | None = None,
    limit: int = 24,
    num_threads: int | None = None,
) -> str | None:
    """Write one HTML page about a network that tells classes apart, with the network in it.

    Parameters
    ----------
    path : str or path
        Replaced only when the new file is complete.
    net : Module
    x : array_like, shape (N, C, H, W), (N, C, L) or (N, F)
        Pictures that it was not trained on.
    y : array_like of int, shape (N,)
        Their classes.
    classes : sequence of str, optional
        Names of the classes, by default those of the network's task, or their numbers.
    outputs : str, optional
        What the outputs are, if it is known better than the network knows it, see `Plan`.
    history : History, optional
        Of its training.
    origin : Origin, optional
    limit : int
        Most mistakes to show.
    num_threads : int, optional
        As for `Trainer`.

    Returns
    -------
    str or None
        Why the network itself is not in the page, if it cannot be.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or the network does something else than telling classes apart;
        the message names it.
    OSError
        If the file cannot be written.
    """
    if not isinstance(net, Module):
        raise TypeError(f"net: expected a Module, got {type(net).__name__}")
    images: Any = check.real_array(x, "x")
    if images.ndim < 2 or not images.size:
        raise ValueError(f"x: expected images (N, C, H, W), got shape {images.shape}")
    check.finite({"x": images})
    true = class_numbers(y, "y")
    check.same_shape(true, "y", (len(images),))
    check.whole(limit, "limit", 1)
    if not isinstance(history, History | None):
        raise TypeError(f"history: expected a History, got {type(history).__name__}")
    plan = net.compile(images.shape[1:], BATCH, outputs)
    names = _names(plan, true, classes)
    page = _Page(net, plan, images, true, names, origin or Origin(), num_threads)
    text = page.text(history, limit)
    with atomic_write(path) as file:
        file.write(text.encode("utf-8", "xmlcharrefreplace"))  # names may hold half of a character
    return page.missing


def _names(plan: Plan, true: np.ndarray, classes: Sequence[str] | None) -> tuple[str, ...]:
    shape = plan.output_shape
    if len(shape) != 1 or plan.task.kind not in (None, "classes", "probability"):
        raise ValueError(
            f"net: expected one that tells classes apart, got one for {plan.task.kind} with "
            f"outputs of shape {shape}"
        )
    names = plan.task.names(shape) if classes is None else tuple(map(str, classes))
    if len(names) != (2 if shape[0] == 1 else shape[0]):
        raise ValueError(f"classes: expected names for {shape[0]} outputs, got {len(names)}")
    if true.min() < 0 or true.max() >= len(names):
        raise ValueError(
            f"y: expected classes 0 to {len(names) - 1}, got {true.min()} to {true.max()}"
        )
    return names


class _Page:
    """What is known of a network, as the page says it."""

    def __init__(
        self,
        net: Module,
        plan: Plan,
        x: np.ndarray,
        y: np.ndarray,
        classes: Sequence[str],
        origin: Origin,
        num_threads: int | None,
    ) -> None:
        self.net, self.plan, self.x, self.classes = net, plan, x, classes
        self.origin = origin
        self.look: Inputs = inputs_of(x, plan.graph.byte_scale)
        with threads(num_threads):
            self.answers = answers_of(plan, x, y, len(classes))
            batch = x[:BATCH]
            throughput = len(batch) / float(np.median(times(lambda: plan(batch), SECONDS)))
            self.threads = get_num_threads()
        with threads(1):
            latency = np.percentile(times(lambda: plan(x[0]), SECONDS), (50, 90))
        self.speed = (*latency.tolist(), throughput)
        self.calibration = None
        if self.answers.sure is not None:
            right = self.answers.true == self.answers.guessed
            self.calibration = calibration_of(self.answers.sure, right)
        self.memory, self.graph, self.network = Memory(), None, None
        self.missing: str | None = None
        try:
            self.graph = traced(net, x.shape[1:])
            self.network = self._network(self.graph)
        except CannotShow as error:
            self.missing = str(error)

    def _network(self, graph: Any) -> dict[str, Any]:
        chosen = examples(self.x, self.answers.true)
        return {
            **described(graph, self.memory),
            "outputs": self.plan.task.outputs,
            "classes": list(self.classes),
            "look": self.look.described(),
            "steps": [
                {
                    "place": step.place,
                    "name": step.name,
                    "value": step.value,
                    "about": about(step.name),
                }
                for step in steps(graph)
            ],
            "examples": [
                {
                    "values": self.memory.place(self.look.numbers(self.x[i])),
                    "true": self.classes[self.answers.true[i]],
                    "number": i,
                }
                for i in chosen
            ],
        }

    def text(self, history: History | None, limit: int) -> str:
        """The HTML."""
        title = html.escape(self.origin.title)
        shape, wrong = self.look.shape, int((self.answers.true != self.answers.guessed).sum())
        kind = "pictures" if self.look.pictures else "examples"
        about_it = (
            f"A network that takes {kind} of {panels.by(shape)} numbers and tells "
            f"{len(self.classes)} classes apart, tested on {len(self.x):,} of them."
        )
        found = [
            panels.mistakes(self.x, self.answers, self.classes, self.look, limit),
            panels.confusion(self.answers.confusion, self.classes),
            panels.calibration(self.calibration),
            panels.training(history),
            panels.kernels(list(self.net.named_modules())),
            panels.sizes(self.graph, self.net, self._facts()),
            panels.repeat(self.origin.commands, self.origin.config, self._known()),
        ]
        links = (
            ("live", "Try it"), ("mistakes", "Mistakes"), ("confusion", "Confusion"),
            ("calibration", "Calibration"), ("training", "Training"), ("kernels", "Kernels"),
            ("sizes", "Size and speed"), ("repeat", "Repeat it"),
        )  # fmt: skip
        there = "".join(found)
        menu = "".join(
            f'<a href="#{key}">{text}</a>'
            for key, text in links
            if key == "live" or f'id="{key}"' in there
        )
        return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_policy()}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{(HERE / "page.css").read_text("utf-8")}</style>
</head>
<body>
<a class="skip" href="#live">Skip to the network</a>
<header>
<h1>{title}</h1>
<p class="lead">{about_it}</p>
<nav aria-label="Panels">{menu}</nav>
</header>
<main>
{panels.figures(self._figures(wrong))}
{self._live()}
{there}
</main>
<footer>Written by cnn_ext {__version__} on {datetime.now(UTC):%d %B %Y}. Nothing on this page
is fetched from anywhere or sent to anyone: weights, pictures and program are in this file.</footer>
{self._data()}</body>
</html>
"""

    def _figures(self, wrong: int) -> list[tuple[str, str, str]]:
        parameters = sum(p.data.size for p in self.net.parameters())
        median, _, _ = self.speed
        found = [
            (
                "Accuracy",
                f"{100 * self.answers.accuracy:.2f} %",
                f"{wrong:,} of {len(self.x):,} wrong",
            ),
            ("Parameters", f"{parameters:,}", "learned numbers"),
            ("One answer", _time(median), "for one picture, on one thread"),
        ]
        if self.calibration is not None:
            ece = f"{100 * self.calibration.ece:.1f} %"
            found.insert(1, ("Calibration error", ece, "how far its certainty is off"))
        if self.origin.file_bytes is not None:
            found.append(("File", _bytes(self.origin.file_bytes), "on the disk"))
        return found

    def _facts(self) -> list[tuple[str, str]]:
        median, most, throughput = self.speed
        count = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        many = f"{throughput:,.0f} a second, in batches of {min(BATCH, len(self.x))}, {count}"
        facts = [
            ("One answer, one thread", f"{_time(median)} (90 % below {_time(most)})"),
            ("Many pictures", many),
            ("Memory of the plan", f"{_bytes(self.plan.weights_bytes)} of weights, "
             f"{_bytes(self.plan.arena_bytes)} a thread"),
        ]  # fmt: skip
        if self.origin.file_bytes is not None:
            facts.append(("File", _bytes(self.origin.file_bytes)))
        return facts

    def _known(self) -> list[tuple[str, str]]:
        here = machine()
        facts = [
            ("Versions", f"cnn_ext {__version__}, NumPy {np.__version__}, Python "
             f"{platform.python_version()}"),
            ("Machine", f"{here['cpu']}, {here['instruction_set']}"),
        ]  # fmt: skip
        if self.origin.sha256 is not None:
            facts.append(("SHA-256 of the model", self.origin.sha256))
        return facts

    def _live(self) -> str:
        if self.missing is not None:
            lead = f"The network itself is not in this page: {self.missing}."
            return panels.panel("live", "Try it", lead, "", wide=True)
        return live(self.look, self.classes)

    def _data(self) -> str:
        if self.network is None:
            return ""
        text = json.dumps(self.network, allow_nan=False, separators=(",", ":"))
        for sign in "<>&":  # which would be marks of HTML
            text = text.replace(sign, f"\\u{ord(sign):04x}")
        weights = b64encode(self.memory.content()).decode()
        return (
            f'<script type="application/json" id="network">{text}</script>\n'
            f'<script type="text/plain" id="weights">{weights}</script>\n'
            f"<script>{_program()}</script>\n"
        )


def _program() -> str:
    names = ("interpreter", "drawing", "live")
    return "\n" + "".join((HERE / f"{name}.js").read_text("utf-8") for name in names)


def _policy() -> str:
    # what the page may do: run this very program, show what is in it, and fetch nothing
    known = b64encode(sha256(_program().encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{known}'; style-src 'unsafe-inline'; "
        "img-src data: blob:"
    )


def _time(seconds: float) -> str:
    power = 0 if seconds >= 1 else 1 if seconds >= 1e-3 else 2
    return f"{seconds * 1e3**power:.3g} {('s', 'ms', 'µs')[power]}"


def _bytes(count: int) -> str:
    power = min(int(math.log(max(count, 1), 1000)), 3)
    return f"{count / 1000**power:.3g} {('bytes', 'KB', 'MB', 'GB')[power]}"
