"""Files appear whole or not at all: the engine's own way of writing, for everything that writes a file."""

import os

from rekur import _core


def check_writable(path: str | os.PathLike[str]) -> None:
    """Say early what would go wrong at the end.

    Raises
    ------
    OSError
        If the folder does not exist or takes no new file, or a folder, a device, a pipe or a file protected from
        writing stands at the path.
    """
    _core.check_writable(os.fsencode(path))


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """The path holds the old file or the new one, never a piece.

    A symbolic link stays and the file behind it is replaced; a file that is there keeps its permissions. A process
    that is killed meanwhile leaves ``.NAME.rekur-….tmp``, which the next write of the same path removes.

    Raises
    ------
    OSError
        As :func:`check_writable`, or the disk is full; the old file is then as it was.
    """
    _core.write_file(os.fsencode(path), data)
