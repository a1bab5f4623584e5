"""The weights of a model as a state_dict of PyTorch."""

from collections.abc import Callable
from typing import Any

import numpy as np

from rekur._validate import Floats
from rekur.convert._dialects import from_rekur
from rekur.convert._plain import demand_plain

WHO = "torch"
_AROUND = ("units", "use_bias", "return_sequences", "return_state", "stateful", "zero_output_for_mask", "precision")


def state_dict_of(model: Any) -> dict[str, Floats]:
    """Arrays by the names ``LAYER.weight_ih_l0``, ``LAYER.weight``, …, layers in the model's order.

    Activations, and layers without weights, are not in a state_dict.

    Raises
    ------
    ValueError
        For a layer with weights that torch lacks.
    """
    from rekur.models.structure import Structure

    found: dict[str, Floats] = {}
    for layer in model.layers:
        if isinstance(layer, Structure):
            found.update({f"{layer.name}.{name}": a for name, a in state_dict_of(layer).items()})
            continue
        weights = layer.get_weights()
        if not weights:
            continue
        found.update({f"{layer.name}.{name}": a for name, a in tensors_of(layer, weights).items()})
    if not found:
        raise ValueError(f"model '{model.name}' has no weights")
    return {name: np.ascontiguousarray(array, np.float32) for name, array in found.items()}


def tensors_of(layer: Any, weights: list[Floats]) -> dict[str, Floats]:
    """Of one layer, by torch's names within a module."""
    kind = type(layer).__name__
    if kind == "TimeDistributed":
        layer = layer.layer
        kind = type(layer).__name__
    if kind in ("SimpleRNN", "LSTM", "GRU"):
        check_recurrent(layer)
        return _direction(layer, weights, "")
    if kind == "Bidirectional":
        check_bidirectional(layer)
        half = len(weights) // 2
        return {**_direction(layer.inner, weights[:half], ""), **_direction(layer.inner, weights[half:], "_reverse")}
    if kind not in _WRITERS:
        raise ValueError(f"layer '{layer.name}' ({kind}): {WHO} has no layer of these weights")
    return _WRITERS[kind](layer, weights)


def check_recurrent(layer: Any) -> None:
    """Refuse recurrent layers that torch does not compute."""
    demand_plain(layer, WHO, (*_AROUND, "activation", "projection_size"))
    allowed = ("tanh", "relu") if layer.type == "SimpleRNN" else ("tanh",)
    if layer.activation not in allowed:
        raise ValueError(f"layer '{layer.name}' ({layer.type}): {WHO} has no activation={layer.activation!r}")
    if layer.projection_size is not None and layer.type != "LSTM":
        raise ValueError(f"layer '{layer.name}' ({layer.type}): {WHO} has no projection_size of it")


def check_bidirectional(layer: Any) -> None:
    if layer.merge_mode != "concat" or layer.residual or layer._backward is not None:
        raise ValueError(
            f"layer '{layer.name}' (Bidirectional): {WHO} joins two directions of equal layers by merge_mode='concat' "
            "alone"
        )
    check_recurrent(layer.inner)


def _direction(layer: Any, weights: list[Floats], suffix: str) -> dict[str, Floats]:
    cell = from_rekur("torch", layer.type, weights, layer.use_bias)
    found = {
        "weight_ih": cell.kernel,
        "weight_hh": cell.recurrent,
        "bias_ih": cell.bias,
        "bias_hh": cell.recurrent_bias,
    }
    found["weight_hr"] = cell.projection
    return {f"{name}_l0{suffix}": array for name, array in found.items() if array is not None}


def _dense(layer: Any, weights: list[Floats]) -> dict[str, Floats]:
    return {"weight": weights[0].T, **({"bias": weights[1]} if len(weights) > 1 else {})}


def _embedding(layer: Any, weights: list[Floats]) -> dict[str, Floats]:
    return {"weight": weights[0]}


def _convolution(layer: Any, weights: list[Floats]) -> dict[str, Floats]:
    if layer.padding == "causal":
        raise ValueError(f"layer '{layer.name}' ({layer.type}): {WHO} has no padding='causal'")
    return {"weight": weights[0].transpose(2, 1, 0), **({"bias": weights[1]} if len(weights) > 1 else {})}


def _scaled(layer: Any, weights: list[Floats], *rest: str) -> dict[str, Floats]:
    rest = (*(["weight"] if layer.scale else []), *(["bias"] if layer.center else []), *rest)
    return dict(zip(rest, weights, strict=True))


def _layer_norm(layer: Any, weights: list[Floats]) -> dict[str, Floats]:
    return _scaled(layer, weights)


def _batch_norm(layer: Any, weights: list[Floats]) -> dict[str, Floats]:
    return _scaled(layer, weights, "running_mean", "running_var")


def _rms_norm(layer: Any, weights: list[Floats]) -> dict[str, Floats]:
    return {"weight": weights[0]}


_WRITERS: dict[str, Callable[[Any, list[Floats]], dict[str, Floats]]] = {
    "Dense": _dense,
    "Embedding": _embedding,
    "Conv1D": _convolution,
    "Conv1DTranspose": _convolution,
    "LayerNormalization": _layer_norm,
    "RMSNormalization": _rms_norm,
    "BatchNormalization": _batch_norm,
}
