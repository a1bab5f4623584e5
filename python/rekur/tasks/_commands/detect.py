"""``rekur detect``: what is unusual in a table of series."""

import argparse
import dataclasses
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.tasks import _facts
from rekur.tasks._columns import Column
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
from rekur.tasks._dates import NotTimes, parse_times
from rekur.tasks._series import Series, SeriesSet, read_series
from rekur.tasks._tables import Table, read_table
from rekur.tasks._zones import to_utc

_LABELS = ("is_anomaly", "anomaly", "anomalies", "is_outlier", "outlier", "label", "labels")
_FILES = ("model.safetensors", "model.onnx", "predictions.csv", "alarms.csv", "report.html")


def run(options: argparse.Namespace) -> None:
    """Run the command.

    Raises
    ------
    ValueError, OSError, ImportError
        As of the reading, training and writing that it does.
    """
    tell = Teller(options.quiet)
    check_pictures(options.report)
    known, labels = _read(options)
    ends = [_end_of_training(options, known, series) for series in known.series]
    facts = _facts.of(known)
    facts += _more_facts(options, known, ends, labels)
    tell.facts(options.data.name, facts)
    tell.notes(known.notes)
    folder = Folder(options.out, _FILES, options.overwrite)
    detector = _detector(options)
    begin = time.monotonic()
    detector.fit(given([series.target[:end] for series, end in zip(known.series, ends, strict=True)]))
    seconds = time.monotonic() - begin
    detector.columns_ = known.state()
    detector.save(folder.file("model.safetensors"))
    if options.onnx:
        folder.onnx(detector)
    found = Scored(detector, known)
    columns = found.columns()
    if labels is not None:
        columns[options.labels] = np.concatenate(labels).astype(int)
    folder.csv("predictions.csv", columns)
    folder.csv("alarms.csv", found.alarm_columns())
    found.tell(tell)
    measures = None
    if labels is not None:
        measures, apart = _measures(found, labels, ends)
        _tell_measures(tell, measures, apart)
    if options.report:
        _write_report(detector, known, found, labels, measures, facts, folder, seconds)
    folder.finish(tell)


def _read(options: argparse.Namespace) -> tuple[SeriesSet, list[NDArray[np.bool_]] | None]:
    """The series, and where it is known to be unusual, step by step."""
    table = read_table(options.data, day_first=options.day_first)
    notes: list[str] = []
    times, targets = named(table, options.time), named(table, options.target)
    if options.labels is None:
        options.labels = _guess_labels(table, {options.series, *times, *targets}, notes)
    aggregate: Any = options.aggregate
    if options.labels is not None:
        _check_labels(table.column(options.labels))
        others = [name for name in table.names if name != options.labels]
        aggregate = {**dict.fromkeys(others, options.aggregate), options.labels: "max"}
    known = read_series(
        table, time=times, target=targets, series=options.series,
        past=[] if options.labels is None else [options.labels], freq=options.freq, time_zone=options.time_zone,
        aggregate=aggregate, day_first=options.day_first,
    )  # fmt: skip
    known = dataclasses.replace(known, notes=[*known.notes, *notes])
    if options.labels is None:
        return known, None
    labels = [np.nan_to_num(series.past[:, 0]) > 0 for series in known.series]
    bare = [dataclasses.replace(series, past=series.past[:, :0]) for series in known.series]
    layout = dataclasses.replace(known.layout, aggregate=options.aggregate)
    return dataclasses.replace(known, series=bare, past=[], layout=layout), labels


def _guess_labels(table: Table, taken: set[Any], notes: list[str]) -> Any:
    """A column of 0 and 1 whose name says that it marks anomalies."""
    for name in table.names:
        if name not in taken and str(name).lower() in _LABELS and not _wrong_labels(table.column(name)):
            notes.append(f"column {name!r} is taken to mark known anomalies")
            return name
    return None


def _wrong_labels(column: Column) -> list[Any]:
    if column.kind not in ("number", "bool"):
        return [next((value for value in column.texts() if value is not None), None)]
    return [value for value in np.unique(column.numbers()).tolist() if value not in (0.0, 1.0) and value == value]


def _check_labels(column: Column) -> None:
    if wrong := _wrong_labels(column):
        shown = wrong[0] if isinstance(wrong[0], str) else f"{wrong[0]:g}"
        raise ValueError(f"labels: column {column.name!r}: expected 0 and 1, or true and false, got {shown}")


def _looks_like_a_date(text: str, known: SeriesSet, series: Series) -> bool:
    """Whether digits are a year that the series has, or a date without marks, rather than a number of rows."""
    if len(text) == 8:
        return True
    times = known.timeline.times(series.start, len(series))
    years = times[[0, -1]].astype("M8[Y]").astype(int) + 1970
    return len(text) == 4 and bool(years[0] <= int(text) <= years[1])


def _end_of_training(options: argparse.Namespace, known: SeriesSet, series: Series) -> int:
    """How many steps of a series are trained on."""
    if options.train_until is None:
        trained: float = options.train_share * len(series)
        return max(round(trained), 1)
    text = options.train_until
    if text.isdigit() and not (known.timeline.calendar and _looks_like_a_date(text, known, series)):
        count = int(text)
    elif known.timeline.calendar:
        try:
            found = parse_times([text], name="train-until")
        except NotTimes as error:
            raise ValueError(f"train-until: {error}") from None
        moment = found.values
        if not found.aware:
            moment = to_utc(known.timeline.time_zone, moment)[0]
        count = int(known.timeline.ordinal(moment.astype("M8[ns]")[0])) - int(known.timeline.ordinal(series.start))
    else:
        raise ValueError(f"train-until: expected a number of rows, got {text!r}")
    if count < 1:
        which = "" if series.id is None else f" of series {series.id!r}"
        raise ValueError(f"train-until: no step{which} comes before {text}")
    return min(count, len(series))


def _more_facts(
    options: argparse.Namespace, known: SeriesSet, ends: list[int], labels: list[NDArray[np.bool_]] | None
) -> list[tuple[str, str]]:
    total = sum(len(series) for series in known.series)
    first = known.series[0]
    until = known.timeline.time(known.end(first) - len(first) + min(ends[0], len(first)) - 1)
    where = "" if len(known) > 1 else f", to {_facts.shown(known, until)}"
    facts = [("training", f"the first {counted(sum(ends), 'step')} of {total:,}{where}; all are scored")]
    if labels is not None:
        steps = int(sum(label.sum() for label in labels))
        facts.append(
            ("known", f"{counted(steps, 'step')} marked by {options.labels!r}; they are not trained on as such")
        )
    return facts


def _detector(options: argparse.Namespace) -> Any:
    from rekur.tasks import AnomalyDetector

    names = ("method", "window", "season", "false_alarms", "units", "cell", "epochs", "ensemble")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    return AnomalyDetector(random_state=options.seed, verbose=0 if options.quiet else 1, **given)


def given(series: list[NDArray[np.float64]]) -> Any:
    """One array, or a list of them, as the detector takes it."""
    return series[0] if len(series) == 1 else series


class Scored:
    """What a fitted detector says of all steps of series."""

    def __init__(self, detector: Any, known: SeriesSet) -> None:
        self.known, self.threshold = known, float(detector.threshold_)
        values = [series.target for series in known.series]
        scores, alarms = detector.score_samples(given(values)), detector.alarms(given(values))
        self.scores = [-np.asarray(one) for one in ([scores] if len(values) == 1 else scores)]
        self.alarms = [alarms] if len(values) == 1 else alarms

    def columns(self) -> dict[str, Any]:
        """A row for each step: series, time, values, score, alarm."""
        known = self.known
        columns: dict[str, Any] = {}
        if known.layout.series is not None:
            columns[str(known.layout.series)] = [series.id for series in known.series for _ in range(len(series))]
        times = [known.timeline.times(series.start, len(series)) for series in known.series]
        columns[_facts.time_name(known)] = _facts.written(known, np.concatenate(times))
        for place, name in enumerate(known.target):
            columns[str(name)] = np.concatenate([series.target[:, place] for series in known.series])
        columns["score"] = np.concatenate(self.scores)
        columns["alarm"] = (columns["score"] > self.threshold).astype(int)
        return columns

    def alarm_columns(self) -> dict[str, Any]:
        """A row for each alarm: series, its first and last step, where it is highest, the channel."""
        known = self.known
        columns: dict[str, list[Any]] = {}
        if known.layout.series is not None:
            columns[str(known.layout.series)] = []
        columns.update({name: [] for name in ("from", "to", "peak", "score", "channel")})
        for series, alarms in zip(known.series, self.alarms, strict=True):
            first = int(known.timeline.ordinal(series.start))
            for alarm in alarms:
                steps = first + np.array([alarm.start, max(alarm.end - 1, alarm.start), alarm.peak])
                if known.layout.series is not None:
                    columns[str(known.layout.series)].append(series.id)
                texts = _facts.written(known, known.timeline.time(steps))
                for name, text in zip(("from", "to", "peak"), texts, strict=True):
                    columns[name].append(text)
                columns["score"].append(alarm.score)
                channel = alarm.channel
                columns["channel"].append(
                    str(known.target[channel] if isinstance(channel, (int, np.integer)) else channel)
                )
        return columns

    def tell(self, tell: Teller) -> None:
        """The highest alarms."""
        columns = self.alarm_columns()
        count = len(columns["score"])
        steps = int(sum((scores > self.threshold).sum() for scores in self.scores))
        tell.line(
            f"{counted(count, 'alarm')} ({counted(steps, 'step')}), where the score exceeds {number(self.threshold)}"
        )
        order = np.argsort(columns["score"])[::-1][:8]
        if count:
            tell.table(list(columns), [[columns[name][row] for name in columns] for row in sorted(order.tolist())])
        if count > len(order):
            tell.line(f"  … the highest {len(order)} of {count}; alarms.csv has all")


def _measures(found: Scored, labels: list[NDArray[np.bool_]], ends: list[int]) -> tuple[dict[str, float], bool]:
    """How well known anomalies behind the training data are found; of all steps, if there are none, which is told."""
    from rekur.tasks.anomalies import range_precision_recall, vus_pr

    rest = [label[end:] for label, end in zip(labels, ends, strict=True)]
    scores = [one[end:] for one, end in zip(found.scores, ends, strict=True)]
    apart = bool(np.concatenate(rest).any())
    if not apart:
        rest, scores = labels, found.scores
    true, score = np.concatenate(rest), np.concatenate(scores)
    measures: dict[str, float] = {}
    if true.any() and not true.all():
        measures["VUS-PR"] = vus_pr(true, np.nan_to_num(score))
        precision, recall, f1 = range_precision_recall(true, score > found.threshold)
        measures.update({"precision of ranges": precision, "recall of ranges": recall, "F1 of ranges": f1})
    return measures, apart


def _tell_measures(tell: Teller, measures: dict[str, float], apart: bool) -> None:
    if not measures:
        tell.notes(["nothing is marked as an anomaly, or all of it: nothing can be measured"])
        return
    which = "on steps not trained on" if apart else "on all steps, those trained on too"
    tell.table([which, *measures], [["this model", *[percent(v) if k != "VUS-PR" else number(v)
                                                                          for k, v in measures.items()]]])  # fmt: skip


def _write_report(
    detector: Any, known: SeriesSet, found: Scored, labels: list[NDArray[np.bool_]] | None,
    measures: dict[str, float] | None, facts: list[tuple[str, str]], folder: Folder, seconds: float,
) -> None:  # fmt: skip
    from rekur.tasks import report

    # The series with the highest score is the one to look at.
    place = int(np.argmax([np.nanmax(scores) for scores in found.scores]))
    series = known.series[place]
    remarks = []
    if len(known) > 1:
        remarks.append(f"Pictures show series {series.id}, where the score is highest; predictions.csv has all.")
    made = report.anomaly_report(
        name=listed(known.target, 3) if series.id is None else f"{listed(known.target, 3)} of {series.id}",
        values=series.target, scores=found.scores[place], threshold=found.threshold,
        labels=None if labels is None else labels[place],
        times=known.timeline.times(series.start, len(series)), time_zone=known.timeline.time_zone,
        features=[str(name) for name in known.target],
        measures={"this model": measures} if measures else None,
        data=facts, notes=list(map(sentence, known.notes)), history=detector.history_, remarks=remarks,
        card=report.card_of(detector, files=folder.written, seconds=seconds),
    )  # fmt: skip
    folder.report(made)
