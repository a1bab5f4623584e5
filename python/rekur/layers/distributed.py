"""A layer or a model applied to every time step."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from rekur._spec import Spec
from rekur._validate import show
from rekur.layers.base import Layer
from rekur.layers.own import at_once
from rekur.layers.symbolic import SymbolicTensor, symbolic


class FoldTime(Layer):
    """Every time step as a row of its own: ``(B, T, …)`` becomes ``(B·T, …)``. UnfoldTime goes back.

    Notes
    -----
    What stands between the two is applied to every step; :class:`TimeDistributed` says it in one layer. A model whose
    output has other rows than its input cannot be trained or evaluated, so UnfoldTime comes before the end.
    """

    type = "FoldTime"

    def __init__(self, *, name: str | None = None, **options: Any) -> None:
        super().__init__(name, options)


class UnfoldTime(Layer):
    """Rows that were time steps as time steps again: ``(B·T, …)`` becomes ``(B, T, …)``.

    Called on two tensors: the rows, and one of ``(B, T, …)`` that says how many steps there are.
    """

    type = "UnfoldTime"

    def __init__(self, *, name: str | None = None, **options: Any) -> None:
        super().__init__(name, options)


class TimeDistributed(Layer):
    """A layer, or a model of one input, applied to every time step by itself, with the same weights.

    Parameters
    ----------
    layer : Layer or Model

    Notes
    -----
    Input ``(B, T, …)``, of which the layer sees ``(B·T, …)``; output ``(B, T, …)`` with what it makes of them, a list
    where it has several outputs. Lengths and masks of T go on to the output; steps that are none are computed all the
    same. A layer that works on each step anyway (Dense, Activation, …) is applied as it is, which costs nothing.
    Weights: those of the layer. A file holds the layers that it is made of, and gives a model of the same name back.
    """

    type = "TimeDistributed"
    _advice: ClassVar[dict[str, str]] = {**Layer._advice, "config": "it is the layer's; see layer"}

    def __init__(self, layer: Any, *, name: str | None = None, **options: Any) -> None:
        from rekur.models.structure import Structure  # which is made of this package

        super().__init__(name, options)
        if not isinstance(layer, (Layer, Structure)):
            raise TypeError(f"{self!r}: expected a layer or a model, got {layer!r}")
        self._layer = layer

    @property
    def layer(self) -> Any:
        """What is applied to every step."""
        return self._layer

    @property
    def input_dtype(self) -> str:  # type: ignore[override]
        if isinstance(self._layer, Layer):
            return self._layer.input_dtype
        return self._layer._inputs[0].dtype if self._layer._is_ready() else "float32"

    def __call__(self, inputs: SymbolicTensor | Sequence[SymbolicTensor], **options: Any) -> Any:
        """Connect the layer to a tensor of shape ``(B, T, …)``. Errors as of :class:`Layer`.

        With an array the outputs are computed, of which ``mask``, (B, T), leaves steps out.
        """
        if not isinstance(inputs, SymbolicTensor) and self._computes_on(inputs):
            mask = options.pop("mask", None)
            self._check_call(options)
            return at_once(self, ((inputs,), {} if mask is None else {"mask": self._of_steps(mask, inputs)}))
        self._check_call(options)
        return self._connect(symbolic(inputs, repr(self)))

    def _of_steps(self, mask: Any, inputs: Any) -> Any:
        """A mask of the steps, of which each place of a step says the same."""
        found, steps = np.asarray(mask, bool), np.shape(inputs)[:2]
        if found.shape[:2] != steps:
            raise ValueError(f"{self!r}: mask: expected shape {show(steps)}, (batch, steps), got {show(found.shape)}")
        places = found.reshape(*steps, -1)
        if (places != places[..., :1]).any():
            raise ValueError(f"{self!r}: mask: a step is left out as a whole, got a mask of shape {show(found.shape)}")
        return places[..., 0]

    def _is_composed(self) -> bool:
        return True

    def _compose(self, inputs: list[SymbolicTensor]) -> Any:
        if len(inputs) != 1:
            raise ValueError(f"{self!r}: expected 1 input, got {len(inputs)}")
        (x,) = inputs
        if len(x.shape) < (2 if x.dtype == "int32" else 3):
            raise ValueError(f"{self!r}: expected a sequence of shape (B, T, …), got {show(x.shape)}")
        if isinstance(self._layer, Layer) and self._layer._each_step:
            return self._layer._connect([x])
        rows = FoldTime()(x)
        if not isinstance(self._layer, Layer):
            self._layer._prepare_for([rows])
        made = self._layer._connect([rows])
        outputs = [UnfoldTime()([y, x]) for y in (made if isinstance(made, list) else [made])]
        return outputs[0] if len(outputs) == 1 else outputs

    def _saved_as_graph(self) -> bool:
        return True

    def get_config(self) -> Spec:
        from rekur.models.configs import serialize  # which is made of this package

        found = super().get_config()
        return {**found, "layer": serialize(self._layer)}

    @classmethod
    def _of_config(cls, config: Spec, name: str | None) -> Layer:
        from rekur.models.configs import deserialize

        layer = config["layer"]
        return cls(**{**config, "layer": deserialize(layer) if isinstance(layer, dict) else layer}, name=name)

    def config(self) -> Spec:
        """What it applies, by type and name."""
        inner = self._layer
        return {"layer": {"type": inner.type if isinstance(inner, Layer) else "Model", "name": inner.name}}
