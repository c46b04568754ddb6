"""Speed and size of the C that networks become, beside the network itself, one image at a time.

    python benchmarks/c_export.py [--seconds 0.3] [--nets lenet5 nielsen vgg6] [--cc cc] [--int8]

Medians on one thread; the C functions are called through ctypes, which takes about a microsecond.
Code is what the compiled file holds beside the constants.  GFLOP/s count two operations for a
multiply-add.  With --int8 networks of bytes are written, and `plan(x)` stands for `net(x)`.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from timing import median_seconds

import cnn_ext
from cnn_ext import architectures
from cnn_ext.c.source import write_c
from cnn_ext.layers import graph_of

SHAPES = {"lenet5": (1, 28, 28), "nielsen": (1, 28, 28), "tiny": (1, 8, 8), "vgg6": (3, 32, 32)}
FLAGS = (["-O2"], ["-O3"], ["-O3", "-march=x86-64-v3"])


def sections(path: Path) -> tuple[int, int]:
    """Bytes of code with constants, and of buffers, in an object file."""
    lines = subprocess.run(["size", path], capture_output=True, text=True, check=True).stdout
    text, data, buffers = map(int, lines.splitlines()[1].split()[:3])
    return text + data, buffers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=0.3, help="for each line of the table")
    parser.add_argument("--nets", nargs="+", choices=SHAPES, default=["lenet5", "nielsen", "vgg6"])
    parser.add_argument("--cc", default="cc", help="the compiler")
    parser.add_argument("--int8", action="store_true", help="networks of bytes")
    options = parser.parse_args()
    cnn_ext.set_num_threads(1)
    print("| network | compiled by | µs an image | GFLOP/s | code | constants | buffers |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in options.nets:
        shape = SHAPES[name]
        net = architectures.build(name, shape, 10, rng=np.random.default_rng(0)).eval()
        x = np.random.default_rng(1).random((1, *shape), np.float32)
        answers, called, error = net, "net(x)", 1e-4
        if options.int8:
            net = cnn_ext.quantize(net, np.random.default_rng(2).random((50, *shape), np.float32))
            answers, called, error = net.compile(shape), "plan(x)", 0
        y = np.empty(10, np.float32)
        pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (x, y)]
        work = 2e-9 * net.multiply_adds(shape)
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "net.c"
            write_c(graph_of(net, shape), source)
            constants = int(source.read_text().partition(" bytes of constants")[0].split()[-1])
            for number, flags in enumerate(FLAGS):
                library = source.with_name(f"{number}.so")
                compiler = [options.cc, *flags]
                subprocess.run(
                    [*compiler, "-c", source, "-o", source.with_suffix(".o")], check=True
                )
                command = [*compiler, "-shared", "-fPIC", source, "-o", library, "-lm"]
                subprocess.run(command, check=True)
                predict = ctypes.CDLL(str(library)).net_predict
                seconds = median_seconds(lambda: predict(*pointers), options.seconds)  # noqa: B023
                np.testing.assert_allclose(y, answers(x)[0], rtol=error, atol=error)
                text, buffers = sections(source.with_suffix(".o"))
                speed = f"{seconds * 1e6:.1f} | {work / seconds:.0f}"
                sizes = f"{text - constants:,} | {constants:,} | {buffers:,}"
                print(f"| {name} | {' '.join(flags)} | {speed} | {sizes} |", flush=True)
        seconds = median_seconds(lambda: answers(x), options.seconds)  # noqa: B023
        speed = f"{seconds * 1e6:.1f} | {work / seconds:.0f}"
        print(f"| {name} | {called} | {speed} | | | |", flush=True)


if __name__ == "__main__":
    main()
