"""What the pages of the documentation show is true: their code runs, their commands are known."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import threading
import urllib.request
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
from documentation import NEEDS, NOT_RUN, PAGES, ROOT, blocks, commands, run

import cnn_ext
from cnn_ext.cli import build_parser

pytestmark = pytest.mark.skipif(
    not (ROOT / "docs").exists(), reason="no documentation beside the tests"
)
#: modules whose `__all__` is public
PUBLIC = (
    "layers",
    "ops",
    "optim",
    "augment",
    "graph",
    "onnx",
    "data",
    "data.datasets",
    "distributed",
    "sklearn",
    "c",
)
WITH_PYTHON = [page for page in PAGES if any(block.is_run for block in blocks(page))]


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.stem)
def test_python(page: Path, tmp_path: Path) -> None:
    if not any(block.runs_here for block in blocks(page)):
        pytest.skip(f"needs {', '.join(name for block in blocks(page) for name in block.needs)}")
    options = "-W", "error", "-W", "ignore::DeprecationWarning"  # those of other packages
    program = [sys.executable, *options, str(ROOT / "tests/documentation.py"), str(page)]
    done = subprocess.run(
        program, cwd=tmp_path, text=True, capture_output=True, timeout=300,
        env={**os.environ, "KERAS_BACKEND": "torch",
             "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_shell(page: Path) -> None:
    for line, words in commands(page):
        try:
            _, unknown = build_parser().parse_known_args(words)
        except (SystemExit, Exception) as error:
            raise AssertionError(f"{page.name}, line {line}: {' '.join(words)}") from error
        assert not unknown, f"{page.name}, line {line}: unknown: {' '.join(unknown)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_are_there(page: Path) -> None:
    names = re.findall(
        r"(?<![\w/])(?:benchmarks|examples|tests|\.ci|src|cnn_ext)/[\w/]+(?:\.\w+)?",
        page.read_text("utf-8"),
    )
    here = [name for name in names if (ROOT / name.partition("/")[0]).exists()]
    missing = [name for name in here if not list(ROOT.glob(f"{name}*"))]
    assert not missing, page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_tests_are_there(page: Path) -> None:
    for file, name in re.findall(r"`(tests/\w+\.py)::(\w+)`", page.read_text("utf-8")):
        assert f"\ndef {name}(" in (ROOT / file).read_text("utf-8"), f"{page.name}: {file}::{name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_functions_are_there(page: Path) -> None:
    said = r"`([\w.]+)`\s+in\s+`((?:src|cnn_ext|tests)/[\w/]+\.\w+)`"
    for name, file in re.findall(said, page.read_text("utf-8")):
        code = (ROOT / file).read_text("utf-8")
        missing = [part for part in name.split(".") if not re.search(rf"\b{part}\b", code)]
        assert not missing, f"{page.name}: {name} in {file}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_lines_of_code_are_there(page: Path) -> None:
    for block in blocks(page):
        if block.language.startswith("{literalinclude}"):
            path = page.parent / block.language.split()[1]
            options = dict(re.findall(r"^:([\w-]+): ?(.*)$", block.text, re.MULTILINE))
            code = path.read_text("utf-8")
            for marker in (options["start-at"], options["end-at"]):
                found = code.find(marker)
                assert found >= 0, f"{page.name}, line {block.line}: no {marker!r} in {path.name}"
                code = code[found:]


def test_every_public_name_is_in_the_reference() -> None:
    names = re.findall(r"^   ([\w.]+)$", (ROOT / "docs/api.md").read_text("utf-8"), re.MULTILINE)
    listed = [named(name) for name in names]
    assert len({id(thing) for thing in listed}) == len(names), "a name stands twice"
    modules = ["", *PUBLIC]
    for module in map(named, modules):
        for name in module.__all__:
            thing = getattr(module, name)
            if isinstance(thing, type | FunctionType):
                assert any(thing is other for other in listed), f"{module.__name__}.{name}"


def named(name: str) -> Any:
    """What stands under a name in the package."""
    thing: Any = cnn_ext
    for part in filter(None, name.split(".")):
        if not hasattr(thing, part):
            importlib.import_module(f"{thing.__name__}.{part}")
        thing = getattr(thing, part)
    return thing


def test_what_is_said_before_blocks_has_a_form() -> None:
    said = [b.said for page in PAGES for b in blocks(page) if b.language == "python" and b.said]
    assert all(NEEDS.fullmatch(text) or NOT_RUN.fullmatch(text) for text in said)
    assert sum(NOT_RUN.fullmatch(text) is not None for text in said) < 8


def test_the_service_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = run(ROOT / "docs/inference.md")
    names["Digits"].log_message = lambda *_: None
    with ThreadingHTTPServer(("localhost", 0), names["Digits"]) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://localhost:{server.server_port}"
            body = (names["images"][0] * 255).round().astype("uint8").tobytes()
            with urllib.request.urlopen(urllib.request.Request(url, body), timeout=30) as answer:
                digit, probability = answer.read().split()
        finally:
            server.shutdown()
            thread.join()
    assert int(digit) == names["plan"].classify(names["images"][0])[0]
    assert 0 < float(probability) <= 1
