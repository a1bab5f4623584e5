"""Parts: Parquet files that appear whole, and say which rows of which files they are of."""

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rekur.bulk._answers import Answerer, Answers
from rekur.bulk._arrow import import_pyarrow, is_text, plain
from rekur.bulk._reading import Rows
from rekur.bulk._source import Source

KEY = b"rekur.bulk"
_GROUP = 1 << 15  # rows of a row group of a part, or
_BYTES = 1 << 24  # so many bytes


class Failed(OSError):
    """Nothing more can be written to the folder."""


def schema_of(answerer: Answerer, source: Any, keep: Sequence[str]) -> Any:
    """The schema of the parts: where a row is from, what is kept of the data, what is said.

    Parameters
    ----------
    source : pyarrow.Schema
        Of the data.

    Raises
    ------
    ValueError
        If two columns would have one name, or a column to keep is not there.
    """
    pa = import_pyarrow()
    fields = [pa.field("file", pa.string()), pa.field("row", pa.int64())]
    if answerer.grouped and answerer.one_each:
        fields.append(pa.field("rows", pa.int64()))
    own = [field.name for field in fields]
    for name in kept_columns(answerer, keep):
        if name in own:
            raise ValueError(
                f"keep: {name!r} is a name of a column that is written with where a row is from: rename it"
            )
        fields.append(pa.field(name, _plain_type(source.field(name).type)))
    for field in answerer.fields():
        if field.name in [other.name for other in fields]:
            raise ValueError(f"keep: {field.name!r} is the name of a column of answers: rename the column of the data")
        fields.append(field)
    return pa.schema(fields)


def kept_columns(answerer: Answerer, keep: Sequence[str]) -> list[str]:
    """The key, and what else is kept."""
    return list(dict.fromkeys([*([] if answerer.key is None else [answerer.key]), *keep]))


def _plain_type(kind: Any) -> Any:
    return plain(import_pyarrow().nulls(0, kind)).type


class Part:
    """One part being written, beside its place; :meth:`finish` puts it there.

    Raises
    ------
    Failed
        If it cannot be written; nothing of it stays.
    """

    def __init__(self, folder: Path, name: str, schema: Any, source: Source) -> None:
        self._path = folder / name
        self._temporary = folder / f".{name}.{os.getpid()}.tmp"
        self._schema, self._source = schema, source
        self._segments: list[list[int]] = []
        self._waiting: list[Any] = []
        self.rows_in = self.rows_out = self.untold = self.groups = 0
        for old in folder.glob(f".{name}.*.tmp"):  # of processes that were killed: who has the claim may remove them
            old.unlink(missing_ok=True)
        self._writer: Any = None
        with self._failing():
            self._file = open(self._temporary, "wb")  # noqa: SIM115
            parquet = import_pyarrow().parquet
            self._writer = parquet.ParquetWriter(self._file, schema, compression="zstd")

    @contextlib.contextmanager
    def _failing(self) -> Any:
        try:
            yield
        except (OSError, import_pyarrow().ArrowException) as error:
            self.drop()
            raise Failed(f"'{self._path}' cannot be written: {error}") from None

    def add(self, rows: Rows, answers: Answers, answerer: Answerer, keep: Sequence[str]) -> None:
        """Write the answers on some rows.

        Raises
        ------
        ValueError
            If a column that is kept has values that its type in the first file cannot hold.
        """
        pa = import_pyarrow()
        owner = pa.array(answers.owner)
        files = pa.array([file.name for file in self._source.files], pa.string()) if len(rows) else None
        columns = []
        if files is not None:
            columns = [files.take(pa.array(rows.file[answers.owner])), pa.array(rows.row[answers.owner])]
        if answerer.grouped and answerer.one_each:
            assert rows.starts is not None
            columns.append(pa.array(rows.ends - rows.starts))
        for name in kept_columns(answerer, keep):
            kind = self._schema.field(name).type
            values = plain(rows.table.column(name))
            if values.type != kind:
                try:
                    values = values.cast(kind)
                except pa.ArrowException as error:
                    raise ValueError(f"keep: column {name!r} was {kind} in the first file: {error}") from None
            columns.append(values.take(owner))
        table = pa.Table.from_arrays([*columns, *answers.columns], schema=self._schema)
        self._waiting.append(table)
        if sum(one.num_rows for one in self._waiting) >= _GROUP or sum(one.nbytes for one in self._waiting) >= _BYTES:
            self._flush()
        self.rows_in += len(rows)
        self.rows_out += table.num_rows
        self.untold += answers.untold
        self.groups += 0 if rows.starts is None else len(rows.starts)
        self._note(rows)

    def _flush(self) -> None:
        """Write what waits as one row group."""
        if self._waiting:
            table = import_pyarrow().concat_tables(self._waiting)
            self._waiting = []
            with self._failing():
                self._writer.write_table(table, row_group_size=len(table) or 1)

    def _note(self, rows: Rows) -> None:
        """Which rows of which files they are."""
        breaks = np.flatnonzero((np.diff(rows.file) != 0) | (np.diff(rows.row) != 1)) + 1
        for first, end in zip([0, *breaks.tolist()], [*breaks.tolist(), len(rows)], strict=True):
            file, begin, stop = int(rows.file[first]), int(rows.row[first]), int(rows.row[end - 1]) + 1
            if self._segments and self._segments[-1][0] == file and self._segments[-1][2] == begin:
                self._segments[-1][2] = stop
            else:
                self._segments.append([file, begin, stop])

    def finish(self, more: dict[str, Any]) -> dict[str, Any]:
        """Put it in its place; what it says of itself."""
        said = {
            **more, "rows_in": self.rows_in, "rows_out": self.rows_out, "untold": self.untold, "groups": self.groups,
            "segments": self._segments,
        }  # fmt: skip
        self._flush()
        with self._failing():
            self._writer.add_key_value_metadata({KEY.decode(): json.dumps(said)})
            self._writer.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self._temporary, self._path)
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        return said

    def drop(self) -> None:
        """Leave nothing of it."""
        with contextlib.suppress(Exception):
            if self._writer is not None:
                self._writer.close()
        with contextlib.suppress(Exception):
            self._file.close()
        with contextlib.suppress(OSError):
            self._temporary.unlink(missing_ok=True)


def said_by(path: Path, plan: str) -> dict[str, Any] | None:
    """What a finished part says of itself; None if it is not there, not whole, or of another plan."""
    pa = import_pyarrow()
    try:
        found = pa.parquet.read_metadata(path).metadata or {}
        said = json.loads(found[KEY])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, pa.ArrowException):
        return None
    return said if isinstance(said, dict) and said.get("plan") == plan else None


def hashes_of(path: Path, key: str) -> Any:
    """The hashes of the keys of a part's groups, batch by batch, as int64; of whole numbers they themselves."""
    import hashlib

    for values in keys_of(path, key):
        if values.type == import_pyarrow().int64():
            yield values.to_numpy(zero_copy_only=False)
        else:
            digests = [hashlib.blake2b(repr(value).encode(), digest_size=8).digest() for value in values.to_pylist()]
            yield np.frombuffer(b"".join(digests), np.int64)


def keys_of(path: Path, key: str, places: bool = False) -> Any:
    """The keys of a part's groups, batch by batch, each group's once; with ``places`` also file and row."""
    import pyarrow.compute as pc

    pa = import_pyarrow()
    before: Any = None
    columns = [key, "file", "row"] if places else [key]
    for batch in pa.parquet.ParquetFile(path).iter_batches(batch_size=1 << 16, columns=columns):
        keys = batch.column(batch.schema.names.index(key))
        if pa.types.is_integer(keys.type) and keys.type != pa.uint64():
            keys = keys.cast(pa.int64())
        elif not is_text(keys.type) and pa.types.is_floating(keys.type):
            keys = keys.cast(pa.float64())
        fresh = np.ones(len(keys), bool)
        if len(keys) > 1:
            same = pc.fill_null(pc.equal(keys.slice(1), keys.slice(0, len(keys) - 1)), False)
            fresh[1:] = ~same.to_numpy(zero_copy_only=False)
        if len(keys):
            fresh[0] = before is None or keys[0].as_py() != before
            before = keys[-1].as_py()
        fresh &= ~keys.is_null().to_numpy(zero_copy_only=False)
        chosen = pa.array(np.flatnonzero(fresh))
        if places:
            names = batch.schema.names
            yield keys.take(chosen), *(batch.column(names.index(name)).take(chosen) for name in ("file", "row"))
        else:
            yield keys.take(chosen)
