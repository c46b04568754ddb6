"""`Trainer`: gradient descent over a set of images, with a watch on a validation set."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .. import _check as check
from ..data.labelled import LabelledSet
from ..data.stream import Stream, divided, set_of
from ..layers import Module
from ..optim import ExponentialMovingAverage, Optimizer
from ..run.share import Group, agreed
from ..task import Task, task_of
from .backpropagation import inputs_of
from .callbacks import Callback, EarlyStopping, Moments, stopping_of
from .descent import Descent
from .history import Epoch, History
from .loop import Run
from .schedules import Pace, Schedule
from .scoring import named_by

BATCH_SIZE = 64  # where nothing is said


class Trainer(Descent):
    """Trains and evaluates a network.

    `save` and `resume` keep a training as a file, at any moment and exactly.

    A trainer can be pickled and copied with `copy.deepcopy`, also between two calls of `fit`: the
    copy has a network of its own and goes on as the original does, bit for bit.

    Parameters
    ----------
    net : Module
    loss : str, Loss or function (outputs, targets) -> (cost, gradient)
        "cross_entropy", "focal" and "binary_cross_entropy" (which take logits, the outputs before
        softmax or sigmoid), "hinge", "quadratic", "mse" or "huber"; `losses` makes those that have
        an option, such as ``losses.cross_entropy(label_smoothing=0.1)``.  For a network with
        several outputs one for each, in a dictionary by their names or a list in their order;
        targets come in the same form then, and several inputs in a tuple.
    optimizer : Optimizer or str, optional
        "sgd", "adam", "adamw", "rmsprop" or "muon" are those of `optim` with their own defaults;
        without one it is ``SGD(net, lr=0.05, momentum=0.9)``.
    seed : int or None
        For the order of the images, the split, dropout and augmentation; None is another one each
        time.  From the same first weights the same seed gives the same weights, bit for bit, at any
        number of threads.  The first weights are drawn before, when the layers are made: from their
        `rng`, or as `cnn_ext.seed` says.
    num_threads : int, optional
        Threads of the kernels while the trainer works; what is set for the process by default.
    task : str or Task, optional
        What the network is for, "classes", "labels", "probability", "numbers" or "pictures"; a
        `Task` may also name the classes and say what the outputs mean.  By default the task that
        the network has, else the one that loss and targets tell.  Class numbers and one-hot rows
        for several outputs are classes, other rows are classes for "cross_entropy", labels for
        "binary_cross_entropy", else numbers; a single output is a probability for
        "binary_cross_entropy", or if it is a sigmoid and all targets are 0 or 1, else a number.
        Training leaves it in ``net.task``.
    average : float or ExponentialMovingAverage, optional
        Average the weights along the way, with this decay, such as 0.999.  Validation, `evaluate`,
        `outputs` and `predict` of the trainer then take the averages; ``net`` keeps its own
        weights, also after `fit`, until ``trainer.average.copy_to()``, which belongs before the
        network is saved.
    loss_weights : mapping or sequence of float, optional
        What the cost of each output counts in their sum, by its name or number; 1 where nothing is
        said.
    group : Group, optional
        Several processes, each of which has an equal trainer and calls it in the same way, train
        one network together: each takes its part of every batch, and all have the same weights, to
        the last bit those that one process would have.  See `distributed`.
    precision : {"float32", "bfloat16"}
        With "bfloat16" convolutions and linear layers take activations, weights and gradients that
        are rounded to bfloat16; they add up in float32, and weights, updates, costs and statistics
        stay float32.  Validation and `evaluate` are in float32.  Where the CPU has no fast products
        of bfloat16 it is slower than float32, see docs/precision.md.

    Attributes
    ----------
    optimizer : Optimizer
    average : ExponentialMovingAverage or None
    epochs_begun : int
        How many epochs have begun in all calls of `fit`: what augmentation draws by.
    metrics : tuple of str
        Names of the metrics of the last call of `fit`.
    stop_training : bool
        Who sets it to True, at any moment and from any thread, ends `fit` before its next step, as
        Ctrl-C does; `fit` sets it back.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """

    def __init__(
        self,
        net: Module,
        loss: Any = "cross_entropy",
        optimizer: str | Optimizer | None = None,
        seed: int | None = 0,
        num_threads: int | None = None,
        task: str | Task | None = None,
        average: float | ExponentialMovingAverage | None = None,
        loss_weights: Mapping[Any, float] | Sequence[float] | None = None,
        group: Group | None = None,
        precision: str = "float32",
    ) -> None:
        super().__init__(
            net, loss, num_threads, task, loss_weights, optimizer, average, group, precision
        )
        self._kind_is_given = task_of(task).kind is not None
        # of the division into two parts, which nothing that is drawn in between may change
        try:
            self._split_seed = int(np.random.default_rng(seed).integers(2**63))
        except (TypeError, ValueError) as error:
            message = f"seed: expected a whole number from 0, or None, got {seed!r:.99}"
            raise type(error)(message) from None
        self._rng = np.random.default_rng(seed)
        self._seed = int(seed) if isinstance(seed, (int, np.integer)) else type(seed).__name__
        for layer in self._dropouts:
            layer.reseed(np.random.default_rng(self._rng.integers(2**63)))
        self.stop_training = False
        self.epochs_begun = 0
        self.metrics: tuple[str, ...] = ()

    def fit(
        self,
        x: Any,
        y: Any = None,
        epochs: int = 1,
        batch_size: int | None = None,
        validation_data: Any = None,
        validation_split: float = 0.0,
        schedule: str | Schedule | None = None,
        early_stopping: int | EarlyStopping | None = None,
        callbacks: Iterable[Callback | Callable[[Any, Epoch], Any]] = (),
        shuffle: bool = True,
        progress: bool = True,
        augment: Any = None,
        max_seconds: float | None = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        steps_per_epoch: int | None = None,
        accumulate: int = 1,
        checkpoint: str | os.PathLike[str] | None = None,
        every: str | int = "epoch",
        metrics: Any = None,
    ) -> History:
        """Train for some epochs, each one pass over all images.

        Ctrl-C ends the training: the network keeps its weights, all of them before a step or all
        after it, and the history of the epochs so far is returned, with `stopped` "interrupted".
        The network is left in evaluation mode, and its `input_shape` is that of the images, unless
        it has one.

        Parameters
        ----------
        x : array, memmap or anything that gives a batch for an array of indices, (N, C, H, W)
            `data.Shards`, `data.ImageFolder`, an ``h5py.Dataset`` and a ``zarr.Array`` are read
            ahead by threads and shuffled as suits the files.  Or, without `y`, an iterable of
            batches, ``(x, y)`` or ``(x, y, sample_weight)``, whose sizes and order are its own.
        y : array_like, shape (N,) of class numbers or (N, K) of targets
        epochs : int
        batch_size : int, optional
            64, if `x` is not batches itself.
        validation_data : (x, y), (x, y, sample_weight) or iterable of batches, optional
            Images that are never trained on, evaluated after each epoch.
        validation_split : float
            Or the part of the images, chosen at random, that is kept aside for that.  The choice
            follows from the trainer's seed and the number of images, so that the same part of
            them is never trained on, however often `fit` is called.
        schedule : "one-cycle", "cosine", "warm-up", another of `schedules` or a function, optional
            What to multiply the learning rate by in each step, see `schedules`.  Between steps
            `optimizer.lr` and the rates of groups are without that factor: who sets them, in a
            callback or elsewhere, scales all steps that follow, and it stays so after training.
        early_stopping : int or EarlyStopping, optional
            Stop after so many epochs without a lower validation cost, and take the best weights,
            and the buffers of that epoch; ``EarlyStopping(monitor=...)`` watches other figures.
        callbacks : Callback or function (trainer, epoch), any number of them, optional
            Functions are called after each epoch, a `Callback` also at other moments; training
            stops if one returns True.
        shuffle : bool
            Whether each epoch takes the images in a new random order.
        progress : bool
            Show how far training is, on standard error.
        augment : Transform or sequence of Transform, optional
            Changes the images that are trained on, see `augment`.  What an image becomes follows
            from the trainer's seed, `epochs_begun` and the image's number among those trained on.
            With mixed images the history's accuracy is that of the class that a target has most of.
        max_seconds : float, optional
            Training ends before the first step after so many seconds of `fit`, validation and
            callbacks included, with `stopped` "time"; an epoch that is cut short is validated and
            stands in the history.  The schedule takes the larger of the parts that are done, of
            `epochs` and of this time, so that it comes to its end.  The same seed then gives other
            weights each time, for the steps depend on the clock.
        sample_weight : array_like, shape (N,), optional
            How much the cost of each image counts, 0 or more: the cost is the sum of the weighted
            costs by the number of images.  Images that `validation_split` keeps aside take theirs
            along; accuracies are without weights.  Not with mixed images, nor with a cost function
            of your own.
        class_weight : mapping of int to float, or "balanced", optional
            How much the images trained on count by their class, 1 where nothing is said; or each
            class as much as any other, N / (K * images of the class) for the K classes that there
            are.  It multiplies `sample_weight`.
        steps_per_epoch : int, optional
            How many batches of an iterable are an epoch; the next epoch goes on behind them, and
            what can be gone through again begins anew at its end.  Without it an epoch is all
            batches, as many as the iterable's length tells.
        accumulate : int
            Make one step with the mean gradient of so many batches, and of those that are left at
            the end of an epoch.  The schedule and the average go on with each step.
        checkpoint : str or path, optional
            Save the training to this file, as `save` does: as `every` says, at its end, and where
            Ctrl-C or `max_seconds` ends it.
        every : "epoch" or int
            After each epoch, or after so many steps.
        metrics : sequence of str or function (targets, outputs) -> float, optional
            More figures of the validation images, see `evaluate`; the history has them, and
            callbacks may watch them, as "validation_NAME".

        Raises
        ------
        CostError
            If the cost becomes NaN or infinite, on the training or the validation images; the
            message says where, and the network has the last weights whose cost was finite.
        TypeError, ValueError
            If an argument does not fit, or is another one than in the training that was resumed;
            the message names it.
        OSError
            If the checkpoint cannot be written; the file that was there is whole.
        """
        epochs = check.whole(epochs, "epochs", 1)
        accumulate = check.whole(accumulate, "accumulate", 1)
        every = _interval(every, checkpoint)
        self._check_optimizer()
        self._check_learns()
        several = self._backpropagate.several
        whole = set_of(
            x, y, several, sample_weight, steps_per_epoch,
            batch_size=batch_size, class_weight=class_weight, checkpoint=checkpoint,
        )  # fmt: skip
        batch_size = BATCH_SIZE if batch_size is None else check.whole(batch_size, "batch_size", 1)
        training, validation = divided(
            whole, validation_data, validation_split, self._split_seed
        )  # fmt: skip
        if self.group is not None and isinstance(training, LabelledSet):
            training = training.for_ranks(self.group.size)
        if isinstance(validation, Stream) and validation.once and epochs > 1:
            raise ValueError(
                "validation_data: expected batches that one can go through after each epoch, got "
                f"{type(validation_data).__name__}"
            )
        transforms = None
        if augment is not None:
            from ..augment import for_training  # which most programs do without

            transforms = for_training(augment, training, None if several else self.loss.name)
        self._backpropagate.expect(training.y, self._kind_is_given)
        if class_weight is not None and isinstance(training, LabelledSet):
            training.weights = self._weighted_by_class(class_weight, training)
        if training.weights is not None and transforms and transforms.mixing:
            raise ValueError(
                f"sample_weight, class_weight: expected None with images that are mixed by "
                f"{transforms.mixing!r}"
            )
        if metrics is not None and validation is None:
            raise ValueError("metrics: expected validation_data or validation_split with them")
        self.metrics = named_by(self._scores(metrics))
        run = Run(
            self, training, validation, transforms,
            Moments(callbacks, stopping_of(early_stopping, validation is not None)),
            Pace(schedule, epochs, max_seconds),
            batch_size, accumulate, shuffle, progress, checkpoint, every, metrics,
        )  # fmt: skip
        if self._resumed is not None:
            from .checkpoint import expect_same

            expect_same(run, self._resumed)
        if self.group is not None:
            from .ranks import expect_equal  # which most trainings do without

            expect_equal(run)
        return run.go()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all that training depends on to a safetensors file, whole or not at all.

        It may be called between two steps: in callbacks, and before, after and between calls of
        `fit`.  After one that Ctrl-C, `stop_training` or `max_seconds` ended, the file has the
        training as it was then, whatever has been changed since.  Of a group all ranks call it, and
        rank 0 writes.

        Parameters
        ----------
        path : str or path
            Replaced only when the new file is complete and on the disk.

        Raises
        ------
        RuntimeError
            If it is called within a step.
        TypeError
            If the state of a callback is not of plain data and arrays.
        ValueError
            If a weight is not finite, or the average stands in the place of the weights.
        OSError
            If the file cannot be written; an old one is then still there.
        """
        from .checkpoint import save  # which most trainings do without

        if self._stepping:
            raise RuntimeError("save: expected a call between two steps, got one within a step")
        error = None
        if self.group is None or self.group.rank == 0:
            try:
                save(self, path)
            except Exception as raised:
                error = raised
        if agreed(self.group, error is not None):
            raise error or OSError(f"rank 0 could not write {os.fspath(path)}")

    def resume(self, path: str | os.PathLike[str]) -> None:
        """Become what the trainer was that was saved; the next `fit` goes on where it was.

        Network, loss, optimizer, average and seed must be those of the trainer that was saved.
        If that was within a `fit`, the next one takes the same images and arguments, and does what
        is left, bit for bit as if nothing had happened, at any number of threads; its history has
        the epochs before too.  `epochs` and `max_seconds` may be others where the schedule is
        constant.

        Parameters
        ----------
        path : str or path

        Raises
        ------
        RuntimeError
            If it is called within `fit`.
        ValueError
            If the file is damaged, no checkpoint, or one of another trainer; the message says what
            is different, and nothing has changed.
        OSError
            If it cannot be read.
        """
        from .checkpoint import resume

        if self._run is not None or self._stepping:
            raise RuntimeError("resume: expected a call between two calls of fit")
        self._check_optimizer()
        resume(self, path)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_run": None}  # a copy has no call of `fit` under way

    def _weighted_by_class(self, class_weight: Any, training: LabelledSet) -> np.ndarray:
        shapes = [part.shape[1:] for part in inputs_of(training[np.arange(1)])]
        shape = (len(training), *self.net.output_shape(*shapes))
        weights = self._backpropagate.by_class(class_weight, training.y, shape)
        return weights if training.weights is None else weights * training.weights


def _interval(every: str | int, checkpoint: Any) -> str | int:
    # how often to save, once there is a place for it
    if checkpoint is None:
        if every != "epoch":
            raise ValueError(f"every: expected 'epoch' without a checkpoint, got {every!r:.99}")
        return every
    try:
        folder, name = os.path.split(os.path.realpath(checkpoint))
    except TypeError:
        raise TypeError(f"checkpoint: expected a path, got {type(checkpoint).__name__}") from None
    if not os.path.isdir(folder) or os.path.isdir(os.path.join(folder, name)):
        raise ValueError(
            f"checkpoint: expected a file in a folder that there is, got {checkpoint!r:.99}"
        )
    if every == "epoch":
        return every
    if isinstance(every, str):
        raise ValueError(f"every: expected 'epoch' or a number of steps, got {every!r:.99}")
    return check.whole(every, "every", 1)
