"""From series to a detector's network: training, what is usual, and what in the training data is not."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rekur.models import Model
from rekur.optimizers import Adam
from rekur.optimizers.schedules import CosineDecay
from rekur.tasks._fitting import fit_networks
from rekur.tasks._front import statistics
from rekur.tasks.anomalies._graph import Floats, Known
from rekur.tasks.anomalies._networks import TAPS, Design, Network, level, outputs
from rekur.tasks.anomalies._prototypes import prototypes, windows_of
from rekur.tasks.anomalies._tail import Tail, peak_places

Place = tuple[int, int, int]  # a series, the first step, one past the last

_CHUNK = 128  # steps of a row of a batch whose errors count
_MOST_CHUNKS = 512
_UPDATES = 600
_MOST_EPOCHS = 60
_IMPOSSIBLE = 0.05


@dataclass(frozen=True)
class Fitting:
    """How networks are trained."""

    seeds: list[int]
    epochs: int | None
    batch_size: int
    learning_rate: float
    validation_fraction: float
    patience: int | None
    verbose: int
    who: str


@dataclass(frozen=True)
class Learned:
    """The detector's network, and the scores of the training data that it was judged by, one array a series."""

    model: Model
    scores: list[Floats]
    tail: Tail
    scales: Floats
    histories: list[dict[str, list[float]]]
    known: Known
    left_out: list[Place]  # what training data are not learned from


def known_of(series: list[Floats]) -> Known:
    """Means and deviations, which a few extreme values do not move, and how far values reach."""
    rows = np.concatenate(series)
    known = np.empty_like(rows)
    with np.errstate(invalid="ignore"):
        for channel in range(rows.shape[1]):
            there = rows[~np.isnan(rows[:, channel]), channel]
            low, high = np.quantile(there, [0.005, 0.995]) if len(there) else (0.0, 0.0)
            width = high - low
            # Beyond the bulk by more than its width: not what a deviation is measured by.
            known[:, channel] = np.clip(rows[:, channel], low - width, high + width) if width > 0 else rows[:, channel]
        found = statistics(known)
        reach = np.nanmax(np.abs(known - found.mean), axis=0, initial=0.0) / found.deviation
    return Known(found.mean, found.deviation, np.nan_to_num(reach), found.missing)


def learn(series: list[Floats], design: Design, fitting: Fitting) -> Learned:
    """Train, and once more without what stands out of the training data, if anything does."""
    known = known_of(series)
    learned = _learn(series, known, design, fitting)
    places = _standing_out(learned)
    if not places:
        return learned
    margin = max(design.window, design.smoothing)  # scores come up to so late, and may fall below the level between
    places = _widened(places, series, margin)
    cleaned = [piece.copy() for piece in series]
    for number, first, end in places:
        cleaned[number][first:end] = np.nan
    if all(np.isnan(piece).all(axis=1).mean() > 0.5 for piece in cleaned):
        return learned
    again = known_of(cleaned)._replace(missing=known.missing)
    found = _learn(cleaned, again, design, fitting)
    tail, scores = found.tail, found.scores
    if more := _widened(_standing_out(found), series, margin):
        # What only shows now has had little part in the training, but would be most of the tail.
        for number, first, end in more:
            scores[number][first:end] = np.nan
        tail = Tail.of(scores, tail.apart)
    return Learned(found.model, scores, tail, found.scales, found.histories, again, _united(places + more))


def _widened(places: list[Place], series: list[Floats], margin: int) -> list[Place]:
    return [(n, max(first - margin, 0), min(end + margin, len(series[n]))) for n, first, end in places]


def _united(places: list[Place]) -> list[Place]:
    """Stretches that meet are one."""
    found: list[Place] = []
    for number, first, end in sorted(places):
        if found and found[-1][0] == number and first <= found[-1][2]:
            found[-1] = (number, found[-1][1], max(end, found[-1][2]))
        else:
            found.append((number, first, end))
    return found


def _learn(series: list[Floats], known: Known, design: Design, fitting: Fitting) -> Learned:
    network = Network(known, design)
    longest = max(len(piece) for piece in series)
    held = int(longest * fitting.validation_fraction)
    # The last part in time of each series is held out; a series too short for that is trained on as a whole.
    cuts = [len(piece) - (int(len(piece) * fitting.validation_fraction) if held else 0) for piece in series]
    histories: list[dict[str, list[float]]] = []
    for method in design.methods:
        if method == "nearest":
            rng = np.random.default_rng(fitting.seeds[0])
            scaled = [(piece[:cut] - known.mean) / known.deviation for piece, cut in zip(series, cuts, strict=True)]
            network.nearest([_prototypes(scaled, channel, design, rng) for channel in range(network.channels)])
        else:
            histories += _train(network, method, series, cuts, fitting)
    raw = network.raw()
    errors = [np.asarray(outputs(raw, piece)[0], np.float64) for piece in series]
    counted = max(design.warm(method) for method in design.methods)
    early, late = [], []
    for piece, found, cut in zip(series, errors, cuts, strict=True):
        seen: NDArray[np.bool_] = np.asarray(~np.isnan(piece).all(axis=1))
        early.append(found[counted:cut][seen[counted:cut]])
        late.append(found[max(cut, counted) :][seen[max(cut, counted) :]])
    usual = _usual(np.concatenate(early), known)
    rest = np.concatenate(late)
    # Errors of what was trained on are too small: held out steps say what is usual, where there are enough of them.
    scales = _usual(rest, known) if len(rest) >= 4 * design.window else usual
    methods = len(design.methods)
    levels = [
        np.where(
            np.arange(len(found)) < cut, level(found, usual, methods), level(found, scales, methods)
        ) for found, cut in zip(errors, cuts, strict=True)
    ]  # fmt: skip
    inside = np.concatenate([found[counted:] for found in levels])
    if len(inside) == 0:
        inside = np.concatenate(levels)
    centre = float(np.median(inside))
    spread = float(1.4826 * np.median(np.abs(inside - centre))) or float(inside.std()) or 1.0
    scores = [(found - centre) / spread for found in levels]
    for piece, values in zip(series, scores, strict=True):
        values[:counted] = np.nan
        values[np.isnan(piece).all(axis=1)] = np.nan
    apart = max(design.window, design.smoothing)
    model = network.scorer(scales, centre, spread)
    return Learned(model, scores, Tail.of(scores, apart), scales, histories, known, [])


def _prototypes(scaled: list[Floats], channel: int, design: Design, rng: np.random.Generator) -> Floats:
    windows = windows_of([piece[:, channel] for piece in scaled], design.window, rng)
    if len(windows) == 0:  # nothing whole was seen
        return np.zeros((1, design.window))
    return prototypes(windows, design.prototypes, rng)


def _usual(errors: Floats, known: Known) -> Floats:
    """The mean error of each column, extreme ones cut off; of errors of nearly nothing, nearly nothing."""
    if len(errors) == 0:
        return np.ones(errors.shape[1])
    top = np.quantile(errors, 0.98, axis=0)
    mean = np.minimum(errors, top).mean(axis=0)
    return np.asarray(np.maximum(mean, 1e-8))


def _train(
    network: Network, method: str, series: list[Floats], cuts: list[int], fitting: Fitting
) -> list[dict[str, list[float]]]:
    warm = network.design.warm(method)
    parts = [piece[:cut] for piece, cut in zip(series, cuts, strict=True)]
    rows = _chunks(parts, warm)
    # What is held out begins with as many steps before it as a network has to see.
    ends = [piece[max(cut - warm, 0) :] for piece, cut in zip(series, cuts, strict=True) if cut < len(piece)]
    ends = [piece for piece in ends if len(piece) > warm]
    batches = -(-len(rows) // fitting.batch_size)
    epochs = fitting.epochs or max(4, min(_MOST_EPOCHS, round(_UPDATES / batches)))

    def build(seed: int) -> Model:
        model = network.member(method, seed)
        rate = CosineDecay(fitting.learning_rate, epochs * batches)
        model.compile(optimizer=Adam(rate, clipnorm=1.0), loss="mse")
        return model

    width = network.channels * (network.design.horizon if method == "forecast" else min(TAPS, network.design.window))
    validation = None
    if ends:
        held = _chunks(ends, warm)
        validation = (held, np.zeros((*held.shape[:2], width), np.float32))
    _, histories = fit_networks(
        build,
        fitting.seeds,
        {"x": rows, "y": np.zeros((*rows.shape[:2], width), np.float32)},
        epochs=epochs,
        who=fitting.who,
        batch_size=fitting.batch_size,
        validation=validation,
        patience=fitting.patience,
        verbose=fitting.verbose,
        steps=batches,
        title=f"{fitting.who}: {method}",
    )
    return histories


def _chunks(pieces: list[Floats], warm: int) -> NDArray[np.float32]:
    """Rows (N, T, F) of some steps to get warm and some whose errors count; NaN behind the end of a short series."""
    usable = [piece for piece in pieces if len(piece) > warm]
    if not usable:
        usable = pieces
    longest = max(len(piece) for piece in usable)
    length = min(warm + _CHUNK, longest)
    total = sum(max(len(piece) - length + 1, 1) for piece in usable)
    apart = max(1, total // _MOST_CHUNKS)
    rows = []
    for piece in usable:
        last = max(len(piece) - length, 0)
        for first in sorted({*range(0, last + 1, apart), last}):
            part = piece[first : first + length]
            row = np.full((length, piece.shape[1]), np.nan, np.float32)
            row[: len(part)] = part
            rows.append(row)
    return np.stack(rows)


def _standing_out(learned: Learned) -> list[Place]:
    """Stretches of the training data that the rest makes all but impossible.

    Scores are logarithms, and the tail of a logarithm is exponential or lighter in all but the wildest data. So a peak
    stands out if of as many exponential excesses, whose scale their median gives, hardly one in
    twenty times would be as high.
    """
    scores, apart = learned.scores, learned.tail.apart
    level = float(np.quantile(np.concatenate([piece[np.isfinite(piece)] for piece in scores]), 0.75))
    peaks = [
        (float(piece[at]) - level, number, int(at))
        for number, piece in enumerate(scores)
        for at in peak_places(piece, level, apart)
    ]
    if len(peaks) < 8:
        return []
    # Of what stands out each stretch may have several peaks: the median excess bears many of them.
    scale = float(np.median([excess for excess, _, _ in peaks])) / np.log(2)
    least = scale * np.log(len(peaks) / _IMPOSSIBLE)
    places = []
    for excess, number, at in peaks:
        if excess <= least:
            continue
        piece = scores[number]
        with np.errstate(invalid="ignore"):
            raised = piece > level + excess / 4
        first, end = at, at + 1
        while first > 0 and raised[first - 1]:
            first -= 1
        while end < len(piece) and raised[end]:
            end += 1
        places.append((number, first, end))
    return sorted(places)
