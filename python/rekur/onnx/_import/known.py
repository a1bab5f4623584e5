"""Constants and sizes computed: the plumbing that exporters write around shapes, states and weights."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.onnx._import.call import Call, describe, normal_axes, normal_axis
from rekur.onnx._import.values import (
    Extent,
    Filled,
    Known,
    Refused,
    Size,
    Undecided,
    Value,
    View,
    divide,
    fixed,
    product,
    same,
)

Array = NDArray[Any]

# onnx.TensorProto's element types that a constant here may have
DTYPES: dict[int, Any] = {
    1: np.float32, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32, 7: np.int64, 9: np.bool_,
    10: np.float16, 11: np.float64, 12: np.uint32, 13: np.uint64,
}  # fmt: skip


def known(array: Any) -> Known:
    """Arrays of objects without a size in them become integers again."""
    array = np.asarray(array)
    if array.dtype == object and not any(isinstance(v, Size) for v in array.flat):
        try:
            array = array.astype(np.int64)
        except OverflowError:
            raise Refused("an integer beyond 64 bits") from None
    return Known(array)


def vector(extents: Sequence[Extent]) -> Known:
    """Sizes as a one-dimensional constant."""
    array = np.empty(len(extents), object)
    array[:] = extents
    return known(array)


def _array(call: Call, index: int) -> Array:
    value = call.inputs[index] if call.has(index) else None
    if not isinstance(value, Known):
        return call.known(index)  # says what is wrong
    return value.array


def _broadcast(call: Call, arrays: Sequence[Array]) -> tuple[int, ...]:
    try:
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
    except ValueError:
        raise Refused(f"shapes {', '.join(str(a.shape) for a in arrays)} do not broadcast") from None
    call.budget.take(shape)
    return shape


def _binary(function: Callable[[Any, Any], Any]) -> Callable[[Call], Value]:
    def rule(call: Call) -> Value:
        one, two = _array(call, 0), _array(call, 1)
        _broadcast(call, (one, two))
        if object in (one.dtype, two.dtype):
            one, two = one.astype(object), two.astype(object)
        elif one.dtype != two.dtype:
            raise Refused(f"operands of {one.dtype} and {two.dtype}")
        with np.errstate(all="ignore"):
            return known(np.asarray(function(one, two)))

    return rule


def _divide(one: Array, two: Array) -> Any:
    if one.dtype == object:
        return np.frompyfunc(divide, 2, 1)(one, two)
    if one.dtype.kind in "iu":
        if not two.all():
            raise Refused("integers divided by zero")
        quotient = np.abs(one) // np.abs(two)  # towards zero, as C++ does
        return np.where((one < 0) != (two < 0), -quotient, quotient).astype(one.dtype)
    return one / two


def _modulo(one: Array, two: Array) -> Any:
    if one.dtype.kind not in "iu" or not two.all():
        raise Refused("a remainder of anything but numbers, or by zero")
    return np.mod(one, two)  # of the divisor's sign, as ONNX has it without fmod


def _equal_one(one: Any, two: Any) -> bool:
    if isinstance(one, Size) or isinstance(two, Size):
        if same(one, two):
            return True
        other = two if isinstance(one, Size) else one
        if not isinstance(other, Size) and int(other) < 0:
            return False  # no size is negative
        raise Undecided(f"whether {one} equals {two} only the data will tell", _labels(one, two))
    return bool(one == two)


def _labels(*extents: Any) -> list[str]:
    return [dim.label for extent in extents if isinstance(extent, Size) for dim in extent.dims if dim.size is None]


def _ordered(function: Callable[[Any, Any], Any]) -> Callable[[Array, Array], Any]:
    """A comparison by size; of sizes that only the data will tell, it is known only where they are the same one."""

    def one_pair(one: Any, two: Any) -> bool:
        if isinstance(one, Size) and isinstance(two, Size) and same(one, two):
            return bool(function(0, 0))
        if labels := _labels(one, two):
            raise Undecided(f"how {one} compares with {two} only the data will tell", labels)
        return bool(function(fixed(one, "a comparison of"), fixed(two, "a comparison of")))

    def either(one: Array, two: Array) -> Any:
        if one.dtype == object:
            return np.asarray(np.frompyfunc(one_pair, 2, 1)(one, two), bool)  # a scalar is no array
        return function(one, two)

    return either


def _equal(one: Array, two: Array) -> Any:
    if one.dtype == object:
        return np.asarray(np.frompyfunc(_equal_one, 2, 1)(one, two), bool)
    return one == two


def _where(call: Call) -> Value:
    condition, one, two = call.known(0, "the condition"), _array(call, 1), _array(call, 2)
    _broadcast(call, (condition, one, two))
    if object in (one.dtype, two.dtype):
        one, two = one.astype(object), two.astype(object)
    return known(np.where(condition.astype(bool), one, two))


def _unary(function: Callable[[Any], Any]) -> Callable[[Call], Value]:
    def rule(call: Call) -> Value:
        array = _array(call, 0)
        if array.dtype.kind not in "fiu":
            raise Refused(
                "expected numbers, got sizes" if array.dtype == object else f"expected numbers, got {array.dtype}"
            )
        call.budget.take(array.shape)
        with np.errstate(all="ignore"):
            return known(np.asarray(function(array)).astype(array.dtype))

    return rule


def _cast(call: Call) -> Value:
    array = _array(call, 0)
    dtype = DTYPES.get(call.attribute("to"))
    call.ignore("saturate", "round_mode")
    if dtype is None:
        raise Refused(f"element type {call.attribute('to')} is not understood")
    if array.dtype == object:
        if np.dtype(dtype).kind not in "iu":
            raise Refused(f"a size cast to {np.dtype(dtype).name}")
        return Known(array)
    call.budget.take(array.shape)
    with np.errstate(all="ignore"):
        return Known(array.astype(dtype))


def _extents(call: Call) -> Sequence[Extent]:
    value = call.inputs[0] if call.has(0) else None
    if isinstance(value, Known):
        return value.array.shape
    if isinstance(value, (View, Filled)):
        return value.shape
    raise Refused(f"the shape of what is {describe(value)}")


def _shape(call: Call) -> Value:
    shape = _extents(call)
    rank = len(shape)
    start, end = call.attribute("start", 0), call.attribute("end", rank)
    return vector(list(shape)[slice(*(min(max(v + rank if v < 0 else v, 0), rank) for v in (start, end)))])


def _size(call: Call) -> Value:
    array = np.empty((), object)
    array[()] = product(_extents(call))
    return known(array)


def _constant(call: Call) -> Value:
    if len(call.attributes) != 1:
        raise Refused("expected one attribute")
    ((name, value),) = call.attributes.items()
    call.ignore(name)
    if name == "value":
        return Known(value)
    dtype = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    if name not in dtype:
        raise Refused(f"attribute '{name}' is not understood")
    return Known(np.asarray(value, dtype[name]))


def _constant_of_shape(call: Call) -> Value:
    value = call.attribute("value")
    value = np.zeros(1, np.float32) if value is None else np.asarray(value)
    if value.size != 1:
        raise Refused(f"its value has {value.size} elements; expected 1")
    return _fill(call, value.reshape(()), call.sizes(0, "the shape"))


def _fill(call: Call, array: Array, shape: Sequence[Extent]) -> Value:
    """The array broadcast to a shape; a constant of its own if the shape is all numbers and small."""
    for extent in shape:
        if isinstance(extent, int) and extent < 0:
            raise Refused(f"a constant of negative size {extent}")
    if array.ndim > len(shape):
        raise Refused(f"a constant of shape {array.shape} does not broadcast to {len(shape)} axes")
    array = array.reshape((1,) * (len(shape) - array.ndim) + array.shape)
    for k, extent in enumerate(shape):
        given = int(array.shape[k])
        if given != 1 and not same(given, extent):
            raise Refused(f"a constant of shape {array.shape} does not broadcast to ({', '.join(map(str, shape))})")
    numbers = [extent for extent in shape if isinstance(extent, int)]
    if len(numbers) < len(shape) or array.dtype == object or fixed(product(numbers), "") > max(1024, array.size):
        return Filled(array, tuple(shape))
    call.budget.take(numbers)
    return Known(np.broadcast_to(array, numbers).copy())


def _expand(call: Call) -> Value:
    value, target = call.inputs[0], call.sizes(1, "the shape")
    if isinstance(value, Filled):
        array, shape = value.array, list(value.shape)
    else:
        array = _array(call, 0)
        shape = [*array.shape]
    shape, target = padded(shape, len(target)), padded(target, len(shape))
    for a, b in zip(shape, target, strict=True):
        if not (same(a, 1) or same(b, 1) or same(a, b)):
            raise Refused(f"broadcasts ({', '.join(map(str, shape))}) to ({', '.join(map(str, target))})")
    return _fill(call, array, [a if same(b, 1) else b for a, b in zip(shape, target, strict=True)])


def padded(shape: list[Extent], rank: int) -> list[Extent]:
    """With axes of size 1 in front, up to that many."""
    return [1 for _ in range(rank - len(shape))] + shape


def _range(call: Call) -> Value:
    ends = [value.array for value in call.inputs if isinstance(value, Known) and value.array.size == 1]
    if len(ends) == 3 and ends[1].dtype == object and (ends[0].flat[0], ends[2].flat[0]) == (0, 1):
        limit = ends[1].flat[0]
        if isinstance(limit, Size) and any(dim.size is None for dim in limit.dims):
            raise Undecided("counts up to a size that only the data will tell", [dim.label for dim in limit.dims])
    start, limit, delta = (call.known(index) for index in range(3))
    if any(v.size != 1 for v in (start, limit, delta)) or start.dtype.kind not in "iu" or not delta.all():
        raise Refused("expected three integers, the last not 0")
    numbers = range(int(start.flat[0]), int(limit.flat[0]), int(delta.flat[0]))
    call.budget.take([len(numbers)])
    return Known(np.arange(numbers.start, numbers.stop, numbers.step, dtype=start.dtype))


def _concat(call: Call) -> Value:
    arrays = [_array(call, index) for index in range(len(call.inputs))]
    axis = normal_axis(call.attribute("axis", 1), arrays[0].ndim)
    call.budget.take([sum(array.size for array in arrays)])
    if any(array.dtype == object for array in arrays):
        arrays = [array.astype(object) for array in arrays]
    elif len({array.dtype for array in arrays}) > 1:
        raise Refused(f"operands of {', '.join(str(array.dtype) for array in arrays)}")
    try:
        return known(np.concatenate(arrays, axis))
    except ValueError:
        raise Refused(f"shapes {', '.join(str(a.shape) for a in arrays)} do not join along axis {axis}") from None


def _gather(call: Call) -> Value:
    array, index = _array(call, 0), call.known(1, "the index")
    axis = normal_axis(call.attribute("axis", 0), array.ndim)
    size = array.shape[axis]
    if index.dtype.kind not in "iu" or ((index < -size) | (index >= size)).any():
        raise Refused(f"an index out of range for axis {axis} of size {size}")
    call.budget.take([*array.shape[:axis], *index.shape, *array.shape[axis + 1 :]])
    return known(np.take(array, index, axis))


def _reshape(call: Call) -> Value:
    array = _array(call, 0)
    target = [_fixed_extent(v) for v in call.sizes(1, "the shape")]
    if min(target, default=0) < -1:
        raise Refused(f"shape {target} has a negative size other than -1")
    if not call.flag("allowzero"):
        if any(v == 0 and k >= array.ndim for k, v in enumerate(target)):
            raise Refused(f"shape {target} copies an axis that is not there")
        target = [array.shape[k] if v == 0 else v for k, v in enumerate(target)]
    try:
        return known(array.reshape(target))
    except ValueError:
        raise Refused(f"a constant of shape {array.shape} cannot have the shape {target}") from None


def _fixed_extent(extent: Extent) -> int:
    if isinstance(extent, Size):
        raise Refused(f"a constant of a shape that only the data will tell ({extent})")
    return extent


def _squeeze(call: Call) -> Value:
    array = _array(call, 0)
    axes = call.integers("axes", 1)
    drop = [k for k, s in enumerate(array.shape) if s == 1] if axes is None else normal_axes(axes, array.ndim)
    if any(array.shape[axis] != 1 for axis in drop):
        raise Refused(f"axes {drop} of a constant of shape {array.shape} are not all of size 1")
    return known(array.reshape([s for k, s in enumerate(array.shape) if k not in drop]))


def _unsqueeze(call: Call) -> Value:
    array = _array(call, 0)
    axes = normal_axes(call.integers("axes", 1) or [], array.ndim + len(call.integers("axes", 1) or []))
    return known(np.expand_dims(array, tuple(axes)))


def _transpose(call: Call) -> Value:
    array = _array(call, 0)
    perm = call.attribute("perm")
    perm = list(range(array.ndim))[::-1] if perm is None else perm
    if sorted(perm) != list(range(array.ndim)):
        raise Refused(f"perm {perm} for {array.ndim} axes")
    return known(array.transpose(perm))


def _flatten(call: Call) -> Value:
    array = _array(call, 0)
    axis = call.attribute("axis", 1)
    axis = axis if axis == array.ndim else normal_axis(axis, array.ndim)
    return known(array.reshape(int(np.prod(array.shape[:axis], dtype=np.int64)), -1))


def _reduce_prod(call: Call) -> Value:
    array = _array(call, 0)
    axes = call.integers("axes", 1)
    keep = call.flag("keepdims", 1)
    if call.flag("noop_with_empty_axes") and not axes:
        raise Refused("noop_with_empty_axes is set and it has no axes: it takes no product")
    if array.ndim != 1 or axes not in (None, [0], [-1]) or array.dtype.kind not in "Oiu":
        raise Refused("a product of anything but a vector of sizes")
    result = np.empty((1,) if keep else (), object)
    result[...] = product(v if isinstance(v, Size) else int(v) for v in array)
    return known(result)


RULES: dict[str, Callable[[Call], Value]] = {
    "Add": _binary(operator.add),
    "Sub": _binary(operator.sub),
    "Mul": _binary(operator.mul),
    "Div": _binary(_divide),
    "Mod": _binary(_modulo),
    "Equal": _binary(_equal),
    "Less": _binary(_ordered(operator.lt)),
    "LessOrEqual": _binary(_ordered(operator.le)),
    "Greater": _binary(_ordered(operator.gt)),
    "GreaterOrEqual": _binary(_ordered(operator.ge)),
    "And": _binary(np.logical_and),
    "Or": _binary(np.logical_or),
    "Xor": _binary(np.logical_xor),
    "Not": lambda call: Known(~call.known(0).astype(bool)),
    "Neg": _unary(np.negative),
    "Sqrt": _unary(np.sqrt),
    "Reciprocal": _unary(lambda x: 1 / x),
    "Floor": _unary(np.floor),
    "Where": _where,
    "Cast": _cast,
    "Shape": _shape,
    "Size": _size,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "Range": _range,
    "Concat": _concat,
    "Gather": _gather,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Flatten": _flatten,
    "ReduceProd": _reduce_prod,
    "Identity": lambda call: Known(_array(call, 0)),
}
