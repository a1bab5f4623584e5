"""Losses of one's own: recorded equations against float64, in every setting that a built-in loss has."""

import copy
import json
import math
import pickle

import numpy as np
import pytest

import rekur
from rekur import Sequential, layers, losses, ops
from rekur._losses.equations import trace_loss, values_of

SIZES = (1, 2, 3, 5, 7, 17, 33)


def own_mse(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def own_mae(y_true, y_pred):
    return ops.mean(ops.abs(y_true - y_pred), axis=-1)


def own_huber(y_true, y_pred):
    e = ops.abs(y_true - y_pred)
    return ops.where(e <= 1.0, 0.5 * e * e, e - 0.5)  # one a feature: the mean is taken


def own_bce(y_true, y_pred):
    return ops.mean(ops.maximum(y_pred, 0.0) - y_pred * y_true + ops.log1p(ops.exp(-ops.abs(y_pred))), axis=-1)


def own_log_cosh(y_true, y_pred):
    e = y_pred - y_true
    return ops.mean(e + ops.softplus(-2.0 * e) - math.log(2.0), axis=-1)


def gaussian_nll(y_true, y_pred):
    m, log_v = y_pred[..., :1], y_pred[..., 1:]
    return 0.5 * (log_v + ops.square(y_true - m) * ops.exp(-log_v))


def quantiles(y_true, y_pred):
    q = np.array([0.1, 0.5, 0.9])
    e = y_true - y_pred
    return ops.mean(ops.maximum(q * e, (q - 1.0) * e), axis=-1)


def focal(y_true, y_pred):
    log_p = ops.sum(ops.one_hot(y_true, 3) * ops.log_softmax(y_pred), axis=-1)
    return -ops.square(1.0 - ops.exp(log_p)) * log_p


def cosine(y_true, y_pred):
    a, b = (v * ops.rsqrt(ops.sum(v * v, axis=-1) + 1e-6) for v in (y_true, y_pred))
    return 1.0 - ops.sum(a * b, axis=-1)


def worst(y_true, y_pred):
    return ops.max(ops.abs(y_true - y_pred), axis=-1) + 0.1 * ops.logsumexp(y_pred, axis=-1)


def _inputs(rng, function, rows, features):
    """(y_true, y_pred) that suit a loss."""
    if function is gaussian_nll:
        return rng.normal(size=(*rows, 1)), rng.normal(size=(*rows, 2))
    if function is quantiles:
        return rng.normal(size=(*rows, 1)), rng.normal(size=(*rows, 3))
    if function is focal:
        return rng.integers(0, 3, size=(*rows, 1)), rng.normal(size=(*rows, 3))
    return rng.normal(size=(*rows, features)), rng.normal(size=(*rows, features)) * 2


OWN = (own_mse, own_mae, own_huber, own_bce, own_log_cosh, gaussian_nll, quantiles, focal, cosine, worst)
BUILT_IN = (
    (own_mse, "mse"),
    (own_mae, "mae"),
    (own_huber, "huber"),
    (own_bce, losses.BinaryCrossentropy(from_logits=True)),
)


def _through(features, loss, time=None, seed=0):
    """A model that gives its input, with weights that a gradient reaches: one of sgd is the loss's own."""
    shape = (features,) if time is None else (time, features)
    model = Sequential([layers.Affine(input_shape=shape)], seed=seed)
    model.compile(rekur.optimizers.SGD(1.0), loss)
    return model


def _reference(function, y_true, y_pred, weight=None, valid=None):
    """The mean in float64, and its gradient with respect to the model's beta: what sgd subtracts."""
    config = trace_loss(function, "reference", (None,) * (y_pred.ndim - 1) + y_pred.shape[-1:])
    w = np.ones(y_pred.shape[:-1]) if weight is None else np.broadcast_to(weight, y_pred.shape[:-1])
    valid = np.ones(y_pred.shape[:-1], bool) if valid is None else valid
    w = np.where(valid, w, 0.0)
    count = valid.sum()

    def total(x):
        return np.sum(w * values_of(config, y_true, x)) / count

    step, gradient = 1e-6, np.zeros(y_pred.shape[-1])
    for f in range(len(gradient)):
        direction = np.zeros_like(y_pred)
        direction[..., f] = step
        gradient[f] = (total(y_pred + direction) - total(y_pred - direction)) / (2 * step)
    return total(y_pred), gradient


def _rank(y):
    return np.asarray(y, np.float32).astype(np.float64)


@pytest.mark.parametrize("features", SIZES)
@pytest.mark.parametrize("function", OWN, ids=lambda f: f.__name__)
def test_value_and_gradient_are_those_of_float64(function, features, isa):
    rng = np.random.default_rng(features)
    rows = max(1, 40 // features) * 3 + features % 3
    y_true, y_pred = _inputs(rng, function, (rows,), features)
    y_pred = _rank(y_pred)
    model = _through(y_pred.shape[-1], function)
    expected, gradient = _reference(function, _rank(y_true), y_pred)
    assert model.evaluate(y_pred, y_true) == pytest.approx(expected, rel=3e-6, abs=1e-7)
    model.train_on_batch(y_pred, y_true)
    np.testing.assert_allclose(-model.get_weights()[1], gradient, rtol=3e-4, atol=3e-6)


@pytest.mark.parametrize("features", (1, 3, 7))
@pytest.mark.parametrize("function", OWN, ids=lambda f: f.__name__)
def test_weights_and_lengths_count_as_for_a_built_in_loss(function, features):
    rng = np.random.default_rng(features)
    y_true, y_pred = _inputs(rng, function, (9, 5), features)
    y_pred = _rank(y_pred)
    lengths = np.array([5, 0, 1, 3, 5, 2, 4, 5, 1])
    valid = np.arange(5) < lengths[:, None]
    for weight in (rng.uniform(size=9), rng.uniform(size=(9, 5)) * (rng.uniform(size=(9, 5)) > 0.4)):
        w = weight if weight.ndim == 2 else weight[:, None]
        expected, gradient = _reference(function, _rank(y_true), y_pred, w, valid)
        options = {"sample_weight": weight, "lengths": lengths}
        model = _through(y_pred.shape[-1], function, 5)
        assert model.evaluate(y_pred, y_true, **options) == pytest.approx(expected, rel=3e-6)
        model.train_on_batch(y_pred, y_true, **options)
        np.testing.assert_allclose(-model.get_weights()[1], gradient, rtol=3e-4, atol=3e-6)
        # What is padding or has weight 0 is not there.
        spoilt, there = np.array(y_true, np.float64), valid & (np.broadcast_to(w, valid.shape) != 0)
        spoilt[~there] = np.nan
        again = _through(y_pred.shape[-1], function, 5)
        again.train_on_batch(y_pred, spoilt, **options)
        np.testing.assert_array_equal(again.get_weights()[1], model.get_weights()[1])


@pytest.mark.parametrize(("own", "built_in"), BUILT_IN, ids=lambda v: getattr(v, "__name__", "built_in"))
@pytest.mark.parametrize("features", SIZES)
def test_a_built_in_loss_rewritten_agrees(own, built_in, features):
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(23, 6, 4)), rng.uniform(size=(23, 6, features))
    found = []
    for loss in (own, built_in):
        model = Sequential([layers.LSTM(5, return_sequences=True, input_shape=(6, 4)), layers.Dense(features)], seed=3)
        model.compile(rekur.optimizers.SGD(0.1), loss)
        first = model.evaluate(x, y, lengths=np.arange(23) % 7)
        history = model.fit(x, y, epochs=3, verbose=0, lengths=np.arange(23) % 7).history["loss"]
        found.append((first, history, np.concatenate([w.ravel() for w in model.get_weights()])))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-6)
    np.testing.assert_allclose(found[0][2], found[1][2], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("function", (own_mse, gaussian_nll, quantiles, worst), ids=lambda f: f.__name__)
def test_the_same_bits_for_any_number_of_threads(function, restore_threads):
    rng = np.random.default_rng(0)
    y_true, y_pred = _inputs(rng, function, (700, 33), 17)
    found = []
    for threads in (1, 2, 3):
        rekur.set_num_threads(threads)
        model = _through(y_pred.shape[-1], function, 33)
        value = model.train_on_batch(y_pred, y_true, sample_weight=np.arange(700) % 3)
        found.append((value, model.get_weights()[1].tobytes()))
    assert found[0] == found[1] == found[2]


def test_class_ids_without_the_last_axis_are_one_number_a_row():
    rng = np.random.default_rng(0)
    ids, x = rng.integers(0, 3, size=20), rng.normal(size=(20, 3))
    log_p = x - np.log(np.exp(x).sum(-1, keepdims=True))
    log_p = log_p[np.arange(20), ids]
    expected = np.mean(-((1 - np.exp(log_p)) ** 2) * log_p)
    for y in (ids, ids[:, None], ids.astype(np.uint8), ids.astype(float)):
        assert _through(3, focal).evaluate(x, y) == pytest.approx(expected, rel=1e-6)
    model = Sequential([layers.Affine(input_shape=(3,))])
    model.compile("sgd", focal, ["accuracy"])
    assert model.evaluate(x, ids)[1] == pytest.approx(np.mean(x.argmax(-1) == ids))


def test_whole_numbers_that_float32_does_not_hold_are_refused():
    with pytest.raises(ValueError, match=r"own_mse computes in float32.*got 16777217"):
        _through(1, own_mse).evaluate(np.zeros((2, 1)), [1, 2**24 + 1])
    _through(1, own_mse).evaluate(np.zeros((2, 1)), [1, 2**24 + 1], sample_weight=[1, 0])


class Scaled(losses.Loss):
    def __init__(self, power, scale=1.0, **options):
        super().__init__(**options)
        self.power, self.scale = power, scale

    def call(self, y_true, y_pred):
        return self.scale * ops.mean(ops.abs(y_true - y_pred) ** self.power, axis=-1)


def test_a_class_of_ones_own():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 3)), rng.normal(size=(8, 3))
    loss = Scaled(3, scale=2.0)
    expected = 2 * np.mean(np.abs(x - y) ** 3)
    assert loss.name == "scaled"
    assert Scaled(3, name="cubic").name == "cubic"
    assert loss.get_config() == {"name": "scaled", "reduction": "sum_over_batch_size"}
    assert loss(y, x) == pytest.approx(expected)
    assert loss(y, x, sample_weight=np.arange(8) % 2) == pytest.approx(
        2 * np.mean((np.arange(8) % 2) * np.mean(np.abs(x - y) ** 3, axis=-1))
    )
    loss.scale = 4.0  # before a model was compiled with it
    model = _through(3, loss)
    assert model.evaluate(x, y) == pytest.approx(2 * expected, rel=1e-6)
    with pytest.raises(AttributeError, match=r"Scaled 'scaled': 'scale' cannot be set any more: .*compile again"):
        loss.scale = 1.0
    again = _through(3, loss)
    assert again.evaluate(x, y) == model.evaluate(x, y)


def test_mistakes_in_a_class():
    with pytest.raises(TypeError, match=r"class Bad: define call\(self, y_true, y_pred\), not __call__"):
        type("Bad", (losses.Loss,), {"__call__": lambda self, a, b: 0})
    with pytest.raises(NotImplementedError, match="Empty must define call"):
        _through(1, type("Empty", (losses.Loss,), {})())
    with pytest.raises(TypeError, match="no argument 'reductoin'"):
        Scaled(2, reductoin="sum")
    assert isinstance(
        losses.get(type("Mine", (losses.MeanSquaredError,), {})).bound((None, 1)), losses.MeanSquaredError
    )
    with pytest.raises(AttributeError):
        losses.MeanSquaredError().call = own_mse


def _line(function, message, features=3, kind=Exception):
    with pytest.raises(kind, match=message) as caught:
        _through(features, function)
    assert "test_own_losses.py, line" in str(caught.value)
    return str(caught.value)


def test_errors_name_the_loss_and_the_line():
    def branch(y_true, y_pred):
        if y_true > 0:
            return y_true - y_pred
        return y_pred

    text = _line(branch, r"loss 'branch': a symbol is neither true nor false .*rekur.ops.where", kind=TypeError)
    assert "if y_true > 0:" in text
    _line(lambda y, p: np.cumsum(p, axis=-1), "np.cumsum is no operation of equations: use those of rekur.ops")
    _line(lambda y, p: np.array([p, y]), "holds no array", kind=TypeError)
    _line(lambda y, p: np.arctan(p), "np.arctan is no operation of equations", kind=TypeError)
    _line(lambda y, p: p.flatten(), "no attribute 'flatten'", kind=AttributeError)
    _line(
        lambda y, p: ops.mean(p - y),
        r"axis=-1, got axis=None .*a loss takes the mean over them itself",
        kind=ValueError,
    )
    _line(lambda y, p: p[0], r"y_pred can be indexed by features alone, y_pred\[\.\.\., k\]", kind=TypeError)
    _line(lambda y, p: p[..., 3], r"features \[3, 4\) do not lie within the 3 of y_pred", kind=ValueError)
    _line(lambda y, p: (p - y)[..., 0], "only y_true and y_pred themselves can be indexed", kind=TypeError)
    _line(lambda y, p: p * np.ones((2, 3)), r"one number a feature, got float64 of shape \(2, 3\)", kind=ValueError)
    _line(lambda y, p: p * np.array([1.0, np.inf, 2.0]), "finite float32 numbers", kind=ValueError)
    _line(lambda y, p: None, "must return a value or several, got None")
    _line(lambda y, p: 3.0, "must return what it made of its inputs, got 3.0")
    _line(lambda y, p: (p, y), "a loss is one value, got 2 of them")
    _line(lambda y, p: ops.cast(p, "int32"), "no cast to int32", kind=TypeError)


def test_what_the_engine_finds_names_the_output_and_the_loss():
    with pytest.raises(
        ValueError, match=r"output 'affine.*': loss 'only_y' has no gradient: its value does not depend"
    ):

        def only_y(y_true, y_pred):
            return ops.mean(y_true, axis=-1)

        _through(3, only_y)
    with pytest.raises(ValueError, match="loss 'loss' has no gradient"):
        _through(3, lambda y, p: ops.mean(ops.less(y, p), axis=-1))
    with pytest.raises(ValueError, match=r"equally many features, or one, got 3 of y_pred, 2 of an array"):
        _through(3, lambda y, p: ops.square(p) * np.array([1.0, 2.0]))
    with pytest.raises(ValueError, match=r"equally many features, or one, got 2 of y_true, 3 of y_pred"):
        _through(3, own_mse).evaluate(np.zeros((4, 3)), np.zeros((4, 2)))
    with pytest.raises(
        ValueError, match=r"y of output .*own_mse expected shape \(4, None\), got \(3, 3\)|same number of rows"
    ):
        _through(3, own_mse).evaluate(np.zeros((4, 3)), np.zeros((3, 3)))
    with pytest.raises(ValueError, match=r"loss 'second' takes features \[1, 2\) of y_true, which has 1"):

        def second(y_true, y_pred):
            return ops.square(y_true[..., 1] - y_pred)

        _through(1, second).evaluate(np.zeros((4, 1)), np.zeros((4, 1)))


def test_features_of_the_target_serve_as_data():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, 4, 1)), np.stack([rng.normal(size=(9, 4)), rng.integers(0, 2, (9, 4))], axis=-1)

    def censored(y_true, y_pred):
        e = y_pred - y_true[:, :, 0]
        return ops.where(y_true[:, :, -1], ops.square(e), ops.square(ops.minimum(e, 0.0)))

    e = x[..., 0] - y[..., 0]
    expected = np.mean(np.where(y[..., 1] > 0, e**2, np.minimum(e, 0) ** 2))
    assert _through(1, censored, 4).evaluate(x, y) == pytest.approx(expected, rel=1e-6)


def test_slices_that_overlap_add_up_their_gradients():
    rng = np.random.default_rng(1)
    x, y = _rank(rng.normal(size=(11, 3))), rng.normal(size=(11, 1))

    def overlapping(y_true, y_pred):
        return ops.mean(y_pred[..., :2] * y_pred[..., 1:] + ops.square(y_pred[..., 1] - y_true), axis=-1)

    model = _through(3, overlapping)
    expected, gradient = _reference(overlapping, y, x)
    assert model.train_on_batch(x, y) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(-model.get_weights()[1], gradient, rtol=1e-4, atol=1e-6)


def test_several_outputs_with_loss_weights():
    rng = np.random.default_rng(0)
    x = layers.Input(shape=(3,))
    a, b = layers.Dense(2, name="a")(x), layers.Dense(1, name="b")(x)
    model = rekur.Model(x, [a, b], seed=1)
    data, ya, yb = rng.normal(size=(12, 3)), rng.normal(size=(12, 1)), rng.normal(size=(12, 1))
    model.compile("sgd", {"a": gaussian_nll, "b": own_mae}, loss_weights={"a": 0.5, "b": 2.0})
    total, first, second = model.evaluate(data, [ya, yb])
    pa, pb = model.predict(data)
    assert first == pytest.approx(losses.get(gaussian_nll)(ya, pa), rel=1e-5)
    assert second == pytest.approx(np.mean(np.abs(yb - pb)), rel=1e-5)
    assert total == pytest.approx(0.5 * first + 2 * second)
    model.compile("sgd", [own_mse, None])
    model.fit(data, [np.zeros((12, 2)), None], verbose=0)


def _small(loss, **options):
    model = Sequential([layers.LSTM(4, input_shape=(5, 2)), layers.Dense(2)], seed=2)
    model.compile("adam", loss, **options)
    return model


@pytest.mark.parametrize("loss", (gaussian_nll, Scaled(3), lambda y, p: ops.square(y - p)))
def test_a_saved_model_goes_on_training_without_the_python_function(loss, tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 5, 2)), rng.normal(size=(20, 1))
    model = _small(loss)
    model.fit(x, y, epochs=2, verbose=0)
    model.save(tmp_path / "m.safetensors")
    loaded = rekur.load(tmp_path / "m.safetensors")
    for way in (model, loaded, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        if way is not model:
            way.fit(x, y, epochs=2, verbose=0)
            if way is loaded:
                model.fit(x, y, epochs=2, verbose=0)
                assert way.history.history["loss"] == model.history.history["loss"]
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    loaded.save(tmp_path / "n.safetensors")
    again = rekur.load(tmp_path / "n.safetensors")
    assert again.evaluate(x, y) == model.evaluate(x, y)
    assert "Equations(" in repr(again._bound.losses[0])


def test_a_copy_keeps_what_was_recorded_whatever_the_closure_holds_now():
    scale = [1.0]
    model = _through(1, lambda y, p: scale[0] * ops.square(y - p))
    before = model.evaluate([[2.0]], [[0.0]])
    scale[0] = 100.0
    assert copy.deepcopy(model).evaluate([[2.0]], [[0.0]]) == model.evaluate([[2.0]], [[0.0]]) == before == 4.0


def test_a_model_that_is_built_later_records_then():
    model = Sequential([layers.Dense(2)])
    model.compile("sgd", lambda y, p: p[..., 5])
    with pytest.raises(ValueError, match="do not lie within the 2 of y_pred"):
        model.fit(np.zeros((3, 2)), np.zeros((3, 2)), verbose=0)
    with pytest.raises(TypeError, match="cannot be pickled; it can once the model is built"):
        pickle.dumps(model)


def test_losses_of_ones_own_are_metrics_too():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 6, 2)), rng.normal(size=(20, 6, 1))
    lengths, weight = np.arange(20) % 7, np.arange(20) % 3
    for loss in (gaussian_nll, Scaled(3), own_huber):
        model = Sequential([layers.Affine(input_shape=(6, 2))])
        model.compile("sgd", loss, weighted_metrics=[loss, "mse"] if loss is not gaussian_nll else [loss])
        target = y if loss is gaussian_nll else np.concatenate([y, -y], axis=-1)
        found = model.evaluate(x, target, sample_weight=weight, lengths=lengths, batch_size=7, return_dict=True)
        # The loss is a mean over steps, a metric over weights.
        valid = np.arange(6) < lengths[:, None]
        ratio = valid.sum() / (valid * weight[:, None]).sum()
        name = getattr(loss, "__name__", None) or loss.name
        assert found[name] == pytest.approx(found["loss"] * ratio, rel=1e-5)
        assert model.fit(x, target, verbose=0, validation_split=0.5).history[f"val_{name}"]


def test_numpys_functions_are_recorded_where_ops_has_their_like():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, 3)), rng.normal(size=(9, 3))

    def rooted(y_true, y_pred):
        return np.sqrt(np.mean(np.square(np.where(y_true > 0, y_true - y_pred, y_pred)), axis=-1))

    assert _through(3, rooted).evaluate(x, y) == pytest.approx(np.mean(rooted(y, x)), rel=1e-6)


def test_a_loss_with_the_name_of_a_built_in_one_stays_its_own(tmp_path):
    def huber(y_true, y_pred):
        return 7.0 * ops.square(y_true - y_pred)

    model = _through(1, huber)
    model.save(tmp_path / "m.safetensors")
    assert rekur.load(tmp_path / "m.safetensors").evaluate([[1.0]], [[0.0]]) == 7.0


def _config(**changes):
    equations = {"inputs": ["y_true", "y_pred"], "nodes": [["subtract", 0, 1], ["multiply", 2, 2]], "outputs": [3]}
    return {"name": "equations", "label": "l", "equations": equations, **changes}


def _equations(**changes):
    return _config(equations={**_config()["equations"], **changes})


HOSTILE = [
    ({"name": "equations"}, "'equations'"),
    (_config(label=""), "'label'"),
    (_config(label=3), "'label'"),
    (_config(more=1), "'more'"),
    (_config(inputs=[]), "expected 2 of them"),
    (_config(inputs=["y_true"]), "expected 2 of them"),
    (_config(inputs=["y_true", "x"]), 'expected "y_true" or "y_pred"'),
    (_config(inputs=["y_true", 3]), "inputs"),
    (_config(inputs=["y_true", {}]), "'of'"),
    (_config(inputs=["y_true", {"of": "y_pred", "start": 9}]), "do not lie within"),
    (_config(inputs=["y_true", {"of": "y_pred", "start": -9}]), "do not lie within"),
    (_config(inputs=["y_true", {"of": "y_pred", "start": 2, "stop": 2}]), "are none of"),
    (_config(inputs=["y_true", {"of": "y_pred", "start": 2**62, "stop": -(2**62)}]), "do not lie within"),
    (_config(inputs=["y_true", {"of": "y_pred", "stop": 1.5}]), "'stop'"),
    (_config(inputs=["y_true", {"of": "y_pred", "step": 1}]), "'step'"),
    (_config(inputs=["y_true", []]), "1 to 65536 numbers"),
    (_config(inputs=["y_true", [1.0] * 65537]), "1 to 65536 numbers"),
    (_config(inputs=["y_true", [1e39, 1.0]]), "finite float32"),
    (_config(inputs=["y_true", ["1"]]), "finite float32"),
    (_config(inputs=["y_true", [1.0, 2.0]]), "has no gradient|no number of features|equally many"),
    (_equations(outputs=[3, 2]), "a loss is one value, got 2"),
    (_equations(outputs=[]), "1 to 8 outputs"),
    (_equations(outputs=[4]), "an output is a value, 0 to 3"),
    (_equations(outputs=[0]), "has no gradient"),
    (_equations(nodes=[["subtract", 0, 5]]), "a value before it"),
    (_equations(nodes=[["slope", 0, 1]]), "unknown operation"),
    (_equations(nodes=[["constant", 1e400]]), "constant|number"),
    (_equations(nodes=[["constant", 2.0], ["multiply", 2, 2]]), "has no gradient"),
    (_equations(nodes=[["add", 0, 1]] * 513), "at most 512 nodes"),
    (_equations(inputs=["y"] * 2), "two inputs"),
    (_equations(inputs=[f"i{k}" for k in range(33)]), "1 to 32 inputs"),
]


@pytest.mark.parametrize(("config", "message"), HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_program_in_the_trainers_configuration_is_an_error(config, message):
    engine = Sequential([layers.Affine(input_shape=(3,))])._engine()
    text = json.dumps({"optimizer": {"name": "sgd"}, "losses": [config]}).replace("Infinity", "1e400")
    with pytest.raises(ValueError, match=message):
        rekur._core.Trainer(engine, text)


def test_random_programs_are_errors_or_compute():
    rng = np.random.default_rng(5)
    engine = Sequential([layers.Affine(input_shape=(3,))])._engine()
    names = [*rekur._core.operation_names(), "tanh", "softplus", {"name": "elu", "alpha": 1.5}, "sofplus", "constant"]
    sources = ["y_true", "y_pred", {"of": "y_pred", "stop": 1}, {"of": "y_pred", "start": -2}, [1.0, 2.0, 3.0], [0.5]]
    x, worked = rng.normal(size=(5, 3)).astype(np.float32), 0
    for _ in range(1500):
        count = int(rng.integers(1, 4))
        inputs = [sources[int(rng.integers(len(sources)))] for _ in range(count)]
        nodes = []
        for k in range(int(rng.integers(0, 12))):
            name = names[int(rng.integers(len(names)))]
            operands = {"where": 3}.get(name, 2 if name in ("add", "multiply", "less", "maximum", "divide") else 1) \
                if isinstance(name, str) else 1  # fmt: skip
            nodes.append([name, *(int(rng.integers(0, count + k + (rng.uniform() < 0.02))) for _ in range(operands))])
        equations = {"inputs": [f"i{k}" for k in range(count)], "nodes": nodes, "outputs": [count + len(nodes) - 1]}
        config = {"optimizer": {"name": "sgd"}, "losses": [_config(equations=equations, inputs=inputs)]}
        try:
            trainer = rekur._core.Trainer(engine, json.dumps(config))
            for width in (1, 3):
                trainer.step([x], [np.ones((5, width), np.float32)])
        except ValueError:
            continue
        worked += 1
    assert worked > 100


# --- plain NumPy, with a gradient of one's own ---


def _numpy_mse():
    return losses.Numpy(
        lambda y, p: np.mean((y - p) ** 2, axis=-1), lambda y, p: 2 * (p - y) / p.shape[-1], name="numpy_mse"
    )


@pytest.mark.parametrize("features", (1, 3))
def test_a_numpy_loss_is_the_built_in_one(features):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 6, 2)), rng.normal(size=(20, 6, features))
    weight, lengths = np.arange(20) % 3, np.arange(20) % 7
    y[weight == 0] = np.nan
    found = []
    for loss in ("mse", _numpy_mse()):
        model = Sequential([layers.GRU(4, return_sequences=True, input_shape=(6, 2)), layers.Dense(features)], seed=2)
        model.compile("adam", loss, ["mae", loss] if loss != "mse" else ["mae"])
        history = model.fit(x, y, epochs=3, verbose=0, sample_weight=weight, lengths=lengths).history
        found.append(
            (history["loss"], model.evaluate(x, y, sample_weight=weight, lengths=lengths)[0], model.get_weights())
        )
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-6)
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-6)
    for a, b in zip(found[0][2], found[1][2], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_numpy_loss_sees_targets_as_they_came_and_only_what_is_there():
    seen = []

    def function(y, p):
        seen.append((y, p))
        return np.zeros(len(p))

    model = _through(2, losses.Numpy(function, lambda y, p: np.zeros_like(p)), 3)
    y = np.arange(12).reshape(4, 3)
    model.train_on_batch(np.ones((4, 3, 2)), y, sample_weight=[1, 0, 1, 1], lengths=[3, 3, 0, 1])
    assert seen[0][0].tolist() == [0, 1, 2, 9] and seen[0][0].dtype == y.dtype
    assert seen[0][1].shape == (4, 2) and seen[0][1].dtype == np.float32


def test_a_numpy_loss_that_is_wrong_changes_nothing():
    def raises(y, p):
        raise KeyError("mine")

    fine, zeros = (lambda y, p: np.zeros(len(p))), (lambda y, p: np.zeros_like(p))
    twice = r"loss 'numpy': its function must return shape \(4,\), got \(4, 1\)"
    for function, gradient, kind, message in (
        (lambda y, p: np.zeros((len(p), 1)), zeros, ValueError, twice),
        (fine, lambda y, p: np.zeros(len(p)), ValueError, r"its gradient must return shape \(4, 2\), got \(4,\)"),
        (fine, lambda y, p: "x", TypeError, "its gradient must return numbers, got str"),
        (fine, lambda y, p: None, TypeError, "its gradient must return numbers, got NoneType"),
        (raises, zeros, KeyError, "mine"),
        (fine, raises, KeyError, "mine"),
    ):  # fmt: skip
        model = _through(2, losses.Numpy(function, gradient))
        before = model.get_weights()
        with pytest.raises(kind, match=message):
            model.train_on_batch(np.ones((4, 2)), np.ones((4, 2)))
        assert model._bound.trainer.iterations == 0
        for a, b in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
    with pytest.raises(TypeError, match="expected a gradient of"):
        losses.Numpy(fine, None)


def test_nan_of_a_numpy_loss_passes_through():
    model = _through(1, losses.Numpy(lambda y, p: p[:, 0] * np.nan, lambda y, p: p * np.nan))
    assert np.isnan(model.train_on_batch([[1.0]], [[1.0]]))
    assert np.isnan(model.get_weights()[1]).all()


def test_a_numpy_loss_that_calls_its_own_trainer_gets_an_error_not_a_deadlock():
    def function(y, p):
        model.train_on_batch(np.ones((1, 1)), np.ones((1, 1)))
        return np.zeros(len(p))

    model = _through(1, losses.Numpy(function, lambda y, p: np.zeros_like(p)))
    with pytest.raises(ValueError, match="called by a loss that it is computing"):
        model.train_on_batch(np.ones((4, 1)), np.ones((4, 1)))


def test_a_model_with_a_numpy_loss_is_saved_as_if_it_were_not_compiled(tmp_path):
    model = _through(2, _numpy_mse())
    model.train_on_batch(np.ones((4, 2)), np.zeros((4, 2)))
    with pytest.warns(UserWarning, match=r"saved as if it were not compiled.*numpy_mse.*compile again after loading"):
        model.save(tmp_path / "m.safetensors")
    loaded = rekur.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(loaded.predict(np.ones((1, 2))), model.predict(np.ones((1, 2))))
    with pytest.raises(RuntimeError, match="not compiled"):
        loaded.evaluate(np.ones((4, 2)), np.zeros((4, 2)))
    with pytest.raises(TypeError, match="loss 'numpy_mse' is a Python function that cannot be pickled"):
        pickle.dumps(model)
