"""Which mask each call of a layer gets: by Keras's rules, and here, where masks come with the time axes of tensors.

Keras 3 keeps a mask with a tensor, and some of its layers and all of its operations drop it. Here a mask stays until
steps themselves change. A description is followed by both rules; a call at which they differ is settled by whoever
reads (what drops the mask is put before it) or writes (the mask is given by hand).

A mask is None (every step is there), a frozenset of conditions that hold all, or a tuple that is equal to such alone
as was made in the same way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rekur.convert._keras.entries import Entry, ends, is_model, is_operation
from rekur.convert._keras.mask_values import (
    Mask,
    Place,
    behind,
    both,
    either,
    given,
    history,
    mask_of,
    places_in,
    value,
)

# Operations of which Keras makes masks.
_OPERATIONS = {
    "NotEqual", "Any", "All", "ExpandDims", "Squeeze", "LogicalAnd", "LogicalOr", "Cast", "ZerosLike", "OnesLike",
    "ConvertToTensor", "Concatenate", "BroadcastTo",
}  # fmt: skip
_KEEP = {  # what Keras calls `supports_masking`, by the default rule
    "Dense", "Activation", "ReLU", "LeakyReLU", "ELU", "PReLU", "Softmax", "Dropout", "SpatialDropout1D",
    "GaussianDropout", "AlphaDropout", "GaussianNoise", "ActivityRegularization", "LayerNormalization",
    "GroupNormalization", "BatchNormalization", "UnitNormalization", "Normalization", "Rescaling", "Identity",
    "TimeDistributed",
}  # fmt: skip
_RECURRENT = {"SimpleRNN", "LSTM", "GRU", "RNN", "Bidirectional", "ConvLSTM1D", "ConvLSTM2D"}
_ATTENTION = {"Attention", "AdditiveAttention"}
_HEADS = {"MultiHeadAttention", "GroupQueryAttention", "GroupedQueryAttention"}
_MERGING = {"Add", "Multiply", "Subtract", "Maximum", "Minimum", "Average"}
_ENDS = {  # here as in Keras
    "Conv1D", "Conv1DTranspose", "DepthwiseConv1D", "SeparableConv1D", "MaxPooling1D", "AveragePooling1D",
    "GlobalMaxPooling1D", "GlobalAveragePooling1D", "UpSampling1D", "Cropping1D", "ZeroPadding1D", "Flatten",
    "Reshape", "Permute", "RepeatVector", "Dot",
}  # fmt: skip
_FURTHER_KEEP = {"RMSNormalization"}  # here alone
# Classes whose numbers do not depend on a mask.
_BLIND = (_KEEP | _ENDS | _MERGING | _FURTHER_KEEP | {"Concatenate", "Embedding", "InputLayer"}) - {
    "GlobalAveragePooling1D", "BatchNormalization",
}  # fmt: skip
_BY_ELEMENT = {  # operations that have no part in steps: what drops a mask may wait
    "Add", "Subtract", "Multiply", "Divide", "TrueDivide", "Negative", "Relu", "Tanh", "Sigmoid", "Exp", "Log",
    "Square", "Sqrt", "Abs", "Absolute", "Maximum", "Minimum", "Gelu", "Silu", "Softplus", "Elu", "LeakyRelu",
}  # fmt: skip
# In Keras a step of theirs is made of those inputs alone that have it; here of all.
_OF_THOSE_THERE = {"Multiply", "Maximum", "Minimum"}


@dataclass
class State:
    """Of a tensor: its mask in Keras, its mask here, and which one it is."""

    keras: Mask
    here: Mask
    tensor: Any


@dataclass
class Call:
    """A call of a layer at which masks matter."""

    entry: Entry
    number: int
    top: bool  # whether it stands in the outermost model, and that is a functional one
    places: list[Place]  # the tensors whose masks it takes
    states: list[State]
    keras: list[Mask]  # what Keras gives it
    explicit: bool  # whether the description says so
    others: Mapping[Place, State]  # all tensors of the model so far

    @property
    def name(self) -> str:
        return str(self.entry.get("name") or self.entry["config"].get("name"))


@dataclass
class Flow:
    """Follows a description."""

    calls: list[Call] = field(default_factory=list)

    _read_as_masks: set[str] = field(default_factory=set)
    any_mask: bool = False  # whether Keras has a mask somewhere

    def uneven(self, call: Call) -> None:
        """Refuse a Multiply, Maximum or Minimum of masks that differ."""
        raise ValueError(
            f"the call of '{call.name}' ({call.entry['class_name']}) reads tensors with different masks, of which "
            "Keras leaves out what is masked, while here all count: give them one mask, or none"
        )

    def called(self, call: Call) -> None:
        """A call at which masks matter, settled or not in need of it."""

    def settle(self, call: Call) -> None:
        """What is to be done where ``call.keras`` is not the masks here: may change both."""
        raise NotImplementedError

    def follow(self, model: Entry, given: Sequence[State] | None = None, scope: tuple[Any, ...] = ()) -> list[State]:
        """The states of the outputs of a model.

        Raises
        ------
        ValueError
            As of ``settle``.
        """
        if model["class_name"] == "Sequential":
            return self._chain(model, given, scope)
        config = model["config"]
        entries = {str(e["name"] if "name" in e else e["config"]["name"]): e for e in config["layers"]}
        states: dict[Place, State] = {}
        values: dict[Place, Any] = {}
        begins = list(history(ends(model, config.get("input_layers"))))
        for k, place in enumerate(begins):
            states[place] = given[k] if given is not None and k < len(given) else State(None, None, (*scope, place))
        self._read_as_masks = mask_operations(entries)
        waiting = [(n, k, node) for n, e in entries.items() for k, node in enumerate(e.get("inbound_nodes", ()))]
        while waiting:
            left = []
            for name, number, node in waiting:
                if all(place in states for place in places_in(node)):
                    self._node(entries[name], name, number, node, states, values, scope)
                else:
                    left.append((name, number, node))
            if len(left) == len(waiting):
                break  # whoever builds the model says so
            waiting = left
        return [states[place] for place in history(ends(model, config.get("output_layers"))) if place in states]

    def _chain(self, model: Entry, given: Sequence[State] | None, scope: tuple[Any, ...]) -> list[State]:
        state = given[0] if given else State(None, None, (*scope, "input"))
        for k, entry in enumerate(model["config"]["layers"]):
            if entry["class_name"] == "InputLayer":
                continue
            place = (str(k), 0, 0)
            if is_model(entry):
                (state,) = self.follow(entry, [state], (*scope, place))[:1] or [state]
            else:
                made = self._layer(entry, 0, [place], [state], [state.keras], False, False)
                state = State(made[0].keras, made[0].here, (*scope, place))
        return [state]

    def _node(
        self, entry: Entry, name: str, number: int, node: Any, states: dict[Place, State], values: dict[Place, Any],
        scope: tuple[Any, ...],
    ) -> None:  # fmt: skip
        place = (name, number, 0)
        arguments, options = list(node.get("args", ())), dict(node.get("kwargs", {}))
        first = list(places_in(arguments[:1]))
        cls = entry["class_name"]
        if is_operation(entry):
            read = list(dict.fromkeys(places_in(node)))
            now = [states[p] for p in read]
            plain = cls in _BY_ELEMENT or name in self._read_as_masks
            if not plain and any(state.here is not None for state in now):
                call = Call(entry, number, not scope, read, now, [None] * len(now), False, {})
                self.settle(call)
                self.called(call)
                now = call.states
            joined = both([state.here for state in now])
            states[place] = State(None, joined, (*scope, place))
            values[place] = value(entry, arguments, options, states, values)
            for k in range(1, 8):  # of operations with several outputs
                states[name, number, k] = State(None, joined, (*scope, (name, number, k)))
            return
        if is_model(entry):
            inside = [states[p] for p in first]
            masks = given(options.get("mask"), len(inside), values)
            if masks is not None:
                inside = [State(m, s.here, s.tensor) for s, m in zip(inside, masks, strict=True)]
            before = self._read_as_masks
            found = self.follow(entry, inside, (*scope, place))
            self._read_as_masks = before
            for k, state in enumerate(found):
                states[name, number, k] = State(state.keras, state.here, (*scope, (name, number, k)))
            return
        taken, masks = first, None
        if cls in _HEADS:
            keys = ["query", "value", "key"]
            named = {keys[k]: p for k, a in enumerate(arguments[:3]) for p in places_in(a)}
            named.update({key: p for key in keys if key in options for p in places_in(options[key])})
            taken = list(named.values())
            by_hand = [options.get(f"{key}_mask") for key in named]
            if any(mask is not None for mask in by_hand):
                masks = [
                    states[p].keras if mask is None else mask_of(mask, values)
                    for p, mask in zip(taken, by_hand, strict=True)
                ]
        elif options.get("mask") is not None:
            masks = given(options["mask"], len(first), values)
        explicit = masks is not None
        now = [states[p] for p in taken]
        if masks is None:
            masks = [state.keras for state in now]
            if cls in _RECURRENT and (len(first) > 1 or options.get("initial_state") is not None):
                masks = [None] * len(masks)  # of several tensors Keras takes no mask
        first_mask = now[0].keras if now else None
        made = self._layer(entry, number, taken, now, masks, explicit, not scope, dict(states), first_mask)
        if cls in _HEADS:  # which take the masks away from what they read
            for p in taken:
                states[p] = State(None, states[p].here, states[p].tensor)
        for k in range(max(len(made), 8)):
            one = made[k] if k < len(made) else State(None, None, None)
            states[name, number, k] = State(one.keras, one.here, (*scope, (name, number, k)))

    def _layer(
        self, entry: Entry, number: int, places: list[Place], states: list[State], masks: list[Mask], explicit: bool,
        top: bool, others: Mapping[Place, State] | None = None, of_first: Mask = None,
    ) -> list[State]:  # fmt: skip
        """The states of a layer's outputs, with those of its inputs settled."""
        cls, config = str(entry["class_name"]).rpartition(">")[2], entry["config"]
        call = Call(entry, number, top, places, states, masks, explicit, others or {})
        if cls == "Masking" and states and states[0].here is not None:
            call.keras = [None]
        self.any_mask |= any(mask is not None for mask in masks)
        if cls in _OF_THOSE_THERE and any(mask != masks[0] for mask in masks):
            self.uneven(call)
        in_time = cls == "Concatenate" and config.get("axis", -1) in (1, -2) and any(m is not None for m in masks)
        matters = explicit or in_time or cls not in _BLIND
        if matters and call.keras != [state.here for state in states]:
            self.settle(call)
            states, masks = call.states, call.keras
        if matters:
            self.called(call)
        here = [state.here for state in states]
        if cls == "Embedding":
            mask = frozenset({("ne", states[0].tensor, 0.0)}) if config.get("mask_zero") else None
            return [State(mask, mask, None)]
        if cls == "Masking":
            mask = frozenset({("any", states[0].tensor, float(config.get("mask_value", 0.0)))})
            return [State(mask, mask, None)]
        if cls in _ENDS:
            return [State(None, None, None)]
        if cls in _RECURRENT:
            inner = config.get("layer", entry)["config"] if cls == "Bidirectional" else config
            if not inner.get("return_sequences"):
                return [State(None, None, None)]
            times = 2 if cls == "Bidirectional" and config.get("merge_mode", "concat") is None else 1
            return [State(of_first if masks[0] is None else masks[0], here[0], None)] * times
        if cls in _ATTENTION or cls in _HEADS:
            of_query = states[0].keras if cls in _HEADS else masks[0]
            return [State(of_query, here[0], None), State(None, here[0], None)]
        if cls in _MERGING:
            every = None if any(mask is None for mask in masks) else either(masks)
            return [State(every, both(here), None)]
        if cls == "Concatenate":
            if config.get("axis", -1) in (1, -2):
                return [State(behind(masks), behind(here), None)]
            return [State(either(masks), both(here), None)]
        return [State(masks[0] if cls in _KEEP and masks else None, both(here), None)]


def mask_operations(entries: Mapping[str, Entry]) -> set[str]:
    """Which entries of a functional model are read as masks alone."""
    used: dict[str, list[tuple[str, str]]] = {}  # by operation who reads it, and as what
    for name, entry in entries.items():
        for node in entry.get("inbound_nodes", ()):
            if isinstance(node, Mapping):
                for key, value in [("", node.get("args", ())), *node.get("kwargs", {}).items()]:
                    for source, _, _ in places_in(value):
                        used.setdefault(source, []).append((name, key))
    operations = [name for name, entry in entries.items() if is_operation(entry)]
    found: set[str] = set()
    more = True
    while more:
        more = False
        for name in operations:
            if name in found or entries[name]["class_name"] not in _OPERATIONS or not used.get(name):
                continue
            if all(is_mask_key(key) or reader in found for reader, key in used[name]):
                found.add(name)
                more = True
    return found


def is_mask_key(key: str) -> bool:
    """Whether an argument of a call is a mask of the steps of another argument."""
    return key == "mask" or (key.endswith("_mask") and key not in ("attention_mask", "use_causal_mask"))


def of_keras_2(model: Entry) -> bool:
    """Whether calls are described as Keras 2 does, where no masks are written."""
    for entry in model["config"]["layers"]:
        nodes = entry.get("inbound_nodes") or ()
        if any(not isinstance(node, Mapping) for node in nodes) or (is_model(entry) and of_keras_2(entry)):
            return True
    return False
