"""A compiled model's trainer: losses, metrics and the optimiser of the outputs that the model has."""

import copy
import json
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rekur import _core
from rekur import losses as losses_
from rekur import metrics as metrics_
from rekur._spec import dumps, nodes, split_reference
from rekur._validate import Floats, did_you_mean, spread
from rekur.training.carried import Carried
from rekur.training.data import Port, Rows
from rekur.training.memory import Limit
from rekur.training.totals import Results, Totals

if TYPE_CHECKING:
    from rekur.training.compiled import Compiled
    from rekur.training.truncated import Truncated

Config = dict[str, Any]
_ADDING = frozenset(("AddLoss", "ActivityRegularization"))  # layers that do without the loss of an output


def _per_output(value: Any, outputs: Sequence[Port], what: str) -> list[Any]:
    """One value an output, of a single value, a list in their order or a dict by name."""
    if isinstance(value, dict):
        names = [o.name for o in outputs]
        for key in value:
            if key not in names:
                raise ValueError(f"{what}: the model has no output '{key}'{did_you_mean(key, names)}")
        return [value.get(n) for n in names]
    if isinstance(value, list):
        if len(value) != len(outputs):
            raise ValueError(f"{what}: expected one for each of the {len(outputs)} outputs, got {len(value)}")
        return list(value)
    return [value] * len(outputs)


def _in_python(loss: losses_.Numpy, batch: Rows, k: int) -> Callable[[Floats, bool], tuple[Any, Any]]:
    """What the engine calls in the middle of a step: (values of all rows or steps, their gradients)."""

    def compute(output: Floats, want_gradient: bool) -> tuple[Any, Any]:
        y_true, keep = batch.targets[k], batch.present(k, output.shape)
        assert y_true is not None
        if loss._in_file:
            steps = batch.valid[k]
            steps = np.ones(output.shape[:-1], dtype=bool) if steps is None else steps
            return loss.of_rows(y_true, output, steps, batch.weights[k], want_gradient)
        if keep is None:
            keep = np.ones(output.shape[:-1], dtype=bool)
        y_true, y_pred = y_true[keep], output[keep]
        values = np.zeros(output.shape[:-1])
        gradient = np.zeros_like(output) if want_gradient else None
        if len(y_pred):
            values[keep] = loss.values(y_true, y_pred)
            if gradient is not None:
                gradient[keep] = loss.gradient(y_true, y_pred)
        return values, gradient

    return compute


def _last_layers(model: _core.Model) -> list[dict[str, Any]]:
    """The layers that the outputs come from, as the spec has them, each by the name of its call."""
    spec = json.loads(model.spec)
    calls = {node["name"]: node for node in nodes(spec)}
    return [calls[split_reference(output)[0]] for output in spec["outputs"]]


class Bound:
    """A compiled model's trainer, and what it takes to read its results."""

    def __init__(
        self, compiled: "Compiled", model: _core.Model, outputs: Sequence[Port], seed: int, carried: Carried | None
    ) -> None:
        self.carried = carried
        self.outputs = list(outputs)
        losses: list[losses_.Loss | None] = _per_output(compiled.loss, outputs, "loss")
        if all(loss is None for loss in losses) and not _ADDING & {e["type"] for e in json.loads(model.spec)["layers"]}:
            raise ValueError(
                "compile needs a loss, such as loss='mean_squared_error', or a layer that adds to it: no output has one"
            )
        for loss, layer in zip(losses, _last_layers(model), strict=False):
            if loss is not None and loss._reduction == "none":
                loss.refuse_rows()
            choices = layer["type"] == "CRF" and layer.get("output_mode", "tags") == "tags"
            if loss is not None and choices and loss.name != "crf":
                raise ValueError(
                    f"output '{layer['name']}': {loss.name} has no gradient by the best tags: compile with loss='crf', "
                    "or take CRF(output_mode='marginals')"
                )
        self.losses = [None if loss is None else loss.bound(o.shape) for loss, o in zip(losses, outputs, strict=True)]
        weights = _per_output(compiled.loss_weights, outputs, "loss_weights")
        self.loss_weights = [1.0 if w is None else float(w) for w in weights]
        self.metrics = self._metrics(compiled.metrics)
        self.by_weight = [[False] * len(own) for own in self.metrics]  # of each metric: whether weights count in it
        for own, more, flags in zip(
            self.metrics, self._metrics(compiled.weighted_metrics), self.by_weight, strict=True
        ):
            flags += [True] * len(more)
            taken = {metric.name for metric in own}
            for metric in more:
                if metric.name in taken:
                    metric = copy.deepcopy(metric)
                    metric.name = f"weighted_{metric.name}"
                own.append(metric)
        self.names()
        self.optimizer = compiled.optimizer
        self._weights = [name for name, _, _ in model.parameters]
        self.seed = seed
        self.remat, self.precision = compiled.remat, compiled.precision
        self.epochs = 0  # begun so far: an epoch's order of rows follows it
        self.limit: Limit | None = None
        self.stand_in: Truncated | None = None  # what takes the steps in its place while a fit with tbptt runs
        self.distribution = compiled.distribution
        self.is_shared = False  # whether all ranks of it have begun alike
        ours = all(metrics_.is_saved(metric) for metrics in self.metrics for metric in metrics)
        self.probed = ours  # whether the metrics were tried on data; ours can do nothing wrong
        given = [metric for metric, by_weight in self._each_metric() if by_weight]
        self.takes_any_weights = all(type(m)._check_weights is metrics_.Metric._check_weights for m in given)
        self.wants_outputs = any(self.metrics)
        self._in_python = any(isinstance(loss, losses_.Numpy) for loss in self.losses)
        self._reweighs = any(
            loss is not None and (loss._reduction or loss._ignored is not None) for loss in self.losses
        )
        self._version = self.optimizer._version
        self._model = model
        self._trainer = self._new_trainer()
        self.optimizer._is_used_by(self)

    def _new_trainer(self) -> _core.Trainer:
        config, carried = self.config(), self.carried
        if carried is not None:
            config["losses"] = carried.padded(config["losses"], "outputs")
            config["loss_weights"] = carried.padded(config["loss_weights"], "outputs", 1.0)
        return _core.Trainer(self._model, dumps(config))

    @property
    def trainer(self) -> _core.Trainer:
        """The engine's trainer, with the optimiser's hyperparameters as they are now."""
        if self.stand_in is not None:
            self.stand_in.hand_over()
        version = self.optimizer._version
        if version != self._version or self.optimizer._schedule is not None:
            self._trainer.set_optimizer(dumps(self.optimizer._engine(self._trainer.iterations, self._weights)))
            self._version = version
        return self._trainer

    def set_state(self, tensors: dict[str, Floats], iterations: int, epochs: int, seed: int | None = None) -> None:
        """Go on from the state of another trainer, with its seed where that is given."""
        if seed is not None and seed != self.seed:
            self.seed = seed
            self._trainer = self._new_trainer()
        self.continue_from(tensors, iterations)
        self.epochs = epochs
        if self.stand_in is not None:
            self.stand_in.take_over()

    def continue_from(self, tensors: dict[str, Floats], iterations: int) -> None:
        """The optimiser's part of :meth:`set_state`."""
        self._trainer.set_state(tensors, iterations)
        self.optimizer._iterations = iterations

    def config(self) -> Config:
        """The engine's form of it all."""
        return {
            "optimizer": self.optimizer._engine(self.optimizer._iterations, self._weights),
            "losses": [None if loss is None else loss.config() for loss in self.losses],
            "loss_weights": self.loss_weights,
            "seed": self.seed,
            **({"remat": True} if self.remat else {}),
            **({"precision": self.precision} if self.precision != "float32" else {}),
        }

    def _metrics(self, given: Any) -> list[list[metrics_.Metric]]:
        """A list of metrics an output. A flat list is the single output's; for several it has one entry each."""
        if len(self.outputs) == 1 and not isinstance(given, dict):
            flat = given[0] if isinstance(given, list) and len(given) == 1 and isinstance(given[0], list) else given
            entries = [flat]
        else:
            entries = _per_output(given, self.outputs, "metrics") if given is not None else [None] * len(self.outputs)
        found: list[list[metrics_.Metric]] = []
        for output, loss, entry in zip(self.outputs, self.losses, entries, strict=True):
            metrics = [m for m in (entry if isinstance(entry, list) else [entry]) if m is not None]
            if metrics and loss is None:
                raise ValueError(f"metrics: output '{output.name}' has no loss, so fit is given no target for it")
            if metrics and isinstance(loss, losses_.Numpy) and loss._in_file:
                raise TypeError(
                    f"metrics: the targets of output '{output.name}' are no rows or steps beside those of the output "
                    f"({loss.name}): a metric cannot compare them"
                )
            for metric in metrics:
                if metric._apart:
                    raise TypeError(f"metric '{metric.name}' is none of compile: {metric._apart}")
                if metric._several():
                    raise TypeError(
                        f"metric '{metric.name}' gives several numbers, and logs show one: {metric._one_by}"
                    )
            found.append([metrics_.resolve(m, loss, output.shape[-1]) for m in metrics])
        return found

    def _each_metric(self) -> list[tuple[metrics_.Metric, bool]]:
        """The metrics of all outputs, and whether weights count in them."""
        both = zip(self.metrics, self.by_weight, strict=True)
        return [pair for metrics, flags in both for pair in zip(metrics, flags, strict=True)]

    def step(self, batch: Rows) -> Results:
        """A training step of the engine."""
        if self.limit is not None:
            arrays = batch.inputs if self.carried is None else self.carried.inputs(batch.inputs)
            self._trainer.set_remat(self.limit.remat(arrays))
        if self.distribution is not None:
            self.share()
            return self.distribution.step(self, batch)
        return self._run(self.trainer.step, batch)

    def share(self, again: bool = False) -> None:
        """Begin alike on all ranks, where there are several."""
        if self.distribution is not None and (again or not self.is_shared):
            self.is_shared = True
            self.distribution.begin(self)

    @property
    def writes(self) -> bool:
        """Whether this process is the one that prints and writes files."""
        return self.distribution is None or self.distribution.writes

    def limit_memory(self, size: int) -> None:
        """Hold steps to so many bytes, from now on."""
        slots = sum(slot.nbytes for slot in self.trainer.state().values())
        parts = 1
        if self.distribution is not None:
            more, parts = self.distribution.memory(self._trainer.sums_size())
            slots += more
        self.limit = Limit(size, self._model, slots, self.remat, parts)

    def lift_limit(self) -> None:
        """Take steps again as ``compile`` said."""
        if self.limit is not None:
            self.limit = None
            self._trainer.set_remat(self.remat)

    def evaluate(self, batch: Rows) -> Results:
        """The losses of a batch, and where there are metrics its outputs."""
        if self.distribution is not None:
            self.share()
            return self.distribution.evaluate(self, batch)
        return self._run(self.trainer.evaluate, batch)

    def _own_losses(self, batch: Rows) -> list[Any] | None:
        """What the engine calls in the middle of a step, by output; None: it computes all losses itself."""
        if not self._in_python:
            return None
        return [
            _in_python(loss, batch, k) if isinstance(loss, losses_.Numpy) else None
            for k, loss in enumerate(self.losses)
        ]

    def _run(self, call: Callable[..., Results], batch: Rows) -> Results:
        own = self._own_losses(batch)
        targets = batch.targets
        if own is not None:  # of any dtype: the engine does not see them
            targets = [None if function is not None else y for function, y in zip(own, targets, strict=True)]
        marks, carried = batch.marks.engine, self.carried
        weights = self._weights_of(batch) if self._reweighs else batch.weights
        if carried is None:
            return call(batch.inputs, targets, marks, weights, self.wants_outputs, own)
        loss, losses, outputs, counts = call(
            carried.inputs(batch.inputs),
            carried.padded(targets, "outputs"),
            carried.marks(marks),
            carried.padded(weights, "outputs"),
            True,
            None if own is None else carried.padded(own, "outputs"),
        )
        assert outputs is not None
        public = len(self.outputs)
        return loss, losses[:public], carried.keep(outputs), counts[:public]

    def _weights_of(self, batch: Rows) -> list[Floats | None]:
        """The weights of a batch, scaled where a loss is another than the mean over all rows or steps.

        The engine divides by the number N of valid rows or steps: of a sum, N times the weights; of a mean by weight, N
        over their sum; of a mean without some class, N over the number of the others, whose weights are 0.
        """
        weights = list(batch.weights)
        for k in range(len(self.losses)):
            found = self._counted(k, batch)
            if found is None:
                continue
            there, count, divisor = found
            scaled = there * np.float32(count / divisor if divisor else 0.0)
            flat = there.shape[:1] + ((-1,) if there.ndim > 1 else ())
            weights[k] = np.ascontiguousarray(scaled.reshape(flat), np.float32)
        return weights

    def _counted(self, k: int, batch: Rows) -> tuple[Floats, int, float] | None:
        """Of a loss other than the mean over all rows or steps: the weights of what counts, N, and the divisor."""
        loss, target = self.losses[k], batch.targets[k]
        if loss is None or target is None or (loss._reduction is None and loss._ignored is None):
            return None
        shape = target.shape if loss.sparse or target.ndim == 1 else target.shape[:-1]
        weight, steps = spread(batch.weights[k], shape), spread(batch.valid[k], shape)
        valid = np.ones(shape, bool) if steps is None else steps
        count = int(valid.sum())
        if loss._ignored is not None:
            valid = valid & (target != loss._ignored)
        there = np.where(valid, np.float32(1) if weight is None else weight, np.float32(0))
        by = {"sum": 1.0, "mean_with_sample_weight": float(there.sum(dtype=np.float64))}
        return there, count, by.get(loss._reduction or "", float(valid.sum()))

    def mean_over(self, k: int, batch: Rows, count: int) -> float:
        """What a batch's loss, of ``count`` valid rows or steps, is a mean over: what it weighs in the epoch's."""
        loss = self.losses[k]
        if (loss is not None and loss._whole_rows) or (isinstance(loss, losses_.Numpy) and loss._in_file):
            return len(batch)
        found = self._counted(k, batch) if self._reweighs else None
        return count if found is None or (loss is not None and loss._reduction == "sum") else found[2]

    def names(self) -> list[str]:
        """The keys of the logs, in the order of evaluate's results: loss, losses of several outputs, metrics."""
        several = len(self.outputs) > 1
        names = ["loss"]
        if several:
            names += [f"{o.name}_loss" for o, loss in zip(self.outputs, self.losses, strict=True) if loss is not None]
        for output, metrics in zip(self.outputs, self.metrics, strict=True):
            names += [f"{output.name}_{m.name}" if several else m.name for m in metrics]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"metrics: '{name}' is there twice; give one of them another name")
        return names

    def larger_is_better(self, name: str) -> bool | None:
        """Which way one of :meth:`names` is better, where the metric says so."""
        several = len(self.outputs) > 1
        for output, metrics in zip(self.outputs, self.metrics, strict=True):
            for metric in metrics:
                if name == (f"{output.name}_{metric.name}" if several else metric.name):
                    known = metric.larger_is_better
                    return metrics_.larger_is_better(metric.name) if known is None else known
        return False if name == "loss" or name.endswith("_loss") else None

    def unsaved(self) -> list[str]:
        """The losses that a file cannot hold."""
        return [loss.name for loss in self.losses if isinstance(loss, losses_.Numpy) and not loss._in_file]

    def saved(self) -> Config:
        """What a file holds of it."""
        left_out = [m.name for metrics in self.metrics for m in metrics if not metrics_.is_saved(m)]
        if left_out:
            warn_of(left_out, "saved", 5)
        kept = [
            [(m, flag) for m, flag in zip(output, flags, strict=True) if metrics_.is_saved(m)]
            for output, flags in zip(self.metrics, self.by_weight, strict=True)
        ]
        targets = [loss.target if isinstance(loss, losses_.Equations) else "any" for loss in self.losses]
        return {
            **self.config(),
            **({"targets": targets} if set(targets) != {"any"} else {}),
            "losses": [None if loss is None else loss._saved() for loss in self.losses],
            "optimizer": self.optimizer._saved(),
            "metrics": [[m.config() for m, _ in output] for output in kept],
            "weighted": [[flag for _, flag in output] for output in kept],
            "iterations": self.trainer.iterations,
            "epochs": self.epochs,
        }

    def probe(self, batch: Rows, predict: Callable[[Rows], Sequence[Floats]]) -> None:
        """Try the metrics on a batch, once, before the first step: what they can get wrong is found then.

        ``predict`` gives the outputs of some rows. A function that returns one number is also told apart: where its
        number of all rows is not the mean of its numbers of both halves, what the logs show is no such number either.
        """
        if self.probed or not len(batch):
            return
        tried = Totals(self)
        outputs = predict(batch)
        counts = [batch.count(k, y.shape) for k, y in enumerate(outputs)]
        tried.add(batch, (0.0, [0.0] * len(self.outputs), list(outputs), counts))
        for k, metrics in enumerate(tried.metrics):
            for metric in metrics:
                metrics_.check_result(metric)
                if metric._one_number and not metrics_.is_saved(metric) and len(batch) > 1:
                    self._tell_apart(metric, k, batch, outputs[k])
        self.probed = True

    def _tell_apart(self, metric: metrics_.Metric, k: int, batch: Rows, y_pred: Floats) -> None:
        if batch.weights[k] is not None:
            return
        # One division may give the same number by accident, as R² has some weights for which it does; three do not.
        rows = len(batch)
        divisions = [(slice(0, at), slice(at, None)) for at in dict.fromkeys((rows // 2, max(rows // 4, 1)))]
        for parts in (*divisions, (slice(0, None, 2), slice(1, None, 2))):
            index = (slice(None), *parts)
            pieces = [batch.take(i) for i in index]
            try:
                with np.errstate(all="ignore"), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    whole, first, second = (
                        self._value(metric, k, piece, y_pred[i]) for piece, i in zip(pieces, index, strict=True)
                    )
            except Exception:  # the parts are ours, not what the caller asked for
                continue
            counts = [piece.count(k, y_pred[i].shape) for piece, i in zip(pieces, index, strict=True)]
            mean = (first * counts[1] + second * counts[2]) / max(counts[0], 1)
            if np.isfinite([whole, mean]).all() and not np.isclose(whole, mean, rtol=1e-3, atol=1e-6):
                warnings.warn(
                    f"metric '{metric.name}' returns one number for many rows that is no mean over them ({whole:.4g} "
                    f"of a batch, {mean:.4g} as the mean of two parts of it): what the logs show is the mean over "
                    f"batches; rekur.metrics.OverAllRows({metric.name}) computes it once over all rows",
                    stacklevel=5,
                )
                return

    def _value(self, metric: metrics_.Metric, k: int, batch: Rows, y_pred: Floats) -> float:
        totals = Totals(self)
        alone = copy.deepcopy(metric)
        alone.reset_state()
        totals.metrics = [[alone] if i == k else [] for i in range(len(self.outputs))]
        totals._by_weight = [[True] * len(metrics) for metrics in totals.metrics]
        totals.update(k, batch, y_pred)
        return float(alone.result())

    def check_weights(self, rows: Rows) -> None:
        """Sample weights of a call that one of the metrics cannot take are found before its first step."""
        for metrics, flags, weight in zip(self.metrics, self.by_weight, rows.weights, strict=True):
            for metric, by_weight in zip(metrics, flags, strict=True):
                if by_weight:
                    metric._check_weights(weight)

    def state(self) -> dict[str, Floats]:
        return self.trainer.state()


def warn_of(left_out: Sequence[str], how: str, level: int) -> None:
    warnings.warn(
        f"not {how}, since a file holds no Python code: the metrics {', '.join(left_out)}; "
        "compile again after loading to have them back",
        stacklevel=level,
    )
