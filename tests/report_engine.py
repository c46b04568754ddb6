"""Runs the JavaScript of the report's page without a browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from py_mini_racer import MiniRacer

from cnn_ext import report
from cnn_ext.graph import Graph
from cnn_ext.report.network import Memory, described

FOLDER = Path(report.__file__).parent


class Engine:
    """A JavaScript engine that knows the interpreter and the drawing of the page."""

    def __init__(self) -> None:
        self._engine = MiniRacer()
        for name in ("interpreter.js", "drawing.js"):
            self._engine.eval((FOLDER / name).read_text("utf-8"))

    def ask(self, expression: str, **names: Any) -> Any:
        """The value of an expression, in which these names stand for plain data."""
        constants = "".join(f"const {key} = {json.dumps(value)};" for key, value in names.items())
        text = self._engine.eval(
            f"(() => {{ {constants} return JSON.stringify({expression}); }})()"
        )
        return json.loads(text)

    def values(self, graph: Graph, x: np.ndarray) -> dict[str, np.ndarray]:
        """Every value of one image, (C, H, W) or (F,) of floating-point numbers, by its name."""
        memory = Memory()
        network = described(graph, memory)
        words = np.frombuffer(memory.content(), "<u4").tolist()
        found = self.ask(
            "(() => { const out = {}; const net = assemble(network, new Uint32Array(words).buffer);"
            "for (const [key, v] of Object.entries(run(net, Float32Array.from(x))))"
            "out[key] = [v.shape, Array.from(v.data, String)]; return out; })()",
            network=network, words=words, x=np.asarray(x, np.float32).ravel().tolist(),
        )  # fmt: skip
        return {
            key: np.array([float(n.replace("Infinity", "inf")) for n in data]).reshape(shape)
            for key, (shape, data) in found.items()
        }
