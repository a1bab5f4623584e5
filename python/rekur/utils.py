"""What scripts do to their data before a model sees it, under Keras's names."""

from collections.abc import Iterable
from collections.abc import Sequence as Sequence_
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rekur._own import no_attribute
from rekur._random import set_random_seed
from rekur._validate import as_numeric, boolean, check_data, did_you_mean, integer, show
from rekur.training.pydataset import PyDataset

__all__ = [
    "PyDataset",
    "Sequence",
    "clear_session",
    "model_to_dot",
    "normalize",
    "pad_sequences",
    "plot_model",
    "set_random_seed",
    "timeseries_dataset_from_array",
    "to_categorical",
]

Sequence = PyDataset  # Keras 2's name

_SIDES = ("pre", "post")


def _side(value: object, what: str) -> str:
    if value not in _SIDES:
        raise ValueError(f"{what} must be 'pre' or 'post', got {value!r}{did_you_mean(str(value), _SIDES)}")
    return str(value)


def pad_sequences(
    sequences: Iterable[Sequence_[Any]],
    maxlen: int | None = None,
    dtype: Any = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: Any = 0.0,
) -> NDArray[Any]:
    """Sequences of several lengths as one array.

    Parameters
    ----------
    sequences : list of sequences
        Of numbers, or of vectors that all have one shape.
    maxlen : int, optional
        T; the longest one's length by default.
    dtype : str
        Of the array.
    padding, truncating : {"pre", "post"}
        Where shorter ones are filled up and longer ones are cut. Rows filled up at their end go with ``lengths=`` of
        fit, evaluate and predict; either side with a Masking layer or ``mask_zero=True``.
    value : float or str
        What fills.

    Returns
    -------
    ndarray of shape (rows, T, …)

    Raises
    ------
    ValueError
        If something is no sequence, or the vectors are of several shapes.
    """
    before, cut = _side(padding, "pad_sequences: padding"), _side(truncating, "pad_sequences: truncating")
    kind = np.dtype(dtype)
    if not hasattr(sequences, "__iter__"):
        raise ValueError(f"pad_sequences: expected a list of sequences, got {sequences!r}")
    rows: list[NDArray[Any]] = []
    sequence: Any
    for k, sequence in enumerate(sequences):
        if not hasattr(sequence, "__len__"):
            raise ValueError(f"pad_sequences: sequence {k}: expected a list, got {sequence!r}")
        if isinstance(sequence, np.ma.MaskedArray):
            check_data(sequence, f"pad_sequences: sequence {k}")
        row = np.asarray(sequence)
        if not row.ndim:
            raise ValueError(f"pad_sequences: sequence {k}: expected a list, got {sequence!r:.60}")
        if row.dtype.kind == "f" and kind.kind in "iu" and not np.isfinite(row).all():
            strange = row[~np.isfinite(row)][0]
            raise ValueError(
                f"pad_sequences: sequence {k}: {kind} has no {strange}: fill it first, or say dtype='float32'"
            )
        rows.append(row)
    steps = max(map(len, rows), default=0) if maxlen is None else integer(maxlen, "pad_sequences: maxlen", 0)
    shape = next((row.shape[1:] for row in rows if len(row)), ())
    if isinstance(value, str) and kind.kind not in "OUS":
        raise ValueError(f"pad_sequences: dtype {dtype!r} cannot hold the value {value!r}; say dtype=object or 'U…'")
    found = np.full((len(rows), steps, *shape), value, dtype=kind)
    for k, row in enumerate(rows):
        if not len(row):
            continue
        if row.shape[1:] != shape:
            raise ValueError(
                f"pad_sequences: sequence {k}: expected entries of shape {show(shape)} as in those before, got "
                f"{show(row.shape[1:])}"
            )
        kept = row[len(row) - min(steps, len(row)) :] if cut == "pre" else row[:steps]
        found[k, slice(steps - len(kept), steps) if before == "pre" else slice(0, len(kept))] = kept
    return found


def to_categorical(x: Any, num_classes: int | None = None) -> NDArray[np.float64]:
    """Class indices as rows of one 1 among zeros.

    Parameters
    ----------
    x : array of whole numbers
        From 0; a last axis of 1 is left out.
    num_classes : int, optional
        The largest index and one by default.

    Returns
    -------
    ndarray of shape (…, num_classes)

    Raises
    ------
    ValueError
        For an index that is no class.
    """
    array = as_numeric(x, "to_categorical: x")
    if array.ndim > 1 and array.shape[-1] == 1:
        array = array[..., 0]
    ids = array.astype(np.int64)
    if not np.array_equal(ids, array):
        raise ValueError("to_categorical: x: expected whole numbers")
    count = int(ids.max(initial=-1)) + 1 if num_classes is None else integer(num_classes, "to_categorical: num_classes")
    wrong = ids[(ids < 0) | (ids >= count)]
    if wrong.size and num_classes is None:
        raise ValueError(f"to_categorical: x: expected indices from 0 on, got {wrong.flat[0]}")
    if wrong.size:
        raise ValueError(f"to_categorical: x: expected indices from 0 to {count - 1}, got {wrong.flat[0]}")
    return np.eye(count)[ids]


def normalize(x: Any, axis: int = -1, order: int = 2) -> NDArray[Any]:
    """x divided by its norms along an axis; where a norm is zero x stays as it is."""
    array = np.asarray(as_numeric(x, "normalize: x"))
    norms = np.atleast_1d(np.linalg.norm(array, order, axis))
    norms[norms == 0] = 1
    return np.asarray(array / np.expand_dims(norms, axis))


def clear_session(free_memory: bool = True) -> None:
    """Nothing: models share no graph and no counters, and what nobody refers to is freed at once. For scripts of Keras,
    which say it between two models.
    """
    boolean(free_memory, "clear_session: free_memory")


if TYPE_CHECKING:
    from rekur._plot import model_to_dot, plot_model
    from rekur.data.timeseries import timeseries_dataset_from_array
else:  # a type checker is to see what is not there

    def __getattr__(name: str) -> Any:
        if name == "timeseries_dataset_from_array":
            from rekur.data import timeseries_dataset_from_array

            return timeseries_dataset_from_array
        if name in ("model_to_dot", "plot_model"):
            from rekur import _plot

            return getattr(_plot, name)
        no_attribute(__name__, "utils", name)

    def __dir__() -> list[str]:
        return sorted({*globals(), "timeseries_dataset_from_array", "model_to_dot", "plot_model"})
