"""The interface of the package `onnx` for programs that run models, over graphs.

It needs the package `onnx`: import `cnn_ext.onnx.backend` only where that is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx.backend import base

from ..graph.graph import Graph
from ..graph.node import Shape
from ..run.plan import Plan
from .building import BATCH
from .loader import Asked, read
from .tensors import FLOAT

Executor = Callable[[Graph, np.ndarray], np.ndarray]


def _compiled(graph: Graph, images: np.ndarray) -> np.ndarray:
    return Plan(graph, max(len(images), 1))(images)


class Prepared(base.BackendRep):
    """A model that is ready to run."""

    def __init__(self, model: onnx.ModelProto, executor: Executor) -> None:
        self.model = model
        self.executor = executor

    def run(self, inputs: Any, **kwargs: Any) -> tuple[np.ndarray, ...]:
        """The outputs for these inputs.

        Parameters
        ----------
        inputs : sequence of ndarray
            The first one is the batch; the others are weights.

        Returns
        -------
        tuple of ndarray

        Raises
        ------
        TypeError, ValueError
            If the model is not supported, or the inputs do not fit it.
        """
        inputs = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
        x = inputs[0] if inputs else None
        if not isinstance(x, np.ndarray) or x.dtype != np.float32:
            got = getattr(x, "dtype", type(x).__name__)
            raise TypeError(f"inputs: expected an array of float32 first, got {got}")
        outputs = []
        for place in range(len(self.model.graph.output)):
            graph, shape, images = self._read(x, inputs[1:], place)
            result = self.executor(graph, images.reshape(-1, *graph.input_shape))
            shape = tuple(len(images) if size == BATCH else size for size in shape)
            outputs.append(np.asarray(result, np.float32).reshape(shape))
        return tuple(outputs)

    def _read(
        self, x: np.ndarray, weights: Sequence[Any], place: int
    ) -> tuple[Graph, Shape, np.ndarray]:
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        if any(value.type.tensor_type.elem_type != FLOAT for value in model.graph.output):
            raise ValueError("outputs stay float32")
        known = {tensor.name for tensor in model.graph.initializer}
        first, *others = (value for value in model.graph.input if value.name not in known)
        if len(others) != len(weights):
            raise ValueError(f"inputs: expected {1 + len(others)}, got {1 + len(weights)}")
        for value, array in zip(others, weights, strict=True):
            tensor = onnx.numpy_helper.from_array(np.asarray(array), value.name)
            model.graph.initializer.append(tensor)
        axes = first.type.tensor_type.shape.dim
        if len(axes) != x.ndim:
            raise ValueError(f"inputs: expected {len(axes)} axes, got {x.shape}")
        for axis, size in zip(axes, x.shape, strict=True):
            axis.dim_value = size
        try:
            graph, shape = read(model, "model", None, Asked(output=place))
        except ValueError as error:  # it may be that axis 0 does not count images
            try:
                graph, shape = read(model, "model", None, Asked(output=place, one_image=True))
            except ValueError:
                raise error from None
            return graph, shape, x[None]
        return graph, shape, x


class Backend(base.Backend):
    """Runs ONNX models; see `onnx.backend.base.Backend`.

    Attributes
    ----------
    executor : function of a Graph and images (N, ...), returns the outputs (N, ...)
    """

    executor: Executor = staticmethod(_compiled)

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> Prepared:
        """A model, ready to run.

        Raises
        ------
        ValueError
            If the device is not the CPU or the model is not valid.
        """
        if not cls.supports_device(device):
            raise ValueError(f"device: expected CPU, got {device!r}")
        super().prepare(model, device, **kwargs)
        return Prepared(model, cls.executor)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device.split(":")[0] == "CPU"
