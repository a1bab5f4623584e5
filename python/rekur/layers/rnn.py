"""RNN: a recurrent layer of any cell."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from rekur import initializers
from rekur._cell import Cell, as_cell
from rekur._settings import Setting
from rekur._spec import Spec
from rekur._validate import did_you_mean
from rekur.layers.base import Layer
from rekur.layers.recurrence import Recurrent
from rekur.layers.symbolic import SymbolicTensor, symbolic

# Of Keras's RNN, behind the cell.
_POSITIONS = ("return_sequences", "return_state", "go_backwards", "stateful", "unroll", "zero_output_for_mask")


def _initializer(value: object, what: str) -> Any:
    return None if value is None else initializers.to_spec(value, what)


def _bias_initializer(value: object, what: str) -> Any:
    return None if value is None else initializers.to_spec(value, what, unit_forget=True)


def _weight_initializers(value: object, what: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"{what} must be a dict of initialisers by the name of a weight, got {value!r}")
    return {name: initializers.to_spec(how, f"{what}: {name}") for name, how in value.items()}


def _drawn(program: Spec, cell: Cell) -> dict[str, bool]:
    """By initialiser whether a cell has weights that it draws."""
    kernel = bool(program["kernel"])
    own = any(len(product) == 2 for product in program["recurrent"])
    return {
        "kernel_initializer": kernel,
        "recurrent_initializer": own or any(cell.follows(matrix["name"]) for matrix in program.get("matrices", ())),
        "bias_initializer": kernel or program.get("recurrent_bias", False),
    }


class RNN(Recurrent):
    """A recurrent layer of a cell of one's own (:func:`rekur.cell`) or of :mod:`rekur.cells`.

    Parameters
    ----------
    cell : Cell, function or str
        What is done at each step: a cell, the function of one, or the name of one of :mod:`rekur.cells`.
    units : int
        H: the width of every state.
    use_bias : bool
        Whether the input's products (and the recurrent ones, where the cell has biases for them) have biases.
    kernel_initializer, recurrent_initializer, bias_initializer : str or Initializer, optional
        None: the cell's own. One that the cell has nothing to draw for is refused. ``bias_initializer`` may be
        ``"unit_forget"`` where the cell names the block that it starts at one.
    return_sequences : bool
        Whether the output is the first state at every step, ``(B, T, H)``, or at the last one, ``(B, H)``.
    return_state : bool
        Whether to return the last states too, all of them, each ``(B, H)``.
    reverse : bool
        Whether to read each row from its end. Outputs stay in the order of the input.
    weight_initializers : dict, optional
        How the cell's own weights are drawn, by name, where it is another way than the cell's.
    dropout, recurrent_dropout : float
        Rates at which training drops elements of x, and of what each block of the recurrent kernel is multiplied with,
        by masks that stay the same for all of a row's steps; the others are scaled by 1/(1 − rate). Keras's. 0 by
        default.
    zoneout : float or dict, optional
        Rate at which a unit of a state keeps its value from before the step: in training at random, a step and unit at
        a time, else as the mean. For all states, or by their names. Krueger et al., arXiv:1606.01305.
    layer_normalization : {"sums", "state", "both"} or bool, optional
        What is normalised over a row's units; True stands for "sums". docs/cell-options.md has the equations.
    normalization_epsilon : float
        What is added to variances, 1e-5 by default.
    gamma_initializer, beta_initializer : str or Initializer
        Of the gains, ones by default, and of the offset of a normalised state, zeros.
    state_clip : float or dict, optional
        Bound of new states, for all of them or by their names. A clipped value passes no gradient on.
    recurrent_weight_dropout : float
        Rate at which a training step drops elements of the recurrent kernel, the same ones for all rows and steps; the
        others are scaled by 1/(1 − rate). Merity et al., arXiv:1708.02182. 0 by default.
    projection_size : int, optional
        P < H: the output is h projected to P features, which the recurrent kernel ``(P, …)`` multiplies; weight
        projection_kernel ``(H, P)``, drawn by ``projection_initializer``. Sak et al., Interspeech 2014.
    residual : bool
        Whether the output is x + h, which needs as many features in x as there are units. Without ``return_sequences``
        x is that of the step read last. False by default.
    learn_initial_state : bool
        Whether states that the call gives none for begin as parameters (``initial_h``, …), zeros at first, which follow
        the other weights. False by default.
    **options
        Hyper-parameters of the cell, by name: ``RNN(rekur.cells.janet, 32, beta=2.0)``. Each is an attribute too.

    Raises
    ------
    TypeError, ValueError
        For what the cell cannot say, naming the line, and for a hyper-parameter that it does not have.

    Notes
    -----
    Weights, as far as the cell has them: kernel ``(I, X·H)`` with the columns of its X products of the input in the
    order of their first use, recurrent_kernel ``(H, R·H)`` likewise (of heads ``(H / heads, R·H)``: the rows of a head
    for its columns), bias ``(X·H,)``, recurrent_bias ``(R·H,)``, then the cell's own weights, each ``(H,)``, and its
    matrices, each ``(H, H)``.

    What the function did is recorded: a model that is saved, copied or exported needs no Python code. Of a layer that
    came from a file or a pickle the hyper-parameters are constants of its equations and cannot be set.
    """

    type = "RNN"
    _keys = (
        "units", "cell", "use_bias", "return_sequences", "return_state", "reverse",
        "kernel_initializer", "recurrent_initializer", "bias_initializer",
    )  # fmt: skip
    _advice: ClassVar[dict[str, str]] = {**Layer._advice, "parameters": "each is an attribute of the layer"}

    cell = Setting(as_cell)
    kernel_initializer = Setting(_initializer)
    recurrent_initializer = Setting(_initializer)
    bias_initializer = Setting(_bias_initializer)
    weight_initializers = Setting(_weight_initializers)

    def __new__(cls, cell: Any = None, *arguments: Any, **options: Any) -> Any:
        """Of a cell that is built in, or of a list of cells, it is another layer: that of the cell, or a stack."""
        from rekur.layers import cells, cells_in_time  # whose layers are made of what RNN is made of

        kinds = (list, tuple, cells.BuiltInCell, cells.StackedRNNCells)
        if not isinstance(cell, kinds) and not cells.is_own(cell):
            return super().__new__(cls)
        if len(arguments) > len(_POSITIONS):
            raise TypeError(
                f"RNN: expected at most {len(_POSITIONS) + 1} arguments by position, got {len(arguments) + 1}"
            )
        given = {**dict(zip(_POSITIONS, arguments, strict=False)), **options}
        return cells_in_time.layer_with(cell, given.pop("name", None), given)

    def __init__(
        self,
        cell: Any,
        units: int,
        use_bias: bool = True,
        kernel_initializer: Any = None,
        recurrent_initializer: Any = None,
        bias_initializer: Any = None,
        *,
        return_sequences: bool = False,
        return_state: bool = False,
        reverse: bool = False,
        weight_initializers: Mapping[str, Any] | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        found = as_cell(cell, f"{self.type} '{name or 'rnn'}': cell")
        parameters = {key: options.pop(key) for key in list(options) if key in found.parameters}
        vars(self)["_given"] = None  # the step inputs of the call; None before it: all
        vars(self)["_known"] = tuple(found.parameters)
        super().__init__(units, use_bias, return_sequences, return_state, reverse, name, options)
        self.cell = found.bind(**parameters)
        self.kernel_initializer = kernel_initializer
        self.recurrent_initializer = recurrent_initializer
        self.bias_initializer = bias_initializer
        self.weight_initializers = weight_initializers
        self._check_settings()

    def _argument_names(self) -> list[str]:
        return [*super()._argument_names(), *self._known]

    def __getattr__(self, name: str) -> Any:
        cell = vars(self).get("cell")
        if cell is not None and name in cell.parameters:
            return cell.parameters[name]
        return super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        cell = vars(self).get("cell")
        if cell is None or name not in cell.parameters:
            super().__setattr__(name, value)
            return
        self._may_set(name)
        self.cell = cell.bind(**{name: value})

    def _settable(self) -> list[str]:
        return [*super()._settable(), *self.cell.parameters]

    def _state_names(self) -> list[str]:
        return list(self.cell.spec()["states"])

    def _check_settings(self) -> None:
        super()._check_settings()
        program, cell = self.cell.spec(), self.cell
        for key, has in _drawn(program, cell).items():
            if getattr(self, key) is not None and not has:
                raise ValueError(f"{self!r}: {cell!r} has nothing that the {key} could draw")
        bias = self.bias_initializer
        if bias is not None and initializers.is_unit_forget(bias) and not program.get("forget"):
            raise ValueError(f"{self!r}: {cell!r} names no block that 'unit_forget' could set (forget= of rekur.cell)")
        for name in self.weight_initializers:
            if name not in cell.weights:
                raise ValueError(
                    f"{self!r}: weight_initializers: {cell!r} has no weight '{name}'"
                    f"{did_you_mean(name, cell.weights) or '; it has none'}"
                )

    def __call__(
        self,
        inputs: SymbolicTensor | Sequence[SymbolicTensor],
        initial_state: SymbolicTensor | Sequence[SymbolicTensor] | None = None,
        **options: Any,
    ) -> Any:
        """Connect the layer to a sequence and, optionally, step inputs and initial states.

        Parameters
        ----------
        inputs : SymbolicTensor of shape (B, T, I), or a list
            x, then the cell's step inputs in their order, each (B, T, 1), one number a row and step, or (B, T, H), then
            initial states. Step inputs that have a number without data may be left out, the last ones first.
        initial_state : SymbolicTensor or list of them, each of shape (B, H), optional
            States in the cell's order, the last ones may be left out. Zeros by default.
        **options
            Step inputs by their names.

        Returns
        -------
        SymbolicTensor, or with ``return_state`` a list: the output, then every state.

        Raises
        ------
        TypeError, ValueError
            If the shapes do not fit, a step input is missing, or the layer was called before on others.
        """
        return super().__call__(inputs, initial_state, **options)

    def _step_names(self) -> Collection[str]:
        return self.cell.step_inputs

    def _settle(self, inputs: list[SymbolicTensor]) -> None:
        """Of a layer that is connected by inputs alone, as in a Sequential: the sequences behind x are step inputs."""
        count = self._timed_inputs(inputs) - 1
        if not self._is_connected() and (self._given is None or len(self._given) != count):
            self._with_step_inputs(inputs, {})

    def _timed_inputs(self, inputs: Sequence[SymbolicTensor]) -> int:
        timed = 1
        while timed < len(inputs) and len(inputs[timed].shape) == 3:
            timed += 1
        return timed

    def _with_step_inputs(self, tensors: list[SymbolicTensor], named: dict[str, Any]) -> list[SymbolicTensor]:
        """x, the step inputs that are given, and the rest, which are initial states."""
        timed = self._timed_inputs(tensors)
        names, listed = list(self.cell.step_inputs), tensors[1:timed]
        if len(listed) > len(names):
            wanted = f"takes {', '.join(names)} beside x" if names else "takes x alone at a step"
            raise ValueError(f"{self!r}: {self.cell!r} {wanted}, got {len(listed)} further sequences")
        given: dict[str, SymbolicTensor] = dict(zip(names, listed, strict=False))
        for name, tensor in named.items():
            if name in given:
                raise TypeError(f"{self!r}: the step input '{name}' was given twice")
            (given[name],) = symbolic(tensor, f"{self!r}: {name}")
        for name, value in self.cell.step_inputs.items():
            if name not in given and value is None:
                raise TypeError(f"{self!r}: {self.cell!r} needs the step input '{name}': call it on [x, {name}]")
        ordered = [name for name in names if name in given]
        if self._is_connected() and tuple(ordered) != self._given:
            raise ValueError(
                f"{self!r} was called before with the step inputs {list(self._given or ())}, now {ordered}"
            )
        vars(self)["_given"] = tuple(ordered)
        return [tensors[0], *(given[name] for name in ordered), *tensors[timed:]]

    def _program(self, given: Iterable[str] | None) -> Spec:
        """The cell of these step inputs, whose weights are drawn as the layer says."""
        program = self.cell.spec(given)
        for matrix in program.get("matrices", ()):
            if self.cell.follows(matrix["name"]) and self.recurrent_initializer is not None:
                matrix["initializer"] = self.recurrent_initializer
        for weight in (*program.get("weights", ()), *program.get("matrices", ())):
            weight["initializer"] = self.weight_initializers.get(weight["name"], weight["initializer"])
        return program

    def config(self) -> Spec:
        program = self._program(self._given)
        drawn = _drawn(program, self.cell)
        found = {**super().config(), "cell": program}
        for key, has in drawn.items():
            if not has:
                del found[key]
            elif found[key] is None:
                found[key] = getattr(self.cell, key)
        return found

    def get_config(self) -> dict[str, Any]:
        """Before the layer is called, the cell with and without each step input that it can do without."""
        found = super().get_config()
        if not self._is_connected() and len(ways := self.cell.ways()) > 1:
            found["cell"] = {
                "programs": [[list(names), self._program(names)] for names in ways],
                "step_inputs": dict(self.cell.step_inputs),
            }
        return found

    @classmethod
    def _of_config(cls, config: Spec, name: str | None) -> "Layer":
        if "cells" in config:
            from rekur.layers.cells_in_time import StackedRNN

            return StackedRNN.from_config(config, name)
        if "cell" not in config:
            raise ValueError(f"{cls.type} '{name or 'rnn'}': its configuration has no 'cell', only {', '.join(config)}")
        if isinstance(config["cell"], Layer):  # a cell of one's own
            made: Layer = cls(**config, name=name)
            return made
        cell = as_cell(config["cell"], f"{cls.type} '{name or 'rnn'}': cell")
        drawn = _drawn(cell.spec(), cell)
        return cls(**{key: value for key, value in config.items() if drawn.get(key, True)}, name=name)

    def _disconnect(self) -> None:
        super()._disconnect()
        if not self._calls:
            vars(self)["_given"] = None
