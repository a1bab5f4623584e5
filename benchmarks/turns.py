"""Timing in turns: every contender has its share of every round, so that a change of the machine's speed meets all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import rekur
from benchmarks.native import ALL_CORES, use_cores

SETTLE = 0.05  # seconds before a turn: the threads of whoever ran last spin for a while, on the cores of the next
WARM = 0.01  # seconds of warm-up: until threads that woke on one core have been moved to different ones


class Turn(NamedTuple):
    """What is timed, and the threads (and so the cores) it is given."""

    step: Callable[[], object]
    threads: int = 1


def _enter(turn: Turn) -> None:
    rekur.set_num_threads(turn.threads)
    use_cores(turn.threads)


def in_turns(turns: Mapping[str, Turn], seconds: float, rounds: int) -> dict[str, list[float]]:
    """Seconds a call of each, one figure a round; `seconds` is what all rounds of one of them take together."""
    repeats = {}
    for name, turn in turns.items():
        use_cores(len(ALL_CORES))
        rekur.set_num_threads(turn.threads)
        turn.step()  # starts its threads
        _enter(turn)
        turn.step()
        start = time.perf_counter()
        turn.step()
        once = time.perf_counter() - start
        repeats[name] = max(1, int(seconds / rounds / max(once, 1e-7)))
    times: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(rounds):
        for name, turn in turns.items():
            time.sleep(SETTLE)
            _enter(turn)
            warm_until = time.perf_counter() + WARM
            turn.step()
            while time.perf_counter() < warm_until:
                turn.step()
            start = time.perf_counter()
            for _ in range(repeats[name]):
                turn.step()
            times[name].append((time.perf_counter() - start) / repeats[name])
    use_cores(len(ALL_CORES))
    return times
