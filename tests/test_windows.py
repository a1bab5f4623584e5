"""Convolution, pooling, resampling and reshaping: against float64, lengths, threads, streams, Keras's numbers."""

from __future__ import annotations

import importlib.util
import json
import os
from typing import Any

import numpy as np
import pytest

import rekur
from harness import Engine, assert_close, assert_gradients, floats, input_layer, model_spec
from rekur import _core, layers

CONVOLUTIONS: list[dict[str, Any]] = [
    {"type": "Conv1D", "filters": 3, "kernel_size": 3},
    {"type": "Conv1D", "filters": 3, "kernel_size": 1, "strides": 2},
    {"type": "Conv1D", "filters": 2, "kernel_size": 4, "padding": "same", "strides": 3, "use_bias": False},
    {"type": "Conv1D", "filters": 2, "kernel_size": 2, "padding": "causal", "dilation_rate": 3, "activation": "tanh"},
    {"type": "Conv1D", "filters": 6, "kernel_size": 3, "padding": "same", "groups": 2},
    {"type": "Conv1D", "filters": 8, "kernel_size": 2, "padding": "causal", "groups": 4, "strides": 2},
    {"type": "Conv1D", "filters": 2, "kernel_size": 2, "strides": 3, "activation": "softmax"},
    {"type": "DepthwiseConv1D", "kernel_size": 3, "padding": "same"},
    {"type": "DepthwiseConv1D", "kernel_size": 2, "depth_multiplier": 3, "dilation_rate": 2, "padding": "causal"},
    {"type": "DepthwiseConv1D", "kernel_size": 3, "strides": 2, "depth_multiplier": 2, "activation": "relu"},
    {"type": "DepthwiseConv1D", "kernel_size": 3, "strides": 2, "padding": "same"},
    {"type": "Conv1DTranspose", "filters": 3, "kernel_size": 3},
    {"type": "Conv1DTranspose", "filters": 2, "kernel_size": 2, "strides": 3},
    {"type": "Conv1DTranspose", "filters": 2, "kernel_size": 5, "strides": 2, "padding": "same", "use_bias": False},
    {"type": "Conv1DTranspose", "filters": 2, "kernel_size": 3, "strides": 2, "padding": "same", "output_padding": 1},
    {"type": "Conv1DTranspose", "filters": 2, "kernel_size": 3, "strides": 3, "output_padding": 2},
    {"type": "Conv1DTranspose", "filters": 2, "kernel_size": 3, "dilation_rate": 2, "activation": "tanh"},
]
POOLINGS: list[dict[str, Any]] = [
    {"type": kind, **options}
    for kind in ("MaxPooling1D", "AveragePooling1D")
    for options in ({}, {"pool_size": 3, "strides": 2, "padding": "same"}, {"pool_size": 2, "strides": 1})
]
GLOBAL: list[dict[str, Any]] = [{"type": f"Global{kind}Pooling1D"} for kind in ("Max", "Average")]
MOVES: list[dict[str, Any]] = [
    {"type": "GlobalAveragePooling1D", "keepdims": True},
    {"type": "UpSampling1D"},
    {"type": "Cropping1D", "cropping": [1, 2]},
    {"type": "ZeroPadding1D", "padding": [0, 3]},
    {"type": "Padding1D", "padding": [2, 3], "mode": "reflect"},
    {"type": "Padding1D", "padding": [0, 3], "mode": "edge"},
    {"type": "Padding1D", "padding": [3, 0], "mode": "wrap"},
    {"type": "Padding1D", "padding": [1, 1], "value": -1.5},
    {"type": "Flatten"},
    {"type": "Reshape", "target_shape": [2, -1, 2]},
    {"type": "Permute", "dims": [2, 1]},
]
ALL = [*CONVOLUTIONS, *POOLINGS, *GLOBAL, *MOVES]
every_layer = pytest.mark.parametrize("layer", ALL, ids=lambda v: "-".join(map(str, v.values())))


def spec_of(layer: dict[str, Any], T: int | None = 7, features: int = 4) -> dict[str, Any]:
    return model_spec([input_layer("x", T, features), {**layer, "name": "y", "inputs": ["x"]}], ["y"])


@every_layer
@pytest.mark.parametrize("given", ["full", "lengths"])
def test_outputs_and_gradients_are_those_of_float64(isa: str, layer: dict[str, Any], given: str) -> None:
    def batch(rng: np.random.Generator) -> Any:
        # Steps apart from each other: the largest is no close call.
        x = (rng.permutation(4 * 7 * 4).reshape(4, 7, 4) / 50 - 1).astype(np.float32)
        return [x], [np.array([7, 0, 4, 1], np.int32)] if given == "lengths" else None

    assert_gradients(spec_of(layer), batch=batch)


@every_layer
def test_a_row_does_not_depend_on_its_padding_nor_on_the_threads(
    rng: np.random.Generator, restore_threads: None, layer: dict[str, Any]
) -> None:
    fixed = layer["type"] in ("Flatten", "Reshape", "Permute")
    B, T, F = (5, 12, 4) if fixed else (5, 211, 4)
    engine = Engine(spec_of(layer, T if fixed else None, F))
    x, lengths = floats(rng, B, T, F), [np.array([T, T // 2, 0, 5, 1], np.int32)]
    found = []
    for threads in (1, 2, 5):
        _core.set_num_threads(threads)
        for beside in (0.0, np.nan):
            filled = x.copy()
            for b, steps in enumerate(lengths[0]):
                filled[b, steps:] = beside
            y = engine.predict([filled], lengths)[0]
            outputs, d_weights, d_inputs = engine.gradients([filled], [np.ones_like(y)], lengths)
            np.testing.assert_array_equal(outputs[0], y)
            found.append([y, *d_weights.values(), *d_inputs])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
    for b, steps in enumerate(lengths[0]):
        if not fixed and steps:
            alone = engine.predict([x[b : b + 1, :steps]])[0][0]
            np.testing.assert_array_equal(alone, found[0][0][b, : len(alone)] if alone.ndim == 2 else found[0][0][b])


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("features", "filters", "taps"), [(1, 1, 1), (17, 33, 5), (70, 130, 3), (3, 300, 9), (130, 5, 2)]
)
@pytest.mark.parametrize("options", [{}, {"strides": 2}, {"dilation_rate": 3}], ids=str)
def test_awkward_sizes(
    isa: str, rng: np.random.Generator, features: int, filters: int, taps: int, options: dict[str, int]
) -> None:
    layer = {"type": "Conv1D", "filters": filters, "kernel_size": taps, "padding": "same", **options}
    engine, x = Engine(spec_of(layer, None, features), scale=0.3), floats(rng, 2, 70, features)
    import reference

    expected = reference.run(engine.spec, engine.weights, [x])[0]
    assert_close(engine.predict([x])[0], expected, 1e-5)
    dy, v = floats(rng, *expected.shape), floats(rng, *x.shape).astype(np.float64)
    _, d_weights, d_inputs = engine.gradients([x], [dy])
    # It is linear in both: differences are no approximation.
    ahead = reference.run(engine.spec, engine.weights, [x + v])[0]
    assert d_inputs[0] is not None
    share = float(np.sum((ahead - expected) * dy))
    assert abs(float(np.sum(d_inputs[0] * v)) - share) <= 1e-4 * max(
        1.0, abs(share), float(np.abs(expected).max()) * 10
    )
    kernel = engine.weights["y/kernel"]
    w = rng.standard_normal(kernel.shape)
    ahead = reference.run(engine.spec, {**engine.weights, "y/kernel": kernel + w}, [x])[0]
    share = float(np.sum((ahead - expected) * dy))
    assert abs(float(np.sum(d_weights["y/kernel"] * w)) - share) <= 1e-4 * max(
        1.0, abs(share), float(np.abs(ahead).max()) * 10
    )


@pytest.mark.parametrize("taps", [1, 3])
def test_strides_beyond_the_steps_cost_nothing(rng: np.random.Generator, taps: int) -> None:
    """Weights are packed for the remainders that some tap meets, not for every one there is."""
    x, dy, found = floats(rng, 2, 5, 3), floats(rng, 2, 1, 2), []
    for strides in (5, 2**31 - 1):
        layer = {"type": "Conv1D", "filters": 2, "kernel_size": taps, "strides": strides}
        outputs, d_weights, d_inputs = Engine(spec_of(layer, None, 3)).gradients([x], [dy])
        found.append([*outputs, *d_weights.values(), *d_inputs])
    for near, far in zip(*found, strict=True):
        np.testing.assert_array_equal(near, far)


@pytest.mark.parametrize(
    "layer",
    [
        {"type": "UpSampling1D", "size": 2**31 - 1},
        {"type": "Conv1DTranspose", "filters": 1, "kernel_size": 1, "strides": 2**31 - 1},
    ],
)
def test_more_steps_than_can_be_counted_are_refused(layer: dict[str, Any]) -> None:
    name = f"{layer['type']} 'y'"
    assert _core.infer_layer(json.dumps({**layer, "name": "y"}), [((None, 2**32, 1), "float32")])
    with pytest.raises(ValueError, match=f"{name}: what it makes of 8589934592 steps are more than can be counted"):
        _core.infer_layer(json.dumps({**layer, "name": "y"}), [((None, 2**33, 1), "float32")])


def test_lengths_follow_through_layers_that_change_the_steps(rng: np.random.Generator) -> None:
    """An LSTM behind a strided convolution and a pooling goes on to the end of the row's own steps."""
    x = rekur.Input((None, 3))
    y = layers.Conv1D(4, 3, strides=2, padding="same")(x)
    y = layers.LSTM(5)(layers.MaxPooling1D(2)(layers.ZeroPadding1D((1, 0))(y)))
    model = rekur.Model(x, y)
    data = floats(rng, 3, 20, 3)
    both = model.predict(data, lengths=[20, 9, 13])
    for row, steps in enumerate((20, 9, 13)):
        np.testing.assert_array_equal(both[row], model.predict(data[row : row + 1, :steps])[0])


def test_a_mask_ends_where_keras_ends_it() -> None:
    """Cropped, reshaped, flattened: all steps count again."""
    x = rekur.Input((4, 2))
    mean = rekur.Model(x, layers.GlobalAveragePooling1D()(layers.Reshape((4, 2))(x)))
    data = np.arange(16, dtype=np.float32).reshape(2, 4, 2)
    np.testing.assert_allclose(mean.predict(data, lengths=[4, 2])[1], data[1, :2].sum(axis=0) / 4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.Conv1D(2, 3, padding="some"), "padding"),
        (lambda: layers.Conv1D(2, (3, 3)), "expected one number"),
        (lambda: layers.Conv1D(2, 3, strides=2, dilation_rate=2), "cannot both be above 1"),
        (lambda: layers.Conv1D(2, 3, data_format="channels_first"), "data_format must be 'channels_last'"),
        (lambda: layers.Conv1D(4, 3, groups=3)(rekur.Input((None, 3))), "must divide 'filters'"),
        (lambda: layers.Conv1D(4, 3, groups=2)(rekur.Input((None, 3))), "must divide the 3 features"),
        (lambda: layers.Conv1DTranspose(4, 3, output_padding=1)(rekur.Input((None, 3))), "less than 'strides'"),
        (lambda: layers.Conv1DTranspose(4, 3, padding="causal"), "valid, same"),
        (lambda: layers.Reshape((-1, -1)), "at most one size can be -1"),
        (lambda: layers.Reshape((5, -1))(rekur.Input((3, 3))), "do not have the elements"),
        (lambda: layers.Flatten()(rekur.Input((None, 3))), "give the input's steps"),
        (lambda: layers.Permute((1, 3)), "counted from 1"),
        (lambda: layers.Permute((2, 1))(rekur.Input((3,))), "2 axes beside the batch"),
        (lambda: layers.Cropping1D((1, 2, 3)), "a number or two"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_keras_names_arguments_and_defaults_are_taken() -> None:
    assert layers.Convolution1D is layers.Conv1D
    assert layers.MaxPool1D is layers.MaxPooling1D and layers.AvgPool1D is layers.AveragePooling1D
    layer = layers.Conv1D(4, (3,), (2,), "SAME", "channels_last", kernel_regularizer=None)
    assert (layer.kernel_size, layer.strides, layer.padding) == (3, 2, "same")
    assert layers.MaxPooling1D().config() == {"pool_size": 2, "strides": None, "padding": "valid"}
    assert layers.ZeroPadding1D().padding == [1, 1] and layers.Cropping1D().cropping == [1, 1]


KERAS = [
    ("Conv1D", (5, 3), {"strides": 2, "padding": "same"}),
    ("Conv1D", (6, 3), {"padding": "causal", "dilation_rate": 2, "groups": 2, "activation": "relu"}),
    ("DepthwiseConv1D", (3,), {"depth_multiplier": 2, "padding": "same", "strides": 2}),
    ("SeparableConv1D", (5, 3), {"depth_multiplier": 2, "activation": "tanh"}),
    ("Conv1DTranspose", (3, 4), {"strides": 3, "padding": "same"}),
    ("Conv1DTranspose", (3, 2), {"strides": 3}),
    ("Conv1DTranspose", (3, 3), {"strides": 2, "padding": "same", "output_padding": 1}),
    ("Conv1DTranspose", (3, 4), {"strides": 2, "output_padding": 1}),
    ("Conv1DTranspose", (3, 3), {"dilation_rate": 2, "padding": "same"}),
    ("MaxPooling1D", (3,), {"strides": 2, "padding": "same"}),
    ("AveragePooling1D", (3,), {"strides": 2, "padding": "same"}),
    ("AveragePooling1D", (2,), {}),
    ("GlobalMaxPooling1D", (), {"keepdims": True}),
    ("GlobalAveragePooling1D", (), {}),
    ("UpSampling1D", (3,), {}),
    ("Cropping1D", ((1, 2),), {}),
    ("ZeroPadding1D", (2,), {}),
    ("Flatten", (), {}),
    ("Reshape", ((2, -1),), {}),
    ("Permute", ((2, 1),), {}),
]


@pytest.mark.parametrize(("kind", "arguments", "options"), KERAS, ids=str)
def test_numbers_are_keras_numbers(rng: np.random.Generator, kind: str, arguments: Any, options: Any) -> None:
    if importlib.util.find_spec("keras") is None:
        pytest.skip("keras is not installed")
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    x = floats(rng, 2, 8, 4)
    theirs = getattr(keras.layers, kind)(*arguments, **options)
    expected = np.asarray(theirs(x))
    source = rekur.Input((8, 4))
    ours = getattr(layers, kind)(*arguments, **options)
    model = rekur.Model(source, ours(source))
    weights = [rng.standard_normal(w.shape).astype(np.float32) for w in theirs.get_weights()]
    if weights:
        theirs.set_weights(weights)
        model.set_weights(weights)
        expected = np.asarray(theirs(x))
    assert_close(model.predict(x), expected, 1e-5)
