"""Connectionist temporal classification as functions of arrays: the loss, and decoding."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur import _core
from rekur._sequences.ngram import NGram
from rekur._validate import as_float32, as_int32, boolean, integer, one_of, real, show

_Any = NDArray[Any]


def outputs(value: Any, what: str) -> NDArray[np.float32]:
    """Logits of steps: float32 of shape (B, T, classes)."""
    array = as_float32(value, what)
    if array.ndim != 3 or array.shape[2] == 0:
        raise ValueError(f"{what}: expected logits of shape (B, T, classes), got {show(array.shape)}")
    return array


def counts(value: Any, rows: int, most: int, what: str) -> NDArray[np.int32]:
    """Lengths of rows: int32 (B,), from 0 to ``most``."""
    array = as_int32(value, what)
    if array.shape != (rows,):
        raise ValueError(f"{what}: expected shape ({rows},), one a row, got {show(array.shape)}")
    wrong = array[(array < 0) | (array > most)]
    if wrong.size:
        raise ValueError(f"{what}: expected lengths from 0 to {most}, got {wrong[0]}")
    return array


def _blank(mask_index: int | None, classes: int, what: str) -> int:
    if mask_index is None:
        return classes - 1
    blank = integer(mask_index, f"{what}: mask_index", 0)
    if blank >= classes:
        raise ValueError(f"{what}: mask_index must be one of the {classes} classes, got {blank}")
    return blank


def ctc_loss(
    target: Any,
    output: Any,
    target_length: Any,
    output_length: Any,
    mask_index: int = 0,
    zero_infinity: bool = False,
) -> NDArray[np.float64]:
    """−log of the probability of each row's labels, summed over all their places in time. Graves et al., ICML 2006.

    Parameters
    ----------
    target : array_like of int, shape (B, L)
        Labels; what stands behind a row's is not read.
    output : array_like of shape (B, T, classes)
        Logits. Logarithms of probabilities are logits, too.
    target_length, output_length : array_like of int, shape (B,)
    mask_index : int
        The class that is the blank.
    zero_infinity : bool
        As in torch: a row whose labels do not fit into its steps counts 0 instead of infinity.

    Returns
    -------
    ndarray of float64, shape (B,)

    Raises
    ------
    ValueError
        For shapes that do not go together, and labels that are no class or the blank.
    """
    logits = outputs(output, "ctc_loss: output")
    rows, steps, classes = logits.shape
    blank = _blank(mask_index, classes, "ctc_loss")
    labels = as_int32(target, "ctc_loss: target")
    if labels.ndim != 2 or len(labels) != rows:
        raise ValueError(f"ctc_loss: target: expected shape ({rows}, L), got {show(labels.shape)}")
    many = counts(target_length, rows, labels.shape[1], "ctc_loss: target_length")
    there = np.arange(labels.shape[1]) < many[:, None]
    wrong = labels[there & ((labels < 0) | (labels >= classes) | (labels == blank))]
    if wrong.size:
        raise ValueError(
            f"ctc_loss: target: expected classes from 0 to {classes - 1} other than the blank, {blank}, got {wrong[0]}"
        )
    lengths = counts(output_length, rows, steps, "ctc_loss: output_length")
    valid = (np.arange(steps) < lengths[:, None]).astype(np.uint8)
    values, _ = _core.ctc_loss(logits, np.where(there, labels, 0).astype(np.int32), many, valid, blank, False)
    return np.where(np.isinf(values), 0.0, values) if boolean(zero_infinity, "ctc_loss: zero_infinity") else values


def ctc_decode(
    inputs: Any,
    sequence_lengths: Any = None,
    strategy: str = "greedy",
    beam_width: int = 100,
    top_paths: int = 1,
    merge_repeated: bool = True,
    mask_index: int | None = 0,
    scorer: NGram | None = None,
    alpha: float = 0.5,
    beta: float = 0.0,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The labels that outputs of a model with a CTC loss stand for. Names, defaults and results are Keras's.

    Parameters
    ----------
    inputs : array_like of shape (B, T, classes)
        Logits.
    sequence_lengths : array_like of int, shape (B,), optional
        Steps of each row; all by default.
    strategy : "greedy" or "beam_search"
        The most probable class of each step, or a search through prefixes, each with all paths that spell it.
    beam_width : int
        Prefixes that are kept at each step.
    top_paths : int
        Sequences that are given, at most ``beam_width``.
    merge_repeated : bool
        "greedy" merges classes that follow one another; "beam_search" always does.
    mask_index : int or None
        The blank; None: the last class.
    scorer : NGram, optional
        Of "beam_search": what labels are probable behind others. A sequence is worth
        log p(labels | inputs) + alpha · log p(labels) + beta · their number.
    alpha, beta : float
        How much the scorer counts, and what a label is worth (a scorer makes short sequences cheap).

    Returns
    -------
    labels : ndarray of int32, shape (paths, B, T)
        −1 behind a row's labels; one path if greedy.
    scores : ndarray of float32, shape (B, paths)
        Of "greedy" the negative sum of the largest logits, of "beam_search" what each sequence is worth, best first,
        and −inf where there are fewer.
    """
    logits = outputs(inputs, "ctc_decode: inputs")
    rows, steps, classes = logits.shape
    how = one_of("greedy", "beam_search")(strategy, "ctc_decode: strategy")
    blank = _blank(mask_index, classes, "ctc_decode")
    merge = boolean(merge_repeated, "ctc_decode: merge_repeated")
    lengths = None
    if sequence_lengths is not None:
        lengths = counts(sequence_lengths, rows, steps, "ctc_decode: sequence_lengths")
    if how == "greedy":
        if scorer is not None:
            raise ValueError('ctc_decode: a scorer needs strategy="beam_search"')
        labels, values = _core.ctc_greedy(logits, lengths, blank, merge)
        return labels, -values[:, None]
    width, paths = integer(beam_width, "ctc_decode: beam_width"), integer(top_paths, "ctc_decode: top_paths")
    if paths > width:
        raise ValueError(f"ctc_decode: top_paths must be at most beam_width, {width}, got {paths}")
    if scorer is not None and not isinstance(scorer, NGram):
        raise TypeError(f"ctc_decode: scorer: expected an NGram of rekur.sequences, got {scorer!r}")
    worth = real(alpha, "ctc_decode: alpha"), real(beta, "ctc_decode: beta")
    table = None if scorer is None else scorer._table
    labels, scores = _core.ctc_beam(logits, lengths, blank, width, paths, table, *worth)
    labels[np.isneginf(scores).T] = -1  # what no path spells is not there, either
    return labels, scores.astype(np.float32)
