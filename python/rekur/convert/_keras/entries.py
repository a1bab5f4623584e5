"""Keras's description of a model as data: what its entries are, and where a file has their weights.

An entry is ``{"class_name": …, "config": …}``. A file of Keras 3 has a layer's weights in groups that are named after
classes and attributes: ``layers/lstm/cell/vars/0``.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

Entry = Mapping[str, Any]

MODELS = ("Sequential", "Functional", "Model")
_CELLS = ("SimpleRNN", "LSTM", "GRU", "ConvLSTM1D", "ConvLSTM2D", "CuDNNLSTM", "CuDNNGRU")
_HEADS = {
    "MultiHeadAttention": ("query_dense", "key_dense", "value_dense", "output_dense"),
    "GroupedQueryAttention": ("_query_dense", "_key_dense", "_value_dense", "_output_dense"),
}
# Operations that have a type of numbers among their settings.
_TYPED = ("ZerosLike", "OnesLike", "FullLike", "Cast", "ConvertToTensor")
# What Keras's configurations call a class, and what its weights' groups are named after.
_CLASSES = {"GroupQueryAttention": "GroupedQueryAttention"}


def is_model(entry: Entry) -> bool:
    """Whether it is a model with layers within."""
    return (
        entry.get("class_name") in MODELS and isinstance(entry.get("config"), Mapping) and "layers" in entry["config"]
    )


def is_operation(entry: Entry) -> bool:
    """Whether it is a function of keras.ops on tensors, rather than a layer."""
    module = entry.get("module")
    if module:
        return str(module).startswith(("keras.src.ops", "keras.ops"))
    config = entry.get("config", {})
    own = not {"trainable", "dtype", "batch_input_shape", "batch_shape"} & set(config)
    own = own or (entry.get("class_name") in _TYPED and "trainable" not in config)
    nodes = entry.get("inbound_nodes") or [None]
    return own and isinstance(nodes[0], Mapping) and entry.get("class_name") != "InputLayer"


def snake(name: str) -> str:
    """Keras's name of a class among groups: ``SimpleRNN`` → ``simple_rnn``."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def tops(model: Entry, place: str = "") -> Iterator[tuple[Entry, str]]:
    """Layers of a model, models within included, and the group of each."""
    counts: dict[str, int] = {}
    for entry in model["config"]["layers"]:
        if not is_operation(entry):
            yield entry, f"{place}layers/{_unique(class_of(entry), counts)}/"


def places(model: Entry, place: str = "") -> Iterator[tuple[Entry, str]]:
    """Layers of a model and of the models within, and the group of each."""
    for entry, inner in tops(model, place):
        if is_model(entry):
            yield from places(entry, inner)
        else:
            yield entry, inner


def class_of(entry: Entry) -> str:
    name = str(entry["class_name"])
    return _CLASSES.get(name, name)


def _unique(cls: str, counts: dict[str, int]) -> str:
    name = snake(cls)
    number = counts[name] = counts.get(name, -1) + 1
    return f"{name}_{number}" if number else name


def groups(entry: Entry) -> list[tuple[str, int | None]]:
    """Within the group of a layer those with its weights, in the order of ``get_weights``.

    With each the number of its arrays; None: all that are there.
    """
    config, cls = entry["config"], class_of(entry)
    if is_model(entry):
        return [(f"{place}{group}", count) for inner, place in places(entry) for group, count in groups(inner)]
    if cls == "Bidirectional":
        forward = config["layer"]
        backward = config.get("backward_layer") or forward
        return [
            (f"{side}/{group}", count)
            for side, inner in (("forward_layer", forward), ("backward_layer", backward))
            for group, count in groups(inner)
        ]
    if cls == "TimeDistributed":
        return [(f"layer/{group}" if group else "layer", count) for group, count in groups(config["layer"])]
    if cls == "RNN":
        return [(f"cell/{group}" if group else "cell", count) for group, count in _cell(config["cell"])]
    if cls in _CELLS:
        return [("cell", 2 + bool(config.get("use_bias", True)))]
    if cls in _HEADS:
        return [(group, 1 + bool(config.get("use_bias", True))) for group in _HEADS[cls]]
    return [("", None)]


def _cell(cell: Entry) -> list[tuple[str, int | None]]:
    config = cell["config"]
    if cell["class_name"] != "StackedRNNCells":
        return [("", 2 + bool(config.get("use_bias", True)))]
    counts: dict[str, int] = {}
    return [
        (f"cells/{_unique(inner['class_name'], counts)}", 2 + bool(inner["config"].get("use_bias", True)))
        for inner in config["cells"]
    ]


def first_call(model: Entry, name: str) -> int:
    """The number that the first call of a layer has among the outputs of a functional model.

    A functional model within one begins to count at 1: it was called once when it was made.
    """
    for entry in model["config"]["layers"]:
        if str(entry.get("name") or entry["config"].get("name")) == name:
            return 1 if entry.get("class_name") in ("Functional", "Model") else 0
    return 0


def ends(model: Entry, given: Any) -> Any:
    """Inputs or outputs of a functional model, with calls counted from 0."""
    if isinstance(given, Mapping):
        return {key: ends(model, value) for key, value in given.items()}
    if isinstance(given, (list, tuple)):
        if len(given) >= 3 and isinstance(given[0], str):
            return [given[0], max(int(given[1]) - first_call(model, given[0]), 0), *given[2:]]
        return [ends(model, value) for value in given]
    return given


def starts_at_1(name: str, entry: Entry, entries: Mapping[str, Entry]) -> bool:
    """Whether calls of a layer are counted from 1: those of functional models are in Keras 2."""
    nodes = entry.get("inbound_nodes") or ()
    if not is_model(entry) or not nodes or isinstance(nodes[0], Mapping):
        return False
    every = (place for e in entries.values() for place in _legacy_places(e.get("inbound_nodes", ())))
    read = {place[1] for place in every if place[0] == name}
    return len(nodes) in read and 0 not in read


def shifted(node: Any, later: set[str]) -> Any:
    """A node of Keras 2 with calls counted from 0."""
    if not later or not isinstance(node, (list, tuple)):
        return node
    if len(node) >= 3 and isinstance(node[0], str) and isinstance(node[1], int):
        return [node[0], node[1] - (node[0] in later), *node[2:]]
    return [shifted(value, later) for value in node]


def _legacy_places(node: Any) -> list[Any]:
    if isinstance(node, (list, tuple)):
        if len(node) >= 3 and isinstance(node[0], str) and isinstance(node[1], int):
            return [node]
        return [place for value in node for place in _legacy_places(value)]
    return []
