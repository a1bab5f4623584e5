"""What is to be learned: labels and numbers a sequence, and what each sequence counts."""

import hashlib
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.tasks._sequences import Sequences
from rekur.tasks._sklearn import conversion_warning

Floats = NDArray[np.float64]


def _given(y: Any, who: str) -> NDArray[Any]:
    if y is None:
        raise ValueError(f"{who} requires y to be passed, but the target y is None")
    if hasattr(y, "tocsr"):
        raise TypeError(f"{who}: y: Sparse data was passed, but dense data is required")
    if isinstance(y, np.ma.MaskedArray) and np.ma.is_masked(y):
        raise ValueError(f"{who}: Input y contains masked values")
    if hasattr(y, "detach"):
        y = y.detach().cpu().numpy()
    array = np.asarray(y)
    if array.dtype.kind == "U" and isinstance(y, (list, tuple)) and not all(isinstance(v, str) for v in y):
        array = np.asarray(y, dtype=object)  # NumPy would make texts of the numbers among them
    return array


def _check_count(array: NDArray[Any], count: int, who: str) -> None:
    if len(array) != count:
        raise ValueError(
            f"{who}: Found input variables with inconsistent numbers of samples: [{count}, {len(array)}]: "
            "X has a sequence, y an entry, for each sample"
        )


def _check_finite(array: NDArray[Any], who: str) -> None:
    if array.dtype.kind == "c":
        raise ValueError(f"{who}: Complex data not supported: y")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        what = "NaN" if np.isnan(array).any() else f"infinity or a value too large for {array.dtype!r}"
        raise ValueError(f"{who}: Input y contains {what}.")


def read_labels(y: Any, count: int, who: str) -> NDArray[Any]:
    """One label a sequence: of texts, integers, whole floats or bools.

    Raises
    ------
    ValueError
        In scikit-learn's words.
    """
    array = _given(y, who)
    if array.ndim == 2 and array.shape[1] == 1:
        warnings.warn(
            "A column-vector y was passed when a 1d array was expected. Please change the shape of y to (n_samples,), "
            "for example using ravel().",
            conversion_warning(),
            stacklevel=3,
        )
        array = array.ravel()
    if array.ndim != 1:
        raise ValueError(f"{who}: y should be a 1d array, got an array of shape {array.shape} instead.")
    _check_count(array, count, who)
    if array.dtype.kind == "O":
        absent = [item is None or item != item or type(item).__name__ in ("NAType", "NaTType") for item in array]
        if any(absent):
            raise ValueError(f"{who}: Input y contains NaN: no label at place {absent.index(True)}")
        kinds = {str if isinstance(item, str) else type(item) for item in array}
        if len(kinds) > 1 and str in kinds:
            raise ValueError(f"{who}: y holds labels of several types: {sorted(kind.__name__ for kind in kinds)}")
        if str not in kinds:
            array = np.array(array.tolist())
            if array.dtype.kind not in "biuf" or array.ndim != 1:
                raise ValueError(f"{who}: Unknown label type: unknown: y holds {sorted(k.__name__ for k in kinds)}")
    _check_finite(array, who)
    if array.dtype.kind == "f" and (array != np.floor(array)).any():
        raise ValueError(
            f"{who}: Unknown label type: continuous. Maybe you are trying to fit a classifier, which expects discrete "
            "classes on a regression target with continuous values."
        )
    if array.dtype.kind not in "biufUO":
        raise ValueError(f"{who}: Unknown label type: unknown: y is an array of {array.dtype}")
    return array


def read_numbers(y: Any, count: int, who: str) -> tuple[Floats, bool]:
    """One or several numbers a sequence, (N, K), and whether they came as (N,).

    Raises
    ------
    ValueError
        In scikit-learn's words.
    """
    array = _given(y, who)
    if array.dtype.kind in "OU":
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError):
            raise ValueError(f"{who}: y: expected numbers, got {array.ravel().tolist()[0]!r:.60}") from None
    _check_finite(array, who)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{who}: y: expected numbers, got an array of {array.dtype}")
    if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[1] == 0):
        raise ValueError(f"{who}: y: expected shape (N,) or (N, targets), got {array.shape}")
    _check_count(array, count, who)
    flat = array.ndim == 1
    return array.astype(np.float64).reshape(count, -1), flat


def read_weights(sample_weight: Any, count: int, who: str) -> Floats:
    """What each sequence counts, (N,); ones where nothing is said.

    Raises
    ------
    ValueError
        For another shape, what is no number or below 0, and where nothing counts.
    """
    if sample_weight is None:
        return np.ones(count)
    try:
        array = np.asarray(sample_weight, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{who}: sample_weight: expected numbers, got {sample_weight!r:.60}") from None
    if array.ndim == 0:
        array = np.full(count, float(array))
    if array.ndim != 1:
        raise ValueError(f"{who}: Sample weights must be 1D array or scalar, got {array.ndim}D array")
    if len(array) != count:
        raise ValueError(f"{who}: sample_weight.shape == {array.shape}, expected {(count,)}!")
    if not np.isfinite(array).all() or (array < 0).any():
        raise ValueError(f"{who}: Input sample_weight contains NaN, infinity or negative values")
    if not array.any():
        raise ValueError(f"{who}: sample_weight: all weights are zero, nothing is left to learn from")
    return array


def distinct(sequences: Sequences, targets: NDArray[Any], weights: Floats) -> tuple[NDArray[np.intp], Floats]:
    """Rows to learn from, in an order of their contents, and what they count.

    Of sequences that are alike with a target that is the same, one is taken and the weights are summed, so that a
    weight of 2 is what the row twice is; rows that count nothing are left out.
    """
    kept = np.flatnonzero(weights > 0)
    digests = np.empty(len(kept), dtype="S32")
    for n, row in enumerate(kept):
        steps = sequences.values[row] if sequences.lengths is None else sequences.values[row, : sequences.lengths[row]]
        digest = hashlib.blake2b(np.ascontiguousarray(steps).tobytes(), digest_size=16)
        digest.update(np.ascontiguousarray(targets[row]).tobytes())
        digests[n] = digest.hexdigest().encode()
    _, first, inverse = np.unique(digests, return_index=True, return_inverse=True)
    return kept[first], np.asarray(np.bincount(inverse.ravel(), weights[kept]), np.float64)


def class_weights(given: Any, classes: NDArray[Any], labels: NDArray[np.intp], weights: Floats, who: str) -> Floats:
    """What each class counts.

    Parameters
    ----------
    given : None, "balanced" or dict of label to number
        Balanced: so that all classes count alike in sum. A class that a dict does not name counts 1.
    classes : ndarray of shape (C,)
    labels : ndarray of shape (N,)
        As places in ``classes``.
    weights : ndarray of shape (N,)
    """
    if given is None:
        return np.ones(len(classes))
    if isinstance(given, str) and given == "balanced":
        return np.asarray(weights.sum() / (len(classes) * np.bincount(labels, weights, len(classes))))
    if not isinstance(given, Mapping):
        raise ValueError(f"{who}: class_weight must be dict, 'balanced', or None, got: {given!r}")
    found = np.ones(len(classes))
    known = {label: place for place, label in enumerate(classes.tolist())}
    for label, value in given.items():
        key = label.item() if isinstance(label, np.generic) else label
        if key not in known:
            raise ValueError(
                f"{who}: class_weight has the label {label!r}, which y has not; it has {classes.tolist()!r:.100}"
            )
        if isinstance(value, (bool, str)) or not np.isfinite(float(value)) or float(value) < 0:
            raise ValueError(f"{who}: class_weight of {label!r} must be a number of at least 0, got {value!r}")
        found[known[key]] = float(value)
    return found
