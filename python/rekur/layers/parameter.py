"""Weights as a tensor: what equations of layers of one's own read."""

from collections.abc import Sequence
from typing import Any, ClassVar

from rekur import initializers
from rekur._settings import Setting
from rekur._validate import boolean
from rekur.layers.base import Layer
from rekur.layers.own import shape_of


def _shape(value: Any, what: str) -> list[int]:
    return list(shape_of(value, what))


class Parameter(Layer):
    """The layer's own weights as a tensor, the same for every row of the batch of what it is called on.

    ``add_weight`` of a layer of one's own makes it where a weight stands in arithmetic. By itself it is a learned
    query, a learned first state, or a table that everything reads.

    Parameters
    ----------
    shape : tuple of int
        Of the weights, at most four axes; ``()`` is a single number. Axes of size 1 in front say no more than their
        absence, as in NumPy.
    initializer : str or Initializer
    beside : bool
        False: the output is ``(B, *shape)``, its first axis one of its own. True: the output has the steps of the
        layer's input and as many axes, ``(B, T, …, *shape)``, so that it can be added to it or multiplied with it;
        sizes are compared from the last axis on, as in NumPy, and weights of T steps differ from step to step.

    Notes
    -----
    Weights: value, of that shape. Streams take what is the same at every step.
    """

    type = "Parameter"
    _keys = ("shape", "initializer", "beside")
    _ruled: ClassVar[dict[str, str]] = {"value": "value"}

    shape: Any = Setting(_shape)
    initializer = Setting(initializers.to_spec)
    beside = Setting(boolean)

    def __init__(
        self,
        shape: int | Sequence[int],
        initializer: Any = "glorot_uniform",
        beside: bool = False,
        *,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, options)
        self.shape = shape
        self.initializer = initializer
        self.beside = beside
