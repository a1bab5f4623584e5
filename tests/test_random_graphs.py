"""Random graphs over all layer types: outputs and gradients against the reference, the same bits on any threads.

What the tests of single layers cannot know: tensors read by several layers or twice by one, states of one layer that
start another, inputs that are outputs, outputs listed twice, layers that nothing reads, several time axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest

import reference
from harness import Engine, assert_close, floats, input_layer, model_spec
from rekur import _core

Rng = np.random.Generator

# Without kinks: central differences and float32 may fall on either side of one.
SMOOTH = ["linear", "tanh", "sigmoid", "softsign", {"name": "elu", "alpha": 0.7}, "softplus", "scaled_tanh"]

SCALING = ["LayerNormalization", "Affine", "Rescaling", "Slice", "Lambda"]
EQUATIONS = [
    [["sigmoid", 0], ["multiply", 0, 1]],
    [["mean", 0], ["subtract", 0, 1], ["sin", 2]],
    [["constant", 0.5], ["multiply", 0, 1], ["erf", 2], ["max", 0], ["tanh", 4], ["add", 3, 5]],
]


class Clock(NamedTuple):
    """A time axis: how many steps it has, and the lengths that come with it."""

    steps: int
    lengths: np.ndarray | None


class Node(NamedTuple):
    name: str
    features: int
    clock: int | None = None  # which time axis; None: (B, features)
    ids: bool = False


class RandomGraph:
    """A model of random layers with a batch for it. `sizes`: the numbers of features and units to draw from."""

    def __init__(
        self,
        seed: int,
        layers: int,
        batch: int,
        steps: int,
        sizes: Sequence[int],
        rate: float,
        equations: bool = True,
    ) -> None:
        self.scaling = SCALING if equations else SCALING[:-1]
        self.rng = np.random.default_rng([seed, 99])
        self.B, self.sizes, self.rate = batch, sizes, rate
        self.layers: list[dict[str, Any]] = []
        self.nodes: list[Node] = []
        self.inputs: list[np.ndarray] = []
        self.lengths: list[np.ndarray | None] = []
        self.clocks = [self.clock(steps) for _ in range(self.rng.integers(1, 3))]
        self.add_input("sequence")
        for _ in range(self.rng.integers(0, 4)):
            self.add_input(self.pick(["sequence", "sequence", "row", "ids", "id"]))
        makers = [
            self.recurrent,
            self.recurrent,
            self.bidirectional,
            self.pointwise,
            self.pointwise,
            self.embedding,
            self.join,
            self.step,
        ]
        while len(self.layers) < len(self.inputs) + layers:
            self.pick(makers)()
        floats = [node for node in self.nodes if not node.ids]
        latest = floats[-4:]
        outputs = [self.pick(latest).name for _ in range(self.rng.integers(1, 4))]
        outputs += [self.pick(floats).name for _ in range(self.rng.integers(0, 3))]
        self.spec = model_spec(self.layers, outputs)

    def pick(self, choices: Sequence[Any]) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def flag(self, probability: float = 0.5) -> bool:
        return bool(self.rng.random() < probability)

    def clock(self, most: int) -> Clock:
        steps = int(self.rng.integers(most // 2, most + 1))
        lengths = self.rng.integers(0, steps + 1, self.B).astype(np.int32) if self.flag(0.6) else None
        return Clock(steps, lengths)

    def add_input(self, kind: str) -> None:
        name = f"in{len(self.inputs)}"
        clock = int(self.rng.integers(len(self.clocks))) if kind in ("sequence", "ids") else None
        features = int(self.pick(self.sizes))
        ids = kind in ("ids", "id")
        time = () if clock is None else (self.clocks[clock].steps,)
        shape = [*(None for _ in time), *(() if ids else (features,))]
        self.layers.append(input_layer(name, *shape, dtype="int32" if ids else "float32"))
        if ids:
            self.inputs.append(self.rng.integers(0, 5, (self.B, *time)).astype(np.int32))
        else:
            self.inputs.append(floats(self.rng, self.B, *time, features))
        self.lengths.append(None if clock is None else self.clocks[clock].lengths)
        self.nodes.append(Node(name, features, clock, ids))

    def add(self, type: str, inputs: Sequence[Node], outputs: Sequence[Node], **keys: Any) -> None:
        name = f"{type}{len(self.layers)}"
        self.layers.append({"type": type, "name": name, "inputs": [node.name for node in inputs], **keys})
        for k, output in enumerate(outputs):
            self.nodes.append(output._replace(name=f"{name}:{k}" if k else name))

    def feature_nodes(self) -> list[Node]:
        return [node for node in self.nodes if not node.ids]

    def cell(self, units: int) -> dict[str, Any]:
        type = self.pick(list(reference.CELLS))
        keys: dict[str, Any] = {
            "type": type,
            "units": units,
            "activation": self.pick(SMOOTH[1:4]),
            "use_bias": self.flag(0.8),
        }
        if type != "SimpleRNN" and self.flag(0.3):
            keys["recurrent_activation"] = self.pick(["sigmoid", "tanh", "softsign"])
        if type == "GRU":
            keys["reset_after"] = self.flag()
        if type == "LSTM":
            keys |= {"peepholes": self.flag(0.3), "coupled_gates": self.flag(0.3)}
            if self.flag(0.2):
                keys["output_activation"] = self.pick(SMOOTH)
        if self.flag(0.2):
            keys |= {"layer_normalization": self.pick(["sums", "state", "both"]), "normalization_epsilon": 0.3}
        if self.flag(0.15):
            keys["state_clip"] = 0.6
        if self.flag(0.2):
            keys |= {"dropout": self.rate, "recurrent_dropout": self.rate, "zoneout": self.rate}
        elif type != "GRU" and units > 1 and self.flag(0.3):
            keys["projection_size"] = int(self.rng.integers(1, units))
        if self.flag(0.2):
            keys["recurrent_weight_dropout"] = self.rate
        return keys | {"return_sequences": self.flag(0.6), "return_state": self.flag()}

    def states(self, units: int, counts: Sequence[int]) -> list[Node]:
        rows = [node for node in self.feature_nodes() if node.clock is None and node.features == units]
        count = self.pick(counts) if rows and self.flag(0.7) else 0
        return [self.pick(rows) for _ in range(count)]

    def recurrent(self) -> None:
        self.time_loop(directions=1)

    def bidirectional(self) -> None:
        self.time_loop(directions=2)

    def time_loop(self, directions: int) -> None:
        x = self.pick([node for node in self.feature_nodes() if node.clock is not None])
        units = int(self.pick(self.sizes))
        cell = self.cell(units)
        states = reference.CELLS[cell["type"]].states
        first = cell.get("projection_size", units)
        counts = [2 * states] if directions == 2 else range(1, states + 1)
        initial = self.states(units, counts) if first == units else []
        if len(initial) < states * directions and self.flag(0.25):
            cell["learn_initial_state"] = True
        merge = self.pick(list(reference.MERGES))
        width = first * (2 if directions == 2 and merge == "concat" else 1)
        outputs = [Node("", width, x.clock if cell["return_sequences"] else None)]
        if cell["return_state"]:
            outputs += [Node("", first), *[Node("", units)] * (states - 1)] * directions
        # x past a row's end is in no file that onnx.load reads.
        full = cell["return_sequences"] and x.clock is not None and self.clocks[x.clock].lengths is None
        residual = {"residual": True} if width == x.features and full and self.flag() else {}
        if directions == 2:
            self.add("Bidirectional", [x, *initial], outputs, layer=cell, merge_mode=merge, **residual)
        else:
            self.add(cell.pop("type"), [x, *initial], outputs, **cell, **residual, reverse=self.flag())

    def pointwise(self) -> None:
        x = self.pick(self.feature_nodes())
        type = self.pick(["Dense", "Dense", "Activation", "Dropout", *self.scaling])
        if type == "Dense":
            units = int(self.pick(self.sizes))
            activation = self.pick([*SMOOTH, "softmax"])
            self.add(
                type, [x], [x._replace(features=units)], units=units, activation=activation, use_bias=self.flag(0.7)
            )
        elif type == "Activation":
            self.add(type, [x], [x], activation=self.pick([*SMOOTH, "softmax"]))
        elif type == "Slice":
            start = int(self.rng.integers(x.features))
            stop = int(self.rng.integers(start, x.features)) + 1
            self.add(type, [x], [x._replace(features=stop - start)], start=start - x.features, stop=stop)
        elif type == "Rescaling":
            scale = self.rng.uniform(-1.5, 1.5, x.features).tolist()
            self.add(type, [x], [x], scale=scale, offset=float(self.rng.uniform(-1, 1)))
        elif type == "LayerNormalization":
            self.add(type, [x], [x], epsilon=0.1, center=self.flag(0.7), scale=self.flag(0.7))
        elif type == "Affine":
            self.add(type, [x], [x])
        elif type == "Lambda":
            nodes = self.pick(EQUATIONS)
            self.add(type, [x], [x], equations={"inputs": ["x"], "nodes": nodes, "outputs": [len(nodes)]})
        else:
            self.add(type, [x], [x], rate=self.rate)

    def embedding(self) -> None:
        ids = [node for node in self.nodes if node.ids]
        if ids:
            x, columns = self.pick(ids), int(self.pick(self.sizes))
            self.add("Embedding", [x], [Node("", columns, x.clock)], input_dim=5, output_dim=columns)

    def step(self) -> None:
        sequences = [node for node in self.feature_nodes() if node.clock is not None]
        x = self.pick(sequences)
        assert x.clock is not None
        steps = self.clocks[x.clock].steps
        if steps:
            self.add("Step", [x], [Node("", x.features)], index=int(self.rng.integers(-steps, steps)))

    def join(self) -> None:
        type = self.pick(["Concatenate", "Add", "Multiply", "Subtract"])
        first = self.pick(self.feature_nodes())
        fitting = [
            node
            for node in self.feature_nodes()
            if node.clock == first.clock and (type == "Concatenate" or node.features == first.features)
        ]
        count = 1 if type == "Subtract" else self.rng.integers(1, 4)
        inputs = [first] + [self.pick(fitting) for _ in range(count)]
        features = sum(node.features for node in inputs) if type == "Concatenate" else first.features
        if features <= 4 * max(self.sizes):
            self.add(type, inputs, [first._replace(features=features)])

    def output_gradients(self, outputs: Sequence[np.ndarray]) -> list[np.ndarray | None]:
        return [floats(self.rng, *y.shape) if self.flag(0.8) else None for y in outputs]


@pytest.mark.parametrize("seed", range(60))
def test_outputs_and_gradients_are_the_references(seed: int) -> None:
    isas = _core.available_isas()
    before = _core.isa()
    _core.set_isa(isas[seed % len(isas)])
    try:
        check_against_reference(seed)
    finally:
        _core.set_isa(before)


def check_against_reference(seed: int) -> None:
    batch, steps = [(3, 4), (5, 3), (1, 5), (2, 1), (4, 0), (0, 3)][seed % 6]
    graph = RandomGraph(seed, layers=7, batch=batch, steps=steps, sizes=(1, 3, 3, 5), rate=0.0)
    engine, inputs, lengths = Engine(graph.spec, seed, scale=0.6), graph.inputs, graph.lengths
    weights = engine.weights
    expected = reference.run(graph.spec, weights, inputs, lengths)
    predicted = engine.predict(inputs, lengths)
    dy = graph.output_gradients(expected)
    outputs, d_weights, d_inputs = engine.gradients(inputs, dy, lengths)
    for name, y, trained, e in zip(graph.spec["outputs"], predicted, outputs, expected, strict=True):
        assert_close(y, e, 1e-5, name)
        np.testing.assert_array_equal(trained, y)

    def total(weights: Any, inputs: Any) -> float:
        outputs = reference.run(graph.spec, weights, inputs, lengths)
        return sum(float(np.sum(y * d)) for y, d in zip(outputs, dy, strict=True) if d is not None)

    def check(name: str, f: Any, x: np.ndarray, gradient: np.ndarray) -> None:
        assert gradient.shape == x.shape
        direction = graph.rng.standard_normal(x.shape)
        terms = gradient * direction
        numeric = reference.directional_derivative(f, x.astype(np.float64), direction, 1e-5)
        tolerance = 1e-4 * max(1.0, float(np.linalg.norm(terms)))
        assert abs(float(terms.sum()) - numeric) <= tolerance, (
            f"gradient of {name}: {terms.sum():.7g}, expected {numeric:.7g}"
        )

    for name, w in weights.items():
        check(name, lambda v, name=name: total({**weights, name: v}, inputs), w, d_weights[name])
    for i, (x, d_input) in enumerate(zip(inputs, d_inputs, strict=True)):
        if x.dtype == np.float32:
            assert d_input is not None
            check(f"in{i}", lambda v, i=i: total(weights, [*inputs[:i], v, *inputs[i + 1 :]]), x, d_input)


@pytest.mark.parametrize("seed", range(8))
def test_threads_change_no_bit(restore_threads: None, seed: int) -> None:
    graph = RandomGraph(seed + 1000, layers=6, batch=19, steps=12, sizes=(17, 40), rate=0.3)
    engine = Engine(graph.spec, seed, scale=0.6)
    results = []
    for threads in (1, 2, 3, 7):
        _core.set_num_threads(threads)
        predicted = engine.predict(graph.inputs, graph.lengths)
        dy = [np.cos(np.arange(y.size, dtype=np.float32)).reshape(y.shape) for y in predicted]
        outputs, d_weights, d_inputs = engine.gradients(graph.inputs, dy, graph.lengths, seed=5, step=seed)
        results.append([*predicted, *outputs, *d_weights.values(), *(d for d in d_inputs if d is not None)])
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(one.view(np.uint32), two.view(np.uint32))
