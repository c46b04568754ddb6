"""One measurement for `peers.py`: one peer, one net, one batch, in a process that has no other.

    python peers_worker.py FOLDER PEER WHAT BATCH THREADS SECONDS

WHAT is train, infer, int8, or one of the first two with "_bfloat16" behind it.

Prints a line of JSON: images per second; for training also bytes of memory, the peak of the process
and what training adds to the loaded net.  Ends with an error if the peer's costs or outputs differ
from the truth in the folder: other work is not worth timing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from timing import median_seconds, peak_memory, reset_peak

Arrays = dict[str, np.ndarray]
Step = Callable[[], Any]
TOLERANCE = 1e-4  # of the largest number, or of 1
WRONG = "differ from the truth"
COARSE = 3e-2  # the same, in low precision


class Task:
    """What there is to do: the files of the folder, and the batch."""

    def __init__(self, folder: Path, batch: int, threads: int) -> None:
        self.folder, self.threads, self.batch = folder, threads, batch
        settings = json.loads((folder / "config.json").read_text())
        self.layers: list[dict[str, Any]] = settings["layers"]
        self.sgd: dict[str, Any] = {key: settings[key] for key in ("lr", "momentum")}
        with np.load(folder / "data.npz") as data:
            self.x, self.y = data["x"][:batch], data["y"][:batch]
            self.outputs = data["outputs"][:batch]
            self.outputs_int8 = data["outputs_int8"][:batch]
            self.costs = data.get(f"costs_{batch}")

    def weights(self) -> Arrays:
        with np.load(self.folder / "weights.npz") as data:
            return dict(data)


def cnn_ext_net(task: Task) -> Any:
    import cnn_ext

    cnn_ext.set_num_threads(task.threads)
    net = cnn_ext.Sequential.from_config(task.layers)
    net.load_state_dict(task.weights())
    return net


def cnn_ext_train(task: Task, precision: str = "float32") -> Step:
    import cnn_ext

    net = cnn_ext_net(task)
    optimizer = cnn_ext.SGD(net.parameters(), **task.sgd)
    trainer = cnn_ext.Trainer(net, optimizer=optimizer, precision=precision)
    return lambda: trainer.train_on_batch(task.x, task.y)


def cnn_ext_infer(task: Task, precision: str = "float32") -> Step:
    plan = cnn_ext_net(task).eval().compile(task.x.shape[1:], precision=precision)
    return lambda: plan(task.x)


def cnn_ext_int8(task: Task) -> Step:
    import cnn_ext

    cnn_ext.set_num_threads(task.threads)
    plan = cnn_ext.load(task.folder / "int8.safetensors").compile(task.x.shape[1:])
    if plan.precision != "int8":
        raise SystemExit("the plan is not one of bytes")
    return lambda: plan(task.x)


def torch_layer(layer: dict[str, Any]) -> Any:
    """A layer of PyTorch for one of ours, with the same names of parameters."""
    from torch import nn

    class Residual(nn.Module):
        def __init__(self, body: Any, shortcut: Any) -> None:
            super().__init__()
            self.body, self.shortcut = body, shortcut

        def forward(self, x: Any) -> Any:
            return self.body(x) + (x if self.shortcut is None else self.shortcut(x))

    class PaddedConv2d(nn.Conv2d):
        def forward(self, x: Any) -> Any:
            return super().forward(nn.functional.pad(x, self.sides))

    arguments = {key: value for key, value in layer.items() if key != "type"}
    kind = layer["type"]
    if kind == "Sequential":
        return nn.Sequential(*map(torch_layer, layer["layers"]))
    if kind == "Residual":
        shortcut = layer["shortcut"]
        return Residual(torch_layer(layer["body"]), shortcut and torch_layer(shortcut))
    if kind == "GlobalAvgPool2d":
        return nn.AdaptiveAvgPool2d(1)
    if kind == "Conv2d" and isinstance(layer["padding"], list) and len(layer["padding"]) == 4:
        top, bottom, left, right = arguments.pop("padding")
        conv = PaddedConv2d(**arguments)
        conv.sides = (left, right, top, bottom)
        return conv
    return getattr(nn, kind)(**arguments)


def torch_net(task: Task, channels_last: bool) -> tuple[Any, Any]:
    """The net and the images; weights and images in the order of memory that is asked for."""
    import torch

    torch.set_num_threads(task.threads)
    net = torch_layer({"type": "Sequential", "layers": task.layers})
    net.load_state_dict({key: torch.from_numpy(data) for key, data in task.weights().items()})
    order = torch.channels_last if channels_last else torch.contiguous_format
    return net.to(memory_format=order), torch.from_numpy(task.x).to(memory_format=order)


def torch_train(
    task: Task, channels_last: bool = False, compiled: bool = False, bfloat16: bool = False
) -> Step:
    import torch

    net, x = torch_net(task, channels_last)
    y = torch.from_numpy(task.y)
    optimizer = torch.optim.SGD(net.parameters(), fused=True, **task.sgd)
    if compiled:
        net = torch.compile(net)
    loss = torch.nn.CrossEntropyLoss()

    def step() -> float:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            outputs = net(x)
        cost = loss(outputs.float(), y)
        cost.backward()
        optimizer.step()
        return float(cost.item())

    return step


def torch_infer(task: Task, channels_last: bool = False, bfloat16: bool = False) -> Step:
    import torch

    net, x = torch_net(task, channels_last)
    net.eval()

    def step() -> Any:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            return net(x).float().numpy()

    return step


def keras_train(task: Task, jit: bool = False) -> Step:
    import peers_keras

    return peers_keras.train(task, jit)


def jax_train(task: Task) -> Step:
    import peers_jax

    return peers_jax.train(task)


def onnxruntime_infer(task: Task, file: str = "model.onnx") -> Step:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = task.threads
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(
        task.folder / file, options, providers=["CPUExecutionProvider"]
    )
    (x,), (y,) = session.get_inputs(), session.get_outputs()
    return lambda: session.run([y.name], {x.name: task.x})[0]


def openvino_infer(task: Task, precision: str | None = None, file: str = "model.onnx") -> Step:
    import openvino

    core = openvino.Core()
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": task.threads, "NUM_STREAMS": 1,
    }  # fmt: skip
    if precision:
        settings["INFERENCE_PRECISION_HINT"] = precision
    model = core.read_model(task.folder / file)
    model.reshape([task.batch, *task.x.shape[1:]])  # at its best it knows the batch
    request = core.compile_model(model, "CPU", settings).create_infer_request()

    def step() -> Any:
        request.infer([task.x], share_inputs=True)
        return request.get_output_tensor().data

    return step


STEPS: dict[tuple[str, str], Callable[[Task], Step]] = {
    ("cnn_ext", "train"): cnn_ext_train,
    ("cnn_ext", "infer"): cnn_ext_infer,
    ("torch", "train"): torch_train,
    ("torch", "infer"): torch_infer,
    ("torch channels_last", "train"): lambda task: torch_train(task, channels_last=True),
    ("torch channels_last", "infer"): lambda task: torch_infer(task, channels_last=True),
    ("torch compile", "train"): lambda task: torch_train(task, compiled=True),
    ("keras", "train"): keras_train,
    ("keras jit", "train"): lambda task: keras_train(task, jit=True),
    ("jax", "train"): jax_train,
    ("onnxruntime", "infer"): onnxruntime_infer,
    ("openvino", "infer"): lambda task: openvino_infer(task, "f32"),
    ("openvino default", "infer"): openvino_infer,
    ("cnn_ext", "train_bfloat16"): lambda task: cnn_ext_train(task, "bfloat16"),
    ("cnn_ext float32", "train_bfloat16"): cnn_ext_train,
    ("torch", "train_bfloat16"): lambda task: torch_train(task, bfloat16=True),
    ("torch channels_last", "train_bfloat16"): (
        lambda task: torch_train(task, channels_last=True, bfloat16=True)
    ),
    ("cnn_ext", "infer_bfloat16"): lambda task: cnn_ext_infer(task, "bfloat16"),
    ("cnn_ext float32", "infer_bfloat16"): cnn_ext_infer,
    ("torch", "infer_bfloat16"): lambda task: torch_infer(task, bfloat16=True),
    ("torch channels_last", "infer_bfloat16"): (
        lambda task: torch_infer(task, channels_last=True, bfloat16=True)
    ),
    ("openvino", "infer_bfloat16"): lambda task: openvino_infer(task, "bf16"),
    ("cnn_ext", "int8"): cnn_ext_int8,
    ("cnn_ext float32", "int8"): cnn_ext_infer,
    ("onnxruntime", "int8"): lambda task: onnxruntime_infer(task, "int8.onnx"),
    ("openvino", "int8"): lambda task: openvino_infer(task, None, "int8.onnx"),
}


def check(found: np.ndarray, truth: np.ndarray, what: str, tolerance: float = TOLERANCE) -> None:
    """End the process if numbers are not those that they should be."""
    error = float(np.abs(found - truth).max())
    if not error <= tolerance * max(1.0, float(np.abs(truth).max())):
        raise SystemExit(f"{what} {WRONG} by {error:g}")


def main() -> None:
    folder, peer, what, batch, threads, seconds = sys.argv[1:]
    task = Task(Path(folder), int(batch), int(threads))
    step = STEPS[peer, what](task)
    figures: dict[str, float] = {}
    low = ("16" in what or what == "int8") and peer != "cnn_ext float32"
    tolerance = COARSE if low or peer == "openvino default" else TOLERANCE
    if "train" in what:
        loading = peak_memory()
        reset_peak()
        before = peak_memory()
        costs = np.array([step() for _ in task.costs])
        check(costs, task.costs, f"{peer}: costs of training", tolerance)
    else:
        truth = task.outputs_int8 if low and what == "int8" else task.outputs
        check(step(), truth, f"{peer}: outputs", tolerance)
    figures["speed"] = task.batch / median_seconds(step, float(seconds))
    if "train" in what:
        figures["training_bytes"] = peak_memory() - before
        figures["process_bytes"] = max(loading, peak_memory())
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
