"""Several processes or machines: training over MPI, scoring over Dask.

`world` connects the processes that ``mpiexec`` has started, for ``Trainer(net, group=world())``; it
needs mpi4py (``pip install 'cnn_ext[mpi]'``).  `score` answers for a Dask array or bag by a plan;
it needs Dask (``pip install 'cnn_ext[dask]'``).
"""

from ..run.share import WIRES
from .mpi import TIMEOUT, GroupError, World, launched, world
from .scoring import on_workers, score

__all__ = ["TIMEOUT", "WIRES", "GroupError", "World", "launched", "on_workers", "score", "world"]
