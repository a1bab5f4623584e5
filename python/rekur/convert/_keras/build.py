"""A model of Keras's description of one. No code of the file is run: what stands for code is named and refused."""

import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rekur.convert._keras.dropping import changes_of, with_mask_of
from rekur.convert._keras.entries import Entry, class_of, ends, is_model, is_operation, shifted, snake, starts_at_1
from rekur.convert._keras.mask_values import history
from rekur.convert._keras.masks import is_mask_key, mask_operations
from rekur.convert._keras.sizes import check_sizes
from rekur.convert._keras.store import Store, read

_RENAMED = {"GroupedQueryAttention": "GroupQueryAttention", "CuDNNLSTM": "LSTM", "CuDNNGRU": "GRU"}
_CUDNN: dict[str, dict[str, Any]] = {
    "CuDNNLSTM": {"recurrent_activation": "sigmoid", "activation": "tanh"},
    "CuDNNGRU": {"recurrent_activation": "sigmoid", "activation": "tanh", "reset_after": True},
}
_IDLE = ("unroll", "implementation", "build_config")
_HALVES = ("float16", "bfloat16", "mixed_float16", "mixed_bfloat16")


class Builder:
    """Makes models of entries, and keeps which layer was made of which entry."""

    def __init__(self, what: str, store: Store | None, custom: Mapping[str, Any] | None) -> None:
        self._what, self._store, self._custom = what, store, dict(custom or {})
        self.made: list[tuple[Entry, Any]] = []  # layers, with weights or without, that are no models
        self._same: dict[str, Any] = {}
        self._told = False
        self._masking: Any = None

    def model(self, entry: Entry) -> Any:
        """A Sequential or a Model.

        Raises
        ------
        ValueError
            For what is not there here, by name.
        """
        if self._masking is None:
            self._masking = changes_of(entry, self._what)
        return (self._sequential if entry["class_name"] == "Sequential" else self._functional)(entry)

    def _sequential(self, entry: Entry) -> Any:
        from rekur.layers import Cropping1D
        from rekur.models import Sequential

        config = entry["config"]
        listed: list[Any] = []
        for inner in config["layers"]:
            if (id(inner), 0) in self._masking:
                listed.append(Cropping1D(0))  # which drops the mask
            listed.append(self._member(inner))
        made = Sequential(listed, name=config.get("name"))
        if not made._is_ready() and (shape := config.get("build_input_shape")) is not None:
            made.build(shape)
        if config.get("trainable") is False:
            made.trainable = False
        return made

    def _functional(self, entry: Entry) -> Any:
        from rekur.models import Model

        config = entry["config"]
        entries = {
            str(inner["name"] if "name" in inner else inner["config"]["name"]): inner for inner in config["layers"]
        }
        masks = mask_operations(entries)
        later = {name for name, inner in entries.items() if starts_at_1(name, inner, entries)}
        members: dict[str, Any] = {}
        tensors: dict[tuple[str, int, int], Any] = {}
        waiting: list[tuple[str, int, Any]] = []
        for name, inner in entries.items():
            if name in masks:
                continue
            member: Any = None if is_operation(inner) else self._member(inner)
            members[name] = member
            if inner["class_name"] == "InputLayer":
                tensors[name, 0, 0] = member.tensor
            waiting += [(name, k, shifted(node, later)) for k, node in enumerate(inner.get("inbound_nodes", ()))]
        while waiting:
            left = []
            for name, number, node in waiting:
                arguments, options = self._call(entries[name], node, entries)
                masking = self._masking.get((id(entries[name]), number), {})
                needed = [*_places((arguments, options)), *(place for place in masking.values() if place is not None)]
                if not all(place in tensors for place in needed):
                    left.append((name, number, node))
                    continue
                changed = {at: with_mask_of(tensors[at], tensors.get(other)) for at, other in masking.items()}
                given = _filled((arguments, options), {**tensors, **changed} if changed else tensors)
                self._connect(name, number, entries[name], members[name], given, tensors)
            if len(left) == len(waiting):
                names = ", ".join(f"'{name}'" for name, *_ in left[:8])
                raise ValueError(f"{self._what}: the calls of {names} read what nothing gives")
            waiting = left
        outer = [_ends(ends(entry, config[key]), tensors, self._what) for key in ("input_layers", "output_layers")]
        made = Model(outer[0], outer[1], name=config.get("name"))
        if config.get("trainable") is False:
            made.trainable = False
        return made

    def _connect(self, name: str, number: int, entry: Entry, member: Any, given: Any, tensors: dict[Any, Any]) -> None:
        from rekur import _structure

        arguments, options = given
        try:
            found = self._operation(entry, arguments, options) if member is None else member(*arguments, **options)
        except (TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{self._what}: the call of '{name}' ({entry['class_name']}): {error}") from None
        for k, tensor in enumerate(_structure.flatten(found)):
            tensors[name, number, k] = tensor

    def _operation(self, entry: Entry, arguments: Sequence[Any], options: Mapping[str, Any]) -> Any:
        """A function of keras.ops on tensors."""
        from rekur import ops

        name = snake(str(entry["class_name"]))
        if name == "get_item":
            x, key = arguments
            return x[tuple(key) if isinstance(key, list) else key]
        if name not in ops.__all__:
            raise ValueError(f"there is no rekur.ops.{name}")
        own = {k: v for k, v in entry["config"].items() if k not in ("name", "dtype") and v is not None}
        return getattr(ops, name)(*arguments, **{**own, **options})

    # Calls: Keras 3 has arguments, Keras 2 a list of places with options behind.

    def _call(self, entry: Entry, node: Any, names: Mapping[str, Entry]) -> tuple[list[Any], dict[str, Any]]:
        legacy = not isinstance(node, Mapping)
        if not legacy:
            arguments, options = list(node.get("args", ())), dict(node.get("kwargs", {}))
        else:
            listed = [node] if node and isinstance(node[0], str) else list(node)
            places = [_Place(str(p[0]), int(p[1]), int(p[2])) for p in listed]
            options = {k: v for p in listed if len(p) > 3 for k, v in p[3].items()}
            several = len(places) > 1 and entry["class_name"] not in _RECURRENT
            arguments = [places if several else places[0]] if places else []
            if len(places) > 1 and not several:
                options["initial_state"] = places[1:]
        options = {k: v for k, v in options.items() if v is not None and not (k == "training" and v is False)}
        for key in [key for key in options if is_mask_key(key)]:
            if legacy:
                layer = entry.get("name") or entry["config"].get("name")
                raise ValueError(
                    f"{self._what}: the call of '{layer}' is given {key}= by hand; here masks come with the tensors, "
                    "from Masking and Embedding(mask_zero=True), or with mask= of predict"
                )
            del options[key]  # changes_of has compared it with the one that comes with the tensors
        return [_plain(value, names) for value in arguments], {
            key: _plain(value, names) for key, value in options.items()
        }

    # Layers.

    def _member(self, entry: Entry) -> Any:
        # What is part of two models within stands in the description twice, and its weights in the file once.
        key = json.dumps(_told_apart(entry), sort_keys=True, default=str)
        if key in self._same and self._store is not None and self._store.lacks(entry):
            return self._same[key]
        member = self._same[key] = self._fresh(entry)
        return member

    def _fresh(self, entry: Entry) -> Any:
        if is_model(entry):
            return self.model(entry)
        from rekur.models.configs import deserialize

        prepared = self._prepared(entry)
        if self._store is not None:
            check_sizes(entry, self._store, self._what)
        made = deserialize(prepared, self._custom)
        made._drawn = self._store is None
        self.made.append((entry, made))
        return made

    def _prepared(self, entry: Entry) -> dict[str, Any]:
        """An entry in the words of rekur, with what is code refused."""
        cls, module = str(entry["class_name"]), f"{entry.get('module') or 'keras'}"
        name = entry["config"].get("name", "")
        own = cls.rpartition(">")[2]
        if own in self._custom:
            config = {k: v for k, v in entry["config"].items() if k not in ("dtype", "quantization_config")}
            return {"class_name": own, "config": config}
        if cls == "InputLayer" and entry["config"].get("dtype") == "bool":
            raise ValueError(
                f"{self._what}: the input '{name}' is of bool, a mask given by hand; here masks come with the tensors, "
                "from Masking and Embedding(mask_zero=True), or with mask= of predict"
            )
        if cls == "Lambda":
            raise ValueError(
                f"{self._what}: layer '{name}' is a Lambda, whose function is Python code, and no code of a file is "
                "run: write the function in rekur.ops, or as a layer of keras.ops in Keras"
            )
        registered = entry.get("registered_name")
        if not module.startswith("keras") or ">" in f"{registered} {cls}":
            raise ValueError(
                f"{self._what}: layer '{name}' is of a class of its author's, {registered or cls} of {module}, and no "
                "code of a file is run: custom_objects={'" + own + "': …} takes a class of rekur layers that does the "
                "same"
            )
        if cls in ("TFOpLambda", "SlicingOpLambda"):
            function = entry["config"].get("function", "slicing")
            raise ValueError(
                f"{self._what}: layer '{name}' is TensorFlow's function {function}, for which there is no layer: save "
                "the model by Keras 3, where it is one of keras.ops"
            )
        # How Keras computes, not what.
        given = {k: v for k, v in entry["config"].items() if k not in _IDLE}
        config = {key: self._value(key, value, name) for key, value in given.items()}
        if cls == "Embedding":
            config.pop("input_length", None)  # the input says it
        if cls in _CUDNN:
            config = {**dict(_CUDNN[cls]), **{k: v for k, v in config.items() if k != "use_bias"}}
        if cls == "Normalization":
            config.update(self._moments(entry, config))
        return {"module": "keras.layers", "class_name": _RENAMED.get(cls, cls), "config": config}

    def _value(self, key: str, value: Any, layer: str) -> Any:
        if key == "dtype":
            return self._dtype(value, layer)
        if isinstance(value, Mapping) and "class_name" in value and "config" in value:
            cls = str(value["class_name"])
            if key in ("layer", "backward_layer", "cell"):
                if is_model(value):
                    raise ValueError(f"{self._what}: layer '{layer}': there is no model within a layer here")
                return self._prepared(value)
            if key.endswith("activation") and cls in ("LeakyReLU", "ELU"):  # layers, which Keras takes there, too
                alpha = value["config"].get("negative_slope" if cls == "LeakyReLU" else "alpha")
                name = "leaky_relu" if cls == "LeakyReLU" else "elu"
                return name if alpha is None else {"name": name, "alpha": float(alpha)}
            if cls == "function" or cls == "__lambda__":
                raise ValueError(
                    f"{self._what}: layer '{layer}': {key} is the function {value['config']!r} of its author's, and no "
                    "code of a file is run"
                )
            kind = next((k for k in ("initializer", "regularizer", "constraint") if key.endswith(k)), None)
            module = f"keras.{kind}s" if kind else value.get("module")
            if value.get("registered_name") and ">" in str(value["registered_name"]):
                raise ValueError(f"{self._what}: layer '{layer}': {key} is of a class of its author's, {cls}")
            return {**value, "module": module, "config": dict(value["config"])}
        if key == "cells":
            return [self._prepared(inner) for inner in value]
        return value

    def _dtype(self, value: Any, layer: str) -> Any:
        name = value["config"].get("name") if isinstance(value, Mapping) else value
        if name in _HALVES or name == "float64":
            if not self._told:
                self._told = True
                warnings.warn(f"{self._what}: layer '{layer}' is of {name}; here it computes in float32", stacklevel=6)
            return "float32"
        return name

    def _moments(self, entry: Entry, config: Mapping[str, Any]) -> dict[str, Any]:
        """Of a Normalization: what it was adapted to are weights in Keras, and constants here."""
        axis = config.get("axis")
        found: dict[str, Any] = {"axis": axis[0] if isinstance(axis, (list, tuple)) and len(axis) == 1 else axis}
        if config.get("mean") is None and self._store is not None:
            arrays = self._store.arrays(entry)
            if len(arrays) >= 2:
                what = f"{self._what}: '{config.get('name')}'"
                mean, variance = (read(array, tuple(array.shape), what) for array in arrays[:2])
                if mean.size > 1 << 24:
                    raise ValueError(f"{what}: a mean of {mean.size} numbers")
                found.update(mean=mean.reshape(-1).tolist(), variance=variance.reshape(-1).tolist())
        return found


def _told_apart(value: Any) -> Any:
    """A description without what differs from one place to another of the same layer."""
    if isinstance(value, Mapping):
        left_out = ("shared_object_id", "build_config", "inbound_nodes", "registered_name")
        return {key: _told_apart(entry) for key, entry in value.items() if key not in left_out}
    return [_told_apart(entry) for entry in value] if isinstance(value, list) else value


_RECURRENT = ("SimpleRNN", "LSTM", "GRU", "RNN", "Bidirectional", "ConvLSTM1D", "ConvLSTM2D", "CuDNNLSTM", "CuDNNGRU")


class _Place(tuple[str, int, int]):
    """Where a tensor comes from: a layer, the number of its call, the number of the output."""

    __slots__ = ()

    def __new__(cls, *parts: Any) -> "_Place":
        return super().__new__(cls, parts)


def _plain(value: Any, names: Mapping[str, Any]) -> Any:
    """A value of a call: tensors as places, Keras's spellings of what JSON lacks as what they are."""
    if isinstance(value, _Place):
        return value
    if isinstance(value, Mapping):
        cls, config = value.get("class_name"), value.get("config", {})
        if cls == "__keras_tensor__":
            name, number, index = config["keras_history"]
            return _Place(str(name), int(number), int(index))
        if cls == "__slice__":
            return slice(config.get("start"), config.get("stop"), config.get("step"))
        if cls == "__ellipsis__":
            return ...
        if cls == "__tuple__":
            return tuple(_plain(v, names) for v in config["value"])
        if cls in ("__numpy__", "__tensor__"):
            return np.asarray(config["value"], config.get("dtype"))
        return {key: _plain(v, names) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        if len(value) in (3, 4) and isinstance(value[0], str) and value[0] in names:  # Keras 2's
            return _Place(value[0], int(value[1]), int(value[2]))
        return [_plain(v, names) for v in value]
    return value


def _places(value: Any) -> list[Any]:
    if isinstance(value, _Place):
        return [value]
    if isinstance(value, Mapping):
        return [place for v in value.values() for place in _places(v)]
    if isinstance(value, (list, tuple)):
        return [place for v in value for place in _places(v)]
    return []


def _filled(value: Any, tensors: Mapping[Any, Any]) -> Any:
    if isinstance(value, _Place):
        return tensors[value]
    if isinstance(value, Mapping):
        return {key: _filled(v, tensors) for key, v in value.items()}
    if isinstance(value, tuple):
        return tuple(_filled(v, tensors) for v in value)
    return [_filled(v, tensors) for v in value] if isinstance(value, list) else value


def _ends(given: Any, tensors: Mapping[Any, Any], what: str) -> Any:
    """Inputs or outputs of a model; one without a list around it is Keras's spelling."""
    if isinstance(given, Mapping):
        return {key: _ends(value, tensors, what)[0] for key, value in given.items()}
    try:
        return [tensors[place] for place in history(given)]
    except KeyError as error:
        raise ValueError(f"{what}: the model begins or ends at {error}, which there is not") from None


def set_weights(made: Sequence[tuple[Entry, Any]], store: Store, what: str, partial: bool = False) -> None:
    """Weights of a file, into the layers made of its entries; ``partial``: it may have more.

    Raises
    ------
    ValueError
        If a layer's weights are missing or of other shapes, or there are more; nothing is changed then.
    """
    from rekur.models.given import give

    found: dict[Any, list[Any]] = {}
    for entry, layer in made:
        if entry["class_name"] == "InputLayer" or layer.type == "Normalization":
            continue
        if layer in found and store.lacks(entry):
            continue  # of two models within, whose weights the file has once
        shapes = [tuple(weight.shape) for weight in layer.weights]
        if not shapes:
            continue
        arrays = store.arrays(entry)
        name = f"{what}: weights of '{layer.name}' ({class_of(entry)})"
        if str(entry["class_name"]).startswith("CuDNN"):
            found[layer] = _of_cudnn(str(entry["class_name"]), arrays, shapes, name)
            continue
        if len(arrays) != len(shapes):
            raise ValueError(f"{name}: expected {len(shapes)} arrays, got {len(arrays)}")
        found[layer] = [read(array, shape, name) for array, shape in zip(arrays, shapes, strict=True)]
    if not partial:
        store.check_all_read([entry for entry, layer in made if layer.type == "Normalization"])
    give(found.items())


def _of_cudnn(cls: str, arrays: Sequence[Any], shapes: Sequence[tuple[int, ...]], what: str) -> list[Any]:
    """Keras 2's CuDNNLSTM and CuDNNGRU: blocks of the kernels are transposed, of x row by row; two biases."""
    if len(arrays) != 3:
        raise ValueError(f"{what}: expected 3 arrays, got {len(arrays)}")
    count = 4 if cls == "CuDNNLSTM" else 3
    kernel = read(arrays[0], shapes[0], what)
    recurrent = read(arrays[1], shapes[1], what)
    bias = read(arrays[2], (2 * shapes[1][1],), what)
    kernel = np.concatenate([k.T.reshape(k.shape, order="F") for k in np.split(kernel, count, axis=1)], axis=1)
    recurrent = np.concatenate([k.T for k in np.split(recurrent, count, axis=1)], axis=1)
    both = bias.reshape(2, -1)
    return [kernel, recurrent, both.sum(axis=0) if count == 4 else both]
