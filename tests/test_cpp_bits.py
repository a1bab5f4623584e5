"""The C++ and C interfaces compute what Python computes, bit for bit: sequences, steps, training.

The library is looked for as cpp_tools says; of an installed one:  REKUR_CPP_PREFIX=PREFIX pytest tests/test_cpp_bits.py
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import cpp_tools
from harness import Engine, floats, input_layer, model_spec
from random_cells import SIZES, cell_inputs, cell_model, library, random_cell
from rekur import _core
from rekur._spec import RECURRENT
from rekur.onnx._states import state_sizes
from test_layer_contract import EXAMPLES, Example
from test_random_graphs import RandomGraph

DRIVERS = Path(__file__).parent / "drivers"
PREDICT, STREAM, TRAIN = range(3)
Lengths = Sequence[np.ndarray | None]


class Case(NamedTuple):
    name: str
    engine: Engine
    inputs: list[np.ndarray]
    lengths: Lengths


class Result(NamedTuple):
    arrays: list[np.ndarray]
    failure: str


def contract_cases(rng: np.random.Generator) -> Iterator[Case]:
    """Every layer type with its options; full rows, one step, no row at all, and rows of all lengths."""
    for k, example in enumerate(EXAMPLES):
        engine = Engine(example.spec(), seed=k)
        for B, T in [(4, 5), (1, 1), (0, 3), (3, 17)]:
            inputs = example.arrays(rng, B, max(T, example.least_steps))
            yield Case(f"{example.type} {k} of {B} rows", engine, inputs, [None] * len(inputs))
        inputs = example.arrays(rng, 5, 6)
        shapes = [(len(shape) == 2 if dtype == "int32" else len(shape) == 3) for shape, dtype in example.inputs]
        first = rng.integers(0, inputs[0].shape[1] + 1, 5).astype(np.int32) if shapes[0] else None
        yield Case(f"{example.type} {k} of lengths", engine, inputs, [
            None if first is None or not timed else np.minimum(first, x.shape[1]).astype(np.int32)
            for timed, x in zip(shapes, inputs, strict=True)
        ])  # fmt: skip


def large_case(rng: np.random.Generator) -> Case:
    """Several threads, several tiles, no round number."""
    layers = [
        input_layer("x", None, 19),
        {"type": "Bidirectional", "name": "a", "inputs": ["x"],
         "layer": {"type": "LSTM", "units": 67, "return_sequences": True}},
        {"type": "GRU", "name": "b", "inputs": ["a"], "units": 130, "return_sequences": True},
        {"type": "SimpleRNN", "name": "c", "inputs": ["b"], "units": 33},
        {"type": "Dense", "name": "y", "inputs": ["c"], "units": 5, "activation": "softmax"},
    ]  # fmt: skip
    return Case("large", Engine(model_spec(layers, ["y", "b"])), [floats(rng, 21, 37, 19)], [None])


def folded_case(rng: np.random.Generator) -> Case:
    layers = [
        input_layer("x", None, 4, 3),
        {"type": "FoldTime", "name": "rows", "inputs": ["x"]},
        {"type": "LSTM", "name": "a", "inputs": ["rows"], "units": 5},
        {"type": "UnfoldTime", "name": "y", "inputs": ["a", "x"]},
    ]
    return Case("folded", Engine(model_spec(layers, ["y"])), [floats(rng, 3, 6, 4, 3)], [None])


def random_case(seed: int) -> Case:
    graph = RandomGraph(seed, layers=4, batch=3, steps=5, sizes=(1, 2, 3, 9, 17), rate=0.2)
    return Case(f"random graph {seed}", Engine(graph.spec, seed), graph.inputs, graph.lengths)


# Layers along time, which refuse a stream, and by which reason, in cpp/tests/test_stream.cpp.
OVER_TIME = {
    "Conv1D", "DepthwiseConv1D", "SeparableConv1D", "Conv1DTranspose", "MaxPooling1D", "AveragePooling1D",
    "GlobalMaxPooling1D", "GlobalAveragePooling1D", "UpSampling1D", "Cropping1D", "ZeroPadding1D", "Padding1D",
    "Flatten", "Reshape", "Permute", "RepeatVector", "Concatenate", "PReLU", "Dot", "Masking", "Embedding",
    "Parameter", "CRF",
    "ConvLSTM1D", "ConvLSTM2D", "Loop",
}  # fmt: skip


# The drivers' form of cases and results.


def pack_array(x: np.ndarray, lengths: np.ndarray | None = None) -> bytes:
    rows = np.zeros(0, np.int32) if lengths is None else np.asarray(lengths, np.int32)
    head = struct.pack(f"<{x.ndim + 3}q", x.dtype == np.int32, x.ndim, *x.shape, len(rows))
    return head + x.tobytes() + rows.tobytes()


def pack_arrays(arrays: Sequence[np.ndarray], lengths: Lengths | None = None) -> bytes:
    packed = [pack_array(x, l) for x, l in zip(arrays, lengths or [None] * len(arrays), strict=True)]
    return struct.pack("<q", len(arrays)) + b"".join(packed)


def pack_text(text: str) -> bytes:
    return struct.pack("<q", len(text.encode())) + text.encode()


def unpack(data: bytes) -> Iterator[Result]:
    at = 0

    def numbers(count: int) -> tuple[int, ...]:
        nonlocal at
        at += 8 * count
        return struct.unpack_from(f"<{count}q", data, at - 8 * count)

    while at < len(data):
        (count,) = numbers(1)
        if count < 0:
            (size,) = numbers(1)
            yield Result([], data[at : at + size].decode())
            at += size
            continue
        arrays = []
        for _ in range(count):
            _, rank = numbers(2)
            shape = numbers(rank)
            numbers(1)
            arrays.append(np.frombuffer(data, np.float32, int(np.prod(shape)), at).reshape(shape))
            at += arrays[-1].nbytes
        yield Result(arrays, "")


@pytest.fixture(scope="module", params=["driver.cpp", "driver.c"], ids=["C++", "C"])
def driver(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = cpp_tools.library()
    if request.param == "driver.cpp" and not library.config["EXCEPTIONS"]:
        pytest.skip("the library's C++ functions do not throw, and are not declared")
    return library.compile(DRIVERS / request.param, tmp_path_factory.mktemp("driver") / "driver")


def run(driver: Path, cases: Sequence[bytes], folder: Path, isa: str) -> list[Result]:
    (folder / "cases").write_bytes(b"".join(cases))
    cpp_tools.run([driver, folder / "cases", folder / "results"], REKUR_ISA=isa)
    results = list(unpack((folder / "results").read_bytes()))
    assert len(results) == len(cases)
    return results


def saved(engine: Engine, folder: Path) -> str:
    """Where the model lies; each is written once."""
    path = folder / f"{id(engine)}.safetensors"
    if not path.exists():
        engine.model.save(str(path))
    return str(path)


def assert_same_bits(actual: Sequence[np.ndarray], expected: Sequence[np.ndarray], what: str) -> None:
    assert [y.shape for y in actual] == [y.shape for y in expected], what
    for k, (y, e) in enumerate(zip(actual, expected, strict=True)):
        different = np.flatnonzero(y.reshape(-1).view(np.uint32) != e.reshape(-1).view(np.uint32))
        assert not len(different), f"{what}, output {k}: {len(different)} of {y.size} numbers differ in their bits"


def test_sequences(driver: Path, cpp_isa: str, rng: np.random.Generator, tmp_path: Path) -> None:
    cases = [*contract_cases(rng), large_case(rng), folded_case(rng), *map(random_case, range(25))]
    assert {layer["type"] for case in cases for layer in case.engine.spec["layers"]} >= set(_core.layer_types()) - {
        "AddLoss"
    }
    packed = [
        struct.pack("<q", PREDICT) + pack_text(saved(c.engine, tmp_path)) + pack_arrays(c.inputs, c.lengths)
        for c in cases
    ]
    for case, (arrays, failure) in zip(cases, run(driver, packed, tmp_path, cpp_isa), strict=True):
        assert not failure, case.name
        assert_same_bits(arrays, case.engine.predict(case.inputs, case.lengths), case.name)


# Streams.


def live_layers(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the outputs depend on, in the model's order."""
    layers = {layer["name"]: layer for layer in spec["layers"]}
    live, waiting = set(), list(spec["outputs"])
    while waiting:
        name = waiting.pop().partition(":")[0]
        if name not in live:
            live.add(name)
            waiting += layers[name].get("inputs", [])
    return [layer for layer in spec["layers"] if layer["name"] in live]


def timed_inputs(spec: Mapping[str, Any]) -> list[bool]:
    layers = {layer["name"]: layer for layer in spec["layers"]}
    sources = [layers[name] for name in spec["inputs"]]
    return [len(layer["shape"]) == (1 if layer["dtype"] == "int32" else 2) for layer in sources]


def first_states(engine: Engine, inputs: Sequence[np.ndarray]) -> np.ndarray | None:
    """What a stream begins with, by the rules of docs/onnx.md; None where it must be refused."""
    spec, weights = engine.spec, engine.weights
    given = dict(zip(spec["inputs"], inputs, strict=True))
    if not any(timed_inputs(spec)):
        return None
    states = []
    for layer in live_layers(spec):
        if layer["type"] in ("Bidirectional", "Flip") or layer.get("reverse") or layer.get("index", -1) != -1:
            return None
        if "Attention" in layer["type"] and layer["type"] != "GatedLinearAttention":
            return None  # over two sequences here; test_stream_layers.cpp has those that step
        if layer["type"] in ("PositionEmbedding", "SinePositionEncoding", "RotaryEmbedding"):
            states.append(np.zeros((len(inputs[0]), 2), np.float32))
        if layer["type"] not in RECURRENT:
            continue
        program = layer["type"] == "RNN"
        initial = layer["inputs"][1 + (len(layer["cell"].get("step_inputs", ())) if program else 0) :]
        if any(name not in given for name in initial):
            return None
        for k, (state, width) in enumerate(state_sizes(layer, layer["name"], engine.shapes).items()):
            learned = weights.get(f"{layer['name']}/initial_{state}", np.zeros(width, np.float32))
            states.append(given[initial[k]] if k < len(initial) else np.tile(learned, (len(inputs[0]), 1)))
    return np.concatenate([state.reshape(-1) for state in states] or [np.zeros(0, np.float32)]).astype(np.float32)


def step_by_step(engine: Engine, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """(T, batch, …) of each output: what the model gives for the sequence up to each step; of a sequence its last."""
    timed = timed_inputs(engine.spec)
    T = next(x.shape[1] for x, cut in zip(inputs, timed, strict=True) if cut)
    steps = []
    for t in range(1, T + 1):
        cut = [np.ascontiguousarray(x[:, :t]) if has_time else x for x, has_time in zip(inputs, timed, strict=True)]
        shapes = [shape for _, shape, _ in engine.model.outputs]
        outputs = engine.predict(cut)
        steps.append([y[:, -1] if len(shape) == 3 else y for y, shape in zip(outputs, shapes, strict=True)])
    return [np.stack(column) for column in zip(*steps, strict=True)]


def stream_cases(rng: np.random.Generator) -> Iterator[Case]:
    for k, example in enumerate(EXAMPLES):
        if not isinstance(example, Example) or example.least_steps > 1:
            continue
        for B in (1, 3):
            inputs = example.arrays(rng, B, 6)
            yield Case(f"{example.type} {k} of {B} rows", Engine(example.spec(), seed=k), inputs, [])
    for k, (name, cell) in enumerate(library().items()):
        for B, H in ((1, SIZES[k % 9]), (3, SIZES[(k + 4) % 9])):
            spec = cell_model(cell, "forward", 3, H, initial=B == 1, sequences=k % 2 == 0)
            yield Case(f"{name}, {B} rows of {H}", Engine(spec, seed=k), cell_inputs(rng, spec, B, 6), [])
    for seed in range(60):
        spec = cell_model(random_cell(seed), "forward", 3, SIZES[seed % 9], initial=seed % 2 == 0, widths={"time": 1})
        yield Case(f"random cell {seed}", Engine(spec, seed), cell_inputs(rng, spec, 1 + seed % 4, 5), [])
    for seed in range(40):
        graph = RandomGraph(seed, layers=4, batch=2, steps=5, sizes=(1, 2, 3, 9, 17), rate=0.2)
        times = {x.shape[1] for x, timed in zip(graph.inputs, timed_inputs(graph.spec), strict=True) if timed}
        if len(times) == 1:
            yield Case(f"random graph {seed}", Engine(graph.spec, seed), graph.inputs, [])


def test_streams(driver: Path, cpp_isa: str, rng: np.random.Generator, tmp_path: Path) -> None:
    """Step by step what the whole sequence gives; and what cannot go step by step is refused by name."""
    cases = list(stream_cases(rng))
    states = [first_states(case.engine, case.inputs) for case in cases]
    packed = [
        struct.pack("<q", STREAM)
        + pack_text(saved(case.engine, tmp_path))
        + pack_arrays(case.inputs)
        + pack_array(np.zeros(0, np.float32) if state is None else state)
        for case, state in zip(cases, states, strict=True)
    ]
    streamed = 0
    for case, state, (arrays, failure) in zip(cases, states, run(driver, packed, tmp_path, cpp_isa), strict=True):
        if state is None:
            assert failure, f"{case.name} was not refused"
            continue
        if case.name.split()[0] in OVER_TIME and ("cannot go one step at a time" in failure or "state" in failure):
            continue  # what a step alone gives says nothing of them
        assert not failure, f"{case.name}: {failure}"
        assert_same_bits(arrays, step_by_step(case.engine, case.inputs), case.name)
        streamed += 1
    assert streamed > 40 and streamed < len(cases)


PLAIN_CELL = next(cell for cell in library().values() if not cell.get("step_inputs"))
MASKED: dict[str, list[dict[str, Any]]] = {
    "LSTM": [{"type": "LSTM", "units": 5, "return_sequences": True}],
    "its last output": [{"type": "LSTM", "units": 5}],
    "zeros": [{"type": "GRU", "units": 4, "return_sequences": True, "zero_output_for_mask": True}],
    "a last zero": [{"type": "GRU", "units": 4, "zero_output_for_mask": True}],
    "residual": [{"type": "SimpleRNN", "units": 3, "return_sequences": True, "residual": True}],
    "residual, its last output": [{"type": "LSTM", "units": 3, "residual": True}],
    "residual, a last zero": [{"type": "GRU", "units": 3, "residual": True, "zero_output_for_mask": True}],
    "residual, a last output of a learned start": [
        {"type": "RNN", "units": 3, "cell": PLAIN_CELL, "residual": True, "learn_initial_state": True}
    ],
    "residual stack": [
        {"type": "GRU", "units": 3, "residual": True, "return_sequences": True},
        {"type": "SimpleRNN", "units": 3, "residual": True},
    ],
    "learned start": [{"type": "LSTM", "units": 3, "return_sequences": True, "learn_initial_state": True}],
    "projection": [{"type": "LSTM", "units": 5, "return_sequences": True, "projection_size": 2}],
    "states": [{"type": "LSTM", "units": 3, "return_state": True}],
    "stack": [
        {"type": "GRU", "units": 4, "return_sequences": True},
        {"type": "Dense", "units": 3, "activation": "relu"},
        {"type": "RNN", "units": 2, "cell": PLAIN_CELL},
    ],
    "masks one behind the other": [
        {"type": "Dense", "units": 3, "activation": "relu"},
        {"type": "Masking", "mask_value": 0.0},
        {"type": "LSTM", "units": 4, "return_sequences": True},
    ],
    "joined": [{"type": "Add", "inputs": ["there", "late"]}, {"type": "LSTM", "units": 4, "return_sequences": True}],
    "convolution, which takes every step": [
        {"type": "Conv1D", "filters": 3, "kernel_size": 2, "padding": "causal"},
        {"type": "LSTM", "units": 4},
    ],
    "matrix states": [
        {"type": "MLSTM", "units": 4, "num_heads": 2, "key_dim": 2, "value_dim": 2, "return_sequences": True}
    ],
    "channels": [{"type": "SelectiveSSM", "units": 4, "return_sequences": True}],
}


def masked_case(name: str, layers: list[dict[str, Any]], rng: np.random.Generator, batch: int) -> Case:
    """Rows with padding on both sides, holes, nothing at all, and every step."""
    given = [input_layer("x", None, 3), {"type": "Masking", "name": "there", "inputs": ["x"]}]
    given += [{"type": "Masking", "name": "late", "inputs": ["x"], "mask_value": 7.0}] if name == "joined" else []
    before = "there"
    for k, layer in enumerate(layers):
        given.append({"name": f"layer{k}", "inputs": [before], **layer})
        before = f"layer{k}"
    outputs = [before, f"{before}:1", f"{before}:2"] if name == "states" else [before]
    x = floats(rng, batch, 8, 3)
    for row, steps in enumerate((slice(0, 3), slice(2, 4), slice(0, 8), slice(5, 8))):
        x[row % batch, steps] *= 0.0 if batch > 1 or row == 1 else 1.0
    x[0, 6] = 7.0
    return Case(name, Engine(model_spec(given, outputs), seed=1), [x], [])


def test_streams_of_models_with_masks(driver: Path, cpp_isa: str, rng: np.random.Generator, tmp_path: Path) -> None:
    """A row that a mask leaves out at a step keeps its states, and has what the whole sequence has there."""
    cases = [masked_case(name, layers, rng, batch) for name, layers in MASKED.items() for batch in (1, 5)]
    ids = [input_layer("x", None, dtype="int32"), {"type": "Embedding", "name": "e", "inputs": ["x"], "input_dim": 5}]
    ids[1].update(output_dim=3, mask_zero=True)
    spec = model_spec([*ids, {"type": "GRU", "name": "y", "inputs": ["e"], "units": 4}], ["y"])
    cases.append(Case("ids", Engine(spec), [rng.integers(0, 3, (5, 8), np.int32)], []))
    packed = []
    for case in cases:
        state = first_states(case.engine, case.inputs)
        assert state is not None
        types = [layer["type"] for layer in case.engine.spec["layers"]]
        if {"MLSTM", "SelectiveSSM"} & set(types):  # the output of the step before is a state, too
            units = case.engine.model.outputs[0][1][-1]
            state = np.concatenate([state, np.zeros(units * len(case.inputs[0]), np.float32)])
        last = case.engine.spec["layers"][-1]
        if last.get("residual") and not last.get("return_sequences"):  # and what it adds
            state = np.concatenate([state, np.zeros(last["units"] * len(case.inputs[0]), np.float32)])
        if "Conv1D" in types:
            state = np.concatenate([np.zeros(3 * len(case.inputs[0]), np.float32), state])
        packed.append(
            struct.pack("<q", STREAM)
            + pack_text(saved(case.engine, tmp_path))
            + pack_arrays(case.inputs)
            + pack_array(state)
        )
    for case, (arrays, failure) in zip(cases, run(driver, packed, tmp_path, cpp_isa), strict=True):
        assert not failure, f"{case.name}: {failure}"
        assert_same_bits(arrays, step_by_step(case.engine, case.inputs), f"{case.name}, {len(case.inputs[0])} rows")


def test_a_mask_of_the_keys_of_attention_is_refused_by_streams(
    driver: Path, cpp_isa: str, rng: np.random.Generator, tmp_path: Path
) -> None:
    heads = {"type": "MultiHeadAttention", "name": "y", "inputs": ["there", "there"], "num_heads": 1, "key_dim": 2}
    heads.update(use_causal_mask=True, sliding_window=4)
    given = [input_layer("x", None, 3), {"type": "Masking", "name": "there", "inputs": ["x"]}, heads]
    engine = Engine(model_spec(given, ["y"]))
    packed = struct.pack("<q", STREAM) + pack_text(saved(engine, tmp_path)) + pack_arrays([floats(rng, 1, 3, 3)])
    ((_, failure),) = run(driver, [packed + pack_array(np.zeros(0, np.float32))], tmp_path, cpp_isa)
    assert "MultiHeadAttention 'y': cannot go one step at a time: a mask says which of its keys there are" in failure


@pytest.mark.parametrize("driver", ["driver.cpp"], indirect=True, ids=["C++"])  # the C interface does not train
def test_training(driver: Path, cpp_isa: str, rng: np.random.Generator, tmp_path: Path) -> None:
    if not cpp_tools.library().config["TRAINING"]:
        pytest.skip("a library for inference only")
    layers = [
        input_layer("x", None, 3),
        {"type": "LSTM", "name": "a", "inputs": ["x"], "units": 19, "return_sequences": True},
        {"type": "Dropout", "name": "drop", "inputs": ["a"], "rate": 0.3},
        {"type": "GRU", "name": "b", "inputs": ["drop"], "units": 7},
        {"type": "Dense", "name": "y", "inputs": ["b"], "units": 2},
    ]
    engine, x, y = Engine(model_spec(layers, ["y"])), floats(rng, 17, 9, 3), floats(rng, 17, 2)
    optimizer = {"name": "adam", "learning_rate": 0.01, "global_clipnorm": 0.5}
    config = json.dumps({"optimizer": optimizer, "losses": [{"name": "mean_squared_error"}], "seed": 5})
    lengths = rng.integers(0, 10, 17).astype(np.int32)
    packed = struct.pack("<q", TRAIN) + pack_text(saved(engine, tmp_path)) + pack_arrays([x], [lengths])
    packed += pack_text(config) + pack_arrays([y]) + struct.pack("<q", 3)
    before = engine.model.get_weights()
    ((arrays, failure),) = run(driver, [packed], tmp_path, cpp_isa)
    trainer = _core.Trainer(engine.model, config)
    for _ in range(3):
        trainer.step([x], [y], [lengths])
    assert not failure and not np.array_equal(before, arrays[0])
    assert_same_bits(arrays, [engine.model.get_weights()], "weights after three steps")
