"""A rank that trains: ``python mpi_program.py NET THREADS [CHECKPOINT]``; rank 0 prints a hash.

In the environment: TIMEOUT and WIRE of the group, SLOW, seconds between two epochs, and PIDS, a
folder where each rank leaves its process number.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from same_bits import NETS, hash_of, images_of

import cnn_ext
from cnn_ext import Trainer, distributed
from cnn_ext.run.share import texts


def main(name: str, threads: str, checkpoint: str | None = None) -> None:
    timeout, wire = float(os.environ.get("TIMEOUT", "60")), os.environ.get("WIRE")
    with distributed.world(timeout, wire) as group:
        if pids := os.environ.get("PIDS"):
            Path(pids, str(group.rank)).write_text(str(os.getpid()))
        cnn_ext.set_num_threads(int(threads))
        make, _, rule, augment = NETS[name]
        net = make()
        trainer = Trainer(net, optimizer=rule(net.parameters()), seed=2, group=group)
        if checkpoint is not None and os.path.exists(checkpoint):
            trainer.resume(checkpoint)

        def pause(trainer: Any, epoch: Any) -> None:
            time.sleep(float(os.environ.get("SLOW", "0")))

        trainer.fit(
            *images_of(name), 6, 100, schedule="cosine", augment=augment, progress=False,
            checkpoint=checkpoint, callbacks=[pause],
        )  # fmt: skip
        hashes = set(texts(group, hash_of(net)))
        assert len(hashes) == 1, hashes
        if group.rank == 0:
            print(hash_of(net), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
