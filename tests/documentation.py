"""The pages of the documentation: their blocks of code, in order, with what is said of them.

``python documentation.py PAGE`` runs the Python of a page, in the current folder.
"""

from __future__ import annotations

import doctest
import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    if path.exists()
)  # fmt: skip

FENCE = re.compile(
    r"(?:^[ ]*<!-- (?P<said>[^\n]*) -->\n)?"
    r"^(?P<indent>[ ]*)(?P<fence>`{3,})(?P<language>[^\n`]+)\n(?P<text>.*?)^[ ]*(?P=fence)[ ]*$",
    re.MULTILINE | re.DOTALL,
)
#: `<!-- needs torch: why -->` before a block runs it where the packages are, `not run` never does
NEEDS = re.compile(r"needs (?P<packages>[\w., ]+): .+")
NOT_RUN = re.compile(r"not run: .+")


class Block(NamedTuple):
    """A block of code: what its fence names, its text, the line of the page where that begins."""

    language: str
    text: str
    line: int
    said: str | None

    @property
    def needs(self) -> list[str]:
        """Packages without which it cannot run."""
        found = NEEDS.fullmatch(self.said or "")
        return re.split(r"[, ]+", found["packages"]) if found else []

    @property
    def is_run(self) -> bool:
        """Whether it is Python that is to be run."""
        return self.language == "python" and not NOT_RUN.fullmatch(self.said or "")

    @property
    def runs_here(self) -> bool:
        """Whether it is to be run, and what it needs is installed."""
        found = (importlib.util.find_spec(package) for package in self.needs)
        return self.is_run and None not in found


def blocks(page: Path) -> Iterator[Block]:
    """All fenced blocks of a page."""
    text = page.read_text("utf-8")
    for found in FENCE.finditer(text):
        code = re.sub(f"^{found['indent']}", "", found["text"], flags=re.MULTILINE)
        line = text.count("\n", 0, found.start("text")) + 1
        yield Block(found["language"].strip(), code, line, found["said"])


def commands(page: Path) -> Iterator[tuple[int, list[str]]]:
    """Lines and words of the calls of `cnn-ext` in the shell blocks of a page."""
    for block in blocks(page):
        if block.language == "sh":
            for i, line in enumerate(block.text.splitlines()):
                words = shlex.split(line, comments=True)
                if "cnn-ext" in words:
                    yield block.line + i, words[words.index("cnn-ext") + 1 :]


def run(page: Path) -> dict[str, Any]:
    """Do the Python of a page in one namespace; tracebacks have the lines of the page."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page):
        if not block.runs_here:
            continue
        if block.text.startswith(">>>"):
            parser = doctest.DocTestParser()
            test = parser.get_doctest(block.text, names, page.name, str(page), block.line - 1)
            doctest.DebugRunner(verbose=False).run(test, clear_globs=False)
            names.update(test.globs)
        else:
            exec(compile("\n" * (block.line - 1) + block.text, page, "exec"), names)
    return names


if __name__ == "__main__":
    run(Path(sys.argv[1]))
