"""Tails of scores, and measures of detectors."""

import numpy as np
import pytest

from rekur.tasks.anomalies import fit_pareto, range_precision_recall, vus_pr, vus_roc
from rekur.tasks.anomalies._tail import Tail, peak_places


@pytest.mark.parametrize("shape", [-0.3, -0.1, 0.0, 0.2, 0.5, 1.2])
@pytest.mark.parametrize("count", [30, 300, 3000])
def test_the_likelihood_is_scipys_greatest(shape, count):
    stats = pytest.importorskip("scipy.stats")
    y = stats.genpareto.rvs(shape, scale=3, size=count, random_state=count)
    ours = fit_pareto(y)
    c, _, scale = stats.genpareto.fit(y, floc=0)
    found = [float(stats.genpareto.logpdf(y, a, scale=b).sum()) for a, b in (ours, (max(c, -0.5), scale))]
    if c >= -0.5:  # below, there is no greatest likelihood
        assert found[0] >= found[1] - 1e-5 * abs(found[1])
        np.testing.assert_allclose(ours, (c, scale), rtol=0.02, atol=0.01)
    assert ours[0] >= -0.5


def test_moments_find_the_distribution():
    stats = pytest.importorskip("scipy.stats")
    for shape in (-0.2, 0.0, 0.3):
        y = stats.genpareto.rvs(shape, scale=2, size=100_000, random_state=1)
        np.testing.assert_allclose(fit_pareto(y, "moments"), (shape, 2), atol=0.03)
    with pytest.raises(ValueError, match="method"):
        fit_pareto([1.0, 2.0], "mle")
    for wrong in ([], [1.0], [1.0, -1.0], [1.0, np.nan], [0.0, 1.0]):
        with pytest.raises(ValueError, match="excesses"):
            fit_pareto(wrong)


def test_thresholds_keep_the_wished_rate():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    train, new = stats.t.rvs(4, size=(2, 200_000), random_state=rng)
    tail = Tail.of([train], apart=1)
    for wished in (1e-3, 1e-4):
        limit = tail.threshold(wished)
        np.testing.assert_allclose(np.mean(new > limit), wished, rtol=0.5)
        np.testing.assert_allclose(tail.rate_of(limit), wished, rtol=1e-6)
    assert tail.threshold(0.9) == tail.level and tail.rate_of(tail.level - 1) == tail.rate


def test_the_tail_of_little_is_there():
    for scores in ([], [1.0], [2.0] * 50, [np.nan] * 5, list(range(20))):
        tail = Tail.of([np.array(scores, float)], apart=3)
        assert np.isfinite(tail.threshold(1e-6)) and tail.scale > 0
        if len(scores) > 1 and np.isfinite(scores).all():
            assert tail.threshold(1e-6) > max(scores)


def test_peaks_are_apart():
    scores = np.array([0, 3, 4, 0, 0, 2, 0, 5, 4.5, 0, np.nan, 1, 6.0])
    assert peak_places(scores, 1.5, 1).tolist() == [1, 2, 5, 7, 8, 12]
    assert peak_places(scores, 1.5, 2).tolist() == [2, 5, 7, 12]
    assert peak_places(scores, 1.5, 5).tolist() == [2, 7, 12]
    assert peak_places(scores, 1.5, 6).tolist() == [2, 12]
    assert peak_places(scores, 9, 2).tolist() == []


def volume(true, scores, window):
    """VUS as it is defined, one threshold, one buffer, one step after another."""
    length = len(true)
    runs, areas = [], []
    for t in range(length):
        if true[t] and (t == 0 or not true[t - 1]):
            runs.append([t, t])
        if true[t]:
            runs[-1][1] = t
    ranked = sorted(scores, reverse=True)
    for w in range(window + 1):
        soft = [1.0 if flag else 0.0 for flag in true]
        for first, last in runs:
            for d in range(1, w // 2 + 1):
                for t in (first - d, last + d):
                    if 0 <= t < length:
                        soft[t] = min(1.0, soft[t] + (1 - d / w) ** 0.5)
        zones = []
        for first, last in runs:
            if zones and zones[-1][1] >= first - w // 2:
                zones[-1][1] = last + w // 2
            else:
                zones.append([first - w // 2, last + w // 2])
        area, before = 0.0, 0.0
        for limit in ranked:
            alarm = [s >= limit for s in scores]
            hits = sum(label for label, a in zip(soft, alarm, strict=True) if a)
            found = sum(true) + sum(soft[t] for t in range(length) if alarm[t] and not true[t])
            met = sum(any(alarm[max(a, 0) : b + 1]) for a, b in zones) / len(zones)
            recall = min(hits / ((sum(true) + found) / 2), 1) * met
            area += (recall - before) * hits / sum(alarm)
            before = recall
        areas.append(area)
    return sum(areas) / len(areas)


def test_the_volume_is_its_definition():
    rng = np.random.default_rng(0)
    for case in range(6):
        true = np.zeros(80, int)
        for first in rng.integers(0, 75, 1 + case % 3):
            true[first : first + rng.integers(1, 8)] = 1
        scores = rng.normal(size=80) + 2 * true
        if case % 2:
            scores = scores.round()  # ties
        np.testing.assert_allclose(vus_pr(true, scores, 9, thresholds=None), volume(true, scores, 9), rtol=1e-12)


# Of TSB-AD 1.5, generate_curve(true, scores, window, "opt", 250), for data from NumPy's generator.
@pytest.mark.parametrize(
    ("seed", "window", "pr", "roc"),
    [
        (0, 0, 0.14910334911582981, 0.7967385423912204),
        (1, 25, 0.18187806727781794, 0.7849971899453111),
        (2, 40, 0.22449197818533553, 0.8276290740397404),
    ],
)
def test_the_volume_is_the_benchmarks(seed, window, pr, roc):
    rng = np.random.default_rng(seed)
    true = np.zeros(700, int)
    for first in rng.integers(0, 660, 3):
        true[first : first + rng.integers(1, 30)] = 1
    scores = rng.normal(size=700) + true
    np.testing.assert_allclose(vus_pr(true, scores, window), pr, rtol=1e-9)
    np.testing.assert_allclose(vus_roc(true, scores, window), roc, rtol=1e-9)


def test_perfect_and_useless_scores():
    true = np.zeros(500, int)
    true[100:130] = 1
    assert vus_pr(true, true.astype(float), 0) > 0.99 and vus_roc(true, true.astype(float), 0) > 0.99
    rng = np.random.default_rng(0)
    assert vus_pr(true, rng.normal(size=500), 20) < 0.25
    assert vus_pr(np.where(true, -1, 1), true + 0.0, 20) == vus_pr(true, true + 0.0, 20)


def test_ranges_are_tatbuls():
    true = np.array([0, 1, 1, 1, 1, 0, 0, 0, 1, 1])
    found = np.array([0, 0, 1, 0, 1, 1, 0, 0, 0, 0])
    precision, recall, both = range_precision_recall(true, found, alpha=0.2)
    # Anomaly 1 is half found, by two alarms; anomaly 2 is not. Alarm 1 is all within, alarm 2 half.
    np.testing.assert_allclose((precision, recall), ((1 + 0.5) / 2, (0.2 + 0.8 * 0.5 / 2) / 2))
    np.testing.assert_allclose(both, 2 * precision * recall / (precision + recall))
    front = range_precision_recall(true, found, alpha=0, bias="front")[1]
    np.testing.assert_allclose(front, ((3 + 1) / 10 / 2) / 2)
    assert range_precision_recall(true, true)[2] == 1 and range_precision_recall(true, 0 * true) == (0, 0, 0)
    # predict's +1 everywhere is no alarm; bools say that all steps are.
    assert range_precision_recall(true, np.ones(10, int)) == range_precision_recall(true, np.ones(10)) == (0, 0, 0)
    assert range_precision_recall(true, -np.ones(10, int)) == range_precision_recall(true, np.ones(10, bool))
    assert range_precision_recall(true, np.ones(10, bool))[1] == 1


@pytest.mark.parametrize(
    ("true", "scores", "message"),
    [
        ([0, 1], [0.0], "scores: expected shape"),
        ([0, 0], [0.0, 1.0], "y_true: expected some steps of both kinds"),
        ([1, 1], [0.0, 1.0], "y_true: expected some steps of both kinds"),
        ([0, 2], [0.0, 1.0], "y_true: expected 0 and 1"),
        ([[0, 1]], [[0.0, 1.0]], r"y_true: expected shape \(T,\)"),
        ([0, 1], [0.0, np.nan], "scores: there are NaN"),
    ],
)
def test_what_cannot_be_measured(true, scores, message):
    with pytest.raises(ValueError, match=message):
        vus_pr(true, scores)
