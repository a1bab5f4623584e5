"""Regularizers and constraints: what they add to the loss, what weights are held to, and what they leave alone."""

from __future__ import annotations

import numpy as np
import pytest

import rekur
from harness import floats
from rekur import constraints, layers, optimizers, regularizers

REGULARIZERS = [
    regularizers.L1(0.1),
    regularizers.L2(0.2),
    regularizers.L1L2(0.1, 0.3),
    regularizers.OrthogonalRegularizer(0.5),
    regularizers.OrthogonalRegularizer(0.5, mode="columns"),
]


def dense(rng, **rules):
    x = rekur.Input((5,))
    layer = layers.Dense(4, **rules)
    model = rekur.Model(x, layer(x))
    model.compile(optimizers.SGD(1.0), "mse")
    return model, layer


@pytest.mark.parametrize("rule", REGULARIZERS)
def test_a_regularizer_adds_to_the_loss_and_its_gradient_to_the_step(rng, rule):
    import reference

    model, layer = dense(rng, kernel_regularizer=rule)
    plain, other = dense(rng)
    other.set_weights(layer.get_weights())
    x, y = floats(rng, 6, 5), floats(rng, 6, 4)
    kernel = layer.get_weights()[0]
    loss, without = model.train_on_batch(x, y), plain.train_on_batch(x, y)
    np.testing.assert_allclose(loss - without, rule(kernel), rtol=1e-4)
    moved = other.get_weights()[0] - layer.get_weights()[0]
    numeric = reference.numeric_gradient(lambda w: rule(w), kernel)
    np.testing.assert_allclose(moved, numeric, rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize("rule", REGULARIZERS)
def test_evaluate_and_the_history_of_fit_show_what_is_added(rng, rule):
    model, layer = dense(rng, kernel_regularizer=rule)
    x, y = floats(rng, 6, 5), floats(rng, 6, 4)
    error = np.mean(np.square(model.predict(x, verbose=0) - y))
    np.testing.assert_allclose(model.evaluate(x, y, verbose=0), error + rule(layer.get_weights()[0]), rtol=1e-5)
    expected = error + rule(layer.get_weights()[0])
    history = model.fit(x, y, batch_size=6, verbose=0).history
    np.testing.assert_allclose(history["loss"], [expected], rtol=1e-5)


CONSTRAINTS = [
    constraints.MaxNorm(0.5),
    constraints.MaxNorm(0.5, axis=1),
    constraints.NonNeg(),
    constraints.UnitNorm(),
    constraints.UnitNorm(axis=[0, 1]),
    constraints.MinMaxNorm(0.5, 0.8),
    constraints.MinMaxNorm(0.5, 0.8, rate=0.3, axis=1),
]


@pytest.mark.parametrize("rule", CONSTRAINTS)
def test_a_constraint_holds_behind_a_step(rng, rule):
    model, layer = dense(rng, kernel_constraint=rule)
    plain, other = dense(rng)
    other.set_weights(layer.get_weights())
    x, y = floats(rng, 6, 5), floats(rng, 6, 4)
    model.train_on_batch(x, y)
    plain.train_on_batch(x, y)
    np.testing.assert_allclose(layer.get_weights()[0], rule(other.get_weights()[0]), rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(layer.get_weights()[1], other.get_weights()[1])


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.LSTM(3, kernel_regularizer="l2", recurrent_regularizer="l1", bias_regularizer="l2"),
        lambda: layers.GRU(3, kernel_constraint="non_neg", recurrent_constraint="unit_norm"),
        lambda: layers.SimpleRNN(3, recurrent_regularizer=regularizers.L2(0.5)),
        lambda: layers.Bidirectional(layers.LSTM(3, kernel_regularizer="l2", bias_constraint="non_neg")),
        lambda: layers.LSTM(3, activity_regularizer="l2", kernel_regularizer="l1"),
    ],
)
def test_recurrent_layers_take_rules_and_keep_them_in_files(rng, make, tmp_path):
    x = rekur.Input((4, 2))
    layer = make()
    model = rekur.Model(x, layers.Dense(1)(layer(x)))
    model.compile("adam", "mse")
    data, y = floats(rng, 6, 4, 2), floats(rng, 6, 1)
    model.fit(data, y, verbose=0)
    model.save(tmp_path / "m.safetensors")
    again = rekur.load(tmp_path / "m.safetensors")
    assert again.evaluate(data, y, verbose=0) == model.evaluate(data, y, verbose=0)
    error = np.mean(np.square(model.predict(data, verbose=0) - y))
    added = model.evaluate(data, y, verbose=0) - error
    assert added > 1e-3 or "Constraint" in repr(layer) or isinstance(layer, layers.GRU)


def test_rules_of_both_directions_and_of_embeddings(rng):
    ids = rekur.Input((4,), dtype="int32")
    table = layers.Embedding(6, 3, embeddings_regularizer=regularizers.L2(0.5), embeddings_constraint="unit_norm")
    both = layers.Bidirectional(layers.GRU(2, kernel_regularizer=regularizers.L1(0.25)))
    model = rekur.Model(ids, both(table(ids)))
    model.compile(optimizers.SGD(0.1), "mse")
    x, y = rng.integers(0, 6, (5, 4)), floats(rng, 5, 4)
    e = table.get_weights()[0]
    kernels = [w for w in both.get_weights() if w.shape == (3, 6)]
    assert rekur.Model.from_spec(model.spec).spec == model.spec
    want = 0.5 * np.square(e).sum() + 0.25 * sum(np.abs(k).sum() for k in kernels)
    error = np.mean(np.square(model.predict(x, verbose=0) - y))
    np.testing.assert_allclose(model.train_on_batch(x, y), error + want, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(table.get_weights()[0], axis=0), 1, rtol=1e-5)


def test_what_a_layer_gives_is_regularized_by_the_batchs_mean(rng):
    x = rekur.Input((3, 5))
    model = rekur.Model(x, layers.Dense(4, activity_regularizer=regularizers.L1L2(0.1, 0.2))(x))
    model.compile(optimizers.SGD(0.0), "mse")
    data, y = floats(rng, 6, 3, 5), floats(rng, 6, 3, 4)
    out = model.predict(data, verbose=0)
    want = np.mean(np.square(out - y)) + (0.1 * np.abs(out).sum() + 0.2 * np.square(out).sum()) / 6
    np.testing.assert_allclose(model.evaluate(data, y, verbose=0), want, rtol=1e-5)
    np.testing.assert_allclose(model.train_on_batch(data, y), want, rtol=1e-5)


def test_a_regularized_output_that_no_loss_reads_still_learns(rng):
    x = rekur.Input((3,))
    first = layers.Dense(2, use_bias=False, activity_regularizer=regularizers.L2(0.5))
    y = first(x)
    model = rekur.Model(x, [layers.Dense(1)(x), y])
    model.compile(optimizers.SGD(1.0), ["mse", None])
    data, target = floats(rng, 4, 3), floats(rng, 4, 1)
    before = first.get_weights()[0]
    model.train_on_batch(data, [target, None])
    np.testing.assert_allclose(before - first.get_weights()[0], data.T @ (data @ before) / 4, rtol=1e-4, atol=1e-6)


def test_layers_that_are_not_trained_add_nothing_and_are_held_to_nothing(rng):
    model, layer = dense(rng, kernel_regularizer="l2", kernel_constraint="unit_norm")
    layer.trainable = False
    x, y = floats(rng, 6, 5), floats(rng, 6, 4)
    before = layer.get_weights()[0]
    error = np.mean(np.square(model.predict(x, verbose=0) - y))
    np.testing.assert_allclose(model.train_on_batch(x, y), error, rtol=1e-5)
    np.testing.assert_array_equal(layer.get_weights()[0], before)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_rules_give_the_same_bits_for_any_number_of_threads(threads):
    rng = np.random.default_rng(3)
    x, y = floats(rng, 16, 90), floats(rng, 16, 120)
    results = []
    for count in (1, threads):
        rekur.set_num_threads(count)
        try:
            entrance = rekur.Input((90,))
            layer = layers.Dense(
                120, kernel_regularizer="l1_l2", kernel_constraint="max_norm", activity_regularizer="l1"
            )
            model = rekur.Model(entrance, layer(entrance), seed=1)
            model.compile("adam", "mse")
            loss = [model.train_on_batch(x, y) for _ in range(3)]
            results.append((loss, model.get_weights()))
        finally:
            rekur.set_num_threads(2)
    assert results[0][0] == results[1][0]
    assert all(np.array_equal(a, b) for a, b in zip(results[0][1], results[1][1], strict=True))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: layers.Dense(3, kernel_regularizer="l3"),
            "Dense 'dense': kernel_regularizer: unknown regularizer 'l3'",
        ),
        (lambda: layers.Dense(3, kernel_regularizer=lambda w: 0.0), "functions of one's own"),
        (lambda: layers.Dense(3, bias_constraint="max"), "Dense 'dense': bias_constraint: unknown constraint 'max'"),
        (lambda: layers.Dense(3, activity_regularizer="orthogonal"), "activity_regularizer"),
        (lambda: layers.Activation("relu", kernel_regularizer="l2"), "kernel_regularizer"),
        (lambda: regularizers.L2(-1.0), "l2"),
        (lambda: regularizers.OrthogonalRegularizer(mode="both"), "mode"),
        (lambda: constraints.MinMaxNorm(2.0, 1.0), "above max_value"),
        (lambda: constraints.MaxNorm(2.0, maximum=1), "maximum"),
        (lambda: model_with(bias_regularizer=regularizers.OrthogonalRegularizer()), "a matrix"),
        (lambda: model_with(kernel_constraint=constraints.UnitNorm(axis=2)), "'axis' must be axes of the parameter"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def model_with(**rules):
    x = rekur.Input((3,))
    rekur.Model(x, layers.Dense(2, **rules)(x)).get_weights()


def test_get_takes_what_keras_takes():
    for name in ("l1", "l2", "l1_l2", "L1L2", "orthogonal_regularizer"):
        assert isinstance(regularizers.get(name), regularizers.Regularizer)
    assert regularizers.get(None) is None and constraints.get(None) is None
    assert regularizers.get("l1_l2").parameters == {"l1": 0.01, "l2": 0.01}
    assert regularizers.get({"class_name": "L2", "config": {"l2": 0.5}}).l2 == 0.5
    assert regularizers.l1_l2(0.1, 0.2).l2 == 0.2 and regularizers.L1L2().l1 == 0
    for name in ("max_norm", "non_neg", "unit_norm", "min_max_norm", "MaxNorm"):
        assert isinstance(constraints.get(name), constraints.Constraint)


def test_a_layer_called_twice_has_its_weights_regularized_once_and_both_of_its_outputs(rng):
    a, b = rekur.Input((5,)), rekur.Input((5,))
    layer = layers.Dense(4, kernel_regularizer=regularizers.L2(0.2), activity_regularizer=regularizers.L2(0.3))
    other = layers.Dense(4)
    model, plain = (rekur.Model([a, b], layers.add([f(a), f(b)])) for f in (layer, other))
    other.set_weights(layer.get_weights())
    for m in (model, plain):
        m.compile(optimizers.SGD(1.0), "mse")
    x, y = [floats(rng, 6, 5), floats(rng, 6, 5)], floats(rng, 6, 4)
    kernel = layer.get_weights()[0]
    outputs = [v @ kernel for v in x]
    loss, without = model.train_on_batch(x, y), plain.train_on_batch(x, y)
    want = 0.2 * np.square(kernel).sum() + 0.3 / 6 * sum(np.square(v).sum() for v in outputs)
    np.testing.assert_allclose(loss - without, want, rtol=1e-4)
    moved = other.get_weights()[0] - layer.get_weights()[0]
    want = 0.4 * kernel + 0.6 / 6 * sum(v.T @ out for v, out in zip(x, outputs, strict=True))
    np.testing.assert_allclose(moved, want, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("room", ["regularizers", "constraints"])
def test_rules_of_ones_own_are_refused_with_what_to_do(room):
    base = {"regularizers": regularizers.Regularizer, "constraints": constraints.Constraint}[room]
    with pytest.raises(TypeError, match=f"class Own: {room} of one's own are not here yet"):
        type("Own", (base,), {"__call__": lambda self, w: w, "__module__": "mine"})
