"""GuitarML's files of JSON, of Proteus and NeuralPi: one recurrent layer and a head, trained in PyTorch."""

from collections.abc import Mapping
from typing import Any

from rekur.convert._audio import (
    contents,
    count,
    demand_recurrent,
    effect_of,
    floats,
    model_of,
    rate_in,
    rate_to_write,
    write,
    written,
)
from rekur.convert._dialects import from_rekur
from rekur.convert._parts import chain
from rekur.convert._registry import Format
from rekur.convert._source import Source
from rekur.convert._torch_parts import parts_of

_WHO = "GuitarML"
_RATES = ["samplerate", "sample_rate"]
_UNITS = {"LSTM": "LSTM", "GRU": "GRU", "RNN": "SimpleRNN"}


def _recognises(source: Source) -> bool:
    found = source.json_if_any
    return isinstance(found, Mapping) and {"model_data", "state_dict"} <= found.keys()


def _load(source: Source) -> Any:
    found, what = contents(source, "guitarml"), str(source)
    if not _recognises(source) or not all(isinstance(found[k], Mapping) for k in ("model_data", "state_dict")):
        raise ValueError(f"{what}: expected the objects model_data and state_dict")
    data = found["model_data"]
    kind = data.get("unit_type", "LSTM")
    if data.get("model", "SimpleRNN") != "SimpleRNN" or not isinstance(kind, str) or kind not in _UNITS:
        raise ValueError(f"{what}: it is a {data.get('model')} of {kind}; SimpleRNN of LSTM, GRU or RNN is read")
    arrays = {name: floats(values, f"{what}: state_dict: {name}") for name, values in found["state_dict"].items()}
    parts = parts_of(arrays, what)
    if set(parts) != {"rec", "lin"}:
        raise ValueError(f"{what}: state_dict: expected the tensors of rec and lin, got {', '.join(parts)}")
    rec, lin = parts["rec"], parts["lin"]
    if rec.directions != 1 or any(name.startswith("rec.weight_hr") for name in arrays):
        raise ValueError(f"{what}: state_dict: rec: layers of one direction without a projection are read")
    for part, key in ((rec, "input_size"), (lin, "hidden_size")):
        if key in data and part.features != count(data, key, what):
            raise ValueError(f"{what}: model_data says {key} {data[key]}, its weights {part.features}")
    if not rec.words.startswith(kind):
        raise ValueError(f"{what}: model_data says {kind}, the weights of rec are of {rec.words}")
    nonlinearity = {"nonlinearity": "tanh"} if kind == "RNN" else {}
    options = {"kind": "Linear"} if "kind" in lin.options else {}
    chained = chain(parts, [("rec", nonlinearity), ("lin", options)], what)
    skip = count(data, "skip", what, 0, 0)
    rate = rate_in(data, _RATES, f"{what}: model_data") or rate_in(found, _RATES, what)
    if not skip:
        chained.sample_rate = rate
        return chained
    assert rec.features is not None
    if skip > rec.features:
        raise ValueError(f"{what}: skip {skip} of {rec.features} features of the input")
    fresh = [(type(layer).from_config(layer.get_config()), layer.get_weights()) for layer in chained.layers]
    model = model_of(fresh, rec.features, skip)
    model.sample_rate = rate
    return model


def _made(model: Any, sample_rate: float | None = None) -> dict[str, Any]:
    effect = effect_of(model, _WHO)
    if effect.gain_in != 1 or effect.gain_out != 1:
        raise ValueError(f"{_WHO} has no gains")
    layers = effect.layers
    if not layers or layers[-1].type != "Dense" or layers[-1].activation != "linear":
        raise ValueError(f"{_WHO} is a recurrent layer, or several of one size, and a Dense without an activation")
    *stack, head = layers
    kinds = {layer.type for layer in stack}
    if len(kinds) != 1 or not kinds <= set(_UNITS.values()) or len({layer.units for layer in stack}) != 1:
        raise ValueError(f"{_WHO} has LSTM, GRU or SimpleRNN layers of one size, here are {', '.join(sorted(kinds))}")
    state: dict[str, Any] = {}
    for k, layer in enumerate(stack):
        demand_recurrent(layer, _WHO)
        cell = from_rekur("torch", layer.type, layer.get_weights(), layer.use_bias)
        for name, array in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), cell[:4], strict=True):
            if array is not None:
                state[f"rec.{name}_l{k}"] = written(array)
    kernel, *bias = head.get_weights()
    state["lin.weight"] = written(kernel.T)
    if bias:
        state["lin.bias"] = written(bias[0])
    data = {
        "model": "SimpleRNN",
        "input_size": effect.features,
        "skip": effect.skip,
        "output_size": head.units,
        "unit_type": {ours: theirs for theirs, ours in _UNITS.items()}[stack[0].type],
        "num_layers": len(stack),
        "hidden_size": stack[0].units,
        "bias_fl": bool(bias),
    }
    if (rate := rate_to_write(model, sample_rate, _WHO)) is not None:
        data["samplerate"] = rate
    return {"model_data": data, "state_dict": state}


def _save(model: Any, path: str, sample_rate: float | None = None) -> None:
    write(path, _made(model, sample_rate), _WHO)


def _info(source: Source) -> dict[str, Any]:
    return dict(contents(source, "guitarml")["model_data"])


FORMAT = Format(
    name="guitarml",
    title="GuitarML: Proteus, NeuralPi",
    given="`.json`; the JSON object",
    recognises=_recognises,
    reads="LSTM, GRU or RNN with knobs as further features, the head, `skip`",
    writes="a recurrent layer and a Dense, the input added or not; `.json` by `format=`",
    suffixes=(".guitarml.json",),
    load=_load,
    save=_save,
    make=_made,
    info=_info,
    save_options={"sample_rate": "of the signal, in Hz; the model's by default"},
    checked="torch; outputs of RTNeural",
)
