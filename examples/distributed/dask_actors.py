"""A transport over Dask: each rank is a task of a cluster, messages go through the scheduler.

    python examples/distributed/dask_actors.py

It is for clusters whose workers cannot reach one another otherwise: the scheduler carries every byte.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from distributed import Client, LocalCluster, Queue, get_client

import rekur


class DaskQueues(rekur.distributed.Transport):
    """One queue of the scheduler for every pair of ranks and direction."""

    def __init__(self, rank: int, size: int, name: str, timeout: float = 300.0) -> None:
        self.rank, self.size, self.timeout, self._name = rank, size, timeout, name
        self._queues: dict[tuple[int, int], Queue] = {}
        self._waiting: dict[int, list[list[Any]]] = {}

    def _queue(self, source: int, to: int) -> Queue:
        if (source, to) not in self._queues:
            self._queues[source, to] = Queue(f"{self._name}-{source}-{to}", client=get_client())
        return self._queues[source, to]

    def start_send(self, array: np.ndarray, to: int) -> Any:
        self._queue(self.rank, to).put(array.tobytes())
        return []

    def start_receive(self, array: np.ndarray, source: int) -> Any:
        request = [array]
        self._waiting.setdefault(source, []).append(request)
        return request

    def is_done(self, request: Any) -> bool:
        for source, requests in self._waiting.items():
            while requests and self._queue(source, self.rank).qsize():
                (array,) = requests[0]
                data = np.frombuffer(self._queue(source, self.rank).get(timeout=self.timeout), np.uint8)
                array.reshape(-1).view(np.uint8)[:] = data
                requests.pop(0).clear()
        return not request


def train(rank: int, size: int, name: str) -> float:
    """What each rank runs."""
    parallel = rekur.distributed.DataParallel(DaskQueues(rank, size, name), shards=4)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 20, 3)).astype(np.float32)
    y = x.sum(axis=(1, 2), keepdims=True)[:, :, 0] / 8
    with parallel.scope():
        model = rekur.Sequential([rekur.Input((None, 3)), rekur.layers.GRU(16), rekur.layers.Dense(1)], seed=1)
        model.compile("adam", "mse")
    history = model.fit(x, y, batch_size=32, epochs=2, verbose=0)
    return float(history.history["loss"][-1])


def main(size: int = 2) -> None:
    with (
        LocalCluster(n_workers=size, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        ranks = [client.submit(train, rank, size, "rekur", pure=False) for rank in range(size)]
        print(*[f"rank {rank}: loss {loss!r}" for rank, loss in enumerate(client.gather(ranks))], sep="\n")


if __name__ == "__main__":
    main()
