"""The parts of a plan: those that are there, the making of those that are missing, and the check of all of them."""

import hashlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import rekur
from rekur.bulk import _reading, _writing
from rekur.bulk._answers import Answerer
from rekur.bulk._claims import Claim
from rekur.bulk._plan import Plan, Unit
from rekur.bulk._reading import Rows
from rekur.bulk._report import Report
from rekur.bulk._source import Source
from rekur.training.progress import _is_watched

_MOST_FAILURES = 20  # of parts, after which the others would hardly fare better
_AT_A_TIME = 20_000_000  # hashes of keys that are compared with each other
_PATIENCE = 0.3  # seconds between looks at what other processes have done


def _identity(plan: Plan) -> str:
    """What parts say they are of: the model, and the settings."""
    text = json.dumps([plan.model, plan.settings], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def said_of(folder: Path, plan: Plan, unit: Unit) -> dict[str, Any] | None:
    return _writing.said_by(folder / unit.name, _identity(plan))


class Parts:
    """The parts of a plan, and the making of those that are missing."""

    def __init__(
        self,
        folder: Path,
        plan: Plan,
        answerer: Answerer,
        source: Source,
        keep: list[str],
        schema: Any,
        size: int,
        locks: bool = True,
    ) -> None:
        self._folder, self._plan, self._answerer, self._source = folder, plan, answerer, source
        self._keep, self._size, self._locks = keep, size, locks
        self._schema = _writing.schema_of(answerer, schema, keep)
        self._columns = list(dict.fromkeys([*answerer.needs, *keep]))
        self._said: dict[str, dict[str, Any]] = {}
        self._written = 0
        self.failures: dict[str, str] = {}

    def make(self, share: tuple[int, int], progress: "Progress") -> None:
        """Make what is missing of a share; wait for what other processes have begun, and take over if they end."""
        number, count = share
        left = [unit for place, unit in enumerate(self._plan.units) if place % count == number - 1]
        while left:
            waiting = []
            for unit in left:
                if self._is_there(unit, progress):
                    continue
                claim = Claim.take(self._folder, unit.name, needed=self._locks)
                if claim is None:
                    waiting.append(unit)
                    continue
                with claim:
                    if not self._is_there(unit, progress):
                        self._try(unit, progress)
                if len(self.failures) >= _MOST_FAILURES:
                    return
            if len(waiting) == len(left):
                time.sleep(_PATIENCE)
            left = waiting

    def _is_there(self, unit: Unit, progress: "Progress") -> bool:
        said = said_of(self._folder, self._plan, unit)
        if said is None:
            return False
        if unit.name not in self._said:
            self._said[unit.name] = said
            progress.skip(int(said["rows_in"]))
        return True

    def _try(self, unit: Unit, progress: "Progress") -> None:
        before = progress.count
        try:
            self._make(unit, progress)
        except _writing.Failed:
            raise
        except (ValueError, TypeError) as error:
            progress.back(before)
            self.failures[unit.name] = _with_files(str(error), unit, self._source)

    def _make(self, unit: Unit, progress: "Progress") -> None:
        part = _writing.Part(self._folder, unit.name, self._schema, self._source)
        try:
            for rows in self._rows(unit):
                part.add(rows, self._answerer.answer(rows), self._answerer, self._keep)
                progress.add(len(rows))
        except BaseException:
            part.drop()
            raise
        more = {"plan": _identity(self._plan), "unit": unit.name, "isa": rekur.isa()}
        self._said[unit.name] = part.finish(more)
        self._written += 1

    def _rows(self, unit: Unit) -> Iterator[Rows]:
        answerer, source = self._answerer, self._source
        if not answerer.grouped:
            return _reading.rows_of(source, unit, self._columns, self._size)
        if answerer.key is None:
            return _reading.files_of(source, unit, self._columns, self._size)
        return _reading.groups_of(source, unit, self._columns, answerer.key, self._size)

    def report(self, begin: float) -> Report:
        """What stands in the folder now."""
        for unit in self._plan.units:
            if unit.name not in self._said and (said := said_of(self._folder, self._plan, unit)) is not None:
                self._said[unit.name] = said
        said_all = self._said.values()
        notes = [f"- {note}" for note in self._answerer.notes]
        sets = sorted({str(said.get("isa")) for said in said_all})
        if len(sets) > 1:
            notes.append(
                f"- Parts were made with different instruction sets ({', '.join(sets)}): last digits may differ"
            )
        return Report(
            folder=self._folder,
            rows_in=sum(int(said["rows_in"]) for said in said_all),
            rows_out=sum(int(said["rows_out"]) for said in said_all),
            untold=sum(int(said["untold"]) for said in said_all),
            files=len(self._source.files),
            parts=len(self._plan.units),
            written=self._written,
            missing=len(self._plan.units) - len(self._said),
            seconds=time.monotonic() - begin,
            notes=notes,
        )

    def check(self) -> None:
        """Every row of every file is in one part, and keys stand together.

        Raises
        ------
        ValueError
            If not, saying which.
        """
        covered: dict[int, list[list[int]]] = {}
        for unit in self._plan.units:
            for file, first, end in self._said[unit.name]["segments"]:
                covered.setdefault(file, []).append([first, end])
        for number, file in enumerate(self._source.files):
            at = 0
            for first, end in sorted(covered.get(number, [])):
                if first != at:
                    break
                at = end
            if at != file.rows:
                raise ValueError(
                    f"'{self._folder}': the parts do not have each row of '{file.name}' once, from row {at} on: files "
                    "have changed between runs; begin anew with overwrite"
                )
        if self._answerer.grouped and self._answerer.key is not None:
            self._check_keys(self._answerer.key)

    def _check_keys(self, key: str) -> None:
        paths = [self._folder / unit.name for unit in self._plan.units]
        total = sum(int(said["groups"]) for said in self._said.values())
        buckets = max(1, -(-total // _AT_A_TIME))
        for bucket in range(buckets):
            found = [
                hashes[hashes.view(np.uint64) % np.uint64(buckets) == bucket]
                for path in paths
                for hashes in _writing.hashes_of(path, key)
            ]
            values = np.sort(np.concatenate(found)) if found else np.zeros(0, np.int64)
            if (values[1:] == values[:-1]).any():
                self._refuse_repeated(paths, key)

    def _refuse_repeated(self, paths: list[Path], key: str) -> None:
        """Name a key that comes back; hashes may also be the same by chance."""
        seen: dict[Any, tuple[str, int]] = {}
        for path in paths:
            for keys, files, rows in _writing.keys_of(path, key, places=True):
                for value, file, row in zip(keys.to_pylist(), files.to_pylist(), rows.to_pylist(), strict=True):
                    if value in seen:
                        raise ValueError(_reading.comes_back(key, value, *seen[value], file, row))
                    seen[value] = (file, row)


def _with_files(text: str, unit: Unit, source: Source) -> str:
    """A message with the file that it is of, if it does not say it."""
    names = [source.files[number].name for number in unit.files]
    if any(f"'{name}'" in text for name in names):
        return text
    return f"'{names[0]}'{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {text}"


class Progress:
    """A bar over the rows of all files."""

    def __init__(self, total: int, verbose: int) -> None:
        self.count = 0
        self._bar: Any = None
        if verbose and _is_watched(sys.stderr):
            from tqdm import tqdm

            form = "{desc} {percentage:3.0f}% {bar:20} [{elapsed}<{remaining}] {n_fmt} of {total_fmt} rows"
            self._bar = tqdm(
                total=total, desc="predict", bar_format=form, file=sys.stderr, leave=False, unit_scale=True
            )

    def add(self, rows: int) -> None:
        self.count += rows
        if self._bar is not None:
            self._bar.update(rows)

    def skip(self, rows: int) -> None:
        """Rows that were there already: they do not tell how long the others take."""
        self.count += rows
        if self._bar is not None:
            self._bar.initial += rows
            self._bar.n += rows
            self._bar.refresh()

    def back(self, count: int) -> None:
        if self._bar is not None:
            self._bar.n -= self.count - count
            self._bar.refresh()
        self.count = count

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
