"""The batches of a call, epoch by epoch."""

import itertools
import sys
import warnings
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

from rekur._validate import boolean, integer
from rekur.training.ahead import Ahead
from rekur.training.data import Rows
from rekur.training.sources import Source, Stream, Task

_RAN_OUT = (
    "Your input ran out of data; interrupting training. Make sure that your dataset or generator can generate at least "
    "`steps_per_epoch * epochs` batches. You may need to use the `.repeat()` function when building your dataset."
)  # Keras's words


@dataclass(frozen=True)
class Reading:
    """Keras 2's arguments of reading beside the computation; None: as the source says."""

    workers: int | None = None
    size: int | None = None  # batches that may wait
    by_processes: bool = False

    @classmethod
    def of(cls, workers: object, max_queue_size: object, use_multiprocessing: object) -> "Reading":
        return cls(
            None if workers is None else integer(workers, "workers", 0),
            None if max_queue_size is None else integer(max_queue_size, "max_queue_size"),
            use_multiprocessing is not None and boolean(use_multiprocessing, "use_multiprocessing"),
        )

    def check(self, source: Source) -> None:
        """Raises ValueError where processes are to read what they cannot."""
        if self.by_processes and source.by_processes is None and source.threads:
            raise ValueError(
                f"use_multiprocessing: processes read batches by their numbers, of a PyDataset; a {source.name} is "
                "read here: leave it out"
            )


AS_SOURCES_SAY = Reading()


class Feed:
    """A source read in epochs of ``steps`` batches; without ``steps`` an epoch is a pass over the source.

    Parameters
    ----------
    source : Source
    prepare : function
        Makes what the engine takes of what the source gives.
    seed : int
        Of the orders.
    steps : int, optional
        As of fit.
    reading : Reading
    """

    def __init__(
        self,
        source: Source,
        prepare: Callable[[Any], Rows],
        seed: int = 0,
        steps: int | None = None,
        reading: Reading = AS_SOURCES_SAY,
    ) -> None:
        self.source, self._prepare, self._seed, self._given_steps = source, prepare, seed, steps
        self.message = _RAN_OUT
        workers = source.threads if reading.workers is None else min(reading.workers, source.most_threads)
        self._threads, self._queue = workers, source.queue if reading.size is None else reading.size
        if source.by_processes is not None:
            source.processes = workers if source.by_processes or reading.by_processes else 0
        self._tasks: Iterator[Task] | None = None
        self._seen = 0  # batches of this pass
        self._left: list[Any] = []
        self._warned = False

    @property
    def steps(self) -> int | None:
        """Batches of an epoch, None where only its end will tell."""
        return self.source.count if self._given_steps is None else self._given_steps

    def has_more(self) -> bool:
        """Whether an epoch would have a batch; a warning says if not."""
        source = self.source
        if isinstance(source, Stream) and not source.repeats and not source.peek():
            self._warn()
            return False
        return True

    def resume(self, first: int, number: int, seed: int) -> None:
        """Stand where the epoch ``number`` begins of a fit that began with the epoch ``first`` and had this seed.

        Iterators that cannot be begun anew are where they are.
        """
        self._seed = seed
        if self._given_steps is None or not self.source.repeats:
            return
        for earlier in range(first, number):
            wanted = self._begin(earlier)
            assert wanted is not None
            if self._skip(wanted) < wanted or self._seen == self.source.count:
                self._tasks = None

    def _begin(self, number: int) -> int | None:
        """The batches that an epoch is to have, of the pass at hand or a new one."""
        if self._tasks is None:
            self._tasks, self._seen = self.source.tasks(self._seed, number), 0
        wanted = self.steps
        if wanted is not None and self.source.count is not None:
            wanted = min(wanted, self.source.count - self._seen)
        return wanted

    def _skip(self, batches: int) -> int:
        """Leave batches out; returns how many there were."""
        assert self._tasks is not None
        count = 0
        for task in itertools.islice(self._tasks, batches):
            if isinstance(self.source, Stream):
                try:
                    task()  # whose batches can only be read
                except StopIteration:
                    break
            count += 1
        self._seen += count
        return count

    def epoch(self, number: int, done: int = 0) -> Generator[Rows, None, None]:
        """The batches of an epoch, but for the first ``done``; ``number`` counts epochs for the order of the rows. To
        be closed.
        """
        source = self.source
        source.on_epoch("begin")
        wanted = self._begin(number)
        if done and source.repeats:
            self._skip(done)
        wanted = None if wanted is None else max(wanted - done, 0)
        assert self._tasks is not None
        ahead = Ahead(itertools.islice(self._tasks, wanted), self._prepare, self._threads, self._queue)
        count, failed = 0, True
        try:
            for rows in ahead:
                count += 1
                yield rows
            failed = False
        except GeneratorExit:
            failed = False
            raise
        finally:
            self._left += ahead.close(failed)
        self._seen += count
        if ahead.ran_out or (source.count is not None and self._seen >= source.count):
            self._tasks = None
        if self.steps is not None and count + done < self.steps:
            self._warn()
        source.on_epoch("end")

    def close(self) -> None:
        self.source.finish(self._left)
        self._left = []

    def _warn(self) -> None:
        if self._warned:
            return
        self._warned = True
        level, frame = 1, sys._getframe()
        while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("rekur.training"):
            level, frame = level + 1, frame.f_back
        warnings.warn(self.message, stacklevel=level)
