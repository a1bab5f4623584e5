"""A model: a graph of layers, its weights, its file."""

import copy
import json
import os
import pickle
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from rekur import _core, _structure
from rekur._model_files import read_model
from rekur._own import check_options, refuse_class, refuse_methods
from rekur._spec import Signal, Spec, dumps, nodes, snake_case, split_reference
from rekur._validate import boolean
from rekur.layers import TYPES
from rekur.layers.added import add_to_call, ends_of, made_of
from rekur.layers.base import Layer
from rekur.layers.inputs import InputLayer
from rekur.layers.own import has_own_call
from rekur.layers.parts import layers_within, leaves
from rekur.layers.recurrence import flattened
from rekur.layers.symbolic import SymbolicTensor, feature_shape, symbolic
from rekur.models import own
from rekur.models.files import TRAINING, Saved
from rekur.models.graph import Member, collect, cut
from rekur.models.structure import Layers
from rekur.models.tree import class_named, plant

# What Keras would call in a class of one's own.
_KERAS_METHODS = (
    "train_step", "test_step", "predict_step", "compute_loss", "compute_metrics", "compute_mask",
    "make_train_function", "make_test_function", "make_predict_function",
)  # fmt: skip


class Model(Saved):
    """A graph of layers between symbolic inputs and outputs.

    Parameters
    ----------
    inputs : SymbolicTensor, or a list or dict of them
        What :func:`rekur.Input` returned; data is given in this order, or by the inputs' names.
    outputs : SymbolicTensor, or a list or dict of them
        What layers returned. A dict's keys are the names of the outputs, for losses, metrics and targets.
    name : str
    seed : int, optional
        Of the initial weights, of dropout and of the order of the rows. Drawn from the generator of
        :func:`rekur.set_random_seed` by default.

    Raises
    ------
    ValueError
        If an output depends on an input that is not listed, or names are not unique.
    TypeError
        If an input or output is no symbolic tensor.

    Notes
    -----
    Models that are made of the same layers share their weights: training one changes the others. ``inputs`` may be any
    tensors, also those between the layers of another model: the new one begins there. Called on symbolic tensors, a
    model is a layer of another model; ``trainable`` of any layer may be set at any time.

    A copy, by ``copy``, ``deepcopy`` or ``pickle``, is a model of its own and shares nothing: built or not, with
    weights, losses, metrics, the optimiser and its state, and ``history``. Function metrics that cannot be pickled are
    left out of a pickle, with a warning.
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
        "weights": "get_weights gives the arrays, set_weights takes them, and assign of each of the weights sets it",
    }

    _keys: list[str] | None = None  # of the outputs, where they were given as a dict

    def __init__(
        self, inputs: Any = None, outputs: Any = None, name: str | None = None, seed: int | None = None, **options: Any
    ) -> None:
        if inputs is None and outputs is None and has_own_call(type(self)):
            self._begin_own(name, seed, options)
            return
        if inputs is None and outputs is None and type(self) is not Model:
            refuse_class(type(self), "model")
        check_options("model", Model, {key: value for key, value in options.items() if key != "trainable"})
        for what, given in (("inputs", inputs), ("outputs", outputs)):
            if given is None:
                raise TypeError(f"Model: {what} is missing: rekur.Model(inputs, outputs) goes from one to the other")
        trainable = boolean(options.pop("trainable", True), "Model: trainable")
        self._call(name, "model", seed)
        if isinstance(inputs, Mapping):
            inputs = list(inputs.values())
        if isinstance(outputs, Mapping):
            self._keys = list(outputs)
            outputs = [own.named(tensor, key) for key, tensor in outputs.items()]
        self._inputs, self._cuts = cut(symbolic(inputs, "Model: inputs"))
        self._outputs = symbolic(flattened(outputs), "Model: outputs")
        self._graph, self._order = collect(self._inputs, self._outputs, self._cuts)
        self._adopt(sorted(self._graph, key=lambda member: member._calls[0].serial))  # names count as calls were made
        try:
            self._build()
        except ValueError:
            self._forget_homes()
            raise
        if not trainable:
            self.trainable = False

    def add_loss(self, loss: Any) -> None:
        """Add to what training makes small: in ``call`` of a model of one's own, or a tensor of the model's graph.

        Parameters
        ----------
        loss : SymbolicTensor, what ``ops.mean`` or ``ops.sum`` gives without an axis, or a list of them
            A tensor adds the sum of all its elements, as in Keras.

        Notes
        -----
        It is part of the loss in ``fit`` and ``evaluate``; no sample weight acts on it, and steps past a row's length
        count for nothing. ``predict``, streams and ONNX files leave it out. Weights stay as they are; the optimiser
        begins anew. Compile the model after it.

        Raises
        ------
        ValueError
            If it depends on an input that the model does not have.
        TypeError
            For what is neither.
        """
        if self._own and not self._outputs:
            add_to_call(self._whose(), loss)
        else:
            self._take_ends(made_of(self._whose(), loss))

    def _take_ends(self, ends: Sequence[SymbolicTensor]) -> None:
        before = None if self._native is None else (self._native, dict(self._flat().layers))
        members, order = collect(self._inputs, self._outputs, self._cuts, [*ends_of(self._order), *ends])
        known = set(self._graph)
        new = [member for member in members if member not in known]
        self._adopt(new)
        self._graph = [*self._graph, *new]
        self._order = [*self._order, *(call for call in order if call not in self._order)]
        self._before = before
        self._native = self._described = self._bound = self._taken_apart = self._quick = None
        self._build()

    def _forget_homes(self) -> None:
        for member in self._graph:
            for layer in (member, *leaves(member)):
                if isinstance(layer, Layer) and layer._home is self:
                    layer._home = None

    # A model of one's own waits for its first inputs; its call makes the graph then.

    _own = False

    def _begin_own(self, name: str | None, seed: int | None, options: dict[str, Any]) -> None:
        check_options("model", Model, {key: value for key, value in options.items() if key != "trainable"})
        self._own = True
        self._call(name, snake_case(type(self).__name__), seed)
        if not boolean(options.get("trainable", True), "Model: trainable"):
            self._untrained = True

    _untrained = False

    def _trace(self, described: Any) -> None:
        own.trace(self, described)
        if self._untrained:
            self.trainable = False

    def _waits(self) -> bool:
        return self._own and not self._outputs

    def _engine(self, x: object = None) -> _core.Model:
        if self._waits():
            if x is None:
                raise ValueError(
                    f"{self._whose()} does not know its input yet: call build, fit or predict, or the model itself"
                )
            own.trace_data(self, x)
            if self._untrained:
                self.trainable = False
        return super()._engine(x)

    def _prepare_for(self, inputs: list[SymbolicTensor]) -> None:
        if self._waits():
            described = [(tuple(t.shape[1:]), t.dtype) for t in inputs]
            self._trace(described[0] if len(described) == 1 else described)
        super()._prepare_for(inputs)

    def __call__(self, inputs: Any, **options: Any) -> Any:
        if self._waits() and any(isinstance(leaf, SymbolicTensor) for leaf in _structure.flatten(inputs)):
            self._trace(_structure.mapped(lambda t: (tuple(t.shape[1:]), t.dtype), inputs))
        if self._own and not isinstance(inputs, Mapping):
            leaves = _structure.flatten(inputs)
            inputs = leaves[0] if len(leaves) == 1 else leaves
        return super().__call__(inputs, **options)

    def build(self, input_shape: Any) -> None:
        """Make a model of one's own for data of this shape, the batch first: ``(None, 10, 1)``, or several of them.

        A class of one's own may define it, to make its layers when the shape is known: it is called before ``call`` is
        for the first time.
        """
        if vars(self).get("_in_build"):  # said by such a class to its base
            return
        if self._waits():
            several = isinstance(input_shape, (list, Mapping)) or (
                isinstance(input_shape, tuple) and any(isinstance(n, (tuple, list)) for n in input_shape)
            )
            shapes = input_shape if several else [input_shape]
            what = "build: input_shape"
            if isinstance(shapes, Mapping):
                self._trace({key: (feature_shape(s, what)[1:], "float32") for key, s in shapes.items()})
            else:
                described = [(feature_shape(shape, what)[1:], "float32") for shape in shapes]
                self._trace(described if several else described[0])
        self._engine()

    def _members(self) -> list[Member]:
        return list(own.tracked(self)) if self._waits() else super()._members()

    @property
    def layers(self) -> list[Layer]:
        """As of :class:`rekur.Model`; of a model of one's own in the order in which they became attributes."""
        found = super().layers
        if self._own:
            members = self._graph or own.tracked(self)
            return Layers(layer for layer in members if not isinstance(layer, InputLayer))
        return found

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        refuse_methods(cls, "model", *_KERAS_METHODS)

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
    def _of_core(cls, core: _core.Model, seed: int | None = None, tree: Spec | None = None) -> "Model":
        """The Python side of an engine's model, which has checked the spec."""
        model: Model = cls.__new__(cls)
        model._revive(core, seed, tree)
        return model

    def _revive(self, core: _core.Model, seed: int | None, tree: Spec | None = None) -> None:
        spec = json.loads(core.spec)
        self._call(spec.get("name", "model"), "model", seed)
        if tree is None:
            layers = {
                entry["name"]: TYPES[entry["type"]].from_config(
                    {k: v for k, v in entry.items() if k not in ("type", "name", "inputs")}, entry["name"]
                )
                for entry in spec["layers"]
            }
            calls = [(node["owner"], node["name"], node["inputs"]) for node in nodes(spec) if node["type"] != "Input"]
            self._connect_again(layers, calls, spec["inputs"], spec["outputs"])
        else:
            plant(self, tree)
        self._native, self._signal = core, Signal.of(spec.get("signal", {}))
        flat = self._flat()
        precisions = {e["name"]: e.get("layer", e).get("precision") for e in spec["layers"]}
        for layer, name in flat.layers.items():  # which a layer put together of others does not say of its parts
            if (inner := layer._narrowed()) is not None:
                vars(inner)["precision"] = precisions.get(name)
        for layer in layers_within(self):
            layer._home = self
        for tensor in self._inputs:
            tensor.layer._home = self
        names = {name: layer for layer, name in flat.layers.items()}
        carried = [name for states in flat.states for name in states.inputs]
        if [*names, *carried] != [layer["name"] for layer in spec["layers"]]:
            raise ValueError("the models within the model are not those of its spec")
        for name, trained, scale in core.training:
            if name in carried:
                continue
            names[name]._trainable, names[name]._lr_scale = trained, scale
            self._pushed[name] = (trained, scale)
        weighted = {names[name] for name in {name.partition("/")[0] for name, _, _ in core.parameters}}
        for layer in layers_within(self):
            if parts := [part for part in layer._leaves() if part in weighted]:
                layer._trainable = any(part._trainable for part in parts)
                scales = {part._lr_scale for part in parts}
                layer._lr_scale = scales.pop() if len(scales) == 1 else 1.0

    def _connect_again(
        self,
        members: Mapping[str, Member],
        calls: Iterable[tuple[str, str, Sequence[str]]],
        inputs: Sequence[str],
        outputs: Sequence[str],
    ) -> None:
        """Call layers as a spec says: (layer, name of the call, references to its inputs)."""
        tensors: dict[tuple[str, int], SymbolicTensor] = {}
        for name, member in members.items():
            if isinstance(member, InputLayer):
                tensors[name, 0] = member.tensor
                self._order.append(member._calls[0])
        for owner, name, references in calls:
            member = members[owner]
            member._connect([tensors[split_reference(ref)] for ref in references])
            call = member._calls[-1]
            tensors.update({(name, k): tensor for k, tensor in enumerate(call.outputs)})
            self._order.append(call)
        self._inputs = [tensors[split_reference(ref)] for ref in inputs]
        self._outputs = [tensors[split_reference(ref)] for ref in outputs]
        self._graph = list(members.values())
        self._names = {member: name for name, member in members.items()}

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
            self._sync_trained()
            graph = {
                "spec": engine.spec,
                "weights": engine.get_weights(),
                "training": [state for state in engine.training if state[1:] != (True, 1.0)],
                "tree": self._saved().get("model_tree"),
            }
        bound = self._bound
        trainer = None if bound is None else (bound.state(), bound.trainer.iterations, bound.epochs)
        compiled = self._compiled
        if compiled is not None and bound is not None:
            compiled = compiled.recorded(bound)
        training = {"compiled": compiled, "trainer": trainer, "history": self._history, "tokenizer": self._tokenizer}
        return {"name": self.name, "seed": self.seed, "signal": self._signal.said(), **graph, **training}

    def _unbuilt(self) -> dict[str, Any]:
        """What a copy of a Sequential is made of that does not know its input yet; no other model can be copied so."""
        raise TypeError(f"{self._whose()} cannot be copied before it is built: make another of its class")

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "spec" in state:
            core = _core.Model(state["spec"])
            core.set_weights(state["weights"])
            for layer, trained, scale in state["training"]:
                core.set_trained(layer, trained, scale)
            self._revive(core, state["seed"], state["tree"])
        else:
            self._call(state["name"], "model", state["seed"])
            self._signal = Signal.of(state.get("signal", {}))
            self._wait_again(state)
        self._compiled, self._history = state["compiled"], state["history"]
        self._tokenizer = state.get("tokenizer")
        if self._history is not None:
            self._history.set_model(self)
        if state["trainer"] is not None:
            self._trainer().set_state(*state["trainer"])

    def _wait_again(self, state: dict[str, Any]) -> None:
        raise NotImplementedError

    def __copy__(self) -> "Model":
        return copy.deepcopy(self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self._own and self._outputs:  # a copy is the graph that was traced
            return _as_model, (self.__getstate__(),)
        return super().__reduce_ex__(protocol)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Model":
        state = self._state()
        kind = Model if self._own else type(self)
        twin: Model = kind.__new__(kind)
        memo[id(self)] = twin
        twin.__setstate__(copy.deepcopy(state, memo))
        return twin


def _as_model(state: dict[str, Any]) -> Model:
    made = Model.__new__(Model)
    made.__setstate__(state)
    return made


def _can_be_pickled(metric: object) -> bool:
    try:
        pickle.dumps(metric)
    except Exception:  # whatever the metric's own state raises
        return False
    return True


def revived(core: _core.Model, saved: Mapping[str, Any]) -> Model:
    """The Python side of an engine's model, with what a file says beside the spec.

    Raises
    ------
    KeyError, TypeError, AttributeError, IndexError, ValueError
        If that is not valid.
    """
    kind = class_named(saved.get("model_class", "Model"))
    model = kind._of_core(core, saved.get("model_seed"), saved.get("model_tree"))
    if "tokenizer" in saved:
        from rekur.data.text import revived as revived_tokenizer

        model._tokenizer = revived_tokenizer(saved["tokenizer"])
    if "seq2seq" in saved:
        parts = ("start", "end", "labels", "attention", "from_logits")
        model._seq2seq = {key: saved["seq2seq"][key] for key in parts}
    return model


def load_model(filepath: str | os.PathLike[str], compile: bool = True, **options: Any) -> Model:
    """A model from a file of :meth:`Model.save`, compiled as it was: training goes on as if it had never stopped.

    With ``compile=False`` it is not compiled. ``"hf://someone/name"`` is a repository of the Hugging Face hub, as
    :func:`rekur.hub.from_pretrained` reads it.

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
    if isinstance(filepath, str) and filepath.startswith("hf://"):
        from rekur.hub import from_pretrained

        return from_pretrained(filepath, compile=compile)  # type: ignore[no-any-return]
    core, tensors, metadata = read_model(filepath)
    try:
        training = json.loads(metadata.get(TRAINING, "{}"))
        if not isinstance(training, dict):
            raise TypeError(f"expected an object, got {training!r}")
        model = revived(core, training)
        if compile:
            model._resume(tensors, training)
    except (KeyError, TypeError, AttributeError, IndexError, json.JSONDecodeError) as error:
        raise ValueError(f"{os.fspath(filepath)}: the training part of the file is not valid ({error!r})") from None
    return model
