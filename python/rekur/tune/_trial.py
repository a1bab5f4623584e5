"""One trial: a model is made, measured, trained and kept."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rekur import _random
from rekur.callbacks import Callback, EarlyStopping
from rekur.callbacks.base import as_list
from rekur.models.structure import Structure
from rekur.tasks._estimator import Estimator
from rekur.tasks._fitting import watched
from rekur.tune._cost import COSTS, Budget
from rekur.tune._needs import optuna
from rekur.tune._pruning import Pruning, check_costs
from rekur.tune._result import TrialResult, front_of, path_of
from rekur.tune._space import suggest

# What ends a trial and not the search: choices that go together badly, numbers that overflow, too large a network.
FAILURES = (ValueError, ArithmeticError, MemoryError)


@dataclass
class Job:
    """What is the same for all trials of a search.

    ``build`` gives a model, or a model and options of its fit, for a trial; an estimator is copied with what the trial
    takes of ``space``. ``objective`` is a function of what was trained, or None: the number that ``monitor`` names, at
    its best epoch.
    """

    build: Any
    space: Mapping[str, Any] | None
    x: Any
    y: Any
    fit: dict[str, Any]
    monitor: str
    objective: Any
    names: list[str]  # of what the study minimises or maximises: the objective, then costs
    larger: bool
    budget: Budget
    patience: int | None
    seed: int | None
    folder: Path

    def run(self, trial: Any) -> Any:
        """What Optuna calls: the value of the objective, or several.

        Raises
        ------
        optuna.TrialPruned
            Of one that is not trained, or not to the end.
        ValueError, ArithmeticError, MemoryError
            Of one that fails; the reason is an attribute of the trial.
        """
        try:
            with _seeded(None if self.seed is None else self.seed + trial.number):
                value, made = self._trained(trial)
            made.save(path_of(self.folder, trial.study.study_name, trial.number))
        except optuna().TrialPruned:
            raise
        except Exception as error:
            trial.set_user_attr("error", f"{error}" or type(error).__name__)
            raise
        costs = trial.user_attrs["costs"]
        further = [costs[name] for name in self.names[1:]]
        if None in further:
            raise self._fail(trial, f"{self.names[1 + further.index(None)]} cannot be measured")
        return (value, *further) if further else value

    @staticmethod
    def _fail(trial: Any, text: str) -> Exception:
        trial.set_user_attr("error", text)
        return ValueError(text)

    def _trained(self, trial: Any) -> tuple[float, Any]:
        made, own = self._made(trial)
        pruning = Pruning(trial, self.monitor, self.budget)
        pruning._needed, pruning._whole = self.objective is None, not isinstance(made, Estimator)
        counting = _Epochs()
        try:
            return self._value(made, own, trial, [counting, pruning])
        finally:
            trial.set_user_attr("epochs", counting.count)

    def _value(self, made: Any, own: dict[str, Any], trial: Any, callbacks: list[Callback]) -> tuple[float, Any]:
        estimates = isinstance(made, Estimator)
        if estimates:
            with watched(callbacks):
                made.fit(*([self.x] if self.y is None else [self.x, self.y]))
            check_costs(trial, self.budget, self.budget.measure(made))  # of all networks; so far it was the first
            histories: list[dict[str, list[float]]] = _histories(made)
        else:
            histories = [self._fitted(made, own, callbacks)]
        if self.objective is not None:
            value = _number(self.objective(made))
            name = self.names[0]
        else:
            best = max if self.larger else min
            found = [history.get(self.monitor, []) for history in histories]
            if not all(found):
                raise ValueError(f"there is no '{self.monitor}' among its numbers: {', '.join(histories[0])}")
            finite = [[v for v in values if np.isfinite(v)] for values in found]
            value = float(np.mean([best(v) for v in finite])) if all(finite) else float("nan")
            name = self.monitor
        losses = [v for history in histories for v in history.get("loss", [])[-1:]]
        if not np.isfinite(value) or not np.isfinite(losses).all():
            raise FloatingPointError(f"{name} became {value if not np.isfinite(value) else losses[-1]} in training")
        return value, made

    def _made(self, trial: Any) -> tuple[Any, dict[str, Any]]:
        """What is to be trained, and options of its fit."""
        if isinstance(self.build, Estimator):
            made: Any = type(self.build)(**self.build.get_params(deep=False))
            assert self.space is not None
            made.set_params(**{name: suggest(trial, name, choices) for name, choices in self.space.items()})
            own: Any = {}
        else:
            found = self.build(trial)
            made, own = found if isinstance(found, tuple) and len(found) == 2 else (found, {})
        if isinstance(made, Estimator):
            if self.seed is not None and getattr(made, "random_state", 0) is None:
                made.set_params(random_state=self.seed + trial.number)
            return made, {}
        if not isinstance(made, Structure) or not isinstance(own, Mapping):
            raise TypeError(
                f"tune.search: build must give a model, a model and a dict of arguments of fit, or an estimator; got "
                f"{found!r}"
            )
        if not made.compiled:
            raise TypeError(f"tune.search: build must give a compiled model; '{made.name}' is not compiled")
        return made, dict(own)

    def _fitted(self, model: Any, own: dict[str, Any], callbacks: list[Callback]) -> dict[str, list[float]]:
        options = {"x": self.x, "y": self.y, **self.fit, **own}
        options = {name: value for name, value in options.items() if value is not None}
        callbacks = [*callbacks, *as_list(options.pop("callbacks", None))]
        if "verbose" in options:
            raise TypeError("tune.search: a fit of build's cannot have 'verbose': tune.search has it")
        epochs = options.setdefault("epochs", 1)
        patience = epochs if self.patience is None else self.patience
        mode = "max" if self.larger and self.objective is None else "min"
        callbacks.append(EarlyStopping(self.monitor, patience=patience, mode=mode, restore_best_weights=True))
        history = model.fit(**_last_steps(model, options), callbacks=callbacks, verbose=0).history
        return {name: [float(value) for value in values] for name, values in history.items()}

    def forget_beaten(self, study: Any) -> None:
        """Remove the models of trials that others beat in value and costs; of two such trials one is never beaten."""
        done = [t for t in map(TrialResult.of, study.get_trials(deepcopy=False)) if t.state == "done"]
        kept = {trial.number for trial in front_of(done, COSTS, self.larger)}
        for trial in done:
            if trial.number not in kept:
                path_of(self.folder, study.study_name, trial.number).unlink(missing_ok=True)


class _Epochs(Callback):
    """Counts the epochs of a trial."""

    _attributes = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.count += 1


def _number(found: Any) -> float:
    """Of an objective: NaN too, for which a trial has failed; TypeError for what is none."""
    if isinstance(found, (str, bytes)) or found is None or np.ndim(found):
        raise TypeError(f"objective: expected a number, got {found!r}")
    return float(found)


def _histories(estimator: Any) -> list[dict[str, list[float]]]:
    found = getattr(estimator, "history_", None)
    listed: list[Any] = found if isinstance(found, list) else [found]
    if not all(isinstance(each, Mapping) for each in listed):
        raise ValueError(f"{type(estimator).__name__} keeps no losses: give objective= a function of the estimator")
    return listed


def _last_steps(model: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Where a model of one input reads fewer steps than the rows of arrays have, the last ones of each row."""
    if len(model.inputs) != 1 or len(model.inputs[0].shape) != 3 or model.inputs[0].shape[1] is None:
        return options
    steps, name = model.inputs[0].shape[1], model.inputs[0].name
    found = {**options, **_cut(options, steps, name)}
    held = found.get("validation_data")
    if isinstance(held, (tuple, list)):
        named = dict(zip(("x", "y", "sample_weight", "lengths"), held, strict=False))
        found["validation_data"] = tuple({**named, **_cut(named, steps, name)}.values())
    elif isinstance(held, Mapping):
        found["validation_data"] = {**held, **_cut(held, steps, name)}
    return found


def _cut(given: Mapping[str, Any], steps: int, name: str) -> dict[str, Any]:
    """The last valid steps of rows, and of what says which steps are valid."""

    def alone(value: Any) -> Any:
        if isinstance(value, Mapping) and set(value) == {name}:
            value = value[name]
        if isinstance(value, (list, tuple)):
            whole = len(value) == 1 and np.ndim(value[0]) == 3
            return value[0] if whole else np.asarray(value)
        return value

    x = alone(given.get("x"))
    if not isinstance(x, np.ndarray) or x.ndim != 3 or x.shape[1] <= steps:
        return {}
    lengths = alone(given.get("lengths"))
    places = None  # which steps of each row, where that differs from row to row
    found: dict[str, Any] = {}
    if lengths is not None:
        lengths = np.asarray(lengths)
        found["lengths"] = np.minimum(lengths, steps)
        places = np.maximum(lengths - steps, 0)[:, None] + np.arange(steps)
    for key, value in (("x", x), ("mask", alone(given.get("mask"))), ("resets", alone(given.get("resets")))):
        if value is None:
            continue
        array = np.asarray(value) if key != "x" else value
        found[key] = array[:, -steps:] if places is None else array[np.arange(len(array))[:, None], places]
    return found


@contextlib.contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    """Models made within have seeds that follow one another from this one; then all is as it was."""
    if seed is None:
        yield
        return
    before = _random._generator
    _random.set_random_seed(seed)
    try:
        yield
    finally:
        _random._generator = before
