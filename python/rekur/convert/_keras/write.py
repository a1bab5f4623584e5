"""Models written as Keras's files."""

import io
import json
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rekur import _files
from rekur.convert._keras.describe import CALL_OPTIONS, Unknown, entry, entry_of
from rekur.convert._keras.entries import Entry, groups, is_model, is_operation, places
from rekur.convert._keras.giving import give_masks
from rekur.convert._needs import needed

_VERSION = "3.8.0"  # of Keras, whose form it is
_HEADER = 64512  # bytes of an attribute that HDF5 stores
_RECURRENT = ("SimpleRNN", "LSTM", "GRU", "RNN", "Bidirectional", "ConvLSTM1D", "ConvLSTM2D")
_LISTS = ("Concatenate", "Add", "Multiply", "Subtract", "Maximum", "Minimum", "Average", "Dot", "Attention",
          "AdditiveAttention")  # fmt: skip

Layers = dict[int, Any]  # by the id of an entry its layer


def described(model: Any, masks: bool = True) -> tuple[dict[str, Any], Layers]:
    """Keras's entry of a model, and the layers of the entries within.

    Raises
    ------
    ValueError
        For what Keras lacks.
    """
    layers: Layers = {}
    made = _model(model, layers)
    if masks:
        made = _with_masks(made, model, layers)
    stateful = next((layer for layer in layers.values() if getattr(layer, "stateful", False)), None)
    if stateful is not None and any(tensor.layer.batch_size is None for tensor in model._inputs):
        raise Unknown(
            f"layer '{stateful.name}' is stateful, and Keras has it for a fixed number of rows alone: begin the model "
            "with Input(batch_shape=…)"
        )
    return made, layers


def _with_masks(made: dict[str, Any], model: Any, layers: Layers) -> dict[str, Any]:
    """The same, each call with the mask that it gets here."""
    if made["class_name"] == "Sequential":
        try:
            give_masks(made)
            return made
        except Unknown:  # a call of a functional model may be given one
            layers.clear()
            made = _functional(model, layers)
    give_masks(made)
    return made


def _model(model: Any, layers: Layers) -> dict[str, Any]:
    from rekur.models import Sequential

    plain = isinstance(model, Sequential) and not any(_as_operation(layer) for layer in model.layers)
    return _sequential(model, layers) if plain else _functional(model, layers)


def _member(member: Any, name: str, layers: Layers) -> dict[str, Any]:
    from rekur.layers import InputLayer
    from rekur.models.structure import Structure

    if isinstance(member, InputLayer):
        shape = [member.batch_size, *member.tensor.shape[1:]]
        made = entry("InputLayer", {"batch_shape": shape, "dtype": member.tensor.dtype, "sparse": False, "name": name})
    elif isinstance(member, Structure):
        made = _model(member, layers)
        made["config"]["name"] = name
        return made
    else:
        made = entry_of(member, name)
    layers[id(made)] = member
    return made


def _sequential(model: Any, layers: Layers) -> dict[str, Any]:
    listed = [_member(member, model._names[member], layers) for member in model._graph]
    config = {"name": model.name, "trainable": model.trainable, "dtype": "float32", "layers": listed}
    return entry("Sequential", config, "keras")


def _as_operation(layer: Any) -> tuple[str, dict[str, Any], list[Any]] | None:
    """Layers here that are operations in Keras: class, settings, further arguments."""
    if layer.type == "Step":
        return "GetItem", {}, [[_slice(None, None), layer.index]]
    if layer.type == "Slice":
        return "GetItem", {}, [[{"class_name": "__ellipsis__", "config": {}}, _slice(layer.start, layer.stop)]]
    if layer.type == "Flip":
        return "Flip", {"axis": 1}, []
    return None


def _slice(start: Any, stop: Any) -> dict[str, Any]:
    return {"class_name": "__slice__", "config": {"start": start, "stop": stop, "step": None}}


def _functional(model: Any, layers: Layers) -> dict[str, Any]:
    from rekur.layers import InputLayer

    if any(call.given is not None for call in model._order):
        raise Unknown(f"model '{model.name}': layers of one's own, called with more than tensors, cannot be described")
    history: dict[Any, list[Any]] = {}
    nodes: dict[Any, list[Any]] = {member: [] for member in model._graph}
    for call in model._order:
        for tensor in call.outputs:
            history[tensor] = [model._names[call.layer], len(nodes[call.layer]), tensor.index]
        given = [_tensor(model._cuts.get(t, t), history) for t in call.inputs]
        nodes[call.layer].append([] if isinstance(call.layer, InputLayer) else _call(call.layer, given))
    listed = []
    for member in model._graph:
        name = model._names[member]
        operation = _as_operation(member) if hasattr(member, "type") else None
        if operation is not None:
            cls, config, _ = operation
            made = {**entry(cls, {"name": name, **config}, "keras.src.ops.numpy"), "registered_name": cls}
        else:
            made = _member(member, name, layers)
        made["name"] = name
        made["inbound_nodes"] = [] if isinstance(member, InputLayer) else nodes[member]
        listed.append(made)
    config = {
        "name": model.name,
        "trainable": model.trainable,
        "layers": listed,
        "input_layers": [history[t] for t in model._inputs],
        "output_layers": [history[model._cuts.get(t, t)] for t in model._outputs],
    }
    # Keras counts the calls of a functional model within from 1 where the outer one ends.
    inner = {made["name"] for made in listed if made["class_name"] == "Functional"}
    config["output_layers"] = [[n, k + (n in inner), index] for n, k, index in config["output_layers"]]
    for key in ("input_layers", "output_layers"):
        if len(config[key]) == 1:
            (config[key],) = config[key]
    return entry("Functional", config, "keras.src.models.functional")


def _tensor(tensor: Any, history: Mapping[Any, list[Any]]) -> dict[str, Any]:
    config = {"shape": [None, *tensor.shape[1:]], "dtype": tensor.dtype, "keras_history": history[tensor]}
    return {"class_name": "__keras_tensor__", "config": config}


def _call(layer: Any, given: list[Any]) -> dict[str, Any]:
    """A call as Keras has it: what tensors are which arguments."""
    kind = getattr(layer, "type", "")
    if (operation := _as_operation(layer) if kind else None) is not None:
        return {"args": [*given, *operation[2]], "kwargs": {}}
    options = {key: True for key in CALL_OPTIONS if getattr(layer, key, False)}
    if kind in _RECURRENT and len(given) > 1:
        return {"args": given[:1], "kwargs": {"initial_state": given[1:]}}
    if kind in ("MultiHeadAttention", "GroupQueryAttention"):
        return {"args": given[:2], "kwargs": {**({"key": given[2]} if len(given) > 2 else {}), **options}}
    if kind in _LISTS or len(given) > 1:
        return {"args": [given], "kwargs": options}
    return {"args": given, "kwargs": options}


# What it was compiled with.


def _compiled(model: Any) -> dict[str, Any] | None:
    """Keras's compile_config, where optimizer, losses and metrics are plain ones that Keras has by these names."""
    if model._compiled is None:
        return None
    found = _plainly_compiled(model)
    if found is None:
        warnings.warn(
            f"model '{model.name}' is written as if it were not compiled: its losses or metrics have settings, or its "
            "learning rate a schedule, which are not written for Keras: compile it there",
            stacklevel=5,
        )
    return found


def _plainly_compiled(model: Any) -> dict[str, Any] | None:
    config = model.get_compile_config()
    if config is None or config.get("precision", "float32") != "float32":
        return None
    losses = config["losses"]
    metrics = [[metric for metric in listed] for listed in config.get("metrics", [])]
    plain = all(loss is not None and set(loss) == {"name"} for loss in losses)
    plain = plain and all(set(metric) <= {"type", "name"} for listed in metrics for metric in listed)
    if not plain:
        return None
    optimizer = model.optimizer
    if not isinstance(optimizer.get_config().get("learning_rate"), (int, float)):
        return None
    names: list[Any] = [loss["name"] for loss in losses]
    metric_names: list[Any] = [[metric["type"] for metric in listed] for listed in metrics]
    single = len(names) == 1
    return {
        "optimizer": entry(type(optimizer).__name__, optimizer.get_config(), "keras.optimizers"),
        "loss": names[0] if single else names,
        "loss_weights": None if single else config.get("loss_weights"),
        "metrics": metric_names[0] if single else metric_names,
        "weighted_metrics": None,
        "run_eagerly": False,
        "steps_per_execution": 1,
        "jit_compile": False,
    }


# Files.


def _arrays(made: Entry, layer: Any) -> list[Any]:
    """Weights in the order of ``groups``; a Normalization's are among its settings."""
    return [] if layer is None or layer.type == "Normalization" else list(layer.get_weights())


def _write_groups(file: Any, made: Entry, layers: Layers) -> None:
    file.create_group("vars").attrs["name"] = made["config"]["name"]
    for inner, place in places(made):
        arrays = _arrays(inner, layers.get(id(inner)))
        name = inner["config"].get("name", "")
        file.require_group(f"{place}vars").attrs["name"] = name
        for group, count in groups(inner) if arrays else ():
            into = file.require_group(f"{place}{group}".rstrip("/") + "/vars")
            taken, arrays = (arrays, []) if count is None else (arrays[:count], arrays[count:])
            for k, array in enumerate(taken):
                into.create_dataset(str(k), data=array)


def _hdf5(write: Any) -> bytes:
    h5py = needed("h5py", "writing HDF5 files")
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        write(file)
    return buffer.getvalue()


def _in_order(model: Any) -> Any:
    """The model with the order of layers that its twin in Keras has, where outputs of a dict are sorted by key."""
    from rekur.models import Model

    if not getattr(model, "_keys", None) or model._cuts:
        return model
    ends = []
    for key, tensor in sorted(zip(model._keys, model._outputs, strict=True), key=lambda pair: str(pair[0])):
        # The layer that gives an output the name of its key is here alone.
        named = tensor.layer.type == "Activation" and tensor.layer.name == key
        ends.append(tensor._call.inputs[0] if named else tensor)
    return Model(list(model._inputs), ends) if len(set(ends)) == len(ends) else model


def save_weights(model: Any, path: str) -> None:
    """``.weights.h5``, which ``load_weights`` of the same model in Keras reads."""
    made, layers = described(_in_order(model), masks=False)
    _files.write_atomic(path, _hdf5(lambda file: _write_groups(file, made, layers)))


def save_archive(model: Any, path: str) -> None:
    """``.keras``, which ``keras.models.load_model`` reads."""
    made, layers = described(model)
    weights = _hdf5(lambda file: _write_groups(file, made, layers))
    config = {**made, "compile_config": _compiled(model)}
    if config["compile_config"] is None:
        del config["compile_config"]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in (
            ("metadata.json", json.dumps({"keras_version": _VERSION, "date_saved": ""}).encode()),
            ("config.json", json.dumps(config).encode()),
            ("model.weights.h5", weights),
        ):
            archive.writestr(zipfile.ZipInfo(name), content)
    _files.write_atomic(path, buffer.getvalue())


def save_legacy(model: Any, path: str) -> None:
    """``.h5`` of a whole model, which ``keras.models.load_model`` of Keras 3 reads."""
    made, layers = described(model)
    config = _compiled(model)

    def write(file: Any) -> None:
        file.attrs["keras_version"], file.attrs["backend"] = _VERSION, "rekur"
        file.attrs["model_config"] = json.dumps(made).encode()
        if config is not None:
            training = {key: value for key, value in config.items() if key != "optimizer"}
            training["optimizer_config"] = config["optimizer"]
            file.attrs["training_config"] = json.dumps(training).encode()
        root = file.create_group("model_weights")
        root.attrs["keras_version"], root.attrs["backend"] = _VERSION, "rekur"
        tops = [inner for inner in made["config"]["layers"] if id(inner) in layers or is_model(inner)]
        _texts(root, "layer_names", [inner["config"]["name"] for inner in tops])
        for inner in tops:
            name = inner["config"]["name"]
            group = root.create_group(name)
            named = _named_weights(inner, layers)
            _texts(group, "weight_names", [key for key, _ in named])
            for key, array in named:
                group.create_dataset(key, data=array)
        _texts(root.create_group("top_level_model_weights"), "weight_names", [])

    _files.write_atomic(path, _hdf5(write))


def _named_weights(made: Entry, layers: Layers) -> list[tuple[str, Any]]:
    """Of a layer or a model within: what is trained, then what is not, as Keras reads them."""
    leaves = list(_paths(made, ()))
    trained: list[tuple[str, Any]] = []
    fixed: list[tuple[str, Any]] = []
    for path, leaf in leaves:
        layer = layers.get(id(leaf))
        arrays = _arrays(leaf, layer)
        kept = [weight.trainable for weight in layer.weights] if arrays and layer is not None else []
        for k, (array, of) in enumerate(zip(arrays, kept, strict=True)):
            (trained if of else fixed).append((f"{'/'.join(path)}/{k}", array))
    return trained + fixed


def _paths(made: Entry, around: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Entry]]:
    """The layers of a model within, by the names of the models around them and their own."""
    path = (*around, str(made["config"]["name"]))
    if not is_model(made):
        yield path, made
        return
    for inner in made["config"]["layers"]:
        if not is_operation(inner):
            yield from _paths(inner, path)


def _texts(group: Any, name: str, listed: Sequence[str]) -> None:
    """A list of texts among the attributes, cut where HDF5 does not store one so long."""
    import numpy as np

    data = np.asarray([text.encode() for text in listed]) if listed else np.zeros(0, "S1")
    count = 1
    while any(part.nbytes > _HEADER for part in np.array_split(data, count)):
        count += 1
    if count == 1:
        group.attrs[name] = data
        return
    for k, part in enumerate(np.array_split(data, count)):
        group.attrs[f"{name}{k}"] = part
