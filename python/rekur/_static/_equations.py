"""Equations as C++: a listing of the engine (equations/listing.hpp) as loops over the vectors of a row."""

from typing import Any

from rekur._cpp_text import literal
from rekur._static._writer import Writer, lines

FUNCTIONS = "simd/functions.hpp"
_CALLS = {"absolute": "abs", "minimum": "minimum", "maximum": "maximum"}
_SIGNS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}
_TESTS = {"less": "<", "less_equal": "<=", "equal": "=="}


def write_equations(
    writer: Writer, listing: dict[str, Any], inputs: list[str], outputs: list[str | None], n: int
) -> None:
    """Statements for one row of n features.

    `inputs`, `outputs`: pointers; of a number a row to one number, and an output of None is not wanted. An output may
    stand where an input does: at each vector, inputs are read before outputs are written, and those in the last pass
    alone.
    """
    _Equations(writer, listing, inputs, outputs, n).write()


def write_abreast(
    writer: Writer, listing: dict[str, Any], inputs: list[str], outputs: list[str | None], rows: set[int]
) -> None:
    """Statements for a group of panels (``Panels<N> g``, the first unit i), each value of all of them side by side.

    `inputs`: what a panel p reads; those among `rows` are a number a row each. `outputs`: pointers. Equations of one
    pass.
    """
    _Equations(writer, listing, inputs, outputs, 0).write_abreast(rows)


class _Equations:
    def __init__(self, writer: Writer, listing: dict[str, Any], inputs: list[str], outputs: list[str | None], n: int):
        self.w, self.inputs, self.outputs, self.n = writer, inputs, outputs, n
        self.values: list[dict[str, Any]] = listing["values"]
        self.results: list[int] = listing["outputs"]
        self.by_row: list[bool] = listing["output_by_row"]
        self.passes: int = listing["passes"]
        self.constants = listing["constants"]
        self.prefix = writer.name("v") + "_"
        self.needed = self._needed()
        self._find_reads()

    def _needed(self) -> set[int]:
        found: set[int] = set()
        todo = [v for v, to in zip(self.results, self.outputs, strict=True) if to is not None]
        while todo:
            v = todo.pop()
            if v not in found:
                found.add(v)
                todo += self.values[v]["operands"]
        return found

    def v(self, value: int) -> str:
        return f"{self.prefix}{value}"

    def is_operation(self, v: int) -> bool:
        return bool(self.values[v]["kind"] == "operation")

    def expression(self, v: int, panel: str = "") -> str:
        value = self.values[v]

        def operand(i: int) -> str:
            one = self.values[i]["row"] or self.values[i]["kind"] == "constant"
            return self.v(i) if one else self.v(i) + panel

        op, of = value["op"], [operand(i) for i in value["operands"]]
        if op == "negative":
            return f"-{of[0]}"
        if op == "activate":
            alpha, beta = "0.0f", "0.0f"
            if value["parameters"]:
                alpha, beta = (literal(self.constants[value["number"] + i]) for i in range(2))
            kind = f"ActivationKind::{value['function']}"
            return f"activation<{kind}>(Activation{{{kind}, {alpha}, {beta}}}, {of[0]})"
        if op in _SIGNS:
            return f"{of[0]} {_SIGNS[op]} {of[1]}"
        if op in _TESTS:
            self.w.needs.add(FUNCTIONS)
            return f"truth({of[0]} {_TESTS[op]} {of[1]})"
        if op == "select":
            return f"select({of[0]} != zero(), {of[1]}, {of[2]})"
        if op == "row_count":
            return f"set1({self.n}.0f)"
        if op not in ("absolute", "exp", "sqrt"):
            self.w.needs.add(FUNCTIONS)
        return f"{_CALLS.get(op, op)}({', '.join(of)})"

    def write(self) -> None:
        w = self.w
        w.line("{")
        for v in sorted(self.needed):
            value = self.values[v]
            if value["kind"] == "constant":
                w.line(f"const Vec {self.v(v)} = set1({literal(self.constants[value['number']])});")
            elif value["kind"] == "input" and value["row"]:
                w.line(f"const Vec {self.v(v)} = set1(*{self.inputs[value['number']]});")
        for v in sorted(self.kept):
            w.line(f"alignas(64) float {self.v(v)}_kept[{lines(self.n)}];")
        for step in range(self.passes):
            self._row_values(step)
            self._loop(step)
        self._row_values(self.passes)
        for v, to, row in zip(self.results, self.outputs, self.by_row, strict=True):
            if row and to is not None:
                w.line(f"store({to}, {self.v(v)});")
        w.line("}")

    def write_abreast(self, rows: set[int]) -> None:
        w, every = self.w, "REKUR_UNROLL for (int p = 0; p < N; ++p)"
        for v in sorted(self.needed):
            value = self.values[v]
            if value["kind"] == "constant":
                w.line(f"const Vec {self.v(v)} = set1({literal(self.constants[value['number']])});")
            elif value["kind"] == "input" and value["number"] in rows:
                w.line(f"const Vec {self.v(v)} = set1(*{self.inputs[value['number']]});")
            elif value["row"]:
                w.line(f"const Vec {self.v(v)} = {self.expression(v)};")
            else:
                wide = self.inputs[value["number"]] if value["kind"] == "input" else self.expression(v, "[p]")
                w.line(f"Vec {self.v(v)}[N];")
                w.line(f"{every} {self.v(v)}[p] = {wide};")
        for v, to in zip(self.results, self.outputs, strict=True):
            if to is not None:
                index = "" if self.values[v]["row"] or self.values[v]["kind"] == "constant" else "[p]"
                w.line(f"{every} store({to} + i + p * kWidth, {self.v(v)}{index});")

    def _row_values(self, step: int) -> None:
        for v in sorted(self.needed):
            value = self.values[v]
            if value["row"] and self.is_operation(v) and not value["reduces"] and value["pass"] == step:
                self.w.line(f"const Vec {self.v(v)} = {self.expression(v)};")

    def _find_reads(self) -> None:
        """By pass the values of features that its loop reads or computes; and those that a later pass reads."""
        self.reads: list[set[int]] = [set() for _ in range(self.passes)]
        self.kept: set[int] = set()
        for step in reversed(range(self.passes)):
            todo = [self.values[v]["operands"][0] for v in self.needed if self._reduces_in(v, step)]
            todo += [v for v in self.kept if self.values[v]["pass"] == step]
            if step + 1 == self.passes:
                wanted = zip(self.results, self.outputs, self.by_row, strict=True)
                todo += [v for v, to, row in wanted if to is not None and not row]
            while todo:
                v = todo.pop()
                value = self.values[v]
                if v in self.reads[step] or value["row"] or value["kind"] == "constant":
                    continue
                self.reads[step].add(v)
                if self.is_operation(v):
                    if value["pass"] == step:
                        todo += value["operands"]
                    else:
                        self.kept.add(v)

    def _reduces_in(self, v: int, step: int) -> bool:
        return bool(self.values[v]["reduces"]) and self.values[v]["pass"] == step

    def _loop(self, step: int) -> None:
        w, reads = self.w, self.reads[step]
        sums = [v for v in sorted(self.needed) if self._reduces_in(v, step)]
        for v in sums:
            maximum = self.values[v]["op"] == "row_maximum"
            w.line(f"Vec {self.v(v)}_sum = set1(-REKUR_INFINITY);" if maximum else f"RowSum {self.v(v)}_sum;")
        if reads or sums:
            w.line(f"for (int i = 0; i < {self.n}; i += kWidth) {{")
            for v in sorted(reads):
                value = self.values[v]
                if value["kind"] == "input":
                    w.line(f"const Vec {self.v(v)} = load({self.inputs[value['number']]} + i);")
                elif value["pass"] < step:
                    w.line(f"const Vec {self.v(v)} = load({self.v(v)}_kept + i);")
                else:
                    w.line(f"const Vec {self.v(v)} = {self.expression(v)};")
                    if v in self.kept:
                        w.line(f"store({self.v(v)}_kept + i, {self.v(v)});")
            for v in sums:
                of = self.v(self.values[v]["operands"][0])
                if self.values[v]["op"] == "row_maximum":
                    inside = f"within<{self.n}>({of}, i, -REKUR_INFINITY)"
                    w.line(f"{self.v(v)}_sum = maximum({self.v(v)}_sum, {inside});")
                else:
                    w.line(f"{self.v(v)}_sum.s[i / kWidth % kSixteen] += within<{self.n}>({of}, i, 0.0f);")
            if step + 1 == self.passes:
                for v, to, row in zip(self.results, self.outputs, self.by_row, strict=True):
                    if to is not None and not row:
                        w.line(f"store({to} + i, {self.v(v)});")
            w.line("}")
        for v in sums:
            op, total = self.values[v]["op"], f"{self.v(v)}_sum"
            if op == "row_maximum":
                w.needs.add(FUNCTIONS)
                w.line(f"const Vec {self.v(v)} = set1(largest_lane({total}));")
            elif op == "row_mean":
                w.line(f"const Vec {self.v(v)} = set1({total}.total() / {self.n}.0f);")
            else:
                w.line(f"const Vec {self.v(v)} = set1({total}.total());")
