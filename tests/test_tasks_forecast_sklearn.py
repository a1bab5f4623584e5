"""Forecaster in scikit-learn: searches, pipelines, clones, its estimator checks; what it says and shows of itself."""

import warnings

import numpy as np
import pytest

from rekur.tasks import Forecaster

sklearn = pytest.importorskip("sklearn")
RNG = np.random.default_rng(2)
QUICK = {"epochs": 2, "units": 4, "context": 12, "random_state": 0, "batch_size": 32}
X = RNG.normal(size=(160, 2))
Y = 10 + 3 * X[:, 0] + 0.1 * RNG.normal(size=160)


def test_clone_and_parameters():
    from sklearn.base import clone

    model = Forecaster(3, units=5).fit(Y[:60])
    other = clone(model)
    assert other.get_params() == model.get_params() and not other.__sklearn_is_fitted__()
    assert other.set_params(units=7).units == 7
    assert repr(other) == "Forecaster(horizon=3, units=7)"


def test_grid_search_over_rows_in_time():
    from sklearn.model_selection import GridSearchCV, TimeSeriesSplit

    search = GridSearchCV(
        Forecaster(20, **QUICK), {"learning_rate": [1e-5, 0.02], "epochs": [25]}, cv=TimeSeriesSplit(2, test_size=20)
    )
    search.fit(X, Y)
    assert search.best_params_["learning_rate"] == 0.02
    assert search.predict(X[:30]).shape == (30,)  # more than the horizon: forecasts go on from forecasts


def test_grid_search_over_a_table():
    from sklearn.model_selection import GridSearchCV, TimeSeriesSplit

    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"load": Y}, index=pandas.date_range("2024-01-01", periods=160, freq="D"))
    search = GridSearchCV(Forecaster(5, **QUICK), {"cell": ["gru", "lstm"]}, cv=TimeSeriesSplit(2, test_size=20))
    search.fit(frame)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert len(search.best_estimator_.predict()) == 5


def test_pipeline():
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), Forecaster(10, **{**QUICK, "epochs": 40, "learning_rate": 0.02}))
    told = model.fit(X[:-10], Y[:-10]).predict(X[-10:])
    assert told.shape == (10,)
    assert np.abs(told - Y[-10:]).mean() < 0.6 * np.abs(Y[-10:] - Y[-11]).mean()


def test_score_is_minus_mase():
    model = Forecaster(4, **QUICK).fit(Y[:100])
    told = [model.predict(Y[: 100 + k]) for k in range(0, 12, 4)]
    error = np.mean([np.abs(t - Y[100 + k : 104 + k]).mean() for t, k in zip(told, range(0, 12, 4), strict=True)])
    scale = np.abs(np.diff(Y[:100])).mean()
    assert model.score(Y[:112]) == pytest.approx(-error / scale, rel=1e-5)
    for given in (Y[:100], Y[100:112]):
        with pytest.raises(ValueError, match="no step behind the training data; without times it must hold"):
            model.score(given)
    rows = Forecaster(4, **QUICK).fit(X[:100], Y[:100])
    assert rows.score(X[100:104], Y[100:104]) == pytest.approx(
        -np.abs(rows.predict(X[100:104]) - Y[100:104]).mean() / scale, rel=1e-6
    )


def test_score_leaves_out_a_target_that_never_changed():
    flat = np.stack([Y[:100], np.full(100, 7.0)], axis=1)
    ahead = np.stack([Y[100:104], np.full(4, 8.0)], axis=1)
    model = Forecaster(4, **QUICK).fit(X[:100], flat)
    error = np.abs(model.predict(X[100:104])[:, 0] - Y[100:104]).mean()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.score(X[100:104], ahead) == pytest.approx(-error / np.abs(np.diff(Y[:100])).mean())
        table = Forecaster(4, **QUICK).fit(flat)
        assert np.isfinite(table.score(np.concatenate([flat, ahead])))
        constant = Forecaster(4, **QUICK).fit(X[:100], flat[:, 1])
        assert np.isnan(constant.score(X[100:104], ahead[:, 1]))


def test_bands_paths_and_pictures_take_the_covariates_to_come():
    model = Forecaster(6, **{**QUICK, "epochs": 20, "learning_rate": 0.02}).fit(X[:150], Y[:150])
    ahead, other = X[150:156], X[150:156] + 2
    told = model.predict(ahead)
    np.testing.assert_allclose(model.predict_quantiles(ahead)[:, 4], told, rtol=1e-6)
    np.testing.assert_allclose(model.predict_interval(ahead)[:, 0], told, rtol=1e-6)
    assert np.abs(model.predict_quantiles(other)[:, 4] - told).max() > 0.1
    paths = model.sample(400, ahead, random_state=0)
    assert paths.shape == (6, 400) and np.abs(np.median(paths, axis=1) - told).max() < 0.5
    assert model.predict_quantiles(ahead[:2]).shape == (2, 9) and model.sample(3, ahead[:2]).shape == (2, 3)
    np.testing.assert_allclose(model.predict_quantiles(ahead[:2])[:, 4], model.predict(ahead[:2]), rtol=1e-6)
    for name in ("predict", "predict_quantiles", "predict_interval", "sample", "plot"):
        method = getattr(model, name)
        with pytest.raises(ValueError, match=f"{name}: X must hold the covariates of the steps to come, got None"):
            method()
        with pytest.raises(ValueError, match=f"{name}: fit was given y"):
            method(X=ahead, future=ahead)
        with pytest.raises(ValueError, match="X has 3 features, but Forecaster is expecting 2"):
            method(X=np.zeros((6, 3)))
        if name != "predict":
            with pytest.raises(ValueError, match=f"{name}: X must have at most 6 rows, the horizon, .* got 7"):
                method(X=X[150:157])
    with pytest.raises(ValueError, match="score: fit was given y"):
        model.score(ahead)
    plain = Forecaster(3, **QUICK).fit(None, Y)
    assert plain.predict_quantiles().shape == (3, 9) and plain.sample(4).shape == (3, 4)
    pytest.importorskip("matplotlib")
    assert model.plot(ahead).axes and model.plot(ahead[:2]).axes and plain.plot().axes


# What cannot hold where rows are time: predict(X) tells the steps after those of fit, whatever rows X has.
_ROWS_ARE_TIME = "rows are steps in time: forecasts follow the training data and one another"
EXPECTED = {
    "check_methods_subset_invariance": _ROWS_ARE_TIME,
    "check_methods_sample_order_invariance": _ROWS_ARE_TIME,
}


def test_check_estimator():
    from sklearn.utils.estimator_checks import check_estimator

    model = Forecaster(2, epochs=1, units=2, context=4, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it derives from no class of scikit-learn, which it need not
        results = check_estimator(model, expected_failed_checks=EXPECTED, on_fail=None, on_skip=None)
    failed = [r for r in results if r["status"] == "failed"]
    assert not failed, [(r["check_name"], r["exception"]) for r in failed]


def test_summary_says_what_was_understood():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {"load": Y, "kind": ["a", "b"] * 80},
        index=pandas.date_range("2024-01-01", periods=160, freq="h", tz="Asia/Tokyo"),
    )
    frame.iloc[3:5, 0] = np.nan
    model = Forecaster(3, target="load", future="kind", **QUICK).fit(frame)
    told = []
    model.summary(told.append)
    for words in ("1 series, 160 steps of 1 hour, Asia/Tokyo", "load, 3 steps ahead", "2 values", "kind", "12 steps"):
        assert words in told[0]


def test_pictures():
    pytest.importorskip("matplotlib")
    model = Forecaster(3, **QUICK).fit([Y[:80], 5 * Y[:90]])
    figure = model.plot()
    assert len(figure.axes) >= 2
    assert model.backtest([Y[:80], 5 * Y[:90]], folds=2).plot().axes
