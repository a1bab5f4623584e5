"""Losses written in rekur.ops, label smoothing, ignored classes and reductions: float64, Keras, and their gradients."""

import math
import pickle

import numpy as np
import pytest

import rekur
from rekur import Sequential, debug, layers, losses

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 3))
Y = RNG.normal(size=(6, 3))
P = RNG.uniform(0.05, 0.95, size=(6, 3))
BITS = (RNG.uniform(size=(6, 3)) > 0.5).astype(float)
ONE_HOT = np.eye(3)[RNG.integers(0, 3, size=6)]
CLASSES = RNG.integers(0, 3, size=6)

KERAS = {  # Keras's name, arguments, targets, outputs
    "mape": ("MeanAbsolutePercentageError", {}, Y, X),
    "msle": ("MeanSquaredLogarithmicError", {}, np.abs(Y), np.abs(X)),
    "log_cosh": ("LogCosh", {}, Y, X),
    "poisson": ("Poisson", {}, np.abs(Y).round(), np.abs(X)),
    "kld": ("KLDivergence", {}, P / P.sum(axis=1, keepdims=True), P[::-1]),
    "cosine": ("CosineSimilarity", {}, Y, X),
    "hinge": ("Hinge", {}, BITS, X),
    "hinge of signs": ("Hinge", {}, 2 * BITS - 1, X),
    "squared_hinge": ("SquaredHinge", {}, BITS, X),
    "categorical_hinge": ("CategoricalHinge", {}, ONE_HOT, X),
    "focal": ("BinaryFocalCrossentropy", {"gamma": 1.5}, BITS, P),
    "focal balanced": ("BinaryFocalCrossentropy", {"apply_class_balancing": True, "from_logits": True}, BITS, X),
    "focal smoothed": ("BinaryFocalCrossentropy", {"label_smoothing": 0.2}, BITS, P),
    "categorical focal": ("CategoricalFocalCrossentropy", {}, ONE_HOT, P),
    "categorical focal logits": (
        "CategoricalFocalCrossentropy", {"from_logits": True, "label_smoothing": 0.1, "alpha": 0.5}, ONE_HOT, X,
    ),
    "generalized": ("CategoricalGeneralizedCrossEntropy", {"q": 0.3}, CLASSES, P / P.sum(axis=1, keepdims=True)),
    "tversky": ("Tversky", {"alpha": 0.3, "beta": 0.8, "axis": -1}, BITS, P),
    "dice": ("Dice", {"axis": -1}, BITS, P),
    "bce smoothed": ("BinaryCrossentropy", {"label_smoothing": 0.2}, BITS, P),
    "bce smoothed logits": ("BinaryCrossentropy", {"label_smoothing": 0.2, "from_logits": True}, BITS, X),
    "cce smoothed": ("CategoricalCrossentropy", {"label_smoothing": 0.2}, ONE_HOT, P),
    "cce smoothed logits": ("CategoricalCrossentropy", {"label_smoothing": 0.2, "from_logits": True}, ONE_HOT, X),
    "sum": ("LogCosh", {"reduction": "sum"}, Y, X),
    "mse sum": ("MeanSquaredError", {"reduction": "sum"}, Y, X),
    "mean by weight": ("MeanSquaredError", {"reduction": "mean_with_sample_weight"}, Y, X),
    "ignored": ("SparseCategoricalCrossentropy", {"ignore_class": 1}, CLASSES, P),
    "ignored logits": ("SparseCategoricalCrossentropy", {"ignore_class": -1, "from_logits": True}, CLASSES - 1, X),
    "ignored sum": ("SparseCategoricalCrossentropy", {"ignore_class": 0, "reduction": "sum"}, CLASSES, P),
    "ignored by weight": (
        "SparseCategoricalCrossentropy", {"ignore_class": 0, "reduction": "mean_with_sample_weight"}, CLASSES, P,
    ),
}  # fmt: skip


def _evaluated(loss, target, output, **options):
    model = Sequential([layers.Activation(None, input_shape=output.shape[1:])])
    model.compile("sgd", loss)
    return model.evaluate(output, target, **options)


@pytest.mark.parametrize("case", KERAS)
def test_losses_are_those_of_keras(case):
    keras = pytest.importorskip("keras")
    name, options, target, output = KERAS[case]
    weight = np.array([1.0, 0.5, 2.0, 0.0, 1.0, 3.0], np.float32)
    theirs, ours = (getattr(module, name)(**options) for module in (keras.losses, losses))
    target32, output32 = np.asarray(target, np.float32), output.astype(np.float32)
    given = target if name.startswith("Sparse") else target32
    assert _evaluated(ours, target, output) == pytest.approx(float(theirs(given, output32)), rel=1e-5)
    weighted = float(theirs(given, output32, sample_weight=weight))
    assert _evaluated(ours, target, output, sample_weight=weight) == pytest.approx(weighted, rel=1e-5)


@pytest.mark.parametrize("case", [c for c in KERAS if not KERAS[c][0].startswith("Sparse")])
def test_a_loss_called_is_what_evaluate_shows(case):
    name, options, target, output = KERAS[case]
    loss = getattr(losses, name)(**options)
    if not loss.is_own:
        pytest.skip("the engine's")
    assert _evaluated(loss, target, output) == pytest.approx(loss(target, output), rel=2e-6)
    debug.check_loss_gradients(loss.call, target, output)


def _log_normal(y, mean, s):
    scale = math.log1p(math.exp(s)) + 1e-6
    return math.log(scale) + 0.5 * ((y - mean) / scale) ** 2 + 0.5 * math.log(2 * math.pi)


def _log_student(y, mean, s, d):
    scale, nu = math.log1p(math.exp(s)) + 1e-6, 2 + math.log1p(math.exp(d))
    z = (y - mean) / scale
    density = math.lgamma((nu + 1) / 2) - math.lgamma(nu / 2) - 0.5 * math.log(nu * math.pi) - math.log(scale)
    return -(density - (nu + 1) / 2 * math.log1p(z**2 / nu))


def _log_binomial(y, m, a):
    mean, alpha = (math.log1p(math.exp(v)) + 1e-6 for v in (m, a))
    r = 1 / alpha
    p = math.lgamma(y + r) - math.lgamma(y + 1) - math.lgamma(r)
    return -(p - r * math.log1p(alpha * mean) + y * math.log(alpha * mean / (1 + alpha * mean)))


@pytest.mark.parametrize(
    ("loss", "by_hand", "count"),
    [
        (losses.GaussianLikelihood(), _log_normal, 2),
        (losses.StudentTLikelihood(), _log_student, 3),
        (losses.NegativeBinomialLikelihood(), _log_binomial, 2),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_likelihoods_of_features(loss, by_hand, count, tmp_path):
    target = RNG.integers(0, 9, size=(5, 2)).astype(float)
    output = RNG.normal(size=(5, 2 * count))
    expected = [
        by_hand(target[b, f], *(output[b, k * 2 + f] for k in range(count))) for b in range(5) for f in range(2)
    ]
    assert _evaluated(loss, target, output) == pytest.approx(np.mean(expected), rel=2e-6)
    assert loss(target, output) == pytest.approx(np.mean(expected), rel=1e-7)
    debug.check_loss_gradients(loss._split(2 * count), target, output)
    model = Sequential([layers.LSTM(4, return_sequences=True, input_shape=(7, 3)), layers.Dense(2 * count)], seed=1)
    model.compile(rekur.optimizers.Adam(0.02), loss)
    x, y = RNG.normal(size=(8, 7, 3)), RNG.integers(0, 5, size=(8, 7, 2))
    history = model.fit(x, y, epochs=15, lengths=[7, 6, 5, 4, 7, 7, 7, 7], verbose=0).history["loss"]
    assert history[-1] < history[0]
    model.save(tmp_path / "m.safetensors")
    assert rekur.load(tmp_path / "m.safetensors").evaluate(x, y) == model.evaluate(x, y)
    with pytest.raises(ValueError, match=f"{count} features for each"):
        _evaluated(loss, target, output[:, 1:].repeat(1 if count == 2 else 2, axis=1)[:, : 2 * count - 1])


def test_several_quantiles_at_once():
    q = [0.1, 0.5, 0.9]
    e = Y[:, :1] - X
    expected = np.mean(np.maximum(np.array(q) * e, (np.array(q) - 1) * e))
    assert _evaluated(losses.Quantile(q), Y[:, 0], X) == pytest.approx(expected, rel=1e-6)
    assert _evaluated("pinball", Y, X) == pytest.approx(np.mean(np.abs(Y - X)) / 2, rel=1e-6)
    with pytest.raises(ValueError, match="output of 2 features, one a quantile, got 3"):
        _evaluated(losses.Quantile([0.1, 0.9]), Y[:, 0], X)
    with pytest.raises(ValueError, match="between 0 and 1"):
        losses.Quantile([0.5, 1])


@pytest.mark.parametrize("how", ["made", "loaded", "described"])
def test_the_target_has_the_shape_of_the_output(how, tmp_path):
    def refused(loss, target):
        model = Sequential([layers.Activation(None, input_shape=(3,))])
        model.compile("sgd", loss)
        if how == "loaded":
            model.save(tmp_path / "m.safetensors")
            model = rekur.load(tmp_path / "m.safetensors")
        elif how == "described":
            model.compile("sgd", losses.get(model._trainer().losses[0].get_config()))
        with pytest.raises(ValueError) as caught:
            model.evaluate(P, target)
        return str(caught.value)

    for loss in ("log_cosh", "dice", losses.BinaryCrossentropy(label_smoothing=0.1), losses.Hinge(reduction="sum")):
        assert "expected shape (6, 3), got (6, 1)" in refused(loss, BITS[:, :1])
    for loss in (losses.BinaryCrossentropy(label_smoothing=0.1), losses.CategoricalFocalCrossentropy()):
        assert "expected values from 0 to 1" in refused(loss, Y * 9)


def test_what_a_loss_derived_from_one_that_is_recorded_reads_cannot_be_set_afterwards():
    class Scaled(losses.LogCosh):
        def __init__(self, scale):
            super().__init__()
            self.scale = scale

        def call(self, y_true, y_pred):
            return self.scale * super().call(y_true, y_pred)

    loss = Scaled(2.0)
    assert _evaluated(loss, Y, X) == pytest.approx(2 * _evaluated("log_cosh", Y, X), rel=1e-6)
    with pytest.raises(AttributeError, match="'scale' cannot be set any more"):
        loss.scale = 3.0


def test_reductions_scale_gradients_and_are_saved(tmp_path):
    def trained(loss, rate, weight=None):
        model = Sequential([layers.Dense(3, input_shape=(3,))], seed=1)
        model.compile(rekur.optimizers.SGD(rate), loss)
        model.train_on_batch(X, Y, sample_weight=weight)
        return model

    weight = np.array([1.0, 0.5, 2.0, 0.0, 1.0, 3.0])
    for kind in (losses.MeanSquaredError, losses.LogCosh):
        by_sum, by_mean = trained(kind(reduction="sum"), 0.01), trained(kind(), 0.06)
        np.testing.assert_allclose(by_sum.get_weights()[0], by_mean.get_weights()[0], rtol=1e-5)
        by_weight = trained(kind(reduction="mean_with_sample_weight"), 0.075, weight)
        np.testing.assert_allclose(
            by_weight.get_weights()[0], trained(kind(), 0.06, weight).get_weights()[0], rtol=1e-5
        )
        by_sum.save(tmp_path / "m.safetensors")
        again = rekur.load(tmp_path / "m.safetensors")
        assert again.evaluate(X, Y) == by_sum.evaluate(X, Y)
    with pytest.raises(ValueError, match="reduction=None would leave a number a row"):
        rekur.Sequential([layers.Dense(1, input_shape=(2,))]).compile("sgd", losses.MeanSquaredError(reduction=None))
    with pytest.raises(ValueError, match="expected one of"):
        losses.MeanSquaredError(reduction="product")


def test_steps_of_an_ignored_class_are_left_out_and_saved(tmp_path):
    x = RNG.normal(size=(4, 5, 2))
    y = RNG.integers(0, 3, size=(4, 5))
    y[0, 2:], y[3] = 255, 255
    there = (y != 255).astype(np.float32)
    found = []
    for loss, target, weight in (
        (losses.SparseCategoricalCrossentropy(ignore_class=255), y, None),
        (losses.SparseCategoricalCrossentropy(), np.where(y == 255, 0, y), there * (20 / there.sum())),
    ):
        model = Sequential(
            [layers.GRU(3, return_sequences=True, input_shape=(5, 2)), layers.Dense(3, "softmax")], seed=1
        )
        model.compile("sgd", loss)
        found.append((model.train_on_batch(x, target, sample_weight=weight), model.get_weights()))
        if weight is None:
            model.save(tmp_path / "m.safetensors")
            assert rekur.load(tmp_path / "m.safetensors").evaluate(x, y) == model.evaluate(x, y)
    assert found[0][0] == found[1][0]
    for a, b in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="class indices from 0 to 2, got 255"):
        model.train_on_batch(x, y)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean_with_sample_weight"])
@pytest.mark.parametrize("kind", ["ignored", "weighted", "ctc"])
def test_the_loss_of_an_epoch_is_the_mean_it_says_whatever_the_batches(kind, reduction):
    output, weight = RNG.uniform(0.1, 0.9, size=(7, 6, 3)), RNG.uniform(0.5, 2, size=(7, 6))
    target = RNG.integers(0, 3, size=(7, 6))
    options = {"sample_weight": weight}
    loss = losses.SparseCategoricalCrossentropy(reduction=reduction)
    if kind == "ignored":  # all of the first rows, part of others
        target[:2], target[4, 2:] = 255, 255
        loss = losses.SparseCategoricalCrossentropy(ignore_class=255, reduction=reduction)
    elif kind == "ctc":
        target = np.array([[1, 2]] * 7)
        loss, options = losses.CTC(), {"lengths": np.array([6, 5, 2, 3, 4, 6, 6])}
    expected = _evaluated(loss, target, output, batch_size=7, **options)
    for size in (1, 2, 3):
        assert _evaluated(loss, target, output, batch_size=size, **options) == pytest.approx(expected, rel=1e-5)


def test_sample_weights_may_have_a_last_axis_of_one():
    weight = np.array([1.0, 0.5, 2.0, 0.0, 1.0, 3.0])
    assert _evaluated("mse", Y, X, sample_weight=weight[:, None]) == _evaluated("mse", Y, X, sample_weight=weight)
    x, y = RNG.normal(size=(2, 6, 5, 3))
    for given, same in ((weight[:, None], weight), (RNG.uniform(size=(6, 5, 1)), None)):
        expected = _evaluated("mse", y, x, sample_weight=given[..., 0] if same is None else same)
        assert _evaluated("mse", y, x, sample_weight=given) == expected
    with pytest.raises(ValueError, match="sample_weight of output"):
        _evaluated("mse", Y, X, sample_weight=np.ones((6, 2)))


ENGINES = {
    "mean_squared_error": losses.MeanSquaredError,
    "mean_absolute_error": losses.MeanAbsoluteError,
    "huber": lambda **options: losses.Huber(0.5, **options),
    "binary_crossentropy": lambda **options: losses.BinaryCrossentropy(label_smoothing=0.1, **options),
    "binary logits": lambda **options: losses.BinaryCrossentropy(from_logits=True, **options),
    "categorical_crossentropy": lambda **options: losses.CategoricalCrossentropy(label_smoothing=0.2, **options),
    "categorical logits": lambda **options: losses.CategoricalCrossentropy(from_logits=True, **options),
    "sparse": losses.SparseCategoricalCrossentropy,
    "sparse logits": lambda **options: losses.SparseCategoricalCrossentropy(True, ignore_class=1, **options),
    "mean_squared_logarithmic_error": losses.MeanSquaredLogarithmicError,
}


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
@pytest.mark.parametrize("name", ENGINES)
def test_a_loss_by_hand_is_what_evaluate_shows(name, reduction):
    rng = np.random.default_rng(3)
    outputs = rng.uniform(0.1, 0.9, size=(7, 5, 4)).astype(np.float32)
    outputs /= outputs.sum(-1, keepdims=True)
    targets = rng.integers(0, 4, (7, 5)) if "sparse" in name else np.eye(4, dtype=int)[rng.integers(0, 4, (7, 5))]
    weight = rng.uniform(size=(7, 5)) * (rng.uniform(size=(7, 5)) < 0.8)
    model = Sequential([layers.Activation("linear", input_shape=(5, 4))])
    model.compile("sgd", ENGINES[name](reduction=reduction))
    for weights in (None, weight):
        expected = model.evaluate(outputs, targets, sample_weight=weights, verbose=0)
        assert ENGINES[name](reduction=reduction)(targets, outputs, weights) == pytest.approx(expected, rel=1e-5)


def test_targets_that_do_not_go_with_the_outputs_name_the_loss():
    with pytest.raises(ValueError, match=r"mean_squared_error.*y_true of shape \(3, 2\), got \(3, 1\)"):
        losses.MeanSquaredError()(np.ones((3, 1)), np.ones((3, 2)))
    assert losses.MeanSquaredError()([1.0, 2.0], [[1.0], [4.0]]) == 2.0
    with pytest.raises(ValueError, match="expected classes from 0 to 2, got 3"):
        losses.SparseCategoricalCrossentropy()([0, 3], np.full((2, 3), 0.3))
    assert losses.SparseCategoricalCrossentropy(ignore_class=3)([0, 3], np.eye(3)[:2]) == pytest.approx(0, abs=1e-6)


FUNCTIONS = ("mean_squared_error", "mse", "mae", "huber", "binary_crossentropy", "log_cosh", "poisson", "mape")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_loss_as_a_function_is_a_number_a_row(name):
    rng = np.random.default_rng(3)
    targets, outputs = rng.uniform(0.1, 0.9, size=(2, 7, 5, 3))
    function, loss = getattr(losses, name), losses.get(name)
    assert function is getattr(losses, name) and pickle.loads(pickle.dumps(function)) is function
    rows = function(targets, outputs)
    assert rows.shape == (7, 5)
    assert np.mean(rows) == pytest.approx(loss(targets, outputs))
    np.testing.assert_array_equal(type(loss)(reduction=None)(targets, outputs), rows)
    weight = rng.uniform(size=7)
    np.testing.assert_allclose(type(loss)(reduction="none")(targets, outputs, weight), rows * weight[:, None])
    model = Sequential([layers.Activation("linear", input_shape=(5, 3))])
    for given in (function, name, lambda y, p: function(y, p)):
        model.compile("sgd", given)
        assert model.evaluate(outputs, targets, verbose=0) == pytest.approx(np.mean(rows), rel=1e-5)
    model.compile("sgd", function, metrics=[losses.mse, losses.mae])
    assert list(model.evaluate(outputs, targets, verbose=0, return_dict=True)) == [
        "loss", "mean_squared_error", "mean_absolute_error",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="shape"):
        function(targets[:, :2], outputs)


def test_a_loss_as_a_function_takes_its_options():
    np.testing.assert_allclose(losses.huber([[3.0]], [[0.0]], delta=2.0), [4.0])
    ids = losses.sparse_categorical_crossentropy([1, 0], np.log([[0.25, 0.75], [0.5, 0.5]]), from_logits=True)
    np.testing.assert_allclose(ids, -np.log([0.75, 0.5]))
    with pytest.raises(AttributeError, match="mean_squared_errors"):
        _ = losses.mean_squared_errors
