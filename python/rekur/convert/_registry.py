"""What formats there are: each says in one Format, as data, what it is, takes and gives.

A new format is a module of ``_formats`` with a constant ``FORMAT``, and its name in ``_MODULES``. The table in
docs/convert.md is made from these by .ci/convert_table.py.
"""

import functools
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rekur._validate import did_you_mean
from rekur.convert._parts import Part
from rekur.convert._source import Source

# In the order of the table.
_MODULES = (
    "own", "onnx", "keras_files", "torch_state", "torch_module", "flax_trees", "haiku_trees", "equinox_modules",
    "rtneural", "guitarml", "nam", "mlpack", "haste_state", "onednn_arrays", "packed",
)  # fmt: skip


@dataclass(frozen=True)
class Format:
    """A way in which models or weights are written down.

    A format that describes whole models has ``load``; one that has named weights alone has ``parts``, and what is to be
    done with them is asked for (``layers=``).
    """

    name: str  # what ``format=`` calls it
    title: str  # one line of the table: what it is
    given: str  # files and objects that are read, for the table
    recognises: Callable[[Source], bool]  # whether a source is one; cheap, and true for no other format's
    reads: str  # what of it is read, for the table
    writes: str = ""  # what of a model is written, for the table
    suffixes: tuple[str, ...] = ()  # of files that ``save`` writes in this format
    load: Callable[..., Any] | None = None  # (source, **options) -> Model
    parts: Callable[..., dict[str, Part]] | None = None  # (source, **options) -> parts by name
    save: Callable[..., Any] | None = None  # (model, path, **options)
    make: Callable[..., Any] | None = None  # (model, **options) -> object
    info: Callable[[Source], dict[str, Any]] | None = None  # what a file says of itself beside the model
    # Name -> what it decides, for table and errors; None: whatever the function takes, which checks it.
    load_options: Mapping[str, str] | None = field(default_factory=dict)
    save_options: Mapping[str, str] | None = field(default_factory=dict)
    needs: str = ""  # the extra of pyproject.toml, or a package, without which it cannot be read
    checked: str = ""  # against what its tests compare, for the table


@functools.cache
def formats() -> tuple[Format, ...]:
    """All formats, in the order of the table of docs/convert.md."""
    found: list[Format] = []
    for name in _MODULES:
        module = importlib.import_module(f"rekur.convert._formats.{name}")
        found += module.FORMATS if hasattr(module, "FORMATS") else [module.FORMAT]
    return tuple(found)


def named(name: str) -> Format:
    """The format that ``format=`` names."""
    for entry in formats():
        if entry.name == name:
            return entry
    names = [entry.name for entry in formats()]
    raise ValueError(f"format: there is no format {name!r}{did_you_mean(name, names)}")


def by_suffix(path: str) -> Format:
    """The format in which a file of this name is written: that of the longest ending that fits."""
    endings = {suffix: entry for entry in formats() if entry.save for suffix in entry.suffixes}
    for suffix in sorted(endings, key=len, reverse=True):
        if path.lower().endswith(suffix):
            return endings[suffix]
    raise ValueError(f"save: '{path}' has none of the endings {', '.join(sorted(endings))}; give it one, or format=")


def recognised(source: Source) -> Format:
    """The format of a source.

    Raises
    ------
    ValueError
        If it is of none, or may be of several: ``format=`` decides then.
    OSError
        If it is a file that cannot be read.
    """
    source.check_readable()
    found = [entry for entry in formats() if entry.recognises(source)]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(repr(entry.name) for entry in found)
        raise ValueError(f"{source}: this may be {names}, which differ in what the numbers mean: say which by format=")
    raise ValueError(f"{source}: {source.description()}, which is no format known here; docs/convert.md lists them")


def check_options(entry: Format, given: Mapping[str, Any], known: Mapping[str, str] | None, what: str) -> None:
    """Raises TypeError for an option that the format does not have."""
    for key in given if known is not None else ():
        assert known is not None
        if key not in known:
            hint = did_you_mean(key, known) if known else "; it takes none"
            raise TypeError(f"{what}: format {entry.name!r} has no option '{key}'{hint}")
