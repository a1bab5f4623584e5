"""What ONNX's own schemas say of a node: how many inputs, which attributes, which element types belong together.

The rules then need to look only at what is particular to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from rekur.onnx._import.values import Filled, Given, Known, Moment, Refused, Rows, Value, View

NEWEST = 28  # opset: what later ones change in the operators nobody here has read

INTEGERS = frozenset(("tensor(int32)", "tensor(int64)"))
_SPECIAL = {"float32": "tensor(float)", "float64": "tensor(double)"}


def element_type(dtype: Any) -> str:
    """ONNX's name of an array's element type."""
    name = np.dtype(dtype).name
    return _SPECIAL.get(name, f"tensor({name})")


def _types(value: Value) -> frozenset[str] | None:
    """The element types that the value may have in the file; None: any."""
    match value:
        case Known() | Filled():
            return INTEGERS if value.array.dtype == object else frozenset((element_type(value.array.dtype),))
        case Rows():
            return frozenset((element_type(value.dtype),))
        case View():
            return None if value.ids else frozenset(("tensor(float)",))
        case Moment():
            return frozenset(("tensor(float)",))
        case Given():
            return None


def _schema(node: Any, version: int) -> Any:
    import onnx

    try:
        return onnx.defs.get_schema(node.op_type, min(version, onnx.defs.onnx_opset_version()), "")
    except onnx.defs.SchemaError:
        raise Refused(f"opset {version} has no such operator") from None


def _formal(parameters: Sequence[Any], count: int) -> Iterator[Any]:
    """The parameter that each of ``count`` inputs is; the last one may be variadic."""
    for index in range(count):
        yield parameters[min(index, len(parameters) - 1)]


def check_form(node: Any, version: int) -> None:
    """Numbers of inputs and outputs, and names of attributes.

    Raises
    ------
    Refused
        They are not those of the operator in this opset.
    """
    import onnx

    schema = _schema(node, version)
    given = len(node.input)
    if not schema.min_input <= given <= schema.max_input:
        wanted = str(schema.min_input)
        if schema.max_input > schema.min_input:
            wanted += f" to {schema.max_input}" if schema.max_input < 2**31 - 1 else " or more"
        raise Refused(f"it has {given or 'no'} input{'s' if given != 1 else ''}; expected {wanted} in opset {version}")
    if len(node.output) > schema.max_output:
        raise Refused(f"it has {len(node.output)} outputs; expected at most {schema.max_output}")
    optional = onnx.defs.OpSchema.FormalParameterOption.Optional
    for index, parameter in enumerate(_formal(schema.inputs, given)):
        if not node.input[index] and parameter.option != optional:
            raise Refused(f"input {index} ({parameter.name}) is left out; it is required")
    names = {entry.name for entry in node.attribute}
    if unknown := names - set(schema.attributes):
        raise Refused(f"attribute '{min(unknown)}' is not understood; opset {version} has none of that name here")
    for name, attribute in schema.attributes.items():
        if attribute.required and name not in names:
            raise Refused(f"attribute '{name}' is missing; it is required")


def check_types(node: Any, version: int, inputs: Sequence[Value | None]) -> None:
    """Element types: each allowed, and the same where the operator wants the same.

    Raises
    ------
    Refused
        They do not fit.
    """
    schema = _schema(node, version)
    left = {c.type_param_str: frozenset(c.allowed_type_strs) for c in schema.type_constraints}
    for index, (value, parameter) in enumerate(zip(inputs, _formal(schema.inputs, len(inputs)), strict=True)):
        given = _types(value) if value is not None else None
        if given is None:
            continue
        name = parameter.type_str
        allowed = left.get(name, frozenset((name,)))
        if not allowed & given:
            own = " or ".join(sorted(allowed)) if len(allowed) < 3 else "another"
            raise Refused(f"input {index} ({parameter.name}) is a {' or '.join(sorted(given))}; expected {own}")
        if name in left and parameter.is_homogeneous:
            left[name] = allowed & given
