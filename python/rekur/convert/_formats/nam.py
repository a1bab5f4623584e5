"""Neural Amp Modeler's files, of its LSTM."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rekur.convert._audio import contents, count, demand_recurrent, effect_of, model_of, numbers, write, written
from rekur.convert._dialects import Cell, from_rekur, to_rekur
from rekur.convert._parts import Made
from rekur.convert._registry import Format
from rekur.convert._source import Source

_WHO = "Neural Amp Modeler's LSTM"
_VERSION = "0.5.4"
_KEYS = {"architecture", "config", "weights"}


def _recognises(source: Source) -> bool:
    return isinstance(found := source.json_if_any, Mapping) and found.keys() >= _KEYS


def _load(source: Source) -> Any:
    """LSTM layers with the states that the file begins with, and a head.

    The weights are one list: of each layer the matrix (4H, I + H) of x and h by rows, i, f, g, o; the bias; h; c. Then
    the head's matrix by rows, and its bias.
    """
    found, what = contents(source, "nam"), str(source)
    if not found.keys() >= _KEYS or found["architecture"] != "LSTM":
        raise ValueError(
            f"{what}: its architecture is {found.get('architecture')!r}, which is no recurrent network; LSTM is read"
        )
    config = found["config"]
    if not isinstance(config, Mapping):
        raise ValueError(f"{what}: config: expected an object, got {config!r}")
    features, units = count(config, "input_size", what), count(config, "hidden_size", what)
    depth, outputs = count(config, "num_layers", what), count(config, "out_channels", what, default=1)
    widths = [features] + [units] * (depth - 1) if depth < 1 << 16 else []
    size = sum(4 * units * (width + units) + 6 * units for width in widths) + outputs * (units + 1)
    if not isinstance(found["weights"], list) or len(found["weights"]) != size or not widths:
        came = len(found["weights"]) if isinstance(found["weights"], list) else found["weights"]
        raise ValueError(f"{what}: weights: expected a list of {size} numbers, got {came!r}")
    flat = numbers(found["weights"], (size,), f"{what}: weights")
    from rekur.layers import LSTM, Dense

    place = 0

    def take(*shape: int) -> Any:
        nonlocal place
        end = place + int(np.prod(shape))
        array, place = flat[place:end].reshape(shape), end
        return array

    made: list[Made] = []
    for k, width in enumerate(widths):
        matrix, bias = take(4 * units, width + units), take(4 * units)
        h, c = take(units), take(units)
        begins = bool(np.any(h) or np.any(c))
        cell = Cell(matrix[:, :width], matrix[:, width:], bias)
        layer = LSTM(units, return_sequences=True, learn_initial_state=begins)
        made.append((layer, [*to_rekur("nam", "LSTM", cell, f"{what}: layer {k}"), *([h, c] if begins else [])]))
    made.append((Dense(outputs), [take(outputs, units).T, take(outputs)]))
    return model_of(made, features)


def _made(model: Any, sample_rate: float | None = None, metadata: Any = None) -> dict[str, Any]:
    effect = effect_of(model, _WHO)
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
    flat = np.concatenate([np.asarray(part, np.float32).reshape(-1) for part in parts])
    found = {"version": _VERSION, "architecture": "LSTM", "config": config, "weights": written(flat)}
    if sample_rate is not None:
        found["sample_rate"] = sample_rate
    return {**found, **({"metadata": dict(metadata)} if metadata else {})}


def _save(model: Any, path: str, sample_rate: float | None = None, metadata: Any = None) -> None:
    write(path, _made(model, sample_rate, metadata), _WHO)


def _info(source: Source) -> dict[str, Any]:
    found = contents(source, "nam")
    return {key: found[key] for key in ("version", "sample_rate", "metadata") if key in found}


FORMAT = Format(
    name="nam",
    title="Neural Amp Modeler",
    given="`.nam` of its LSTM; its JSON object",
    recognises=_recognises,
    reads="LSTM layers, the states that they begin with as `learn_initial_state`, the head",
    writes="LSTM layers of one size and a Dense",
    suffixes=(".nam",),
    load=_load,
    save=_save,
    make=_made,
    info=_info,
    save_options={"sample_rate": "of the signal, in Hz", "metadata": "a dict for the file's `metadata`"},
    checked="the equations of its engine, by hand",
)
