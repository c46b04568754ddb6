"""The report's page: what it says, what it refuses, and the command that writes it."""

from __future__ import annotations

import base64
import json
import re
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run
from networks import ChannelScale
from numpy.testing import assert_allclose, assert_array_equal
from report_nets import Subject, colour, digits, sequences, vectors

import cnn_ext
from cnn_ext import Conv1d, Conv2d, Epoch, Flatten, History, Linear, Sequential, report
from cnn_ext.report import charts, pictures
from cnn_ext.report.answers import Answers, answers_of, calibration_of
from cnn_ext.report.page import Origin

HOSTILE = ["</script><script>alert(1)</script>", '" onload="alert(1)" & <b>', "\ud800 \u2028 \0 é"]


class Read(HTMLParser):
    """The elements of a page, its texts and what it refers to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.text = ""
        self._script: dict[str, str | None] | None = None
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self._script = dict(attrs) if tag == "script" else None

    def handle_data(self, data: str) -> None:
        if self._script is not None:
            self.scripts.append((self._script, data))
            self._script = None
        else:
            self.text += data


def page_of(path: Path, subject: Subject, **options: Any) -> tuple[str, Read]:
    assert report.write(path, *subject, **options) is None
    page = path.read_text("utf-8")
    return page, Read(page)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """How fast the networks are does not matter here."""
    monkeypatch.setattr("cnn_ext.report.page.SECONDS", 0.001)


@pytest.mark.parametrize("make", [digits, colour, sequences, vectors])
def test_the_page_needs_nothing_else(make: Any, tmp_path: Path) -> None:
    page, read = page_of(tmp_path / "a.html", make())
    assert "http:" not in page and "https:" not in page
    for name, value in read.attributes:
        if name in ("src", "href", "action", "srcset", "xlink:href"):
            assert value is not None and value.startswith(("data:image/png;base64,", "#"))
    assert not {"link", "iframe", "object", "embed", "base"} & set(read.tags)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None and policy[1].startswith("default-src 'none';")
    assert "connect-src" not in policy[1] and "'unsafe-inline'; img-src" in policy[1]
    allowed = sha256(read.scripts[-1][1].encode()).digest()
    assert f"script-src 'sha256-{base64.b64encode(allowed).decode()}';" in policy[1]
    identifiers = [value for name, value in read.attributes if name == "id"]
    assert len(identifiers) == len(set(identifiers))
    targets = {value[1:] for name, value in read.attributes if name == "href" and value}
    assert targets <= set(identifiers)


def test_the_network_in_the_page_is_the_network(tmp_path: Path) -> None:
    subject = digits()
    _, read = page_of(tmp_path / "a.html", subject)
    (_, network), (_, weights), (_, programs) = read.scripts
    found, memory = json.loads(network), base64.b64decode(weights)
    assert "function run(" in programs

    def array(place: list[Any]) -> np.ndarray:
        kind, start, shape = place
        return np.frombuffer(memory, kind, int(np.prod(shape)), start).reshape(shape)

    own = [p.data for p in subject.net.parameters()]
    nodes = [node for node in found["nodes"] if "bias" in node["weights"]]
    kept = [array(node["weights"][key]) for node in nodes[-2:] for key in ("weight", "bias")]
    for a, b in zip(own, kept, strict=True):
        assert_array_equal(a, b)
    for example in found["examples"]:
        assert_array_equal(array(example["values"]), subject.x[example["number"]])
        assert example["true"] == str(subject.y[example["number"]])


def test_the_page_says_what_was_measured(tmp_path: Path) -> None:
    subject = digits()
    plan = subject.net.compile((1, 8, 8))
    right = plan.predict(subject.x) == subject.y
    epochs = [Epoch(n, 1 / n, 1 - 0.1 / n, 0.1, 2.0, 50.0, 1.5 / n, 0.8) for n in (1, 2, 3)]
    origin = Origin("my.safetensors", 1234, "ab12", "cnn-ext train --config my.toml", "lr = 0.5\n")
    _, read = page_of(tmp_path / "a.html", subject, history=History(epochs), origin=origin, limit=2)
    text = " ".join(read.text.split())
    for said in (
        "my.safetensors", f"{100 * right.mean():.2f} %", f"{(~right).sum()} of 359",
        "here the 2 of which it was surest", "1.23 KB", "ab12", "--config my.toml", "lr = 0.5",
        "3 passes over the training pictures (epochs) in 6 seconds", "for validation as well",
        "The 8 kernels of 3", "longer side has 8 pixels", "1,280",
    ):  # fmt: skip
        assert said in text, said
    assert sum(tag == "figure" for tag in read.tags) == 2 + 1
    labels = [value for name, value in read.attributes if name == "aria-label" and value]
    assert any(label.startswith("Accuracy over the epochs. training: 90 % to") for label in labels)
    assert any(label.startswith("Reliability diagram.") for label in labels)
    alts = [value for name, value in read.attributes if name == "alt"]
    worst = int(answers_of(plan, subject.x, subject.y, 10).mistakes()[0])
    guess = plan.predict(subject.x[worst])
    assert f"Test picture {worst}: {subject.y[worst]}, taken for {guess}" in alts


def test_hostile_names_stay_texts(tmp_path: Path) -> None:
    plain = Origin(commands="cnn-ext", config="lr = 1")
    _, clean = page_of(tmp_path / "a.html", colour(), origin=plain)
    title = '<img src="http://a.b/c" onerror=x>&amp;'
    origin = Origin(title, commands="<script>a & b", config="data = '</pre><script>'")
    page, read = page_of(tmp_path / "b.html", colour(HOSTILE), origin=origin)
    assert read.tags == clean.tags
    assert [name for name, _ in read.attributes if name.startswith("on")] == []
    assert json.loads(read.scripts[0][1])["classes"] == HOSTILE
    assert title in read.text and HOSTILE[0] in read.text and HOSTILE[1] in read.text
    assert len(re.findall("<script", page)) == len(re.findall("</script>", page)) == 3


def test_many_classes_and_names(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    net = Sequential(Flatten(), Linear(64, 30, rng=rng)).eval()
    x, y = rng.random((90, 1, 8, 8), np.float32), np.arange(90) % 30
    page, read = page_of(tmp_path / "a.html", Subject(net, x, y), outputs="logits")
    assert "Confusion matrix of 30 classes" in page and "taken for" in read.text
    names = [f"class {i}" for i in range(30)]
    _, read = page_of(tmp_path / "a.html", Subject(net, x, y), classes=names)
    assert json.loads(read.scripts[0][1])["classes"] == names
    assert "The outputs of this network are no probabilities." in read.text
    assert "Its history was not given" in read.text and "Kernels" not in read.text


def test_a_published_network_fits(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    net = cnn_ext.architectures.build("nielsen", (1, 28, 28), 10, rng=rng).eval()
    x = rng.integers(0, 256, (300, 1, 28, 28), np.uint8)
    page, _ = page_of(tmp_path / "a.html", Subject(net, x, np.arange(300) % 10), outputs="logits")
    assert 400_000 < len(page) < 2_000_000


def test_a_network_that_is_too_large_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cnn_ext.report.network.LARGEST", 100)
    missing = report.write(tmp_path / "a.html", *colour())
    assert missing == "its weights and tables have more than 100 bytes"
    read = Read((tmp_path / "a.html").read_text("utf-8"))
    assert f"The network itself is not in this page: {missing}." in read.text
    assert "canvas" not in read.tags and "script" not in read.tags


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"net": "model"}, TypeError, "net: expected a Module, got str"),
        (
            {"x": np.zeros((60,))},
            ValueError,
            r"x: expected images \(N, C, H, W\), got shape \(60,\)",
        ),
        ({"x": np.zeros((60, 3, 9, 9, 2))}, ValueError, "expected"),
        ({"y": np.zeros(59, int)}, ValueError, "y: expected shape"),
        ({"y": np.zeros(60)}, TypeError, "y: expected class numbers"),
        ({"y": np.full(60, 3)}, ValueError, "y: expected classes 0 to 2, got 3 to 3"),
        ({"classes": ["a"]}, ValueError, "classes: expected names for 3 outputs, got 1"),
        ({"x": np.full((60, 3, 12, 10), np.nan)}, ValueError, "x: expected finite numbers"),
        ({"limit": 0}, ValueError, "limit"),
        ({"history": [1]}, TypeError, "history: expected a History, got list"),
        ({"outputs": "guesses"}, ValueError, "outputs: expected one of"),
        ({"net": Sequential(ChannelScale(3))}, TypeError, "ChannelScale has passes of its own"),
        ({"net": Sequential(Conv2d(3, 2, 1))}, ValueError, "net: expected one that tells classes"),
    ],
)
def test_bad_arguments(change: Any, error: Any, said: str, tmp_path: Path) -> None:
    options = {**colour()._asdict(), **change}
    path = tmp_path / "a.html"
    with pytest.raises(error, match=said):
        report.write(path, **options)
    assert not path.exists()


# ------------------------------------------------------------------------------------ measures


def test_the_surest_mistakes_come_first() -> None:
    true, guessed = np.array([0, 1, 2, 0, 1]), np.array([0, 2, 1, 1, 0])
    sure = np.array([1.0, 0.5, 0.9, 0.7, 0.9])
    counts = np.zeros((3, 3), int)
    assert Answers(true, guessed, counts, sure).mistakes().tolist() == [2, 4, 3, 1]
    assert Answers(true, guessed, counts, None).mistakes().tolist() == [1, 2, 3, 4]
    assert Answers(true, guessed, counts, sure).accuracy == 0.2


def test_calibration_is_counted_in_bins() -> None:
    sure = np.array([0.55, 0.58, 0.95, 1.0, 0.91, 0.99])
    right = np.array([True, False, True, True, False, True])
    found = calibration_of(sure, right)
    assert found.counts.tolist() == [0, 0, 0, 0, 0, 2, 0, 0, 0, 4]
    assert_allclose(found.accuracy[[5, 9]], (0.5, 0.75))
    assert_allclose(found.confidence[[5, 9]], (0.565, 0.9625))
    assert found.ece == pytest.approx((2 * 0.065 + 4 * 0.2125) / 6)
    perfect = calibration_of(np.full(100, 0.7), np.arange(100) < 70)
    assert perfect.ece == pytest.approx(0)


def test_pictures_are_png() -> None:
    image = pytest.importorskip("PIL.Image")
    from io import BytesIO

    for channels in (3, 4):
        pixels = np.random.default_rng(0).integers(0, 256, (5, 7, channels), np.uint8)
        head, _, content = pictures.png(pixels).partition(",")
        assert head == "data:image/png;base64"
        assert_array_equal(np.asarray(image.open(BytesIO(base64.b64decode(content)))), pixels)


def test_kernels_as_pictures() -> None:
    grey, colours, row = Conv2d(1, 2, 3), Conv2d(3, 2, 3), Conv1d(2, 4, 5)
    grey.weight.data[...] = 0
    grey.weight.data[0, 0, 0], grey.weight.data[1, 0, 2, 2] = (2, 0, -1), 1
    first, second = pictures.kernels(grey, 9)
    assert first[0].tolist() == [
        [*pictures.ABOVE, 255],
        [*pictures.BELOW, 0],
        [*pictures.BELOW, 128],
    ]
    assert second[2, 2].tolist() == [*pictures.ABOVE, 128]
    assert [tile.shape for tile in pictures.kernels(colours, 1)] == [(3, 3, 3)]
    assert [tile.shape for tile in pictures.kernels(Conv2d(5, 3, (2, 4)), 9)] == [(2, 24, 4)] * 3
    assert [tile.shape for tile in pictures.kernels(row, 9)] == [(2, 5, 4)] * 4
    large = pictures.shown(np.full((1, 3, 200, 130), 2.0), 0, 4)
    assert large[0].shape == (50, 33, 3) and (large[0] == 128).all()


@pytest.mark.parametrize(
    "line",
    [
        [(1, 0.5)],
        [(1, 0.0), (2, 0.0)],
        [(1, 2.3), (2, 0.01)],
        [(1, -3e5), (40, 9e7)],
        [(7, 1.0)] * 2,
    ],
)
def test_curves_lie_within_their_axes(line: list[tuple[float, float]]) -> None:
    drawn = charts.curves("t", {"training": line, "validation": line[:1]}, "cost")
    (points,) = re.findall(r'class="line s0" points="([^"]*)"', drawn)
    places = np.array([p.split(",") for p in points.split()], float)
    assert len(places) == len(line)
    assert (places >= (charts.LEFT - 0.1, charts.TOP - 0.1)).all()
    assert (places[:, 0] <= charts.WIDTH - charts.RIGHT + 0.1).all()
    assert (places[:, 1] <= charts.HEIGHT - charts.BOTTOM + 0.1).all()
    heights = re.findall(r'class="grid" d="M[\d.]+ ([\d.]+)', drawn)
    assert 2 <= len(heights) <= 8


# ------------------------------------------------------------------------------------- command


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model, with all that is beside it."""
    path = tmp_path_factory.mktemp("model")
    done = run("train", "--epochs", 2, "--quiet", "--out", "m.safetensors", "--history", "h.json",
               cwd=path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return path


def test_the_command(folder: Path) -> None:
    done = run("report", "m.safetensors", "--history", "h.json", "--limit", 3, cwd=folder)
    size = (folder / "report.html").stat().st_size
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"report.html: {size:,} bytes\n"
    text = Read((folder / "report.html").read_text("utf-8")).text
    command = "cnn-ext train --config m.toml --out m.safetensors --history h.json"
    for said in (command, (folder / "m.toml").read_text("utf-8").strip(), "2 passes over"):
        assert said in text
    assert "report m.safetensors --data digits --history h.json --limit 3 --out report.html" in text


def test_the_command_without_what_is_beside_the_model(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "alone.safetensors").write_bytes((folder / "m.safetensors").read_bytes())
    done = run("report", "alone.safetensors", "--out", "my page.html", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    text = Read((tmp_path / "my page.html").read_text("utf-8")).text
    assert "Its history was not given" in text and "train --config" not in text


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("m.safetensors", "--out", "a.pdf"), 2, "--out: expected a name that ends in .html, got "),
        (("m.safetensors", "--out", "no/a.html"), 2, "no is not a folder"),
        (("m.safetensors", "--limit", "0"), 2, "--limit: expected a whole number of at least 1"),
        (("m.safetensors", "--outputs", "x"), 2, "--outputs"),
        (("m.safetensors", "--data", "nowhere"), 1, "nowhere"),
        (("m.safetensors", "--history", "m.toml"), 1, "m.toml: not a history of training"),
        (("m.safetensors", "--history", "none"), 1, "none: No such file"),
        (("gone.safetensors",), 1, "gone.safetensors: No such file"),
        (("m.toml",), 1, "m.toml"),
    ],
)  # fmt: skip
def test_bad_usage(arguments: tuple[str, ...], status: int, said: str, folder: Path) -> None:
    before = sorted(folder.iterdir())
    done = run("report", *arguments, cwd=folder)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith("cnn-ext report: ") and said in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(folder.iterdir()) == before
