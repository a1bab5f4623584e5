"""Sequences that a model's outputs stand for: labels without places in time (CTC), tags of a linear chain (CRF).

Functions of NumPy arrays, and how far sequences are from others, computed by the engine on several threads; the same
bits for any number of them.
"""

from rekur._sequences.crf import crf_decode, crf_log_likelihood, crf_log_norm, crf_marginals
from rekur._sequences.ctc import ctc_decode, ctc_loss
from rekur._sequences.distance import edit_distance
from rekur._sequences.ngram import NGram

__all__ = [
    "NGram",
    "crf_decode",
    "crf_log_likelihood",
    "crf_log_norm",
    "crf_marginals",
    "ctc_decode",
    "ctc_loss",
    "edit_distance",
]

for _name in __all__:  # what callers see of them
    globals()[_name].__module__ = __name__
