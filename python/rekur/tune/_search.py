"""The search itself: trials one after another, or in several processes, until there are enough."""

import dataclasses
import functools
import inspect
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rekur import metrics
from rekur._validate import as_path, did_you_mean, integer, optional_integer, real
from rekur.models import Model
from rekur.models.structure import Structure
from rekur.tasks._estimator import Estimator
from rekur.tune._cost import COSTS, Budget, shown
from rekur.tune._needs import optuna
from rekur.tune._result import Search, TrialResult, described, nothing_done
from rekur.tune._space import space_of
from rekur.tune._study import Place, check_name, exists, pruner_of, sampler_of, silent, storage_of
from rekur.tune._trial import FAILURES, Job
from rekur.tune._workers import BROKEN_OFF, Workers

_KEY = "rekur"  # of what a study holds of the search
_DIRECTIONS = ("minimize", "maximize")
# What fit takes beside x, y, epochs and validation_data, and a search passes on.
_NOT_FIT = ("self", "x", "y", "verbose", "initial_epoch", "options")


def search(
    build: Any,
    x: Any,
    y: Any = None,
    *,
    validation_data: Any = None,
    space: Mapping[str, Any] | None = None,
    objective: Any = "val_loss",
    direction: str | None = None,
    budget: Any = None,
    trials: int = 50,
    timeout: float | None = None,
    epochs: int = 30,
    patience: int | None = 5,
    workers: int = 1,
    folder: str | os.PathLike[str] | None = None,
    storage: Any = None,
    name: str = "search",
    sampler: Any = None,
    pruner: Any = "median",
    seed: int | None = None,
    verbose: int = 1,
    **fit: Any,
) -> Search:
    """Search for the model that does best within a budget, by Optuna.

    Parameters
    ----------
    build : function, or an estimator of rekur.tasks
        A function of a trial (``optuna.trial.Trial``) gives a compiled model, or a pair of one and a dict of arguments
        of its ``fit``, which take precedence over those given here; or an estimator. :class:`rekur.tune.Recurrent` is
        such a function. An estimator is copied, with parameters of ``space``.
    x, y : as ``fit`` takes them
        Each trial reads them anew, which a generator does not allow. A model of one input that reads fewer steps than
        the rows of an array have is given the last ones of each, with ``lengths`` the last valid ones.
    validation_data : as ``fit`` takes it
        What models are chosen by. Test data do not belong here. Estimators hold back data of their own.
    space : dict, optional
        Of an estimator: choices by parameter, as :func:`rekur.tune.suggest` has them. By default cell, units, dropout,
        learning rate and batch size, as far as it has them.
    objective : str, function, or a sequence
        A number of the epoch's logs, which counts at its best epoch; or a function of the model or estimator trained.
        Followed by costs, ``("val_loss", "latency")``: the study has several objectives and seeks a front.
    direction : {"minimize", "maximize"}, optional
        Of the objective; by default known by its name, and "minimize" of a function.
    budget : Budget or dict, optional
        ``{"latency": 0.001, "size": "200KB"}``: see :class:`rekur.tune.Budget`. What is over it is not trained.
        A study that goes on has the one it was begun with.
    trials : int
        How many the study has in the end, those of earlier runs and other processes included.
    timeout : float, optional
        Seconds after which no trial begins any more.
    epochs : int
        At most, of each trial (an estimator has its own).
    patience : int, optional
        Epochs without a better objective after which a trial ends; None: all epochs are done. The weights of the best
        epoch are kept in any case.
    workers : int
        Processes, which share the engine's threads.
    folder : str or path, optional
        Where models and, without ``storage``, the study are kept. A search that was broken off goes on by the same
        call. None: nothing stays but what is returned.
    storage : str or optuna storage, optional
        A URL, ``"sqlite:///study.db"``, ``"postgresql+psycopg2://…"``, that processes of several machines may share.
    name : str
        Of the study.
    sampler : optuna sampler, optional
        TPE by default.
    pruner : {"median", "hyperband"}, optuna pruner or None
        Which trials end early; None: none does.
    seed : int, optional
        Of the sampler and of models and estimators that have none: the same gives the same trials with one worker, as
        long as the same are within a budget of measured time.
    verbose : {0, 1}
        1: a line a trial.
    **fit
        Arguments of ``fit``: batch_size, validation_split, sample_weight, lengths, callbacks, …

    Returns
    -------
    Search

    Raises
    ------
    ValueError, TypeError
        For what does not fit, before the first trial; so is another budget or objective than a study was begun with.
        Within a trial a ValueError, ArithmeticError or MemoryError, a loss that is no number among them, ends the
        trial, which has failed; other errors end the search. ValueError too if at the end no trial was done.
    ImportError
        Without Optuna: ``pip install "rekur[tune]"``.
    RuntimeError
        If all processes have died, or a study goes on with other choices than it was begun with.
    OSError
        If the folder or the storage cannot be written.

    Examples
    --------
    >>> build = rekur.tune.Recurrent((72, 9), 24, loss="mean_absolute_error")
    >>> found = rekur.tune.search(build, x, y, validation_data=(xv, yv), budget={"latency": 50e-6})
    >>> print(found)
    >>> found.best_model.save("model.safetensors")
    """
    check_fit(fit, "tune.search")
    check_data("tune.search", x=x, y=y, validation_data=validation_data)
    estimator = isinstance(build, Estimator)
    if not estimator and (not callable(build) or isinstance(build, (Structure, type))):
        raise TypeError(f"tune.search: build must be a function of a trial, or an estimator, got {build!r}")
    if estimator and (fit or validation_data is not None):
        given = [*fit, *(["validation_data"] if validation_data is not None else [])]
        raise ValueError(f"tune.search: {given[0]} is not for estimators, whose parameters say how they are trained")
    if space is not None and not estimator:
        raise ValueError("tune.search: space is for estimators; a function says itself what it takes")
    held = estimator or validation_data is not None or bool(fit.get("validation_split"))
    goal = Goal.of(objective, direction).watching(held, "tune.search")
    options = {} if estimator else {**fit, "epochs": integer(epochs, "epochs"), "validation_data": validation_data}
    job = Job(
        build=build,
        space=space_of(build, space) if estimator else None,
        x=x,
        y=y,
        fit=options,
        monitor=goal.monitor,
        objective=goal.function,
        names=goal.names,
        larger=goal.larger,
        budget=Budget.of(budget),
        patience=optional_integer(patience, "patience"),
        seed=None if seed is None else integer(seed, "seed", 0),
        folder=Path(),
    )
    return Run(job, folder, storage, name, integer(workers, "workers"), sampler, pruner, verbose).go(
        integer(trials, "trials"), None if timeout is None else real(timeout, "timeout", 0.0)
    )


def load(folder: str | os.PathLike[str] | None = None, *, storage: Any = None, name: str = "search") -> Search:
    """A search of an earlier run, or one that other processes are at.

    Parameters
    ----------
    folder, storage, name : as of :func:`search`

    Raises
    ------
    ValueError
        If there is no search of that name.
    """
    if folder is None and storage is None:
        raise ValueError("tune.load: give the folder of the search, or its storage")
    if storage is None and not exists(as_path(folder, "folder")):
        raise ValueError(f"tune.load: there is no search in '{as_path(folder, 'folder')}'")
    place = Place(folder, storage, False)
    with silent():
        kept = place.storage()
        names = optuna().study.get_all_study_names(kept)
        if name not in names:
            raise ValueError(f"tune.load: there is no search named {name!r}{did_you_mean(name, names)}")
        study = optuna().load_study(study_name=name, storage=kept)
    said = study.user_attrs.get(_KEY)
    if said is None:
        raise ValueError(f"tune.load: the study {name!r} was not made by rekur.tune")
    return Search(study, said["objective"], said["larger"], place.folder, place.held)


def check_fit(fit: Mapping[str, Any], what: str) -> None:
    """Raises TypeError for what ``fit`` does not take."""

    known = [each for each in inspect.signature(Model.fit).parameters if each not in _NOT_FIT]
    for given in fit:
        if given not in known:
            raise TypeError(f"{what}: unexpected argument '{given}'{did_you_mean(given, [*known, *_OWN])}")


def check_data(what: str, **data: Any) -> None:
    """Raises TypeError for what can be read only once: each trial reads all of it."""
    for name, given in data.items():
        if isinstance(given, Iterator):
            raise TypeError(
                f"{what}: {name} is read anew by each trial; a {type(given).__name__} can be read only once: give "
                f"arrays, or a source that begins anew each time, such as a PyDataset"
            )


@dataclasses.dataclass(frozen=True)
class Goal:
    """What is minimised or maximised."""

    monitor: str
    function: Any
    names: list[str]
    larger: bool

    @classmethod
    def of(cls, objective: Any, direction: Any) -> "Goal":
        listed = list(objective) if isinstance(objective, (list, tuple)) else [objective]
        first, further = (listed or [None])[0], listed[1:]
        for cost in further:
            if cost not in COSTS:
                raise ValueError(
                    f"objective: what follows the first is a cost, one of {', '.join(COSTS)}; got {cost!r}"
                    f"{did_you_mean(str(cost), COSTS)}"
                )
        if len(set(further)) < len(further):
            raise ValueError(f"objective: a cost stands there twice: {', '.join(further)}")
        if direction is not None and direction not in _DIRECTIONS:
            raise ValueError(f"direction must be 'minimize' or 'maximize', got {direction!r}")
        if callable(first):
            label = getattr(first, "__name__", "objective").replace("<lambda>", "objective")
            return cls("val_loss", first, [label, *further], direction == "maximize")
        if not isinstance(first, str):
            raise TypeError(f"objective: expected a name such as 'val_loss', or a function of the model, got {first!r}")
        if first in COSTS:
            raise ValueError(f"objective: {first!r} alone would find the smallest model: ('val_loss', {first!r})")
        larger = metrics.larger_is_better(first.removeprefix("val_"))
        if direction is None and larger is None:
            raise ValueError(f"direction: whether a larger '{first}' is better cannot be told from its name: give it")
        return cls(first, None, [first, *further], bool(larger) if direction is None else direction == "maximize")

    def watching(self, held: bool, what: str) -> "Goal":
        """The same; where there are no validation data, early stopping beside a function looks at the loss.

        Raises
        ------
        ValueError
            If what is asked for is a number of validation.
        """
        if held or not self.monitor.startswith("val_"):
            return self
        if self.function is None:
            raise ValueError(f"{what}: objective {self.monitor!r} needs validation_data (or validation_split)")
        return dataclasses.replace(self, monitor="loss")

    @property
    def directions(self) -> list[str]:
        """As Optuna has them."""
        return [_DIRECTIONS[self.larger], *["minimize"] * (len(self.names) - 1)]


class Run:
    """A search under way.

    Parameters
    ----------
    job : Job
    folder, storage, name, workers, sampler, pruner, verbose
        As of :func:`search`.
    """

    def __init__(
        self,
        job: Job,
        folder: Any,
        storage: Any,
        name: str,
        workers: int,
        sampler: Any,
        pruner: Any,
        verbose: int,
    ) -> None:
        optuna()
        self._workers, self._verbose = workers, integer(verbose, "verbose", 0)
        self._open = Opening(check_name(name), job, sampler, pruner)
        self._place = Place(folder, storage, workers == 1)
        self._place.folder.mkdir(parents=True, exist_ok=True)
        job.folder = self._place.folder.absolute()
        self._job = job
        self.study = self._open.study(self._place.storage())

    def go(self, trials: int, timeout: float | None) -> Search:
        """Until the study has so many trials."""
        begin = time.monotonic()
        waiting = optuna().trial.TrialState.WAITING
        own: set[int] = set()  # those begun here
        given = 0  # how many were to begin here, the latest of which the study may not have yet

        def left() -> int:
            """Without those of other programs, which may be at the study as well."""
            with silent():
                known = self.study.get_trials(deepcopy=False)
            others = sum(each.state != waiting and each.number not in own for each in known)
            return trials - given - int(others)

        def may() -> bool:
            nonlocal given
            if left() <= 0 or (timeout is not None and time.monotonic() - begin >= timeout):
                return False
            given += 1
            return True

        if self._workers == 1:
            while may():
                self.told(run_one(self._job, self.study, own.add))
        elif (most := left()) > 0:
            start = functools.partial(_begin, self._job, self._open, self._place.given)
            Workers(min(self._workers, most), start).run(may, own.add, self.told, self._lost)
        return self.result()

    def result(self) -> Search:
        """What was found.

        Raises
        ------
        ValueError
            If no trial was done.
        """
        job = self._job
        found = Search(self.study, job.names[0], job.larger, job.folder, self._place.held)
        if not any(trial.state == "done" for trial in found.trials):
            raise ValueError(f"tune: {nothing_done(found.trials)}")
        return found

    def told(self, number: int) -> None:
        """A trial has ended: it is said what became of it."""
        if not self._verbose:
            return
        trials = self.study.get_trials(deepcopy=False)
        print(line(TrialResult.of(trials[number]), self._job.names[0]), file=sys.stderr, flush=True)

    def _lost(self, number: int, text: str) -> None:
        """A process has died, or was ended: its trial has failed."""
        if text != BROKEN_OFF:
            at = f" in trial {number}" if number >= 0 else ""
            warnings.warn(f"tune: {text}{at}", RuntimeWarning, stacklevel=5)
        if number >= 0:
            with silent():
                frozen = self.study.get_trials(deepcopy=False)[number]
                if not frozen.state.is_finished():
                    self.study._storage.set_trial_user_attr(frozen._trial_id, "error", text)
                    self.study.tell(number, state=optuna().trial.TrialState.FAIL)


class Opening:
    """How each process opens the study.

    Parameters
    ----------
    name : str
    job : Job
        What is sought, within which budget; its seed.
    sampler, pruner
        As of :func:`search`; checked here.
    """

    def __init__(self, name: str, job: Job, sampler: Any, pruner: Any) -> None:
        self._name, self._names, self._larger, self._seed, self._sampler = (
            name,
            job.names,
            job.larger,
            job.seed,
            sampler,
        )
        self._budget = dataclasses.asdict(job.budget)
        self._pruner = pruner_of(pruner, len(job.names) > 1)
        sampler_of(sampler, job.seed)

    def study(self, storage: Any, worker: int = 0) -> Any:
        """The study, made or taken up, of the program or of its n-th worker, counted from 1.

        Raises
        ------
        ValueError
            If there is another of this name.
        """
        directions = [_DIRECTIONS[self._larger], *["minimize"] * (len(self._names) - 1)]
        with silent():
            study = optuna().create_study(
                study_name=self._name,
                storage=storage,
                directions=directions if self._name not in optuna().study.get_all_study_names(storage) else None,
                pruner=self._pruner,
                load_if_exists=True,
            )
            begun = len(study.get_trials(deepcopy=False))
            # Neither does a worker ask for what another does, nor a search that goes on for what was tried.
            seed = None if self._seed is None else (self._seed + 1_000_003 * begun + 7919 * worker) % 2**32
            study.sampler = sampler_of(self._sampler, seed)
            if worker and self._sampler is not None:
                study.sampler.reseed_rng()
        said = {"objective": self._names[0], "names": self._names, "larger": self._larger, "budget": self._budget}
        before = study.user_attrs.get(_KEY)
        if before is None and begun:
            raise ValueError(f"name: the storage has a study {self._name!r} that rekur.tune has not made: give another")
        if (
            before is not None
            and before != said
            and before["names"] == said["names"]
            and before["larger"] == self._larger
        ):
            raise ValueError(
                f"name: the study {self._name!r} has another budget, {_limits(before['budget'])}, not "
                f"{_limits(self._budget)}: give another name"
            )
        if before is not None and before != said:
            raise ValueError(
                f"name: the study {self._name!r} seeks the best {', '.join(before['names'])}, not "
                f"{', '.join(self._names)}: give another name"
            )
        if before is None:
            study.set_user_attr(_KEY, said)
        return study


def _limits(budget: Mapping[str, Any]) -> str:
    plain = dataclasses.asdict(Budget())
    return ", ".join(f"{name} {value}" for name, value in budget.items() if value != plain[name]) or "none"


def _begin(job: Job, opening: Opening, url: Any, worker: int) -> Callable[[Any], None]:
    """In a process: a function that runs one trial."""
    study = opening.study(storage_of(url), worker + 1)

    def run(began: Callable[[int], None]) -> None:
        run_one(job, study, began)

    return run


def run_one(job: Job, study: Any, began: Callable[[int], None] = lambda number: None) -> int:
    """One trial of a study; its number."""
    numbers = []

    def objective(trial: Any) -> Any:
        numbers.append(trial.number)
        began(trial.number)
        return job.run(trial)

    with silent():
        study.optimize(objective, n_trials=1, catch=FAILURES)
        job.forget_beaten(study)
    return int(numbers[-1])


def line(trial: TrialResult, name: str) -> str:
    """What is said of a trial."""
    what = f"trial {trial.number}: "
    if trial.value is not None:
        what += f"{name} {trial.value:.5g}"
    else:
        what += {"over": "over the budget", "pruned": "pruned", "failed": "failed"}.get(trial.state, trial.state)
        if trial.reason:
            what += f" ({trial.reason})"
    known = [f"{cost} {shown(cost, value)}" for cost, value in trial.costs.items() if value is not None]
    taken = [described(trial)] if trial.params else []
    seconds = [] if trial.seconds is None else [f"{trial.epochs} epochs, {trial.seconds:.1f} s"]
    return " | ".join([what, *([", ".join(known)] if known else []), *taken, *seconds])


_OWN: Sequence[str] = list(search.__kwdefaults__ or ())
