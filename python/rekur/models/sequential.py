"""Sequential: a chain of layers, built one by one."""

from collections.abc import Iterable, Sequence
from typing import Any

from rekur import _core
from rekur._own import check_options
from rekur._spec import Spec, unique_name
from rekur._validate import Shape, as_numeric
from rekur.layers import base
from rekur.layers.base import InputLayer, Layer, SymbolicTensor
from rekur.models.model import Layers, Model


class Sequential(Model):
    """A chain of layers.

    Parameters
    ----------
    layers : list of Layer, optional
        The first one may be :func:`rekur.Input` or have ``input_shape=``; else the first data decides.
    name : str
    seed : int, optional
        As of :class:`Model`.
    """

    def __init__(
        self,
        layers: Sequence[Layer | SymbolicTensor] | None = None,
        *,
        name: str | None = None,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        check_options("model", Sequential, options)
        self._call("sequential" if name is None else name, seed)
        self._waiting: list[Layer] = []  # layers added before the shape of the data is known
        for layer in () if layers is None else self._listed(layers):
            self.add(layer)

    @staticmethod
    def _listed(layers: Iterable[Layer | SymbolicTensor]) -> Iterable[Layer | SymbolicTensor]:
        try:
            return iter(layers)
        except TypeError:
            raise TypeError(f"Sequential: expected a list of layers, got {layers!r}") from None

    def add(self, layer: Layer | SymbolicTensor) -> None:
        """Add a layer at the end; the weights of those there are stay.

        Raises
        ------
        ValueError
            If it does not fit, has several outputs, or belongs to a model already.
        TypeError
            If it is no layer.
        """
        if isinstance(layer, SymbolicTensor) and isinstance(layer.layer, InputLayer):
            layer = layer.layer
        if not isinstance(layer, Layer):
            raise TypeError(f"add: expected a layer, got {layer!r}")
        if isinstance(layer, InputLayer):
            if self._graph or self._waiting:
                raise ValueError(f"add: {layer!r} must come first")
            self._adopt([layer])
            self._inputs = [layer.tensor]
        elif self._inputs:
            self._append(layer)
        elif self._waiting:
            self._wait(layer)
        else:
            shape = layer.input_shape
            if shape is None and layer.input_dtype == "int32":
                shape = (None,)  # ids need no further telling
            if shape is None:
                self._wait(layer)
            else:
                self._start(InputLayer(shape, dtype=layer.input_dtype), [layer])

    def _wait(self, layer: Layer) -> None:
        if layer._model is not None or layer._serial >= 0 or layer in self._waiting:
            raise ValueError(f"{layer!r} is in use already; make a layer of its own")
        self._waiting.append(layer)

    def _start(self, entrance: InputLayer, layers: Sequence[Layer]) -> None:
        self._adopt([entrance])
        self._inputs = [entrance.tensor]
        try:
            for layer in layers:
                self._append(layer)
        except (TypeError, ValueError):
            # As if it had not been tried.
            for layer in self._graph[1:]:
                layer._disconnect()
            self._clear()
            raise
        self._waiting = []

    def _append(self, layer: Layer) -> None:
        if layer._model is not None:
            raise ValueError(f"{layer!r} already belongs to model '{layer._model.name}'; make a layer of its own")
        named = layer._name
        if named is not None and any(named == other.name for other in self._graph):
            raise ValueError(f"two layers of model '{self.name}' are named '{named}'")
        layer._name = named or unique_name(layer.name, {other.name: other for other in self._graph})
        try:
            out = layer._connect([(self._outputs or self._inputs)[0]])
        except (TypeError, ValueError):
            layer._name = named
            raise
        if isinstance(out, list):
            layer._disconnect()
            layer._name = named
            raise ValueError(
                f"{layer!r} has several outputs (return_state), a Sequential has one: use rekur.Model(inputs, outputs)"
            )
        self._adopt([layer])
        self._outputs = [out]
        if self._native is not None:
            self._carried = self.named_weights()  # the model is made again, with these, when it is needed
        self._native = self._described = self._bound = None

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Make the model for data of this shape, the batch first: ``(None, 10, 1)``."""
        if not self._is_ready():
            self._begin_with(base.feature_shape(input_shape, "build: input_shape")[1:])
        self._engine()

    def _begin_with(self, shape: Shape) -> None:
        if not self._waiting:
            raise ValueError(f"model '{self.name}' has no layers")
        self._start(InputLayer(shape, dtype=self._waiting[0].input_dtype), list(self._waiting))

    def _engine(self, x: object = None) -> _core.Model:
        if not self._is_ready():
            if self._inputs or not self._waiting:
                raise ValueError(f"model '{self.name}' has no layers")
            if x is None:
                raise ValueError(
                    f"model '{self.name}' does not know its input yet: give the first layer input_shape=, "
                    "add rekur.Input first, or call build, fit or predict"
                )
            shape = as_numeric(x, "x").shape
            # Features stay; the number of steps may change from call to call.
            self._begin_with(tuple(None if i == 0 and len(shape) == 3 else n for i, n in enumerate(shape[1:])))
        return super()._engine(x)

    @property
    def layers(self) -> list[Layer]:
        """The layers, without the input."""
        return Layers(layer for layer in [*self._graph, *self._waiting] if not isinstance(layer, InputLayer))

    def _is_ready(self) -> bool:
        if not self._inputs and self._waiting and (shape := self._waiting[0].input_shape) is not None:
            self._begin_with(shape)  # it was set after the layer had been added
        return super()._is_ready()

    def _saved(self) -> Spec:
        return {**super()._saved(), "model_class": "Sequential"}

    def _unbuilt(self) -> dict[str, Any]:
        return {"inputs": [tensor.layer for tensor in self._inputs], "waiting": self._waiting}

    def _wait_again(self, state: dict[str, Any]) -> None:
        self._waiting = []
        for layer in (*state["inputs"], *state["waiting"]):
            self.add(layer)

    def _revive(self, core: _core.Model, seed: int | None) -> None:
        self._waiting = []
        super()._revive(core, seed)
        chain = [layer._inbound for layer in self._graph[1:]] == [layer._outbound for layer in self._graph[:-1]]
        if not chain or self._outputs != self._graph[-1]._outbound:
            raise ValueError("a Sequential is a chain of layers; this spec is not: use rekur.Model.from_spec")
