"""Maxima and means of windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from .. import _check as check
from .. import _core
from ..graph import windows
from ..graph.bytes import Bytes, Grid
from ..graph.graph import Graph
from ..graph.layout import NO_BORDER, SIZE, Placed
from ..graph.node import Node, Shape
from ..graph.operator import Operator
from ..lanes import Lanes
from .bytes import as_image, window
from .c_text import Image, check_rows, function

MOST_TAPS = {4: 2**23, 8: 2**52}  # that numbers of so many bytes can count


class PoolSizes(NamedTuple):
    """All sizes of a pooling, as the kernels take them after the number of planes."""

    H: int
    W: int
    R: int
    S: int
    P: int
    Q: int
    step_h: int
    step_w: int
    gap_h: int
    gap_w: int
    top: int
    left: int
    bottom: int
    right: int


def pool_sizes(
    x_shape: Shape, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> PoolSizes:
    """Check the sizes of a pooling of (C, H, W) inputs against each other.

    Raises
    ------
    TypeError, ValueError
        Naming the argument that does not fit.
    """
    _, H, W = check.image_axes(x_shape)
    size = check.pair(kernel, "kernel_size", 1)
    steps = size if stride is None else check.pair(stride, "stride", 1)
    gaps = check.pair(dilation, "dilation", 1)
    sides = check.padding4(padding, size, steps, gaps)
    top, bottom, left, right = sides
    counts = []
    for i, (before, after) in enumerate(((top, bottom), (left, right))):
        whole, window, step, gap = x_shape[i + 1], size[i], steps[i], gaps[i]
        if max(before, after) > windows.reach(window, gap):
            raise ValueError(
                f"padding {sides}: a window of {size[0]} x {size[1]} may hold no pixel"
            )
        found = windows.count(whole, before, after, window, step, gap, ceil_mode)
        if found < 1:
            raise ValueError(
                f"kernel_size: a window of {size} (dilation {gaps}) does not fit into the padded "
                f"input of {x_shape[1] + top + bottom} x {x_shape[2] + left + right}"
            )
        if windows.holds_nothing(whole, before, found, step, gap):
            raise ValueError(
                f"kernel_size: a window of {size} with dilation {gaps} and padding {sides} holds "
                f"no pixel of the input of {x_shape[1]} x {x_shape[2]}"
            )
        counts.append(found)
    P, Q = counts
    return PoolSizes(H, W, *size, P, Q, *steps, *gaps, top, left, bottom, right)


def window_of_bytes(run: Any, node: Node, op: str, x: Bytes, grid: Grid, counts: int = 0) -> Bytes:
    """The windows of a pooling over bytes, "max" or "mean"."""
    x, border = as_image(run, x), run.border[node.output]
    s = sizes_of(node, x.shape)
    sizes = s.R, s.S, s.step_h, s.step_w, s.gap_h, s.gap_w, s.top, s.left
    shape = run.graph.shapes[node.output]
    return window(run, op, x, shape, sizes, grid, border, counts)


def sizes_of(node: Node, x_shape: Shape) -> PoolSizes:
    """The sizes of a pooling in a graph."""
    a = node.attributes
    gaps = a.get("dilation", 1)
    return pool_sizes(x_shape, a["kernel"], a["stride"], a["padding"], gaps, a["ceil_mode"])


class Pool(Operator):
    """What both poolings have in common."""

    c_goes_on = True
    example = {"kernel": 2}

    form: ClassVar[str]  # its name in ONNX

    def shape(self, node: Node, *shapes: Shape) -> Shape:
        (x,) = shapes
        s = sizes_of(node, x)
        node.attributes.update(
            kernel=(s.R, s.S),
            stride=(s.step_h, s.step_w),
            padding=(s.top, s.bottom, s.left, s.right),
            ceil_mode=bool(node.attributes["ceil_mode"]),
        )
        return x[0], s.P, s.Q

    def channels(self, run: Any, node: Node, x: Placed, count_include_pad: bool | None) -> Placed:
        """Maxima, or means if it is said what they count, of one image in blocks of channels."""
        x = run.regular(x, lanes=run.lanes)
        y: Placed = run.make(run.graph.shapes[node.output], run.border[node.output])
        shape = (-(-x.shape[0] // run.lanes), *sizes_of(node, x.shape))
        steps = (x.plane, x.row, y.plane, y.row)
        first = (x.first, y.first)
        run.kernels.pool_channels(x.data, y.data, SIZE, shape, steps, first, count_include_pad)
        return y

    def onnx(self, model: Any, node: Node, *inputs: str) -> str:
        a, (x,) = node.attributes, inputs
        (_, *size), output = model.graph.shapes[node.inputs[0]], model.graph.shapes[node.output]
        top, bottom, left, right = a["padding"]
        gaps = a.get("dilation", (1, 1))
        if (*a["kernel"], *gaps, *a["padding"]) == (*size, 1, 1, 0, 0, 0, 0):
            return model.node(f"Global{self.form}", x)
        # programs disagree about ceil_mode; padding behind the image says the same
        more = [
            max((output[i + 1] - 1) * a["stride"][i] + (a["kernel"][i] - 1) * gaps[i] + 1 - whole,
                0)
            for i, whole in enumerate((size[0] + top + bottom, size[1] + left + right))
        ]  # fmt: skip
        return self.window(model, node, x, more)

    def window(self, model: Any, node: Node, x: str, more: Sequence[int]) -> str:
        """As `onnx`, with so much more padding below and at the right."""
        raise NotImplementedError


class MaxPool(Pool):
    """The greatest number of each window.

    The gradient goes to the first that is as great.
    """

    attributes = {"kernel": ..., "stride": None, "padding": 0, "dilation": 1, "ceil_mode": False}
    form = "MaxPool"

    def shape(self, node: Node, *shapes: Shape) -> Shape:
        node.attributes["dilation"] = check.pair(node.attributes["dilation"], "dilation", 1)
        return super().shape(node, *shapes)

    def forward(self, run: Any, node: Node, *inputs: Lanes, over: Any = None) -> Lanes:
        (x,) = inputs
        sizes = sizes_of(node, x.shape[1:])
        y, argmax = max_pool(x, sizes, run.back)
        run.keep(argmax)
        return y

    def backward(
        self, run: Any, node: Node, dy: Lanes, x: Sequence[Any], y: Any, wanted: Sequence[bool]
    ) -> Sequence[Any]:
        x_shape = (dy.images, *run.graph.shapes[node.inputs[0]])
        dx = Lanes.empty(x_shape, dy.dtype)
        core = (dx.blocks * x_shape[1], *sizes_of(node, x_shape[1:]))
        _core.max_pool2d_input(dy.data, run.kept().data, dx.data, dy.dtype.itemsize, core)
        return (dx,)

    def takes_bytes(self, node: Node) -> bool:
        return True

    def image(self, run: Any, node: Node, *inputs: Any) -> Any:
        (x,) = inputs
        before, shape = (run.graph.shapes[name] for name in (node.inputs[0], node.output))
        if x.shape == shape != before:
            return x  # a convolution of bytes gave the maxima, see `pairs_behind`
        if isinstance(x, Bytes):
            return window_of_bytes(run, node, "max", x, x.grid)
        if x.lanes != 1 or not is_pairs(node) or x.data.size <= x.plane * x.shape[0]:
            return self.channels(run, node, x, None)
        y: Placed = run.make(run.graph.shapes[node.output], lanes=1)
        steps = (x.plane, x.row), (y.plane, y.row)
        run.kernels.pool_pairs(x.data, y.data, SIZE, y.shape, *steps)
        return y

    def c(self, writer: Any, node: Node, inputs: Sequence[str], y: str, after: str) -> None:
        sizes = sizes_of(node, writer.graph.shapes[node.inputs[0]])
        x, shape = padded(writer, node, inputs[0], sizes, "-INFINITY")
        writer.call("max_pool", pool_text(shape, sizes, None, after), [x, y])

    def window(self, model: Any, node: Node, x: str, more: Sequence[int]) -> str:
        a = node.attributes
        top, bottom, left, right = a["padding"]
        pads = [top, bottom + more[0], left, right + more[1]]
        if any(n >= a["kernel"][i // 2] for i, n in enumerate(pads)):  # few programs take that
            x, pads = model.pad(x, pads, -math.inf), [0, 0, 0, 0]
        return str(model.node(
            "MaxPool", x, kernel_shape=a["kernel"], strides=a["stride"], pads=model.pads(pads),
            dilations=a["dilation"],
        ))  # fmt: skip


def is_pairs(node: Node) -> bool:
    """Whether a max pooling takes the maxima of 2 x 2 pixels, side by side."""
    a = node.attributes
    plain = a["padding"] == NO_BORDER and not a["ceil_mode"]
    return plain and a["kernel"] == a["stride"] == (2, 2) and a["dilation"] == (1, 1)


def pairs_behind(graph: Graph, node: Node) -> Node | None:
    """The max pooling of pairs that alone takes what a node gives, if there is one."""
    takers = [other for other in graph.nodes if node.output in other.inputs]
    alone = len(takers) == 1 and node.output not in graph.outputs
    return takers[0] if alone and takers[0].op == "max_pool" and is_pairs(takers[0]) else None


def max_pool(x: Lanes, sizes: PoolSizes, with_argmax: bool) -> tuple[Lanes, Lanes | None]:
    """Maxima of the windows and, if asked, which tap of its window each one was."""
    if with_argmax and sizes.R * sizes.S > MOST_TAPS[x.dtype.itemsize]:
        raise ValueError(
            f"kernel_size: {sizes.R} x {sizes.S} taps are too many to be counted in {x.dtype}"
        )
    C = x.shape[1]
    y = Lanes.empty((x.images, C, sizes.P, sizes.Q), x.dtype)
    argmax = Lanes.empty(y.shape, x.dtype) if with_argmax else None
    second = None if argmax is None else argmax.data
    _core.max_pool2d(x.data, y.data, second, x.dtype.itemsize, (x.blocks * C, *sizes))
    return y, argmax


class AvgPool(Pool):
    """The mean of each window.

    The gradient is spread evenly over it.
    """

    attributes = {
        "kernel": ..., "stride": None, "padding": 0, "ceil_mode": False, "count_include_pad": True,
        "quantize": None,
    }  # fmt: skip
    form = "AveragePool"

    def forward(self, run: Any, node: Node, *inputs: Lanes, over: Any = None) -> Lanes:
        (x,) = inputs
        C, sizes = x.shape[1], sizes_of(node, x.shape[1:])
        y = Lanes.empty((x.images, C, sizes.P, sizes.Q), x.dtype)
        count = bool(node.attributes["count_include_pad"])
        _core.avg_pool2d(x.data, y.data, x.dtype.itemsize, (x.blocks * C, *sizes), count)
        return y

    def backward(
        self, run: Any, node: Node, dy: Lanes, x: Sequence[Any], y: Any, wanted: Sequence[bool]
    ) -> Sequence[Any]:
        x_shape = (dy.images, *run.graph.shapes[node.inputs[0]])
        dx = Lanes.empty(x_shape, dy.dtype)
        core = (dx.blocks * x_shape[1], *sizes_of(node, x_shape[1:]))
        count = bool(node.attributes["count_include_pad"])
        _core.avg_pool2d_input(dy.data, dx.data, dy.dtype.itemsize, core, count)
        return (dx,)

    def takes_bytes(self, node: Node) -> bool:
        s = node.attributes  # what counts is either the pixels inside, or all of every window
        return s["quantize"] is not None and not (s["count_include_pad"] and s["ceil_mode"])

    def image(self, run: Any, node: Node, *inputs: Any) -> Any:
        if isinstance(inputs[0], Bytes):
            R, S = node.attributes["kernel"]
            counts = R * S if node.attributes["count_include_pad"] else 0
            return window_of_bytes(
                run, node, "mean", inputs[0], Grid(*node.attributes["quantize"]), counts
            )
        return self.channels(run, node, inputs[0], bool(node.attributes["count_include_pad"]))

    def c(self, writer: Any, node: Node, inputs: Sequence[str], y: str, after: str) -> None:
        sizes = s = sizes_of(node, writer.graph.shapes[node.inputs[0]])
        x, shape = padded(writer, node, inputs[0], sizes, "0.0f")
        check_rows(s.P + s.Q)
        rows = s.H, s.top, s.bottom, s.P, s.step_h, s.R
        columns = s.W, s.left, s.right, s.Q, s.step_w, s.S
        counts = []
        for size, before, behind, windows_, step, kernel in (rows, columns):
            low, high = before, before + size
            if node.attributes["count_include_pad"]:
                low, high = 0, high + behind
            starts = [i * step for i in range(windows_)]
            counts.append([min(start + kernel, high) - max(start, low) for start in starts])
        text = pool_text(shape, sizes, (counts[0], counts[1]), after)
        writer.call("avg_pool", text, [x, y])

    def window(self, model: Any, node: Node, x: str, more: Sequence[int]) -> str:
        a = node.attributes
        top, bottom, left, right = a["padding"]
        pads, count = [top, bottom + more[0], left, right + more[1]], a["count_include_pad"]
        if count and any(more):  # the padding that counts becomes part of the image
            x, pads, count = model.pad(x, a["padding"], 0.0), [0, more[0], 0, more[1]], False
        return str(model.node(
            "AveragePool", x, kernel_shape=a["kernel"], strides=a["stride"],
            pads=model.pads(pads), count_include_pad=int(count),
        ))  # fmt: skip


def padded(writer: Any, node: Node, x: str, sizes: PoolSizes, fill: str) -> tuple[str, Image]:
    """The input in C with what the windows need around it."""
    s = sizes
    used = (windows.used(s.P, s.R, s.step_h, s.gap_h), windows.used(s.Q, s.S, s.step_w, s.gap_w))
    shape = writer.graph.shapes[node.inputs[0]]
    found: tuple[str, Image] = writer.padded(x, shape, (s.top, s.left), used, fill)
    return found


def pool_text(
    x: Image, sizes: PoolSizes, counts: tuple[list[int], list[int]] | None, after: str
) -> str:
    """C of maxima, or of means by `counts` of rows and columns, in windows that lie within `x`."""
    (C, H, W), s = x, sizes
    tables, start, result = "", "0.0f", "m"
    take = "m += v;"
    if counts is None:
        start, take = "-INFINITY", "m = v > m || v != v ? v : m;"  # NaN stays
    elif len(set(counts[0])) == len(set(counts[1])) == 1:
        result = f"m / {counts[0][0] * counts[1][0]}.0f"
    else:
        for name, numbers in zip(("rows", "columns"), counts, strict=True):
            text = ", ".join(f"{number}.0f" for number in numbers)
            tables += f"    static const float {name}[] = {{{text}}};\n"
        result = "m / (rows[p] * columns[q])"
    return function(
        "x",
        f"""\
{tables}\
    for (int c = 0; c < {C}; c++, x += {H * W})
        for (int p = 0; p < {s.P}; p++, y += {s.Q})
            for (int q = 0; q < {s.Q}; q++) {{
                const float *u = x + p * {s.step_h * W} + q * {s.step_w};
                float m = {start};
                for (int r = 0; r < {s.R}; r++)
                    for (int s = 0; s < {s.S}; s++) {{
                        const float v = u[r * {s.gap_h * W} + s * {s.gap_w}];
                        {take}
                    }}
                y[q] = {after.format(v=result if result == "m" else f"({result})")};
            }}
""",
    )


MaxPool("max_pool")
AvgPool("avg_pool")
