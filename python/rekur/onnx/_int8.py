"""Weights of eight bits as the engine has them: integers of −127 to 127, and a scale for all that one sum multiplies.

The scale has 16 bits of precision, so that integer times scale is a float32 exactly: what a file has as integers and
scales are the weights themselves, and rounding them again gives the same integers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
MOST = 127  # of an integer's magnitude


def scales_of(largest: Floats) -> Floats:
    """The scales of columns whose largest magnitudes these are."""
    bits = (largest.astype(np.float32) / np.float32(MOST)).view(np.uint32)
    result: Floats = ((bits + np.uint32(0xFF)) & np.uint32(0xFFFFFF00)).view(np.float32)
    return result


def integers_of(array: Floats, summed: tuple[int, ...]) -> tuple[NDArray[np.int8], Floats]:
    """The integers, and the scales of the same rank.

    summed: the axes that a sum runs over.
    """
    scale = scales_of(np.ascontiguousarray(np.abs(array).max(axis=summed, keepdims=True, initial=0.0)))
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient = np.where(scale > 0, array / scale, np.float32(0))
    return np.clip(np.rint(quotient), -MOST, MOST).astype(np.int8), scale


def rounded(array: Floats, summed: tuple[int, ...]) -> Floats:
    """Each weight as the multiple of its scale that stands for it."""
    numbers, scale = integers_of(array, summed)
    result: Floats = numbers.astype(np.float32) * scale
    return result


def floating(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The same model with all products in float32."""
    copy: dict[str, Any] = json.loads(json.dumps(spec))
    for layer in copy["layers"]:
        layer.pop("precision", None)
        if isinstance(layer.get("layer"), dict):
            layer["layer"].pop("precision", None)
    return copy


def has_precision(spec: Mapping[str, Any], precision: str) -> bool:
    """Whether a layer says this precision."""
    inner = [layer.get("layer") for layer in spec["layers"]]
    both = [*spec["layers"], *(one for one in inner if isinstance(one, dict))]
    return any(layer.get("precision") == precision for layer in both)


def matrices(spec: Mapping[str, Any]) -> frozenset[str]:
    """The parameters that the engine has in eight bits, by name."""
    if not has_precision(spec, "int8"):
        return frozenset()
    from rekur import _core
    from rekur._spec import dumps

    return frozenset(_core.Model(dumps(dict(spec))).int8_matrices)


def round_matrices(weights: Mapping[str, NDArray[Any]], names: frozenset[str]) -> dict[str, NDArray[Any]]:
    """The parameters, those of these names rounded: by the columns of their last axis."""
    return {
        name: rounded(np.asarray(array, np.float32), tuple(range(np.ndim(array) - 1))) if name in names else array
        for name, array in weights.items()
    }
