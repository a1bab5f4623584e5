"""Several processes that share a study: each takes the next trial when it has done one."""

import contextlib
import multiprocessing
import os
import signal
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

import rekur
from rekur.training.processes import Raised

BROKEN_OFF = "the search was broken off"
_END = 5.0  # seconds that a process has to end by itself


class Workers:
    """Processes that run trials.

    They are begun as :mod:`multiprocessing` does by default: where that is not by a fork, what is searched is pickled,
    and the program needs ``if __name__ == "__main__":``.

    Parameters
    ----------
    count : int
    begin : function of the worker's number
        In a process: gives what runs one trial, and takes a function that is told the trial's number when it is known.
    """

    def __init__(self, count: int, begin: Callable[[int], Callable[[Callable[[int], None]], None]]) -> None:
        context = multiprocessing.get_context()
        self._at_work: dict[Connection, tuple[int, Any]] = {}
        self._trial: dict[int, int] = {}
        threads = max(rekur.num_threads() // count, 1)
        for number in range(count):
            here, there = context.Pipe()
            process = context.Process(
                target=_work, args=(there, number, threads, begin), name=f"rekur-tune-{number}", daemon=True
            )
            with warnings.catch_warnings():  # a fork beside threads, none of which holds what the children need
                warnings.simplefilter("ignore", DeprecationWarning)
                process.start()
            there.close()
            self._at_work[here] = (number, process)

    def run(
        self,
        may: Callable[[], bool],
        began: Callable[[int], None],
        done: Callable[[int], None],
        lost: Callable[[int, str], None],
    ) -> None:
        """Until no trial may begin any more.

        Parameters
        ----------
        may : function
            Whether another trial may begin; asked once for each.
        began, done : functions of a trial's number
        lost : function of a trial's number (−1: none was under way), and of a text
            A process has died.

        Raises
        ------
        RuntimeError
            If all processes died.
        Exception
            What a process has raised.
        """
        died = ""
        try:
            while self._at_work:
                for connection in wait(list(self._at_work)):
                    assert isinstance(connection, Connection)
                    number, process = self._at_work[connection]
                    try:
                        kind, value = connection.recv()
                    except (EOFError, OSError):
                        process.join()
                        del self._at_work[connection]
                        died = _cause(process.exitcode)
                        lost(self._trial.pop(number, -1), f"process {number} {died}")
                        continue
                    if kind == "raised":
                        value.again()
                    elif kind == "began":
                        self._trial[number] = value
                        began(value)
                        continue
                    elif kind == "done":
                        self._trial.pop(number, None)
                        done(value)
                    go = may()
                    connection.send(go)
                    if not go:
                        process.join(_END)
                        del self._at_work[connection]
                        died = ""
            if died and may():
                raise RuntimeError(f"tune: all processes that ran trials have died; the last one {died}")
        except BaseException:
            self.close()
            for trial in self._trial.values():
                lost(trial, BROKEN_OFF)
            raise
        self.close()

    def close(self) -> None:
        """End those that are still there."""
        for _, process in self._at_work.values():
            process.terminate()
        for connection, (_, process) in self._at_work.items():
            process.join(_END)
            if process.is_alive():
                process.kill()
                process.join()
            connection.close()
        self._at_work.clear()


def _cause(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name}"
    return f"ended with {code}"


def _work(connection: Any, number: int, threads: int, begin: Callable[[int], Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the caller's, who ends these processes
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    caller = os.getppid()
    try:
        rekur.set_num_threads(threads)
        run = begin(number)
        latest = [-1]

        def began(trial: int) -> None:
            latest[0] = trial
            connection.send(("began", trial))

        connection.send(("ready", None))
        while _told(connection, caller):
            run(began)
            connection.send(("done", latest[0]))
    except (EOFError, BrokenPipeError):
        return  # the caller has gone
    except Exception as error:
        connection.send(("raised", Raised.of(error)))


def _told(connection: Any, caller: int) -> bool:
    """Whether another trial is to begin; not where the caller has died, whose end other processes may hold open."""
    while not connection.poll(1.0):
        if os.getppid() != caller:
            return False
    return bool(connection.recv())
