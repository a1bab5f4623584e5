"""A transport over torch.distributed, and a training script that uses it.

torchrun --nproc-per-node 2 examples/distributed/gloo.py
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

import rekur


class Gloo(rekur.distributed.Transport):
    """Ranks of torch's default process group, which must be one of gloo.

    Messages of two ranks are told apart by the order in which they are sent. Gloo's requests can be waited for, not
    asked, so a thread waits for each.
    """

    def __init__(self, timeout: float = 300.0) -> None:
        self.rank, self.size, self.timeout = dist.get_rank(), dist.get_world_size(), timeout
        self._waiters = ThreadPoolExecutor(4 * self.size)

    def start_send(self, array: np.ndarray, to: int) -> Any:
        return self._waiters.submit(dist.isend(torch.from_numpy(array.reshape(-1).view(np.uint8)), to).wait)

    def start_receive(self, array: np.ndarray, source: int) -> Any:
        return self._waiters.submit(dist.irecv(torch.from_numpy(array.reshape(-1).view(np.uint8)), source).wait)

    def is_done(self, request: Any) -> bool:
        return bool(request.done())

    def all_reduce(self, array: np.ndarray) -> None:
        """For ``DataParallel(reduction="fast")``."""
        dist.all_reduce(torch.from_numpy(array))


def main() -> None:
    dist.init_process_group("gloo")
    rekur.distributed.set_distribution(rekur.distributed.DataParallel(Gloo(), shards=4))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(256, 20, 3)).astype(np.float32)
    y = x.sum(axis=(1, 2), keepdims=True)[:, :, 0] / 8
    model = rekur.Sequential([rekur.Input((None, 3)), rekur.layers.GRU(16), rekur.layers.Dense(1)], seed=1)
    model.compile("adam", "mse")
    history = model.fit(x, y, batch_size=32, epochs=3, verbose=2)
    print(f"rank {dist.get_rank()}: loss {history.history['loss'][-1]!r}", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
