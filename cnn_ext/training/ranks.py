"""Whether the ranks that train together have the same: program, network, data and arguments."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core, _dispatch
from ..data.stream import Stream
from ..run.share import texts, wire_of
from .identity import Description, of_trainer, refuse_others

if TYPE_CHECKING:
    from .loop import Run


def expect_equal(run: Run) -> None:
    """Compare what this rank is about to train with what all others are.

    Raises
    ------
    ValueError
        On every rank, if one has something else than rank 0; the message says which, and what.
    """
    assert run.group is not None
    own = json.dumps(_description(run))
    first, *others = map(json.loads, texts(run.group, own))
    for rank, other in enumerate(others, 1):
        refuse_others(first, other, f"as rank 0 has it, and not rank {rank}")


def _description(run: Run) -> Description:
    trainer = run.trainer
    config = _dispatch.config()
    weights = blake2b(digest_size=16)
    for _, kept in trainer.net.named_state():
        weights.update(np.ascontiguousarray(kept.data).view(np.uint8).data)
    resumed: Any = trainer._resumed
    return {
        "cnn_ext": {key: config[key] for key in ("version", "instruction_set", "winograd")},
        "wire": wire_of(run.group),
        "lanes": _core.lanes(4),
        "trainer": of_trainer(trainer),
        "seed": trainer._split_seed,
        "weights": weights.hexdigest(),
        "epochs_begun": trainer.epochs_begun,
        "resumed": None if resumed is None else [resumed["place"][k] for k in ("epoch", "batches")],
        "fit": {} if isinstance(run.training, Stream) else run.description,
    }
