"""Files inside installed packages, found without importing the package and never fetched."""

from __future__ import annotations

import csv
import gzip
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from rekur.data.hourly import MissingData


def packaged(package: str, path: str) -> Path:
    """Path of a file inside an installed package.

    Raises MissingData where the package, or the file in it, is absent. The package is not imported: aeon's own loaders,
    for one, download what they do not find.
    """
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise MissingData(f"this data set comes from the package {package!r}, which is not installed", name=package)
    file = Path(next(iter(found.submodule_search_locations))) / path
    if not file.exists():
        raise MissingData(f"the installed package {package!r} has no {path!r}", name=package)
    return file


def rows(file: Path) -> Iterator[list[str]]:
    """Rows of a CSV file, plain or gzipped, without its header."""
    with gzip.open(file, "rt", encoding="utf-8") if file.suffix == ".gz" else file.open(encoding="utf-8") as stream:
        reader = csv.reader(stream)
        next(reader)
        yield from reader
