"""Examples to classify, out of a table: rows that are steps of sequences, rows that are sequences, texts."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.tasks._columns import Column, Name
from rekur.tasks._roles import time_column
from rekur.tasks._tables import Table

_LABELS = ("label", "class", "target", "y", "category", "species", "activity")
_SEQUENCES = ("sequence", "sequence_id", "seq", "case", "case_id", "instance", "sample", "trial", "series", "series_id",
              "unique_id", "id")  # fmt: skip
_FEW_CLASSES = 30  # so many whole numbers may be classes; more are numbers to be told


@dataclass(frozen=True)
class Layout:
    """How examples stand in a table, so that new tables are read alike.

    ``form``: "steps" (rows are steps of the sequences that ``sequence`` tells apart), "rows" (each row is a sequence)
    or "texts". ``kind``: "classes" or "numbers" of sequences, classes of "steps", or of "texts".
    """

    form: str
    kind: str
    label: Name
    features: list[Name]
    sequence: Name | None = None
    time: list[Name] = field(default_factory=list)
    categories: dict[Name, list[str]] = field(default_factory=dict)

    def state(self) -> dict[str, Any]:
        """As a tree of plain values, for a file."""
        return {**self.__dict__, "categories": [[name, texts] for name, texts in self.categories.items()]}

    @classmethod
    def of_state(cls, state: dict[str, Any]) -> "Layout":
        """From what :meth:`state` gave."""
        return cls(**{**state, "categories": {name: list(texts) for name, texts in state["categories"]}})

    @property
    def channels(self) -> list[str]:
        """Names of what a step holds; a column of texts has a channel for each text."""
        found: list[str] = []
        for name in self.features:
            found += [f"{name}={text}" for text in self.categories[name]] if name in self.categories else [str(name)]
        return found


@dataclass(frozen=True)
class Examples:
    """Sequences (arrays, or texts), their labels (None: the table has none) and what they are called."""

    sequences: list[Any]
    labels: list[Any] | None
    ids: list[Any]
    rows: list[NDArray[np.int64]]  # of the table, in the order of the steps

    def some(self, places: Any) -> "Examples":
        def take(items: list[Any]) -> list[Any]:
            return [items[place] for place in places]

        labels = None if self.labels is None else take(self.labels)
        return Examples(take(self.sequences), labels, take(self.ids), take(self.rows))

    def __len__(self) -> int:
        return len(self.sequences)


def find_layout(
    table: Table, label: Any, sequence: Any, time: Any, features: Any, text: Any, kind: str, notes: list[str]
) -> Layout:
    """Check the columns that are named and guess the others, with a sentence on each guess.

    Raises
    ------
    ValueError
        If a column does not exist, or what is to be told, or from what, cannot be found out.
    """
    times: list[Name] = list(time or [])
    if text is not None and kind not in ("auto", "texts"):
        raise ValueError(f"kind: {kind!r} is not of texts: --text goes with --kind texts, or auto")
    if (text is not None or kind == "texts") and (sequence is not None or features or times):
        raise ValueError("text: texts are classified by themselves, without --sequence, --features and --time")
    for name in [label, sequence, text, *(features or []), *times]:
        if name is not None:
            table.column(name)
    if label is None:
        label = _guess_label(table, {sequence, text, *times, *(features or [])}, notes)
    taken = {label, sequence, text, *times}
    if text is not None and kind == "auto":
        kind = "texts"
    if sequence is None and text is None and kind != "texts":
        sequence = _guess_sequence(table, label, taken | set(features or []), kind, notes)
        taken.add(sequence)
    free = [name for name in table.names if name not in taken]
    if kind == "texts" or (sequence is None and not features and not _numbers(table, free)):
        return _text_layout(table, label, text, free, notes)
    if sequence is not None and not times:
        times = _guess_time(table, free, notes)
        free = [name for name in free if name not in times]
    chosen = list(features) if features else _features(table, free, sequence is None, notes)
    if not chosen:
        raise ValueError("features: no column is left from which the label could be told; name some with --features")
    categories = {} if sequence is None else {n: _texts(table, n) for n in chosen if table.column(n).kind == "text"}
    layout = Layout("rows" if sequence is None else "steps", "classes", label, chosen, sequence, times, categories)
    if kind == "auto":
        kind = _kind(table, layout)
    if kind == "steps" and sequence is None:
        raise ValueError("kind: classes of steps need rows that are steps: name the column of sequences by --sequence")
    return Layout(layout.form, kind, label, chosen, sequence, times, categories)


def read_examples(table: Table, layout: Layout, notes: list[str], labels: bool = True) -> Examples:
    """The examples of a table, which may have no labels where ``labels`` is False.

    Raises
    ------
    ValueError
        Naming the column and the row or line at fault.
    """
    if table.rows == 0:
        raise ValueError("data: the table has no rows")
    known = _labels(table, layout) if labels or layout.label in table else None
    if layout.form == "texts":
        texts = table.column(layout.features[0]).texts()
        keep = [row for row, text in enumerate(texts) if text is not None and (known is None or known[row] is not None)]
        _say_dropped(len(texts) - len(keep), "a text or a label" if known is not None else "a text", notes)
        answers = None if known is None else [known[row] for row in keep]
        return Examples([texts[row] for row in keep], answers, keep, [np.array([row]) for row in keep])
    values = _values(table, layout, notes)
    if layout.form == "rows":
        keep = list(range(len(values))) if known is None else [r for r, label in enumerate(known) if label is not None]
        _say_dropped(len(values) - len(keep), "a label", notes)
        answers = None if known is None else [known[row] for row in keep]
        sequences = [_trimmed(values[row][:, None]) for row in keep]
        return Examples(sequences, answers, keep, [np.array([row]) for row in keep])
    return _of_steps(table, layout, values, known, notes)


def _of_steps(
    table: Table, layout: Layout, values: NDArray[Any], known: list[Any] | None, notes: list[str]
) -> Examples:
    assert layout.sequence is not None
    names = table.column(layout.sequence).texts()
    stamps = time_column(table, layout.time)
    order: dict[str, list[int]] = {}
    dropped = 0
    for row, name in enumerate(names):
        if name is None or (known is not None and known[row] is None and layout.kind == "steps"):
            dropped += 1
        else:
            order.setdefault(name, []).append(row)
    _say_dropped(dropped, "a sequence or a label" if layout.kind == "steps" else "a sequence", notes)
    sequences, answers, ids, rows = [], [], [], []
    for name, own in order.items():
        index = np.array(own)
        if stamps is not None:
            index = index[np.argsort(np.asarray(stamps.values)[index], kind="stable")]
        if known is not None and layout.kind != "steps":
            found = [known[row] for row in index if known[row] is not None]
            if not found:
                notes.append(f"sequence {name!r} has no label: left out")
                continue
            if any(label != found[0] for label in found):
                other = next(label for label in found if label != found[0])
                raise ValueError(
                    f"label: sequence {name!r} has the labels {found[0]!r} and {other!r}; of labels that change within "
                    "a sequence, each step's is told by --kind steps"
                )
            answers.append(found[0])
        elif known is not None:
            answers.append(np.array([known[row] for row in index]))
        sequences.append(values[index])
        ids.append(name)
        rows.append(index)
    return Examples(sequences, None if known is None else answers, ids, rows)


def _say_dropped(count: int, what: str, notes: list[str]) -> None:
    if count:
        notes.append(f"{count} {'row' if count == 1 else 'rows'} without {what} left out")


def _values(table: Table, layout: Layout, notes: list[str]) -> NDArray[np.float64]:
    """(rows, channels); texts are 1 in the channel that is theirs."""
    columns = []
    for name in layout.features:
        if name not in layout.categories:
            values = table.numbers(name)
            if (infinite := np.isinf(values)).any():
                notes.append(f"{int(infinite.sum())} infinite values in {name!r} are taken for missing")
                values = np.where(infinite, np.nan, values)
            columns.append(values)
            continue
        texts = table.column(name).texts()
        unknown = {text for text in texts if text is not None} - set(layout.categories[name])
        if unknown:
            notes.append(f"{name!r} holds what training did not have: {', '.join(sorted(unknown)[:5])}")
        columns += [np.array([float(text == known) for text in texts]) for known in layout.categories[name]]
    return np.stack(columns, axis=1)


def _trimmed(sequence: NDArray[Any]) -> NDArray[Any]:
    """Without the missing steps at its end: a table's rows have one length, its sequences perhaps not."""
    present = np.flatnonzero(~np.isnan(sequence).all(axis=1))
    return sequence[: present[-1] + 1] if present.size else sequence[:1]


def _labels(table: Table, layout: Layout) -> list[Any]:
    column = table.column(layout.label)
    if layout.kind == "numbers":
        return [None if np.isnan(value) else float(value) for value in table.numbers(layout.label)]
    if column.kind == "number":
        values = column.numbers()
        if (values[~np.isnan(values)] == np.floor(values[~np.isnan(values)])).all():
            return [None if np.isnan(value) else int(value) for value in values]
    return list(column.texts())


def _guess_label(table: Table, taken: set[Any], notes: list[str]) -> Name:
    free = [name for name in table.names if name not in taken]
    named = [name for known in _LABELS for name in free if str(name).lower() == known]
    answers = [name for name in free if str(name).lower() not in _SEQUENCES]
    texts = [name for name in answers if table.column(name).kind in ("text", "bool") and _repeats(table.column(name))]
    found = named or texts[-1:]
    if not found:
        raise ValueError("label: no column is called label or class, or holds texts that repeat; name it with --label")
    notes.append(f"the label is taken from column {found[0]!r}")
    return found[0]


def _repeats(column: Column) -> bool:
    texts = [text for text in column.texts() if text is not None]
    return 2 <= len(set(texts)) <= max(len(texts) / 2, 2)


def _guess_sequence(table: Table, label: Name, taken: set[Any], kind: str, notes: list[str]) -> Name | None:
    free = [name for name in table.names if name not in taken]
    labels = table.column(label).texts()
    for name in [name for known in _SEQUENCES for name in free if str(name).lower() == known]:
        ids = table.column(name).texts()
        groups: dict[Any, set[Any]] = {}
        for one, what in zip(ids, labels, strict=True):
            groups.setdefault(one, set()).update([] if what is None else [what])
        if len(groups) <= 0.5 * len(ids) and (kind == "steps" or all(len(found) <= 1 for found in groups.values())):
            notes.append(f"column {name!r} is taken to say which sequence a row belongs to")
            return name
    return None


def _guess_time(table: Table, free: list[Name], notes: list[str]) -> list[Name]:
    known = ("time", "timestamp", "datetime", "date", "t", "step", "frame", "index")
    found = next((name for one in known for name in free if str(name).lower() == one), None)
    if found is None:
        return []
    notes.append(f"column {found!r} is taken to order the steps of a sequence")
    return [found]


def _numbers(table: Table, names: list[Name]) -> list[Name]:
    return [name for name in names if table.column(name).kind in ("number", "bool")]


def _features(table: Table, free: list[Name], rows: bool, notes: list[str]) -> list[Name]:
    chosen: list[Name] = []
    left: list[Name] = []
    for name in free:
        column = table.column(name)
        texts = column.kind == "text" and not rows and _repeats(column) and len(_texts(table, name)) <= _FEW_CLASSES
        counter = name == table.names[0] and str(name) in ("column_1", "Unnamed: 0")
        (chosen if (column.kind in ("number", "bool") and not counter) or texts else left).append(name)
    if left:
        notes.append(f"columns that hold no numbers are left out: {', '.join(map(repr, left[:8]))}")
    return chosen


def _texts(table: Table, name: Name) -> list[str]:
    return sorted({text for text in table.column(name).texts() if text is not None})


def _text_layout(table: Table, label: Name, text: Any, free: list[Name], notes: list[str]) -> Layout:
    if text is None:
        texts = [name for name in free if table.column(name).kind == "text"]
        if not texts:
            raise ValueError("text: no column of texts is left beside the label; name it with --text")
        longest = [sum(len(one or "") for one in table.column(name).texts()) for name in texts]
        text = texts[int(np.argmax(longest))]
        notes.append(f"texts are taken from column {text!r}")
    return Layout("texts", "texts", label, [text])


def _kind(table: Table, layout: Layout) -> str:
    """Numbers where labels are fractions, or many whole numbers; steps where labels change within a sequence."""
    column = table.column(layout.label)
    if layout.sequence is not None:
        seen: dict[Any, Any] = {}
        for name, label in zip(table.column(layout.sequence).texts(), column.texts(), strict=True):
            if label is not None and seen.setdefault(name, label) != label:
                return "steps"
    if column.kind == "number":
        values = column.numbers()
        values = values[~np.isnan(values)]
        if (values != np.floor(values)).any() or len(np.unique(values)) > _FEW_CLASSES:
            return "numbers"
    return "classes"


def split(examples: Examples, share: float, seed: int, alike: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places to train on and to test on, drawn from the seed; of each class alike, as far as that goes."""
    rng = np.random.default_rng(seed)
    count = len(examples)
    if alike and examples.labels is not None:
        groups: dict[Any, list[int]] = {}
        for place, label in enumerate(examples.labels):
            groups.setdefault(label, []).append(place)
        held: list[int] = []
        for places in groups.values():
            if len(places) > 1:
                shuffled = rng.permutation(places)
                held += shuffled[: min(max(round(share * len(places)), 1), len(places) - 1)].tolist()
    else:
        held = rng.permutation(count)[: min(max(round(share * count), 1), count - 1)].tolist()
    test = np.sort(np.array(held, np.int64))
    return np.setdiff1d(np.arange(count), test), test
