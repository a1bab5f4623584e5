"""Recurrent layers of a model that is written, by kind and direction; what the other program has not is named."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from rekur._validate import Floats
from rekur.convert._plain import demand_plain

_AROUND = ("units", "use_bias", "return_sequences", "return_state", "stateful", "zero_output_for_mask", "precision")
_KINDS = ("SimpleRNN", "LSTM", "GRU")


class Recurrent(NamedTuple):
    """A recurrent layer of a model."""

    name: str
    kind: str
    layer: Any  # of one direction
    directions: list[list[Floats]]  # the weights of each, as rekur has them
    merge_mode: str  # of two directions


def weighted(model: Any) -> Iterator[tuple[str, Any]]:
    """Layers with weights, by name, in the model's order; those of models within with dots.

    Raises
    ------
    ValueError
        If there are none.
    """
    found = list(_weighted(model))
    if not found:
        raise ValueError(f"model '{model.name}' has no weights")
    yield from found


def _weighted(model: Any) -> Iterator[tuple[str, Any]]:
    from rekur.models.structure import Structure

    for layer in model.layers:
        if isinstance(layer, Structure):
            yield from ((f"{layer.name}.{name}", inner) for name, inner in _weighted(layer))
        elif layer.get_weights():
            yield layer.name, layer


def recurrent(
    name: str,
    layer: Any,
    who: str,
    *,
    kinds: Collection[str] = _KINDS,
    reset_after: Collection[bool] = (True,),
    activations: Mapping[str, Collection[str]] | None = None,
    directions: int = 2,
    merge_modes: Collection[str] = ("concat",),
) -> Recurrent | None:
    """A layer as a recurrent one; None where it is none.

    Parameters
    ----------
    who : str
        The other program, for errors.
    kinds, reset_after, activations, directions, merge_modes
        What it has; activations by kind, tanh by default.

    Raises
    ------
    ValueError
        For what it has not.
    """
    kind, inner, merge = type(layer).__name__, layer, "concat"
    weights = layer.get_weights()
    both = kind == "Bidirectional"
    if both:
        inner, merge, kind = layer.inner, layer.merge_mode, type(layer.inner).__name__
        if directions < 2 or layer.merge_mode not in merge_modes or layer.residual or layer._backward is not None:
            modes = f"of equal layers, joined by {' or '.join(repr(m) for m in merge_modes)}"
            has = f"two directions only {modes}" if directions == 2 else "layers of one direction alone"
            raise ValueError(f"layer '{name}' (Bidirectional): {who} has {has}")
    if kind not in _KINDS:
        return None
    if kind not in kinds:
        raise ValueError(f"layer '{name}' ({kind}): {who} has no such layer")
    allowed = (*_AROUND, "activation", *(("reset_after",) if kind == "GRU" else ()))
    demand_plain(inner, who, allowed)
    if inner.activation not in (activations or {}).get(kind, ("tanh",)):
        raise ValueError(f"layer '{name}' ({kind}): {who} has no activation={inner.activation!r}")
    if kind == "GRU" and inner.reset_after not in reset_after:
        raise ValueError(f"layer '{name}' (GRU): {who} has no reset_after={inner.reset_after}")
    half = len(weights) // 2
    return Recurrent(name, kind, inner, [weights[:half], weights[half:]] if both else [weights], merge)
