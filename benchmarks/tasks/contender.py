"""Who takes part: something that is fitted on a task's training part and asked about the rest."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

OURS, PEER, BASELINE, PUBLISHED = "ours", "peer", "baseline", "published"


@dataclass
class Clock:
    """Seconds of fitting and of predicting: by the wall, and of processor time."""

    fit: float = 0.0
    predict: float = 0.0
    cpu: float = 0.0
    budget: float | None = None  # seconds of fitting that those take who are to have as many as ours

    @contextlib.contextmanager
    def fitting(self) -> Iterator[None]:
        wall, cpu = time.perf_counter(), _processor()
        yield
        self.fit += time.perf_counter() - wall
        self.cpu += _processor() - cpu

    @contextlib.contextmanager
    def predicting(self) -> Iterator[None]:
        wall = time.perf_counter()
        yield
        self.predict += time.perf_counter() - wall


def _processor() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


@dataclass(frozen=True)
class Contender:
    """`run(task, seed, clock)` fits and predicts, each within the clock's `with`, and gives scores."""

    name: str
    kind: str
    run: Callable[[Any, int, Clock], dict[str, float]]
    needs: tuple[str, ...] = ()  # packages, by their import names
    random: bool = True  # False: every seed gives the same, so one is run
    fits: Callable[[Any], bool] = lambda task: True  # whether it takes part in a task
    seeds: int | None = None  # at most so many, for those that take minutes

    def missing(self) -> list[str]:
        return [name for name in self.needs if importlib.util.find_spec(name) is None]

    def versions(self) -> dict[str, str]:
        found = importlib.metadata.packages_distributions()
        return {name: importlib.metadata.version(found.get(name, [name])[0]) for name in self.needs}


@dataclass
class Result:
    """One run."""

    task: str
    contender: str
    kind: str
    seed: int
    scores: dict[str, float]
    fit_seconds: float | None = None
    predict_seconds: float | None = None
    cpu_seconds: float | None = None
    load: float | None = None  # the machine's load average before the run: times of a busy machine say little
    versions: dict[str, str] = field(default_factory=dict)
    failed: str | None = None

    def dictionary(self) -> dict[str, Any]:
        return asdict(self)


def measure(contender: Contender, task: Any, seed: int, budget: float | None = None) -> Result:
    """Run one; an error is a result, too."""
    clock = Clock(budget=budget)
    load = os.getloadavg()[0]
    scores: dict[str, float] = {}
    failed = None
    try:
        scores = contender.run(task, seed, clock)
    except Exception as error:  # a peer may fail in any way, and the table says so
        failed = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return Result(
        task.name,
        contender.name,
        contender.kind,
        seed,
        scores,
        round(clock.fit, 4),
        round(clock.predict, 4),
        round(clock.cpu, 3),
        round(load, 2),
        contender.versions(),
        failed,
    )
