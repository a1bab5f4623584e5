"""``rekur predict``: a model that was written, applied to new data."""

import argparse
import glob
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rekur._files import check_writable, write_atomic
from rekur.tasks._commands import classify, detect, generate
from rekur.tasks._commands._examples import Layout, read_examples
from rekur.tasks._commands._forecasts import predictions
from rekur.tasks._commands._output import csv_text, sentence
from rekur.tasks._facts import shown
from rekur.tasks._series import SeriesSet, read_series
from rekur.tasks._tables import read_table


def run(options: argparse.Namespace) -> None:
    """Run the command.

    Raises
    ------
    ValueError, OSError, ImportError
        As of the reading, computing and writing that it does.
    """
    from rekur import tasks

    if _is_bulk(options):
        _bulk(options)
        return
    options.out = None if options.out is None else Path(options.out)
    if options.out is not None:
        if options.out.exists() and not options.overwrite:
            raise ValueError(f"'{options.out}' is there already: name another file, or replace it with --overwrite")
        check_writable(options.out)
    estimator = tasks.load(options.model)
    name = type(estimator).__name__
    notes: list[str] = []
    if name not in _HOW:
        raise ValueError(f"'{options.model}' holds a {name}, which this command has no use for")
    _refuse(options, name)
    columns = _HOW[name](options, estimator, notes)
    if not options.quiet:
        for note in notes:
            print(f"- {sentence(note)}", file=sys.stderr)
    text = columns if isinstance(columns, str) else csv_text(columns)
    if options.out is None:
        sys.stdout.write(text)
    else:
        write_atomic(options.out, text.encode())


_BULK = ("keep", "batch", "part_rows", "shard", "columns", "key", "time")
_NOT_BULK = ("future_data", "text", "length", "temperature", "seed")


def _is_bulk(options: argparse.Namespace) -> bool:
    """Whether parts are to be written: it is said, or the data or the place are of that form.

    Raises
    ------
    ValueError
        For options of bulk where there is none.
    """
    out, data = options.out, options.data
    folder = data is not None and (data.is_dir() or (glob.has_magic(str(data)) and not data.exists()))
    place = out is not None and (out.endswith(("/", os.sep)) or os.path.isdir(out))
    if options.bulk or folder or (place and data is not None):
        return True
    for name in _BULK:
        if getattr(options, name) is not None:
            raise ValueError(f"--{name.replace('_', '-')} is of bulk prediction: -o DIR/, or --bulk, asks for it")
    return False


def _bulk(options: argparse.Namespace) -> None:
    from rekur import bulk

    if options.data is None or options.out is None:
        raise ValueError("bulk prediction needs DATA, and -o DIR for the parts")
    for name in _NOT_BULK:
        if getattr(options, name) is not None:
            raise ValueError(f"--{name.replace('_', '-')}: there is no such thing in bulk prediction")
    bulk.predict(
        options.model,
        options.data,
        options.out,
        columns=_columns_of(options.columns),
        key=options.key,
        time=options.time,
        keep=options.keep or (),
        coverage=options.coverage,
        quantiles=options.quantiles,
        batch_size=options.batch or 1024,
        unit_rows=options.part_rows or 100_000,
        shard=options.shard,
        overwrite=options.overwrite,
        verbose=0 if options.quiet else 1,
    )


def _columns_of(given: list[tuple[str | None, list[str]]] | None) -> Any:
    """Names of columns; a dict of them where inputs are named."""
    if given is None:
        return None
    if all(name is None for name, _ in given):
        return [column for _, columns in given for column in columns]
    if any(name is None for name, _ in given):
        raise ValueError("--columns: name the input of all, as INPUT=COL,COL, or of none")
    if len({name for name, _ in given}) < len(given):
        raise ValueError("--columns: an input is named twice")
    return {name: columns for name, columns in given}


_OF = {
    "future_data": ("Forecaster",),
    "coverage": ("Forecaster",),
    "quantiles": ("Forecaster",),
    "text": ("TextGenerator", "TextClassifier", "Translator"),
    "length": ("TextGenerator",),
    "temperature": ("TextGenerator",),
    "seed": ("TextGenerator",),
}


def _refuse(options: argparse.Namespace, name: str) -> None:
    """Options that this kind of model has no use for."""
    for option, kinds in _OF.items():
        if getattr(options, option) is not None and name not in kinds:
            raise ValueError(f"--{option.replace('_', '-')} is of a {' or '.join(kinds)}; the model is a {name}")
    if options.text is not None and options.data is not None:
        raise ValueError("give either DATA or --text, not both")
    if options.data is None and options.text is None and name != "Forecaster":
        raise ValueError(f"DATA: a {name} needs data to tell something of")


def _forecast(options: argparse.Namespace, model: Any, notes: list[str]) -> dict[str, Any]:
    if options.coverage and options.quantiles:
        raise ValueError("give either --coverage or --quantiles, not both")
    known = model._ends
    if options.data is not None:
        known = read_series(read_table(options.data, day_first=known.layout.day_first), like=known.without_series())
        notes += known.notes
    if options.future_data is not None:
        known = known.with_future(read_table(options.future_data, day_first=known.layout.day_first))
    series = known.series[0]
    last = known.timeline.time(known.end(series) - 1)
    which = "" if len(known) == 1 else " of the first series"
    notes.append(f"forecasts follow {shown(known, last)}, the last step{which} that has a value")
    return predictions(model, known, options.coverage or [0.8], options.quantiles)


def _columns(estimator: Any) -> dict[str, Any]:
    found = getattr(estimator, "columns_", None)
    if not isinstance(found, Mapping):
        raise ValueError(
            f"the model does not say which columns of a table it reads: a {type(estimator).__name__} that a program "
            "saved is applied in Python, by rekur.tasks.load; those of rekur classify and rekur detect are applied here"
        )
    return dict(found)


def _classify(options: argparse.Namespace, model: Any, notes: list[str]) -> dict[str, Any]:
    if options.text is not None:
        return _texts(model, [options.text])
    layout = Layout.of_state(_columns(model))
    table = read_table(options.data)
    for name in [layout.sequence, *layout.time, *layout.features]:
        if name is not None:
            table.column(name)
    examples = read_examples(table, layout, notes, labels=False)
    notes += table.notes
    if not len(examples):
        raise ValueError("DATA: nothing is left to tell something of")
    return classify.Answers(model, layout, examples).columns()


def _texts(model: Any, texts: list[str]) -> dict[str, Any]:
    columns: dict[str, Any] = {"text": texts, "predicted": list(model.predict(texts))}
    if hasattr(model, "predict_proba"):
        shares = model.predict_proba(texts)
        for place, label in enumerate(np.asarray(model.classes_).tolist()):
            columns[f"probability of {label}"] = shares[:, place]
    return columns


def _detect(options: argparse.Namespace, model: Any, notes: list[str]) -> dict[str, Any]:
    like = SeriesSet.of_state(_columns(model))
    known = read_series(read_table(options.data, day_first=like.layout.day_first), like=like)
    notes += known.notes
    found = detect.Scored(model, known)
    notes.append(f"{sum(map(len, found.alarms))} alarms, where the score exceeds {found.threshold:.4g}")
    return found.columns()


def _given_texts(options: argparse.Namespace, notes: list[str]) -> list[str]:
    """The one that was given, those of a table's column, or the lines of a file."""
    if options.text is not None:
        return [options.text]
    if generate.is_table(options.data):
        return generate.texts_of_table(options.data, None, notes)[1]
    lines = [line for line in generate.read_text(options.data, notes).split("\n") if line.strip()]
    if not lines:
        raise ValueError(f"DATA: '{options.data}' holds no text")
    return lines


def _generate(options: argparse.Namespace, model: Any, notes: list[str]) -> str:
    prompts = _given_texts(options, notes)
    found = model.generate(
        prompts, options.length or 200, temperature=options.temperature or 0.8, seed=options.seed or 0
    )
    return "".join(f"{prompt}{text}\n" for prompt, text in zip(prompts, found, strict=True))


def _translate(options: argparse.Namespace, model: Any, notes: list[str]) -> str:
    return "".join(f"{text}\n" for text in model.predict(_given_texts(options, notes)))


_HOW: dict[str, Any] = {
    "Forecaster": _forecast,
    "SequenceClassifier": _classify,
    "SequenceRegressor": _classify,
    "SequenceTagger": _classify,
    "TextClassifier": _classify,
    "AnomalyDetector": _detect,
    "TextGenerator": _generate,
    "Translator": _translate,
}
