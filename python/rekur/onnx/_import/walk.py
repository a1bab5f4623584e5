"""The walk over the nodes: every tensor gets its symbolic value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.onnx._errors import LoadError
from rekur.onnx._import import inputs as interface
from rekur.onnx._import import loop, loop_layers, masked, products, reasons
from rekur.onnx._import.call import Call, NeedsConstant, describe
from rekur.onnx._import.fold import Folded, fold, folded
from rekur.onnx._import.graph import Budget, Graph
from rekur.onnx._import.known import RULES as KNOWN
from rekur.onnx._import.ops import RULES
from rekur.onnx._import.order import describe as describe_node
from rekur.onnx._import.order import graphs, handed_on, ordered, reads
from rekur.onnx._import.read import Tensors, all_graphs, opset
from rekur.onnx._import.scan import NotOurs, scan
from rekur.onnx._import.schema import check_form, check_types
from rekur.onnx._import.stacks import short_vectors, stacks_of
from rekur.onnx._import.steps_out import finished
from rekur.onnx._import.stored import Values, count
from rekur.onnx._import.values import (
    Filled,
    Given,
    Known,
    Masked,
    Moment,
    Refused,
    Rows,
    Scores,
    Total,
    Undecided,
    Value,
    View,
)

SPARE = 2**20  # elements that any file may make, besides eight times what it holds
OWN = re.compile(r"/time_major$")  # our exporter's suffix


class NeedsInput(LoadError):
    """A weight is an input of the graph; ``input`` is its name."""

    def __init__(self, message: str, input: str) -> None:
        super().__init__(message)
        self.input = input


@dataclass
class Walked:
    """The graph of layers, and what the file's inputs and outputs are in it."""

    graph: Graph
    inputs: dict[str, View | Rows] = field(default_factory=dict)
    outputs: dict[str, View] = field(default_factory=dict)
    hint: str = ""  # of a loop that was written out


def walk(model: Any, folder: Path | None, bound: Mapping[str, NDArray[Any]]) -> Walked:
    """bound: graph inputs that are constants this time."""
    version, tensors = opset(model), Tensors(folder)
    whole, proto = model.graph, fold(model.graph, version, tensors)
    nodes = ordered(proto)
    _check_operators(nodes)
    values = Values(tensors, proto.initializer)
    values.made.update({name: Known(np.asarray(array)) for name, array in bound.items()})
    elements = sum(array.size for array in bound.values())
    elements += sum(count(tensor) for graph in all_graphs(whole) for tensor in graph.initializer)
    result = Walked(Graph(Budget(SPARE + 8 * elements)), hint=reasons.hint(nodes))
    deep = list(_flat(nodes))
    ids, channels = interface.ids_as_floats(deep), interface.channels_first(deep)
    short = short_vectors(deep, values.stored, tensors)
    found = interface.roles(deep, short)
    flat = interface.series(deep, short)
    given: set[str] = set()
    for value in proto.input:
        if value.name not in values.stored and value.name not in bound:
            try:
                role = found.get(value.name)
                if value.name in flat and (role is None or role.kind == "sequence"):
                    role = interface.Role("series")
                rank = len(value.type.tensor_type.shape.dim)
                stacks = stacks_of(deep, value.name, rank, short) if rank == 4 else ()
                made = interface.make(
                    result.graph, value, role, value.name in ids, value.name in channels, sorted(stacks)
                )
            except Refused as reason:
                raise LoadError(f"graph input '{value.name}': {reason}") from None
            values.made[value.name] = made
            given.add(value.name)
            if not isinstance(made, Given):
                result.inputs[value.name] = made
    _Walk(version, tensors, result.graph, given, products.factors(deep, values.stored)).run(proto, nodes, values)
    for value in proto.output:
        output = values.get(value.name)
        if isinstance(output, (Scores, Moment, View, Masked, Total)):
            at = (f"graph output '{value.name}'", "")
            call = Call("Identity", at, {}, [output], [True], version, result.graph)
            try:
                output = finished(call, output, result.inputs.values())
            except Refused as reason:
                raise LoadError(f"graph output '{value.name}': {reason}") from None
        if not isinstance(output, View) or output.ids:
            what = "ids" if isinstance(output, View) else describe(output)
            raise LoadError(f"graph output '{value.name}' is {what}; expected a tensor that the model computes")
        if value.type.tensor_type.elem_type not in (0, interface.FLOAT, *([interface.BOOL] if output.boolean else [])):
            raise LoadError(
                f"graph output '{value.name}' says element type {value.type.tensor_type.elem_type}; it is float32"
            )
        result.outputs[value.name] = output
    return result


def branches(model: Any, folder: Path | None, bound: Mapping[str, NDArray[Any]]) -> dict[str, str]:
    """By the first output of every If whose condition is made of constants: its branch that is taken."""
    version, tensors = opset(model), Tensors(folder)
    values = Values(tensors, model.graph.initializer)
    values.made.update({name: Known(np.asarray(array)) for name, array in bound.items()})
    elements = sum(count(tensor) for tensor in model.graph.initializer)
    one = _Walk(version, tensors, Graph(Budget(SPARE + 8 * elements)), set(), set())
    found: dict[str, str] = {}
    for node in ordered(model.graph):
        names = [name for name in node.input if name]
        if node.op_type == "If":
            if names[0] in values:
                try:
                    found[node.output[0]] = "then_branch" if _decided(values.get(names[0])) else "else_branch"
                except Refused:
                    continue
        elif node.op_type in KNOWN and all(name in values for name in names):
            try:
                one._node(node, describe_node(node), values, set(node.output))
            except (Refused, LoadError):
                continue
    return found


def _check_operators(nodes: Sequence[Any]) -> None:
    for node in nodes:
        if isinstance(node, Folded):
            continue
        if node.domain not in ("", "ai.onnx") or (
            node.op_type not in RULES and node.op_type not in ("If", "Scan", "Loop")
        ):
            raise LoadError(f"{describe_node(node)}: {reasons.reason(node)}{reasons.hint(nodes)}")


def _flat(nodes: Iterable[Any]) -> Iterator[Any]:
    """The nodes, those of an If's branches too; what a branch gives is handed on to what the If gives."""
    for node in nodes:
        yield node
        for graph in graphs(node) if node.op_type == "If" else ():
            yield from _flat(graph.node)
            yield from handed_on(graph, node)


@dataclass
class _Walk:
    """One graph, and the branches in it that are taken."""

    version: int
    tensors: Tensors
    graph: Graph
    given: set[str]  # the inputs of the file
    multiplied: set[str]  # tensors that products of two computed ones are made of

    def run(self, proto: Any, nodes: Sequence[Any], values: Values) -> None:
        read = {name for node in nodes for name in reads(node)} | {value.name for value in proto.output}
        makers = {name: node for node in nodes for name in node.output}
        for node in nodes:
            label = describe_node(node)
            try:
                if node.op_type == "If":
                    self._branch(node, values)
                elif isinstance(node, Folded):
                    self._folded(node, label, values)
                elif node.op_type == "Scan":
                    self._scan(node, label, values, read, makers)
                elif node.op_type == "Loop":
                    self._loop(node, label, values, read, makers)
                else:
                    self._node(node, label, values, read)
            except NeedsConstant as reason:
                raise NeedsInput(f"{label}: {reason}", reason.input) from None
            except Refused as reason:
                raise LoadError(f"{label}: {reason}{reasons.hint(nodes)}") from None

    def _node(self, node: Any, label: str, values: Values, read: set[str]) -> None:
        call = self._call(node, label, values, read)
        constants = all(value is None or isinstance(value, (Known, Filled)) for value in call.inputs)
        if constants:
            check_types(node, self.version, call.inputs)
        made: Value | list[Value]
        try:
            made = _open(call) or masked.masked(call) or RULES[node.op_type](products.taken_apart(call))
        except Undecided as reason:
            made = Given(sizes=reason.labels)
        if not constants:
            check_types(node, self.version, call.inputs)
        outputs = made if isinstance(made, list) else [made]
        if isinstance(outputs[0], Given):
            outputs = [outputs[0]] * len(node.output)
        elif unread := set(call.attributes) - call.taken:
            raise Refused(f"attribute '{min(unread)}' is not understood")
        for name, value in zip(node.output, outputs, strict=False):
            if name:
                values.made[name] = value
        if any(call.wanted[len(outputs) :]):
            raise Refused(f"output {len(outputs)} is read; it has {len(outputs)}")

    def _call(self, node: Any, label: str, values: Values, read: set[str]) -> Call:
        check_form(node, self.version)
        return Call(
            op=node.op_type,
            at=(label, hint(node)),
            attributes=self.tensors.attributes(node, label),
            inputs=[values.get(name) if name else None for name in node.input],
            wanted=[bool(name) and name in read for name in node.output],
            opset=self.version,
            graph=self.graph,
            multiplied=bool(node.output) and node.output[0] in self.multiplied,
            interface={k: name for k, name in enumerate(node.input) if name in self.given},
        )

    def _scan(self, node: Any, label: str, values: Values, read: set[str], makers: Mapping[str, Any]) -> None:
        call = self._call(node, label, values, read)
        try:
            made = scan(call, node, values.get, makers)
        except NotOurs:
            made = self._scan_of_others(call, node, values)
        values.made.update({name: value for name, value in zip(node.output, made, strict=True) if name})

    def _loop(self, node: Any, label: str, values: Values, read: set[str], makers: Mapping[str, Any]) -> None:
        call = self._call(node, label, values, read)
        if len(node.input) > 1 and node.input[1] and not loop.begins(node.input[1], values.get, makers):
            raise Refused("whether it begins is not known: expected a condition that holds where there is a step")
        body = _body_of(node)
        count = len(call.inputs) - 2
        if len(body.input) != count + 2 or len(body.output) != len(node.output) + 1 or len(node.output) < count:
            raise Refused(f"a body of {len(body.input)} inputs and {len(body.output)} outputs")
        made = loop_layers.loop(call, count, self._through(body, values))
        values.made.update({name: value for name, value in zip(node.output, made, strict=True) if name})

    def _scan_of_others(self, call: Call, node: Any, values: Values) -> list[Value]:
        body = _body_of(node)
        scanned = call.attribute("num_scan_inputs", 0)
        states, given = len(call.inputs) - scanned, len(node.output) - (len(call.inputs) - scanned)
        sizes = len(body.input) == len(call.inputs) and len(body.output) == len(node.output)
        if not sizes or not 0 < scanned <= len(call.inputs) or given < 0 or call.opset < 9:
            raise Refused("its inputs and outputs are not those of its body")
        lists = [
            [
                call.attribute(f"scan_{side}_{what}") or [0] * count
                for side, count in (("input", scanned), ("output", given))
            ]
            for what in ("axes", "directions")
        ]
        if [list(map(len, pair)) for pair in lists] != [[scanned, given]] * 2:
            raise Refused("its axes or directions are not those of its inputs and outputs")
        axes, turned = ((one, two) for one, two in lists)
        return loop_layers.scan_any(call, self._through(body, values), states, axes, turned)

    def _through(self, body: Any, outer: Values) -> loop_layers.Walk:
        """The body's outputs, given its inputs."""

        def walk(inputs: Mapping[str, Value], made: loop.Loop) -> list[Value]:
            nodes = ordered(body, outer)
            inside = Values(self.tensors, body.initializer, outer)
            inside.made.update({value.name: inputs[str(k)] for k, value in enumerate(body.input)})
            read = {name for node in nodes for name in reads(node)} | {value.name for value in body.output}
            for node in nodes:
                label = describe_node(node)
                try:
                    call = self._call(node, label, inside, read)
                    value = loop.special(made, call)
                    if value is not None:
                        inside.made[node.output[0]] = value
                        continue
                    _check_operators([node])
                    if node.op_type in ("If", "Loop", "Scan"):
                        raise Refused("is in the body of a loop")
                    self._node(node, label, inside, read)
                except Refused as reason:
                    raise Refused(f"{label} in its body: {reason}") from None
            return [inside.get(value.name) for value in body.output]

        return walk

    def _folded(self, node: Folded, label: str, values: Values) -> None:
        names = [*node.input, *(name for name, _, _ in node.weights)]
        call = Call(
            node.op_type, (label, hint(node)), {}, [values.get(name) for name in names], [], self.version, self.graph
        )
        values.made.update(zip(node.output, folded(call, node), strict=True))

    def _branch(self, node: Any, values: Values) -> None:
        """An If whose condition is known: the nodes of that branch, as if they stood here."""
        check_form(node, self.version)
        branches = {entry.name: entry.g for entry in node.attribute if entry.type == 5}
        if len(branches) != 2 or len(node.attribute) != 2:
            raise Refused("expected two branches")
        for graph in branches.values():
            if len(graph.output) != len(node.output) or len(graph.input):
                raise Refused(f"a branch of {len(graph.output)} outputs; expected {len(node.output)}, and no input")
        both = zip(branches["then_branch"].output, branches["else_branch"].output, strict=True)
        if any(a.type.tensor_type.elem_type != b.type.tensor_type.elem_type for a, b in both):
            raise Refused("its branches give different element types")
        chosen = branches["then_branch" if _decided(values.get(node.input[0])) else "else_branch"]
        nodes = ordered(chosen, values)
        _check_operators(nodes)
        inside = Values(self.tensors, chosen.initializer, values)
        self.run(chosen, nodes, inside)
        for name, value in zip(node.output, chosen.output, strict=True):
            if name:
                values.made[name] = inside.get(value.name)


def _body_of(node: Any) -> Any:
    body = next((entry.g for entry in node.attribute if entry.name == "body" and entry.type == 5), None)
    if body is None:
        raise Refused("it has no body")
    return body


def _open(call: Call) -> Given | None:
    """What is made of something that only a run's data will tell is something of that kind."""
    open_ = [value for value in call.inputs if isinstance(value, Given)]
    if not open_:
        return None
    if any(isinstance(value, (View, Moment, Rows)) for value in call.inputs):
        index = call.inputs.index(open_[0])
        if index in call.interface:
            raise NeedsConstant(call.interface[index], f"input {index}")
        raise Refused(f"input {index} is {describe(open_[0])}{_advice(open_[0])}")
    inputs = dict.fromkeys(name for value in open_ for name in value.inputs)
    return Given(tuple(inputs), tuple(dict.fromkeys(text for value in open_ for text in value.sizes)))


def _decided(condition: Value) -> bool:
    """Whether an If goes to its then branch."""
    if isinstance(condition, Known) and condition.array.dtype == np.bool_ and condition.array.size == 1:
        return bool(condition.array.flat[0])
    if not isinstance(condition, Given):
        raise Refused(f"its condition is {describe(condition)}; a model here has no branches")
    raise Refused(f"which branch to take depends on {condition}; a model here has no branches{_advice(condition)}")


def _advice(given: Given) -> str:
    advice = ""
    if given.inputs:
        values = ", ".join(f"'{name}': …" for name in given.inputs)
        advice += f"; choose by load(…, bind={{{values}}})"
    if given.sizes:
        advice += "; PyTorch writes that for squeeze(axis) of a symbolic axis: leave it out, or fix the size"
    return advice


def hint(node: Any) -> str:
    """What a layer's name is made of: ``/encoder/lstm/LSTM_1`` → ``encoder_lstm``; empty where the node has no name."""
    name = OWN.sub("", node.name).strip("/")
    if name.startswith("node_"):  # PyTorch's newer exporter numbers them
        return ""
    parts = name.split("/")
    if re.fullmatch(rf"{re.escape(node.op_type)}(_+\d+)?", parts[-1]):
        parts.pop()
    return "_".join(parts)
