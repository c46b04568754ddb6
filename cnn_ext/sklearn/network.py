"""What the estimators share: the images of `X`, the network, its training, its files."""

from __future__ import annotations

import inspect
import math
import os
import threading
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Self

import numpy as np
from joblib.parallel import get_active_backend
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from .. import _check as check
from .. import architectures
from .._dispatch import threads
from ..layers import Linear, Module, Normalize, ReLU, Sequential
from ..layers.as_graph import graph_of
from ..layers.sequential import module_of
from ..optim import OPTIMIZERS
from ..task import Task
from ..training.callbacks import EarlyStopping
from ..training.evaluator import Evaluator
from ..training.history import History
from ..training.trainer import Trainer

HIDDEN = 100  # of the network for rows of features
PARAMETERS = """
    Parameters
    ----------
    architecture : str, list of dict, or function
        "auto" is "tiny" for images, and for rows of features one hidden layer of 100 with ReLU.
        Else a name of `architectures.ARCHITECTURES`, a list of layers as `Sequential.from_config`
        takes it, or a function (input_shape, outputs) or (input_shape, outputs, rng) that returns a
        Module; weights drawn from `rng` follow from `random_state`.
    image_shape : (H, W) or (C, H, W), optional
        Of the image that each row of `X` is.
    solver : str
        "sgd", "adam", "adamw", "rmsprop" or "muon".
    learning_rate_init : float
    learning_rate : str or function
        One of `schedules`, such as "cosine"; `partial_fit` takes no heed.
    momentum : float
        Of "sgd".
    alpha : float
        Weight decay.
    batch_size : int
    max_iter : int
        Epochs of `fit`.
    early_stopping : bool
        Keep a part of the images aside, stop when their cost no longer falls, and take the weights
        of the best epoch.
    validation_fraction, n_iter_no_change, tol
        That part, how many epochs in a row may bring nothing, and what counts as less.
    warm_start : bool
        Whether `fit` goes on from the weights of the fit before, with a new optimizer.
    random_state : int, RandomState or None
        For first weights, order of images and dropout.
    num_threads : int, optional
        Threads of the kernels.  By default those of the process, and 1 in a task that joblib runs
        beside others on a thread; processes of joblib get their share from it.
    verbose : bool
        Show how far training is, on standard error.
"""
ATTRIBUTES = """
    Attributes
    ----------
    net_ : Module
        The network, from raw numbers, which its first step standardises, to the outputs.
    history_ : History
        All epochs.
    loss_curve_ : list of float
    n_iter_ : int
    n_features_in_ : int
        Numbers of one image or row.
"""


class Network(BaseEstimator):
    """What both estimators share: images of `X`, the network, and its training."""

    _loss: str

    def __init__(
        self,
        architecture: Any = "auto",
        image_shape: Any = None,
        *,
        solver: str = "adam",
        learning_rate_init: float = 0.005,
        learning_rate: Any = "constant",
        momentum: float = 0.9,
        alpha: float = 1e-4,
        batch_size: int = 32,
        max_iter: int = 30,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        tol: float = 1e-4,
        warm_start: bool = False,
        random_state: Any = None,
        num_threads: int | None = None,
        verbose: bool = False,
    ) -> None:
        self.architecture = architecture
        self.image_shape = image_shape
        self.solver = solver
        self.learning_rate_init = learning_rate_init
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.alpha = alpha
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.random_state = random_state
        self.num_threads = num_threads
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    # --------------------------------------------------------------------------------- training

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train a network for `max_iter` epochs.

        Parameters
        ----------
        X : array_like, shape (N, H, W), (N, C, H, W) or (N, F)
            Images or rows of numbers, in any unit: the network begins with `Normalize`, fitted to
            them.
        y : array_like, shape (N,)
            Labels of any type, or numbers; of a regression (N, K) too.
        sample_weight : array_like, shape (N,), optional
            How much the cost of each image counts beside the others'; 0 leaves it out.

        Returns
        -------
        The estimator.

        Raises
        ------
        TypeError, ValueError
            If an argument of the call or of the estimator does not fit.
        CostError
            If the cost becomes NaN or infinite.
        """
        on = self.warm_start and hasattr(self, "net_")
        images, y = self._training_set(X, y, not on)
        if not on:
            self._know(y)
        targets = self._targets(y)
        weights = self._weights(sample_weight, images, y)
        if weights is not None and weights.any():
            kept = weights != 0
            images, targets, weights = images[kept], targets[kept], weights[kept]
            weights = weights / np.abs(weights).mean()  # so the learning rate keeps its meaning
        self._begin(images, self._trainer.net if on else None)
        stopping: dict[str, Any] = {}
        if self.early_stopping:
            rule = EarlyStopping(self.n_iter_no_change, self.tol)
            stopping = {"validation_split": self.validation_fraction, "early_stopping": rule}
        return self._train(
            images, targets, weights,
            epochs=self.max_iter, schedule=self.learning_rate, **stopping,
        )  # fmt: skip

    def _partial_fit(self, X: Any, y: Any, known: Any, sample_weight: Any) -> Self:
        first = not hasattr(self, "net_")
        images, y = self._training_set(X, y, first)
        if first:
            self._know(y if known is None else known)
        targets = self._targets(y)
        weights = self._weights(sample_weight, images, y)
        if first:
            self._begin(images)
        return self._train(images, targets, weights, epochs=1)

    def _weights(self, given: Any, images: np.ndarray, y: np.ndarray) -> np.ndarray | None:
        if given is None:
            return None
        weights: np.ndarray = _check_sample_weight(given, images, dtype=np.float64)
        return weights

    def _begin(self, images: np.ndarray, net: Module | None = None) -> None:
        # a trainer, for a new network if there is none
        if self.solver not in OPTIMIZERS:
            raise ValueError(
                f"solver: expected one of {', '.join(OPTIMIZERS)}, got {self.solver!r:.99}"
            )
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        fresh = net is None
        if net is None:
            body = self._network(images.shape[1:], self._outputs_for(), np.random.default_rng(seed))
            net = Sequential(Normalize().fit(images), body)
        options: dict[str, Any] = {"momentum": self.momentum} if self.solver == "sgd" else {}
        optimizer = OPTIMIZERS[self.solver](
            net, lr=self.learning_rate_init, weight_decay=self.alpha, **options
        )
        self._trainer = Trainer(net, self._loss, optimizer, seed, task=self._task())
        if fresh:
            net.input_shape = images.shape[1:]
            self.net_ = self._whole(net)
            self.history_ = History()

    def _train(self, images: np.ndarray, targets: np.ndarray, weights: Any, **options: Any) -> Self:
        with self._threads():
            new = self._trainer.fit(
                images, targets,
                sample_weight=weights,
                batch_size=self.batch_size, progress=bool(self.verbose), **options,
            )  # fmt: skip
        for epoch in new:
            epoch.number = len(self.history_) + 1
            self.history_.append(epoch)
        self.history_.stopped = new.stopped
        self.n_iter_ = len(self.history_)
        self.loss_curve_ = self.history_["cost"]
        self.net_.task = self._trainer.task
        return self

    def _network(self, shape: tuple[int, ...], outputs: int, rng: np.random.Generator) -> Module:
        given = self.architecture
        rows = len(shape) == 1
        if isinstance(given, str) and given == "auto" and rows:
            simple = Sequential(Linear(shape[0], HIDDEN), ReLU(), Linear(HIDDEN, outputs))
            simple.initialize("he", rng)
            return simple
        if isinstance(given, str):
            if rows:
                raise ValueError(
                    f"architecture: {given!r} takes images; expected image_shape=(H, W) or "
                    "(C, H, W) with rows of numbers"
                )
            name = "tiny" if given == "auto" else given
            if name not in architectures.ARCHITECTURES:
                known = ", ".join(("auto", *architectures.ARCHITECTURES))
                raise ValueError(f"architecture: expected one of {known}, got {given!r}")
            return architectures.build(name, (shape[0], shape[1], shape[2]), outputs, rng=rng)
        if callable(given):
            with_rng = {"rng": rng} if "rng" in inspect.signature(given).parameters else {}
            net = given(shape, outputs, **with_rng)
        else:
            net = module_of(given, rng=rng, initializer="he")
        if not isinstance(net, Module):
            raise TypeError(f"architecture: expected a Module of it, got {type(net).__name__}")
        if net.output_shape(shape) != (outputs,):
            raise ValueError(
                f"architecture: expected {outputs} outputs, got shape {net.output_shape(shape)}"
            )
        return net

    def _threads(self) -> AbstractContextManager[None]:
        # joblib tells its processes their share, but not its threads, nor all that are forked
        number = self.num_threads
        if number is None and getattr(get_active_backend()[0], "nesting_level", None):
            in_thread = threading.current_thread() is not threading.main_thread()
            number = 1 if in_thread or "OMP_NUM_THREADS" not in os.environ else None
        return threads(number)

    # ------------------------------------------------------------------------------------- data

    def _training_set(self, X: Any, y: Any, first: bool) -> tuple[np.ndarray, np.ndarray]:
        rows, shape = self._rows(X)
        rows, y = validate_data(
            self, rows, y, reset=first, dtype=[np.float32, np.uint8], **self._y_options
        )
        if first:
            self._shape = self._shape_of(rows.shape[1], shape)
        return self._images(rows, shape), y

    def _rows(self, X: Any) -> tuple[Any, tuple[int, ...] | None]:
        # images as rows, and the shape they had
        given = np.asarray(X) if isinstance(X, (list, tuple)) else X
        shape: tuple[int, ...] = getattr(given, "shape", ())
        if len(shape) not in (3, 4):
            return X, None
        return np.asarray(given).reshape(shape[0], math.prod(shape[1:])), _of_image(shape[1:])

    def _shape_of(self, features: int, shape: tuple[int, ...] | None) -> tuple[int, ...]:
        # of what the network takes
        if self.image_shape is None:
            return (features,) if shape is None else shape
        if not check.is_list(self.image_shape):
            raise TypeError(
                f"image_shape: expected (H, W) or (C, H, W), got {self.image_shape!r:.99}"
            )
        wanted = _of_image(tuple(check.whole(size, "image_shape", 1) for size in self.image_shape))
        if len(wanted) != 3 or math.prod(wanted) != features or shape not in (None, wanted):
            raise ValueError(
                f"image_shape: got {self.image_shape} for "
                + (f"rows of {features} numbers" if shape is None else f"images {shape}")
            )
        return wanted

    def _images(self, rows: np.ndarray, shape: tuple[int, ...] | None) -> np.ndarray:
        if shape not in (None, self._shape):
            raise ValueError(f"X: expected images {self._shape} as in the first fit, got {shape}")
        return np.ascontiguousarray(rows).reshape(len(rows), *self._shape)

    def _outputs(self, X: Any) -> np.ndarray:
        check_is_fitted(self, "net_")
        rows, shape = self._rows(X)
        rows = validate_data(self, rows, reset=False, dtype=[np.float32, np.uint8])
        with self._threads():
            evaluator = Evaluator(self.net_, self._loss, None, None)
            return np.asarray(evaluator.outputs(self._images(rows, shape)))

    # ------------------------------------------------------------------------------------ files

    def export_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write the network as an ONNX file, from raw images to outputs, see `onnx.export`."""
        from .. import onnx

        check_is_fitted(self, "net_")
        onnx.export(self.net_, path, self._shape)

    def export_c(self, path: str | os.PathLike[str], name: str | None = None) -> None:
        """Write the network as a C file and its header, see `c.write_c`."""
        from ..c import write_c

        check_is_fitted(self, "net_")
        write_c(graph_of(self.net_, self._shape), path, name)

    # ------------------------------------------------------------------- what the estimators are

    _y_options: ClassVar[dict[str, Any]] = {}

    def _know(self, y: np.ndarray) -> None:
        raise NotImplementedError

    def _targets(self, y: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _outputs_for(self) -> int:
        raise NotImplementedError

    def _task(self) -> Task:
        raise NotImplementedError

    def _whole(self, net: Module) -> Module:
        return net


def _of_image(shape: tuple[int, ...]) -> tuple[int, ...]:
    # (H, W) is one channel
    return (1, *shape) if len(shape) == 2 else tuple(shape)
