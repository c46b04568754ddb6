"""Training as the options say, and as `training.defaults` says where they leave it open."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import numpy as np

from ..architectures import whiten
from ..data.dataset import Dataset, some_of, stratified_split
from ..layers import Normalize, Sequential
from ..run.share import Group
from ..task import Task
from ..training import losses
from ..training.callbacks import EarlyStopping
from ..training.defaults import DECAYS, MOMENTUM, defaults_for, first_rate, normalized, tried_rate
from ..training.history import History
from ..training.trainer import Trainer
from ._augment import transforms
from ._files import Shape
from ._network import network
from ._optimizer import optimizer
from ._options import UsageError

WHITENED = 5000  # images whose patches are looked at
NEVER = 2**31 - 1  # epochs of patience


def check(arguments: argparse.Namespace) -> None:
    """Find out before there are data whether the options fit together.

    Raises
    ------
    UsageError
        If they do not.
    """
    if arguments.momentum is not None and arguments.optimizer not in MOMENTUM:
        raise UsageError(f"argument --momentum: {arguments.optimizer} has none")


class Training:
    """A trainer and its data.  What the options leave open is filled in, so that they say all.

    Parameters
    ----------
    arguments : Namespace
        With the options of `add_training`.
    data : Dataset
    group : Group, optional
        Of the processes that train together.

    Raises
    ------
    UsageError
        If options and data do not fit together.
    """

    def __init__(
        self, arguments: argparse.Namespace, data: Dataset, group: Group | None = None
    ) -> None:
        self.arguments = arguments
        there = np.bincount(data.y_train, minlength=len(data.classes)) > 0
        if there.sum() < 2:
            found = [data.classes[i] for i in np.flatnonzero(there)]
            raise UsageError(
                "argument --data: expected images of two classes or more to learn from, "
                f"{arguments.data} has {f'those of {found[0]} alone' if found else 'none'}"
            )
        self.shape: Shape = data.x_train.shape[1:]
        self._settle(data)
        self.data = self._divided(data)
        net = self.net = self._network()
        rate = arguments.lr or first_rate(net, arguments.optimizer, arguments.batch_size)
        self.trainer = Trainer(
            net,
            losses.cross_entropy(arguments.label_smoothing),
            optimizer(net, arguments, rate),
            arguments.seed,
            arguments.threads,
            Task("classes", classes=data.classes),
            arguments.average,
            group=group,
            precision=arguments.precision,
        )
        net.input_shape = self.shape
        if arguments.lr is None:
            x, y = self.data.x_train, self.data.y_train
            arguments.lr = tried_rate(self.trainer, x, y, arguments.batch_size)
            self.trainer.optimizer.lr = arguments.lr

    def _settle(self, data: Dataset) -> None:
        arguments = self.arguments
        chosen = defaults_for(len(data.x_train), self.shape)
        watched = data.x_val is not None
        if watched and arguments.validation_split:
            raise UsageError("argument --validation-split: the data have a validation part already")
        for name, value in {
            "arch": chosen.arch,
            "epochs": chosen.epochs,
            "batch_size": chosen.batch_size,
            "augment": "mild" if chosen.augment else "none",
            "validation_split": 0.0 if watched else chosen.validation_split,
            "weight_decay": DECAYS[arguments.optimizer],
            "momentum": MOMENTUM.get(arguments.optimizer),
            "label_smoothing": 0.0,
            "threads": chosen.threads,
        }.items():
            if getattr(arguments, name) is None:
                setattr(arguments, name, value)
        if arguments.early_stopping and not (watched or arguments.validation_split):
            raise UsageError("argument --early-stopping: needs --validation-split")

    def _divided(self, data: Dataset) -> Dataset:
        if not self.arguments.validation_split:
            return data
        train, val = stratified_split(data.y_train, self.arguments.validation_split)
        if not len(val) or not len(train):
            raise UsageError(
                f"argument --validation-split: {len(data.y_train)} images have no such part"
            )
        x, y = data.x_train, data.y_train
        return replace(
            data, x_train=some_of(x, train), y_train=y[train], x_val=some_of(x, val), y_val=y[val]
        )

    def _network(self) -> Sequential:
        arguments = self.arguments
        rng = np.random.default_rng(arguments.seed)
        classes = len(self.data.classes)
        net = network(arguments.arch, self.shape, classes, arguments.initializer, rng)
        if arguments.normalize is None:
            begins = isinstance(next(net.walk(), None), Normalize)
            arguments.normalize = not (begins or arguments.whiten)
        if arguments.whiten:
            if arguments.normalize:
                raise UsageError("argument --whiten: takes the place of --normalize")
            _whiten(net, self.data.x_train, rng)
        return normalized(net, self.data.x_train) if arguments.normalize else net

    def __str__(self) -> str:
        arguments, data = self.arguments, self.data
        C, H, W = self.shape
        watched = 0 if data.x_val is None else len(data.x_val)
        weights = sum(parameter.data.size for parameter in self.net.parameters())
        return (
            f"{len(data.x_train)} images of {C} x {H} x {W} in {len(data.classes)} classes"
            f"{f', {watched} to watch training' if watched else ''}, {len(data.x_test)} for the "
            f"test; {arguments.arch} with {weights:,} parameters; {arguments.epochs} epochs in "
            f"batches of {arguments.batch_size}, {arguments.optimizer} with a rate of "
            f"{arguments.lr:.3g}, {arguments.schedule}, augmentation {arguments.augment}"
        )

    def fit(self, checkpoint: str | None = None) -> History:
        """Train; the network then has its best weights, or the averages of those.

        Parameters
        ----------
        checkpoint : str, optional
            File to which the training is saved after each epoch.

        Raises
        ------
        CostError
            If the cost becomes NaN or infinite.
        """
        arguments, data = self.arguments, self.data
        watched = data.x_val is not None
        history = self.trainer.fit(
            data.x_train,
            data.y_train,
            arguments.epochs,
            arguments.batch_size,
            validation_data=(data.x_val, data.y_val) if watched else None,
            schedule=arguments.schedule,
            early_stopping=EarlyStopping(arguments.early_stopping or NEVER) if watched else None,
            checkpoint=checkpoint,
            progress=not arguments.quiet,
            augment=transforms(arguments.augment, self.shape),
            max_seconds=arguments.max_seconds,
            class_weight=arguments.class_weight,
        )
        if self.trainer.average is not None and self.trainer.average.updates:
            self.trainer.average.copy_to()
        return history


def _whiten(net: Sequential, images: Any, rng: np.random.Generator) -> None:
    chosen = np.sort(rng.permutation(len(images))[:WHITENED])
    try:
        whiten(net, images[chosen])
    except ValueError as error:
        raise UsageError(f"argument --whiten: {error}") from error
