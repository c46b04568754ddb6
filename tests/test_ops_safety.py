"""Nothing that Python passes may touch foreign memory, crash or hang, or leak between images."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import reference as ref
from calls import BY_ID, CALLS, DTYPES, LOSSES, LOSSES_OF_CLASSES, Call, assert_same_bytes, by_id
from cases import normal
from numpy.testing import assert_array_equal

from cnn_ext import _core, lanes, ops
from cnn_ext.operators import conv2d, linear, pool, prelu, softmax
from cnn_ext.ops import activation, loss
from cnn_ext.run import by_batch

BORDER = 64  # numbers on either side of a guarded buffer
USERS: list[ModuleType] = [  # of `_core`
    lanes, by_batch, conv2d, linear, pool, prelu, softmax, activation, loss,
]  # fmt: skip


class Guarded:
    """`_core` whose every buffer lies amid sentinels; what it is short of must be refused."""

    def __init__(self) -> None:
        self.buffers = 0

    def __getattr__(self, name: str) -> Any:
        function = getattr(_core, name)

        def guarded(*args: Any) -> Any:
            arrays = [i for i, arg in enumerate(args) if isinstance(arg, np.ndarray)]
            wholes = {i: np.full(args[i].size + 2 * BORDER, 77, args[i].dtype) for i in arrays}
            inside = list(args)
            for i, whole in wholes.items():
                inside[i] = whole[BORDER:-BORDER].reshape(args[i].shape)
                inside[i][...] = args[i]
                self.buffers += 1
                if args[i].size:
                    short = [*args[:i], inside[i].reshape(-1)[:-1], *args[i + 1 :]]
                    with pytest.raises(ValueError, match="expected at least"):
                        function(*short)
            answer = function(*inside)
            for i, whole in wholes.items():
                assert (whole[:BORDER] == 77).all() and (whole[-BORDER:] == 77).all()
                if args[i].flags.writeable:
                    args[i][...] = inside[i]
            return answer

        return guarded


def empty_of_nan(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    return np.full(shape, np.nan, dtype)


@pytest.mark.parametrize("call", CALLS, ids=by_id)
def test_kernels_stay_inside_their_buffers_and_fill_them(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    for dtype in DTYPES:
        arrays = call.arrays(dtype)
        expected = call.run(*arrays)
        guard = Guarded()
        with monkeypatch.context() as patch:
            for user in USERS:
                if hasattr(user, "_core"):
                    patch.setattr(user, "_core", guard)
                if hasattr(user, "empty"):
                    patch.setattr(user, "empty", empty_of_nan)
            assert_same_bytes(call.run(*arrays), expected)
        assert guard.buffers or call.op == "max_pool2d_backward"  # which NumPy does


def test_the_door_refuses_other_buffers() -> None:
    x, y = np.ones(8, np.float32), np.ones(8, np.float32)
    _core.elementwise("relu", x, None, y, 4, 8, 0.0)
    y.flags.writeable = False
    for wrong, error in [
        ((x, None, y, 4, 8, 0.0), ValueError),  # read-only
        ((x[::2], None, x[:4], 4, 4, 0.0), ValueError),  # with gaps
        ((x, None, x, 8, 4, 0.0), TypeError),  # of other numbers
        ((x, None, x, 2, 4, 0.0), TypeError),
        ((x, None, x, 4, -1, 0.0), ValueError),
        ((x, None, x, 4, 2**70, 0.0), OverflowError),
        (([1.0], None, x, 4, 1, 0.0), TypeError),
    ]:
        with pytest.raises(error):
            _core.elementwise("relu", *wrong)


# ------------------------------------------------------------------- hostile sizes and options

HOSTILE = Path(__file__).with_name("hostile.py")


@pytest.mark.parametrize("part", ["door", "options"])
def test_hostile_numbers_in_a_process_of_little_memory(part: str) -> None:
    pytest.importorskip("resource", reason="memory can be limited on Unix alone")
    run = subprocess.run(
        [sys.executable, str(HOSTILE), part], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) > 500  # numbers tried


def test_every_function_of_the_core_refuses_what_does_not_fit() -> None:
    path = Path(__file__).with_name("hostile_core.py")
    run = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) > 5000  # calls


NO_NUMBER = [True, 1.5, float("nan"), "a", b"aa", {}, {1, 2}, 1j, np.bool_(True), np.float64(2)]
OUT_OF_RANGE = [-1, -(2**31), 2**31, 2**40, 2**63, 2**70]
NO_PAIR = [(), [], (1,), (1, 2, 3), np.ones((3,), int), np.ones((2, 2), int)]
OPTIONS = [
    (BY_ID["conv2d-one-image"], ("stride", "padding", "dilation", "groups")),
    (BY_ID["conv2d_backward-one-image"], ("stride", "padding", "dilation", "groups")),
    (BY_ID["max_pool2d-one-image"], ("kernel_size", "stride", "padding", "dilation")),
    (BY_ID["avg_pool2d-one-image"], ("kernel_size", "stride", "padding")),
    (BY_ID["avg_pool2d_backward-one-image"], ("kernel_size", "stride", "padding")),
]
SINGLE = [(call, name) for call, names in OPTIONS for name in names]


@pytest.mark.parametrize(("call", "name"), SINGLE, ids=lambda v: getattr(v, "op", v))
def test_options_that_are_no_whole_numbers_are_refused_by_name(call: Call, name: str) -> None:
    arrays = call.arrays()
    for wrong in NO_NUMBER:
        values = [wrong] if name == "groups" else [wrong, (1, wrong), [wrong, 1]]
        for value in values:
            with pytest.raises((TypeError, ValueError), match=f"^{name}: expected"):
                call.run(*arrays, **{name: value})
    if name != "stride" or "pool" not in call.op:  # None is the pooling's default
        with pytest.raises(TypeError, match=f"^{name}: expected a whole number, got None"):
            call.run(*arrays, **{name: None})


@pytest.mark.parametrize(("call", "name"), SINGLE, ids=lambda v: getattr(v, "op", v))
def test_options_out_of_range_are_refused_by_name(call: Call, name: str) -> None:
    arrays = call.arrays()
    single = name == "groups"
    for wrong in OUT_OF_RANGE + ([] if name == "padding" else [0]):
        for value in [wrong] if single else [wrong, (1, wrong), np.array([wrong, 1], object)]:
            with pytest.raises(ValueError, match=f"^{name}: expected"):
                call.run(*arrays, **{name: value})
    for pair in NO_PAIR:
        with pytest.raises((TypeError, ValueError), match=f"^{name}: expected"):
            call.run(*arrays, **{name: pair})


def test_whole_numbers_of_numpy_are_whole_numbers() -> None:
    x, weight = normal("x", (1, 2, 7, 7), np.float64), normal("w", (4, 1, 3, 3), np.float64)
    expected = ops.conv2d(x, weight, None, 2, (1, 2), 1, 2)
    two: Any = np.int8(2)
    pair = np.array([1, 2], np.uint64)
    assert_array_equal(ops.conv2d(x, weight, None, two, pair, np.array(1), two), expected)


@pytest.mark.parametrize("value", [*NO_NUMBER, *OUT_OF_RANGE, None, (), 0])
def test_shapes_of_the_input_are_checked(value: Any) -> None:
    dy, indices = np.ones((1, 1, 2, 2)), np.zeros((1, 1, 2, 2), int)
    honest = (1, 1, 4, 4)
    for shape in [value, honest[1:], *((*honest[:i], value, *honest[i + 1 :]) for i in range(4))]:
        with pytest.raises((TypeError, ValueError), match=r"^(input_shape|dy): expected"):
            ops.max_pool2d_backward(dy, indices, shape)
        with pytest.raises((TypeError, ValueError), match=r"^(input_shape|dy): expected"):
            ops.avg_pool2d_backward(dy, shape, 2)
    for shape in [value, honest, *((*honest[:i], value, *honest[i + 1 : 3]) for i in range(3))]:
        with pytest.raises((TypeError, ValueError), match=r"^(input_shape|x): expected"):
            ops.conv2d_matrix(np.ones((1, 1, 2, 2)), shape)


# ----------------------------------------------------------- NaN, infinities, denormal numbers


@pytest.mark.parametrize("call", [c for c in CALLS if len(c.arrays()[0]) > 1], ids=by_id)
def test_no_image_sees_the_nan_or_infinity_of_another(call: Call) -> None:
    for dtype, value, image in itertools.product(DTYPES, (np.nan, np.inf, -np.inf), (0, -1)):
        arrays = call.arrays(dtype)
        clean = call.run(*arrays)
        spoilt: list[Any] = [None if a is None else a.copy() for a in arrays]
        # targets of these costs are probabilities, or the call is refused
        count = 1 if call.op in (*LOSSES_OF_CLASSES, "binary_cross_entropy") else call.batched
        for a in spoilt[:count]:
            if a.dtype.kind == "f":
                a[image] = value
        answer = call.run(*spoilt)
        rows = {"conv2d_backward": [0], "linear_backward": [0]}.get(call.op, range(len(answer)))
        for i in [1] if call.op in LOSSES else rows:
            others = np.delete(answer[i], image, axis=0), np.delete(clean[i], image, axis=0)
            assert_same_bytes((others[0],), (others[1],))


@pytest.mark.parametrize("id", ["stride-dilation-padding", "groups-3-stride-dilation", "same-2x3"])
def test_nan_and_infinity_travel_along_the_taps_alone(id: str) -> None:
    call = BY_ID[f"conv2d-{id}"]
    x, weight, bias = call.arrays()
    x[0, 0, 3, :4], x[1, 1, 3, :4] = np.nan, -np.inf
    with np.errstate(invalid="ignore"):
        expected = ref.conv2d(x, weight, bias, **call.options)
    y = call.run(x, weight, bias)[0]
    assert np.isnan(y).any() and np.isinf(y).any() and np.isfinite(y).any()
    assert_array_equal(np.isnan(y), np.isnan(expected))
    assert_array_equal(y[np.isinf(expected)], expected[np.isinf(expected)])


def test_a_spoilt_detector_spoils_its_own_map() -> None:
    x, weight, bias = BY_ID["conv2d-channels-8-20"].arrays(np.float32)
    expected = ops.conv2d(x, weight, bias, padding=1)
    weight[7] = np.nan
    y = ops.conv2d(x, weight, bias, padding=1)
    assert np.isnan(y[:, 7]).all()
    assert_array_equal(np.delete(y, 7, axis=1), np.delete(expected, 7, axis=1))


@pytest.mark.parametrize("dtype", DTYPES)
def test_denormal_numbers_are_zero(dtype: str) -> None:
    tiny = np.finfo(dtype).tiny
    x = (tiny / 100 * np.arange(1, 65, dtype=dtype)).reshape(4, 1, 4, 4)
    before = x / 2
    one = np.ones((1, 1, 1, 1), dtype)
    dx, _, dbias = ops.conv2d_backward(x, x, one)
    for y in (
        ops.conv2d(x, one), ops.linear(x.reshape(4, 16), np.eye(16, dtype=dtype)), dx,
        ops.avg_pool2d(x, 1), ops.sigmoid_backward(x, np.full_like(x, 0.5)), dbias,
        *ops.linear_backward(x.reshape(4, 16), x.reshape(4, 16), np.eye(16, dtype=dtype)),
    ):  # fmt: skip
        assert (y == 0).all()
    assert np.abs(ops.max_pool2d(x, 1)).max() < tiny  # which takes one of its inputs
    assert_array_equal(x / 2, before)  # NumPy's arithmetic is as it was
    assert (before != 0).all()
