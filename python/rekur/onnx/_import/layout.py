"""Transpose, Reshape, Squeeze, Unsqueeze, Flatten, Expand of model tensors: only the axes change, no layer is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import NDArray

from rekur.onnx._import.call import Call, normal_axes, normal_axis
from rekur.onnx._import.known import RULES as KNOWN
from rekur.onnx._import.known import padded
from rekur.onnx._import.onestep import one_step
from rekur.onnx._import.values import (
    BATCH,
    FEATURES,
    MAX_PARTS,
    ONE,
    PARTS,
    TIME,
    Axis,
    Dim,
    Extent,
    Filled,
    Known,
    Refused,
    Size,
    Tensor,
    Value,
    View,
    divide,
    fixed,
    product,
    same,
)
from rekur.onnx._import.windows import crosses, permuted, repeated


def name(axis: Axis) -> str:
    """For messages: ``time``, ``features``."""
    if isinstance(axis, Dim):
        return axis.kind or axis.label
    return "merged" if isinstance(axis, tuple) else axis


def last_features(x: View, call: Call | None = None) -> View:
    """x with its features on the last axis, as Gemm, Softmax and the like read it; given the call, by a Permute too."""
    if x.axes and x.axes[-1] == FEATURES:
        return x
    if FEATURES not in x.axes and x.features == 1 and x.axes and x.axes[-1] == ONE:
        return x.with_axes([*x.axes[:-1], FEATURES])
    last = x.axes[-1] if x.axes else None
    if call is not None and isinstance(last, Dim) and last.size is not None and len(x.axes) == 3:
        return permuted(call, x)
    raise Refused(f"works on the last axis of {x.describe()}, which does not hold the features")


def align(views: Sequence[View], call: Call | None = None) -> list[View]:
    """All are read elementwise, or stand side by side: their axes are the same ones."""
    if len({len(view.dims) for view in views}) > 1:
        try:
            views = [_as_one_step(view) for view in views]
        except Refused:
            views = [_as_rows(call, view) for view in views] if call is not None else views
            if len({len(view.dims) for view in views}) > 1:
                raise
    for view in views[1:]:
        _join(views[0], view)
    return list(views)


def stays_within(x: View, value: Known | Filled) -> None:
    """x is as wide as the constant on every axis: nothing of x is repeated to meet it."""
    given = value.array.shape if isinstance(value, Known) else value.shape
    extents = x.shape[max(len(x.shape) - len(given), 0) :]
    if len(given) > len(x.shape) or not all(
        same(extent, 1) or same(extent, own) for extent, own in zip(given, extents, strict=True)
    ):
        shown = ", ".join(map(str, given))
        raise Refused(f"a constant of shape ({shown}) would repeat {x.describe()}: nothing is broadcast")


def _as_one_step(view: View) -> View:
    """Beside a sequence of one step whose time axis the file leaves out."""
    hidden = [dim for dim in view.dims if dim.size == 1]
    if len(view.dims) == 2 and not hidden:
        raise Refused("one tensor has a time axis and another has none: nothing is broadcast over time")
    return View(tuple(tuple(map(one_step, part)) for part in view.parts), view.axes)


def _as_rows(call: Call, view: View) -> View:
    """A sequence of one step whose time axis the file leaves out, beside a row that no layer makes a sequence of."""
    hidden = [dim for dim in view.dims if dim.size == 1 and dim not in view.axes]
    if len(view.dims) != 2 or len(hidden) != 1:
        return view
    step = hidden[0]
    step.mark(TIME)
    rest = tuple(dim for dim in view.dims if dim.root is not step.root)
    parts = tuple(
        tuple(call.graph.add("Step", call.at, [piece], piece.features, {"index": 0}, dims=rest) for piece in part)
        for part in view.parts
    )
    return View(parts, view.axes, view.outer)


def _join(one: View, two: View) -> None:
    parts = {len(view.parts) for view in (one, two) if PARTS in view.axes}
    if len(one.axes) != len(two.axes) or len(parts) > 1:
        raise Refused(f"shapes {one.describe()} and {two.describe()}: nothing is broadcast")
    for a, b in zip(one.axes, two.axes, strict=True):
        if isinstance(a, Dim) and isinstance(b, Dim):
            a.join(b)
        elif isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b):
            for p, q in zip(a, b, strict=True):
                if isinstance(p, Dim) and isinstance(q, Dim):
                    p.join(q)
                elif p != q:
                    raise Refused(f"shapes {one.describe()} and {two.describe()}: nothing is broadcast")
        elif a != b:
            raise Refused(f"shapes {one.describe()} and {two.describe()}: nothing is broadcast")
    left, right = ([dim for dim in v.dims if dim.root not in roots(w)] for v, w in ((one, two), (two, one)))
    for p, q in zip(left, right, strict=True):  # axes of size 1 that the file leaves out
        p.join(q)


def roots(x: View) -> set[Dim]:
    return {dim.root for dim in x.dims}


def _known_or(rule: Callable[[Call, Any], Value]) -> Callable[[Call], Value]:
    """The rule for model tensors and filled constants; known arrays have their own."""

    def either(call: Call) -> Value:
        if isinstance(call.inputs[0], (View, Filled)):
            return rule(call, call.inputs[0])
        return KNOWN[call.op](call)

    return either


def _rebuild(x: View | Filled, order: Sequence[int | None]) -> View | Filled:
    """Axes in another order; None: a new one of size 1."""
    if isinstance(x, View):
        return x.with_axes([ONE if k is None else x.axes[k] for k in order])
    array = x.array.transpose([k for k in order if k is not None] + [k for k in range(x.array.ndim) if k not in order])
    shape = [1 if k is None else x.array.shape[k] for k in order]
    return Filled(array.reshape(shape), tuple(1 if k is None else x.shape[k] for k in order))


@_known_or
def transpose(call: Call, x: View | Filled) -> Value:
    rank = len(x.shape)
    perm = call.attribute("perm")
    perm = list(range(rank))[::-1] if perm is None else perm
    if sorted(perm) != list(range(rank)):
        raise Refused(f"perm {perm} for {rank} axes")
    return _rebuild(x, perm)


@_known_or
def squeeze(call: Call, x: View | Filled) -> Value:
    shape = x.shape
    axes = call.integers("axes", 1)
    ones = [k for k, v in enumerate(shape) if same(v, 1)]
    drop = ones if axes is None else normal_axes(axes, len(shape))
    for k in drop:
        if k not in ones:
            raise Refused(f"drops axis {k} of ({', '.join(map(str, shape))}), which is not known to be of size 1")
    return _rebuild(x, [k for k in range(len(shape)) if k not in drop])


@_known_or
def unsqueeze(call: Call, x: View | Filled) -> Value:
    given = call.integers("axes", 1)
    if given is None:
        raise Refused("names no axes")
    rank = len(x.shape) + len(given)
    axes = normal_axes(given, rank)
    old = iter(range(len(x.shape)))
    return _rebuild(x, [None if k in axes else next(old) for k in range(rank)])


@_known_or
def expand(call: Call, x: View | Filled) -> Value:
    if isinstance(x, Filled):
        return KNOWN["Expand"](call)
    target = call.sizes(1, "the shape")
    shape, target = padded(list(x.shape), len(target)), padded(target, len(x.shape))
    counts = [b if same(a, 1) and isinstance(b, int) and b > 1 else 1 for a, b in zip(shape, target, strict=True)]
    kept = [(a, b) for a, b, count in zip(shape, target, counts, strict=True) if count == 1]
    repeats = len(kept) < len(counts) and len(shape) == len(x.axes)
    if not repeats and (made := _beside(call, x, shape, target)) is not None:
        return made
    if not all(same(b, 1) or same(a, b) for a, b in (kept if repeats else zip(shape, target, strict=True))):
        raise Refused(f"broadcasts a tensor of shape {x.describe()} to ({', '.join(map(str, target))})")
    if repeats:
        return repeated(call, x, counts)
    return _rebuild(x, [None] * (len(shape) - len(x.axes)) + list(range(len(x.axes))))


def _beside(call: Call, x: View, shape: Sequence[Extent], target: Sequence[Extent]) -> View | None:
    """A row at every step of a sequence, whose number of steps only the data will tell."""
    stretched = [k for k, (a, b) in enumerate(zip(shape, target, strict=True)) if same(a, 1) and not same(b, 1)]
    extent = target[stretched[0]] if len(stretched) == 1 else None
    axes = [*[ONE] * (len(shape) - len(x.axes)), *x.axes]
    if not isinstance(extent, Size) or extent.factor != 1 or len(extent.dims) != 1 or axes[stretched[0]] != ONE:
        return None
    others = [(a, b) for k, (a, b) in enumerate(zip(shape, target, strict=True)) if k not in stretched]
    if not all(same(b, 1) or same(a, b) for a, b in others) or len(x.dims) != 1 or len(x.parts) != 1 or x.ids:
        return None
    time = extent.dims[0]
    like = next(
        (
            layer.output
            for layer in call.graph.layers
            if len(layer.output.dims) == 2
            and layer.output.features
            and time.root in {d.root for d in layer.output.dims}
        ),
        None,
    )
    if like is None or time.kind == BATCH:
        return None
    time.mark(TIME)
    next(dim for dim in like.dims if dim.root is not time.root).join(x.dims[0])
    x.dims[0].mark(BATCH)
    one = call.graph.add("Slice", call.at, [like], 1, {"start": 0, "stop": 1}) if like.features > 1 else like
    whole = call.whole(x.parts[0])
    made = call.graph.add("Broadcast", call.at, [whole, one], whole.features, dims=(x.dims[0], time))
    return View(((made,),), tuple(time if k == stretched[0] else axis for k, axis in enumerate(axes)))


@_known_or
def flatten(call: Call, x: View | Filled) -> Value:
    rank = len(x.shape)
    axis = call.attribute("axis", 1)
    axis = axis if axis == rank else normal_axis(axis, rank)
    if axis == 1 and isinstance(x, View) and len(x.axes) == 3:
        made = _other_shape(call, x, [x.shape[0], product(x.shape[1:])])
        if made is not None:
            return made
    return _reshape(call, x, [product(x.shape[:axis]), product(x.shape[axis:])])


@_known_or
def reshape(call: Call, x: View | Filled) -> Value:
    target = call.sizes(1, "the shape")
    if not call.flag("allowzero"):
        if any(isinstance(v, int) and v == 0 and k >= len(x.shape) for k, v in enumerate(target)):
            raise Refused("the shape copies an axis that is not there")
        target = [x.shape[k] if isinstance(v, int) and v == 0 else v for k, v in enumerate(target)]
    try:
        return _to_shape(call, x, list(target))
    except Refused:
        if not isinstance(x, View):
            raise
        if (made := _other_shape(call, x, list(target))) is not None:
            return made
        if not _fix_leading(x, target):
            raise
    try:
        return _to_shape(call, x, list(target))
    except Refused:
        if (made := _other_shape(call, x, list(target))) is None:
            raise
        return made


def _other_shape(call: Call, x: View, target: list[Extent]) -> View | None:
    """Steps and features of every row as others: a Flatten or a Reshape; None where that is not what it does."""
    batch = x.axes[0] if x.axes else None
    rest = [axis for axis in x.axes[1:] if axis != ONE]
    if not isinstance(batch, Dim) or x.ids or len(x.parts) != 1 or len(target) not in (2, 3):
        return None
    if batch.kind == TIME or any(isinstance(axis, Dim) and axis.kind == BATCH for axis in rest):
        return None
    if not all(axis == FEATURES or isinstance(axis, Dim) for axis in rest) or len(x.dims) != len(rest):
        return None
    shape = [x.extent(axis) for axis in rest]
    free = [k for k, size in enumerate(target) if isinstance(size, int) and size == -1]
    try:
        for k in free:
            target[k] = divide(product(x.shape), product(v for i, v in enumerate(target) if i != k))
        if not same(target[0], x.extent(batch)) or not same(product(shape), product(target[1:])):
            return None
        features = fixed(target[-1], "features of")
    except Refused:
        return None
    if len(rest) == 2 and rest[1] != FEATURES:
        x = permuted(call, x.with_axes([batch, *rest]))
    batch.mark(BATCH)
    for axis in rest:
        if isinstance(axis, Dim):
            crosses(call, axis)
    whole = call.whole(x.parts[0])
    if len(target) == 2:
        made = call.graph.add("Flatten", call.at, [whole], features, dims=(batch,))
        return View(((made,),), (batch, FEATURES))
    count, _ = target[1], target[2]
    time = Dim(f"steps of {call.at[0]}", count if isinstance(count, int) else None)
    time.mark(TIME)
    options = {"target_shape": [count if isinstance(count, int) else -1, features]}
    made = call.graph.add("Reshape", call.at, [whole], features, options, dims=(batch, time))
    return View(((made,),), (batch, time, FEATURES))


def _fix_leading(x: View, target: Sequence[Extent]) -> bool:
    """Sizes that the exporter built in, axis by axis from the first: at these the file says what it means."""
    fixed = False
    for axis, extent in zip(x.axes, target, strict=False):
        if isinstance(axis, Dim) and axis.size is None and isinstance(extent, int) and extent > 1:
            if axis.root.label.startswith("steps of "):  # made by a layer: it would not hold the inputs to it
                break
            axis.fix(extent)
            fixed = True
        elif extent != -1 and not same(x.extent(axis), extent):
            break
    return fixed


def _to_shape(call: Call, x: View | Filled, target: list[Extent]) -> Value:
    free = [k for k, v in enumerate(target) if isinstance(v, int) and v < 0]
    if len(free) > 1 or any(target[k] != -1 for k in free):
        raise Refused("the shape has more than one -1, or another negative size")
    for k in free:
        target[k] = divide(product(x.shape), product(v for i, v in enumerate(target) if i != k))
    return _reshape(call, x, target)


def _reshape(call: Call, x: View | Filled, target: list[Extent]) -> Value:
    if isinstance(x, Filled):
        if not x.uniform or not same(product(x.shape), product(target)):
            raise Refused(f"reshapes a constant of ({', '.join(map(str, x.shape))}) to ({', '.join(map(str, target))})")
        return Filled(x.array.reshape((1,) * len(target)), tuple(target))
    return _Reshape(call, x, target).run()


class _Reshape:
    """Walks the old and the new axes side by side; both are row-major, so equal products mean equal elements."""

    def __init__(self, call: Call, x: View, target: list[Extent]) -> None:
        self.call, self.x, self.target = call, x, target
        self.parts = x.parts
        self.axes: list[Axis] = []

    def run(self) -> View:
        old, new = self._apart(), list(self.target)
        while old or new:
            if self._heads(old, new):
                old, new = old[2:], new[2:]
            elif new and same(new[0], 1):
                # an axis of size 1 that has a meaning keeps it
                self.axes.append(old.pop(0) if old and same(self.x.extent(old[0]), 1) else ONE)
                new.pop(0)
            elif old and same(self.x.extent(old[0]), 1):
                if old.pop(0) == FEATURES and self.axes[-1:] == [PARTS]:
                    self._join_parts()  # one feature of each part: they are features now
            elif not old or not new:
                raise self._refusal()
            elif same(self.x.extent(old[0]), new[0]):
                self.axes.append(old.pop(0))
                new.pop(0)
            elif count := self._reach(new[0], [self.x.extent(axis) for axis in old]):
                self._merge(old[:count])
                old, new = old[count:], new[1:]
            elif count := self._reach(self.x.extent(old[0]), new):
                self._split(old[0], new[:count])
                old, new = old[1:], new[count:]
            else:
                raise self._refusal()
        if FEATURES not in self.axes and self.axes[-1:] == [ONE] and FEATURES in self.x.axes:
            self.axes[-1] = FEATURES  # of size 1
        return View(self.parts, tuple(self.axes))

    def _apart(self) -> list[Axis]:
        """The old axes; rows and parts that are one axis are two again."""
        apart = [axis if isinstance(axis, tuple) and PARTS in axis else (axis,) for axis in self.x.axes]
        return [one for axis in apart for one in axis]

    def _heads(self, old: Sequence[Axis], new: Sequence[Extent]) -> bool:
        """(rows, H · features) as (rows · H, features)."""
        if len(old) < 2 or len(new) < 2 or not isinstance(old[0], Dim) or old[1] != FEATURES or PARTS in self.x.axes:
            return False
        if not self._are_rows(old[0]):
            return False
        features = self.x.features
        if len(self.parts) != 1 or not isinstance(new[1], int) or not 0 < new[1] < features or features % new[1]:
            return False
        count = features // new[1]
        if not same(new[0], product((count, self.x.extent(old[0])))) or count > MAX_PARTS:
            return False
        self._into_parts(count, new[1])
        self.axes += [(old[0], PARTS), FEATURES]
        return True

    def _are_rows(self, dim: Dim) -> bool:
        """Whether the axis is that of the rows: as is known, as a model's input has it, or as the heads that products
        are made of want it.
        """
        others = [other for other in self.x.dims if other.root is not dim.root]
        if dim.kind is not None or any(other.kind is not None for other in others):
            return dim.kind == BATCH or any(other.kind == TIME for other in others)
        return self.call.multiplied or self.x.dims[0].root is dim.root

    def _into_parts(self, count: int, width: int) -> None:
        whole = self.parts[0]
        self.parts = tuple(cut(self.call, whole, k * width, (k + 1) * width) for k in range(count))

    def _join_parts(self) -> None:
        self.parts = (tuple(piece for part in self.parts for piece in part),)
        self.axes[-1] = FEATURES

    def _reach(self, goal: Extent, extents: Sequence[Extent]) -> int:
        """How many extents multiply to the goal; 0: none do."""
        total: Extent = 1
        for count, extent in enumerate(extents, 1):
            total = product((total, extent))
            if same(total, goal):
                return count
        return 0

    def _refusal(self, reason: str = "") -> Refused:
        target = ", ".join(map(str, self.target))
        return Refused(
            f"reshapes {self.x.describe()} to ({target})" + (f": {reason}" if reason else ", which no layer does")
        )

    def _merge(self, group: list[Axis]) -> None:
        kept = [axis for axis in group if not same(self.x.extent(axis), 1)]
        dims = [dim for axis in kept for dim in (axis if isinstance(axis, tuple) else (axis,))]
        if all(isinstance(dim, Dim) for dim in dims):
            self.axes.append(tuple(dim for dim in dims if isinstance(dim, Dim)))
        elif len(kept) == 2 and isinstance(kept[0], Dim) and kept[1] == PARTS:
            self.axes.append((kept[0], PARTS))
        elif kept == [PARTS, FEATURES]:
            self.axes.append(PARTS)
            self._join_parts()
        elif FEATURES in kept and any(isinstance(dim, Dim) for dim in dims):
            raise self._refusal("it puts time steps or rows side by side as features")
        else:
            raise self._refusal()

    def _split(self, axis: Axis, sizes: Sequence[Extent]) -> None:
        kept = [size for size in sizes if not same(size, 1)]
        if isinstance(axis, tuple) and len(kept) == len(axis):
            found = list(axis)
            if all(same(Size(1, (dim,)), size) for dim, size in zip(found, kept, strict=True)):
                self.axes += [ONE if same(size, 1) else found.pop(0) for size in sizes]
                return
        if axis == FEATURES and PARTS not in self.x.axes and len(kept) == len(sizes) == 2:
            count, width = (fixed(size, "splits features into") for size in sizes)
            if count > MAX_PARTS:
                raise self._refusal(f"more than {MAX_PARTS} tensors")
            self._into_parts(count, width)
            self.axes += [PARTS, FEATURES]
            return
        raise self._refusal()


def cut(call: Call, pieces: tuple[Tensor, ...], start: int, stop: int) -> tuple[Tensor, ...]:
    """Features [start, stop): whole pieces as they are, of others a Slice."""
    result: list[Tensor] = []
    at = 0
    for piece in pieces:
        low, high = max(start - at, 0), min(stop - at, piece.features)
        if low < high:
            if (low, high) == (0, piece.features):
                result.append(piece)
            else:
                result.append(call.graph.add("Slice", call.at, [piece], high - low, {"start": low, "stop": high}))
        at += piece.features
    return tuple(result)


def uniform(values: Sequence[Filled]) -> NDArray[Any]:
    """The one number that all of them are filled with."""
    if all(v.uniform and v.array.flat[0] == values[0].array.flat[0] for v in values):
        return values[0].array.reshape(-1)[:1]
    raise Refused("joins constants of different values and sizes that only the data will tell")
