"""Metrics beyond those of rekur.metrics itself: Keras's numbers, definitions written out, weights, batches, files."""

import re

import numpy as np
import pytest

import rekur
from rekur import Sequential, layers, losses, metrics

RNG = np.random.default_rng(0)
P = RNG.uniform(0.02, 0.98, size=(40, 3)).astype(np.float32)
P[:5] = np.round(P[:5] * 4) / 4  # on thresholds
BITS = (RNG.uniform(size=(40, 3)) < 0.2 + 0.6 * P).astype(np.float32)
CLASSES = RNG.integers(0, 3, size=40)
ONE_HOT = np.eye(3, dtype=np.float32)[CLASSES]
X, Y = RNG.normal(size=(2, 40, 3)).astype(np.float32) + 2
WEIGHT = RNG.uniform(0.2, 2, size=40).astype(np.float32)

KERAS = [  # Keras's name, arguments, targets, outputs
    ("MeanAbsolutePercentageError", {}, Y, X),
    ("MeanSquaredLogarithmicError", {}, np.abs(Y), np.abs(X)),
    ("LogCoshError", {}, Y, X),
    ("Poisson", {}, np.abs(Y), np.abs(X)),
    ("KLDivergence", {}, P, P[::-1]),
    ("CosineSimilarity", {}, Y, X),
    ("Hinge", {}, BITS, X),
    ("SquaredHinge", {}, BITS, X),
    ("CategoricalHinge", {}, ONE_HOT, X),
    ("BinaryCrossentropy", {"label_smoothing": 0.1}, BITS, np.clip(P, 0.02, 0.98)),
    ("BinaryCrossentropy", {"from_logits": True}, BITS, X),
    ("CategoricalCrossentropy", {}, ONE_HOT, P),
    ("CategoricalCrossentropy", {"from_logits": True, "label_smoothing": 0.2}, ONE_HOT, X),
    ("SparseCategoricalCrossentropy", {}, CLASSES, P),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, CLASSES, X),
    ("Accuracy", {}, BITS, BITS[::-1].copy()),
    ("TopKCategoricalAccuracy", {"k": 2}, ONE_HOT, P),
    ("SparseTopKCategoricalAccuracy", {"k": 2}, CLASSES, P),
    ("TruePositives", {}, BITS, P),
    ("FalsePositives", {"thresholds": 0.25}, BITS, P),
    ("TrueNegatives", {"thresholds": [0.75, 0.25]}, BITS, P),
    ("FalseNegatives", {}, BITS, P),
    ("Precision", {}, BITS, P),
    ("Precision", {"thresholds": [0.9, 0.5, 0.1]}, BITS, P),
    ("Precision", {"top_k": 2}, BITS, X),
    ("Precision", {"class_id": 1}, BITS, P),
    ("Recall", {}, BITS, P),
    ("Recall", {"top_k": 1, "class_id": 2}, BITS, X),
    ("AUC", {}, BITS, P),
    ("AUC", {"curve": "PR"}, BITS, P),
    ("AUC", {"curve": "PR", "summation_method": "majoring", "num_thresholds": 20}, BITS, P),
    ("AUC", {"summation_method": "minoring", "num_thresholds": 5}, BITS, P),
    ("AUC", {"thresholds": [0.7, 0.2, 0.4]}, BITS, P),
    ("AUC", {"from_logits": True}, BITS, X),
    ("SensitivityAtSpecificity", {"specificity": 0.6}, BITS, P),
    ("SpecificityAtSensitivity", {"sensitivity": 0.6, "num_thresholds": 30}, BITS, P),
    ("PrecisionAtRecall", {"recall": 0.6, "num_thresholds": 2}, BITS, P),
    ("RecallAtPrecision", {"precision": 0.6, "num_thresholds": 1}, BITS, P),
    ("F1Score", {}, ONE_HOT, P),
    ("F1Score", {"average": "macro", "threshold": 0.5}, BITS, P),
    ("FBetaScore", {"average": "micro", "beta": 2.0}, ONE_HOT, P),
    ("FBetaScore", {"average": "weighted", "beta": 0.5}, ONE_HOT, P),
    ("R2Score", {}, Y, X),
    ("R2Score", {"class_aggregation": "variance_weighted_average", "num_regressors": 4}, Y, X),
    ("R2Score", {"class_aggregation": None}, Y, X),
    ("PearsonCorrelation", {}, Y, X),
    ("ConcordanceCorrelation", {}, Y, X),
    ("AUC", {"multi_label": True}, BITS, P),
    ("AUC", {"multi_label": True, "num_labels": 3, "label_weights": [1.0, 2.0, 0.5], "curve": "PR"}, BITS, P),
    ("AUC", {"curve": "PRGAIN"}, BITS, P),
    ("AUC", {"curve": "PRGAIN", "multi_label": True, "num_thresholds": 20}, BITS, P),
    ("RootMeanSquaredError", {}, Y, X),
]  # fmt: skip


@pytest.mark.parametrize("case", KERAS, ids=lambda case: f"{case[0]}-{case[1]}")
def test_metrics_of_batches_are_those_of_keras(case):
    keras = pytest.importorskip("keras")
    name, options, target, output = case
    ours, theirs = getattr(metrics, name)(**options), getattr(keras.metrics, name)(**options)
    for part, w in ((slice(0, 25), WEIGHT[:25]), (slice(25, 40), None)):
        for metric in (ours, theirs):
            metric.update_state(target[part], output[part], sample_weight=w)
    np.testing.assert_allclose(ours.result(), np.asarray(theirs.result()), rtol=2e-5, atol=1e-6)
    assert ours.name == re.sub(r"_\d+$", "", theirs.name)
    ours.reset_state()
    assert not np.any(getattr(metrics, name)(**options).result() - np.asarray(ours.result()))


def test_overlaps_are_those_of_keras():
    keras = pytest.importorskip("keras")
    seen = RNG.integers(0, 4, size=40)
    for name, options, target, output in (
        ("MeanIoU", {"num_classes": 4}, CLASSES, seen),
        ("MeanIoU", {"num_classes": 4, "ignore_class": 1}, CLASSES, seen),
        ("MeanIoU", {"num_classes": 3, "sparse_y_true": False, "sparse_y_pred": False}, ONE_HOT, P),
        ("IoU", {"num_classes": 4, "target_class_ids": [0, 2]}, CLASSES, seen),
        ("OneHotMeanIoU", {"num_classes": 3}, ONE_HOT, P),
        ("OneHotIoU", {"num_classes": 3, "target_class_ids": [1, 2], "ignore_class": 2}, ONE_HOT, P),
        ("BinaryIoU", {}, BITS, P),
        ("BinaryIoU", {"target_class_ids": [1], "threshold": 0.3}, BITS, P),
    ):
        ours, theirs = (getattr(module, name)(**options) for module in (metrics, keras.metrics))
        assert float(ours(target, output)) == pytest.approx(float(theirs(target, output)), rel=1e-6)
        assert ours.name == re.sub(r"_\d+$", "", theirs.name)


def test_definitions_by_hand():
    right, said = BITS.astype(bool), P > 0.5
    w = WEIGHT[:, None]
    assert metrics.Precision()(BITS, P, WEIGHT) == pytest.approx(np.sum(w * (right & said)) / np.sum(w * said))
    assert metrics.Recall()(BITS, P) == pytest.approx(np.sum(right & said) / np.sum(right))
    assert metrics.TrueNegatives()(BITS, P) == np.sum(~right & ~said)
    positives, negatives = P[right], P[~right]
    pairs = np.mean((positives[:, None] > negatives) + 0.5 * (positives[:, None] == negatives))
    assert metrics.AUC(num_thresholds=20001)(BITS, P) == pytest.approx(pairs, abs=2e-4)
    r2 = np.mean(1 - np.sum((Y - X) ** 2, axis=0) / np.sum((Y - Y.mean(axis=0)) ** 2, axis=0))
    assert metrics.R2Score()(Y, X) == pytest.approx(r2, rel=1e-5)
    smape = 200 * np.mean(np.abs(Y - X) / (np.abs(Y) + np.abs(X)))
    assert metrics.get("smape")(Y, X) == pytest.approx(smape, rel=1e-6)
    assert metrics.get("smape")([[0.0]], [[0.0]]) == 0
    series = np.arange(10.0) ** 2
    scale = metrics.MeanAbsoluteScaledError.naive_error(series, 2)
    assert scale == pytest.approx(np.mean(np.abs(series[2:] - series[:-2])))
    assert metrics.MeanAbsoluteScaledError(scale)(Y, X) == pytest.approx(np.mean(np.abs(Y - X)) / scale, rel=1e-6)
    mean, total = metrics.Mean(), metrics.Sum()
    assert mean([1, 2, 6], [1, 1, 2]) == 15 / 4
    assert total([1.0, 2.0]) == 3


def test_an_output_counts_above_a_threshold_that_it_exceeds_not_one_that_it_equals():
    for curve, metric in (
        ("ROC", metrics.AUC(num_thresholds=5)),
        ("PR", metrics.AUC(num_thresholds=5, curve="PR", summation_method="minoring")),
    ):
        tp, fp, fn, tn = [], [], [], []
        for threshold in (-1e-7, 0.25, 0.5, 0.75, 1 + 1e-7):
            said, right = threshold < P, BITS > 0
            weigh = [
                np.sum(WEIGHT[:, None] * both) for both in (said & right, said & ~right, ~said & right, ~said & ~right)
            ]
            for found, value in zip((tp, fp, fn, tn), weigh, strict=True):
                found.append(value)
        tp, fp, fn, tn = map(np.array, (tp, fp, fn, tn))
        recall = tp / (tp + fn)
        if curve == "ROC":
            x, y = fp / (fp + tn), recall
            expected = np.sum((x[:-1] - x[1:]) * (y[:-1] + y[1:]) / 2)
        else:
            x, y = recall, np.append(tp[:-1] / (tp + fp)[:-1], 0.0)
            expected = np.sum((x[:-1] - x[1:]) * np.minimum(y[:-1], y[1:]))
        assert metric(BITS, P, WEIGHT) == pytest.approx(expected, rel=1e-6)


@pytest.mark.filterwarnings("error")
def test_an_output_that_is_nan_exceeds_no_threshold():
    target, output = np.array([[1.0], [0.0], [1.0], [0.0]]), np.array([[0.9], [np.nan], [np.nan], [0.2]])
    for name, expected in (("precision", 1), ("recall", 0.5), ("false_positives", 0), ("false_negatives", 1)):
        assert metrics.get(name)(target, output) == expected
    for thresholds in (None, [0.3, 0.6]):
        assert metrics.AUC(thresholds=thresholds)(target, output) == 0.25  # Keras's
    model = Sequential([layers.Dense(1, input_shape=(1,))])
    model.compile("sgd", "bce", metrics=["AUC", metrics.PrecisionAtRecall(0.5)])
    model.set_weights([[[np.nan]], [0.0]])
    assert np.isnan(model.evaluate(np.ones((4, 1)), target)[0])


def test_the_ranked_probability_score_is_the_integral_it_is_defined_by():
    target, parameters = np.array([[0.3]]), np.array([[-0.2, 0.7]])
    scale = np.log1p(np.exp(0.7)) + 1e-6
    z = np.linspace(-12, 12, 200001)
    density = np.exp(-0.5 * ((z + 0.2) / scale) ** 2) / (scale * np.sqrt(2 * np.pi))
    cumulative = np.cumsum(density) * (z[1] - z[0])
    expected = np.sum((cumulative - (z >= 0.3)) ** 2) * (z[1] - z[0])
    assert metrics.CRPS()(target, parameters) == pytest.approx(expected, rel=1e-3)
    q = (np.arange(999) + 0.5) / 999
    quantiles = np.interp(q, cumulative, z)
    assert metrics.CRPS(list(q))(target, quantiles[None]) == pytest.approx(expected, rel=5e-3)
    assert metrics.PinballLoss(0.9)([[1.0]], [[3.0]]) == pytest.approx(0.2)


def test_names_in_logs_files_and_epochs(tmp_path):
    model = Sequential([layers.Dense(3, "softmax", input_shape=(3,))], seed=1)
    chosen = ["AUC", metrics.Precision(thresholds=0.4), metrics.F1Score("macro"), "mape", metrics.get("kld")]
    model.compile("sgd", "categorical_crossentropy", metrics=chosen)
    history = model.fit(X, ONE_HOT, epochs=2, batch_size=7, validation_data=(X, ONE_HOT), verbose=0).history
    assert [k for k in history if not k.startswith("val_")] == [
        "loss", "AUC", "precision", "f1_score", "mape", "kld",
    ]  # fmt: skip
    results = model.evaluate(X, ONE_HOT, return_dict=True, batch_size=7)
    assert results["AUC"] == pytest.approx(metrics.AUC()(ONE_HOT, model.predict(X)))
    assert history["val_precision"][-1] == pytest.approx(metrics.Precision(0.4)(ONE_HOT, model.predict(X)))
    model.save(tmp_path / "m.safetensors")
    assert rekur.load(tmp_path / "m.safetensors").evaluate(X, ONE_HOT, return_dict=True, batch_size=7) == results
    assert model._larger_is_better("precision") is True
    assert model._larger_is_better("mape") is False


def test_steps_and_weights_of_sequences_count():
    x, y = RNG.normal(size=(6, 5, 2)), RNG.integers(0, 2, size=(6, 5, 1))
    model = Sequential([layers.GRU(3, return_sequences=True, input_shape=(5, 2)), layers.Dense(1, "sigmoid")], seed=1)
    model.compile("sgd", "bce", metrics=["Recall"])
    lengths = np.array([5, 4, 3, 2, 1, 5])
    there = np.arange(5) < lengths[:, None]
    expected = metrics.Recall()(y[there], model.predict(x, lengths=lengths)[there])
    assert model.evaluate(x, y, lengths=lengths, batch_size=4)[1] == pytest.approx(expected)


EACH = [
    *KERAS,
    ("MeanIoU", {"num_classes": 3, "sparse_y_true": False, "sparse_y_pred": False}, ONE_HOT, P),
    ("SymmetricMeanAbsolutePercentageError", {}, Y, X),
    ("PinballLoss", {"quantiles": [0.1, 0.5, 0.9]}, Y[:, :1], X),
]


@pytest.mark.parametrize("case", EACH, ids=lambda case: f"{case[0]}-{case[1]}")
def test_steps_given_at_once_are_rows_and_those_of_weight_0_are_not_there(case):
    name, options, target, output = case
    weight = WEIGHT.copy()
    weight[::3] = 0
    expected = getattr(metrics, name)(**options)
    expected(target[weight > 0], output[weight > 0], weight[weight > 0])
    gone = target.astype(float)
    gone[weight == 0] = np.nan
    steps = (8, 5)
    for given in (weight.reshape(steps), weight.reshape(*steps, 1)):
        found = getattr(metrics, name)(**options)
        found.update_state(gone.reshape(steps + target.shape[1:]), output.reshape(*steps, 3), given)
        np.testing.assert_allclose(found.result(), expected.result(), rtol=1e-6)
    of_rows = [getattr(metrics, name)(**options) for _ in range(2)]
    of_rows[0](target, output, WEIGHT[:8].repeat(5))
    of_rows[1](target.reshape(steps + target.shape[1:]), output.reshape(*steps, 3), WEIGHT[:8])
    np.testing.assert_allclose(of_rows[1].result(), of_rows[0].result(), rtol=1e-6)


def test_a_function_of_all_rows_gets_weights_of_which_none_is_0():
    metric = metrics.OverAllRows(lambda y, p, sample_weight: np.sum(sample_weight) if (sample_weight > 0).all() else -1)
    weight = np.where(np.arange(40) % 2, WEIGHT, 0)
    metric.update_state(Y, X, weight)
    assert metric.result() == pytest.approx(np.sum(weight, dtype=float))


def test_weights_that_go_with_no_row_name_the_metric():
    for weight in (np.ones(39), np.ones((40, 2)), np.ones((40, 3))):
        with pytest.raises(ValueError, match="metric 'mean_squared_error': expected sample_weight of shape"):
            metrics.MeanSquaredError()(Y, X, weight)
    weight = RNG.uniform(size=(40, 3))  # of each output, where outputs are counted one by one
    right, said = BITS > 0, P > 0.5
    expected = np.sum(weight * (right & said)) / np.sum(weight * said)
    assert metrics.Precision()(BITS, P, weight) == pytest.approx(expected)


def test_weights_count_in_weighted_metrics_alone_and_rows_of_weight_0_in_none():
    model = Sequential([layers.Dense(1, input_shape=(3,))], seed=1)
    model.compile("sgd", "mse", metrics=["mae"], weighted_metrics=["mae"])
    error, weight = abs(model.predict(X) - Y[:, :1])[:, 0], WEIGHT.copy()
    weight[::4] = 0
    there = weight > 0
    for _ in range(2):
        got = model.evaluate(X, np.where(there[:, None], Y[:, :1], np.nan), sample_weight=weight, return_dict=True)
        assert got["mae"] == pytest.approx(error[there].mean(), rel=1e-5)
        assert got["weighted_mae"] == pytest.approx(np.average(error, weights=weight), rel=1e-5)
        model = rekur.models.model_from_json(model.to_json())  # which knows the two apart
        model.set_weights([np.zeros((3, 1)), np.zeros(1)])
        error = abs(Y[:, 0])


def test_class_weights_count_in_weighted_metrics_and_not_in_validation():
    model = Sequential([layers.Dense(3, "softmax", input_shape=(3,))], seed=1)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"], weighted_metrics=["accuracy"])
    model.optimizer.learning_rate = 0.0
    weights = {0: 1.0, 1: 5.0, 2: 0.5}
    logs = model.fit(X, CLASSES, validation_split=0.25, class_weight=weights, verbose=0).history
    right = np.argmax(model.predict(X), axis=-1) == CLASSES
    w = np.vectorize(weights.get)(CLASSES[:30])
    assert logs["accuracy"][0] == pytest.approx(right[:30].mean())
    assert logs["weighted_accuracy"][0] == pytest.approx(np.average(right[:30], weights=w))
    assert logs["val_weighted_accuracy"][0] == logs["val_accuracy"][0] == pytest.approx(right[30:].mean())
    assert logs["val_loss"][0] == pytest.approx(model.evaluate(X[30:], CLASSES[30:])[0], rel=1e-6)


def test_a_file_from_before_weighted_metrics_weighs_all_metrics(tmp_path):
    model = Sequential([layers.Dense(1, input_shape=(3,))], seed=1)
    model.compile("sgd", "mse", metrics=["mae"])
    model.evaluate(X, Y[:, :1])
    config = model.get_compile_config()
    assert config.pop("weighted") == [[False]]
    model.compile_from_config(config)
    weighed = np.average(abs(model.predict(X) - Y[:, :1])[:, 0], weights=WEIGHT)
    assert model.evaluate(X, Y[:, :1], sample_weight=WEIGHT)[1] == pytest.approx(weighed, rel=1e-5)


def test_weighted_metrics_are_there_beside_the_others():
    model = Sequential([layers.Dense(1, input_shape=(3,))], seed=1)
    model.compile("sgd", "mse", metrics=["mae"], weighted_metrics=["mae", "mape"])
    assert model.metrics_names == ["loss", "mae", "weighted_mae", "mape"]
    model.evaluate(X, Y[:, :1], sample_weight=WEIGHT)


def test_accuracy_of_smoothed_labels_is_that_of_the_loss():
    model = Sequential([layers.Dense(3, "sigmoid", input_shape=(3,))], seed=1)
    model.compile("sgd", losses.BinaryCrossentropy(label_smoothing=0.1), metrics=["accuracy"])
    expected = np.mean((model.predict(X) > 0.5) == (BITS > 0.5))
    assert model.evaluate(X, BITS)[1] == pytest.approx(expected)


def test_mistakes_name_the_metric():
    with pytest.raises(ValueError, match="thresholds"):
        metrics.Precision(thresholds=2)
    with pytest.raises(ValueError, match="label_weights are those of multi_label"):
        metrics.AUC(label_weights=[1, 2])
    with pytest.raises(ValueError, match="expected outputs of 2 labels, got 3"):
        metrics.AUC(multi_label=True, num_labels=2)(BITS, P)
    with pytest.raises(ValueError, match="expected one of roc, pr"):
        metrics.AUC(curve="LIFT")
    with pytest.raises(ValueError, match=r"did you mean 'precision'"):
        metrics.get("precission")
    model = Sequential([layers.Dense(3, input_shape=(3,))], seed=1)
    with pytest.raises(TypeError, match=r"metric 'f1_score' gives several numbers, .* average='macro'"):
        model.compile("sgd", "mse", metrics=[metrics.F1Score()])


@pytest.mark.parametrize(("metric", "expected"), [(metrics.Mean, 2.0), (metrics.Sum, 8.0)])
def test_a_mean_of_values_leaves_out_what_has_weight_0(metric, expected):
    values, weight = np.array([1.0, np.nan, 3.0]), np.array([2.0, 0.0, 2.0])
    assert metric()(values, weight) == metric()(values, weight[:, None]) == expected
    assert metric()(np.stack([values, values], 1), weight) == expected * (2 if metric is metrics.Sum else 1)
    with pytest.raises(
        ValueError, match=rf"'{metric.default_name}': expected sample_weight of shape \(3,\), got \(2,\)"
    ):
        metric()(values, weight[:2])
    with pytest.raises(TypeError, match=f"'{metric.default_name}': values"):
        metric()(["a", "b"])


def test_weights_that_go_with_no_row_name_the_loss():
    targets, outputs = np.zeros((4, 6, 2)), np.ones((4, 6, 2))
    for weight in (np.ones(3), np.ones((4, 5)), np.ones((4, 6, 2))):
        with pytest.raises(ValueError, match=r"mean_squared_error.*sample_weight of shape \(4,\) or \(4, 6\), got"):
            losses.MeanSquaredError()(targets, outputs, weight)
    outputs[1] = np.nan
    weight = np.array([1.0, 0.0, 2.0, 3.0])
    found = losses.MeanSquaredError()(targets, outputs, weight)
    assert found == losses.MeanSquaredError()(targets, outputs, weight[:, None]) == pytest.approx(6 / 4)
    labels, logits = np.ones((4, 2), int), np.zeros((4, 6, 3))
    with pytest.raises(ValueError, match=r"ctc: expected sample_weight of shape \(4,\), got \(3,\)"):
        losses.CTC()(labels, logits, np.ones(3))
    assert losses.CTC()(labels, logits, weight[:, None]) == pytest.approx(losses.CTC()(labels, logits) * 6 / 4)


class ErrorOfKeras(metrics.Metric):
    """As Keras's guides write their own."""

    def __init__(self, name="error", **options):
        super().__init__(name=name, **options)
        self.total = self.add_weight(name="total", initializer="zeros")
        self.by_output = self.add_weight(shape=(3,), name="by_output")
        self.count = self.add_weight(name="count", initializer=rekur.initializers.Constant(2.0))

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.total.assign_add(np.sum(np.abs(y_true - y_pred)))
        self.by_output.assign_add(np.sum(np.abs(y_true - y_pred), axis=0))
        self.count.assign_add(len(y_true))

    def result(self):
        assert float(self.total) == pytest.approx(self.by_output.sum())
        return self.total / self.count


class ErrorThatResets(ErrorOfKeras):
    def reset_state(self):
        self.total.assign(0.0)
        self.by_output.assign(np.zeros(3))
        self.count.assign(0)


@pytest.mark.parametrize("kind", [ErrorOfKeras, ErrorThatResets])
def test_a_metric_of_ones_own_as_keras_writes_it(kind):
    model = Sequential([layers.Dense(3, input_shape=(3,))])
    model.compile("sgd", "mae", metrics=[kind()])
    history = model.fit(X, Y, batch_size=16, epochs=2, verbose=0).history
    wanted = 3 * model.evaluate(X, Y, batch_size=7, verbose=0, return_dict=True)["loss"]
    assert model.evaluate(X, Y, batch_size=7, verbose=0, return_dict=True)["error"] == pytest.approx(wanted, rel=1e-5)
    np.testing.assert_allclose(history["error"], 3 * np.array(history["loss"]), rtol=1e-5)
    metric = kind()
    assert metric.count.numpy() == 2.0  # as it began
    metric(Y, Y + 1)
    assert metric.count.assign_sub(2) == len(Y)
    with pytest.raises(ValueError, match="'error': add_weight: initializer: expected zeros, ones or a constant"):
        metric.add_weight(initializer="glorot_uniform")


def test_targets_without_the_outputs_last_axis_are_the_same():
    y, p = np.array([1, 1, 0, 0]), np.array([[0.98], [1], [0], [0.6]])
    for metric in (metrics.BinaryAccuracy, metrics.MeanAbsoluteError, metrics.Precision, metrics.RootMeanSquaredError):
        assert metric()(y, p) == metric()(y[:, None], p) == metric()(y[:, None], p[:, 0])
