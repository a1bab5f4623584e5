"""AttentionRNN: a decoder whose every step attends to a memory, and reads what the step before attended to."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rekur._settings import Setting, thawed
from rekur._spec import Spec
from rekur._validate import boolean, one_of, optional_integer, show
from rekur.layers.base import Layer
from rekur.layers.cells import BuiltInCell, StackedRNNCells
from rekur.layers.loop import Loop
from rekur.layers.recurrence import Recurrent
from rekur.layers.symbolic import SymbolicTensor, symbolic

_THROUGH_TIME = (
    "return_sequences", "return_state", "reverse", "go_backwards", "stateful", "zero_output_for_mask", "input_shape",
)  # fmt: skip


def _cell(value: Any, what: str) -> Spec:
    """A cell as data: the layer of it, without what says how that goes through time."""
    if isinstance(value, Mapping) and "type" in value:
        return dict(value)
    layer = value._layer if isinstance(value, BuiltInCell) else value
    if not isinstance(layer, Recurrent):
        raise TypeError(
            f"{what}: expected an LSTMCell, GRUCell or SimpleRNNCell, a recurrent layer whose cell is meant, such as "
            f"RNN of one of rekur.cells, or a list of them, got {value!r}"
        )
    for key in ("reverse", "go_backwards", "stateful", "learn_initial_state"):
        if getattr(layer, key, False):
            raise ValueError(f"{what}: {key}=True says how a layer goes through time, and the cell alone is taken")
    config = layer.config()
    return {"type": layer.type, **{key: config[key] for key in config if key not in _THROUGH_TIME}}


def _cells(value: object, what: str) -> list[Spec]:
    if isinstance(value, StackedRNNCells):
        value = value.cells
    cells = list(value) if isinstance(value, (list, tuple)) else [value]
    if not cells:
        raise ValueError(f"{what}: expected at least one cell, got {value!r}")
    return [_cell(cell, what) for cell in cells]


class AttentionRNN(Layer):
    """A recurrent layer that attends to a memory at every step, and feeds what it found into the next one.

    Parameters
    ----------
    cell : LSTMCell, GRUCell, SimpleRNNCell, recurrent layer, or list of them
        What is done at each step; of a recurrent layer, such as an ``RNN`` of one of ``rekur.cells``, its cell. Of
        several cells each reads what the one before gives, the first one x and what is fed. The options of a cell are
        its own.
    attention : {"dot", "general", "concat", "bahdanau", "multi_head"}
        The scores of the memory's steps m, h being what the cells give: h·m, h·(m W), v·tanh(h U + m W) (Luong et al.,
        arXiv:1508.04025), the same with the last cell's h before the step (Bahdanau et al., arXiv:1409.0473), or those
        of heads (Vaswani et al., arXiv:1706.03762). The context c is the mean of the memory by their softmax.
    attention_size : int, optional
        A: the output is the attentional vector tanh(W [c; h]), (A,), or by default [h; c].
    attention_units : int, optional
        Of "concat" and "bahdanau": how many numbers tanh is taken of; as many as h has by default.
    num_heads, key_dim : int, optional
        Of "multi_head": H heads, of K features each for queries, keys and values.
    input_feeding : bool
        Whether x is joined with the attentional vector of the step before, or with its context where there is no
        attention_size. In "bahdanau" the context of the step itself is what x is joined with.
    coverage : bool
        Whether the key of a step of the memory depends on how much attention the step has had so far: the sum of its
        weights times a vector is added to it (See et al., arXiv:1704.04368). Not of "multi_head".
    return_sequences, return_state : bool
    return_attention_scores : bool
        Whether to return the weights too, (B, T, S) or (B, S); of heads the mean.

    Notes
    -----
    Called on ``(inputs, memory, initial_state=None)``: (B, T, F), (B, S, M), and the states of the cells, each (B, H),
    of which the last ones may be left out: they are zeros. Output (B, T, A) or (B, A) on the time axis of the inputs;
    then the weights, then with return_state the states: those of the cells, what is fed, (B, 1, ·), and the coverage,
    (B, S, 1), all of which may be given again. "dot" needs M = H.

    Lengths and masks of the memory leave steps of it out. Rows take part for as many steps as they have, and nothing is
    computed for those that have ended.

    What does not depend on the step (m W) is computed before the first one. Weights: that matrix, then those of the
    step: ``loop/cell/kernel``, …, ``loop/query/kernel``, ``loop/attention/scale`` (v), ``loop/coverage/kernel``,
    ``loop/attentional/kernel``.
    """

    type = "AttentionRNN"
    _keys = (
        "cell", "attention", "attention_size", "attention_units", "num_heads", "key_dim", "input_feeding", "coverage",
        "return_sequences", "return_state", "return_attention_scores",
    )  # fmt: skip

    cell = Setting(_cells)
    attention = Setting(one_of("dot", "general", "concat", "bahdanau", "multi_head"))
    attention_size = Setting(optional_integer)
    attention_units = Setting(optional_integer)
    num_heads = Setting(optional_integer)
    key_dim = Setting(optional_integer)
    input_feeding = Setting(boolean)
    coverage = Setting(boolean)
    return_sequences = Setting(boolean)
    return_state = Setting(boolean)
    return_attention_scores = Setting(boolean)

    def __init__(
        self,
        cell: Any,
        attention: str = "dot",
        attention_size: int | None = None,
        *,
        attention_units: int | None = None,
        num_heads: int | None = None,
        key_dim: int | None = None,
        input_feeding: bool = True,
        coverage: bool = False,
        return_sequences: bool = False,
        return_state: bool = False,
        return_attention_scores: bool = False,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, options)
        self.cell = cell
        self.attention = attention
        self.attention_size = attention_size
        self.attention_units = attention_units
        self.num_heads = num_heads
        self.key_dim = key_dim
        self.input_feeding = input_feeding
        self.coverage = coverage
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.return_attention_scores = return_attention_scores
        self._check_settings()

    def _check_settings(self) -> None:
        heads = self.attention == "multi_head"
        if heads and (self.num_heads is None or self.key_dim is None):
            raise ValueError(f"{self!r}: attention 'multi_head' needs num_heads and key_dim")
        if heads and self.coverage:
            raise ValueError(f"{self!r}: coverage: heads have weights of their own each; another attention has one set")
        if self.attention == "bahdanau" and not self.input_feeding:
            raise ValueError(f"{self!r}: input_feeding=False: in 'bahdanau' attention the context is what a step reads")

    def config(self) -> Spec:
        return {**super().config(), "cell": [thawed(cell) for cell in self.cell]}

    def __call__(self, inputs: Any, memory: Any = None, initial_state: Any = None, **options: Any) -> Any:
        """Connect the layer to a sequence, a memory and, optionally, initial states; see the class.

        A list in place of ``inputs`` is taken apart: ``[inputs, memory, *initial_state]``.

        Raises
        ------
        TypeError, ValueError
            If something is missing or the shapes do not fit.
        """
        given = [tensor for tensor in (inputs, memory) if tensor is not None]
        if any(not isinstance(tensor, SymbolicTensor) and self._computes_on(tensor) for tensor in given):
            from rekur.layers import own

            return own.at_once(self, ((inputs, memory, initial_state), options))
        self._check_call(options)
        tensors = [t for tensor in given for t in symbolic(tensor, repr(self))]
        if initial_state is not None:
            tensors += symbolic(initial_state, f"{self!r}: initial_state")
        return self._connect(tensors)

    def _is_composed(self) -> bool:
        return True

    def _compose(self, inputs: list[SymbolicTensor]) -> Any:
        if len(inputs) < 2:
            raise ValueError(f"{self!r}: expected a sequence and a memory, got {len(inputs)} input")
        x, memory, *given = inputs
        for what, tensor in (("inputs", x), ("memory", memory)):
            if tensor.dtype != "float32" or len(tensor.shape) != 3 or tensor.shape[-1] is None:
                raise ValueError(
                    f"{self!r}: expected {what} of shape (B, T, F), float32, F known, got {tensor.dtype} of "
                    f"{show(tensor.shape)}"
                )
        step = _Step(self, x, memory)
        if len(given) > len(step.states):
            raise ValueError(f"{self!r}: expected at most {len(step.states)} initial states, got {len(given)}")
        loop = Loop(
            step.spec(), states=len(step.states), return_sequences=self.return_sequences,
            return_state=self.return_state, name="loop",
        )  # fmt: skip
        return loop._connect([x, *step.constants, *given])


def _features(x: SymbolicTensor) -> int:
    found = x.shape[-1]
    assert found is not None
    return found


class _Step:
    """The model of one step: what goes in, with what it is over all steps, and what comes out."""

    def __init__(self, layer: AttentionRNN, x: SymbolicTensor, memory: SymbolicTensor) -> None:
        from rekur import layers as L

        self._of = layer
        self.constants: list[SymbolicTensor] = []  # outside of the loop
        self._held: list[SymbolicTensor] = []  # … as a step has them
        self._next: dict[SymbolicTensor, SymbolicTensor] = {}  # after it
        self._x = self._input("x", (1, x.shape[-1]))
        cells: list[Recurrent] = []
        for k, spec in enumerate(layer.cell):
            made = L.TYPES[spec["type"]].from_config(
                {**{key: thawed(value) for key, value in spec.items() if key != "type"}, "return_sequences": True,
                 "return_state": True},
                "cell" if len(layer.cell) == 1 else f"cell_{k}",
            )  # fmt: skip
            assert isinstance(made, Recurrent)
            cells.append(made)
        widths = [cell.projection_size or cell.units for cell in cells]  # of what they give
        width = widths[-1]
        context_size = width if layer.attention == "multi_head" else _features(memory)
        size = context_size if layer.attention == "bahdanau" else layer.attention_size or context_size  # of what is fed
        features = [_features(x) + (size if layer.input_feeding else 0), *widths]
        states = [self._states_of(k, cell, features[k]) for k, cell in enumerate(cells)]
        self._prepare(memory, width)
        covered = self._input("covered", (None, 1)) if layer.coverage else None
        fed = None
        if layer.attention == "bahdanau":
            context = self._attend(L.RepeatVector(1, name="before")(states[-1][0]), covered)
            y = self._through(cells, states, L.Concatenate(name="fed")([self._x, context]))
            out = self._output(y, context)
        else:
            fed = self._input("fed", (1, size)) if layer.input_feeding else None
            y = self._through(
                cells, states, L.Concatenate(name="joined")([self._x, fed]) if fed is not None else self._x
            )
            context = self._attend(y, covered)
            out = self._output(y, context)
            if fed is not None:
                self._next[fed] = out if layer.attention_size else context
        self._outputs = [out, *([self._scores] if layer.return_attention_scores else [])]
        own = [state for cell in states for state in cell]
        self.states = [*own, *([] if fed is None else [fed]), *([] if covered is None else [covered])]

    def _input(self, name: str, shape: Sequence[int | None]) -> SymbolicTensor:
        from rekur.layers.inputs import InputLayer

        return InputLayer(tuple(shape), name=name).tensor

    def _constant(self, name: str, outside: SymbolicTensor) -> SymbolicTensor:
        self.constants.append(outside)
        self._held.append(self._input(name, (None, outside.shape[-1])))
        return self._held[-1]

    def _states_of(self, k: int, cell: Recurrent, features: int) -> list[SymbolicTensor]:
        found = cell._state_specs([((None, 1, features), "float32")])
        return [self._input(f"state_{k}_{i}", shape[1:]) for i, (shape, _) in enumerate(found)]

    def _through(self, cells: list[Recurrent], states: list[list[SymbolicTensor]], x: SymbolicTensor) -> SymbolicTensor:
        for cell, before in zip(cells, states, strict=True):
            x, *after = cell._connect([x, *before])
            self._next.update(zip(before, after, strict=True))
        return x

    def _prepare(self, memory: SymbolicTensor, width: int) -> None:
        """What a step attends to: values, and keys that do not depend on the step, of each head."""
        from rekur import layers as L

        layer = self._of
        kind, features = layer.attention, memory.shape[-1]
        if kind == "multi_head":
            assert layer.num_heads is not None and layer.key_dim is not None
            all_keys = L.Dense(layer.num_heads * layer.key_dim, name="keys")(memory)
            all_values = L.Dense(layer.num_heads * layer.key_dim, name="values")(memory)
            self._heads = [
                (
                    self._constant(f"values_{k}", self._head(all_values, k)),
                    self._constant(f"keys_{k}", self._head(all_keys, k)),
                )
                for k in range(layer.num_heads)
            ]
            self._width = width
            return
        if kind == "dot" and features != width:
            raise ValueError(
                f"{layer!r}: attention 'dot' multiplies what the cells give, {width} features, with a memory of as "
                f"many, got {features}: 'general' has a matrix between them"
            )
        self._width = width if kind in ("dot", "general") else layer.attention_units or width
        keys = memory if kind == "dot" else L.Dense(self._width, use_bias=False, name="keys")(memory)
        values = self._constant("memory", memory)
        if layer.coverage:  # steps that the memory does not have are no longer told from others, and nothing sees them
            keys = L.Reshape((-1, self._width), name="plain_keys")(keys)
        self._heads = [(values, values if keys is memory else self._constant("keys", keys))]

    def _head(self, x: SymbolicTensor, k: int) -> SymbolicTensor:
        from rekur import layers as L

        heads, size = self._of.num_heads, self._of.key_dim
        assert heads is not None and size is not None
        return x if heads == 1 else L.Slice(k * size, (k + 1) * size)(x)

    def _attend(self, query: SymbolicTensor, covered: SymbolicTensor | None) -> SymbolicTensor:
        """The context, (B, 1, M); the weights in ``_scores``, (B, 1, S), where they are wanted."""
        from rekur import layers as L

        layer = self._of
        heads = layer.attention == "multi_head"
        additive = layer.attention in ("concat", "bahdanau")
        scored = layer.return_attention_scores or covered is not None
        if heads:
            assert layer.num_heads is not None and layer.key_dim is not None
            projected = L.Dense(layer.num_heads * layer.key_dim, name="query")(query)
            query = L.Rescaling(1 / math.sqrt(layer.key_dim), name="scaled_query")(projected)
        elif additive:
            query = L.Dense(self._width, use_bias=False, name="query")(query)
        contexts: list[SymbolicTensor] = []
        weights: list[Any] = []
        for k, (values, keys) in enumerate(self._heads):
            if covered is not None:
                cover = L.Dense(self._width, use_bias=False, name="coverage")(covered)
                keys = L.Add(name="covered_keys")([keys, cover])
            kind: Any = L.AdditiveAttention if additive else L.Attention
            attend = kind(return_attention_scores=scored, name=f"head_{k}" if heads else "attention")
            made = attend([self._head(query, k) if heads else query, values, *([] if keys is values else [keys])])
            contexts.append(made[0] if scored else made)
            weights.append(made[1] if scored else None)
        if scored and len(weights) > 1:
            columns = L.Add()([L.Permute((2, 1))(w) for w in weights])
            self._scores = L.Permute((2, 1))(L.Rescaling(1 / len(weights))(columns))
        elif scored:
            self._scores = weights[0]
        if covered is not None:
            self._next[covered] = L.Add(name="new_coverage")([covered, L.Permute((2, 1), name="column")(weights[0])])
        if not heads:
            return contexts[0]
        joined: Any = contexts[0] if len(contexts) == 1 else L.Concatenate(name="heads")(contexts)
        return L.Dense(self._width, name="attention_output")(joined)  # type: ignore[no-any-return]

    def _output(self, y: SymbolicTensor, context: SymbolicTensor) -> SymbolicTensor:
        from rekur import layers as L

        size = self._of.attention_size
        if size is None:
            return L.Concatenate(name="output")([y, context])  # type: ignore[no-any-return]
        joined = L.Concatenate(name="context_and_output")([context, y])
        return L.Dense(size, activation="tanh", use_bias=False, name="attentional")(joined)  # type: ignore[no-any-return]

    def spec(self) -> Spec:
        """What Loop takes: outputs may be listed twice."""
        from rekur.models import Model

        outputs = [*self._outputs, *(self._next[state] for state in self.states)]
        listed = list(dict.fromkeys(outputs))
        made = Model([self._x, *self._held, *self.states], listed, name="step")._make_spec()
        references = dict(zip(listed, made["outputs"], strict=True))
        return {**made, "outputs": [references[tensor] for tensor in outputs]}
