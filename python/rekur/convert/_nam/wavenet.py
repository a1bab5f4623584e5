"""Neural Amp Modeler's WaveNet: arrays of dilated causal convolutions, all of which see the input, and a head."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from rekur.convert._audio import count, width
from rekur.convert._nam.network import Network, Weights, flag, known

_FILMS = (
    "conv_pre_film", "conv_post_film", "input_mixin_pre_film", "input_mixin_post_film",
    "activation_pre_film", "activation_post_film", "layer1x1_post_film", "head1x1_post_film",
)  # fmt: skip
_KEYS = (
    "input_size", "condition_size", "channels", "bottleneck", "kernel_size", "kernel_sizes", "dilations",
    "activation", "gated", "gating_mode", "secondary_activation", "head", "head_size", "head_bias",
    "groups_input", "groups_input_mixin", "layer1x1", "head1x1", "slimmable", *_FILMS,
)  # fmt: skip
_MODES = ("none", "gated", "blended")


class _Array(NamedTuple):
    """What all layers of an array have in common, and what each has."""

    features: int  # of its input
    channels: int  # between its layers
    bottleneck: int  # within a layer
    sizes: list[int]  # of the kernels, by layer
    dilations: list[int]
    activations: list[Any]
    modes: list[str]
    gates: list[Any]  # activations of the other half, where the mode is not none
    residual: bool  # whether a layer has a product to the next
    out: int  # of the head
    out_size: int  # of its kernel
    out_dilation: int
    out_bias: bool
    to_head: int  # outputs of a product to the head; 0: there is none
    groups: dict[str, int]
    films: dict[str, tuple[bool, int]]  # by place: whether it shifts, groups


def wavenet(network: Network, x: Any, config: Mapping[str, Any], weights: Weights, condition: Any) -> Any:
    """Its output. ``condition`` is what its layers see besides: the input, or what another network made of it."""
    what = network.what
    known(config, ("layers", "head", "head_scale", "in_channels", "condition_dsp"), f"{what}: config")
    listed = config.get("layers")
    if not isinstance(listed, list) or not listed:
        raise ValueError(f"{what}: config: layers: expected a list of at least one array of layers, got {listed!r:.80}")
    arrays = [_array(entry, f"{what}: config: layers[{k}]", condition.shape[-1]) for k, entry in enumerate(listed)]
    y, head = x, None
    for k, array in enumerate(arrays):
        place = f"{what}: config: layers[{k}]"
        if array.features != y.shape[-1]:
            raise ValueError(f"{place}: input_size: expected {y.shape[-1]}, as come to it, got {array.features}")
        if head is not None and head.shape[-1] != (array.to_head or array.bottleneck):
            raise ValueError(
                f"{place}: the array before has {head.shape[-1]} outputs, its own head reads "
                f"{array.to_head or array.bottleneck}"
            )
        y, head = _array_output(network, array, y, condition, head, weights, f"array{k}", k + 1 == len(arrays))
    after = config.get("head")
    if after is not None:
        return _head(network, head, after, weights)
    return network.scaled(head, float(weights.take()), "head_scale")


def _layers(config: Mapping[str, Any], key: str, number: int, what: str, default: Any) -> list[Any]:
    """One value for all layers, or a list of one each."""
    value = config.get(key, default)
    values = value if isinstance(value, list) else [value] * number
    if len(values) != number:
        raise ValueError(f"{what}: {key}: expected {number}, one for each of the dilations, got {len(values)}")
    return values


def _array(config: Any, what: str, condition: int) -> _Array:
    if not isinstance(config, Mapping):
        raise ValueError(f"{what}: expected an object, got {config!r:.80}")
    known(config, _KEYS, what)
    if count(config, "condition_size", what) != condition:
        raise ValueError(f"{what}: condition_size: expected {condition}, got {config['condition_size']}")
    channels = width(config, "channels", what)
    bottleneck = width(config, "bottleneck", what, channels)
    dilations = config.get("dilations")
    if not isinstance(dilations, list) or not dilations:
        raise ValueError(f"{what}: dilations: expected a list of at least one, got {dilations!r:.80}")
    number = len(dilations)
    if ("kernel_size" in config) == ("kernel_sizes" in config):
        raise ValueError(f"{what}: expected kernel_size or kernel_sizes")
    key = "kernel_sizes" if "kernel_sizes" in config else "kernel_size"
    if isinstance(config[key], list) != (key == "kernel_sizes"):
        raise ValueError(f"{what}: {key}: expected {'a list' if key == 'kernel_sizes' else 'a number'}")
    sizes = _layers(config, key, number, what, None)
    out, out_size, out_dilation, out_bias = _array_head(config, what)
    groups = {key: count(config, key, what, default=1) for key in ("groups_input", "groups_input_mixin")}
    residual, to_head = True, 0
    if config.get("layer1x1") is not None:
        entry = _object(config, "layer1x1", what)
        known(entry, ("active", "groups"), f"{what}: layer1x1")
        residual = flag(entry, "active", f"{what}: layer1x1")
        groups["layer1x1"] = count(entry, "groups", f"{what}: layer1x1")
    if config.get("head1x1") is not None:
        entry = _object(config, "head1x1", what)
        known(entry, ("active", "out_channels", "groups"), f"{what}: head1x1")
        if flag(entry, "active", f"{what}: head1x1"):
            to_head = width(entry, "out_channels", f"{what}: head1x1")
            groups["head1x1"] = count(entry, "groups", f"{what}: head1x1")
    if not residual and bottleneck != channels:
        raise ValueError(f"{what}: bottleneck: expected {channels} channels without layer1x1, got {bottleneck}")
    films = {}
    for place in _FILMS:
        if config.get(place) in (None, False):
            continue
        entry = _object(config, place, what)
        known(entry, ("active", "shift", "groups"), f"{what}: {place}")
        if flag(entry, "active", f"{what}: {place}", True):
            films[place] = (
                flag(entry, "shift", f"{what}: {place}", True),
                count(entry, "groups", f"{what}: {place}", default=1),
            )
    if "layer1x1_post_film" in films and not residual:
        raise ValueError(f"{what}: layer1x1_post_film: there is no layer1x1")
    if "head1x1_post_film" in films and not to_head:
        raise ValueError(f"{what}: head1x1_post_film: there is no head1x1")
    return _Array(
        width(config, "input_size", what), channels, bottleneck,
        [count({key: size}, key, what) for size in sizes],
        [count({"dilations": dilation}, "dilations", what) for dilation in dilations],
        _layers(config, "activation", number, what, None), _modes(config, number, what),
        _layers(config, "secondary_activation", number, what, "Sigmoid"), residual,
        out, out_size, out_dilation, out_bias, to_head, groups, films,
    )  # fmt: skip


def _object(config: Mapping[str, Any], key: str, what: str) -> Mapping[str, Any]:
    value = config[key]
    if not isinstance(value, Mapping):
        raise ValueError(f"{what}: {key}: expected an object, got {value!r:.80}")
    return value


def _array_head(config: Mapping[str, Any], what: str) -> tuple[int, int, int, bool]:
    """Outputs, kernel, dilation, bias."""
    if config.get("head") is None:
        return width(config, "head_size", what), 1, 1, flag(config, "head_bias", what)
    entry, what = _object(config, "head", what), f"{what}: head"
    known(entry, ("out_channels", "kernel_size", "head_dilation", "bias"), what)
    return (
        width(entry, "out_channels", what),
        count(entry, "kernel_size", what),
        count(entry, "head_dilation", what, default=1),
        flag(entry, "bias", what),
    )


def _modes(config: Mapping[str, Any], number: int, what: str) -> list[str]:
    if "gating_mode" not in config:
        return ["gated" if flag(config, "gated", what, False) else "none"] * number
    modes = _layers(config, "gating_mode", number, what, None)
    for mode in modes:
        if mode not in _MODES:
            raise ValueError(f"{what}: gating_mode: expected none, gated or blended, got {mode!r:.80}")
    return modes


def _array_output(
    network: Network, array: _Array, x: Any, condition: Any, head: Any, weights: Weights, name: str, last: bool
) -> tuple[Any, Any]:
    """Of an array: what goes on to the next one, and what its head makes of all its layers and of the array before."""
    rechannel = weights.product(x.shape[-1], array.channels, name, bias=False)
    x = network.product(x, rechannel, f"{name}_rechannel")
    to_head = [] if head is None else [head]
    for k in range(len(array.sizes)):
        # What the last layer of all hands on, nobody reads.
        x, z = _layer(network, array, k, x, condition, weights, f"{name}_layer{k}", last and k + 1 == len(array.sizes))
        to_head.append(z)
    total = network.add(f"{name}_sum", *to_head) if len(to_head) > 1 else to_head[0]
    product = weights.product(total.shape[-1], array.out, f"{name}_head", array.out_size, array.out_bias)
    return x, network.product(total, product, f"{name}_head", array.out_dilation)


def _layer(
    network: Network, array: _Array, k: int, x: Any, condition: Any, weights: Weights, name: str, last: bool
) -> tuple[Any, Any]:
    mode, groups, inner, seen = array.modes[k], array.groups, array.bottleneck, int(condition.shape[-1])
    wide = inner * (1 if mode == "none" else 2)
    # Weights stand there in another order than that of their use.
    conv = weights.product(array.channels, wide, name, array.sizes[k], groups=groups["groups_input"])
    mixin = weights.product(seen, wide, name, bias=False, groups=groups["groups_input_mixin"])
    residual = to_head = None
    if array.residual:
        residual = weights.product(inner, array.channels, name, groups=groups.get("layer1x1", 1))
    if array.to_head:
        to_head = weights.product(inner, array.to_head, name, groups=groups["head1x1"])
    wides = dict.fromkeys(_FILMS, wide) | {
        "conv_pre_film": array.channels, "input_mixin_pre_film": seen, "activation_post_film": inner,
        "layer1x1_post_film": array.channels, "head1x1_post_film": array.to_head,
    }  # fmt: skip
    films = {
        place: weights.product(seen, wides[place] * (2 if shifts else 1), name, groups=film_groups)
        for place, (shifts, film_groups) in array.films.items()
    }

    def film(place: str, y: Any) -> Any:
        """y⊙scale + shift, both of which are a product of the condition."""
        if place not in films:
            return y
        label = f"{name}_{place}"
        both = network.product(condition, films[place], label)
        if not array.films[place][0]:
            return network.multiply(f"{label}_scaled", y, both)
        scale = network.cut(both, 0, wides[place], f"{label}_scale")
        shift = network.cut(both, wides[place], 2 * wides[place], f"{label}_shift")
        return network.add(f"{label}_output", network.multiply(f"{label}_scaled", y, scale), shift)

    z = network.product(film("conv_pre_film", x), conv, f"{name}_conv", array.dilations[k])
    z = film("conv_post_film", z)
    mixed = network.product(film("input_mixin_pre_film", condition), mixin, f"{name}_mixin")
    z = network.add(f"{name}_input", z, film("input_mixin_post_film", mixed))
    z = _activated(network, array, k, film("activation_pre_film", z), name)
    z = film("activation_post_film", z)
    head = z
    if to_head is not None:
        head = film("head1x1_post_film", network.product(z, to_head, f"{name}_to_head"))
    if last or residual is None:
        return x, head
    # In other modes the engine reads the weights of the FiLM and leaves it out.
    modulated = mode == "blended" and "layer1x1_post_film" in films
    handed = network.product(z, residual, f"{name}_residual", added=not modulated)
    if modulated:
        handed = film("layer1x1_post_film", handed)
    return network.add(f"{name}_output", x, handed), head


def _activated(network: Network, array: _Array, k: int, z: Any, name: str) -> Any:
    def activation(x: Any, given: Any, label: str) -> Any:
        return network.activation(x, given, f"{name}_{label}", f"config: {name}: {label}")

    if array.modes[k] == "none":
        return activation(z, array.activations[k], "activation")
    before = network.cut(z, 0, array.bottleneck, f"{name}_first")
    gate = network.cut(z, array.bottleneck, 2 * array.bottleneck, f"{name}_second")
    after = activation(before, array.activations[k], "activation")
    gate = activation(gate, array.gates[k], "gate")
    if array.modes[k] == "gated":
        return network.multiply(f"{name}_gated", after, gate)
    # gate⊙after + (1 − gate)⊙before
    change = network.subtract(f"{name}_change", after, before)
    return network.add(f"{name}_blended", before, network.multiply(f"{name}_part", gate, change))


def _head(network: Network, x: Any, config: Any, weights: Weights) -> Any:
    """What some files have behind all arrays: activations, each before a convolution."""
    what = f"{network.what}: config: head"
    if not isinstance(config, Mapping):
        raise ValueError(f"{what}: expected an object, got {config!r:.80}")
    known(config, ("in_channels", "channels", "out_channels", "kernel_sizes", "activation"), what)
    if config.get("in_channels") is not None and count(config, "in_channels", what) != x.shape[-1]:
        raise ValueError(f"{what}: in_channels: expected {x.shape[-1]}, got {config['in_channels']}")
    sizes = config.get("kernel_sizes")
    if not isinstance(sizes, list) or not sizes:
        raise ValueError(f"{what}: kernel_sizes: expected a list of at least one, got {sizes!r:.80}")
    inner, out = width(config, "channels", what), width(config, "out_channels", what)
    products, features = [], int(x.shape[-1])
    for k, size in enumerate(sizes):
        taps = count({"kernel_sizes": size}, "kernel_sizes", what)
        wide = out if k + 1 == len(sizes) else inner
        products.append(weights.product(features, wide, f"head{k}", taps))
        features = wide
    y = network.scaled(x, float(weights.take()), "head_scale")
    for k, product in enumerate(products):
        y = network.activation(y, config.get("activation"), f"head{k}_activation", "config: head: activation")
        y = network.product(y, product, f"head{k}")
    return y
