"""Cells of one's own: a Python function of one step, recorded as data. See :func:`cell` and docs/cells.md."""

from __future__ import annotations

import builtins
import dis
import importlib
import inspect
import itertools
from collections.abc import Iterable, Mapping, Sequence
from types import CodeType, FunctionType
from typing import Any, NoReturn

from rekur import initializers
from rekur._cell_trace import CellTrace
from rekur._settings import frozen, thawed
from rekur._spec import Spec, check_name
from rekur._trace import at_line
from rekur._validate import boolean, did_you_mean, integer, real

Parameter = float | bool | str
# Keys that a cell's spec has only where they say something.
_OPTIONAL = ("weights", "matrices", "step_inputs", "recurrent_bias", "forget", "heads", "fixed")


class Cell:
    """One step of a recurrent layer, recorded as data. :func:`rekur.cell` makes it of a function.

    Attributes
    ----------
    name : str
    states : tuple of str
        The first one is the layer's output.
    step_inputs : dict
        Further inputs of a step by name, with what each is where a layer is not given it: a number, or None for one
        that a layer must be given.
    weights : dict
        The cell's own weights, one number a unit or matrices, by name: how each is drawn. A matrix for which the cell
        says nothing is drawn as recurrent kernels are.
    parameters : dict
        Hyper-parameters by name.
    kernel_initializer, recurrent_initializer, bias_initializer
        How a layer's weights are drawn where it says nothing else.

    Notes
    -----
    A cell never changes. Calling it calls its function, so that a cell may be a part of another. It can be pickled: by
    its name where it is found under it in its module, else as what it recorded, without the function.
    """

    name: str
    states: tuple[str, ...]
    step_inputs: dict[str, float | None]
    weights: dict[str, Any]
    parameters: dict[str, Parameter]
    kernel_initializer: Any
    recurrent_initializer: Any
    bias_initializer: Any
    _function: Any
    _forget: str
    _drawn_by: dict[str, Any]  # of own weights initialisers, or functions of parameters; None: nothing is said
    _heads: str  # the hyper-parameter that says how many there are
    _fixed: bool | tuple[str, ...]
    _recurrent_bias: bool
    _programs: dict[tuple[str, ...], Spec]  # by the step inputs that are given

    def _fill(self, **values: Any) -> Cell:
        vars(self).update({name: frozen(value) for name, value in values.items()})
        return self

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{self!r} never changes: '{name}' cannot be set; bind gives a cell of other parameters")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{self!r} never changes: '{name}' cannot be deleted")

    def __repr__(self) -> str:
        numbers = "".join(f", {name}={value!r}" for name, value in self.parameters.items())
        return f"<cell {self.name}({', '.join(['x', *self.step_inputs, *self.states])}{numbers})>"

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        if self._function is None:
            raise TypeError(f"{self!r} came from a file or a pickle: it has its equations, and no function to call")
        return self._function(*arguments, **keywords)

    def __copy__(self) -> Cell:
        return self

    def __deepcopy__(self, memo: object) -> Cell:
        return self

    def __eq__(self, other: object) -> bool:
        """Cells are equal that are the same program, drawn in the same way."""
        return isinstance(other, Cell) and self._data() == other._data()

    def __hash__(self) -> int:
        return hash((self.name, self.states))

    def bind(self, **parameters: Parameter) -> Cell:
        """The same cell with other hyper-parameters.

        Raises
        ------
        TypeError
            For one that the cell does not have, or a value of another kind.
        ValueError
            For a number that is not finite.
        """
        if not parameters:
            return self
        if self._function is None:
            raise TypeError(
                f"{self!r} came from a file or a pickle: its hyper-parameters are constants of its equations, and "
                f"cannot be set ({', '.join(parameters)})"
            )
        values = dict(self.parameters)
        for name, value in parameters.items():
            if name not in values:
                raise TypeError(f"{self!r} has no parameter '{name}'{did_you_mean(name, values)}")
            values[name] = same_kind(values[name], value, f"{self!r}: {name}")
        drawn = resolved(self._drawn_by, values, f"{self!r}")
        bound = Cell()._fill(**{**vars(self), "parameters": values, "weights": drawn})
        vars(bound)["_programs"] = {}
        bound.spec()  # what these parameters break is said here
        return bound

    def spec(self, given: Iterable[str] | None = None) -> Spec:
        """The cell as a spec holds it (docs/spec.md); a copy.

        Parameters
        ----------
        given : iterable of str, optional
            The step inputs that the layer is given, all by default. The others are the numbers that they are without.
        """
        names = tuple(self.step_inputs) if given is None else tuple(n for n in self.step_inputs if n in set(given))
        found = self._programs.get(names)
        if found is None:
            if self._function is None:
                raise TypeError(f"{self!r} came from a file: it takes the step inputs {next(iter(self._programs))}")
            found = self._programs[names] = frozen(self._record(names))
        spec: Spec = thawed(found)
        return spec

    def _record(self, given: Sequence[str]) -> Spec:
        """Call the function once, with symbols."""
        function = _with_operations(self._function)
        parameters = inspect.signature(self._function).parameters
        x = next(iter(parameters))
        trace = CellTrace(f"cell '{self.name}'", x, given, self.states, list(self.weights))
        values = {**{n: v for n, v in self.step_inputs.items() if n not in given}, **self.parameters, **trace.given}
        positional = [values[n] for n, p in parameters.items() if p.kind is not p.KEYWORD_ONLY]
        keywords = {n: values[n] for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
        try:
            returned = function(*positional, **keywords)
        except NameError as error:
            raise _unknown_name(error, f"cell '{self.name}'") from None
        program = trace.program(returned, getattr(function, "__code__", None))
        forget = f"x.{self._forget}" if self._forget else ""
        if forget and forget not in program["kernel"]:
            raise ValueError(
                f"cell '{self.name}': forget='{self._forget}' is no block of the input's products"
                f"{did_you_mean(self._forget, [name[2:] for name in program['kernel']])}"
            )
        if self._recurrent_bias and not program["recurrent"]:
            raise ValueError(f"cell '{self.name}': recurrent_bias=True, and it has no recurrent products")
        matrices = program["matrices"]
        program["weights"] = [
            {"name": name, "initializer": how} for name, how in self.weights.items() if name not in matrices
        ]
        program["matrices"] = [
            {"name": name, "initializer": self.recurrent_initializer if self.follows(name) else self.weights[name]}
            for name in matrices
        ]
        found = {"name": self.name, **program, "recurrent_bias": self._recurrent_bias, "forget": forget}
        if self._heads:
            found["heads"] = integer(self.parameters[self._heads], f"cell '{self.name}': {self._heads}")
            found["heads"] = found["heads"] if found["heads"] > 1 else 0
        found["fixed"] = self._fixed_of(found)
        return {key: value for key, value in found.items() if value or key not in _OPTIONAL}

    def follows(self, name: str) -> bool:
        """Whether the cell says nothing of how the weight is drawn: a matrix then is as recurrent kernels are."""
        return name in self._drawn_by and self._drawn_by[name] is None

    def _fixed_of(self, program: Spec) -> list[str]:
        """The parameters that are not trained."""
        own = any(len(product) == 2 for product in program["recurrent"])
        common = {
            "kernel": program["kernel"], "recurrent_kernel": own,
            "bias": program["kernel"], "recurrent_bias": self._recurrent_bias,
        }  # fmt: skip
        there = [name for name, is_there in common.items() if is_there]
        there += [entry["name"] for key in ("weights", "matrices") for entry in program[key]]
        if isinstance(self._fixed, bool):
            return there if self._fixed else []
        for name in self._fixed:
            if name not in there:
                raise ValueError(f"cell '{self.name}': fixed: it has no parameter '{name}'{did_you_mean(name, there)}")
        return [name for name in there if name in self._fixed]

    def ways(self) -> list[tuple[str, ...]]:
        """The step inputs that a layer may be given, in every combination of those that it can do without."""
        optional = [name for name, value in self.step_inputs.items() if value is not None]
        left_out = [set(some) for count in range(len(optional) + 1) for some in itertools.combinations(optional, count)]
        return sorted(tuple(name for name in self.step_inputs if name not in some) for some in left_out)

    def _data(self) -> dict[str, Any]:
        """What a cell is without its function."""
        programs = [[list(names), self.spec(names)] for names in self.ways()]
        drawn = {name: thawed(getattr(self, name)) for name in _INITIALIZERS}
        return {"programs": programs, "step_inputs": dict(self.step_inputs), **drawn}

    def __reduce__(self) -> Any:
        if self._function is not None:
            module, name = getattr(self._function, "__module__", None), getattr(self._function, "__qualname__", "")
            if _find(module, name) is self:
                return _find, (module, name)
            if isinstance(found := _find(module, name), Cell) and found._function is self._function:
                return _bound, (module, name, dict(self.parameters))
        return _restored, (self._data(),)


_INITIALIZERS = ("kernel_initializer", "recurrent_initializer", "bias_initializer")


def _find(module: Any, name: str) -> Any:
    """What a module holds under a name, or None."""
    found: Any = None
    try:
        found = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, TypeError, ValueError):
        return None
    return found


def _bound(module: str, name: str, parameters: dict[str, Parameter]) -> Cell:
    found = _find(module, name)
    if not isinstance(found, Cell):
        raise AttributeError(f"module '{module}' has no cell '{name}'")
    return found.bind(**parameters)


def _restored(data: Mapping[str, Any]) -> Cell:
    """A cell of its programs alone."""
    programs = {tuple(names): program for names, program in data["programs"]}
    largest = programs[max(programs, key=len)]
    entries = (*largest.get("weights", ()), *largest.get("matrices", ()))
    own = {weight["name"]: weight["initializer"] for weight in entries}
    cell = Cell()._fill(
        name=largest["name"],
        states=tuple(largest["states"]),
        step_inputs=dict(data["step_inputs"]),
        weights=own,
        _drawn_by=own,
        _heads="",
        _fixed=tuple(largest.get("fixed", ())),
        parameters={},
        **{name: data[name] for name in _INITIALIZERS},
        _forget=largest.get("forget", "")[2:],
        _recurrent_bias=largest.get("recurrent_bias", False),
        _function=None,
        __doc__=f"The cell '{largest['name']}', from its equations.",
        __name__=largest["name"],
        __qualname__=largest["name"],
        __module__="rekur.cells",
    )
    vars(cell)["_programs"] = {names: frozen(program) for names, program in programs.items()}
    return cell


def from_spec(spec: object, what: str) -> Cell:
    """A cell of its keys in a layer's spec, whose equations the engine checks when the layer is connected; or of what
    ``get_config`` gives of one that can do without some step inputs.

    Raises
    ------
    TypeError, ValueError
        If what the Python face reads of it is not there.
    """
    if not isinstance(spec, Mapping):
        raise TypeError(f"{what} must be a cell, a function of a step or the name of one of rekur.cells, got {spec!r}")
    if "programs" in spec:
        return _of_ways(spec, what)
    try:
        name = check_name(spec["name"], what)
        states = [check_name(state, what) for state in spec["states"]]
        steps = {check_name(step, what): None for step in spec.get("step_inputs", ())}
        for weight in (*spec.get("weights", ()), *spec.get("matrices", ())):
            check_name(weight["name"], what)
            initializers.to_spec(weight["initializer"], f"{what}: weight '{weight['name']}'")
        if not states or not isinstance(spec["equations"], Mapping):
            raise TypeError("no states or no equations")
        forget = bool(spec.get("forget"))
        list(spec["kernel"]), list(spec["recurrent"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{what} is no cell of a spec: {error!r}") from None
    return _restored(
        {
            "programs": [[list(steps), {**spec, "name": name}]],
            "step_inputs": steps,
            "kernel_initializer": "glorot_uniform",
            "recurrent_initializer": "orthogonal",
            "bias_initializer": "unit_forget" if forget else "zeros",
        }
    )


def _of_ways(data: Mapping[str, Any], what: str) -> Cell:
    """A cell of a program for each of its :meth:`Cell.ways`."""
    try:
        alone = {
            check_name(name, what): None
            if number is None
            else real(number, f"{what}: step input '{name}' without data")
            for name, number in data["step_inputs"].items()
        }
        programs = [[list(names), program] for names, program in data["programs"]]
        cells = [from_spec(program, what) for _, program in programs]
        if len({cell.states for cell in cells}) != 1 or any(
            list(cell.step_inputs) != names for cell, (names, _) in zip(cells, programs, strict=True)
        ):
            raise ValueError("programs of other states or step inputs than they are said to be of")
        drawn = {name: getattr(cells[0], name) for name in _INITIALIZERS}
        made = _restored({"programs": programs, "step_inputs": alone, **drawn})
        if [tuple(names) for names, _ in programs] != made.ways():
            raise ValueError("not one program for each of the step inputs that a layer may be given")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{what} is no cell of a layer's configuration: {error!r}") from None
    return made


def as_cell(value: object, what: str) -> Cell:
    """A cell of a cell, a function, the name of one of :mod:`rekur.cells`, or its keys in a spec."""
    if isinstance(value, Cell):
        return value
    if isinstance(value, str):
        from rekur import cells

        if value not in cells.__all__:
            raise ValueError(f"{what}: rekur.cells has no '{value}'{did_you_mean(value, cells.__all__)}")
        found: Cell = getattr(cells, value)
        return found
    if callable(value) and not isinstance(value, type):
        from rekur._cell_define import cell

        return cell(value)
    return from_spec(value, what)


def resolved(drawn_by: Mapping[str, Any], parameters: Mapping[str, Parameter], what: str) -> dict[str, Any]:
    """How a cell's own weights are drawn with these hyper-parameters."""
    result = {}
    for name, how in drawn_by.items():
        if isinstance(how, FunctionType):
            how = how(**{key: parameters[key] for key in inspect.signature(how).parameters})
        result[name] = initializers.to_spec("zeros" if how is None else how, f"{what}: weight '{name}'")
    return result


def same_kind(like: object, value: object, what: str) -> Parameter:
    """A hyper-parameter: a bool for a bool, a string for a string, a finite number for a number."""
    if isinstance(like, bool):
        return boolean(value, what)
    if isinstance(like, str):
        if not isinstance(value, str):
            raise TypeError(f"{what} must be a string, got {value!r}")
        return value
    if not isinstance(like, (int, float)) and not hasattr(like, "__float__"):
        raise TypeError(f"{what}: a hyper-parameter is a number, a bool or a string, got {like!r}")
    number = real(value, what)
    return int(number) if isinstance(value, int) or (hasattr(value, "__index__")) else number


def _with_operations(function: Any) -> Any:
    """The function, with the names of rekur.ops that it uses and its module lacks."""
    if not isinstance(function, FunctionType):
        return function
    from rekur import ops

    known = function.__globals__
    lacking = {
        name: getattr(ops, name)
        for name in _global_names(function.__code__)
        if name in ops.EQUATIONS and name not in known and not hasattr(builtins, name)
    }
    if not lacking:
        return function
    other = FunctionType(
        function.__code__, {**lacking, **known}, function.__name__, function.__defaults__, function.__closure__
    )
    other.__kwdefaults__ = function.__kwdefaults__
    return other


def _unknown_name(error: NameError, what: str) -> NameError:
    """The error with the line that it comes from and the operation that was meant."""
    from rekur import ops

    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    hint = did_you_mean(error.name, ops.EQUATIONS) if error.name else ""
    hint = hint if "did you mean" in hint else "; operations are those of rekur.ops"
    where = "" if trace is None else f" ({at_line(trace.tb_frame.f_code.co_filename, trace.tb_lineno)})"
    return NameError(f"{what}: {error}{hint}{where}", name=error.name)


def _global_names(code: CodeType) -> set[str]:
    names = {i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _global_names(constant)
    return names
