"""Ranks without MPI: processes that are forked here and talk over sockets, as a transport of one's own."""

from __future__ import annotations

import os
import pickle
import socket
import sys
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from rekur.distributed import Transport


class Sockets(Transport):
    """Arrays over one socket a pair of ranks, none of which ever waits."""

    def __init__(self, rank: int, peers: dict[int, socket.socket], timeout: float = 60.0) -> None:
        self.rank, self.size, self.timeout = rank, len(peers) + 1, timeout
        self._peers = peers
        self._sending: dict[int, list[list[Any]]] = {peer: [] for peer in peers}
        self._receiving: dict[int, list[list[Any]]] = {peer: [] for peer in peers}

    def start_send(self, array: np.ndarray, to: int) -> Any:
        return self._add(self._sending[to], array)

    def start_receive(self, array: np.ndarray, source: int) -> Any:
        return self._add(self._receiving[source], array)

    @staticmethod
    def _add(queue: list[list[Any]], array: np.ndarray) -> list[Any]:
        request = [memoryview(array.reshape(-1).view(np.uint8)), 0]  # what, and how much of it has moved
        queue.append(request)
        return request

    def is_done(self, request: Any) -> bool:
        for peer, link in self._peers.items():
            self._move(self._sending[peer], link.send)
            self._move(self._receiving[peer], partial(self._receive, peer, link))
        return bool(request[1] == len(request[0]))

    @staticmethod
    def _receive(peer: int, link: socket.socket, view: memoryview) -> int:
        if count := link.recv_into(view):
            return count
        raise ConnectionError(f"rank {peer} has gone")

    def _move(self, queue: list[list[Any]], call: Callable[[Any], int]) -> None:
        while queue:
            view, done = queue[0]
            if done < len(view):
                try:
                    moved = call(view[done:])
                except BlockingIOError:
                    return
                queue[0][1] += moved
            if queue[0][1] == len(view):
                queue.pop(0)


def run(ranks: int, work: Callable[[Sockets], Any], timeout: float = 60.0, dies: int | None = None) -> list[Any]:
    """What ``work(transport)`` returns on every rank; an exception of a rank stands for its result.

    ``dies``: a rank that ends without a word before its first message.
    """
    links: dict[tuple[int, int], socket.socket] = {}
    for a in range(ranks):
        for b in range(a):
            links[a, b], links[b, a] = socket.socketpair()
    children = []
    for rank in range(ranks):
        reader, writer = os.pipe()
        if pid := os.fork():
            os.close(writer)
            children.append((pid, reader))
            continue
        try:
            own = {b: link for (a, b), link in links.items() if a == rank}
            for (a, _), link in links.items():
                link.setblocking(False)
                if a != rank:
                    link.close()
            if rank == dies:
                os._exit(1)
            try:
                result: Any = work(Sockets(rank, own, timeout))
            except BaseException as error:
                traceback.print_exc()
                result = RuntimeError(f"{type(error).__name__}: {error}")
            for link in own.values():  # what is on its way arrives before the link ends
                link.shutdown(socket.SHUT_WR)
            with os.fdopen(writer, "wb") as file:
                pickle.dump(result, file)
            sys.stdout.flush()
        finally:
            os._exit(0)
    for link in links.values():
        link.close()
    results = []
    for pid, reader in children:
        with os.fdopen(reader, "rb") as file:
            data = file.read()
        os.waitpid(pid, 0)
        results.append(pickle.loads(data) if data else None)
    return results
