"""What :mod:`rekur.ops` and Python's operators make of symbolic tensors: layers.

Equations of a row become a Lambda; one that reads what another gave takes that one's equations in. Everything else is a
layer that there is: Slice, Step, Flip, Concatenate, Dense, Reshape, ….
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from rekur import _structure
from rekur._trace import MOST_NODES, Symbol, Trace
from rekur._validate import integer, show
from rekur.layers import broadcasting
from rekur.layers.own import line
from rekur.layers.symbolic import SymbolicTensor

_FUSED = 64  # nodes of equations that are taken in again rather than computed by themselves


def is_tensor(value: Any) -> bool:
    return isinstance(value, SymbolicTensor)


def among(given: Any) -> list[SymbolicTensor]:
    """The symbolic tensors among arguments, each once."""
    return list(dict.fromkeys(leaf for leaf in _structure.flatten(given) if isinstance(leaf, SymbolicTensor)))


def fail(message: str, kind: type[Exception] = ValueError) -> NoReturn:
    raise kind(f"{message} ({line()})")


def layer(name: str, why: str) -> Any:
    """A class of rekur.layers that may not be here."""
    from rekur import layers

    try:
        return getattr(layers, name)
    except AttributeError:
        fail(f"{why}: this needs layers.{name}, which is not here yet", NotImplementedError)


# Equations of a row.


def lift(name: str, function: Callable[..., Any], given: tuple[Any, dict[str, Any]]) -> Any:
    """An operation of rekur.ops on symbolic tensors, as a Lambda."""
    arrays = [leaf for leaf in _structure.flatten(given) if isinstance(leaf, np.ndarray) and leaf.ndim]
    if arrays:
        return _with_array(name, given)
    tensors = among(given)
    if not broadcasting.are_alike(tensors):
        given = _stretched(name, given, tensors)
        tensors = among(given)
    _check_shapes(name, tensors)
    bases: dict[SymbolicTensor, int] = {}
    for tensor in tensors:
        for source in tensor._call.inputs if _is_fused(tensor) else [tensor]:
            bases.setdefault(source, len(bases))
    if len({t.shape[:-1] for t in bases}) > 1 or len({t.shape[-1] for t in bases} - {1}) > 1:
        bases = {tensor: k for k, tensor in enumerate(tensors)}  # what is behind them does not go together
        fused: set[SymbolicTensor] = set()
    else:
        fused = {tensor for tensor in tensors if _is_fused(tensor)}
    names = [f"x{k}" for k in range(len(bases))] if len(bases) > 1 else ["x"]
    trace = Trace(names, f"ops.{name}")

    def symbol(leaf: Any) -> Any:
        if not isinstance(leaf, SymbolicTensor):
            return leaf
        if leaf in fused:
            sources = [trace.symbols[bases[source]] for source in leaf._call.inputs]
            return _replayed(trace, leaf.layer.equations, sources)[leaf.index]
        return trace.symbols[bases[leaf]]

    arguments, options = _structure.mapped(symbol, given)
    try:
        returned = function(*arguments, **options)
    except (TypeError, ValueError) as error:
        message = str(error)
        raise type(error)(message if "line " in message else f"{message} ({line()})") from None
    made = layer("Lambda", f"ops.{name}")(equations=trace.finish(returned), name=None)
    made._lifted = True
    return made._connect(list(bases))


def _stretched(name: str, given: Any, tensors: Sequence[SymbolicTensor]) -> Any:
    """The arguments with tensors of one shape, those of size 1 along an axis repeated."""
    try:
        found = dict(zip(tensors, broadcasting.together(tensors, f"ops.{name}"), strict=True))
    except ValueError as error:
        fail(str(error))
    return _structure.mapped(lambda leaf: found[leaf] if isinstance(leaf, SymbolicTensor) else leaf, given)


def _is_fused(tensor: SymbolicTensor) -> bool:
    made = tensor.layer
    return bool(getattr(made, "_lifted", False)) and len(made.equations["nodes"]) <= min(_FUSED, MOST_NODES)


def _replayed(trace: Trace, equations: Any, sources: Sequence[Symbol]) -> list[Symbol]:
    values: list[Any] = list(sources)
    for operation, *operands in equations["nodes"]:
        if operation == "constant":
            values.append(trace._record(["constant", operands[0]]))
        else:
            head = dict(operation) if isinstance(operation, dict) else operation
            values.append(trace._record([head, *(values[k]._index for k in operands)]))
    return [values[k] for k in equations["outputs"]]


def _check_shapes(name: str, tensors: Sequence[SymbolicTensor]) -> None:
    wanted = max(tensors, key=lambda t: (len(t.shape), t.shape[-1] or 0)).shape
    for tensor in tensors:
        same = len(tensor.shape) == len(wanted) and tensor.shape[-1] in (wanted[-1], 1)
        if not same or any(a != b for a, b in zip(tensor.shape[1:-1], wanted[1:-1], strict=True) if None not in (a, b)):
            fail(
                f"ops.{name}: expected tensors of one shape, or with one feature, got "
                f"{' and '.join(show(t.shape) for t in tensors)}"
            )


def _with_array(name: str, given: Any) -> Any:
    """A number a feature, added to or multiplied with a tensor."""
    arguments, options = given
    operands = [np.asarray(a, np.float32) if isinstance(a, np.ndarray) else a for a in arguments]
    if len(operands) == 2 and not options and name in ("add", "subtract", "multiply", "divide"):
        tensor, array = (operands[0], operands[1]) if is_tensor(operands[0]) else (operands[1], operands[0])
        values = array.reshape(-1) if isinstance(array, np.ndarray) and array.size == array.shape[-1] else None
        if is_tensor(tensor) and values is not None and values.size in (1, tensor.shape[-1]):
            rescaling = layer("Rescaling", f"ops.{name}")
            numbers = [float(v) for v in values]
            if name == "add":
                return rescaling(1.0, numbers)(tensor)
            if name == "multiply":
                return rescaling(numbers)(tensor)
            if name == "subtract":
                first = tensor is operands[0]
                return rescaling(1.0 if first else -1.0, [-v for v in numbers] if first else numbers)(tensor)
            if tensor is operands[0]:
                return rescaling([1 / v for v in numbers])(tensor)
    fail(f"ops.{name}: an array holds one number for each feature, for +, -, * and /")


# Indexing.


def _plain(key: Any) -> bool:
    return isinstance(key, slice) and key.start in (None, 0) and key.stop is None and key.step in (None, 1)


def item(x: SymbolicTensor, key: Any) -> SymbolicTensor:
    """``x[key]``."""
    keys = list(key) if isinstance(key, tuple) else [key]
    rank = len(x.shape)
    if any(k is Ellipsis for k in keys):
        at = next(i for i, k in enumerate(keys) if k is Ellipsis)
        keys[at : at + 1] = [slice(None)] * (rank - len(keys) + 1)
    if sum(k is None for k in keys) == 1 and len(keys) <= rank + 1:  # a new axis
        where = next(i for i, k in enumerate(keys) if k is None)
        rest = [k for k in keys if k is not None]
        if where and all(_plain(k) for k in rest):
            return expand_dims(x, where)  # type: ignore[no-any-return]
    if len(keys) > rank or any(k is None for k in keys):
        fail(f"a tensor of shape {show(x.shape)} cannot be indexed by {key!r}", IndexError)
    keys += [slice(None)] * (rank - len(keys))
    if not _plain(keys[0]):
        fail(f"x[{key!r}]: rows of a batch are computed alike, so the first index must be `:`", IndexError)
    found = x
    features = keys[-1]
    if rank > 1 and not _plain(features):
        found = _features(found, features, key)
    if rank == 3 and not _plain(keys[1]):
        found = _steps(found, keys[1], key)
    elif rank > 3 and not all(_plain(k) for k in keys[1:-1]):
        fail(f"x[{key!r}]: of a tensor of shape {show(x.shape)} only the last axis can be indexed", IndexError)
    return found


def _features(x: SymbolicTensor, key: Any, whole: Any) -> SymbolicTensor:
    if isinstance(key, (int, np.integer)):
        if len(x.shape) == 3 and x.shape[1] is not None:  # (B, T, F) → (B, T)
            one = _features(x, slice(int(key), None if key == -1 else int(key) + 1), whole)
            return layer("Reshape", "x[…]")((x.shape[1],))(one)  # type: ignore[no-any-return]
        fail(
            f"x[{whole!r}]: an index takes an axis away; keep it by a slice of one, such as "
            f"x[..., {key}:{'' if key == -1 else key + 1}]",
            IndexError,
        )
    if isinstance(key, slice) and key.step in (None, 1):
        return layer("Slice", "x[…]")(key.start or 0, key.stop)(x)  # type: ignore[no-any-return]
    fail(f"x[{whole!r}]: features are taken by a slice without a step", IndexError)


def _steps(x: SymbolicTensor, key: Any, whole: Any) -> SymbolicTensor:
    if isinstance(key, (int, np.integer)):
        return layer("Step", "x[…]")(int(key))(x)  # type: ignore[no-any-return]
    if isinstance(key, slice) and key.start is None and key.stop is None and key.step == -1:
        return layer("Flip", "x[…]")()(x)  # type: ignore[no-any-return]
    if isinstance(key, slice) and key.step in (None, 1):
        steps = x.shape[1]
        start, stop = key.start or 0, key.stop
        if (start < 0 or (stop is not None and stop > 0)) and steps is None:
            fail(f"x[{whole!r}]: the number of time steps must be known for this (shape {show(x.shape)})", IndexError)
        if steps is not None:
            start, stop, _ = slice(start, stop).indices(steps)
            cropped = (start, steps - stop)
        else:
            cropped = (start, -stop if stop else 0)
        return layer("Cropping1D", f"x[{whole!r}]")(cropped)(x)  # type: ignore[no-any-return]
    fail(f"x[{whole!r}]: time steps are taken by an index, a slice, or ::-1", IndexError)


# Shapes, joins and products.


def axis_of(axis: int, rank: int, what: str) -> int:
    found = axis + rank if axis < 0 else axis
    if not 0 <= found < rank:
        fail(f"{what}: axis {axis} is none of a tensor of {rank} axes")
    return found


def concatenate(tensors: Sequence[Any], axis: int) -> Any:
    return tensors[0] if len(tensors) == 1 else layer("Concatenate", "ops.concatenate")(axis=axis)(list(tensors))


def stack(xs: Sequence[Any], axis: int) -> Any:
    for x in xs:
        if not is_tensor(x) or x.shape != xs[0].shape:
            fail(f"ops.stack: expected symbolic tensors of one shape, got {xs!r}")
    where = axis_of(axis, len(xs[0].shape) + 1, "ops.stack")
    if where == 0:
        fail("ops.stack: axis 0 is the batch's; say axis=1 or another one")
    return concatenate([expand_dims(x, where) for x in xs], where)


class InFront:
    """Tensors stacked along an axis in front of the batch, as loops over steps gather them: to be transposed."""

    def __init__(self, xs: Sequence[Any]) -> None:
        for x in xs:
            if not is_tensor(x) or x.shape != xs[0].shape:
                fail(f"ops.stack: expected symbolic tensors of one shape, got {xs!r}")
        self._xs = list(xs)
        self.shape = (len(self._xs), *xs[0].shape)

    def __repr__(self) -> str:
        return f"<{len(self._xs)} tensors of shape {show(self._xs[0].shape)}, stacked in front of the batch>"

    def transposed(self, axes: Sequence[int] | None) -> Any:
        """With the batch in front."""
        rank = len(self.shape)
        order = [axis_of(int(a), rank, "ops.transpose") for a in (range(rank)[::-1] if axes is None else axes)]
        if sorted(order) != list(range(rank)) or order[0] != 1:
            fail(f"ops.transpose of {self!r}: the batch must come first, such as by axes=[1, 0, 2], got {axes!r}")
        stacked = stack(self._xs, 1)  # axes 1, 0, 2, 3, …
        return transpose(stacked, [{1: 0, 0: 1}.get(a, a) for a in order])


def repeat(x: SymbolicTensor, repeats: Any, axis: Any) -> Any:
    count = integer(repeats, "ops.repeat: repeats")
    rank = len(x.shape)
    where = -1 if axis is None else axis_of(axis, rank, "ops.repeat")
    if where == 1 and rank == 3:
        return layer("UpSampling1D", "ops.repeat")(count)(x)
    if where == rank - 1:
        size = x.shape[-1]
        return x if count == 1 else take(x, [k for k in range(size or 0) for _ in range(count)], -1)
    fail(f"ops.repeat: time steps of (batch, time, features) and features can be repeated, got axis={axis!r}")


def split(x: SymbolicTensor, indices_or_sections: Any, axis: int) -> list[Any]:
    where = axis_of(axis, len(x.shape), "ops.split")
    size = x.shape[where]
    if isinstance(indices_or_sections, (int, np.integer)):
        if size is None or size % indices_or_sections:
            fail(f"ops.split: axis {axis} of shape {show(x.shape)} has no {indices_or_sections} parts of one size")
        width = size // int(indices_or_sections)
        edges = list(range(0, size + 1, width))
    else:
        if size is None:
            fail(f"ops.split: the size of axis {axis} must be known, got shape {show(x.shape)}")
        edges = [0, *(int(i) for i in indices_or_sections), size]
    key = [slice(None)] * len(x.shape)
    found = []
    for a, b in itertools.pairwise(edges):
        found.append(item(x, (*key[:where], slice(a, b), *key[where + 1 :])))
    return found


def reshape(x: SymbolicTensor, shape: Sequence[int]) -> Any:
    whole = list(shape)
    if not whole or whole[0] not in (-1, None):
        fail(f"ops.reshape: the first size is that of the batch, written -1, got {tuple(shape)}")
    return layer("Reshape", "ops.reshape")(tuple(whole[1:]))(x)


def transpose(x: SymbolicTensor, axes: Sequence[int] | None) -> Any:
    rank = len(x.shape)
    order = list(range(rank))[::-1] if axes is None else [axis_of(a, rank, "ops.transpose") for a in axes]
    if sorted(order) != list(range(rank)) or order[0] != 0:
        fail(f"ops.transpose: expected the batch first and every other axis once, got axes {axes}")
    return x if order == list(range(rank)) else layer("Permute", "ops.transpose")(tuple(order[1:]))(x)


def expand_dims(x: SymbolicTensor, axis: int) -> Any:
    where = axis_of(axis, len(x.shape) + 1, "ops.expand_dims")
    if where == 0:
        fail("ops.expand_dims: axis 0 is the batch's")
    if where == 1 and len(x.shape) == 2:
        return layer("RepeatVector", "ops.expand_dims")(1)(x)
    return _reshaped(x, [*x.shape[1:where], 1, *x.shape[where:]], "ops.expand_dims")


def squeeze(x: SymbolicTensor, axis: int) -> Any:
    where = axis_of(axis, len(x.shape), "ops.squeeze")
    if where == 0 or x.shape[where] != 1:
        fail(f"ops.squeeze: axis {axis} of shape {show(x.shape)} is not of size 1")
    if where == 1 and len(x.shape) == 3:
        return layer("Step", "ops.squeeze")(0)(x)
    return _reshaped(x, [*x.shape[1:where], *x.shape[where + 1 :]], "ops.squeeze")


def _reshaped(x: SymbolicTensor, sizes: Sequence[int | None], what: str) -> Any:
    if sum(size is None for size in sizes) > 1:
        fail(f"{what}: sizes must be known, got shape {show(x.shape)}")
    return layer("Reshape", what)(tuple(-1 if size is None else size for size in sizes))(x)


def reduce(name: str, x: SymbolicTensor, axis: Any, keepdims: bool) -> Any:
    """A reduction over another axis than that of the features: the time steps."""
    axes = [int(axis)] if isinstance(axis, (int, np.integer)) else [] if axis is None else [int(a) for a in axis]
    places = [axis_of(a, len(x.shape), f"ops.{name}") for a in axes]
    if places == [1] and len(x.shape) == 3:
        if name in ("mean", "max"):
            kind = {"mean": "GlobalAveragePooling1D", "max": "GlobalMaxPooling1D"}[name]
            return layer(kind, f"ops.{name}")(keepdims=bool(keepdims))(x)
        if name == "sum":
            added = layer("Dot", "ops.sum")(axes=(1, 1))([x, layer("Lambda", "ops.sum")(_ones)(x)])
            return layer("Reshape", "ops.sum")((1, x.shape[-1]) if keepdims else (x.shape[-1],))(added)
        if name == "min":
            return -layer("GlobalMaxPooling1D", "ops.min")(keepdims=bool(keepdims))(-x)
        if name in ("softmax", "log_softmax"):
            return _softmax_over_steps(name, x)
    fail(f"ops.{name}: shape {show(x.shape)} has no such reduction over axis={axis!r}; over -1 or 1 it has")


def _softmax_over_steps(name: str, x: SymbolicTensor) -> Any:
    """Of each feature over the row's own steps."""
    from rekur import ops

    away = x - reduce("max", x, 1, True)
    powers = ops.exp(away)
    total = reduce("sum", powers, 1, True)
    return powers / total if name == "softmax" else away - ops.log(total)


def _ones(x: Symbol) -> Symbol:
    """A one, whatever there is."""
    from rekur import ops

    found: Symbol = ops.where(ops.sum(x, axis=-1, keepdims=True) > 0, 1.0, 1.0)
    return found


def matmul(a: Any, b: Any) -> Any:
    if is_tensor(a) and is_tensor(b):
        if len(a.shape) != 3 or len(b.shape) != 3:
            fail(f"ops.matmul: expected two tensors of three axes, got {show(a.shape)} and {show(b.shape)}")
        return layer("Dot", "ops.matmul")(axes=(2, 1))([a, b])
    if is_tensor(a):
        array = np.asarray(b, np.float32)
        if array.ndim == 2:
            dense = layer("Dense", "ops.matmul")(array.shape[1], use_bias=False)
            dense._begin_with([array])
            dense.trainable = False
            return dense(a)
    fail("ops.matmul: expected a tensor and a matrix of shape (features, units), or two tensors")


def einsum(subscripts: str, a: Any, b: Any) -> Any:
    """Of two tensors of three axes that share the batch: a product over one axis of each."""
    left, _, out = subscripts.replace(" ", "").partition("->")
    first, _, second = left.partition(",")
    summed = [s for s in first if s in second and s not in out]
    shared = [s for s in first if s in second and s in out]
    fits = len(first) == len(second) == len(out) == 3 and len(summed) == 1 and shared == [first[0]] == [second[0]]
    if not fits or out[0] != first[0] or not (is_tensor(a) and is_tensor(b)):
        fail(f"ops.einsum: {subscripts!r}: expected two tensors of three axes, the batch first, summed over one axis")
    made = layer("Dot", "ops.einsum")(axes=(first.index(summed[0]), second.index(summed[0])))([a, b])
    order = [s for s in first + second[1:] if s not in summed]
    return made if "".join(order) == out else transpose(made, [0, 2, 1])


def take(x: SymbolicTensor, indices: Any, axis: Any) -> Any:
    where = axis_of(-1 if axis is None else axis, len(x.shape), "ops.take")
    if where != len(x.shape) - 1:
        fail(f"ops.take: features alone can be taken, axis=-1, got axis={axis!r}")
    places = [int(i) for i in np.atleast_1d(indices)]
    parts = [layer("Slice", "ops.take")(i, None if i == -1 else i + 1)(x) for i in places]
    found = concatenate(parts, -1)
    return squeeze(found, -1) if np.ndim(indices) == 0 and len(x.shape) > 2 else found
