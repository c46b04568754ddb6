"""A rank that trains on shards: ``python mpi_reading.py FOLDER``; rank 0 prints a hash.

Behind it, for each rank, by how much of the bytes of the images the process has read (Linux).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from same_bits import NETS, hash_of

from cnn_ext import Trainer, distributed
from cnn_ext.data import Shards

IO = Path("/proc/self/io")


def bytes_read() -> int:
    return int(IO.read_text().split()[1]) if IO.exists() else 0


def main(folder: str) -> None:
    with distributed.world(60) as group:
        shards = Shards(folder)
        y, make = shards.y, NETS["lenet5"][0]
        trainer = Trainer(make(), seed=2, num_threads=1, group=group)
        np.unique([0])  # which imports a module of NumPy that is as long as some images
        before = bytes_read()
        trainer.fit(shards, y, 1, 256, progress=False)
        part = (bytes_read() - before) / (len(shards) * shards[0].nbytes)
        parts = group.allgather(np.array([part]))
        if group.rank == 0:
            print(hash_of(trainer.net), *(f"{each[0]:.3f}" for each in parts), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
