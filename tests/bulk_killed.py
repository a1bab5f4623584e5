"""Runs that are killed: ``python bulk_killed.py DATA MODEL FOLDER EXPECTED [EVERY]``.

A child is killed by SIGKILL before its n-th operation on files in the folder, another goes on, and what it leaves is
compared with EXPECTED; so for n = 0, EVERY, … until a child comes to its end. Children are forks of a process that has
imported everything and computed nothing.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from pathlib import Path

import pyarrow.compute
import pyarrow.dataset  # noqa: F401  (so that the children need not)
import pyarrow.parquet as pq

from rekur import bulk, tasks

OPTIONS = {"unit_rows": 40, "batch_size": 16, "verbose": 0}


def child(work) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    status = os.waitpid(pid, 0)[1]
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.glob("part-*.parquet")}


def main(data: str, model: str, place: str, expected: str, every: str = "1") -> None:
    tasks.load(model)  # so that the children need not import what it needs
    number, killed = 0, 0
    while True:
        folder = Path(place) / f"killed-{number}"

        def broken_off(folder=folder, left=number):
            names = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "fcntl.flock"}
            count = 0

            def hook(event, arguments):
                nonlocal count
                of = event == "fcntl.flock" or str(folder) in str(arguments[:2])
                if event in names and of:
                    count += 1
                    if count > left:
                        os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(hook)
            bulk.predict(model, data, folder, **OPTIONS)

        def go_on(folder=folder):
            before = stamps(folder)
            for name in before:  # what has its name is whole
                assert pq.read_metadata(folder / name).metadata[b"rekur.bulk"]
            report = bulk.predict(model, data, folder, **OPTIONS)
            after = stamps(folder)
            assert all(after[name] == stamp for name, stamp in before.items()), "a finished part was made again"
            assert report.written == len(after) - len(before), report
            assert pq.read_table(folder).equals(pq.read_table(expected)), "another result"
            assert not list(folder.glob(".*")), list(folder.glob(".*"))

        code = child(broken_off)
        assert code in (0, -signal.SIGKILL), code
        assert child(go_on) == 0, f"going on after being killed at {number}"
        if code == 0:
            break
        killed += 1
        number += int(every)
    print(killed)


if __name__ == "__main__":
    main(*sys.argv[1:])
