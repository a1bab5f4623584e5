"""The time axes of a model's tensors, as the engine has them, under the names that they have in a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rekur import _core
from rekur._spec import dumps, nodes
from rekur.onnx._errors import ExportError

Ref = tuple[str, int]  # (layer, output)
BATCH = "batch"  # stands for the number of rows


def parse_ref(text: str) -> Ref:
    """``"lstm"`` → ``("lstm", 0)``, ``"lstm:2"`` → ``("lstm", 2)``."""
    name, _, index = text.partition(":")
    return name, int(index) if index else 0


@dataclass(frozen=True)
class Change:
    """What a layer makes of an axis: L steps become ⌊(L · up + add − span) / stride⌋ + 1, lengths alike."""

    up: int
    add: int
    span: int
    stride: int

    def after(self, steps: int) -> int:
        return max((steps * self.up + self.add - self.span) // self.stride + 1, 0)

    def least(self, steps: int) -> int:
        """The fewest steps that become so many."""
        return -(-((steps - 1) * self.stride + self.span - self.add) // self.up)

    def most(self, steps: int) -> int:
        """The most steps that become no more than so many."""
        return (steps * self.stride - 1 + self.span - self.add) // self.up


@dataclass(frozen=True)
class TimeAxis:
    """A time axis; one of the model's inputs is shared by every input that is joined with it somewhere in the graph."""

    inputs: tuple[str, ...]  # none of a layer's own axis and of a changed one
    size: int | str  # fixed, or the symbol that stands for it
    lengths: str | None = None  # the value (B,) that holds the rows' lengths; where there is a mask it says these, too
    least: int = 0  # fewer steps than this the model refuses
    most: int | None = None  # and more than this
    mask: str | None = None  # the value (B, T) that says which steps there are
    change: Change | None = None  # what this axis is of the steps of `before`
    before: TimeAxis | None = None
    joined: tuple[TimeAxis, ...] = ()  # `mask` is that of both of these

    @property
    def marked(self) -> bool:
        """Whether the file knows which steps are there."""
        return bool(self.mask or self.lengths)


class AxisTable:
    """The engine's table of a spec's time axes, its shapes, and which of the inputs' axes are one."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        known = {key: value for key, value in spec.items() if key != "twins"}
        try:
            tensors, common, axes = _core.time_axes(dumps(known))
        except ValueError as error:
            raise ExportError(str(error)) from None
        self.shapes = {parse_ref(text): shape for text, (shape, _) in tensors.items()}
        self.of = {parse_ref(text): axis for text, (_, axis) in tensors.items()}
        self.common = common
        self.axes = axes
        self.inputs: list[str] = [parse_ref(text)[0] for text in spec["inputs"]]
        self.reads = {layer["name"]: [parse_ref(text) for text in layer.get("inputs", ())] for layer in nodes(spec)}
        self._one = list(range(len(axes)))
        for kind, source, other, _, _ in axes:
            if kind == "joined":
                self.unite(source, other)

    def unite(self, a: int, b: int) -> None:
        """Axes of inputs that are joined are one in the file."""
        a, b = self.root(a), self.root(b)
        if a != b and self.axes[a][0] == self.axes[b][0] == "input":
            self._one[max(a, b)] = min(a, b)

    def root(self, axis: int) -> int:
        """The axis that has the same steps, masks apart."""
        while self.axes[axis][0] in ("masked", "joined") and self.axes[axis][1] >= 0:
            axis = self.axes[axis][1]
        while self._one[axis] != axis:
            axis = self._one[axis]
        return axis

    def origins(self, axis: int) -> set[int]:
        """The inputs' axes whose lengths an axis has, or what follows from them."""
        axis = self.root(axis)
        kind, source = self.axes[axis][:2]
        if kind == "masked":  # of an axis of its own: the steps of several, behind one another
            behind = (self.of[ref] for ref in self.reads[parse_ref(self.axes[axis][3])[0]])
            return {origin for other in behind for origin in self.origins(other)}
        return {axis} if kind == "input" else self.origins(source) if kind == "changed" else set()

    def members(self, root: int) -> tuple[str, ...]:
        timed = enumerate(self.inputs)
        return tuple(name for k, name in timed if self.of[name, 0] >= 0 and self.root(k) == root)

    def roots(self) -> list[int]:
        """Those of the inputs, in their order."""
        return list(dict.fromkeys(self.root(k) for k, name in enumerate(self.inputs) if self.of[name, 0] >= 0))

    def change(self, axis: int) -> Change:
        return Change(*self.axes[axis][4])

    def bounds(self, steps: Iterable[tuple[int, int]], most: Iterable[tuple[int, int]]) -> dict[int, list[int | None]]:
        """By input's axis [fewest, most] steps; given: [(axis, steps that a layer needs)], [(axis, steps it takes)]."""
        result: dict[int, list[int | None]] = {root: [0, None] for root in self.roots()}

        def follow(axis: int, number: int, place: int) -> None:
            axis = self.root(axis)
            kind, source = self.axes[axis][:2]
            if kind == "changed":
                change = self.change(axis)
                follow(source, change.least(number) if place == 0 else change.most(number), place)
            elif kind == "input":
                found = result[axis][place]
                result[axis][place] = (
                    number if found is None else max(found, number) if place == 0 else min(found, number)
                )

        for axis, number in steps:
            follow(axis, number, 0)
        for axis, (kind, *_) in enumerate(self.axes):
            if kind == "changed":
                follow(axis, 1, 0)
        for axis, number in most:
            follow(axis, number, 1)
        return result

    def named(self, given: Mapping[int, TimeAxis], free: Callable[[str], str]) -> list[TimeAxis | None]:
        """Every axis of the table; given: those of the inputs' roots."""
        made: list[TimeAxis | None] = []
        for number, (kind, source, other, tensor, _) in enumerate(self.axes):
            if kind == "input":
                made.append(given.get(self.root(number)))
                continue
            name = parse_ref(tensor)[0]
            size = self.shapes[parse_ref(tensor)][1] if tensor else None
            before = made[source] if source >= 0 else None
            if kind == "own" or source < 0:
                behind = [made[self.of[ref]] for ref in self.reads[name]] if kind == "masked" else []
                marked = any(axis is not None and axis.marked for axis in behind)
                mask = f"{name}/mask" if marked else None
                made.append(TimeAxis((), free(f"{name}_time") if size is None else size, mask=mask))
                continue
            assert before is not None
            if kind == "changed":
                lengths = f"{name}/lengths" if before.lengths and not before.mask else None
                whole = free(f"{name}_time") if size is None else size
                made.append(TimeAxis((), whole, lengths, change=self.change(number), before=before))
            elif kind == "masked":
                made.append(replace(before, mask=f"{name}/mask", before=before))
            else:
                with_it = made[other]
                assert with_it is not None
                made.append(_joined(before, with_it))
        return made


def _joined(a: TimeAxis, b: TimeAxis) -> TimeAxis:
    """Steps that are there in both."""
    if a.mask and b.mask and a.mask != b.mask:
        return replace(a, mask=f"{a.mask}/and/{b.mask}", joined=(a, b))
    return a if a.mask or not b.mask else replace(a, mask=b.mask)


def rows_of(layers: Sequence[Mapping[str, Any]], batch: str) -> dict[str, str]:
    """By layer what stands for the number of its outputs' rows: the batch, or where steps are rows as many."""
    rows: dict[str, str] = {}
    for layer in layers:
        name, kind = layer["name"], layer["type"]
        if kind == "Input":
            rows[name] = batch
        elif kind == "FoldTime":
            rows[name] = f"{name}_rows"
        else:
            rows[name] = rows[parse_ref(layer["inputs"][1 if kind == "UnfoldTime" else 0])[0]]
    return rows
