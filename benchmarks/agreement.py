"""One MNIST network in five runtimes: do they give the same answers to all test images?

    python benchmarks/agreement.py FOLDER [--epochs 1]

A LeNet-5 is trained here on MNIST (the four IDX files in FOLDER) and goes, as files, through
PyTorch, ONNX Runtime and a C compiler: PyTorch loads the safetensors weights and writes an ONNX
file that is read back here; our own ONNX file runs in ONNX Runtime; the C file runs as a library.
Prints how many predictions equal those of the network, and the largest difference of an output.
Needs torch, safetensors, onnx, onnxruntime and cc.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import cnn_ext
from cnn_ext.c.source import write_c
from cnn_ext.layers import graph_of
from cnn_ext.run.plan import Plan

SHAPE = (1, 28, 28)


def trained(folder: str, epochs: int) -> tuple[cnn_ext.Sequential, np.ndarray, np.ndarray]:
    """A network, and the test images as floats with their classes."""
    data = cnn_ext.datasets.mnist(folder)
    net = cnn_ext.architectures.build("lenet5", SHAPE, 10, rng=np.random.default_rng(0))
    optimizer = cnn_ext.SGD(net.parameters(), lr=0.02, momentum=0.9)
    trainer = cnn_ext.Trainer(net, optimizer=optimizer, seed=0)
    trainer.fit(data.x_train, data.y_train, epochs=epochs, batch_size=64, progress=False)
    return net.eval(), (data.x_test / 255).astype(np.float32), data.y_test


def in_pytorch(net: cnn_ext.Sequential, folder: Path) -> Any:
    """The same network as a PyTorch module, by way of a safetensors file."""
    from safetensors.torch import load_file
    from torch import nn

    cnn_ext.save(net, folder / "net.safetensors")
    layers = []
    for layer in net.to_config()["layers"]:
        arguments = {key: value for key, value in layer.items() if key != "type"}
        layers.append(getattr(nn, layer["type"])(**arguments))
    module = nn.Sequential(*layers).eval()
    module.load_state_dict(load_file(folder / "net.safetensors"))
    return module


def answers(net: cnn_ext.Sequential, images: np.ndarray, folder: Path) -> dict[str, np.ndarray]:
    """The outputs of every runtime."""
    import onnxruntime
    import torch

    plan = net.compile(SHAPE)
    module = in_pytorch(net, folder)
    with torch.inference_mode():
        found = {"PyTorch": module(torch.from_numpy(images)).numpy()}
    found["plan, in batches of 250"] = by_batches(plan, images, 250)
    found["plan, one by one"] = np.stack([plan(image) for image in images])
    cnn_ext.onnx.export(net, folder / "ours.onnx", SHAPE)
    session = onnxruntime.InferenceSession(folder / "ours.onnx", providers=["CPUExecutionProvider"])
    found["our ONNX file in ONNX Runtime"] = session.run(None, {"input": images})[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        example = torch.from_numpy(images[:1])
        torch.onnx.export(module, (example,), folder / "torch.onnx", dynamo=False)
    theirs = Plan(cnn_ext.onnx.load(folder / "torch.onnx"))
    found["PyTorch's ONNX file in a plan"] = by_batches(theirs, images, 250)
    found["C file"] = np.stack([*map(c_function(net, folder), images)])
    return found


def by_batches(plan: Any, images: np.ndarray, size: int) -> np.ndarray:
    return np.concatenate([plan(images[i : i + size]) for i in range(0, len(images), size)])


def c_function(net: cnn_ext.Sequential, folder: Path) -> Callable[[np.ndarray], np.ndarray]:
    """The network as a C file, compiled and loaded."""
    graph = graph_of(net, SHAPE)
    write_c(graph, folder / "net.c")
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-O3", "-shared", "-fPIC"]
    library = folder / "net.so"
    subprocess.run(["cc", *flags, folder / "net.c", "-o", library, "-lm"], check=True)
    function = ctypes.CDLL(str(library)).net_predict

    def predict(image: np.ndarray) -> np.ndarray:
        out = np.empty(10, np.float32)
        function(ctypes.c_void_p(image.ctypes.data), ctypes.c_void_p(out.ctypes.data))
        return out

    return predict


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", metavar="FOLDER")
    parser.add_argument("--epochs", type=int, default=1)
    arguments = parser.parse_args()
    net, images, classes = trained(arguments.folder, arguments.epochs)
    wanted = by_batches(net, images, 250)
    right = int((wanted.argmax(axis=1) == classes).sum())
    print(f"LeNet-5, {arguments.epochs} epochs: {right} of {len(images)} right\n")
    print("| runtime | equal predictions | largest difference of an output |\n| --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for name, outputs in answers(net, images, Path(folder)).items():
            equal = int((outputs.argmax(axis=1) == wanted.argmax(axis=1)).sum())
            print(f"| {name} | {equal} of {len(images)} | {np.abs(outputs - wanted).max():.1e} |")


if __name__ == "__main__":
    main()
