"""Models of audio effects: chains of layers, with gains and the input added to the output; JSON files of them."""

import contextlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rekur import _files
from rekur._spec import sample_rate
from rekur.convert._dialects import as_floats
from rekur.convert._parts import Made
from rekur.convert._plain import demand_plain
from rekur.convert._source import Source


class Effect(NamedTuple):
    """What a model of an effect is made of."""

    layers: list[Any]  # from the input to the sum with it, in order
    features: int  # of the input: the signal, then knobs
    skip: int = 0  # how many features of the input are added to the output
    gain_in: float = 1.0  # of the signal
    gain_out: float = 1.0


def model_of(made: Sequence[Made], features: int, skip: int = 0, gain_in: float = 1.0, gain_out: float = 1.0) -> Any:
    """A Sequential of layers with their weights, or a Model where the input is added to the output."""
    from rekur.models.given import give

    demand_few(len(made))
    model = _connected([layer for layer, _ in made], features, skip, gain_in, gain_out)
    give((layer, weights) for layer, weights in made if len(weights))
    return model


def _connected(layers: Sequence[Any], features: int, skip: int, gain_in: float, gain_out: float) -> Any:
    from rekur.layers import Add, Input, Rescaling, Slice
    from rekur.models import Model, Sequential

    before = [] if gain_in == 1 else [Rescaling([gain_in] + [1.0] * (features - 1) if features > 1 else gain_in)]
    after = [] if gain_out == 1 else [Rescaling(gain_out)]
    if not skip:
        return Sequential([Input((None, features)), *before, *layers, *after])
    x = Input((None, features))
    begin = before[0](x) if before else x
    y = begin
    for layer in layers:
        y = layer(y)
    if skip not in (1, y.shape[-1]):
        raise ValueError(f"{skip} features of the input cannot be added to {y.shape[-1]} of the output")
    added = begin if features == skip else Slice(0, skip)(begin)
    y = Add()([y, added]) if y.shape[-1] == skip else y + added
    return Model(x, after[0](y) if after else y)


def effect_of(model: Any, who: str) -> Effect:
    """What a model is made of, where it is such a one.

    Raises
    ------
    ValueError
        If it is not: several inputs, layers that are no chain, ….
    """
    from rekur.layers import InputLayer

    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(f"{who} has models of one input and one output, model '{model.name}' has others")
    if any(not hasattr(layer, "type") for layer in model.layers):
        raise ValueError(f"{who} has no models within a model: '{model.name}' has")
    begin, tensor = model.inputs[0], model.outputs[0]
    if len(begin.shape) != 3 or not isinstance(begin.shape[-1], int):
        raise ValueError(f"{who} reads sequences of features, model '{model.name}' an input of shape {begin.shape[1:]}")
    calls = {t: call for call in model._order for t in call.outputs}
    gain_in = gain_out = 1.0
    skip = 0
    last = calls[tensor]
    if last.layer.type == "Rescaling" and calls[last.inputs[0]].layer.type == "Add":
        gain_out, tensor = _gain(last.layer, 1, who), last.inputs[0]
        last = calls[tensor]
    chain: list[Any] = []
    if last.layer.type == "Add":
        if len(last.inputs) != 2:
            raise ValueError(f"{who} adds the input to the output, layer '{last.layer.name}' adds {len(last.inputs)}")
        tensor, added = last.inputs
        call = calls[added]
        skip = int(added.shape[-1])
        if call.layer.type == "Slice":
            if call.layer.start != 0:
                raise ValueError(f"{who} adds the first features of the input, '{call.layer.name}' are others")
            call = calls[call.inputs[0]]
        if call.layer.type == "Rescaling":
            call = calls[call.inputs[0]]
        if not isinstance(call.layer, InputLayer):
            raise ValueError(f"{who} adds the input to the output, layer '{last.layer.name}' adds '{call.layer.name}'")
    while not isinstance(calls[tensor].layer, InputLayer):
        call = calls[tensor]
        if len(call.inputs) != 1:
            raise ValueError(f"{who} has chains of layers, '{call.layer.name}' has {len(call.inputs)} inputs")
        chain.insert(0, call.layer)
        tensor = call.inputs[0]
    if chain and chain[0].type == "Rescaling":
        gain_in = _gain(chain.pop(0), int(begin.shape[-1]), who)
    if chain and chain[-1].type == "Rescaling" and not skip:
        gain_out = _gain(chain.pop(), 1, who)
    return Effect(chain, int(begin.shape[-1]), skip, gain_in, gain_out)


def _gain(layer: Any, features: int, who: str) -> float:
    scale = np.asarray(layer.scale, np.float64).reshape(-1)
    if np.any(np.asarray(layer.offset) != 0) or (scale.size > 1 and np.any(scale[1:] != 1)):
        raise ValueError(f"{who} has a gain of the signal alone, layer '{layer.name}' is another Rescaling")
    if scale.size == 1 and features > 1:
        raise ValueError(f"{who} has a gain of the signal alone, layer '{layer.name}' scales all {features} features")
    return float(scale[0])


_AROUND = ("units", "use_bias", "return_sequences", "stateful", "precision")


def demand_recurrent(layer: Any, who: str, allowed: Sequence[str] = ()) -> None:
    """Refuse a recurrent layer other than a plain one of a sequence."""
    demand_plain(layer, who, (*_AROUND, *allowed))
    if not layer.return_sequences:
        raise ValueError(f"layer '{layer.name}' ({layer.type}): {who} gives every step: return_sequences=True")


def numbers(values: Any, shape: Sequence[int], what: str) -> Any:
    """An array of JSON, of a shape.

    Raises
    ------
    ValueError
        If it has another, or holds what is no number.
    """
    found = floats(values, what, f"an array of shape {tuple(shape)}")
    if found.shape != tuple(shape):
        raise ValueError(f"{what}: expected an array of shape {tuple(shape)}, got {found.shape}")
    return found


def floats(values: Any, what: str, expected: str = "an array") -> Any:
    """An array of JSON, of whatever shape.

    Raises
    ------
    ValueError
        If it has none, or holds what is no number.
    """
    if (flag := _flag_in(values)) is not None:
        raise ValueError(f"{what}: expected numbers, got {flag} among them")
    try:
        array = np.asarray(values, dtype=None)
    except ValueError as error:
        raise ValueError(f"{what}: expected {expected}: {error}") from None
    if array.dtype.kind in "iu":  # as JSON writes 0 and 1
        array = array.astype(np.float64)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        place = "".join(f"[{k}]" for k in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(f"{what}{place}: expected a finite number, got {array[~np.isfinite(array)][0]}")
    return as_floats(array, what)


def _flag_in(values: Any) -> bool | None:
    """The first of true and false, which numpy takes for 1 and 0 where numbers stand beside them."""
    if isinstance(values, list):
        return next((flag for value in values if (flag := _flag_in(value)) is not None), None)
    return values if isinstance(values, bool) else None


def count(values: Mapping[str, Any], key: str, what: str, minimum: int = 1, default: int | None = None) -> int:
    """A whole number of a JSON object.

    Raises
    ------
    ValueError
        If it is missing, no whole number or too small.
    """
    value = values.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        came = "none" if value is None else repr(value)
        raise ValueError(f"{what}: {key}: expected a whole number of at least {minimum}, got {came}")
    return value


WIDEST = 1 << 16  # features, units, knobs of one layer
MOST_LAYERS = 1 << 13  # of a model, with its input
LONGEST = 1 << 24  # steps that a convolution looks back


def demand_few(layers: int) -> None:
    """Raises ValueError for more layers than are read: each takes kilobytes, however few bytes of a file say it."""
    if layers >= MOST_LAYERS:
        raise ValueError(f"it has more than {MOST_LAYERS} layers")


def width(values: Mapping[str, Any], key: str, what: str, default: int | None = None) -> int:
    """A number of features of a JSON object.

    Raises
    ------
    ValueError
        If it is none.
    """
    found = count(values, key, what, default=default)
    if found > WIDEST:
        raise ValueError(f"{what}: {key}: expected at most {WIDEST}, got {found}")
    return found


def rate_in(values: Mapping[str, Any], keys: Sequence[str], what: str) -> float | None:
    """The sample rate under the first of these keys that there is; None where none says one, or says it by 0, -1 or "".

    It is a number or, as AIDA-X's trainer writes it, its text.

    Raises
    ------
    ValueError
        For what is no finite number.
    """
    for key in keys:
        value = values.get(key)
        if value is None or value == "":
            continue
        is_text = isinstance(value, str) and re.fullmatch(r"[0-9]+(\.[0-9]+)?", value)
        if is_text or (isinstance(value, (int, float)) and not isinstance(value, bool)):
            with contextlib.suppress(OverflowError):  # of a whole number beyond any float
                if math.isfinite(rate := float(value)):
                    return rate if rate > 0 else None
        raise ValueError(f"{what}: {key}: expected a number of Hz, got {value!r:.80}")
    return None


def rate_to_write(model: Any, given: Any, who: str) -> float | int | None:
    """The sample rate that a file is to say: what is given, else the model's. Whole ones as whole numbers.

    Raises
    ------
    ValueError, TypeError
        For what is no rate.
    """
    rate = sample_rate(given, f"{who}: sample_rate") if given is not None else model.sample_rate
    return int(rate) if rate is not None and rate == int(rate) else rate


def written(array: Any) -> Any:
    """Lists of the shortest decimal numbers that are these float32."""
    if array.ndim:
        return [written(row) for row in array]
    return float(f"{float(array):.9g}")


def write(path: str, content: Mapping[str, Any], what: str) -> None:
    """A file of JSON.

    Raises
    ------
    ValueError
        For NaN and infinities, which JSON lacks.
    """
    try:
        text = json.dumps(content, allow_nan=False)
    except ValueError:
        raise ValueError(f"{what}: a weight is NaN or infinite, which JSON lacks") from None
    _files.write_atomic(path, text.encode())


def contents(source: Source, name: str) -> Mapping[str, Any]:
    """The JSON object of a file.

    Raises
    ------
    ValueError
        If it is none.
    """
    found = source.json
    if not isinstance(found, Mapping):
        raise ValueError(f"{source}: format '{name}' is a JSON object, this is none")
    return found
