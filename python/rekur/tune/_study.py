"""Where a search keeps its trials and its models: a study of Optuna, and a folder."""

import contextlib
import os
import re
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rekur._validate import as_path, did_you_mean
from rekur.tune._needs import optuna

_BEAT, _GRACE = 30, 120  # seconds between signs of life of a trial, and without one after which it has failed
_WAIT = 60.0  # seconds for which SQLite waits for another process
_ATTEMPTS, _PAUSE = 20, 0.25  # to open a storage, and seconds between
_AT_ONCE = re.compile("already exists|duplicate|UNIQUE constraint|no such table|does not exist", re.IGNORECASE)
_FILE = "study.db"
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
PRUNERS = ("median", "hyperband")


class Place:
    """A folder for models, and the storage of the study.

    Parameters
    ----------
    folder : str or path, optional
        None: a temporary one, which goes with this.
    storage : str or optuna storage, optional
        None: a file of SQLite in the folder; where that is temporary and ``alone``, memory.
    alone : bool
        Whether one process does it all.

    Raises
    ------
    ValueError, TypeError
        For what is no storage, or one that several processes cannot share.
    """

    def __init__(self, folder: Any, storage: Any, alone: bool) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="rekur-tune-") if folder is None else None
        self.folder = Path(self._temporary.name if self._temporary else as_path(folder, "folder"))
        if storage is not None and not isinstance(storage, (str, optuna().storages.BaseStorage)):
            raise TypeError(f"storage: expected a URL, 'sqlite:///study.db', or a storage of Optuna, got {storage!r}")
        if isinstance(storage, str) and "://" not in storage:
            raise ValueError(f"storage: expected a URL such as 'sqlite:///study.db', got {storage!r}")
        if not alone and storage is not None and not isinstance(storage, str):
            raise ValueError("storage: several workers share one by its URL; got an object")
        self.given = storage
        if storage is None and not (alone and self._temporary):
            self.given = _url_of(self.folder / _FILE)

    @property
    def held(self) -> Any:
        """What has to stay as long as the folder is needed."""
        return self._temporary

    def storage(self) -> Any:
        """The storage, in this process."""
        return storage_of(self.given)


def storage_of(given: Any) -> Any:
    """A storage of a URL; in memory for None.

    Raises
    ------
    OSError
        Where a database cannot be opened.
    """
    storages = optuna().storages
    if given is None:
        return storages.InMemoryStorage()
    if not isinstance(given, str):
        return given
    options: dict[str, Any] = {}
    if given.startswith("sqlite:"):
        options["connect_args"] = {"timeout": _WAIT}
    for attempt in range(_ATTEMPTS):
        try:
            with _quiet():
                return storages.RDBStorage(given, engine_kwargs=options, heartbeat_interval=_BEAT, grace_period=_GRACE)
        except (ImportError, ValueError):
            raise
        except Exception as error:  # SQLAlchemy's, which are not imported for their names
            # Of programs that make the tables at the same time one does; the others find them the next time.
            if attempt + 1 < _ATTEMPTS and _AT_ONCE.search(str(error)):
                time.sleep(_PAUSE)
                continue
            reason = str(error).strip().partition("\n")[0]
            raise OSError(f"storage: '{_without_password(given)}' cannot be opened: {reason}") from None
    raise AssertionError("the last attempt returns or raises")


def _url_of(path: Path) -> str:
    """SQLAlchemy's own way to write a path, which may have any characters.

    Raises
    ------
    ValueError
        If its version has none.
    """
    import sqlalchemy  # Optuna's

    name = str(path.absolute())
    url = str(sqlalchemy.URL.create("sqlite", database=name).render_as_string(hide_password=False))
    if sqlalchemy.make_url(url).database != name:
        raise ValueError(f"folder: SQLAlchemy {sqlalchemy.__version__} has no URL for '{path}'; give another")
    return url


def _without_password(url: str) -> str:
    return re.sub(r"(://[^:/@]*):[^@/]*@", r"\1:…@", url)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's remark that heartbeats are an experiment."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna().exceptions.ExperimentalWarning)
        yield


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Without Optuna's own lines about trials; what is said of them is said here."""
    logging = optuna().logging
    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with _quiet():
            yield
    finally:
        logging.set_verbosity(before)


def check_name(name: object) -> str:
    """A name of a study, which files are called by, too."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"name: expected letters, digits, '_', '.' and '-', got {name!r}")
    return name


def pruner_of(given: Any, several: bool) -> Any:
    """A pruner of Optuna.

    Raises
    ------
    ValueError, TypeError
        For what is none, and for one where there are several objectives.
    """
    pruners = optuna().pruners
    if several:
        if given not in (None, "median"):
            raise ValueError("pruner: Optuna prunes no trials of several objectives: give pruner=None")
        return pruners.NopPruner()
    if given is None:
        return pruners.NopPruner()
    if given == "median":
        return pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2)
    if given == "hyperband":
        return pruners.HyperbandPruner()
    if isinstance(given, pruners.BasePruner):
        return given
    if isinstance(given, str):
        raise ValueError(f"pruner: unknown {given!r}{did_you_mean(given, PRUNERS)}")
    raise TypeError(f"pruner: expected 'median', 'hyperband', None or a pruner of Optuna, got {given!r}")


def sampler_of(given: Any, seed: int | None) -> Any:
    """A sampler of Optuna: TPE by default, which heeds constraints."""
    samplers = optuna().samplers
    if given is None:
        with _quiet():
            return samplers.TPESampler(seed=seed, multivariate=True, group=True)
    if not isinstance(given, samplers.BaseSampler):
        raise TypeError(f"sampler: expected a sampler of Optuna, got {given!r}")
    return given


def exists(path: str | os.PathLike[str]) -> bool:
    return (Path(path) / _FILE).exists()
