"""The graph's inputs: sequences, features, ids, initial states or the rows' lengths.

The file does not say which is which, and of a (7, 3, 8) not which axis is time. What a recurrent node reads an input as
decides; the time and batch axes show themselves during the walk (``values.Dim``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rekur.onnx._errors import LoadError
from rekur.onnx._import.fold import Folded
from rekur.onnx._import.graph import Graph
from rekur.onnx._import.read import MAX_ELEMENTS
from rekur.onnx._import.recurrent import CELLS
from rekur.onnx._import.scan import reads_lengths
from rekur.onnx._import.values import (
    FEATURES,
    MAX_PARTS,
    ONE,
    OUTER,
    PARTS,
    Axis,
    Dim,
    Given,
    Refused,
    Rows,
    Tensor,
    View,
)

FLOAT, BOOL, INTEGERS = 1, 9, (6, 7)  # onnx.TensorProto's float32; bool; int32, int64
DTYPES = {FLOAT: "float32", 6: "int32", 7: "int64"}
ARITHMETIC = ("Add", "Sub", "Mul", "Div", "Sum")
POINTWISE = (*ARITHMETIC, "Pad", "Identity", "Dropout", "Cast", "Clip", "Tanh", "Relu", "Abs", "Neg")
DROPS_NOTHING = frozenset(("Identity", "Cast", "Dropout"))


@dataclass(frozen=True)
class Role:
    """What an input is read as."""

    kind: str  # "lengths", "state", "sequence", "series": of one feature, without an axis for it
    stack: int | None = None  # state: which axis holds directions or layers


def roles(nodes: Sequence[Any], constants: Mapping[str, Sequence[int]]) -> dict[str, Role]:
    """By tensor, walking up from the recurrent nodes; constants: short vectors of integers by name."""
    makers: dict[str, list[Any]] = {}
    for node in nodes:
        for name in filter(None, node.output):
            makers.setdefault(name, []).append(node)
    found: dict[str, Role] = {}
    for starts in (_sequences, _lengths, _states):  # what is read as a sequence somewhere is one
        waiting = [(name, role) for node in nodes for name, role in starts(node) if name]
        while waiting:
            name, role = waiting.pop()
            if name in found:
                continue
            found[name] = role
            for node in makers.get(name, ()):
                ends = isinstance(node, Folded) and not node.pointwise
                if node.op_type not in CELLS and node.op_type not in ("Shape", "Scan") and not ends:
                    waiting += _above(node, role, constants)
    return found


POOLS = ("MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool")
CHANNELS = ("Conv", "ConvTranspose", "BatchNormalization", "Resize", *POOLS)
MOVES_AXES = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Gather", "GatherND", "Shape", "Expand")


def channels_first(nodes: Sequence[Any]) -> set[str]:
    """Tensors that convolutions and the like read, whose second axis holds the features; where they are of three axes
    also what a batch normalisation reads.
    """
    makers = {name: node for node in nodes for name in node.output if name}
    waiting = [node.input[0] for node in nodes if node.op_type in CHANNELS and node.input]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if not name or name in found:
            continue
        found.add(name)
        node = makers.get(name)
        if node is None or isinstance(node, Folded) or node.op_type in (*MOVES_AXES, *CELLS, "Scan", "MatMul", "Gemm"):
            continue
        every = node.op_type in ("Add", "Sub", "Mul", "Div", "Sum", "Concat")
        waiting += node.input if every else node.input[:1]
    return found


def series(nodes: Sequence[Any], constants: Mapping[str, Sequence[int]]) -> set[str]:
    """Tensors (batch, time) that convolutions read as sequences of one feature, for which an axis is made before."""
    makers = {name: node for node in nodes for name in node.output if name}
    waiting = [(node.input[0], False) for node in nodes if node.op_type in CHANNELS and node.input]
    seen: set[tuple[str, bool]] = set()
    while waiting:
        name, flat = waiting.pop()
        if not name or (name, flat) in seen:
            continue
        seen.add((name, flat))
        node = makers.get(name)
        if node is None or isinstance(node, Folded) or not node.input:
            continue
        if node.op_type in ("Unsqueeze", "Reshape") and not flat:
            waiting += [(node.input[0], True)] if _makes_channel(node, constants) else []
        elif node.op_type in POINTWISE:
            waiting += [(one, flat) for one in (node.input if node.op_type in ARITHMETIC else node.input[:1])]
    return {name for name, flat in seen if flat}


def _makes_channel(node: Any, constants: Mapping[str, Sequence[int]]) -> bool:
    """Whether it gives a (batch, time) a second axis for its one feature."""
    given = next((entry.ints for entry in node.attribute if entry.name == "axes"), None)
    numbers = constants.get(node.input[1]) if given is None and len(node.input) > 1 else given
    if numbers is None:
        return False
    if node.op_type == "Unsqueeze":
        return list(numbers) in ([1], [-2])
    return len(numbers) == 3 and numbers[1] == 1


def ids_as_floats(nodes: Sequence[Any]) -> set[str]:
    """Tensors that are read only to be cast to integers: Keras's models take ids as floats."""
    cast = {name for node in nodes if _to_integers(node) for name in node.input}
    return cast - {name for node in nodes if not _to_integers(node) for name in node.input}


def _to_integers(node: Any) -> bool:
    return node.op_type == "Cast" and any(entry.name == "to" and entry.i in INTEGERS for entry in node.attribute)


def _sequences(node: Any) -> list[tuple[str, Role]]:
    if isinstance(node, Folded):
        return [(name, Role("sequence")) for name in node.input[: node.sequences] if not node.pointwise]
    if node.op_type == "Scan":
        return [(name, Role("sequence")) for name in node.input[_states_of_scan(node) :]]
    return [(name, Role("sequence")) for name in node.input[:1] if node.op_type in CELLS]


def _lengths(node: Any) -> list[tuple[str, Role]]:
    """Besides recurrent nodes what our exporter takes one step of each row with compares them."""
    if isinstance(node, Folded):
        count = len(node.input) - node.sequences if node.plain else 1  # of plain ones each sequence has its own
        return [(name, Role("lengths")) for name in node.input[len(node.input) - count :] if node.lengths]
    if node.op_type == "Scan":
        return [(name, Role("lengths")) for name in reads_lengths(node)]
    names = {"Greater": node.input[:1], "GreaterOrEqual": node.input[:1], "ReverseSequence": node.input[1:2]}
    return [
        (name, Role("lengths")) for name in (node.input[4:5] if node.op_type in CELLS else names.get(node.op_type, ()))
    ]


def _states(node: Any) -> list[tuple[str, Role]]:
    if isinstance(node, Folded):
        states = [] if node.plain else node.input[node.sequences : len(node.input) - node.lengths]
        return [(name, Role("state")) for name in states]
    if node.op_type == "Scan":
        return [(name, Role("state")) for name in node.input[: _states_of_scan(node)]]
    stack = next((int(a.i) for a in node.attribute if a.name == "layout"), 0)
    return [(name, Role("state", stack)) for name in node.input[5:7] if node.op_type in CELLS]


def _states_of_scan(node: Any) -> int:
    scanned = next((int(entry.i) for entry in node.attribute if entry.name == "num_scan_inputs"), 0)
    return max(0, len(node.input) - scanned)


def _above(node: Any, role: Role, constants: Mapping[str, Sequence[int]]) -> Iterator[tuple[str, Role]]:
    """What a node's inputs are read as."""
    if role.kind in ("sequence", "series"):
        if _makes_features(node, constants):
            role = Role("series")
        sources = node.input[:1] if node.op_type == "ReverseSequence" else node.input
        yield from ((name, role) for name in sources if name)
        return
    first = node.input[0] if node.input else ""
    if not first:
        return
    if role.kind == "lengths":
        if node.op_type in DROPS_NOTHING | {"Squeeze", "Unsqueeze", "Add"}:
            yield first, role
        return
    attributes = {entry.name: entry for entry in node.attribute}
    match node.op_type:
        case "Identity" | "Cast" | "Dropout" | "Slice" | "Split":
            yield first, role
        case "Concat":
            yield from ((name, role) for name in node.input if name)
        case "Unsqueeze":
            yield first, Role("state")
        case "Gather":  # of the first axis one of several states, of any other a step of a sequence
            first_axis = "axis" not in attributes or attributes["axis"].i == 0
            yield first, Role("state", 0 if first_axis else None)
        case "Squeeze":
            yield first, Role("state", 0)
        case "Transpose" if "perm" in attributes and role.stack is not None:
            perm = list(attributes["perm"].ints)
            yield first, Role("state", int(perm[role.stack]) if role.stack < len(perm) else None)


def _makes_features(node: Any, constants: Mapping[str, Sequence[int]]) -> bool:
    """Whether it gives a (batch, time) an axis for its one feature."""
    if node.op_type not in ("Unsqueeze", "Reshape"):
        return False
    given = next((entry.ints for entry in node.attribute if entry.name == "axes"), None)
    numbers = constants.get(node.input[1]) if given is None and len(node.input) > 1 else given
    if not numbers:
        return False
    return numbers[-1] in (-1, 2) if node.op_type == "Unsqueeze" else len(numbers) == 3 and numbers[-1] == 1


def make(
    graph: Graph, value: Any, role: Role | None, ids: bool, channels: bool = False, stacks: Sequence[int] = ()
) -> View | Rows | Given:
    """The symbolic value of a graph input; its Input layers join the graph. ids: whatever its type, it holds ids.
    channels: of three axes the second one holds the features. stacks: axes of which only single entries are read.

    One number, or one truth value, is no input of a model here: what it decides must be decided while loading.

    Raises
    ------
    LoadError
        Its type or shape is none that a model here can take.
    """
    what = f"graph input '{value.name}'"
    tensor = value.type.tensor_type
    dims = [dim.dim_value for dim in tensor.shape.dim]
    one = not dims or (tensor.elem_type == BOOL and set(dims) == {1})
    if one and value.type.HasField("tensor_type") and tensor.HasField("shape"):
        return Given(inputs=(value.name,))
    if not value.type.HasField("tensor_type") or tensor.elem_type not in (FLOAT, BOOL, *INTEGERS):
        raise LoadError(
            f"{what}: element type {tensor.elem_type}; expected float32, bool, or int32 or int64 for ids and lengths"
        )
    if not tensor.HasField("shape"):
        raise LoadError(f"{what} has no shape; expected one, of symbols where only the data will tell")
    sizes = [_size(dim, what) for dim in tensor.shape.dim]
    if tensor.elem_type == BOOL:
        return _truths(graph, value.name, sizes, what)
    if tensor.elem_type in INTEGERS or ids:
        return _integers(graph, value.name, sizes, role, what, DTYPES[tensor.elem_type])
    if len(sizes) == 4 and len(stacks) == 2:
        return _two_stacks(graph, value.name, sizes, stacks, what)
    if role is not None and role.kind == "state":
        return _state(graph, value.name, sizes, role, what)
    if len(sizes) == 3 and (channels or (sizes[1] and not sizes[2] and role is None)):
        return _channels(graph, value.name, sizes, what)
    return _sequence(graph, value.name, sizes, role, what)


def _truths(graph: Graph, name: str, sizes: list[int | None], what: str) -> View:
    """(batch), (batch, time) or (batch, time, 1) of true and false: one feature of 1 and 0."""
    if len(sizes) not in (1, 2) and not (len(sizes) == 3 and sizes[2] == 1):
        raise LoadError(f"{what}: bool of {len(sizes)} axes; expected (batch), (batch, time) or (batch, time, 1)")
    shown = _dims(name, sizes[:2])
    made = _input(graph, name, name, 1, shown)
    made.boolean = True
    return View(((made,),), (*shown, *((FEATURES,) if len(sizes) == 3 else ())))


def _two_stacks(graph: Graph, name: str, sizes: list[int | None], stacks: Sequence[int], what: str) -> View:
    """Rows of states along two axes, layers and the states of each, as tf2onnx has them."""
    first, second = sorted(stacks)
    batch, last = (k for k in range(4) if k not in stacks)
    counts, features = (sizes[first], sizes[second]), sizes[last]
    if None in counts or not features or 0 in counts:
        raise LoadError(f"{what}: a dimension of a stack of states, or of a state, is not given")
    outer, inner = (int(count or 0) for count in counts)
    if outer * inner > MAX_PARTS:
        raise LoadError(f"{what}: {outer} · {inner} initial states")
    rows = Dim(f"axis {batch} of '{name}'", sizes[batch])
    axes: list[Axis] = [rows, rows, rows, rows]
    axes[last] = FEATURES
    axes[first], axes[second] = (OUTER if outer > 1 else ONE), (PARTS if inner > 1 else ONE)
    if outer > 1 and inner == 1:
        axes[first] = PARTS
    names = [f"{name}_{k}" for k in range(outer * inner)] if outer * inner > 1 else [name]
    parts = tuple((_input(graph, own, name, features, [rows]),) for own in names)
    return View(parts, tuple(axes), outer if outer > 1 and inner > 1 else 1)


def _channels(graph: Graph, name: str, sizes: list[int | None], what: str) -> View:
    """(batch, features, time)."""
    features = sizes[1]
    if not features:
        raise LoadError(f"{what}: the number of features, its axis 1, is {'0' if features == 0 else 'not given'}")
    batch, time = (Dim(f"axis {k} of '{name}'", sizes[k]) for k in (0, 2))
    return View(((_input(graph, name, name, features, [batch, time]),),), (batch, FEATURES, time))


def _size(dim: Any, what: str) -> int | None:
    if not dim.HasField("dim_value"):
        return None
    if not 0 <= dim.dim_value <= MAX_ELEMENTS:
        raise LoadError(f"{what}: a dimension of {dim.dim_value}")
    return int(dim.dim_value)


def _dims(name: str, sizes: Sequence[int | None]) -> list[Dim]:
    return [Dim(f"axis {k} of '{name}'", size) for k, size in enumerate(sizes)]


def _integers(
    graph: Graph, name: str, sizes: list[int | None], role: Role | None, what: str, dtype: str
) -> View | Rows:
    if role is not None and role.kind == "lengths":
        if len(sizes) != 1:
            raise LoadError(f"{what}: lengths of {len(sizes)} axes; expected (batch)")
        return Rows(name, dtype=dtype)
    if len(sizes) not in (1, 2):
        raise LoadError(f"{what}: ids of {len(sizes)} axes; expected (batch) or (batch, time)")
    shown = _dims(name, sizes)
    hidden = [Dim(f"a step of '{name}'", 1)] if len(sizes) == 1 and role is not None else []
    return View(((_input(graph, name, name, 0, [*shown, *hidden]),),), tuple(shown))


def _state(graph: Graph, name: str, sizes: list[int | None], role: Role, what: str) -> View:
    if len(sizes) == 2:
        return _sequence(graph, name, sizes, None, what)
    stack, features = role.stack, sizes[-1] if sizes else None
    count = sizes[stack] if len(sizes) == 3 and stack in (0, 1) else None
    if stack is None or count is None or not features:
        return _sequence(graph, name, sizes, None, what)
    if not 1 <= count <= MAX_PARTS:
        raise LoadError(f"{what}: initial states of {count} layers or directions")
    batch = Dim(f"axis {1 - stack} of '{name}'", sizes[1 - stack])
    names = [name] if count == 1 else [f"{name}_{k}" for k in range(count)]
    axes: list[Axis] = [batch, FEATURES]
    axes.insert(stack, ONE if count == 1 else PARTS)
    return View(tuple((_input(graph, own, name, features, [batch]),) for own in names), tuple(axes))


def _sequence(graph: Graph, name: str, sizes: list[int | None], role: Role | None, what: str) -> View:
    series = len(sizes) == 2 and (sizes[1] is None or (role is not None and role.kind == "series"))
    if series:
        shown = _dims(name, sizes)
        return View(((_input(graph, name, name, 1, shown),),), tuple(shown))
    if len(sizes) not in (2, 3):
        raise LoadError(
            f"{what}: {len(sizes)} axes; expected (batch, features) or (batch, time, features), or time-major"
        )
    features = sizes[-1]
    if not features:
        raise LoadError(f"{what}: the number of features, its last axis, is {'0' if features == 0 else 'not given'}")
    shown = _dims(name, sizes[:-1])
    hidden = [Dim(f"a step of '{name}'", 1)] if len(shown) == 1 and role is not None else []
    return View(((_input(graph, name, name, features, [*shown, *hidden]),),), (*shown, FEATURES))


def _input(graph: Graph, name: str, source: str, features: int, dims: Sequence[Dim]) -> Tensor:
    return graph.add("Input", (f"graph input '{source}'", name), [], features, dims=tuple(dims))


def settle(tensor: Tensor) -> tuple[Dim, ...]:
    """The axes of an input in the model's order: batch, then time. What no node told is as it stands."""
    dims = tensor.dims
    if len(dims) == 2:
        first, second = (dim.kind for dim in dims)
        if first == "time" or second == "batch":
            dims = dims[::-1]
        try:
            dims[1].mark("time")
        except Refused as reason:
            raise LoadError(f"{tensor.layer.node}: {reason}") from None
    try:
        dims[0].mark("batch")
    except Refused as reason:
        raise LoadError(f"{tensor.layer.node}: {reason}") from None
    return dims
