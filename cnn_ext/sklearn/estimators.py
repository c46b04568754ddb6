"""`CNNClassifier` and `CNNRegressor`."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets

from .. import ops
from ..layers import Linear, Module, Sequential
from ..task import Task
from .network import ATTRIBUTES, PARAMETERS, Network


class CNNClassifier(ClassifierMixin, Network):
    __doc__ = f"""A network that tells classes, trained by cross-entropy.
{PARAMETERS}    class_weight : dict of label to float, or "balanced", optional
        How much the images of each class count, 1 where nothing is said; or each class as much as
        any other.  It multiplies `sample_weight`.
{ATTRIBUTES}    classes_ : ndarray, shape (K,)
        The labels, in the order of the outputs.
    """

    _loss = "cross_entropy"

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
        class_weight: Any = None,
        num_threads: int | None = None,
        verbose: bool = False,
    ) -> None:
        super().__init__(
            architecture,
            image_shape,
            solver=solver,
            learning_rate_init=learning_rate_init,
            learning_rate=learning_rate,
            momentum=momentum,
            alpha=alpha,
            batch_size=batch_size,
            max_iter=max_iter,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            tol=tol,
            warm_start=warm_start,
            random_state=random_state,
            num_threads=num_threads,
            verbose=verbose,
        )
        self.class_weight = class_weight

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train for one epoch on these images; the first call makes the network.

        Parameters
        ----------
        X, y
            As for `fit`.  `Normalize` keeps mean and deviation of the first call.
        classes : array_like, optional
            All labels there will be, needed in the first call.
        sample_weight : array_like, shape (N,), optional
            What the cost of each image is multiplied by.
        """
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight: partial_fit takes weights, not {self.class_weight!r:.99}, which "
                "needs all images at once"
            )
        if not hasattr(self, "net_"):
            if classes is None:
                raise ValueError("classes: expected all labels in the first call of partial_fit")
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(f"classes: expected {self.classes_} as before, got {classes!r:.99}")
        return self._partial_fit(X, y, classes, sample_weight)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes, (N, K), in the order of `classes_`."""
        p: np.ndarray = ops.softmax(self._outputs(X).astype(np.float64))
        return p

    def decision_function(self, X: Any) -> np.ndarray:
        """The outputs before softmax, (N, K); of two classes their difference, (N,)."""
        z = self._outputs(X)
        return z[:, 1] - z[:, 0] if z.shape[1] == 2 else z

    def predict(self, X: Any) -> np.ndarray:
        """The likeliest label of each image, (N,)."""
        numbers = self._outputs(X).argmax(axis=1)
        return np.asarray(self.classes_[numbers])

    def _know(self, y: np.ndarray) -> None:
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise ValueError("y: expected two classes or more, got 1 class")

    def _targets(self, y: np.ndarray) -> np.ndarray:
        numbers = np.searchsorted(self.classes_, y).clip(max=len(self.classes_) - 1)
        if not np.array_equal(self.classes_[numbers], y):
            raise ValueError(f"y: expected labels among the classes {self.classes_}")
        return numbers

    def _weights(self, given: Any, images: np.ndarray, y: np.ndarray) -> np.ndarray | None:
        weights = super()._weights(given, images, y)
        if self.class_weight is None:
            return weights
        by_class = compute_sample_weight(self.class_weight, y)
        return by_class if weights is None else by_class * weights

    def _outputs_for(self) -> int:
        return len(self.classes_)

    def _task(self) -> Task:
        return Task("classes", classes=[str(label) for label in self.classes_])


class CNNRegressor(RegressorMixin, Network):
    __doc__ = f"""A network that tells numbers, trained by the mean squared error.

    It learns targets brought to mean 0 and deviation 1, in which unit its costs are; the last step
    of `net_` brings its outputs back.
{PARAMETERS}{ATTRIBUTES}    """

    _loss = "mse"
    _y_options: ClassVar = {"multi_output": True, "y_numeric": True}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one epoch on these images; the first call makes the network.

        Parameters
        ----------
        X, y
            As for `fit`.  Means and deviations of both are kept from the first call.
        sample_weight : array_like, shape (N,), optional
            What the cost of each image is multiplied by.
        """
        return self._partial_fit(X, y, None, sample_weight)

    def predict(self, X: Any) -> np.ndarray:
        """The numbers for each image, (N,) or (N, K) as `y` was."""
        outputs = self._outputs(X).astype(np.float64)
        return outputs if self._several else outputs[:, 0]

    def _know(self, y: np.ndarray) -> None:
        self._several = y.ndim > 1
        columns = _columns(y)
        deviation = columns.std(0)
        self._unit = columns.mean(0), np.where(deviation > 0, deviation, 1.0)

    def _targets(self, y: np.ndarray) -> np.ndarray:
        mean, deviation = self._unit
        columns = _columns(y)
        if columns.shape[1] != len(mean):
            raise ValueError(f"y: expected {len(mean)} numbers for each image, got {y.shape}")
        return ((columns - mean) / deviation).astype(np.float32)

    def _outputs_for(self) -> int:
        return len(self._unit[0])

    def _task(self) -> Task:
        return Task("numbers")

    def _whole(self, net: Module) -> Module:
        mean, deviation = self._unit
        last = Linear(len(mean), len(mean))
        for parameter, numbers in zip(last.parameters(), (np.diag(deviation), mean), strict=True):
            parameter.data[...] = numbers
            parameter.trainable = False
        whole = Sequential(net, last)
        whole.input_shape = net.input_shape
        return whole.eval()


def _columns(y: np.ndarray) -> np.ndarray:
    return np.asarray(y, np.float64).reshape(len(y), -1)
