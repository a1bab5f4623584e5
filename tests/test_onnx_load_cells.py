"""ONNX import: cells written as arithmetic, one step or as many as an exporter unrolled, are recurrent layers again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import rekur.onnx
from harness import floats
from onnx_graphs import B, H, I, T, assert_as_onnxruntime, model_of, node

KINDS = ("LSTM", "GRU", "GRU reset before", "GRU moved", "SimpleRNN")


def weights(rng: np.random.Generator, kind: str) -> dict[str, np.ndarray]:
    gates = {"LSTM": 4, "SimpleRNN": 1}.get(kind, 3)
    made = {"W": floats(rng, gates * H, I), "R": floats(rng, gates * H, H)}
    return {name: array * 0.5 for name, array in made.items()} | {
        "b": floats(rng, gates * H),
        "rb": floats(rng, gates * H),
    }


def step(kind: str, x: str, states: list[str], to: list[str], tag: str) -> list[onnx.NodeProto]:
    """One step as PyTorch's cells are exported: Gemm of the input, Gemm of the state, gates split off."""
    h = states[0]

    def n(op: str, inputs: list[str], output: str, **attributes: Any) -> onnx.NodeProto:
        return node(op, [i if i in GIVEN else i + tag for i in inputs], [output + tag], **attributes)

    GIVEN = {x, *states, "W", "R", "b", "rb", "one_", "W_z", "W_r", "W_n", "R_z", "R_r", "R_n"}
    if kind == "LSTM":
        gates = ["i", "f", "g", "o"]
        nodes = [
            n("Gemm", [x, "W", "b"], "gx", transB=1),
            n("Gemm", [h, "R", "rb"], "gh", transB=1),
            n("Add", ["gh", "gx"], "gates"),
            node("Split", ["gates" + tag], [g + "_" + tag for g in gates], axis=1),
            *(n("Tanh" if g == "g" else "Sigmoid", [g + "_"], g) for g in gates),
            n("Mul", ["f", states[1]], "kept"),
            n("Mul", ["i", "g"], "new"),
            node("Add", ["kept" + tag, "new" + tag], [to[1]]),
            node("Tanh", [to[1]], ["squashed" + tag]),
            node("Mul", ["o" + tag, "squashed" + tag], [to[0]]),
        ]
        return nodes
    if kind == "SimpleRNN":
        return [
            n("Gemm", [x, "W", "b"], "gx", transB=1),
            n("Gemm", [h, "R", "rb"], "gh", transB=1),
            n("Add", ["gx", "gh"], "sum"),
            node("Tanh", ["sum" + tag], [to[0]]),
        ]
    nodes = [n("Gemm", [x, "W", "b"], "gx", transB=1)]
    split = [node("Split", ["gx" + tag], [g + "x" + tag for g in "zrn"], axis=1)]
    if kind == "GRU reset before":  # of its own matrices, as a hand-written cell has them
        nodes = [n("MatMul", [x, f"W_{g}"], f"{g}x") for g in "zrn"]
        split = [n("MatMul", [h, f"R_{g}"], f"{g}h") for g in "zr"]
    else:
        split += [
            n("Gemm", [h, "R", "rb"], "gh", transB=1),
            node("Split", ["gh" + tag], [g + "h" + tag for g in "zrn"], axis=1),
        ]
    gates = [
        *(n("Add", [f"{g}x", f"{g}h"], f"{g}sum") for g in "zr"),
        *(n("Sigmoid", [f"{g}sum"], g) for g in "zr"),
    ]
    if kind == "GRU reset before":
        inner = [n("Mul", ["r", h], "kept_h"), n("MatMul", ["kept_h", "R_n"], "reset")]
    else:
        inner = [n("Mul", ["r", "nh"], "reset")]
    last = [n("Add", ["nx", "reset"], "nsum"), n("Tanh", ["nsum"], "n")]
    if kind == "GRU moved":  # n + z (h − n)
        mix = [
            n("Sub", [h, "n"], "away"),
            n("Mul", ["z", "away"], "moved"),
            node("Add", ["n" + tag, "moved" + tag], [to[0]]),
        ]
    else:
        mix = [
            n("Sub", ["one_", "z"], "rest"),
            n("Mul", ["rest", "n"], "new"),
            n("Mul", ["z", h], "kept"),
            node("Add", ["new" + tag, "kept" + tag], [to[0]]),
        ]
    return [*nodes, *split, *gates, *inner, *last, *mix]


def constants(rng: np.random.Generator, kind: str) -> dict[str, np.ndarray]:
    made = {**weights(rng, kind), "one_": np.float32(1)}
    if kind == "GRU reset before":
        made |= {f"{m}_{g}": floats(rng, size, H) * 0.5 for m, size in (("W", I), ("R", H)) for g in "zrn"}
        del made["b"], made["rb"], made["W"], made["R"]
    if kind != "GRU reset before" and not kind.startswith("GRU"):
        del made["one_"]
    if kind == "GRU moved":
        del made["one_"]
    return made


def states_of(kind: str) -> list[str]:
    return ["h", "c"] if kind == "LSTM" else ["h"]


def layers_of(model: onnx.ModelProto, tmp_path: Path) -> list[dict[str, Any]]:
    onnx.save(model, tmp_path / "m.onnx")
    loaded = rekur.onnx.load(tmp_path / "m.onnx")
    rekur.onnx.export(loaded, tmp_path / "again.onnx")
    return [layer for layer in loaded.spec["layers"] if layer["type"] in ("LSTM", "GRU", "SimpleRNN")]


def unrolled(
    rng: np.random.Generator, kind: str, start: str, steps: int = T
) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """A loop over the steps of x, its states stacked; start: given, zeros of the batch, constants."""
    held = constants(rng, kind)
    names = states_of(kind)
    nodes = [node("Gather", ["x", f"t{t}"], [f"x_{t}"], axis=1) for t in range(steps)]
    held |= {f"t{t}": np.int64(t) for t in range(steps)}
    given: dict[str, Any] = {"x": ("B", steps, I)}
    feed = {"x": floats(rng, B, steps, I)}
    before = names
    if start == "given":
        given |= {name: ("B", H) for name in names}
        feed |= {name: floats(rng, B, H) for name in names}
    elif start == "zeros":
        nodes += [
            node("Shape", ["x"], ["shape"]),
            node("Gather", ["shape", "first"], ["rows"]),
            node("Unsqueeze", ["rows", "axis0"], ["rows1"]),
            node("Concat", ["rows1", "units"], ["both"], axis=0),
            node("ConstantOfShape", ["both"], ["zero"]),
        ]
        held |= {"first": np.int64(0), "axis0": np.array([0]), "units": np.array([H])}
        before = ["zero"] * len(names)
    else:
        held |= {"zero": np.zeros((B, H), np.float32)}
        before = ["zero"] * len(names)
    for t in range(steps):
        to = [f"{name}_{t}" for name in names]
        nodes += step(kind, f"x_{t}", before, to, f"/{t}")
        before = to
    nodes += [node("Unsqueeze", [f"h_{t}", "axis1"], [f"u_{t}"]) for t in range(steps)]
    nodes.append(node("Concat", [f"u_{t}" for t in range(steps)], ["y"], axis=1))
    held["axis1"] = np.array([1])
    return model_of(nodes, given, ["y", *before], held), feed


@pytest.mark.parametrize("start", ["given", "zeros", "constant"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_loop_that_was_unrolled_is_one_layer(kind: str, start: str, tmp_path: Path, rng: np.random.Generator) -> None:
    model, feed = unrolled(rng, kind, start)
    assert_as_onnxruntime(model, feed)
    (layer,) = layers_of(model, tmp_path)
    assert layer["type"] == kind.split()[0]
    assert layer["return_sequences"] and layer.get("reset_after", True) == (kind != "GRU reset before")


@pytest.mark.parametrize("kind", KINDS[:-1])
def test_a_single_cell_is_a_layer_of_one_step(kind: str, tmp_path: Path, rng: np.random.Generator) -> None:
    names = states_of(kind)
    nodes = [node("Relu", ["x"], ["x_"]), *step(kind, "x_", names, [f"{name}_" for name in names], "/0")]
    given = {"x": ("B", I), **{name: ("B", H) for name in names}}
    model = model_of(nodes, given, [f"{name}_" for name in names], constants(rng, kind))
    assert_as_onnxruntime(model, {"x": floats(rng, B, I), **{name: floats(rng, B, H) for name in names}})
    (layer,) = layers_of(model, tmp_path)
    assert len(layer["inputs"]) == 1 + len(names)  # its states are given and returned


def test_cells_on_each_other_are_layers_on_each_other(tmp_path: Path, rng: np.random.Generator) -> None:
    """Two cells in one loop, the second reads what the first gives; only the last state is read."""
    held = constants(rng, "LSTM")
    nodes: list[onnx.NodeProto] = [node("Split", ["x"], [f"p_{t}" for t in range(T)], axis=0)]
    held |= {"axis0": np.array([0]), "zeros": np.zeros((B, H), np.float32)}
    h, c = "zeros", "zeros"
    again = "h0"
    held |= {
        "V": floats(rng, 3 * H, H) * 0.5,
        "U": floats(rng, 3 * H, H) * 0.5,
        "vb": floats(rng, 3 * H),
        "one_": np.float32(1),
    }
    held |= {"ub": floats(rng, 3 * H)}
    for t in range(T):
        nodes.append(node("Squeeze", [f"p_{t}", "axis0"], [f"x_{t}"]))
        nodes += step("LSTM", f"x_{t}", [h, c], [f"h_{t}", f"c_{t}"], f"/{t}")
        h, c = f"h_{t}", f"c_{t}"
        renamed = {"W": "V", "R": "U", "b": "vb", "rb": "ub"}
        for made in step("GRU", h, [again], [f"g_{t}"], f"/g{t}"):
            made.input[:] = [renamed.get(name, name) for name in made.input]
            nodes.append(made)
        again = f"g_{t}"
    model = model_of(nodes, {"x": (T, B, I), "h0": ("B", H)}, [again], held)
    assert_as_onnxruntime(model, {"x": floats(rng, T, B, I), "h0": floats(rng, B, H)})
    assert [layer["type"] for layer in layers_of(model, tmp_path)] == ["LSTM", "GRU"]


def test_steps_of_other_weights_are_other_layers(tmp_path: Path, rng: np.random.Generator) -> None:
    """The third step has a matrix of its own: the first two are one layer, the others one each."""
    model, feed = unrolled(rng, "LSTM", "given", 4)
    other = onnx.numpy_helper.from_array(floats(rng, 4 * H, H), "R2")
    model.graph.initializer.append(other)
    third = next(made for made in model.graph.node if made.op_type == "Gemm" and made.output[0] == "gh/2")
    third.input[1] = "R2"
    assert_as_onnxruntime(model, feed)
    assert len(layers_of(model, tmp_path)) == 3


def test_a_cell_that_looks_back_two_steps_is_none(rng: np.random.Generator) -> None:
    model, feed = unrolled(rng, "SimpleRNN", "given", 5)
    fourth = next(made for made in model.graph.node if made.op_type == "Gemm" and made.output[0] == "gh/3")
    fourth.input[0] = "h_1"
    assert_as_onnxruntime(model, feed)


def test_shared_weights_that_stay_apart_are_checked_against_the_file(tmp_path: Path, rng: np.random.Generator) -> None:
    """Nodes share weights, layers have copies: a file of a few bytes cannot ask for as many as it likes."""
    wide = 512
    nodes = [node("MatMul", ["x" if t == 0 else f"y{t - 1}", "W"], [f"m{t}"]) for t in range(60)]
    nodes = [one for t, made in enumerate(nodes) for one in (made, node("Tanh", [f"m{t}"], [f"y{t}"]))]
    model = model_of(nodes, {"x": ("B", wide)}, ["y59"], {"W": floats(rng, wide, wide)})
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(rekur.onnx.LoadError, match="beyond what the file's own data call for"):
        rekur.onnx.load(tmp_path / "m.onnx")


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_frames_turned_around_are_a_layer_of_the_other_direction(
    kind: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    gates = {"LSTM": 4, "GRU": 3}[kind]
    held = {f"{m}{d}": floats(rng, 1, gates * H, n) * 0.4 for d in (0, 1) for m, n in (("W", I), ("R", H))}
    held |= {
        "from": np.array([-1]),
        "to": np.array([-(2**63)]),
        "time": np.array([0]),
        "by": np.array([-1]),
        "one": np.array([1]),
    }
    nodes = [
        node("Slice", ["x", "from", "to", "time", "by"], ["turned"]),
        node(kind, ["x", "W0", "R0"], ["Y0"], hidden_size=H),
        node(kind, ["turned", "W1", "R1"], ["Y1"], hidden_size=H),
        node("Squeeze", ["Y0", "one"], ["forward"]),
        node("Squeeze", ["Y1", "one"], ["backward"]),
        node("Slice", ["backward", "from", "to", "time", "by"], ["again"]),
        node("Concat", ["forward", "again"], ["y"], axis=2),
    ]
    model = model_of(nodes, {"x": ("T", "B", I)}, ["y"], held)
    assert_as_onnxruntime(model, {"x": floats(rng, T, B, I)})
    onnx.save(model, tmp_path / "m.onnx")
    types = [layer["type"] for layer in rekur.onnx.load(tmp_path / "m.onnx").spec["layers"]]
    assert types == ["Input", "Bidirectional"]


@pytest.mark.parametrize("lengths", [False, True])
def test_reverse_sequence_around_a_layer_is_its_other_direction(
    lengths: bool, tmp_path: Path, rng: np.random.Generator
) -> None:
    held = {"W": floats(rng, 1, 3 * H, I) * 0.4, "R": floats(rng, 1, 3 * H, H) * 0.4, "one": np.array([1])}
    given: dict[str, Any] = {"x": (T, B, I)}
    feed = {"x": floats(rng, T, B, I)}
    if lengths:
        given["n"] = ("int64", (B,))
        feed["n"] = np.array([T, 2, 3])
    else:
        held["n"] = np.full(B, T)
    nodes = [
        node("ReverseSequence", ["x", "n"], ["turned"], time_axis=0, batch_axis=1),
        *([node("Cast", ["n"], ["n32"], to=6)] if lengths else []),
        node("GRU", ["turned", "W", "R", *(["", "n32"] if lengths else [])], ["Y"], hidden_size=H),
        node("Squeeze", ["Y", "one"], ["s"]),
        node("ReverseSequence", ["s", "n"], ["y"], time_axis=0, batch_axis=1),
    ]
    model = model_of(nodes, given, ["y"], held)
    assert_as_onnxruntime(model, feed)
    onnx.save(model, tmp_path / "m.onnx")
    (layer,) = [entry for entry in rekur.onnx.load(tmp_path / "m.onnx").spec["layers"] if entry["type"] != "Input"]
    assert layer["type"] == "GRU" and layer["reverse"]
