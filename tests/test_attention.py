"""Attention layers: outputs and gradients against float64, lengths of both sides, threads, dropout, masks, Keras."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import rekur
from harness import Engine, assert_close, assert_gradients, floats, input_layer, model_spec
from rekur import _core, layers

LAYERS: list[dict[str, Any]] = [
    {"type": "Attention"},
    {"type": "Attention", "use_scale": True, "use_causal_mask": True, "return_attention_scores": True},
    {"type": "Attention", "score_mode": "concat", "use_scale": True, "sliding_window": 3},
    {"type": "AdditiveAttention"},
    {"type": "AdditiveAttention", "use_scale": False, "use_causal_mask": True, "return_attention_scores": True},
    {"type": "MultiHeadAttention", "num_heads": 2, "key_dim": 3},
    {"type": "MultiHeadAttention", "num_heads": 3, "key_dim": 2, "value_dim": 4, "output_shape": 3,
     "use_causal_mask": True, "return_attention_scores": True},
    {"type": "MultiHeadAttention", "num_heads": 1, "key_dim": 5, "use_bias": False, "sliding_window": 2},
    {"type": "GroupQueryAttention", "head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2},
]  # fmt: skip
every_layer = pytest.mark.parametrize("layer", LAYERS, ids=lambda v: "-".join(map(str, v.values())))


def spec_of(layer: dict[str, Any], features: int = 4, inputs: int = 2) -> dict[str, Any]:
    names = ["q", "v", "k"][:inputs]
    outputs = ["y", "y:1"] if layer.get("return_attention_scores") else ["y"]
    nodes = [*(input_layer(name, None, features) for name in names), {**layer, "name": "y", "inputs": names}]
    return model_spec(nodes, outputs)


@every_layer
@pytest.mark.parametrize("given", ["full", "lengths"])
@pytest.mark.parametrize("inputs", [2, 3])
def test_outputs_and_gradients_are_those_of_float64(isa: str, layer: dict[str, Any], given: str, inputs: int) -> None:
    def batch(rng: np.random.Generator) -> Any:
        arrays = [floats(rng, 3, 5, 4), *(floats(rng, 3, 6, 4) for _ in range(inputs - 1))]
        rows = [np.array([5, 0, 3], np.int32), *[np.array([2, 6, 0], np.int32)] * (inputs - 1)]
        return arrays, rows if given == "lengths" else None

    assert_gradients(spec_of(layer, inputs=inputs), batch=batch)


@every_layer
def test_the_same_bits_for_any_number_of_threads_and_for_a_row_alone(
    rng: np.random.Generator, restore_threads: None, layer: dict[str, Any]
) -> None:
    """Several blocks of queries and of keys; the row's padding is not there when it is alone."""
    B, Tq, Tv = 3, 210, 150
    engine = Engine(spec_of({**layer, "dropout": 0.0}))
    inputs = [floats(rng, B, Tq, 4), floats(rng, B, Tv, 4)]
    lengths = [np.array([210, 100, 7], np.int32), np.array([131, 150, 129], np.int32)]
    dy = [floats(rng, *y.shape) for y in engine.predict(inputs)]
    found = []
    for threads in (1, 2, 5):
        _core.set_num_threads(threads)
        outputs, d_weights, d_inputs = engine.gradients(inputs, dy, lengths)
        for a, b in zip(outputs, engine.predict(inputs, lengths), strict=True):
            np.testing.assert_array_equal(a, b)
        found.append([*outputs, *d_weights.values(), *d_inputs])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
    for row in range(B):
        n, m = lengths[0][row], lengths[1][row]
        alone = engine.predict([inputs[0][row : row + 1, :n], inputs[1][row : row + 1, :m]])
        np.testing.assert_array_equal(alone[0][0], found[0][0][row, :n])


@pytest.mark.parametrize("layer", [LAYERS[1], LAYERS[4], LAYERS[6]], ids=lambda v: v["type"])
def test_a_causal_step_depends_on_no_later_one(isa: str, rng: np.random.Generator, layer: dict[str, Any]) -> None:
    engine = Engine(spec_of({**layer, "return_attention_scores": False}))
    x = floats(rng, 2, 140, 4)
    y = engine.predict([x, x])[0]
    for steps in (1, 97, 129):
        part = x[:, :steps].copy()
        np.testing.assert_array_equal(engine.predict([part, part])[0], y[:, :steps])


@pytest.mark.parametrize("layer", [LAYERS[1], LAYERS[4], LAYERS[6]], ids=lambda v: v["type"])
def test_dropout_drops_weights_and_its_gradient_is_that_of_the_weights_kept(
    rng: np.random.Generator, layer: dict[str, Any]
) -> None:
    """Central differences of a training pass: the weights dropped are a function of seed and step."""
    engine = Engine(spec_of({**layer, "dropout": 0.4, "use_causal_mask": False}))
    inputs = [floats(rng, 2, 5, 4), floats(rng, 2, 7, 4)]
    outputs, _, d_inputs = engine.gradients(inputs, [np.ones_like(y) for y in engine.predict(inputs)], None, 3, 4)
    dy = [floats(rng, *y.shape) for y in outputs]
    again, _, d_inputs = engine.gradients(inputs, dy, None, 3, 4)
    np.testing.assert_array_equal(outputs[0], again[0])
    assert not np.array_equal(outputs[0], engine.gradients(inputs, dy, None, 3, 5)[0][0])
    assert not np.array_equal(outputs[0], engine.predict(inputs)[0])
    if layer["type"] != "MultiHeadAttention":  # which returns the weights before dropout
        assert 0.2 < np.mean(outputs[1] == 0) < 0.6
        assert_close(outputs[0], outputs[1] @ inputs[1], 1e-6)

    def loss() -> float:
        ys = engine.gradients(inputs, dy, None, 3, 4)[0]
        return sum(float((y.astype(np.float64) * d).sum()) for y, d in zip(ys, dy, strict=True))

    for x, dx in zip(inputs, d_inputs, strict=True):
        assert dx is not None
        for place in ((0, 1, 2), (1, 4, 0)):
            before = x[place]
            x[place] = before + 0.01
            above = loss()
            x[place] = before - 0.01
            below = loss()
            x[place] = before
            assert abs((above - below) / 0.02 - dx[place]) < 5e-3 * max(1, abs(dx[place]))


def test_a_shared_layer_has_one_set_of_weights_and_its_gradients_add_up(rng: np.random.Generator) -> None:
    x = layers.Input((6, 4))
    attention = layers.MultiHeadAttention(2, 3)
    y = layers.add([attention(x, x), attention(x, x)])
    model = rekur.Model(x, y)
    single = rekur.Model(x, layers.MultiHeadAttention(2, 3)(x, x))
    single.set_weights(model.get_weights())
    data = floats(rng, 3, 6, 4)
    np.testing.assert_allclose(model.predict(data), 2 * single.predict(data), rtol=1e-6)


def test_call_arguments_are_the_layers_and_stay() -> None:
    x = layers.Input((6, 4))
    layer = layers.Attention()
    y, weights = layer([x, x], use_causal_mask=True, return_attention_scores=True)
    assert (y.shape, weights.shape) == ((None, 6, 4), (None, 6, 6))
    assert layer.use_causal_mask and layer.config()["return_attention_scores"]
    layer([x, x])
    with pytest.raises(ValueError, match=r"called with use_causal_mask=True before.*set_weights"):
        layer([x, x], use_causal_mask=False)
    with pytest.raises(ValueError, match="as many features"):
        layers.Attention()([x, layers.Input((6, 5))], use_causal_mask=True)


@pytest.mark.parametrize("layer", LAYERS, ids=lambda v: "-".join(map(str, v.values())))
def test_a_layer_comes_back_from_its_config(layer: dict[str, Any]) -> None:
    made = layers.TYPES[layer["type"]].from_config({k: v for k, v in layer.items() if k != "type"})
    assert {k: made.config()[k] for k in layer if k != "type"} == {k: v for k, v in layer.items() if k != "type"}


def test_arguments_of_keras_that_ask_for_nothing_are_taken_and_others_say_what_to_do() -> None:
    x = layers.Input((6, 4))
    made = layers.MultiHeadAttention(
        2, 3, attention_axes=1, flash_attention=None, use_gate=False, seed=None, kernel_regularizer=None
    )
    made(x, x, key=x, attention_mask=None, training=None)
    layers.Attention(seed=None)([x, x], mask=[None, None])
    with pytest.raises(TypeError, match="attention_axes"):
        layers.MultiHeadAttention(2, 3, attention_axes=2)
    with pytest.raises(TypeError, match=r"attention_mask.*sliding_window"):
        layers.MultiHeadAttention(2, 3)(x, x, attention_mask=np.ones((6, 6)))
    with pytest.raises(TypeError, match=r"mask.*Masking"):
        layers.Attention()([x, x], mask=[np.ones((1, 6)), None])
    with pytest.raises(ValueError, match="score_mode: expected one of dot, concat, got 'dott'; did you mean 'dot'"):
        layers.Attention(score_mode="dott")
    with pytest.raises(ValueError, match="num_query_heads must be a multiple of num_key_value_heads, got 3 and 2"):
        layers.GroupQueryAttention(4, 3, 2)(x, x)


def test_layers_called_on_arrays_compute_at_once(rng: np.random.Generator) -> None:
    q, v = floats(rng, 2, 5, 4), floats(rng, 2, 3, 4)
    y, weights = layers.Attention()([q, v], return_attention_scores=True)
    scores = np.exp(np.einsum("bqi,bki->bqk", q, v))
    assert_close(weights, scores / scores.sum(axis=-1, keepdims=True), 1e-6)
    assert_close(y, weights @ v, 1e-6)
    layer = layers.MultiHeadAttention(2, 3)
    assert layer(q, v).shape == layer(query=q, value=v).shape == (2, 5, 4)


def test_a_model_with_attention_learns_and_is_saved(rng: np.random.Generator, tmp_path: Any) -> None:
    x = layers.Input((8, 4))
    y = layers.Dense(1)(layers.Step(-1)(layers.MultiHeadAttention(2, 4, dropout=0.1)(x, x)))
    model = rekur.Model(x, y, seed=1)
    model.compile(rekur.optimizers.Adam(learning_rate=0.01), "mse")
    data = floats(rng, 64, 8, 4)
    target = data[:, 2, :1]
    history = model.fit(data, target, epochs=30, batch_size=16, verbose=0)
    assert history.history["loss"][-1] < 0.5 * history.history["loss"][0]
    model.save(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(rekur.load_model(tmp_path / "m.safetensors").predict(data), model.predict(data))


# Keras.

KERAS: list[tuple[str, tuple[Any, ...], dict[str, Any], dict[str, Any]]] = [
    *(
        ("Attention", (), settings, call)
        for settings in ({}, {"use_scale": True}, {"score_mode": "concat"}, {"score_mode": "concat", "use_scale": True})
        for call in ({}, {"use_causal_mask": True}, {"return_attention_scores": True})
    ),
    ("AdditiveAttention", (), {}, {"use_causal_mask": True, "return_attention_scores": True}),
    ("AdditiveAttention", (), {"use_scale": False}, {}),
    *(
        ("MultiHeadAttention", (3, 2), settings, call)
        for settings in ({}, {"use_bias": False}, {"sliding_window": 3}, {"output_shape": 6})
        for call in ({}, {"use_causal_mask": True}, {"use_causal_mask": True, "return_attention_scores": True})
    ),
    ("MultiHeadAttention", (3, 2), {"value_dim": 4, "output_shape": (6,)}, {"return_attention_scores": True}),
    ("GroupQueryAttention", (3, 4, 2), {}, {"use_causal_mask": True}),
]


@pytest.mark.parametrize(("name", "arguments", "settings", "call"), KERAS, ids=str)
def test_numbers_weights_and_their_order_are_keras(
    rng: np.random.Generator, name: str, arguments: Any, settings: Any, call: Any
) -> None:
    keras = pytest.importorskip("keras")
    heads = "Head" in name or "Group" in name

    def model(module: Any) -> Any:
        source = module.layers if module is rekur else module
        q, v = source.Input((7, 4)), source.Input((7, 4))
        layer = getattr(module.layers, name)(*arguments, **settings)
        y = layer(q, v, **call) if heads else layer([q, v], **call)
        return module.Model([q, v], list(y) if isinstance(y, (list, tuple)) else y)

    ours, theirs = model(rekur), model(keras)
    weights = [rng.standard_normal(w.shape).astype(np.float32) * 0.5 for w in theirs.get_weights()]
    assert [w.shape for w in ours.get_weights()] == [w.shape for w in weights]
    theirs.set_weights(weights)
    ours.set_weights(weights)
    data = [floats(rng, 3, 7, 4), floats(rng, 3, 7, 4)]
    found, expected = ours.predict(data), theirs.predict(data, verbose=0)
    if not isinstance(expected, (list, tuple)):
        found, expected = [found], [expected]
    for y, e in zip(found, expected, strict=True):
        assert_close(y, e, 3e-6)


def test_heads_that_are_too_large_are_refused_by_name() -> None:
    for bad in ({"num_heads": 2**40, "key_dim": 3}, {"num_heads": 2, "key_dim": 2**50}):
        with pytest.raises(ValueError, match="MultiHeadAttention 'y'"):
            _core.Model(json.dumps(spec_of({"type": "MultiHeadAttention", **bad})))


# Masks: steps that are none, wherever they stand.

QUERY = np.array([[1, 2, 3, 0, 0, 0], [0, 0, 4, 5, 6, 1], [2, 0, 3, 0, 4, 5], [0] * 6, [1, 2, 3, 4, 5, 6]])
VALUE = np.array([[0, 0, 1, 2, 3], [4, 5, 0, 0, 0], [1, 0, 2, 0, 3], [1, 2, 3, 4, 5], [0] * 5])
MASKED: list[tuple[str, dict[str, Any]]] = [
    ("Attention", {}),
    ("Attention", {"score_mode": "concat"}),
    ("AdditiveAttention", {}),
    ("MultiHeadAttention", {"num_heads": 2, "key_dim": 3}),
    ("MultiHeadAttention", {"num_heads": 2, "key_dim": 3, "dropout": 0.3}),
]


def masked_model(module: Any, name: str, settings: Any, call: Any, same: bool) -> Any:
    """Ids with 0 for what is none, attention, and a recurrent layer that gets the query's mask."""
    source = module.layers if module is rekur else module
    ids = [source.Input((6,), dtype="int32")] + ([] if same else [source.Input((5,), dtype="int32")])
    tensors = [module.layers.Embedding(9, 4, mask_zero=True)(x) for x in ids]
    layer, (q, v) = getattr(module.layers, name)(**settings), (tensors[0], tensors[-1])
    y = layer(q, v, **call) if "Head" in name else layer([q, v], **call)
    outputs = list(y) if isinstance(y, (list, tuple)) else [y]
    return module.Model(ids, [*outputs, module.layers.LSTM(3)(outputs[0])])


@pytest.mark.parametrize(("name", "settings"), MASKED, ids=str)
@pytest.mark.parametrize("call", [{}, {"use_causal_mask": True}, {"return_attention_scores": True}], ids=str)
@pytest.mark.parametrize("same", [False, True], ids=["another", "itself"])
def test_masks_give_keras_numbers_where_nothing_is_seen_too(
    rng: np.random.Generator, name: str, settings: Any, call: Any, same: bool
) -> None:
    """Padding before, behind and between, and rows without a step."""
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "jax" and name == "MultiHeadAttention":
        pytest.skip("what a query that sees nothing gets is the backend's")
    ours, theirs = masked_model(rekur, name, settings, call, same), masked_model(keras, name, settings, call, same)
    weights = [rng.standard_normal(w.shape).astype(np.float32) for w in theirs.get_weights()]
    theirs.set_weights(weights)
    ours.set_weights(weights)
    data = [QUERY] if same else [QUERY, VALUE]
    expected = theirs.predict([x.astype(np.int32) for x in data], verbose=0)
    for y, e in zip(ours.predict(data), expected, strict=True):
        assert_close(y, e, 5e-6)


@pytest.mark.parametrize(("name", "settings"), MASKED[:4], ids=str)
@pytest.mark.parametrize("call", [{}, {"use_causal_mask": True}, {"return_attention_scores": True}], ids=str)
def test_gradients_under_masks_are_the_slopes_of_what_predict_gives(
    rng: np.random.Generator, name: str, settings: Any, call: Any
) -> None:
    engine = Engine(masked_model(rekur, name, settings, call, False).spec)
    data = [QUERY.astype(np.int32), VALUE.astype(np.int32)]
    weights = {key: rng.standard_normal(w.shape).astype(np.float32) for key, w in engine.weights.items()}
    engine.weights = weights
    dy = [floats(rng, *y.shape) for y in engine.predict(data)]
    _, gradients, _ = engine.gradients(data, dy)

    def loss(moved: Any) -> float:
        engine.weights = moved
        return sum(float((y.astype(np.float64) * d).sum()) for y, d in zip(engine.predict(data), dy, strict=True))

    for key, gradient in gradients.items():
        direction = floats(rng, *gradient.shape)
        above, below = (loss({**weights, key: weights[key] + s * direction}) for s in (5e-3, -5e-3))
        along = float((gradient * direction).sum())
        assert abs((above - below) / 1e-2 - along) < 2e-2 * max(1, abs(along)), key


def test_what_is_masked_changes_nothing_to_the_bit(rng: np.random.Generator, isa: str) -> None:
    """Of rows of which every query sees something: as without the masked steps."""
    x = rekur.Input((None, 4))
    masked = layers.Masking(mask_value=7.0)(x)
    for layer in (layers.Attention(), layers.AdditiveAttention(), layers.MultiHeadAttention(2, 3)):
        model = rekur.Model(x, layer(masked, masked) if "Multi" in layer.type else layer([masked, masked]))
        data = floats(rng, 2, 150, 4)
        kept = np.sort(rng.permutation(150)[:140])
        padded = np.full_like(data, 7.0)
        padded[:, kept] = data[:, kept]
        np.testing.assert_array_equal(model.predict(padded)[:, kept], model.predict(data[:, kept].copy()))


@pytest.mark.parametrize("make", [layers.Attention, layers.AdditiveAttention, lambda: layers.MultiHeadAttention(2, 3)])
@pytest.mark.parametrize("causal", [False, True], ids=["all", "causal"])
def test_a_query_that_sees_nothing_gets_the_mean_of_all_values(
    rng: np.random.Generator, make: Any, causal: bool
) -> None:
    """Keras: scores of masked keys are all alike then, so what is masked counts."""
    q, v = rekur.Input((None, 4), name="q"), rekur.Input((None, 4), name="v")
    layer = make()
    call = {"use_causal_mask": causal}
    model = rekur.Model([q, v], layer(q, v, **call) if layer.type == "MultiHeadAttention" else layer([q, v], **call))
    queries, values = floats(rng, 2, 5, 4), floats(rng, 2, 5, 4)
    mask = np.array([[False] * 5, [False] * 3 + [True] * 2])
    found = model.predict([queries, values], mask={"v": mask})
    # Of values that are all alike every query gets that one.
    of_means = model.predict([queries, np.repeat(values.mean(axis=1, keepdims=True), 5, axis=1)])
    blind = np.array([[True] * 5, [causal and t < 3 for t in range(5)]])
    np.testing.assert_allclose(found[blind], of_means[blind], rtol=1e-4, atol=1e-5)
    assert not np.isclose(found[~blind], of_means[~blind], rtol=1e-3).all()


def test_rows_and_heads_drop_weights_each_for_itself(rng: np.random.Generator) -> None:
    """Equal rows, and equal heads that are subtracted: nothing would be left of equal dropout."""
    x = rekur.Input((6, 4))
    layer = layers.MultiHeadAttention(2, 3, dropout=0.5, use_bias=False)
    model = rekur.Model(x, layer(x, x))
    weights = model.get_weights()
    for w in weights[:3]:
        w[:, 1] = w[:, 0]
    weights[3][1] = -weights[3][0]
    model.set_weights(weights)
    data = np.repeat(floats(rng, 1, 6, 4), 2, axis=0)
    assert np.abs(model.predict(data)).max() < 1e-6
    (y,), _, _ = model.gradients(data, np.ones_like(data), seed=1)
    assert np.abs(y).max() > 1e-2
    assert not np.allclose(y[0], y[1])


@pytest.mark.parametrize("causal", [False, True], ids=["around", "causal"])
@pytest.mark.parametrize("window", [None, 3])
def test_causality_and_windows_count_places_under_a_mask(
    isa: str, rng: np.random.Generator, causal: bool, window: int | None
) -> None:
    x = rekur.Input((None, 4))
    kept = layers.Masking(mask_value=7.0)(x)
    y = layers.Attention(sliding_window=window)([kept, kept], use_causal_mask=causal)
    data, T = floats(rng, 3, 40, 4), 40
    there = rng.random((3, T)) < 0.6
    data[~there] = 7.0
    found = rekur.Model(x, y).predict(data)
    apart = np.arange(T)[:, None] - np.arange(T)
    sees = (apart >= 0 if causal else True) & (np.abs(apart) < (window or T)) & there[:, None]
    scores = np.where(sees, np.einsum("btd,bsd->bts", data, data, dtype=np.float64), -np.inf)
    for b, t in np.argwhere(there):
        weights = np.exp(scores[b, t] - scores[b, t].max())
        np.testing.assert_allclose(found[b, t], weights @ data[b] / weights.sum(), rtol=1e-4, atol=1e-5)
