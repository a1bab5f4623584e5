"""RTNeural's files of JSON, and those of AIDA-X, which have gains and a skip connection besides."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rekur.convert._audio import (
    LONGEST,
    Effect,
    contents,
    count,
    demand_recurrent,
    effect_of,
    model_of,
    numbers,
    rate_in,
    rate_to_write,
    width,
    write,
    written,
)  # fmt: skip
from rekur.convert._dialects import Cell, from_rekur, to_rekur
from rekur.convert._parts import Made
from rekur.convert._plain import activation_name
from rekur.convert._registry import Format
from rekur.convert._source import Source

_WHO = "RTNeural"
_IDLE = ("Dropout", "SpatialDropout1D", "GaussianNoise", "GaussianDropout", "AlphaDropout", "Identity")
_LOUDEST = 400  # decibels
_ONE_FOR_ALL = 4096  # features to which one number of the file is given
_ACTIVATIONS = ("tanh", "relu", "sigmoid", "softmax", "elu")


def _recognises(source: Source) -> bool:
    found = source.json_if_any
    return isinstance(found, Mapping) and isinstance(found.get("layers"), list) and "in_shape" in found


def _load(source: Source) -> Any:
    found, what = contents(source, "rtneural"), str(source)
    if not _recognises(source):
        raise ValueError(f"{what}: expected in_shape and a list of layers")
    features = _last(found["in_shape"], f"{what}: in_shape")
    made: list[Made] = []
    reached = features
    for k, entry in enumerate(found["layers"]):
        where = f"{what}: layer {k}"
        if not isinstance(entry, Mapping) or "type" not in entry:
            raise ValueError(f"{where}: expected an object with a type, got {entry!r:.80}")
        made.append(_layer(entry, reached, f"{where} ({entry['type']})"))
        reached = _last(entry["shape"], f"{where}: shape") if "shape" in entry else reached
    skip = count(found, "in_skip", what, 0, 0)
    model = model_of(made, features, skip, _decibels(found, "in_gain"), _decibels(found, "out_gain"))
    said = found.get("metadata")  # where AIDA-X looks first
    model.sample_rate = (
        rate_in(said, ["samplerate"], f"{what}: metadata") if isinstance(said, Mapping) else None
    ) or rate_in(found, ["samplerate"], what)
    return model


def _last(shape: Any, what: str) -> int:
    if not isinstance(shape, list) or not shape or len(shape) > 3:
        raise ValueError(f"{what}: expected [rows, steps, features], got {shape!r:.80}")
    return width({"features": shape[-1]}, "features", what)


def _decibels(found: Mapping[str, Any], key: str) -> float:
    value = found.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return 1.0
    if not abs(value) <= _LOUDEST:
        raise ValueError(f"{key}: expected decibels of at most {_LOUDEST} either way, got {value}")
    return float(10.0 ** (value / 20))


def _activation(entry: Mapping[str, Any], what: str) -> str:
    name = entry.get("activation")
    if name is None or name == "":
        return "linear"
    if name not in (*_ACTIVATIONS, "linear"):
        raise ValueError(f"{what}: RTNeural has no activation {name!r:.80}")
    return str(name)


def _layer(entry: Mapping[str, Any], features: int, what: str) -> Made:
    """A layer of rekur and its weights, of an entry that reads so many features."""
    from rekur.layers import GRU, LSTM, Activation, BatchNormalization, Conv1D, Dense, PReLU

    kind, given = entry["type"], entry.get("weights", [])
    if not isinstance(given, list):
        raise ValueError(f"{what}: weights: expected a list, got {given!r:.80}")
    if kind == "activation":
        return Activation(_activation(entry, what)), []
    out = _last(entry.get("shape"), f"{what}: shape")
    if kind in ("dense", "time-distributed-dense"):
        arrays = _arrays(given, what, (features, out), (out,), optional=1)
        return Dense(out, activation=_activation(entry, what), use_bias=len(arrays) > 1), arrays
    if kind == "conv1d":
        size, dilation = (_only(entry, key, what) for key in ("kernel_size", "dilation"))
        groups = count(entry, "groups", what, default=1)
        if features % groups or out % groups:
            raise ValueError(f"{what}: {groups} groups do not divide {features} features and {out}")
        if max(size - 1, 1) * dilation > LONGEST:
            raise ValueError(f"{what}: it looks back {size - 1} steps of {dilation}, more than {LONGEST} in all")
        arrays = _arrays(given, what, (size, features // groups, out), (out,))
        layer = Conv1D(
            out, size, padding="causal", dilation_rate=dilation, groups=groups, activation=_activation(entry, what)
        )
        return layer, arrays
    if kind in ("lstm", "gru"):
        if _activation(entry, what) not in ("linear", "tanh"):
            raise ValueError(
                f"{what}: RTNeural's has tanh, whatever the file says: it says {entry['activation']!r:.80}"
            )
        blocks = 4 if kind == "lstm" else 3
        bias = (blocks * out,) if kind == "lstm" else (2, blocks * out)
        kernel, recurrent, biases = _arrays(given, what, (features, blocks * out), (out, blocks * out), bias)
        cell = Cell(kernel, recurrent, biases) if kind == "lstm" else Cell(kernel, recurrent, *biases)
        made = (LSTM if kind == "lstm" else GRU)(out, return_sequences=True)
        return made, to_rekur("rtneural", kind.upper(), cell, what)
    if kind == "prelu":
        if given and _size(given[0]) == 1 and features > _ONE_FOR_ALL:
            raise ValueError(f"{what}: one slope for {features} features")
        (alpha,) = _arrays(given, what, (1, features if not given or _size(given[0]) != 1 else 1))
        return PReLU(shared_axes=[1]), [np.broadcast_to(alpha, (1, features)).copy()]
    if kind == "batchnorm":
        affine = len(given) == 4
        arrays = _arrays(given, what, *[(features,)] * (4 if affine else 2))
        epsilon = entry.get("epsilon")
        if isinstance(epsilon, bool) or not isinstance(epsilon, (int, float)):
            raise ValueError(f"{what}: epsilon: expected a number, got {epsilon!r:.80}")
        return BatchNormalization(epsilon=float(epsilon), center=affine, scale=affine), arrays
    raise ValueError(f"{what}: there is no such layer here")


def _size(values: Any) -> int:
    """How many numbers there are in lists within lists."""
    return sum(map(_size, values)) if isinstance(values, list) else 1


def _only(entry: Mapping[str, Any], key: str, what: str) -> int:
    """Sizes along time are lists of one number."""
    value = entry.get(key)
    return count({key: value[-1] if isinstance(value, list) and value else value}, key, what)


def _arrays(given: list[Any], what: str, *shapes: tuple[int, ...], optional: int = 0) -> list[Any]:
    if not len(shapes) - optional <= len(given) <= len(shapes):
        raise ValueError(f"{what}: expected {len(shapes)} arrays, got {len(given)}")
    return [
        numbers(values, shape, f"{what}: array {k}")
        for k, (values, shape) in enumerate(zip(given, shapes, strict=False))
    ]


# Writing.


def _made(model: Any, sample_rate: float | None = None, metadata: Any = None) -> dict[str, Any]:
    effect = effect_of(model, _WHO)
    found: dict[str, Any] = {"in_shape": [None, None, effect.features], "layers": []}
    width = effect.features
    for layer in effect.layers:
        if layer.type in _IDLE:
            continue
        entry, width = _entry(layer, width)
        found["layers"].append({**entry, "shape": [None, None, width]})
    _add_gains(found, effect)
    if (rate := rate_to_write(model, sample_rate, _WHO)) is not None:
        found["samplerate"] = rate
    return {**found, **({"metadata": dict(metadata)} if metadata else {})}


def _add_gains(found: dict[str, Any], effect: Effect) -> None:
    """What AIDA-X reads besides."""
    if effect.skip:
        if effect.skip != 1:
            raise ValueError(f"{_WHO}: AIDA-X adds the signal to the output, one feature, the model adds {effect.skip}")
        found["in_skip"] = 1
    for key, gain in (("in_gain", effect.gain_in), ("out_gain", effect.gain_out)):
        if gain != 1:
            if gain <= 0:
                raise ValueError(f"{_WHO}: AIDA-X has gains in decibels, which are above 0, got {gain}")
            found[key] = 20 * float(np.log10(gain))


def _entry(layer: Any, width: int) -> tuple[dict[str, Any], int]:
    kind = type(layer).__name__
    weights = layer.get_weights()
    if kind == "TimeDistributed":
        layer, kind = layer.layer, type(layer.layer).__name__
    name = f"layer '{layer.name}' ({kind})"
    if kind == "Dense":
        return _described("dense", layer, weights), layer.units
    if kind == "Activation":
        return _described("activation", layer, []), width
    if kind in ("LSTM", "GRU"):
        demand_recurrent(layer, _WHO)
        arrays = list(from_rekur("rtneural", kind, weights, layer.use_bias))
        blocks = 4 if kind == "LSTM" else 3
        zeros = np.zeros(blocks * layer.units, np.float32)
        first, second = (zeros if array is None else array for array in arrays[2:4])
        biases = first if kind == "LSTM" else np.stack([first, second])
        listed = [written(array) for array in (arrays[0], arrays[1], biases)]
        return {"type": kind.lower(), "activation": "tanh", "weights": listed}, layer.units
    if kind == "Conv1D":
        if layer.padding != "causal" or layer.strides != 1:
            raise ValueError(f"{name}: {_WHO}'s convolutions have padding='causal' and strides=1")
        if not layer.use_bias:
            weights = [*weights, np.zeros(layer.filters, np.float32)]
        sizes = {"kernel_size": [layer.kernel_size], "dilation": [layer.dilation_rate], "groups": layer.groups}
        return {**_described("conv1d", layer, weights), **sizes}, layer.filters
    if kind == "PReLU":
        alpha = weights[0].reshape(-1, weights[0].shape[-1])
        if alpha.shape[0] != 1:
            raise ValueError(f"{name}: {_WHO}'s PReLU has one slope a feature: shared_axes=[1]")
        return {"type": "prelu", "activation": "", "weights": [written(np.broadcast_to(alpha, (1, width)))]}, width
    if kind == "BatchNormalization":
        if layer.center != layer.scale:
            ones = np.ones(width, np.float32)
            weights = [weights[0], 0 * ones, *weights[1:]] if layer.scale else [ones, *weights]
        listed = [written(array) for array in weights]
        return {"type": "batchnorm", "activation": "", "epsilon": layer.epsilon, "weights": listed}, width
    raise ValueError(f"{name}: {_WHO} has no such layer")


def _described(kind: str, layer: Any, weights: list[Any]) -> dict[str, Any]:
    name = activation_name(layer.activation)
    if name not in (*_ACTIVATIONS, "linear"):
        raise ValueError(f"layer '{layer.name}' ({layer.type}): {_WHO} has no activation={layer.activation!r}")
    activation = "" if name == "linear" else name
    return {"type": kind, "activation": activation, "weights": [written(array) for array in weights]}


def _save(model: Any, path: str, sample_rate: float | None = None, metadata: Any = None) -> None:
    write(path, _made(model, sample_rate, metadata), _WHO)


def _info(source: Source) -> dict[str, Any]:
    found = contents(source, "rtneural")
    return {key: found[key] for key in ("samplerate", "in_gain", "out_gain", "in_skip", "metadata") if key in found}


FORMAT = Format(
    name="rtneural",
    title="RTNeural, AIDA-X",
    given="`.json`, `.aidax`; the JSON object",
    recognises=_recognises,
    reads="dense, lstm, gru, conv1d (causal), prelu, batchnorm, activation; AIDA-X's gains and `in_skip`",
    writes="those layers in a chain; also `.json` by `format=`",
    suffixes=(".aidax", ".rtneural.json"),
    load=_load,
    save=_save,
    make=_made,
    info=_info,
    save_options={
        "sample_rate": "of the signal, in Hz; the model's by default",
        "metadata": "a dict for the file's `metadata`",
    },
    checked="Keras, whose layouts they are; outputs of its engine",
)
