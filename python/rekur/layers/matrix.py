"""Layers whose state is a matrix for each head.

``B`` rows, ``T`` steps, ``F`` input features, ``H`` heads of ``K`` keys and ``V`` values. Rows may end before T: see
``lengths`` of :meth:`rekur.Model.fit`. Outputs past a row's end are zero and its last state is that of its last step.
"""

from typing import Any, ClassVar

import numpy as np

from rekur import initializers
from rekur._own import named_after
from rekur._settings import Setting
from rekur._spec import Spec
from rekur._validate import boolean, did_you_mean, integer, optional_integer, real
from rekur.layers.recurrence import Stateful

_MODES = ("linear", "gated", "delta", "gated_delta")


def _mode(value: object, what: str) -> str:
    if not isinstance(value, str) or value not in _MODES:
        raise ValueError(f"{what}: unknown mode {value!r}{did_you_mean(value, _MODES)}")
    return value


def _positive(value: object, what: str) -> float:
    return real(value, what, float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max))


@named_after("rekur.layers", "Layer")
class _Matrix(Stateful):
    _both_ways = True
    _keys: ClassVar[tuple[str, ...]] = (
        "num_heads", "key_dim", "value_dim", "units", "output_gate", "epsilon", "use_bias", "reverse",
        "return_sequences", "return_state", "kernel_initializer", "bias_initializer", "gamma_initializer",
    )  # fmt: skip
    _optional: ClassVar[Spec] = {"value_dim": None, "units": None, "reverse": False}

    num_heads = Setting(integer)
    key_dim = Setting(integer)
    value_dim = Setting(optional_integer)
    units = Setting(optional_integer)
    output_gate = Setting(boolean)
    epsilon = Setting(_positive)
    use_bias = Setting(boolean)
    reverse = Setting(boolean)
    return_sequences = Setting(boolean)
    return_state = Setting(boolean)
    kernel_initializer = Setting(initializers.to_spec)
    bias_initializer = Setting(initializers.to_spec)
    gamma_initializer = Setting(initializers.to_spec)

    def config(self) -> Spec:
        return {k: v for k, v in super().config().items() if k not in self._optional or v != self._optional[k]}


class GatedLinearAttention(_Matrix):
    """Attention as a recurrence: a state S of K × V numbers a head, which keys write to and queries read.

    ``mode`` says how a step changes S, by its key k, its value v, a decay a and a rate β:

    ============= ========================================= =======================================================
    linear        S' = S + k vᵀ                             Katharopoulos et al., arXiv:2006.16236
    gated         S' = diag(a) S + k vᵀ, a one a key        Yang et al., arXiv:2312.06635 (GLA)
    delta         S' = S + β k (v − Sᵀ k)ᵀ                  Yang et al., arXiv:2406.06484 (DeltaNet)
    gated_delta   S' = a S + β k (v − a Sᵀ k)ᵀ, a one a     Yang et al., arXiv:2412.06464 (Gated DeltaNet)
                  head
    ============= ========================================= =======================================================

    The output is (gamma⊙o/rms(o) ⊙ silu(z)) W_o + b_o with o = S'ᵀ q, rms over the values of a head. q, k, v, the gates
    and z are columns of x W + b: a = σ(·)^(1/decay_normalizer), β = σ(·); q is divided by √K. In the delta modes q, k
    and v pass through silu first, and q and k are scaled to length 1.

    Parameters
    ----------
    num_heads, key_dim : int
        H and K.
    value_dim : int, optional
        V; K by default.
    mode : {"gated", "linear", "delta", "gated_delta"}
        See above.
    units : int, optional
        Features of the output; as many as the input has by default.
    output_gate : bool
        Whether there is the factor silu(z).
    decay_normalizer : float
        Above 0; the greater, the longer the memory.
    epsilon : float
        Above 0: rms(o) = √(mean(o²) + epsilon).
    use_bias : bool
        Whether there are b and b_o.
    kernel_initializer, bias_initializer, gamma_initializer : str or Initializer
        Of W and W_o, of b and b_o, of gamma.
    reverse : bool
        Whether each row is read from its end. :class:`Bidirectional` takes a layer that is not.
    return_sequences : bool
        Whether the output is that of every step, ``(B, T, units)``, or of the last one, ``(B, units)``.
    return_state : bool
        Whether to return the last S too, ``(B, H·K·V)``: reshape it to ``(B, H, K, V)``.

    Notes
    -----
    Weights: kernel ``(F, N)`` with the columns of q (H·K: K of each head), k (H·K), v (H·V), a (gated: H·K,
    gated_delta: H), β (delta, gated_delta: H), z (H·V); bias ``(N,)``, gamma ``(V,)``, output_kernel ``(H·V, units)``,
    output_bias ``(units,)``.

    Where flash-linear-attention's layers differ: their decay of "gated" is a product of rank 16, that of "gated_delta"
    has a learned rate a head, and a convolution over the last four steps stands before q, k and v of the delta modes.
    """

    type = "GatedLinearAttention"
    _keys = (*_Matrix._keys, "mode", "decay_normalizer")

    mode = Setting(_mode)
    decay_normalizer = Setting(_positive)

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        mode: str = "gated",
        *,
        units: int | None = None,
        output_gate: bool = True,
        decay_normalizer: float = 16.0,
        epsilon: float = 1e-5,
        use_bias: bool = True,
        reverse: bool = False,
        return_sequences: bool = False,
        return_state: bool = False,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, options)
        self.num_heads = num_heads
        self.key_dim = key_dim
        self.value_dim = value_dim
        self.mode = mode
        self.units = units
        self.output_gate = output_gate
        self.decay_normalizer = decay_normalizer
        self.epsilon = epsilon
        self.use_bias = use_bias
        self.reverse = reverse
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.kernel_initializer = kernel_initializer
        self.bias_initializer = bias_initializer
        self.gamma_initializer = gamma_initializer


class MLSTM(_Matrix):
    """The xLSTM's cell with a matrix for its memory. Beck et al., arXiv:2405.04517.

    A head has a memory C of K × V numbers, a normaliser n of K and a scale m, and at each step

    m' = max(ln σ(f) + m, i), a = e^(ln σ(f) + m − m'), u = k e^(i − m') / √K, C' = a C + u vᵀ, n' = a n + u,
    h = C'ᵀ q / max(|n'·q|, e^(−m')).

    The output is (gamma⊙norm(h) ⊙ σ(z)) W_o + b_o, where norm takes the mean of a head's values away and divides by
    √(variance + epsilon). q, k, v, i, z and f are columns of x W + b.

    Parameters
    ----------
    num_heads, key_dim : int
        H and K.
    value_dim : int, optional
        V; K by default.
    units : int, optional
        Features of the output; as many as the input has by default.
    output_gate : bool
        Whether there is the factor σ(z).
    epsilon : float
        Above 0.
    use_bias : bool
        Whether there are b and b_o.
    kernel_initializer, bias_initializer, gamma_initializer : str or Initializer
        Of W and W_o, of b (but for f) and b_o, of gamma.
    forget_bias_initializer : str or Initializer
        Of f's part of b. Between 3 and 6, as in the authors' code: memory is long at first.
    reverse : bool
        Whether each row is read from its end. :class:`Bidirectional` takes a layer that is not.
    return_sequences : bool
        Whether the output is that of every step, ``(B, T, units)``, or of the last one, ``(B, units)``.
    return_state : bool
        Whether to return the last state too, ``(B, H·(K·(V+1)+1))``: of each head C with n as one more column, K rows
        of V + 1, then m.

    Notes
    -----
    Weights: kernel ``(F, N)`` with the columns of q (H·K: K of each head), k (H·K), v (H·V), i (H), z (H·V), f (H);
    bias ``(N−H,)``, forget_bias ``(H,)``, gamma ``(H·V,)``, output_kernel ``(H·V, units)``, output_bias ``(units,)``.

    This is the cell of xLSTM 7B between its two projections. The block of the first paper puts a convolution, a skip
    and a second gate around it, and the authors' code adds 1e-6 to the denominator of h.
    """

    type = "MLSTM"
    _keys = (*_Matrix._keys, "forget_bias_initializer")

    forget_bias_initializer = Setting(initializers.to_spec)

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        *,
        units: int | None = None,
        output_gate: bool = True,
        epsilon: float = 1e-5,
        use_bias: bool = True,
        reverse: bool = False,
        return_sequences: bool = False,
        return_state: bool = False,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        forget_bias_initializer: Any = None,
        gamma_initializer: Any = "ones",
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, options)
        self.num_heads = num_heads
        self.key_dim = key_dim
        self.value_dim = value_dim
        self.units = units
        self.output_gate = output_gate
        self.epsilon = epsilon
        self.use_bias = use_bias
        self.reverse = reverse
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.kernel_initializer = kernel_initializer
        self.bias_initializer = bias_initializer
        if forget_bias_initializer is None:
            forget_bias_initializer = initializers.RandomUniform(3.0, 6.0)
        self.forget_bias_initializer = forget_bias_initializer
        self.gamma_initializer = gamma_initializer
