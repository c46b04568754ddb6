"""A net of `peers.py` in JAX: the function of its layers, and a compiled step of descent."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]


class Net:
    """Layers of ours as functions of JAX, in channels last, with the same weights."""

    def __init__(self, config: list[dict[str, Any]], weights: Arrays, shape: Any) -> None:
        self.config, self.flat = {"type": "Sequential", "layers": config}, {}
        self.params: dict[str, Any] = {}
        self.rest: dict[str, Any] = {}  # running statistics
        import jax

        self.weights = weights
        for key, w in weights.items():
            part = self.rest if "running" in key else self.params
            part[key] = w.transpose(2, 3, 1, 0) if w.ndim == 4 else w.T if w.ndim == 2 else w
        # what a linear layer reads lies in the order of channels last here
        jax.eval_shape(self.mark, np.zeros((1, *shape), np.float32))
        for key, (H, W, C) in self.flat.items():
            rows = weights[key].reshape(-1, C, H, W).transpose(0, 2, 3, 1)
            self.params[key] = rows.reshape(weights[key].shape).T

    def mark(self, x: Any) -> Any:
        """Note which linear layers read pixels."""
        self.last: tuple[int, ...] | None = None
        return self(self.params, dict(self.rest), x)

    def __call__(self, params: Any, rest: dict[str, Any], x: Any) -> Any:
        """The outputs; `rest` gets the new running statistics."""
        return self.layer(self.config, "", params, rest, x)

    def layer(self, layer: dict[str, Any], name: str, params: Any, rest: Any, x: Any) -> Any:
        """What a layer makes of x."""
        import jax

        kind = layer["type"]
        if kind == "Sequential":
            for i, inner in enumerate(layer["layers"]):
                x = self.layer(inner, f"{name}{i}.", params, rest, x)
            return x
        if kind == "Residual":
            y = self.layer(layer["body"], f"{name}body.", params, rest, x)
            shortcut = layer["shortcut"]
            if shortcut:
                x = self.layer(shortcut, f"{name}shortcut.", params, rest, x)
            return y + x
        if kind == "Flatten":
            self.last = x.shape[1:]
            return x.reshape(len(x), -1)
        if kind == "GlobalAvgPool2d":
            return x.mean((1, 2), keepdims=True)
        if kind in ("ReLU", "Dropout"):  # nothing is dropped
            return jax.nn.relu(x) if kind == "ReLU" else x
        others = {"Conv2d": self.conv, "BatchNorm2d": self.norm, "MaxPool2d": self.pool}
        return {**others, "Linear": self.linear}[kind](layer, name, params, rest, x)

    def conv(self, layer: dict[str, Any], name: str, params: Any, rest: Any, x: Any) -> Any:
        """A convolution."""
        import jax

        sides = layer["padding"]
        sides = [sides] * 2 if isinstance(sides, int) else sides
        sides = sides if len(sides) == 4 else [sides[0]] * 2 + [sides[1]] * 2
        steps = layer["stride"]
        y = jax.lax.conv_general_dilated(
            x, params[name + "weight"], [steps] * 2 if isinstance(steps, int) else steps,
            [tuple(sides[:2]), tuple(sides[2:])], dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=layer["groups"],
        )  # fmt: skip
        return y + params[name + "bias"] if name + "bias" in params else y

    def norm(self, layer: dict[str, Any], name: str, params: Any, rest: Any, x: Any) -> Any:
        """Batch normalisation in training."""
        import jax

        mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
        for key, new in (("running_mean", mean), ("running_var", var)):
            rest[name + key] = rest[name + key] * (1 - layer["momentum"]) + layer["momentum"] * new
        scale = params[name + "weight"] * jax.lax.rsqrt(var + layer["eps"])
        return (x - mean) * scale + params[name + "bias"]

    def pool(self, layer: dict[str, Any], name: str, params: Any, rest: Any, x: Any) -> Any:
        """Max pooling without padding."""
        import jax

        sides = [layer[key] for key in ("kernel_size", "stride")]
        window, steps = (tuple([side] * 2 if isinstance(side, int) else side) for side in sides)
        return jax.lax.reduce_window(
            x, -np.inf, jax.lax.max, (1, *window, 1), (1, *steps, 1), "VALID"
        )

    def linear(self, layer: dict[str, Any], name: str, params: Any, rest: Any, x: Any) -> Any:
        """A linear layer."""
        if self.last is not None:
            self.flat[name + "weight"], self.last = self.last, None
        return x @ params[name + "weight"] + params[name + "bias"]


def train(task: Any) -> Callable[[], float]:
    """A compiled step, whose weights and momentum take the place of the old ones, and its cost."""
    if hasattr(os, "sched_setaffinity"):  # XLA takes as many threads as it sees processors
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: task.threads])
    os.environ["JAX_PLATFORMS"] = "cpu"
    import jax

    x = np.ascontiguousarray(task.x.transpose(0, 2, 3, 1))
    net = Net(task.layers, task.weights(), x.shape[1:])
    lr, momentum = task.sgd["lr"], task.sgd["momentum"]

    def cost(params: Any, rest: Any, x: Any, y: Any) -> Any:
        rest = dict(rest)
        outputs = net(params, rest, x)
        each = jax.nn.log_softmax(outputs)[jax.numpy.arange(len(y)), y]
        return -each.mean(), rest

    def descend(params: Any, velocity: Any, rest: Any, x: Any, y: Any) -> Any:
        (value, rest), slopes = jax.value_and_grad(cost, has_aux=True)(params, rest, x, y)
        velocity = jax.tree.map(lambda v, g: momentum * v + g, velocity, slopes)
        params = jax.tree.map(lambda p, v: p - lr * v, params, velocity)
        return params, velocity, rest, value

    compiled = jax.jit(descend, donate_argnums=(0, 1, 2))
    params, rest = jax.device_put(net.params), jax.device_put(net.rest)
    state = params, jax.tree.map(jax.numpy.zeros_like, params), rest
    images, classes = jax.device_put(x), jax.device_put(task.y.astype(np.int32))

    def step() -> float:
        nonlocal state
        *state, value = compiled(*state, images, classes)
        return float(value)

    return step
