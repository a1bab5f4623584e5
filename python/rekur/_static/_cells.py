"""A recurrent layer's step: its products, and its equations phase by phase."""

from typing import Any

from rekur import _core
from rekur._spec import dumps
from rekur._static._equations import write_abreast, write_equations
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

    def matrix(self, what: str, columns: int, int8: bool) -> str:
        values = self.cell[what]
        if int8:
            return self.w.int8_matrix(self.layer.name, what, values.reshape(-1, columns))
        return self.w.matrix(self.layer.name, what, values)

    def row(self, K: int, a: str, weights: str) -> str:
        """What a product with these weights reads: of eight bits a rounded row, made once of what stays as it is."""
        if not weights.startswith("Int8Matrix"):
            return a
        if (K, a) not in self.rows:
            self.rows[K, a] = self.w.int8_row(K, a)
        return self.rows[K, a]

    def write(self) -> None:
        w, cell, H = self.w, self.cell, self.H
        self.rows: dict[tuple[int, str], str] = {}
        recurrents = [p["int8"] for p in cell["products"] if not p["projects"]]
        assert len(set(recurrents)) <= 1, "products that read one kernel"
        kernel = self.matrix("kernel", cell["kernel_blocks"] * H, cell["int8_input"])
        recurrent = self.matrix("recurrent_kernel", cell["recurrent_blocks"] * H, any(recurrents))
        projects = any(p["int8"] for p in cell["products"] if p["projects"])
        projection = self.matrix("projection", self.P, projects)
        bias = cell["bias"]
        own = cell["kernel_blocks"] * H
        bias_x = w.constant(self.layer.name, "bias", None if bias is None else bias[:own])
        with_recurrent = bias is not None and cell["recurrent_bias"]
        bias_h = w.constant(self.layer.name, "recurrent_bias", bias[own:] if with_recurrent else None)
        self.unit_weights = w.constant(self.layer.name, "unit_weights", cell["unit_weights"])
        self.states = [w.state(self.layer.name, name, size, start) for name, size, start in self.layer.states]
        self.weights = {"kernel": kernel, "bias": bias_x, "recurrent": recurrent, "recurrent_bias": bias_h}
        self.slots: dict[int, str] = {}
        if all(self.goes_by_panels(phase) for phase in range(len(cell["parts"]))):
            for phase, part in enumerate(cell["parts"]):
                self.panels(phase, part)
        else:
            self.by_rows()
        if cell["phases"] > len(cell["parts"]):
            source = self.slot(next(p["slot"] for p in cell["products"] if p["projects"]))
            self.product("step_product", H, self.P, self.P, [0], source, projection, "nullptr", self.states[0])
        self.outputs()

    def blocks(self) -> list[tuple[int, int]]:
        """By block of the recurrent products its product and place in that."""
        products = enumerate(self.cell["products"])
        return [(k, i) for k, p in products if not p["projects"] for i in range(p["count"])]

    def goes_by_panels(self, phase: int) -> bool:
        """Whether a phase's equations look at units alone, and read no product of an earlier phase."""
        part, blocks = self.cell["parts"][phase], self.blocks()
        if part["code"]["passes"] != 1 or any(part["code"]["output_by_row"]):
            return False
        read = [blocks[index][0] for place, index in part["inputs"] if place == "product"]
        return all(self.cell["products"][k]["phase"] == phase for k in read)

    def panels(self, phase: int, part: dict[str, Any]) -> None:
        """Products of some panels of units in registers, and the equations on them."""
        w, cell, H, blocks = self.w, self.cell, self.H, self.blocks()
        places: dict[tuple[str, int], str] = {}
        sums: list[str] = []  # statements
        count = 0

        def take(
            function: str, name: str, K: int, row: int, columns: list[int], a: str, weights: str, bias: str
        ) -> None:
            nonlocal count
            count += len(columns)
            at = ", ".join(str(c * H) for c in columns)
            sums.append(f"Vec {name}[{len(columns)} * N];")
            sums.append(f"{function}<{K}, {row}, {at}>(g, {self.row(K, a, weights)}, {weights}, {bias}, i, {name});")

        x_blocks = [index for place, index in part["inputs"] if place == "input"]
        if x_blocks:
            name = w.name("x")
            columns = [cell["kernel_block"][cell["x_first"] + index] for index in x_blocks]
            row = cell["kernel_blocks"] * H
            take(
                "panel_sums",
                name,
                self.layer.features,
                row,
                columns,
                self.layer.inputs[0],
                self.weights["kernel"],
                self.weights["bias"],
            )
            places |= {("input", index): f"{name}[{k} * N + p]" for k, index in enumerate(x_blocks)}
        multiplied: set[int] = set()
        for k, p in enumerate(cell["products"]):
            read = [
                (b, i) for b, (product, i) in enumerate(blocks) if product == k and ("product", b) in part["inputs"]
            ]
            if not read:
                continue
            name = w.name("h")
            columns = [cell["recurrent_block"][p["first"] + i] for _, i in read]
            source = self.states[p["state"]] if p["state"] >= 0 else self.slot(p["slot"])
            multiplied |= {p["state"]} if p["state"] >= 0 and not p["int8"] else set()  # a rounded row is a copy
            rows, row = self.P if p["state"] == 0 else H, cell["recurrent_blocks"] * H
            take(
                "step_sums", name, rows, row, columns, source, self.weights["recurrent"], self.weights["recurrent_bias"]
            )
            places |= {("product", b): f"{name}[{n} * N + p]" for n, (b, _) in enumerate(read)}
        groups = w.name("Groups")
        w.line(f"using {groups} = PanelGroups<{H}, {max(count, 1)}>;")
        # A state that products read stays as it is until the last group has read it.
        outputs: list[str | None] = []
        kept: list[tuple[str, str]] = []
        for place, index in part["outputs"]:
            to = None if place == "y" else self.place((place, index))
            if place == "after" and index in multiplied:
                own = w.array(H)
                kept.append((self.states[index], own))
                to = f"({groups}::one ? {self.states[index]} : {own})"
            outputs.append(to)
        given = len(self.layer.inputs) - 1
        rows_of = {
            n for n, (place, index) in enumerate(part["inputs"])
            if place == "step" and H > 1 and self.layer.input_shapes[min(1 + index, given)][-1] == 1 and index < given
        }  # fmt: skip
        inputs = [
            places.get((place, index)) or (
                self.place((place, index)) if n in rows_of else f"load({self.place((place, index))} + i + p * kWidth)"
            )
            for n, (place, index) in enumerate(part["inputs"])
        ]  # fmt: skip
        w.line(f"each_group<{groups}>([&](auto g, int i) REKUR_INLINED {{")
        w.line("constexpr int N = decltype(g)::count;")
        for line in sums:
            w.line(line)
        write_abreast(w, part["code"], inputs, outputs, rows_of)
        w.line("});")
        for state, own in kept:
            w.line(f"if constexpr (!{groups}::one) map<{H}>({own}, {state}, [](Vec v) REKUR_INLINED {{ return v; }});")

    def by_rows(self) -> None:
        """Products, then equations, a phase after the other, over whole rows."""
        cell, H, w = self.cell, self.H, self.w
        own, count = cell["kernel_blocks"] * H, len(self.blocks())
        self.input = w.array(cell["x_count"] * self.block) if cell["x_count"] else ""
        self.products = w.array(count * self.block) if count else ""
        columns = [cell["kernel_block"][cell["x_first"] + i] for i in range(cell["x_count"])]
        if columns:
            x, kernel, bias = self.layer.inputs[0], self.weights["kernel"], self.weights["bias"]
            self.product("product", self.layer.features, own, H, columns, x, kernel, bias, self.input)
        for phase, part in enumerate(cell["parts"]):
            at = 0
            for p in cell["products"]:
                if p["projects"]:
                    continue
                if p["phase"] == phase:
                    source = self.states[p["state"]] if p["state"] >= 0 else self.slot(p["slot"])
                    rows, row = self.P if p["state"] == 0 else H, cell["recurrent_blocks"] * H
                    columns = [cell["recurrent_block"][p["first"] + i] for i in range(p["count"])]
                    weights, bias = self.weights["recurrent"], self.weights["recurrent_bias"]
                    to = f"{self.products} + {at}"
                    self.product("step_product", rows, row, H, columns, source, weights, bias, to)
                at += p["count"] * self.block
            self.equations(part)

    def product(
        self, function: str, K: int, row: int, N: int, columns: list[int], a: str, weights: str, bias: str, to: str
    ) -> None:
        places = ", ".join(str(c * N) for c in columns)
        self.w.line(f"{function}<{K}, {row}, {N}, {places}>({self.row(K, a, weights)}, {weights}, {bias}, {to});")

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
