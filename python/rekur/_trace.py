"""Recording what a function does to symbols: the tracer behind :mod:`rekur.ops`."""

from __future__ import annotations

import linecache
import math
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from rekur._validate import did_you_mean

MOST_NODES = 512  # as in the engine
_LARGEST = 3.4028234663852886e38  # of float32
# Whose code is not the user's.
_LIBRARIES = tuple(os.path.dirname(os.path.abspath(file)) + os.sep for file in (__file__, np.__file__))
_LEAVES = ("constant", "piece")  # nodes without operands; pieces are a loss's (_losses/equations.py)


def place() -> str:
    """Where in the user's code we are: ``file.py, line 7: z = x if x > 0 else 0``."""
    frame = sys._getframe()
    while frame.f_back is not None and os.path.abspath(frame.f_code.co_filename).startswith(_LIBRARIES):
        frame = frame.f_back
    return at_line(frame.f_code.co_filename, frame.f_lineno)


def at_line(file: str, line: int) -> str:
    """``file.py, line 7: z = x if x > 0 else 0``."""
    text = linecache.getline(file, line).strip()
    text = text if len(text) <= 100 else text[:99] + "…"
    return f"{os.path.basename(file)}, line {line}" + (f": {text}" if text else "")


class Trace:
    """The values recorded so far. A value that is there already is not recorded twice."""

    no_matrices = "equations have no matrix product: use a Dense layer"

    def __init__(self, inputs: Sequence[str], what: str) -> None:
        self.inputs = list(inputs)
        self.what = what
        self.nodes: list[list[Any]] = []
        self._known: dict[Any, int] = {}
        self.symbols = [Symbol(self, k, name) for k, name in enumerate(self.inputs)]
        self._first = len(self.inputs)  # the number of the first node's value

    def error(self, message: str, kind: type[Exception] = TypeError) -> Exception:
        """An exception that names what is traced and the line of the user's code."""
        return kind(f"{self.what}: {message} ({place()})")

    def add(self, operation: str | dict[str, Any], operands: Sequence[Any]) -> Symbol:
        numbers = [self._index(operand) for operand in operands]
        return self._record([operation, *numbers])

    def attribute(self, symbol: Symbol, name: str) -> Any:
        """What ``symbol.name`` is: nothing, in equations of a row."""
        if name == "dtype":  # what code written for Keras hands to ops.cast
            return "float32"
        known = _ops().EQUATIONS
        hint = f": call rekur.ops.{name}(…)" if name in known else did_you_mean(name, known)
        raise self.error(f"a symbol has no attribute '{name}'{hint}", AttributeError)

    def _record(self, node: list[Any]) -> Symbol:
        head = node[0]
        key = (tuple(sorted(head.items())) if isinstance(head, dict) else head, *node[1:])
        if head == "constant":
            key = (head, node[1], math.copysign(1.0, node[1]))  # -0 is another constant than 0
        found = self._known.get(key)
        if found is None:
            if len(self.nodes) == MOST_NODES:
                raise self.error(f"more than {MOST_NODES} operations", ValueError)
            found = self._known[key] = self._first + len(self.nodes)
            self.nodes.append(node)
        return Symbol(self, found)

    def _index(self, operand: Any) -> int:
        if isinstance(operand, Symbol):
            if operand._trace is not self:
                raise self.error(f"{operand!r} comes from other equations: a function sees only what it is given")
            return operand._index
        if isinstance(operand, np.ndarray) and operand.ndim == 0:
            operand = operand.item()
        if isinstance(operand, (bool, np.bool_, int, float, np.integer, np.floating)):
            try:
                number = float(operand)
            except OverflowError:
                number = math.inf
            if not abs(number) <= _LARGEST:
                got = f"{operand!r}" if number != math.inf or isinstance(operand, float) else "a larger one"
                raise self.error(f"a constant must be a finite float32 number, got {got}", ValueError)
            return self._record(["constant", float(np.float32(number))])._index
        if isinstance(operand, (np.ndarray, list, tuple)):
            return self.array(operand)._index
        raise self.error(f"expected a symbol or a number, got {type(operand).__name__}")

    def array(self, values: Any) -> Symbol:
        """What an array stands for among the operands."""
        raise self.error(
            "arrays cannot be constants of equations, only numbers: give what differs from feature to feature as "
            "another input, or use a Rescaling or Affine layer"
        )

    def product_with(self, symbol: Symbol, weight: Any) -> Any:
        """``ops.matmul(symbol, weight)`` of a weight that a layer or a cell has."""
        raise self.error(self.no_matrices)

    def matrix_product(self, symbol: Symbol, matrix: Any) -> Any:
        raise self.error(self.no_matrices)

    def item(self, symbol: Symbol, key: Any) -> Symbol:
        """``symbol[key]``."""
        raise self.error("a symbol cannot be indexed: equations see all features alike; use Slice layers")

    def finish(self, returned: Any) -> dict[str, Any]:
        """The spec's equations, of what the function returned: a value or several."""
        several = isinstance(returned, (list, tuple))
        values = list(returned) if several else [returned]
        if not values or any(value is None for value in values):
            raise self.error(f"the function must return a value or several, got {returned!r}")
        outputs = []
        for value in values:
            if not isinstance(value, Symbol):
                raise self.error(f"the function must return what it made of its inputs, got {value!r}")
            outputs.append(self._index(value))
        return {"inputs": self.inputs, **self._needed(outputs)}

    def _needed(self, outputs: Sequence[int]) -> dict[str, Any]:
        """Nodes that an output depends on, numbered anew."""
        first = len(self.inputs)
        wanted: set[int] = set()
        stack = [value for value in outputs if value >= first]
        while stack:
            value = stack.pop()
            if value in wanted:
                continue
            wanted.add(value)
            node = self.nodes[value - first]
            stack += [v for v in ([] if node[0] in _LEAVES else node[1:]) if v >= first]
        numbers = {k: k for k in range(first)}
        nodes: list[list[Any]] = []
        for value in sorted(wanted):
            node = self.nodes[value - first]
            numbers[value] = first + len(nodes)
            nodes.append(node if node[0] in _LEAVES else [node[0], *(numbers[v] for v in node[1:])])
        return {"nodes": nodes, "outputs": [numbers[value] for value in outputs]}


def is_symbolic(value: Any) -> bool:
    return isinstance(value, Symbol)


class Symbol:
    """A value of equations while they are traced. It has no number yet, so nothing in Python can depend on it."""

    __slots__ = ("_index", "_name", "_trace")  # every other name is an attribute that a trace may give a meaning
    __array_priority__ = 1000

    def __init__(self, trace: Trace, index: int, name: str = "") -> None:
        self._trace = trace
        self._index = index
        self._name = name

    def __setattr__(self, name: str, value: object) -> None:
        if name not in Symbol.__slots__:
            raise self._trace.error(f"'{name}' cannot be set: a value never changes", AttributeError)
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return f"<symbol '{self._name}'>" if self._name else "<symbol>"

    # Arithmetic and comparison.
    def __add__(self, other: Any) -> Any:
        return self._trace.add("add", (self, other))

    def __radd__(self, other: Any) -> Any:
        return self._trace.add("add", (other, self))

    def __sub__(self, other: Any) -> Any:
        return self._trace.add("subtract", (self, other))

    def __rsub__(self, other: Any) -> Any:
        return self._trace.add("subtract", (other, self))

    def __mul__(self, other: Any) -> Any:
        return self._trace.add("multiply", (self, other))

    def __rmul__(self, other: Any) -> Any:
        return self._trace.add("multiply", (other, self))

    def __truediv__(self, other: Any) -> Any:
        return self._trace.add("divide", (self, other))

    def __rtruediv__(self, other: Any) -> Any:
        return self._trace.add("divide", (other, self))

    def __pow__(self, other: Any) -> Any:
        return _ops().power(self, other)

    def __rpow__(self, other: Any) -> Any:
        return _ops().power(other, self)

    def __neg__(self) -> Any:
        return self._trace.add("negative", (self,))

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return self._trace.add("absolute", (self,))

    def __lt__(self, other: Any) -> Any:
        return self._trace.add("less", (self, other))

    def __le__(self, other: Any) -> Any:
        return self._trace.add("less_equal", (self, other))

    def __gt__(self, other: Any) -> Any:
        return self._trace.add("less", (other, self))

    def __ge__(self, other: Any) -> Any:
        return self._trace.add("less_equal", (other, self))

    def __eq__(self, other: Any) -> Any:
        return self._trace.add("equal", (self, other))

    def __ne__(self, other: Any) -> Any:
        return _ops().not_equal(self, other)

    __hash__ = object.__hash__

    def __and__(self, other: Any) -> Any:
        return _ops().logical_and(self, other)

    __rand__ = __and__

    def __or__(self, other: Any) -> Any:
        return _ops().logical_or(self, other)

    __ror__ = __or__

    def __invert__(self) -> Any:
        return _ops().logical_not(self)

    def __array_ufunc__(self, ufunc: Any, method: str, *operands: Any, **options: Any) -> Any:
        known = _ops().UFUNCS.get(ufunc.__name__)
        if known is None or method != "__call__" or options:
            raise self._trace.error(f"np.{ufunc.__name__} is no operation of equations: use those of rekur.ops")
        return known(*operands)

    def __array_function__(self, function: Any, types: Any, operands: Any, options: Any) -> Any:
        known = _ops().FUNCTIONS.get(function.__name__)
        if known is None:
            raise self._trace.error(f"np.{function.__name__} is no operation of equations: use those of rekur.ops")
        return known(*operands, **options)

    # What cannot be: each says what to do instead.
    def __bool__(self) -> bool:
        raise self._trace.error(
            "a symbol is neither true nor false while equations are traced, so `if`, `and`, `or` and `not` cannot ask: "
            "use rekur.ops.where(condition, a, b), and &, |, ~ for conditions"
        )

    def __len__(self) -> int:
        raise self._trace.error("a symbol has no length: equations see a row's features all alike")

    def __iter__(self) -> Any:
        raise self._trace.error("a symbol cannot be unpacked: equations see all features alike; use Slice layers")

    def __getitem__(self, key: Any) -> Any:
        return self._trace.item(self, key)

    def __float__(self) -> float:
        raise self._trace.error("a symbol is no number while equations are traced: use rekur.ops, not math")

    __int__ = __index__ = __float__

    def __format__(self, form: str) -> str:
        if form:
            raise self._trace.error(f"a symbol has no number yet that could be written as '{form}'")
        return repr(self)

    def __array__(self, *_: object, **__: object) -> Any:
        raise self._trace.error("a symbol holds no array while equations are traced: use rekur.ops")

    def __matmul__(self, other: Any) -> Any:
        return self._trace.matrix_product(self, other)

    def __rmatmul__(self, other: Any) -> Any:
        raise self._trace.error(self._trace.no_matrices)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._trace.attribute(self, name)


# What Python knows of numbers and equations do not: what it is called, and what there is instead.
_REFUSED = {
    ("floordiv", "rfloordiv"): ("//", ": / divides, and nothing rounds"),
    ("mod", "rmod"): ("%", ""),
    ("divmod", "rdivmod"): ("divmod", ""),
    ("xor", "rxor"): ("^", ": ** is the power, rekur.ops.logical_xor(a, b) one of two conditions"),
    ("lshift", "rlshift", "rshift", "rrshift"): ("<< and >>", ""),
    ("round", "trunc", "floor", "ceil"): ("rounding", ""),
    ("contains",): ("`in`", ": they see all features alike"),
    ("setitem",): ("assignment to parts", ": a value never changes; rekur.ops.where(condition, a, b) chooses"),
    ("call",): ("call", ": operations are those of rekur.ops, such as rekur.ops.tanh(x)"),
}


def _refuse(what: str, instead: str) -> Callable[..., NoReturn]:
    def refused(self: Symbol, *_: Any, **__: Any) -> NoReturn:
        raise self._trace.error(f"equations have no {what} of symbols{instead}")

    return refused


for _names, _words in _REFUSED.items():
    for _name in _names:
        setattr(Symbol, f"__{_name}__", _refuse(*_words))


def _ops() -> Any:
    from rekur import ops

    return ops


def evaluate(equations: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    """What equations give for arrays of shape (…, features), in NumPy and float64; the engine's reference.

    Values of one number a row have a last axis of 1.
    """
    compute = _ops().COMPUTE
    values: list[Any] = [np.asarray(x, np.float64) for x in inputs]
    for operation, *operands in equations["nodes"]:
        if operation == "constant":
            values.append(np.float64(operands[0]))
            continue
        parameters: dict[str, Any] = {}
        if isinstance(operation, dict):
            parameters = {k: v for k, v in operation.items() if k != "name"}
            operation = operation["name"]
        given = [values[k] for k in operands]
        alone = operation in ("sum", "mean", "max") and np.ndim(given[0]) == 0  # a constant is its own sum
        values.append(given[0] if alone else compute[operation](*given, **parameters))
    return [values[k] for k in equations["outputs"]]
