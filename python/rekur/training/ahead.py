"""Batches prepared on threads beside the computation, in their order."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

_PATIENCE = 2.0  # seconds that an error waits for a source that is in the middle of a batch


class Ahead:
    """Results of tasks, in the order of the tasks, of which a few are carried out before they are asked for.

    Parameters
    ----------
    tasks : iterator of functions without arguments
        One a batch; StopIteration raised by one ends it all.
    prepare : function
        Of what a task gave.
    threads : int
        0: the caller's thread does everything, when asked.
    size : int
        How many results may wait.

    Notes
    -----
    An exception comes out where its batch would have, with the traceback of the thread that met it. No task is begun
    after one that failed.
    """

    def __init__(
        self, tasks: Iterator[Callable[[], Any]], prepare: Callable[[Any], Any], threads: int, size: int
    ) -> None:
        self._tasks, self._prepare, self._size = tasks, prepare, max(size, threads, 1)
        self._change = threading.Condition()
        self._done: dict[int, tuple[Any, Any, BaseException | None]] = {}
        self._begun = self._taken = 0
        self._end: int | None = None  # the number of the first batch that there is not
        self._closed = False
        self.ran_out = False  # whether a task said that there is no more
        self._threads = [threading.Thread(target=self._work, name="rekur data", daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if not self._threads:
            return self._prepare(self._read(next(self._tasks)))
        with self._change:
            number = self._taken
            while number not in self._done:
                if self._end is not None and number >= self._end:
                    raise StopIteration
                self._change.wait()
            _, prepared, error = self._done.pop(number)
            self._taken += 1
            self._change.notify_all()
        if error is not None:
            raise error
        return prepared

    def _read(self, task: Callable[[], Any]) -> Any:
        try:
            return task()
        except StopIteration:
            self.ran_out = True
            raise

    def _work(self) -> None:
        while True:
            with self._change:
                while not self._closed and self._end is None and self._begun >= self._taken + self._size:
                    self._change.wait()
                if self._closed or self._end is not None:
                    return
                number = self._begun
                try:
                    task = next(self._tasks)
                except StopIteration:
                    self._finish(number)
                    return
                self._begun += 1
            given, prepared, error = None, None, None
            try:
                given = self._read(task)
            except StopIteration:
                with self._change:
                    self._finish(number)
                return
            except BaseException as raised:  # it is the caller's, whatever it is
                error = raised
            if error is None:
                try:
                    prepared = self._prepare(given)
                except BaseException as raised:
                    error = raised
            with self._change:
                self._done[number] = given, prepared, error
                if error is not None:
                    self._finish(number + 1)
                self._change.notify_all()

    def _finish(self, number: int) -> None:
        self._end = number if self._end is None else min(self._end, number)
        self._change.notify_all()

    def close(self, failed: bool = False) -> list[Any]:
        """End the threads; what tasks gave that nobody asked for.

        After a failure a source that hangs is waited for only a while.
        """
        with self._change:
            self._closed = True
            self._change.notify_all()
        for thread in self._threads:
            thread.join(_PATIENCE if failed else None)
        with self._change:
            left = [given for _, (given, _, error) in sorted(self._done.items()) if error is None]
            self._done.clear()
        return left
