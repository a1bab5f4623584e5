"""A model cut in two: what can be computed before the first step, and what goes step by step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rekur import _core
from rekur._spec import Spec, dumps, model_spec, nodes, reference, split_reference


@dataclass
class Halves:
    """The engine's models of both halves; their weights are the whole model's.

    Attributes
    ----------
    before : Model of the engine, or None
        What does not depend on the input that steps; None where nothing is computed of the others.
    after : Model of the engine
        The rest. Its inputs are the one that steps and what it reads of the other half.
    inputs : list of str
        The whole model's inputs, without the one that steps.
    given : list of (str, str)
        What ``after`` reads: the name there, and where it comes from, an input's name or an output of ``before``.
    """

    before: _core.Model | None
    after: _core.Model
    inputs: list[str]
    given: list[tuple[str, str]]

    @property
    def whole(self) -> list[str]:
        return [name for name, _ in self.given]


def halves(engine: _core.Model, spec: Spec, stepped: str, what: str) -> Halves:
    """The model of ``engine``, cut behind everything that does not depend on the input ``stepped``.

    Raises
    ------
    ValueError
        If its first output does not depend on that input.
    """
    all_nodes = nodes(spec)
    behind = {stepped}
    for node in all_nodes:
        if any(split_reference(ref)[0] in behind for ref in node.get("inputs", ())):
            behind.add(node["name"])
    outputs = [ref for ref in spec["outputs"] if split_reference(ref)[0] in behind]
    if not outputs or outputs[0] != spec["outputs"][0]:
        raise ValueError(f"{what}: the model's first output does not depend on its input '{stepped}'")
    inputs = [name for name in spec["inputs"] if name != stepped]
    steps = [node for node in all_nodes if node["name"] in behind and node["type"] != "Input"]
    cut = list(dict.fromkeys(_plain(ref) for node in steps for ref in node["inputs"] if _node(ref) not in behind))
    shapes, _, _ = _core.time_axes(dumps(spec))
    dtypes = {node["name"]: node.get("dtype", "float32") for node in all_nodes if node["type"] == "Input"}
    given = [(ref.replace(":", "."), ref) for ref in cut]
    names = dict(zip(cut, (name for name, _ in given), strict=True))
    entrances = [
        {"type": "Input", "name": name, "shape": list(shapes[ref][0][1:]), "dtype": dtypes.get(ref, "float32")}
        for name, ref in given
    ]
    own = next(node for node in all_nodes if node["name"] == stepped)
    entrances.insert(0, {key: own[key] for key in ("type", "name", "shape", "dtype") if key in own})
    after = _model(engine, spec, entrances, steps, [stepped, *names.values()], outputs, names)
    computed = [ref for ref in cut if ref not in inputs]
    before = None
    if computed:
        calls = [node for node in all_nodes if node["name"] not in behind and node["type"] != "Input"]
        entrances = [
            {key: node[key] for key in ("type", "name", "shape", "dtype") if key in node}
            for node in all_nodes
            if node["type"] == "Input" and node["name"] != stepped
        ]
        before = _model(engine, spec, entrances, calls, inputs, computed, {})
    return Halves(before, after, inputs, given)


def in_precision(spec: Spec, precision: str) -> Spec:
    """The spec with what compile(precision=) says of layers that leave it open written in."""
    if precision == "float32":
        return spec

    def said(layer: Spec) -> Spec:
        found = dict(layer)
        if layer["type"] in ("SimpleRNN", "LSTM", "GRU", "RNN", "Dense"):
            found.setdefault("precision", precision)
        if "layer" in layer:
            found["layer"] = said(layer["layer"])
        if "body" in layer:
            found["body"] = in_precision(layer["body"], precision)
        return found

    return {**spec, "layers": [said(layer) for layer in spec["layers"]]}


def _plain(ref: str) -> str:
    return reference(*split_reference(ref))


def _node(ref: str) -> str:
    return split_reference(ref)[0]


def _model(
    engine: _core.Model,
    spec: Spec,
    entrances: Sequence[Spec],
    calls: Sequence[Spec],
    inputs: Sequence[str],
    outputs: Sequence[str],
    names: dict[str, str],
) -> _core.Model:
    """Some calls of the model, by layers that share their weights with it; ``names``: of what is an input now."""
    layers: dict[str, Spec] = {}
    for node in calls:
        body: dict[str, Any] = {k: v for k, v in node.items() if k not in ("inputs", "owner", "name")}
        layers.setdefault(node["owner"], {"type": body.pop("type"), "name": node["owner"], **body})
    found = [
        {"layer": n["owner"], "name": n["name"], "inputs": [names.get(_plain(r), r) for r in n["inputs"]]}
        for n in calls
    ]
    made = model_spec(spec["name"], [*entrances, *layers.values()], inputs, outputs, found)
    return _core.Model(dumps(made), {name: (engine, name) for name in layers})
