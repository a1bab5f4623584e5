"""A node as the rules see it: its inputs' values, its attributes, and where a layer of it would belong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.onnx._import import values
from rekur.onnx._import.graph import Budget, Graph
from rekur.onnx._import.values import Extent, Known, Refused, Size, Tensor, Value, View, fixed


class NeedsConstant(Refused):
    """A weight is a graph input. The backend, which has its value, binds it and loads again."""

    def __init__(self, input: str, what: str) -> None:
        super().__init__(
            f"{what} must be a constant, it is the graph input '{input}'; load(…, bind={{'{input}': …}}) makes it one"
        )
        self.input = input


# what the attributes of the operators hold; one name means one kind in all of them
KINDS = {
    **dict.fromkeys(("activations",), "texts"),
    **dict.fromkeys(
        ("approximate", "direction", "auto_pad", "coordinate_transformation_mode", "mode", "nearest_mode"), "text"
    ),
    **dict.fromkeys(("dilations", "kernel_shape", "output_padding", "output_shape", "pads", "strides"), "integers"),
    **dict.fromkeys(("antialias", "ceil_mode", "count_include_pad", "group", "num_groups"), "an integer"),
    **dict.fromkeys(("activation_alpha", "activation_beta"), "numbers"),
    **dict.fromkeys(
        ("alpha", "beta", "clip", "gamma", "max", "min", "epsilon", "ratio", "scale", "softcap"), "a number"
    ),
    **dict.fromkeys(("is_causal", "kv_num_heads", "q_num_heads"), "an integer"),
    **dict.fromkeys(("qk_matmul_output_mode", "softmax_precision"), "an integer"),
    **dict.fromkeys(("axes", "ends", "perm", "split", "starts", "steps"), "integers"),
    **dict.fromkeys(("scan_input_axes", "scan_input_directions"), "integers"),
    **dict.fromkeys(("scan_output_axes", "scan_output_directions"), "integers"),
    **dict.fromkeys(
        ("allowzero", "axis", "batch_dims", "end", "hidden_size", "input_forget", "keepdims"), "an integer"
    ),
    **dict.fromkeys(("layout", "linear_before_reset", "noop_with_empty_axes", "num_outputs"), "an integer"),
    **dict.fromkeys(("num_scan_inputs",), "an integer"),
    **dict.fromkeys(("spatial", "start", "stash_type", "to"), "an integer"),
    **dict.fromkeys(("batch_axis", "new_axis", "time_axis", "training_mode", "transA", "transB"), "an integer"),
    **dict.fromkeys(("value",), "a tensor"),
}
_ONE = {"text": str, "a number": float, "an integer": int, "a tensor": np.ndarray}
_MANY = {"texts": str, "numbers": float, "integers": int}


def _fits(value: Any, kind: str) -> bool:
    if kind in _ONE:
        return isinstance(value, _ONE[kind])
    return isinstance(value, list) and all(isinstance(v, _MANY[kind]) for v in value)


@dataclass
class Call:
    """Rules take what they understand; an attribute that nobody took is refused."""

    op: str
    at: tuple[str, str]  # the node in messages, and what a layer's name is made of
    attributes: dict[str, Any]
    inputs: list[Value | None]
    wanted: list[bool]  # per output: whether anything reads it
    opset: int
    graph: Graph
    taken: set[str] = field(default_factory=set)
    multiplied: bool = False  # a product with another computed tensor follows
    interface: dict[int, str] = field(default_factory=dict)  # inputs that are the graph's own: their names

    @property
    def budget(self) -> Budget:
        return self.graph.budget

    def attribute(self, name: str, default: Any = None) -> Any:
        self.taken.add(name)
        value = self.attributes.get(name, default)
        if name in self.attributes and not _fits(value, KINDS[name]):
            raise Refused(f"attribute '{name}' is {value!r:.60}; expected {KINDS[name]}")
        return value

    def flag(self, name: str, default: int = 0) -> bool:
        """An attribute that is 0 or 1."""
        value = self.attribute(name, default)
        if value not in (0, 1):
            raise Refused(f"{name} is {value}; expected 0 or 1")
        return bool(value)

    def ignore(self, *names: str) -> None:
        """Attributes that say nothing about what is computed here."""
        self.taken.update(names)

    def has(self, index: int) -> bool:
        return index < len(self.inputs) and self.inputs[index] is not None

    def view(self, index: int = 0) -> View:
        value = self.inputs[index] if self.has(index) else None
        if isinstance(value, View):
            return value
        raise Refused(f"input {index} is {describe(value)}; expected a tensor that the model computes")

    def known(self, index: int, what: str | None = None) -> NDArray[Any]:
        """The numbers of an input that must be constant."""
        value = self.inputs[index] if self.has(index) else None
        what = what or f"input {index}"
        if isinstance(value, Known) and not value.symbolic:
            return value.array
        if isinstance(value, Known):
            return np.array([fixed(v, what) for v in value.array.flat], np.int64).reshape(value.array.shape)
        if index in self.interface:
            raise NeedsConstant(self.interface[index], what)
        raise Refused(f"{what} must be a constant, it is {describe(value)}")

    def sizes(self, index: int, what: str) -> list[Extent]:
        """A vector of numbers and sizes."""
        value = self.inputs[index] if self.has(index) else None
        if not isinstance(value, Known) or value.array.ndim != 1:
            raise Refused(f"{what} must be a known vector, it is {describe(value)}")
        if not value.symbolic and value.array.dtype.kind not in "iu":
            raise Refused(f"{what} must be integers, got {value.array.dtype}")
        return [v if isinstance(v, Size) else int(v) for v in value.array.reshape(-1)]

    def integers(self, name: str, index: int, default: list[int] | None = None) -> list[int] | None:
        """What older opsets say with an attribute and newer ones with an input."""
        if self.has(index):
            array = self.known(index, name)
            scalar = self.op == "Unsqueeze" and array.ndim == 0
            if array.dtype.kind not in "iu" or (array.ndim != 1 and not scalar):
                raise Refused(f"{name} must be a vector of integers, got {array.dtype} of shape {array.shape}")
            return [int(v) for v in array.reshape(-1)]
        given = self.attribute(name)
        return default if given is None else [int(v) for v in given]

    def layer(self, type: str, x: View, features: int, parameters: Any = None, **options: Any) -> View:
        """One layer for each part of x, which works on the last axis or elementwise; the file's axes stay."""
        if x.ids:
            raise Refused(f"its input holds ids; expected float32 of shape (…, features), got {x.describe()}")
        return View(
            tuple(
                (self.graph.add(type, self.at, [self.whole(part)], features, options, parameters),) for part in x.parts
            ),
            x.axes,
        )

    def whole(self, part: tuple[Tensor, ...]) -> Tensor:
        return self.graph.whole(part, self.at)


def describe(value: Value | None) -> str:
    match value:
        case None:
            return "absent"
        case View():
            return f"a tensor of shape {value.describe()}"
        case Known():
            return f"a constant of shape {value.array.shape}"
        case values.Filled(shape=shape):
            return f"a constant of shape ({', '.join(map(str, shape))})"
        case values.Moment(stage=stage):
            return f"the {stage} of a layer normalisation"
        case values.Scores(weights=weights):
            return f"{'the weights' if weights else 'a product'} of two tensors that the model computes"
        case values.Given():
            return f"known only when the model runs: it depends on {value}"
        case values.Rows(stage=stage, name=name):
            return f"the {stage} of rows, made of the lengths '{name}'"
        case values.Position():
            return "the number of a loop's step"
        case values.Going():
            return "whether a loop goes on"
        case values.Listed():
            return "a list of tensors"
        case values.Steps(dim=dim):
            return f"the numbers of the steps of {dim.label}"
        case values.RowMask(name=name):
            return f"a mask of rows' steps, made of the lengths '{name}'"
        case values.Masked(fill=fill, name=name):
            return f"a tensor that is {fill:g} behind the rows' ends, by the lengths '{name}'"
        case values.Total(name=name):
            return f"a sum of the steps of rows with the lengths '{name}'"


def normal_axis(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise Refused(f"axis {axis} of a tensor of {rank} axes")
    return axis % rank


def normal_axes(axes: Sequence[int], rank: int) -> list[int]:
    result = [normal_axis(axis, rank) for axis in axes]
    if len(set(result)) != len(result):
        raise Refused(f"axes {list(axes)} name one axis twice")
    return result


def vector(call: Call, index: int, what: str, features: int, rank: int = 1) -> NDArray[Any]:
    """A number for each feature, on the last of at most ``rank`` axes; those before it are of size 1."""
    array = call.known(index, what)
    leading = array.shape[:-1]
    if (
        array.dtype != np.float32
        or array.shape[-1:] != (features,)
        or leading.count(1) != len(leading)
        or len(leading) >= rank
    ):
        raise Refused(f"{what} is {array.dtype} of shape {array.shape}; expected float32 ({features},)")
    return array.reshape(-1)
