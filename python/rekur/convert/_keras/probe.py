"""HDF5 files are looked through in a process of their own first: the library that reads them may crash on some."""

import os
import signal
import subprocess
import sys
from typing import Any

_SECONDS, _SPEED = 20, 10_000_000  # how much processor time it may take: so long, and a second for so many bytes
# Everything that is read of a file: attributes, and numbers that are not stored as they are.
_CODE = """
import io, resource, sys
seconds = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
import h5py
source = sys.argv[2] if len(sys.argv) > 2 else io.BytesIO(sys.stdin.buffer.read())
with h5py.File(source, "r") as file:
    def look(name, node):
        for key in node.attrs:
            node.attrs[key]
        stored = isinstance(node, h5py.Dataset) and not node.external and not node.is_virtual
        if stored and (node.chunks or node.nbytes < 1 << 20) and node.nbytes < 1 << 28:
            node[()]
    look("/", file)
    file.visititems(look)
"""


def check(source: "str | bytes", what: str) -> None:
    """Look through a file, given by its path or its bytes, as it will be read.

    Errors that h5py raises are left to whoever reads it.

    Raises
    ------
    ValueError
        If the process crashes, or does not come to an end in the processor time that it has.
    """
    if not sys.executable:
        return
    if isinstance(source, bytes):
        size, arguments = len(source), []
        feed: dict[str, Any] = {"input": source}
    else:
        size, arguments = os.path.getsize(source), [os.path.abspath(source)]
        feed = {"stdin": subprocess.DEVNULL}
    paths = os.pathsep.join(path for path in sys.path if path)
    try:
        done = subprocess.run(
            [sys.executable, "-c", _CODE, f"{_SECONDS + size // _SPEED}", *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": paths},
            check=False,
            **feed,
        )
    except OSError:  # no process can be made here
        return
    if done.returncode == -signal.SIGXCPU:
        raise ValueError(f"{what}: its HDF5 is broken: reading it does not come to an end")
    if done.returncode < 0:
        raise ValueError(f"{what}: its HDF5 is broken: reading it crashes the HDF5 library (signal {-done.returncode})")
