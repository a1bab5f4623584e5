"""Arrays as callers have them, made into what the engine takes. All checks are done before the first step."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur._validate import (
    Array,
    Floats,
    Ints,
    Shape,
    as_float32,
    as_int32,
    as_numeric,
    check_data,
    did_you_mean,
    fits,
    integer,
    real,
    show,
    spread,
)
from rekur.losses import Equations, Loss, Numpy
from rekur.training.batch import Index
from rekur.training.steps import Marks

_WHOLE = 2**24  # whole numbers up to it are exact in float32
_ROUNDING = 1e-5  # how far a computed probability may be off


@dataclass(frozen=True)
class Port:
    """An input or an output of a model."""

    name: str
    shape: Shape  # shape[0] is the batch
    dtype: str
    timed: bool  # whether axis 1 is a time axis
    user: str = ""  # inputs: the layer that reads it, for messages

    def __str__(self) -> str:
        return f"input '{self.name}'{self.user}"


@dataclass
class Rows:
    """Aligned arrays of a call: row r of each belongs together."""

    inputs: list[Array]
    marks: Marks
    targets: list[Array | None]  # per output
    weights: list[Floats | None]  # per output
    valid: list[NDArray[np.bool_] | None]  # per output: which steps (B, T) are there; None: all
    window: int | None = None  # these are one window of their sequences, the how many-th

    def __len__(self) -> int:
        return len(self.inputs[0])

    def take(self, index: Index) -> "Rows":
        """Some rows; a slice copies nothing."""

        marks = self.marks if self.marks.engine is None else self.marks.take(index)
        if isinstance(index, slice):
            return Rows(
                [a[index] for a in self.inputs],
                marks,
                [None if a is None else a[index] for a in self.targets],
                [None if a is None else a[index] for a in self.weights],
                [None if a is None else a[index] for a in self.valid],
            )
        return Rows(  # numbered rows are copied sooner by take than by indexing
            [a.take(index, 0) for a in self.inputs],
            marks,
            [None if a is None else a.take(index, 0) for a in self.targets],
            [None if a is None else a.take(index, 0) for a in self.weights],
            [None if a is None else a.take(index, 0) for a in self.valid],
        )

    def part(self, begin: int, end: int) -> "Rows":
        return self.take(slice(begin, end))

    def present(self, k: int, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
        """Which rows (B,), or steps (B, T), … of output k of this shape are there: no padding, no weight of 0.

        None: all.
        """
        weight = self.weights[k]
        valid: NDArray[np.bool_] | None = spread(self.valid[k], shape[:-1])
        if weight is None or weight.all():
            return valid
        there: NDArray[np.bool_] | None = spread(weight != 0, shape[:-1])
        return there if valid is None or there is None else np.logical_and(valid, there)

    def count(self, k: int, shape: tuple[int, ...]) -> int:
        """Rows, or valid steps, of output k of this shape: what its loss is a mean over."""
        valid = spread(self.valid[k], shape[:-1])
        return int(np.prod(shape[:-1], dtype=np.int64)) if valid is None else int(valid.sum())


def per_port(value: object, ports: Sequence[Port], what: str, default: bool = False) -> list[Any]:
    """One value a port, of a dict by name, a list in order, or for a single port the value itself.

    With ``default`` a dict may leave names out: None.
    """
    if isinstance(value, Mapping):
        names = [p.name for p in ports]
        for key in value:
            if key not in names:
                raise ValueError(f"{what}: there is no '{key}'{did_you_mean(key, names)}")
        missing = [n for n in names if n not in value]
        if missing and not default:
            raise ValueError(f"{what}: '{missing[0]}' is missing")
        return [value.get(n) for n in names]
    if len(ports) == 1:
        wrapped = isinstance(value, (list, tuple)) and len(value) == 1
        # [array] of a model with one input: the list is not the data, whose rank the array already has.
        if wrapped and getattr(value[0], "ndim", None) == len(ports[0].shape):  # type: ignore[index]
            return [value[0]]  # type: ignore[index]
        return [value]
    if not isinstance(value, (list, tuple)) or len(value) != len(ports):
        came = f"{len(value)} arrays" if isinstance(value, (list, tuple)) else type(value).__name__
        wanted = ", ".join(f"'{p.name}'" for p in ports)
        raise ValueError(f"{what}: expected a list of {len(ports)} arrays or a dict, for {wanted}; got {came}")
    return list(value)


def make_inputs(x: object, ports: Sequence[Port]) -> list[Array]:
    """The model's inputs as the engine takes them.

    Raises
    ------
    TypeError
        For a dtype that is no number, or floats that are not whole where ids are expected.
    ValueError
        For a wrong number of arrays, a shape that does not fit, or arrays with different numbers of rows.
    """
    arrays: list[Array] = []
    for port, value in zip(ports, per_port(x, ports, "x"), strict=True):
        if value is None:
            raise ValueError(f"{port}: expected an array of shape {show(port.shape)}, got None")
        array: Array
        if type(value) is np.ndarray and value.dtype == port.dtype and value.flags.c_contiguous and value.flags.aligned:
            array = value
        else:
            array = (
                as_int32(value, str(port), whole_floats=True) if port.dtype == "int32" else as_float32(value, str(port))
            )
        if not fits(array.shape, port.shape):
            raise ValueError(f"{port}: expected shape {show(port.shape)}, got {show(array.shape)}")
        if arrays and len(array) != len(arrays[0]):
            raise ValueError(f"{port}: expected {len(arrays[0])} rows as '{ports[0].name}' has, got {len(array)}")
        arrays.append(array)
    return arrays


def make_targets(
    y: object, given_rows: Rows, ports: Sequence[Port], losses: Sequence[Loss | None], shapes: Sequence[tuple[int, ...]]
) -> list[Array | None]:
    """Targets per output, in the shape of the output, one of ``shapes``; class indices without its last axis.

    What is padding or has weight 0 may be anything, also NaN or a number that is no class.

    Raises
    ------
    ValueError
        For a shape that does not fit, or a different number of rows than the inputs have.
    TypeError
        For a dtype that is no number, or floats where class indices are expected.
    """
    if y is None and all(loss is None for loss in losses):
        return [None] * len(ports)
    used = [(port, loss) for port, loss in zip(ports, losses, strict=True) if loss is not None]
    if isinstance(y, Mapping) or (isinstance(y, (list, tuple)) and len(ports) > 1):
        given = per_port(y, ports, "y", default=True)
    elif not used:
        raise ValueError("y: no output has a loss, and what layers add to it needs no targets: leave y out")
    else:
        given = per_port(y, [port for port, _ in used], "y")
        given = [given.pop(0) if loss is not None else None for loss in losses]
    rows = len(given_rows)
    if len(ports) == 1:
        given = [_unwrapped(given[0], rows)]
    targets: list[Array | None] = []
    for k, (port, loss, value) in enumerate(zip(ports, losses, given, strict=True)):
        if loss is None:
            targets.append(None)
            continue
        what = f"y of output '{port.name}'"
        if value is None:
            raise ValueError(f"{what}: {loss.name} needs a target, got None")
        array = as_numeric(value, what)
        if array.ndim == 0 or len(array) != rows:
            came = f"{len(array)}" if array.ndim else "a single number"
            raise ValueError(f"x and y must have the same number of rows: x has {rows}, {what} has {came}")
        expected = shapes[k]
        if loss.sparse:
            targets.append(_classes(array, expected[:-1], what, loss, given_rows.present(k, expected)))
            continue
        if isinstance(loss, Numpy) and loss._in_file:
            targets.append(loss.labels(array, expected, what, given_rows.weights[k]))
            continue
        if loss.any_target:
            targets.append(_own_target(array, expected, what, loss, given_rows.present(k, expected)))
            continue
        if expected[-1] == 1 and array.shape == expected[:-1]:
            array = array[..., None]
        if array.shape != expected:
            hint = ""
            if loss.name == "categorical_crossentropy" and array.shape == expected[:-1]:
                hint = "; for class indices use sparse_categorical_crossentropy"
            raise ValueError(f"{what}: {loss.name} expected shape {show(expected)}, got {show(array.shape)}{hint}")
        targets.append(np.asarray(array, dtype=np.float32, order="C"))
    return targets


def _own_target(
    array: NDArray[Any], expected: tuple[int, ...], what: str, loss: Loss, present: NDArray[np.bool_] | None
) -> Array:
    """The target of a loss of one's own: as many features as it wants."""
    if isinstance(loss, Numpy):
        if array.shape[: len(expected) - 1] != expected[:-1]:
            raise ValueError(
                f"{what}: {loss.name} expected shape {show((*expected[:-1], None))}, got {show(array.shape)}"
            )
        return array  # as it came
    if array.shape == expected[:-1]:
        array = array[..., None]
    if array.ndim != len(expected) or array.shape[:-1] != expected[:-1] or not array.shape[-1]:
        raise ValueError(f"{what}: {loss.name} expected shape {show((*expected[:-1], None))}, got {show(array.shape)}")
    read = array if present is None else array[present]
    if read.dtype.kind in "iu" and read.size and max(-int(read.min()), int(read.max())) > _WHOLE:
        largest = max(int(read.min()), int(read.max()), key=abs)
        raise ValueError(
            f"{what}: {loss.name} computes in float32, which holds whole numbers to {_WHOLE} exactly; got {largest}"
        )
    if isinstance(loss, Equations):
        loss.check_target(array.shape[-1], what)
    return np.asarray(array, dtype=np.float32, order="C")


def _unwrapped(value: Any, rows: int) -> Any:
    """The array of ``[array]``, where the list has not one entry a row and so is not the data itself."""
    if isinstance(value, (list, tuple)) and len(value) == 1 != rows:
        try:
            return value[0] if len(value[0]) == rows else value
        except TypeError:  # a number has no length
            pass
    return value


def _classes(
    array: NDArray[Any], expected: tuple[int, ...], what: str, loss: Loss, present: NDArray[np.bool_] | None
) -> Ints:
    if array.shape == (*expected, 1):
        array = array[..., 0]
    if array.shape != expected:
        one_hot = "y.argmax(axis=-1) makes them of one-hot targets"
        if not loss._whole_rows:
            one_hot = "for one-hot targets use categorical_crossentropy"
        hint = f"; {one_hot}" if array.shape[:-1] == expected else ""
        raise ValueError(
            f"{what}: {loss.name} expected class indices of shape {show(expected)}, got {show(array.shape)}{hint}"
        )
    if present is not None and array.dtype != np.int32:
        readable = (array >= -(2.0**31)) & (array < 2.0**31) & (array == np.floor(array))
        array = np.where(present | readable, array, array.dtype.type(0))
    return as_int32(array, what, whole_floats=True)


def check_labels(
    rows: Rows, ports: Sequence[Port], losses: Sequence[Loss | None], shapes: Sequence[tuple[int, ...]]
) -> None:
    """Labels of all that is there must mean something: class indices that exist, probabilities from 0 to 1 (or NaN)."""
    for k, (port, loss, target) in enumerate(zip(ports, losses, rows.targets, strict=True)):
        classes = port.shape[-1]
        if loss is None or target is None or not (loss.of_probabilities or (loss.sparse and classes is not None)):
            continue
        present = rows.present(k, shapes[k])
        labels = target if present is None else target[present]
        if loss._ignored is not None:
            labels = labels[labels != loss._ignored]
        if loss.of_probabilities:
            wrong = labels[(labels < -_ROUNDING) | (labels > 1 + _ROUNDING)]
            expected = "values from 0 to 1"
        else:
            assert classes is not None
            wrong = labels[(labels < 0) | (labels >= classes)]
            expected = f"class indices from 0 to {classes - 1}"
        if wrong.size:
            raise ValueError(f"y of output '{port.name}': {loss.name} expected {expected}, got {wrong[0]:g}")


def make_weights(
    sample_weight: object, inputs: Sequence[Array], ports: Sequence[Port], shapes: Sequence[tuple[int, ...]]
) -> list[Floats | None]:
    """Sample weights per output, (B,) or, for an output with a time axis, (B, T); one array serves all outputs."""
    if sample_weight is None:
        return [None] * len(ports)
    if isinstance(sample_weight, Mapping):
        given = per_port(sample_weight, ports, "sample_weight", default=True)
    elif len(ports) > 1 and isinstance(sample_weight, (list, tuple)) and len(sample_weight) == len(ports):
        given = list(sample_weight)
    else:
        rows = len(inputs[0])
        # [array] of one row: a row's own weight is a number, or has one a step.
        alone = isinstance(sample_weight, (list, tuple)) and len(sample_weight) == rows == 1
        if alone and np.ndim(sample_weight[0]) > 1 and len(sample_weight[0]) == 1:  # type: ignore[index]
            given = [sample_weight[0]] * len(ports)  # type: ignore[index]
        else:
            given = [_unwrapped(sample_weight, rows)] * len(ports)
    weights: list[Floats | None] = []
    for port, value, shape in zip(ports, given, shapes, strict=True):
        if value is None:
            weights.append(None)
            continue
        array = as_float32(value, "sample_weight")
        full = shape[:-1]
        allowed = [full] if len(full) == 1 else [full[:1], full]
        while array.ndim > 1 and array.shape[-1] == 1 and array.shape not in allowed:
            array = array[..., 0]  # a last axis of 1, as Keras takes it
        if array.shape not in allowed:
            expected = " or ".join(show(s) for s in allowed)
            raise ValueError(
                f"sample_weight of output '{port.name}': expected shape {expected}, got {show(array.shape)}"
            )
        weights.append(array)
    return weights


def check_alone(sample_weight: object, other: str) -> None:
    if sample_weight is not None:
        raise ValueError(f"{other} and sample_weight cannot be given at the same time: multiply sample_weight by it")


def class_weights(given: Mapping[int, float], rows: Rows, losses: Sequence[Loss | None]) -> list[Floats | None]:
    """Sample weights of what each row's (or step's) class counts; the class is the index, or the largest target.

    Raises
    ------
    TypeError, ValueError
        For what is no dict of classes, several outputs or targets, weights that are no numbers.
    """
    if not isinstance(given, Mapping):
        raise TypeError(f"class_weight: expected a dict of classes to weights, got {given!r:.60}")
    if len(losses) != 1 or losses[0] is None or rows.targets[0] is None:
        raise ValueError("class_weight is for models with one output; weigh rows by sample_weight=")
    target = rows.targets[0]
    if losses[0]._whole_rows and target.ndim > 1:
        raise ValueError(f"class_weight: a row of {losses[0].name} has labels of several classes; use sample_weight=")
    for label in given:
        if not isinstance(label, (int, float, np.number)) or label != round(label):
            raise TypeError(f"class_weight: the keys are classes, whole numbers, got {label!r}")
    table = {int(label): real(weight, f"class_weight[{label!r}]", 0) for label, weight in given.items()}
    labels: NDArray[Any] = target
    if not losses[0].sparse and target.ndim > 1:
        labels = np.argmax(target, axis=-1) if target.shape[-1] > 1 else np.round(target[..., 0])
    weights = np.ones(labels.shape, np.float32)
    for label, weight in table.items():
        weights[labels == label] = weight
    return [weights]


def check_frequency(given: Any) -> Callable[[int], bool]:
    """Whether validation runs after an epoch, counted from 0, by ``validation_freq``."""
    if isinstance(given, Iterable) and not isinstance(given, (str, bytes)):
        epochs = {integer(epoch, "validation_freq") for epoch in given}
        return lambda epoch: epoch + 1 in epochs
    every = integer(given, "validation_freq")
    return lambda epoch: (epoch + 1) % every == 0


def joined(parts: list[Floats], places: NDArray[np.int64] | None) -> Floats:
    """Outputs of batches as one array; ``places``: the rows they belong to.

    Sequences of several lengths end in zeros.
    """
    if len(parts) == 1 and places is None:
        return parts[0]
    if len({part.shape[1:] for part in parts}) > 1:
        steps = max(part.shape[1] for part in parts)
        parts = [np.pad(p, [(0, 0), (0, steps - p.shape[1]), *[(0, 0)] * (p.ndim - 2)]) for p in parts]
    whole = np.concatenate(parts)
    if places is None:
        return whole
    ordered = np.empty_like(whole)
    ordered[places] = whole
    return ordered


def validation(given: object) -> dict[str, Any]:
    keys = ("x", "y", "sample_weight", "lengths", "mask", "resets")
    empty: dict[str, Any] = dict.fromkeys(keys)
    if isinstance(given, Mapping):
        if set(given) <= set(keys) and "x" in given:
            return {**empty, **given}
    elif isinstance(given, (tuple, list)) and 2 <= len(given) <= 4:
        return {**empty, **dict(zip(keys, given, strict=False))}
    expected = "validation_data must be (x, y), (x, y, sample_weight), (x, y, sample_weight, lengths) or a dict of them"
    if isinstance(given, (Mapping, tuple, list)):
        came = f"the keys {', '.join(map(repr, given))}" if isinstance(given, Mapping) else f"{len(given)} entries"
        raise ValueError(f"{expected}, got {came}")
    check_data(given, expected)
    raise TypeError(f"{expected}, got a {type(given).__name__}")


def split_at(count: int, share: float) -> int:
    """The first row of the part for validation."""
    # Rounded down as in Keras, but 10 rows · (1 - 0.9) is 1, not the 0.9999999999999998 of binary fractions.
    at = int(count * (1.0 - share) + 1e-6)
    if not 0 < at < count:
        left = "train on" if at <= 0 else "validate with"
        rows = "1 row" if count == 1 else f"{count} rows"
        raise ValueError(
            f"validation_split={share} of {rows} trains on {at} and validates with {count - at}: nothing is left "
            f"to {left}"
        )
    return at
