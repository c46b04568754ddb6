"""The page of the report in a real browser: it draws, answers as the plan, and fits a phone."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsers import browser
from numpy.testing import assert_allclose
from report_nets import Subject, colour, digits, sequences, vectors

from cnn_ext import report

__all__ = ["browser"]  # a fixture

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Subject, Path]]:
    """Networks, and where their pages are."""
    folder = tmp_path_factory.mktemp("pages")
    made = {}
    for make in (digits, colour, sequences, vectors):
        net, x, y = tested = make()
        path = folder / f"{make.__name__}.html"
        assert report.write(path, net, x, y) is None
        made[make.__name__] = tested, path
    return made


@pytest.fixture
def opened(browser: Any, known: dict[str, tuple[Subject, Path]]) -> Iterator[Open]:
    """Opens a page, which may load nothing and must not fail."""
    faults: list[str] = []
    contexts = []

    def open_page(name: str, **options: Any) -> Any:
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text))
        page.on("request", lambda asked: faults.append(asked.url) if not asked.url.startswith(
            ("file:", "data:", "blob:")) else None)  # fmt: skip
        page.goto(known[name][1].as_uri())
        until(page, "live && live.runs > 0")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


def until(page: Any, expression: str) -> None:
    """Wait for an expression to be true; Playwright's own waiting breaks the page's policy."""
    end = time.monotonic() + 10
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(20)


def settled(page: Any, runs: int) -> None:
    until(page, f"live.runs > {runs}")
    page.evaluate("() => new Promise((done) => setTimeout(() => requestAnimationFrame(done), 60))")


def assert_as_planned(page: Any, net: Any, shape: tuple[int, ...]) -> np.ndarray:
    """What the page shows is what the plan says of the page's input, which is returned."""
    x = np.array(page.evaluate("Array.from(live.input)"), np.float32).reshape(shape)
    plan = net.compile(shape)
    found = page.evaluate("live.answer")
    outputs = plan(x[None])
    p = plan.task.probabilities(outputs)[0]
    p = np.array([1 - p[0], p[0]]) if len(p) == 1 else p
    assert_allclose(found["values"], p, atol=1e-4)
    guess, sure = plan.classify(x)
    assert found["best"] == guess
    shown = page.locator("#answer").inner_text().split("\n")
    assert shown[0] == plan.task.names(plan.output_shape)[guess]
    assert abs(float(shown[1].removesuffix(" %")) - 100 * sure) < 0.051
    return x


def draw(page: Any, points: list[tuple[float, float]]) -> None:
    """A stroke of the mouse; points from 0 to 1 in both directions."""
    pad = page.locator("#pad")
    pad.scroll_into_view_if_needed()
    box, runs = pad.bounding_box(), page.evaluate("live.runs")
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place)
    page.mouse.up()
    settled(page, runs)


RING = [(0.5 + 0.2 * math.sin(t / 3), 0.5 - 0.35 * math.cos(t / 3)) for t in range(20)]
STROKES = {"zero": [RING], "one": [[(0.5, 0.1), (0.5, 0.9)]],
           "four": [[(0.5, 0.1), (0.2, 0.6), (0.8, 0.6)], [(0.6, 0.4), (0.6, 0.9)]]}  # fmt: skip


@pytest.mark.parametrize("name", STROKES)
def test_drawn_strokes_are_answered_as_by_the_plan(
    name: str, opened: Open, known: dict[str, tuple[Subject, Path]]
) -> None:
    net, page = known["digits"][0].net, opened("digits")
    inputs = []
    for stroke in STROKES[name]:
        draw(page, stroke)
        inputs.append(assert_as_planned(page, net, (1, 8, 8)))
    assert all(x.max() > 0.7 and x.min() == 0 for x in inputs)
    assert len({x.tobytes() for x in inputs}) == len(inputs)
    if name == "zero":
        assert page.locator("#answer b").inner_text() == "0"
    page.get_by_role("button", name="Undo").click()
    page.get_by_role("button", name="Clear").click()
    settled(page, 0)
    assert not assert_as_planned(page, net, (1, 8, 8)).any()


def test_examples_of_every_page(opened: Open, known: dict[str, tuple[Subject, Path]]) -> None:
    for name, ((net, x, y), _) in known.items():
        page = opened(name)
        seen = set()
        for _ in range(3):
            runs = page.evaluate("live.runs")
            page.locator("#next").click()
            settled(page, runs)
            number = int(page.locator("#source").inner_text().split()[2].strip(","))
            found = assert_as_planned(page, net, x.shape[1:])
            scale = 1 / 255 if x.dtype == np.uint8 else 1
            assert_allclose(found, x[number] * scale, atol=1e-6)
            seen.add(int(y[number]))
        assert len(seen) == min(3, len(np.unique(y)))
        assert (page.locator("#pad[tabindex]").count() == 1) == (name == "digits")
        assert (page.locator("#file").count() == 1) == (name in ("digits", "colour"))


def test_layers_are_shown_as_they_are(opened: Open, known: dict[str, tuple[Subject, Path]]) -> None:
    page = opened("digits")
    titles = [" ".join(t.split()) for t in page.locator("#steps h4").all_inner_texts()]
    assert [title.split()[1] for title in titles] == [
        "Normalize", "Conv2d", "ReLU", "MaxPool2d", "Linear",
    ]  # fmt: skip
    assert page.locator(".step:nth-child(2) canvas").count() == 8
    alpha = page.evaluate(
        "[...document.querySelectorAll('.step:nth-child(2) canvas')].map((c) => Array.from("
        "c.getContext('2d').getImageData(0, 0, c.width, c.height).data)"
        ".filter((_, i) => i % 4 == 3))"
    )
    net = known["digits"][0].net
    first = np.array(page.evaluate("Array.from(live.input)"), np.float32).reshape(1, 1, 8, 8)
    maps = net.activations(first)[1][0]
    true = 255 * np.abs(maps) / np.abs(maps).max()
    assert_allclose(np.array(alpha).reshape(maps.shape), true, atol=1.01)


def test_the_keyboard_draws(opened: Open, known: dict[str, tuple[Subject, Path]]) -> None:
    net, page = known["digits"][0].net, opened("digits")
    pad = page.locator("#pad")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "pad":
            break
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate("document.activeElement.id") == "pad"
    assert page.evaluate(outline) == "solid"
    before = page.evaluate("live.runs")
    for key in ["Shift+ArrowUp"] * 4 + ["Space"] + ["Shift+ArrowDown"] * 8 + ["Space", "ArrowLeft"]:
        page.keyboard.press(key)
    settled(page, before)
    x = assert_as_planned(page, net, (1, 8, 8))
    assert (x[0, :, 3:5].max(axis=1) > 0.3).all()  # a line from top to bottom, in the middle
    assert x[0, :, :2].max() == x[0, :, 6:].max() == 0
    until(
        page,
        "document.getElementById('said').textContent === "
        "document.getElementById('answer').innerText",
    )
    page.keyboard.press("Backspace")
    until(page, "!live.input.some(Boolean)")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "clear"
    assert "Arrow keys" in pad.get_attribute("aria-label")


def test_a_finger_draws(opened: Open, known: dict[str, tuple[Subject, Path]]) -> None:
    page = opened("digits", viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True)
    page.locator("#pad").scroll_into_view_if_needed()
    box, runs = page.locator("#pad").bounding_box(), page.evaluate("live.runs")
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    settled(page, runs)
    assert page.locator("#source").inner_text() == "Your drawing"
    assert assert_as_planned(page, known["digits"][0].net, (1, 8, 8)).any()


def test_pictures_that_are_chosen(
    opened: Open, known: dict[str, tuple[Subject, Path]], tmp_path: Path
) -> None:
    image = pytest.importorskip("PIL.Image")
    read_image = pytest.importorskip("cnn_ext.data.pictures").read_image
    rng = np.random.default_rng(0)
    for size in ((12, 10), (40, 31)):
        path = tmp_path / "a picture.png"
        image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(path)
        page = opened("colour")
        runs = page.evaluate("live.runs")
        page.locator("#file").set_input_files(path)
        settled(page, runs)
        x = assert_as_planned(page, known["colour"][0].net, (3, 12, 10))
        assert_allclose(x, read_image(path, (12, 10), "RGB") / 255, atol=1.01 / 255)
        assert page.locator("#source").inner_text() == path.name
    (tmp_path / "none.png").write_bytes(b"nothing")
    page.locator("#file").set_input_files(tmp_path / "none.png")
    until(page, "document.getElementById('source').textContent.includes('not a picture')")


def test_a_picture_that_is_dropped(
    opened: Open, known: dict[str, tuple[Subject, Path]], tmp_path: Path
) -> None:
    image = pytest.importorskip("PIL.Image")
    grey = np.full((40, 40), 230, np.uint8)
    grey[8:32, 18:22] = 20  # a dark one on a light ground
    image.fromarray(grey).save(tmp_path / "one.png")
    page = opened("digits")
    runs, content = page.evaluate("live.runs"), list((tmp_path / "one.png").read_bytes())
    page.evaluate(
        "(content) => { const data = new DataTransfer(); data.items.add(new File("
        "[new Uint8Array(content)], 'one.png', {type: 'image/png'})); document.body.dispatchEvent("
        "new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true})); }",
        content,
    )
    settled(page, runs)
    x = assert_as_planned(page, known["digits"][0].net, (1, 8, 8))
    assert page.locator("#source").inner_text() == "one.png"
    assert (x[0, :, 3:5].max(axis=1) > 0.5).all() and x[0, :, [0, 1, 6, 7]].max() == 0


@pytest.mark.parametrize("name", ["digits", "colour", "sequences", "vectors"])
@pytest.mark.parametrize("width", [360, 1200])
def test_nothing_scrolls_sideways(name: str, width: int, opened: Open) -> None:
    page = opened(name, viewport={"width": width, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") == width
    tops = page.evaluate(
        "[...document.querySelectorAll('.panel')].map((p) => p.scrollWidth - p.clientWidth)"
    )
    assert max(tops) <= 0
    canvas = page.locator("#pad").bounding_box()
    assert canvas["width"] >= 250


def test_dark_and_still(opened: Open) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    bar = "getComputedStyle(document.querySelector('#bars i')).transitionDuration"
    light = opened("digits", color_scheme="light")
    dark = opened("digits", color_scheme="dark", reduced_motion="reduce")
    assert light.evaluate(background) == "rgb(245, 246, 248)"
    assert dark.evaluate(background) == "rgb(17, 20, 24)"
    assert float(light.evaluate(bar).removesuffix("s")) > 0
    assert float(dark.evaluate(bar).removesuffix("s")) == 0


def test_every_picture_is_said_in_words(opened: Open) -> None:
    for name in ("digits", "sequences"):
        page = opened(name)
        silent = page.evaluate(
            "[...document.querySelectorAll('img, svg, canvas, [role=img]')].filter((e) =>"
            " !(e.alt || e.getAttribute('aria-label') || e.ariaHidden ||"
            " e.closest('[role=img]')?.getAttribute('aria-label'))).map((e) => e.outerHTML)"
        )
        assert silent == []
        assert page.evaluate("document.querySelectorAll('h1').length") == 1
