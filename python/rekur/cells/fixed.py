"""Cells with weights that stay as they were drawn."""

from __future__ import annotations

from typing import Any

from rekur import initializers
from rekur._cell_define import cell
from rekur.ops import mean, sum, tanh


@cell(
    kernel_initializer=initializers.RandomUniform(-1.0, 1.0),
    recurrent_initializer=initializers.Orthogonal(0.9),
    fixed=True,
)
def reservoir(x: Any, h: Any, *, leak: float = 0.3) -> Any:
    """h' = (1 − leak) h + leak tanh(W x + R h + b): an echo state network. Jaeger, GMD report 148, 2001.

    R is 0.9 of an orthogonal matrix, so all its eigenvalues have the size 0.9. Training leaves W, R and b as they were
    drawn; what is trained is the layer that reads h, by :func:`rekur.fit_readout` in one step or by ``fit``.
    """
    return (1 - leak) * h + leak * tanh(x.h + h.h)


def _legendre(theta: float) -> initializers.Initializer:
    return initializers.Legendre(theta)


@cell(
    kernel_initializer="lecun_uniform",
    weights={"A": _legendre, "B": _legendre, "e_h": initializers.RandomNormal(0.0, 0.1), "e_m": "zeros"},
    fixed=("A", "B"),
)
def lmu(x: Any, h: Any, m: Any, *, A: Any, B: Any, e_h: Any, e_m: Any, theta: float = 100.0) -> Any:
    """u = e_x·x + e_h·h + e_m·m, m' = A m + B u, h' = tanh(W x + R h + R m' + b). Voelker et al., NeurIPS 2019.

    The Legendre memory unit: m holds the last ``theta`` steps of u as polynomials. A and B are the paper's, held for a
    step (zero-order hold), and not trained. The memory's order is the number of units here; e_x·x is the mean over the
    units of a product of x, with a bias, which gives the same functions.
    """
    u = mean(x.u, -1) + sum(e_h * h, -1) + sum(e_m * m, -1)
    m = m @ A + B * u
    return tanh(x.h + h.h + m.h), m
