"""A net of `peers.py` in Keras on TensorFlow, and the compiled step that `fit` trains it with."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

os.environ.update(KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="3")
Arrays = dict[str, np.ndarray]


class Builder:
    """Layers of Keras for ours, one after the other, in channels last, with the same weights."""

    def __init__(self, weights: Arrays) -> None:
        self.weights = weights
        self.ready: list[tuple[Any, list[np.ndarray]]] = []  # layers and what they will have
        self.flat: tuple[int, ...] | None = None  # of the last Flatten: its input

    def add(self, layer: dict[str, Any], x: Any, name: str = "") -> Any:
        """What a layer makes of a symbolic tensor."""
        from keras import layers

        kind = layer["type"]
        if kind == "Sequential":
            for i, inner in enumerate(layer["layers"]):
                x = self.add(inner, x, f"{name}{i}.")
            return x
        if kind == "Residual":
            y, shortcut = self.add(layer["body"], x, f"{name}body."), layer["shortcut"]
            return y + (self.add(shortcut, x, f"{name}shortcut.") if shortcut else x)
        if kind == "Flatten":
            self.flat = tuple(x.shape[1:])
        simple = {
            "ReLU": layers.ReLU, "Flatten": layers.Flatten, "Dropout": lambda: layers.Dropout(0.0),
            "GlobalAvgPool2d": lambda: layers.GlobalAveragePooling2D(keepdims=True),
        }  # fmt: skip
        if kind in simple:
            return simple[kind]()(x)
        own = {key.removeprefix(name): w for key, w in self.weights.items() if key.startswith(name)}
        others = {"Conv2d": self.conv, "BatchNorm2d": self.norm, "MaxPool2d": self.pool}
        return {**others, "Linear": self.dense}[kind](layer, own, x)

    def with_weights(self, layer: Any, x: Any, *weights: np.ndarray | None) -> Any:
        """What the layer makes of x; it will have these weights once all are built."""
        self.ready.append((layer, [w for w in weights if w is not None]))
        return layer(x)

    def conv(self, layer: dict[str, Any], own: Arrays, x: Any) -> Any:
        """A convolution, depthwise if it has groups, behind its padding."""
        from keras import layers

        sides = layer["padding"]
        sides = [sides] * 2 if isinstance(sides, int) else sides
        top, bottom, left, right = sides if len(sides) == 4 else [sides[0]] * 2 + [sides[1]] * 2
        w, bias = own["weight"], own.get("bias")
        settings = {"strides": layer["stride"], "use_bias": bias is not None}
        R, S = w.shape[2:]
        if layer["stride"] in (1, [1, 1]) and (2 * top, 2 * left) == (R - 1, S - 1):
            settings["padding"] = "same"  # which pads as much as ours
        elif any(sides):
            x = layers.ZeroPadding2D(((top, bottom), (left, right)))(x)
        if layer["groups"] == 1:
            conv: Any = layers.Conv2D(len(w), w.shape[2:], **settings)
            return self.with_weights(conv, x, w.transpose(2, 3, 1, 0), bias)
        conv = layers.DepthwiseConv2D(w.shape[2:], **settings)
        return self.with_weights(conv, x, w.transpose(2, 3, 0, 1), bias)

    def norm(self, layer: dict[str, Any], own: Arrays, x: Any) -> Any:
        """Batch normalisation."""
        from keras import layers

        norm = layers.BatchNormalization(momentum=1 - layer["momentum"], epsilon=layer["eps"])
        keys = "weight", "bias", "running_mean", "running_var"
        return self.with_weights(norm, x, *(own[key] for key in keys))

    def pool(self, layer: dict[str, Any], own: Arrays, x: Any) -> Any:
        """Max pooling without padding."""
        from keras import layers

        return layers.MaxPooling2D(layer["kernel_size"], layer["stride"])(x)

    def dense(self, layer: dict[str, Any], own: Arrays, x: Any) -> Any:
        """A linear layer."""
        from keras import layers

        w = own["weight"]
        if self.flat is not None:  # rows are in the order of channels last there
            H, W, C = self.flat
            w = w.reshape(-1, C, H, W).transpose(0, 2, 3, 1).reshape(w.shape)
            self.flat = None
        return self.with_weights(layers.Dense(len(w)), x, w.T, own["bias"])


def net_of(config: list[dict[str, Any]], weights: Arrays, shape: tuple[int, ...]) -> Any:
    """The net for images of a shape (H, W, C)."""
    import keras

    builder, x = Builder(weights), keras.Input(shape)
    net = keras.Model(x, builder.add({"type": "Sequential", "layers": config}, x))
    for layer, own in builder.ready:
        layer.set_weights(own)
    return net


def train(task: Any, jit: bool = False) -> Callable[[], float]:
    """A step as `fit` makes it, on tensors, compiled by XLA or not, and its cost."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(task.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    import keras

    x = np.ascontiguousarray(task.x.transpose(0, 2, 3, 1))
    net = net_of(task.layers, task.weights(), x.shape[1:])
    optimizer = keras.optimizers.SGD(task.sgd["lr"], momentum=task.sgd["momentum"])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(optimizer, loss, jit_compile=jit)
    net.make_train_function()
    batches: Iterator[Any] = iter(tf.data.Dataset.from_tensors((x, task.y)).repeat())
    steps, total = 0, 0.0

    def step() -> float:
        # Keras gives the mean cost of the steps so far
        nonlocal steps, total
        steps, before = steps + 1, total
        total = steps * float(net.train_function(batches)["loss"])
        return total - before

    return step
