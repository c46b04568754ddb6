"""Write one HTML page about a model, with the model itself in it, live.

The page has key figures, mistakes, confusion, calibration, training curves, kernels, sizes and
speed, and a field to draw on: the browser computes what each layer makes of it. It needs no other
file and nothing of the internet. The weights are in it, and so are the test pictures it shows.
"""

from __future__ import annotations

import argparse
import hashlib
import shlex
from pathlib import Path

from .. import report
from ._files import check_output, load_tested, read_history
from ._options import UsageError, add_data, add_history, add_outputs, add_threads, say, whole


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="file that train has written")
    add_data(parser)
    parser.add_argument(
        "--out",
        metavar="FILE.html",
        default="report.html",
        help="file for the page (default: report.html)",
    )
    add_history(parser)
    parser.add_argument(
        "--limit",
        type=whole(1),
        default=24,
        metavar="N",
        help="most mistakes to show (default: 24)",
    )
    add_outputs(parser)
    add_threads(parser)


def run(arguments: argparse.Namespace) -> int:
    model = Path(arguments.model)
    if Path(arguments.out).suffix not in (".html", ".htm"):
        raise UsageError(f"argument --out: expected a name that ends in .html, got {arguments.out}")
    check_output("--out", arguments.out)
    history = None if arguments.history is None else read_history(arguments.history)
    net, _, data = load_tested(arguments)
    content = model.read_bytes()
    config = model.with_suffix(".toml")
    trained = ["cnn-ext", "train", "--config", str(config), "--out", arguments.model]
    if arguments.history is not None:
        trained += ["--history", arguments.history]
    lines = [trained] if config.is_file() else []
    lines.append(["cnn-ext", "report", arguments.model])
    for option in ("data", "layout", "split", "history", "limit", "outputs", "threads", "out"):
        value = getattr(arguments, option)
        if value is not None:
            lines[-1] += [f"--{option}", str(value)]
    if arguments.skip_broken:
        lines[-1].append("--skip-broken")
    origin = report.Origin(
        title=model.name,
        file_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        commands="\n".join(map(shlex.join, lines)),
        config=config.read_text("utf-8", "replace") if config.is_file() else None,
    )
    missing = report.write(
        arguments.out,
        net,
        data.x_test,
        data.y_test,
        data.classes,
        outputs=arguments.outputs,
        history=history,
        origin=origin,
        limit=arguments.limit,
        num_threads=arguments.threads,
    )
    if missing is not None:
        say(f"cnn-ext report: the network itself is not in the page: {missing}")
    print(f"{arguments.out}: {Path(arguments.out).stat().st_size:,} bytes")
    return 0
