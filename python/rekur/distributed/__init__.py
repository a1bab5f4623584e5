"""Training on several processes and machines (docs/distributed.md).

    import rekur

    rekur.distributed.set_distribution(rekur.distributed.DataParallel())  # the one line
    model.compile("adam", "mse")
    model.fit(x, y)

and ``mpiexec -n 4 python train.py``. The names are those of ``keras.distribution``.
"""

from rekur.distributed._parallel import DataParallel, distribution, set_distribution
from rekur.distributed._transport import MPI, DistributedError, Transport

__all__ = ["MPI", "DataParallel", "DistributedError", "Transport", "distribution", "set_distribution"]
