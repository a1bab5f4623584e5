"""What headers written of a model have in common: whose model it is, numbers as text, lines that are full."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rekur import _core
from rekur._files import check_writable
from rekur._model_files import read_model
from rekur._validate import HEADER, check_suffix
from rekur.models import Model

COLUMNS = 120


def engine_and_target(model: object, path: str | os.PathLike[str], what: str) -> tuple[_core.Model, Path]:
    """The engine's model of a model or of its file, and where its header goes."""
    target = Path(check_suffix(path, what, HEADER))
    check_writable(target)
    if isinstance(model, Model):
        return model._engine(), target
    if isinstance(model, (str, os.PathLike)):
        source = os.fspath(model)
        engine = read_model(source)[0]
        if target.exists() and target.samefile(source):
            raise ValueError(f"{what}: '{target}' is the model itself; give the header another name")
        return engine, target
    raise TypeError(f"{what}: expected a rekur model or the path of one, got {model!r}")


def literal(value: Any) -> str:
    """Exact: hexadecimal, or the bit pattern of what is no number."""
    value = np.float32(value)
    if not np.isfinite(value):
        return f"bits(0x{int(value.view(np.uint32)):08x}u)"
    mantissa, exponent = float(value).hex().split("p")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}p{int(exponent)}f"


def filled(items: Iterable[str], indent: int = 4) -> Iterator[str]:
    """Lines as full as they may be."""
    start = "\n" + " " * (indent - 1)
    line = start
    for item in items:
        if len(line) + len(item) + 2 > COLUMNS:
            yield line
            line = start
        line += f" {item},"
    yield line + "\n"
