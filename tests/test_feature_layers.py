"""Layers that act on features: against Keras's equations in float64, their training, files, streams and ONNX."""

from __future__ import annotations

import numpy as np
import pytest

import rekur
from harness import Engine, assert_gradients, floats, input_layer, model_spec
from rekur import layers


def model_of(make, *shapes):
    inputs = [rekur.Input(shape) for shape in shapes]
    return rekur.Model(inputs, make(inputs if len(inputs) > 1 else inputs[0]))


def predict(make, *arrays):
    model = model_of(make, *(x.shape[1:] for x in arrays))
    return model.predict(list(arrays) if len(arrays) > 1 else arrays[0], verbose=0)


POINTWISE = [
    (lambda: layers.ReLU(), lambda x: np.maximum(x, 0)),
    (lambda: layers.ReLU(1.0), lambda x: np.clip(x, 0, 1)),
    (lambda: layers.ReLU(1.5, 0.1, 0.5), lambda x: np.where(x >= 0.5, np.minimum(x, 1.5), 0.1 * (x - 0.5))),
    (lambda: layers.ReLU(negative_slope=0.2), lambda x: np.where(x > 0, x, 0.2 * x)),
    (lambda: layers.LeakyReLU(), lambda x: np.where(x > 0, x, 0.3 * x)),
    (lambda: layers.LeakyReLU(alpha=0.1), lambda x: np.where(x > 0, x, 0.1 * x)),
    (lambda: layers.ELU(0.5), lambda x: np.where(x > 0, x, 0.5 * np.expm1(x))),
    (lambda: layers.Softmax(), lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True)),
    (lambda: layers.Identity(), lambda x: x),
    (lambda: layers.UnitNormalization(), lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True)),
    (lambda: layers.RMSNormalization(), lambda x: x / np.sqrt(np.square(x).mean(-1, keepdims=True) + 1e-6)),
]


@pytest.mark.parametrize(("make", "want"), POINTWISE)
@pytest.mark.parametrize("shape", [(4, 5), (3, 6, 5)])
def test_a_layer_of_keras_name_has_its_equation(rng, make, want, shape):
    x = floats(rng, *shape)
    y = predict(lambda t: make()(t), x)
    np.testing.assert_allclose(y, want(x.astype(np.float64)), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(
    ("make", "want"),
    [
        (layers.Maximum, lambda a: np.maximum.reduce(a)),
        (layers.Minimum, lambda a: np.minimum.reduce(a)),
        (layers.Average, lambda a: np.mean(a, axis=0)),
    ],
)
@pytest.mark.parametrize("count", [2, 3, 5])
def test_extremes_and_means_of_any_number_of_inputs(rng, make, want, count):
    arrays = [floats(rng, 3, 4, 5) for _ in range(count)]
    np.testing.assert_allclose(predict(lambda t: make()(t), *arrays), want(arrays), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("make", "want"),
    [
        (layers.Add, np.add), (layers.Multiply, np.multiply), (layers.Subtract, np.subtract),
        (layers.Divide, np.divide), (layers.Maximum, np.maximum), (layers.Minimum, np.minimum),
    ],
)  # fmt: skip
def test_an_input_of_one_feature_goes_with_all_of_the_other(rng, make, want):
    a, b = floats(rng, 3, 4, 5), floats(rng, 3, 4, 1) + 3
    np.testing.assert_allclose(predict(lambda t: make()(t), a, b), want(a, b), rtol=1e-5)
    np.testing.assert_allclose(predict(lambda t: make()(t), b, a), want(b, a), rtol=1e-5)


DOTS = [
    ((3, 4), (3, 4), 1, "bk,bk->b"),
    ((3, 4, 5), (3, 6, 5), 2, "bik,bjk->bij"),
    ((3, 4, 6), (3, 6, 5), (2, 1), "bik,bkj->bij"),
    ((3, 4, 6), (3, 4, 5), 1, "bki,bkj->bij"),
    ((3, 4, 5), (3, 5), (2, 1), "bik,bk->bi"),
    ((3, 5), (3, 5, 4), (1, 1), "bk,bkj->bj"),
    ((3, 4, 5), (3, 6, 5), -1, "bik,bjk->bij"),
]


@pytest.mark.parametrize(("a", "b", "axes", "equation"), DOTS)
def test_dot_sums_along_an_axis_of_each(rng, a, b, axes, equation):
    x, y = floats(rng, *a), floats(rng, *b)
    want = np.einsum(equation, x.astype(np.float64), y)
    want = want[:, None] if want.ndim == 1 else want
    np.testing.assert_allclose(predict(lambda t: layers.Dot(axes)(t), x, y), want, rtol=1e-4, atol=1e-5)


def test_dot_of_normalized_rows_is_their_cosine(rng):
    x, y = floats(rng, 5, 7), floats(rng, 5, 7)
    want = (x * y).sum(-1, keepdims=True) / np.linalg.norm(x, axis=-1)[:, None] / np.linalg.norm(y, axis=-1)[:, None]
    np.testing.assert_allclose(predict(lambda t: layers.dot(t, 1, normalize=True), x, y), want, rtol=1e-4, atol=1e-6)


def check(rng, layer, shapes, lengths=None, tolerance=2e-3):
    names = [f"in{k}" for k in range(len(shapes))]
    spec = model_spec(
        [*(input_layer(n, *s) for n, s in zip(names, shapes, strict=True)), {**layer, "name": "y", "inputs": names}],
        ["y"],
    )
    assert_gradients(spec, tolerance, batch=lambda r: ([floats(r, 4, *s) for s in shapes], lengths), seed=3)


GRADIENTS = [
    ({"type": "PReLU", "alpha_initializer": "uniform"}, [(3, 5)]),
    ({"type": "PReLU", "shared_axes": [1]}, [(3, 5)]),
    ({"type": "PReLU", "shared_axes": [1, 2]}, [(3, 5)]),
    ({"type": "PReLU", "shared_axes": [2]}, [(3, 5)]),
    ({"type": "PReLU"}, [(17,)]),
    ({"type": "Affine", "center": False}, [(3, 5)]),
    ({"type": "Dot", "axes": [1, 1]}, [(5,), (5,)]),
    ({"type": "Dot", "axes": [2, 2]}, [(3, 5), (4, 5)]),
    ({"type": "Dot", "axes": [2, 1]}, [(3, 4), (4, 17)]),
    ({"type": "Dot", "axes": [1, 2]}, [(4, 3), (2, 4)]),
    ({"type": "Dot", "axes": [1, 1]}, [(4, 3), (4, 2)]),
    ({"type": "Dot", "axes": [2, 1]}, [(4, 3), (3,)]),
    ({"type": "Concatenate", "axis": 1}, [(4, 3), (2, 3)]),
    ({"type": "ActivityRegularization", "l1": 1.0, "l2": 1.0}, [(4, 3)]),
]


@pytest.mark.parametrize(("layer", "shapes"), GRADIENTS)
def test_gradients_are_those_of_central_differences(rng, layer, shapes):
    check(rng, layer, shapes)


def test_activity_beyond_a_rows_length_costs_nothing(rng):
    x = rekur.Input((None, 2))
    model = rekur.Model(x, layers.Dense(1)(layers.ActivityRegularization(0.5, 0.25)(layers.Dense(2)(x))))
    model.compile("sgd", "mse")
    data, target, weights = floats(rng, 3, 4, 2), np.zeros((3, 4, 1), np.float32), model.get_weights()
    found = []
    for beyond in (0.0, 100.0):
        data[1, 2:] = data[2] = beyond
        model.set_weights(weights)
        before = model.evaluate(data, target, lengths=[4, 2, 0])
        found.append([before, model.train_on_batch(data, target, lengths=[4, 2, 0]), *model.get_weights()])
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_dot_along_time_ends_at_a_rows_length(rng):
    lengths = [np.array([4, 0, 2, 3], np.int32)] * 2
    check(rng, {"type": "Dot", "axes": [1, 1]}, [(4, 3), (4, 2)], lengths)


def test_steps_of_joined_sequences_keep_what_is_padding(rng):
    """Keras concatenates masks: each part's padding stays none of the output's steps."""
    a, b = rekur.Input((4, 3)), rekur.Input((3, 3))
    norm = layers.BatchNormalization(momentum=0.0)
    model = rekur.Model([a, b], norm(layers.Concatenate(1)([a, b])))
    model.compile("sgd", "mse")
    x, y = floats(rng, 3, 4, 3), floats(rng, 3, 3, 3)
    lengths = {a.name: np.array([4, 2, 1]), b.name: np.array([1, 3, 2])}
    valid = [np.arange(t.shape[1]) < lengths[s.name][:, None] for s, t in ((a, x), (b, y))]
    model.train_on_batch([x, y], np.zeros((3, 7, 3)), lengths=lengths)
    want = np.concatenate([x[valid[0]], y[valid[1]]])
    np.testing.assert_allclose(norm.get_weights()[2], want.mean(0), rtol=1e-5, atol=1e-6)
    model.train_on_batch([x, y], np.zeros((3, 7, 3)))
    np.testing.assert_allclose(norm.get_weights()[2], np.concatenate([x, y], 1).mean((0, 1)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("axis", [1, 2, -2, -1])
def test_concatenate_of_any_axis(rng, axis):
    shapes = {1: [(4, 3), (2, 3)], -2: [(4, 3), (2, 3)]}.get(axis, [(4, 3), (4, 2)])
    arrays = [floats(rng, 5, *s) for s in shapes]
    np.testing.assert_array_equal(predict(lambda t: layers.Concatenate(axis)(t), *arrays), np.concatenate(arrays, axis))


class TestBatchNormalization:
    def model(self, shape=(6, 3), **options):
        x = rekur.Input(shape)
        layer = layers.BatchNormalization(**options)
        model = rekur.Model(x, layer(x))
        model.compile("sgd", "mse")
        return model, layer

    def test_a_step_moves_the_running_statistics_as_keras_does(self, rng):
        model, layer = self.model(momentum=0.9)
        x = floats(rng, 8, 6, 3) * 3 + 2
        model.train_on_batch(x, x)
        mean, variance = layer.get_weights()[2:]
        np.testing.assert_allclose(mean, 0.1 * x.mean((0, 1)), rtol=1e-5)
        np.testing.assert_allclose(variance, 0.9 + 0.1 * x.var((0, 1)), rtol=1e-5)

    def test_only_valid_steps_count(self, rng):
        model, layer = self.model(momentum=0.0)
        x = floats(rng, 4, 6, 3)
        lengths = np.array([6, 2, 0, 3])
        valid = np.arange(6) < lengths[:, None]
        x[~valid] = 1e3
        model.train_on_batch(x, x, lengths=lengths)
        mean, variance = layer.get_weights()[2:]
        np.testing.assert_allclose(mean, x[valid].mean(0), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(variance, x[valid].var(0), rtol=1e-4)

    @pytest.mark.parametrize("lengths", [None, [6, 2, 0, 3]])
    @pytest.mark.parametrize("shape", [(6, 3), (6, 2, 3), (70,)])
    def test_gradients_go_through_the_batchs_statistics(self, rng, shape, lengths):
        if lengths is not None and len(shape) < 2:
            return
        layer = {"type": "BatchNormalization", "name": "y", "inputs": ["x"], "epsilon": 1e-2}
        engine = Engine(model_spec([input_layer("x", *shape), layer], ["y"]))
        x, dy = floats(rng, 4, *shape), floats(rng, 4, *shape)
        n = None if lengths is None else [np.array(lengths, np.int32)]
        weights = engine.weights
        valid = np.ones(x.shape[:-1], bool)
        if lengths is not None:
            valid &= (np.arange(6) < np.array(lengths)[:, None]).reshape(4, 6, *[1] * (len(shape) - 2))

        def total(x, gamma=weights["y/gamma"]):
            mean, variance = x[valid].mean(0), x[valid].var(0)
            return np.sum(dy * ((x - mean) / np.sqrt(variance + 1e-2) * gamma + weights["y/beta"]))

        import reference

        _, d_weights, (dx,) = engine.gradients([x], [dy], n)
        np.testing.assert_allclose(dx, reference.numeric_gradient(total, x), rtol=2e-3, atol=2e-4)
        numeric = reference.numeric_gradient(lambda g: total(x.astype(np.float64), g), weights["y/gamma"])
        np.testing.assert_allclose(d_weights["y/gamma"], numeric, rtol=1e-3, atol=1e-4)
        assert not d_weights["y/moving_mean"].any() and not d_weights["y/moving_variance"].any()

    def test_frozen_it_uses_and_keeps_the_running_statistics(self, rng):
        model, layer = self.model()
        layer.set_weights([np.ones(3), np.zeros(3), [1, 2, 3], [4, 5, 6]])
        layer.trainable = False
        x = floats(rng, 4, 6, 3)
        before = layer.get_weights()
        loss = model.train_on_batch(x, np.zeros_like(x))
        np.testing.assert_allclose(
            loss, np.mean(np.square((x - [1, 2, 3]) / np.sqrt(np.array([4, 5, 6]) + 1e-3))), 1e-5
        )
        for a, b in zip(before, layer.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_a_step_that_fails_moves_nothing(self, rng):
        x = rekur.Input((3,))
        model = rekur.Model(x, layers.Dense(2, activation="softmax")(layers.BatchNormalization()(x)))
        model.compile("adam", "sparse_categorical_crossentropy")
        model.train_on_batch(floats(rng, 4, 3), np.array([0, 1, 0, 1]))
        before = model.get_weights()
        with pytest.raises(ValueError):
            model.train_on_batch(floats(rng, 4, 3), np.array([0, 7, 0, 1]))
        for a, b in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_outside_a_trainer_nothing_moves(self, rng):
        model, layer = self.model()
        x = floats(rng, 4, 6, 3)
        before = layer.get_weights()
        model.gradients(x, np.ones_like(x))
        model.evaluate(x, x, verbose=0)
        for a, b in zip(before, layer.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_each_call_of_a_shared_layer_moves_them_in_turn(self, rng):
        a, b = rekur.Input((3,)), rekur.Input((3,))
        layer = layers.BatchNormalization(momentum=0.5)
        model = rekur.Model([a, b], layers.Add()([layer(a), layer(b)]))
        model.compile("sgd", "mse")
        x, y = floats(rng, 6, 3), floats(rng, 6, 3) + 4
        model.train_on_batch([x, y], x)
        np.testing.assert_allclose(layer.get_weights()[2], 0.5 * (0.5 * x.mean(0)) + 0.5 * y.mean(0), rtol=1e-5)

    def test_the_same_bits_for_any_number_of_threads(self, rng):
        results = []
        x = floats(rng, 64, 30, 130)
        for threads in (1, 2, 3):
            rekur.set_num_threads(threads)
            try:
                model, _ = self.model((30, 130))
                model.fit(x, x, epochs=1, batch_size=32, shuffle=False, verbose=0)
                results.append(model.get_weights())
            finally:
                rekur.set_num_threads(2)
        for other in results[1:]:
            for a, b in zip(results[0], other, strict=True):
                np.testing.assert_array_equal(a, b)

    def test_it_survives_its_file_and_goes_on_training(self, rng, tmp_path):
        model, _ = self.model()
        x = floats(rng, 8, 6, 3)
        model.fit(x, x, verbose=0)
        model.save(tmp_path / "m.safetensors")
        again = rekur.load(tmp_path / "m.safetensors")
        for m in (model, again):
            m.fit(x, x, verbose=0, shuffle=False)
        for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def noisy(layer, x):
    """What a training pass makes of x: the gradient of y's sum says the rest."""
    t = rekur.Input(x.shape[1:])
    model = rekur.Model(t, layer(t))
    (y,), _, (dx,) = model.gradients(x, np.ones_like(x))
    return y, dx, model


def test_spatial_dropout_drops_a_feature_of_a_row_for_all_steps(rng):
    x = np.ones((20, 6, 10), np.float32)
    y, dx, model = noisy(layers.SpatialDropout1D(0.5), x)
    np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1], y.shape))
    assert set(np.unique(y)) == {0.0, 2.0} and 0.3 < (y == 0).mean() < 0.7
    np.testing.assert_array_equal(dx, y)
    np.testing.assert_array_equal(model.predict(x, verbose=0), x)


def test_noise_has_the_moments_of_its_name(rng):
    x = np.full((50, 20, 10), 2.0, np.float32)
    y, dx, model = noisy(layers.GaussianNoise(0.5), x)
    assert abs((y - x).mean()) < 0.02 and abs((y - x).std() - 0.5) < 0.02
    np.testing.assert_array_equal(dx, np.ones_like(x))
    y, dx, _ = noisy(layers.GaussianDropout(0.2), x)
    assert abs((y / x).mean() - 1) < 0.02 and abs((y / x).std() - 0.5) < 0.02
    np.testing.assert_allclose(dx, y / x, rtol=1e-6)
    normal = rng.standard_normal((50, 20, 10)).astype(np.float32)
    y, dx, _ = noisy(layers.AlphaDropout(0.3), normal)
    assert abs(y.mean()) < 0.05 and abs(y.var() - 1) < 0.08
    assert abs((dx == 0).mean() - 0.3) < 0.03
    np.testing.assert_array_equal(model.predict(x, verbose=0), x)


ONNX = [
    lambda x: layers.BatchNormalization()(x),
    lambda x: layers.BatchNormalization(scale=False)(layers.LSTM(3, return_sequences=True)(x)),
    lambda x: layers.BatchNormalization(center=False)(layers.LSTM(3)(x)),
    lambda x: layers.PReLU("uniform")(x),
    lambda x: layers.PReLU("uniform", shared_axes=1)(layers.GRU(3, return_sequences=True)(x)),
    lambda x: layers.PReLU("uniform", shared_axes=[1, 2])(x),
    lambda x: layers.PReLU("uniform")(layers.LSTM(3)(x)),
    lambda x: layers.Maximum()([x, layers.Dense(5)(x)]),
    lambda x: layers.Minimum()([x, layers.Dense(1)(x)]),
    lambda x: layers.Average()([x, layers.Dense(5)(x), x]),
    lambda x: layers.Dot(2)([x, layers.Dense(5)(x)]),
    lambda x: layers.Dot((2, 1))([layers.Dot(2)([x, x]), x]),
    lambda x: layers.Dot(1)([x, x]),
    lambda x: layers.Dot(1)([layers.LSTM(3)(x), layers.GRU(3)(x)]),
    lambda x: layers.Dot((2, 1))([layers.LSTM(3, return_sequences=True)(x), layers.GRU(3)(x)]),
    lambda x: layers.LSTM(3)(layers.Concatenate(1)([x, layers.Dense(5)(x)])),
    lambda x: layers.SpatialDropout1D(0.5)(layers.GaussianNoise(0.5)(x)),
    lambda x: layers.ActivityRegularization(0.1)(x),
    lambda x: layers.ReLU(1.0, 0.1, 0.2)(x),
    lambda x: layers.LeakyReLU()(x),
    lambda x: layers.ELU()(x),
    lambda x: layers.RMSNormalization()(x),
    lambda x: layers.UnitNormalization()(x),
    lambda x: layers.Multiply()([x, layers.Dense(1)(x)]),
]


@pytest.mark.parametrize("make", ONNX)
def test_an_onnx_file_gives_the_same_numbers(rng, make, tmp_path):
    pytest.importorskip("onnxruntime")
    x = rekur.Input((6, 5))
    model = rekur.Model(x, make(x))
    model.set_weights([np.abs(w) + 0.1 if w.ndim == 1 else w for w in model.get_weights()])
    rekur.onnx.export(model, tmp_path / "m.onnx")
    rekur.onnx.verify(model, tmp_path / "m.onnx")


def test_files_of_layers_under_keras_names_come_back_as_they_were(rng, tmp_path):
    x = rekur.Input((6, 5))
    y = layers.RMSNormalization(name="norm")(layers.LeakyReLU(0.1, name="leaky")(x))
    model = rekur.Model(x, layers.Maximum(name="most")([x, y]))
    model.save(tmp_path / "m.safetensors")
    again = rekur.load(tmp_path / "m.safetensors")
    assert [type(layer).__name__ for layer in again.layers] == [type(layer).__name__ for layer in model.layers]
    assert again.get_layer("leaky").negative_slope == 0.1
    data = floats(rng, 2, 6, 5)
    np.testing.assert_array_equal(model.predict(data, verbose=0), again.predict(data, verbose=0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: layers.ReLU(max_value=-1.0), "max_value"),
        (lambda x: layers.Softmax(axis=1)(x), "axis must be the last one"),
        (lambda x: layers.BatchNormalization(axis=1)(x), "axis must be the last one"),
        (lambda x: layers.BatchNormalization(momentum=2), "momentum"),
        (lambda x: layers.Dot(3)([x, x]), "axes"),
        (lambda x: layers.Dot(0)([x, x]), "axes"),
        (lambda x: layers.Dot(1, normalize=True)([x, x]), "last axis"),
        (lambda x: layers.Dot((1, 2))([x, x]), "one length"),
        (lambda x: layers.Maximum()([x]), "at least 2"),
        (lambda x: layers.GaussianNoise(2.0), "stddev"),
        (lambda x: layers.ActivityRegularization(-1.0), "l1"),
        (lambda x: layers.Concatenate(5)([x, x]), "axis"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make(rekur.Input((6, 5)))


@pytest.mark.parametrize("layer", [layers.Softmax(), layers.ReLU(), layers.Identity(), layers.RMSNormalization()])
def test_layers_of_one_input_refuse_two(layer):
    with pytest.raises(ValueError, match="expected 1 input, got 2"):
        layer([rekur.Input((3,)), rekur.Input((3,))])


def test_the_shape_of_an_output_of_several_inputs():
    assert layers.Concatenate().compute_output_shape([(None, 5, 3), (None, 5, 4)]) == (None, 5, 7)


def test_gradients_go_through_a_frozen_normalization_as_through_a_line(rng):
    x = rekur.Input((5,))
    first, layer = layers.Dense(3, use_bias=False), layers.BatchNormalization()
    model = rekur.Model(x, layer(first(x)))
    gamma, mean, variance = np.array([1, 2, 3]), np.array([1, 2, 3]), np.array([4, 5, 6])
    layer.set_weights([gamma, np.zeros(3), mean, variance])
    layer.trainable = False
    model.compile(rekur.optimizers.SGD(1.0), "mse")
    data, y, kernel = floats(rng, 4, 5), floats(rng, 4, 3), first.get_weights()[0]
    slope = gamma / np.sqrt(variance + 1e-3)
    dy = 2 * ((data @ kernel - mean) * slope - y) / y.size
    model.train_on_batch(data, y)
    np.testing.assert_allclose(kernel - first.get_weights()[0], data.T @ (dy * slope), rtol=1e-4, atol=1e-5)


def test_weight_decay_leaves_running_statistics_alone(rng):
    x = rekur.Input((3,))
    layer = layers.BatchNormalization(momentum=1.0)
    model = rekur.Model(x, layer(x))
    layer.set_weights([np.ones(3), np.ones(3), [1, 2, 3], [4, 5, 6]])
    model.compile(rekur.optimizers.AdamW(0.1, weight_decay=0.5), "mse")
    data = floats(rng, 4, 3)
    model.train_on_batch(data, data)
    gamma, _, mean, variance = layer.get_weights()
    assert not np.array_equal(gamma, np.ones(3))
    np.testing.assert_array_equal(mean, [1, 2, 3])
    np.testing.assert_array_equal(variance, [4, 5, 6])


@pytest.mark.parametrize("axes", [(2, 1), (1, 2)])
def test_dot_ends_at_the_length_of_the_input_whose_time_it_sums(rng, axes):
    """Weights times values, where only the values' steps are summed."""
    weights, values = rekur.Input((4, 5), name="w"), rekur.Input((5, 3), name="v")
    inputs = [weights, values] if axes == (2, 1) else [values, weights]
    model = rekur.Model([weights, values], layers.Dot(axes)(inputs))
    w, v, lengths = floats(rng, 3, 4, 5), floats(rng, 3, 5, 3), np.array([5, 2, 0])
    found = model.predict([w, v], lengths={"v": lengths}, verbose=0)
    want = np.stack([w[b, :, :n] @ v[b, :n] for b, n in enumerate(lengths)])
    np.testing.assert_allclose(found, want if axes == (2, 1) else want.transpose(0, 2, 1), rtol=1e-5, atol=1e-6)


def test_nan_in_padding_stays_out_of_a_normalization_of_batches(rng):
    x = rng.normal(size=(3, 4, 2)).astype(np.float32)
    lengths = [4, 2, 3]
    model = rekur.Sequential([layers.Input((None, 2)), layers.BatchNormalization()], seed=1)
    r = rng.normal(size=x.shape).astype(np.float32)
    r[np.arange(4) >= np.array(lengths)[:, None]] = 0
    _, clean, (dx,) = model.gradients(x, r, lengths=lengths)
    there = np.arange(4) < np.array(lengths)[:, None]
    broken = np.where(there[..., None], x, np.nan).astype(np.float32)
    _, weights, (again,) = model.gradients(broken, r, lengths=lengths)
    np.testing.assert_array_equal(again[there], dx[there])
    for name, gradient in clean.items():
        np.testing.assert_array_equal(weights[name], gradient)


def test_gradients_follow_what_is_trainable_now(rng):
    model = rekur.Sequential([layers.Input((3,)), layers.Dense(2), layers.Dense(1)], seed=1)
    x = rng.normal(size=(4, 3)).astype(np.float32)
    model.layers[0].trainable = False
    _, by_name, _ = model.gradients(x, np.ones((4, 1), np.float32))
    assert not by_name["dense/kernel"].any() and by_name["dense_1/kernel"].any()
