"""What a network is for, and what its outputs mean: one definition for all who ask.

The *task* decides how targets are read, what is right, and what a prediction is:

=============  ======================  ===============================  =======================
task           outputs                 targets                          prediction
=============  ======================  ===============================  =======================
"classes"      (N, K), K at least 2    class numbers (N,), rows (N, K)  class numbers (N,)
"labels"       (N, K, ...)             0 to 1 for each, (N, K, ...)     0 or 1 for each
"probability"  (N, 1, ...)             0 to 1, (N,), (N, 1), (N, ...)   0 or 1, (N, ...)
"numbers"      any                     numbers, of the outputs' shape   the outputs
"pictures"     (N, K, P, Q)            class maps (N, P, Q), or rows    class maps (N, P, Q)
=============  ======================  ===============================  =======================

What *outputs* are says how they become probabilities:

===================  ============================================================
"logits"             softmax over the classes; of a single output, sigmoid
"sigmoid"            sigmoid of each output
"probabilities"      they are probabilities: the network ends in softmax or sigmoid
"log_probabilities"  their exponential: the network ends in log-softmax
"numbers"            they are none
===================  ============================================================
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from . import ops
from .graph.graph import Graph

KEY = "cnn_ext.task"  # in the metadata of files
KINDS = ("classes", "labels", "probability", "numbers", "pictures")
OUTPUTS = ("logits", "sigmoid", "probabilities", "log_probabilities", "numbers")
#: what outputs are that an operator of this name makes
ENDINGS = {
    "softmax": "probabilities",
    "sigmoid": "probabilities",
    "log_softmax": "log_probabilities",
}


@dataclass(frozen=True)
class Task:
    """What a network is for.

    Parameters
    ----------
    kind : str or None
        "classes", "labels", "probability", "numbers" or "pictures"; None where it is not known,
        then outputs are taken for those of classes.
    outputs : str or None
        "logits", "sigmoid", "probabilities", "log_probabilities" or "numbers"; None where it is not
        known.
    classes : sequence of str, optional
        Names of the classes or labels, in the order of the outputs; two for "probability".
    loss : str, optional
        Name of the loss that the network was trained with, if it is one of `losses.LOSSES`.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these.
    """

    kind: str | None = None
    outputs: str | None = None
    classes: Sequence[str] | None = None
    loss: str | None = None

    def __post_init__(self) -> None:
        for name, known in (("kind", KINDS), ("outputs", OUTPUTS)):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and value in known):
                raise ValueError(f"{name}: expected one of {', '.join(known)}, got {value!r:.99}")
        if not isinstance(self.loss, str | None):
            raise TypeError(f"loss: expected a name, got {self.loss!r:.99}")
        if self.classes is not None:
            names = self.classes
            listed = not isinstance(names, str) and isinstance(names, Iterable)
            if not listed or not all(isinstance(name, str) for name in names):
                raise TypeError(f"classes: expected names, got {names!r:.99}")
            object.__setattr__(self, "classes", tuple(map(str, names)))

    def check(self, output_shape: tuple[int, ...]) -> None:
        """Raise ValueError unless outputs of that shape, without N, are such as the task has."""
        K, *rest = output_shape
        count = len(self.classes) if self.classes is not None else None
        if self.kind == "classes" and (rest or K < 2):
            raise ValueError(f"task: classes need two outputs or more, got shape {output_shape}")
        if self.kind == "pictures" and (not rest or K < 2):
            raise ValueError(f"task: pictures need outputs (K, P, Q), got shape {output_shape}")
        if self.kind == "probability" and K != 1:
            raise ValueError(f"task: a probability needs one output, got shape {output_shape}")
        if count is not None and self.kind != "numbers" and count != (2 if K == 1 else K):
            raise ValueError(
                f"task: {count} classes for outputs of shape {output_shape}; a network with a new "
                "last layer needs a new task, or None"
            )

    def probabilities(self, outputs: np.ndarray) -> np.ndarray:
        """Probabilities of the outputs, in the same shape and float32 or float64.

        Raises
        ------
        ValueError
            If it is not known what the outputs are, or they are no probabilities.
        """
        if self.outputs is None or self.outputs == "numbers":
            raise ValueError(
                "outputs: the network gives no probabilities, or does not say how; expected "
                "outputs='logits', 'sigmoid', 'probabilities' or 'log_probabilities' with it, got "
                f"{self.outputs!r}"
            )
        return _PROBABILITIES[self.outputs](outputs)

    def predictions(self, outputs: np.ndarray) -> np.ndarray:
        """What the task predicts: class numbers, 0 or 1 for each output, or the outputs.

        Parameters
        ----------
        outputs : ndarray, shape (N, K, ...)

        Returns
        -------
        ndarray
            See the table of the module; whole numbers are int64.

        Raises
        ------
        ValueError
            If the decision needs probabilities that the outputs do not give.
        """
        if self.kind == "numbers":
            return outputs
        if outputs.shape[1] == 1:
            return (self.probabilities(outputs)[:, 0] > 0.5).astype(np.int64)
        if self.kind == "labels":
            return (self.probabilities(outputs) > 0.5).astype(np.int64)
        return outputs.argmax(axis=1)

    def right(self, outputs: np.ndarray, targets: np.ndarray) -> float | None:
        """The part of the predictions that is right; None for numbers.

        Of several labels each counts by itself, and so does each pixel of a picture.

        Parameters
        ----------
        outputs : ndarray, shape (N, K, ...)
        targets : ndarray
            As the task takes them.
        """
        counts = self.hits(outputs, targets)
        return None if counts is None else counts[0] / counts[1]

    def hits(self, outputs: np.ndarray, targets: np.ndarray) -> tuple[int, int] | None:
        """How many predictions are right, as for `right`, and how many there are."""
        if self.kind == "numbers":
            return None
        predicted = self.predictions(outputs)
        if outputs.shape[1] > 1 and self.kind != "labels":
            true = targets if numbered(targets, outputs.shape) else targets.argmax(axis=1)
        else:
            true = targets.reshape(predicted.shape) > 0.5
        return int(np.count_nonzero(predicted == true)), predicted.size

    def classified(self, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Predictions, and the probability of each: of the class, or of each label.

        Raises
        ------
        ValueError
            If the task is numbers, the outputs are no probabilities, or it is not known how they
            become some.
        """
        p = self.probabilities(outputs)
        if self.kind == "numbers":
            raise ValueError("task: numbers have no classes; the outputs are the prediction")
        predicted = self.predictions(outputs)
        if self.kind == "labels":
            return predicted, p
        if p.shape[1] == 1:
            return predicted, np.where(predicted == 1, p[:, 0], 1 - p[:, 0])
        return predicted, np.take_along_axis(p, predicted[:, None], 1)[:, 0]

    def names(self, output_shape: tuple[int, ...]) -> tuple[str, ...]:
        """Names of the classes of outputs of that shape: their numbers where they have none."""
        if self.classes is not None:
            return tuple(self.classes)
        return tuple(map(str, range(2 if output_shape[0] == 1 else output_shape[0])))

    # -------------------------------------------------------------------------------- in files

    def to_json(self) -> str:
        """As files keep it, under `KEY`."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Task:
        """What `to_json` gave.

        Raises
        ------
        ValueError
            If the text is not that of a task.
        """
        try:
            values = json.loads(text)
            if not isinstance(values, dict) or not values.keys() <= cls.__dataclass_fields__.keys():
                raise ValueError(f"expected the fields of a task, got {values!r:.99}")
            if not isinstance(values.get("classes"), list | None):
                raise ValueError(
                    f"classes: expected a list of names, got {values['classes']!r:.99}"
                )
            return cls(**values)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"metadata {KEY}: {error!s:.300}") from error


def task_of(task: str | Task | None) -> Task:
    """A task given as one of `KINDS`, as a `Task`, or as None, of which nothing is known.

    Raises
    ------
    TypeError, ValueError
        If it is none of these.
    """
    if task is None or isinstance(task, str):
        return Task(task)
    if not isinstance(task, Task):
        raise TypeError(f"task: expected one of {', '.join(KINDS)} or a Task, got {task!r:.99}")
    return task


def meaning_of(graph: Graph, outputs: str | None = None) -> Task:
    """The task of a graph, and what its outputs are: as given, as its last operators say, or known.

    Parameters
    ----------
    graph : Graph
    outputs : str, optional
        "logits", "sigmoid", "probabilities", "log_probabilities" or "numbers"; for whoever knows
        it better than the graph.

    Raises ValueError if `outputs` is none of these, or the task does not fit the output.
    """
    known = graph.task or Task()
    task = replace(known, outputs=outputs or ending_of(graph) or known.outputs)
    task.check(graph.shapes[graph.output])
    return task


def ending_of(graph: Graph) -> str | None:
    """What the outputs are if softmax or sigmoid made them; a clip may keep logarithms finite."""
    makers = {node.output: node for node in graph.nodes}
    node, clipped = makers.get(graph.output), False
    while node is not None and node.op in ("reshape", "clip"):
        if node.op == "clip":
            clipped = True
            if not (node.attributes["low"] <= 1e-3 and node.attributes["high"] >= 0.999):
                return None
        node = makers.get(node.inputs[0])
    if node is None or node.op not in ENDINGS or (clipped and node.op == "log_softmax"):
        return None
    same_classes = graph.shapes[node.output][0] == graph.shapes[graph.output][0]
    return ENDINGS[node.op] if node.op == "sigmoid" or same_classes else None


def kind_for(outputs: str | None, shape: tuple[int, ...], targets: np.ndarray | None) -> str:
    """The task that targets make of a network.

    Parameters
    ----------
    outputs : str or None
        What the outputs are, as cost and last layer say it.
    shape : tuple of int
        Of the outputs, (N, K, ...).
    targets : ndarray, optional

    Returns
    -------
    str
        For a single output "probability" if sigmoid makes or will make it one, and the targets are
        0 and 1 where the cost does not contain it; else "numbers".  For more "classes" or
        "pictures" if the cost contains softmax, or the targets are class numbers or one-hot rows;
        other rows are "labels" if the cost contains sigmoid, else "numbers".

    Raises ValueError if only targets would tell, and there are none.
    """
    K, *rest = shape[1:]
    several = "pictures" if rest else "classes"
    if K > 1 and outputs == "logits":
        return several
    if K == 1 and outputs in ("logits", "sigmoid"):
        return "probability"
    if targets is None:
        raise ValueError(f"task: not known before training; expected one of {', '.join(KINDS)}")
    if K == 1:
        binary = outputs == "probabilities" and np.isin(targets, (0, 1)).all()
        return "probability" if binary else "numbers"
    if numbered(targets, shape) or _one_hot(targets, shape):
        return several
    return "labels" if outputs == "sigmoid" else "numbers"


def _one_hot(targets: np.ndarray, shape: tuple[int, ...]) -> bool:
    return targets.shape == shape and bool(
        np.isin(targets, (0, 1)).all() and (targets.sum(axis=1) == 1).all()
    )


def numbered(targets: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether targets are class numbers, (N, ...), for outputs of that shape, (N, K, ...)."""
    return targets.dtype.kind in "iu" and targets.shape == (shape[0], *shape[2:])


def _of_logits(z: np.ndarray) -> np.ndarray:
    p: np.ndarray = ops.sigmoid(z) if z.shape[1] == 1 else ops.softmax(z)
    return p


_PROBABILITIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "logits": _of_logits,
    "sigmoid": ops.sigmoid,
    "probabilities": lambda p: p,
    "log_probabilities": np.exp,
}
