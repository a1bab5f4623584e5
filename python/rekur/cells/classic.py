"""The cells that are built in, as equations, and the LSTM's and GRU's oldest relatives.

``simple_rnn``, ``lstm``, ``gru``, ``gru_reset_before``, ``peephole_lstm`` and ``lstm_coupled`` compute the bits of the
layers SimpleRNN, LSTM and GRU, which are faster.
"""

from __future__ import annotations

from typing import Any

from rekur._cell_define import cell
from rekur.ops import layer_normalization, sigmoid, tanh


@cell
def simple_rnn(x: Any, h: Any) -> Any:
    """h' = tanh(W x + R h + b). Elman, Cognitive Science 14, 1990."""
    return tanh(x.h + h.h)


@cell(forget="f")
def lstm(x: Any, h: Any, c: Any) -> Any:
    """i, f, o = σ(W x + R h + b), g = tanh(W x + R h + b), c' = f⊙c + i⊙g, h' = o⊙tanh(c').

    Hochreiter and Schmidhuber, Neural Computation 9, 1997; Gers et al., Neural Computation 12, 2000. Blocks i, f, g, o.
    """
    i = sigmoid(x.i + h.i)
    f = sigmoid(x.f + h.f)
    g = tanh(x.g + h.g)
    o = sigmoid(x.o + h.o)
    c = f * c + i * g
    return o * tanh(c), c


@cell(forget="f", weights={"p_i": "zeros", "p_f": "zeros", "p_o": "zeros"})
def peephole_lstm(x: Any, h: Any, c: Any, *, p_i: Any, p_f: Any, p_o: Any) -> Any:
    """The LSTM whose gates see the cell state: p_i⊙c and p_f⊙c, for o p_o⊙c'. Gers and Schmidhuber, IJCNN 2000."""
    i = sigmoid(x.i + h.i + p_i * c)
    f = sigmoid(x.f + h.f + p_f * c)
    g = tanh(x.g + h.g)
    c = f * c + i * g
    return sigmoid(x.o + h.o + p_o * c) * tanh(c), c


@cell
def lstm_coupled(x: Any, h: Any, c: Any) -> Any:
    """The LSTM with f = 1 − i. Greff et al., IEEE TNNLS 28, 2017 (CIFG)."""
    i = sigmoid(x.i + h.i)
    g = tanh(x.g + h.g)
    c = (1 - i) * c + i * g
    return sigmoid(x.o + h.o) * tanh(c), c


_GAINS = dict.fromkeys(("g_i", "g_f", "g_g", "g_o", "g_c"), "ones")


@cell(weights={**_GAINS, "b_f": "ones"})
def layer_norm_lstm(
    x: Any, h: Any, c: Any,
    *,
    g_i: Any, g_f: Any, g_g: Any, g_o: Any, g_c: Any, b_i: Any, b_f: Any, b_g: Any, b_o: Any, b_c: Any,
    epsilon: float = 1e-5,
) -> Any:  # fmt: skip
    """The LSTM with LN(W x + R h)⊙g + b for each of i, f, g, o, and h' = o⊙tanh(LN(c')⊙g_c + b_c).

    Ba et al., arXiv:1607.06450, each gate normalised by itself and the sum of both products at once, as TensorFlow's
    LayerNormBasicLSTMCell does. ``epsilon`` is added to variances.
    """

    def norm(a: Any, gain: Any, bias: Any) -> Any:
        return layer_normalization(a, epsilon=epsilon) * gain + bias

    i = sigmoid(norm(x.i + h.i, g_i, b_i))
    f = sigmoid(norm(x.f + h.f, g_f, b_f))
    g = tanh(norm(x.g + h.g, g_g, b_g))
    o = sigmoid(norm(x.o + h.o, g_o, b_o))
    c = f * c + i * g
    return o * tanh(norm(c, g_c, b_c)), c


@cell(recurrent_bias=True)
def gru(x: Any, h: Any) -> Any:
    """z, r = σ(W x + b + R h + b_R), n = tanh(W x + b + r⊙(R h + b_R)), h' = (1 − z)⊙n + z⊙h.

    Cho et al., arXiv:1406.1078, reset after the product as in cuDNN. Blocks z, r, n.
    """
    z = sigmoid(x.z + h.z)
    r = sigmoid(x.r + h.r)
    n = tanh(x.n + r * h.n)
    return n + z * (h - n)


@cell
def gru_reset_before(x: Any, h: Any) -> Any:
    """z, r = σ(W x + R h + b), n = tanh(W x + b + R (r⊙h)), h' = (1 − z)⊙n + z⊙h. Cho et al., arXiv:1406.1078."""
    z = sigmoid(x.z + h.z)
    r = sigmoid(x.r + h.r)
    n = tanh(x.n + (r * h).n)
    return n + z * (h - n)


@cell
def gru_chung(x: Any, h: Any) -> Any:
    """z, r = σ(W x + R h + b), n = tanh(W x + b + R (r⊙h)), h' = (1 − z)⊙h + z⊙n: z weighs what is new.

    Chung et al., arXiv:1412.3555.
    """
    z = sigmoid(x.z + h.z)
    r = sigmoid(x.r + h.r)
    n = tanh(x.n + (r * h).n)
    return (1 - z) * h + z * n
