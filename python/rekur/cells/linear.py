"""Cells without a product of the state that they carry: linear in it, and as fast as their input products."""

from __future__ import annotations

from typing import Any

from rekur import initializers
from rekur._cell_define import cell
from rekur.ops import cos, exp, log_sigmoid, maximum, sigmoid, sin, softplus, sqrt, tanh, where


@cell
def min_gru(x: Any, h: Any) -> Any:
    """z = σ(W x + b), h' = (1 − z)⊙h + z⊙(W x + b). Feng et al., arXiv:2410.01201."""
    z = sigmoid(x.z)
    return h + z * (x.n - h)


def _positive(a: Any) -> Any:
    """The papers' g: a + ½ from 0 on, σ(a) below; above 0 everywhere."""
    return where(a >= 0, a + 0.5, sigmoid(a))


@cell
def min_gru_log(x: Any, h: Any) -> Any:
    """z = σ(W x + b), h' = (1 − z)⊙h + z⊙g(W x + b), g(a) = a + ½ for a ≥ 0, else σ(a).

    Feng et al., arXiv:2410.01201, appendix B: the form that the paper scans over logarithms; h stays above 0.
    """
    z = sigmoid(x.z)
    return h + z * (_positive(x.n) - h)


def _gates(f: Any, i: Any) -> tuple[Any, Any]:
    """σ(f) and σ(i), both divided by their sum, which may be as small as it likes."""
    d = softplus(-f) - softplus(-i)
    return sigmoid(-d), sigmoid(d)


@cell
def min_lstm(x: Any, h: Any) -> Any:
    """f, i = σ(W x + b), h' = f/(f + i)⊙h + i/(f + i)⊙(W x + b). Feng et al., arXiv:2410.01201.

    f/(f + i) is computed as σ(−d) with d = softplus(−a_f) − softplus(−a_i), a the products before their σ.
    """
    f, i = _gates(x.f, x.i)
    return f * h + i * x.n


@cell
def min_lstm_log(x: Any, h: Any) -> Any:
    """f, i = σ(W x + b), h' = f/(f + i)⊙h + i/(f + i)⊙g(W x + b): min_lstm with g as min_gru_log has it.

    Feng et al., arXiv:2410.01201, appendix B; h stays above 0.
    """
    f, i = _gates(x.f, x.i)
    return f * h + i * _positive(x.n)


_SRU_V = initializers.RandomUniform(-(1.5**0.5), 1.5**0.5)


@cell(kernel_initializer="lecun_uniform", weights={"v_f": _SRU_V, "v_r": _SRU_V})
def sru(x: Any, h: Any, c: Any, *, v_f: Any, v_r: Any) -> Any:
    """f, r = σ(W x + v⊙c + b), c' = f⊙c + (1 − f)⊙(W x), h' = r⊙c' + (1 − r)⊙(W x). Lei et al., arXiv:1709.02755.

    The highway's x goes through a matrix, as the authors' code does where x has another width than h. W x has a bias
    here like every product of the input.
    """
    f = sigmoid(x.f + v_f * c)
    r = sigmoid(x.r + v_r * c)
    c = x.n + f * (c - x.n)
    return x.s + r * (c - x.s), c


@cell
def qrnn(x: Any, h: Any, c: Any) -> Any:
    """z = tanh(W x + b), f, o = σ(W x + b), c' = f⊙c + (1 − f)⊙z, h' = o⊙c'. Bradbury et al., arXiv:1611.01576.

    Filters of width 1, fo-pooling.
    """
    z = tanh(x.z)
    f = sigmoid(x.f)
    c = f * c + (1 - f) * z
    return sigmoid(x.o) * c, c


@cell
def qrnn_2(x: Any, h: Any, c: Any, before: Any, *, project: bool = False) -> Any:
    """The QRNN with filters of width 2, over x and the x of the step before. Bradbury et al., arXiv:1611.01576.

    That x is a state, zeros at first, so x must have as many features as h; with ``project`` it may have any number,
    and what is kept of it is W x + b.
    """
    z = tanh(x.z + before.z)
    f = sigmoid(x.f + before.f)
    c = f * c + (1 - f) * z
    return sigmoid(x.o + before.o) * c, c, x.p if project else x


def _rest(y: Any) -> Any:
    """√(1 − e^(−2 y)) for y ≥ 0, with all its digits near 0, where its slope stays finite."""
    t = tanh(y)
    return sqrt(maximum(2 * t / (1 + t), 1e-14))


@cell(kernel_initializer="lecun_normal", weights={"a": initializers.RandomUniform(4.3, 9.0)})
def rg_lru(x: Any, h: Any, *, a: Any, c: float = 8.0, project: bool = False) -> Any:
    """r, i = σ(W x + b), α = σ(a)^(c r), h' = α⊙h + √(1 − α²)⊙(i⊙x). De et al., arXiv:2402.19427 (Griffin).

    x must have as many features as h; with ``project`` it may have any number, and i multiplies W x + b, as Griffin's
    block has a linear layer there. σ(a)^c starts between 0.9 and 0.999.
    """
    r = exp(log_sigmoid(x.r))  # not sigmoid, which some runtimes end at 1e-8: the root below would show it
    i = sigmoid(x.i)
    y = c * softplus(-a) * r  # −log α
    return exp(-y) * h + _rest(y) * (i * (x.p if project else x))


@cell(
    kernel_initializer="lecun_normal",
    recurrent_initializer="lecun_normal",
    weights={
        "nu": initializers.RandomUniform(-6.9, -2.25),
        "theta": initializers.RandomUniform(-5.0, 0.5),
        "gamma": "ones",
    },
)
def lru(x: Any, y: Any, re: Any, im: Any, *, nu: Any, theta: Any, gamma: Any) -> Any:
    """λ = exp(−e^ν + i e^θ), s' = λ⊙s + γ √(1 − |λ|²)⊙(B x), y = Re(C s') + D x. Orvieto et al., arXiv:2303.06349.

    s = re + i im; B, C complex matrices, D a real one. γ is a factor of the paper's normalisation, whose value before
    training it has at 1. |λ| starts between 0.9 and 0.999.
    """
    decay = exp(nu)
    size, angle = exp(-decay), exp(theta)
    along, across = size * cos(angle), size * sin(angle)
    scale = gamma * _rest(decay)
    new_re = along * re - across * im + scale * x.re
    new_im = across * re + along * im + scale * x.im
    return new_re.y - new_im.y + x.y, new_re, new_im
