"""Layers and models as plain data, made again of it, and cloned: get_config, from_config, JSON, clone_model."""

from __future__ import annotations

import copy
import json
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rekur import _structure
from rekur._spec import Signal
from rekur._validate import did_you_mean
from rekur.layers.added import ends_of
from rekur.layers.base import Layer
from rekur.layers.inputs import InputLayer
from rekur.layers.symbolic import SymbolicTensor

if TYPE_CHECKING:
    from rekur.models.model import Model

Config = dict[str, Any]


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Where a description is read: what it lacks is a ValueError. Errors of one's own classes stay what they are."""
    try:
        yield
    except (KeyError, IndexError, AttributeError) as error:
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        if f"{frame.f_globals.get('__name__')}".partition(".")[0] != "rekur":
            raise
        found = f"there is no {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{what}: not what get_config or to_json gave: {found}") from error


def serialize(member: Any) -> Config:
    """A layer or model by its class and what :meth:`get_config` gives."""
    kind = type(member)
    name = "RNN" if kind.__name__ in ("CellRNN", "StackedRNN") else kind.__name__
    ours = kind.__module__.partition(".")[0] == "rekur"
    return {"module": "rekur.layers" if ours else kind.__module__, "class_name": name, "config": member.get_config()}


def deserialize(config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The layer or model of :func:`serialize`, or of Keras's description of one.

    Raises
    ------
    ValueError
        For a class that is neither rekur's nor among ``custom_objects``.
    """
    if not isinstance(config, Mapping) or not {"class_name", "config"} <= config.keys():
        raise ValueError(f"expected a dict with class_name and config, got {config!r}")
    name, custom = config["class_name"], dict(custom_objects or {})
    kind = custom.get(name) or _class_named(name)
    if kind is None:
        known = [*custom, *_layer_names()]
        raise ValueError(f"no layer or model '{name}'{did_you_mean(name, known)}; custom_objects= takes your own")
    inner = dict(config["config"])
    if f"{config.get('module') or ''}".startswith("keras"):
        from rekur._keras.configs import plain

        inner = plain(inner, name)
    from rekur.models.structure import Structure

    if issubclass(kind, Structure) and not kind._open:
        return kind.from_config(inner, custom)
    return kind.from_config(_opened(inner, custom))


def _opened(value: Any, custom: Mapping[str, Any]) -> Any:
    """Layers within a layer's config, made."""
    if isinstance(value, Mapping):
        if {"class_name", "config"} <= value.keys():
            return deserialize(value, custom)
        return {key: _opened(entry, custom) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_opened(entry, custom) for entry in value]
    return value


def _layer_names() -> list[str]:
    from rekur import layers

    return [name for name in layers.__all__ if name[0].isupper()]


def _class_named(name: str) -> Any:
    from rekur import layers, models

    if name in ("Functional", "Model"):
        return models.Model
    if name == "Sequential":
        return models.Sequential
    if name == "InputLayer":
        return InputLayer
    return getattr(layers, name) if name in _layer_names() else layers.TYPES.get(name)


def functional_config(model: Model) -> Config:
    """Layers, with the calls of each, and where the model begins and ends.

    A call is a list of ``[layer, number of its call, number of the output]``, as in Keras 2.
    """
    places: dict[SymbolicTensor, list[Any]] = {}
    nodes: dict[Any, list[Any]] = {member: [] for member in model._graph}
    for call in model._order:
        listed = nodes[call.layer]
        for tensor in call.outputs:
            places[tensor] = [model._names[call.layer], len(listed), tensor.index]
        given = [places[model._cuts.get(t, t)] for t in call.inputs]
        if isinstance(call.layer, InputLayer):
            listed.append([])
        else:
            listed.append(given)
    layers = []
    for member in model._graph:
        entry = serialize(member)
        entry["config"]["name"] = entry["name"] = model._names[member]
        entry["inbound_nodes"] = [] if isinstance(member, InputLayer) else nodes[member]
        layers.append(entry)
    return {
        "name": model.name,
        "trainable": model.trainable,
        **model._signal.said(),
        "layers": layers,
        "input_layers": [[model._names[t.layer], 0, 0] for t in model._inputs],
        "output_layers": [places[model._cuts.get(t, t)] for t in model._outputs],
        **({"added_losses": [places[t] for t in ends]} if (ends := ends_of(model._order)) else {}),
    }


def functional_of(config: Mapping[str, Any], custom: Mapping[str, Any] | None) -> Model:
    """The model of :func:`functional_config`."""
    with reading("from_config"):
        return _functional_of(config, custom)


def _functional_of(config: Mapping[str, Any], custom: Mapping[str, Any] | None) -> Model:
    from rekur.models.model import Model

    members: dict[str, Any] = {}
    waiting: list[tuple[str, int, Any]] = []
    tensors: dict[tuple[str, int, int], SymbolicTensor] = {}
    for entry in config["layers"]:
        name = entry["name"] if "name" in entry else entry["config"]["name"]
        member = members[name] = deserialize(entry, custom)
        if isinstance(member, InputLayer):
            tensors[name, 0, 0] = member.tensor
        waiting += [(name, k, node) for k, node in enumerate(entry["inbound_nodes"])]
    while waiting:
        left = []
        for name, number, node in waiting:
            made = None
            if not number or (name, number - 1, 0) in tensors:
                made = _called(members[name], node, tensors)
            if made is None:
                left.append((name, number, node))
                continue
            for k, tensor in enumerate(_structure.flatten(made)):
                tensors[name, number, k] = tensor
        if len(left) == len(waiting):
            raise ValueError(
                f"from_config: the calls of {', '.join(name for name, *_ in left)} read what nothing gives"
            )
        waiting = left
    begins, ends = (
        [tensors[str(name), int(node), int(index)] for name, node, index in _places(config[key])]
        for key in ("input_layers", "output_layers")
    )
    made_model = Model(begins, ends, name=config.get("name"))
    if added := _places(config.get("added_losses", ())):
        made_model._take_ends([tensors[str(name), int(node), int(index)] for name, node, index in added])
    made_model._set_signal(Signal.of(config))
    if config.get("trainable") is False:
        made_model.trainable = False
    return made_model


def _called(member: Any, node: Any, tensors: Mapping[tuple[str, int, int], SymbolicTensor]) -> Any:
    """What a call gives; None where not all that it reads is there yet."""
    theirs = isinstance(node, Mapping)  # Keras 3: the arguments of the call
    if theirs:
        from rekur._keras.configs import places_of, with_tensors

        given = places_of([node["args"], node["kwargs"]])
    else:
        given = node
    places = [(str(name), int(number), int(index)) for name, number, index in given]
    if not all(place in tensors for place in places):
        return None
    if not theirs:
        return member._connect([tensors[place] for place in places])
    idle = {"training": (None, False), "mask": (None,)}
    options = {k: v for k, v in node["kwargs"].items() if v is not None and v not in idle.get(k, ())}
    return member(*with_tensors(node["args"], tensors), **with_tensors(options, tensors))


def _places(given: Any) -> list[Any]:
    """Keras writes a single place without a list around it."""
    return [given] if given and isinstance(given[0], str) else list(given)


def to_json(model: Model, **options: Any) -> str:
    entry = serialize(model)
    entry["class_name"] = "Functional" if entry["class_name"] == "Model" else entry["class_name"]
    if (compiled := model.get_compile_config()) is not None:
        entry["compile_config"] = compiled

    def refuse(value: Any) -> Any:
        if hasattr(value, "tolist"):
            return value.tolist()
        raise TypeError(
            f"to_json: model '{model.name}' holds {value!r}, which is no data; model.save keeps what it does"
        )

    return json.dumps(entry, default=refuse, **options)


def model_from_json(json_string: str, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """A model, with new weights, of what ``to_json`` gave; also of that of a model of Keras.

    Parameters
    ----------
    json_string : str
    custom_objects : dict, optional
        Classes of your own by name.

    Returns
    -------
    Model
        Compiled, where the model was and all that it was compiled with is data.

    Raises
    ------
    ValueError
        For a class or an argument that there is not here, by name, and for what is no such text.
    """
    try:
        entry = json.loads(json_string)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"model_from_json: expected the JSON text of a model, got {json_string[:40]!r}: {error}"
        ) from None
    with reading("model_from_json"):
        model = deserialize(entry, custom_objects)
    if (compiled := entry.get("compile_config")) and not f"{entry.get('module')}".startswith("keras"):
        model.compile_from_config(compiled)
    return model


def clone_model(
    model: Any,
    input_tensors: Any = None,
    clone_function: Callable[[Any], Any] | None = None,
    call_function: Callable[..., Any] | None = None,
    recursive: bool = False,
) -> Any:
    """A model of new layers of the same settings, with weights of its own, newly drawn.

    Parameters
    ----------
    model : Model or Sequential
    input_tensors : SymbolicTensor, or a list or dict of them, optional
        Where the clone begins; by default at inputs of its own.
    clone_function : callable, optional
        Gives the layer for a layer, of all but inputs; ``lambda layer: layer`` shares it. By default a new one of the
        same settings.
    call_function : callable, optional
        ``call_function(layer, *inputs)`` gives the outputs of a call; by default ``layer(*inputs)``.
    recursive : bool
        Whether ``clone_function`` is asked for the layers of models within, too, instead of for these models.

    Returns
    -------
    Model, or a Sequential of one. Not compiled.

    Raises
    ------
    ValueError
        For a model whose class says in ``call`` what it does and has no ``get_config``.
    """
    from rekur.models.model import Model
    from rekur.models.sequential import Sequential
    from rekur.models.structure import Structure

    if not isinstance(model, Structure):
        raise ValueError(f"clone_model: expected a model, got {model!r}")
    if getattr(model, "_own", False):
        if input_tensors is not None or clone_function is not None:
            raise ValueError(
                f"clone_model: {model!r} is what its class says: it has no clone_function, no input_tensors"
            )
        twin = type(model).from_config(model.get_config())  # type: ignore[attr-defined]
        twin._set_signal(model._signal)
        return twin

    def made_for(member: Any) -> Any:
        if isinstance(member, Structure) and (clone_function is None or recursive):
            return clone_model(member, None, clone_function, call_function, recursive)
        return (_twin if clone_function is None else clone_function)(member)

    assert isinstance(model, Model)
    if isinstance(model, Sequential) and input_tensors is None and call_function is None:
        twins = [made_for(layer) for layer in model.layers]
        entrances = [copy.deepcopy(tensor.layer) for tensor in model._inputs]
        chained = Sequential([*entrances, *twins], name=model.name)
        chained._set_signal(model._signal)
        return chained
    model._engine()
    given = _structure.flatten(input_tensors) if input_tensors is not None else []
    if given and len(given) != len(model._inputs):
        raise ValueError(f"clone_model: expected {len(model._inputs)} input_tensors, got {len(given)}")
    begins = given or [copy.deepcopy(tensor.layer).tensor for tensor in model._inputs]
    tensors: dict[SymbolicTensor, SymbolicTensor] = dict(zip(model._inputs, begins, strict=True))
    clones = {m: made_for(m) for m in model._graph if not isinstance(m, InputLayer)}
    for call in model._order:
        if isinstance(call.layer, InputLayer):
            continue
        inputs = [tensors[model._cuts.get(t, t)] for t in call.inputs]
        twin = clones[call.layer]
        if call_function is not None:
            found = call_function(twin, *inputs)
        elif call.given is not None:  # a layer of one's own, called on more than tensors
            arguments, options = _structure.mapped(
                lambda leaf: tensors.get(leaf, leaf) if _is(leaf) else leaf, call.given
            )
            found = twin(*arguments, **options)
        else:
            found = twin._connect(inputs)
        tensors.update(zip(call.outputs, _structure.flatten(found), strict=True))
    made = Model(begins, [tensors[model._cuts.get(t, t)] for t in model._outputs], name=model.name)
    made._set_signal(model._signal)
    if ends := ends_of(model._order):
        made._take_ends([tensors[t] for t in ends])
    return made


def _is(leaf: Any) -> bool:
    return isinstance(leaf, SymbolicTensor)


def _twin(layer: Layer) -> Layer:
    """A layer of the same settings that was not called."""
    if layer._own and type(layer).get_config is not Layer.get_config:
        return type(layer).from_config(layer.get_config())
    return copy.deepcopy(layer)
