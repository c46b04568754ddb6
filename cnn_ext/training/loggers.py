"""Callbacks that write the figures of each epoch: as CSV, as lines of JSON, for TensorBoard."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Mapping
from io import StringIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from .callbacks import Callback
from .history import FIGURES, VALIDATION, Epoch, History

if TYPE_CHECKING:
    from .trainer import Trainer


def _writes(trainer: Trainer) -> bool:
    # of several processes that train together, one does
    return trainer.group is None or trainer.group.rank == 0


class _LineLogger(Callback):
    """What writes a line for each epoch, which is in the file when the next epoch begins.

    Parameters
    ----------
    path : str or path
    append : bool
        Whether to go on with what the file has; else each training begins it anew, and one that is
        resumed begins it with the lines that it had then.
    """

    def __init__(self, path: str | os.PathLike[str], append: bool = False) -> None:
        try:
            self.path = Path(path)
        except TypeError:
            raise TypeError(f"path: expected a path, got {type(path).__name__}") from None
        self.append = append
        self._lines = ""  # of this training
        self._path: Path | None = None  # where this process writes

    def on_train_begin(self, trainer: Trainer) -> None:
        self._lines = ""
        self._path = self.path if _writes(trainer) else None
        with self._open("a" if self.append else "w") as file:
            if file.tell() == 0:
                file.write(self._header(trainer))

    def on_epoch_end(self, trainer: Trainer, epoch: Epoch) -> None:
        line = StringIO()
        self._write(line, epoch.figures())
        with self._open("a") as file:
            file.write(line.getvalue())
        self._lines += line.getvalue()

    def state_dict(self) -> dict[str, Any]:
        return {"lines": "" if self.append else self._lines}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        if not isinstance(state["lines"], str):
            raise TypeError(f"lines: expected text, got {type(state['lines']).__name__}")
        with self._open("a") as file:
            file.write(state["lines"])
        self._lines = state["lines"]

    def _open(self, mode: str) -> IO[str]:
        return open(self._path or os.devnull, mode, encoding="utf-8", newline="")

    def _header(self, trainer: Trainer) -> str:
        return ""

    def _write(self, file: Any, figures: dict[str, Any]) -> None:
        raise NotImplementedError


class CSVLogger(_LineLogger):
    """Writes the figures of each epoch as a line of a CSV file, whose first line has their names.

    Parameters
    ----------
    path : str or path
    append : bool
        Whether to go on with what the file has; else each training begins it anew.

    Raises
    ------
    ValueError
        When training begins, if the file that shall go on has other names.
    """

    def on_train_begin(self, trainer: Trainer) -> None:
        if self.append and self.path.exists():
            with self.path.open(encoding="utf-8", errors="replace") as file:
                found = file.readline()
            header = self._header(trainer)
            if found not in ("", header):
                raise ValueError(
                    f"path: expected a file that begins with {header!r}, got {found!r:.99}"
                )
        super().on_train_begin(trainer)

    def _header(self, trainer: Trainer) -> str:
        metrics = [f"{VALIDATION}{name}" for name in trainer.metrics]
        return ",".join(["number", *FIGURES, *metrics]) + "\n"

    def _write(self, file: Any, figures: dict[str, Any]) -> None:
        csv.writer(file, lineterminator="\n").writerow(figures.values())


class JSONLogger(_LineLogger):
    """Writes the figures of each epoch as a line of JSON.

    Parameters
    ----------
    path : str or path
    append : bool
        Whether to go on with what the file has; else each training begins it anew.
    """

    def _write(self, file: Any, figures: dict[str, Any]) -> None:
        file.write(json.dumps(figures) + "\n")


class TensorBoard(Callback):
    """Writes the figures of each epoch for TensorBoard, by tensorboardX or else tensorboard.

    The step of a figure is ``trainer.epochs_begun``, which goes on over all calls of `fit`.

    Parameters
    ----------
    folder : str or path

    Raises
    ------
    ImportError
        When training begins, if neither package is installed.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        try:
            self.folder = os.fspath(folder)
        except TypeError:
            raise TypeError(f"folder: expected a path, got {type(folder).__name__}") from None
        self._writer: Any = None

    def on_train_begin(self, trainer: Trainer) -> None:
        self._close()
        if _writes(trainer):
            self._writer = _tensorboard_writer()(self.folder)

    def on_epoch_end(self, trainer: Trainer, epoch: Epoch) -> None:
        if self._writer is None:
            return
        for name, value in epoch.figures().items():
            if name != "number" and value is not None:
                self._writer.add_scalar(name, value, trainer.epochs_begun)
        self._writer.flush()

    def on_train_end(self, trainer: Trainer, history: History) -> None:
        self._close()

    def _close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()


def _tensorboard_writer() -> Callable[[str], Any]:
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        try:
            from tensorboard.summary import Writer
        except ImportError:
            raise ImportError(
                "TensorBoard needs tensorboardX: pip install 'cnn_ext[tensorboard]'"
            ) from None
        return Writer
    return SummaryWriter
