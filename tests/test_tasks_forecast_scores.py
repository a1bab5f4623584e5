"""Scores, baselines and conformal calibration of rekur.tasks.forecasting, against formulas written out here."""

import math

import numpy as np
import pytest

from rekur.tasks.forecasting import baselines, conformal, scores

RNG = np.random.default_rng(7)
Y = RNG.normal(5, 2, size=(4, 6))
F = Y + RNG.normal(size=Y.shape)


def test_points():
    pairs = list(zip(Y.ravel().tolist(), F.ravel().tolist(), strict=True))
    n = len(pairs)
    assert scores.mae(Y, F) == pytest.approx(sum(abs(a - b) for a, b in pairs) / n)
    assert scores.rmse(Y, F) == pytest.approx(math.sqrt(sum((a - b) ** 2 for a, b in pairs) / n))
    assert scores.smape(Y, F) == pytest.approx(sum(200 * abs(a - b) / (abs(a) + abs(b)) for a, b in pairs) / n)
    assert scores.smape([0.0, 1.0], [0.0, 1.0]) == 0
    np.testing.assert_allclose(scores.mae(Y, F, axis=0), np.abs(Y - F).mean(axis=0))


def test_missing_values_are_left_out():
    y, f = [1.0, np.nan, 3.0, 4.0], [2.0, 5.0, np.nan, 2.0]
    assert scores.mae(y, f) == pytest.approx(1.5)
    assert scores.rmse(y, f) == pytest.approx(math.sqrt(2.5))
    assert math.isnan(scores.mae([np.nan], [1.0]))
    assert scores.coverage(y, [0, 0, 0, 5], [9, 9, 9, 9]) == pytest.approx(2 / 3)


def test_mase_scales_by_the_season():
    history = np.array([1.0, 4.0, 2.0, 6.0, 4.0, 9.0])
    assert scores.naive_error(history, 2) == pytest.approx((1 + 2 + 2 + 3) / 4)
    assert scores.mase([5.0, 8.0], [4.0, 10.0], history, 2) == pytest.approx(1.5 / 2)
    assert scores.naive_error([1.0, 3.0], 5) == 2  # shorter than a season
    assert scores.naive_error([1.0, np.nan, 3.0, 4.0], 1) == 1
    assert math.isnan(scores.mase([1.0], [2.0], [3.0, 3.0, 3.0]))


def test_pinball_and_crps_of_quantiles():
    quantiles = [0.1, 0.5, 0.9]
    told = np.stack([F - 1, F, F + 1], axis=-1)
    expected = 0.0
    for y, row in zip(Y.ravel(), told.reshape(-1, 3), strict=True):
        for q, f in zip(quantiles, row, strict=True):
            expected += (q if y >= f else q - 1) * (y - f)
    expected /= Y.size * 3
    assert scores.pinball(Y, told, quantiles) == pytest.approx(expected)
    assert scores.crps(Y, told, quantiles) == pytest.approx(2 * expected)
    assert scores.pinball(Y, F[..., None], [0.5]) == pytest.approx(scores.mae(Y, F) / 2)


def test_crps_of_samples_is_that_of_the_normal():
    """Against the closed form of the normal distribution: Gneiting et al., Monthly Weather Review 133, 2005."""
    x = RNG.normal(1.0, 2.0, size=(1, 200_000))
    z = (3.0 - 1.0) / 2.0
    cdf, pdf = 0.5 * (1 + math.erf(z / math.sqrt(2))), math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    exact = 2.0 * (z * (2 * cdf - 1) + 2 * pdf - 1 / math.sqrt(math.pi))
    assert scores.crps([3.0], x) == pytest.approx(exact, rel=0.01)
    small = RNG.normal(size=(3, 5))
    by_hand = [
        np.abs(s - y).mean() - np.abs(s[:, None] - s).sum() / (2 * 5 * 4)
        for s, y in zip(small, [0.1, 0.2, 0.3], strict=True)
    ]
    assert scores.crps([0.1, 0.2, 0.3], small) == pytest.approx(np.mean(by_hand))


def test_intervals():
    y, low, high = [1.0, 5.0, 9.0], [0.0, 6.0, 2.0], [2.0, 8.0, 7.0]
    assert scores.coverage(y, low, high) == pytest.approx(1 / 3)
    assert scores.width(low, high) == pytest.approx(9 / 3)
    assert scores.interval_score(y, low, high, 0.8) == pytest.approx((9 + 10 * (1 + 2)) / 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: scores.mae([1.0], [1.0, 2.0]), "expected a forecast of the actual values' shape"),
        (lambda: scores.pinball([1.0], [[1.0]], [1.5]), "quantiles must be numbers between 0 and 1"),
        (lambda: scores.pinball([1.0], [[1.0, 2.0]], [0.5]), "expected a forecast of shape"),
        (lambda: scores.interval_score([1.0], [0.0], [2.0], 1.0), "coverage must lie between 0 and 1"),
        (lambda: scores.naive_error([[1.0]]), "expected a series of shape"),
        (lambda: baselines.forecast("naiv", [1.0], 2), "did you mean 'naive'"),
        (lambda: baselines.naive([np.nan], 2), "the series has no value"),
    ],
)
def test_errors_say_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_naive_forecasts():
    y = [3.0, 1.0, 4.0, 1.0, 5.0]
    point, bands = baselines.naive(y, 3, [0.1, 0.9])
    assert point.tolist() == [5.0, 5.0, 5.0]
    sigma = math.sqrt((4 + 9 + 9 + 16) / 4)
    np.testing.assert_allclose(bands[:, 1] - point, 1.2815515655446004 * sigma * np.sqrt([1, 2, 3]))
    np.testing.assert_allclose(bands[:, 0] + bands[:, 1], 2 * point)
    point, bands = baselines.seasonal_naive(y, 5, 2, [0.9])
    assert point.tolist() == [1.0, 5.0, 1.0, 5.0, 1.0]
    sigma = math.sqrt((1 + 0 + 1) / 3)
    np.testing.assert_allclose(bands[:, 0] - point, 1.2815515655446004 * sigma * np.sqrt([1, 1, 2, 2, 3]))
    assert baselines.seasonal_naive([np.nan, 1.0, 2.0, np.nan], 2, 2)[0].tolist() == [2.0, 2.0]
    assert baselines.seasonal_naive([1.0, 2.0], 2, 7)[0].tolist() == [2.0, 2.0]


def test_baselines_of_statsforecast():
    if "AutoETS" not in baselines.available():
        with pytest.raises(ImportError, match="pip install"):
            baselines.forecast("AutoETS", [1.0, 2.0], 1)
        pytest.skip("statsforecast is not installed")
    y = 10 + np.sin(np.arange(60) * np.pi / 6) + 0.1 * RNG.normal(size=60)
    for name in ("AutoETS", "AutoARIMA"):
        point, bands = baselines.forecast(name, y, 6, 12, [0.1, 0.5, 0.9])
        assert point.shape == (6,) and bands.shape == (6, 3)
        assert (np.diff(bands, axis=1) > 0).all()
        assert np.abs(point - (10 + np.sin(np.arange(60, 66) * np.pi / 6))).max() < 0.6


def test_conformal_quantile_is_the_order_statistic():
    values = np.array([5.0, 1.0, np.nan, 3.0, 2.0, 4.0])
    assert conformal.conformal_quantile(values, 0.5) == 3.0  # ⌈6 · 0.5⌉ = 3rd of five
    assert conformal.conformal_quantile(values, 0.8) == 5.0  # ⌈6 · 0.8⌉ = 5th
    assert conformal.conformal_quantile(values, 0.99) == 5.0
    assert conformal.conformal_quantile(np.array([np.nan]), 0.5) == 0.0


@pytest.mark.parametrize("spread", [0.3, 3.0])
def test_bands_hold_after_calibration(spread):
    """Bands that are far too narrow, or too wide, by a factor that differs from step to step."""
    quantiles = [0.1, 0.25, 0.5, 0.75, 0.9]
    z = np.array([-1.2816, -0.6745, 0.0, 0.6745, 1.2816])
    steps = np.array([0.5, 1.0, 2.0])

    def draw(n):
        return RNG.normal(size=(n, 3)) * steps

    told = steps[:, None] * spread * z
    offsets = conformal.offsets(draw(2000)[..., None] - told, quantiles)
    fresh = draw(20_000)
    for low, high, share in ((0, 4, 0.8), (1, 3, 0.5)):
        moved = told + offsets
        inside = (fresh >= moved[:, low]) & (fresh <= moved[:, high])
        np.testing.assert_allclose(inside.mean(axis=0), share, atol=0.04)
    assert (offsets[:, 2] == 0).all()


def test_conformal_guarantee_is_exact_on_exchangeable_scores():
    """With n scores held back the band holds with probability ⌈(n+1)·0.8⌉/(n+1) on average, whatever the errors."""
    held, n = [], 9
    for _ in range(4000):
        errors = RNG.exponential(size=(n + 1, 1, 1))
        level = conformal.conformal_quantile(errors[:n, 0, 0], 0.8)
        held.append(errors[n, 0, 0] <= level)
    assert np.mean(held) == pytest.approx(0.8, abs=0.02)


def test_a_quantile_without_mirror_image_is_moved_by_its_own_errors():
    errors = RNG.normal(size=(5000, 1, 1))
    up = conformal.offsets(errors, [0.9])
    assert up[0, 0] == pytest.approx(1.2816, abs=0.08)
    down = conformal.offsets(errors, [0.2])
    assert down[0, 0] == pytest.approx(-0.8416, abs=0.08)


def test_few_windows_share_the_scores_of_neighbouring_steps():
    errors = np.zeros((6, 8, 3))
    errors[:, 3, 2] = 5.0  # one step's large errors among eight
    found = conformal.offsets(errors, [0.1, 0.5, 0.9])
    assert np.isfinite(found).all() and found[:, 2].max() <= 5.0
