"""`Plan`: a trained network made ready to answer, in one call into C."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import _check as check
from .. import _core
from .._arrays import plain_array
from .._dispatch import bytes_isa
from ..graph.graph import Graph
from ..graph.layout import BATCH_ROOM, FLOAT, ROOM, SIZE, NoRoom, Packed, constant
from ..graph.operator import OPERATORS
from ..graph.precision import BFLOAT16, FLOAT32, INT8, in_bfloat16
from ..graph.rewrite import bytes_fused, frozen, fused, lowered, simplify
from ..lanes import Lanes, contiguous
from ..scale import as_numbers, scale_of
from ..task import meaning_of
from .by_batch import ByBatch
from .by_image import ByImage
from .large import CACHES, recorded, too_large

BLOCK_SHARE = 2 / 3  # of a block of images from which it is faster as one than image by image
BYTE = np.dtype(np.uint8)
PRECISIONS = (FLOAT32, BFLOAT16, INT8)


def precision_of(graph: Graph, wanted: str | None) -> str:
    """What a plan of the graph computes with, given what is asked for.

    Raises ValueError if the precision is unknown, or is that of bytes and the graph is not.
    """
    of_bytes = any(node.op == "fake_quantize" for node in graph.nodes)
    if wanted is None:
        return INT8 if of_bytes else FLOAT32
    if wanted not in PRECISIONS:
        raise ValueError(f"precision: expected one of {', '.join(PRECISIONS)}, got {wanted!r}")
    if wanted == INT8 and not of_bytes:
        raise ValueError(
            "precision: int8 is for networks of bytes, which cnn_ext.quantize(net, sample) makes"
        )
    return wanted


class Plan:
    """Answers of a network for images of one shape.  It never changes, and many threads may use it.

    Layers that follow each other are done in one go where that saves a pass over memory, weights
    are kept in the order of the kernels, and all else that a call needs is one piece of memory.  A
    few images are done one by one, with lanes over the output channels; many in blocks of LANES
    images, if a block fits the caches.  Each image has the same answer, bit for bit, whatever else
    is in its batch.

    Plans can be pickled and copied: what travels is the graph, and the plan is built anew.

    Parameters
    ----------
    graph : Graph
    max_batch : int
        The most images that are done at once; a call with more does them in parts.
    outputs : str, optional
        What the outputs are, for `classify`, if it is known better than the graph knows it:
        "logits", "sigmoid", "probabilities", "log_probabilities" or "numbers".
    precision : str, optional
        "float32"; "bfloat16", rounded as `Trainer` does it; or "int8" for a network that `quantize`
        made, which is what such a network gets by default: then convolutions and linear layers work
        on bytes, one image at a time.

    Attributes
    ----------
    input_shape, output_shape : tuple of int
        Of one image, without N.
    max_batch : int
    task : Task
        What the network is for and what its outputs are, as far as it is known.
    precision : str
    weights_bytes : int
        Memory of the weights that the plan keeps.
    arena_bytes : int
        Memory that a call needs besides the result; at most that again for each further thread.
    """

    def __init__(
        self,
        graph: Graph,
        max_batch: int = 256,
        outputs: str | None = None,
        precision: str | None = None,
    ) -> None:
        if not isinstance(graph, Graph):
            raise TypeError(f"graph: expected a Graph, got {type(graph).__name__}")
        self.max_batch = check.whole(max_batch, "max_batch", 1)
        self.task = meaning_of(graph, outputs)
        graph = lowered(simplify(frozen(graph)))
        graph.nodes = [
            node.replaced(weights={key: constant(array) for key, array in node.weights.items()})
            for node in graph.nodes
        ]  # whoever has the arrays may change them
        graph.task = self.task
        self._saved = graph
        self.precision = precision_of(graph, precision)
        graph = fused(graph)
        if self.precision == INT8:
            bytes_isa()
            graph = bytes_fused(graph)
        elif self.precision == BFLOAT16:
            graph = in_bfloat16(graph)
        self.graph = graph
        self.input_shape, self.output_shape = graph.input_shape, graph.output_shape
        self._single = (1, *self.input_shape)
        self._lanes: int = _core.lanes(FLOAT.itemsize)
        self._least = max(2, math.ceil(BLOCK_SHARE * self._lanes))
        self._packed: dict[Any, Packed] = {ByImage: Packed(ROOM)}
        ByImage(graph, self._packed[ByImage]).prepare()
        types = (FLOAT, BYTE) if graph.byte_scale is not None else (FLOAT,)
        self._by_image = {dtype: self._recorded(ByImage, 1, dtype) for dtype in types}
        self._by_batch: dict[Any, Any] | None = None
        if max_batch >= self._least and self.precision != INT8 and not too_large(graph):
            self._packed[ByBatch] = Packed(BATCH_ROOM)
            for node in graph.nodes:
                if OPERATORS[node.op].packed_for_both(graph, node):
                    self._packed[ByBatch][node.output] = self._packed[ByImage][node.output]
            try:
                first = self._recorded(ByBatch, self._lanes, FLOAT)
                if first.memory > CACHES:
                    raise NoRoom
                others = {dtype: self._recorded(ByBatch, self._lanes, dtype) for dtype in types[1:]}
                self._by_batch = {FLOAT: first, **others}
            except NoRoom:  # one image at a time is faster
                del self._packed[ByBatch]

    def _recorded(self, way: Any, images: int, dtype: np.dtype) -> _core.Steps:
        # the calls of kernels for so many images of numbers or bytes
        packed = self._packed[way]
        calls = way(self.graph, packed=packed)
        if way is ByBatch:
            calls.prepare()
            calls = partial(self._in_lanes, calls)
        return recorded(self.graph, calls, packed, images, dtype)

    def _in_lanes(self, run: ByBatch, x: np.ndarray, out: np.ndarray) -> None:
        # from plain images to plain outputs
        graph = self.graph
        lanes = Lanes.pack(x, FLOAT, scale_of(x.dtype, graph.byte_scale))
        lanes = lanes.reshape(*graph.shapes[graph.input])
        inputs = [lanes]
        del lanes
        (y,) = run.forward(inputs)
        _core.unpack(y.data, out, SIZE, len(x), math.prod(self.output_shape))

    def __call__(self, x: ArrayLike, *, out: np.ndarray | None = None) -> np.ndarray:
        """The outputs for one image or a batch.

        Parameters
        ----------
        x : array_like, shape `input_shape`, or N of them, (N, ...)
            float32, or other real numbers, which are scaled as in training and taken as float32.
            More than `max_batch` images are done in parts.
        out : ndarray of float32, shape of the answer, optional
            Where to write it; then nothing is allocated.

        Returns
        -------
        ndarray of float32, shape `output_shape`, or (N, ...)

        Raises
        ------
        TypeError, ValueError
            If x or out does not fit; the message says what the plan takes.
        """
        if (
            type(x) is not np.ndarray or x.dtype is not FLOAT
            or not (x.flags.c_contiguous and x.flags.aligned)
        ):  # fmt: skip
            x = self._numbers(x)
        shape = self.output_shape
        if x.shape == self._single:
            images = 1
            shape = (1, *shape)
        elif x.shape == self.input_shape:
            images = 1
        else:
            self._check_shape(x.shape)
            images = len(x)
            shape = (images, *shape)
        if out is None:
            out = np.empty(shape, FLOAT)
        else:
            out = self._checked(out, shape)
            if np.may_share_memory(x, out):
                x = x.copy()
        if images == 1 < self._least:
            self._by_image[x.dtype].run([x, out], 1, 1.0)
            return out
        if images > self.max_batch:
            for first in range(0, images, self.max_batch):
                part = slice(first, first + self.max_batch)
                self(x[part], out=out[part])
            return out
        done = 0
        if images >= self._least and self._by_batch is not None:
            last = images % self._lanes
            done = images - last if last < self._least else images
            self._by_batch[x.dtype].run([x, out], done, 1.0)
        if done < images:
            rest = [x, out] if not done else [x[done:], out[done:]]
            self._by_image[x.dtype].run(rest, images - done, 1.0)
        return out

    def classify(self, x: ArrayLike) -> Any:
        """Class and probability of one image, or of each of a batch.

        What the outputs mean is known from the last layer or from training; else `outputs` says it
        when the plan is made.

        Parameters
        ----------
        x : array_like, shape `input_shape`, or N of them, (N, ...)

        Returns
        -------
        classes : int, or ndarray of int64, shape (N,)
            Class numbers, 0 or 1 where there is one output; class maps, (P, Q), of pictures; 0 or 1
            for each of several labels, (K,).
        probabilities : float, or ndarray of float32, of the same shape
            Of the class; of several labels that of each label.

        Raises
        ------
        TypeError, ValueError
            As for a call; also if the outputs are no probabilities, or it is not known how they
            become some.
        """
        form = self.graph.shapes[self.graph.output]
        if self.task.kind is None and len(form) != 1:
            raise ValueError(f"outputs of shape {self.output_shape} are not those of classes")
        y = self(x)
        classes, probabilities = self.task.classified(y.reshape(-1, *form))
        probabilities = probabilities.astype(np.float32, copy=False)
        if y.ndim > len(self.output_shape):
            return classes, probabilities
        if classes.ndim == 1:
            return int(classes[0]), float(probabilities[0])
        return classes[0], probabilities[0]

    def predict(self, x: ArrayLike) -> Any:
        """What the task predicts of one image, or of each of a batch.

        Parameters
        ----------
        x : array_like, shape `input_shape`, or N of them, (N, ...)

        Returns
        -------
        int, or ndarray
            See `Task`: class numbers, 0 or 1, class maps, or the outputs; class numbers if the task
            is not known.

        Raises
        ------
        TypeError, ValueError
            As for a call; also if one output or labels are no probabilities that are known.
        """
        y = self(x)
        found = self.task.predictions(y.reshape(-1, *self.output_shape or (1,)))
        if y.ndim > len(self.output_shape):
            return found
        return found[0] if found.ndim > 1 else int(found[0])

    def _takes(self) -> str:
        batch = ", ".join(["N", *map(str, self.input_shape)])
        return f"one image {self.input_shape} or images ({batch})"

    def _numbers(self, x: ArrayLike) -> np.ndarray:
        try:
            array = plain_array(x, "x")
        except ValueError as error:
            raise ValueError(f"x: expected {self._takes()}: {error}") from error
        if array.dtype.kind not in "fiub":
            raise TypeError(f"x: expected {self._takes()}, got {array.dtype}")
        self._check_shape(array.shape)  # before anything is copied
        if array.shape != self.input_shape and len(array) > self.max_batch:
            return array  # which is taken part by part
        return contiguous(as_numbers(array, FLOAT, self.graph.byte_scale))

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        one = self.input_shape
        if shape != one and (not shape or shape[1:] != one):
            last = len(one) == 3 and shape[-3:] == (*one[1:], one[0])
            hint = ", whose channels come last; transpose moves them" if last else ""
            raise ValueError(f"x: expected {self._takes()}, got shape {shape}{hint}")

    def _checked(self, out: Any, shape: tuple[int, ...]) -> np.ndarray:
        if not isinstance(out, np.ndarray) or out.dtype != FLOAT:
            got = out.dtype if isinstance(out, np.ndarray) else type(out).__name__
            raise TypeError(f"out: expected an array of float32, got {got}")
        if out.shape != shape or not out.flags.carray:
            raise ValueError(
                f"out: expected shape {shape}, in C order and writable, got {out.shape}"
            )
        return out

    @property
    def weights_bytes(self) -> int:
        arrays = {id(a): a for node in self.graph.nodes for a in node.weights.values()}
        for packed in self._packed.values():
            arrays.update((id(a), a) for group in packed.values() for a in group)
        recorders = [*self._by_image.values(), *(self._by_batch or {}).values()]
        kept = sum(recorder.kept_memory for recorder in recorders)
        return kept + sum(array.nbytes for array in arrays.values())

    @property
    def arena_bytes(self) -> int:
        recorders = [*self._by_image.values(), *(self._by_batch or {}).values()]
        return max(recorder.memory for recorder in recorders)

    def __reduce__(self) -> tuple[Any, ...]:
        return Plan, (self._saved, self.max_batch, None, self.precision)

    def __repr__(self) -> str:
        return (
            f"Plan({self.input_shape} -> {self.output_shape}, max_batch={self.max_batch}, "
            f"{self.weights_bytes} bytes of weights, {self.arena_bytes} of scratch memory a thread)"
        )
