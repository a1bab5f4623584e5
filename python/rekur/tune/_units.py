"""Which features of a model's tensors are units of which layers: what a layer that grows makes wider elsewhere.

A tensor's last axis is a row of *slots*, each the units of one layer. Layers without weights pass slots on, a sum makes
the slots of what it adds one, and what looks at features one by one, such as an output of the model, pins them.
"""

from typing import Any

from rekur._spec import RECURRENT, Spec
from rekur.layers.symbolic import Call, SymbolicTensor

Features = list["Slot"]

_PASSES = (
    "Activation", "ActivityRegularization", "AlphaDropout", "AveragePooling1D", "BatchNormalization", "Cropping1D",
    "Dropout", "ELU", "Flip", "GaussianDropout", "GaussianNoise", "GlobalAveragePooling1D", "GlobalMaxPooling1D",
    "Identity", "LeakyReLU", "Masking", "MaxPooling1D", "Padding1D", "PReLU", "ReLU", "RepeatVector", "Rescaling",
    "SpatialDropout1D", "Step", "UpSampling1D", "ZeroPadding1D",
)  # fmt: skip
_TIES = ("Add", "Average", "Divide", "Maximum", "Minimum", "Multiply", "Subtract")
_OF_ROWS = ("LayerNormalization", "RMSNormalization", "UnitNormalization")
_ROW_OPERATIONS = ("max", "mean", "sum")
UNITS = {"Conv1D": "filters", "Dense": "units", "Embedding": "output_dim", "GRU": "units", "LSTM": "units",
         "RNN": "units", "SimpleRNN": "units"}  # fmt: skip
CELLS = tuple(kind for kind in RECURRENT if kind in UNITS)


class Slot:
    """The units of a layer, one with those of others once they are tied.

    Attributes
    ----------
    size : int
    layers : list of str
        Those that have them, which become wider together.
    pinned : str
        Why they cannot become more; empty where they can.
    whole : str
        Why all of them have to be repeated alike; empty where any may be.
    """

    def __init__(self, size: int, layer: str | None = None, pinned: str = "") -> None:
        self.size, self.pinned, self.whole = size, pinned, ""
        self.layers = [] if layer is None else [layer]
        self._one_with: Slot | None = None

    @property
    def root(self) -> "Slot":
        return self if self._one_with is None else self._one_with.root

    def tie(self, other: "Slot") -> None:
        one, two = self.root, other.root
        if one is two:
            return
        two._one_with = one
        one.layers += [layer for layer in two.layers if layer not in one.layers]
        one.pinned, one.whole = one.pinned or two.pinned, one.whole or two.whole


class Units:
    """The slots of a flat model.

    Parameters
    ----------
    entries : dict of Spec by name
        The layers of its spec.
    order : list of Call
        Their calls.
    outputs : list of SymbolicTensor
        The model's.
    """

    def __init__(self, entries: dict[str, Spec], order: list[Call], outputs: list[SymbolicTensor]) -> None:
        self._entries = entries
        self._features: dict[SymbolicTensor, Features] = {}
        self.own: dict[str, Slot] = {}  # by layer
        self.reads: dict[str, Features] = {}  # what a layer's first input has, by layer
        for call in order:
            name = call.layer.name
            inputs = [self._features[tensor] for tensor in call.inputs]
            if inputs:
                self._tie(self.reads.setdefault(name, inputs[0]), inputs[0], f"layer '{name}' reads several inputs")
            for tensor, features in zip(call.outputs, self._of(call, entries[name], inputs), strict=True):
                self._features[tensor] = features
        for tensor in outputs:
            self._pin(self._features[tensor], "they are an output of the model")

    def _of(self, call: Call, entry: Spec, inputs: list[Features]) -> list[Features]:
        """The features of a call's outputs."""
        kind, name, count = entry["type"], call.layer.name, len(call.outputs)
        if kind in CELLS or kind == "Bidirectional":
            return self._recurrent(call, entry, inputs)
        if kind in UNITS:
            return [[self._make_own(name, entry)]] * count
        if kind in _OF_ROWS:
            self._repeat_whole(inputs[0], f"layer '{name}' normalises over them")
            return [inputs[0]]
        if kind == "Activation" and not self._is_elementwise(entry["activation"]):
            return self._unknown(call, entry, inputs)
        if kind in _PASSES:
            return [inputs[0]] * count
        if kind in _TIES or (kind == "Lambda" and self._is_of_features(call, entry)):
            for features in inputs[1:]:
                self._tie(inputs[0], features, f"layer '{name}' ({kind}) joins them with others")
            return [inputs[0]] * count
        if kind == "Concatenate":
            if entry.get("axis", -1) == -1:
                return [[slot for features in inputs for slot in features]]
            for features in inputs[1:]:
                self._tie(inputs[0], features, f"layer '{name}' puts them behind others")
            return [inputs[0]]
        if kind == "Flatten" and len(call.inputs[0].shape) == 3 and call.inputs[0].shape[1] is not None:
            return [inputs[0] * call.inputs[0].shape[1]]
        return self._unknown(call, entry, inputs)

    def _unknown(self, call: Call, entry: Spec, inputs: list[Features]) -> list[Features]:
        label = f"layer '{call.layer.name}' ({entry['type']})"
        for features in inputs:
            self._pin(features, f"{label} reads them one by one")
        made = "they are tied to the model's input" if entry["type"] == "Input" else f"{label} gives as many"
        return [[Slot(int(tensor.shape[-1] or 1) if tensor.shape else 1, pinned=made)] for tensor in call.outputs]

    def _make_own(self, name: str, entry: Spec) -> Slot:
        if name in self.own:
            return self.own[name]
        inner = entry.get("layer", entry)
        made = self.own[name] = Slot(inner[UNITS[inner["type"]]], name)
        if inner.get("precision", "float32") != "float32":
            made.pinned = f"the products of '{name}' are of {inner['precision']}, which rounds them"
        elif inner.get("groups", 1) != 1:
            made.pinned = f"layer '{name}' has groups"
        elif not self._is_elementwise(inner.get("activation")):
            made.pinned = f"the activation of '{name}' looks at all of them"
        return made

    @staticmethod
    def _is_elementwise(activation: Any) -> bool:
        if isinstance(activation, dict):
            steps = activation.get("equations", {}).get("nodes", ())
            return activation.get("name") != "softmax" and not any(step[0] in _ROW_OPERATIONS for step in steps)
        return bool(activation != "softmax")

    def _is_of_features(self, call: Call, entry: Spec) -> bool:
        """Whether equations take features one by one, the same of all inputs."""
        width = call.inputs[0].shape[-1]
        alike = all(tensor.shape[-1] == width for tensor in (*call.inputs, *call.outputs))
        equations = entry.get("equations", {})
        plain = set(entry) <= {"type", "name", "inputs", "equations"}
        return alike and plain and not any(step[0] in _ROW_OPERATIONS for step in equations.get("nodes", ()))

    def _recurrent(self, call: Call, entry: Spec, inputs: list[Features]) -> list[Features]:
        name, inner = call.layer.name, entry.get("layer", entry)
        known = name in self.own
        own = self._make_own(name, entry)
        if inner.get("layer_normalization") is not None:
            own.root.whole = own.root.whole or f"layer '{name}' normalises over them"
        if inner["type"] == "RNN":
            self._read_cell(name, inner["cell"], own)
            if "x" in inner["cell"]["equations"]["inputs"] and not known:
                self._tie(inputs[0], [own], f"the cell of layer '{name}' reads them unit by unit")
        size = inner.get("projection_size")
        first = own
        if size is not None:
            projected = Slot(size, pinned=f"they are the projection of layer '{name}'")
            first = self.own.setdefault(f"{name}:projection", projected)
        both = entry["type"] == "Bidirectional" and entry["merge_mode"] == "concat"
        output = [first, first] if both else [first]
        if (entry if entry["type"] == "Bidirectional" else inner).get("residual") and not known:
            self._tie(inputs[0], output, f"layer '{name}' adds them to what it reads")
        states = 2 if entry["type"] == "Bidirectional" else 1
        initial = [k for k, tensor in enumerate(call.inputs) if k and len(tensor.shape) == 2]
        per = max(len(initial) // states, 1)
        for at, k in enumerate(initial):
            wanted = [first] if at % per == 0 else [own]
            self._tie(inputs[k], wanted, f"they are an initial state of layer '{name}'")
        for k in set(range(1, len(inputs))) - set(initial):  # what a cell is given at each step beside x
            if call.inputs[k].shape[-1] == own.size:
                self._tie(inputs[k], [own], f"they are an input of each step of layer '{name}'")
            else:
                self._pin(inputs[k], f"they are an input of each step of layer '{name}'")
        further = len(call.outputs) - 1
        per = max(further // states, 1)
        return [output, *([first] if at % per == 0 else [own] for at in range(further))]

    @staticmethod
    def _read_cell(name: str, cell: Spec, own: Slot) -> None:
        if cell.get("heads"):
            own.root.pinned = own.root.pinned or f"the cell of layer '{name}' has heads"
        if any(step[0] in _ROW_OPERATIONS for step in cell["equations"]["nodes"]):
            own.root.whole = own.root.whole or f"the cell of layer '{name}' looks at all of them"

    def _tie(self, one: Features, two: Features, why: str) -> None:
        if [slot.size for slot in one] == [slot.size for slot in two]:
            for a, b in zip(one, two, strict=True):
                a.tie(b)
        else:
            self._pin([*one, *two], why)

    @staticmethod
    def _pin(features: Features, why: str) -> None:
        for slot in features:
            slot.root.pinned = slot.root.pinned or why

    def _repeat_whole(self, features: Features, why: str) -> None:
        if len(features) > 1:
            self._pin(features, f"{why} and others")
        for slot in features:
            slot.root.whole = slot.root.whole or why

    def growing(self) -> dict[str, Slot]:
        """The layers that can become wider, by name, with their slots."""
        return {name: slot.root for name, slot in self.own.items() if slot.root.layers and not slot.root.pinned}
