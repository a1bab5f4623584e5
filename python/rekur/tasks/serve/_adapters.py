"""What each kind of estimator takes and gives over HTTP."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np

from rekur.tasks.serve import _schemas as schemas
from rekur.tasks.serve._limits import Limits
from rekur.tasks.serve._problems import Problem
from rekur.tasks.serve._values import columns_of, plain, steps

# What an estimator raises for data that it cannot take; anything else is an error of ours.
_REFUSALS = (ValueError, TypeError, KeyError, OverflowError, ArithmeticError, IndexError)


def refused(field: str, call: Callable[[], Any]) -> Any:
    """What a call of an estimator gives; its complaint about data is told as a problem of that field."""
    try:
        return call()
    except MemoryError:
        raise Problem(413, f"/{field}: there is not enough memory for so much", field=field) from None
    except _REFUSALS as error:
        text = str(error) or type(error).__name__
        raise Problem(422, f"/{field}: {text[:500]}", field=field) from None


class Live:
    """A stream: what it was told goes on having its effect."""

    def push(self, request: Any) -> Any:
        raise NotImplementedError


class Adapter:
    """An estimator as a service.

    Attributes
    ----------
    task
        In a word; the page is made for it.
    Request, Response
        Of ``predict``.
    Begin, Push, Result
        Of streams; None where the estimator has none, ``why_no_stream`` says why.
    """

    task: ClassVar[str] = ""
    Request: ClassVar[Any] = None
    Response: ClassVar[Any] = None
    Begin: ClassVar[Any] = schemas.Nothing
    Push: ClassVar[Any] = None
    Result: ClassVar[Any] = None

    def __init__(self, estimator: Any, limits: Limits) -> None:
        self.estimator, self.limits = estimator, limits
        self.why_no_stream: str | None = self._why_no_stream()

    def _why_no_stream(self) -> str | None:
        return "this kind of model answers whole requests only" if self.Push is None else None

    def predict(self, request: Any) -> Any:
        raise NotImplementedError

    def open(self, begin: Any) -> Live:
        raise NotImplementedError

    def facts(self) -> dict[str, Any]:
        """What the model card tells of this kind."""
        return {}

    def example(self) -> str:
        """What the page begins with."""
        return ""


class Forecasts(Adapter):
    task = "forecast"
    Request, Response = schemas.ForecastRequest, schemas.ForecastResponse
    Begin, Push, Result = schemas.BeginForecast, schemas.PushRows, schemas.ForecastResponse

    def predict(self, request: Any) -> Any:
        return self._forecast(self._data(request.data), self._columns(request.future, "future"), request.quantiles)

    def _forecast(self, data: Any, future: Any, levels: Any) -> Any:
        model = self.estimator
        point = refused("data", lambda: model.predict(data, future))
        names = self._targets()
        columns = columns_of(point, names)
        found: list[float] = []
        if levels is None:
            levels = list(getattr(model, "quantiles", ()) or ()) if self._has_quantiles() else []
        if levels:
            if not self._has_quantiles():
                raise Problem(422, "/quantiles: this model gives forecasts without quantiles", field="quantiles")
            found = [float(level) for level in levels]
            bands = refused("quantiles", lambda: model.predict_quantiles(data, future, found))
            named = [f"{name} {level:g}" for name in names for level in found]
            for name, values in columns_of(bands, named).items():
                columns.setdefault(name, values)
        return schemas.ForecastResponse(columns=columns, targets=names, quantiles=found)

    def _has_quantiles(self) -> bool:
        if hasattr(self.estimator, "n_features_in_"):  # fitted on (X, y): points for rows of covariates
            return False
        try:
            self.estimator._check_has_quantiles("serve")
        except ValueError:
            return False
        return True

    def _known(self, what: str) -> list[str]:
        """Columns of a role, as they were found when the model learned."""
        return [str(name) for name in (self.estimator.description_.get(what) or ())]

    def _targets(self) -> list[str]:
        names = self.estimator.description_["target"]
        if all(isinstance(name, str) for name in names):
            return list(names)
        return ["y"] if len(names) == 1 else [f"y{name}" for name in names]

    def _is_unnamed(self) -> bool:
        """Whether the model learned from an array, whose columns have numbers."""
        return not any(isinstance(name, str) for name in self.estimator.description_["target"])

    def _row_names(self) -> list[str]:
        """Names of the values of a row, where a row of numbers can be one of the model's table; else none."""
        known = self.estimator.description_
        others = [name for role in ("past", "future", "static") for name in known.get(role) or ()]
        layout = known["layout"]
        if layout.get("time") or layout.get("series") is not None or (others and not self._is_unnamed()):
            return []
        if len(known["target"]) == 1 and not others:
            return ["values"]
        if not self._is_unnamed():
            return self._targets()
        names = {name: f"y{name}" for name in [*known["target"], *others]}
        return [names[name] for name in sorted(names)]

    def _data(self, data: Any) -> Any:
        if data is None or isinstance(data, dict):
            return self._columns(data, "data")
        array = steps(data, None, "data", self.limits.values)
        return array[:, 0] if array.shape[1] == 1 else array

    def _columns(self, columns: Any, field: str) -> Any:
        if columns is None:
            return None
        if not columns:
            raise Problem(422, f"/{field}: expected one column at least, not an empty object", field=field)
        lengths = {name: len(values) for name, values in columns.items()}
        first = next(iter(lengths.values()))
        for name, count in lengths.items():
            if count != first:
                where = f"{field}/{name}"
                raise Problem(
                    422, f"/{where}: expected {first} values, as the first column has, not {count}", field=where
                )
        if not first:
            raise Problem(422, f"/{field}: expected one row at least", field=field)
        if first * len(columns) > self.limits.values:
            raise Problem(413, f"/{field}: expected at most {self.limits.values} cells", field=field)
        return {name: _typed(values, f"{field}/{name}") for name, values in columns.items()}

    def open(self, begin: Any) -> Live:
        return _LiveForecast(self, begin.data)

    def facts(self) -> dict[str, Any]:
        model = self.estimator
        found: dict[str, Any] = {"targets": self._targets(), "horizon": int(model.horizon)}
        if self._has_quantiles():
            found["quantiles"] = [float(q) for q in model.quantiles]
        layout = model.description_["layout"]
        found["time"] = [str(name) for name in layout.get("time") or ()]
        found["series"] = [str(layout["series"])] if layout.get("series") is not None else []
        found.update({name: self._known(name) for name in ("past", "future", "static")})
        return {name: value for name, value in found.items() if value != []}


def _typed(values: list[Any], field: str) -> Any:
    """A column as an array of numbers where all are numbers; texts and times are left to the reader of tables."""
    for i, value in enumerate(values):
        if isinstance(value, (int, float)) and not -_LARGEST <= value <= _LARGEST:
            where = f"{field}/{i}"
            raise Problem(422, f"/{where}: a number is too large: it is beyond the range of float32", field=where)
    if all(value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)) for value in values):
        return np.array([np.nan if value is None else value for value in values], np.float64)
    return values


_LARGEST = 3 * 10**38


class _LiveForecast(Live):
    """Rows are added to those that are known; each time the forecast begins behind the last."""

    _MOST_ROWS = 20_000

    def __init__(self, adapter: Forecasts, data: Any) -> None:
        self._adapter = adapter
        self._columns: dict[str, list[Any]] = {}
        if isinstance(data, list):
            data = self._named(data)
        if data is not None:
            self._columns = {name: list(values) for name, values in adapter_checked(adapter, data, "data").items()}

    def _named(self, data: list[Any]) -> dict[str, Any]:
        """Rows, or values of one channel, as the columns that rows pushed later have."""
        array = steps(data, None, "data", self._adapter.limits.values)
        names = self._adapter._row_names()
        if len(names) != array.shape[1]:
            what = f"rows of {names}, not of {array.shape[1]} values" if names else "an object of the table's columns"
            raise Problem(422, f"/data: expected {what}", field="data")
        return {name: plain(column) for name, column in zip(names, array.T, strict=True)}

    def push(self, request: Any) -> Any:
        rows = adapter_checked(self._adapter, request.rows, "rows")
        if self._columns and set(rows) != set(self._columns):
            raise Problem(422, f"/rows: expected the columns {sorted(self._columns)}, not {sorted(rows)}", field="rows")
        joined = {name: ([*self._columns.get(name, []), *values])[-self._MOST_ROWS :] for name, values in rows.items()}
        data = self._adapter._columns(joined, "rows")
        names = self._adapter._row_names()
        if set(joined) == {"values"} and "values" not in self._adapter._targets():
            data = self._adapter._data(joined["values"])
        elif self._adapter._is_unnamed() and set(joined) == set(names):
            data = steps([list(row) for row in zip(*(joined[name] for name in names), strict=True)], None, "rows",
                         self._adapter.limits.values)  # fmt: skip
        answer = self._adapter._forecast(data, None, None)
        self._columns = joined  # only rows that were understood are kept
        return answer


def adapter_checked(adapter: Forecasts, columns: Any, field: str) -> Any:
    """Columns of the same length, as they came."""
    adapter._columns(columns, field)
    return columns


class Sequences(Adapter):
    """Classifiers, regressors and taggers of sequences of numbers."""

    task = "sequences"
    Request = schemas.SequencesRequest

    def _arrays(self, request: Any) -> list[Any]:
        most, arrays = self.limits.values, []
        channels = getattr(self.estimator, "channels_", None)
        for i, sequence in enumerate(request.sequences):
            arrays.append(steps(sequence, channels, f"sequences/{i}", most))
            most -= arrays[-1].size
        _check_padded([array.size for array in arrays], self.limits, "sequences")
        if getattr(self.estimator, "table_", False):
            # Fitted on the rows of a table: that is what comes again.
            width = len(arrays[0])
            if any(len(array) != width for array in arrays):
                raise Problem(422, "/sequences: expected as many steps in each", field="sequences")
            return np.stack([array[:, 0] for array in arrays])  # type: ignore[return-value]
        return arrays

    def _why_no_stream(self) -> str | None:
        try:
            self.estimator.stream()
        except (AttributeError, ValueError, TypeError, NotImplementedError) as error:
            return str(error).partition(": ")[2] or "this network does not go step by step"
        return None

    def facts(self) -> dict[str, Any]:
        found = {"channels": getattr(self.estimator, "channels_", None)}
        if hasattr(self.estimator, "classes_"):
            found["classes"] = plain(self.estimator.classes_)
        return found

    def example(self) -> str:
        channels = int(getattr(self.estimator, "channels_", None) or 1)
        count = int((getattr(self.estimator, "training_", None) or {}).get("steps", [24, 24])[1])
        lines = [
            ",".join(f"{np.sin(t / 4 + channel):.3f}" for channel in range(channels)) for t in range(min(count, 200))
        ]
        return "\n".join(lines)


class Classes(Sequences):
    Response = schemas.Labels
    Push, Result = schemas.PushSteps, schemas.StepLabels

    def predict(self, request: Any) -> Any:
        return labels_of(self.estimator, self._arrays(request), "sequences")

    def open(self, begin: Any) -> Live:
        return _LiveClasses(self)


def labels_of(estimator: Any, data: Any, field: str) -> Any:
    """Labels and probabilities of one computation."""
    classes = plain(estimator.classes_)
    probabilities = None
    if hasattr(estimator, "predict_proba"):
        found = np.asarray(refused(field, lambda: estimator.predict_proba(data)))
        probabilities = plain(found)
        if getattr(estimator, "multilabel_", False):
            labels = [[c for c, p in zip(classes, row, strict=True) if p >= 0.5] for row in found.tolist()]
        else:
            labels = [classes[i] for i in found.argmax(1).tolist()]
    else:
        labels = plain(refused(field, lambda: estimator.predict(data)))
    return schemas.Labels(labels=labels, classes=classes, probabilities=probabilities)


class _LiveClasses(Live):
    def __init__(self, adapter: Adapter) -> None:
        self._adapter, self._stream = adapter, adapter.estimator.stream()

    def push(self, request: Any) -> Any:
        adapter = self._adapter
        array = steps(request.values, getattr(adapter.estimator, "channels_", None), "values", adapter.limits.values)
        found = np.asarray(refused("values", lambda: self._stream.process(array.astype(np.float32))))
        classes = plain(adapter.estimator.classes_)
        return schemas.StepLabels(labels=[classes[i] for i in found.argmax(1).tolist()], probabilities=plain(found))


class Regression(Sequences):
    Response = schemas.Numbers
    Push, Result = schemas.PushSteps, schemas.StepNumbers

    def predict(self, request: Any) -> Any:
        arrays = self._arrays(request)
        return schemas.Numbers(values=plain(refused("sequences", lambda: self.estimator.predict(arrays))))

    def open(self, begin: Any) -> Live:
        return _LiveNumbers(self)


class _LiveNumbers(Live):
    def __init__(self, adapter: Regression) -> None:
        self._adapter, self._stream = adapter, adapter.estimator.stream()

    def push(self, request: Any) -> Any:
        adapter = self._adapter
        array = steps(request.values, getattr(adapter.estimator, "channels_", None), "values", adapter.limits.values)
        found = np.asarray(refused("values", lambda: self._stream.process(array.astype(np.float32))))
        return schemas.StepNumbers(values=plain(found.reshape(len(found), -1)))


class Tagger(Sequences):
    """Of tokens, which are texts, or of numbers."""

    Response = schemas.Tags
    Push, Result = schemas.PushSteps, schemas.StepLabels

    def __init__(self, estimator: Any, limits: Limits) -> None:
        self._tokens = getattr(estimator, "vocabulary_", None) is not None
        super().__init__(estimator, limits)
        if self._tokens:
            self.task, self.Request = "tokens", schemas.TokensRequest  # type: ignore[misc]

    def predict(self, request: Any) -> Any:
        if self._tokens:
            for i, sequence in enumerate(request.sequences):
                if not sequence:
                    where = f"sequences/{i}"
                    raise Problem(422, f"/{where}: expected one token at least, not an empty list", field=where)
                check_texts(sequence, self.limits, f"sequences/{i}")
            _check_padded(list(map(len, request.sequences)), self.limits, "sequences")
            if sum(len(token) + 1 for sequence in request.sequences for token in sequence) > self.limits.values:
                raise Problem(413, f"/sequences: expected at most {self.limits.values} characters", field="sequences")
            given: Any = request.sequences
        else:
            given = self._arrays(request)
        tags = refused("sequences", lambda: self.estimator.predict(given))
        return schemas.Tags(tags=[plain(np.asarray(each)) for each in tags], classes=plain(self.estimator.classes_))

    def open(self, begin: Any) -> Live:
        return _LiveClasses(self)

    def example(self) -> str:
        return "" if self._tokens else super().example()


class Anomalies(Adapter):
    task = "anomalies"
    Request, Response = schemas.SeriesRequest, schemas.Scores
    Push, Result = schemas.PushSteps, schemas.StepScores

    def _channels(self) -> int | None:
        found = getattr(self.estimator, "n_features_in_", None)
        return None if found is None else int(found)

    def _threshold(self) -> float:
        return float(self.estimator.threshold_)

    def predict(self, request: Any) -> Any:
        array = steps(request.series, self._channels(), "series", self.limits.values)
        scores = -np.asarray(refused("series", lambda: self.estimator.score_samples(array)), np.float64)
        limit = self._threshold() if request.threshold is None else float(request.threshold)
        with np.errstate(invalid="ignore"):
            alarms = scores > limit
        stretches = [
            schemas.Stretch(start=a, end=b, score=plain(np.nanmax(scores[a:b]))) for a, b in _runs(alarms.tolist())
        ]
        return schemas.Scores(scores=plain(scores), alarms=alarms.tolist(), threshold=limit, stretches=stretches)

    def _why_no_stream(self) -> str | None:
        return None if hasattr(self.estimator, "stream") else "this detector looks at whole series"

    def open(self, begin: Any) -> Live:
        return _LiveScores(self)

    def facts(self) -> dict[str, Any]:
        return {"channels": self._channels(), "threshold": self._threshold()}

    def example(self) -> str:
        channels = self._channels() or 1
        rows = [
            [np.sin(t / 6 + channel) + (4 if 150 <= t < 156 else 0) for channel in range(channels)] for t in range(200)
        ]
        return "\n".join(",".join(f"{value:.3f}" for value in row) for row in rows)


def _runs(flags: list[bool]) -> list[tuple[int, int]]:
    found, begin = [], 0
    for flag, group in itertools.groupby(flags):
        end = begin + sum(1 for _ in group)
        if flag:
            found.append((begin, end))
        begin = end
    return found


class _LiveScores(Live):
    def __init__(self, adapter: Anomalies) -> None:
        self._adapter, self._stream = adapter, adapter.estimator.stream()

    def push(self, request: Any) -> Any:
        adapter = self._adapter
        array = steps(request.values, adapter._channels(), "values", adapter.limits.values)
        scores = refused("values", lambda: _scores_of(self._stream, array))
        with np.errstate(invalid="ignore"):
            alarms = scores > adapter._threshold()
        return schemas.StepScores(scores=plain(scores), alarms=alarms.tolist())


def _scores_of(stream: Any, array: Any) -> Any:
    """The scores of further steps, whatever form the stream gives them in."""
    if hasattr(stream, "process"):
        found = stream.process(array)
        found = found[0] if isinstance(found, (list, tuple)) else found
        return np.asarray(getattr(found, "score", found), np.float64).reshape(len(array), -1)[:, 0]
    return np.array([float(getattr(stream.step(row), "score", np.nan)) for row in array], np.float64)


class TextLabels(Adapter):
    task = "texts"
    Request, Response = schemas.TextsRequest, schemas.Labels

    def predict(self, request: Any) -> Any:
        return labels_of(self.estimator, check_texts(request.texts, self.limits), "texts")

    def facts(self) -> dict[str, Any]:
        return {"classes": plain(self.estimator.classes_)}


class Translations(Adapter):
    task = "translate"
    Request, Response = schemas.TextsRequest, schemas.Texts

    def predict(self, request: Any) -> Any:
        texts = check_texts(request.texts, self.limits)
        method = getattr(self.estimator, "translate", None) or self.estimator.predict
        return schemas.Texts(texts=[str(text) for text in refused("texts", lambda: method(texts))])


def check_texts(texts: list[str], limits: Limits, field: str = "texts") -> list[str]:
    """Texts of whole characters, not too many of them."""
    if sum(map(len, texts)) + len(texts) > limits.values:
        raise Problem(413, f"/{field}: expected at most {limits.values} characters", field=field)
    for i, text in enumerate(texts):
        check_text(text, f"{field}/{i}")
    _check_padded(list(map(len, texts)), limits, field)
    return list(texts)


# Sequences are computed together, as long as the longest: what is added to the shorter ones may be so many times more.
_PADDED = 4


def _check_padded(sizes: list[int], limits: Limits, field: str) -> None:
    """Sequences that are not too large when all are as long as the longest."""
    if len(sizes) * max(sizes) > _PADDED * limits.values:
        raise Problem(
            413,
            f"/{field}: {len(sizes)} of them, each as long as the longest ({max(sizes)}), are more than "
            f"{_PADDED * limits.values} values: send long ones and short ones apart",
            field=field,
        )


def check_text(text: str, field: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Problem(422, f"/{field}: half of a character (a lone surrogate)", field=field) from None
    return text


class Writer(Adapter):
    task = "write"
    Request, Response = schemas.WritingRequest, schemas.Written
    Begin, Push, Result = schemas.Writing, schemas.PushLength, schemas.More

    def _settings(self, request: Any) -> dict[str, Any]:
        names = ("temperature", "top_k", "top_p", "repetition_penalty", "seed")
        if len(request.prompt) > self.limits.values:
            raise Problem(413, f"/prompt: expected at most {self.limits.values} characters", field="prompt")
        check_text(request.prompt, "prompt")
        return {name: getattr(request, name) for name in names}

    def _length(self, length: int) -> int:
        if length > self.limits.length:
            raise Problem(422, f"/length: expected at most {self.limits.length}, not {length}", field="length")
        return length

    def predict(self, request: Any) -> Any:
        settings, length = self._settings(request), self._length(request.length)
        text = refused("prompt", lambda: self.estimator.generate(request.prompt, length, **settings))
        return schemas.Written(text=text)

    def open(self, begin: Any) -> Live:
        settings = self._settings(begin)
        return _LiveText(self, refused("prompt", lambda: iter(self.estimator.stream(begin.prompt, **settings))))

    def example(self) -> str:
        return "The "


class _LiveText(Live):
    def __init__(self, adapter: Writer, pieces: Iterator[str]) -> None:
        self._adapter, self._pieces = adapter, pieces

    def push(self, request: Any) -> Any:
        wanted = self._adapter._length(request.length)
        found = refused("length", lambda: list(itertools.islice(self._pieces, wanted)))
        return schemas.More(text="".join(found), ended=len(found) < wanted)


_KINDS: dict[str, type[Adapter]] = {
    "Forecaster": Forecasts,
    "SequenceClassifier": Classes,
    "SequenceRegressor": Regression,
    "SequenceTagger": Tagger,
    "AnomalyDetector": Anomalies,
    "TextClassifier": TextLabels,
    "TextGenerator": Writer,
    "Translator": Translations,
}


def adapter_of(estimator: Any, limits: Limits) -> Adapter:
    """The adapter of a fitted estimator.

    Raises
    ------
    TypeError
        For what is none of :mod:`rekur.tasks`.
    """
    for cls in type(estimator).__mro__:
        if cls.__name__ in _KINDS and cls.__module__.startswith("rekur.tasks"):
            estimator._check_fitted()
            return _KINDS[cls.__name__](estimator, limits)
    raise TypeError(f"serve: expected an estimator of rekur.tasks, not {type(estimator).__name__}")
