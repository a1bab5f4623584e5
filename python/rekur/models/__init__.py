"""Models: graphs of layers, their weights, their files."""

from typing import TYPE_CHECKING, Any

from rekur._own import no_attribute
from rekur.models.model import Model, load_model
from rekur.models.sequential import Sequential

__all__ = ["Model", "Sequential", "clone_model", "load_model", "model_from_json"]


if TYPE_CHECKING:
    from rekur.models.configs import clone_model, model_from_json
else:  # a type checker is to see what is not there

    def __getattr__(name: str) -> Any:
        if name == "Functional":  # Keras's name of what a Model of inputs and outputs is
            return Model
        if name in ("clone_model", "model_from_json"):
            from rekur.models import configs  # which few programs need

            return getattr(configs, name)
        no_attribute(__name__, "model", name)

    def __dir__() -> list[str]:
        return sorted({*globals(), "Functional", "clone_model", "model_from_json"})
