"""Attention as plain operators; from opset 23 on, where at most causality hides a value, the operator Attention."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rekur.onnx._axes import BATCH
from rekur.onnx._carry import behind_last, one_step
from rekur.onnx._errors import ExportError
from rekur.onnx._graph import Graph, Tensor
from rekur.onnx._masks import steps_there
from rekur.onnx._plan import Layer, Plan, State, describe

ATTENTION = 23  # the opset that knows the operator
FLOAT = 1  # onnx.TensorProto's
HIDDEN = -1e30  # a score whose weight is 0 beside any other


@dataclass(frozen=True)
class Heads:
    """Sizes of a MultiHeadAttention or a GroupQueryAttention."""

    queries: int
    keys: int
    key: int
    value: int

    @staticmethod
    def of(layer: Layer) -> Heads:
        if layer["type"] == "GroupQueryAttention":
            return Heads(layer["num_query_heads"], layer["num_key_value_heads"], layer["head_dim"], layer["head_dim"])
        key = layer["key_dim"]
        return Heads(layer["num_heads"], layer["num_heads"], key, layer.get("value_dim", key))


def marked(x: Tensor) -> bool:
    """Whether the file knows which steps of a sequence are there."""
    return x.axis is not None and x.axis.marked


class Writer:
    """Operators on what one layer computes; names begin with the layer's."""

    def __init__(self, graph: Graph, layer: Layer, inputs: Sequence[Tensor]) -> None:
        self.graph, self.layer, self.label = graph, layer, layer["name"]
        self.query, self.value, self.key = inputs[0], inputs[1], inputs[-1]
        self.causal = bool(layer.get("use_causal_mask", False))
        self.window: int | None = layer.get("sliding_window")
        self.returns = bool(layer.get("return_attention_scores", False))
        sides = [x.axis for x in (self.query, self.value) if x.axis is not None]
        self.masked = any(axis.mask for axis in sides)
        of_heads = layer["type"] in ("MultiHeadAttention", "GroupQueryAttention")
        apart = of_heads and (self.returns or layer.get("dropout", 0) != 0)
        self.held: tuple[State, ...] = ()  # keys, where they are not the values, values, and how many of them there are
        # Keras: a query that sees nothing gets the mean of all values; of heads a masked query, too.
        self.means = self.masked and not apart
        self.means_of_masked = self.means and of_heads

    def __call__(self, op: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        return self.graph.emit(op, inputs, f"{self.label}/{name}", **attributes)

    def number(self, value: float) -> str:
        return self.graph.initializer(f"float32/{value!r}", np.array(value, np.float32))

    def parameter(self, name: str, shape: tuple[int, ...]) -> Any:
        return self.graph.weight(describe(self.layer), f"{self.label}/{name}", shape)

    def constant(self, name: str, array: Any) -> str:
        return self.graph.initializer(f"{self.label}/{name}", np.asarray(array, np.float32))

    def steps(self, x: Tensor) -> str:
        """[T] int64: 0, 1, … of the time axis of a batch-major sequence."""
        graph, label = self.graph, x.label
        shape = graph.once("Shape", [graph.batch_major(x)], f"{label}/batch_major_shape")
        index = graph.initializer("int64/one", np.array(1, np.int64))
        size = graph.once("Gather", [shape, index], f"{label}/steps", axis=0)
        zero = graph.initializer("int64/zero", np.array(0, np.int64))
        return graph.once("Range", [zero, size, index], f"{label}/step_numbers")

    def with_held(self, plan: Plan, k: str, v: str) -> tuple[str, str]:
        """Keys and values (B, T, ·), those of the steps before in front of them; "" for keys that are the values.

        In a window of one there are none, and a step alone sees itself.
        """
        if plan.streaming and self.window == 1:
            self.causal, self.window = False, None
        self.held = plan.states.get(self.label, ())
        if not self.held:
            return k, v
        assert self.window is not None
        lengths, *rows = self._lengths(), *self.held[:-1]
        places = zip(rows, (k, v)[-len(rows) :], ("key", "value")[-len(rows) :], strict=True)
        joined = [
            behind_last(self.graph, state, value, f"{self.label}/{name}", lengths, self.window - 1)
            for state, value, name in places
        ]
        return joined[0], joined[-1]

    def _lengths(self) -> str | None:
        return self.query.axis.lengths if self.query.axis is not None else None

    def seen_of_held(self, plan: Plan, heads: int) -> str:
        """The same where keys of steps before are in front: (B, [heads' axes,] Tq, W − 1 + Tq)."""
        graph, count = self.graph, self.held[-1]
        assert self.window is not None
        before = self.window - 1
        most, lengths = self.number(float(before)), self._lengths()
        if plan.streaming:
            back = self.constant("steps_back", np.arange(before, -1, -1))
            there = self("LessOrEqual", [back, count.input], "there")
            more = self.number(1.0)
        else:
            steps = self.steps(self.query)
            zero, one = (graph.initializer(f"int64/{n}", np.array(v, np.int64)) for n, v in (("zero", 0), ("one", 1)))
            shape = graph.once("Shape", [graph.batch_major(self.query)], f"{self.query.label}/batch_major_shape")
            size = graph.once("Gather", [shape, one], f"{self.query.label}/steps", axis=0)
            limit = graph.initializer(f"{self.label}/before", np.array(before, np.int64))
            keys = self("Range", [zero, self("Add", [size, limit], "keys"), one], "key_steps")
            row = self("Unsqueeze", [steps, graph.integers(1)], "query_steps")
            apart = self("Sub", [self("Unsqueeze", [keys, graph.integers(0)], "value_steps"), row], "distance")
            window = self(
                "And",
                [self("GreaterOrEqual", [apart, zero], "within"), self("LessOrEqual", [apart, limit], "causal")],
                "window",
            )
            back = self("Sub", [most, self("Cast", [keys], "key_steps/float32", to=FLOAT)], "steps_back")
            there = self("LessOrEqual", [back, count.input], "there")
            there = self("And", [self("Unsqueeze", [there, graph.integers(1)], "there/rows"), window], "seen")
            given = graph.once("Unsqueeze", [lengths, graph.integers(1)], f"{lengths}/column") if lengths else size
            more = self("Cast", [given], "more", to=FLOAT)
        graph.emit("Min", [self("Add", [count.input, more], "counted"), most], count.output)
        axes = range(1, 1 + heads + plan.streaming)  # it is (B, W) of a step, (B, T, W − 1 + T) of a piece
        return self("Unsqueeze", [there, graph.integers(*axes)], "seen_keys") if axes else there

    def seen(self, heads: int) -> str | None:
        """What is seen of the values, to be spread over (B, [heads' axes,] Tq, Tv); None where that is all."""
        graph = self.graph
        parts = []
        if self.causal or self.window is not None:
            row = self("Unsqueeze", [self.steps(self.query), graph.integers(1)], "query_steps")
            column = self("Unsqueeze", [self.steps(self.value), graph.integers(0)], "value_steps")
            if self.causal:
                parts.append(self("GreaterOrEqual", [row, column], "causal"))
            if self.window is not None:
                apart = self("Abs", [self("Sub", [row, column], "distance")], "apart")
                limit = graph.initializer(f"{self.label}/window", np.array(self.window, np.int64))
                parts.append(self("Less", [apart, limit], "within"))
        if there := steps_there(graph, self.value):
            parts.append(self("Unsqueeze", [there, graph.integers(*range(1, 2 + heads))], "valid_values"))
        if self.means_of_masked and (there := steps_there(graph, self.query)):
            axes = graph.integers(*range(1, 1 + heads), 2 + heads)
            parts.append(self("Unsqueeze", [there, axes], "valid_queries"))
        if not parts:
            return None
        total = parts[0]
        for index, part in enumerate(parts[1:], 1):
            total = self("And", [total, part], f"seen_{index}")
        return total

    def weights(self, plan: Plan, scores: str, heads: int) -> str:
        """softmax over what is seen; zeros for a query that sees nothing."""
        if self.held:  # every step sees itself
            hidden = self("Where", [self.seen_of_held(plan, heads), scores, self.number(HIDDEN)], "seen_scores")
            return self("Softmax", [hidden], "weights", axis=-1)
        seen = self.seen(heads)
        if seen is None:
            return self("Softmax", [scores], "weights", axis=-1)
        hidden = self("Where", [seen, scores, self.number(HIDDEN)], "seen_scores")
        weights = self("Softmax", [hidden], "all_weights", axis=-1)
        if self.means or not (marked(self.value) or self.window is not None):
            return weights  # a causal query sees the first value
        return self("Where", [seen, weights, self.number(0.0)], "weights")

    def within_query(self, value: str, name: str) -> str:
        """(B, Tq, …) with zeros for steps of the query that are not there."""
        if not marked(self.query) or self.means_of_masked:
            return value
        column = self("Unsqueeze", [steps_there(self.graph, self.query), self.graph.integers(2)], f"{name}/rows")
        return self("Where", [column, value, self.number(0.0)], name)


def _check(plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> None:
    for x in inputs:
        if (x.axis is None and not plan.streaming) or x.features is None:
            raise ExportError(f"{describe(layer)}: expected sequences (batch, time, features), got {x.shape}")


def key_apart(layer: Layer) -> bool:
    """Whether an attention has keys that are not its values."""
    return len(layer["inputs"]) == 3 and layer["inputs"][1] != layer["inputs"][2]


def _outputs(w: Writer, y: str, features: int, weights: str, heads: tuple[int, ...]) -> list[Tensor]:
    outputs = [Tensor(w.label, features, w.query.axis, batch_major=y)]
    if w.returns:
        assert w.query.axis is not None and w.value.axis is not None
        whole = (BATCH, *heads, w.query.axis.size, w.value.axis.size)
        outputs.append(Tensor(f"{w.label}:1", features, batch_major=weights, whole=whole))
    return outputs


def attention(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Attention and AdditiveAttention."""
    _check(plan, layer, inputs)
    w = Writer(graph, layer, inputs)
    features, of_value = w.query.features, w.value.features
    assert features is not None and of_value is not None
    whole = one_step if plan.streaming else Graph.batch_major
    q, k, v = (whole(graph, x) for x in (w.query, w.key, w.value))
    k, v = w.with_held(plan, k, v)
    scores = _scores(w, q, k, features)
    weights = w.weights(plan, scores, 0)
    given = ""
    if w.returns:  # a mask of the query acts on the output alone
        given = weights if w.masked else w.within_query(weights, "valid_weights")
        given = graph.emit("Identity", [given], f"{w.label}:1")
    y = w("MatMul", [weights, v], "weighted")
    if plan.streaming:
        y = graph.emit("Squeeze", [y, graph.integers(1)], w.label)
    else:
        y = graph.emit("Identity", [w.within_query(y, "valid")], w.label)
    return _outputs(w, y, of_value, given, ())


def _scores(w: Writer, q: str, k: str, features: int) -> str:
    layer, scaled = w.layer, w.layer.get("use_scale", w.layer["type"] == "AdditiveAttention")
    if layer["type"] == "Attention" and layer.get("score_mode", "dot") == "dot":
        if scaled:
            q = w("Mul", [q, w.constant("scale", w.parameter("scale", ()))], "scaled")
        return w("MatMul", [q, w("Transpose", [k], "columns", perm=[0, 2, 1])], "scores")
    rows, columns = w("Unsqueeze", [q, w.graph.integers(2)], "q"), w("Unsqueeze", [k, w.graph.integers(1)], "k")
    pairs = w("Add", [rows, columns], "pairs")
    if layer["type"] == "AdditiveAttention":
        factor = w.parameter("scale", (features,)) if scaled else np.ones(features)
    else:
        if scaled:
            pairs = w("Mul", [pairs, w.constant("scale", w.parameter("scale", ()))], "scaled")
        factor = np.full(features, w.parameter("concat_score_weight", ()))
    column = w.constant("factor", np.asarray(factor)[:, None])
    wide = w("MatMul", [w("Tanh", [pairs], "tanh"), column], "wide_scores")
    return w("Squeeze", [wide, w.graph.integers(3)], "scores")


def heads(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    """MultiHeadAttention and GroupQueryAttention."""
    _check(plan, layer, inputs)
    w, h = Writer(graph, layer, inputs), Heads.of(layer)
    bias = layer.get("use_bias", True)

    def product(part: str, x: str, rows: int, kernel: tuple[int, ...], columns: tuple[int, ...], out: str) -> str:
        matrix = w.parameter(f"{part}/kernel", kernel).reshape(rows, -1)
        y = graph.emit("MatMul", [x, w.constant(f"{part}/kernel", matrix)], f"{out}/product" if bias else out)
        if not bias:
            return y
        return graph.emit("Add", [y, w.constant(f"{part}/bias", w.parameter(f"{part}/bias", columns).reshape(-1))], out)

    def project(part: str, x: Tensor, count: int, size: int) -> str:
        assert x.features is not None
        kernel, columns = (x.features, count, size), (count, size)
        return product(
            part,
            one_step(graph, x) if plan.streaming else graph.batch_major(x),
            x.features,
            kernel,
            columns,
            f"{w.label}/{part}",
        )

    q = project("query", w.query, h.queries, h.key)
    k = project("key", w.key, h.keys, h.key)
    v = project("value", w.value, h.keys, h.value)
    fused = graph.opset >= ATTENTION and w.window is None and not w.returns
    fused = fused and not marked(w.value) and not w.masked
    k, v = w.with_held(plan, k, v)
    weights = ""
    if fused:
        counts = {"q_num_heads": h.queries, "kv_num_heads": h.keys}
        o = w("Attention", [q, k, v], "heads", is_causal=int(w.causal), scale=1 / math.sqrt(h.key), **counts)
    else:
        o, weights = _plain(w, plan, h, q, k, v)
    o = w.within_query(o, "valid")
    if plan.streaming:
        o = w("Squeeze", [o, graph.integers(1)], "joined/step")
    assert w.query.features is not None
    units = layer.get("output_shape") or w.query.features
    kernel = (h.queries, h.value, units)
    y = product("attention_output", o, h.queries * h.value, kernel, (units,), w.label)
    return _outputs(w, y, units, weights, (h.queries,))


def _plain(w: Writer, plan: Plan, h: Heads, q: str, k: str, v: str) -> tuple[str, str]:
    """(B, Tq, H·V), and where they are wanted the weights (B, H, Tq, Tv). Heads that share keys are one more axis."""
    graph, group = w.graph, h.queries // h.keys
    split = [] if group == 1 else [group]

    def apart(x: str, count: int, inner: list[int], size: int, last: bool, name: str) -> str:
        """(B, heads, [group,] T, size), or with `last` (…, size, T)."""
        wide = w("Reshape", [x, graph.integers(0, 0, count, *inner, size)], f"{name}/heads")
        middle = list(range(2, 3 + len(inner)))
        ends = [3 + len(inner), 1] if last else [1, 3 + len(inner)]
        return w("Transpose", [wide], f"{name}/by_head", perm=[0, *middle, *ends])

    ones = [1] * len(split)
    queries = apart(w("Mul", [q, w.number(1 / math.sqrt(h.key))], "scaled"), h.keys, split, h.key, False, "query")
    scores = w("MatMul", [queries, apart(k, h.keys, ones, h.key, True, "key")], "scores")
    weights = w.weights(plan, scores, 1 + len(split))
    o = w("MatMul", [weights, apart(v, h.keys, ones, h.value, False, "value")], "weighted")
    steps = 2 + len(split)
    back = w("Transpose", [o], "by_step", perm=[0, steps, *range(1, steps), steps + 1])
    joined = w("Reshape", [back, graph.integers(0, 0, h.queries * h.value)], "joined")
    if not w.returns:
        return joined, ""
    if marked(w.query):
        axes = graph.integers(*range(1, steps), steps + 1)
        rows = w("Unsqueeze", [steps_there(graph, w.query), axes], "weights/rows")
        weights = w("Where", [rows, weights, w.number(0.0)], "valid_weights")
    if split:  # (B, G, H/G, Tq, Tv): the two axes of the heads are one
        shape = w("Shape", [scores], "scores/shape")
        ends = w("Slice", [shape, graph.integers(3), graph.integers(5), graph.integers(0)], "scores/ends")
        whole = w("Concat", [graph.integers(0, h.queries), ends], "weights/shape", axis=0)
        return joined, graph.emit("Reshape", [weights, whole], f"{w.label}:1")
    return joined, graph.emit("Identity", [weights], f"{w.label}:1")
