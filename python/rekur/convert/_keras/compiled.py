"""What a model was compiled with, as far as there is such here."""

import importlib
import inspect
import warnings
from collections.abc import Mapping
from typing import Any

# Idle in files: what Keras writes of every object.
_IDLE = {"name", "dtype", "loss_scale_factor", "jit_compile", "is_legacy_optimizer", "decay"}


def compile_as(model: Any, config: Mapping[str, Any], what: str) -> None:
    """Compile a model; what is not there is left out with a warning, and then nothing is compiled."""
    if not config or ("optimizer" not in config and "optimizer_config" not in config):
        return
    try:
        options: dict[str, Any] = {
            "optimizer": _made(config.get("optimizer", config.get("optimizer_config")), "optimizers"),
            "loss": _each(config.get("loss"), "losses"),
            "metrics": _each(config.get("metrics"), "metrics"),
            "weighted_metrics": _each(config.get("weighted_metrics"), "metrics"),
            "loss_weights": config.get("loss_weights"),
        }
        model.compile(**{key: value for key, value in options.items() if value is not None})
    except (TypeError, ValueError, AttributeError, KeyError, IndexError) as error:
        warnings.warn(f"{what}: the model is not compiled, since it was with what is not there: {error}", stacklevel=5)


def _each(value: Any, module: str) -> Any:
    if isinstance(value, (list, tuple)):
        return [_each(entry, module) for entry in value]
    if isinstance(value, Mapping) and "class_name" not in value:
        return {key: _each(entry, module) for key, entry in value.items()}
    return _made(value, module)


def _made(value: Any, module: str) -> Any:
    if not isinstance(value, Mapping):
        return value
    cls, config = str(value["class_name"]), value.get("config", {})
    if cls in ("MeanMetricWrapper", "LossFunctionWrapper", "function") or not isinstance(config, Mapping):
        name = config.get("fn", config) if isinstance(config, Mapping) else config
        return name if isinstance(name, str) else _made(name, module)
    kind = getattr(importlib.import_module(f"rekur.{module}"), cls)
    known = set(inspect.signature(kind).parameters)
    given = {k: _nested(v) for k, v in config.items() if k not in _IDLE - known and v is not None}
    return kind(**given)


def _nested(value: Any) -> Any:
    """A schedule of the learning rate within an optimiser."""
    if isinstance(value, Mapping) and "class_name" in value:
        return _made(value, "optimizers.schedules")
    return value
