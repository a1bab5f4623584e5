"""Neural Amp Modeler's files: LSTM, WaveNet, ConvNet, Linear."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rekur.convert._audio import (
    Effect,
    contents,
    count,
    demand_recurrent,
    effect_of,
    model_of,
    rate_in,
    rate_to_write,
    width,
    write,
    written,
)
from rekur.convert._dialects import Cell, from_rekur, to_rekur
from rekur.convert._nam.convnet import convnet, linear
from rekur.convert._nam.network import Network, Weights
from rekur.convert._nam.wavenet import wavenet
from rekur.convert._nam.writing import Written, convnet_of, wavenet_of
from rekur.convert._parts import Made
from rekur.convert._registry import Format
from rekur.convert._source import Source

_WHO = "Neural Amp Modeler's LSTM"
_WAVENET = "Neural Amp Modeler's WaveNet"
_VERSION = "0.5.4"
_KEYS = {"architecture", "config", "weights"}


def _recognises(source: Source) -> bool:
    return isinstance(found := source.json_if_any, Mapping) and found.keys() >= _KEYS


def _load(source: Source, settled: bool = True) -> Any:
    found, what = contents(source, "nam"), str(source)
    if not found.keys() >= _KEYS:
        raise ValueError(f"{what}: expected an object with {', '.join(sorted(_KEYS))}")
    whole = _full_size(found, what)
    model = _of_architecture(whole, what, settled)
    model.sample_rate = rate_in(found, ["sample_rate"], what) or rate_in(whole, ["sample_rate"], what)
    return model


def _of_architecture(found: Mapping[str, Any], what: str, settled: bool) -> Any:
    from rekur.models.given import give

    if found["architecture"] == "LSTM":
        return _lstm(found, what)
    if not isinstance(settled, bool):
        raise TypeError(f"settled: expected True or False, got {settled!r}")
    network = Network(what, settled)
    x, y = _graph(network, found)
    from rekur.models import Model

    model = Model(x, network.end(y))
    give((layer, weights) for layer, weights in network.made if len(weights))
    return model


def _full_size(found: Mapping[str, Any], what: str) -> Mapping[str, Any]:
    """Of a container of models of several sizes the last one, which is the whole."""
    while found["architecture"] == "SlimmableContainer":
        listed = found["config"].get("submodels") if isinstance(found["config"], Mapping) else None
        entry = listed[-1] if isinstance(listed, list) and listed else None
        model = entry.get("model") if isinstance(entry, Mapping) else None
        if not isinstance(model, Mapping) or not model.keys() >= _KEYS:
            raise ValueError(f"{what}: config: submodels: expected a list of objects with a model, got {listed!r:.80}")
        found = model
    return found


def _graph(network: Network, found: Mapping[str, Any], x: Any = None) -> tuple[Any, Any]:
    """Input and output of a network without recurrence."""
    kind, config, what = found["architecture"], found["config"], network.what
    if kind not in ("WaveNet", "ConvNet", "Linear"):
        raise ValueError(
            f"{what}: its architecture is {kind!r:.80}; LSTM, WaveNet, ConvNet, Linear and SlimmableContainer are read"
        )
    if not isinstance(config, Mapping):
        raise ValueError(f"{what}: config: expected an object, got {config!r:.80}")
    features = width(config, "in_channels", f"{what}: config", 1)
    x = network.input(features) if x is None else x
    if x.shape[-1] != features:
        raise ValueError(f"{what}: config: in_channels: expected {x.shape[-1]}, got {features}")
    weights = Weights(found["weights"], what)
    if kind == "WaveNet":
        y = wavenet(network, x, config, weights, _condition(network, config, x))
    else:
        y = (convnet if kind == "ConvNet" else linear)(network, x, config, weights)
    weights.finish()
    return x, y


def _condition(network: Network, config: Mapping[str, Any], x: Any) -> Any:
    """What the layers see besides: the input, or what a network of its own makes of it."""
    found = config.get("condition_dsp")
    if found is None:
        return x
    where = f"{network.what}: config: condition_dsp"
    if not isinstance(found, Mapping) or not found.keys() >= _KEYS:
        raise ValueError(f"{where}: expected an object with {', '.join(sorted(_KEYS))}")
    return _graph(network.within(where, "condition_"), found, x)[1]


def _lstm(found: Mapping[str, Any], what: str) -> Any:
    """LSTM layers with the states that the file begins with, and a head.

    The weights are one list: of each layer the matrix (4H, I + H) of x and h by rows, i, f, g, o; the bias; h; c. Then
    the head's matrix by rows, and its bias.
    """
    config = found["config"]
    if not isinstance(config, Mapping):
        raise ValueError(f"{what}: config: expected an object, got {config!r:.80}")
    features, units = width(config, "input_size", what), width(config, "hidden_size", what)
    depth, outputs = count(config, "num_layers", what), width(config, "out_channels", what, 1)
    from rekur.layers import LSTM, Dense

    weights = Weights(found["weights"], what)
    made: list[Made] = []
    for k in range(depth):
        seen = units if k else features
        matrix, bias = weights.take(4 * units, seen + units), weights.take(4 * units)
        h, c = weights.take(units), weights.take(units)
        begins = bool(np.any(h) or np.any(c))
        cell = Cell(matrix[:, :seen], matrix[:, seen:], bias)
        layer = LSTM(units, return_sequences=True, learn_initial_state=begins)
        made.append((layer, [*to_rekur("nam", "LSTM", cell, f"{what}: layer {k}"), *([h, c] if begins else [])]))
    made.append((Dense(outputs), [weights.take(outputs, units).T, weights.take(outputs)]))
    weights.finish()
    return model_of(made, features)


def _made(model: Any, sample_rate: float | None = None, metadata: Any = None) -> dict[str, Any]:
    types = {layer.type for layer in model.layers if hasattr(layer, "type")}
    if "Conv1D" in types and {"Add", "Multiply"} & types and "LSTM" not in types:
        if len(model.inputs) != 1 or len(model.outputs) != 1 or any(not hasattr(one, "type") for one in model.layers):
            raise ValueError(f"{_WAVENET} has models of one input and one output, and none within")
        made = wavenet_of(model)
    elif "Conv1D" in types and "LSTM" not in types:
        made = convnet_of(effect_of(model, "Neural Amp Modeler"))
    else:
        made = _lstm_of(effect_of(model, _WHO))
    version, architecture, config, arrays = made
    flat = np.concatenate([np.asarray(array, np.float32).reshape(-1) for array in arrays])
    found = {"version": version, "architecture": architecture, "config": config, "weights": written(flat)}
    if (rate := rate_to_write(model, sample_rate, "Neural Amp Modeler")) is not None:
        found["sample_rate"] = rate
    return {**found, **({"metadata": dict(metadata)} if metadata else {})}


def _lstm_of(effect: Effect) -> Written:
    *stack, head = effect.layers or [None]
    if effect.skip or effect.gain_in != 1 or effect.gain_out != 1:
        raise ValueError(f"{_WHO} has no gains, and does not add the input to the output")
    if head is None or head.type != "Dense" or head.activation != "linear" or not head.use_bias or not stack:
        raise ValueError(f"{_WHO} is layers of LSTM and a Dense with a bias, without an activation")
    units = getattr(stack[0], "units", 0)
    parts = []
    for layer in stack:
        if layer.type != "LSTM" or layer.units != units:
            raise ValueError(f"{_WHO} has LSTM layers of one size, '{layer.name}' is {layer.type} of {layer.units}")
        demand_recurrent(layer, _WHO, ("learn_initial_state",))
        arrays = layer.get_weights()
        states = arrays[-2:] if layer.learn_initial_state else [np.zeros(units, np.float32)] * 2
        cell = from_rekur("nam", "LSTM", arrays[: 2 + layer.use_bias], layer.use_bias)
        bias = np.zeros(4 * units, np.float32) if cell.bias is None else cell.bias
        parts += [np.concatenate([cell.kernel, cell.recurrent], axis=1), bias, *states]
    kernel, bias = head.get_weights()
    parts += [kernel.T, bias]
    config = {"input_size": effect.features, "hidden_size": units, "num_layers": len(stack)}
    if head.units != 1:
        config["out_channels"] = head.units
    if effect.features != 1:
        config["in_channels"] = effect.features
    return _VERSION, "LSTM", config, parts


def _save(model: Any, path: str, sample_rate: float | None = None, metadata: Any = None) -> None:
    write(path, _made(model, sample_rate, metadata), _WHO)


def _info(source: Source) -> dict[str, Any]:
    found = contents(source, "nam")
    return {key: found[key] for key in ("version", "sample_rate", "metadata") if key in found}


FORMAT = Format(
    name="nam",
    title="Neural Amp Modeler",
    given="`.nam`; its JSON object",
    recognises=_recognises,
    reads="LSTM with the states that it begins with as `learn_initial_state`; WaveNet with gates, FiLM, groups, heads, "
    "a network of its condition; ConvNet; Linear; of a `SlimmableContainer` the largest",
    writes="LSTM layers of one size and a Dense; WaveNets without FiLM and a network of the condition; ConvNet; Linear",
    suffixes=(".nam",),
    load=_load,
    save=_save,
    make=_made,
    info=_info,
    load_options={
        "settled": "whether a network without recurrence begins as after long silence, as its engine has it warmed up "
        "(`True`), or with zeros before the first step"
    },
    save_options={
        "sample_rate": "of the signal, in Hz; the model's by default",
        "metadata": "a dict for the file's `metadata`",
    },
    checked="outputs of its engine",
)
