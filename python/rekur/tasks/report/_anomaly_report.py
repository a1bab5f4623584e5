"""The report of an anomaly detector."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rekur.tasks.report._anomaly import plot_anomalies, plot_tail, spans
from rekur.tasks.report._canvas import times_of, vector
from rekur.tasks.report._card import Card
from rekur.tasks.report._class_report import _common, _training_figure
from rekur.tasks.report._classes import _two_dimensional
from rekur.tasks.report._content import Content, Picture, Remark, Report, Section, Side, Table
from rekur.tasks.report._numbers import moment, number, percent, plural


def anomaly_report(
    *,
    name: str,
    values: ArrayLike,
    scores: ArrayLike,
    threshold: ArrayLike | None = None,
    alarms: Any = None,
    labels: Any = None,
    times: ArrayLike | None = None,
    time_zone: str | None = None,
    features: Sequence[str] | None = None,
    unit: str = "",
    tail: tuple[ArrayLike, float, float] | None = None,
    false_alarms: str = "",
    measures: Mapping[str, Mapping[str, float]] | None = None,
    examples: int = 3,
    title: str = "",
    data: Sequence[tuple[str, Any]] = (),
    notes: Sequence[str] = (),
    history: Mapping[str, ArrayLike] | Sequence[Mapping[str, ArrayLike]] | None = None,
    card: Card | None = None,
    remarks: Sequence[str] = (),
) -> Report:
    """Put the report of an anomaly detector together.

    Parameters
    ----------
    name, unit
        Of the signal.
    values, scores, threshold, alarms, labels, times, time_zone, features
        As for :func:`plot_anomalies`.
    tail
        (excesses, shape, scale) of the fitted tail, as for :func:`plot_tail`.
    false_alarms
        How often the threshold is passed where nothing is wrong, in words: "about one step in 10 000".
    measures
        Method: {measure: number} where the anomalies are known, the model first; higher is better.
    examples
        So many of the highest alarms are shown closely.
    title, data, notes, history, card, remarks
        As for :func:`forecast_report`.
    """
    signal = _two_dimensional(values, "values")
    length = len(signal)
    score = vector(scores, "scores", length)
    when = times_of(times, "times", length)
    if alarms is None and threshold is not None:
        with np.errstate(invalid="ignore"):
            alarms = score > np.asarray(threshold, np.float64)
    found = spans(alarms, "alarms", length)
    known = spans(labels, "labels", length)
    limit = None if threshold is None else np.broadcast_to(np.asarray(threshold, np.float64), (length,))
    label = f"{name} ({unit})" if unit else name

    def at(step: int) -> str:
        time = when[min(step, length - 1)]
        return moment(time if isinstance(time, np.datetime64) else int(time), time_zone)

    def picture(begin: int, end: int, heading: str, description: str, caption: str = "") -> Picture:
        part = slice(begin, end)

        def cut(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
            return [(max(a, begin) - begin, min(b, end) - begin) for a, b in pairs if b > begin and a < end]

        return Picture(
            lambda: plot_anomalies(
                signal[part], score[part], threshold=None if limit is None else limit[part], alarms=cut(found),
                labels=cut(known), times=when[part], time_zone=time_zone, features=features, name=label,
            ),
            heading,
            description,
            caption,
        )  # fmt: skip

    ranked = sorted(found, key=lambda span: -_peak(score, span))
    rows = [
        [i + 1, at(a), at(b - 1), int(b - a), _peak(score, (a, b)), *([_hit((a, b), known)] if known else [])]
        for i, (a, b) in enumerate(ranked)
    ]
    columns = ["Rank", "From", "To", "Steps", "Highest score", *(["Known anomaly"] if known else [])]
    share = sum(b - a for a, b in found) / max(length, 1)
    said = f"{plural(len(found), 'alarm')} in {plural(length, 'step')}" + (
        f", the highest from {at(ranked[0][0])} to {at(ranked[0][1] - 1)}" if ranked else ""
    )
    main: list[Content] = [*map(Remark, remarks)]
    main.append(
        picture(
            0, length, "The whole signal", f"Line chart of {name} with its scores below: {said}.",
            "Triangles and shaded parts are alarms: there the score is above the threshold. Of a long signal the "
            "smallest and the largest value of each piece are drawn.",
        )
    )  # fmt: skip
    if rows:
        main.append(Table(columns, rows, caption="Alarms, the highest first"))
    sections = [Section("What was found", main)]
    close: list[Content] = []
    for i, (a, b) in enumerate(ranked[: max(examples, 0)]):
        room = max(2 * (b - a), 60)
        begin, end = max(a - room, 0), min(b + room, length)
        if end - begin < length:
            text = f"{plural(b - a, 'step')} from {at(a)} to {at(b - 1)}, highest score {number(_peak(score, (a, b)))}."
            close.append(picture(begin, end, f"Alarm {i + 1}: {at(a)}", text))
    if close:
        sections.append(Section("The highest alarms closely", close))
    sections += _how_good(measures, tail, false_alarms, found, known)
    sections += _common(data, notes, history, card)
    figures = [
        ("Alarms", number(len(found)), f"{percent(share)} of {plural(length, 'step')}"),
    ]
    if limit is not None and np.isfinite(limit).any():
        figures.append(("Threshold", number(float(limit[np.flatnonzero(np.isfinite(limit))[-1]])), false_alarms))
    if known:
        hits = sum(any(x < b and y > a for x, y in found) for a, b in known)
        figures.append(("Known anomalies found", f"{hits} of {len(known)}", ""))
    summary = said[0].upper() + said[1:] + "."
    if known:
        summary += f" Of {plural(len(known), 'known anomaly', 'known anomalies')}, {hits} met an alarm."
    return Report(
        title or f"Anomalies of {name}", sections, "Anomaly report", summary, [*figures, *_training_figure(card)]
    )


def _peak(score: Any, span: tuple[int, int]) -> float:
    part = score[span[0] : span[1]]
    finite = part[np.isfinite(part)]
    return float(finite.max()) if len(finite) else float("-inf")


def _hit(span: tuple[int, int], known: list[tuple[int, int]]) -> str:
    return "yes" if any(a < span[1] and b > span[0] for a, b in known) else "no"


def _how_good(
    measures: Mapping[str, Mapping[str, float]] | None, tail: Any, false_alarms: str, found: Any, known: Any
) -> list[Section]:
    content: list[Content] = []
    if measures:
        names = list(dict.fromkeys(m for values in measures.values() for m in values))
        rows = [[method, *(values.get(m) for m in names)] for method, values in measures.items()]
        content.append(
            Table(
                ["Method", *names],
                rows,
                caption="Against the known anomalies",
                own=0,
                better=dict.fromkeys(names, "high"),
            )
        )
    elif not known:
        content.append(
            "The true anomalies are not known here, so how many were missed cannot be told; "
            "the threshold says how rare an alarm is where nothing is wrong."
        )
    if tail is not None:
        excesses, shape, scale = tail
        count = len(vector(excesses, "tail"))
        content.append(
            Side(
                [
                    Picture(
                        lambda: plot_tail(excesses, shape, scale),
                        "The tail that the threshold comes from",
                        f"Quantiles of {plural(count, 'high score')} against those of the fitted generalised Pareto "
                        f"distribution, shape {number(shape)}, scale {number(scale)}.",
                        "Points near the diagonal: the fitted tail, and so the rate of false alarms"
                        f"{f' ({false_alarms})' if false_alarms else ''}, can be believed.",
                    )
                ]
            )
        )
    return [Section("How far it can be believed", content)] if content else []
