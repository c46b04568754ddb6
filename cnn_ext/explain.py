"""What a network's answers rest on: gradients, Grad-CAM, and the images that excite a map most.

The functions return arrays; `cnn_ext.plot` draws them.  The network that is given stays as it is,
a copy is run, in evaluation mode.  Layers are counted as by `Sequential.walk`, those of inner
networks one by one.  An argument that does not fit raises TypeError or ValueError; the message
names it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from . import _check as check
from .data.batching import gather
from .layers import BatchNorm1d, BatchNorm2d, Dropout, Module, Sequential, Sigmoid, Softmax

BATCH = 256  # images that are run at once
FAINT = 1e-4  # of the largest gradient: what rounding leaves where nothing depends on a pixel


class Exciting(NamedTuple):
    """Which images excite the maps of a layer most, see `most_exciting`."""

    images: np.ndarray
    values: np.ndarray
    boxes: np.ndarray


def saliency(net: Sequential, images: ArrayLike, targets: ArrayLike | None = None) -> np.ndarray:
    """How much the score of a class changes with each pixel of an image.

    The largest absolute value over the channels of the gradient of the score with respect to the
    image: Simonyan, Vedaldi, Zisserman, "Deep inside convolutional networks" (2014), section 3.1.
    The score is the output of the class, before a softmax or sigmoid that ends the network.

    Parameters
    ----------
    net : Sequential
        With outputs (N, K).
    images : array_like, shape (N, C, H, W) or (N, C, L)
        As the network takes them.  Bytes are divided by 255 first, unless it begins with
        `Normalize`; the gradient is with respect to the numbers that result.
    targets : array_like of int, shape (N,), optional
        Classes, by default those with the highest outputs.

    Returns
    -------
    ndarray of float32 or float64, shape (N, H, W) or (N, L)
        0 or more, in units of the score per unit of the pixel.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """
    layers = _scoring(net)
    x = _inputs(layers, images)
    _, gradient = _gradients(layers, 0, x, targets)
    return np.asarray(np.abs(gradient).max(axis=1))


def grad_cam(
    net: Sequential,
    images: ArrayLike,
    targets: ArrayLike | None = None,
    layer: int | None = None,
) -> np.ndarray:
    """Where in an image the evidence for a class lies: Grad-CAM.

    ReLU of the sum of the layer's maps, each times the mean of the gradient of the score over that
    map: Selvaraju and others, "Grad-CAM" (2017), equations 1 and 2.  The score is the output of the
    class, before a softmax or sigmoid that ends the network.

    Parameters
    ----------
    net : Sequential
        With outputs (N, K).
    images : array_like, shape (N, C, H, W)
    targets : array_like of int, shape (N,), optional
        Classes, by default those with the highest outputs.
    layer : int, optional
        Its outputs are the maps; by default the last layer that has maps of more than one pixel.

    Returns
    -------
    ndarray of float32 or float64, shape (N, P, Q)
        0 or more, for each pixel of the layer's maps.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """
    layers = _scoring(net)
    x = _inputs(layers, images)
    number = layer_with_maps(layers, x.shape[1:], layer)
    maps, gradient = _gradients(layers, number + 1, x, targets)
    weights = gradient.mean(axis=(2, 3), keepdims=True)
    return np.asarray(np.maximum((weights * maps).sum(axis=1), 0))


def most_exciting(
    net: Sequential,
    images: Any,
    layer: int | None = None,
    count: int = 9,
    maps: int | None = None,
) -> Exciting:
    """The images that a layer's maps answer to most, and where in them.

    The value of a map is its largest, after Zeiler and Fergus, "Visualizing and understanding
    convolutional networks" (2014), section 4.  The box of an image is the least rectangle of pixels
    outside of which the gradient of that value is 0.

    Parameters
    ----------
    net : Sequential
    images : array_like, shape (N, C, H, W), or what can be indexed as such
    layer : int, optional
        As for `grad_cam`.
    count : int
        So many images for each map, at most N.
    maps : int, optional
        So many of the layer's maps, the first ones; by default all K.

    Returns
    -------
    Exciting
        `images`, ndarray of int, (K, count), their indices, the highest value first; `values`,
        (K, count); `boxes`, ndarray of int, (K, count, 4), first row, first column, last row and
        last column of the box, each within it; -1 where nothing in the image changes the value.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """
    if not len(images):
        raise ValueError("images: expected at least one, got none")
    layers = _copied(net)
    most = min(check.whole(count, "count", 1), len(images))
    wanted = slice(None if maps is None else check.whole(maps, "maps", 1))
    first = _inputs(layers, gather(images, np.arange(1)))
    number = layer_with_maps(layers, first.shape[1:], layer)
    head = Sequential(*layers[: number + 1])
    values, places = [], []
    for begin in range(0, len(images), BATCH):
        x = _inputs(layers, gather(images, np.arange(begin, min(begin + BATCH, len(images)))))
        answers = head.eval()(x)[:, wanted]
        answers = answers.reshape(*answers.shape[:2], -1)
        values.append(answers.max(axis=2))
        places.append(answers.argmax(axis=2))
    highest, where = np.concatenate(values), np.concatenate(places)
    chosen = np.argsort(-highest, axis=0, kind="stable")[:most].T
    boxes = np.full((*chosen.shape, 4), -1)
    _ready_to_go_back(head)
    for k, rows in enumerate(chosen):
        dy = np.zeros_like(head(_inputs(layers, gather(images, rows))))
        dy.reshape(*dy.shape[:2], -1)[np.arange(most), k, where[rows, k]] = 1
        changes = np.abs(head.backward(dy)).max(axis=1)
        for place, change in enumerate(changes):
            there = np.argwhere(change > FAINT * change.max())
            if len(there):
                boxes[k, place] = *there.min(axis=0), *there.max(axis=0)
    return Exciting(chosen, np.take_along_axis(highest.T, chosen, axis=1), boxes)


def scores(net: Sequential, images: ArrayLike) -> np.ndarray:
    """The scores of the classes, (N, K): the outputs before a softmax or sigmoid that ends them."""
    layers = _scoring(net)
    return _rows(Sequential(*layers).eval()(_inputs(layers, images)))


def target_classes(targets: ArrayLike | None, scores: np.ndarray) -> np.ndarray:
    """Class numbers for scores (N, K), by default those of the highest; checked."""
    if targets is None:
        return np.asarray(scores.argmax(axis=1))
    chosen = check.real_array(targets, "targets")
    if chosen.dtype.kind not in "iu":
        raise TypeError(f"targets: expected class numbers, got {chosen.dtype}")
    check.same_shape(chosen, "targets", (len(scores),))
    if chosen.min() < 0 or chosen.max() >= scores.shape[1]:
        wrong = chosen.min() if chosen.min() < 0 else chosen.max()
        raise ValueError(f"targets: expected classes 0 to {scores.shape[1] - 1}, got {wrong}")
    return chosen


def layer_with_maps(
    layers: Sequence[Module], image_shape: Sequence[int], layer: int | None = None
) -> int:
    """The number of a layer, if its outputs are maps; by default the last with maps of some extent.

    Raises TypeError or ValueError if there is none.
    """
    shapes = Sequential(*layers).shapes(image_shape)[1:]
    known = [i for i, shape in enumerate(shapes) if len(shape) == 3]
    if layer is not None and check.whole(layer, "layer", 0) not in known:
        told = ", ".join(map(str, known)) or "no layer has any"
        raise ValueError(f"layer: expected the number of one with maps ({told}), got {layer}")
    if not known:
        raise ValueError("net: expected a layer with maps (C, H, W), but there is none")
    wide = [i for i in known if shapes[i][1] * shapes[i][2] > 1]
    return (wide or known)[-1] if layer is None else layer


def _copied(net: Sequential) -> list[Module]:
    if not isinstance(net, Sequential):
        raise TypeError(f"net: expected a Sequential, got {type(net).__name__}")
    try:
        copied = copy.deepcopy(net)
    except Exception as error:  # of whatever a layer of one's own holds
        raise TypeError(f"net: expected one that can be copied: {error}") from error
    return list(copied.walk())


def _scoring(net: Sequential) -> list[Module]:
    # copies of the layers up to the scores, which a softmax or a sigmoid would make probabilities
    layers = _copied(net)
    if net.ending is not None:
        ends = [i for i, layer in enumerate(layers) if isinstance(layer, (Softmax, Sigmoid))]
        layers = layers[: ends[-1]]
    return layers


def _inputs(layers: Sequence[Module], images: ArrayLike) -> np.ndarray:
    x = check.real_array(images, "images")
    if x.ndim < 3 or 0 in x.shape:
        raise ValueError(f"images: expected shape (N, C, H, W), got {x.shape}")
    return Sequential(*layers)._numbers(x)


def _ready_to_go_back(net: Sequential) -> None:
    # training mode, in which layers keep what gradients need, but for those that differ in it
    net.train()
    for _, layer in net.named_modules():
        if isinstance(layer, (Dropout, BatchNorm1d, BatchNorm2d)):
            layer.training = False


def _gradients(
    layers: Sequence[Module], split: int, x: np.ndarray, targets: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray]:
    # what goes into layer `split`, and the gradient of the targets' scores with respect to it
    here = Sequential(*layers[:split]).eval()(x) if split else x
    tail = Sequential(*layers[split:])
    _ready_to_go_back(tail)
    scores = _rows(tail(here))
    dy = np.zeros_like(scores)
    dy[np.arange(len(x)), target_classes(targets, scores)] = 1
    return here, np.asarray(tail.backward(dy))


def _rows(scores: np.ndarray) -> np.ndarray:
    if scores.ndim != 2:
        raise ValueError(f"net: expected outputs of shape (N, K), got {scores.shape}")
    return scores
