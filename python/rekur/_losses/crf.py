"""The loss of a CRF layer's tags."""

from typing import Any

from rekur._losses.base import Loss


class CRF(Loss):
    """−log p(y | x) of a row's tags under the chain of a :class:`rekur.layers.CRF`; the mean over rows.

    Notes
    -----
    For ``compile``, of an output that is a CRF layer's. The target holds class indices (B, T); those of steps that are
    no steps (``lengths=``, masks) and of rows of weight 0 are not read. Sample weights are one a row. Of arrays it is
    ``-rekur.sequences.crf_log_likelihood(…)``.
    """

    name = "crf"
    sparse = True
    _whole_rows = True

    def __init__(self, **options: Any) -> None:
        if options.get("reduction", "sum_over_batch_size") not in ("sum_over_batch_size", "mean", "auto"):
            raise ValueError(
                f"crf: the value is the mean over rows, got reduction={options['reduction']!r}; loss_weights= of "
                "compile scales it"
            )
        self._begin(options)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        raise TypeError(
            "crf: the transitions of a CRF layer take part in it: give it to compile, or call "
            "rekur.sequences.crf_log_likelihood"
        )
