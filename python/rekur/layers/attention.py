"""Attention over the steps of a sequence, or of another one.

``B`` rows, ``Tq`` steps of the query, ``Tv`` of the values, ``D`` features, ``H`` heads. Steps beyond a row's length,
and steps that a mask leaves out, are no values, and a query there gives zeros. No array is as long as both sequences
unless the weights are asked for.
"""

from typing import Any, ClassVar

from rekur import initializers
from rekur._own import named_after
from rekur._settings import Setting
from rekur._spec import Spec
from rekur._validate import boolean, integer, one_of, optional_integer
from rekur._validate import rate as _rate
from rekur.layers.base import Layer
from rekur.layers.symbolic import SymbolicTensor, symbolic


def _units(value: object, what: str) -> int | None:
    if isinstance(value, (tuple, list)):
        if len(value) != 1:
            raise ValueError(f"{what}: expected the features of the output, one number, got {value!r}")
        value = value[0]
    return optional_integer(value, what)


@named_after("rekur.layers", "Layer")
class _Attention(Layer):
    _keys: ClassVar[tuple[str, ...]] = ("dropout", "use_causal_mask", "sliding_window", "return_attention_scores")
    # Keys that a spec leaves out at these values.
    _optional: ClassVar[Spec] = {"value_dim": None, "output_shape": None, "sliding_window": None}

    dropout: Setting[float] = Setting(_rate)
    use_causal_mask = Setting(boolean)
    sliding_window = Setting(optional_integer)
    return_attention_scores = Setting(boolean)

    def __init__(
        self,
        dropout: float,
        use_causal_mask: bool,
        sliding_window: int | None,
        return_attention_scores: bool,
        name: str | None,
        options: dict[str, Any],
    ) -> None:
        super().__init__(name, options)
        self.dropout = dropout
        self.use_causal_mask = use_causal_mask
        self.sliding_window = sliding_window
        self.return_attention_scores = return_attention_scores

    def config(self) -> Spec:
        return {k: v for k, v in super().config().items() if k not in self._optional or v != self._optional[k]}

    def _at_once(self, given: Any) -> Any:
        from rekur.layers import own

        return own.at_once(self, given)

    def _attend(self, inputs: list[SymbolicTensor], asked: dict[str, bool | None]) -> Any:
        """The call, which in Keras says what is the layer's here; None leaves it as it is."""
        changed = {k: boolean(v, f"{self!r}: {k}") for k, v in asked.items() if v is not None and v != getattr(self, k)}
        if changed and self._is_connected():
            key, value = next(iter(changed.items()))
            raise ValueError(
                f"{self!r} was called with {key}={not value} before: all calls of a layer are alike; make another "
                "layer, to which set_weights takes the weights over"
            )
        for key, value in changed.items():
            setattr(self, key, value)
        try:
            return self._connect(inputs)
        except Exception:
            for key, value in changed.items():
                setattr(self, key, not value)
            raise


def _refuse_masks(layer: Layer, masks: dict[str, Any]) -> None:
    if any(m is not None and not (isinstance(m, (list, tuple)) and all(x is None for x in m)) for m in masks.values()):
        from rekur._keras import arguments

        arguments.check("attention call", f"the call of {layer!r}", masks, [])


class Attention(_Attention):
    """y = softmax(scores) value, a score for every step of the query and of the values. Luong et al., arXiv:1508.04025.

    Parameters
    ----------
    use_scale : bool
        Whether a weight multiplies the scores.
    score_mode : {"dot", "concat"}
        scale q·k, or concat_score_weight Σ tanh(scale (q + k)).
    dropout : float
        Rate at which training drops weights; the others are scaled by 1/(1 − rate).
    use_causal_mask : bool
        Whether step t sees no value after step t. In Keras an argument of the call, where it may be given here too.
    sliding_window : int, optional
        A step sees the values less than so many steps away from it; with ``use_causal_mask`` the last so many, itself
        included. All by default. Streams need it: it says how many steps they keep. Not in Keras's Attention.
    return_attention_scores : bool
        Whether to return the weights too, after dropout, ``(B, Tq, Tv)``. May be given in the call, as in Keras.

    Notes
    -----
    Called on ``[query, value]`` or ``[query, value, key]``: ``(B, Tq, D)``, ``(B, Tv, V)``, ``(B, Tv, D)``; the key is
    the value where it is not given. Output ``(B, Tq, V)``, on the query's time axis.

    A query that sees no value, because all are masked, gets their mean, as in Keras; zeros where it is lengths that
    leave it none. A masked query gives zeros.

    Weights: scale ``()`` if use_scale, concat_score_weight ``()`` in mode "concat", both ones at first.
    """

    type = "Attention"
    _keys = ("use_scale", "score_mode", *_Attention._keys)

    use_scale = Setting(boolean)
    score_mode = Setting(one_of("dot", "concat"))

    def __init__(
        self,
        use_scale: bool = False,
        score_mode: str = "dot",
        dropout: float = 0.0,
        *,
        use_causal_mask: bool = False,
        sliding_window: int | None = None,
        return_attention_scores: bool = False,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(dropout, use_causal_mask, sliding_window, return_attention_scores, name, options)
        self.use_scale = use_scale
        self.score_mode = score_mode

    def __call__(
        self,
        inputs: Any,
        mask: Any = None,
        *,
        return_attention_scores: bool | None = None,
        use_causal_mask: bool | None = None,
        **options: Any,
    ) -> Any:
        """Connect the layer to ``[query, value]`` or ``[query, value, key]``; see :meth:`Layer.__call__`."""
        _refuse_masks(self, {"mask": mask})
        asked = {"use_causal_mask": use_causal_mask, "return_attention_scores": return_attention_scores}
        if not isinstance(inputs, SymbolicTensor) and self._computes_on(inputs):
            return self._at_once(((inputs,), {**options, **asked}))
        self._check_call(options)
        return self._attend(symbolic(inputs, repr(self)), asked)


class AdditiveAttention(_Attention):
    """y = softmax(scores) value with scores Σ scale⊙tanh(q + k). Bahdanau et al., arXiv:1409.0473.

    Parameters
    ----------
    use_scale : bool
        Whether there is a scale of D weights, or ones in its place.
    dropout, use_causal_mask, sliding_window, return_attention_scores
        As of :class:`Attention`, and so are inputs, outputs and masks.

    Notes
    -----
    Weights: scale ``(D,)``, Glorot-uniform at first.
    """

    type = "AdditiveAttention"
    _keys = ("use_scale", *_Attention._keys)

    use_scale = Setting(boolean)

    def __init__(
        self,
        use_scale: bool = True,
        dropout: float = 0.0,
        *,
        use_causal_mask: bool = False,
        sliding_window: int | None = None,
        return_attention_scores: bool = False,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(dropout, use_causal_mask, sliding_window, return_attention_scores, name, options)
        self.use_scale = use_scale

    __call__ = Attention.__call__


@named_after("rekur.layers", "Layer")
class _Heads(_Attention):
    use_bias = Setting(boolean)
    kernel_initializer = Setting(initializers.to_spec)
    bias_initializer = Setting(initializers.to_spec)

    def __init__(
        self,
        dropout: float,
        use_bias: bool,
        use_causal_mask: bool,
        sliding_window: int | None,
        return_attention_scores: bool,
        kernel_initializer: Any,
        bias_initializer: Any,
        name: str | None,
        options: dict[str, Any],
    ) -> None:
        super().__init__(dropout, use_causal_mask, sliding_window, return_attention_scores, name, options)
        self.use_bias = use_bias
        self.kernel_initializer = kernel_initializer
        self.bias_initializer = bias_initializer

    def __call__(  # type: ignore[override]  # Keras's
        self,
        query: Any,
        value: Any = None,
        key: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool | None = None,
        training: Any = None,
        use_causal_mask: bool | None = None,
        **options: Any,
    ) -> Any:
        """Connect the layer to a query, a value and a key (the value where it is None); see :meth:`Layer.__call__`.

        A list of two or three in the query's place is taken apart.
        """
        if training is not None:
            options["training"] = training
        masks = {
            "query_mask": query_mask,
            "value_mask": value_mask,
            "key_mask": key_mask,
            "attention_mask": attention_mask,
        }
        _refuse_masks(self, masks)
        asked = {"use_causal_mask": use_causal_mask, "return_attention_scores": return_attention_scores}
        if self._computes_on([x for x in (query, value, key) if x is not None]):
            return self._at_once(((query, value, key), {**options, **asked}))
        self._check_call(options)
        tensors = [t for x in (query, value, key) if x is not None for t in symbolic(x, repr(self))]
        return self._attend(tensors, asked)


class MultiHeadAttention(_Heads):
    """softmax(q kᵀ/√K) v of H heads side by side, between projections. Vaswani et al., arXiv:1706.03762.

    q = query W_q + b_q, k = key W_k + b_k and v = value W_v + b_v, of which each head has its part; y = o W_o + b_o of
    all heads' outputs o.

    Parameters
    ----------
    num_heads, key_dim : int
        H, and K features of a head's queries and keys.
    value_dim : int, optional
        V features of a head's values; K by default.
    dropout : float
        Rate at which training drops weights; the others are scaled by 1/(1 − rate).
    use_bias : bool
    output_shape : int, optional
        Features of the output; as many as the query has by default.
    sliding_window : int, optional
        A step sees the values less than so many steps away from it; with ``use_causal_mask`` the last so many, itself
        included. All by default. Streams need it: it says how many steps they keep.
    kernel_initializer, bias_initializer : str or Initializer
    use_causal_mask : bool
        Whether step t sees no value after step t. In Keras an argument of the call, where it may be given here too.
    return_attention_scores : bool
        Whether to return the weights too, before dropout, ``(B, H, Tq, Tv)``. May be given in the call, as in Keras.

    Notes
    -----
    Called on query ``(B, Tq, D)``, value ``(B, Tv, …)`` and perhaps key ``(B, Tv, …)``; output ``(B, Tq, D)`` or
    ``(B, Tq, output_shape)``, on the query's time axis.

    Heads of a query that sees no value, because all are masked or it is masked itself, give the mean of all values, and
    zeros where there is dropout or where the weights are returned: Keras's two ways. Where lengths leave a query
    without a value, or the query itself out, they give zeros.

    Weights: query/kernel ``(D, H, K)``, query/bias ``(H, K)``, key/kernel, key/bias, value/kernel ``(…, H, V)``,
    value/bias ``(H, V)``, attention_output/kernel ``(H, V, units)``, attention_output/bias ``(units,)``.
    """

    type = "MultiHeadAttention"
    _keys = (
        "num_heads", "key_dim", "value_dim", "dropout", "use_bias", "output_shape", "use_causal_mask",
        "sliding_window", "return_attention_scores", "kernel_initializer", "bias_initializer",
    )  # fmt: skip

    num_heads = Setting(integer)
    key_dim = Setting(integer)
    value_dim = Setting(optional_integer)
    output_shape = Setting(_units)

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: Any = None,
        *,
        sliding_window: int | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        use_causal_mask: bool = False,
        return_attention_scores: bool = False,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            dropout, use_bias, use_causal_mask, sliding_window, return_attention_scores, kernel_initializer,
            bias_initializer, name, options,
        )  # fmt: skip
        self.num_heads = num_heads
        self.key_dim = key_dim
        self.value_dim = value_dim
        self.output_shape = output_shape


class GroupQueryAttention(_Heads):
    """MultiHeadAttention whose heads share keys and values in groups. Ainslie et al., arXiv:2305.13245.

    Parameters
    ----------
    head_dim : int
        Features of a head's queries, keys and values.
    num_query_heads, num_key_value_heads : int
        Heads, and how many different keys and values they have: the former a multiple of the latter.
    dropout, use_bias, sliding_window, kernel_initializer, bias_initializer, use_causal_mask, return_attention_scores
        As of :class:`MultiHeadAttention`, and so are call, output, masks and the names of the weights.
    """

    type = "GroupQueryAttention"
    _keys = (
        "head_dim", "num_query_heads", "num_key_value_heads", "dropout", "use_bias", "use_causal_mask",
        "sliding_window", "return_attention_scores", "kernel_initializer", "bias_initializer",
    )  # fmt: skip

    head_dim = Setting(integer)
    num_query_heads = Setting(integer)
    num_key_value_heads = Setting(integer)

    def __init__(
        self,
        head_dim: int,
        num_query_heads: int,
        num_key_value_heads: int,
        dropout: float = 0.0,
        use_bias: bool = True,
        *,
        sliding_window: int | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        use_causal_mask: bool = False,
        return_attention_scores: bool = False,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            dropout, use_bias, use_causal_mask, sliding_window, return_attention_scores, kernel_initializer,
            bias_initializer, name, options,
        )  # fmt: skip
        self.head_dim = head_dim
        self.num_query_heads = num_query_heads
        self.num_key_value_heads = num_key_value_heads
