"""ConvLSTM1D and ConvLSTM2D: against float64, masks and resets, threads, streams, Keras's numbers."""

from __future__ import annotations

import importlib.util
import json
import os
from typing import Any

import numpy as np
import pytest

import masks
import reference
import rekur
import rekur.onnx
from harness import Engine, assert_close, assert_gradient, assert_gradients, floats, input_layer, model_spec
from rekur import _core, layers

LAYERS: list[dict[str, Any]] = [
    {"type": "ConvLSTM1D", "filters": 2, "kernel_size": 3},
    {"type": "ConvLSTM1D", "filters": 3, "kernel_size": 2, "padding": "same", "strides": 2, "return_sequences": True},
    {"type": "ConvLSTM1D", "filters": 1, "kernel_size": 2, "dilation_rate": 3, "reverse": True, "return_state": True},
    {"type": "ConvLSTM1D", "filters": 2, "kernel_size": 4, "padding": "same", "use_bias": False, "activation": "relu"},
    {"type": "ConvLSTM2D", "filters": 1, "kernel_size": [3, 2], "return_sequences": True, "return_state": True},
    {
        "type": "ConvLSTM2D",
        "filters": 2,
        "kernel_size": [2, 1],
        "padding": "same",
        "strides": [2, 1],
        "recurrent_activation": "hard_sigmoid",
        "reverse": True,
        "return_sequences": True,
    },
    {"type": "ConvLSTM2D", "filters": 1, "kernel_size": 2, "padding": "same", "dilation_rate": [2, 1]},
]
every_layer = pytest.mark.parametrize("layer", LAYERS, ids=lambda v: "-".join(map(str, v.values())))
FULL = {"return_sequences": True, "return_state": True}


def space_of(layer: dict[str, Any]) -> tuple[int, ...]:
    return (6,) if layer["type"] == "ConvLSTM1D" else (3, 3)


def spec_of(layer: dict[str, Any], T: int | None, *row: int, states: bool = False) -> dict[str, Any]:
    """A model of the layer, all of its outputs; with its initial states as inputs."""
    shape = _core.infer_layer(json.dumps({**layer, **FULL, "name": "y"}), [((None, T, *row), "float32")])[1][0]
    given = ["h", "c"] if states else []
    sources = [input_layer("x", T, *row), *(input_layer(name, *shape[1:]) for name in given)]
    count = 3 if layer.get("return_state") else 1
    return model_spec([*sources, {**layer, "name": "y", "inputs": ["x", *given]}], [f"y:{k}" for k in range(count)])


@every_layer
@pytest.mark.parametrize("given", ["sequences", "lengths and states"])
def test_outputs_and_gradients_are_those_of_float64(layer: dict[str, Any], given: str) -> None:
    spec = spec_of(layer, 3, *space_of(layer), 2, states=given != "sequences")

    def batch(rng: np.random.Generator) -> Any:
        x = [floats(rng, 3, *source["shape"]) for source in spec["layers"][:-1]]
        lengths = [np.array([3, 0, 2], np.int32), None, None] if given != "sequences" else None
        return x, lengths

    assert_gradients(spec, batch=batch)


@pytest.mark.parametrize(("channels", "filters", "taps"), [(1, 1, [1, 1]), (17, 33, [3, 3]), (3, 70, [2, 5])], ids=str)
@pytest.mark.parametrize("options", [{}, {"strides": 2}, {"dilation_rate": [2, 1]}], ids=str)
def test_awkward_sizes(
    isa: str, rng: np.random.Generator, channels: int, filters: int, taps: list[int], options: dict[str, Any]
) -> None:
    layer = {"type": "ConvLSTM2D", "filters": filters, "kernel_size": taps, "padding": "same", **options, **FULL}
    engine = Engine(spec_of(layer, None, 5, 7, channels), scale=0.3)
    x = floats(rng, 2, 3, 5, 7, channels)
    expected = reference.run(engine.spec, engine.weights, [x])
    dy = [floats(rng, *y.shape) for y in expected]
    outputs, d_weights, d_inputs = engine.gradients([x], dy)
    for y, e in zip(outputs, expected, strict=True):
        assert_close(y, e, 1e-5)

    def total(weights: Any, x: Any) -> float:
        found = reference.run(engine.spec, weights, [x])
        return sum(float(np.sum(y * d)) for y, d in zip(found, dy, strict=True))

    assert d_inputs[0] is not None
    for value, gradient, at in [
        (x, d_inputs[0], lambda v: total(engine.weights, v)),
        *((w, d_weights[name], lambda v, name=name: total({**engine.weights, name: v}, x))
          for name, w in engine.weights.items()),
    ]:  # fmt: skip
        direction = floats(rng, *value.shape).astype(np.float64)
        slope = reference.directional_derivative(at, value, direction)
        size = float(np.linalg.norm(gradient) * np.linalg.norm(direction))
        assert abs(float(np.sum(gradient * direction)) - slope) <= 1e-5 * max(1.0, size)


@every_layer
def test_a_row_does_not_depend_on_its_padding_nor_on_the_threads(
    rng: np.random.Generator, restore_threads: None, layer: dict[str, Any]
) -> None:
    space = (70,) if layer["type"] == "ConvLSTM1D" else (11, 13)
    wide = {**layer, "filters": 5}
    engine = Engine(spec_of(wide, None, *space, 3))
    x, lengths = floats(rng, 5, 6, *space, 3), [np.array([6, 3, 0, 5, 1], np.int32)]
    found = []
    for threads in (1, 2, 5):
        _core.set_num_threads(threads)
        for beside in (0.0, np.nan):
            filled = x.copy()
            for b, steps in enumerate(lengths[0]):
                filled[b, steps:] = beside
            y = engine.predict([filled], lengths)
            outputs, d_weights, d_inputs = engine.gradients([filled], [np.ones_like(v) for v in y], lengths)
            for a, b in zip(outputs, y, strict=True):
                np.testing.assert_array_equal(a, b)
            found.append([*y, *d_weights.values(), *d_inputs])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
    for b, steps in enumerate(lengths[0]):
        alone = engine.predict([x[b : b + 1, :steps]])
        for one, whole in zip(alone, found[0], strict=False):
            several = wide.get("return_sequences") and one is alone[0]
            np.testing.assert_array_equal(one[0], whole[b, :steps] if several else whole[b])


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("zeros", [False, True])
def test_a_masked_step_is_left_out_and_repeats_the_output_or_gives_zeros(
    rng: np.random.Generator, reverse: bool, zeros: bool
) -> None:
    x = floats(rng, 4, 5, 3, 4, 2)
    mask = np.array([[1, 0, 1, 1, 0], [0, 0, 1, 1, 1], [1] * 5, [0] * 5], bool)
    source = layers.Input((None, 3, 4, 2))
    options = {"padding": "same", "reverse": reverse, "zero_output_for_mask": zeros}
    model = rekur.Model(source, layers.ConvLSTM2D(3, 3, **options, return_sequences=True)(source))
    last = rekur.Model(source, layers.ConvLSTM2D(3, 3, **options)(source))
    last.set_weights(model.get_weights())
    y, final = model.predict(x, mask=mask), last.predict(x, mask=mask)
    for b in range(4):
        there = np.flatnonzero(mask[b])
        short = model.predict(x[b : b + 1, there])[0] if len(there) else np.zeros((0, 3, 4, 3))
        np.testing.assert_array_equal(y[b, there], short)
        order = range(4, -1, -1) if reverse else range(5)
        before = np.zeros((3, 4, 3))
        for t in order:
            expected = y[b, t] if mask[b, t] else np.zeros_like(before) if zeros else before
            np.testing.assert_array_equal(y[b, t], expected)
            before = y[b, t] if mask[b, t] else before
        gone = zeros and not mask[b, order[-1]]
        np.testing.assert_array_equal(final[b], np.zeros_like(before) if gone else before)


@pytest.mark.parametrize("sequences", [True, False])
@pytest.mark.parametrize("reverse", [True, False])
def test_gradients_with_masks_and_resets(rng: np.random.Generator, sequences: bool, reverse: bool) -> None:
    x = floats(rng, 3, 5, 4, 2)
    mask = np.array([[1, 0, 1, 1, 0], [0, 0, 1, 1, 1], [1] * 5], bool)
    resets = np.array([[0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 1, 0, 0, 1]], bool)
    source, h, c = layers.Input((None, 4, 2), name="x"), layers.Input((4, 2)), layers.Input((4, 2))
    layer = layers.ConvLSTM1D(2, 3, padding="same", return_sequences=sequences, reverse=reverse)
    model = rekur.Model([source, h, c], layer(source, initial_state=[h, c]))
    data = [x, floats(rng, 3, 4, 2), floats(rng, 3, 4, 2)]
    given = {"mask": {"x": mask}, "resets": {"x": resets}}
    y = model.predict(data, **given)
    r = floats(rng, *y.shape)
    _, _, gradients = model.gradients(data, r, **given)
    for k, gradient in enumerate(gradients):
        direction = floats(rng, *data[k].shape)
        ends = [
            float(
                (model.predict([*data[:k], data[k] + e * direction, *data[k + 1 :]], **given).astype(float) * r).sum()
            )
            for e in (1e-2, -1e-2)
        ]
        slope = (ends[0] - ends[1]) / 2e-2
        assert abs(float((gradient * direction).sum()) - slope) < 5e-3 * max(1.0, abs(slope))


def test_a_reset_begins_anew_from_zeros(rng: np.random.Generator) -> None:
    x, state = floats(rng, 1, 5, 4, 2), [floats(rng, 1, 4, 3) for _ in range(2)]
    source, h, c = layers.Input((None, 4, 2), name="x"), layers.Input((4, 3)), layers.Input((4, 3))
    layer = layers.ConvLSTM1D(3, 3, padding="same", return_sequences=True)
    model = rekur.Model([source, h, c], layer(source, initial_state=[h, c]))
    whole = model.predict([x, *state], resets={"x": np.array([[0, 0, 1, 0, 0]], bool)})
    parts = [model.predict([x[:, :2], *state]), model.predict([x[:, 2:], *(0 * s for s in state)])]
    np.testing.assert_array_equal(whole, np.concatenate(parts, axis=1))
    first = {"resets": {"x": np.array([[1, 0, 0, 0, 0]], bool)}}
    np.testing.assert_array_equal(model.predict([x, *state], **first), model.predict([x, *(0 * s for s in state)]))
    _, _, (_, dh, dc) = model.gradients([x, *state], np.ones_like(whole), **first)
    assert not dh.any()
    assert not dc.any()


@pytest.mark.parametrize(
    ("kind", "rates"), [("ConvLSTM1D", (0.3, 0.0)), ("ConvLSTM1D", (0.0, 0.4)), ("ConvLSTM2D", (0.25, 0.5))]
)
def test_dropout_masks_each_gate_the_same_way_at_all_steps(kind: str, rates: tuple[float, float]) -> None:
    layer = {"type": kind, "filters": 2, "kernel_size": 2, "dropout": rates[0], "recurrent_dropout": rates[1], **FULL}
    rng, space = np.random.default_rng(3), (5,) if kind == "ConvLSTM1D" else (3, 2)
    engine = Engine(spec_of(layer, 3, *space, 2))
    x, lengths = floats(rng, 3, 3, *space, 2), [np.array([3, 2, 0], np.int32)]
    state = engine.predict([x])[1].shape[1:-1]
    drawn = {}
    if rates[0]:
        drawn["x"] = masks.mask(rates[0], (3, *space, 4, 2), 5, 7, 1, 0, 0)
    if rates[1]:
        drawn["recurrent"] = masks.mask(rates[1], (3, *state, 4, 2), 5, 7, 1, 0, 1)
    spec = {**engine.spec, "layers": [engine.spec["layers"][0], {**engine.spec["layers"][1], "masks": drawn}]}
    expected = reference.run(spec, engine.weights, [x], lengths)
    dy = [floats(rng, *y.shape) for y in expected]
    outputs, d_weights, d_inputs = engine.gradients([x], dy, lengths, seed=5, step=7)
    for y, e in zip(outputs, expected, strict=True):
        assert_close(y, e, 1e-5)

    def total(weights: Any, x: Any) -> float:
        return sum(float(np.sum(y * d)) for y, d in zip(reference.run(spec, weights, [x], lengths), dy, strict=True))

    for name, w in engine.weights.items():
        assert_gradient(d_weights[name], lambda v, name=name: total({**engine.weights, name: v}, x), w, 1e-4, name)
    assert d_inputs[0] is not None
    assert_gradient(d_inputs[0], lambda v: total(engine.weights, v), x, 1e-4, "x")


def test_go_backwards_gives_the_outputs_in_the_order_they_are_made(rng: np.random.Generator) -> None:
    x, source = floats(rng, 2, 4, 5, 2), layers.Input((None, 5, 2))
    there = rekur.Model(source, layers.ConvLSTM1D(3, 2, return_sequences=True)(source))
    back = rekur.Model(source, layers.ConvLSTM1D(3, 2, return_sequences=True, go_backwards=True)(source))
    turned = rekur.Model(source, layers.ConvLSTM1D(3, 2, return_sequences=True, reverse=True)(source))
    for model in (back, turned):
        model.set_weights(there.get_weights())
    expected = there.predict(x[:, ::-1].copy())
    np.testing.assert_array_equal(back.predict(x), expected)
    np.testing.assert_array_equal(turned.predict(x), expected[:, ::-1])
    both = layers.Bidirectional(layers.ConvLSTM1D(3, 2, return_sequences=True))
    model = rekur.Model(source, both(source))
    model.set_weights([*there.get_weights(), *there.get_weights()])
    np.testing.assert_array_equal(model.predict(x), np.concatenate([there.predict(x), turned.predict(x)], axis=-1))


def test_a_stateful_layer_goes_on_where_the_batch_before_ended(rng: np.random.Generator) -> None:
    x = floats(rng, 2, 6, 4, 3, 1)
    plain = rekur.Sequential([layers.Input((None, 4, 3, 1)), layers.ConvLSTM2D(2, 3, padding="same")])
    stateful = rekur.Sequential(
        [layers.Input((None, 4, 3, 1), batch_size=2), layers.ConvLSTM2D(2, 3, padding="same", stateful=True)]
    )
    stateful.set_weights(plain.get_weights())
    stateful.predict(x[:, :4])
    np.testing.assert_array_equal(stateful.predict(x[:, 4:]), plain.predict(x))
    stateful.reset_states()
    np.testing.assert_array_equal(stateful.predict(x), plain.predict(x))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.ConvLSTM1D(1, 1, strides=2, dilation_rate=3), "`strides > 1` is not compatible with `dil"),
        (lambda: layers.ConvLSTM2D(1, 1, strides=(1, 2), dilation_rate=(2, 1)), "strides=\\(1, 2\\)"),
        (lambda: layers.ConvLSTM2D(1, (1, 2, 3)), "kernel_size: expected an integer or 2 of them"),
        (lambda: layers.ConvLSTM1D(1, 1, data_format="channels_first"), "data_format must be 'channels_last'"),
        (lambda: layers.ConvLSTM1D(1, 1, padding="causal"), "padding: expected one of valid, same, got 'causal'"),
        (lambda: layers.ConvLSTM1D(1, 4)(layers.Input((None, 3, 2))), "at least 4 positions along axis 2"),
        (lambda: layers.ConvLSTM2D(1, 2)(layers.Input((None, 3, 2))), r"a float32 input of shape \(B, T, H, W, C\)"),
        (lambda: layers.ConvLSTM1D(1, 2)(layers.Input((None, None, 2))), "but the batch and the time must be known"),
        (lambda: layers.ConvLSTM1D(1, 2, go_backwards=True, reverse=True), "both read each row from its end"),
        (lambda: layers.ConvLSTM1D(1, 2, units=3), "units"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(make: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_settings_survive_files_and_copies(tmp_path: Any, rng: np.random.Generator) -> None:
    source = layers.Input((None, 6, 5, 2))
    layer = layers.ConvLSTM2D(
        3, (3, 2), strides=(2, 1), padding="same", activation="relu", bias_initializer="ones", unit_forget_bias=False,
        dropout=0.5, recurrent_dropout=0.25, go_backwards=True, return_sequences=True, return_state=True,
        kernel_regularizer="l2", recurrent_constraint="max_norm", zero_output_for_mask=True, name="films",
    )  # fmt: skip
    model, x = rekur.Model(source, layer(source)), floats(rng, 2, 3, 6, 5, 2)
    model.save(tmp_path / "model.safetensors")
    loaded = rekur.load_model(tmp_path / "model.safetensors")
    assert loaded.get_layer("films").config() == layer.config()
    for a, b in zip(loaded.predict(x), model.predict(x), strict=True):
        np.testing.assert_array_equal(a, b)
    twin = type(layer).from_config(layer.config())
    assert (twin.kernel_size, twin.strides, twin.unit_forget_bias) == ((3, 2), (2, 1), False)


# ------------------------------------------------------------------------------------------------------------ Keras


KERAS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("ConvLSTM1D", (3, 3), {}),
    ("ConvLSTM1D", (3, (2,)), {"strides": 2, "padding": "same", "return_sequences": True, "go_backwards": True}),
    ("ConvLSTM1D", (2, 4), {"padding": "same", "recurrent_activation": "hard_sigmoid", "return_sequences": True}),
    ("ConvLSTM2D", (3, 3), {"padding": "same", "activation": "relu", "return_sequences": True}),
    ("ConvLSTM2D", (2, (3, 2)), {"dilation_rate": (1, 2), "use_bias": False, "return_state": True}),
    ("ConvLSTM2D", (2, 2), {"strides": (2, 1), "unit_forget_bias": False, "return_sequences": True}),
]


@pytest.mark.parametrize(("kind", "arguments", "options"), KERAS, ids=str)
def test_numbers_are_keras_numbers(rng: np.random.Generator, kind: str, arguments: Any, options: Any) -> None:
    if importlib.util.find_spec("keras") is None:
        pytest.skip("keras is not installed")
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    x = floats(rng, 2, 4, *((8,) if kind == "ConvLSTM1D" else (6, 5)), 3)
    theirs = getattr(keras.layers, kind)(*arguments, **options)
    theirs(x)
    source = rekur.Input(x.shape[1:])
    model = rekur.Model(source, getattr(layers, kind)(*arguments, **options)(source))
    weights = [rng.standard_normal(w.shape).astype(np.float32) * 0.4 for w in theirs.get_weights()]
    theirs.set_weights(weights)
    model.set_weights(weights)
    expected, found = theirs(x), model.predict(x)  # without masks, of which Keras 3.15 on jax makes an error
    for ours, y in zip(*(v if isinstance(v, (list, tuple)) else [v] for v in (found, expected)), strict=True):
        assert_close(ours, np.asarray(y), 1e-5)


# ------------------------------------------------------------------------------------------------------------- ONNX


@pytest.mark.parametrize("lengths", [False, True])
def test_films_go_out_to_onnx_files(tmp_path: Any, lengths: bool) -> None:
    """Verified in onnxruntime: both kinds of padding, a reversed layer, states, layers between that see each pixel."""
    source = layers.Input((None, 5, 4, 2))
    y = layers.ConvLSTM2D(3, (2, 3), padding="same", strides=(2, 1), return_sequences=True, activation="relu")(source)
    y = layers.Dense(3, activation="tanh")(layers.BatchNormalization()(y))
    scaled = {"activation": {"name": "scaled_tanh"}, "recurrent_activation": {"name": "affine", "alpha": 0.3}}
    outputs = layers.ConvLSTM2D(2, 2, dilation_rate=(1, 2), reverse=True, return_state=True, **scaled)(y)
    report = rekur.onnx.export(rekur.Model(source, outputs), tmp_path / "m.onnx", lengths=lengths)
    assert report.verification is not None and report.nodes["Scan"] == 2


def test_onnx_files_refuse_by_name_what_they_cannot_hold(tmp_path: Any) -> None:
    source = layers.Input((None, 5, 2), name="x")
    model = rekur.Model(source, layers.ConvLSTM1D(2, 2, name="film")(source))
    with pytest.raises(rekur.onnx.ExportError, match="ConvLSTM1D 'film': an output without the time axis has its"):
        rekur.onnx.export(model, tmp_path / "m.onnx", streaming=True)


@pytest.mark.parametrize("given", ["input", "layer"])
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("sequences", [False, True])
def test_onnx_files_leave_out_masked_images(given: str, zeros: bool, sequences: bool, tmp_path: Any) -> None:
    source = layers.Input((None, 5, 2))
    y = source if given == "input" else layers.Masking()(source)
    options = {"return_sequences": sequences, "reverse": zeros, "return_state": True, "zero_output_for_mask": zeros}
    model = rekur.Model(source, layers.ConvLSTM1D(2, 2, padding="same", **options)(y), seed=1)
    report = rekur.onnx.export(model, tmp_path / "m.onnx", masks=given == "input").verification
    assert report is not None and report.cases >= 20
