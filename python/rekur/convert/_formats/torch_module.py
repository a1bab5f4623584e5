"""nn.Module objects of PyTorch: they say all that they are, and their code is never run."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from rekur.convert import _torch_parts as by_tensors
from rekur.convert._dialects import Cell
from rekur.convert._parts import Chain, Made, Part
from rekur.convert._recurrent import _label, single, stack
from rekur.convert._registry import Format
from rekur.convert._source import Source, as_array

_FIRST_CHANNELS = {"Conv1d", "ConvTranspose1d", "MaxPool1d", "AvgPool1d", "BatchNorm1d"}  # (B, C, T) in torch
_LAST_FEATURES = {"Linear", "RNN", "LSTM", "GRU", "LayerNorm", "RMSNorm", "Embedding"}


def _recognises(source: Source) -> bool:
    return source.path is None and _is_module(source.object)


def _is_module(value: Any) -> bool:
    return any(c.__name__ == "Module" and c.__module__ == "torch.nn.modules.module" for c in type(value).__mro__)


def _kind(module: Any) -> str:
    """The name of a class of torch's own, or of rekur.torch's in its place; empty for a class of somebody else's."""
    cls = type(module)
    return cls.__name__ if cls.__module__.startswith(("torch.nn.", "rekur.torch")) else ""


def _parts(source: Source) -> dict[str, Part]:
    module = source.object
    if not _recognises(source):
        raise TypeError(f"load: format 'torch-module' is an nn.Module, got {source}")
    if _kind(module) == "Sequential":
        flat = dict(_flattened(module, ""))
        _check_layout(flat, str(source))
        steps = any(_kind(child) in _FIRST_CHANNELS - {"BatchNorm1d"} for child in flat.values())
        found = Chain((name, _part(name, child, str(source))) for name, child in flat.items())
        for name, part in found.items():
            if part.options == ("steps",):
                found[name] = dataclasses.replace(part, make=functools.partial(part.make, steps=steps))
        return found
    if _kind(module) in _MAKERS:
        return Chain([("", _part("", module, str(source)))])
    walked: dict[str, Part] = {}
    _walk(module, "", walked, str(source))
    if not walked:
        raise ValueError(f"{source}: it has no module that is known here: {_children(module)}")
    return walked


def _flattened(module: Any, place: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, child in module.named_children():
        inner = f"{place}.{name}" if place else name
        found += _flattened(child, inner) if _kind(child) == "Sequential" else [(inner, child)]
    return found


def _walk(module: Any, place: str, found: dict[str, Part], what: str) -> None:
    """Known modules within one whose ``forward`` is its author's: order and use are not known."""
    for name, child in module.named_children():
        inner = f"{place}.{name}" if place else name
        if _kind(child) in _MAKERS:
            found[inner] = _part(inner, child, what)
        elif _kind(child) in ("Sequential", "ModuleList", "ModuleDict") or not _kind(child):
            _walk(child, inner, found, what)
        else:
            found[inner] = _part(inner, child, what)


def _children(module: Any) -> str:
    names = [f"'{name}' ({type(child).__name__})" for name, child in module.named_children()]
    return ", ".join(names) if names else "it has no modules within"


def _check_layout(modules: dict[str, Any], what: str) -> None:
    """torch's convolutions read (B, C, T), its other layers (B, T, C): in a Sequential one of them reads the time."""
    kinds = {name: _kind(module) for name, module in modules.items()}
    first = [name for name, kind in kinds.items() if kind in _FIRST_CHANNELS - {"BatchNorm1d"}]
    last = [name for name, kind in kinds.items() if kind in _LAST_FEATURES]
    if first and last:
        a, b = first[0], last[0]
        raise ValueError(
            f"{what}: '{a}' ({kinds[a]}) reads (B, C, T) and '{b}' ({kinds[b]}) the last axis, which is time then; "
            "rekur has features last. Say by layers= what is meant"
        )


def _part(name: str, module: Any, what: str) -> Part:
    kind = _kind(module)
    if kind not in _MAKERS:
        shown = f"{type(module).__module__}.{type(module).__name__}"

        def refuse() -> list[Made]:
            raise ValueError(f"{what}: '{name}' is a {shown}, for which there is no layer here")

        return Part(name, f"{shown}, not known here", refuse, None)
    return _MAKERS[kind](name, module, what)


def _leaves(module: Any) -> dict[str, Any]:
    found = {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}
    return {name: as_array(tensor, name) for name, tensor in found.items() if tensor is not None}


def _refuse(name: str, module: Any, what: str, settings: dict[str, Any]) -> None:
    """Settings that are not as they have to be."""
    for key, value in settings.items():
        found = getattr(module, key, value)
        if found != value:
            raise ValueError(f"{what}: '{name}' ({_kind(module)}): there is no {key}={found!r} here")


# One function a class of torch's.


def _recurrent(name: str, module: Any, what: str) -> Part:
    kind = {"RNN": "SimpleRNN"}.get(_kind(module), _kind(module))
    leaves = _leaves(module)
    suffixes = ("", "_reverse") if module.bidirectional else ("",)
    keys = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
    cells = [
        [Cell(*(leaves.get(f"{key}_l{k}{suffix}") for key in keys)) for suffix in suffixes]
        for k in range(module.num_layers)
    ]
    settings = {"activation": module.nonlinearity} if kind == "SimpleRNN" else {}
    return stack(name, kind, "torch", cells, what, settings, dropout=float(module.dropout))


def _cell(name: str, module: Any, what: str) -> Part:
    kind = {"RNNCell": "SimpleRNN"}.get(_kind(module), _kind(module).removesuffix("Cell"))
    leaves = _leaves(module)
    cell = Cell(leaves["weight_ih"], leaves["weight_hh"], leaves.get("bias_ih"), leaves.get("bias_hh"))
    settings = {"activation": module.nonlinearity} if kind == "SimpleRNN" else {}
    return stack(name, kind, "torch", [[cell]], what, settings)


def _linear(name: str, module: Any, what: str) -> Part:
    ((made, weights),) = by_tensors._linear_of(name, _leaves(module), what)

    def layer(label: str | None) -> Any:
        from rekur.layers import Dense

        return Dense(made.units, use_bias=made.use_bias, name=label)

    words = f"Linear, {module.in_features} → {module.out_features}"
    return single(name, words, layer, weights, module.in_features)


def _embedding(name: str, module: Any, what: str) -> Part:
    _refuse(name, module, what, {"max_norm": None})

    def make() -> list[Made]:
        return by_tensors._embedding_of(name, _leaves(module), what)

    return Part(name, f"Embedding, {module.num_embeddings} of {module.embedding_dim}", make, None, (), True, ids=True)


def _convolution(name: str, module: Any, what: str) -> Part:
    _refuse(name, module, what, {"padding_mode": "zeros"})
    of = by_tensors._transposed_of if _kind(module) == "ConvTranspose1d" else by_tensors._conv_of
    given = {key: getattr(module, key) for key in ("stride", "padding", "dilation", "groups")}
    if _kind(module) == "ConvTranspose1d":
        given["output_padding"] = module.output_padding
    words = f"{_kind(module)}, {module.in_channels} → {module.out_channels}"
    return Part(name, words, lambda: of(name, _leaves(module), what, **given), module.in_channels, (), True)


def _layer_norm(name: str, module: Any, what: str) -> Part:
    if len(module.normalized_shape) != 1:
        raise ValueError(
            f"{what}: '{name}' ({_kind(module)}): one axis is normalised here, got {module.normalized_shape}"
        )
    leaves = _leaves(module)

    def make() -> list[Made]:
        if _kind(module) == "RMSNorm":
            eps = module.eps if module.eps is not None else 2.0**-23  # of float32, as in torch
            if "weight" not in leaves:
                raise ValueError(f"{what}: '{name}' (RMSNorm): there is no elementwise_affine=False here")
            return by_tensors._rms_of(name, leaves, what, eps)
        return by_tensors._norm_of(name, leaves, what, module.eps)

    return Part(name, f"{_kind(module)}, {module.normalized_shape[0]}", make, module.normalized_shape[0])


def _batch_norm(name: str, module: Any, what: str) -> Part:
    if module.running_mean is None or module.momentum is None:
        raise ValueError(
            f"{what}: '{name}' (BatchNorm1d): it has no running statistics with a momentum, as it has here"
        )

    def make() -> list[Made]:
        return by_tensors._batch_norm_of(name, _leaves(module), what, module.eps, module.momentum)

    return Part(name, f"BatchNorm1d, {module.num_features}", make, module.num_features)


def _pool(name: str, module: Any, what: str) -> Part:
    from rekur.layers import AveragePooling1D, MaxPooling1D

    _refuse(name, module, what, {"ceil_mode": False, "return_indices": False})
    for key, value in (("padding", 0), ("dilation", 1)):
        if by_tensors.one(getattr(module, key, value), f"{what}: '{name}': {key}") != value:
            raise ValueError(f"{what}: '{name}' ({_kind(module)}): there is no {key}={getattr(module, key)} here")
    size = by_tensors.one(module.kernel_size, f"{what}: '{name}': kernel_size")
    stride = by_tensors.one(module.stride, f"{what}: '{name}': stride")
    layer = MaxPooling1D if _kind(module) == "MaxPool1d" else AveragePooling1D
    return Part(name, _kind(module), lambda: [(layer(size, strides=stride, name=_label(name)), ())], None)


def _prelu(name: str, module: Any, what: str) -> Part:
    """torch has a slope for all, or one a channel, axis 1: of (B, F), or of (B, C, T) among convolutions."""

    def make(steps: bool = False) -> list[Made]:
        alpha = _leaves(module)["weight"]
        if alpha.size == 1:  # rekur's has one a feature, and torch's one for all is trained as one
            return [(LeakyReLU(float(alpha[0]), name=_label(name)), ())]
        if steps:
            return [(PReLU(shared_axes=[1], name=_label(name)), [alpha.reshape(1, -1)])]
        return [(PReLU(name=_label(name)), [alpha])]

    from rekur.layers import LeakyReLU, PReLU

    return Part(name, "PReLU", make, None, ("steps",))


def _plain(make: Callable[[Any, str, str], Any]) -> Callable[[str, Any, str], Part]:
    """A layer without weights."""
    return lambda name, module, what: Part(name, _kind(module), lambda: [(make(module, name, what), ())], None)


def _dropout(module: Any, name: str, what: str) -> Any:
    from rekur.layers import Dropout

    return Dropout(float(module.p), name=_label(name))


def _identity(module: Any, name: str, what: str) -> Any:
    from rekur.layers import Identity

    return Identity(name=_label(name))


def _softmax(module: Any, name: str, what: str) -> Any:
    if module.dim not in (-1, 2, 1):
        raise ValueError(f"{what}: '{name}' ({_kind(module)}): softmax is over the features, dim=-1, got {module.dim}")
    return _activation("softmax" if _kind(module) == "Softmax" else "log_softmax", name)


def _activation(value: Any, name: str) -> Any:
    from rekur.layers import Activation

    return Activation(value, name=_label(name))


_ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "Tanh": lambda m: "tanh",
    "Sigmoid": lambda m: "sigmoid",
    "ReLU": lambda m: "relu",
    "ReLU6": lambda m: "relu6",
    "LeakyReLU": lambda m: {"name": "leaky_relu", "alpha": m.negative_slope},
    "ELU": lambda m: {"name": "elu", "alpha": m.alpha},
    "CELU": lambda m: "celu" if m.alpha == 1 else None,
    "SELU": lambda m: "selu",
    "SiLU": lambda m: "silu",
    "Mish": lambda m: "mish",
    "Softsign": lambda m: "softsign",
    "Softplus": lambda m: "softplus" if m.beta == 1 else None,
    "Hardsigmoid": lambda m: "hard_sigmoid",
    "Hardswish": lambda m: "hard_swish",
    "LogSigmoid": lambda m: "log_sigmoid",
    "Tanhshrink": lambda m: "tanh_shrink",
}


def _known(name: str, module: Any, what: str) -> Part:
    value = _ACTIVATIONS[_kind(module)](module)
    if value is None:
        raise ValueError(f"{what}: '{name}': there is no {module} here")
    return Part(name, _kind(module), lambda: [(_activation(value, name), ())], None)


def _gelu(name: str, module: Any, what: str) -> Part:
    def make() -> list[Made]:
        from rekur import ops
        from rekur.layers import Lambda

        exact = module.approximate == "none"
        return [(Lambda(lambda x: ops.gelu(x, approximate=not exact), name=_label(name)), ())]

    return Part(name, "GELU", make, None)


_MAKERS: dict[str, Callable[[str, Any, str], Part]] = {
    **dict.fromkeys(("RNN", "LSTM", "GRU"), _recurrent),
    **dict.fromkeys(("RNNCell", "LSTMCell", "GRUCell"), _cell),
    **dict.fromkeys(("Conv1d", "ConvTranspose1d"), _convolution),
    **dict.fromkeys(("LayerNorm", "RMSNorm"), _layer_norm),
    **dict.fromkeys(("MaxPool1d", "AvgPool1d"), _pool),
    **dict.fromkeys(("Dropout",), _plain(_dropout)),
    **dict.fromkeys(("Softmax", "LogSoftmax"), _plain(_softmax)),
    **dict.fromkeys(_ACTIVATIONS, _known),
    "Identity": _plain(_identity),
    "Linear": _linear,
    "Embedding": _embedding,
    "BatchNorm1d": _batch_norm,
    "GELU": _gelu,
    "PReLU": _prelu,
}

FORMAT = Format(
    name="torch-module",
    title="PyTorch, modules",
    given="an `nn.Module`: a layer, an `nn.Sequential`, or one of your own, whose parts are put together by `layers=`",
    recognises=_recognises,
    reads="all of `torch` above with its settings, pooling, dropout, activations; no `forward` is run",
    parts=_parts,
    needs="torch",
    checked="torch",
)
