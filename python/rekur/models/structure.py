"""What a model is made of: the calls of its layers, the engine's model of them, its weights."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from rekur import _core
from rekur._own import check_arguments, named_after
from rekur._random import draw_seed
from rekur._settings import FixedList, Setting
from rekur._spec import (
    Signal,
    Spec,
    check_name,
    dumps,
    latency,
    model_spec,
    reference,
    sample_rate,
    split_reference,
    unique_name,
)
from rekur._summary import summary_lines
from rekur._validate import Floats, Shape, as_numeric, boolean, did_you_mean, integer, show
from rekur.layers.base import Layer
from rekur.layers.inputs import InputLayer
from rekur.layers.parts import infer_through, layers_within, parts_of
from rekur.layers.recurrence import Stateful
from rekur.layers.symbolic import Call, SymbolicTensor, symbolic
from rekur.layers.variables import Variable, Weighted, variables
from rekur.models.graph import Flat, Member, flatten
from rekur.training.bound import Bound
from rekur.training.by_batch import unflatten
from rekur.training.carried import Carried
from rekur.training.data import Port
from rekur.training.trainable import Trainable

if TYPE_CHECKING:
    from rekur.training.truncated import Truncated


class Layers(FixedList):
    """The layers of a model, as a list to read."""

    _reason = "layers is a list to read; add a layer with add of a Sequential, or make a model of the layers wanted"


def _seed(value: object, what: str) -> int:
    return integer(value, what, 0)


@named_after("rekur.models", "Model")
class Structure(Trainable, Weighted):
    """The part of a model that knows its layers and its engine."""

    name = Setting(check_name)
    seed = Setting(_seed)

    _graph: list[Member]  # layers and models, in the order of `layers`, with the inputs
    _order: list[Call]  # their calls in topological order
    _names: dict[Member, str]  # in this model
    _inputs: list[SymbolicTensor]
    _outputs: list[SymbolicTensor]
    _cuts: dict[SymbolicTensor, SymbolicTensor]  # tensors of other models, by the inputs that stand for them
    _said_built = False
    _signal = Signal()
    _native: _core.Model | None = None  # the engine's model; None until something needs it
    _described: tuple[list[Port], list[Port]] | None  # what _ports returns, once asked

    def _call(self, name: str | None, default: str, seed: int | None) -> None:
        self.name = default if name is None else name
        self._auto_named = name is None
        self.seed = draw_seed() if seed is None else seed
        self._calls: list[Call] = []
        self._clear()

    def _clear(self) -> None:
        self._graph, self._order, self._names = [], [], {}
        self._inputs, self._outputs, self._cuts = [], [], {}
        self._native = None
        self._described = self._quick = None
        self._before: tuple[_core.Model, dict[Layer, str]] | None = None  # the engine's model until layers were added
        self._taken_apart: Flat | None = None
        # What the engine knows of layers that are not trained as all are; the same by layer, for all.
        self._pushed: dict[str, tuple[bool, float]] = {}
        self._watched: list[tuple[Layer, str, tuple[bool, float]]] | None = None

    def _whose(self) -> str:
        return f"model '{vars(self)['name']}'" if "name" in vars(self) else type(self).__name__

    def _may_set(self, name: str) -> None:
        if name == "name" and self._native is not None:
            raise AttributeError(
                f"{self._whose()} is built: 'name' cannot be set any more; give name= to the constructor"
            )
        if name == "seed" and self._native is not None:
            raise AttributeError(
                f"{self._whose()} is built: its seed has drawn the weights; give seed= to the constructor, or to "
                "compile for dropout and the order of the rows"
            )

    @property
    def trainable(self) -> bool:
        """Whether any layer is trained; setting it sets that of every layer. Acts from the next step on."""
        members = [member for member in self._members() if not isinstance(member, InputLayer)]
        return not members or any(member.trainable for member in members)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        trained = boolean(value, f"{self._whose()}: trainable")
        for member in self._members():
            if not isinstance(member, InputLayer):
                member.trainable = trained

    def _members(self) -> list[Member]:
        return self._graph

    def _adopt(self, members: Sequence[Member]) -> None:
        """Take layers and models in: they get their names in this model."""
        taken: dict[str, Member] = {name: member for member, name in self._names.items()}
        new = [member for member in members if member not in self._names]
        for member in new:
            if member._is_named():
                if member.name in taken:
                    raise ValueError(f"two layers of model '{self.name}' are named '{member.name}'")
                taken[member.name] = member
        for member in new:
            if not member._is_named():
                name = unique_name(member.name, taken)
                taken[name] = member
                self._names[member] = name
                if isinstance(member, Layer) and member._name is None:
                    member._name, member._auto_named = name, True
            else:
                self._names[member] = member.name
            if isinstance(member, Layer) and member._home is None:
                member._home = self

    # What it is for.

    @property
    def sample_rate(self) -> float | None:
        """Of the signal whose samples are the model's steps, in Hz; None where nobody has said. It may be set.

        Files, copies, spec, configurations and exports keep it. A :class:`rekur.Stream` at a higher rate goes by it.
        """
        return self._signal.sample_rate

    @sample_rate.setter
    def sample_rate(self, value: float | None) -> None:
        self._set_signal(self._signal._replace(sample_rate=sample_rate(value, f"{self._whose()}: sample_rate")))

    @property
    def latency(self) -> int:
        """By how many samples the output is behind the input; 0 by default. Set and kept as the rate is."""
        return self._signal.latency

    @latency.setter
    def latency(self, value: int) -> None:
        self._set_signal(self._signal._replace(latency=latency(value, f"{self._whose()}: latency")))

    def _set_signal(self, signal: Signal) -> None:
        if self._native is not None:
            self._native.signal = signal.sample_rate or 0.0, signal.latency
        self._signal = signal

    # The engine's side.

    @property
    def spec(self) -> Spec:
        """The JSON object that describes the model (docs/spec.md)."""
        self._engine()
        return self._make_spec()

    def _flat(self) -> Flat:
        if self._taken_apart is None:
            self._taken_apart = flatten(self)
        return self._taken_apart

    def _make_spec(self) -> Spec:
        return self._spec_of(self._flat())

    def _spec_of(self, flat: Flat) -> Spec:
        inputs = [self._names[tensor.layer] for tensor in self._inputs]
        carried: list[Spec] = []
        for states in flat.states:
            for name, shape in zip(states.inputs, states.shapes, strict=False):
                carried.append({"type": "Input", "name": name, "shape": list(shape), "dtype": "float32"})
        outputs = [*flat.outputs, *(ref for states in flat.states for ref in states.outputs)]
        if flat.is_plain():
            reads = {call.layer: {"inputs": call.inputs} for call in flat.calls}
            layers = [
                {"type": layer.type, "name": name, **reads.get(layer, {}), **layer._engine_config()}
                for layer, name in flat.layers.items()
            ]
            return model_spec(self.name, layers, inputs, outputs, signal=self._signal.said())
        layers = [{"type": layer.type, "name": name, **layer._engine_config()} for layer, name in flat.layers.items()]
        layers += carried
        inputs += [entry["name"] for entry in carried]
        calls = []
        for call in flat.calls:
            name = flat.layers[call.layer]
            calls.append({"layer": name, **({"name": call.name} if call.name != name else {}), "inputs": call.inputs})
        return model_spec(self.name, layers, inputs, outputs, calls, self._signal.said())

    def _is_ready(self) -> bool:
        return bool(self._outputs)

    def _engine(self, x: object = None) -> _core.Model:
        if self._native is None:
            self._build()
        assert self._native is not None
        return self._native

    def _build(self) -> None:
        _build_models_within(self)
        flat = self._flat()
        shared: dict[str, tuple[_core.Model, str]] = {}
        for layer, name in flat.layers.items():
            if layer._home is None:
                layer._home = self  # a part of a layer that this model is the home of
            home = layer._home
            if home is not None and home is not self:
                shared[name] = (home._engine(), home._name_of(layer))
            elif self._before is not None and layer in self._before[1]:
                shared[name] = (self._before[0], self._before[1][layer])
        core = _core.Model(dumps(self._make_spec()), shared)
        given = [leaf for layer in layers_within(self) if not layer._drawn for leaf in layer._leaves() or [layer]]
        keep = {*shared, *(flat.layers.get(leaf) for leaf in given)}
        core.initialize(self.seed, [p for p, _, _ in core.parameters if p.partition("/")[0] in keep])
        self._native, self._described, self._bound, self._before = core, None, None, None
        self._pushed, self._watched, self._quick = {}, None, None
        for layer in layers_within(self):
            if layer._initial_weights is not None and layer._home is self and not {*layer._engine_names()} & {*shared}:
                self._set_weights(layer._initial_weights, layer._engine_names(), f"{layer!r}: weights")

    def _name_of(self, layer: Layer) -> str:
        """The layer's name in the engine."""
        return self._flat().layers[layer]

    def _sync_trained(self) -> None:
        """Tell the engine which layers are trained, and how fast."""
        engine, watched = self._native or self._engine(), self._watched
        if watched is None:
            layers = self._flat().layers.items()
            watched = self._watched = [(layer, name, self._pushed.get(name, (True, 1.0))) for layer, name in layers]
        for k, (layer, name, known) in enumerate(watched):  # before every step, so it must be quick
            if layer._trainable is not known[0] or layer._lr_scale != known[1]:
                state = layer._trainable, layer._lr_scale
                engine.set_trained(name, *state)
                if self._bound is not None and self._bound.stand_in is not None:
                    self._bound.stand_in.engine.set_trained(name, *state)
                self._pushed[name], watched[k] = state, (layer, name, state)

    def _ports(self) -> tuple[list[Port], list[Port]]:
        if self._described is None:
            engine = self._engine()
            users: dict[str, str] = {}
            for call in self._flat().calls:
                for ref in call.inputs:
                    users.setdefault(split_reference(ref)[0], f" (of {call.layer!r})")
            inputs = []
            for name, shape, dtype in engine.inputs[: len(self._inputs)]:
                inputs.append(Port(name, tuple(shape), dtype, _is_timed(shape, dtype), users.get(name, "")))
            outputs = [
                Port(name, tuple(shape), dtype, _is_timed(shape, dtype))
                for name, (_, shape, dtype) in zip(self._output_names(), engine.outputs, strict=False)
            ]
            self._described = inputs, outputs
        return self._described

    def _carried(self) -> Carried | None:
        states = self._flat().states
        if not states:
            return None
        sizes = {tensor.layer.batch_size for tensor in self._inputs} - {None}
        return Carried(states, len(self._inputs), len(self._outputs), max(sizes, default=None))

    def _truncated(self, bound: Bound, steps: int) -> "Truncated":
        from rekur.training.truncated import Truncated  # which is made of models

        assert self._compiled is not None
        return Truncated(self, self._compiled, bound, steps)

    def reset_states(self) -> None:
        """Let the stateful layers begin anew, from zeros, with the next batch."""
        for layer in layers_within(self):
            if isinstance(layer, Stateful):
                layer.reset_states()

    def _makes_masks(self) -> bool:
        """Whether a layer finds out by itself which steps are there."""
        return any(layer._makes_mask for layer in self._flat().layers)

    def _output_names(self) -> list[str]:
        """Those of the engine; of a model within this one its own name, as in Keras."""
        names = [name for name, _, _ in self._engine().outputs[: len(self._outputs)]]
        own = [
            name if parts_of(t.layer) is None else reference(self._names[t.layer], t.index)
            for name, t in zip(names, self._outputs, strict=True)
        ]
        return own if len(set(own)) == len(own) else names

    # Used as a layer.

    def _is_named(self) -> bool:
        return not self._auto_named

    def __call__(self, inputs: Any, **options: Any) -> Any:
        """Use the model as a layer: its layers, with the weights they have here, become part of the model that is made.

        Parameters
        ----------
        inputs : SymbolicTensor, a list of them, or a dict by the inputs' names
            With arrays the outputs are computed, as by ``predict``.

        Returns
        -------
        SymbolicTensor, or a list of them where the model has several outputs.

        Raises
        ------
        ValueError
            If their number or a shape does not fit, naming the layer.
        """
        if options:
            from rekur._keras import arguments

            arguments.check("call", f"the call of {self._whose()}", options, ["inputs"])
        if isinstance(inputs, Mapping):
            names = self.input_names
            if unknown := [name for name in inputs if name not in names]:
                raise ValueError(f"{self._whose()} has no input {unknown[0]!r}{did_you_mean(unknown[0], names)}")
            if missing := [name for name in names if name not in inputs]:
                raise ValueError(f"{self._whose()}: the input '{missing[0]}' is missing")
            inputs = [inputs[name] for name in names]
        given = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        if given and not any(isinstance(x, SymbolicTensor) for x in given):
            return self.predict(inputs, verbose=0)
        return self._connect(symbolic(inputs, self._whose()))

    def _connect(self, inputs: list[SymbolicTensor]) -> Any:
        self._prepare_for(inputs)
        if len(inputs) != len(self._inputs):
            raise ValueError(f"{self._whose()} has {len(self._inputs)} inputs, was called on {len(inputs)}")
        for own, tensor in zip(self._inputs, inputs, strict=True):
            if own.dtype == "int32" and tensor.dtype == "float32" and isinstance(tensor.layer, InputLayer):
                tensor.layer._hold_ids(self._whose())
        call = Call(self, inputs)
        call.give(self._infer([(t.shape, t.dtype) for t in inputs]))
        self._calls.append(call)
        return call.outputs[0] if len(call.outputs) == 1 else list(call.outputs)

    def _prepare_for(self, inputs: list[SymbolicTensor]) -> None:
        """A Sequential that does not know its input yet begins with these."""

    def _disconnect(self) -> None:
        self._calls.pop()

    def _infer(self, inputs: list[tuple[Shape, str]]) -> list[tuple[Shape, str]]:
        """Shapes and dtypes of the outputs for those of inputs."""
        for own, (shape, dtype) in zip(self._inputs, inputs, strict=True):
            fits = len(shape) == len(own.shape) and dtype == own.dtype
            if not fits or any(None not in pair and pair[0] != pair[1] for pair in zip(own.shape, shape, strict=True)):
                name, wanted = self._names[own.layer], f"{own.dtype} of shape {show(own.shape)}"
                raise ValueError(
                    f"{self._whose()}: input '{name}': expected {wanted}, got {dtype} of shape {show(shape)}"
                )
        return infer_through(self, inputs)

    # Layers and weights.

    @property
    def layers(self) -> list[Layer]:
        """The layers as Keras orders them: by their distance from the outputs, the farthest first.

        The inputs are among them; a :class:`Sequential` leaves its own out. A model within this one is one of them. A
        model of a file has the file's order.
        """
        return Layers(self._graph)

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """A layer by name or by its index in ``layers``.

        Raises
        ------
        ValueError
            If there is none, with a suggestion.
        """
        if (name is None) == (index is None):
            raise ValueError("get_layer: give a name or an index")
        layers = self.layers
        if index is not None:
            index = integer(index, "get_layer: index", -(2**31))
            if not -len(layers) <= index < len(layers):
                raise ValueError(f"get_layer: model '{self.name}' has {len(layers)} layers, no index {index}")
            return layers[index]
        for layer in layers:
            if self._names.get(layer, layer.name) == name:
                return layer
        names = [self._names.get(layer, layer.name) for layer in layers]
        raise ValueError(f"model '{self.name}' has no layer '{name}'{did_you_mean(name, names)}")

    @property
    def inputs(self) -> list[SymbolicTensor]:
        """The symbolic tensors where data enters; read, not set."""
        self._engine()
        return list(self._inputs)

    @property
    def outputs(self) -> list[SymbolicTensor]:
        """The symbolic tensors that the model gives; read, not set."""
        self._engine()
        return list(self._outputs)

    @property
    def input(self) -> Any:
        """The model's input, a list where there are several."""
        inputs = self.inputs
        return inputs[0] if len(inputs) == 1 else inputs

    @property
    def output(self) -> Any:
        """The model's output, a list where there are several."""
        outputs = self.outputs
        return outputs[0] if len(outputs) == 1 else outputs

    @property
    def input_names(self) -> list[str]:
        return [port.name for port in self._ports()[0]]

    @property
    def output_names(self) -> list[str]:
        return [port.name for port in self._ports()[1]]

    @property
    def built(self) -> bool:
        """Whether it is known what goes in, so that there are weights."""
        return self._said_built or self._is_ready()

    @built.setter
    def built(self, value: bool) -> None:  # as build of a model of one's own says it in Keras
        if not self._open:
            raise AttributeError(f"{self._whose()}: 'built' cannot be set: build(input_shape) builds it")
        self._said_built = boolean(value, f"{self._whose()}: built")

    @property
    def input_shape(self) -> Shape | list[Shape]:
        """``(None, …)``, or a list of such shapes if there are several inputs."""
        shapes = [port.shape for port in self._ports()[0]]
        return shapes[0] if len(shapes) == 1 else shapes

    @property
    def output_shape(self) -> Shape | list[Shape]:
        """``(None, …)``, or a list of such shapes if there are several outputs."""
        shapes = [port.shape for port in self._ports()[1]]
        return shapes[0] if len(shapes) == 1 else shapes

    def named_weights(self) -> dict[str, Floats]:
        """Copies of all parameters by name: ``"lstm/kernel"``, ``"lstm/recurrent_kernel"``, ….

        Returns
        -------
        dict of str to float32 ndarray
        """
        engine = self._engine()
        return {name: array.copy() for name, array in unflatten(engine, engine.get_weights()).items()}

    @property
    def weights(self) -> list[Variable]:
        """All weights with their names, in the order of ``get_weights``; empty before the model is built."""
        if not self._is_ready():
            return []
        return variables(self, self._flat().layers.items())

    def _assign(self, arrays: Mapping[str, Floats]) -> None:
        """Set some parameters, by name; their shapes are checked already."""
        engine = self._engine()
        flat = engine.get_weights()
        named = unflatten(engine, flat)
        for name, array in arrays.items():
            named[name][...] = array
        engine.set_weights(flat)

    def get_weights(self) -> list[Floats]:
        """Copies of all parameters, layer by layer, each layer's in Keras's order: kernel, recurrent_kernel, bias (then
        peephole).
        """
        return list(self.named_weights().values())

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set all parameters from arrays in the order of ``get_weights``.

        Raises
        ------
        ValueError
            If their number or a shape is wrong; nothing is changed then.
        """
        self._set_weights(weights, None, f"model '{self.name}'")

    def _set_weights(self, weights: Any, layers: Sequence[str] | None, what: str) -> None:
        """Those of some of the engine's layers; None: of all."""
        self._assign(self._checked(weights, layers, what))

    def _checked(self, weights: Any, layers: Sequence[str] | None, what: str) -> dict[str, Floats]:
        """The same by name, of the shapes that they are to have."""
        shapes = {
            name: tuple(shape)
            for name, shape, _ in self._engine().parameters
            if layers is None or name.partition("/")[0] in layers
        }
        if isinstance(weights, np.ndarray) and weights.dtype == object:
            weights = list(weights)  # of arrays of several shapes
        if not isinstance(weights, Sequence) or isinstance(weights, (str, bytes)):
            raise TypeError(f"{what}: weights must be a list of {len(shapes)} arrays, got {type(weights).__name__}")
        if len(weights) != len(shapes):
            raise ValueError(f"{what} has {len(shapes)} weights, got {len(weights)}")
        named: dict[str, Floats] = {}
        for (name, shape), array in zip(shapes.items(), weights, strict=True):
            values = named[name] = as_numeric(array, name)
            if values.shape != shape:
                raise ValueError(f"{what}: expected '{name}' of shape {show(shape)}, got {show(values.shape)}")
        return named

    def count_params(self) -> int:
        """Number of parameters."""
        return sum(int(np.prod(shape, dtype=np.int64)) for _, shape, _ in self._engine().parameters)

    def _layer_size(self, name: str) -> int:
        parameters = self._engine().parameters
        return sum(int(np.prod(shape, dtype=np.int64)) for p, shape, _ in parameters if p.startswith(f"{name}/"))

    def _sizes(self) -> dict[Layer, int]:
        """Parameters by layer, those of models within included."""
        return {layer: self._layer_size(name) for layer, name in self._flat().layers.items()}

    def summary(
        self,
        line_length: int | None = None,
        positions: Sequence[float] | None = None,
        print_fn: Callable[[str], object] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: Sequence[str] | None = None,
        **options: NoReturn,
    ) -> None:
        """Print a table of the layers: type, output shape, parameters, what each is connected to.

        Parameters
        ----------
        line_length : int, optional
            Characters of a line, in which columns wrap; by default they are as wide as what they hold.
        positions : list of float, optional
            Where the columns end, in characters or as parts of the line.
        print_fn : callable, optional
            Gets the lines one by one; ``print`` by default.
        expand_nested : bool
            Whether the layers of models within follow these.
        show_trainable : bool
            A column that says Y or N.
        layer_range : pair of str, optional
            The first and the last layer to list: names, or regular expressions that match them.

        Raises
        ------
        ValueError
            For a range without layers, or columns that are too narrow.
        """
        if options:
            check_arguments(options, Structure.summary)
        tell = print if print_fn is None else print_fn
        if not callable(tell):
            raise TypeError(f"summary: print_fn must be a function of a line, got {print_fn!r}")
        nested, trained = boolean(expand_nested, "expand_nested"), boolean(show_trainable, "show_trainable")
        self._engine()
        for line in summary_lines(self, line_length, positions, nested, trained, layer_range):
            tell(line)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} '{self.name}', {len(self.layers)} layers>"


def _build_models_within(graph: Any) -> None:
    for member in graph._graph:
        if not isinstance(member, Layer):
            member._engine()  # a model within has drawn its weights by its own seed
        elif (inside := parts_of(member)) is not None:
            _build_models_within(inside)


def _is_timed(shape: Sequence[int | None], dtype: str) -> bool:
    """Whether axis 1 is a time axis: of features from (B, T, F) on, of ids from (B, T)."""
    return len(shape) >= (2 if dtype == "int32" else 3)
