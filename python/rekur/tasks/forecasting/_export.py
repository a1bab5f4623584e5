"""A forecaster as one ONNX file: raw values, times and texts in, forecasts out."""

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rekur._files import check_writable, write_atomic
from rekur._validate import as_path
from rekur.tasks.forecasting import _student
from rekur.tasks.forecasting._calibration import scores_of
from rekur.tasks.forecasting._plan import Columns, Plan
from rekur.tasks.forecasting._settings import WHO
from rekur.tasks.forecasting._windows import WindowArrays
from rekur.tasks.forecasting.distributions import FAMILIES

if TYPE_CHECKING:
    from rekur.tasks.forecasting._forecaster import Forecaster

_OPSET, _ML_OPSET = 17, 3
_TOLERANCE = 1e-4


class Nodes:
    """A graph being written."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._count = 0

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """The name of a constant."""
        import onnx

        self._count += 1
        name = f"forecast/constant_{self._count}"
        self.constants.append(onnx.numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def add(self, operator: str, inputs: Sequence[str], name: str | None = None, **attributes: Any) -> str:
        """An operator; the name of what it gives."""
        import onnx

        self._count += 1
        output = name or f"forecast/{operator.lower()}_{self._count}"
        made = onnx.helper.make_node(
            operator, list(inputs), [output], name=f"forecast/node_{self._count}", **attributes
        )
        self.nodes.append(made)
        return output


def export_onnx(model: "Forecaster", path: str | os.PathLike[str], verify: bool) -> list[str]:
    """As :meth:`rekur.tasks.Forecaster.export_onnx`; gives the names of the outputs."""
    import onnx

    target = as_path(path, "export_onnx")
    check_writable(target)
    graph, inputs, given = _front(model)
    told, imports = [], {"": _OPSET, "ai.onnx.ml": _ML_OPSET}
    with tempfile.TemporaryDirectory() as folder:
        for number, network in enumerate(model.models_):
            part = _network(network, Path(folder) / f"{number}.onnx", f"network_{number}/")
            for name, source in given.items():
                graph.add("Identity", [source], name=f"network_{number}/{name}")
            graph.nodes += list(part.graph.node)
            graph.constants += list(part.graph.initializer)
            imports.update({i.domain: max(i.version, imports.get(i.domain, 0)) for i in part.opset_import})
            told.append(part.graph.output[0].name)
    outputs = _answers(graph, told, model)
    made = onnx.helper.make_graph(graph.nodes, "forecaster", inputs, outputs, initializer=graph.constants)
    versions = [onnx.helper.make_opsetid(domain, version) for domain, version in imports.items()]
    whole = onnx.helper.make_model(made, opset_imports=versions, ir_version=8, producer_name="rekur")
    for key, value in _described(model).items():
        onnx.helper.set_model_props(whole, {**_props(whole), key: value})
    onnx.checker.check_model(whole, full_check=True)
    data = whole.SerializeToString()
    if verify:
        check_file(data, model)
    write_atomic(target, data)
    return [output.name for output in outputs]


def _props(model: Any) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}


def _network(network: Any, path: Path, prefix: str) -> Any:
    """One network's own file, its names with a prefix."""
    import onnx

    from rekur.onnx import export

    export(network, path, opset=_OPSET)
    return onnx.compose.add_prefix(onnx.load(path), prefix)


def _front(model: "Forecaster") -> tuple[Nodes, list[Any], dict[str, str]]:
    """What stands before the networks: texts to codes, times to phases. The graph, its inputs, what networks read."""
    import onnx

    plan, graph, inputs = model._plan, Nodes(), []
    context, both = plan.context, plan.context + plan.horizon
    categories: dict[Any, list[str]] = {name: list(values) for name, values in model.description_["categories"]}

    def enters(name: str, kind: int, shape: Sequence[int]) -> str:
        inputs.append(onnx.helper.make_tensor_value_info(name, kind, ["batch", *shape]))
        return name

    given = {"target": enters("target", onnx.TensorProto.FLOAT, [context, plan.targets])}
    for kind, steps in (("past", [context]), ("future", [both]), ("static", [])):
        columns: Columns = getattr(plan, kind)
        if not columns.names:
            continue
        parts: dict[int, str] = {}
        if columns.numbers:
            numbers = enters(kind, onnx.TensorProto.FLOAT, [*steps, len(columns.numbers)])
            for place, column in enumerate(columns.numbers):
                parts[column] = graph.add("Gather", [numbers, graph.constant([place], np.int64)], axis=-1)
        for column, count in enumerate(columns.categories):
            if count:
                name = columns.names[column]
                texts = enters(f"{kind} {name}", onnx.TensorProto.STRING, steps)
                known = categories[name]
                codes = graph.add(
                    "LabelEncoder", [texts], domain="ai.onnx.ml", keys_strings=known,
                    values_floats=[float(code) for code in range(len(known))], default_float=float(len(known)),
                )  # fmt: skip
                parts[column] = graph.add("Unsqueeze", [codes, graph.constant([-1], np.int64)])
        ordered = [parts[column] for column in range(len(columns.names))]
        given[kind] = ordered[0] if len(ordered) == 1 else graph.add("Concat", ordered, axis=-1)
    if plan.periods:
        moments = enters("time", onnx.TensorProto.INT64, [both])
        each = graph.add("Unsqueeze", [moments, graph.constant([2], np.int64)])
        turned = graph.add("Mod", [each, graph.constant(plan.periods, np.int64)])
        exact = graph.add("Cast", [turned], to=onnx.TensorProto.DOUBLE)
        share = graph.add("Div", [exact, graph.constant(plan.periods, np.float64)])
        given["phase"] = graph.add("Cast", [share], to=onnx.TensorProto.FLOAT)
    return graph, inputs, given


def _answers(graph: Nodes, told: list[str], model: "Forecaster") -> list[Any]:
    """What stands behind the networks; the outputs."""
    import onnx

    plan, family = model._plan, model._family
    steps, targets = plan.horizon, plan.targets
    levels = list(model.quantiles_)
    count = len(levels) if family is None else family.count
    shape = graph.constant([0, steps, targets, count], np.int64)
    each = [graph.add("Reshape", [name, shape]) for name in told]

    def leaves(name: str, sizes: Sequence[int]) -> Any:
        return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", *sizes])

    if family is not None and family.counts:
        graph.add("Concat", each, name="parameters", axis=-1) if len(each) > 1 else graph.add(
            "Identity", each, name="parameters"
        )
        return [leaves("parameters", [steps, targets, count * len(each)])]
    if family is not None:
        each = [_quantiles_of(graph, name, family.name, levels) for name in each]
    mean = each[0] if len(each) == 1 else graph.add("Mean", each)
    if len(levels) == 1:
        graph.add("Squeeze", [mean, graph.constant([3], np.int64)], name="forecast")
        return [leaves("forecast", [steps, targets])]
    graph.add("Gather", [mean, graph.constant(levels.index(0.5), np.int64)], name="forecast", axis=3)
    graph.add("Identity", [mean], name="quantiles")
    return [leaves("forecast", [steps, targets]), leaves("quantiles", [steps, targets, len(levels)])]


def _quantiles_of(graph: Nodes, parameters: str, family: str, levels: list[float]) -> str:
    """Quantiles (B, H, K, Q) from parameters (B, H, K, n), for the families in which they are a formula."""
    own = [graph.add("Gather", [parameters, graph.constant([k], np.int64)], axis=3) for k in range(2)]
    if family == "lognormal":
        powers = graph.add("Exp", [graph.add("Mul", [own[1], graph.constant(scores_of(levels))])])
        return graph.add("Mul", [own[0], powers])
    if family == "student_t":
        freedom = graph.add("Gather", [parameters, graph.constant([2], np.int64)], axis=3)
        standard = _student_quantiles(graph, freedom, levels)
    else:
        standard = graph.constant(FAMILIES[family].quantiles(np.asarray([0.0, 1.0]), levels))
    return graph.add("Add", [own[0], graph.add("Mul", [own[1], standard])])


def _student_quantiles(graph: Nodes, freedom: str, levels: list[float]) -> str:
    """The polynomials of :mod:`rekur.tasks.forecasting._student`, by Clenshaw's recurrence."""
    x = graph.add("Sub", [graph.add("Div", [graph.constant(4.0), freedom]), graph.constant(1.0)])
    twice = graph.add("Add", [x, x])
    table = np.zeros((max(len(_student.coefficients(q)) for q in levels), len(levels)))
    for place, q in enumerate(levels):
        own = _student.coefficients(q)
        table[: len(own), place] = own
    one, two = graph.constant(np.zeros(len(levels))), graph.constant(np.zeros(len(levels)))
    for row in table[:0:-1]:
        turned = graph.add("Sub", [graph.add("Mul", [twice, one]), two])
        one, two = graph.add("Add", [turned, graph.constant(row)]), one
    last = graph.add("Sub", [graph.add("Mul", [x, one]), two])
    return graph.add("Add", [last, graph.constant(table[0])])


def _described(model: "Forecaster") -> dict[str, str]:
    """What whoever runs the file has to know, for its metadata."""
    plan = model._plan
    line = model._ends.timeline
    found: dict[str, Any] = {
        "targets": [str(name) for name in model.description_["target"]],
        "horizon": plan.horizon,
        "context": plan.context,
        "quantiles": list(model.quantiles_),
        "output": model.output_,
        "step": line.step,
        "time_zone": line.time_zone,
        "time": _time_in_words(plan),
        "columns": {kind: [str(name) for name in getattr(plan, kind).names] for kind in ("past", "future", "static")},
    }
    if model._family is not None:
        found["parameters"] = list(model._family.parameters)
    return {"rekur.forecaster": json.dumps(found)}


def _time_in_words(plan: Plan) -> str | None:
    if not plan.periods:
        return None
    what = "local time in seconds since 1970-01-01 00:00" if plan.calendar else "the number of each step"
    return f"{what}, of the {plan.context} steps of the context and the {plan.horizon} ahead"


def feeds(model: "Forecaster", arrays: WindowArrays) -> dict[str, NDArray[Any]]:
    """What the file takes for the windows at the ends of series."""
    plan, known = model._plan, arrays.known
    found: dict[str, NDArray[Any]] = {}
    categories = {name: list(values) for name, values in model.description_["categories"]}
    for name, values in arrays.inputs(arrays.last()).items():
        if name == "target":
            found[name] = values
        elif name == "phase":
            begins = [int(known.timeline.ordinal(one.start)) + len(one) - plan.context for one in known.series]
            steps = plan.context + plan.horizon
            if plan.calendar:
                moments = [known.timeline.local(known.timeline.time(begin), steps) for begin in begins]
            else:
                moments = [begin + np.arange(steps) for begin in begins]
            found["time"] = np.asarray(moments, np.int64)
        else:
            columns: Columns = getattr(plan, name)
            if columns.numbers:
                found[name] = np.ascontiguousarray(values[..., columns.numbers])
            for column, count in enumerate(columns.categories):
                if count:
                    texts = np.asarray([*categories[columns.names[column]], ""], object)
                    codes = np.nan_to_num(values[..., column], nan=count).astype(int)
                    found[f"{name} {columns.names[column]}"] = texts[np.clip(codes, 0, count)]
    return found


def check_file(data: bytes, model: "Forecaster") -> None:
    """Run the file in onnxruntime, and compare with the engine.

    Raises
    ------
    RuntimeError
        If they differ.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    ends = model._ends
    arrays = WindowArrays(ends, model._plan)
    results = dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds(model, arrays)), strict=True))
    if "parameters" in results:
        inputs = arrays.inputs(arrays.last())
        each = [np.asarray(network.predict(inputs, batch_size=256)) for network in model.models_]
        shape = (*each[0].shape[:2], model._plan.targets, -1)
        expected = np.concatenate([one.reshape(shape) for one in each], axis=-1)
        found = results["parameters"]
    else:
        levels = list(model.quantiles_)
        expected = model._ahead(ends, levels, "export_onnx")
        found = results["quantiles"] if "quantiles" in results else results["forecast"][..., None]
    spread = np.maximum(np.abs(expected), np.abs(expected).max() * 1e-2)
    worst = float(np.max(np.abs(found - expected) / np.maximum(spread, 1e-12)))
    if not worst <= _TOLERANCE:
        raise RuntimeError(f"{WHO}: export_onnx: the file differs from the engine by {worst:.2g} of its values")
