"""rekur.tasks.SequenceClassifier: learning, calibration, conventions, deployment."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import rekur
from rekur.tasks import NotFittedError, SequenceClassifier, load
from rekur.tasks.classification import _calibration as calibration

SMALL: dict[str, Any] = {"units": 6, "filters": (8,), "random_state": 0}


def waves(n: int, channels: int = 1, ragged: bool = True, seed: int = 0) -> tuple[list[Any], Any]:
    """Sequences of three classes that differ by their frequency, at any phase and level."""
    rng = np.random.default_rng(seed)
    labels = np.array(["slow", "middle", "fast"])[np.arange(n) % 3]
    speed = np.array([0.2, 0.6, 1.5])[np.arange(n) % 3]
    found = []
    for k in range(n):
        t = np.arange(rng.integers(20, 40) if ragged else 30)[:, None]
        x = np.sin(speed[k] * t + rng.uniform(0, 6, channels)) + rng.normal(0, 0.1, (len(t), channels))
        found.append(50 + 10 * x)
    return found, labels


@pytest.fixture(scope="module")
def fitted() -> tuple[SequenceClassifier, list[Any], Any]:
    x, y = waves(60, 2)
    x[0][3, 1] = x[7][0] = x[31][:, 0] = np.nan
    made = SequenceClassifier(**SMALL, ensemble=2, epochs=30, validation_fraction=0.2, calibrate="vector").fit(x, y)
    return made, *waves(45, 2, seed=1)


@pytest.mark.parametrize("network", ["auto", "rnn", "lstm", "cnn_lstm", "lstm_fcn", "gru_fcn"])
@pytest.mark.parametrize("causal", [False, True])
def test_networks_learn(network, causal):
    x, y = waves(48)
    sizes = {"units": 12} if network in ("rnn", "lstm") else {"units": 6, "filters": (8, 12)}
    made = SequenceClassifier(
        network, **sizes, causal=causal, dropout=0.0, epochs=40, learning_rate=0.02, random_state=1
    )
    made.fit(x, y)
    assert made.score(*waves(30, seed=5)) > 0.8
    assert made.classes_.tolist() == ["fast", "middle", "slow"]


def test_answers_belong_together(fitted):
    made, x, y = fitted
    scores, p, logs = made.decision_function(x), made.predict_proba(x), made.predict_log_proba(x)
    assert scores.shape == p.shape == (45, 3) and p.dtype == np.float64
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(np.exp(logs), p, rtol=1e-10)
    np.testing.assert_allclose(np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True), p, rtol=1e-10)
    assert (made.predict(x) == made.classes_[p.argmax(axis=1)]).all()
    assert made.score(x, y) == (made.predict(x) == y).mean() > 0.8
    assert made.score(x, y, sample_weight=made.predict(x) == y) == 1.0
    # Scores are the calibrated mean of the networks', and a sequence has the same bits by itself.
    values, lengths = np.zeros((45, 39, 2), np.float32), np.array([len(row) for row in x])
    for row, given in zip(values, x, strict=True):
        row[: len(given)] = given
    mean = np.mean([m.predict(values, lengths=lengths, verbose=0) for m in made.models_], axis=0)
    expected = mean * made.calibration_["scale"] + made.calibration_["offset"]
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(made.predict_proba(x[4:5]), p[4:5])


def test_two_classes_have_one_score():
    x, y = waves(20)
    made = SequenceClassifier(**SMALL, epochs=1).fit(x, y == "slow")
    assert made.classes_.dtype == bool and made.decision_function(x).shape == (20,)
    assert ((made.decision_function(x) > 0) == made.predict(x)).all()


def test_same_seed_same_bits_in_any_order():
    x, y = waves(30)
    order = np.random.default_rng(3).permutation(30)
    one = SequenceClassifier(**SMALL, epochs=2).fit(x, y)
    two = SequenceClassifier(**SMALL, epochs=2).fit([x[k] for k in order], y[order])
    np.testing.assert_array_equal(one.predict_proba(x), two.predict_proba(x))
    other = SequenceClassifier(**{**SMALL, "random_state": 1}, epochs=2).fit(x, y)
    assert (one.predict_proba(x) != other.predict_proba(x)).any()


def test_weights_are_rows_several_times():
    x, y = waves(24)
    counts = np.arange(24) // 3 % 3
    weighted = SequenceClassifier(**SMALL, epochs=2, class_weight="balanced").fit(x, y, sample_weight=counts)
    repeated = [row for row, count in zip(x, counts, strict=True) for _ in range(count)]
    plain = SequenceClassifier(**SMALL, epochs=2, class_weight="balanced").fit(repeated, np.repeat(y, counts))
    np.testing.assert_array_equal(weighted.predict_proba(x), plain.predict_proba(x))
    unweighted = SequenceClassifier(**SMALL, epochs=2, class_weight="balanced").fit(x, y)
    assert (unweighted.predict_proba(x) != weighted.predict_proba(x)).any()


def test_a_weight_of_nothing_is_not_there():
    x, y = waves(30)
    long = [np.zeros((400, 1))] * 40  # would move the median, by which networks pool
    weights = np.repeat([1.0, 0.0], [30, 40])
    one = SequenceClassifier(**SMALL, epochs=1).fit(x, y)
    two = SequenceClassifier(**SMALL, epochs=1).fit(x + long, [*y, *["slow"] * 40], weights)
    assert one.architecture_ == two.architecture_
    np.testing.assert_array_equal(one.predict_proba(x), two.predict_proba(x))


def test_smoothed_labels_make_probabilities_flatter():
    x, y = waves(30)
    sure = SequenceClassifier(**SMALL, epochs=60, learning_rate=0.03).fit(x, y).predict_proba(x).max(axis=1)
    made = SequenceClassifier(**SMALL, epochs=60, learning_rate=0.03, label_smoothing=0.3).fit(x, y)
    smooth = made.predict_proba(x).max(axis=1)
    assert sure.mean() > 0.95 and smooth.mean() < 0.9
    assert made.history_[0]["accuracy"][-1] > 0.8


def test_class_weights_count():
    x, y = waves(30)
    usual = SequenceClassifier(**SMALL, epochs=15).fit(x, y)
    heavy = SequenceClassifier(**SMALL, epochs=15, class_weight={"slow": 50.0}).fit(x, y)
    assert heavy.predict_proba(x)[:, 2].mean() > usual.predict_proba(x)[:, 2].mean() + 0.1
    with pytest.raises(ValueError, match="class_weight has the label 'quick', which y has not"):
        SequenceClassifier(class_weight={"quick": 1}).fit(x, y)
    with pytest.raises(ValueError, match="class_weight must be dict, 'balanced', or None"):
        SequenceClassifier(class_weight="even").fit(x, y)


def test_missing_values_are_told_to_the_network():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 12))
    y = np.arange(60) % 2
    x[y == 1, 4] = np.nan  # that a value is missing is all that tells the classes apart
    made = SequenceClassifier(**SMALL, epochs=60).fit(x, y)
    assert made.score(x, y) == 1.0


def test_early_stopping_holds_sequences_out():
    x, y = waves(60)
    made = SequenceClassifier(**SMALL, epochs=60, patience=3, validation_fraction=0.25, learning_rate=0.03).fit(x, y)
    history = made.history_[0]
    assert made.training_["held_out"] == 15 and made.training_["learned_from"] == 45
    best = int(np.argmin(history["val_loss"]))
    assert len(history["val_loss"]) <= best + 4
    assert made.calibration_["method"] == "temperature" and made.calibration_["sequences"] == 15
    assert SequenceClassifier(**SMALL, epochs=1).fit(x, y).calibration_ == {"method": None}


def test_calibration_by_folds():
    x, y = waves(30)
    made = SequenceClassifier(**SMALL, epochs=3, calibrate="temperature").fit(x, y)
    assert made.training_["held_out"] == 0 and made.calibration_["sequences"] == 30
    assert len(set(made.calibration_["scale"])) == 1 and not made.calibration_["offset"].any()


def test_calibration_by_folds_is_of_networks_that_have_not_seen_the_sequence():
    """Labels that mean nothing: a network learns some by heart, and who asks it about these believes it."""
    x, _ = waves(60)
    y = np.random.default_rng(3).integers(0, 2, 60)
    made = SequenceClassifier("lstm", units=24, dropout=0.0, epochs=60, learning_rate=0.02, random_state=1)
    own = made.set_params(calibrate=None).fit(x, y).predict_proba(x)[np.arange(60), y]
    assert -np.log(own).mean() < np.log(2) - 0.05
    made.set_params(calibrate="temperature").fit(x, y)
    assert made.calibration_["before"]["log_loss"] > np.log(2) + 0.1
    assert made.predict_proba(waves(60, seed=9)[0]).max(axis=1).mean() < 0.53


@pytest.mark.parametrize("fraction", [0.4, 0.0])
def test_calibration_leaves_class_weights_out(fraction):
    def levels(n: int, seed: int) -> tuple[Any, Any]:
        rng = np.random.default_rng(seed)
        y = (rng.uniform(size=n) < 0.1).astype(int)
        return rng.normal(size=(n, 6)) + 0.5 * y[:, None], y

    x, y = levels(400, 0)
    options: dict[str, Any] = {**SMALL, "class_weight": "balanced", "validation_fraction": fraction, "epochs": 4}
    made = SequenceClassifier(**options, calibrate="vector").fit(x, y)
    new, _ = levels(1000, 1)
    assert SequenceClassifier(**options, calibrate=None).fit(x, y).predict_proba(new)[:, 1].mean() > 0.25
    assert made.predict_proba(new)[:, 1].mean() == pytest.approx(0.1, abs=0.04)
    assert made.calibration_["after"]["log_loss"] < made.calibration_["before"]["log_loss"] - 0.1


# Calibration by itself, against scores whose temperature is known.


@pytest.mark.parametrize("seed", range(5))
def test_no_class_is_turned_round(seed):
    """Scores that by chance say the opposite of their labels are worth nothing: they are not read the other way."""
    optimize = pytest.importorskip("scipy.optimize")
    rng = np.random.default_rng(seed)
    scores, labels = rng.normal(size=(40, 3)), rng.integers(0, 3, 40)
    scores[np.arange(40), labels] -= 1.0
    found = calibration.vector(scores, labels)
    np.testing.assert_allclose(found.scale, 0.05, atol=1e-6)
    # The least loss that there is with such scales: the offsets are those of a search of its own.
    offsets = optimize.minimize(lambda b: calibration.log_loss(0.05 * scores + [0, *b], labels), [0.0, 0.0]).x
    best = calibration.log_loss(0.05 * scores + [0, *offsets], labels)
    assert calibration.log_loss(found(scores), labels) < best + 2e-3


@pytest.mark.parametrize("hotter", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("classes", [2, 5])
def test_temperature_is_found(hotter, classes):
    rng = np.random.default_rng(0)
    true = rng.normal(0, 2, (4000, classes))
    labels = np.array([rng.choice(classes, p=p) for p in calibration.softmax(true)])
    found = calibration.temperature(true * hotter, labels)
    np.testing.assert_allclose(found.scale, 1 / hotter, rtol=0.1)
    assert calibration.calibration_error(calibration.softmax(found(true * hotter)), labels) < 0.03
    optimize = pytest.importorskip("scipy.optimize")
    aims = np.full((4000, classes), 1 / 4002 / (classes - 1))
    aims[np.arange(4000), labels] = 1 - 1 / 4002

    def loss(b: float) -> float:
        return -float((aims * np.log(calibration.softmax(true * hotter * b))).sum())

    best = optimize.minimize_scalar(loss, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-8}).x
    np.testing.assert_allclose(found.scale[0], best, rtol=1e-4)


def test_vector_scaling_finds_scale_and_offset():
    rng = np.random.default_rng(1)
    true = rng.normal(0, 2, (6000, 3))
    labels = np.array([rng.choice(3, p=p) for p in calibration.softmax(true)])
    given = (true - [0.0, 1.0, -2.0]) / [0.5, 1.0, 2.0]
    found = calibration.vector(given, labels)
    np.testing.assert_allclose(found.scale, [0.5, 1.0, 2.0], rtol=0.12)
    np.testing.assert_allclose(found.offset - found.offset.mean(), [1 / 3, 4 / 3, -5 / 3], atol=0.15)
    assert calibration.log_loss(found(given), labels) < calibration.log_loss(given, labels) - 0.1


@pytest.mark.parametrize("method", ["temperature", "vector"])
def test_scores_that_are_always_right_stay_finite(method):
    scores = np.eye(3)[np.arange(30) % 3] * 5
    found = calibration.METHODS[method](scores, np.arange(30) % 3)
    p = calibration.softmax(found(scores)).max(axis=1)
    assert (p > 0.9).all() and (p < 0.99).all()  # 30 right ones of 30 say no more
    odd = calibration.METHODS[method](np.zeros((4, 3)), np.array([0, 0, 1, 2]))
    assert np.isfinite(odd.scale).all() and np.isfinite(odd.offset).all()


def test_calibration_error_by_hand():
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.35, 0.65], [0.4, 0.6]])
    assert calibration.calibration_error(p, np.array([0, 1, 1, 0]), bins=5) == pytest.approx(
        0.5 * abs(0.5 - 0.9) + 0.5 * abs(0.5 - 0.625)
    )


# Conventions.


@pytest.mark.filterwarnings("ignore:Estimator SequenceClassifier does not inherit")
def test_scikit_learns_checks():
    checks = pytest.importorskip("sklearn.utils.estimator_checks")
    results = checks.check_estimator(SequenceClassifier(**SMALL, epochs=20), on_fail="raise", on_skip=None)
    assert {r["check_name"] for r in results if r["status"] == "skipped"} <= {"check_array_api_input"}


def test_searches_and_pipelines_take_lists():
    selection = pytest.importorskip("sklearn.model_selection")
    pipeline = pytest.importorskip("sklearn.pipeline")
    x, y = waves(24)
    search = selection.GridSearchCV(
        SequenceClassifier(**SMALL, epochs=2), {"units": [4, 6], "network": ["rnn", "gru"], "filters": [None]}, cv=2
    )
    assert search.fit(x, y).best_estimator_.predict(x).shape == (24,)
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    cut = preprocessing.FunctionTransformer(lambda rows: [row[:20] for row in rows])
    line = pipeline.make_pipeline(cut, SequenceClassifier(**SMALL, epochs=2)).fit(x, y)
    assert line.predict_proba(x).shape == (24, 3)
    assert selection.cross_val_predict(line, x, y, cv=2, method="predict_proba").shape == (24, 3)


@pytest.mark.parametrize("way", ["file", "pickle", "copy"])
def test_what_was_learned_comes_back(fitted, tmp_path, way):
    made, x, _ = fitted
    if way == "file":
        made.save(tmp_path / "m.safetensors")
        other = load(tmp_path / "m.safetensors")
        assert SequenceClassifier.load(tmp_path / "m.safetensors").get_params() == made.get_params()
    else:
        other = pickle.loads(pickle.dumps(made)) if way == "pickle" else copy.deepcopy(made)
    np.testing.assert_array_equal(other.predict_proba(x), made.predict_proba(x))
    assert other.predict(x).tolist() == made.predict(x).tolist()
    assert other.history_ == made.history_ and other.get_params() == made.get_params()


def test_summary_says_what_there_was(fitted, capsys):
    fitted[0].summary()
    text = capsys.readouterr().out
    for part in ("60 sequences of 2 channels", "3: fast, middle, slow", "12 held out", "missing", "vector", "2"):
        assert part in text
    with pytest.raises(NotFittedError):
        SequenceClassifier().summary()


def test_pictures(fitted):
    pytest.importorskip("matplotlib")
    made, x, y = fitted
    assert made.plot().axes
    figure = made.plot(x, y)
    assert "right" in figure.get_suptitle()
    with pytest.raises(ValueError, match="X and y, or neither"):
        made.plot(x)


# Deployment.


@pytest.mark.parametrize("labels", [["b", "a"], [7, -3], [True, False]])
@pytest.mark.parametrize("kind", ["table", "ragged", "cube"])
def test_onnx_tells_labels(tmp_path, labels, kind):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    x, y = waves(20, 1 if kind == "table" else 2, ragged=kind == "ragged")
    y = np.array(labels)[(y == "slow").astype(int)]
    given: Any = x if kind == "ragged" else np.stack(x)[..., 0] if kind == "table" else np.stack(x)
    if kind != "ragged":
        given[2, 3] = np.nan
    made = SequenceClassifier(**SMALL, epochs=2, ensemble=2, calibrate="temperature").fit(given, y)
    report = made.export_onnx(tmp_path / "m.onnx")
    assert report.path == tmp_path / "m.onnx"
    session = runtime.InferenceSession(str(tmp_path / "m.onnx"))
    assert [value.name for value in session.get_outputs()] == ["label", "probabilities"]
    feeds: dict[str, Any] = {"X": np.asarray(given, np.float32)} if kind != "ragged" else {}
    if kind == "ragged":
        feeds["lengths"] = np.array([len(row) for row in x], np.int32)
        feeds["X"] = np.zeros((20, feeds["lengths"].max(), 2), np.float32)
        for row, sequence in zip(feeds["X"], x, strict=True):
            row[: len(sequence)] = sequence
    label, probabilities = session.run(None, feeds)
    np.testing.assert_allclose(probabilities, made.predict_proba(given), atol=1e-5)
    assert label.tolist() == made.predict(given).tolist()


def test_streams_answer_at_every_step(fitted, tmp_path):
    x, y = waves(30, 2)
    made = SequenceClassifier(**SMALL, causal=True, epochs=3, ensemble=2).fit(x, y)
    stream = made.stream()
    steps = np.stack([stream.step(row) for row in x[0].astype(np.float32)])
    assert steps.shape == (len(x[0]), 3)
    for t in (1, 5, len(x[0])):
        np.testing.assert_allclose(steps[t - 1], made.predict_proba([x[0][:t]])[0], atol=2e-6)
    report = made.export_cpp(tmp_path / "walk.hpp")
    assert report.path.exists()
    with pytest.raises(ValueError, match="causal=True"):
        fitted[0].stream()


def test_prediction_is_quick(fitted):
    import time

    made, x, _ = fitted
    made.predict(x[:1])
    times = []
    for _ in range(30):
        begin = time.perf_counter()
        made.predict(x[:1])
        times.append(time.perf_counter() - begin)
    assert min(times) < 2e-3


# What is refused.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": "transformer"}, "network 'transformer' is unknown"),
        ({"network": 3}, "network must be one of"),
        ({"network": "lstm", "cell": "gru"}, "says its cell"),
        ({"network": "rnn", "filters": (8,)}, "filters are of convolutions"),
        ({"cell": "gruu"}, "cell 'gruu' is unknown; did you mean 'gru'"),
        ({"units": 0}, "units must be at least 1"),
        ({"units": ()}, "units must be a number or several"),
        ({"filters": "8"}, "filters must be an integer"),
        ({"dropout": 1.0}, "dropout must be below 1"),
        ({"causal": "yes"}, "causal must be True or False"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"batch_size": 1.5}, "batch_size must be an integer"),
        ({"learning_rate": -1}, "learning_rate"),
        ({"learning_rate": 0}, "learning_rate must be above 0"),
        ({"label_smoothing": 1}, "label_smoothing must be below 1"),
        ({"validation_fraction": 1.0}, "validation_fraction must be below 1"),
        ({"patience": 0}, "patience must be at least 1"),
        ({"calibrate": "isotonic"}, "calibrate 'isotonic' is unknown"),
        ({"ensemble": 0}, "ensemble must be at least 1"),
        ({"random_state": "a"}, "random_state"),
        ({"verbose": 2}, "verbose must be 0 or 1"),
    ],
)
def test_parameters_that_are_none(options, message):
    with pytest.raises((ValueError, TypeError), match=f"SequenceClassifier: .*{message}"):
        SequenceClassifier(**options).fit(*waves(12))


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "requires y to be passed"),
        (["a"] * 12, "one class, 'a'"),
        (["a", "b"], r"inconsistent numbers of samples: \[12, 2\]"),
        ([np.nan] + [1.0, 2.0] * 5 + [1.0], "Input y contains NaN"),
        ([np.inf] + [1.0, 2.0] * 5 + [1.0], "Input y contains infinity"),
        ([None] + ["a", "b"] * 5 + ["a"], "Input y contains NaN: no label at place 0"),
        (np.linspace(0, 1, 12), "Unknown label type: continuous"),
        (["a", 1] * 6, "labels of several types"),
        (np.zeros((12, 2)), "y should be a 1d array"),
        ([{"a": 1}] * 12, "Unknown label type"),
        (np.arange(12) * 1j, "Complex data not supported"),
    ],
)
def test_labels_that_are_none(y, message):
    with pytest.raises(ValueError, match=f"SequenceClassifier: .*{message}|SequenceClassifier {message}"):
        SequenceClassifier(**SMALL, epochs=1).fit(waves(12)[0], y)


def test_sequences_that_do_not_fit(fitted):
    made, x, y = fitted
    with pytest.raises(ValueError, match="X has 1 features, but SequenceClassifier is expecting 2"):
        made.predict(waves(3)[0])
    with pytest.raises(ValueError, match="sequence 1 has 0 steps"):
        made.predict([x[0], x[1][:0]])
    with pytest.raises(NotFittedError):
        SequenceClassifier().predict(x)
    with pytest.raises(ValueError, match="all weights are zero"):
        SequenceClassifier().fit(x, y, sample_weight=np.zeros(45))
    with pytest.raises(ValueError, match="negative"):
        SequenceClassifier().fit(x, y, sample_weight=-np.ones(45))


def test_cells_of_the_library_and_of_ones_own(tmp_path):
    x, y = waves(12)
    made = SequenceClassifier(**SMALL, cell="mgu", epochs=1).fit(x, y)
    made.save(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(load(tmp_path / "m.safetensors").predict_proba(x), made.predict_proba(x))
    own = SequenceClassifier(**SMALL, cell=rekur.cells.light_gru, epochs=1).fit(x, y)
    assert own.architecture_["cell"] == "light_gru"
    with pytest.raises(TypeError, match=r"params\.cell"):
        own.save(tmp_path / "own.safetensors")
