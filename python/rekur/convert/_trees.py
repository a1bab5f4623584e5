"""Nested dicts of arrays: parameters as flax and Haiku keep them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rekur.convert._dialects import as_floats
from rekur.convert._parts import Made, Part
from rekur.convert._recurrent import _label, single

_DEEPEST = 100  # levels of a tree that are looked at


def is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype") and not isinstance(value, Mapping)


def nodes(tree: Mapping[Any, Any], place: str = "", depth: int = 0) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """The tree and all trees within, each before its own, with their places: ``"encoder.cell"``.

    Raises
    ------
    ValueError
        If it is nested too deeply.
    """
    if depth > _DEEPEST:
        raise ValueError(f"the tree is nested more than {_DEEPEST} levels deep")
    yield place, tree
    for name, child in tree.items():
        if isinstance(child, Mapping):
            yield from nodes(child, f"{place}.{name}" if place else str(name), depth + 1)


def dense(name: str, kernel: Any, bias: Any, what: str) -> Part:
    """A Dense layer of a kernel (in, out)."""
    from rekur.layers import Dense

    arrays = [as_floats(array, f"{what}: '{name}'") for array in (kernel, bias) if array is not None]
    if arrays[0].ndim != 2 or (bias is not None and arrays[1].shape != arrays[0].shape[1:]):
        raise ValueError(
            f"{what}: '{name}': expected a matrix and a bias of its columns, got {[a.shape for a in arrays]}"
        )
    features, units = arrays[0].shape
    words = f"Dense, {features} → {units}"
    return single(name, words, lambda label: Dense(units, use_bias=bias is not None, name=label), arrays, features)


def embedding(name: str, table: Any, what: str) -> Part:
    from rekur.layers import Embedding

    array = as_floats(table, f"{what}: '{name}'")
    if array.ndim != 2:
        raise ValueError(f"{what}: '{name}': expected a table of two axes, got shape {array.shape}")
    words = f"Embedding, {array.shape[0]} of {array.shape[1]}"
    return Part(name, words, lambda: [(Embedding(*array.shape, name=_label(name)), [array])], None, ids=True)


def layer_norm(name: str, scale: Any, offset: Any, what: str, epsilon: str) -> Part:
    """Normalisation over the last axis, whose epsilon the caller says by the option of that name."""
    from rekur.layers import LayerNormalization

    arrays = [as_floats(a, f"{what}: '{name}'") for a in (scale, offset) if a is not None]
    features = arrays[0].size

    def make(**given: float) -> list[Made]:
        if epsilon not in given:
            raise ValueError(
                f"{what}: '{name}': the weights of a LayerNorm do not say its {epsilon}: give ('{name}', "
                f"{{'{epsilon}': …}}) in layers"
            )
        layer = LayerNormalization(
            epsilon=given[epsilon], scale=scale is not None, center=offset is not None, name=_label(name)
        )
        return [(layer, arrays)]

    return Part(name, f"LayerNorm, {features}", make, features, (epsilon,))


def unknown(name: str, tree: Mapping[Any, Any], what: str) -> Part:
    """A part that can be left out and not be used."""
    listed = ", ".join(f"{leaf} {np.shape(array)}" for leaf, array in tree.items() if is_array(array))

    def make() -> list[Made]:
        raise ValueError(f"{what}: '{name}' is no layer that is known here: it has {listed}")

    return Part(name, f"unknown: {listed}", make, None)


def paired(parts: Mapping[str, Part], make_pair: Callable[[Sequence[str]], Part]) -> dict[str, Part]:
    """Parts of one direction with an option ``backward``: the part that reads the rows from their ends beside it."""

    def with_option(part: Part) -> Part:
        def make(backward: str | None = None, **given: Any) -> list[Made]:
            if backward is None:
                return part.make(**given)
            return make_pair([part.name, backward]).make(**given)

        # Two directions: the last step of the outputs is not the last state of both.
        return Part(part.name, part.words, make, part.features, (*part.options, "backward"), part.sequence, 2)

    return {name: with_option(part) if part.sequence else part for name, part in parts.items()}
