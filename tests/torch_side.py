"""The same networks and descents in PyTorch; only for where it is installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike
from parity import DESCENTS, LR, STEPS, Figures, data, network

from cnn_ext import Sequential

torch.set_num_threads(1)  # the networks are too small for two runtimes to wait for each other


def torch_network(net: Sequential) -> torch.nn.Sequential:
    """A network of PyTorch with the same description and weights."""
    layers = []
    for description in net.to_config()["layers"]:
        arguments = dict(description)
        layers.append(getattr(torch.nn, arguments.pop("type"))(**arguments))
    model = torch.nn.Sequential(*layers).to(
        torch.float64 if net.dtype == np.float64 else torch.float32
    )
    model.load_state_dict({key: torch.from_numpy(a) for key, a in net.state_dict().items()})
    return model


def _setting(name: str, dtype: DTypeLike) -> tuple[torch.nn.Sequential, Any, Any]:
    x, y = data(name, dtype)
    return torch_network(network(name, dtype)), torch.from_numpy(x), torch.from_numpy(y)


def their_gradients(name: str, dtype: DTypeLike) -> Figures:
    model, x, y = _setting(name, dtype)
    x.requires_grad_()
    outputs = model(x)
    cost = torch.nn.functional.cross_entropy(outputs, y)
    cost.backward()
    figures = {"outputs": outputs, "cost": cost, "input": x.grad}
    figures |= {key: parameter.grad for key, parameter in model.named_parameters()}
    return {key: tensor.detach().numpy() for key, tensor in figures.items()}


def their_descent(name: str, descent: str, dtype: DTypeLike) -> Figures:
    model, x, y = _setting(name, dtype)
    optimizer = torch.optim.SGD(model.parameters(), LR, **DESCENTS[descent])
    costs = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        cost = torch.nn.functional.cross_entropy(model(x), y)
        cost.backward()
        optimizer.step()
        costs.append(cost.item())
    weights = {key: tensor.detach().numpy() for key, tensor in model.state_dict().items()}
    return {"costs": np.array(costs), **weights}
