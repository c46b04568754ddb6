"""The programs in `examples`, where the packages are installed that they are for."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnn_ext
from cnn_ext import architectures

EXAMPLES = Path(__file__).parent.parent / "examples"
pytestmark = pytest.mark.filterwarnings("default")  # those of the packages


def program(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # for pickle
    spec.loader.exec_module(module)
    return module


def test_clients_of_flower_learn_together() -> None:
    pytest.importorskip("flwr")
    clients = [program("flower_client").Digits(number, 3) for number in range(3)]
    weights = clients[0].get_parameters({})
    accuracies = [clients[0].evaluate(weights, {})[2]["accuracy"]]
    for _ in range(4):  # what a server does: the mean, weighted by the numbers of images
        found = [client.fit(weights, {}) for client in clients]
        total = sum(count for _, count, _ in found)
        weights = [
            sum(count / total * arrays[i] for arrays, count, _ in found).astype(np.float32)
            for i in range(len(weights))
        ]
        accuracies.append(clients[0].evaluate(weights, {})[2]["accuracy"])
    assert accuracies[0] < 0.3
    assert accuracies[-1] > 0.9
    clients[0].to_client()


def test_answers_of_ray_have_the_bits_of_one_process(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    pytest.importorskip("ray.data")
    net = architectures.build("lenet5", (1, 28, 28), 10, rng=np.random.default_rng(0)).eval()
    net.input_shape = (1, 28, 28)
    cnn_ext.save(net, tmp_path / "net.safetensors")
    x = np.random.default_rng(1).random((700, 1, 28, 28), np.float32)
    paths = os.pathsep.join([str(EXAMPLES), *sys.path])
    ray.init(num_cpus=3, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": paths}})
    try:
        rows = program("ray_scoring").answers(str(tmp_path / "net.safetensors"), x).take_all()
    finally:
        ray.shutdown()
    np.testing.assert_array_equal(np.stack([row["outputs"] for row in rows]), net.compile()(x))
