"""Write a model as C source or as an ONNX file.

The C file and the header beside it need no library but libm. ONNX needs the package onnx.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..c.source import names_of, write_c
from ..layers import graph_of
from ._files import check_output, image_shape, load_model
from ._options import UsageError, add_outputs


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="file that train has written")
    parser.add_argument(
        "--c", metavar="FILE", help="C file to write, NAME.c, with NAME.h beside it (default: none)"
    )
    parser.add_argument("--onnx", metavar="FILE", help="ONNX file to write (default: none)")
    parser.add_argument(
        "--name", help="what the names of the C functions begin with (default: that of the C file)"
    )
    parser.add_argument(
        "--input-shape",
        type=_shape,
        metavar="CxHxW",
        help="shape of an image, or the number of its features (default: as the model says)",
    )
    add_outputs(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.c is None and arguments.onnx is None:
        raise UsageError("nothing to write: expected --c FILE, --onnx FILE or both")
    written = []
    if arguments.c is not None:
        try:
            source, header, _ = names_of(arguments.c, arguments.name)
        except ValueError as error:
            raise UsageError(f"argument --c: {error}") from error
        written += [("--c", source), ("--c", header)]
    elif arguments.name is not None:
        raise UsageError("argument --name: is for --c")
    if arguments.onnx is not None:
        written.append(("--onnx", Path(arguments.onnx)))
    for option, path in written:
        check_output(option, str(path))
    net, _ = load_model(arguments.model)
    shape = arguments.input_shape or image_shape(net)
    if shape is None:
        raise UsageError(f"{arguments.model} has no input_shape, so --input-shape must be given")
    try:
        if arguments.onnx is not None:
            from .. import onnx

            onnx.export(net, arguments.onnx, shape)
        if arguments.c is not None:
            write_c(graph_of(net, shape), arguments.c, arguments.name, arguments.outputs)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{arguments.model}: {error}") from error
    for _, path in written:
        print(f"{path}: {path.stat().st_size:,} bytes")
    return 0


def _shape(text: str) -> tuple[int, ...]:
    sides = text.split("x")
    if len(sides) not in (1, 3) or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise argparse.ArgumentTypeError(f"expected CxHxW or a number of features, got {text!r}")
    return tuple(map(int, sides))
