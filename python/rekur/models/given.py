"""Weights that come from elsewhere: nothing is drawn for a layer that gets all of its own, and all are set at once."""

from collections.abc import Iterable, Sequence
from typing import Any

from rekur._validate import Floats
from rekur.layers.base import Layer
from rekur.models.structure import Structure


def give(weights: Iterable[tuple[Layer, Sequence[Any]]]) -> None:
    """Set the weights of layers, of one model or of models within.

    As ``set_weights`` of each, which would copy all of its model's weights for every layer. Layers of a model whose
    weights are not drawn yet are not drawn.

    Parameters
    ----------
    weights : pairs of a layer and its arrays in the order of ``get_weights``

    Raises
    ------
    ValueError
        If their number or a shape is wrong; nothing is changed then.
    """
    pairs = list(weights)
    for layer, _ in pairs:
        layer._drawn = False
    try:
        found: dict[Structure, dict[str, Floats]] = {}
        for layer, arrays in pairs:
            home = layer._owner()
            found.setdefault(home, {}).update(home._checked(arrays, layer._engine_names(), repr(layer)))
        for home, named in found.items():
            home._assign(named)
    finally:
        for layer, _ in pairs:
            vars(layer).pop("_drawn", None)
