"""Search for the options with which some data are learned best.

Each trial is a whole training; what it is worth is the accuracy on the validation part, and the
images for the test are not looked at. Options that are given stay; learning rate, weight decay,
batch size, augmentation and label smoothing are searched where they are not. Ctrl-C ends the
search; the best options so far are written.
"""

from __future__ import annotations

import argparse
import csv
import io
import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any, NamedTuple

from .._dispatch import get_num_threads
from .._files import atomic_write
from ..data.dataset import Dataset
from ..training.defaults import defaults_for
from ..training.descent import CostError
from ..training.history import Epoch
from ._config import add_config, to_toml
from ._files import check_output, load_for_training
from ._options import UsageError, say, whole
from ._search import SAMPLERS, Options, Score, space_of
from ._train_options import add_training
from ._training import Training, check

SHARE = 0.2  # of the images for validation, where the defaults would take none


SHOWN = ("lr", "weight_decay", "batch_size", "augment", "label_smoothing")


class Trial(NamedTuple):
    """What a trial was and what it brought."""

    number: int
    options: argparse.Namespace  # all of them
    score: Score | None  # None if the cost was not finite
    seconds: float
    interrupted: bool

    def beats(self, other: Trial | None) -> bool:
        """Whether it is the better one; one that failed never is."""
        if self.score is None:
            return False
        return other is None or other.score is None or self.score > other.score

    def __str__(self) -> str:
        options = ", ".join(f"{name} {getattr(self.options, name)}" for name in SHOWN)
        if self.score is None:
            return f"the cost is not finite; {options}"
        accuracy, cost = self.score
        return f"validation accuracy {100 * accuracy:.2f} %, cost {-cost:.4f}; {options}"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--trials", type=whole(1), default=20, metavar="N", help="how many trainings (default: 20)"
    )
    parser.add_argument(
        "--sampler",
        choices=SAMPLERS,
        default="random",
        help="who chooses the options of the next trial; optuna, which learns from those before, "
        "needs cnn_ext[tune] (default: random)",
    )
    parser.add_argument(
        "--jobs",
        type=whole(1, 256),
        default=1,
        metavar="N",
        help="trials at the same time, in processes of their own that share the threads "
        "(default: 1)",
    )
    parser.add_argument(
        "--out",
        metavar="FILE.toml",
        default="tuned.toml",
        help="file for the best options, which train --config takes; a table of all trials is "
        "beside it, tuned.csv (default: tuned.toml)",
    )
    parser.add_argument(
        "--quiet",
        action=argparse.BooleanOptionalAction,
        help="show only the result, not each trial (default: show them)",
    )
    add_training(parser)
    add_config(parser)


def run(arguments: argparse.Namespace) -> int:
    check(arguments)
    if Path(arguments.out).suffix != ".toml":
        raise UsageError(f"argument --out: expected a name that ends in .toml, got {arguments.out}")
    table = str(Path(arguments.out).with_suffix(".csv"))
    for path in (arguments.out, table):
        check_output("--out", path)
    data = load_for_training(arguments)
    shape = data.x_train.shape[1:]
    if data.x_val is None and arguments.validation_split is None:
        share = defaults_for(len(data.x_train), shape).validation_split
        arguments.validation_split = share or SHARE
    if data.x_val is None and not arguments.validation_split:
        raise UsageError("argument --validation-split: a search needs such a part, got 0")
    space = space_of(arguments, shape)
    if not space:
        raise UsageError("nothing to search: all options that are searched are given")
    done: list[Trial] = []
    best: Trial | None = None
    with suppress(KeyboardInterrupt), _workers(arguments, data) as trials:
        for trial in trials(SAMPLERS[arguments.sampler](space, arguments.seed), arguments.trials):
            if trial.interrupted:
                break
            done.append(trial)
            if trial.beats(best):
                with atomic_write(arguments.out) as file:
                    file.write(to_toml(trial.options))
                best = trial
            with atomic_write(table) as file:
                file.write(_table(done))
            if not arguments.quiet:
                say(f"trial {trial.number}/{arguments.trials}: {trial}")
    written = f"options written to {arguments.out}" if best else "no options were written"
    if len(done) < arguments.trials:
        raise KeyboardInterrupt(f"after {len(done)} trials, {written}")
    if best is None:
        raise CostError(f"the cost is not finite in any trial; {written}")
    print(f"best of {len(done)} trials, number {best.number}: {best}; {written}")
    return 0


# ------------------------------------------------------------------------------------- the trials

_DATA: Dataset | None = None  # of a process that works for the search


@contextmanager
def _workers(arguments: argparse.Namespace, data: Dataset) -> Iterator[Callable[..., Any]]:
    """What runs trials: this process, or some others."""
    if arguments.jobs == 1:
        yield lambda sampler, count: _here(arguments, data, sampler, count)
        return
    plain = _plain(arguments)
    plain.threads = arguments.threads or max(1, get_num_threads() // arguments.jobs)
    others = multiprocessing.active_children()
    over = Event()
    keepers: list[Thread] = []

    def trials(sampler: Any, count: int) -> Iterator[Trial]:
        # the pool's locks are held in another thread alone, where no interrupt comes
        found: SimpleQueue[Trial | BaseException | None] = SimpleQueue()
        work = plain, sampler, count, arguments.jobs, over, found
        keepers.append(Thread(target=_keep, args=work, daemon=True))
        keepers[0].start()
        while (trial := found.get()) is not None:
            if isinstance(trial, BaseException):
                raise trial
            yield trial

    try:
        yield trials
    finally:
        over.set()
        while any(keeper.is_alive() for keeper in keepers):
            for child in {*multiprocessing.active_children()} - {*others}:
                child.terminate()
            keepers[0].join(0.05)


def _here(
    arguments: argparse.Namespace, data: Dataset, sampler: Any, count: int
) -> Iterator[Trial]:
    for _ in range(count):
        number, options = sampler.ask()
        trial = _trial(arguments, data, number, options)
        sampler.tell(number, trial.score)
        yield trial


def _keep(
    plain: argparse.Namespace,
    sampler: Any,
    count: int,
    jobs: int,
    over: Event,
    found: SimpleQueue[Trial | BaseException | None],
) -> None:
    # give trials to processes and tell of each that is done, until it is over
    waiting: set[Future[Trial]] = set()
    asked = 0
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(jobs, context, _begin, (plain,)) as pool:
            while not over.is_set() and (asked < count or waiting):
                while asked < count and len(waiting) < jobs:
                    number, options = sampler.ask()
                    waiting.add(pool.submit(_work, plain, number, options))
                    asked += 1
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    trial = future.result()
                    sampler.tell(trial.number, trial.score)
                    found.put(trial)
        found.put(None)
    except BaseException as error:
        found.put(error)


def _begin(plain: argparse.Namespace) -> None:
    global _DATA
    _DATA = load_for_training(plain)


def _work(plain: argparse.Namespace, number: int, options: Options) -> Trial:
    assert _DATA is not None
    return _trial(plain, _DATA, number, options)


def _plain(arguments: argparse.Namespace) -> argparse.Namespace:
    # without what belongs to this process
    plain = argparse.Namespace(**vars(arguments))
    del plain.signals, plain.module
    return plain


def _trial(arguments: argparse.Namespace, data: Dataset, number: int, options: Options) -> Trial:
    chosen = argparse.Namespace(**vars(arguments))
    vars(chosen).update(options, quiet=True)
    started = time.monotonic()
    score, interrupted = None, False
    try:
        history = Training(chosen, data).fit()
        interrupted = history.stopped == "interrupted"
        score = max(map(_score, history), key=lambda score: score[1], default=None)
    except CostError:
        pass
    return Trial(number, chosen, score, time.monotonic() - started, interrupted)


def _score(epoch: Epoch) -> Score:
    assert epoch.validation_accuracy is not None and epoch.validation_cost is not None
    return epoch.validation_accuracy, -epoch.validation_cost


# ------------------------------------------------------------------------------------ their table


def _table(trials: list[Trial]) -> bytes:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("trial", "validation_accuracy", "validation_cost", "seconds", *SHOWN))
    for trial in trials:
        accuracy, cost = (trial.score[0], -trial.score[1]) if trial.score else ("", "")
        values = [getattr(trial.options, name) for name in SHOWN]
        rows.writerow((trial.number, accuracy, cost, f"{trial.seconds:.2f}", *values))
    return text.getvalue().encode()
