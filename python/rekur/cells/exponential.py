"""The sLSTM, whose gates are exponentials."""

from __future__ import annotations

from typing import Any

from rekur._cell_define import cell
from rekur.ops import equal, exp, log_sigmoid, maximum, sigmoid, tanh, where


@cell(forget="f", heads="heads")
def slstm(x: Any, h: Any, c: Any, n: Any, m: Any, *, heads: int = 1) -> Any:
    """i = e^(W x + R h + b), f, o = σ(…), z = tanh(…), c' = f⊙c + i⊙z, n' = f⊙n + i, h' = o⊙c'/n'.

    Beck et al., arXiv:2405.04517 (xLSTM), with its stabiliser: m' = max(log f + m, log i), and c', n' hold both divided
    by e^m'. Where n is 0, before a row's first step, m' is log i. With several ``heads``, as in the
    paper, R goes from the units of a head to those of the same head only.
    """
    log_i = x.i + h.i
    log_f = log_sigmoid(x.f + h.f)
    z = tanh(x.z + h.z)
    o = sigmoid(x.o + h.o)
    fresh = equal(n, 0)
    new_m = where(fresh, log_i, maximum(log_f + m, log_i))
    i = exp(log_i - new_m)
    f = exp(where(fresh, 0.0, log_f + m - new_m))
    c = f * c + i * z
    n = f * n + i
    return o * (c / n), c, n, new_m
