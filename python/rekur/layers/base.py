"""What all layers share: their keys, their place in a graph, access to their weights."""

import copy
import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rekur import _core
from rekur._own import refuse_class
from rekur._settings import Guarded, Setting, thawed
from rekur._spec import Spec, check_name, dumps, snake_case
from rekur._validate import Floats, Shape, boolean, real
from rekur.layers.symbolic import Call, SymbolicTensor, feature_shape, symbolic
from rekur.layers.variables import NAMES_OF_WEIGHTS, Variable, Weighted, variables

if TYPE_CHECKING:
    from rekur.layers.parts import Parts
    from rekur.models.structure import Structure


def _input_shape(shape: object, what: str) -> Shape | None:
    return None if shape is None else feature_shape(shape, what)


def with_batch(shape: Any, options: dict[str, Any]) -> tuple[Any, int | None]:
    """The shape of a row and the number of rows, of an Input's arguments."""
    given = [key for key in ("batch_shape", "batch_input_shape") if options.get(key) is not None]
    for key in ("batch_shape", "batch_input_shape"):
        whole = options.pop(key, None)
        if whole is None:
            continue
        if shape is not None or options.get("batch_size") is not None or len(given) > 1:
            raise ValueError(f"Input: {key} says it all: leave shape and batch_size out")
        whole = feature_shape(whole, f"Input: {key}")
        if not whole:
            raise ValueError(f"Input: {key}: expected a tuple such as (32, 10, 1), with the batch, got {whole!r}")
        return whole[1:], whole[0]
    return shape, options.pop("batch_size", None)


class Layer(Guarded, Weighted):
    """Base of all layers.

    Parameters
    ----------
    name : str, optional
        Unique in its model, of letters, digits, ``_``, ``.`` and ``-``. A layer without one is named after its type
        when it joins a model: ``lstm``, ``lstm_1``, ….
    input_shape : tuple, optional
        For the first layer of a Sequential: the shape of one row, None for a dimension that only the data will tell.

    Raises
    ------
    TypeError
        For a keyword that the layer does not have, with a suggestion.

    Notes
    -----
    Every parameter of a layer is an attribute under its name. It may be set until the layer is called, with the checks
    of the constructor; after that the layer is what its models are made of, and setting raises AttributeError. Dicts
    and lists among them (an activation with parameters) cannot be changed in place. ``trainable`` and
    ``lr_scale`` may be set at any time and act at once.

    A layer may be called any number of times, and be part of any number of models: its weights are the same everywhere.

    A copy, by ``copy``, ``deepcopy`` or ``pickle``, is a layer of the same name and parameters that was not called.
    Weights come with the first model: ``copy.set_weights(layer.get_weights())`` once the copy is part of one.
    """

    type: ClassVar[str]
    _keys: ClassVar[tuple[str, ...]] = ()
    _further: ClassVar[Spec] = {}  # what the constructor takes besides what its signature names, with defaults
    _kind = "layer"
    _advice: ClassVar[dict[str, str]] = {
        "weights": "get_weights gives the arrays, set_weights takes them, and assign of each of the weights sets it",
        "kernel": "it is there once the layer is part of a model that is built; set_weights takes it",
        "bias": "it is there once the layer is part of a model that is built; set_weights takes it",
        "dtype": "arrays and weights are float32; `precision` says in what products are computed",
        "output_shape": "it follows from what the layer was called on; see output_shapes",
        "output_shapes": "they follow from what the layer was called on",
    }
    input_dtype: ClassVar[str] = "float32"
    precision: Any
    _own: ClassVar[bool] = False  # whether it is a class of the user's, which says in `call` what it is
    _built = False
    _batch_rows: int | None = None  # what batch_size= says of a first layer
    _narrows: ClassVar[bool] = False  # whether its products may be of eight bits: it has a `precision`
    _makes_mask: ClassVar[Any] = False  # whether it finds out which steps are there
    _each_step: ClassVar[bool] = (
        False  # whether it works on the last axis, or on each number, whatever stands before it
    )
    _home: "Structure | None" = None  # the first model that it became a part of: the engine has its weights from there
    _auto_named = False  # by that model
    _initial_weights: list[Any] | None = None
    _drawn = True  # False while whoever makes it has all of its weights: the engine draws none
    _parts: "Parts | None" = None  # the layers that it is put together of, where the engine has no such layer
    _trainable = True
    _lr_scale = 1.0
    _ruled: ClassVar[dict[str, str]] = {}  # by the names of arguments the parameters that take rules
    _activity: Spec | None = None  # the regularizer of what the layer gives

    input_shape = Setting(_input_shape)

    def __init__(self, name: str | None = None, options: dict[str, Any] | None = None, **others: Any) -> None:
        if not hasattr(type(self), "type"):
            refuse_class(type(self), "layer")
        options = {**others, **(options or {})} if self._own else others if options is None else options
        self._name = None if name is None else check_name(name, type(self).__name__)
        self.input_shape, self._batch_rows = with_batch(options.pop("input_shape", None), options)
        self._calls: list[Call] = []
        self._own_weights: list[Any] = []
        self._rules: Spec = {}  # "regularizers" and "constraints": by parameter, in the spec's form
        if "trainable" in options:
            self.trainable = options.pop("trainable")
        if self._narrows:
            self.precision = options.pop("precision", None)
        if options and not self._own:
            self._take_rules(options)
        if options:
            from rekur._keras import arguments  # which only scripts of Keras need

            arguments.check(self.type, repr(self), options, self._argument_names())

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "call" in vars(cls) and cls._open:
            if not cls._own and hasattr(cls, "type"):
                refuse_class(cls, "layer")  # one of rekur's, whose call is the engine's
            from rekur.layers import own  # which is made of this module

            cls._own, cls.type = True, cls.__name__
            cls.__call__ = own.call_layer  # type: ignore[method-assign]
            cls._compose = own.compose  # type: ignore[method-assign]

    def add_weight(self, shape: Any = None, initializer: Any = None, **options: Any) -> Any:
        """A weight of a layer or cell of one's own: what ``ops.matmul`` multiplies with, or what stands in arithmetic.

        Parameters
        ----------
        shape : tuple
            ``(features, units)`` of what multiplies; any of what is added to tensors or multiplied with them, sizes
            compared from the last axis on, as in NumPy; of a cell also ``(units, units)`` for a state.
        initializer : str or Initializer
            "glorot_uniform" by default.
        name : str
        trainable : bool
        """
        if not self._own:
            raise AttributeError(f"{self!r}: its weights are the engine's; a class of your own derives from Layer")
        from rekur.layers.weights import add_weight

        return add_weight(self, shape, initializer, **options)

    def add_loss(self, loss: Any) -> None:
        """Add to what training makes small, from within ``call`` of a layer or model of one's own.

        Parameters
        ----------
        loss : SymbolicTensor, what ``ops.mean`` or ``ops.sum`` gives without an axis, or a list of them
            A tensor adds the sum of all its elements, as in Keras.

        Notes
        -----
        It is part of the loss in ``fit`` and ``evaluate``, once a call of the layer; no sample weight acts on it, and
        steps past a row's length count for nothing. ``predict``, streams and ONNX files leave it out.

        Raises
        ------
        ValueError
            Outside of a call.
        TypeError
            For what is neither.
        """
        from rekur.layers.added import add_to_call  # which is made of this module

        add_to_call(repr(self), loss)

    def compute_output_shape(self, input_shape: Any, *states: Any) -> Any:
        """The shape that the layer would give for one, both with the batch: a tuple, or several. A layer of several
        inputs takes a list of shapes.
        """
        several = isinstance(input_shape, (list, tuple)) and any(isinstance(n, (list, tuple)) for n in input_shape)
        shapes = [*input_shape, *states] if several else [input_shape, *states]
        given = [feature_shape(shape, f"{self!r}: input_shape") for shape in shapes]
        from rekur.layers.inputs import InputLayer  # which is made of this module

        rows = given[0][0]
        twin = copy.deepcopy(self)
        made = twin._connect([InputLayer(shape[1:], dtype=self.input_dtype).tensor for shape in given])
        found = [(rows, *tensor.shape[1:]) for tensor in (made if isinstance(made, list) else [made])]
        return found[0] if len(found) == 1 else tuple(found)

    def _saved_as_graph(self) -> bool:
        """Whether a file has its parts, as a model, in its place."""
        return self._own

    def build(self, input_shape: Any) -> None:
        """For layers of one's own: what is made when the shapes of the inputs are known, before the first call.

        Other layers take ``set_weights`` from then on; the first model that has them draws what was not set.
        """
        if not self._own:
            vars(self)["_built"] = True

    @property
    def built(self) -> bool:
        """Whether the layer has been called, or built."""
        return self._built or bool(self._calls)

    @built.setter
    def built(self, value: bool) -> None:
        if not self._own:
            self._may_set("built")
        self._built = boolean(value, f"{self!r}: built")

    def _argument_names(self) -> list[str]:
        """What the constructor takes by name."""
        rules = [f"{name}_{kind}" for name in self._ruled for kind in ("regularizer", "constraint")]
        names = [*inspect.signature(type(self).__init__).parameters, "input_shape", "trainable", *self._further]
        names += ["precision"] if self._narrows else []
        return [*names, *rules, "activity_regularizer"]

    def _take_rules(self, options: dict[str, Any]) -> None:
        """``kernel_regularizer=``, ``kernel_constraint=`` and the like, by what they are of, and
        ``activity_regularizer=``; or all of a kind as :meth:`config` has them.
        """
        for kind in ("regularizer", "constraint"):
            found: Spec = {}
            given = {p: options.pop(f"{name}_{kind}", None) for name, p in self._ruled.items()}
            if self._ruled:
                given.update(options.pop(f"{kind}s", None) or {})
            for parameter, rule in given.items():
                if rule is None:
                    continue
                from rekur import constraints, regularizers  # which few layers need

                module = regularizers if kind == "regularizer" else constraints
                name = next((n for n, p in self._ruled.items() if p == parameter), parameter)
                spec = module.to_spec(rule, f"{self!r}: {name}_{kind}")
                assert spec is not None
                found[parameter] = spec
            if found:
                self._rules = {**self._rules, f"{kind}s": found}
        activity = options.pop("activity_regularizer", None)
        if activity is not None:
            from rekur import regularizers

            what = f"{self!r}: activity_regularizer"
            spec = regularizers.to_spec(activity, what)
            assert spec is not None
            if spec["name"] == "orthogonal":
                raise ValueError(f"{what}: outputs can have L1, L2 and L1L2, not {activity!r}")
            self._activity = spec

    @property
    def name(self) -> str:
        return self._name or snake_case(type(self).__name__)

    @name.setter
    def name(self, name: str) -> None:
        self._may_set("name")
        self._name, self._auto_named = check_name(name, f"{self!r}: name"), False

    @property
    def trainable(self) -> bool:
        """Whether training changes the layer's weights; acts from the next step on, in every model it is part of.

        What is not trained costs no time in the backward pass, nor does what lies below the lowest layer that is.
        """
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = boolean(value, f"{self!r}: trainable")
        for part in self._leaves():
            part._trainable = self._trainable

    @property
    def lr_scale(self) -> float:
        """What the learning rate is multiplied by for this layer, 1 by default; acts from the next step on."""
        return self._lr_scale

    @lr_scale.setter
    def lr_scale(self, value: float) -> None:
        self._lr_scale = real(value, f"{self!r}: lr_scale", 0)
        for part in self._leaves():
            part._lr_scale = self._lr_scale

    @property
    def input(self) -> Any:
        """What the layer was called on: a symbolic tensor, or a list where it was several.

        Raises
        ------
        ValueError
            If it was not called, or more than once: keep the tensors themselves then.
        """
        return _one_or_list(self._only_call("input").inputs)

    @property
    def output(self) -> Any:
        """What the layer gave: a symbolic tensor, or a list where it has several outputs. Errors as of ``input``."""
        return _one_or_list(self._only_call("output").outputs)

    def _only_call(self, what: str) -> Call:
        if len(self._calls) != 1:
            raise ValueError(
                f"{self!r} has no '{what}': it was "
                + ("not called yet" if not self._calls else f"called {len(self._calls)} times, and each has its own")
            )
        return self._calls[0]

    def _is_named(self) -> bool:
        """Whether somebody chose the name."""
        return self._name is not None and not self._auto_named

    def _is_connected(self) -> bool:
        return bool(self._calls)

    def _may_set(self, name: str) -> None:
        if self._is_connected():
            of = "" if self._home is None else f" is part of model '{self._home.name}' and"
            raise AttributeError(
                f"{self!r}{of} has been called: '{name}' cannot be set any more; make a layer with the value wanted "
                "and a model of it (set_weights takes weights over)"
            )

    def _was_set(self, name: str) -> None:
        self._check_settings()

    def _check_settings(self) -> None:
        """Raises ValueError where the parameters do not go together."""

    def _disconnect(self) -> None:
        """As before the last call."""
        self._calls.pop()
        if not self._calls:
            self._home = self._parts = None

    def __getstate__(self) -> dict[str, Any]:
        return {**{k: v for k, v in vars(self).items() if k not in ("_home", "_parts", "_alone")}, "_calls": []}

    def __copy__(self) -> "Layer":
        return copy.deepcopy(self)

    def _narrowed(self) -> "Layer | None":
        """The layer whose precision is that of the engine's layer; None where its products are float32 always."""
        return self if self._narrows else None

    def config(self) -> Spec:
        """The layer's keys in the spec, all of them; a copy."""
        found = {key: thawed(getattr(self, key)) for key in self._keys}
        if self._narrows and self.precision is not None:
            found["precision"] = self.precision
        found.update(copy.deepcopy(self._rules))
        if self._activity is not None:
            found["activity_regularizer"] = dict(self._activity)
        return found

    def _engine_config(self) -> Spec:
        """What the engine is told: the keys of its spec."""
        return self.config()

    def spec(self) -> Spec:
        """The layer's object in the spec; with the inputs of its first call where it was called."""
        entry: Spec = {"type": self.type, "name": self.name}
        if self._calls and self._calls[0].inputs:
            entry["inputs"] = [tensor.name for tensor in self._calls[0].inputs]
        return {**entry, **self.config()}

    def get_config(self) -> dict[str, Any]:
        """What :meth:`from_config` makes a layer like this one of: name, trainable, and the constructor's arguments.

        A class of your own adds its arguments: ``{**super().get_config(), "units": self.units}``.
        """
        found: dict[str, Any] = {"name": self.name, "trainable": self._trainable}
        if self._lr_scale != 1:
            found["lr_scale"] = self._lr_scale
        if self._own:
            return found
        if self.input_shape is not None and not self._calls:
            found["input_shape"] = self.input_shape
        found.update(self.config())
        if self._initial_weights is not None and "weights" in self._further:
            found["weights"] = list(self._initial_weights)
        return found

    @classmethod
    def from_config(cls, config: Mapping[str, Any], name: str | None = None) -> "Layer":
        """A layer, with weights to be drawn, of what :meth:`get_config` or :meth:`config` gave.

        Parameters
        ----------
        config : dict
        name : str, optional
            Where the config has none.
        """
        given = dict(config)
        trainable, scale = given.pop("trainable", True), given.pop("lr_scale", 1.0)
        made = cls._of_config(given, given.pop("name", name))
        if trainable is not True:
            made.trainable = trainable
        if scale != 1:
            made.lr_scale = scale
        return made

    @classmethod
    def _of_config(cls, config: Spec, name: str | None) -> "Layer":
        return cls(**config, name=name)

    def __repr__(self) -> str:
        return f"{self.type} '{self.name}'"

    def __call__(self, inputs: SymbolicTensor | Sequence[SymbolicTensor], **options: Any) -> Any:
        """Connect the layer to ``inputs``; once more, with the same weights, where it was called before.

        Returns
        -------
        SymbolicTensor, or a list of them where the layer has several outputs.

        Raises
        ------
        ValueError
            If the shapes do not fit.
        TypeError
            If an input is anything but a symbolic tensor.
        """
        if not isinstance(inputs, SymbolicTensor) and self._computes_on(inputs):
            from rekur.layers import own

            return own.at_once(self, ((inputs,), options))
        self._check_call(options)
        return self._connect(symbolic(inputs, repr(self)))

    def _computes_on(self, inputs: Any) -> bool:
        """Whether these are arrays, whose outputs are wanted at once."""
        from rekur.layers import own

        return own.wants_arrays(inputs)

    def _check_call(self, options: dict[str, Any]) -> None:
        if options:
            from rekur._keras import arguments

            arguments.check("call", f"the call of {self!r}", options, inspect.signature(self.__call__).parameters)

    def _connect(self, inputs: list[SymbolicTensor]) -> Any:
        if self._parts is None and (self._is_composed() or self._activity is not None):
            self._open_up(inputs)
        found = self._infer([(t.shape, t.dtype) for t in inputs])
        call = Call(self, inputs)
        call.give(found)
        self._calls.append(call)
        return _one_or_list(call.outputs)

    def _begin_with(self, weights: Sequence[Any] | None) -> None:
        """What Keras's ``weights=`` says: the weights once there are any, in the order of ``get_weights``."""
        if weights is not None and not isinstance(weights, (list, tuple)):
            raise TypeError(f"{self!r}: weights must be a list of arrays, got {weights!r}")
        self._initial_weights = list(weights) if weights else None

    # A layer that is put together of others says so and how; its weights are those of its parts, in their order.

    def _is_composed(self) -> bool:
        return self._own

    def _compose(self, inputs: list[SymbolicTensor]) -> Any:
        """What the layer gives for its inputs: a symbolic tensor, or several."""
        raise NotImplementedError

    def _put_together(self, inputs: list[SymbolicTensor]) -> Any:
        """The same, with what regularizes the layer's outputs behind it."""
        if self._activity is None:
            return self._compose(inputs)
        from rekur.layers.noise import ActivityRegularization  # which is made of this module

        inner = copy.deepcopy(self)
        inner._activity, inner._name = None, snake_case(type(self).__name__)
        made = inner._connect(inputs)
        outputs = list(made) if isinstance(made, (list, tuple)) else [made]
        factors = {key: self._activity.get(key, 0.0) for key in ("l1", "l2")}
        return [ActivityRegularization(**factors, name=f"activity_{k}")(tensor) for k, tensor in enumerate(outputs)]

    def _open_up(self, inputs: list[SymbolicTensor]) -> None:
        from rekur.layers.parts import open_up  # which is made of this module

        self._parts = open_up(self, inputs)
        for part in self._leaves():
            part._trainable, part._lr_scale = part._trainable and self._trainable, part._lr_scale * self._lr_scale

    def _leaves(self) -> "list[Layer]":
        """Its parts as the engine has them; empty where the engine has the layer itself."""
        if self._parts is None:
            return []
        from rekur.layers.parts import leaves

        return list(leaves(self))

    def _infer(self, inputs: list[tuple[Shape, str]]) -> list[tuple[Shape, str]]:
        """Shapes and dtypes of the outputs for those of inputs."""
        if self._parts is not None:
            return self._parts.infer(inputs)
        return _core.infer_layer(dumps({"type": self.type, "name": self.name, **self._engine_config()}), inputs)

    @property
    def output_shapes(self) -> list[Shape]:
        """The shapes of the outputs, of all calls; empty before the layer is called."""
        return [tensor.shape for call in self._calls for tensor in call.outputs]

    def count_params(self) -> int:
        """Number of parameters."""
        home = self._owner()
        return sum(home._layer_size(name) for name in self._engine_names())

    def get_weights(self) -> list[Floats]:
        """Copies of the layer's parameters: kernel, recurrent_kernel, bias, peephole, as far as it has them (a
        Bidirectional's forward ones first).
        """
        if self._home is None and self._initial_weights is not None:
            return [np.array(w, np.float32) for w in self._initial_weights]
        home, names = self._owner(), self._engine_names()
        return [w for name, w in home.named_weights().items() if name.partition("/")[0] in names]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set the layer's parameters from arrays in the order of ``get_weights``.

        Raises
        ------
        ValueError
            If their number or a shape is wrong.
        """
        if self._home is None and self._built and not self._own:
            self._begin_with(list(weights))  # until there is a model, whose shapes they are checked against
            return
        self._owner()._set_weights(weights, self._engine_names(), repr(self))

    @property
    def weights(self) -> list[Variable]:
        """The weights with their names, in the order of ``get_weights``; empty before the layer is part of a model."""
        if self._home is None:
            return []
        home, names = self._home, self._engine_names()
        return variables(home, zip(self._leaves() or [self], names, strict=True))

    def __getattr__(self, name: str) -> Any:
        """A weight by its name, such as ``layer.kernel``, once the layer is part of a model."""
        if name in NAMES_OF_WEIGHTS and self._home is not None and self._home._is_ready():
            found = [weight for weight in self.weights if weight.name == name]
            if len(found) == 1:
                return found[0]
        return super().__getattr__(name)

    def _engine_names(self) -> list[str]:
        """The names of what the engine has of the layer, in its home."""
        home = self._owner()
        home._engine()
        return [home._name_of(layer) for layer in self._leaves() or [self]]

    def _owner(self) -> "Structure":
        if self._home is None:
            raise ValueError(f"{self!r} has no weights yet: it belongs to no model")
        return self._home


def _one_or_list(tensors: list[SymbolicTensor]) -> Any:
    return tensors[0] if len(tensors) == 1 else list(tensors)
