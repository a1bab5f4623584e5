"""ONNX import of Loop and Scan as tf2onnx, PyTorch's scripts and others write recurrent layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import rekur.onnx
from harness import floats
from onnx_graphs import B, H, I, T, assert_as_onnxruntime, model_of, node
from test_onnx_load_cells import KINDS, constants, states_of, step

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def info(name: str, kind: int = FLOAT, shape: Any = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def shaped(model: onnx.ModelProto, width: int) -> onnx.ModelProto:
    """Outputs with shapes, which onnx does not infer through a loop: (rows, steps, width) and (rows, units)."""
    for k, value in enumerate(model.graph.output):
        value.CopyFrom(info(value.name, FLOAT, ["rows", "steps", width] if k == 0 else ["rows", H]))
    return model


def layers_of(model: onnx.ModelProto, tmp_path: Path) -> list[dict[str, Any]]:
    onnx.save(model, tmp_path / "m.onnx")
    loaded = rekur.onnx.load(tmp_path / "m.onnx")
    rekur.onnx.export(loaded, tmp_path / "again.onnx")
    return [layer for layer in loaded.spec["layers"] if layer["type"] in ("LSTM", "GRU", "SimpleRNN", "Bidirectional")]


def started(
    start: str, names: list[str], held: dict[str, Any], given: dict[str, Any], feed: dict[str, Any], rng: Any
) -> tuple[list[onnx.NodeProto], list[str]]:
    """The states before the first step: given, or zeros of the batch."""
    if start == "given":
        given |= {f"{name}0": ("B", H) for name in names}
        feed |= {f"{name}0": floats(rng, B, H) for name in names}
        return [], [f"{name}0" for name in names]
    held |= {"batch": np.array([1]), "batch_end": np.array([2]), "units": np.array([H])}
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Slice", ["shape", "batch", "batch_end"], ["rows"]),
        node("Concat", ["rows", "units"], ["both"], axis=0),
        node("ConstantOfShape", ["both"], ["zeros"]),
    ]
    return nodes, ["zeros"] * len(names)


def of_tensorflow(
    rng: np.random.Generator, kind: str, start: str, backward: bool = False
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """A while loop of Keras as tf2onnx has it: two counters, a gathered step, a condition, a scanned output."""
    names, held = states_of(kind), constants(rng, kind)
    given: dict[str, Any] = {"x": ("T", "B", I)}
    feed: dict[str, Any] = {"x": floats(rng, T, B, I)}
    before, first = started(start, names, held, given, feed, rng)
    source = "x"
    if backward:
        held |= {"end": np.array([-1]), "least": np.array([-(2**63)]), "axis0": np.array([0])}
        before.append(node("Slice", ["x", "end", "least", "axis0", "end"], ["turned"]))
        source = "turned"
    held |= {"none": np.int64(2**63 - 1), "zero": np.int64(0), "one_more": np.int64(1)}
    before += [
        node("Shape", ["x"], ["xs"]),
        node("Gather", ["xs", "zero"], ["steps"]),
        node("Less", ["zero", "steps"], ["any"]),
        node("And", ["any", "any"], ["begins"]),
    ]
    after = [f"{name}_next" for name in names]
    body = [
        node("Gather", [source, "time"], ["x_t"], axis=0),
        *step(kind, "x_t", [f"{name}_in" for name in names], after, ""),
        node("Add", ["count", "one_more"], ["count_next"]),
        node("Add", ["time", "one_more"], ["time_next"]),
        node("Less", ["time_next", "steps"], ["more"]),
        node("Less", ["count_next", "steps"], ["more_too"]),
        node("And", ["more", "more_too"], ["both_more"]),
        node("Identity", ["both_more"], ["goes_on"]),
        node("Identity", [after[0]], ["scanned"]),
    ]
    inside = helper.make_graph(
        body,
        "body",
        [
            info("it", INT64, ()),
            info("cond", BOOL, ()),
            info("count", INT64, ()),
            info("time", INT64, ()),
            *(info(f"{n}_in") for n in names),
        ],
        [
            info("goes_on", BOOL),
            info("count_next", INT64),
            info("time_next", INT64),
            *map(info, after),
            info("scanned"),
        ],
    )
    lasts = [f"{name}_last" for name in names]
    loop = node("Loop", ["none", "begins", "zero", "zero", *first], ["c", "t", *lasts, "all"], body=inside, name="loop")
    nodes = [*before, loop, node("Transpose", ["all"], ["y"], perm=[1, 0, 2])]
    return shaped(model_of(nodes, given, ["y", *lasts], held), H), feed


@pytest.mark.parametrize("start", ["given", "zeros"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_loop_of_tf2onnx_is_a_layer(kind: str, start: str, tmp_path: Path, rng: np.random.Generator) -> None:
    model, feed = of_tensorflow(rng, kind, start)
    assert_as_onnxruntime(model, feed)
    (layer,) = layers_of(model, tmp_path)
    assert layer["type"] == kind.split()[0] and layer["return_sequences"]


def test_a_loop_backwards(tmp_path: Path, rng: np.random.Generator) -> None:
    model, feed = of_tensorflow(rng, "GRU reset before", "zeros", backward=True)
    assert_as_onnxruntime(model, feed)
    layers_of(model, tmp_path)


@pytest.mark.parametrize("new", [0, 1])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
def test_a_loop_of_a_script_is_a_layer(kind: str, new: int, tmp_path: Path, rng: np.random.Generator) -> None:
    """As PyTorch scripts a loop over a cell: a limit, a condition that is true, a list that grows, a head within."""
    names, held = states_of(kind), constants(rng, kind)
    held |= {"head": floats(rng, H, 3), "true": np.array(True), "zero": np.int64(0), "axis1": np.array([1])}
    given: dict[str, Any] = {"x": ("T", "B", I), **{f"{name}0": ("B", H) for name in names}}
    feed = {"x": floats(rng, T, B, I), **{f"{name}0": floats(rng, B, H) for name in names}}
    after = [f"{name}_next" for name in names]
    body = [
        node("Gather", ["x", "it"], ["x_t"], axis=0),
        *step(kind, "x_t", [f"{name}_in" for name in names], after, ""),
        node("MatMul", [after[0], "head"], ["logits"]),
        node("Relu", ["logits"], ["out"]),
        *([] if new else [node("Unsqueeze", ["out", "axis1"], ["wide"])]),
        node("SequenceInsert", ["list", "out" if new else "wide"], ["list_next"]),
        node("Identity", ["cond"], ["goes_on"]),
    ]
    kept = helper.make_tensor_sequence_value_info("list", FLOAT, None)
    grown = helper.make_tensor_sequence_value_info("list_next", FLOAT, None)
    inside = helper.make_graph(
        body,
        "body",
        [info("it", INT64, ()), info("cond", BOOL, ()), *(info(f"{n}_in") for n in names), kept],
        [info("goes_on", BOOL), *map(info, after), grown],
    )
    nodes = [
        node("Shape", ["x"], ["xs"]),
        node("Gather", ["xs", "zero"], ["steps"]),
        node("SequenceEmpty", [], ["empty"]),
        node(
            "Loop",
            ["steps", "true", *(f"{n}0" for n in names), "empty"],
            [*(f"{n}_last" for n in names), "all"],
            body=inside,
        ),
        node("ConcatFromSequence", ["all"], ["y"], axis=1, new_axis=new),
    ]
    model = shaped(model_of(nodes, given, ["y", *(f"{n}_last" for n in names)], held), 3)
    assert_as_onnxruntime(model, feed)
    (layer,) = layers_of(model, tmp_path)
    assert layer["type"] == kind


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_scan_of_others_is_a_layer(kind: str, backward: bool, tmp_path: Path, rng: np.random.Generator) -> None:
    names, held = states_of(kind), constants(rng, kind)
    given: dict[str, Any] = {"x": ("B", "T", I), **{f"{name}0": ("B", H) for name in names}}
    feed = {"x": floats(rng, B, T, I), **{f"{name}0": floats(rng, B, H) for name in names}}
    after = [f"{name}_next" for name in names]
    body = [*step(kind, "x_t", [f"{name}_in" for name in names], after, ""), node("Identity", [after[0]], ["scanned"])]
    inside = helper.make_graph(
        body, "body", [*(info(f"{n}_in") for n in names), info("x_t")], [*map(info, after), info("scanned")]
    )
    turned = [int(backward)]
    scan = node(
        "Scan", [*(f"{n}0" for n in names), "x"], [*(f"{n}_last" for n in names), "y"], body=inside, num_scan_inputs=1,
        scan_input_axes=[1], scan_output_axes=[1], scan_input_directions=turned, scan_output_directions=turned,
    )  # fmt: skip
    model = model_of([scan], given, ["y", *(f"{n}_last" for n in names)], held)
    assert_as_onnxruntime(model, feed)
    (layer,) = layers_of(model, tmp_path)
    assert layer["type"] == kind.split()[0] and bool(layer.get("reverse")) == backward


def test_two_cells_in_one_loop_are_two_layers(tmp_path: Path, rng: np.random.Generator) -> None:
    held = {**constants(rng, "LSTM"), "one_": np.float32(1)}
    held |= {
        "V": floats(rng, 3 * H, H) * 0.5,
        "U": floats(rng, 3 * H, H) * 0.5,
        "vb": floats(rng, 3 * H),
        "ub": floats(rng, 3 * H),
    }
    second = step("GRU", "h_next", ["g_in"], ["g_next"], "/g")
    for made in second:
        made.input[:] = [{"W": "V", "R": "U", "b": "vb", "rb": "ub"}.get(name, name) for name in made.input]
    body = [
        *step("LSTM", "x_t", ["h_in", "c_in"], ["h_next", "c_next"], ""),
        *second,
        node("Tanh", ["g_next"], ["scanned"]),
    ]
    inside = helper.make_graph(
        body,
        "body",
        [info("h_in"), info("c_in"), info("g_in"), info("x_t")],
        [info("h_next"), info("c_next"), info("g_next"), info("scanned")],
    )
    scan = node("Scan", ["h0", "c0", "g0", "x"], ["hn", "cn", "gn", "y"], body=inside, num_scan_inputs=1)
    given = {"x": ("T", "B", I), **{name: ("B", H) for name in ("h0", "c0", "g0")}}
    model = model_of([scan], given, ["y", "hn", "cn", "gn"], held)
    feed = {"x": floats(rng, T, B, I), **{name: floats(rng, B, H) for name in ("h0", "c0", "g0")}}
    assert_as_onnxruntime(model, feed)
    assert [layer["type"] for layer in layers_of(model, tmp_path)] == ["LSTM", "GRU"]


def refused(model: onnx.ModelProto, tmp_path: Path, message: str) -> None:
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(rekur.onnx.LoadError, match=message):
        rekur.onnx.load(tmp_path / "m.onnx")


def body_of(model: onnx.ModelProto) -> onnx.GraphProto:
    loop = next(made for made in model.graph.node if made.op_type == "Loop")
    return next(entry.g for entry in loop.attribute if entry.name == "body")


def test_what_is_no_layer_is_refused_by_name(tmp_path: Path, rng: np.random.Generator) -> None:
    def changed(output: str, **new: Any) -> onnx.ModelProto:
        model, _ = of_tensorflow(rng, "SimpleRNN", "given")
        for made in body_of(model).node:
            if made.output[0] == output:
                for key, value in new.items():
                    if key == "op":
                        made.op_type = value
                    else:
                        made.input[int(key[1:])] = value
        return model

    refused(changed("h_next", op="Exp"), tmp_path, "Loop node 'loop': what it carries .* not the states of an RNN")
    refused(changed("x_t", i1="time_next"), tmp_path, "Loop node 'loop'")
    refused(changed("x_t", i1="one_more"), tmp_path, "is no row, or no sequence at all")
    refused(changed("more", i1="one_more"), tmp_path, "takes 1 steps of a sequence of")
    refused(changed("goes_on", i0="cond"), tmp_path, "goes on without end")
    refused(changed("time_next", op="Mul"), tmp_path, "Mul node 'time_next' in its body: .* number of the step")
    refused(changed("scanned", op="Shape"), tmp_path, "Loop node 'loop'")
    model, _ = of_tensorflow(rng, "GRU", "given")
    del body_of(model).output[-1]
    refused(model, tmp_path, "a body of 5 inputs and 4 outputs")
    model, _ = of_tensorflow(rng, "GRU", "given")
    body_of(model).node.append(body_of(model).node[0])
    refused(model, tmp_path, "made elsewhere too|is there twice")


def test_a_state_that_is_read_otherwise_is_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    """The output of the step before, beside the one of this step."""
    model, _ = of_tensorflow(rng, "GRU", "given")
    scanned = next(made for made in body_of(model).node if made.output[0] == "scanned")
    scanned.input[0] = "h_in"
    refused(model, tmp_path, "reads a state before the step as something else")


def test_a_loop_over_a_node_of_one_step_is_a_layer(tmp_path: Path, rng: np.random.Generator) -> None:
    """As PyTorch scripts a loop over nn.LSTMCell: an LSTM node in the body."""
    held = {"W": floats(rng, 1, 4 * H, I) * 0.5, "R": floats(rng, 1, 4 * H, H) * 0.5, "b": floats(rng, 1, 8 * H)}
    held |= {"axis0": np.array([0]), "zero": np.int64(0), "true": np.array(True)}
    body = [
        node("Gather", ["x", "it"], ["x_t"], axis=1),
        *(node("Unsqueeze", [name, "axis0"], [f"{name}/1"]) for name in ("x_t", "h_in", "c_in")),
        node("LSTM", ["x_t/1", "W", "R", "b", "", "h_in/1", "c_in/1"], ["", "h/1", "c/1"], hidden_size=H),
        *(node("Squeeze", [f"{name}/1", "axis0"], [f"{name}_next"]) for name in ("h", "c")),
        node("Identity", ["cond"], ["goes_on"]),
    ]
    inside = helper.make_graph(
        body,
        "body",
        [info("it", INT64, ()), info("cond", BOOL, ()), info("h_in"), info("c_in")],
        [info("goes_on", BOOL), info("h_next"), info("c_next")],
    )
    nodes = [
        node("Shape", ["x"], ["xs"]),
        node("Gather", ["xs", "one_"], ["steps"]),
        node("Loop", ["steps", "true", "h0", "c0"], ["h", "c"], body=inside),
    ]
    held["one_"] = np.int64(1)
    given = {"x": ("B", "T", I), "h0": ("B", H), "c0": ("B", H)}
    model = model_of(nodes, given, ["h", "c"], held)
    for value in model.graph.output:
        value.CopyFrom(info(value.name, FLOAT, ["rows", H]))
    feed = {"x": floats(rng, B, T, I), "h0": floats(rng, B, H), "c0": floats(rng, B, H)}
    assert_as_onnxruntime(model, feed)
    assert [layer["type"] for layer in layers_of(model, tmp_path)] == ["LSTM"]


def test_a_node_of_one_step_unrolled_is_a_layer(tmp_path: Path, rng: np.random.Generator) -> None:
    """nn.LSTM called on x[:, t : t + 1] in a loop of Python."""
    held = {"W": floats(rng, 1, 4 * H, I) * 0.5, "R": floats(rng, 1, 4 * H, H) * 0.5, "b": floats(rng, 1, 8 * H)}
    held |= {"axis0": np.array([0]), "axis1": np.array([1]), **{f"n{t}": np.array([t]) for t in range(T + 1)}}
    nodes: list[onnx.NodeProto] = []
    h, c = "h0", "c0"
    for t in range(T):
        nodes += [
            node("Slice", ["x", f"n{t}", f"n{t + 1}", "axis0"], [f"x{t}"]),
            node("LSTM", [f"x{t}", "W", "R", "b", "", h, c], [f"Y{t}", f"h{t + 1}", f"c{t + 1}"], hidden_size=H),
            node("Squeeze", [f"Y{t}", "axis1"], [f"y{t}"]),
        ]
        h, c = f"h{t + 1}", f"c{t + 1}"
    nodes.append(node("Concat", [f"y{t}" for t in range(T)], ["y"], axis=0))
    given = {"x": (T, "B", I), "h0": (1, "B", H), "c0": (1, "B", H)}
    model = model_of(nodes, given, ["y", h], held)
    feed = {"x": floats(rng, T, B, I), "h0": floats(rng, 1, B, H), "c0": floats(rng, 1, B, H)}
    assert_as_onnxruntime(model, feed)
    assert [layer["type"] for layer in layers_of(model, tmp_path)] == ["LSTM"]


def test_a_loop_that_need_not_begin_is_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    """steps < 0 is never true, 0 < steps is where there is a step; which of the two it is decides."""
    model, _ = of_tensorflow(rng, "GRU", "given")
    less = next(made for made in model.graph.node if made.output[0] == "any")
    less.input[0], less.input[1] = less.input[1], less.input[0]
    refused(model, tmp_path, "Loop node 'loop': whether it begins is not known")
