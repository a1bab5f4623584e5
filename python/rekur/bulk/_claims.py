"""Who works on what, among processes that write to one folder: locks that end with their process."""

import errno
import fcntl
import os
from pathlib import Path
from types import TracebackType

FOLDER = ".claims"
_WITHOUT = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)  # what file systems without locks say


class Claim:
    """The right to make one part, as long as this object is open and the process lives."""

    def __init__(self, path: Path, descriptor: int, locked: bool = True) -> None:
        self._path, self._descriptor, self._locked = path, descriptor, locked

    @classmethod
    def take(
        cls, folder: Path, name: str, *, shared: bool = False, wait: bool = False, needed: bool = True
    ) -> "Claim | None":
        """Claim something by its name; None where another process has it, and ``wait`` is False.

        ``needed``: False where nobody else would claim it, so that it is had on a file system without locks, too.

        Raises
        ------
        OSError
            If the file system has no locks.
        """
        path = folder / FOLDER / name
        mode = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
        while True:
            path.parent.mkdir(exist_ok=True)
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            except FileNotFoundError:  # the folder of claims was removed meanwhile
                continue
            try:
                fcntl.flock(descriptor, mode)
            except OSError as error:
                if not needed and error.errno in _WITHOUT:
                    return cls(path, descriptor, locked=False)
                os.close(descriptor)
                if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                    return None
                raise OSError(
                    error.errno,
                    f"'{folder}' is on a file system without locks: {error.strerror}; a share (shard, --shard I/N) "
                    "needs none",
                ) from None
            try:
                same = os.path.samestat(os.fstat(descriptor), os.stat(path))
            except FileNotFoundError:
                same = False
            if same:
                return cls(path, descriptor)
            os.close(descriptor)  # whoever had it has removed the file: it locks nothing any more

    def share(self) -> None:
        """Let others share it."""
        if self._locked:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def release(self, remove: bool = False) -> None:
        """Give it back; ``remove`` also removes its file, which nobody else needs then."""
        if self._descriptor >= 0:
            if remove:
                self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> "Claim":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.release(remove=True)
