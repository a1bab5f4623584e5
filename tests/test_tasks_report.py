"""Pictures and reports of the estimators: what is drawn, what is written, what hostile names do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from rekur.tasks import report
from rekur.tasks.report._canvas import narrow_screen

HOSTILE = '<script>alert("x")</script> & $a_b$ \x00\u202e'
RNG = np.random.default_rng(0)
TIMES = np.datetime64("2024-03-29T00:00", "ns") + np.arange(120) * np.timedelta64(1, "h")
SIGNAL = np.sin(np.arange(120) / 4)


def forecast(**more: Any) -> Any:
    values = SIGNAL[96:]
    bands = {0.1: values - 1, 0.5: values, 0.9: values + 1}
    return report.plot_forecast(
        values, history=SIGNAL[:96], actual=values + 0.1, quantiles=bands, baselines={HOSTILE: values - 0.3},
        times=TIMES[96:], history_times=TIMES[:96], time_zone="Europe/Berlin", name=HOSTILE, **more,
    )  # fmt: skip


def windows(**more: Any) -> Any:
    return report.plot_windows(
        [report.Window(SIGNAL[:5], SIGNAL[5:20], label=f"{HOSTILE} {i}") for i in range(4)], **more
    )


def anomalies(**more: Any) -> Any:
    scores = np.abs(RNG.normal(size=120))
    return report.plot_anomalies(
        np.c_[SIGNAL, SIGNAL], scores, threshold=2.0, labels=[(3, 9)], times=TIMES, features=[HOSTILE, "b"], **more
    )


def classes(**more: Any) -> Any:
    return report.plot_confusion(np.diag([3, 4, 5]) + 1, ["a", HOSTILE, "c"], **more)


PICTURES: dict[str, Callable[..., Any]] = {
    "forecast": forecast,
    "windows": windows,
    "anomalies": anomalies,
    "confusion": classes,
    "error_by_step": lambda **m: report.plot_error_by_step({HOSTILE: [1.0, 2, 3], "naive": [2.0, 3, 4]}, **m),
    "split": lambda **m: report.plot_split(
        [report.Fold((0, 50), (60, 70), (50, 60)), report.Fold((0, 60), (70, 80))], **m
    ),
    "coverage": lambda **m: report.plot_coverage([0.5, 0.8], {HOSTILE: [0.4, 0.8], "b": [0.5, 0.9]}, count=50, **m),
    "pit": lambda **m: report.plot_pit(RNG.random(100), **m),
    "reliability": lambda **m: report.plot_reliability({HOSTILE: (RNG.random(60), RNG.random(60) > 0.5)}, **m),
    "class_scores": lambda **m: report.plot_class_scores([HOSTILE, "b"], [0.5, 0.9], [0.7, 1.0], count=[3, 4], **m),
    "sequences": lambda **m: report.plot_sequences(
        [RNG.normal(size=(9, 8)), RNG.normal(size=(4, 8))], [HOSTILE, 1], **m
    ),
    "tail": lambda **m: report.plot_tail(RNG.exponential(size=80), 0.0, 1.0, **m),
    "training": lambda **m: report.plot_training([{"loss": [3.0, 2, 1], "val_loss": [3.0, 2, 2.5]}] * 2, **m),
    "bits": lambda **m: report.plot_bits({HOSTILE: ([1, 2, 3], [4.0, 3, 2])}, levels={"xz": 2.5}, **m),
    "attention": lambda **m: report.plot_attention(np.full((2, 3), 1 / 3), ["a", " ", HOSTILE], ["\n", "$"], **m),
    "surprise": lambda **m: report.plot_surprise(list("ab $"), [1, 2, 3, 4], **m),
}


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_is_drawn_wide_narrow_and_into_a_given_figure(name: str) -> None:
    from matplotlib.figure import Figure

    wide = PICTURES[name](title=HOSTILE)
    with narrow_screen():
        narrow = PICTURES[name]()
    assert narrow.get_size_inches()[0] <= 4.0
    given = Figure(figsize=(8, 5))
    assert PICTURES[name](figure=given) is given
    part = Figure(figsize=(8, 5), layout="constrained").subfigures(1, 2)[1]
    assert PICTURES[name](figure=part) is part
    for figure in (wide, narrow, given):
        figure.canvas.draw()
        assert figure.axes
