"""Whether a layer is one that another program has: what it asks for beyond that is named."""

from collections.abc import Collection
from typing import Any

# What training alone reads: weights and predictions are the same without.
_IN_TRAINING = {
    "dropout", "recurrent_dropout", "recurrent_weight_dropout", "kernel_initializer", "recurrent_initializer",
    "bias_initializer", "peephole_initializer", "projection_initializer", "embeddings_initializer", "beta_initializer",
    "gamma_initializer", "moving_mean_initializer", "moving_variance_initializer", "depthwise_initializer",
    "pointwise_initializer", "alpha_initializer", "regularizers", "constraints", "activity_regularizer", "trainable",
    "lr_scale", "seed",
}  # fmt: skip


def asks_for(layer: Any, allowed: Collection[str] = (), plain: Any = None) -> dict[str, Any]:
    """The settings of a layer that are neither ``allowed``, nor of training alone, nor as a plain layer has them.

    ``plain`` is a layer without options of the same type; by default of the same units.
    """
    if plain is None:
        plain = type(layer)(layer.units)
    usual, own = plain.config(), layer.config()
    skipped = {*allowed, *_IN_TRAINING}
    return {key: value for key, value in own.items() if key not in skipped and value != usual.get(key)}


def demand_plain(layer: Any, who: str, allowed: Collection[str] = (), plain: Any = None) -> None:
    """Refuse what ``who`` has not.

    Raises
    ------
    ValueError
        Naming the layer and its settings.
    """
    if found := asks_for(layer, allowed, plain):
        listed = ", ".join(f"{key}={value!r}" for key, value in found.items())
        raise ValueError(f"layer '{layer.name}' ({layer.type}): {who} has no {listed}")


def activation_name(value: Any) -> str:
    """Of an activation without parameters; the description of another."""
    if isinstance(value, dict):
        return str(value.get("name")) if len(value) == 1 else repr(value)
    return str(value)
