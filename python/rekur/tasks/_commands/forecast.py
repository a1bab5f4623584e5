"""``rekur forecast``: from a table to a tested forecaster, its forecasts, a report."""

import argparse
import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from rekur.tasks import _facts
from rekur.tasks._commands._forecasts import bands, predictions
from rekur.tasks._commands._output import (
    Folder,
    Teller,
    check_pictures,
    counted,
    listed,
    named,
    number,
    percent,
    sentence,
)
from rekur.tasks._commands._search import searched
from rekur.tasks._series import Series, SeriesSet, read_series
from rekur.tasks._tables import read_table
from rekur.tasks.forecasting._backtest import earlier

_FILES = ("model.safetensors", "model.onnx", "predictions.csv", "backtest.csv", "report.html")
_FOLDS = 10
_TESTED = 0.2  # of the longest series at most, where the number of folds is not said
_OURS = "rekur"


def run(options: argparse.Namespace) -> None:
    """Run the command.

    Raises
    ------
    ValueError, OSError, ImportError
        As of the reading, training and writing that it does.
    """
    tell = Teller(options.quiet)
    check_pictures(options.report)
    if options.budget is not None and options.search is None:
        raise ValueError("budget: it is that of a search: say how many are tried, --search 20")
    known = _read(options)
    horizon = options.horizon or _horizon(known)
    folds = _folds(known, horizon) if options.folds is None else options.folds
    longest = max(len(series) for series in known.series)
    if folds and longest - folds * horizon < 4:
        raise ValueError(
            f"folds: {folds} forecasts of {horizon} steps and some steps to train on are more than the longest series "
            f"has, {longest}"
        )
    line = known.timeline
    facts = _facts.of(known)
    facts.append(("horizon", _facts.steps(line, horizon) + ("" if options.horizon else ", since none is said")))
    if folds:
        facts.append(("test", _test_fact(known, horizon, folds)))
    else:
        facts.append(("test", "none" if options.folds == 0 else "none: the series are too short to hold something out"))
    tell.facts(options.data.name, facts)
    tell.notes(known.notes)
    folder = Folder(options.out, _FILES, options.overwrite)
    model, given = _forecaster(options, known, horizon)
    if options.search is not None:
        untested = earlier(known, folds * horizon, horizon) if folds else known
        model, words = searched(model, untested, given, options, tell)
        facts.append(("search", words))
    begin = time.monotonic()
    backtest = model.backtest(known, folds=folds) if folds else None
    if backtest is not None:
        _tell_scores(tell, backtest, known)
        folder.csv("backtest.csv", _backtest_columns(backtest))
    begin = time.monotonic()
    model.fit(known)
    seconds = time.monotonic() - begin
    model.save(folder.file("model.safetensors"))
    if options.onnx:
        folder.onnx(model)
    ahead = _need_future(known, horizon)
    columns = predictions(model, known, options.coverage or [0.8])
    folder.csv("predictions.csv", columns)
    _tell_forecast(tell, known, columns, horizon)
    if ahead:
        tell.notes([ahead])
        known = dataclasses.replace(known, notes=[*known.notes, ahead])
    if options.report:
        _write_report(model, known, backtest, facts, folder, seconds, horizon)
    folder.finish(tell)


def _read(options: argparse.Namespace) -> SeriesSet:
    table = read_table(options.data, day_first=options.day_first)
    known = read_series(
        table, time=named(table, options.time), target=named(table, options.target), series=options.series,
        past=named(table, options.past), future=named(table, options.future), static=named(table, options.static),
        freq=_freq(options.freq), time_zone=options.time_zone, aggregate=options.aggregate,
        day_first=options.day_first,
    )  # fmt: skip
    if options.season is not None:
        known = dataclasses.replace(known, timeline=dataclasses.replace(known.timeline, season=options.season))
    if options.future_data is not None:
        known = known.with_future(read_table(options.future_data, day_first=options.day_first))
    return known


def _freq(text: str | None) -> Any:
    """A step of dates as it stands, a number where it is one."""
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        return text
    return int(value) if value.is_integer() else value


def _horizon(known: SeriesSet) -> int:
    """A season, where three of them are there; else a twentieth of the series, from 1 to 12 steps."""
    longest, season = max(len(series) for series in known.series), known.timeline.season
    return season if season > 1 and longest >= 3 * season else int(np.clip(longest // 20, 1, 12))


def _folds(known: SeriesSet, horizon: int) -> int:
    longest = max(len(series) for series in known.series)
    folds = int(np.clip(_TESTED * longest // horizon, 1, _FOLDS))
    return folds if longest >= (folds + 2) * horizon and longest - folds * horizon >= 4 else 0


def _test_fact(known: SeriesSet, horizon: int, folds: int) -> str:
    longest = max(known.series, key=len)
    first = known.timeline.time(known.end(longest) - folds * horizon)
    return (
        f"{counted(folds, 'forecast')} of {counted(horizon, 'step')}, from {_facts.shown(known, first)} on, by "
        "a network trained on what is before; then another is trained on all"
    )


def _need_future(known: SeriesSet, horizon: int) -> str:
    short = [series for series in known.series if series.extra < horizon]
    if not known.future or not short:
        return ""
    which = "" if len(known) == 1 else f" of {counted(len(short), 'series')}"
    return (
        f"what is known ahead ({listed(known.future)}) does not reach over the horizon{which}: where it ends, it "
        "counts as missing; --future-data gives it"
    )


def _forecaster(options: argparse.Namespace, known: SeriesSet, horizon: int) -> tuple[Any, list[str]]:
    """The forecaster, and which of its parameters were given."""
    from rekur.tasks import Forecaster

    layout = known.layout
    if options.coverage and options.output in ("point", "mean"):
        raise ValueError(f"coverage: {options.output!r} has no bands: leave --coverage out, or --output")
    named = ("output", "quantiles", "context", "season", "units", "cell", "epochs", "ensemble")
    given = {name: getattr(options, name) for name in named if getattr(options, name) is not None}
    if "quantiles" in given or given.get("output", "quantiles") == "quantiles":
        # The bounds of the bands that are asked for are trained, not guessed from others.
        usual = given.get("quantiles") or Forecaster._parameters()["quantiles"].default
        bounds = {0.5 + side * share / 2 for share in options.coverage or [0.8] for side in (-1, 1)}
        given["quantiles"] = tuple(sorted({round(float(q), 6) for q in {*usual, *bounds}}))
    made = Forecaster(
        horizon,
        time=layout.time[0] if len(layout.time) == 1 else tuple(layout.time) or None,
        target=known.target[0] if len(known.target) == 1 else list(known.target),
        series=layout.series, past=list(known.past), future=list(known.future), static=list(known.static),
        freq=_freq(options.freq), time_zone=options.time_zone, aggregate=layout.aggregate,
        random_state=options.seed, verbose=0 if options.quiet else 1, **given,
    )  # fmt: skip
    return made, list(given)


_TITLES = {"mae": "MAE", "rmse": "RMSE", "mase": "MASE", "smape": "sMAPE", "crps": "CRPS"}


def _scores(backtest: Any, coverage: float) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for method, values in backtest.scores(coverage).items():
        found[method] = {title: values[key] for key, title in _TITLES.items() if key in values}
        if "coverage" in values:
            found[method][f"coverage of the {100 * coverage:g} % band"] = values["coverage"]
    return found


def _tell_scores(tell: Teller, backtest: Any, known: SeriesSet) -> None:
    found = _scores(backtest, 0.8)
    measures = list(found[_OURS])
    rows = []
    for method, values in found.items():
        cells = [percent(values[m]) if m.startswith("coverage") else number(values[m]) for m in measures if m in values]
        rows.append([method, *cells, *["-"] * (len(measures) - len(cells))])
    tell.table(["on what was held out", *measures], rows)
    others = {method: values["MASE"] for method, values in found.items() if method != _OURS}
    ours = found[_OURS]["MASE"]
    if others and np.isfinite(ours):
        best = min(others, key=lambda method: others[method])
        if others[best] > 0 and ours <= others[best]:
            tell.notes(
                [f"the forecasts err {100 * (1 - ours / others[best]):.0f} % less than those of {best} (by MASE)"]
            )
        elif others[best] > 0:
            times = f"{ours / others[best]:.3g} times as much as those of {best} (by MASE)"
            tell.notes([f"the forecasts err {times}: of these methods, take that one"])
    tell.notes(backtest.notes)


def _backtest_columns(backtest: Any) -> dict[str, Any]:
    """The forecasts of the back-test beside what came, in a row for each step."""
    known: SeriesSet = backtest.known
    steps = backtest.actual.shape[1]
    columns: dict[str, Any] = {}
    if known.layout.series is not None:
        columns[str(known.layout.series)] = [known.ids[k] for k in backtest.series.tolist() for _ in range(steps)]
    ordinals = (backtest.origin[:, None] + np.arange(steps)).ravel()
    columns[_facts.time_name(known)] = _facts.written(known, known.timeline.time(ordinals))
    columns["step"] = list(range(1, steps + 1)) * len(backtest.series)
    for place, target in enumerate(known.target):
        columns[str(target)] = backtest.actual[..., place].ravel()
        for method, forecasts in backtest.forecasts.items():
            columns[f"{target} {method}"] = forecasts.point[..., place].ravel()
        ours = backtest.forecasts[_OURS].quantiles
        for number_, level in enumerate(backtest.quantiles if ours.shape[-1] > 1 else []):
            columns[f"{target} {level:g}"] = ours[..., place, number_].ravel()
    return columns


def _tell_forecast(tell: Teller, known: SeriesSet, columns: Mapping[str, Any], horizon: int) -> None:
    """The first steps of the first series."""
    most = min(horizon, 6)
    names = [name for name in columns if " 0." not in name][:8]
    which = "" if len(known) == 1 else f" of {known.ids[0]}"
    tell.line(f"the next {counted(most, 'step')}{which}")
    tell.table(
        names, [[str(columns[names[0]][row]), *[columns[name][row] for name in names[1:]]] for row in range(most)]
    )


def _write_report(
    model: Any, known: SeriesSet, backtest: Any, facts: list[tuple[str, str]], folder: Folder, seconds: float,
    horizon: int,
) -> None:  # fmt: skip
    from rekur.tasks import report

    line = known.timeline
    series = known.series[0]
    name = str(known.target[0]) if series.id is None else f"{known.target[0]} of {series.id}"
    notes = [*known.notes, *(backtest.notes if backtest is not None else [])]
    content: dict[str, Any] = {
        "name": name, "data": facts, "notes": list(map(sentence, notes)),
        "history": model.history_, "time_zone": line.time_zone, "step": _facts.step_word(line),
        "forecast": _window(model, known, series, horizon),
        "card": report.card_of(model, files=folder.written, seconds=seconds),
    }  # fmt: skip
    remarks = []
    if len(known) > 1 or len(known.target) > 1:
        remarks.append(
            f"Pictures show {name}, the first of {counted(len(known), 'series')} and "
            f"{counted(len(known.target), 'target')}; errors are means over all, and predictions.csv has all forecasts."
        )
    if backtest is not None:
        content.update(_tested(backtest, known))
    made = report.forecast_report(remarks=remarks, **content)
    folder.report(made)


def _window(model: Any, known: SeriesSet, series: Series, horizon: int) -> Any:
    """The forecast beyond the end of a series, of its first target."""
    from rekur.tasks import report

    one = dataclasses.replace(known, series=[series])
    point, quantiles = bands(model, one)
    end = known.end(series)
    first = max(len(series) - max(4 * horizon, 60), 0)
    return report.Window(
        point[0, :, 0],
        history=series.target[first:, 0],
        quantiles={level: values[0, :, 0] for level, values in quantiles.items()},
        times=known.timeline.time(end + np.arange(horizon)),
        history_times=known.timeline.time(end - len(series) + np.arange(first, len(series))),
    )


def _tested(backtest: Any, known: SeriesSet) -> dict[str, Any]:
    """What the report says of the back-test."""
    from rekur.tasks import report

    line, horizon = known.timeline, backtest.actual.shape[1]
    ours = backtest.forecasts[_OURS]
    found: dict[str, Any] = {
        "scores": _scores(backtest, 0.8),
        "errors": backtest.by_step("mae"),
        "measure": "mean absolute error",
    }
    first = known.series[0]
    own = np.flatnonzero(backtest.series == 0)
    if not own.size:
        own = np.flatnonzero(backtest.series == backtest.series[0])
        first = known.series[int(backtest.series[0])]
    origins = backtest.origin[own]
    start = line.ordinal(first.start)
    found["folds"] = [
        report.Fold((line.time(start), line.time(int(origins.min()))), (line.time(o), line.time(o + horizon)))
        for o in origins.tolist()
    ]
    errors = np.nanmean(np.abs(backtest.actual - ours.point), axis=(1, 2)) if len(own) else np.zeros(0)
    chosen = own[report.best_median_worst(errors[own])]
    labels = ("the best", "a middling one", "the worst") if len(chosen) == 3 else ("an example",) * 3
    found["windows"] = [
        dataclasses.replace(backtest._window(int(place)), label=label)
        for place, label in zip(chosen, labels, strict=False)
    ]
    if ours.quantiles.shape[-1] > 2:
        levels, count = backtest.quantiles, int(np.isfinite(backtest.actual).sum())
        pairs = [
            (high - low, i, j)
            for i, low in enumerate(levels) for j, high in enumerate(levels)
            if low < 0.5 and abs(low + high - 1) < 1e-9
        ]  # fmt: skip
        there = np.isfinite(backtest.actual)
        observed = [
            float(
                ((backtest.actual >= ours.quantiles[..., i]) & (backtest.actual <= ours.quantiles[..., j]))[
                    there
                ].mean()
            )
            for _, i, j in pairs
        ]
        if pairs:
            order = np.argsort([share for share, _, _ in pairs])
            nominal = np.array([share for share, _, _ in pairs])[order]
            found["coverage"] = (nominal, np.array(observed)[order], count)
    return found
