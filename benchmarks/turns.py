"""Timing in turns: every contender has its share of every round, so that a change of the machine's speed meets all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import rekur
from benchmarks.native import ALL_CORES, use_cores

SETTLE = 0.05  # seconds before a turn: the threads of whoever ran last spin for a while, on the cores of the next
WARM = 0.01  # seconds of warm-up: until threads that woke on one core have been moved to different ones
BURSTS = 5  # parts of a turn, of which the quickest counts: what the host does to one of them is not ours, nor a peer's


class Turn(NamedTuple):
    """What is timed, and the threads it is given."""

    step: Callable[[], object]
    threads: int = 1


def quickest(run: Callable[[int], float], count: int, bursts: int = BURSTS) -> float:
    """Seconds a step in the quickest part of a turn of `count` steps; run(n) gives the seconds of n."""
    each = max(1, count // bursts)
    return min(run(each) / each for _ in range(max(1, min(bursts, count))))


def in_turns(
    turns: Mapping[str, Turn], seconds: float, rounds: int, settle: float = SETTLE, bursts: int = BURSTS
) -> dict[str, list[float]]:
    """Seconds a call of each, one figure a round; `seconds` is what all rounds of one of them take together.

    All have the cores of the one with most threads: cores that came and went would leave threads together on one for
    a while. settle: seconds before a turn; none are needed where all turns are one library's, whose threads stay.
    bursts: parts of a turn, of which the quickest counts; as many as there are calls for a machine with other work.
    """

    def run(count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            turn.step()
        return time.perf_counter() - start

    use_cores(max(turn.threads for turn in turns.values()))
    repeats = {}
    for name, turn in turns.items():
        rekur.set_num_threads(turn.threads)
        turn.step()  # starts its threads
        turn.step()
        start = time.perf_counter()
        turn.step()
        once = time.perf_counter() - start
        repeats[name] = max(1, int(seconds / rounds / max(once, 1e-7)))
    times: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(rounds):
        for name, turn in turns.items():
            time.sleep(settle)
            rekur.set_num_threads(turn.threads)
            warm_until = time.perf_counter() + WARM
            turn.step()
            while time.perf_counter() < warm_until:
                turn.step()
            times[name].append(quickest(run, repeats[name], bursts))
    use_cores(len(ALL_CORES))
    return times
