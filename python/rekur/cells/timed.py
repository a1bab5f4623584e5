"""Cells of continuous time: a step may say how long it is. Without that, ``time`` is 1."""

from __future__ import annotations

from typing import Any

from rekur import initializers
from rekur._cell_define import cell
from rekur._validate import integer
from rekur.ops import exp, relu, sigmoid, softplus, tanh


@cell
def cfc(x: Any, h: Any, time: Any = 1.0) -> Any:
    """g, n = tanh(W x + R h + b), s = σ((W x + R h + b) t + (W x + R h + b)), h' = (1 − s)⊙g + s⊙n.

    Hasani et al., arXiv:2106.13898, closed-form continuous time without a backbone; ``time`` is that since the step
    before.
    """
    g = tanh(x.g + h.g)
    n = tanh(x.n + h.n)
    s = sigmoid((x.a + h.a) * time + (x.b + h.b))
    return (1 - s) * g + s * n


@cell(weights={"tau": initializers.Constant(0.54), "a": initializers.RandomUniform(-1.0, 1.0)})
def ltc(x: Any, h: Any, time: Any = 1.0, *, R: Any, tau: Any, a: Any, unfolds: int = 1) -> Any:
    """f = σ(W x + R h + b), h' = (h + t f⊙a) / (1 + t (1/τ + f)). Hasani et al., arXiv:2006.04439.

    Steps of the paper's fused solver for dh/dt = −(1/τ + f)⊙h + f⊙a, as many as ``unfolds``, each of t / unfolds and
    with the same R. 1/τ is softplus of a weight, which starts at one.
    """
    unfolds = integer(unfolds, "cell 'ltc': unfolds")
    part = time / unfolds
    for _ in range(unfolds):
        f = sigmoid(x.f + h @ R)
        h = (h + part * (f * a)) / (1 + part * (softplus(tau) + f))
    return h


@cell(weights={"w_x": "ones"})
def gru_d(
    x: Any, h: Any, last: Any, mask: Any = 1.0, time: Any = 1.0,
    *,
    w_x: Any, b_x: Any, mean: Any, b_h: Any, b_z: Any, b_r: Any, b_n: Any,
) -> Any:  # fmt: skip
    """Missing values fade to a mean, and h fades, as time passes. Che et al., arXiv:1606.01865.

    γ_x = exp(−max(0, w_x⊙t + b_x)), γ_h = exp(−max(0, R t + b_h)), x̂ = m⊙x + (1 − m)⊙(γ_x⊙last + (1 − γ_x)⊙mean),
    ĥ = γ_h⊙h, z, r = σ(R x̂ + R ĥ + R m + b), n = tanh(R x̂ + R (r⊙ĥ) + R m + b), h' = (1 − z)⊙ĥ + z⊙n.

    ``mask`` m is 1 where x was seen and 0 where it is missing (then x is any finite number); ``time`` t is that since
    each feature was last seen. x must have as many features as h: masks and times then have one a feature too. ``last``
    is the x that was seen last, a state.
    """
    m = mask + 0 * h
    t = time + 0 * h
    fade = exp(-relu(w_x * t + b_x))
    seen = m * x + (1 - m) * (fade * last + (1 - fade) * mean)
    h = exp(-relu(t.h + b_h)) * h
    z = sigmoid(seen.z + h.z + m.z + b_z)
    r = sigmoid(seen.r + h.r + m.r + b_r)
    n = tanh(seen.n + (r * h).n + m.n + b_n)
    return (1 - z) * h + z * n, m * x + (1 - m) * last
