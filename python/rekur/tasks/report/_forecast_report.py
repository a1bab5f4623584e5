"""The report of a forecaster."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rekur.tasks.report._calibration import plot_coverage, plot_pit
from rekur.tasks.report._canvas import clean, vector
from rekur.tasks.report._card import Card, card_section
from rekur.tasks.report._content import Bullets, Content, Facts, Picture, Remark, Report, Section, Side, Table
from rekur.tasks.report._forecasts import (
    Fold,
    Window,
    describe_forecast,
    plot_error_by_step,
    plot_forecast,
    plot_split,
    plot_windows,
)
from rekur.tasks.report._numbers import duration, moment, number, percent, plural
from rekur.tasks.report._training import plot_training

# Of measures of forecasts: which way is better; coverage has no way, it should be what it says.
_BETTER = {"mae": "low", "rmse": "low", "mse": "low", "mase": "low", "rmsse": "low", "smape": "low", "mape": "low",
           "crps": "low", "pinball": "low", "wql": "low", "winkler": "low", "r2": "high"}  # fmt: skip
_MEANING = {
    "mase": "MASE: the error as a part of the seasonal naive forecast's in training; below 1 is better than it.",
    "crps": "CRPS: the error of the whole forecast distribution, in the data's unit.",
    "smape": "sMAPE: the error as a part of the values, in percent.",
}


def best_median_worst(errors: ArrayLike) -> list[int]:
    """The positions of the smallest, the middle and the largest error, as far as there are so many that are numbers."""
    values = vector(errors, "errors")
    order = np.argsort(values, kind="stable")[: int(np.isfinite(values).sum())]
    if not len(order):
        return []
    return list(dict.fromkeys([int(order[0]), int(order[(len(order) - 1) // 2]), int(order[-1])]))


def forecast_report(
    *,
    name: str,
    unit: str = "",
    title: str = "",
    data: Sequence[tuple[str, Any]] = (),
    notes: Sequence[str] = (),
    folds: Sequence[Fold] = (),
    scores: Mapping[str, Mapping[str, float]] | None = None,
    errors: Mapping[str, ArrayLike] | None = None,
    measure: str = "mean absolute error",
    step: str = "step",
    coverage: tuple[ArrayLike, ArrayLike, int | None] | None = None,
    pit: ArrayLike | None = None,
    windows: Sequence[Window] = (),
    forecast: Window | None = None,
    history: Mapping[str, ArrayLike] | Sequence[Mapping[str, ArrayLike]] | None = None,
    time_zone: str | None = None,
    card: Card | None = None,
    remarks: Sequence[str] = (),
) -> Report:
    """Put the report of a forecaster together; what is not given has no part in it.

    Parameters
    ----------
    name, unit
        Of what is forecast.
    title
        Of the page; by default "Forecast of NAME".
    data
        Facts about the data, (name, value).
    notes
        What was understood of the data and done about it, a sentence each.
    folds
        Of the back-test.
    scores
        Method: {measure: number}, the model first. MAE, RMSE, MASE, sMAPE, CRPS and the like are known, and which way
        is better; "coverage" (a share of 1) and any other are shown, too.
    errors
        Method: (H,), the error by step ahead; ``measure`` is its name.
    step
        What a step is: "hour".
    coverage
        (nominal (Q,), observed (Q,), number of values or None) of the central intervals.
    pit
        Where values lay in the forecast distributions, (N,) in [0, 1].
    windows
        Of the back-test: the best, a middling one and the worst (:func:`best_median_worst`).
    forecast
        Beyond the end of the data.
    history
        Of the training.
    time_zone
        In which times are told.
    card
        Of the model (:func:`card_of`).
    remarks
        What must not be overlooked, a sentence each.
    """
    label = f"{name} ({unit})" if unit else name
    scores = dict(scores or {})
    sections: list[Section] = []

    if forecast is not None:
        steps = len(vector(forecast.forecast, "forecast"))
        picture = Picture(
            lambda: plot_forecast(
                forecast.forecast, history=forecast.history, actual=forecast.actual, quantiles=forecast.quantiles,
                baselines=forecast.baselines, times=forecast.times, history_times=forecast.history_times,
                time_zone=time_zone, name=label,
            ),
            f"The next {plural(steps, step)}" if steps > 1 else f"The next {step}",
            describe_forecast(forecast.forecast, forecast.times, time_zone, name, forecast.quantiles),
            "A band should hold as many of the values to come as its name says." if forecast.quantiles else "",
            _forecast_table(forecast, time_zone, label),
        )  # fmt: skip
        sections.append(Section("Forecast", [*map(Remark, remarks), picture]))
        remarks = ()

    if scores or errors:
        sections.append(
            Section(
                "How good it is",
                [*map(Remark, remarks), *_scores(scores, errors, measure, step, unit, folds, time_zone)],
            )
        )
        remarks = ()
    calibration = _calibration(coverage, pit)
    if calibration:
        sections.append(Section("How far the intervals can be believed", calibration))
    if windows:
        sections.append(
            Section(
                "Examples from the back-test",
                [
                    "Forecasts made with what was known at the dotted line, beside what came.",
                    Picture(
                        lambda: plot_windows(windows, time_zone=time_zone, name=label),
                        "Best, middling, worst" if len(windows) == 3 else "Examples",
                        " ".join(f"{w.label}." for w in windows),
                    ),
                ],
            )
        )
    about: list[Content] = [*map(Remark, remarks)]
    if data:
        about.append(Facts(list(data)))
    if notes:
        about += ["What was understood, and done about it:", Bullets(list(notes))]
    if folds:
        about.append(_split(folds, time_zone))
    if about:
        sections.append(Section("Data", about))
    if history:
        sections.append(Section("Training", [training_picture(history)]))
    if card is not None:
        sections.append(card_section(card))
    return Report(
        title or f"Forecast of {name}",
        sections,
        kind="Forecast report",
        summary=_verdict(scores, coverage),
        figures=_figures(scores, coverage, unit, card),
    )


def _forecast_table(window: Window, time_zone: str | None, label: str) -> Table:
    values = vector(window.forecast, "forecast")
    times = window.times if window.times is not None else np.arange(1, len(values) + 1)
    levels = sorted(window.quantiles)
    if len(levels) > 5:
        levels = [level for level in levels if level in (levels[0], levels[-1]) or abs(level - 0.5) < 1e-9]
    columns = ["Time", label, *(f"{percent(level, 2)} quantile" for level in levels)]
    rows = [
        [
            moment(t, time_zone) if isinstance(t, np.datetime64) else number(int(t)),
            value,
            *(np.asarray(window.quantiles[level])[i] for level in levels),
        ]
        for i, (t, value) in enumerate(zip(np.asarray(times), values.tolist(), strict=True))
    ]
    return Table(columns, rows, digits=4)


def _main(scores: Mapping[str, Mapping[str, float]]) -> str | None:
    """The measure that is spoken of: MASE's order is MAE's, in a unit that people know."""
    if not scores:
        return None
    names = list(next(iter(scores.values())))
    known = [n for wanted in ("mae", "mase", "crps", "rmse", "smape") for n in names if n.lower() == wanted]
    return next(iter(known or names), None)


def _verdict(scores: Mapping[str, Mapping[str, float]], coverage: Any) -> str:
    """What the scores say, in a sentence, also where they say that the model is not worth it."""
    measure = _main(scores)
    text = ""
    if measure and len(scores) > 1 and _BETTER.get(measure.lower()) == "low":
        (_, own), *others = [(m, values.get(measure, np.nan)) for m, values in scores.items()]
        others = [(m, v) for m, v in others if v is not None and np.isfinite(v) and v > 0]
        if others and own is not None and np.isfinite(own):
            rival, best = min(others, key=lambda pair: pair[1])
            change = own / best - 1
            which = f"the best of {plural(len(others), 'other method')}, {rival}" if len(others) > 1 else rival
            text = f"On data that it had not seen, the model's {measure} is "
            if change < -0.005:
                text += f"{percent(-change, 2)} below that of {which}."
            elif change > 0.005:
                text += f"{percent(change, 2)} above that of {which}: here that is the better forecast."
            else:
                text += f"that of {which}."
    if coverage is not None:
        nominal, observed = vector(coverage[0], "coverage"), vector(coverage[1], "coverage")
        if len(nominal):
            i = int(np.argmin(np.abs(nominal - 0.8)))
            text += f" Its {percent(nominal[i], 2)} intervals held {percent(observed[i])} of the values."
    return text.strip()


def _figures(
    scores: Mapping[str, Mapping[str, float]], coverage: Any, unit: str, card: Card | None
) -> list[tuple[str, str, str]]:
    found = []
    if scores:
        own = next(iter(scores.values()))
        for measure, value in list(own.items())[:4]:
            kind = measure.lower()
            if kind not in _BETTER:
                continue
            others = [
                (v[measure], m)
                for m, v in list(scores.items())[1:]
                if v.get(measure) is not None and np.isfinite(v[measure])
            ]
            pick = (max if _BETTER[kind] == "high" else min)(others, default=None)
            with_unit = f" {unit}" if unit and kind in ("mae", "rmse", "crps") and len(unit) < 12 else ""
            found.append((measure, f"{number(value)}{with_unit}", f"{pick[1]}: {number(pick[0])}" if pick else ""))
            if len(found) == 2:
                break
    if coverage is not None:
        nominal, observed = vector(coverage[0], "coverage"), vector(coverage[1], "coverage")
        if len(nominal):
            i = int(np.argmin(np.abs(nominal - 0.8)))
            remark = f"of {plural(coverage[2], 'value')}" if coverage[2] else ""
            found.append((f"{percent(nominal[i], 2)} interval held", percent(observed[i]), remark))
    if card is not None and card.seconds is not None and len(found) < 5:
        remark = f"{number(card.parameters)} parameters" if card.parameters is not None else ""
        found.append(("Training", duration(card.seconds), remark))
    return found


def _scores(
    scores: Mapping[str, Mapping[str, float]],
    errors: Mapping[str, ArrayLike] | None,
    measure: str,
    step: str,
    unit: str,
    folds: Sequence[Fold],
    time_zone: str | None,
) -> list[Content]:
    content: list[Content] = []
    if scores:
        measures = list(dict.fromkeys(m for values in scores.values() for m in values))
        rows = [
            [method, *(percent(values.get(m)) if "coverage" in m.lower() else values.get(m) for m in measures)]
            for method, values in scores.items()
        ]
        where = ""
        if folds:
            first, last = folds[0].test[0], folds[-1].test[1]
            begin, end = moment(_time(first), time_zone), moment(_time(last), time_zone)
            where = f", {plural(len(folds), 'origin')} from {begin} to {end}"
        content.append(
            Table(
                ["Method", *measures], rows, caption=f"Errors on data that no method had seen{where}", own=0,
                better={m: _BETTER[m.lower()] for m in measures if m.lower() in _BETTER},
                note=" ".join(_MEANING[m.lower()] for m in measures if m.lower() in _MEANING),
            )
        )  # fmt: skip
    if errors:
        values = {method: vector(error, f"errors[{method!r}]") for method, error in errors.items()}
        _, own = next(iter(values.items()))
        label = f"{measure} ({unit})" if unit and unit not in measure else measure
        said = [
            f"{method}: {number(error[0])} at the first {step}, {number(error[-1])} at the last."
            for method, error in values.items()
        ]
        rows = [[i + 1, *(error[i] for error in values.values())] for i in range(len(own))]
        content.append(
            Picture(
                lambda: plot_error_by_step(values, measure=label, step=step),
                f"Error by {step} ahead",
                f"Line chart of the {measure} by {step} ahead. " + " ".join(map(clean, said)),
                "Lower is better.",
                Table([f"{step.capitalize()}s ahead", *values], rows),
            )
        )
    return content


def _time(value: Any) -> Any:
    return value if isinstance(value, np.datetime64) else int(value)


def _calibration(coverage: Any, pit: ArrayLike | None) -> list[Content]:
    pictures = []
    if coverage is not None:
        nominal, observed, count = vector(coverage[0], "coverage"), vector(coverage[1], "coverage"), coverage[2]
        said = ", ".join(f"{percent(n, 2)} interval: {percent(o)}" for n, o in zip(nominal, observed, strict=True))
        rows = [[percent(n, 2), percent(o)] for n, o in zip(nominal, observed, strict=True)]
        pictures.append(
            Picture(
                lambda: plot_coverage(nominal, observed, count=count),
                "Within the intervals",
                f"Observed share of values within each interval. {said}.",
                "On the diagonal, intervals hold as many values as they say; the grey band is what chance alone does.",
                Table(["Interval", "Held"], rows),
            )
        )
    if pit is not None and np.isfinite(vector(pit, "pit")).any():
        shares = np.histogram(vector(pit, "pit"), bins=10, range=(0, 1))[0]
        shares = shares / max(int(shares.sum()), 1)
        said = ", ".join(percent(s, 2) for s in shares)
        pictures.append(
            Picture(
                lambda: plot_pit(pit),
                "Where values lay in the forecast distributions",
                f"Histogram with ten bins: {said}. Equal shares, 10 % each, would be right.",
                "Level bars are right. A hump: intervals are too wide; a bowl: too narrow; a slope: forecasts are too "
                "high or too low.",
            )
        )
    return [Side(pictures)] if pictures else []


def _split(folds: Sequence[Fold], time_zone: str | None) -> Picture:
    rows = [
        [i + 1, *(moment(_time(t), time_zone) for t in (f.train[0], f.train[1], f.test[0], f.test[1]))]
        for i, f in enumerate(folds)
    ]
    first, last = rows[0], rows[-1]
    return Picture(
        lambda: plot_split(folds, time_zone=time_zone),
        "The split in time",
        f"{plural(len(folds), 'origin')}; the first trains to {first[2]} and is scored to {first[4]}, the last trains "
        f"to {last[2]} and is scored to {last[4]}.",
        "Nothing of a blue part was known to the model that forecast it.",
        Table(["Origin", "Trained from", "to", "Scored from", "to (without it)"], rows),
    )


def training_picture(history: Mapping[str, ArrayLike] | Sequence[Mapping[str, ArrayLike]]) -> Picture:
    """The loss by epoch."""
    members = [history] if isinstance(history, Mapping) else list(history)
    said = []
    for key, word in (("loss", "training"), ("val_loss", "validation")):
        if members and key in members[0] and len(np.asarray(members[0][key])):
            values = vector(members[0][key], key)
            said.append(f"{word} from {number(values[0])} to {number(values[-1])}")
            if key == "val_loss" and np.isfinite(values).any():
                best = int(np.nanargmin(values))
                said.append(f"lowest {number(values[best])} in epoch {best + 1}")
    more = " The faint lines are the other networks'." if len(members) > 1 else ""
    return Picture(
        lambda: plot_training(members),
        "Loss by epoch",
        f"Line chart of the loss: {', '.join(said)}.",
        "The ring marks the epoch whose weights were kept: the best on data held back from training." + more
        if any("val_loss" in member for member in members)
        else more.strip(),
    )
