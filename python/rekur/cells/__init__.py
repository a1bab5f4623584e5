"""Cells for :class:`rekur.layers.RNN`, each a few lines with its equations: ``RNN(rekur.cells.min_gru, 64)``.

A cell is made by :func:`rekur.cell` in one of this package's modules, and that is all there is to adding one.
``__all__`` lists them.
"""

import importlib
import pkgutil
from typing import Any

from rekur._cell import Cell
from rekur._own import no_attribute


def _cells() -> dict[str, Cell]:
    found: dict[str, Cell] = {}
    for module in pkgutil.iter_modules(__path__):
        content = vars(importlib.import_module(f"{__name__}.{module.name}"))
        own = {name: value for name, value in content.items() if isinstance(value, Cell)}
        found.update({name: value for name, value in own.items() if not name.startswith("_")})
    return dict(sorted(found.items()))


_CELLS = _cells()
globals().update(_CELLS)
__all__ = list(_CELLS)


def __getattr__(name: str) -> Any:
    no_attribute(__name__, "cell", name)


def __dir__() -> list[str]:
    return ["Cell", *__all__]
