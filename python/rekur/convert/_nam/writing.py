"""Models that are one of Neural Amp Modeler's networks, as what its files say of them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from rekur.convert._audio import Effect
from rekur.convert._nam.activations import FAST_TANH, NAMED, bounds_of, leaky_hard_tanh
from rekur.convert._plain import demand_plain

WHO = "Neural Amp Modeler's WaveNet"
_OLD, _NEW = "0.5.4", "0.7.0"  # versions of the file: of all programs, and where something of the new ones is said
_NAMES = {ours: theirs for theirs, ours in NAMED.items()}

Written = tuple[str, str, dict[str, Any], list[Any]]  # version, architecture, config, arrays of weights


def activation_of(layer: Any) -> Any:
    """What a file says of a layer Activation or PReLU.

    Raises
    ------
    ValueError
        If there is no such activation there.
    """
    if layer.type == "PReLU":
        (alpha,) = layer.get_weights()
        if alpha.ndim != 2 or alpha.shape[0] != 1:
            raise ValueError(f"layer '{layer.name}': {WHO} has one slope a channel: shared_axes=[1]")
        return {"type": "PReLU", "negative_slopes": [float(f"{v:.9g}") for v in alpha[0]]}
    given = layer.activation
    name = given["name"] if isinstance(given, Mapping) else given
    if given == FAST_TANH:
        return "Fasttanh"
    if name == "leaky_hard_tanh" and isinstance(given, Mapping):
        bounds = bounds_of(given)
        if given == leaky_hard_tanh(*bounds.values()):
            return {"type": "LeakyHardtanh", **{key: float(f"{v:.9g}") for key, v in bounds.items()}}
    if name == "leaky_relu":
        slope = given.get("alpha", 0.2) if isinstance(given, Mapping) else 0.2
        return {"type": "LeakyReLU", "negative_slope": slope}
    from rekur.layers import Activation

    if name not in _NAMES or given != Activation(name).activation:
        raise ValueError(f"layer '{layer.name}': {WHO} has no activation {name!r}")
    return _NAMES[name]


def _demand_plain(conv: Any, who: str, allowed: tuple[str, ...]) -> None:
    demand_plain(conv, who, allowed, type(conv)(conv.filters, conv.kernel_size))


class _Layer(NamedTuple):
    """What makes one term of an array's sum."""

    before: Any  # the tensor that it reads
    value: Any  # what its activation gives
    mode: str
    activation: Any
    gate: Any
    conv: Any
    mixin: Any
    to_head: Any  # a layer, or None


class _Reader:
    """Goes from a model's output to its input."""

    def __init__(self, model: Any) -> None:
        self.calls = {t: call for call in model._order for t in call.outputs}
        self.input = model.inputs[0]
        self.offsets: dict[Any, Any] = {}  # by convolution: what is added to what it reads, zeros before it left out

    def layer(self, tensor: Any) -> Any:
        return self.calls[tensor].layer

    def inputs(self, tensor: Any, *types: str) -> list[Any]:
        """What the layer that made a tensor reads, if it is one of these types."""
        layer = self.layer(tensor)
        if layer.type not in types:
            raise ValueError(f"{WHO} has {' or '.join(types)} where the model has '{layer.name}' ({layer.type})")
        return list(self.calls[tensor].inputs)

    def product(self, tensor: Any) -> tuple[Any, Any]:
        """A Dense or a causal convolution, and what it reads."""
        (before,) = self.inputs(tensor, "Dense", "Conv1D")
        layer = self.layer(tensor)
        if layer.type == "Dense":
            demand_plain(layer, WHO, ("units", "use_bias"))
            return layer, before
        _demand_plain(layer, WHO, ("padding", "dilation_rate", "groups", "use_bias"))
        if layer.padding != "causal" and layer.kernel_size != 1:
            raise ValueError(f"layer '{layer.name}': {WHO} has convolutions of padding='causal'")
        if self.layer(before).type == "Rescaling" and is_offset(self.layer(before)):
            self.offsets[layer] = np.asarray(self.layer(before).offset, float)
            (before,) = self.inputs(before, "Rescaling")
        return layer, before

    def term(self, tensor: Any) -> _Layer:
        to_head = None
        value = tensor
        if self.layer(tensor).type in ("Dense", "Conv1D"):
            to_head, value = self.product(tensor)
        kind = self.layer(value).type
        gate = None
        if kind == "Multiply":
            mode = "gated"
            after, gated = self._two(value, "Multiply")
            both = self._halves(after, gated)
        elif kind == "Add":
            mode = "blended"
            before, part = self._two(value, "Add")
            gated, change = self._two(part, "Multiply")
            after, again = self._two(change, "Subtract")
            both = self._halves(after, gated)
            if again is not before or self.inputs(after, "Activation", "PReLU")[0] is not before:
                raise ValueError(f"layer '{self.layer(value).name}': {WHO} blends with what the activation reads")
        else:
            mode, after, gated = "none", value, None
            (both,) = self.inputs(after, "Activation", "PReLU")
        activation = activation_of(self.layer(after))
        gate = None if gated is None else activation_of(self.layer(gated))
        conv, before = self.product(self._two(both, "Add")[0])
        mixin, seen = self.product(self._two(both, "Add")[1])
        if seen is not self.input or mixin.use_bias or _size(mixin) != 1:
            raise ValueError(f"layer '{mixin.name}': {WHO} adds a product of the input without a bias here")
        return _Layer(before, value, mode, activation, gate, conv, mixin, to_head)

    def _two(self, tensor: Any, kind: str) -> list[Any]:
        found = self.inputs(tensor, kind)
        if len(found) != 2:
            raise ValueError(f"layer '{self.layer(tensor).name}': {WHO} has {kind} of two here, it is of {len(found)}")
        return found

    def _halves(self, after: Any, gated: Any) -> Any:
        """The tensor whose two halves two activations read."""
        (first,), (second,) = (self.inputs(t, "Activation", "PReLU") for t in (after, gated))
        (whole,), (other,) = self.inputs(first, "Slice"), self.inputs(second, "Slice")
        channels = int(whole.shape[-1])
        places = [[_place(self.layer(t).start, 0, channels), _place(self.layer(t).stop, channels, channels)]
                  for t in (first, second)]  # fmt: skip
        if whole is not other or places != [[0, channels // 2], [channels // 2, channels]] or channels % 2:
            raise ValueError(f"layer '{self.layer(first).name}': {WHO} has halves of one convolution here")
        return whole


def _place(value: Any, default: int, size: int) -> int:
    return default if value is None else value + size if value < 0 else int(value)


def _size(layer: Any) -> int:
    return 1 if layer.type == "Dense" else int(layer.kernel_size)


def _groups(layer: Any) -> int:
    return 1 if layer.type == "Dense" else int(layer.groups)


def _out(layer: Any) -> int:
    return int(layer.units if layer.type == "Dense" else layer.filters)


def _dilation(layer: Any) -> int:
    return 1 if layer.type == "Dense" else int(layer.dilation_rate)


def is_offset(layer: Any) -> bool:
    """Whether a Rescaling adds and no more, as before convolutions of networks that begin settled."""
    return bool(np.all(np.asarray(layer.scale) == 1) and np.any(np.asarray(layer.offset) != 0))


def _reached(layer: Any, offset: Any) -> Any:
    """What a convolution makes of an offset of all that it reads."""
    kernel = layer.get_weights()[0].astype(float).sum(axis=0)
    inner, out = kernel.shape
    offset = np.broadcast_to(offset, (inner * layer.groups,)).reshape(layer.groups, inner)
    return np.einsum("gi,igo->go", offset, kernel.reshape(inner, layer.groups, out // layer.groups)).reshape(-1)


def _numbers(layer: Any, bias: bool, offset: Any = None) -> list[Any]:
    """Of each output, of each of its inputs the taps; then biases."""
    kernel, *biases = layer.get_weights()
    kernel = kernel.reshape(1, *kernel.shape) if kernel.ndim == 2 else kernel
    found = [kernel.transpose(2, 1, 0)]
    if bias:
        values = biases[0] if biases else np.zeros(_out(layer), np.float32)
        found.append(values if offset is None else np.float32(values + _reached(layer, offset)))
    return found


def wavenet_of(model: Any) -> Written:
    """What a file says of a WaveNet.

    Raises
    ------
    ValueError
        If the model is none, naming the layer at which that is seen.
    """
    read = _Reader(model)
    tensor, after, scale = model.outputs[0], [], 1.0
    post: list[tuple[Any, Any]] = []  # layers behind all arrays and the activations before them
    while read.layer(tensor).type in ("Dense", "Conv1D"):
        layer, before = read.product(tensor)
        if read.layer(before).type not in ("Activation", "PReLU") or read.layer(
            read.inputs(before, "Activation", "PReLU")[0]
        ).type not in ("Rescaling", "Dense", "Conv1D"):
            break
        post.insert(0, (layer, activation_of(read.layer(before))))
        (tensor,) = read.inputs(before, "Activation", "PReLU")
    if read.layer(tensor).type == "Rescaling":
        layer = read.layer(tensor)
        scales = np.unique(np.asarray(layer.scale, np.float32))
        if np.any(np.asarray(layer.offset) != 0) or scales.size != 1:
            raise ValueError(f"layer '{layer.name}': {WHO} has one factor of all channels and no offset")
        scale = float(scales[0])
        (tensor,) = read.inputs(tensor, "Rescaling")
    arrays: list[dict[str, Any]] = []
    numbers: list[list[Any]] = []
    handed: Any = None  # what the array behind reads
    while tensor is not None:
        entry, found, tensor, handed = _array(read, tensor, handed)
        arrays.insert(0, entry)
        numbers.insert(0, found)
    if handed is not read.input:
        raise ValueError(f"layer '{read.layer(handed).name}': {WHO}'s first array reads the input")
    config: dict[str, Any] = {"layers": arrays, "head": None, "head_scale": float(f"{scale:.9g}")}
    if (features := int(read.input.shape[-1])) != 1:
        config["in_channels"] = features
    if post:
        config["head"] = _post(post)
    for layer, _ in post:
        after += _numbers(layer, True, read.offsets.get(layer))
    new = post or any({"head", "kernel_sizes", "gating_mode", "layer1x1", "head1x1", "bottleneck"} & entry.keys()
                      or not isinstance(entry["activation"], str) for entry in arrays)  # fmt: skip
    weights = [array for found in numbers for array in found] + after + [np.float32(scale)]
    return _NEW if new else _OLD, "WaveNet", config, weights


def _post(post: list[tuple[Any, Any]]) -> dict[str, Any]:
    first, last = post[0][0], post[-1][0]
    for k, (layer, activation) in enumerate(post):
        if activation != post[0][1] or _dilation(layer) != 1 or _groups(layer) != 1:
            raise ValueError(f"layer '{layer.name}': {WHO}'s head has one activation, no dilation and no groups")
        if k + 1 < len(post) and _out(layer) != _out(first):
            raise ValueError(f"layer '{layer.name}': {WHO}'s head has one number of channels within")
    return {
        "channels": _out(first), "out_channels": _out(last), "kernel_sizes": [_size(layer) for layer, _ in post],
        "activation": post[0][1],
    }  # fmt: skip


def _array(read: _Reader, tensor: Any, handed: Any) -> tuple[dict[str, Any], list[Any], Any, Any]:
    """Config and weights of the array that made a head's output; the head's output and input of the one before it.

    ``handed`` is what it gives to the array behind it, None of the last one.
    """
    head, total = read.product(tensor)
    terms = read.inputs(total, "Add") if _is_sum(read, total) else [total]
    layers: list[_Layer] = []
    residuals: list[Any] = []
    while not layers or read.layer(layers[0].before).type == "Add":
        if len(layers) == len(terms):
            raise ValueError(f"layer '{read.layer(total).name}': {WHO} adds up all layers of an array")
        one = read.term(terms[-1 - len(layers)])
        behind = layers[0].before if layers else handed
        residuals.insert(0, None if behind is None else _residual(read, one, behind))
        layers.insert(0, one)
    rechannel, before = read.product(layers[0].before)
    rest = terms[: len(terms) - len(layers)]
    if rechannel.use_bias or _size(rechannel) != 1 or _groups(rechannel) != 1 or _groups(head) != 1 or len(rest) > 1:
        raise ValueError(
            f"layer '{head.name}': {WHO}'s arrays begin with a product without a bias, and end with one of the sum of "
            "their layers and of what the array before made of its own"
        )

    def same(what: str, values: list[int]) -> int:
        if len(set(values)) != 1:
            raise ValueError(f"layer '{head.name}': {WHO} has {what} of one kind in all layers of an array")
        return values[0]

    channels = _out(rechannel)
    inner = same("channels", [_out(one.conv) // (1 if one.mode == "none" else 2) for one in layers])
    sizes = [_size(one.conv) for one in layers]
    activations = [one.activation for one in layers]
    entry: dict[str, Any] = {
        "input_size": int(before.shape[-1]),
        "condition_size": int(read.input.shape[-1]),
        "channels": channels,
        **({"kernel_size": sizes[0]} if len(set(sizes)) == 1 else {"kernel_sizes": sizes}),
        "dilations": [_dilation(one.conv) for one in layers],
        "activation": activations if any(one != activations[0] for one in activations) else activations[0],
    }
    if inner != channels:
        entry["bottleneck"] = inner
    groups = {
        "groups_input": same("groups", [_groups(one.conv) for one in layers]),
        "groups_input_mixin": same("groups", [_groups(one.mixin) for one in layers]),
    }
    entry.update({key: value for key, value in groups.items() if value != 1})
    handing = same("groups", [_groups(one) for one in residuals if one is not None] or [1])
    if handing != 1:
        entry["layer1x1"] = {"active": True, "groups": handing}
    _say_gates(entry, layers)
    _say_heads(entry, head, [one.to_head for one in layers], same)
    numbers = _numbers(rechannel, False)
    for one, residual in zip(layers, residuals, strict=True):
        numbers += [*_numbers(one.conv, True, read.offsets.get(one.conv)), *_numbers(one.mixin, False)]
        if residual is None:  # what nobody reads
            numbers += [np.zeros(channels * (inner // handing + 1), np.float32)]
        else:
            numbers += _numbers(residual, True)
        numbers += [] if one.to_head is None else _numbers(one.to_head, True)
    numbers += _numbers(head, bool(head.use_bias), read.offsets.get(head))
    return entry, numbers, rest[0] if rest else None, before


def _is_sum(read: _Reader, total: Any) -> bool:
    """Whether it is one of layers, rather than of one that blends."""
    call = read.calls[total]
    if call.layer.type != "Add" or len(call.inputs) != 2:
        return bool(call.layer.type == "Add")
    return not (read.layer(call.inputs[1]).type == "Multiply" and read.layer(call.inputs[0]).type == "Slice")


def _residual(read: _Reader, one: _Layer, behind: Any) -> Any:
    """The layer that makes of a layer's output what is added to its input."""
    before, added = read._two(behind, "Add")
    residual, value = read.product(added)
    if before is not one.before or value is not one.value or _size(residual) != 1:
        raise ValueError(f"layer '{residual.name}': {WHO} adds a product of a layer's output to its input here")
    return residual


def _say_gates(entry: dict[str, Any], layers: list[_Layer]) -> None:
    modes, gates = [one.mode for one in layers], [one.gate for one in layers]
    if set(modes) == {"none"}:
        entry["gated"] = False
    elif set(modes) == {"gated"} and all(gate == "Sigmoid" for gate in gates):
        entry["gated"] = True
    else:
        entry["gating_mode"] = modes
        entry["secondary_activation"] = ["Sigmoid" if gate is None else gate for gate in gates]


def _say_heads(entry: dict[str, Any], head: Any, to_head: list[Any], same: Any) -> None:
    if _size(head) == 1:
        entry.update({"head_size": _out(head), "head_bias": bool(head.use_bias)})
    else:
        entry["head"] = {"out_channels": _out(head), "kernel_size": _size(head), "bias": bool(head.use_bias)}
        if _dilation(head) != 1:
            entry["head"]["head_dilation"] = _dilation(head)
    if same("products to the head", [0 if one is None else _out(one) for one in to_head]):
        if any(_size(one) != 1 for one in to_head):
            raise ValueError(f"layer '{to_head[0].name}': {WHO}'s products to the head are of one step")
        groups = same("groups", [_groups(one) for one in to_head])
        entry["head1x1"] = {"active": True, "out_channels": _out(to_head[0]), "groups": groups}


def convnet_of(effect: Effect) -> Written:
    """What a file says of a chain of convolutions of two taps, or of one alone (Linear).

    Raises
    ------
    ValueError
        If the model is none.
    """
    who = "Neural Amp Modeler's ConvNet"
    if effect.skip or effect.gain_in != 1 or effect.gain_out != 1:
        raise ValueError(f"{who} has no gains, and does not add the input to the output")
    layers = list(effect.layers)
    if len(layers) == 1 and layers[0].type == "Conv1D":
        _demand_plain(layers[0], who, ("padding", "use_bias"))
        if effect.features != 1 or layers[0].filters != 1 or layers[0].padding != "causal":
            raise ValueError(f"layer '{layers[0].name}': Neural Amp Modeler's Linear is causal, and of one channel")
        (kernel, *bias), size = layers[0].get_weights(), layers[0].kernel_size
        return _OLD, "Linear", {"receptive_field": size, "bias": bool(bias)}, [kernel[::-1, 0, 0], *bias]
    head = layers.pop()
    if head.type != "Dense" or not layers:
        raise ValueError(f"{who} ends with a Dense, the model with '{head.name}' ({head.type})")
    demand_plain(head, who, ("units", "use_bias"))
    dilations, activations, numbers = [], [], []
    convs, norms = [], []
    while layers:
        offset = layers.pop(0).offset if layers[0].type == "Rescaling" and is_offset(layers[0]) else None
        conv = layers.pop(0) if layers else head
        if conv.type != "Conv1D":
            raise ValueError(f"{who} has a convolution where the model has '{conv.name}' ({conv.type})")
        _demand_plain(conv, who, ("padding", "dilation_rate", "groups", "use_bias"))
        norm = layers.pop(0) if layers and layers[0].type == "BatchNormalization" else None
        if conv.padding != "causal" or conv.kernel_size != 2 or not layers or (norm is not None and conv.use_bias):
            raise ValueError(
                f"layer '{conv.name}': {who} has causal convolutions of two taps, an activation behind each, and a "
                "BatchNormalization between, then without a bias before it"
            )
        convs.append(conv)
        norms.append(norm)
        dilations.append(conv.dilation_rate)
        activations.append(activation_of(layers.pop(0)))
        numbers += _numbers(conv, norm is None, offset)
        numbers += [] if norm is None else _statistics(norm, None if offset is None else _reached(conv, offset))
    if len({(c.filters, c.groups) for c in convs}) != 1 or len({n is None for n in norms}) != 1:
        raise ValueError(f"layer '{convs[0].name}': {who} has blocks that are alike but for their dilation")
    if any(one != activations[0] for one in activations):
        raise ValueError(f"layer '{head.name}': {who} has one activation")
    config: dict[str, Any] = {
        "channels": convs[0].filters,
        "dilations": dilations,
        "batchnorm": norms[0] is not None,
        "activation": activations[0],
    }
    for key, value in (("groups", convs[0].groups), ("in_channels", effect.features), ("out_channels", head.units)):
        if value != 1:
            config[key] = value
    return _OLD if isinstance(activations[0], str) else _NEW, "ConvNet", config, numbers + _numbers(head, True)


def _statistics(norm: Any, reached: Any) -> list[Any]:
    """``reached``: what an offset adds to what is normalised."""
    channels = norm.get_weights()[0].shape[0]
    weights = norm.get_weights()
    gamma = weights.pop(0) if norm.scale else np.ones(channels, np.float32)
    beta = weights.pop(0) if norm.center else np.zeros(channels, np.float32)
    mean, variance = weights
    mean = mean if reached is None else np.float32(mean - reached)
    return [mean, variance, gamma, beta, np.float32(norm.epsilon)]
