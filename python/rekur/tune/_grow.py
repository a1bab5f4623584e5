"""Growth: a trained model becomes wider or deeper where that helps, and keeps what it has learned."""

import copy
import math
import os
from pathlib import Path
from typing import Any

from rekur._validate import boolean, integer, optional_integer, real
from rekur.models.structure import Structure
from rekur.tune._cost import Budget
from rekur.tune._deepen import deepen as deepened
from rekur.tune._result import Search, TrialResult
from rekur.tune._search import Goal, Run, check_data, check_fit, run_one
from rekur.tune._trial import Job
from rekur.tune._units import CELLS
from rekur.tune._widen import growing_layers, widen


def grow(
    model: Any,
    x: Any,
    y: Any = None,
    *,
    validation_data: Any = None,
    objective: Any = "val_loss",
    direction: str | None = None,
    budget: Any = None,
    factor: float = 2.0,
    deepen: bool = True,
    rate: float = 0.3,
    rounds: int = 10,
    least: float = 0.005,
    epochs: int = 20,
    patience: int | None = 6,
    folder: str | os.PathLike[str] | None = None,
    storage: Any = None,
    name: str = "growth",
    seed: int | None = None,
    verbose: int = 1,
    **fit: Any,
) -> Search:
    """Let a model grow on the data: width, depth and skips, without learning anything twice.

    The model is trained. Then, round by round, each of its layers becomes wider (:func:`rekur.tune.widen`) and, behind
    each recurrent layer, comes a further one with a skip (:func:`rekur.tune.deepen`), one change at a time. What comes
    of a change computes what the model did, and is trained on from there; beside them the model is trained on as it is.
    The best of all these is the next round's model, until none is better by ``least``.

    Parameters
    ----------
    model : Model
        Compiled; small. It stays as it is.
    x, y, validation_data, objective, direction, budget, folder, storage, verbose, **fit
        As of :func:`rekur.tune.search`. The objective is one number, or a function.
    factor : float
        By which a layer becomes wider.
    deepen : bool
        Whether layers are put behind others.
    rate : float
        By which the optimizer's learning rate is multiplied once the model as given is trained: what is learned already
        is not to be shaken loose again. With a schedule it has to be 1.
    rounds : int
        At most.
    least : float
        Which share of the objective a change has to gain.
    epochs, patience : int
        Of the training after each change.
    name : str
        Of the study, which must be a new one.
    seed : int, optional
        Of what is drawn in changes.

    Returns
    -------
    Search
        A trial for each change; ``best_model`` is what it has grown to.

    Raises
    ------
    ValueError, TypeError, ImportError, OSError
        As of :func:`rekur.tune.search`; ValueError also where the study exists.

    Examples
    --------
    >>> grown = rekur.tune.grow(model, x, y, validation_data=(xv, yv), budget={"step": 1e-6})
    >>> print(grown)
    """
    what = "tune.grow"
    check_fit(fit, what)
    check_data(what, x=x, y=y, validation_data=validation_data)
    if not isinstance(model, Structure):
        raise TypeError(f"{what}: expected a model, got {model!r}")
    if not model.compiled:
        raise TypeError(f"{what}: expected a compiled model; '{model.name}' is not compiled")
    by = real(factor, f"{what}: factor")
    if by <= 1:
        raise ValueError(f"{what}: factor must be above 1, got {factor!r}")
    gain = real(least, f"{what}: least", 0.0, 1.0)
    slower = real(rate, f"{what}: rate", 0.0)
    if slower == 0:
        raise ValueError(f"{what}: rate must be above 0, got {rate!r}")
    if slower != 1 and model.optimizer._schedule is not None:
        raise ValueError(f"{what}: rate must be 1 where the learning rate follows a schedule, got {rate!r}")
    further = boolean(deepen, f"{what}: deepen")
    held = validation_data is not None or bool(fit.get("validation_split"))
    goal = Goal.of(objective, direction).watching(held, what)
    if len(goal.names) > 1:
        raise ValueError(f"{what}: objective: a growth has one, got {', '.join(goal.names)}")
    begin = None if seed is None else integer(seed, "seed", 0)
    job = Job(
        build=None,
        space=None,
        x=x,
        y=y,
        fit={**fit, "epochs": integer(epochs, "epochs"), "validation_data": validation_data},
        monitor=goal.monitor,
        objective=goal.function,
        names=goal.names,
        larger=goal.larger,
        budget=Budget.of(budget),
        patience=optional_integer(patience, "patience"),
        seed=begin,
        folder=Path(),
    )
    run = Run(job, folder, storage, name, 1, None, None, verbose)
    if run.study.get_trials(deepcopy=False):
        raise ValueError(f"name: there is a study {name!r} already; grow its best_model, and give another name")
    return _Growth(job, run, by, further, slower, gain).go(model, integer(rounds, f"{what}: rounds"))


class _Growth:
    def __init__(self, job: Job, run: Run, factor: float, deepen: bool, rate: float, least: float) -> None:
        self._job, self._run, self._factor, self._deepen, self._least = job, run, factor, deepen, least
        self._rate = rate

    def go(self, model: Any, rounds: int) -> Search:
        parent, history = copy.deepcopy(model), "as it was given"
        best = self._trial(parent, history)
        if best.value is None:
            return self._run.result()  # which says why there is none
        if self._rate != 1:
            parent.optimizer.learning_rate = self._rate * float(parent.optimizer.learning_rate)
        for _ in range(rounds):
            found = []
            for change, made in self._changes(parent):
                whole = f"{history}; {change}" if change else history
                trial = self._trial(made, whole)
                if trial.value is not None:
                    found.append((trial, made, whole))
            if not found:
                break
            trial, made, whole = min(found, key=lambda each: self._signed(each[0]))
            if not self._signed(trial) < self._signed(best) - self._least * abs(self._signed(best)):
                break
            best, parent, history = trial, made, whole
        return self._run.result()

    def _signed(self, trial: TrialResult) -> float:
        assert trial.value is not None
        return -trial.value if self._job.larger else trial.value

    def _trial(self, model: Any, change: str) -> TrialResult:
        def build(trial: Any) -> Any:
            trial.set_user_attr("change", change)
            return model

        self._job.build = build
        number = run_one(self._job, self._run.study)
        self._run.told(number)
        return TrialResult.of(self._run.study.get_trials(deepcopy=False)[number])

    def _changes(self, parent: Any) -> list[tuple[str, Any]]:
        """Models that compute what the parent does, and what is different of them."""
        seed = None if self._job.seed is None else self._job.seed + len(self._run.study.get_trials(deepcopy=False))
        found: list[tuple[str, Any]] = [("", copy.deepcopy(parent))]
        for layer, (units, step) in growing_layers(parent).items():
            wanted = math.ceil(units * self._factor / step) * step
            self._try(found, f"{layer}: {units} to {wanted} units", lambda: widen(parent, layer, wanted, seed=seed))  # noqa: B023
        if self._deepen:
            for entry in parent.spec["layers"]:
                if entry["type"] in CELLS or entry["type"] == "Bidirectional":
                    name = entry["name"]
                    self._try(found, f"a layer behind {name}", lambda: deepened(parent, name, seed=seed))  # noqa: B023
        return found

    @staticmethod
    def _try(found: list[tuple[str, Any]], change: str, make: Any) -> None:
        try:
            found.append((change, make()))
        except ValueError:
            return  # a change that would compute something else
