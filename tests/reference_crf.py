"""Linear chains in NumPy and float64: sums over all tag sequences, one by one where that is told apart."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from reference_basics import Array, Spec, Tensor


def score(emissions: Array, tags: Sequence[int], transitions: Array, start: Array, end: Array) -> float:
    """Of a tag sequence over emissions (T, K)."""
    if not len(tags):
        return 0.0
    total = start[tags[0]] + end[tags[-1]] + sum(emissions[t, tag] for t, tag in enumerate(tags))
    return float(total + sum(transitions[a, b] for a, b in itertools.pairwise(tags)))


def every(emissions: Array, transitions: Array, start: Array, end: Array) -> list[tuple[tuple[int, ...], float]]:
    """All tag sequences and what they score."""
    steps, tags = emissions.shape
    paths = itertools.product(range(tags), repeat=steps)
    return [(path, score(emissions, path, transitions, start, end)) for path in paths]


def log_sum(values: Any) -> float:
    values = np.asarray(values, np.float64)
    if values.max() == -np.inf:
        return -np.inf
    return float(values.max() + np.log(np.exp(values - values.max()).sum()))


def log_norm(emissions: Array, transitions: Array, start: Array, end: Array) -> float:
    """log Z by the forward algorithm."""
    if not len(emissions):
        return 0.0
    alpha = start + emissions[0]
    for e in emissions[1:]:
        alpha = np.array([log_sum(alpha + transitions[:, j]) for j in range(len(e))]) + e
    return log_sum(alpha + end)


def marginals(emissions: Array, transitions: Array, start: Array, end: Array) -> Array:
    found = np.zeros(emissions.shape)
    if not len(emissions):
        return found
    alphas, betas = [start + emissions[0]], [end]
    for e in emissions[1:]:
        alphas.append(np.array([log_sum(alphas[-1] + transitions[:, j]) for j in range(len(e))]) + e)
    for e in emissions[:0:-1]:
        betas.append(np.array([log_sum(transitions[i] + e + betas[-1]) for i in range(len(e))]))
    whole = log_sum(alphas[-1] + end)
    return np.exp(np.array(alphas) + np.array(betas[::-1]) - whole)


def viterbi(emissions: Array, transitions: Array, start: Array, end: Array) -> list[int]:
    best, came = start + emissions[0], []
    for e in emissions[1:]:
        pairs = best[:, None] + transitions
        came.append(pairs.argmax(axis=0))
        best = pairs.max(axis=0) + e
    tags = [int((best + end).argmax())]
    for places in reversed(came):
        tags.append(int(places[tags[-1]]))
    return tags[::-1]


def run_crf(layer: Spec, weights: Mapping[str, Array], inputs: Sequence[Tensor]) -> list[Tensor]:
    x, zeros = inputs[0], np.zeros(layer["units"])
    chain = (weights["transitions"], weights.get("start_transitions", zeros), weights.get("end_transitions", zeros))
    y = np.zeros(x.value.shape)
    for b, row in enumerate(x.value):
        n = len(row) if x.lengths is None else int(x.lengths[b])
        if layer.get("output_mode", "tags") == "marginals":
            y[b, :n] = marginals(row[:n], *chain)
        elif n:
            y[b, np.arange(n), viterbi(row[:n], *chain)] = 1
    return [Tensor(y, x.lengths)]
