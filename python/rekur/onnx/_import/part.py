"""A part of a file: named tensors as its inputs and outputs, and axes of a size that is known from here on."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rekur.onnx._errors import LoadError
from rekur.onnx._import.order import describe, graphs, handed_on, reads
from rekur.onnx._import.part_sizes import say_by_cut
from rekur.onnx._import.recurrent import CELLS

Shape = Sequence[int | str | None]
FLOAT = 1  # onnx.TensorProto's
MAX_RANK = 8
MAX_NAMES = 12  # in a message


def part_of(
    proto: Any,
    inputs: Iterable[str] | Mapping[str, Shape | None] | None,
    outputs: Iterable[str] | None,
    bound: Iterable[str] = (),
    word: str = "inputs",
) -> Any:
    """A copy of the model that begins at ``inputs`` and ends at ``outputs``; None keeps the file's own.

    word: what the caller calls ``inputs``, for messages.

    Raises
    ------
    ValueError
        There is no such tensor, its type or shape is not known, or an output needs something else, too.
    """
    if inputs is None and outputs is None:
        return proto
    made = type(proto)()
    made.CopyFrom(proto)
    graph = made.graph
    known = _Types(made)
    if outputs is not None:
        wanted = names_of(outputs, "outputs")
        known.require(wanted, "outputs")
        _replace(graph.output, [known.value(name, None, "outputs", False) for name in wanted])
    given: list[str] = []
    if inputs is not None:
        shapes = dict(inputs) if isinstance(inputs, Mapping) else dict.fromkeys(names_of(inputs, word))
        checked = {name: _shape(shape, f"{word}: {name!r}") for name, shape in shapes.items()}
        given = names_of(shapes, word)
        known.require(given, word)
        stored = {tensor.name for tensor in graph.initializer}
        if constant := [name for name in given if name in stored]:
            raise ValueError(f"{word}: {constant[0]!r} is a constant of the file")
        values = [known.value(name, checked[name], word, True) for name in given]
        own = [value for value in graph.input if value.name not in given]
        for number, node in enumerate(graph.node):
            for place, name in enumerate(node.output):
                if name in given:
                    node.output[place] = f"{name}/before/{number}"
        _replace(graph.input, [*values, *own])
    free = {*given, *bound, *(tensor.name for tensor in graph.initializer)}
    needed = _needed(graph)
    if inputs is not None and _open(graph, needed, free):
        say_by_cut(graph, given, _Types(proto).axes)
        needed = _needed(graph)
        if open_ := _open(graph, needed, free):
            raise ValueError(
                f"{word}: the outputs {[v.name for v in graph.output]} also need {open_}; name them, or bind them"
                f"{_only_sizes(graph, open_)}"
            )
    if unread := [name for name in given if name not in needed]:
        raise ValueError(f"{word}: nothing of the outputs {[v.name for v in graph.output]} is made of {unread[0]!r}")
    _replace(graph.input, [value for value in graph.input if value.name in needed])
    _replace(graph.node, [node for node in graph.node if any(name in needed for name in node.output)])
    return made


def _replace(field: Any, values: Sequence[Any]) -> None:
    kept = [type(value).FromString(value.SerializeToString()) for value in values]
    del field[:]
    field.extend(kept)


def names_of(given: Any, what: str) -> list[str]:
    listed = isinstance(given, Iterable) and not isinstance(given, (str, bytes))
    given = list(given) if listed else given
    if not listed or not all(isinstance(name, str) for name in given):
        raise TypeError(f"load: {what}: expected names of tensors, got {given!r:.80}")
    names = list(given)
    if not names or len(set(names)) != len(names):
        raise ValueError(f"load: {what}: expected one name or more, each once, got {names}")
    return names


def _shape(given: Any, what: str) -> list[int | str | None] | None:
    """A shape that a caller says: sizes, symbols, and None for an axis of any size."""
    if given is None:
        return None
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise TypeError(f"{what}: expected a shape, a tuple of sizes and None, got {given!r:.80}")
    axes = list(given)
    if len(axes) > MAX_RANK:
        raise ValueError(f"{what}: a shape of {len(axes)} axes")
    for axis, size in enumerate(axes):
        if size is None or isinstance(size, str):
            continue
        if isinstance(size, bool) or not hasattr(type(size), "__index__"):
            raise TypeError(f"{what}: axis {axis}: expected a size or None, got {size!r:.40}")
        axes[axis] = size = operator.index(size)
        if not 0 < size < 2**31:
            raise ValueError(f"{what}: axis {axis}: expected a positive size or None, got {size}")
    return axes


def _open(graph: Any, needed: set[str], free: set[str]) -> list[str]:
    return [value.name for value in graph.input if value.name in needed and value.name not in free]


def _only_sizes(graph: Any, open_: Sequence[str]) -> str:
    """Said of inputs of which nothing but sizes is needed."""
    if set(open_) & _needed(graph, "Shape"):
        return ""
    return ": only the sizes of what is made of them are read, and the file does not say that these are sizes of inputs"


def _needed(graph: Any, without: str = "") -> set[str]:
    """Tensors that the outputs are made of, themselves among them; not those that nodes of an operator read."""
    makers = {name: node for node in graph.node for name in node.output if name}
    found: set[str] = set()
    waiting = [value.name for value in graph.output]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        node = makers.get(name)
        if node is not None and node.op_type != without:
            waiting += list(reads(node))
    return found


class _Types:
    """Element types and shapes of a model's tensors, inferred where the file does not say."""

    def __init__(self, model: Any) -> None:
        self.model = model
        graph = model.graph
        self.names = {value.name for value in graph.input} | {name for node in graph.node for name in node.output}
        self.names |= {tensor.name for tensor in graph.initializer}
        self._found: dict[str, Any] | None = None

    def require(self, names: Sequence[str], what: str) -> None:
        for name in names:
            if name in self.names:
                continue
            inside = next((node for node in self.model.graph.node if _holds(node, name)), None)
            if inside is not None:
                raise ValueError(
                    f"{what}: {name!r} is a tensor inside of {describe(inside)}, of which no part is taken; what "
                    "stands in a branch that bind= decides can be named"
                )
            raise ValueError(f"{what}: the file has no tensor {name!r}{_near(name, self.names)}")

    def value(self, name: str, shape: Shape | None, what: str, whole: bool) -> Any:
        """Its declaration. whole: it must have a shape."""
        import onnx

        found = self._all().get(name)
        kind = found.type.tensor_type.elem_type if found is not None else FLOAT
        if shape is not None:
            return onnx.helper.make_tensor_value_info(name, kind or FLOAT, list(shape))
        own = self._read_by_layer(name)
        if (axes := self.axes(name)) is not None and found is not None:
            if own is None or len(axes) != 3 or not whole or isinstance(axes[2], int):
                return found
            own = [*axes[:2], own[2]]  # behind a Reshape to a size that was computed
        if own is not None:
            return onnx.helper.make_tensor_value_info(name, kind or FLOAT, [size or None for size in own])
        if whole:
            raise ValueError(
                f"{what}: the shape of {name!r} is not known; say it by {what}={{{name!r}: (None, …)}}, with None for "
                "axes of any size"
            )
        return onnx.helper.make_tensor_value_info(name, kind, None)

    def axes(self, name: str) -> list[int | str] | None:
        """Sizes, symbols, and "" where neither is known."""
        found = self._all().get(name)
        if found is None or not found.type.tensor_type.HasField("shape"):
            return None
        return [
            int(dim.dim_value) if dim.HasField("dim_value") else dim.dim_param
            for dim in found.type.tensor_type.shape.dim
        ]

    def _read_by_layer(self, name: str) -> list[int | str | None] | None:
        """The shape that a recurrent node wants of what it reads: (time, batch, features of its weights)."""
        graph = self.model.graph
        stored = {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type in CELLS and len(node.input) > 2 and node.input[0] == name:
                weights = stored.get(node.input[1])
                if weights is not None and len(weights.dims) == 3:
                    return [None, None, int(weights.dims[2])]
        return None

    def _all(self) -> dict[str, Any]:
        if self._found is None:
            import onnx

            graph = self.model.graph
            try:
                graph = onnx.shape_inference.infer_shapes(self.model, data_prop=True).graph
            except Exception:  # what onnx makes of a damaged file is none of ours; the walk says what is wrong
                graph = self.model.graph
            self._found = {value.name: value for value in (*graph.value_info, *graph.output, *graph.input)}
        return self._found


def _holds(node: Any, name: str) -> bool:
    return any(name in inner.output or _holds(inner, name) for graph in graphs(node) for inner in graph.node)


def _near(name: str, names: Iterable[str]) -> str:
    """The name that was meant, or some that there are."""
    from rekur._validate import did_you_mean

    known = sorted(names)
    if len(known) <= MAX_NAMES or did_you_mean(name, known).startswith("; did"):
        return did_you_mean(name, known)
    return f"; of {len(known)} tensors the first are {', '.join(known[:MAX_NAMES])}"


def sized(proto: Any, sizes: Mapping[Any, int]) -> Any:
    """A copy whose inputs have these sizes: by the symbol of the axis, or by (input, axis).

    Raises
    ------
    ValueError
        No input has such an axis, or it has another size.
    """
    if not sizes:
        return proto
    made = type(proto)()
    made.CopyFrom(proto)
    stored = {tensor.name for tensor in made.graph.initializer}
    inputs = [value for value in made.graph.input if value.name not in stored]
    for key, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or not 0 < size < 2**31:
            raise ValueError(f"sizes: {key!r}: expected a positive integer, got {size!r:.40}")
        dims = [dim for value in inputs for dim in _dims(value, key)]
        if not dims:
            symbols = sorted({dim.dim_param for value in inputs for dim in value.type.tensor_type.shape.dim} - {""})
            raise ValueError(
                f"sizes: no input has an axis {key!r}; the file's symbols are {symbols}, and an axis without one is "
                "(input, axis)"
            )
        for dim in dims:
            if dim.HasField("dim_value") and dim.dim_value != size:
                raise ValueError(f"sizes: {key!r} would be {size}; the file says {dim.dim_value}")
            dim.dim_value = size
    return made


def _dims(value: Any, key: Any) -> list[Any]:
    shape = list(value.type.tensor_type.shape.dim)
    if isinstance(key, tuple) and len(key) == 2:
        name, axis = key
        fits = name == value.name and isinstance(axis, int) and -len(shape) <= axis < len(shape)
        return [shape[axis]] if fits else []
    return [dim for dim in shape if dim.dim_param and dim.dim_param == key]


def flattened(proto: Any, taken: Mapping[str, str]) -> Any:
    """A copy in which the If nodes that are decided give way to their branches; taken: by an If's first output the
    name of the attribute that is its branch.

    Raises
    ------
    LoadError
        Two tensors would have one name.
    """
    made = type(proto)()
    made.CopyFrom(proto)
    nodes: list[Any] = []
    stored: list[Any] = []
    for node in proto.graph.node:
        branch = taken.get(node.output[0]) if node.op_type == "If" and node.output else None
        graph = next((entry.g for entry in node.attribute if entry.name == branch), None)
        if graph is None:
            nodes.append(node)
            continue
        nodes += graph.node
        stored += graph.initializer
        nodes += handed_on(graph, node)
    names = [name for node in nodes for name in node.output if name]
    names += [tensor.name for tensor in (*proto.graph.initializer, *stored)]
    if len(set(names)) != len(names):
        raise LoadError("branches that are taken have tensors of one name, so that no part of them can be named")
    _replace(made.graph.node, nodes)
    _replace(made.graph.initializer, [*proto.graph.initializer, *stored])
    return made
