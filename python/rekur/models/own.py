"""Models of one's own: ``call`` is run once, with symbolic inputs, and what it calls is the model's graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rekur import _structure
from rekur._validate import Shape, as_numeric
from rekur.layers.added import collecting
from rekur.layers.base import Layer
from rekur.layers.inputs import InputLayer
from rekur.layers.own import further
from rekur.layers.symbolic import SymbolicTensor, next_serial
from rekur.models.graph import collect, cut

if TYPE_CHECKING:
    from rekur.models.model import Model
    from rekur.models.structure import Structure


def tracked(value: Any, seen: set[int] | None = None) -> Iterator[Any]:
    """The layers and models among the attributes of a model, in the order in which they were set, as Keras tracks
    them.
    """
    from rekur.models.structure import Structure

    seen = set() if seen is None else seen
    for name, entry in vars(value).items():
        if name in _OURS:
            continue
        for leaf in _structure.flatten(entry):
            if isinstance(leaf, (Layer, Structure)) and id(leaf) not in seen:
                seen.add(id(leaf))
                yield leaf


# What rekur itself keeps in a model.
_OURS = frozenset(
    ("_graph", "_names", "_order", "_calls", "_inputs", "_outputs", "_cuts", "_before", "_taken_apart", "_history")
)


def trace_data(model: Model, x: object) -> None:
    """Trace for data of this shape: time steps may change from call to call where the model allows it."""
    whole = x if isinstance(x, (Mapping, tuple)) else _listed(x)
    arrays = _structure.mapped(lambda leaf: as_numeric(leaf, "x"), whole)
    wide = _structure.mapped(lambda array: _described(array, True), arrays)
    narrow = _structure.mapped(lambda array: _described(array, False), arrays)
    try:
        trace(model, wide)
    except (TypeError, ValueError, NotImplementedError):
        if wide == narrow:
            raise
        trace(model, narrow)


def _listed(x: object) -> Any:
    """Several arrays as a list of them; one array, or a list of numbers, as an array."""
    if isinstance(x, list) and x and all(hasattr(entry, "__array__") for entry in x):
        return list(x)
    return np.asarray(as_numeric(x, "x"))


def _described(array: Any, free: bool) -> tuple[Shape, str]:
    """(shape without the batch, dtype); ``free``: with any number of time steps, whole numbers as ids."""
    shape = tuple(array.shape[1:])
    ids = array.dtype.kind in "iub" and len(shape) == 1
    if not free:
        return shape, "float32"
    if ids:
        return (None,), "int32"
    return ((None, *shape[1:]) if len(shape) > 1 else shape), "float32"


def trace(model: Model, described: Any) -> None:
    """Run the model's call for inputs so described and take what it makes for the model's graph."""
    before = next_serial()  # later calls are above it
    entrances = [
        InputLayer(shape, dtype=dtype, name=name).tensor
        for (shape, dtype), name in zip(_pairs(described), _names(described), strict=True)
    ]
    given = _rebuilt(described, iter(entrances))
    call: Any = model.call
    try:
        _build(model, described)
        with collecting() as ends:
            returned = call(given, **further(call, {}))
        parts = returned.items() if isinstance(returned, Mapping) else ()
        outputs = [named(part, str(key)) for key, part in parts] or [returned]
        outputs = _structure.flatten(outputs)
        for leaf in outputs:
            if not isinstance(leaf, SymbolicTensor):
                raise TypeError(f"{model._whose()}: call must return what it made of its inputs, got {leaf!r}")
        _adopt(model, entrances, outputs, ends)
    except Exception:
        _undo(model, before)
        raise


def _build(model: Model, described: Any) -> None:
    """Call a ``build`` of the model's own class, as Keras does before the first call."""
    from rekur.models.model import Model  # which this module is a part of

    if type(model).build is Model.build or model._said_built:
        return
    shapes = _rebuilt(described, iter([(None, *shape) for shape, _ in _pairs(described)]))
    vars(model)["_in_build"] = True
    try:
        model.build(shapes)
    finally:
        del vars(model)["_in_build"]
    vars(model)["_said_built"] = True


def named(tensor: Any, name: str) -> Any:
    """A tensor as an output of that name."""
    if not isinstance(tensor, SymbolicTensor) or tensor.name == name:
        return tensor
    from rekur.layers.core import Activation

    return Activation("linear", name=name)(tensor)


def _is_description(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], tuple) and isinstance(value[1], str)


def _pairs(described: Any) -> list[tuple[Shape, str]]:
    if _is_description(described):
        return [described]
    parts = described.values() if isinstance(described, Mapping) else described
    return [pair for part in parts for pair in _pairs(part)]


def _names(described: Any) -> list[str]:
    if _is_description(described):
        return ["input"]
    if isinstance(described, Mapping):
        return [str(name) for name in described]
    count = len(_pairs(described))
    return ["input", *(f"input_{k}" for k in range(1, count))]


def _rebuilt(described: Any, tensors: Iterator[Any]) -> Any:
    if _is_description(described):
        return next(tensors)
    if isinstance(described, Mapping):
        return {key: _rebuilt(part, tensors) for key, part in described.items()}
    return type(described)(_rebuilt(part, tensors) for part in described)


def _adopt(
    model: Model, entrances: list[SymbolicTensor], outputs: list[SymbolicTensor], ends: list[SymbolicTensor]
) -> None:
    same = {t for t in outputs if outputs.count(t) > 1 or t in entrances}
    if same:
        from rekur.layers.core import Activation

        outputs = [Activation("linear", name=f"output_{k}")(t) if t in same else t for k, t in enumerate(outputs)]
    model._inputs, model._cuts = cut(entrances)
    model._outputs = outputs
    members, model._order = collect(model._inputs, outputs, model._cuts, ends)
    first = [member for member in tracked(model) if member in members]
    rest = [member for member in members if member not in first]
    model._graph = [*(m for m in rest if isinstance(m, InputLayer)), *first]
    model._graph += [m for m in rest if not isinstance(m, InputLayer)]
    model._names = {}
    model._adopt(sorted(model._graph, key=lambda member: member._calls[0].serial))
    try:
        model._build()
    except ValueError:
        model._forget_homes()
        model._clear()
        raise


def _undo(model: Structure, before: int) -> None:
    """As if the calls since then had not been."""
    for member in tracked(model):
        while member._calls and member._calls[-1].serial > before:
            member._disconnect()
    model._clear()
