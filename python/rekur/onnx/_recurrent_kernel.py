"""The recurrent kernel of all products of a cell (H, R·H), from its parameters: where the cell has matrices of its own,
or heads, that is not one of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]


def plain(cell: Mapping[str, Any]) -> bool:
    """Whether it is the parameter of that name."""
    return "matrices" not in cell and "heads" not in cell


def recurrent_shapes(cell: Mapping[str, Any], units: int, width: int) -> dict[str, tuple[int, ...]]:
    """The parameters that it is made of; width: of the output, which is multiplied."""
    own = sum(len(product) == 2 for product in cell["recurrent"])
    shapes: dict[str, tuple[int, ...]] = {}
    if own:
        shapes["recurrent_kernel"] = (units // cell["heads"] if "heads" in cell else width, own * units)
    return {**shapes, **{matrix["name"]: (units, units) for matrix in cell.get("matrices", ())}}


def joined(cell: Mapping[str, Any], units: int, parameters: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """The kernel of the products in their order."""
    if plain(cell):
        return parameters["recurrent_kernel"]
    blocks, heads, place = [], cell.get("heads", 1), 0
    size = units // heads
    for product in cell["recurrent"]:
        if len(product) == 3:
            blocks.append(parameters[product[2]])
            continue
        block = np.zeros((units, units), np.float32)
        for head in range(heads):
            begin, end = head * size, (head + 1) * size
            columns = slice(place * units + begin, place * units + end)
            block[begin:end, begin:end] = parameters["recurrent_kernel"][:, columns]
        blocks.append(block)
        place += 1
    return np.concatenate(blocks, axis=-1)


def separated(cell: Mapping[str, Any], units: int, kernel: NDArray[Any]) -> Arrays | None:
    """The parameters of a kernel; None: it is none of such a cell."""
    if plain(cell):
        return {"recurrent_kernel": kernel}
    result = {key: np.zeros(shape, np.float32) for key, shape in recurrent_shapes(cell, units, units).items()}
    heads, place = cell.get("heads", 1), 0
    size = units // heads
    for number, product in enumerate(cell["recurrent"]):
        block = kernel[:, number * units : (number + 1) * units]
        if len(product) == 3:
            result[product[2]][:] = block
            continue
        for head in range(heads):
            begin, end = head * size, (head + 1) * size
            columns = slice(place * units + begin, place * units + end)
            result["recurrent_kernel"][:, columns] = block[begin:end, begin:end]
        place += 1
    return result if np.array_equal(joined(cell, units, result), kernel) else None
