"""``rekur classify``: labels of sequences, of steps, of texts; numbers of sequences."""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.tasks._commands._examples import Examples, Layout, find_layout, read_examples, split
from rekur.tasks._commands._output import Folder, Teller, check_pictures, counted, listed, named, percent, sentence
from rekur.tasks._tables import read_table

_FILES = ("model.safetensors", "model.onnx", "predictions.csv", "report.html")
_CLASSES = {
    "classes": "SequenceClassifier", "numbers": "SequenceRegressor",
    "steps": "SequenceTagger", "texts": "TextClassifier",
}  # fmt: skip


def run(options: argparse.Namespace) -> None:
    """Run the command.

    Raises
    ------
    ValueError, OSError, ImportError
        As of the reading, training and writing that it does.
    """
    tell = Teller(options.quiet)
    check_pictures(options.report)
    notes: list[str] = []
    table = read_table(options.data)
    layout = find_layout(
        table,
        options.label,
        options.sequence,
        named(table, options.time),
        named(table, options.features),
        options.text,
        options.kind,
        notes,
    )
    examples = read_examples(table, layout, notes)
    trained, tested, how = _parts(options, layout, examples, notes)
    notes = [*table.notes, *notes]
    facts = _facts(options.data, layout, examples, trained, tested, how)
    tell.facts(options.data.name, facts)
    tell.notes(notes)
    folder = Folder(options.out, _FILES, options.overwrite)
    estimator = _estimator(options, layout)
    begin = time.monotonic()
    estimator.fit(_given(trained, layout), _targets(trained.labels, layout))
    seconds = time.monotonic() - begin
    estimator.columns_ = layout.state()
    estimator.save(folder.file("model.safetensors"))
    if options.onnx:
        folder.onnx(estimator)
    report: dict[str, Any] = {
        "name": str(layout.label),
        "data": facts,
        "notes": list(map(sentence, notes)),
        "history": estimator.history_,
    }
    if tested is not None:
        answers = Answers(estimator, layout, tested)
        folder.csv("predictions.csv", answers.columns())
        answers.tell(tell, trained)
        report.update(answers.report())
    if options.report:
        _write_report(estimator, layout, folder, report, seconds, tested is not None)
    folder.finish(tell)


def _parts(
    options: argparse.Namespace, layout: Layout, examples: Examples, notes: list[str]
) -> tuple[Examples, Examples | None, str]:
    """What is trained on, what is tested on, and how they were parted."""
    if options.test is not None:
        other: list[str] = []
        table = read_table(options.test)
        tested = read_examples(table, layout, other)
        notes += [f"{options.test.name}: {note}" for note in (*table.notes, *other)]
        _check_labels(layout, examples, tested)
        return examples, tested, f"those of {options.test.name}"
    if options.test_share == 0 or len(examples) < 5:
        if options.test_share:
            notes.append("there are too few sequences to hold some out")
        return _nothing_held_out(examples, notes)
    train, test = split(examples, options.test_share, options.seed, layout.kind in ("classes", "texts"))
    if not len(test):
        notes.append("every class is there once: none can be held out")
        return _nothing_held_out(examples, notes)
    how = f"drawn by seed {options.seed}" + (", of each class alike" if layout.kind in ("classes", "texts") else "")
    return examples.some(train), examples.some(test), how


def _nothing_held_out(examples: Examples, notes: list[str]) -> tuple[Examples, None, str]:
    notes.append("nothing is held out: there are no predictions, and no report")
    return examples, None, "none"


def _check_labels(layout: Layout, trained: Examples, tested: Examples) -> None:
    """Refuse to be tested on what was never learned, before training."""
    if layout.kind == "numbers":
        return
    known, asked = (
        set(np.concatenate(labels).tolist() if layout.kind == "steps" else np.asarray(labels).tolist())
        for labels in (trained.labels or [], tested.labels or [])
    )
    if new := sorted(asked - known, key=str):
        raise ValueError(f"test: labels that are not in the training data: {listed([str(label) for label in new])}")


def _facts(
    path: Path, layout: Layout, examples: Examples, trained: Examples, tested: Examples | None, how: str
) -> list[tuple[str, str]]:
    thing = "text" if layout.form == "texts" else "sequence"
    labels = np.concatenate(examples.labels) if layout.kind == "steps" and examples.labels else examples.labels
    values, counts = np.unique(np.asarray(labels), return_counts=True)
    if layout.kind == "numbers":
        told = f"numbers in {str(layout.label)!r}, from {values[0]:.6g} to {values[-1]:.6g}"
    else:
        shown = [f"{value} ({count})" for value, count in zip(values.tolist(), counts.tolist(), strict=True)]
        told = f"{counted(len(values), 'class')} in {str(layout.label)!r}: {listed(shown)}"
        told = f"for each step, {told}" if layout.kind == "steps" else told
    facts = [("to tell", told)]
    lengths = [len(sequence) for sequence in examples.sequences]
    if layout.form == "texts":
        facts.append(("from", f"texts in {str(layout.features[0])!r}, of {min(lengths)} to {max(lengths)} characters"))
    else:
        many = f"{min(lengths)}" if min(lengths) == max(lengths) else f"{min(lengths)} to {max(lengths)}"
        where = (
            f"the steps are the columns {str(layout.features[0])!r} to {str(layout.features[-1])!r}"
            if layout.form == "rows"
            else f"{len(layout.channels)} in each step: {listed(layout.channels)}"
        )
        facts.append(("from", f"sequences of {many} steps; {where}"))
    if layout.sequence is not None:
        order = f", in the order of {listed(layout.time)}" if layout.time else ", in the order of the rows"
        facts.append(("sequences", f"told apart by {str(layout.sequence)!r}{order}"))
    facts.append(("training", counted(len(trained), thing)))
    facts.append(("test", how if tested is None else f"{counted(len(tested), thing)}, {how}"))
    return facts


def _estimator(options: argparse.Namespace, layout: Layout) -> Any:
    from rekur import tasks

    cls = getattr(tasks, _CLASSES[layout.kind])
    given = {name: getattr(options, name) for name in ("epochs", "units", "cell", "ensemble", "class_weight")}
    given = {name: value for name, value in given.items() if value is not None}
    if unknown := [name for name in given if name not in cls._parameters()]:
        raise ValueError(f"--{unknown[0].replace('_', '-')}: {cls.__name__} has no such parameter")
    return cls(random_state=options.seed, verbose=0 if options.quiet else 1, **given)


def _given(examples: Examples, layout: Layout) -> Any:
    """Sequences as estimators take them: an array where all have one length, else a list."""
    if layout.form == "texts":
        return list(examples.sequences)
    if len({len(sequence) for sequence in examples.sequences}) == 1:
        return np.stack(examples.sequences).astype(np.float32)
    return [sequence.astype(np.float32) for sequence in examples.sequences]


def _targets(labels: Any, layout: Layout) -> Any:
    if layout.kind != "steps":
        return np.asarray(labels)
    return np.stack(labels) if len({len(one) for one in labels}) == 1 else labels


class Answers:
    """What a fitted estimator says of examples, which may have no labels."""

    def __init__(self, estimator: Any, layout: Layout, examples: Examples) -> None:
        self.layout, self.examples = layout, examples
        given = _given(examples, layout)
        self.predicted = estimator.predict(given)
        self.classes = getattr(estimator, "classes_", None)
        self.probabilities: Any = None
        if hasattr(estimator, "predict_proba") and layout.kind != "numbers":
            self.probabilities = estimator.predict_proba(given)

    def _flat(self, values: Any) -> NDArray[Any]:
        if self.layout.kind != "steps":
            return np.asarray(values)
        lengths = [len(sequence) for sequence in self.examples.sequences]
        return np.concatenate([np.asarray(one)[:length] for one, length in zip(values, lengths, strict=True)])

    def columns(self) -> dict[str, Any]:
        """A row for each sequence, or for each step where steps are told."""
        layout, examples = self.layout, self.examples
        name = str(layout.sequence) if layout.form == "steps" else "row"
        columns: dict[str, Any] = {}
        if layout.kind == "steps":
            columns[name] = [one for one, rows in zip(examples.ids, examples.rows, strict=True) for _ in rows]
            columns["step"] = [step for rows in examples.rows for step in range(1, len(rows) + 1)]
        else:
            columns[name] = [one + 1 if name == "row" else one for one in examples.ids]
        if examples.labels is not None:
            columns[str(layout.label)] = self._flat(examples.labels)
        columns["predicted"] = self._flat(self.predicted)
        if self.probabilities is not None and self.classes is not None:
            shares = self._flat(self.probabilities)
            for place, label in enumerate(np.asarray(self.classes).tolist()):
                columns[f"probability of {label}"] = shares[:, place]
        return columns

    def tell(self, tell: Teller, trained: Examples) -> None:
        """Scores beside those of an answer that looks at nothing."""
        truth, predicted = self._flat(self.examples.labels), self._flat(self.predicted)
        before = np.concatenate(trained.labels or []) if self.layout.kind == "steps" else np.asarray(trained.labels)
        if self.layout.kind == "numbers":
            rows = []
            for name, guess in (("this model", predicted), ("always the mean", np.full(len(truth), before.mean()))):
                error = truth - guess
                spread = float(np.square(truth - truth.mean()).sum())
                r2 = 1 - float(np.square(error).sum()) / spread if spread else float("nan")
                rows.append([name, float(np.abs(error).mean()), float(np.sqrt(np.square(error).mean())), r2])
            tell.table(["on what was held out", "MAE", "RMSE", "R²"], rows)
            return
        values, counts = np.unique(before, return_counts=True)
        frequent = values[counts.argmax()]
        rows = []
        for name, guess in (("this model", predicted), (f"always {frequent!s}", np.full(len(truth), frequent))):
            right = truth == guess
            recall = np.mean([right[truth == label].mean() for label in np.unique(truth)])
            rows.append([name, percent(float(right.mean())), percent(float(recall))])
        tell.table(["on what was held out", "accuracy", "mean recall"], rows)

    def report(self) -> dict[str, Any]:
        """What the report needs."""
        found: dict[str, Any] = {"truth": self._flat(self.examples.labels), "predicted": self._flat(self.predicted)}
        if self.layout.kind == "numbers":
            return {**found, "sequences": self.examples.sequences}
        found["classes"] = self.classes
        if self.probabilities is not None:
            found["probabilities"] = self._flat(self.probabilities)
        if self.layout.kind != "steps":
            found["sequences"] = self.examples.sequences
        return found


def _write_report(
    estimator: Any, layout: Layout, folder: Folder, content: dict[str, Any], seconds: float, tested: bool
) -> None:
    from rekur.tasks import report

    if not tested:
        return  # there is nothing to report on: no answers on anything that was not trained on
    card = report.card_of(estimator, files=folder.written, seconds=seconds)
    if layout.kind == "numbers":
        made = report.regression_report(card=card, **content)
    else:
        unit = {"steps": "step", "texts": "text"}.get(layout.kind, "sequence")
        features = None if layout.form != "steps" else layout.channels
        made = report.classification_report(card=card, unit=unit, features=features, **content)
    folder.report(made)
