"""Recording what the function of a cell does in one step: products by attributes of symbols, the rest as ever."""

from __future__ import annotations

import dis
import re
from collections.abc import Mapping, Sequence
from types import CodeType
from typing import Any, NamedTuple

from rekur._spec import Spec
from rekur._trace import Symbol, Trace, at_line
from rekur._validate import did_you_mean

MOST_STATES = 4  # as in the engine
WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
# What people ask arrays for: no block is meant.
_OF_ARRAYS = {
    "T", "astype", "copy", "device", "dot", "dtype", "item", "ndim", "numpy", "requires_grad", "reshape", "shape",
    "size", "view",
}  # fmt: skip
_FIRST = 1 << 20  # nodes are counted from here until all inputs are known
_NUMBER, _ROW, _UNITS = 0, 1, 2  # what a value holds: one number, one a row, one a unit


class _Input(NamedTuple):
    kind: str  # kernel, recurrent, state, weight, step or x
    name: str
    source: int | str = ""  # of a recurrent product
    matrix: str = ""  # of a recurrent product by one of the cell's own


_ORDER = ("kernel", "recurrent", "state", "weight", "step", "x")


class CellTrace(Trace):
    """One step of a cell. An attribute of x is a product of the input, of any other value a recurrent product of it."""

    no_matrices = (
        "products are attributes, x.z the input's into block z and h.z a recurrent one; @ is for the matrices that a "
        "cell names, keyword-only parameters without a default, behind a state or a value: h @ R"
    )

    def __init__(
        self, what: str, x: str, step_inputs: Sequence[str], states: Sequence[str], weights: Sequence[str]
    ) -> None:
        super().__init__([], what)
        self._first = _FIRST
        self._found: list[_Input] = []
        self._products: dict[Any, Symbol] = {}
        self._widths: dict[int, int] = {}
        self.matrices: dict[str, int] = {}  # by name the weight that it is
        self.states = list(states)
        self.given = {x: self._input(_Input("x", "x"), x)}
        for kind, names in (("step", step_inputs), ("state", states), ("weight", weights)):
            self.given.update({name: self._input(_Input(kind, name)) for name in names})
        self._x = x
        self._value = "value"  # how products of values that have no name begin
        while self._value in self.given:
            self._value += "_"

    def _input(self, found: _Input, shown: str = "") -> Symbol:
        self._found.append(found)
        return Symbol(self, len(self._found) - 1, shown or found.name)

    def attribute(self, symbol: Symbol, name: str) -> Any:
        """The product of a value into the block ``name``."""
        from rekur import ops

        here = f"{symbol._name or '(…)'}.{name}"
        if name in ops.EQUATIONS:
            raise self.error(
                f"{here}: '{name}' is an operation, rekur.ops.{name}(…), and names no block", AttributeError
            )
        if name in _OF_ARRAYS:
            raise self.error(
                f"{here}: a symbol has no '{name}', and blocks of products take other names",
                AttributeError,
            )
        if not WORD.fullmatch(name):
            raise self.error(
                f"{here}: a block's name holds letters, digits and '_' of ASCII and begins with a letter",
                AttributeError,
            )
        index = symbol._index
        own = self._found[index] if index < _FIRST else None
        if own is not None and own.kind == "weight":
            raise self.error(
                f"{here}: '{own.name}' is one number a unit, the same at every step, and has no products: multiply",
                AttributeError,
            )
        if own is None and self._width(index) != _UNITS:
            kind = "one number a row" if self._width(index) == _ROW else "a constant"
            raise self.error(f"{here}: a recurrent product needs one number a unit, and this is {kind}", ValueError)
        known = self._products.get((index, name))
        if known is None:
            known = self._products[index, name] = self._product(symbol, own, name)
        return known

    def matrix_product(self, symbol: Symbol, matrix: Any) -> Any:
        """The recurrent product of a state or a value by a matrix of the cell's own."""
        index, other = symbol._index, matrix._index if isinstance(matrix, Symbol) else _FIRST
        own = self._found[index] if index < _FIRST else None
        if other >= _FIRST or self._found[other].kind != "weight" or (own is not None and own.kind in ("x", "weight")):
            raise self.error(self.no_matrices)
        name = self._found[other].name
        if own is None and self._width(index) != _UNITS:
            raise self.error(
                f"(…) @ {name}: a recurrent product needs one number a unit, and this has fewer", ValueError
            )
        self.matrices[name] = other
        known = self._products.get((index, f"@{name}"))
        if known is None:
            known = self._products[index, f"@{name}"] = self._product(symbol, own, name, name)
        return known

    def _product(self, symbol: Symbol, own: _Input | None, block: str, matrix: str = "") -> Symbol:
        if own is not None and own.kind == "x":
            return self._input(_Input("kernel", f"x.{block}"), f"{self._x}.{block}")
        if own is not None and own.kind == "state" and not matrix:
            return self._input(_Input("recurrent", f"{own.name}.{block}", own.name))
        if own is not None and own.kind == "state":
            return self._input(_Input("recurrent", self._free(f"{own.name}.{block}"), own.name, matrix))
        # A value is an operation's: of a product that is taken as it is, the identity's.
        source = self.add("linear", (symbol,))._index if own is not None else symbol._index
        name = self._free(f"{self._value}.{block}")
        return self._input(_Input("recurrent", name, source, matrix), f"(…) @ {block}" if matrix else f"(…).{block}")

    def _free(self, wanted: str) -> str:
        """The name, with a number where it is taken: ``value.n``, ``value2.n``."""
        taken, name, k = {entry.name for entry in self._found}, wanted, 2
        head, _, block = wanted.partition(".")
        while name in taken:
            name, k = f"{head}{k}.{block}", k + 1
        return name

    def _width(self, index: int) -> int:
        """Step inputs may be one number a row or a unit: they count as the latter."""
        if index < _FIRST:
            return _UNITS
        found = self._widths.get(index)
        if found is None:
            head, *operands = self.nodes[index - _FIRST]
            if head == "constant":
                found = _NUMBER
            else:
                found = max(map(self._width, operands))
                if head in ("sum", "mean", "max"):
                    found = min(found, _ROW)
            self._widths[index] = found
        return found

    def program(self, returned: Any, code: CodeType | None) -> Spec:
        """The spec's keys of a cell, but for its name and initialisers: of what the function returned.

        Raises
        ------
        TypeError, ValueError
            If that is not the states, all of them and nothing else; or a weight or step input goes unused.
        """
        end = _return_line(code)
        outputs = [self._state(name, value, end) for name, value in self._named(returned, end)]
        wanted, sources = self._needed_with_products(outputs)
        matrices = {self._found[k].matrix for k in wanted if k < _FIRST and self._found[k].matrix}
        for name in sorted(matrices):
            if self.matrices[name] in wanted:
                raise ValueError(f"{self.what}: '{name}' is a matrix, as in h @ {name}, and nothing else ({end})")
        for entry in (self._found[k] for k in sorted(set(range(len(self._found))) - wanted)):
            if entry.kind in ("weight", "step") and entry.name not in matrices:
                kind = "weight" if entry.kind == "weight" else "step input"
                raise ValueError(f"{self.what}: the {kind} '{entry.name}' is not used ({end})")
        inputs = [
            k for kind in _ORDER for k, entry in enumerate(self._found)
            if entry.kind == kind and (k in wanted or kind == "state")
        ]  # fmt: skip
        numbers = {index: k for k, index in enumerate(inputs)}
        nodes: list[list[Any]] = []
        for index in sorted(k for k in wanted if k >= _FIRST):
            head, *operands = self.nodes[index - _FIRST]
            numbers[index] = len(inputs) + len(nodes)
            nodes.append([head, *(operands if head == "constant" else [numbers[v] for v in operands])])
        entries = [self._found[k] for k in inputs]

        def named(kind: str) -> list[str]:
            return [entry.name for entry in entries if entry.kind == kind]

        return {
            "states": self.states,
            "kernel": named("kernel"),
            "recurrent": [
                [
                    entry.name, numbers[sources[k]] if k in sources else entry.source,
                    *([entry.matrix] if entry.matrix else []),
                ]
                for k, entry in zip(inputs, entries, strict=True) if entry.kind == "recurrent"
            ],
            "weights": named("weight"),
            "matrices": [name for name in self.matrices if name in matrices],
            "step_inputs": named("step"),
            "equations": {
                "inputs": [entry.name for entry in entries],
                "nodes": nodes,
                "outputs": [numbers[k] for k in outputs],
            },
        }  # fmt: skip

    def _named(self, returned: Any, end: str) -> list[tuple[str, Any]]:
        wanted = ", ".join(self.states)
        if isinstance(returned, Mapping):
            for name in returned:
                if name not in self.states:
                    hint = did_you_mean(name, self.states)
                    raise ValueError(f"{self.what}: it returns '{name}', which is no state{hint} ({end})")
            if missing := [name for name in self.states if name not in returned]:
                raise ValueError(f"{self.what}: it does not return its state '{missing[0]}' ({end})")
            return [(name, returned[name]) for name in self.states]
        values = list(returned) if isinstance(returned, (tuple, list)) else [returned]
        if len(values) != len(self.states):
            count = f"{len(values)} value" + ("s" if len(values) != 1 else "")
            problem = (
                f"its state '{self.states[len(values)]}' is not returned"
                if len(values) < len(self.states)
                else "one is no state" if len(values) == len(self.states) + 1 else "some are no states"
            )  # fmt: skip
            raise ValueError(
                f"{self.what}: it returns {count} for its states ({wanted}): {problem}. Return the new states in the "
                f"order of the parameters, or a dict by their names ({end})"
            )
        return list(zip(self.states, values, strict=True))

    def _state(self, name: str, value: Any, end: str) -> int:
        if not isinstance(value, Symbol):
            got = "nothing" if value is None else repr(value)
            raise TypeError(f"{self.what}: the new '{name}' must be made of what the step is given, got {got} ({end})")
        index = self._index(value)
        if self._width(index) != _UNITS:
            kind = "one number a row" if self._width(index) == _ROW else "a constant"
            raise ValueError(
                f"{self.what}: the new '{name}' is {kind}, and a state holds one number a unit; add it to something "
                f"that does, such as 0 * {name} + … ({end})"
            )
        return index

    def _needed_with_products(self, outputs: Sequence[int]) -> tuple[set[int], dict[int, int]]:
        """Values that the outputs depend on, and the source of each product of a value among them."""
        wanted: set[int] = set()
        sources: dict[int, int] = {}
        stack = list(outputs)
        while stack:
            index = stack.pop()
            if index in wanted:
                continue
            wanted.add(index)
            if index >= _FIRST:
                head, *operands = self.nodes[index - _FIRST]
                stack += [] if head == "constant" else operands
            elif isinstance(source := self._found[index].source, int):
                sources[index] = source
                stack.append(source)
        return wanted, sources


def _return_line(code: CodeType | None) -> str:
    """``file.py, line 9: return h``: where a function ends."""
    if code is None:
        return "its return"
    line = last = code.co_firstlineno
    for instruction in dis.get_instructions(code):
        if instruction.starts_line:
            # A line number until Python 3.12, then whether one starts.
            line = getattr(instruction, "line_number", None) or instruction.starts_line
        if instruction.opname.startswith("RETURN_") and instruction.opname != "RETURN_GENERATOR":
            last = line
    return at_line(code.co_filename, last)
