"""Streams that are open: their names, how many there are, when they end."""

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rekur.tasks.serve._limits import Limits
from rekur.tasks.serve._problems import Problem


@dataclass
class Session:
    """One stream; ``lock`` is held by the request that steps it."""

    live: Any
    used: float
    lock: threading.Lock = field(default_factory=threading.Lock)


class Sessions:
    """The open streams. Names are random and cannot be guessed; whoever is not heard of in time is closed."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._open: dict[str, Session] = {}
        self._reserved = 0  # places of WebSockets, and of streams that are being made
        self._lock = threading.Lock()

    def __len__(self) -> int:
        with self._lock:
            self._expire()
            return len(self._open) + self._reserved

    def reserve(self) -> None:
        """Take a place.

        Raises
        ------
        Problem
            429 where there is none.
        """
        with self._lock:
            self._expire()
            if len(self._open) + self._reserved >= self._limits.sessions:
                raise Problem(
                    429,
                    f"{self._limits.sessions} streams are open, as many as there may be; close one, or wait until one "
                    f"has been idle for {self._limits.idle:g} seconds",
                    headers={"Retry-After": str(max(int(self._limits.idle), 1))},
                )
            self._reserved += 1

    def release(self) -> None:
        """Give a reserved place back."""
        with self._lock:
            self._reserved -= 1

    def add(self, live: Any) -> str:
        """Open a stream in a reserved place; returns its name."""
        name = secrets.token_urlsafe(18)
        with self._lock:
            self._reserved -= 1
            self._open[name] = Session(live, self._clock())
        return name

    def get(self, name: str) -> Session:
        """The stream of that name, heard of now.

        Raises
        ------
        Problem
            404 where there is none, or not any more.
        """
        with self._lock:
            self._expire()
            session = self._open.get(name)
            if session is None:
                raise Problem(404, "there is no such stream, or it was idle too long and has been closed")
            session.used = self._clock()
            return session

    def close(self, name: str) -> None:
        """End a stream.

        Raises
        ------
        Problem
            404 where there is none.
        """
        with self._lock:
            self._expire()
            if self._open.pop(name, None) is None:
                raise Problem(404, "there is no such stream, or it was idle too long and has been closed")

    def close_all(self) -> None:
        with self._lock:
            self._open.clear()

    def _expire(self) -> None:
        end = self._clock() - self._limits.idle
        for name in [n for n, session in self._open.items() if session.used < end and not session.lock.locked()]:
            del self._open[name]
