"""Small models and data sets for the tests of bulk prediction."""

from __future__ import annotations

import numpy as np

from rekur import tasks
from rekur.tasks._commands._examples import Layout
from rekur.tasks._series import read_series

CHANNELS = 6
WORDS = ("red", "green", "blue", "one", "two", "three")


def rows_classifier():
    """A row is a sequence: columns c0 to c5."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, CHANNELS)).astype(np.float32)
    x[rng.random(x.shape) < 0.05] = np.nan
    model = tasks.SequenceClassifier(units=4, epochs=1, random_state=0)
    model.fit(x, np.where(np.nansum(x, 1) > 0, "up", "down"))
    model.columns_ = Layout("rows", "classes", "label", [f"c{n}" for n in range(CHANNELS)]).state()
    return model


def sequences(rng, count, channels=2):
    return [rng.normal(size=(int(rng.integers(3, 9)), channels)) for _ in range(count)]


def steps_layout(kind):
    return Layout("steps", kind, "label", ["a", "kind"], "walk", ["t"], {"kind": ["x", "y"]})


def _with_kinds(rng, count):
    """Sequences of the channels a, kind=x, kind=y."""
    made = []
    for one in sequences(rng, count, 1):
        kind = rng.integers(0, 2, len(one))
        made.append(np.column_stack([one[:, 0], kind == 0, kind == 1]))
    return made


def steps_classifier():
    """Rows are steps: walk, t, a, kind."""
    rng = np.random.default_rng(1)
    x = _with_kinds(rng, 30)
    model = tasks.SequenceClassifier(units=4, epochs=1, random_state=0).fit(x, [int(len(one) > 5) for one in x])
    model.columns_ = steps_layout("classes").state()
    return model


def steps_tagger():
    rng = np.random.default_rng(2)
    x = _with_kinds(rng, 20)
    y = [np.where(one[:, 0] > 0, "high", "low") for one in x]
    model = tasks.SequenceTagger(units=4, epochs=1, random_state=0).fit(x, y)
    model.columns_ = steps_layout("steps").state()
    return model


def regressor():
    """Saved by a program: it does not know its columns."""
    rng = np.random.default_rng(3)
    x = sequences(rng, 30)
    return tasks.SequenceRegressor(units=4, epochs=1, random_state=0).fit(x, [one.sum() for one in x])


def text_classifier():
    rng = np.random.default_rng(4)
    texts = [" ".join(rng.choice(WORDS, 4)) for _ in range(40)]
    labels = ["colour" if "red" in text else "other" for text in texts]
    model = tasks.TextClassifier(epochs=1, units=4, random_state=0).fit(texts, labels)
    model.columns_ = Layout("texts", "texts", "label", ["body"]).state()
    return model


def series_table(rng, shops, hours, start="2024-03-01"):
    """Columns shop, time, load of several series, one after another."""
    times = np.datetime64(start, "h").astype("M8[ns]") + np.arange(hours) * np.timedelta64(1, "h")
    load = 10 + 3 * np.sin(np.arange(hours) * np.pi / 12) + rng.normal(0, 0.3, (len(shops), hours))
    return {"shop": np.repeat(shops, hours), "time": np.tile(times, len(shops)), "load": load.ravel()}


def detector():
    rng = np.random.default_rng(5)
    known = read_series(series_table(rng, ["a", "b"], 120), time="time", target="load", series="shop")
    model = tasks.AnomalyDetector(epochs=1, units=4, window=8, random_state=0)
    model.fit([series.target for series in known.series])
    model.columns_ = known.state()
    return model


def forecaster():
    rng = np.random.default_rng(6)
    model = tasks.Forecaster(
        horizon=6, context=24, epochs=1, units=4, random_state=0, time="time", target="load", series="shop"
    )
    return model.fit(series_table(rng, ["a", "b"], 150))
