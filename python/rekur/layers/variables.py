"""Weights by themselves: a name, a shape, and the numbers where the engine has them."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from rekur._validate import Floats, as_float32, show

if TYPE_CHECKING:
    from rekur.layers.base import Layer
    from rekur.models.structure import Structure

_RUNNING = ("moving_mean", "moving_variance")  # what a batch normalisation follows and no gradient changes


class Variable:
    """A weight of a layer that is part of a model: what ``layer.weights`` and ``model.weights`` list.

    Attributes
    ----------
    name : str
        ``"kernel"``.
    path : str
        The name in its model, ``"lstm/kernel"``, as ``named_weights`` has it.
    shape : tuple of int
    dtype : str
        ``"float32"``.
    trainable : bool
        Whether training changes it; it is the layer's ``trainable`` that says so, and is set there.

    Notes
    -----
    ``numpy()`` and NumPy's functions read a copy of the numbers, ``assign`` sets them; both act on the engine's.
    """

    __slots__ = ("_home", "_layer", "path", "shape")

    dtype = "float32"

    def __init__(self, home: "Structure", layer: "Layer", path: str, shape: tuple[int, ...]) -> None:
        self._home, self._layer, self.path, self.shape = home, layer, path, shape

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def trainable(self) -> bool:
        return bool(self._layer.trainable) and self.name not in fixed_of(self._layer)

    def numpy(self) -> Floats:
        """A copy of the numbers."""
        return self._home.named_weights()[self.path]

    @property
    def value(self) -> Floats:
        """A copy of the numbers."""
        return self.numpy()

    def assign(self, value: Any) -> "Variable":
        """Set the numbers; returns the weight.

        Raises
        ------
        ValueError
            For another shape.
        """
        array = as_float32(value, f"weight '{self.path}'")
        if array.shape != self.shape:
            raise ValueError(f"weight '{self.path}': expected shape {show(self.shape)}, got {show(array.shape)}")
        self._home._assign({self.path: array})
        return self

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.numpy().astype(dtype or np.float32, copy=False)

    def __len__(self) -> int:
        return self.shape[0]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Variable) and (self._home, self.path) == (other._home, other.path)

    def __hash__(self) -> int:
        return hash((id(self._home), self.path))

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r} cannot be pickled: it stands for a place in a model; pickle numpy() or the model")

    def __repr__(self) -> str:
        return f"<Variable '{self.path}' shape={self.shape} dtype={self.dtype}>"


# Names of weights that are attributes of Keras's layers.
NAMES_OF_WEIGHTS = frozenset(
    {
        *("kernel", "recurrent_kernel", "bias", "embeddings", "gamma", "beta", "scale", "alpha"),
        *("moving_mean", "moving_variance", "depthwise_kernel", "pointwise_kernel"),
    }
)


class Weighted:
    """What has weights: those that training changes, and the others."""

    @property
    def weights(self) -> list[Variable]:
        raise NotImplementedError

    @property
    def trainable_weights(self) -> list[Variable]:
        """Those of ``weights`` that training changes."""
        return [weight for weight in self.weights if weight.trainable]

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """Those of ``weights`` that training leaves alone."""
        return [weight for weight in self.weights if not weight.trainable]

    @property
    def variables(self) -> list[Variable]:
        """``weights``."""
        return self.weights

    @property
    def trainable_variables(self) -> list[Variable]:
        """``trainable_weights``."""
        return self.trainable_weights

    @property
    def non_trainable_variables(self) -> list[Variable]:
        """``non_trainable_weights``."""
        return self.non_trainable_weights


def fixed_of(layer: "Layer") -> tuple[str, ...]:
    """The names of the parameters that no gradient changes."""
    cell = layer.config().get("cell") if layer.type == "RNN" else None
    return (*_RUNNING, *(cell.get("fixed", ()) if isinstance(cell, dict) else ()))


def variables(home: "Structure", layers: "Iterable[tuple[Layer, str]]") -> list[Variable]:
    """The weights of the engine's layers, given with their names there, in the engine's order."""
    named = {name: layer for layer, name in layers}
    found = []
    for path, shape, _ in home._engine().parameters:
        layer = named.get(path.partition("/")[0])
        if layer is not None:
            found.append(Variable(home, layer, path, tuple(shape)))
    return found
