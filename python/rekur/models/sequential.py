"""Sequential: a chain of layers, built one by one."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from rekur import _core
from rekur._own import check_options, refuse_methods
from rekur._spec import Signal, Spec
from rekur._validate import Shape, as_numeric, boolean
from rekur.layers.base import Layer
from rekur.layers.inputs import InputLayer
from rekur.layers.symbolic import SymbolicTensor, feature_shape
from rekur.models.graph import Member
from rekur.models.model import Model
from rekur.models.structure import Layers


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
        check_options("model", Sequential, {key: value for key, value in options.items() if key != "trainable"})
        trainable = boolean(options.pop("trainable", True), "Sequential: trainable")
        self._waiting: list[Member] = []  # layers added before the shape of the data is known
        self._call(name, "sequential", seed)
        for layer in () if layers is None else self._listed(layers):
            self.add(layer)
        if not trainable:
            self.trainable = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        refuse_methods(cls, "model", "call")

    @staticmethod
    def _listed(layers: Iterable[Layer | SymbolicTensor]) -> Iterable[Layer | SymbolicTensor]:
        try:
            return iter(layers)
        except TypeError:
            raise TypeError(f"Sequential: expected a list of layers, got {layers!r}") from None

    def add(self, layer: "Layer | Model | SymbolicTensor") -> None:
        """Add a layer, or a model used as one, at the end; the weights of those there are stay.

        Raises
        ------
        ValueError
            If it does not fit, has several outputs, or is in the chain already.
        TypeError
            If it is no layer.
        """
        if isinstance(layer, SymbolicTensor) and isinstance(layer.layer, InputLayer):
            layer = layer.layer
        if not isinstance(layer, (Layer, Model)):
            hint = ""
            if type(layer).__name__ == "TextVectorization":
                hint = ": text is made ids of before fit and predict; model.tokenizer = … puts it into the model's file"
            raise TypeError(f"add: expected a layer, got {layer!r}{hint}")
        if layer in self._names or layer in self._waiting:
            raise ValueError(f"{layer!r} is in use in model '{self.name}' already; a chain takes every layer once")
        if isinstance(layer, InputLayer):
            if self._graph or self._waiting:
                raise ValueError(f"add: {layer!r} must come first")
            self._begin(layer)
        elif self._inputs:
            self._append(layer)
        elif self._waiting:
            self._waiting.append(layer)
        else:
            entrance = _entrance_of(layer)
            if entrance is None:
                self._waiting.append(layer)
            else:
                self._start(entrance, [layer])

    def pop(self, rebuild: bool = True) -> Any:
        """Take the last layer away and return it; the weights of the others stay, and it can be called anew.

        Parameters
        ----------
        rebuild : bool
            As in Keras; it is made anew when it is needed, either way.

        Raises
        ------
        ValueError
            If there is none.
        """
        boolean(rebuild, "pop: rebuild")
        if self._waiting:
            return self._waiting.pop()
        if len(self._graph) < 2:
            raise ValueError(f"pop: model '{self.name}' has no layers")
        before = None if self._native is None else (self._native, dict(self._flat().layers))
        member = self._graph.pop()
        call = self._order.pop()
        member._calls.remove(call)
        if isinstance(member, Layer) and member._home is self:
            member._home = None
            if not member._calls:
                member._parts = None
        del self._names[member]
        self._outputs = list(call.inputs) if len(self._graph) > 1 else []
        if before is not None:
            self._before = before
        self._native = self._described = self._bound = self._taken_apart = self._quick = None
        if not self._outputs:
            self._before = None
        return member

    def add_loss(self, loss: Any) -> NoReturn:
        """Raises TypeError: a list of layers has no place for it.

        A layer of one's own among them adds to the loss in its ``call``; a tensor is added to ``rekur.Model(inputs,
        outputs)``.
        """
        raise TypeError(
            f"{self._whose()}: a Sequential is a list of layers and has no place for add_loss: call it within `call` "
            "of a layer of your own, or of a model made of inputs and outputs"
        )

    def get_config(self) -> dict[str, Any]:
        """The layers as plain data, without weights; an input that is known comes first."""
        from rekur.models.configs import serialize

        layers = [serialize(member) for member in self._members()]
        for entry, member in zip(layers, self._members(), strict=True):
            if member in self._names:
                entry["config"]["name"] = self._names[member]
        return {"name": self.name, "trainable": self.trainable, **self._signal.said(), "layers": layers}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
        """A Sequential, with new weights, of what :meth:`get_config` gave; ``custom_objects`` are your classes."""
        from rekur.models.configs import deserialize, reading

        with reading("from_config"):
            made = cls([deserialize(entry, custom_objects) for entry in config["layers"]], name=config.get("name"))
            made._signal = Signal.of(config)
        if config.get("trainable") is False:
            made.trainable = False
        if (shape := config.get("build_input_shape")) is not None and not made._is_ready():
            made.build(shape)  # as Keras has it
        return made

    def _begin(self, entrance: InputLayer) -> None:
        self._adopt([entrance])
        self._graph, self._order, self._inputs = [entrance], list(entrance._calls), [entrance.tensor]

    def _start(self, entrance: InputLayer, layers: Sequence[Member]) -> None:
        self._begin(entrance)
        try:
            for layer in layers:
                self._append(layer)
        except (TypeError, ValueError):
            # As if it had not been tried.
            for member in self._graph[1:]:
                member._disconnect()
                self._unname(member)
            self._clear()
            raise
        self._waiting = []

    def _append(self, member: Member) -> None:
        before = None if self._native is None else (self._native, dict(self._flat().layers))
        self._adopt([member])
        try:
            out = member._connect([(self._outputs or self._inputs)[0]])
            if isinstance(out, list):
                member._disconnect()
                raise ValueError(
                    f"{member!r} has several outputs (return_state), a Sequential has one: use "
                    "rekur.Model(inputs, outputs)"
                )
        except (TypeError, ValueError):
            self._unname(member)
            raise
        self._graph.append(member)
        self._order.append(member._calls[-1])
        self._outputs = [out]
        if before is not None:
            self._before = before  # the model is made again, with these weights, when it is needed
        self._native = self._described = self._bound = self._taken_apart = self._quick = None

    def _unname(self, member: Member) -> None:
        del self._names[member]
        if isinstance(member, Layer) and member._auto_named and not member._calls:
            member._name, member._auto_named = None, False

    def _members(self) -> list[Member]:
        return [*self._graph, *self._waiting]

    def _prepare_for(self, inputs: list[SymbolicTensor]) -> None:
        if not self._is_ready() and len(inputs) == 1:
            self._begin_with(inputs[0].shape[1:])
        super()._prepare_for(inputs)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Make the model for data of this shape, the batch first: ``(None, 10, 1)``."""
        if not self._is_ready():
            self._begin_with(feature_shape(input_shape, "build: input_shape")[1:])
        self._engine()

    def _begin_with(self, shape: Shape) -> None:
        if not self._waiting:
            raise ValueError(f"model '{self.name}' has no layers")
        first = self._waiting[0]
        self._start(InputLayer(shape, dtype=_dtype_of(first)), list(self._waiting))

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
            self._begin_with(tuple(None if i == 0 and len(shape) >= 3 else n for i, n in enumerate(shape[1:])))
        return super()._engine(x)

    @property
    def layers(self) -> list[Layer]:
        """The layers, without the input."""
        return Layers(layer for layer in [*self._graph, *self._waiting] if not isinstance(layer, InputLayer))

    def _is_ready(self) -> bool:
        if not self._inputs and self._waiting and (entrance := _entrance_of(self._waiting[0])) is not None:
            self._start(entrance, list(self._waiting))  # its shape was set after the layer had been added
        return super()._is_ready()

    def _saved(self) -> Spec:
        return {**super()._saved(), "model_class": "Sequential"}

    def _unbuilt(self) -> dict[str, Any]:
        return {"inputs": [tensor.layer for tensor in self._inputs], "waiting": self._waiting}

    def _wait_again(self, state: dict[str, Any]) -> None:
        self._waiting = []
        for layer in (*state["inputs"], *state["waiting"]):
            self.add(layer)

    def _call(self, name: str | None, default: str, seed: int | None) -> None:
        self._waiting = []
        super()._call(name, default, seed)

    def _connect_again(self, members: Mapping[str, Member], *rest: Any) -> None:
        super()._connect_again(members, *rest)
        chain = [call.inputs for call in self._order[1:]] == [call.outputs for call in self._order[:-1]]
        if not chain or len(members) != len(self._order) or self._outputs != self._order[-1].outputs:
            raise ValueError("a Sequential is a chain of layers; this spec is not: use rekur.Model.from_spec")


def _dtype_of(first: Member) -> str:
    """Of the input that a chain with this beginning has."""
    return first.input_dtype if isinstance(first, Layer) else first._inputs[0].dtype if first._is_ready() else "float32"


def _entrance_of(first: Member) -> InputLayer | None:
    """The input of a chain with this beginning, where that is known."""
    if isinstance(first, Layer):
        shape = first.input_shape
        if shape is None and first.input_dtype == "int32":
            shape = (None,)  # ids need no further telling
        return None if shape is None else InputLayer(shape, dtype=first.input_dtype, batch_size=first._batch_rows)
    if not first._is_ready():
        return None
    return InputLayer(first._inputs[0].shape[1:], dtype=first._inputs[0].dtype)
