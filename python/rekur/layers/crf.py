"""Conditional random fields: tags of the steps of a sequence that depend on their neighbours'."""

from typing import TYPE_CHECKING, Any, ClassVar

from rekur import initializers
from rekur._settings import Setting
from rekur._validate import boolean, integer, one_of
from rekur.layers.base import Layer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class CRF(Layer):
    """Tags of a linear chain over emissions: p(y | x) ∝ exp(s(y₀) + Σ x_t(y_t) + Σ A(y_t−1, y_t) + e(y_last)).

    Lafferty, McCallum & Pereira, ICML 2001. The last layer of a tagger, behind ``Dense(units)``; trained with the loss
    ``"crf"``, −log p of a row's tags:

    >>> model = rekur.Sequential(
    ...     [
    ...         rekur.layers.Bidirectional(rekur.layers.LSTM(64, return_sequences=True), input_shape=(None, 8)),
    ...         rekur.layers.Dense(5),
    ...         rekur.layers.CRF(5),
    ...     ]
    ... )
    >>> model.compile("adam", loss="crf", metrics=["accuracy"])

    ``fit`` takes tags (B, T) as class indices, ``predict`` gives the best tag sequence of each row (Viterbi) as one-hot
    vectors: ``predict(x).argmax(axis=-1)`` are the tags.

    Parameters
    ----------
    units : int
        Tags; the input has as many features.
    output_mode : "tags" or "marginals"
        One-hot vectors of the best sequence, or the probabilities of the tags at each step. Marginals have a gradient,
        so any loss may be put on them.
    use_boundary : bool
        Whether there are s and e, what a tag is worth as the first and as the last one.
    transition_initializer, boundary_initializer : str or Initializer
        Zeros by default: it begins as a softmax of each step.
    transition_regularizer, transition_constraint : optional

    Notes
    -----
    Input and output: ``(B, T, units)``. Steps that are left out by lengths or a mask are not in the chain, and the
    output there is 0. Weights: transitions ``(units, units)``, of the tag before by the tag after; start_transitions
    and end_transitions ``(units,)``. A stream has no CRF: what comes later changes tags that came before.
    """

    type = "CRF"
    _keys = ("units", "output_mode", "use_boundary", "transition_initializer", "boundary_initializer")
    _ruled: ClassVar[dict[str, str]] = {"transition": "transitions"}

    units = Setting(integer)
    output_mode = Setting(one_of("tags", "marginals"))
    use_boundary = Setting(boolean)
    transition_initializer = Setting(initializers.to_spec)
    boundary_initializer = Setting(initializers.to_spec)

    def __init__(
        self,
        units: int,
        output_mode: str = "tags",
        use_boundary: bool = True,
        transition_initializer: Any = "zeros",
        boundary_initializer: Any = "zeros",
        *,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, options)
        self.units = units
        self.output_mode = output_mode
        self.use_boundary = use_boundary
        self.transition_initializer = transition_initializer
        self.boundary_initializer = boundary_initializer

    def config(self) -> dict[str, Any]:
        found = super().config()
        if not self.use_boundary:
            del found["boundary_initializer"]
        return found

    def _chain(self) -> dict[str, Any]:
        transitions, *ends = self.get_weights()
        return {"transitions": transitions, **dict(zip(("start", "end"), ends, strict=False))}

    def decode(
        self, emissions: Any, sequence_lengths: Any = None, top_paths: int = 1
    ) -> "tuple[NDArray[np.int32], NDArray[np.float32]]":
        """:func:`rekur.sequences.crf_decode` with the layer's weights: the best tag sequences and what they score.

        Emissions are what the layer is called on: ``rekur.Model(model.inputs, layer.input).predict(x)``.
        """
        from rekur.sequences import crf_decode

        return crf_decode(emissions, sequence_lengths=sequence_lengths, top_paths=top_paths, **self._chain())

    def marginals(self, emissions: Any, sequence_lengths: Any = None) -> "NDArray[np.float32]":
        """:func:`rekur.sequences.crf_marginals` with the layer's weights: the probabilities of tags at each step."""
        from rekur.sequences import crf_marginals

        return crf_marginals(emissions, sequence_lengths=sequence_lengths, **self._chain())

    def log_likelihood(self, emissions: Any, tags: Any, sequence_lengths: Any = None) -> "NDArray[np.float64]":
        """:func:`rekur.sequences.crf_log_likelihood` with the layer's weights: log p of each row's tags."""
        from rekur.sequences import crf_log_likelihood

        return crf_log_likelihood(emissions, tags, sequence_lengths=sequence_lengths, **self._chain())
