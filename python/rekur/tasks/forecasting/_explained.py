"""A forecaster in words and as a picture."""

from typing import TYPE_CHECKING, Any

import numpy as np

from rekur.tasks._series import SeriesSet

if TYPE_CHECKING:
    from rekur.tasks.forecasting._forecaster import Forecaster

_MOST_SHOWN = 4  # series in one picture
_LISTED = 6  # names in one line


def lines(model: "Forecaster") -> list[str]:
    """What was understood of the data, and what was learned."""
    plan, sizes, ends = model._plan, model.sizes_, model._ends
    line = ends.timeline
    found = [f"data      {_count(sizes['series'], 'series')}, {sizes['steps']:,} steps of {line.step}"]
    if line.time_zone:
        found[0] += f", {line.time_zone}"
    found.append(f"forecast  {_listed(ends.target)}, {_count(plan.horizon, 'step')} ahead, {_what(model)}")
    if sizes["missing"]:
        found.append(f"missing   {sizes['missing']:,} values; the network is told where")
    for title, kind in (("past", plan.past), ("future", plan.future), ("static", plan.static)):
        if kind.names:
            found.append(f"{title:10}{_listed(kind.names)}")
    season = f"season of {plan.season} steps" if plan.season > 1 else "no season"
    looks = f"looks at  {_count(plan.context, 'step')}, {season}"
    if plan.lags:
        looks += f"; values of {_listed(plan.lags)} steps before"
    if plan.periods:
        looks += f"; time of {_listed(plan.period_names())}"
    found.append(looks)
    weights = sum(int(np.size(weight)) for weight in model.models_[0].get_weights())
    networks = f"{len(model.models_)} networks" if len(model.models_) > 1 else "a network"
    found.append(f"network   {networks} of {weights:,} numbers")
    held = f", {sizes['held_back']:,} later ones held back" if sizes["held_back"] else ""
    found.append(f"training  on {sizes['training']:,} windows{held}; {_epochs(model)}")
    found += [f"note      {note}" for note in model.notes_]
    return found


def _what(model: "Forecaster") -> str:
    levels = [f"{q:g}" for q in model.quantiles_]
    if model._family is not None:
        return f"a {model.output_} distribution each"
    if len(levels) == 1:
        return "a mean each" if model.output_ == "mean" else "a median each"
    return f"quantiles {', '.join(levels)}"


def _epochs(model: "Forecaster") -> str:
    told = []
    for history in model.history_:
        losses = history.get("val_loss") or history["loss"]
        best = int(np.argmin(losses)) + 1 if "val_loss" in history else len(losses)
        told.append(f"epoch {best} of {len(losses)}, loss {losses[best - 1]:.4g}")
    return "; ".join(told[:_LISTED])


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}{'' if number == 1 or name == 'series' else 's'}"


def _listed(names: Any) -> str:
    told = [str(name) for name in names]
    more = f" and {len(told) - _LISTED} more" if len(told) > _LISTED else ""
    return ", ".join(told[:_LISTED]) + more


def picture(model: "Forecaster", known: SeriesSet, figure: Any) -> Any:
    """The forecasts of up to four series beside their ends."""
    from rekur.tasks import report

    plan, line = model._plan, known.timeline
    has_bands = len(model.quantiles_) > 1 or model._family is not None
    levels = list(model.quantiles_)
    told = model._forecast(known, levels, "plot")
    steps = told.shape[1]
    shown: list[report.Window] = []
    middle = levels.index(0.5)
    for number, series in enumerate(known.series[:_MOST_SHOWN]):
        for k in range(plan.targets):
            if len(shown) == _MOST_SHOWN:
                break
            kept = min(len(series), max(4 * plan.horizon, plan.context))
            end = known.end(series)
            label = " ".join(str(part) for part in (series.id, known.target[k] if plan.targets > 1 else None)
                             if part is not None)  # fmt: skip
            shown.append(
                report.Window(
                    told[number, :, k, middle],
                    history=series.target[len(series) - kept :, k],
                    quantiles={q: told[number, :, k, place] for place, q in enumerate(levels)} if has_bands else {},
                    times=line.time(end + np.arange(steps)),
                    history_times=line.time(end - kept + np.arange(kept)),
                    label=label,
                )
            )
    title = f"Forecast of {_count(steps, 'step')}"
    name = str(known.target[0]) if plan.targets == 1 else ""
    if len(shown) == 1:
        one = shown[0]
        return report.plot_forecast(
            one.forecast, history=one.history, quantiles=one.quantiles, times=one.times,
            history_times=one.history_times, time_zone=line.time_zone, name=name, title=title, figure=figure,
        )  # fmt: skip
    return report.plot_windows(shown, time_zone=line.time_zone, name=name, title=title, figure=figure)
