"""Processes that read the batches of a data set, where threads of Python would wait for one another."""

import multiprocessing
import pickle
import signal
import traceback
import warnings
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, NamedTuple, NoReturn

_items: Any = None  # in a process that reads: the data set


def _begin(items: Any) -> None:
    global _items
    _items = items
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the caller's, who ends these processes
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _ready() -> None: ...


class Raised(NamedTuple):
    """What another process has raised.

    It travels as a value: the pool's own way breaks the pool where an error cannot be made again, and other packages
    change that way (tblib).
    """

    pickled: bytes  # nothing: it cannot be
    text: str
    where: str

    @classmethod
    def of(cls, error: BaseException) -> "Raised":
        where = "".join(traceback.format_exception(error))
        try:
            pickled = pickle.dumps(error)
        except Exception:
            pickled = b""
        return cls(pickled, _said(error), where)

    def again(self) -> NoReturn:
        """Raise here what was raised there; its text where it cannot be made again, as many take other arguments."""
        try:
            error = pickle.loads(self.pickled)
        except Exception:
            error = None
        if not isinstance(error, Exception) or _said(error) != self.text:
            raise RuntimeError(f"{self.text}\n\n{self.where}") from None
        raise error from _WhereError(self.where)


class _WhereError(Exception):
    """The traceback in the process, as the cause of what is raised here."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _read(k: int) -> Any:
    try:
        return _items[k]
    except Exception as error:
        return Raised.of(error)


class Readers:
    """Processes with a copy of a data set each, as it is now.

    They are begun as :mod:`multiprocessing` does by default: where that is not by a fork, the data set is pickled, and
    the program needs ``if __name__ == "__main__":``.

    Parameters
    ----------
    items
        Anything with ``__getitem__``.
    count : int
    name : str
        Of the data set, for messages.
    """

    def __init__(self, items: Any, count: int, name: str) -> None:
        self._name = name
        self._pool = ProcessPoolExecutor(count, multiprocessing.get_context(), initializer=_begin, initargs=(items,))
        with warnings.catch_warnings():  # a fork beside threads, none of which holds what the children need
            warnings.simplefilter("ignore", DeprecationWarning)
            self._of(self._pool.submit(_ready))

    def read(self, k: int) -> Any:
        """Batch k; what its process raised is raised here, with its traceback.

        Raises
        ------
        RuntimeError
            Where the process died, or raised what cannot be pickled: it has the text and the traceback.
        """
        found = self._of(self._pool.submit(_read, k))
        if isinstance(found, Raised):
            found.again()
        return found

    def _of(self, future: Any) -> Any:
        try:
            return future.result()
        except BrokenProcessPool:
            raise RuntimeError(
                f"{self._name}: a process that reads its batches died (killed, out of memory, or not able to begin): "
                "use_multiprocessing=False reads them here"
            ) from None

    def close(self) -> None:
        """End the processes; what they are reading is dropped."""
        begun = getattr(self._pool, "_processes", None) or {}
        watcher = getattr(self._pool, "_executor_manager_thread", None)
        self._pool.shutdown(wait=False, cancel_futures=True)
        processes = list(begun.values())  # from now on there are no others: a read beside this call may have begun one
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()
        if watcher is not None:  # it waits for them too: only then are they known to have ended
            watcher.join()
