"""Reports of classifiers, taggers and regressors of sequences."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rekur.tasks.report._calibration import plot_reliability, reliability
from rekur.tasks.report._canvas import vector
from rekur.tasks.report._card import Card, card_section
from rekur.tasks.report._class_scores import ClassScores, count_classes, frequent_mistakes
from rekur.tasks.report._classes import plot_agreement, plot_class_scores, plot_confusion, plot_sequences
from rekur.tasks.report._content import Bullets, Content, Facts, Picture, Remark, Report, Section, Table
from rekur.tasks.report._forecast_report import best_median_worst, training_picture
from rekur.tasks.report._numbers import duration, number, percent, plural


def classification_report(
    *,
    name: str,
    truth: Any,
    predicted: Any,
    classes: Sequence[Any] | None = None,
    probabilities: ArrayLike | None = None,
    uncalibrated: ArrayLike | None = None,
    sequences: Sequence[Any] | None = None,
    features: Sequence[str] | None = None,
    baselines: Mapping[str, float] | None = None,
    unit: str = "sequence",
    title: str = "",
    data: Sequence[tuple[str, Any]] = (),
    notes: Sequence[str] = (),
    history: Mapping[str, ArrayLike] | Sequence[Mapping[str, ArrayLike]] | None = None,
    card: Card | None = None,
    remarks: Sequence[str] = (),
) -> Report:
    """Put the report of a classifier together, from its answers on data that it had not seen.

    Parameters
    ----------
    name
        What is told apart.
    truth, predicted
        (N,) labels; of a tagger, those of all steps.
    classes
        All of them, in the order of ``probabilities``; by default those that occur.
    probabilities, uncalibrated
        (N, C), of the answers, and before they were calibrated.
    sequences
        N arrays (T,) or (T, F), or N texts: examples are taken from them.
    features
        Names of the F features.
    baselines
        Name: accuracy of another classifier on the same data. The most frequent class is added.
    unit
        What one answer is for: "sequence", "step", "text".
    title, data, notes, history, card, remarks
        As for :func:`forecast_report`.
    """
    scores = count_classes(truth, predicted, classes)
    n = int(scores.matrix.sum())
    sure = None if probabilities is None else np.asarray(probabilities, np.float64)
    if sure is not None and sure.shape != (n, len(scores.classes)):
        raise ValueError(f"probabilities: expected the shape {(n, len(scores.classes))}, not {sure.shape}")
    right = np.asarray(truth).ravel() == np.asarray(predicted).ravel()
    sections = [Section("How good it is", [*map(Remark, remarks), *_class_content(scores, baselines, unit)])]
    if sure is not None:
        sections.append(Section("How far the probabilities can be believed", [_reliability(sure, uncalibrated, right)]))
    if sequences is not None and n:
        sections.append(Section("Examples", _examples(sequences, truth, predicted, sure, right, features, unit)))
    sections += _common(data, notes, history, card)
    rivals = {**(baselines or {}), "always the most frequent class": scores.majority}
    rival, best = max(rivals.items(), key=lambda pair: pair[1])
    wrong = n - int(np.diag(scores.matrix).sum())
    figures = [
        ("Accuracy", percent(scores.accuracy), f"{rival}: {percent(best)}"),
        ("Wrong", number(wrong), f"of {plural(n, unit)}"),
    ]
    if len(scores.classes) > 2 or abs(scores.balanced - scores.accuracy) > 0.005:
        figures.append(("Mean recall of the classes", percent(scores.balanced), ""))
    figures += _training_figure(card)
    summary = f"Of {plural(n, unit)} that it had not seen, the model told {percent(scores.accuracy)} right; "
    summary += f"{rival}: {percent(best)}."
    if scores.accuracy <= best:
        summary += " Here that is not the worse choice."
    mistakes = frequent_mistakes(scores, 1)
    if mistakes:
        a, b, count, _ = mistakes[0]
        summary += f" Its most frequent mistake: {a} taken for {b}, {plural(count, 'time')}."
    return Report(title or f"Classification of {name}", sections, "Classification report", summary, figures)


def _class_content(scores: ClassScores, baselines: Mapping[str, float] | None, unit: str) -> list[Content]:
    rows: list[list[Any]] = [["this model", percent(scores.accuracy)]]
    rows += [[method, percent(accuracy)] for method, accuracy in (baselines or {}).items()]
    rows.append(["always the most frequent class", percent(scores.majority)])
    content: list[Content] = [Table(["Method", "Accuracy"], rows, own=0)]
    named = [str(c) for c in scores.classes]
    mistakes = frequent_mistakes(scores)
    said = [
        f"{a} taken for {b}: {plural(count, 'time')}, {percent(share, 2)} of its {unit}s"
        for a, b, count, share in mistakes
    ]
    content.append(
        Picture(
            lambda: plot_confusion(scores.matrix, named),
            "What was taken for what",
            "Confusion matrix. " + (f"The most frequent mistakes: {'; '.join(said)}." if said else "No mistakes."),
            "Rows are the true classes. The diagonal holds the right answers; the stronger a cell beside it, the "
            "larger the part of its class that was taken for another.",
        )
    )
    if said:
        content.append(Bullets(said))
    by_class = [
        [c, int(k), percent(r), percent(p), f]
        for c, k, r, p, f in zip(named, scores.count, scores.recall, scores.precision, scores.f1, strict=True)
    ]
    content.append(
        Picture(
            lambda: plot_class_scores(named, scores.precision, scores.recall, count=scores.count),
            "By class",
            "Recall and precision of each class; its table has the numbers.",
            "The classes that are told worst stand first.",
            Table(["Class", f"{unit.capitalize()}s", "Recall", "Precision", "F1"], by_class),
        )
    )
    return content


def _reliability(sure: Any, uncalibrated: ArrayLike | None, right: Any) -> Picture:
    confidence = sure.max(1)
    curves: dict[str, Any] = {"": (confidence, right)}
    said = ""
    if uncalibrated is not None:
        before = np.asarray(uncalibrated, np.float64)
        if before.shape != sure.shape:
            raise ValueError(f"uncalibrated: expected the shape {sure.shape}, not {before.shape}")
        curves = {"calibrated": (confidence, right), "before": (before.max(1), right)}
    for name, (values, hits) in curves.items():
        error = reliability(np.asarray(values, np.float64), np.asarray(hits, np.float64), 10)[3]
        said += f" {name or 'the'} expected calibration error: {percent(error)}."
    return Picture(
        lambda: plot_reliability(curves),
        "Confidence against right answers",
        f"Reliability diagram.{said}",
        "On the diagonal, of the answers given with a confidence of 80 %, 80 % are right. Whiskers are what chance "
        "alone does in 95 % of cases; below stands how many answers there were.",
    )


def _examples(
    sequences: Sequence[Any], truth: Any, predicted: Any, sure: Any, right: Any, features: Any, unit: str
) -> list[Content]:
    true, answers = np.asarray(truth).ravel().tolist(), np.asarray(predicted).ravel().tolist()
    if len(sequences) != len(true):
        raise ValueError(f"sequences: expected {len(true)}, one a label, not {len(sequences)}")
    chosen = _chosen(np.asarray(right, bool), None if sure is None else sure.max(1))

    def told(i: int) -> str:
        certainty = "" if sure is None else f" ({percent(sure[i].max(), 2)})"
        return f"{answers[i]}{certainty}" if right[i] else f"{answers[i]}{certainty}, but is {true[i]}"

    if isinstance(sequences[0], str):
        rows = [[sequences[i], true[i], told(i)] for i in chosen]
        return [Table([unit.capitalize(), "Is", "Answer"], rows, caption="Mistakes first")]
    arrays = [sequences[i] for i in chosen]
    labels = [told(i) for i in chosen]
    return [
        Picture(
            lambda: plot_sequences(arrays, labels, features=features),
            "Right answers, the least sure first"
            if all(right[i] for i in chosen)
            else "Mistakes first, then right answers",
            " ".join(f"{k + 1}: {label}." for k, label in enumerate(labels)),
            "Above each, the answer and its confidence." if sure is not None else "Above each, the answer.",
        )
    ]


def _chosen(right: Any, confidence: Any) -> list[int]:
    """Up to three mistakes (the surest first), and right answers up to six in all (the least sure first)."""
    order = np.arange(len(right)) if confidence is None else np.argsort(-confidence, kind="stable")
    wrong = [int(i) for i in order if not right[i]][:3]
    good = [int(i) for i in order[::-1] if right[i]][: 6 - len(wrong)]
    return wrong + good


def regression_report(
    *,
    name: str,
    truth: ArrayLike,
    predicted: ArrayLike,
    unit: str = "",
    baselines: Mapping[str, ArrayLike] | None = None,
    sequences: Sequence[Any] | None = None,
    features: Sequence[str] | None = None,
    title: str = "",
    data: Sequence[tuple[str, Any]] = (),
    notes: Sequence[str] = (),
    history: Mapping[str, ArrayLike] | Sequence[Mapping[str, ArrayLike]] | None = None,
    card: Card | None = None,
    remarks: Sequence[str] = (),
) -> Report:
    """Put the report of a regressor of sequences together, from its answers on data that it had not seen.

    Parameters
    ----------
    truth, predicted
        (N,); of several targets, one report each.
    baselines
        Name: (N,) answers of others. The mean of ``truth``, the best constant, is added.
    name, unit, sequences, features, title, data, notes, history, card, remarks
        As for :func:`classification_report`.
    """
    true = vector(truth, "truth")
    answers = vector(predicted, "predicted", len(true))
    methods = {
        "this model": answers,
        **{k: vector(v, f"baselines[{k!r}]", len(true)) for k, v in (baselines or {}).items()},
    }
    methods["always the mean"] = np.full(len(true), np.nanmean(true) if len(true) else np.nan)
    spread = float(np.nansum((true - np.nanmean(true)) ** 2)) if len(true) else 0.0
    rows: list[list[Any]] = []
    for method, values in methods.items():
        error = values - true
        square = float(np.nansum(error**2))
        rows.append(
            [
                method,
                float(np.nanmean(np.abs(error))),
                float(np.sqrt(np.nanmean(error**2))),
                1 - square / spread if spread else None,
            ]
        )
    label = f"{name} ({unit})" if unit else name
    absolute = f"Mean absolute error{f' ({unit})' if unit else ''}"
    columns = ["Method", absolute, "Root of the mean square", "R²"]
    better = {absolute: "low", "Root of the mean square": "low", "R²": "high"}
    content: list[Content] = [
        *map(Remark, remarks),
        Table(columns, rows, better=better, own=0),
        Picture(
            lambda: plot_agreement(true, answers, name=label),
            "Answers against the truth",
            f"Scatter chart of {plural(len(true), 'answer')}; mean absolute error {number(rows[0][1])}.",
            "On the diagonal, answers are right.",
        ),
    ]  # fmt: skip
    sections = [Section("How good it is", content)]
    if sequences is not None and len(true):
        chosen = best_median_worst(np.abs(answers - true))
        labels = [
            f"{w}: {number(answers[i])}, is {number(true[i])}"
            for w, i in zip(("best", "middling", "worst"), chosen, strict=False)
        ]
        arrays = [sequences[i] for i in chosen]
        sections.append(
            Section(
                "Examples",
                [
                    Picture(
                        lambda: plot_sequences(arrays, labels, features=features),
                        "Best, middling, worst",
                        ". ".join(labels),
                    )
                ],
            )
        )
    sections += _common(data, notes, history, card)
    own, best = rows[0][1], min((r[1] for r in rows[1:]), default=float("nan"))
    rival = next((r[0] for r in rows[1:] if r[1] == best), "")
    summary = (
        f"On {plural(len(true), 'sequence')} that it had not seen, the model's mean absolute error is {number(own)}"
        f"{f' {unit}' if unit else ''}; {rival}: {number(best)}."
    )
    figures = [("Mean absolute error", f"{number(own)}{f' {unit}' if unit else ''}", f"{rival}: {number(best)}")]
    if rows[0][3] is not None:
        figures.append(("R²", number(rows[0][3]), "1 is perfect, 0 as good as the mean"))
    return Report(
        title or f"Estimates of {name}",
        sections,
        "Regression report",
        summary,
        [*figures, *_training_figure(card)],
    )


def _training_figure(card: Card | None) -> list[tuple[str, str, str]]:
    if card is None or card.seconds is None:
        return []
    remark = f"{number(card.parameters)} parameters" if card.parameters is not None else ""
    return [("Training", duration(card.seconds), remark)]


def _common(data: Sequence[tuple[str, Any]], notes: Sequence[str], history: Any, card: Card | None) -> list[Section]:
    """The parts that all reports end with."""
    sections = []
    about: list[Content] = [Facts(list(data))] if data else []
    if notes:
        about += ["What was understood, and done about it:", Bullets(list(notes))]
    if about:
        sections.append(Section("Data", about))
    if history:
        sections.append(Section("Training", [training_picture(history)]))
    if card is not None:
        sections.append(card_section(card))
    return sections
