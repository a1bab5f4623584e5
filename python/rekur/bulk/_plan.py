"""The plan of a run: which rows each part is of. It stands in ``_manifest.json`` before the first part is made."""

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rekur._files import write_atomic
from rekur.bulk._source import File, Source

MANIFEST = "_manifest.json"
VERSION = 1


@dataclass
class Unit:
    """What becomes one part: row groups ``first`` to ``end`` of some files, as (file, first, end)."""

    name: str
    spans: list[tuple[int, int, int]]

    @property
    def files(self) -> list[int]:
        return [file for file, _, _ in self.spans]


def units_of(files: list[File], rows: int, whole: bool) -> list[Unit]:
    """Row groups in parts of about so many rows: small files together, large ones in several parts.

    Parameters
    ----------
    whole : bool
        A file is never parted: it is one series.
    """
    made: list[Unit] = []
    gathered: list[int] = []
    count = 0
    for number, file in enumerate(files):
        if file.error is not None or (file.rows > rows and not whole):
            made += _together(files, gathered)
            gathered, count = [], 0
            made += _parted(number, file, rows)
            continue
        if gathered and count + file.rows > rows:
            made += _together(files, gathered)
            gathered, count = [], 0
        gathered.append(number)
        count += file.rows
    return made + _together(files, gathered)


def _together(files: list[File], gathered: list[int]) -> list[Unit]:
    if not gathered:
        return []
    return [Unit(_name(gathered[0], 0), [(number, 0, len(files[number].groups)) for number in gathered])]


def _parted(number: int, file: File, rows: int) -> list[Unit]:
    """The units of one file; of one that cannot be read a single one, which waits."""
    bounds, count = [0], 0
    for place, size in enumerate(file.groups):
        if count and count + size > rows:
            bounds.append(place)
            count = 0
        count += size
    bounds.append(len(file.groups))
    pairs = itertools.pairwise(bounds)
    return [Unit(_name(number, n), [(number, first, end)]) for n, (first, end) in enumerate(pairs)]


def _name(file: int, part: int) -> str:
    return f"part-{file:06d}-{part:04d}.parquet"


@dataclass
class Plan:
    """What a folder is of: a model, files, settings; and its units in the order of the rows."""

    model: dict[str, Any]
    settings: dict[str, Any]
    files: list[dict[str, Any]]
    units: list[Unit]

    def state(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "model": self.model,
            "settings": self.settings,
            "files": self.files,
            "units": [{"name": unit.name, "row_groups": [list(span) for span in unit.spans]} for unit in self.units],
        }

    def write(self, folder: Path) -> None:
        text = json.dumps(self.state(), indent=1, ensure_ascii=False)
        write_atomic(folder / MANIFEST, (text + "\n").encode())

    @classmethod
    def read(cls, folder: Path) -> "Plan | None":
        """The plan of an earlier run; None if there is none.

        Raises
        ------
        ValueError
            If it is of a newer version, or no plan.
        """
        path = folder / MANIFEST
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise ValueError(f"'{path}' is no plan of a run: {error}; --overwrite begins anew") from None
        try:
            if found["version"] > VERSION:
                raise ValueError(f"'{path}' is of version {found['version']}; this rekur reads up to {VERSION}")
            units = [
                Unit(unit["name"], [(int(file), int(first), int(end)) for file, first, end in unit["row_groups"]])
                for unit in found["units"]
            ]
            return cls(dict(found["model"]), dict(found["settings"]), list(found["files"]), units)
        except (KeyError, TypeError) as error:
            raise ValueError(f"'{path}' is no plan of a run: {error!r}; --overwrite begins anew") from None

    @classmethod
    def make(cls, model: dict[str, Any], settings: dict[str, Any], source: Source, rows: int, whole: bool) -> "Plan":
        units = units_of(source.files, rows, whole)
        return cls(model, settings, [_described(file) for file in source.files], units)

    def go_on(self, now: "Plan", source: Source, done: Mapping[str, Any], folder: Path) -> None:
        """Take over what is new about files that no finished part is of.

        Parameters
        ----------
        now : Plan
            What would be planned now.
        done : dict
            The finished parts by name.

        Raises
        ------
        ValueError
            If the model, the settings or files of finished parts are others, by name.
        """
        what = f"'{folder}' holds predictions "
        advice = ": name another folder, or replace them by overwrite"
        if self.model != now.model:
            changed = [name for name in now.model if self.model.get(name) != now.model[name]]
            if changed == ["rekur"]:
                raise ValueError(f"{what}by rekur {self.model['rekur']}, this is {now.model['rekur']}{advice}")
            raise ValueError(
                f"{what}of another model ({self.model.get('kind')}, {str(self.model.get('sha256'))[:12]}; this is "
                f"{now.model['kind']}, {now.model['sha256'][:12]}){advice}"
            )
        for name, value in now.settings.items():
            if (old := self.settings.get(name)) != value:
                raise ValueError(f"{what}with {name}={old!r}, this is {name}={value!r}{advice}")
        old_names, names = [file["name"] for file in self.files], [file["name"] for file in now.files]
        if old_names != names:
            changes = [f"'{name}' is new" for name in names if name not in old_names]
            changes += [f"'{name}' is gone" for name in old_names if name not in names]
            shown = ", ".join(changes[:5] or ["their order is another"]) + (", …" if len(changes) > 5 else "")
            raise ValueError(f"{what}of other files ({shown}){advice}")
        for number, (old_file, file) in enumerate(zip(self.files, now.files, strict=True)):
            if old_file == file:
                continue
            of = [unit for unit in self.units if number in unit.files]
            if finished := next((unit.name for unit in of if unit.name in done), None):
                raise ValueError(f"'{file['name']}' has changed since {finished} in '{folder}' was made of it{advice}")
            self._plan_again(number, source.files[number], of)
            self.files[number] = file

    def _plan_again(self, number: int, file: File, of: list[Unit]) -> None:
        if len(of) == 1 and len(of[0].spans) > 1:
            end = len(file.groups)
            of[0].spans = [(n, first, end if n == number else last) for n, first, last in of[0].spans]
            return
        place = next(n for n, unit in enumerate(self.units) if unit is of[0])
        if self.settings["whole_files"]:
            fresh = [Unit(_name(number, 0), [(number, 0, len(file.groups))])]
        else:
            fresh = _parted(number, file, int(self.settings["unit_rows"]))
        self.units[place : place + len(of)] = fresh


def _described(file: File) -> dict[str, Any]:
    found: dict[str, Any] = {"name": file.name, "identity": file.identity, "rows": file.rows}
    if file.error is not None:
        found["error"] = file.error
    return found
