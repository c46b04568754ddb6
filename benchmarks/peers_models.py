"""The files that the peers of `peers.py` start from: one net as weights, ONNX, data and the truth.

The truth is what the net gives in float64: outputs, and the costs of the first training steps.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import cnn_ext

INPUTS = {"lenet5": (1, 28, 28), "nielsen": (1, 28, 28), "vgg6": (3, 32, 32)}
MODERN = {"resnet8": (3, 32, 32), "mobilenet_025": (3, 96, 96), "dscnn": (1, 49, 10)}
IMAGES = 256
CHECKED_STEPS = 3  # momentum tells in the third; later ones amplify rounding too much
LEARNING_RATE, MOMENTUM = 0.001, 0.9
OPSET, IR_VERSION = 17, 8  # of ONNX; known to every release since 2022


def prepare(folder: Path, name: str, training_batches: tuple[int, ...]) -> None:
    """Write config.json, weights.npz, data.npz, int8.safetensors and, with onnx, two ONNX files."""
    shape = {**INPUTS, **MODERN}[name]
    net = cnn_ext.architectures.build(name, shape, 10, rng=np.random.default_rng(0))
    for _, layer in net.named_modules():
        if isinstance(layer, cnn_ext.Dropout):
            layer.p = 0.0  # every peer would draw numbers of its own
    config = net.to_config()["layers"]
    weights: dict[str, Any] = net.state_dict()
    rng = np.random.default_rng(1)
    x = rng.random((IMAGES, *shape), np.float32)
    y = rng.integers(0, 10, IMAGES)
    arrays: dict[str, Any] = {"x": x, "y": y, "outputs": net.astype(np.float64).eval()(x)}
    net.train()
    steps = 1 if name in MODERN else CHECKED_STEPS  # batch normalisation amplifies rounding more
    for batch in training_batches:
        net.load_state_dict(weights)
        optimizer = cnn_ext.SGD(net.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
        trainer = cnn_ext.Trainer(net, optimizer=optimizer)
        costs = [trainer.train_on_batch(x[:batch], y[:batch]) for _ in range(steps)]
        arrays[f"costs_{batch}"] = np.array(costs)
    net.load_state_dict(weights)
    net.input_shape = shape
    small = cnn_ext.quantize(net.astype(np.float32).eval(), x)
    arrays["outputs_int8"] = small(x)  # the same numbers with float32
    cnn_ext.save(small, folder / "int8.safetensors")
    if find_spec("onnx"):
        cnn_ext.onnx.export(small, folder / "int8.onnx")
    settings = {"layers": config, "lr": LEARNING_RATE, "momentum": MOMENTUM}
    (folder / "config.json").write_text(json.dumps(settings))
    np.savez(folder / "weights.npz", **weights)
    np.savez(folder / "data.npz", **arrays)
    net.load_state_dict(weights)
    if find_spec("onnx") and name in MODERN:
        cnn_ext.onnx.export(net.astype(np.float32).eval(), folder / "model.onnx", shape)
    elif find_spec("onnx"):
        write_onnx(folder / "model.onnx", config, weights, shape)


def write_onnx(
    path: Path,
    config: list[dict[str, Any]],
    weights: dict[str, np.ndarray],
    shape: tuple[int, int, int],
) -> None:
    """The net as an ONNX file with a free batch size, input "x" and output "y"."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = []
    for i, layer in enumerate(config):
        inputs = ["x" if i == 0 else f"after {i - 1}"]
        inputs += [f"{i}.{key}" for key in ("weight", "bias") if f"{i}.{key}" in weights]
        output = "y" if i == len(config) - 1 else f"after {i}"
        kind, attributes = onnx_operator(layer)
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
    floats = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", floats, ["N", *shape])],
        [helper.make_tensor_value_info("y", floats, ["N", 10])],
        [numpy_helper.from_array(data, name) for name, data in weights.items()],
    )
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def onnx_operator(layer: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and attributes of the operator for a layer of these nets."""
    kind = layer["type"]
    if kind in ("Conv2d", "MaxPool2d"):
        padding = layer["padding"]
        attributes = {
            "kernel_shape": layer["kernel_size"],
            "strides": layer["stride"],
            "pads": [padding] * 4 if isinstance(padding, int) else [*padding, *padding],
        }
        return ("Conv" if kind == "Conv2d" else "MaxPool"), attributes
    if kind == "Linear":
        return "Gemm", {"transB": 1}
    return {"ReLU": "Relu", "Flatten": "Flatten"}[kind], {}
