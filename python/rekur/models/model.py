"""A model: a graph of layers, its weights, its file."""

import copy
import itertools
import json
import os
import pickle
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NoReturn

import numpy as np

from rekur import _core
from rekur._model_files import read_model
from rekur._own import check_arguments, check_options, refuse_class, refuse_methods
from rekur._random import draw_seed
from rekur._settings import FixedList, Setting
from rekur._spec import Spec, check_name, dumps, model_spec, split_reference, time_sources, unique_name
from rekur._summary import summary_lines
from rekur._validate import Floats, Shape, as_numeric, boolean, check_suffix, did_you_mean, integer, show
from rekur.layers import TYPES, base
from rekur.layers.base import InputLayer, Layer, SymbolicTensor, refuse_freezing
from rekur.models.graph import collect_layers
from rekur.training.data import Port
from rekur.training.trainable import Trainable, unflatten

_TRAINING = "rekur.training"  # key of a file's metadata
# What Keras would call in a class of one's own.
_KERAS_METHODS = (
    "call", "train_step", "test_step", "predict_step", "compute_loss", "compute_metrics", "compute_mask",
    "make_train_function", "make_test_function", "make_predict_function",
)  # fmt: skip


class Layers(FixedList):
    """The layers of a model, as a list to read."""

    _reason = "layers is a list to read; add a layer with add of a Sequential, or make a model of the layers wanted"


def _seed(value: object, what: str) -> int:
    return integer(value, what, 0)


class Model(Trainable):
    """A graph of layers between symbolic inputs and outputs.

    Parameters
    ----------
    inputs : SymbolicTensor or list of them
        What :func:`rekur.Input` returned; data is given in this order, or by the inputs' names.
    outputs : SymbolicTensor or list of them
        What layers returned.
    name : str
    seed : int, optional
        Of the initial weights, of dropout and of the order of the rows. Drawn from the generator of
        :func:`rekur.set_random_seed` by default.

    Raises
    ------
    ValueError
        If an output depends on an input that is not listed, names are not unique, or a layer belongs to another model.
    TypeError
        If an input or output is no symbolic tensor.

    Notes
    -----
    A layer belongs to one model, and is called once: models share no weights.

    A copy, by ``copy``, ``deepcopy`` or ``pickle``, is a model of its own: built or not, with weights, losses, metrics,
    the optimiser and its state, and ``history``. Function metrics that cannot be pickled are left out of a pickle, with
    a warning.
    """

    _kind = "model"
    _advice: ClassVar[dict[str, str]] = {
        "optimizer": "call compile(optimizer=…); to change the one compiled with set its attributes",
        "loss": "call compile(loss=…)",
        "metrics": "call compile(metrics=…)",
        "loss_weights": "call compile(loss_weights=…)",
        "learning_rate": "set optimizer.learning_rate",
        "lr": "set optimizer.learning_rate",
        "history": "fit makes it",
        "layers": "make a model of the layers wanted, or add one to a Sequential",
        "inputs": "make a Model(inputs, outputs)",
        "outputs": "make a Model(inputs, outputs)",
        "weights": "get_weights gives the arrays, set_weights takes them",
    }

    name = Setting(check_name)
    seed = Setting(_seed)

    _graph: list[Layer]  # in the order of `layers`, with the inputs
    _inputs: list[SymbolicTensor]
    _outputs: list[SymbolicTensor]
    _native: _core.Model | None  # the engine's model; None until something needs it
    _described: tuple[list[Port], list[Port]] | None  # what _ports returns, once asked

    def __init__(
        self, inputs: Any = None, outputs: Any = None, name: str | None = None, seed: int | None = None, **options: Any
    ) -> None:
        if inputs is None and outputs is None and type(self) is not Model:
            refuse_class(type(self), "model")
        check_options("model", Model, options)
        for what, given in (("inputs", inputs), ("outputs", outputs)):
            if given is None:
                raise TypeError(f"Model: {what} is missing: rekur.Model(inputs, outputs) goes from one to the other")
        self._call("model" if name is None else name, seed)
        self._inputs = base.symbolic(inputs, "Model: inputs")
        self._outputs = base.symbolic(outputs, "Model: outputs")
        layers = collect_layers(self._inputs, self._outputs)
        self._adopt(sorted(layers, key=lambda layer: layer._serial))  # names count in the order of the calls
        self._graph = layers
        try:
            self._build()
        except ValueError:
            for layer in self._graph:
                layer._model = None
            raise

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        refuse_methods(cls, "model", *_KERAS_METHODS)

    def _call(self, name: str, seed: int | None) -> None:
        self.name = name
        self.seed = draw_seed() if seed is None else seed
        self._clear()

    def _clear(self) -> None:
        self._graph = []
        self._inputs = []
        self._outputs = []
        self._native = None
        self._described = None
        self._carried: dict[str, Floats] = {}  # weights that the model keeps when it is made again

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
        """True: every layer is trained."""
        return True

    @trainable.setter
    def trainable(self, value: bool) -> None:
        refuse_freezing(value, self._whose())

    def _adopt(self, layers: Sequence[Layer]) -> None:
        """Take layers in: they get their final names."""
        taken = {layer.name: layer for layer in self._graph}
        for layer in layers:
            if layer._model is not None and layer._model is not self:
                raise ValueError(f"{layer!r} already belongs to model '{layer._model.name}'; make a layer of its own")
            if layer._name is not None:
                if layer._name in taken:
                    raise ValueError(f"two layers of model '{self.name}' are named '{layer._name}'")
                taken[layer._name] = layer
        for layer in layers:
            if layer._name is None:
                layer._name = unique_name(layer.name, taken)
                taken[layer._name] = layer
            layer._model = self
        self._graph += layers

    # The engine's side.

    @property
    def spec(self) -> Spec:
        """The JSON object that describes the model (docs/architecture.md)."""
        self._engine()
        return self._make_spec()

    def _make_spec(self) -> Spec:
        layers = [layer.spec() for layer in self._graph]
        return model_spec(self.name, layers, [t.name for t in self._inputs], [t.name for t in self._outputs])

    def _is_ready(self) -> bool:
        return bool(self._outputs)

    def _engine(self, x: object = None) -> _core.Model:
        if self._native is None:
            self._build()
        assert self._native is not None
        return self._native

    def _build(self) -> None:
        core = _core.Model(dumps(self._make_spec()))
        if self._carried:
            flat = core.get_weights()
            into = unflatten(core, flat)
            for name, array in self._carried.items():
                into[name][...] = array
            core.set_weights(flat)
        core.initialize(self.seed, list(self._carried))
        self._native, self._described, self._bound, self._carried = core, None, None, {}

    def _ports(self) -> tuple[list[Port], list[Port]]:
        if self._described is None:
            engine = self._engine()
            spec = self._make_spec()
            users: dict[str, str] = {}
            for layer in self._graph:
                for tensor in layer._inbound:
                    users.setdefault(tensor.layer.name, f" (of {layer!r})")
            inputs = []
            for k, (name, shape, dtype) in enumerate(engine.inputs):
                timed = len(shape) == (2 if dtype == "int32" else 3)
                inputs.append(Port(name, tuple(shape), dtype, k if timed else None, users.get(name, "")))
            outputs = [
                Port(name, tuple(shape), dtype, source)
                for (name, shape, dtype), source in zip(engine.outputs, time_sources(spec), strict=True)
            ]
            self._described = inputs, outputs
        return self._described

    # Layers and weights.

    @property
    def layers(self) -> list[Layer]:
        """The layers as Keras orders them: by their distance from the outputs, the farthest first.

        The inputs are among them; a :class:`Sequential` leaves its own out. A model of a file has the file's order.
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
            if layer.name == name:
                return layer
        raise ValueError(f"model '{self.name}' has no layer '{name}'{did_you_mean(name, [l.name for l in layers])}")

    @property
    def input_names(self) -> list[str]:
        return [port.name for port in self._ports()[0]]

    @property
    def output_names(self) -> list[str]:
        return [port.name for port in self._ports()[1]]

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
        self._set_weights(weights, "", f"model '{self.name}'")

    def _set_weights(self, weights: Any, prefix: str, what: str) -> None:
        engine = self._engine()
        flat = engine.get_weights()
        named = {n: w for n, w in unflatten(engine, flat).items() if n.startswith(prefix)}
        if isinstance(weights, np.ndarray) and weights.dtype == object:
            weights = list(weights)  # of arrays of several shapes
        if not isinstance(weights, Sequence) or isinstance(weights, (str, bytes)):
            raise TypeError(f"{what}: weights must be a list of {len(named)} arrays, got {type(weights).__name__}")
        if len(weights) != len(named):
            raise ValueError(f"{what} has {len(named)} weights, got {len(weights)}")
        for (name, into), array in zip(named.items(), weights, strict=True):
            values = as_numeric(array, name)
            if values.shape != into.shape:
                raise ValueError(f"{what}: expected '{name}' of shape {show(into.shape)}, got {show(values.shape)}")
            into[...] = values
        engine.set_weights(flat)

    def count_params(self) -> int:
        """Number of parameters."""
        return sum(int(np.prod(shape, dtype=np.int64)) for _, shape, _ in self._engine().parameters)

    def _layer_size(self, name: str) -> int:
        parameters = self._engine().parameters
        return sum(int(np.prod(shape, dtype=np.int64)) for p, shape, _ in parameters if p.startswith(f"{name}/"))

    def summary(self, print_fn: Callable[[str], object] = print, **options: NoReturn) -> None:
        """Print a table of the layers: type, output shape, parameters, what each is connected to."""
        if options:
            check_arguments(options, Model.summary)
        if not callable(print_fn):
            raise TypeError(f"summary: print_fn must be a function of a line, got {print_fn!r}")
        self._engine()
        for line in summary_lines(self.name, self._graph, self._layer_size):
            print_fn(line)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} '{self.name}', {len(self.layers)} layers>"

    def __call__(self, *_: object, **__: object) -> Any:
        raise TypeError(
            f"model '{self.name}' cannot be called: using a model as a layer is not supported; for outputs call predict"
        )

    # Files and copies.

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], seed: int | None = None) -> "Model":
        """A model of its spec, with new weights.

        Raises
        ------
        ValueError
            If the spec is not valid, naming the layer at fault.
        TypeError
            If it is no dict.
        """
        if not isinstance(spec, Mapping):
            raise TypeError(f"from_spec: expected a dict such as model.spec, got {spec!r}")
        core = _core.Model(dumps(dict(spec)))
        model = cls._of_core(core, seed)
        core.initialize(model.seed)
        return model

    @classmethod
    def _of_core(cls, core: _core.Model, seed: int | None = None) -> "Model":
        """The Python side of an engine's model, which has checked the spec."""
        model: Model = cls.__new__(cls)
        model._revive(core, seed)
        return model

    def _revive(self, core: _core.Model, seed: int | None) -> None:
        spec = json.loads(core.spec)
        self._call(spec.get("name", "model"), seed)
        tensors: dict[tuple[str, int], SymbolicTensor] = {}
        layers = []
        for entry in spec["layers"]:
            config = {k: v for k, v in entry.items() if k not in ("type", "name", "inputs")}
            layer = TYPES[entry["type"]].from_config(config, entry["name"])
            if not isinstance(layer, InputLayer):
                layer._connect([tensors[split_reference(ref)] for ref in entry["inputs"]])
            tensors.update({(layer.name, k): tensor for k, tensor in enumerate(layer._outbound)})
            layers.append(layer)
        self._inputs = [tensors[split_reference(ref)] for ref in spec["inputs"]]
        self._outputs = [tensors[split_reference(ref)] for ref in spec["outputs"]]
        self._adopt(layers)
        self._native = core

    def save(self, filepath: str | os.PathLike[str], **options: NoReturn) -> None:
        """Write the model to one ``.safetensors`` file: weights, spec and, if compiled, what it was compiled with.

        That is losses, metrics, the optimiser and its state, so that training can go on from the file.

        The path holds the old file or the whole new one, never a piece. A symbolic link stays and the file behind it is
        replaced; a file that is there keeps its permissions. A process that is killed while it saves leaves
        ``.NAME.rekur-….tmp`` beside the path, which the next save to the same path removes. Metrics that are Python
        code are not saved, nor is anything that was compiled with a :class:`rekur.losses.Numpy` (a warning says so).

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        if options:
            check_arguments(options, Model.save)
        path = check_suffix(filepath, "save")
        engine = self._engine()
        tensors, training = self._training_state()
        engine.save(os.fsencode(path), tensors, {_TRAINING: dumps(training)})

    def save_weights(self, filepath: str | os.PathLike[str], **options: NoReturn) -> None:
        """Write the model as :meth:`save` does, but as if it were not compiled: no losses, no optimiser's state.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        if options:
            check_arguments(options, Model.save_weights)
        self._engine().save(os.fsencode(check_suffix(filepath, "save_weights")), {}, {_TRAINING: dumps(self._saved())})

    def load_weights(self, filepath: str | os.PathLike[str], **options: NoReturn) -> None:
        """Take over the weights of a file of :meth:`save` or :meth:`save_weights`; the rest of the model stays.

        Raises
        ------
        OSError
            If the file cannot be read or is not a complete, valid file.
        ValueError
            If its parameters have other names or shapes than this model's; nothing is changed then.
        """
        if options:
            check_arguments(options, Model.load_weights)
        engine = self._engine()
        core, _, _ = read_model(filepath)
        own, other = ([(name, tuple(shape)) for name, shape, _ in c.parameters] for c in (engine, core))
        for here, there in itertools.zip_longest(own, other):
            if here != there:
                wanted, found = (
                    f"'{p[0]}' of shape {show(p[1])}" if p else "no further parameter" for p in (here, there)
                )
                raise ValueError(f"{os.fspath(filepath)}: model '{self.name}' expected {wanted}, the file has {found}")
        engine.set_weights(core.get_weights())

    def _training_state(self) -> tuple[dict[str, Floats], Spec]:
        if self._compiled is None:
            return {}, self._saved()
        bound = self._trainer()
        if bound.unsaved():
            warnings.warn(
                f"saved as if it were not compiled, since a file holds no Python code: the loss "
                f"{', '.join(bound.unsaved())} of rekur.losses.Numpy, and with it the other losses, metrics and the "
                "optimizer's state; compile again after loading. A loss written in rekur.ops is saved",
                stacklevel=3,
            )
            return {}, self._saved()
        return bound.state(), {**self._saved(), **bound.saved()}

    def _saved(self) -> Spec:
        """What a file says of the model beside the spec: its seed, and whether it is a Sequential."""
        return {"model_seed": self.seed}

    def _resume(self, tensors: dict[str, Floats], training: Spec) -> None:
        """Compile as a saved model was, and take over its optimiser's state."""
        if "optimizer" not in training:
            return
        self.compile(
            optimizer=training["optimizer"],
            loss=training["losses"],
            metrics=training["metrics"] if any(training["metrics"]) else None,
            loss_weights=training["loss_weights"],
            seed=training["seed"],
        )
        bound = self._trainer()
        bound.trainer.set_state(tensors, training["iterations"])
        bound.epochs = integer(training.get("epochs", 0), "epochs of the file", 0)  # older files do not say

    def __getstate__(self) -> dict[str, Any]:
        state = self._state()
        compiled = state["compiled"]
        if compiled is not None:
            for loss in compiled.losses():
                if not _can_be_pickled(loss):
                    raise TypeError(
                        f"model '{self.name}': loss '{loss.name}' is a Python function that cannot be pickled"
                        + ("" if self._bound else "; it can once the model is built, when it is recorded")
                    )
            state["compiled"] = compiled.without(lambda metric: not _can_be_pickled(metric), "pickled")
        return state

    def _state(self) -> dict[str, Any]:
        """What a copy is made of."""
        if not self._is_ready():
            graph: dict[str, Any] = self._unbuilt()
        else:
            engine = self._engine()
            graph = {"spec": engine.spec, "weights": engine.get_weights()}
        bound = self._bound
        trainer = None if bound is None else (bound.state(), bound.trainer.iterations, bound.epochs)
        compiled = self._compiled
        if compiled is not None and bound is not None:
            compiled = compiled.recorded(bound)
        training = {"compiled": compiled, "trainer": trainer, "history": self._history}
        return {"name": self.name, "seed": self.seed, **graph, **training}

    def _unbuilt(self) -> dict[str, Any]:
        raise NotImplementedError  # only a Sequential is made without its inputs and outputs

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "spec" in state:
            core = _core.Model(state["spec"])
            core.set_weights(state["weights"])
            self._revive(core, state["seed"])
        else:
            self._call(state["name"], state["seed"])
            self._wait_again(state)
        self._compiled, self._history = state["compiled"], state["history"]
        if self._history is not None:
            self._history.set_model(self)
        if state["trainer"] is not None:
            tensors, iterations, epochs = state["trainer"]
            self._trainer().trainer.set_state(tensors, iterations)
            self._trainer().epochs = epochs

    def _wait_again(self, state: dict[str, Any]) -> None:
        raise NotImplementedError

    def __copy__(self) -> "Model":
        return copy.deepcopy(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Model":
        twin: Model = type(self).__new__(type(self))
        memo[id(self)] = twin
        twin.__setstate__(copy.deepcopy(self._state(), memo))
        return twin


def _can_be_pickled(metric: object) -> bool:
    try:
        pickle.dumps(metric)
    except Exception:  # whatever the metric's own state raises
        return False
    return True


def _class_of(training: Spec) -> type[Model]:
    """The class that a file was saved from; files that do not say are Models."""
    from rekur.models.sequential import Sequential  # which is made of this module

    found = {"Model": Model, "Sequential": Sequential}.get(training.get("model_class", "Model"))
    if found is None:
        raise TypeError(f"'model_class' must be 'Model' or 'Sequential', got {training['model_class']!r}")
    return found


def load_model(filepath: str | os.PathLike[str], compile: bool = True, **options: Any) -> Model:
    """A model from a file of :meth:`Model.save`, compiled as it was: training goes on as if it had never stopped.

    With ``compile=False`` it is not compiled.

    A saved Sequential is one again. (Files written before this was so do not say what they were saved from: they give a
    Model; ``Sequential.from_spec(model.spec)`` and ``set_weights`` make a Sequential of it.)

    Raises
    ------
    OSError
        If the file cannot be read, is not complete, or describes no valid model: an unknown layer is named. Files of
        other programs (Keras, ONNX, PyTorch, NumPy, …) are recognised, and the message says what to do with them.
    ValueError
        If what it says of the training is not valid.
    """
    if options:
        from rekur._keras import arguments

        arguments.check("load_model", "load_model", options, ["filepath", "compile"])
    boolean(compile, "load_model: compile")
    core, tensors, metadata = read_model(filepath)
    try:
        training = json.loads(metadata.get(_TRAINING, "{}"))
        if not isinstance(training, dict):
            raise TypeError(f"expected an object, got {training!r}")
        model = _class_of(training)._of_core(core, training.get("model_seed"))
        if compile:
            model._resume(tensors, training)
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"{os.fspath(filepath)}: the training part of the file is not valid ({error!r})") from None
    return model
