"""Writes `parity_figures.json`, the figures of PyTorch in float64; run it as a script."""

from __future__ import annotations

import json

from parity import DESCENTS, SHAPES, STORED, prints
from torch_side import their_descent, their_gradients, torch


def main() -> None:
    figures = {
        name: {
            "gradients": prints(their_gradients(name, "float64")),
            **{descent: prints(their_descent(name, descent, "float64")) for descent in DESCENTS},
        }
        for name in SHAPES
    }
    STORED.write_text(json.dumps({"torch": torch.__version__, "figures": figures}, indent=0) + "\n")


if __name__ == "__main__":
    main()
