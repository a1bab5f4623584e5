"""What a search has found: its trials, the front of the best, models, a table and a picture."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rekur._files import write_atomic
from rekur._validate import as_path, did_you_mean, integer
from rekur.tasks._words import counted
from rekur.tune._cost import COSTS, shown

_MARKS = {"COMPLETE": "done", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running", "WAITING": "waiting"}


@dataclass(frozen=True)
class TrialResult:
    """One trial.

    Attributes
    ----------
    number : int
    state : {"done", "pruned", "over", "failed", "running", "waiting"}
        ``"over"``: over the budget, and not trained; an ensemble, whose size is known behind its fit, may have been.
    value : float or None
        The objective, of a trial that is done.
    params : dict
        What it took.
    costs : dict of float or None
        By name, as far as they were measured; None where there is no such cost.
    epochs : int
    seconds : float or None
    reason : str
        Why it is over, pruned or failed; of :func:`rekur.tune.grow` what was changed.
    """

    number: int
    state: str
    value: float | None
    params: dict[str, Any]
    costs: dict[str, float | None]
    epochs: int
    seconds: float | None
    reason: str = ""

    @classmethod
    def of(cls, frozen: Any) -> "TrialResult":
        """Of Optuna's."""
        attributes = frozen.user_attrs
        state = _MARKS[frozen.state.name]
        reason = next((attributes[key] for key in ("over", "pruned", "error", "change") if key in attributes), "")
        if state == "pruned" and "over" in attributes:
            state = "over"
        if state == "failed" and not reason:
            reason = "its process ended"
        return cls(
            frozen.number,
            state,
            frozen.values[0] if state == "done" else None,
            dict(frozen.params),
            dict(attributes.get("costs", {})),
            int(attributes.get("epochs", len(frozen.intermediate_values))),
            frozen.duration.total_seconds() if frozen.duration is not None else None,
            reason,
        )


@dataclass(repr=False)
class Search:
    """What :func:`rekur.tune.search` and :func:`rekur.tune.grow` return, and :func:`rekur.tune.load` reads.

    Attributes
    ----------
    study : optuna.study.Study
    name : str
        Of what is minimised or maximised.
    larger : bool
        Whether larger values are better.
    folder : Path
        Where the models are.
    """

    study: Any
    name: str
    larger: bool
    folder: Path
    _holds: Any = field(default=None)  # a temporary folder, which is there as long as this

    @property
    def trials(self) -> list[TrialResult]:
        """All trials, in order."""
        return [TrialResult.of(frozen) for frozen in self.study.get_trials(deepcopy=False)]

    @property
    def best(self) -> TrialResult:
        """The trial with the best value; of equals the cheaper, then the earlier.

        Raises
        ------
        ValueError
            If no trial was done, saying what became of them.
        """
        front = self._front(COSTS)
        if not front:
            raise ValueError(nothing_done(self.trials))
        return front[0]

    @property
    def best_model(self) -> Any:
        """The model, or estimator, of :attr:`best`, as trained."""
        return self.model(self.best.number)

    def model(self, number: int) -> Any:
        """The model, or estimator, of a trial.

        Raises
        ------
        ValueError
            If it was not kept: only those are that no other beats in value and all costs.
        """
        at = self.path(integer(number, "number", 0))
        if not at.exists():
            kept = sorted(
                int(path.stem.rpartition("-")[2]) for path in self.folder.glob(f"{self.study.study_name}-*{at.suffix}")
            )
            raise ValueError(
                f"the model of trial {number} is not in '{self.folder}'; kept are those that no other trial beats in "
                f"{self.name} and all costs: {', '.join(map(str, kept)) or 'none on this machine'}"
            )
        return read_model(at)

    def path(self, number: int) -> Path:
        """Where the model of a trial stands, if it was kept."""
        return path_of(self.folder, self.study.study_name, number)

    def pareto(self, cost: str | Sequence[str] = COSTS) -> list[TrialResult]:
        """The trials that no other beats: none is as good in value and costs, and better in one of them.

        Parameters
        ----------
        cost : str or sequence of str
            ``"latency"``, ``"step"``, ``"size"``, ``"memory"``: which costs count beside the value.

        Returns
        -------
        list of TrialResult, the best value first.

        Raises
        ------
        ValueError
            For a cost that there is not.
        """
        named = [cost] if isinstance(cost, str) else list(cost)
        for each in named:
            if each not in COSTS:
                raise ValueError(f"pareto: there is no cost {each!r}{did_you_mean(each, COSTS)}")
        return self._front(named)

    def _front(self, costs: Sequence[str]) -> list[TrialResult]:
        done = [trial for trial in self.trials if trial.state == "done"]
        return sorted(front_of(done, costs, self.larger), key=lambda trial: (_signed(trial, self.larger), trial.number))

    def table(self, cost: str | Sequence[str] = COSTS) -> str:
        """The front of :meth:`pareto` as lines of text."""
        front = self.pareto(cost)
        if not front:
            return nothing_done(self.trials)
        measured = [name for name in COSTS if any(trial.costs.get(name) is not None for trial in front)]
        texts = [described(trial) for trial in front]
        rows = [["trial", self.name, *measured, "what it is"]]
        for trial, text in zip(front, texts, strict=True):
            assert trial.value is not None
            costs = [shown(name, trial.costs.get(name)) for name in measured]
            rows.append([str(trial.number), f"{trial.value:.5g}", *costs, text])
        widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]) - 1)]
        lines = ["  ".join([*(c.rjust(w) for c, w in zip(row, widths, strict=False)), row[-1]]) for row in rows]
        return "\n".join(line.rstrip() for line in lines)

    def __str__(self) -> str:
        return f"{summary(self.trials)}\n{self.table()}"

    def __repr__(self) -> str:
        return f"<Search '{self.study.study_name}': {summary(self.trials)}>"

    def plot(self, filepath: str | os.PathLike[str], cost: str = "latency") -> None:
        """Draw values against a cost, the front as a line; ``pip install matplotlib``.

        Parameters
        ----------
        filepath : str or path
            Ends in ``.png``, ``.svg`` or ``.pdf``.
        cost : str
            One of those of :meth:`pareto`.

        Raises
        ------
        ValueError
            If no trial was done, for another ending, and for a cost that there is not.
        OSError
            If the file cannot be written.
        """
        from rekur.tune._picture import draw

        path = as_path(filepath, "plot")
        kind = os.path.splitext(path)[1].lower()
        if kind not in (".png", ".svg", ".pdf"):
            raise ValueError(f"plot: expected a path that ends in .png, .svg or .pdf, got {path!r}")
        front = [trial for trial in self.pareto(cost) if trial.costs.get(cost) is not None]
        if not front:
            raise ValueError(nothing_done(self.trials))
        write_atomic(Path(path), draw(self, front, cost, kind[1:]))


def _signed(trial: TrialResult, larger: bool) -> float:
    assert trial.value is not None
    return -trial.value if larger else trial.value


def front_of(done: Sequence[TrialResult], costs: Sequence[str], larger: bool) -> list[TrialResult]:
    """Those that no other beats; of equals the first. Costs count to two digits: times are no surer than that."""

    def place(trial: TrialResult) -> tuple[float, ...]:
        found = [trial.costs.get(name) for name in costs]
        return (_signed(trial, larger), *(math.inf if value is None else float(f"{value:.1e}") for value in found))

    places = {trial.number: place(trial) for trial in done}

    def beaten(trial: TrialResult) -> bool:
        own = places[trial.number]
        return any(
            all(a <= b for a, b in zip(other, own, strict=True)) and (other != own or number < trial.number)
            for number, other in places.items()
            if number != trial.number
        )

    return [trial for trial in done if not beaten(trial)]


def described(trial: TrialResult) -> str:
    """What a trial took, or what was changed."""
    if not trial.params:
        return trial.reason

    def text(value: Any) -> str:
        return f"{value:.3g}" if isinstance(value, float) else str(value)

    return ", ".join(f"{name} {text(value)}" for name, value in trial.params.items())


def summary(trials: Sequence[TrialResult]) -> str:
    """``20 trials: 12 done, 5 pruned, 2 over the budget, 1 failed``."""
    words = {"over": "over the budget"}
    counts = {state: sum(trial.state == state for trial in trials) for state in (*_MARKS.values(), "over")}
    parts = [f"{count} {words.get(state, state)}" for state, count in counts.items() if count]
    return f"{counted(len(trials), 'trial')}: {', '.join(parts)}" if trials else "no trials"


def nothing_done(trials: Sequence[TrialResult]) -> str:
    """In words that there is no result, and why."""
    reasons = list(dict.fromkeys(f"{trial.state}: {trial.reason}" for trial in trials if trial.reason))
    more = "".join(f"\n- {reason}" for reason in reasons[:5])
    return f"no trial of the search was done ({summary(trials)}){more}"


def path_of(folder: Path, study: str, number: int) -> Path:
    return folder / f"{study}-{number:06d}.safetensors"


def read_model(path: Path) -> Any:
    """A model of a file, or an estimator."""
    from rekur.models import load_model
    from rekur.tasks import load
    from rekur.tasks._file import is_task

    return load(path) if is_task(path) else load_model(path)
