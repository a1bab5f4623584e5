"""Layers whose products are of eight bits: which there are, how a model gets them, what each costs."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from rekur import _core
from rekur._validate import did_you_mean
from rekur.layers.base import Layer
from rekur.layers.bidirectional import Bidirectional
from rekur.layers.parts import layers_within, leaves, parts_of
from rekur.models import Model


def candidates(model: Model) -> dict[str, Any]:
    """The engine's layers that may be of eight bits, by name."""
    return {name: layer for layer, name in model._flat().layers.items() if layer._narrowed() is not None}


def check_homes(model: Model) -> None:
    """Raises ValueError where another model has the weights of a layer."""
    homes = [model, *_models_within(model)]
    for layer in candidates(model).values():
        if layer._home is not None and layer._home not in homes:
            raise ValueError(
                f"quantize: {layer!r} became part of model '{layer._home.name}' before it did of '{model.name}': "
                "quantize that one, or take rekur.quantize(model), which makes a copy"
            )


def _unrounded(precision: str | None) -> str | None:
    """What a layer computes in that is not of eight bits: its own precision, if that is another one."""
    return None if precision == "int8" else precision


def set_precision(model: Model, names: Collection[str]) -> None:
    """Layers of these names of the engine compute in eight bits, the others that could no longer do. Weights stay."""
    before = {name: layer._narrowed().precision for name, layer in candidates(model).items()}
    after = {name: "int8" if name in names else _unrounded(precision) for name, precision in before.items()}
    if before == after:
        return
    for name, layer in candidates(model).items():
        vars(layer._narrowed())["precision"] = after[name]
    for layer in layers_within(model):
        if isinstance(layer, Bidirectional) and layer._parts is not None:
            found = {inner.precision for part in leaves(layer) if (inner := part._narrowed()) is not None}
            one = found.pop() if len(found) == 1 else None
            for direction in (layer._inner, layer._backward):  # a layer made of this one's settings has it too
                if direction is not None and direction._narrows:
                    vars(direction)["precision"] = one
    for inner in _models_within(model):
        _make_anew(inner)
    _make_anew(model)


def _models_within(graph: Any) -> Iterator[Any]:
    """Models within a model, the innermost first."""
    for member in graph._graph:
        inside = parts_of(member)
        if inside is not None:
            yield from _models_within(inside)
        if not isinstance(member, Layer):
            yield member


def _make_anew(model: Any) -> None:
    """The engine's model, with the weights there are and the precision that its layers have now.

    Models within come first: what they share is the weights of the engine's model around them, still the one before.
    """
    native = model._native
    if native is None:  # a model within, which has the weights of the one around it
        model._engine()
        return
    model._native, model._before = None, (native, dict(model._flat().layers))
    try:
        model._build()
    except Exception:
        model._native = native
        raise


def by_layer(engine: Any) -> dict[str, list[str]]:
    """Names of the matrices that products of eight bits read, by layer."""
    found: dict[str, list[str]] = {}
    for name in engine.int8_matrices:
        found.setdefault(name.partition("/")[0], []).append(name)
    return found


def select(names: Collection[str], keep: Any) -> set[str]:
    """The layers that ``keep`` names: each by its name, or all of a model within by that one's."""
    if isinstance(keep, str) or not hasattr(keep, "__iter__"):
        raise TypeError(f"quantize: keep: expected a list of layers' names, got {keep!r}")
    kept: set[str] = set()
    for given in keep:
        found = {name for name in names if name == given or name.startswith(f"{given}.")}
        if not found:
            raise ValueError(f"quantize: keep: the model has no layer {given!r}{did_you_mean(str(given), names)}")
        kept |= found
    return kept


def floats(model: Model, kept: Collection[str], costly: Mapping[str, float]) -> dict[str, str]:
    """The matrices that are not of eight bits, and why."""
    engine = model._engine()
    shapes = {name: shape for name, shape, _ in engine.parameters}
    layers = {name: layer for layer, name in model._flat().layers.items()}
    found = {}
    for name in engine.matrices:
        if name in engine.int8_matrices:
            continue
        owner = name.partition("/")[0]
        layer = layers[owner]
        if owner in kept:
            found[name] = "kept"
        elif owner in costly:
            found[name] = f"costs {costly[owner]:.3g} of the output's range"
        elif layer._narrowed() is None:
            found[name] = f"{layer.type} computes in float32"
        else:
            rows, columns = _matrix(shapes[name])
            few = layer.type == "Dense" and _core.few_outputs(rows, columns)
            found[name] = f"{'few outputs' if few else 'small'}: {rows} x {columns}"
    return found


def _matrix(shape: tuple[int, ...]) -> tuple[int, int]:
    rows = 1
    for n in shape[:-1]:
        rows *= n
    return rows, shape[-1]
