"""Backtests: forecasts at points of the past, beside what came and beside baselines."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rekur._validate import integer, optional_integer
from rekur.tasks._seasons import seasons_before
from rekur.tasks._series import Series, SeriesSet
from rekur.tasks.forecasting import baselines, scores
from rekur.tasks.forecasting._settings import WHO, Settings
from rekur.tasks.forecasting._windows import Split, WindowArrays

if TYPE_CHECKING:
    from rekur.tasks.forecasting._forecaster import Forecaster

Doubles = NDArray[np.float64]
_OURS = "rekur"
_SHOWN = 4  # forecasts in one picture
_SLOW = ("AutoETS", "AutoARIMA")
_SMALL = 200_000  # values · season · forecasts that statsforecast does in about a minute


@dataclass(frozen=True, repr=False)
class Forecasts:
    """What one method forecast: of n windows points (n, H, K), and quantiles (n, H, K, Q)."""

    point: Doubles
    quantiles: Doubles

    def __repr__(self) -> str:
        return f"<Forecasts of {self.point.shape[0]} windows, {self.point.shape[1]} steps>"


@dataclass(frozen=True, repr=False)
class Backtest:
    """Forecasts at points of the past.

    Attributes
    ----------
    actual : ndarray of shape (n, H, K)
        What came, NaN where missing.
    forecasts : dict of Forecasts
        By name: "rekur", and the baselines.
    quantiles : list of Q floats
    series : int ndarray of shape (n,)
        Which series each window is of.
    origin : int ndarray of shape (n,)
        The number of the first step forecast, as of the timeline.
    scale : ndarray of shape (n, K)
        The error of the seasonal naive forecast on what came before the first forecast, by which MASE divides.
    fits : int
        How many fits there were.
    """

    actual: Doubles
    forecasts: dict[str, Forecasts]
    quantiles: list[float]
    series: NDArray[np.int64]
    origin: NDArray[np.int64]
    scale: Doubles
    known: SeriesSet = field(repr=False)
    fits: int = 1
    notes: list[str] = field(default_factory=list)

    def scores(self, coverage: float = 0.8) -> dict[str, dict[str, float]]:
        """Scores by method.

        Parameters
        ----------
        coverage : float
            Of the band whose coverage is counted; its bounds must be among the quantiles.

        Returns
        -------
        dict of dict
            "mase", "smape", "mae", "rmse", and of quantiles "crps" (in the series' units), "scaled_crps" (divided as
            MASE is), "coverage" and "width" (divided as MASE is). Means over windows, steps and targets.
        """
        return {name: self._scores_of(one, coverage) for name, one in self.forecasts.items()}

    def _scores_of(self, one: Forecasts, coverage: float) -> dict[str, float]:
        y, scale = self.actual, self.scale
        error = scores.mae(y, one.point, axis=1)
        found = {
            "mase": mean_of_known(error / scale),
            "smape": scores.smape(y, one.point),
            "mae": mean_of_known(error),
            "rmse": scores.rmse(y, one.point),
        }
        if one.quantiles.shape[-1] > 1:
            crps = scores.crps(y, one.quantiles, self.quantiles, axis=1)
            found["crps"], found["scaled_crps"] = mean_of_known(crps), mean_of_known(crps / scale)
            low, high = self._bounds(one, coverage)
            if low is not None:
                found["coverage"] = scores.coverage(y, low, high)
                found["width"] = mean_of_known(scores.width(low, high, axis=1) / scale)
        return found

    def _bounds(self, one: Forecasts, coverage: float) -> tuple[Any, Any]:
        places = [
            next((k for k, q in enumerate(self.quantiles) if abs(q - level) < 1e-9), None)
            for level in (0.5 - coverage / 2, 0.5 + coverage / 2)
        ]
        if places[0] is None or places[1] is None:
            return None, None
        return one.quantiles[..., places[0]], one.quantiles[..., places[1]]

    def by_step(self, measure: str = "mase", coverage: float = 0.8) -> dict[str, Doubles]:
        """A score of each step ahead, (H,), by method: "mase", "mae", "crps", "scaled_crps" or "coverage"."""
        return {name: self._by_step(one, measure, coverage) for name, one in self.forecasts.items()}

    def _by_step(self, one: Forecasts, measure: str, coverage: float) -> Doubles:
        scale = self.scale[:, None] if measure in ("mase", "scaled_crps") else 1.0
        if measure in ("mase", "mae"):
            values = np.abs(self.actual - one.point) / scale
        elif measure in ("crps", "scaled_crps"):
            e = self.actual[..., None] - one.quantiles
            levels = np.asarray(self.quantiles)
            values = 2.0 * np.maximum(levels * e, (levels - 1.0) * e).mean(axis=-1) / scale
        elif measure == "coverage":
            low, high = self._bounds(one, coverage)
            if low is None:
                raise ValueError(f"by_step: no quantiles bound a band of {coverage:g}")
            inside = ((self.actual >= low) & (self.actual <= high)).astype(np.float64)
            values = np.where(np.isfinite(self.actual), inside, np.nan)
        else:
            raise ValueError(f"by_step: measure must be mase, mae, crps, scaled_crps or coverage, got {measure!r}")
        return np.asarray([mean_of_known(values[:, step]) for step in range(values.shape[1])])

    def frame(self) -> Any:
        """All forecasts as a table: fold, times and series, the actual values, points and quantiles of each method."""
        names: list[Any] = []
        columns: list[Doubles] = []
        steps = self.actual.shape[1]
        for k, target in enumerate(self.known.target):
            names += [str(target), *(f"{target} {name}" for name in self.forecasts)]
            columns += [self.actual[..., k], *(one.point[..., k] for one in self.forecasts.values())]
            if len(self.quantiles) > 1:
                ours = self.forecasts[_OURS].quantiles
                names += [f"{target} {_OURS} {q:g}" for q in self.quantiles]
                columns += [ours[..., k, place] for place in range(len(self.quantiles))]
        names.append("fold")
        fold = np.zeros(len(self.series))
        for number in np.unique(self.series):
            at = np.flatnonzero(self.series == number)
            fold[at] = np.arange(len(at)) + 1
        columns.append(np.repeat(fold[:, None], steps, axis=1))
        blocks = np.stack(columns, axis=-1)
        sets = dataclasses.replace(self.known, series=[self.known.series[k] for k in self.series.tolist()])
        kind = self.known.layout.kind
        return sets.frame(
            list(blocks), names=names, first=self.origin.tolist(), kind="dict" if kind in ("array", "list") else kind
        )

    def summary(self, print_fn: Callable[[str], Any] = print) -> None:
        """Print the scores as a table.

        Parameters
        ----------
        print_fn : function of a str
            Called with the whole text.
        """
        print_fn(str(self))

    def __repr__(self) -> str:
        found = self.scores()
        keys = [k for k in ("mase", "smape", "scaled_crps", "coverage", "width") if k in found[_OURS]]
        titles = {
            "mase": "MASE",
            "smape": "sMAPE",
            "scaled_crps": "CRPS",
            "coverage": "80 % band",
            "width": "its width",
        }
        lines = [f"{_count(len(self.series), 'forecast')} of {_count(self.actual.shape[1], 'step')}, "
                 f"{_count(self.fits, 'fit')}"]  # fmt: skip
        lines.append(f"{'':16}" + "".join(f"{titles[k]:>11}" for k in keys))
        for name, values in found.items():
            cells = [_cell(k, values.get(k, float("nan"))) for k in keys]
            lines.append(f"{name:16}" + "".join(f"{c:>11}" for c in cells))
        lines += self.notes
        return "\n".join(lines)

    def plot(self, figure: Any = None) -> Any:
        """The last forecasts beside what came, of one series or of several: a matplotlib Figure."""
        from rekur.tasks import report

        numbers = np.unique(self.series)
        if len(numbers) == 1:
            shown = [dataclasses.replace(self._window(at), label=f"forecast {at + 1} of {len(self.series)}")
                     for at in range(max(len(self.series) - _SHOWN, 0), len(self.series))]  # fmt: skip
        else:
            shown = [self._window(int(np.flatnonzero(self.series == number)[-1])) for number in numbers[:_SHOWN]]
        return report.plot_windows(
            shown, time_zone=self.known.timeline.time_zone, name=str(self.known.target[0]), figure=figure
        )

    def _window(self, at: int) -> Any:
        from rekur.tasks import report

        series = self.known.series[int(self.series[at])]
        line, horizon = self.known.timeline, self.actual.shape[1]
        begin = int(self.origin[at]) - int(line.ordinal(series.start))
        first = max(begin - 4 * horizon, 0)
        ours = self.forecasts[_OURS]
        bands = (
            {q: ours.quantiles[at, :, 0, k] for k, q in enumerate(self.quantiles)} if len(self.quantiles) > 1 else {}
        )
        others = {name: one.point[at, :, 0] for name, one in self.forecasts.items() if name == "seasonal naive"}
        return report.Window(
            ours.point[at, :, 0],
            history=series.target[first:begin, 0],
            actual=self.actual[at, :, 0],
            quantiles=bands,
            baselines=others,
            times=line.time(int(self.origin[at]) + np.arange(horizon)),
            history_times=line.time(int(line.ordinal(series.start)) + np.arange(first, begin)),
            label="" if series.id is None else str(series.id),
        )


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"


def _cell(key: str, value: float) -> str:
    return f"{100 * value:.1f} %" if key == "coverage" else f"{value:.2f}" if key == "smape" else f"{value:.3f}"


def mean_of_known(values: Any) -> float:
    there = np.isfinite(values)
    return float(np.mean(np.asarray(values)[there])) if there.any() else float("nan")


def cut_at(series: Series, steps: int, horizon: int) -> Series:
    """A series as it was after so many steps; what is known ahead of it stays known."""
    return dataclasses.replace(
        series, target=series.target[:steps], past=series.past[:steps], future=series.future[: steps + horizon]
    )


def earlier(known: SeriesSet, steps: int, horizon: int) -> SeriesSet:
    """A set of series as it was so many steps ago; those that were too short for a forecast then are left out."""
    long_enough = [series for series in known.series if len(series) - steps >= min(2 * horizon, 4)]
    return _earlier(known, [cut_at(series, len(series) - steps, horizon) for series in long_enough])


def _earlier(known: SeriesSet, cut: list[Series]) -> SeriesSet:
    """A set of series as they were, with the seasons that they showed then."""
    line = seasons_before(known.timeline, [one.target for one in known.series], [one.target for one in cut])
    return dataclasses.replace(known, series=cut, timeline=line)


def run_backtest(
    model: "Forecaster",
    known: SeriesSet,
    settings: Settings,
    folds: Any,
    stride: Any,
    refit: Any,
    wanted: Sequence[str] | str,
) -> Backtest:
    """As :meth:`rekur.tasks.Forecaster.backtest`."""
    count = integer(folds, f"{WHO}: backtest: folds")
    horizon = settings.horizon
    step = optional_integer(stride, f"{WHO}: backtest: stride") or horizon
    every = count if refit is False else 1 if refit is True else integer(refit, f"{WHO}: backtest: refit")
    lengths = np.asarray([len(series) for series in known.series])
    begins = lengths[:, None] - horizon - step * np.arange(count)[::-1]  # (series, folds)
    usable = begins >= min(2 * horizon, 4)
    if not usable.any():
        raise ValueError(
            f"{WHO}: backtest: {count} forecasts of {horizon} steps, {step} apart, need {horizon + step * (count - 1)} "
            f"steps and some to train on; the longest series has {lengths.max()}"
        )
    first = int(np.flatnonzero(usable.any(axis=0))[0])
    notes: list[str] = []
    if not usable.all():
        notes.append(f"{int((~usable).sum())} forecasts were left out: their series are too short before them.")
    fitted: Forecaster | None = None
    levels = settings.quantiles
    fits, found, splits, seen = 0, [], [], []
    for fold in range(first, count):
        some = np.flatnonzero(usable[:, fold])
        if fitted is None or (fold - first) % every == 0:
            cut = [cut_at(known.series[k], int(begins[k, fold]), horizon) for k in some]
            fitted = type(model)(**model.get_params(deep=False))
            fitted._fit_series(_earlier(known, cut), settings)
            fits += 1
        split = Split(some, begins[some, fold])
        found.append(forecast_of(fitted, known, split, levels))
        splits.append(split)
        seen.append(np.full(len(split), fitted._plan.season))
    places = Split(np.concatenate([s.series for s in splits]), np.concatenate([s.origin for s in splits]))
    order = np.lexsort((places.origin, places.series))
    places = places.some(order)
    ours = np.concatenate(found)[order]
    middle = levels.index(0.5)
    actual = np.stack([actual_of(known.series[k], t, horizon) for k, t in pairs_of(places)])
    ends = {int(k): int(begins[k, np.flatnonzero(usable[k])[0]]) for k in np.unique(places.series)}
    season = np.concatenate(seen)[order].tolist()  # of each window, as it was known before it
    first_season = dict(reversed(list(zip(places.series.tolist(), season, strict=True))))
    scale = np.asarray([scales_of(known.series[k], ends[k], first_season[k]) for k in places.series.tolist()])
    results = {_OURS: Forecasts(ours[..., middle], ours)}
    for name in _chosen(wanted, known, places, max(season), notes):
        results[name] = _baseline(name, known, places, horizon, season, levels)
    starts = [int(known.timeline.ordinal(known.series[k].start)) + t for k, t in pairs_of(places)]
    return Backtest(
        actual, results, list(levels), places.series, np.asarray(starts, np.int64), scale, known, fits, notes
    )


def pairs_of(places: Split) -> list[tuple[int, int]]:
    return list(zip(places.series.tolist(), places.origin.tolist(), strict=True))


def actual_of(series: Series, at: int, horizon: int) -> Doubles:
    ahead = series.target[at : at + horizon]
    return np.pad(ahead, ((0, horizon - len(ahead)), (0, 0)), constant_values=np.nan)


def scales_of(series: Series, end: int, season: int) -> list[float]:
    found = [scores.naive_error(series.target[:end, k], season) for k in range(series.target.shape[1])]
    return [value if value > 0 else float("nan") for value in found]


def forecast_of(fitted: "Forecaster", known: SeriesSet, split: Split, levels: Sequence[float]) -> Doubles:
    """Quantiles of windows anywhere in series: (n, H, K, Q)."""
    arrays = WindowArrays(known, fitted._plan)
    return fitted._told(arrays.inputs(split), levels, "backtest")


def _chosen(wanted: Sequence[str] | str, known: SeriesSet, places: Split, season: int, notes: list[str]) -> list[str]:
    there = baselines.available()
    if wanted != "auto":
        return [wanted] if isinstance(wanted, str) else list(wanted)
    work = int(sum(places.origin)) * max(season, 1)
    if work <= _SMALL:
        return there
    if any(name in there for name in _SLOW):
        notes.append(f"{' and '.join(_SLOW)} were left out, since they would take minutes; name them in baselines=.")
    return [name for name in there if name not in _SLOW]


def _baseline(
    name: str, known: SeriesSet, places: Split, horizon: int, season: list[int], quantiles: list[float]
) -> Forecasts:
    points, bands = [], []
    for (k, t), steps in zip(pairs_of(places), season, strict=True):
        target = known.series[k].target[:t]
        told = [baselines.forecast(name, target[:, j], horizon, steps, quantiles) for j in range(target.shape[1])]
        points.append(np.stack([point for point, _ in told], axis=1))
        bands.append(np.stack([band for _, band in told], axis=1))
    return Forecasts(np.stack(points), np.stack(bands))
