"""Which model a file holds, and how it is asked."""

import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import rekur
from rekur.bulk import _answers, _plain
from rekur.bulk._answers import Answerer, names_of
from rekur.bulk._arrow import is_list, is_text
from rekur.tasks import _file
from rekur.tasks._commands._examples import Layout


def load(model: Any) -> tuple[Any, dict[str, Any]]:
    """The model of a path, or the one that is given, and what it is recognised by.

    Raises
    ------
    OSError, ValueError
        If the file cannot be read, or holds no model.
    TypeError
        If it is neither a path nor a model that can be saved.
    """
    if isinstance(model, (str, os.PathLike)):
        path = Path(model)
        if path.suffix == ".onnx":
            return path, {**_described(path, path), "kind": "ONNX"}
        found = rekur.tasks.load(path) if _file.is_task(path) else rekur.load(path)
        return found, _described(found, path)
    if not hasattr(model, "save"):
        raise TypeError(f"model: expected a path, an estimator of rekur.tasks or a model, got {type(model).__name__}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        model.save(path)
        return model, _described(model, path)


def _described(model: Any, path: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return {"kind": type(model).__name__, "sha256": digest.hexdigest(), "rekur": rekur.__version__}


def answerer(
    model: Any,
    schema: Any,
    *,
    columns: Any,
    key: str | None,
    time: Any,
    coverage: Sequence[float] | None,
    quantiles: Sequence[float] | None,
) -> Answerer:
    """How a model is asked about data of a schema.

    Raises
    ------
    ValueError
        If it is not clear which columns it reads, or what is given is of no use to it.
    """
    name = "ONNX file" if isinstance(model, Path) else type(model).__name__
    if name != "Forecaster" and (coverage or quantiles):
        raise ValueError(f"{'coverage' if coverage else 'quantiles'}: it is of a Forecaster; the model is a {name}")
    if name in _answers.HEADS:
        return _of_sequences(model, name, schema, columns, key, time)
    if name in ("Forecaster", "AnomalyDetector"):
        from rekur.bulk import _series

        if time is not None:
            raise ValueError(f"time: a {name} knows its column of times; leave time away")
        given = None if columns is None else names_of(columns)
        if name == "AnomalyDetector":
            return _series.Scores(model, given, key)
        return _series.Forecasts(model, given, key, coverage, quantiles)
    if isinstance(model, (rekur.Model, Path)):
        for what, value in (("key", key), ("time", time)):
            if value is not None:
                raise ValueError(f"{what}: a row is a whole example of a model of layers; its sequences stand in lists")
        return _plain.Onnx(model, columns) if isinstance(model, Path) else _plain.Plain(model, columns)
    raise ValueError(f"model: there is no bulk prediction of a {name}")


def _of_sequences(model: Any, name: str, schema: Any, columns: Any, key: str | None, time: Any) -> Answerer:
    head = _answers.HEADS[name](model)
    known = getattr(model, "columns_", None)
    if known is not None:
        for what, value in (("columns", columns), ("key", key), ("time", time)):
            if value is not None:
                raise ValueError(f"{what}: the model knows the columns that it reads; leave {what} away")
        layout = Layout.of_state(dict(known))
        features = [str(name) for name in layout.features]
        if layout.form == "texts":
            return _answers.Cells(head, "text", features)
        if layout.form == "rows":
            return _answers.Cells(head, "cells", features)
        return _answers.Steps(head, str(layout.sequence), [str(name) for name in layout.time], features, layout)
    if columns is None:
        raise ValueError(f"columns: a {name} that a program saved does not say which columns it reads; name them")
    given = names_of(columns)
    if key is not None:
        if name == "TextClassifier" or getattr(model, "vocabulary_", None) is not None:
            raise ValueError("key: a row has a whole text; key is of rows that are steps of numbers")
        return _answers.Steps(head, key, [] if time is None else names_of(time, "time"), given, None)
    if time is not None:
        raise ValueError("time: it orders the rows of a key; name the key, too")
    form = _form(name, model, [schema.field(one).type for one in given if one in schema.names])
    if form in ("text", "words") and len(given) > 1:
        raise ValueError(f"columns: a {name} reads one column of texts, got {given}")
    return _answers.Cells(head, form, given)


def _form(name: str, model: Any, types: list[Any]) -> str:
    if name == "TextClassifier":
        return "text"
    if getattr(model, "vocabulary_", None) is not None:
        return "words"
    lists = [is_list(kind) for kind in types]
    if any(lists) and not all(lists):
        raise ValueError("columns: lists and numbers stand together; a sequence is in lists, or in columns of numbers")
    if types and all(lists) and any(is_text(kind.value_type) for kind in types):
        raise ValueError("columns: the model reads sequences of numbers, the column holds lists of texts")
    return "lists" if types and all(lists) else "cells"
