"""Layers in front of a network that take values as they come: of any scale, with some missing.

They are layers of the model itself, so that the engine, a stream, C++ and ONNX take raw values alike.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rekur import layers, ops

_LEAST = 1e-6  # a deviation, as a part of the largest magnitude, below which a channel counts as constant


class Statistics(NamedTuple):
    """What is known of each of F channels: arrays of shape (F,)."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]  # 1 where a channel is constant, or never seen
    missing: NDArray[np.bool_]  # whether any value was missing


def statistics(values: NDArray[Any], lengths: NDArray[Any] | None = None) -> Statistics:
    """Means and deviations by channel, NaN and padding left out.

    Parameters
    ----------
    values : ndarray of shape (N, T, F) or (T, F)
    lengths : int ndarray of shape (N,), optional
        Steps beyond a row's length are padding.
    """
    values = np.asarray(values)
    features = values.shape[-1]
    if lengths is not None:
        values = values[np.arange(values.shape[1]) < np.asarray(lengths)[:, None]]
    rows = values.reshape(-1, features)
    known = ~np.isnan(rows)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.sum(rows, axis=0, where=known, dtype=np.float64) / count
    deviation = np.sqrt(np.sum((rows - mean) ** 2, axis=0, where=known, dtype=np.float64) / count)
    constant = deviation <= _LEAST * np.max(np.abs(rows), axis=0, where=known, initial=0.0)
    return Statistics(mean, np.where(constant, 1.0, deviation), ~known.all(axis=0))


def standardised(x: Any, known: Statistics, name: str = "") -> Any:
    """(x − mean) / deviation, channel by channel, where 0 stands for a missing value.

    Channels of which values were missing have an indicator each behind the others: 1 where the value is missing. A
    value that is missing in another channel, too, counts as that channel's mean, so that NaN never reaches the network.

    Parameters
    ----------
    x : symbolic tensor of shape (B, T, F) or (B, F)
    known : Statistics
    name : str
        In front of the layers' names.

    Returns
    -------
    symbolic tensor of shape (B, T, F + number of channels with missing values), or (B, …) alike
    """
    variance = known.deviation**2
    scaled = layers.Normalization(mean=known.mean.tolist(), variance=variance.tolist(), name=f"{name}scale")(x)
    filled = layers.Lambda(_no_nan, name=f"{name}fill")(scaled)
    if not known.missing.any():
        return filled
    flags = layers.Lambda(_is_nan, name=f"{name}missing")(x)
    parts = [filled]
    for first, end in _runs(known.missing):
        whole = first == 0 and end == len(known.missing)
        parts.append(flags if whole else flags[..., first:end])
    return layers.Concatenate(name=f"{name}front")(parts)


def _no_nan(x: Any) -> Any:
    return ops.where(ops.isnan(x), 0.0, x)


def _is_nan(x: Any) -> Any:
    return ops.where(ops.isnan(x), 1.0, 0.0)


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Where runs of True begin and end."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
