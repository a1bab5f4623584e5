"""The callback between a fit and a trial of Optuna."""

import math
from typing import Any

from rekur.callbacks import Callback
from rekur.callbacks.base import Logs
from rekur.tasks._words import counted
from rekur.tune._cost import Budget
from rekur.tune._needs import optuna

_FAR = 1e6  # times over a limit: what is infinitely so


class Pruning(Callback):
    """Reports each epoch to a trial of Optuna, and ends the fit where the study's pruner says so.

    For objectives of one's own; :func:`rekur.tune.search` has it in each fit.

    Parameters
    ----------
    trial : optuna.trial.Trial
    monitor : str
        A key of the epoch's logs.
    budget : Budget or dict, optional
        Before the first step the model's costs are measured. One over the budget is not trained. Samplers are told by
        constraints of the trial, "latency" for example: how many times the limit the cost is, less one.

    Raises
    ------
    optuna.TrialPruned
        From fit.
    ValueError
        From fit, if there is no such number.

    Notes
    -----
    A loss that is no number any more ends the fit; it is not reported. Where the study has several objectives, for
    which Optuna knows no pruning, nothing is. Of several fits with one callback the first is reported. The trial's user
    attributes are ``costs`` and, of one over the budget, ``over``.

    Examples
    --------
    >>> def objective(trial):
    ...     model = build(trial)
    ...     callbacks = [rekur.tune.Pruning(trial, budget={"latency": 1e-4})]
    ...     history = model.fit(x, y, validation_data=(xv, yv), epochs=20, callbacks=callbacks)
    ...     return min(history.history["val_loss"])
    >>> optuna.create_study().optimize(objective, n_trials=50)
    """

    def __init__(self, trial: Any, monitor: str = "val_loss", budget: Any = None) -> None:
        if not hasattr(trial, "should_prune"):
            raise TypeError(f"Pruning: expected a trial of Optuna, got {trial!r}")
        if not isinstance(monitor, str):
            raise TypeError(f"Pruning: monitor is a name of the epoch's logs, got {monitor!r}")
        self.trial, self.monitor, self.budget = trial, monitor, Budget.of(budget)
        self._fits = 0
        study = getattr(trial, "study", None)
        self._reports = study is None or len(study.directions) == 1

    _attributes = ("trial", "monitor", "budget")
    _needed = True  # whether it is an error if there is no such number
    _whole = True  # whether the model is all there is to be measured, or one network of an estimator's

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._fits += 1
        if self._fits > 1:
            return
        self._costs, over = self.budget.costs(self.model)
        if self._whole or over:
            check_costs(self.trial, self.budget, self._costs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        found = logs or {}
        if self.monitor not in found:
            if self.monitor in self.params["metrics"] or not self._needed:
                return  # an epoch without validation
            hint = "; give fit validation data" if self.monitor.startswith("val_") else ""
            raise ValueError(f"Pruning: there is no '{self.monitor}' to monitor among {', '.join(found)}{hint}")
        value = float(found[self.monitor])
        if not math.isfinite(value):
            self.model.stop_training = True
            return
        if self._fits > 1 or not self._reports:
            return
        self.trial.report(value, epoch)
        if self.trial.should_prune():
            after = f"{self.monitor} {value:.4g} after {counted(epoch + 1, 'epoch')}"
            self.trial.set_user_attr("pruned", after)
            if not self._whole:
                check_costs(self.trial, self.budget, self._costs)
            raise optuna().TrialPruned(after)


def keep_costs(trial: Any, costs: dict[str, float]) -> None:
    """Infinite ones, which JSON does not have, as None."""
    trial.set_user_attr("costs", {name: value if math.isfinite(value) else None for name, value in costs.items()})


def check_costs(trial: Any, budget: Budget, costs: dict[str, float]) -> None:
    """Keep the costs of a trial, and tell samplers, which is possible once, how far they are from the limits.

    Raises
    ------
    optuna.TrialPruned
        If one is over its limit.
    """
    keep_costs(trial, costs)
    for name, limit in budget.limits.items():
        if name in costs:
            trial.set_constraint(name, min(costs[name] / limit - 1, _FAR))
    if over := budget.over(costs):
        trial.set_user_attr("over", over)
        raise optuna().TrialPruned(over)
