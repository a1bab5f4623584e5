"""What ONNX's own schemas say of a node: how many inputs, which attributes, which element types belong together.

The rules then need to look only at what is particular to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from rekur.onnx._import import values
from rekur.onnx._import.values import Refused, Value

NEWEST = 28  # opset: what later ones change in the operators nobody here has read

INTEGERS = frozenset(("tensor(int32)", "tensor(int64)"))
TRUTHS = INTEGERS | {"tensor(bool)", "tensor(float)"}  # 1 and 0 are the same numbers whatever they were cast to
_SPECIAL = {"float32": "tensor(float)", "float64": "tensor(double)"}


def element_type(dtype: Any) -> str:
    """ONNX's name of an array's element type."""
    name = np.dtype(dtype).name
    return _SPECIAL.get(name, f"tensor({name})")


def _types(value: Value) -> frozenset[str] | None:
    """The element types that the value may have in the file; None: any."""
    match value:
        case values.Known() | values.Filled():
            return INTEGERS if value.array.dtype == object else frozenset((element_type(value.array.dtype),))
        case values.Rows():
            return frozenset((element_type(value.dtype),))
        case values.View():
            return None if value.ids else TRUTHS if value.boolean else frozenset(("tensor(float)",))
        case values.Moment() | values.Scores() | values.Masked() | values.Total():
            return frozenset(("tensor(float)",))
        case values.Given() | values.Position() | values.Going() | values.Listed() | values.Steps() | values.RowMask():
            return None


@dataclass(frozen=True)
class _Schema:
    """What is asked of onnx's schema, read once: its own objects are slow."""

    inputs: tuple[int, int]  # fewest, most
    outputs: int  # at most
    parameters: tuple[tuple[str, str, bool, bool], ...]  # name, type parameter, optional, homogeneous
    attributes: frozenset[str]
    required: tuple[str, ...]  # of the attributes
    types: Mapping[str, frozenset[str]]  # by type parameter, what it may be

    def formal(self, count: int) -> Iterator[tuple[str, str, bool, bool]]:
        """The parameter that each of ``count`` inputs is; the last one may be variadic."""
        for index in range(count):
            yield self.parameters[min(index, len(self.parameters) - 1)]


@cache
def _schema(op: str, version: int) -> _Schema | None:
    """None: there is no such operator in this opset."""
    import onnx

    try:
        found = onnx.defs.get_schema(op, min(version, onnx.defs.onnx_opset_version()), "")
    except onnx.defs.SchemaError:
        return None
    optional = onnx.defs.OpSchema.FormalParameterOption.Optional
    return _Schema(
        inputs=(found.min_input, found.max_input),
        outputs=found.max_output,
        parameters=tuple((p.name, p.type_str, p.option == optional, p.is_homogeneous) for p in found.inputs),
        attributes=frozenset(found.attributes),
        required=tuple(name for name, attribute in found.attributes.items() if attribute.required),
        types={c.type_param_str: frozenset(c.allowed_type_strs) for c in found.type_constraints},
    )


def _known(node: Any, version: int) -> _Schema:
    schema = _schema(node.op_type, version)
    if schema is None:
        raise Refused(f"opset {version} has no such operator")
    return schema


def check_form(node: Any, version: int) -> None:
    """Numbers of inputs and outputs, and names of attributes.

    Raises
    ------
    Refused
        They are not those of the operator in this opset.
    """
    schema = _known(node, version)
    given, (least, most) = len(node.input), schema.inputs
    if not least <= given <= most:
        wanted = str(least)
        if most > least:
            wanted += f" to {most}" if most < 2**31 - 1 else " or more"
        raise Refused(f"it has {given or 'no'} input{'s' if given != 1 else ''}; expected {wanted} in opset {version}")
    if len(node.output) > schema.outputs:
        raise Refused(f"it has {len(node.output)} outputs; expected at most {schema.outputs}")
    for index, (name, _, optional, _) in enumerate(schema.formal(given)):
        if not optional and not node.input[index]:
            raise Refused(f"input {index} ({name}) is left out; it is required")
    names = {entry.name for entry in node.attribute}
    if unknown := names - schema.attributes:
        raise Refused(f"attribute '{min(unknown)}' is not understood; opset {version} has none of that name here")
    for name in schema.required:
        if name not in names:
            raise Refused(f"attribute '{name}' is missing; it is required")


def check_types(node: Any, version: int, inputs: Sequence[Value | None]) -> None:
    """Element types: each allowed, and the same where the operator wants the same.

    Raises
    ------
    Refused
        They do not fit.
    """
    schema = _known(node, version)
    left = dict(schema.types)
    for index, (value, parameter) in enumerate(zip(inputs, schema.formal(len(inputs)), strict=True)):
        given = _types(value) if value is not None else None
        if given is None:
            continue
        label, name, _, homogeneous = parameter
        allowed = left.get(name, frozenset((name,)))
        if not allowed & given:
            own = " or ".join(sorted(allowed)) if len(allowed) < 3 else "another"
            raise Refused(f"input {index} ({label}) is a {' or '.join(sorted(given))}; expected {own}")
        if name in left and homogeneous:
            left[name] = allowed & given
