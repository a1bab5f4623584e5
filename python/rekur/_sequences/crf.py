"""Linear chains over tags as functions of arrays: the best tags, their probabilities, and what tags are worth."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur import _core
from rekur._sequences.ctc import counts
from rekur._validate import as_float32, as_int32, integer, show

_Floats = NDArray[np.float32]
_Arguments = tuple[_Floats, _Floats, _Floats | None, _Floats | None, NDArray[np.int32] | None]


def _arguments(emissions: Any, transitions: Any, lengths: Any, start: Any, end: Any, what: str) -> _Arguments:
    x = as_float32(emissions, f"{what}: emissions")
    if x.ndim != 3 or x.shape[2] == 0:
        raise ValueError(f"{what}: emissions: expected shape (B, T, tags), got {show(x.shape)}")
    rows, steps, tags = x.shape

    def weights(value: Any, name: str, shape: tuple[int, ...]) -> _Floats:
        array = as_float32(value, f"{what}: {name}")
        if array.shape != shape:
            raise ValueError(f"{what}: {name}: expected shape {show(shape)}, got {show(array.shape)}")
        return array

    return (
        x,
        weights(transitions, "transitions", (tags, tags)),
        None if start is None else weights(start, "start", (tags,)),
        None if end is None else weights(end, "end", (tags,)),
        None if lengths is None else counts(lengths, rows, steps, f"{what}: sequence_lengths"),
    )


def crf_decode(
    emissions: Any,
    transitions: Any,
    sequence_lengths: Any = None,
    start: Any = None,
    end: Any = None,
    top_paths: int = 1,
) -> tuple[NDArray[np.int32], _Floats]:
    """The best tag sequences of a linear chain (Viterbi; Seshadri & Sundberg, IEEE Trans. Comm. 42, 1994, for several).

    Parameters
    ----------
    emissions : array_like of shape (B, T, tags)
    transitions : array_like of shape (tags, tags)
        Of the tag before by the tag after; −inf forbids a pair.
    sequence_lengths : array_like of int, shape (B,), optional
    start, end : array_like of shape (tags,), optional
        What a tag is worth as the first and as the last one.
    top_paths : int

    Returns
    -------
    tags : ndarray of int32, shape (top_paths, B, T)
        −1 behind a row's steps.
    scores : ndarray of float32, shape (B, top_paths)
        Best first; −inf where there are fewer sequences. Minus :func:`crf_log_norm` they are log p.
    """
    arguments = _arguments(emissions, transitions, sequence_lengths, start, end, "crf_decode")
    tags, scores = _core.crf_decode(*arguments, integer(top_paths, "crf_decode: top_paths"))
    return tags, scores.astype(np.float32)


def crf_marginals(
    emissions: Any, transitions: Any, sequence_lengths: Any = None, start: Any = None, end: Any = None
) -> _Floats:
    """p(tag at a step | x) of a linear chain, (B, T, tags); 0 behind a row's steps. Arguments as of crf_decode."""
    return _core.crf_marginals(*_arguments(emissions, transitions, sequence_lengths, start, end, "crf_marginals"))


def crf_log_norm(
    emissions: Any, transitions: Any, sequence_lengths: Any = None, start: Any = None, end: Any = None
) -> NDArray[np.float64]:
    """log Σ exp(score) over all tag sequences of each row, (B,). Arguments as of crf_decode."""
    arguments = _arguments(emissions, transitions, sequence_lengths, start, end, "crf_log_norm")
    return _core.crf_scores(*arguments, np.zeros(arguments[0].shape[:2], np.int32))[0]


def crf_log_likelihood(
    emissions: Any, tags: Any, transitions: Any, sequence_lengths: Any = None, start: Any = None, end: Any = None
) -> NDArray[np.float64]:
    """log p(tags | x) of each row, (B,): tags (B, T) are class indices. Other arguments as of crf_decode.

    It is −inf for tags that cannot follow one another, NaN where no tag sequence is possible.

    Raises
    ------
    ValueError
        For tags that are none, within a row's steps.
    """
    arguments = _arguments(emissions, transitions, sequence_lengths, start, end, "crf_log_likelihood")
    x, lengths = arguments[0], arguments[4]
    labels = as_int32(tags, "crf_log_likelihood: tags")
    if labels.shape != x.shape[:2]:
        raise ValueError(f"crf_log_likelihood: tags: expected shape {show(x.shape[:2])}, got {show(labels.shape)}")
    there = np.ones(labels.shape, bool) if lengths is None else np.arange(x.shape[1]) < lengths[:, None]
    wrong = labels[there & ((labels < 0) | (labels >= x.shape[2]))]
    if wrong.size:
        raise ValueError(f"crf_log_likelihood: tags: expected tags from 0 to {x.shape[2] - 1}, got {wrong[0]}")
    norm, scores = _core.crf_scores(*arguments, np.where(there, labels, 0).astype(np.int32))
    with np.errstate(invalid="ignore"):  # NaN where no tag sequence is possible
        return scores - norm
