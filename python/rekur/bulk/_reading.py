"""The rows of a unit, batch by batch; where rows are steps, whole groups, which may go on behind the unit's end."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rekur.bulk._arrow import import_pyarrow, plain
from rekur.bulk._plan import Unit
from rekur.bulk._source import Source

Integers = NDArray[np.int64]
_REMEMBERED = 1_000_000  # keys of a unit that are looked at for one that comes back; all are at the end


class Rows(NamedTuple):
    """Some rows: their columns, the file and the row in it of each; of groups also the places where they begin."""

    table: Any
    file: Integers
    row: Integers
    starts: Integers | None = None

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def ends(self) -> Integers:
        assert self.starts is not None
        return np.append(self.starts[1:], len(self))

    def group(self, number: int) -> "Rows":
        """One of the groups."""
        assert self.starts is not None
        first, end = int(self.starts[number]), int(self.ends[number])
        return Rows(self.table.slice(first, end - first), self.file[first:end], self.row[first:end], np.zeros(1, int))


class ComesBack(ValueError):
    """Rows of one key do not stand together."""


class _Gathered:
    """Batches that are put together."""

    def __init__(self) -> None:
        self.batches: list[Any] = []
        self.files: list[Integers] = []
        self.rows: list[Integers] = []
        self.count = 0

    def add(self, batch: Any, file: int, row: int) -> None:
        if size := batch.num_rows:
            self.batches.append(batch)
            self.files.append(np.full(size, file, np.int64))
            self.rows.append(np.arange(row, row + size))
            self.count += size

    def take(self, starts: Sequence[int] | None = None, end: int | None = None) -> Rows:
        """All that was gathered, or the first rows of it; the others stay."""
        pa = import_pyarrow()
        tables = [pa.Table.from_batches([batch]) for batch in self.batches]
        table = pa.concat_tables(tables, promote_options="permissive")
        file, row = np.concatenate(self.files), np.concatenate(self.rows)
        end = self.count if end is None else end
        self.__init__()  # type: ignore[misc]
        if end < len(row):
            for batch in table.slice(end).combine_chunks().to_batches():
                self.add(batch, int(file[end]), int(row[end]))
            self.files, self.rows = [file[end:]], [row[end:]]
        places = None if starts is None else np.asarray(starts, np.int64)
        return Rows(table.slice(0, end), file[:end], row[:end], places)


def rows_of(source: Source, unit: Unit, columns: Sequence[str], size: int) -> Iterator[Rows]:
    """All rows of a unit, about ``size`` at a time."""
    gathered = _Gathered()
    for number, first, end in unit.spans:
        for batch, row in _batches(source, number, first, end, columns, size):
            if gathered.count and (gathered.count >= size or gathered.batches[-1].schema != batch.schema):
                yield gathered.take()
            gathered.add(batch, number, row)
    if gathered.count:
        yield gathered.take()


def files_of(source: Source, unit: Unit, columns: Sequence[str], size: int) -> Iterator[Rows]:
    """Each file of a unit as one group."""
    for number, first, end in unit.spans:
        gathered = _Gathered()
        for batch, row in _batches(source, number, first, end, columns, size):
            gathered.add(batch, number, row)
        if gathered.count:
            yield gathered.take([0])


def groups_of(source: Source, unit: Unit, columns: Sequence[str], key: str, size: int) -> Iterator[Rows]:
    """The groups that begin in a unit, whole, about ``size`` rows at a time.

    A group are rows with one value of the key that follow each other, over the borders of row groups and files. Rows
    at the unit's beginning whose group began before are left to the unit that it began in. A row without a key is a
    group of its own.

    Raises
    ------
    ComesBack
        If a key of the unit is there again behind other keys.
    """
    place = list(columns).index(key)
    before = _key_before(source, unit, key, size)
    skipping = before is not None
    open_key: Any = None
    gathered, starts = _Gathered(), list[int]()
    seen: dict[Any, tuple[int, int]] = {}
    for batch, number, row, owned in _onward(source, unit, columns, size):
        keys = batch.column(place)
        cuts = [0, *_changes(keys)]
        first = keys[0].as_py()
        begin = 0
        if skipping:
            if first == before:
                if len(cuts) == 1:
                    continue
                begin, cuts = cuts[1], cuts[1:]
            skipping = False
        elif starts and first is not None and first == open_key:
            cuts = cuts[1:]
        if not owned and cuts:
            gathered.add(batch.slice(begin, cuts[0] - begin), number, row + begin)
            break
        for cut in cuts:
            _remember(seen, keys[cut].as_py(), source, number, row + cut, key)
            starts.append(gathered.count + cut - begin)
        gathered.add(batch.slice(begin), number, row + begin)
        open_key = keys[-1].as_py()
        if gathered.count >= size and starts[-1]:
            yield gathered.take(starts[:-1], starts[-1])
            starts = [0]
    if gathered.count:
        yield gathered.take(starts)


def _batches(
    source: Source, number: int, first: int, end: int, columns: Sequence[str], size: int
) -> Iterator[tuple[Any, int]]:
    """Batches of some row groups of a file, columns as plain arrays, and the first row of each."""
    pa = import_pyarrow()
    file = source.files[number]
    row = sum(file.groups[:first])
    for batch in source.read(file, first, end, columns, size):
        if batch.num_rows:
            arrays = [plain(batch.column(place)) for place in range(batch.num_columns)]
            yield pa.RecordBatch.from_arrays(arrays, names=list(columns)), row
        row += batch.num_rows


def _onward(source: Source, unit: Unit, columns: Sequence[str], size: int) -> Iterator[tuple[Any, int, int, bool]]:
    """Batches of the unit and then of what follows it: batch, file, row, and whether it is the unit's."""
    for number, first, end in unit.spans:
        for batch, row in _batches(source, number, first, end, columns, size):
            yield batch, number, row, True
    last, _, end = unit.spans[-1]
    for number in range(last, len(source.files)):
        first = end if number == last else 0
        for batch, row in _batches(source, number, first, len(source.files[number].groups), columns, size):
            yield batch, number, row, False


def _key_before(source: Source, unit: Unit, key: str, size: int) -> Any:
    """The key of the last row before a unit; None if there is no such row, or it has none."""
    number, group, _ = unit.spans[0]
    while True:
        while group == 0:
            if number == 0:
                return None
            number -= 1
            if source.files[number].error is not None:
                for _ in _batches(source, number, 0, 0, [key], size):
                    pass  # which raises what is wrong with it
            group = len(source.files[number].groups)
        group -= 1
        last = None
        for batch, _ in _batches(source, number, group, group + 1, [key], size):
            last = batch
        if last is not None:
            return last.column(0)[-1].as_py()


def _changes(keys: Any) -> list[int]:
    """Places whose key is not the one before."""
    import pyarrow.compute as pc

    count = len(keys)
    if count < 2:
        return []
    differs = pc.fill_null(pc.not_equal(keys.slice(1), keys.slice(0, count - 1)), True)
    found: list[int] = (np.flatnonzero(differs.to_numpy(zero_copy_only=False)) + 1).tolist()
    return found


def _remember(seen: dict[Any, tuple[int, int]], value: Any, source: Source, number: int, row: int, key: str) -> None:
    if value is None or value != value:  # NaN is like nothing
        return
    if value in seen:
        other, first = seen[value]
        raise ComesBack(comes_back(key, value, source.files[other].name, first, source.files[number].name, row))
    if len(seen) < _REMEMBERED:
        seen[value] = (number, row)


def comes_back(key: str, value: Any, file: str, row: int, again: str, row_again: int) -> str:
    """The message on a key whose rows do not stand together."""
    return (
        f"key: the rows of {key}={value!r} do not stand together: they begin in row {row} of '{file}', and again in "
        f"row {row_again} of '{again}'; sort the data by {key!r}"
    )
