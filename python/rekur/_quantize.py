"""``quantize``: a model with its matrices in sixteen bits, or its products in eight, and what that changes."""

import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur import _int8, _structure
from rekur._validate import Floats, one_of, real
from rekur.models import Model, load_model
from rekur.training.by_batch import unflatten

_TYPE = one_of("bf16", "fp16", "int8")
_SHOWN = 8  # weights in the table


@dataclass(frozen=True)
class OutputDeviation:
    """How far an output is from the float32 model's, in units of that one's range on the data."""

    name: str
    largest: float
    mean: float
    range: float  # largest less smallest value


@dataclass(frozen=True)
class WeightDeviation:
    """How far a matrix is from the float32 model's, in units of its largest magnitude there."""

    name: str
    largest: float
    mean: float


@dataclass(frozen=True)
class LayerDeviation:
    """What a layer of eight bits costs when it is the only one, at the output where that is most."""

    name: str
    largest: float  # as of OutputDeviation
    mean: float


@dataclass(frozen=True)
class Quantized:
    """A model whose matrices are in fewer bits, and what that changes. ``print`` it for a table."""

    model: Model  # save(path, weights=…) writes its matrices in those bits
    weights: str
    outputs: list[OutputDeviation]  # empty where no data was given
    deviations: list[WeightDeviation]  # of the rounded weights, the largest first
    bytes_before: int  # of all weights
    bytes_after: int
    layers: list[LayerDeviation] = field(default_factory=list)  # of eight bits, the most costly first; with data
    floats: dict[str, str] = field(default_factory=dict)  # matrices that stayed float32 beside int8, and why
    metrics: dict[str, tuple[float, float]] = field(default_factory=dict)  # loss and metrics before and after

    @property
    def largest(self) -> float:
        """The largest deviation over all outputs."""
        return max((output.largest for output in self.outputs), default=0.0)

    @property
    def mean(self) -> float:
        """The largest mean deviation over all outputs."""
        return max((output.mean for output in self.outputs), default=0.0)

    def __str__(self) -> str:
        lines = [f"{self.weights}: weights of {self.bytes_after:,} bytes, {self.bytes_before:,} in float32"]
        listed: list[Any] = [*self.outputs, *self.layers, *self.deviations]
        names = [*(entry.name for entry in listed), *self.floats, *self.metrics]
        width = max(map(len, ("float32 weight", *names)))

        def row(name: str, *columns: str) -> str:
            return f"{name:<{width}}  " + "  ".join(f"{column:>17}" for column in columns)

        if self.metrics:
            lines.append(row("metric", "float32", self.weights))
            lines += [row(name, f"{one:.6g}", f"{other:.6g}") for name, (one, other) in self.metrics.items()]
        if self.outputs:
            lines.append(row("output", "largest deviation", "mean deviation", "of its range"))
            for output in self.outputs:
                lines.append(row(output.name, f"{output.largest:.3g}", f"{output.mean:.3g}", f"{output.range:.4g}"))
        if self.layers:
            lines.append(row("layer alone", "largest deviation", "mean deviation") + "  (of an output's range)")
            lines += [row(layer.name, f"{layer.largest:.3g}", f"{layer.mean:.3g}") for layer in self.layers]
        lines.append(row("weight", "largest deviation", "mean deviation") + "  (of its largest magnitude)")
        for weight in self.deviations[:_SHOWN]:
            lines.append(row(weight.name, f"{weight.largest:.3g}", f"{weight.mean:.3g}"))
        if len(self.deviations) > _SHOWN:
            lines.append(f"… and {len(self.deviations) - _SHOWN} more, which deviate less")
        if self.floats:
            lines += ["float32 weight", *(f"{name:<{width}}  {why}" for name, why in self.floats.items())]
        return "\n".join(lines)


def quantize(
    model: Model | str | os.PathLike[str],
    weights: str = "bf16",
    *,
    data: Any = None,
    targets: Any = None,
    keep: Sequence[str] = (),
    largest_loss: float | None = None,
) -> Quantized:
    """A copy of a model with its matrices (kernels, recurrent kernels, embeddings) rounded to fewer bits.

    With ``"bf16"`` and ``"fp16"`` each number becomes the nearest one of sixteen bits, of two the even one. Arithmetic
    and states stay float32, and so do biases, gains and weights a unit: the result is, to the bit, the float32 model
    with the rounded numbers. With ``"int8"`` its layers get ``precision="int8"``: their products are of integers, of
    weights that are rounded once and of rows that are rounded as they come (docs/precision.md). Products too small to
    gain by that stay float32, and so do layers without such products.

    The result is a model like any other and can be trained again, which with ``"int8"`` makes good most of what the
    rounding cost. ``save(path, weights=…)``, ``rekur.export_cpp(…, weights=…)`` write its matrices in fewer bytes.

    Parameters
    ----------
    model : Model or path
        It stays as it is. :meth:`Model.quantize` changes a model itself.
    weights : str
        ``"bf16"``: 8 bits of precision, the range of float32. ``"fp16"``: 11 bits of precision, magnitudes up to 65504,
        less precise below 6e-5. ``"int8"``: integers of -127 to 127, with a scale for each column of a matrix.
    data : array, or list or dict of arrays
        What :meth:`Model.predict` takes: what the outputs are compared on. Without it only the weights are.
    targets : array, or list or dict of arrays
        What :meth:`Model.evaluate` takes beside it: the loss and the metrics that the model is compiled with are told
        before and after.
    keep : list of str
        With ``"int8"``: layers that stay float32, by their names; a model within by its own.
    largest_loss : float
        With ``"int8"``: the most that the mean deviation of an output may be, as a part of that output's range on
        ``data`` (0.005: half a percent of it). Layers stay float32, the most costly first, until that holds.

    Returns
    -------
    Quantized
        The model and the deviations; ``print`` it for a table.

    Raises
    ------
    ValueError
        For another type, a weight that the type does not have (its name is said), data without rows or with numbers
        that are not finite, targets for a model that is not compiled, a layer to keep that there is not; with
        ``"int8"`` where no layer could be of eight bits, or none may be for ``largest_loss``.
    """
    original = _model_of(model)
    return _quantize(original, copy.deepcopy(original), weights, data, targets, keep, largest_loss)


def quantize_in_place(model: Model, weights: str, **options: Any) -> Quantized:
    """What :meth:`Model.quantize` does."""
    model._engine()
    if _TYPE(weights, "quantize: weights") == "int8":
        _int8.check_homes(model)
    done = _quantize(copy.deepcopy(model), copy.deepcopy(model), weights, **options)
    if done.weights == "int8":
        _int8.set_precision(model, _int8.by_layer(done.model._engine()))
    model._engine().set_weights(done.model._engine().get_weights())
    return Quantized(**{**vars(done), "model": model})


def _quantize(
    original: Model,
    rounded: Model,
    weights: str,
    data: Any = None,
    targets: Any = None,
    keep: Sequence[str] = (),
    largest_loss: float | None = None,
) -> Quantized:
    weights = _TYPE(weights, "quantize: weights")
    engine = original._engine()
    _check(original, weights, data, targets, keep, largest_loss)
    if original._carried() is not None:  # whose states stay where they are
        original = copy.deepcopy(original)
    before = None if data is None else _predicted(original, data)
    found = _Search(rounded, data, before)
    if weights == "int8":
        found.narrow(keep, largest_loss)
    else:
        rounded._engine().set_weights(engine.rounded_weights(weights))
    outputs = [] if before is None else found.deviations()
    one, other = (unflatten(core, core.get_weights()) for core in (engine, rounded._engine()))
    core = rounded._engine()
    matrices = core.int8_matrices if weights == "int8" else core.matrices
    deviations = sorted((_weight(name, one[name], other[name]) for name in matrices), key=lambda d: -d.largest)
    total = engine.get_weights().nbytes
    saved = sum(2 * one[name].size if weights != "int8" else _saved(one[name]) for name in matrices)
    metrics = {}
    if targets is not None:
        pair = [_evaluated(m, data, targets) for m in (original, rounded)]
        metrics = {name: (float(value), float(pair[1][name])) for name, value in pair[0].items()}
    return Quantized(rounded, weights, outputs, deviations, total, total - saved, found.layers, found.floats, metrics)


def _saved(matrix: Floats) -> int:
    return 3 * int(matrix.size) - 4 * int(matrix.shape[-1])


class _Search:
    """Which layers of a copy are of eight bits, and what each costs."""

    def __init__(self, rounded: Model, data: Any, before: list[NDArray[Any]] | None) -> None:
        self.model, self.data, self.before = rounded, data, before
        self.layers: list[LayerDeviation] = []
        self.floats: dict[str, str] = {}

    def deviations(self) -> list[OutputDeviation]:
        """Of the outputs, as the layers are now."""
        assert self.before is not None
        pairs = zip(self.model._output_names(), self.before, _predicted(self.model, self.data), strict=True)
        return [_output(*pair) for pair in pairs]

    def _cost(self, name: str, layers: set[str]) -> LayerDeviation:
        _int8.set_precision(self.model, layers)
        found = self.deviations()
        return LayerDeviation(name, max(o.largest for o in found), max(o.mean for o in found))

    def narrow(self, keep: Sequence[str], largest_loss: float | None) -> None:
        model = self.model
        every = [name for layer, name in model._flat().layers.items() if layer.type != "Input"]
        kept = _int8.select(every, keep)
        _int8.set_precision(model, _int8.candidates(model).keys() - kept)
        able = set(_int8.by_layer(model._engine()))
        if not able:
            why = "; ".join(f"{name}: {why}" for name, why in _int8.floats(model, kept, {}).items())
            raise ValueError(f"quantize: model '{model.name}' has no layer that could be of eight bits ({why})")
        costly: dict[str, float] = {}
        if self.before is not None:
            costs = [self._cost(name, {name}) for name in sorted(able)]
            self.layers = sorted(costs, key=lambda cost: -cost.mean)
            for cost in self.layers:
                if largest_loss is None or self._cost("", able).mean <= largest_loss:
                    break
                able.discard(cost.name)
                costly[cost.name] = cost.mean
            if not able:
                raise ValueError(
                    f"quantize: largest_loss: no layer may be of eight bits for a mean deviation of {largest_loss:g} "
                    f"of the output's range: the least costly one, '{self.layers[-1].name}', alone makes "
                    f"{self.layers[-1].mean:.3g}"
                )
        _int8.set_precision(model, able)
        engine = model._engine()
        engine.set_weights(engine.rounded_weights("int8"))
        self.floats = _int8.floats(model, kept, costly)


def _check(model: Model, weights: str, data: Any, targets: Any, keep: Any, largest_loss: float | None) -> None:
    if weights != "int8" and (len(keep) or largest_loss is not None):
        raise ValueError(f"quantize: keep and largest_loss go with weights='int8', not with '{weights}'")
    if data is None and (targets is not None or largest_loss is not None):
        raise ValueError(f"quantize: {'largest_loss' if targets is None else 'targets'} without data")
    if largest_loss is not None:
        real(largest_loss, "quantize: largest_loss", 0)
    if targets is not None and not model.compiled:
        raise ValueError(f"quantize: targets: model '{model.name}' is not compiled, so there is no loss to tell")
    for array in [] if data is None else _structure.flatten(data):
        if not hasattr(array, "__array__") and not isinstance(array, (int, float)):
            raise TypeError(f"quantize: data: expected arrays, which are gone through more than once, got {array!r}")
        numbers = np.asarray(array)
        if numbers.size == 0:
            raise ValueError(f"quantize: data: expected rows to compare outputs on, got shape {numbers.shape}")
        if numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
            raise ValueError(f"quantize: data: {int((~np.isfinite(numbers)).sum())} numbers are not finite")


def _model_of(model: object) -> Model:
    if isinstance(model, Model):
        return model
    if isinstance(model, (str, os.PathLike)):
        return load_model(model)
    raise TypeError(f"quantize: expected a rekur model or the path of one, got {model!r}")


def _weight(name: str, before: Floats, after: Floats) -> WeightDeviation:
    finite = np.isfinite(before)
    scale = float(np.abs(before[finite]).max(initial=0))
    if scale == 0:
        return WeightDeviation(name, 0.0, 0.0)
    difference = np.abs(after[finite].astype(np.float64) - before[finite]) / scale
    return WeightDeviation(name, float(difference.max()), float(difference.mean()))


def _predicted(model: Model, data: Any) -> list[NDArray[Any]]:
    model.reset_states()
    return _arrays(model.predict(data, verbose=0))


def _evaluated(model: Model, data: Any, targets: Any) -> dict[str, float]:
    model.reset_states()
    found: dict[str, float] = model.evaluate(data, targets, verbose=0, return_dict=True)
    return found


def _arrays(predicted: Any) -> list[NDArray[Any]]:
    if isinstance(predicted, dict):
        return list(predicted.values())
    return list(predicted) if isinstance(predicted, (list, tuple)) else [predicted]


def _output(name: str, before: NDArray[Any], after: NDArray[Any]) -> OutputDeviation:
    finite = np.isfinite(before)
    if not finite.any():
        return OutputDeviation(name, 0.0, 0.0, 0.0)
    reference = before[finite].astype(np.float64)
    span = float(np.ptp(reference))
    difference = np.abs(np.where(np.isfinite(after[finite]), after[finite], np.inf) - reference)
    scale = span if span > 0 else 1.0
    return OutputDeviation(name, float(difference.max()) / scale, float(difference.mean()) / scale, span)
