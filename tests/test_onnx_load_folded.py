"""Layers without an operator of ONNX, loaded again from our files: their nodes put together, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rekur
from rekur import cells, layers
from rekur.onnx import LoadError

pytestmark = pytest.mark.usefixtures("by_nodes")

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

MODES = ("linear", "gated", "delta", "gated_delta", "mlstm", "ssm")
every_mode = pytest.mark.parametrize("mode", MODES)
OPSETS = [17, 21, *([27] if onnx.defs.onnx_opset_version() >= 27 else [])]


def layer(mode: str, first: bool = True, **options: Any) -> Any:
    if mode == "ssm":
        if first:
            return layers.SelectiveSSM(2, 3, **options)
        return layers.SelectiveSSM(3, 1, expand=1, use_bias=True, use_conv_bias=False, **options)
    sizes = (2, 3, 4) if first else (1, 2)
    if mode == "mlstm":
        return layers.MLSTM(*sizes, **options)
    return layers.GatedLinearAttention(*sizes, mode=mode, decay_normalizer=2.0, **options)


def state_size(mode: str) -> int:
    return {"mlstm": 2 * (3 * 5 + 1), "ssm": 4 * 10}.get(mode, 24)


def filled(model: rekur.Model) -> rekur.Model:
    rng = np.random.default_rng(3)
    model.set_weights([rng.standard_normal(w.shape) * 0.5 for w in model.get_weights()])
    return model


def subject(mode: str, *, initial: bool = False, sequences: bool = True, reverse: bool = False) -> rekur.Model:
    x = rekur.Input((None, 5), name="x")
    states = [rekur.Input((state_size(mode),), name="s")] if initial else []
    options = {"reverse": True} if reverse else {}
    y, s = layer(mode, return_sequences=sequences, return_state=True, name="a", **options)(
        x, initial_state=states or None
    )
    if sequences:
        y = layers.Dense(4, activation="tanh")(y)
        y = layer(mode, False, units=3, return_sequences=True, name="b")(y)
        y = layers.LSTM(3)(y)
    return filled(rekur.Model([x, *states], [layers.Dense(2)(y), s]))


def run(path: Path, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    return list(onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, feed))


def assert_same(actual: Any, expected: Any) -> None:
    for y, e in zip(actual if isinstance(actual, list) else [actual], expected, strict=True):
        assert y.shape == e.shape
        assert np.abs(y - e).max() <= 1e-5 * max(1.0, float(np.abs(e).max()))


@every_mode
@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("lengths", [False, True], ids=["full", "lengths"])
def test_layers_whose_state_is_a_matrix_are_loaded_with_their_weights(
    tmp_path: Path, rng: np.random.Generator, mode: str, opset: int, lengths: bool
) -> None:
    path = tmp_path / "m.onnx"
    for options in (
        {},
        {"initial": True},
        {"sequences": False},
        {"reverse": True},
        {"reverse": True, "sequences": False},
    ):
        model = subject(mode, **options)
        rekur.onnx.export(model, path, lengths=lengths, opset=opset, verify=False)
        loaded = rekur.onnx.load(path)
        assert [one.type for one in loaded.layers] == [one.type for one in model.layers]
        weights = zip(loaded.get_weights(), model.get_weights(), strict=True)
        assert all(np.array_equal(w, given) for w, given in weights)
        feed = {"x": rng.standard_normal((3, 7, 5)).astype(np.float32)}
        if "initial" in options:
            feed["s"] = rng.standard_normal((3, state_size(mode))).astype(np.float32)
        steps = np.array([7, 2, 4], np.int32) if lengths else None
        given = list(feed.values())
        actual = loaded.predict(given if len(given) > 1 else given[0], lengths=steps)
        assert_same(actual, run(path, {**feed, "lengths": steps} if lengths else feed))
        loaded.compile("sgd", "mse")
        loaded.fit(given if len(given) > 1 else given[0], [np.zeros_like(y) for y in actual], verbose=0)


def looped(path: Path, x: np.ndarray, widths: dict[str, int]) -> list[np.ndarray]:
    """A one-step file over a sequence; its main output at every step, then the last states."""
    states = {name: np.zeros((len(x), n), np.float32) for name, n in widths.items()}
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    result = []
    for t in range(x.shape[1]):
        y, *after = session.run(None, {name: x[:, t], **states})
        states = dict(zip(states, after, strict=True))
        result.append(y)
    return [np.stack(result, axis=1), *states.values()]


def stepped(model: rekur.Model, x: np.ndarray, widths: dict[str, int]) -> list[np.ndarray]:
    states = [np.zeros((len(x), n), np.float32) for n in widths.values()]
    result = []
    for t in range(x.shape[1]):
        y, *states = model.predict([x[:, t : t + 1], *states])
        result.append(y.reshape(len(x), -1))
    return [np.stack(result, axis=1), *states]


def check_streaming(model: rekur.Model, path: Path, x: np.ndarray) -> None:
    rekur.onnx.export(model, path, streaming=True, verify=False)
    states = rekur.onnx.metadata(path).states
    assert states is not None
    widths = {state.input: state.units for state in states.states}
    loaded = rekur.onnx.load(path)
    assert_same(stepped(loaded, x, widths), looped(path, x, widths))


@every_mode
def test_one_step_of_such_layers_is_loaded(tmp_path: Path, rng: np.random.Generator, mode: str) -> None:
    x = rekur.Input((None, 5))
    y = layer(mode, return_sequences=True, name="a")(x)
    y = layers.Dense(4, activation="tanh")(y)
    y = layer(mode, False, name="b")(y)
    model = filled(rekur.Model(x, layers.Dense(2)(y)))
    check_streaming(model, tmp_path / "m.onnx", rng.standard_normal((2, 6, 5)).astype(np.float32))


@pytest.mark.parametrize("name", cells.__all__)
def test_one_step_of_every_cell_is_loaded(tmp_path: Path, rng: np.random.Generator, name: str) -> None:
    x = rekur.Input((None, 5))
    y = layers.RNN(getattr(cells, name), 5, return_sequences=True, name="a")(x)
    y = layers.RNN(getattr(cells, name), 5, name="b")(y)
    model = filled(rekur.Model(x, layers.Dense(2)(y)))
    check_streaming(model, tmp_path / "m.onnx", 0.3 * rng.standard_normal((2, 6, 5)).astype(np.float32))


@pytest.mark.parametrize("options", [{"residual": True}, {"learn_initial_state": True}, {"use_bias": False}], ids=str)
def test_one_step_of_a_cell_with_options_around_it_is_loaded(
    tmp_path: Path, rng: np.random.Generator, options: dict[str, Any]
) -> None:
    x = rekur.Input((None, 5))
    y = layers.RNN(cells.light_gru, 5, return_sequences=True, name="a", **options)(x)
    model = filled(rekur.Model(x, layers.RNN(cells.slstm, 5, name="b", **options)(y)))
    check_streaming(model, tmp_path / "m.onnx", rng.standard_normal((2, 6, 5)).astype(np.float32))


def changed(path: Path, change: Any) -> Path:
    proto = onnx.load(path)
    change(proto.graph)
    onnx.save(proto, path)
    return path


def test_a_note_that_the_nodes_do_not_bear_out_is_not_believed(tmp_path: Path) -> None:
    """Neither other arithmetic than the note says, nor sizes that the file's weights do not have."""
    path = tmp_path / "m.onnx"

    def other_operator(graph: Any) -> None:
        next(node for node in graph.node if node.op_type == "Softplus").op_type = "Softsign"

    def other_constant(graph: Any) -> None:
        tensor = next(t for t in graph.initializer if t.name.startswith("float32/"))
        tensor.CopyFrom(onnx.numpy_helper.from_array(np.array(3, np.float32), tensor.name))

    def other_note(old: str, new: str) -> Any:
        def change(graph: Any) -> None:
            for node in graph.node:
                node.doc_string = node.doc_string.replace(old, new)

        return change

    for change in (
        other_operator,
        other_constant,
        other_note('"key_dim": 3', '"key_dim": 4'),
        other_note('"key_dim": 3', '"key_dim": 2000000000'),
        other_note('"num_heads": 2', '"num_heads": -2'),
        other_note('"layer"', '"lawyer"'),
        other_note("{", "{{"),
    ):
        rekur.onnx.export(subject("gated"), path, verify=False)
        rekur.onnx.load(path)
        with pytest.raises(LoadError, match=r"Scan|Softplus|Softsign|Exp|Neg|ReduceSum"):
            rekur.onnx.load(changed(path, change))


@pytest.mark.skipif(OPSETS[-1] < 27, reason="onnx without opset 27")
def test_linear_attention_of_others_is_refused_with_the_reason(tmp_path: Path) -> None:
    """The operator by itself has no norm, gate and projections, without which there is no such layer here."""
    value, helper = onnx.helper.make_tensor_value_info, onnx.helper
    node = helper.make_node(
        "LinearAttention", ["x", "x", "x"], ["y"], q_num_heads=1, kv_num_heads=1, update_rule="linear"
    )
    graph = helper.make_graph([node], "g", [value("x", 1, ["b", "t", 4])], [value("y", 1, ["b", "t", 4])])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 27)]), tmp_path / "m.onnx")
    with pytest.raises(LoadError, match=r"LinearAttention node .*GatedLinearAttention"):
        rekur.onnx.load(tmp_path / "m.onnx")
