"""The files of a data set: which, in which order, how many rows in each of their row groups, and their batches."""

import glob
import hashlib
import os
import urllib.parse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rekur.bulk._arrow import import_pyarrow

_SUFFIXES = (".parquet", ".pq", ".parq", ".arrow", ".feather", ".ipc")
_BUFFER = 1 << 20  # bytes of a column chunk that are read at a time
_NO_PARTITION = "__HIVE_DEFAULT_PARTITION__"


@dataclass
class File:
    """One file. ``groups`` are the rows of its row groups (of Arrow files its record batches).

    ``identity`` is what it is recognised by when a run goes on: its size and the hash of its footer, which has the
    statistics of all columns; of Arrow files, which have none, the time of its last change, too. ``error`` says why it
    cannot be read. ``partition`` are the columns that its path tells: ``year=2024``.
    """

    name: str
    path: str
    partition: dict[str, Any] = field(default_factory=dict)
    groups: list[int] = field(default_factory=list)
    identity: list[Any] = field(default_factory=list)
    schema: Any = None
    error: str | None = None

    @property
    def rows(self) -> int:
        return sum(self.groups)


class Broken(ValueError):
    """A file that cannot be read, or not as it was when the run was planned."""


class Source:
    """Files in their order, on one file system."""

    def __init__(self, files: list[File], filesystem: Any) -> None:
        self.files, self._filesystem = files, filesystem

    def inspect(self) -> None:
        """Read every file's footer; what is wrong with one stands in its ``error``."""
        for file in self.files:
            try:
                self._inspect(file)
            except (OSError, ValueError) as error:
                file.error = f"'{file.name}' cannot be read: {_first_line(error)}"

    @property
    def schema(self) -> Any:
        """Of the first file that can be read, with the columns that paths tell.

        Raises
        ------
        Broken
            If no file can be read.
        """
        for file in self.files:
            if file.schema is not None:
                return self.schema_of(file)
        raise Broken(self.files[0].error or "no file can be read")

    def schema_of(self, file: File) -> Any:
        pa = import_pyarrow()
        schema = file.schema
        for name in file.partition:
            if name not in schema.names:
                schema = schema.append(pa.field(name, self._partition_type(name)))
        return schema

    def _partition_type(self, name: str) -> Any:
        """int64 where all values are whole numbers, else text: of all files alike."""
        pa = import_pyarrow()
        values = [file.partition[name] for file in self.files if file.partition.get(name) is not None]
        whole = all(isinstance(value, int) or _is_whole(value) for value in values)
        return pa.int64() if values and whole else pa.string()

    def _open(self, file: File) -> Any:
        return self._filesystem.open_input_file(file.path)

    def _inspect(self, file: File, known: bool = False) -> None:
        """Fill in what the file's ends say; ``known``: its identity alone."""
        pa = import_pyarrow()
        info = self._filesystem.get_file_info(file.path)
        with self._open(file) as handle:
            size = handle.size()
            if size < 12:
                raise Broken(f"it has {size} bytes, too few for a Parquet or Arrow file")
            head = handle.read(6)
            handle.seek(size - 10)
            tail = handle.read(10)
            if head[:4] == b"PAR1" or tail[-4:] == b"PAR1":
                if tail[-4:] != b"PAR1":
                    raise Broken("it is a Parquet file without its end: was it cut off?")
                length = int.from_bytes(tail[2:6], "little")
                file.identity = ["parquet", size, self._footer(handle, size, length + 8)]
                if not known:
                    found = pa.parquet.ParquetFile(handle)
                    file.groups = [found.metadata.row_group(n).num_rows for n in range(found.metadata.num_row_groups)]
                    file.schema = found.schema_arrow
            elif head == b"ARROW1":
                if tail[-6:] != b"ARROW1":
                    raise Broken("it is an Arrow file without its end: was it cut off?")
                length = int.from_bytes(tail[:4], "little")
                file.identity = ["arrow", size, self._footer(handle, size, length + 10), info.mtime_ns]
                if not known:
                    file.groups, file.schema = self._batches_of_arrow(handle)
            else:
                what = {b"FEA1": ": it is of Feather's first version", b"PARE": ": it is encrypted"}.get(head[:4], "")
                raise Broken(f"it is neither a Parquet nor an Arrow file{what}")

    @staticmethod
    def _footer(handle: Any, size: int, length: int) -> str:
        """The hash of a file's end."""
        if not 0 < length <= size:
            raise Broken(f"its footer has {length} bytes, it has {size}: it is damaged")
        handle.seek(size - length)
        found = hashlib.blake2b(handle.read(length), digest_size=16).hexdigest()
        handle.seek(0)
        return found

    @staticmethod
    def _batches_of_arrow(handle: Any) -> tuple[list[int], Any]:
        pa = import_pyarrow()
        schema = pa.ipc.open_file(handle).schema
        # One column tells how many rows a batch has; the others stay unread.
        first = pa.ipc.IpcReadOptions(included_fields=[0]) if len(schema) else pa.ipc.IpcReadOptions()
        handle.seek(0)
        reader = pa.ipc.open_file(handle, options=first)
        return [reader.get_batch(n).num_rows for n in range(reader.num_record_batches)], schema

    def read(self, file: File, first: int, end: int, columns: Sequence[str], size: int) -> Iterator[Any]:
        """The rows of row groups ``first`` to ``end`` (exclusive) as record batches of at most ``size`` rows.

        Raises
        ------
        Broken
            If the file cannot be read, or is not what it was when the run was planned.
        """
        if file.error is not None:
            raise Broken(file.error)
        expected = sum(file.groups[first:end])
        if not expected:
            return
        now = File(file.name, file.path)
        try:
            self._inspect(now, known=True)
            if now.identity != file.identity:
                raise Broken("it has changed since the run was planned")
            count = 0
            for batch in self._read(file, first, end, columns, size):
                count += batch.num_rows
                yield batch
            if count != expected:
                raise Broken(f"it says that it has {expected} rows in row groups {first} to {end - 1}, it has {count}")
        except Broken as error:
            raise Broken(f"'{file.name}' cannot be read: {error}") from None
        except (OSError, import_pyarrow().ArrowException) as error:
            where = f"row group {first}" if end == first + 1 else f"row groups {first} to {end - 1}"
            raise Broken(f"'{file.name}' cannot be read, in {where}: {_first_line(error)}") from None

    def _read(self, file: File, first: int, end: int, columns: Sequence[str], size: int) -> Iterator[Any]:
        stored = [name for name in columns if name in file.schema.names]
        schema = self.schema_of(file)
        for batch in self._stored(file, first, end, stored, size):
            yield self._with_partition(batch, file, columns, schema)

    def _stored(self, file: File, first: int, end: int, columns: list[str], size: int) -> Iterator[Any]:
        pa = import_pyarrow()
        with self._open(file) as handle:
            if file.identity[0] == "parquet":
                found = pa.parquet.ParquetFile(handle, buffer_size=_BUFFER, pre_buffer=False)
                yield from found.iter_batches(
                    batch_size=size, row_groups=list(range(first, end)), columns=columns, use_threads=False
                )
                return
            places = [file.schema.names.index(name) for name in columns]
            options = pa.ipc.IpcReadOptions(included_fields=sorted(places) or [0], use_threads=False)
            reader = pa.ipc.open_file(handle, options=options)
            for number in range(first, end):
                batch = reader.get_batch(number)
                for begin in range(0, batch.num_rows, size):
                    yield batch.slice(begin, size)

    def _with_partition(self, batch: Any, file: File, columns: Sequence[str], schema: Any) -> Any:
        pa = import_pyarrow()
        arrays = []
        for name in columns:
            if name in batch.schema.names:
                arrays.append(batch.column(batch.schema.names.index(name)))
            else:
                kind, value = schema.field(name).type, file.partition[name]
                value = None if value is None else int(value) if pa.types.is_integer(kind) else str(value)
                arrays.append(pa.repeat(pa.scalar(value, kind), batch.num_rows))
        return pa.RecordBatch.from_arrays(arrays, names=list(columns))


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _is_whole(text: Any) -> bool:
    return isinstance(text, str) and text.lstrip("-").isdigit() and text.isascii() and len(text) < 19


def find(source: Any) -> Source:
    """The files of what a user names.

    Parameters
    ----------
    source : str, path, pyarrow.dataset.Dataset, or a list of the former
        A file; a folder, with all its Parquet and Arrow files, sorted by their paths, hidden ones and those whose name
        begins with ``_`` left out; a pattern with ``*``; a URI of a file system that pyarrow knows.

    Raises
    ------
    ValueError, OSError
        If there are no files, one is named twice, or it is none of these.
    """
    pa = import_pyarrow()
    from pyarrow import fs

    local = fs.LocalFileSystem()
    if type(source).__module__.partition(".")[0] == "pyarrow":
        return _of_dataset(source)
    if isinstance(source, str) and "://" in source:
        try:
            filesystem, path = fs.FileSystem.from_uri(source)
        except pa.ArrowInvalid as error:
            raise ValueError(f"source: {source!r}: {_first_line(error)}") from None
        return Source(_checked(_listed(filesystem, path), source), filesystem)
    if isinstance(source, (str, os.PathLike)):
        paths = _local(Path(source))
        base = Path(source) if Path(source).is_dir() else None
    elif isinstance(source, (list, tuple)):
        paths = []
        for one in source:
            if not isinstance(one, (str, os.PathLike)):
                raise ValueError(f"source: expected paths in the list, got {type(one).__name__}")
            paths += _local(Path(one))
        base = None
    else:
        raise ValueError(
            "source: expected the path of a Parquet or Arrow file, of a folder of them, a pattern, a list of paths, or "
            f"a pyarrow.dataset, got {type(source).__name__}"
        )
    paths = [Path(os.path.abspath(path)) for path in paths]
    if base is None:
        base = Path(os.path.commonpath([path.parent for path in paths])) if paths else Path()
    named = [(path.relative_to(os.path.abspath(base)).as_posix(), str(path)) for path in paths]
    return Source(_checked(named, source), local)


def _local(path: Path) -> list[Path]:
    if path.is_dir():
        found = []
        for folder, folders, names in os.walk(path):
            folders[:] = [name for name in folders if not name.startswith((".", "_"))]
            found += [Path(folder, name) for name in names if _is_data(name)]
        if not found:
            raise ValueError(f"source: '{path}' has no files that end in {', '.join(_SUFFIXES)}")
        return sorted(found, key=lambda one: one.relative_to(path).parts)
    if not path.exists() and glob.has_magic(str(path)):
        matched = [Path(one) for one in sorted(glob.glob(str(path), recursive=True))]
        files = [one for one in matched if one.is_file() and _is_data(one.name)]
        for inside in (one for one in matched if one.is_dir() and "**" not in str(path)):
            files += _local(inside)
        if not files:
            raise ValueError(f"source: no Parquet or Arrow file is called '{path}'")
        return sorted(files)
    if not path.exists():
        raise FileNotFoundError(f"source: there is no file or folder '{path}'")
    return [path]


def _is_data(name: str) -> bool:
    return name.lower().endswith(_SUFFIXES) and not name.startswith((".", "_"))


def _listed(filesystem: Any, path: str) -> list[tuple[str, str]]:
    """Names and paths of the files at a path of any file system."""
    from pyarrow import fs

    info = filesystem.get_file_info(path)
    if info.type == fs.FileType.File:
        return [(info.base_name, info.path)]
    if info.type != fs.FileType.Directory:
        raise FileNotFoundError(f"source: there is no file or folder '{path}'")
    found = []
    for one in filesystem.get_file_info(fs.FileSelector(path, recursive=True)):
        name = one.path[len(info.path) :].lstrip("/")
        hidden = any(part.startswith((".", "_")) for part in name.split("/"))
        if one.type == fs.FileType.File and _is_data(one.base_name) and not hidden:
            found.append((name, one.path))
    return sorted(found, key=lambda pair: pair[0].split("/"))


def _of_dataset(given: Any) -> Source:
    from pyarrow import dataset

    if not isinstance(given, dataset.FileSystemDataset):
        raise ValueError(
            f"source: a {type(given).__name__} has no files to come back to; give paths of files, or a dataset of them"
        )
    fragments = sorted(given.get_fragments(), key=lambda one: one.path.split("/"))
    paths = [fragment.path for fragment in fragments]
    base = os.path.commonpath([os.path.dirname(path) for path in paths]) if paths else ""
    files = _checked([(os.path.relpath(path, base or "."), path) for path in paths], "the dataset")
    for file, fragment in zip(files, fragments, strict=True):
        file.partition.update(dataset.get_partition_keys(fragment.partition_expression))
    return Source(files, given.filesystem)


def _checked(named: list[tuple[str, str]], source: Any) -> list[File]:
    if not named:
        raise ValueError(f"source: {source!r} has no Parquet or Arrow files")
    seen: set[str] = set()
    for _, path in named:
        if path in seen:
            raise ValueError(f"source: '{path}' is named twice; its rows would be counted twice")
        seen.add(path)
    return [File(name, path, _hive(name)) for name, path in named]


def _hive(name: str) -> dict[str, Any]:
    """Columns of folders called ``name=value``."""
    found: dict[str, Any] = {}
    for part in name.split("/")[:-1]:
        column, equals, value = part.partition("=")
        if equals and column:
            value = urllib.parse.unquote(value)
            found[column] = None if value == _NO_PARTITION else value
    return found
