"""Cells whose weights stay as they were drawn."""

from __future__ import annotations

from typing import Any

from rekur import initializers
from rekur._cell_define import cell
from rekur.ops import tanh


@cell(kernel_initializer=initializers.RandomUniform(-1.0, 1.0), recurrent_initializer=initializers.Orthogonal(0.9))
def reservoir(x: Any, h: Any, *, leak: float = 0.3) -> Any:
    """h' = (1 − leak) h + leak tanh(W x + R h + b): an echo state network. Jaeger, GMD report 148, 2001.

    R is 0.9 of an orthogonal matrix, so all its eigenvalues have the size 0.9. Nothing is to be trained but what reads
    it: predict the states S of a model that ends here, and solve for the read-out, such as by
    ``numpy.linalg.solve(S.T @ S + ridge * numpy.eye(H), S.T @ targets)``. ``fit`` would train W and R too.
    """
    return (1 - leak) * h + leak * tanh(x.h + h.h)
