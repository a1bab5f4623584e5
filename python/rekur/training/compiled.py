"""What ``compile`` was given, checked; :mod:`rekur.training.bound` makes the engine's trainer of it."""

import copy
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rekur import _core
from rekur import losses as losses_
from rekur import metrics as metrics_
from rekur import optimizers as optimizers_
from rekur._validate import boolean, integer, one_of, real
from rekur.training.bound import Bound, warn_of
from rekur.training.carried import Carried
from rekur.training.data import Port

if TYPE_CHECKING:
    from rekur.distributed import DataParallel

_TRAINED = one_of("float32", "bf16")


class Compiled:
    """The arguments of ``compile``, checked as far as that goes without the model's outputs; see :meth:`bind`."""

    def __init__(
        self,
        optimizer: object,
        loss: object,
        metrics: object,
        loss_weights: object,
        seed: int | None,
        remat: bool = False,
        weighted_metrics: object = None,
        precision: object = "float32",
    ) -> None:
        self.optimizer = optimizers_.get(optimizer)
        self.loss = _each(loss, losses_.get)
        self.metrics = _each(metrics, metrics_.get)
        self.weighted_metrics = _each(weighted_metrics, metrics_.get)
        self.loss_weights = _each(loss_weights, lambda w: real(w, "loss_weights"))
        self.seed = None if seed is None else integer(seed, "seed", 0)  # None: the model's
        self.remat = boolean(remat, "remat")
        self.precision = _TRAINED(precision, "compile: precision")
        self.distribution = _distribution()

    def __getstate__(self) -> dict[str, Any]:  # ranks are no part of a model
        return {name: value for name, value in vars(self).items() if name != "distribution"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.distribution = _distribution()

    def bind(self, model: _core.Model, outputs: Sequence[Port], seed: int, carried: Carried | None = None) -> Bound:
        """The trainer of a model and all around it; ``seed`` is the model's."""
        return Bound(self, model, outputs, seed if self.seed is None else self.seed, carried)

    def losses(self) -> list[losses_.Loss]:
        """The losses, wherever they stand."""
        found: list[losses_.Loss] = []
        _each(self.loss, found.append)
        return found

    def recorded(self, bound: Bound) -> "Compiled":
        """The same with losses as they were recorded, whatever their functions would do now."""
        rest = copy.copy(self)
        rest.distribution = self.distribution
        rest.loss = list(bound.losses)
        return rest

    def without(self, is_left_out: Callable[[metrics_.Metric], bool], how: str) -> "Compiled":
        """The same but for some metrics; a warning names them."""
        left_out: list[str] = []

        def keep(entry: Any) -> Any:
            if isinstance(entry, dict):
                return {key: keep(value) for key, value in entry.items()}
            if isinstance(entry, list):
                return [keep(value) for value in entry]
            if entry is None or not is_left_out(entry):
                return entry
            left_out.append(entry.name)
            return None

        rest = copy.copy(self)
        rest.distribution = self.distribution
        rest.metrics, rest.weighted_metrics = keep(self.metrics), keep(self.weighted_metrics)
        if left_out:
            warn_of(left_out, how, 5)
        return rest


def _distribution() -> "DataParallel | None":
    """What was set, if anybody has asked for the module."""
    module = sys.modules.get("rekur.distributed")
    found: DataParallel | None = None if module is None else module.distribution()
    return found


def _each(value: Any, convert: Any) -> Any:
    """``convert`` applied inside dicts, lists and lists of lists; None stays."""
    if value is None:
        return None
    if isinstance(value, Mapping) and not {"name", "type"} & set(value):
        return {k: _each(v, convert) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_each(v, convert) for v in value]
    return convert(value)
