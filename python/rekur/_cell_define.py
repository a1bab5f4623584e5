"""``rekur.cell``: from a function's parameters and the decorator's to a :class:`Cell`."""

from __future__ import annotations

import inspect
import linecache
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any, overload

from rekur import initializers
from rekur._cell import Cell, Parameter, resolved, same_kind
from rekur._cell_trace import MOST_STATES, WORD
from rekur._spec import check_name
from rekur._trace import at_line, place
from rekur._validate import boolean, did_you_mean, real


@overload
def cell(function: Callable[..., Any]) -> Cell: ...
@overload
def cell(
    function: Callable[..., Any],
    *,
    name: str | None = ...,
    inputs: Sequence[str] = ...,
    weights: Mapping[str, Any] | None = ...,
    recurrent_bias: bool = ...,
    heads: str | None = ...,
    fixed: bool | Sequence[str] = ...,
    forget: str | None = ...,
    kernel_initializer: Any = ...,
    recurrent_initializer: Any = ...,
    bias_initializer: Any = ...,
) -> Cell: ...
@overload
def cell(
    function: None = None,
    *,
    name: str | None = ...,
    inputs: Sequence[str] = ...,
    weights: Mapping[str, Any] | None = ...,
    recurrent_bias: bool = ...,
    heads: str | None = ...,
    fixed: bool | Sequence[str] = ...,
    forget: str | None = ...,
    kernel_initializer: Any = ...,
    recurrent_initializer: Any = ...,
    bias_initializer: Any = ...,
) -> Callable[[Callable[..., Any]], Cell]: ...
def cell(
    function: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    inputs: Sequence[str] = (),
    weights: Mapping[str, Any] | None = None,
    recurrent_bias: bool = False,
    heads: str | None = None,
    fixed: bool | Sequence[str] = (),
    forget: str | None = None,
    kernel_initializer: Any = "glorot_uniform",
    recurrent_initializer: Any = "orthogonal",
    bias_initializer: Any = None,
) -> Any:
    """A cell of one's own: one step of a recurrent layer, as a function.

    >>> @rekur.cell
    ... def light_gru(x, h):
    ...     z = sigmoid(x.z + h.z)
    ...     return z * h + (1 - z) * relu(x.n + h.n)
    >>> layer = rekur.layers.RNN(light_gru, 64, return_sequences=True)

    The function is called here, with symbols, and what it does is recorded as data: it trains (gradients are derived),
    streams, is saved and exported like any other cell. It is written in :mod:`rekur.ops`, whose names it may use
    without importing them, as long as its module and Python itself have no others of these names.

    *Products.* ``x.z`` is the input's product into block z, x W_z + b_z, of H columns of the kernel. ``h.z`` is the
    recurrent product h R_z of a state; ``(r * h).n`` that of any value made in the step. The same attribute of the same
    value is the same product. Blocks stand in the kernel and in the recurrent kernel in the order of their first use.

    *Parameters of the function.* The first is the input. Further ones without a default are states, up to 4, and the
    first of them is the layer's output. Further ones with a number as default are step inputs: with ``time=1.0`` a
    layer may be called on ``[x, time]``, and without it ``time`` is 1. Keyword-only ones without a default are the
    cell's own weights: of one number a unit, or matrices of H × H where they stand behind an ``@``: ``h @ R`` is a
    recurrent product, too, and the same matrix may multiply several values. Keyword-only ones with a default (a number,
    a bool, a string) are hyper-parameters, fixed values that ``RNN(cell, units, tau=2.0)`` sets.

    *It returns* the new states in the order of the parameters: a value, or several as a tuple, or a dict by name.

    Parameters
    ----------
    function : callable
    name : str, optional
        The function's by default.
    inputs : sequence of str
        Parameters without a default that are step inputs all the same: a layer must be given them.
    weights : dict, optional
        Initialisers of the cell's own weights, by name: zeros for those it leaves out, of matrices the recurrent one.
        One may be a function of hyper-parameters by their names that gives an initialiser.
    recurrent_bias : bool
        Whether recurrent products have biases of their own, as in the GRU that resets after its product.
    heads : str, optional
        The hyper-parameter, a whole number, that says of how many heads the units are: the products in the recurrent
        kernel then go from the units of a head to those of the same head, and it is (H / heads, R·H).
    fixed : bool or sequence of str
        Parameters that training leaves as they were drawn: all, or by name (``"kernel"``, ``"recurrent_kernel"``,
        ``"bias"``, ``"recurrent_bias"``, the cell's own weights).
    forget : str, optional
        The block of the input's products whose bias starts at one, where ``bias_initializer`` is ``"unit_forget"``, its
        default then.
    kernel_initializer, recurrent_initializer, bias_initializer : str or Initializer
        What layers of this cell draw by where they say nothing else. The bias is zeros by default.

    Returns
    -------
    Cell, or without ``function`` a decorator that gives one.

    Raises
    ------
    TypeError, ValueError
        For what a cell cannot say, naming the line: an ``if`` on a symbol, an unknown operation, a state that is not
        returned, widths that do not fit.
    """
    options = {
        "name": name, "inputs": inputs, "weights": weights, "recurrent_bias": recurrent_bias, "heads": heads,
        "fixed": fixed, "forget": forget,
        "kernel_initializer": kernel_initializer, "recurrent_initializer": recurrent_initializer,
        "bias_initializer": bias_initializer,
    }  # fmt: skip
    if function is None:
        return lambda f: _define(f, **options)
    return _define(function, **options)


def _define(
    function: Any, name: str | None, inputs: Any, weights: Any, heads: Any, fixed: Any, forget: Any, **options: Any
) -> Cell:
    if isinstance(function, Cell):
        raise TypeError(f"rekur.cell: {function!r} is a cell already ({place()})")
    if not callable(function) or isinstance(function, type):
        raise TypeError(f"rekur.cell: expected a function of one step, got {function!r} ({place()})")
    if inspect.isgeneratorfunction(function) or inspect.iscoroutinefunction(function):
        kind = "yields" if inspect.isgeneratorfunction(function) else "is asynchronous"
        raise TypeError(
            "rekur.cell: expected a function that returns the new states, got one that "
            f"{kind} ({_definition(function)})"
        )
    if name is None:
        name = getattr(function, "__name__", type(function).__name__).strip("<>")
    check_name(name, "rekur.cell")
    what = f"cell '{name}'"
    roles = _Roles(what, function, inputs, dict(weights or {}))
    if forget is not None and not (isinstance(forget, str) and WORD.fullmatch(forget)):
        raise TypeError(f"{what}: forget must be the name of a block, such as 'f', got {forget!r}")
    bias = options["bias_initializer"]
    if bias is None:
        bias = "zeros" if forget is None else "unit_forget"
    bias = initializers.to_spec(bias, f"{what}: bias_initializer", unit_forget=True)
    if initializers.is_unit_forget(bias) and forget is None:
        raise ValueError(f"{what}: bias_initializer 'unit_forget' needs forget=, the block that starts at one")
    made = Cell()._fill(
        name=name,
        states=tuple(roles.states),
        step_inputs=roles.step_inputs,
        weights=roles.weights,
        _drawn_by=roles.drawn_by,
        _heads=_heads(heads, roles.parameters, what),
        _fixed=fixed if isinstance(fixed, bool) else tuple(check_name(each, f"{what}: fixed") for each in fixed),
        parameters=roles.parameters,
        kernel_initializer=initializers.to_spec(options["kernel_initializer"], f"{what}: kernel_initializer"),
        recurrent_initializer=initializers.to_spec(options["recurrent_initializer"], f"{what}: recurrent_initializer"),
        bias_initializer=bias,
        _forget=forget or "",
        _recurrent_bias=boolean(options["recurrent_bias"], f"{what}: recurrent_bias"),
        _function=function,
        __doc__=getattr(function, "__doc__", None),
        __name__=name,
        __qualname__=getattr(function, "__qualname__", name),
        __module__=getattr(function, "__module__", "rekur.cells"),
    )
    vars(made)["_programs"] = {}
    made.spec()
    return made


def _heads(heads: object, parameters: Mapping[str, Any], what: str) -> str:
    if heads is None:
        return ""
    if not isinstance(heads, str) or heads not in parameters:
        raise ValueError(f"{what}: heads must be the name of a hyper-parameter, got {heads!r}")
    return heads


class _Roles:
    """What each parameter of a cell's function is."""

    def __init__(self, what: str, function: Any, inputs: Any, weights: dict[str, Any]) -> None:
        from rekur.layers import RNN

        self.states: list[str] = []
        self.step_inputs: dict[str, float | None] = {}
        self.drawn_by: dict[str, Any] = {}
        self.parameters: dict[str, Parameter] = {}
        where = _definition(function)
        if isinstance(inputs, str):
            raise TypeError(f"{what}: inputs is a tuple of names, such as ('{inputs}',), got {inputs!r} ({where})")
        parameters = inspect.signature(function).parameters
        taken = (*inspect.signature(RNN.__init__).parameters, *RNN._cell_options)
        for k, (name, p) in enumerate(parameters.items()):
            if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
                raise TypeError(f"{what}: *{name}: every state and input has a parameter of its own ({where})")
            if not WORD.fullmatch(name):
                raise ValueError(
                    f"{what}: '{name}': parameters are of letters, digits and '_' of ASCII and begin with a letter "
                    f"({where})"
                )
            if k and name == "x":
                raise ValueError(f"{what}: 'x' is what the input, the first parameter, is called ({where})")
            if k == 0:
                if p.kind is p.KEYWORD_ONLY or p.default is not p.empty:
                    raise TypeError(f"{what}: its first parameter is the input x, without a default ({where})")
            elif p.kind is not p.KEYWORD_ONLY:
                if p.default is not p.empty:
                    self.step_inputs[name] = _default(
                        real, p.default, f"{what}: step input '{name}' without data", where
                    )
                elif name in inputs:
                    self.step_inputs[name] = None
                else:
                    self.states.append(name)
            elif p.default is p.empty:
                if name in _PARTS:
                    raise ValueError(
                        f"{what}: a weight cannot be called '{name}': layers have one of that name ({where})"
                    )
                how = weights.pop(name, None)
                if how is not None and not isinstance(how, FunctionType):
                    how = initializers.to_spec(how, f"{what}: weight '{name}'")
                self.drawn_by[name] = how
            else:
                if name in taken:
                    raise ValueError(f"{what}: RNN takes a '{name}' of its own: call the parameter otherwise ({where})")
                self.parameters[name] = _default(lambda v, of: same_kind(v, v, of), p.default, f"{what}: {name}", where)
        for name in inputs:
            if name not in self.step_inputs:
                hint = did_you_mean(name, [*self.step_inputs, *self.states])
                raise ValueError(f"{what}: inputs names '{name}', which is no parameter of a step{hint} ({where})")
        for name, how in self.drawn_by.items():
            for key in inspect.signature(how).parameters if isinstance(how, FunctionType) else ():
                if key not in self.parameters:
                    raise ValueError(
                        f"{what}: weight '{name}': its function takes '{key}', which is no hyper-parameter ({where})"
                    )
        self.weights = resolved(self.drawn_by, self.parameters, what)
        for name in weights:
            hint = did_you_mean(name, self.weights)
            raise ValueError(
                f"{what}: weights names '{name}', which is no keyword-only parameter without a default{hint} ({where})"
            )
        if not self.states:
            raise ValueError(f"{what}: it has no state: def {what[6:-1]}(x, h): … ({where})")
        if len(self.states) > MOST_STATES:
            raise ValueError(f"{what}: at most {MOST_STATES} states, got {', '.join(self.states)} ({where})")


def _default(check: Callable[[Any, str], Any], value: object, what: str, where: str) -> Any:
    try:
        return check(value, what)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{error} ({where})") from None


_PARTS = ("kernel", "recurrent_kernel", "bias", "recurrent_bias")  # what a layer's other weights are called


def _definition(function: Any) -> str:
    """``file.py, line 7: def light_gru(x, h):``."""
    code = getattr(function, "__code__", None)
    if code is None:
        return place()
    for line in range(code.co_firstlineno, code.co_firstlineno + 20):
        text = linecache.getline(code.co_filename, line).strip()
        if text.startswith(("def ", "async def ")) or "lambda" in text:
            return at_line(code.co_filename, line)
    return at_line(code.co_filename, code.co_firstlineno)
