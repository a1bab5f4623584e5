"""Files appear whole or not at all."""

import contextlib
import os
import uuid
from pathlib import Path


def check_writable(path: Path) -> None:
    """Say early, and in words, what would go wrong at the end.

    Raises
    ------
    OSError
        If the path is a folder, or its folder does not exist.
    """
    if path.is_dir():
        raise IsADirectoryError(f"'{path}' is a folder; give the path of the file to write")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"no folder '{path.parent}' to write '{path.name}' into")


def write_atomic(path: Path, data: bytes) -> None:
    """The path holds the old file or the new one, never a piece."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
