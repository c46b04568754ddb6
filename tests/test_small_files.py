"""A small file asks for little, or is refused: bounded memory and time, errors that say where."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn_ext import _core

FINE = {"graph": "ok", "plan": "ok", "C": "ok"}
EXPECTED: dict[str, dict[str, str]] = {
    "large input": FINE | {"plan": "node 0 (clip, (1, 15000, 15000) to (1, 15000, 15000)): 38250"},
    "larger input": {"graph": "model: input 'x': a value of (1, 40000, 40000) is too large"},
    "means of a large input": FINE | {"plan": "node 0 (avg_pool, (4, 8000, 8000) to (4, 1, 1)): "},
    "large vector": FINE,
    "softmax of a large vector": FINE | {"plan": "node 0 (softmax, (100000000,) to "},
    "padding": {
        "graph": "ok",
        "plan": "node 0 (conv2d, (1, 4, 4) to (4, 3, 3)): padding its input would take 6400064000",
        "C": "node 0 (conv2d, (1, 4, 4) to (4, 3, 3)): the buffers of a C file may have",
    },
    "padding beyond all numbers": {"graph": "Conv (conv2d: padding: expected 0 to 2**31 - 1, got "},
    "dilation beyond all numbers": {"graph": "Conv (conv2d: dilation: expected 1 to 2**31 - 1, "},
    "window beyond all numbers": {"graph": "MaxPool (max_pool: kernel_size: expected 1 to "},
    "constants": FINE | {"plan": "(add, (60000,) to (60000,)): 60000 more numbers in tables"},
    "values that are kept": {
        "graph": "ok",
        "plan": "node 399 (leaky_relu, (6000000,) to (6000000,)): 2406000000 numbers of values",
        "C": "node 399 (leaky_relu, (6000000,) to (6000000,)): the buffers of a C file may have",
    },
    "small values that are kept": FINE,
    "tables of every layer": FINE
    | {"plan": "more numbers in tables or constants; there may be 134217728"},
    "groups": FINE,
    "factors": FINE,
    "layers": FINE,
    "broadcast": FINE | {"plan": "node 1 (add, (1, 1, 9000), (1, 9000, 1) to (1, 9000, 9000)): "},
    "runs": FINE,
    "a network for a large input": {"graph": "layer 0 (Conv2d): a value of (4, 14998, 14"},
    "a network with padding": {
        "graph": "ok",
        "plan": "node 0 (conv2d, (1, 4, 4) to (1, 3, 3)): padding its input would take",
        "C": "node 0 (conv2d, (1, 4, 4) to (1, 3, 3)): the buffers of a C file may have",
    },
    "a network with much padding": {"graph": "layer 0 (Conv2d): padding: an output of "},
    "pooling a large input": FINE | {"plan": "node 0 (max_pool, (1, 12000, 12000) to (1, 12, 12)"},
    "many layers": FINE,
    "a large network": FINE,
}


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's limits of memory")
def test_small_files_ask_for_little_or_are_refused() -> None:
    pytest.importorskip("onnx")
    folder = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder.parent), *sys.path])}
    child = subprocess.run(
        [sys.executable, folder / "small_files.py"], env=environment, capture_output=True, text=True
    )
    assert child.returncode == 0, child.stderr[-2000:]
    results = json.loads(child.stdout)
    assert results.keys() == EXPECTED.keys()
    for name, expected in EXPECTED.items():
        assert results[name].keys() == expected.keys(), name
        for use, said in results[name].items():
            if expected[use] == "ok":
                assert said == "ok", (name, use)
            else:
                assert said.startswith("ValueError: ") and expected[use] in said, (name, use, said)


def first_fit(
    sizes: list[int], starts: list[int], ends: list[int], unit: int
) -> tuple[list[int], int]:
    """The naive truth: the largest first, each at the lowest place that is free while it lives."""
    taken: set[tuple[int, int]] = set()  # units of memory at times
    offsets = [0] * len(sizes)
    whole = 0
    for i in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        units = -(-sizes[i] // unit)
        times = range(starts[i], ends[i])
        while any((offsets[i] + n, time) in taken for n in range(units) for time in times):
            offsets[i] += 1
        taken.update(product(range(offsets[i], offsets[i] + units), times))
        whole = max(whole, offsets[i] + units)
    return [offset * unit for offset in offsets], whole * unit


lives = st.tuples(st.integers(1, 300), st.integers(0, 20), st.integers(1, 9))


@given(st.lists(lives, max_size=20), st.sampled_from([16, 64]))
def test_pieces_of_memory_lie_as_low_as_they_can(
    pieces: list[tuple[int, int, int]], unit: int
) -> None:
    sizes, starts = [size for size, _, _ in pieces], [start for _, start, _ in pieces]
    ends = [start + time for _, start, time in pieces]
    assert _core.first_fit(sizes, starts, ends, unit) == first_fit(sizes, starts, ends, unit)


@pytest.mark.parametrize("size", [-1, 2**63 - 1])
def test_pieces_of_no_possible_size(size: int) -> None:
    with pytest.raises(ValueError, match="pieces of memory"):
        _core.first_fit([1, size], [0, 0], [1, 1], 64)
