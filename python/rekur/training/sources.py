"""Where batches come from: rows read by index, batches read by index, or a stream of them."""

import contextlib
import itertools
import weakref
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rekur._random import epoch_order
from rekur._validate import boolean, integer
from rekur.training.batch import Batch, Index, as_array, is_stored, rows_of, stacked
from rekur.training.order import long_order
from rekur.training.shuffling import Buffered

if TYPE_CHECKING:
    from rekur.training.processes import Readers

Task = Callable[[], Any]

_BLOCK, _BLOCK_BYTES = 1024, 2**22  # how many rows in memory are made ready at once at most, and how large
_LONG = 2**20  # rows whose order is better computed as it goes than held


class RowSource(ABC):
    """Rows that are read by their numbers, in any order: what a data set of one's own derives from."""

    in_memory = False  # whether reading is so quick that no thread is needed beside

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def take(self, index: Index) -> Batch:
        """Some rows: a slice, or their numbers as int64 (B,)."""


class Table(RowSource):
    """Aligned arrays of which some are stored: read a batch at a time."""

    def __init__(self, given: Batch, begin: int = 0, end: int | None = None) -> None:
        self.given = given
        leaves = given.leaves()
        counts = [leaf.shape[0] if hasattr(leaf, "shape") else len(leaf) for leaf in leaves]
        for count in counts:
            if count != counts[0]:
                raise ValueError(f"x, y and what goes with them must have the same number of rows, got {counts}")
        self._begin, self._end = begin, counts[0] if end is None else end

    def __len__(self) -> int:
        return self._end - self._begin

    def take(self, index: Index) -> Batch:
        return self.given.mapped(lambda leaf: self.read(leaf, index))

    def read(self, leaf: Any, index: Index, steps: slice | None = None) -> NDArray[Any]:
        """Rows of one of the arrays, of each all or some steps."""
        if isinstance(index, slice):
            index = slice(self._begin + index.start, min(self._begin + index.stop, self._end))
        else:
            index = index + self._begin
        return rows_of(_indexed(leaf), index, steps)

    def part(self, begin: int, end: int) -> "Table":
        return Table(self.given, self._begin + begin, self._begin + end)


def _indexed(leaf: Any) -> Any:
    return leaf if is_stored(leaf) else np.asarray(as_array(leaf))


class Samples(RowSource):
    """A data set of single samples, such as torch's: a batch is some of them stacked."""

    def __init__(self, samples: Any) -> None:
        self._samples, self._name = samples, type(samples).__name__

    def __len__(self) -> int:
        return len(self._samples)

    def take(self, index: Index) -> Batch:
        numbers = range(*index.indices(len(self))) if isinstance(index, slice) else index.tolist()
        return Batch.of(stacked([self._samples[k] for k in numbers]), self._name)


class Source(ABC):
    """Batches, pass after pass.

    ``count``: how many a pass has, None where its end tells. ``threads``: how many prepare batches, if nobody says.
    """

    name: str
    count: int | None = None
    threads = 1
    most_threads = 1
    queue = 10
    repeats = True  # whether a pass can follow another
    parts = 1  # how many tasks read what callers count as one batch
    by_processes: bool | None = None  # whether processes read, if nobody says; None: they cannot
    processes = 0  # how many are to

    @abstractmethod
    def example(self) -> Any:
        """A batch, read before the first pass."""

    @abstractmethod
    def tasks(self, seed: int, number: int) -> Iterator[Task]:
        """What reads the batches of a pass, one a task."""

    def places(self, batches: int) -> NDArray[np.int64] | None:
        """The rows that the first batches of a pass without shuffling hold, where they are not 0, 1, 2, …"""
        return None

    def on_epoch(self, event: str) -> None:  # noqa: B027
        """``"begin"`` or ``"end"``."""

    def finish(self, left: list[Any]) -> None:  # noqa: B027
        """The call is over; ``left``: what was read and not used."""


class ByRows(Source):
    """Batches of some rows of a :class:`RowSource`; of anything with ``take`` and a length."""

    def __init__(self, rows: Any, batch_size: int, shuffle: "bool | str", in_memory: bool, name: str) -> None:
        self.rows, self.name = rows, name
        self._size, self._shuffle = batch_size, shuffle
        self.count = max(-(-len(rows) // batch_size), 1)  # no rows make one empty batch, whose outputs have a shape
        self.in_memory = in_memory
        self.threads, self.most_threads = (0, 0) if in_memory else (1, 64)
        self.batch_size = batch_size
        self._prepare: Callable[[Any], Any] | None = None
        self._together = 1

    def prepare_together(self, batch_bytes: int, prepare: Callable[[Any], Any]) -> None:
        """Make several batches ready at once, as tasks give them then: where rows are in memory, checks cost most."""
        self._together = max(min(_BLOCK // self._size, _BLOCK_BYTES // max(batch_bytes, 1)), 1)
        self._prepare = prepare

    def part(self, begin: int, end: int, batch_size: int, shuffle: "bool | str", name: str) -> "ByRows":
        """A source of some of the rows."""
        return ByRows(self.rows.part(begin, end), batch_size, shuffle, self.in_memory, name)

    def example(self) -> Any:
        return self.rows.take(slice(0, min(self._size, len(self.rows))))

    def tasks(self, seed: int, number: int) -> Iterator[Task]:
        indices = self._indices(seed, number)
        if self._prepare is None:
            return (partial(self.rows.take, index) for index in indices)
        return self._in_blocks(indices, self._prepare)

    def _in_blocks(self, indices: Iterator[Index], prepare: Callable[[Any], Any]) -> Iterator[Task]:
        while group := list(itertools.islice(indices, self._together)):
            numbers = [np.arange(i.start, i.stop) if isinstance(i, slice) else i for i in group]
            rows = prepare(self.rows.take(np.concatenate(numbers)))
            ends = np.cumsum([len(n) for n in numbers]).tolist()
            for begin, end in zip([0, *ends], ends, strict=False):
                yield partial(rows.take, slice(begin, end))

    def _indices(self, seed: int, number: int) -> Iterator[Index]:
        """The rows of each batch of a pass."""
        size, total = self._size, len(self.rows)
        if self._shuffle is True:
            if total > _LONG:
                return long_order(seed, number, total, size)
            order = epoch_order(seed, number, total)
            return (order[begin : begin + size] for begin in range(0, total, size))
        begins: Any = range(0, max(total, 1), size)
        if self._shuffle == "batch":
            begins = (int(k) * size for k in epoch_order(seed, number, len(begins)))
        return (slice(begin, min(begin + size, total)) for begin in begins)


class ByBatches(Source):
    """Anything whose items are batches: Keras's ``Sequence`` and ``PyDataset``."""

    most_threads = 64

    def __init__(self, items: Any, shuffle: bool) -> None:
        self._items, self._shuffle, self.name = items, shuffle, type(items).__name__
        self._pass = items  # as the pass at hand reads them
        self.count = self._length()
        self.by_processes = boolean(getattr(items, "use_multiprocessing", False), f"{self.name}: use_multiprocessing")
        self._readers: Readers | None = None
        self.threads = integer(getattr(items, "workers", 1), f"{self.name}: workers", 0)
        self.queue = integer(getattr(items, "max_queue_size", 10), f"{self.name}: max_queue_size")

    def _length(self) -> int | None:
        count = self._items.num_batches if hasattr(self._items, "num_batches") else len(self._items)
        if count is not None and count < 1:
            raise ValueError(f"{self.name} has no batches")
        return None if count is None else int(count)

    def _get(self, items: Any, k: int) -> Batch:
        return Batch.of(items[k], self.name)

    def example(self) -> Any:
        return self._get(self._items, 0)

    def tasks(self, seed: int, number: int) -> Iterator[Task]:
        arrange = getattr(self._items, "begin_pass", None)  # of rekur.data: it shuffles by itself
        items = self._pass = self._items if arrange is None else arrange(seed, number, self._shuffle)
        self.count = self._length()  # on_epoch_end may have changed it
        numbers: Iterable[int] = itertools.count() if self.count is None else range(self.count)
        if self._shuffle and self.count is not None and arrange is None:
            numbers = epoch_order(seed, number, self.count).tolist()
        if self.processes:
            self._end_readers()  # whose data set is that of the pass before
            from rekur.training.processes import Readers

            self._readers = Readers(items, self.processes, self.name)
            return (partial(self._get_apart, self._readers, k) for k in numbers)
        return (partial(self._get, items, k) for k in numbers)

    def _get_apart(self, readers: "Readers", k: int) -> Batch:
        return Batch.of(readers.read(k), self.name)

    def _end_readers(self) -> None:
        if self._readers is not None:
            self._readers.close()
            self._readers = None

    def finish(self, left: list[Any]) -> None:
        self._end_readers()

    def places(self, batches: int) -> NDArray[np.int64] | None:
        places = getattr(self._pass, "places", None)
        return None if places is None else places(batches)

    def on_epoch(self, event: str) -> None:
        hook = getattr(self._items, f"on_epoch_{event}", None)
        if hook is not None:
            hook()


# What was read of callers' own iterators and not used: the next call begins with it, however this one ends.
_left: "weakref.WeakKeyDictionary[Any, deque[Batch]]" = weakref.WeakKeyDictionary()


class Stream(Source):
    """An iterable of batches: generators, torch's ``DataLoader``, ``tf.data.Dataset``, …

    An iterator of the caller's is read once and left open; iterators that are made here are closed.
    """

    def __init__(self, given: Any, buffer: int = 0, seed: int = 0) -> None:
        self._given, self._buffer, self.name = given, buffer, type(given).__name__
        self.repeats = iter(given) is not given
        self._iterator: Any = None
        self._front: deque[Batch] = deque()
        self._buffered: Buffered | None = None
        self._example: Batch | None = None
        if self.repeats:
            with contextlib.suppress(TypeError, RuntimeError):  # what has no length, or an endless one
                self.count = len(given)
                if buffer:
                    self.count = None
        else:
            with contextlib.suppress(TypeError):  # what weak references cannot name is not kept
                self._front = _left.setdefault(given, self._front)

    def _begin(self) -> None:
        self._close()
        self._iterator = iter(self._given)

    def _read(self) -> Batch:
        if self._front:
            return self._front.popleft()
        return Batch.of(next(self._iterator), self.name).mapped(as_array)

    def example(self) -> Any:
        if not self.peek():
            raise ValueError(f"{self.name} gives no batch")
        return self._front[0]

    def peek(self) -> bool:
        """Whether there is another batch."""
        if self._iterator is None:
            self._begin()
        if self._front or (self._buffered is not None and self._buffered.holds()):
            return True
        try:
            self._front.append(self._read())
        except StopIteration:
            return False
        return True

    def tasks(self, seed: int, number: int) -> Iterator[Task]:
        if self._iterator is None or (self.repeats and not self._front):
            self._begin()
        if self._buffer:
            left = [] if self._buffered is None or self.repeats else self._buffered.left()
            self._front.extendleft(reversed(left))
            self._buffered = Buffered(iter(self._read, None), self._buffer, seed, number)
            return itertools.repeat(self._buffered.__next__)
        return itertools.repeat(self._read)

    def _close(self) -> None:
        iterator, self._iterator = self._iterator, None
        if self.repeats and hasattr(iterator, "close"):
            with contextlib.suppress(ValueError):  # it hangs on a thread of its own
                iterator.close()

    def finish(self, left: list[Any]) -> None:
        rest = [] if self._buffered is None else self._buffered.left()
        self._front.extendleft(reversed([*left, *rest]))
        self._close()


def _collated(samples: Any, size: int) -> Iterator[Any]:
    reader = iter(samples)
    while chunk := list(itertools.islice(reader, size)):
        yield stacked(chunk)


class _Collated:
    """torch's ``IterableDataset``: samples one after the other, as batches."""

    def __init__(self, samples: Any, size: int) -> None:
        self._samples, self._size = samples, size

    def __iter__(self) -> Iterator[Any]:
        return _collated(self._samples, self._size)


def _is_of(value: Any, module: str, *names: str) -> bool:
    return any(c.__name__ in names and c.__module__.startswith(module) for c in type(value).__mro__)


def is_source(x: Any) -> bool:
    """Whether x is where batches or rows come from, and not an array, or a list or dict of them."""
    if isinstance(x, RowSource):
        return True
    plain = (np.ndarray, np.generic, list, tuple, Mapping, str, bytes, bytearray, memoryview, set, frozenset)
    if x is None or isinstance(x, (*plain, type, range, deque, int, float, type({}.values()), type({}.keys()))):
        return False
    if hasattr(x, "shape") or any(
        hasattr(type(x), a) for a in ("__array__", "__array_interface__", "__array_struct__")
    ):
        return False
    if type(x).__module__.partition(".")[0] in ("pandas", "polars", "array"):
        return False
    return hasattr(x, "__iter__") or hasattr(x, "__next__") or hasattr(x, "__getitem__")


def stored_in(given: Batch) -> bool:
    """Whether one of the arrays is stored."""
    return any(is_stored(leaf) for leaf in given.leaves())


def check_shuffle(shuffle: Any) -> tuple[bool | str, int]:
    """True, False or ``"batch"``, and how many rows a buffer for ``"buffer"`` holds (0: none)."""
    if isinstance(shuffle, tuple) and len(shuffle) == 2 and shuffle[0] == "buffer":
        return "buffer", integer(shuffle[1], "shuffle: rows of the buffer")
    if shuffle == "buffer":
        return "buffer", 1024
    if isinstance(shuffle, (bool, np.bool_)):
        return bool(shuffle), 0
    if shuffle == "batch":
        return "batch", 0
    raise ValueError(f"shuffle must be True, False, 'batch', 'buffer' or ('buffer', rows), got {shuffle!r}")


def make_source(x: Any, beside: Mapping[str, Any], batch_size: int | None, shuffle: Any, where: str = "") -> Source:
    """The source that x is (:func:`is_source`).

    Raises
    ------
    ValueError
        For what x brings itself and is given beside it: targets, weights, the size of its batches.
    """
    kind, buffer = check_shuffle(shuffle)
    name = type(x).__name__
    for argument, value in beside.items():
        if value is not None:
            raise ValueError(
                f"{where}x is a {name}, whose batches hold it all: {argument} must not be given beside it; let it give "
                "(x, y), (x, y, sample_weight) or rekur.data.Batch"
            )
    rows: Any = None
    if isinstance(x, RowSource):
        rows = x
    elif _is_of(x, "torch.utils.data", "Dataset") and hasattr(x, "__getitem__") and hasattr(x, "__len__"):
        rows = Samples(x)
    if rows is not None:
        if not len(rows):
            raise ValueError(f"{where}x, a {name}, has no rows")
        if kind == "buffer":
            raise ValueError(f"shuffle='buffer' is for streams; rows of a {name} are read in any order: shuffle=True")
        return ByRows(rows, 32 if batch_size is None else batch_size, kind, rows_in_memory(rows), name)
    if _is_of(x, "torch.utils.data", "IterableDataset"):
        return Stream(_Collated(x, 32 if batch_size is None else batch_size), buffer)
    if batch_size is not None:
        raise ValueError(f"batch_size must not be given for a {name}, which has batches of its own, got {batch_size}")
    if hasattr(x, "__getitem__") and (hasattr(x, "__len__") or hasattr(x, "num_batches")):
        if kind == "buffer":
            raise ValueError(f"shuffle='buffer' is for streams; a {name} is read in any order: shuffle=True")
        return ByBatches(x, kind is not False)
    if kind == "batch":
        raise ValueError(f"shuffle='batch' needs rows that are read in any order; for a {name} say shuffle='buffer'")
    return Stream(x, buffer)


def arrays_of(data: Any, batch_size: int | None, steps: int | None, where: str) -> Iterator[Any]:
    """The inputs of a source, batch by batch, or an array in parts."""
    if is_source(data):
        source = make_source(data, {}, batch_size, False)
        try:
            for task in itertools.islice(source.tasks(0, 0), steps):
                try:
                    batch = Batch.of(task(), source.name)
                except StopIteration:
                    return
                yield batch.x
        finally:
            source.finish([])
        return
    size = 2**16 if batch_size is None else batch_size
    array = data if is_stored(data) else as_array(data)
    array = array if hasattr(array, "shape") else np.asarray(array)
    if not array.shape:
        raise TypeError(f"{where}expected an array, or batches of arrays, got {data!r:.60}")
    for k in range(0, len(array) if steps is None else min(len(array), steps * size), size):
        yield array[k : k + size]


def rows_in_memory(rows: Any) -> bool:
    return bool(getattr(rows, "in_memory", False))
