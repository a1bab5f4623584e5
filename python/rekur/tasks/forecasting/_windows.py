"""Windows of many series: where they stand in one array, read a batch at a time."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.data import Batch, RowSource
from rekur.tasks._series import Series, SeriesSet
from rekur.tasks.forecasting._plan import Plan

Floats = NDArray[np.float32]
Places = NDArray[np.int64]


def phases(known: SeriesSet, plan: Plan, start: Any, steps: int) -> Floats:
    """How far in each period so many steps lie, from 0 to 1: (steps, C). Whole seconds (steps) modulo the period."""
    if not plan.periods:
        return np.zeros((steps, 0), np.float32)
    line = known.timeline
    counted = line.local(start, steps) if plan.calendar else line.ordinal(start) + np.arange(steps)
    periods = np.asarray(plan.periods)
    return np.asarray((counted[:, None] % periods) / periods.astype(np.float64), np.float32)


def start_before(known: SeriesSet, series: Series, steps: int) -> Any:
    """The stamp of the step so many steps before a series begins (after, if negative)."""
    return known.timeline.time(int(known.timeline.ordinal(series.start)) - steps)


@dataclass(frozen=True)
class Split:
    """Windows of one use: in which series, and at which of its steps the forecast begins.

    ``ends`` has, for each window, the step of its series from which on its targets are not to be known; None: all are.
    """

    series: Places
    origin: Places
    ends: Places | None = None

    def __len__(self) -> int:
        return len(self.series)

    def some(self, places: Any) -> "Split":
        """Those at some places."""
        return Split(self.series[places], self.origin[places], None if self.ends is None else self.ends[places])


class WindowArrays:
    """All that windows are cut from: the columns of every series in one array, missing values in front of each.

    Columns: target K, past P, future Q, phase C. A window of series s whose forecast begins at step t of it stands at
    rows ``first[s] + t`` to ``first[s] + t + L + H``.
    """

    def __init__(self, known: SeriesSet, plan: Plan) -> None:
        self.plan, self.known = plan, known
        blocks, firsts, at = [], [], 0
        for series in known.series:
            block = _block(known, plan, series)
            firsts.append(at)
            blocks.append(block)
            at += len(block)
        self.values = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
        self.first = np.asarray(firsts, np.int64)
        statics = [series.static for series in known.series]
        self.static = np.asarray(statics, np.float32).reshape(len(statics), len(plan.static.names))

    def inputs(self, chosen: Split) -> dict[str, Floats]:
        """What the network takes for some windows."""
        plan = self.plan
        context, steps = plan.context, plan.context + plan.horizon
        rows = (self.first[chosen.series] + chosen.origin)[:, None] + np.arange(steps)
        window = self.values[rows]
        return split_columns(plan, window, self.static[chosen.series], context)

    def targets(self, chosen: Split) -> Floats:
        """What comes, NaN where it is missing or not known: (B, H, K)."""
        plan = self.plan
        begin = self.first[chosen.series] + chosen.origin + plan.context
        ahead = np.arange(plan.horizon)
        found = self.values[begin[:, None] + ahead, : plan.targets]
        if chosen.ends is not None:
            found[chosen.origin[:, None] + ahead >= chosen.ends[:, None]] = np.nan
        return found

    def origins(self, least: int = 1) -> Split:
        """All windows with a value in the context and one ahead: at least ``least`` values of a target behind."""
        series, origin = [], []
        for number, one in enumerate(self.known.series):
            there = np.isfinite(one.target)
            behind = np.concatenate([np.zeros((1, there.shape[1]), np.int64), np.cumsum(there, axis=0)])
            length = len(one)
            begins = np.arange(1, length)
            seen = behind[begins] - behind[np.maximum(begins - self.plan.context, 0)]
            ahead = behind[np.minimum(begins + self.plan.horizon, length)] - behind[begins]
            usable = begins[(seen.min(axis=1) >= least) & (ahead.max(axis=1) > 0)]
            series.append(np.full(len(usable), number, np.int64))
            origin.append(usable)
        return Split(np.concatenate(series), np.concatenate(origin))

    def last(self) -> Split:
        """The windows whose forecasts begin where the series end."""
        ends = [len(one) for one in self.known.series]
        return Split(np.arange(len(ends)), np.asarray(ends, np.int64))


def split_columns(plan: Plan, window: Floats, static: Floats, context: int) -> dict[str, Floats]:
    """Rows (B, L + H, K + P + Q + C) as the network's inputs."""
    edges = np.cumsum([0, plan.targets, len(plan.past.names), len(plan.future.names), len(plan.periods)]).tolist()
    found = {"target": np.ascontiguousarray(window[:, :context, : edges[1]])}
    if plan.past.names:
        found["past"] = np.ascontiguousarray(window[:, :context, edges[1] : edges[2]])
    if plan.future.names:
        found["future"] = np.ascontiguousarray(window[:, :, edges[2] : edges[3]])
    if plan.periods:
        found["phase"] = np.ascontiguousarray(window[:, :, edges[3] : edges[4]])
    if plan.static.names:
        found["static"] = np.ascontiguousarray(static)
    return found


def _block(known: SeriesSet, plan: Plan, series: Series) -> Floats:
    """The rows of one series: L missing ones, its own, H ahead of which the targets are missing."""
    before, length = plan.context, len(series)
    rows = before + length + plan.horizon
    targets, past, future = plan.targets, len(plan.past.names), len(plan.future.names)
    first = targets + past + future
    block = np.full((rows, first + len(plan.periods)), np.nan, np.float32)
    block[before : before + length, :targets] = series.target
    if past:
        block[before : before + length, targets : targets + past] = series.past
    if future:
        ahead = series.future[: length + plan.horizon]
        block[before : before + len(ahead), targets + past : first] = ahead
    if plan.periods:
        block[:, first:] = phases(known, plan, start_before(known, series, before), rows)
    return block


class WindowRows(RowSource):
    """Windows to train on, as ``fit`` of a model reads them."""

    in_memory = True

    def __init__(self, arrays: WindowArrays, chosen: Split) -> None:
        self.arrays, self.chosen = arrays, chosen

    def __len__(self) -> int:
        return len(self.chosen)

    def take(self, index: Any) -> Batch:
        """Windows by their numbers."""
        some = self.chosen.some(index)
        wanted = self.arrays.targets(some)
        there = np.isfinite(wanted)
        y = np.stack([np.where(there, wanted, 0.0), there], axis=-1).astype(np.float32).reshape(len(wanted), -1, 2)
        return Batch(self.arrays.inputs(some), y)


@dataclass(frozen=True)
class Parts:
    """Which windows train, and which, later in time, tell when to stop and how wide bands are."""

    training: Split
    validation: Split


def split_in_time(arrays: WindowArrays, share: float, least: int = 1) -> Parts:
    """Windows whose forecasts lie in the last ``share`` of their series are held back; those across the border go.

    Where no series is long enough to hold a forecast back, those that reach over the border train, or all do.

    Parameters
    ----------
    arrays : WindowArrays
    share : float
        Of each series' steps, at least one horizon.
    least : int
        Values of each target that a window must have behind it.
    """
    everything, horizon = arrays.origins(least), arrays.plan.horizon
    lengths = np.asarray([len(one) for one in arrays.known.series])
    held = np.maximum(np.ceil(share * lengths).astype(np.int64), min(horizon, int(lengths.max()) // 3))
    border = lengths - held
    cut = border[everything.series]
    late = everything.origin >= cut
    early = everything.origin + horizon <= cut
    training = everything.some(np.flatnonzero(early))
    if not early.any():  # no series is that long: forecasts that end behind the border train on what is before it
        over = everything.some(np.flatnonzero(everything.origin < cut))
        training = Split(over.series, over.origin, border[over.series])
        training = training.some(np.flatnonzero(np.isfinite(arrays.targets(training)).any(axis=(1, 2))))
    if not len(training):
        training, late = everything, np.zeros(len(cut), bool)
    return Parts(training, everything.some(np.flatnonzero(late)))


def spread_evenly(count: int, most: int) -> Places:
    """At most ``most`` places of ``count``, evenly spread."""
    if count <= most:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, most).astype(np.int64))
