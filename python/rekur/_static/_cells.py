"""A recurrent layer's step: its products, and its equations phase by phase."""

from typing import Any

from rekur import _core
from rekur._spec import dumps
from rekur._static._equations import write_equations
from rekur._static._writer import Layer, Writer, lines

_AROUND = ("name", "inputs", "regularizers", "constraints")  # what a layer has beside its step


def write_cell(w: Writer, layer: Layer) -> None:
    spec = dumps({key: value for key, value in layer.spec.items() if key not in _AROUND})
    steps = [shape[-1] for shape in layer.input_shapes[1:]]
    cell: dict[str, Any] = _core.written_cell(spec, layer.features, steps, layer.flat)
    _Cell(w, layer, cell).write()


class _Cell:
    def __init__(self, w: Writer, layer: Layer, cell: dict[str, Any]) -> None:
        self.w, self.layer, self.cell = w, layer, cell
        self.H: int = cell["units"]
        self.P: int = cell["width"]
        self.block = lines(self.H)

    def constant(self, what: str) -> str:
        return self.w.constant(self.layer.name, what, self.cell[what])

    def write(self) -> None:
        w, cell, H = self.w, self.cell, self.H
        kernel, recurrent, projection = (self.constant(k) for k in ("kernel", "recurrent_kernel", "projection"))
        bias = cell["bias"]
        own = cell["kernel_blocks"] * H
        bias_x = w.constant(self.layer.name, "bias", None if bias is None else bias[:own])
        with_recurrent = bias is not None and cell["recurrent_bias"]
        bias_h = w.constant(self.layer.name, "recurrent_bias", bias[own:] if with_recurrent else None)
        self.unit_weights = self.constant("unit_weights")
        self.states = [w.state(self.layer.name, name, size, start) for name, size, start in self.layer.states]
        blocks = [p for p in cell["products"] if not p["projects"]]
        count = sum(p["count"] for p in blocks)
        self.input = w.array(cell["x_count"] * self.block) if cell["x_count"] else ""
        self.products = w.array(count * self.block) if count else ""
        self.slots: dict[int, str] = {}
        columns = [cell["kernel_block"][cell["x_first"] + i] for i in range(cell["x_count"])]
        if columns:
            self.product(self.layer.features, own, H, columns, self.layer.inputs[0], kernel, bias_x, self.input)
        for phase in range(cell["phases"]):
            at = 0
            for p in cell["products"]:
                source = self.states[p["state"]] if p["state"] >= 0 else self.slot(p["slot"])
                if p["projects"]:
                    if p["phase"] == phase:
                        self.product(H, self.P, self.P, [0], source, projection, "nullptr", self.states[0])
                    continue
                if p["phase"] == phase:
                    rows = self.P if p["state"] == 0 else H
                    columns = [cell["recurrent_block"][p["first"] + i] for i in range(p["count"])]
                    row = cell["recurrent_blocks"] * H
                    to = f"{self.products} + {at}"
                    self.product(rows, row, H, columns, source, recurrent, bias_h, to)
                at += p["count"] * self.block
            if phase < len(cell["parts"]):
                self.equations(cell["parts"][phase])
        self.outputs()

    def product(self, K: int, row: int, N: int, columns: list[int], a: str, weights: str, bias: str, to: str) -> None:
        places = ", ".join(str(c * N) for c in columns)
        self.w.line(f"product<{K}, {row}, {N}, {places}>({a}, {weights}, {bias}, {to});")

    def slot(self, number: int) -> str:
        if number not in self.slots:
            self.slots[number] = self.w.array(self.H)
        return self.slots[number]

    def place(self, stand: tuple[str, int]) -> str:
        place, index = stand
        if place == "input":
            return f"({self.input} + {index * self.block})"
        if place == "product":
            return f"({self.products} + {index * self.block})"
        if place in ("before", "after"):
            return self.states[index]
        if place == "weight":
            return f"({self.unit_weights} + {index * self.H})"
        if place == "slot":
            return self.slot(index)
        if place == "step":
            given = len(self.layer.inputs) - 1
            return self.layer.inputs[1 + index] if index < given else self.layer.inputs[0]
        raise AssertionError(place)

    def equations(self, part: dict[str, Any]) -> None:
        inputs = [self.place(stand) for stand in part["inputs"]]
        outputs = [None if stand[0] == "y" else self.place(stand) for stand in part["outputs"]]
        write_equations(self.w, part["code"], inputs, outputs, self.H)

    def outputs(self) -> None:
        w, layer = self.w, self.layer
        if self.cell["residual"]:
            y = w.output(layer)
            add = "[](Vec a, Vec b) REKUR_INLINED { return a + b; }"
            w.line(f"map<{self.P}>({self.states[0]}, {layer.inputs[0]}, {y}, {add});")
        else:
            w.arrays[layer.outputs[0]] = self.states[0]
        for k, state in enumerate(self.states):
            if self.cell["return_state"]:
                w.arrays[layer.outputs[1 + k]] = state
