"""``quantize``: a model with its matrices in sixteen bits, and what that changes."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur._validate import Floats, one_of
from rekur.models import Model, clone_model, load_model
from rekur.training.by_batch import unflatten

_TYPE = one_of("bf16", "fp16")
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
class Quantized:
    """A model whose matrices are in sixteen bits, and what that changes. ``print`` it for a table."""

    model: Model  # computes in float32 with the rounded numbers; save(path, weights=…) writes them
    weights: str
    outputs: list[OutputDeviation]  # empty where no data was given
    deviations: list[WeightDeviation]  # of the rounded weights, the largest first
    bytes_before: int  # of all weights
    bytes_after: int

    @property
    def largest(self) -> float:
        """The largest deviation over all outputs."""
        return max((output.largest for output in self.outputs), default=0.0)

    def __str__(self) -> str:
        lines = [f"{self.weights}: weights of {self.bytes_after:,} bytes, {self.bytes_before:,} in float32"]
        names = [*(output.name for output in self.outputs), *(weight.name for weight in self.deviations)]
        width = max(map(len, ("output", *names)))
        if self.outputs:
            lines.append(f"{'output':<{width}}  largest deviation  mean deviation  of its range")
            for output in self.outputs:
                lines.append(
                    f"{output.name:<{width}}  {output.largest:>17.3g}  {output.mean:>14.3g}  {output.range:>12.4g}"
                )
        lines.append(f"{'weight':<{width}}  largest deviation  mean deviation  (of its largest magnitude)")
        for weight in self.deviations[:_SHOWN]:
            lines.append(f"{weight.name:<{width}}  {weight.largest:>17.3g}  {weight.mean:>14.3g}")
        if len(self.deviations) > _SHOWN:
            lines.append(f"… and {len(self.deviations) - _SHOWN} more, which deviate less")
        return "\n".join(lines)


def quantize(model: Model | str | os.PathLike[str], weights: str = "bf16", *, data: Any = None) -> Quantized:
    """A copy of a model with its matrices (kernels, recurrent kernels, embeddings) rounded to sixteen bits.

    Each number becomes the nearest one that ``weights`` has, of two the even one. Arithmetic and states stay float32,
    and so do biases, gains and weights a unit: the result is, to the bit, the float32 model with the rounded numbers.
    It is a model like any other and can be trained again. ``save(path, weights=…)``, ``rekur.export_cpp(…, weights=…)``
    write its matrices in half the bytes; streams and calls of one row of it read half the bytes where that is sooner.

    Parameters
    ----------
    model : Model or path
        It stays as it is.
    weights : str
        ``"bf16"``: 8 bits of precision, the range of float32. ``"fp16"``: 11 bits of precision, magnitudes up to 65504,
        less precise below 6e-5.
    data : array, or list of arrays
        What :meth:`Model.predict` takes: what the outputs are compared on. Without it only the weights are.

    Returns
    -------
    Quantized
        The model and the deviations; ``print`` it for a table.

    Raises
    ------
    ValueError
        For another type, or a weight that is too large for fp16 (its name is said).
    """
    weights = _TYPE(weights, "quantize: weights")
    original = _model_of(model)
    engine = original._engine()
    before, after = engine.get_weights(), engine.rounded_weights(weights)
    rounded = clone_model(original)
    rounded._engine().set_weights(after)
    one, other = unflatten(engine, before), unflatten(engine, after)
    deviations = [_weight(name, one[name], other[name]) for name in engine.matrices]
    deviations.sort(key=lambda deviation: -deviation.largest)
    saved = 2 * sum(one[name].size for name in engine.matrices)
    outputs = [] if data is None else _outputs(original, rounded, data)
    return Quantized(rounded, weights, outputs, deviations, before.nbytes, before.nbytes - saved)


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


def _outputs(original: Model, rounded: Model, data: Any) -> list[OutputDeviation]:
    names = [name for name, _, _ in original._engine().outputs]
    before, after = (_arrays(model.predict(data, verbose=0)) for model in (original, rounded))
    return [_output(*pair) for pair in zip(names, before, after, strict=True)]


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
