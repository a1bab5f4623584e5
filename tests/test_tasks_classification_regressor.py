"""rekur.tasks.SequenceRegressor: learning, intervals, conventions, deployment."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from rekur.tasks import NotFittedError, SequenceRegressor, load

SMALL: dict[str, Any] = {"units": 6, "filters": (8,), "random_state": 0}


def sums(n: int, seed: int = 0, ragged: bool = True) -> tuple[list[Any], Any]:
    """Sequences of two channels; the mean of the first and the largest of the second, both far from 0."""
    rng = np.random.default_rng(seed)
    x = [rng.normal(size=(rng.integers(8, 20) if ragged else 12, 2)) + rng.normal(size=2) * 2 for _ in range(n)]
    y = np.array([[1000 + 300 * row[:, 0].mean(), 0.01 * row[:, 1].max()] for row in x])
    return [100 + 7 * row for row in x], y


@pytest.fixture(scope="module")
def fitted() -> SequenceRegressor:
    made = SequenceRegressor(**SMALL, epochs=60, ensemble=2, validation_fraction=0.25, learning_rate=0.02)
    return made.fit(*sums(160))


def test_numbers_are_learned_at_their_scale(fitted):
    x, y = sums(60, 1)
    found = fitted.predict(x)
    assert found.shape == y.shape
    told = 1 - ((y - found) ** 2).mean(axis=0) / y.var(axis=0)
    assert (told > 0.7).all()
    assert fitted.score(x, y) == pytest.approx(told.mean())
    metrics = pytest.importorskip("sklearn.metrics")
    weights = np.arange(60.0)
    assert fitted.score(x, y, weights) == pytest.approx(metrics.r2_score(y, found, sample_weight=weights))
    one = SequenceRegressor(**SMALL, epochs=2).fit(x, y[:, 0])
    assert one.predict(x).shape == (60,)
    assert SequenceRegressor(**SMALL, epochs=2).fit(x, y[:, :1]).predict(x).shape == (60, 1)


def test_intervals_cover_what_they_promise(fitted):
    x, y = sums(300, 2)
    assert fitted.residuals_.shape == (40, 2) == (fitted.training_["held_out"], 2)
    for coverage in (0.5, 0.9):
        bounds = fitted.predict_interval(x, coverage)
        assert bounds.shape == (300, 2, 2)
        inside = ((bounds[..., 0] <= y) & (y <= bounds[..., 1])).mean(axis=0)
        assert (np.abs(inside - coverage) < 0.17).all()
    # The width by hand: the 37th of the 40 errors, ⌈41 · 0.9⌉.
    width = (bounds[..., 1] - bounds[..., 0]) / 2
    np.testing.assert_allclose(width[0], np.sort(np.abs(fitted.residuals_), axis=0)[36], rtol=1e-9)
    with pytest.raises(ValueError, match=r"40 sequences were held out; a coverage of 0\.99 needs 99 or more"):
        fitted.predict_interval(x, 0.99)
    with pytest.raises(ValueError, match="coverage"):
        fitted.predict_interval(x, 1.0)


def test_errors_by_folds():
    x, y = sums(40)
    made = SequenceRegressor(**SMALL, epochs=3, calibrate=True).fit(x, y[:, 0])
    assert made.residuals_ is not None and made.residuals_.shape == (40, 1)
    assert made.predict_interval(x[:3]).shape == (3, 2)
    # Networks that had learned from the sequences would tell them better than those that have not.
    none = SequenceRegressor(**SMALL, epochs=3).fit(x, y[:, 0])
    assert none.residuals_ is None
    np.testing.assert_array_equal(none.predict(x), made.predict(x))
    with pytest.raises(ValueError, match="set calibrate=True"):
        none.predict_interval(x)


def test_losses_are_of_mean_and_median():
    rng = np.random.default_rng(0)
    x = np.ones((200, 3))
    x += rng.normal(0, 1e-3, x.shape)
    y = rng.exponential(size=200)
    options = {**SMALL, "network": "rnn", "filters": None, "epochs": 60, "learning_rate": 0.02, "dropout": 0.0}
    mean = SequenceRegressor(**options).fit(x, y).predict(x).mean()
    median = SequenceRegressor(**options, loss="absolute_error").fit(x, y).predict(x).mean()
    between = SequenceRegressor(**options, loss="huber").fit(x, y).predict(x).mean()
    assert abs(mean - y.mean()) < 0.1 and abs(median - np.median(y)) < 0.1
    assert median < between < mean


def test_targets_that_do_not_vary():
    x, _ = sums(10)
    made = SequenceRegressor(**SMALL, epochs=30).fit(x, np.full(10, 7.0))
    np.testing.assert_allclose(made.predict(x), 7.0, atol=1.5)
    assert made.score(x, np.full(10, 7.0)) == 0.0 or made.predict(x).tolist() == [7.0] * 10


@pytest.mark.filterwarnings("ignore:Estimator SequenceRegressor does not inherit")
def test_scikit_learns_checks():
    checks = pytest.importorskip("sklearn.utils.estimator_checks")
    made = SequenceRegressor(units=12, filters=(16,), epochs=30, learning_rate=0.03, random_state=0)
    results = checks.check_estimator(made, on_fail="raise", on_skip=None)
    assert {r["check_name"] for r in results if r["status"] == "skipped"} <= {"check_array_api_input"}


def test_weights_are_rows_several_times():
    x, y = sums(20)
    counts = np.arange(20) % 3
    one = SequenceRegressor(**SMALL, epochs=2, validation_fraction=0.2).fit(x, y, sample_weight=counts)
    repeated = [row for row, count in zip(x, counts, strict=True) for _ in range(count)]
    two = SequenceRegressor(**SMALL, epochs=2, validation_fraction=0.2).fit(repeated, np.repeat(y, counts, axis=0))
    np.testing.assert_array_equal(one.predict(x), two.predict(x))


@pytest.mark.parametrize("way", ["file", "pickle", "copy"])
def test_what_was_learned_comes_back(fitted, tmp_path, way):
    x, _ = sums(20, 3)
    if way == "file":
        fitted.save(tmp_path / "m.safetensors")
        other = load(tmp_path / "m.safetensors")
        assert type(other) is SequenceRegressor
    else:
        other = pickle.loads(pickle.dumps(fitted)) if way == "pickle" else copy.deepcopy(fitted)
    np.testing.assert_array_equal(other.predict(x), fitted.predict(x))
    np.testing.assert_array_equal(other.predict_interval(x), fitted.predict_interval(x))


def test_summary_and_pictures(fitted, capsys):
    fitted.summary()
    text = capsys.readouterr().out
    for part in ("160 sequences of 2 channels, 8 to 19 steps", "targets   2", "40 held out", "errors    of 40"):
        assert part in text
    pytest.importorskip("matplotlib")
    assert "R²" in fitted.plot(*sums(20, 4), target=1).get_suptitle()
    assert fitted.plot().axes
    with pytest.raises(ValueError, match="target must be from 0 to 1"):
        fitted.plot(*sums(20, 4), target=2)


@pytest.mark.parametrize("table", [False, True])
def test_onnx_tells_numbers(fitted, tmp_path, table):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    x, y = sums(12, 5)
    made = fitted
    if table:
        x = np.stack([row[:8, 0] for row in x])
        made = SequenceRegressor(**SMALL, epochs=2).fit(x, y[:, 0])
    made.export_onnx(tmp_path / "m.onnx")
    feeds: dict[str, Any] = {"X": np.asarray(x, np.float32)} if table else {}
    if not table:
        feeds["lengths"] = np.array([len(row) for row in x], np.int32)
        feeds["X"] = np.zeros((12, feeds["lengths"].max(), 2), np.float32)
        for row, sequence in zip(feeds["X"], x, strict=True):
            row[: len(sequence)] = sequence
    (found,) = runtime.InferenceSession(str(tmp_path / "m.onnx")).run(["predictions"], feeds)
    np.testing.assert_allclose(found, made.predict(x).reshape(12, -1), rtol=1e-5, atol=1e-5)


def test_streams_answer_at_every_step(tmp_path):
    x, y = sums(20)
    made = SequenceRegressor(**SMALL, causal=True, epochs=2).fit(x, y)
    steps = made.stream().process(x[0].astype(np.float32))
    np.testing.assert_allclose(steps[4], made.predict([x[0][:5]])[0], rtol=1e-5)
    assert made.export_cpp(tmp_path / "m.hpp").path.exists()


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "requires y to be passed"),
        (["a"] * 8, "y: expected numbers, got 'a'"),
        ([np.nan] * 8, "Input y contains NaN"),
        ([1.0] * 7, r"inconsistent numbers of samples: \[8, 7\]"),
        (np.zeros((8, 2, 2)), r"expected shape \(N,\) or \(N, targets\)"),
        (np.zeros((8, 0)), r"expected shape \(N,\) or \(N, targets\)"),
    ],
)
def test_targets_that_are_none(y, message):
    with pytest.raises(ValueError, match=f"SequenceRegressor.*{message}"):
        SequenceRegressor(**SMALL, epochs=1).fit(sums(8)[0], y)


def test_parameters_that_are_none():
    x, y = sums(8)
    with pytest.raises(ValueError, match="loss 'mse' is unknown"):
        SequenceRegressor(loss="mse").fit(x, y)
    with pytest.raises(ValueError, match="calibrate must be 'auto', True or False"):
        SequenceRegressor(calibrate="vector").fit(x, y)
    for calibrate in (1, 0, np.array([True]), []):
        with pytest.raises(ValueError, match="calibrate must be 'auto', True or False"):
            SequenceRegressor(calibrate=calibrate).fit(x, y)
    for loss in ([], None, np.array(["huber"])):
        with pytest.raises(TypeError, match="loss must be one of"):
            SequenceRegressor(loss=loss).fit(x, y)
    made = SequenceRegressor(**SMALL, epochs=1, calibrate=np.True_).fit(x, y)
    assert made.residuals_ is not None and len(made.residuals_) == 8
    with pytest.raises(NotFittedError):
        SequenceRegressor().predict(x)
    with pytest.raises(NotFittedError):
        SequenceRegressor().predict_interval(x)
