"""Cells with fewer gates than the GRU."""

from __future__ import annotations

from typing import Any

from rekur import initializers
from rekur._cell_define import cell
from rekur.ops import mean, relu, sigmoid, tanh


@cell(recurrent_initializer="orthogonal", kernel_initializer="he_normal")
def light_gru(x: Any, h: Any) -> Any:
    """z = σ(W x + R h + b), n = relu(W x + R h + b), h' = z⊙h + (1 − z)⊙n. Ravanelli et al., arXiv:1803.10225 (Li-GRU).

    The paper normalises W x over the batch: a LayerNormalization before the layer comes near.
    """
    z = sigmoid(x.z + h.z)
    return z * h + (1 - z) * relu(x.n + h.n)


@cell
def mgu(x: Any, h: Any) -> Any:
    """f = σ(W x + R h + b), n = tanh(W x + b + R (f⊙h)), h' = (1 − f)⊙h + f⊙n. Zhou et al., arXiv:1603.09420."""
    f = sigmoid(x.f + h.f)
    return (1 - f) * h + f * tanh(x.n + (f * h).n)


@cell
def mgu1(x: Any, h: Any, *, b_f: Any) -> Any:
    """The MGU whose gate does not see x: f = σ(R h + b_f). Heck and Salem, arXiv:1701.03452."""
    f = sigmoid(h.f + b_f)
    return (1 - f) * h + f * tanh(x.n + (f * h).n)


@cell
def mgu2(x: Any, h: Any) -> Any:
    """The MGU whose gate sees h alone: f = σ(R h). Heck and Salem, arXiv:1701.03452."""
    f = sigmoid(h.f)
    return (1 - f) * h + f * tanh(x.n + (f * h).n)


@cell(forget="g")
def ugrnn(x: Any, h: Any) -> Any:
    """c = tanh(W x + R h + b), g = σ(W x + R h + b), h' = g⊙h + (1 − g)⊙c. Collins et al., arXiv:1611.09913."""
    g = sigmoid(x.g + h.g)
    c = tanh(x.c + h.c)
    return g * h + (1 - g) * c


@cell(forget="f")
def janet(x: Any, h: Any, *, beta: float = 1.0) -> Any:
    """s = W x + R h + b, n = tanh(W x + R h + b), h' = σ(s)⊙h + (1 − σ(s − β))⊙n.

    Van der Westhuizen and Lasenby, arXiv:1804.04849: the LSTM with its forget gate alone. Its bias is best
    ``log(u)``, u uniform between 1 and the longest memory wanted (chrono initialisation); it starts at one here.
    """
    s = x.f + h.f
    n = tanh(x.n + h.n)
    return sigmoid(s) * h + (1 - sigmoid(s - beta)) * n


@cell(kernel_initializer="glorot_uniform", weights={"u": initializers.RandomUniform(0.0, 1.0)})
def ind_rnn(x: Any, h: Any, *, u: Any) -> Any:
    """h' = relu(W x + u⊙h + b): every unit sees itself alone. Li et al., arXiv:1803.04831.

    For long sequences of T steps the paper draws u between 0 and 2^(1/T), here between 0 and 1.
    """
    return relu(x.h + u * h)


@cell(weights={"alpha": initializers.Constant(-3.0), "beta": initializers.Constant(3.0)})
def fast_rnn(x: Any, h: Any, *, alpha: Any, beta: Any) -> Any:
    """h' = σ(α) tanh(W x + R h + b) + σ(β) h. Kusupati et al., arXiv:1901.02358.

    α and β are one number each, here the mean of a weight a unit.
    """
    return sigmoid(mean(alpha, -1)) * tanh(x.h + h.h) + sigmoid(mean(beta, -1)) * h


@cell(weights={"b_n": "ones", "zeta": "ones", "nu": initializers.Constant(-4.0)}, bias_initializer="ones")
def fast_grnn(x: Any, h: Any, *, b_n: Any, zeta: Any, nu: Any) -> Any:
    """a = W x + R h, z = σ(a + b), n = tanh(a + b_n'), h' = (σ(ζ) (1 − z) + σ(ν))⊙n + z⊙h.

    Kusupati et al., arXiv:1901.02358. Both gates share their matrices; b_n' is b + b_n − 1 and so starts at one as b
    does. ζ and ν are one number each, here the mean of a weight a unit.
    """
    a = x.a + h.a
    z = sigmoid(a)
    n = tanh(a + (b_n - 1))
    return (sigmoid(mean(zeta, -1)) * (1 - z) + sigmoid(mean(nu, -1))) * n + z * h
