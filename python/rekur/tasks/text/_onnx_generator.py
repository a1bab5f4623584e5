"""A generator of texts as an ONNX file of one step: a token in, the next one out, the states in and out."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rekur.tasks.text._onnx import Builder, check_path, exported, session_of, write

if TYPE_CHECKING:
    from rekur.tasks.text.generator import TextGenerator

_COLDEST = 1e-6  # a temperature of 0 as a number to divide by


def write_generator(estimator: "TextGenerator", path: Any, strings: bool, options: dict[str, Any]) -> Any:
    """Export, verify in onnxruntime, and only then write."""
    target = check_path(path)
    vocabulary = estimator._vocabulary
    tokens = [vocabulary.token(k) for k in range(len(vocabulary))]
    said = {"level": vocabulary.level, "tokens": tokens, "ends": not estimator.through_}
    if not strings:
        import rekur.onnx  # an extra

        more = {**(options.pop("metadata", None) or {}), "vocabulary": json.dumps(said, ensure_ascii=False)}
        report = rekur.onnx.export(estimator._writer, target, streaming=True, metadata=more, **options)
        report.path = Path(target)
        return report
    from onnx import TensorProto, helper

    proto, report = exported(estimator._writer, options, streaming=True)
    builder = Builder(int(options.get("opset", 17)))
    builder.inputs = [
        helper.make_tensor_value_info("token", TensorProto.STRING, ["batch"]),
        helper.make_tensor_value_info("temperature", TensorProto.FLOAT, []),
        helper.make_tensor_value_info("draw", TensorProto.FLOAT, ["batch"]),
        *(value for value in proto.graph.input if value.name != "tokens"),
    ]
    ids = builder.node("Cast", builder.ids("token", vocabulary), to=TensorProto.INT32)
    states = {value.name: value.name for value in proto.graph.input if value.name != "tokens"}
    found = builder.part(proto, "network/", {"tokens": ids, **states})
    # Of the sums of probabilities so far, how many are below what is drawn: so many labels come before the next one.
    heat = builder.node("Max", "temperature", builder.constant(np.float32(_COLDEST)))
    probabilities = builder.node("Softmax", builder.node("Div", found["logits"], heat), axis=1)
    sums = builder.node("CumSum", probabilities, builder.constant(np.int64(1)))
    last = builder.node("Slice", sums, *(builder.constant(np.array([k])) for k in (len(tokens) - 1, len(tokens), 1)))
    column = builder.node("Unsqueeze", "draw", builder.constant(np.array([1])))
    below = builder.node("LessOrEqual", sums, builder.node("Mul", last, column))
    axis = builder.constant(np.array([1]))
    label = builder.node("ReduceSum", builder.node("Cast", below, to=TensorProto.INT64), axis, keepdims=0)
    label = builder.node("Min", label, builder.constant(np.int64(len(tokens) - 1)))
    builder.output(
        "next", builder.node("Gather", builder.constant(np.array(tokens, object)), label), TensorProto.STRING, ["batch"]
    )
    builder.output("probabilities", probabilities, TensorProto.FLOAT, ["batch", len(tokens)])
    for value in proto.graph.output:
        if value.name != "logits":
            dims = [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
            builder.output(value.name, found[value.name], value.type.tensor_type.elem_type, dims)
    pairs = [[state.input, state.output] for state in _states(proto)]
    made = builder.model(estimator._kind, {**said, "states": pairs}, "Writes a text: one token a run.")
    _verify(estimator, made, pairs)
    return write(target, made, report)


def _states(proto: Any) -> Any:
    from rekur.onnx._states import STATES_KEY, States

    return States.from_json(next(entry.value for entry in proto.metadata_props if entry.key == STATES_KEY)).states


def _verify(estimator: "TextGenerator", made: Any, pairs: list[list[str]]) -> None:
    """Probabilities along a text as those of the network, and what is written at temperature 0 as by ``generate``."""
    import rekur
    from rekur.onnx import VerificationError

    session = session_of(made)
    vocabulary = estimator._vocabulary
    labels = np.random.default_rng(0).integers(1, len(vocabulary), 40)
    states = zero_states(session, pairs)
    stream = rekur.Stream(estimator._writer)
    for number, label in enumerate(labels.tolist()):
        heat = (0.0, 0.5, 1.0)[number % 3]
        token = vocabulary.token(label) if label > 1 else "\N{REPLACEMENT CHARACTER}"
        feed = {
            "token": np.array([token], object),
            "temperature": np.array(heat, np.float32),
            "draw": np.zeros(1, np.float32),
        }
        names = [value.name for value in session.get_outputs()]
        found = dict(zip(names, session.run(None, {**feed, **states}), strict=True))
        states = {before: found[after] for before, after in pairs}
        logits = np.asarray(stream.step(np.array([label], np.int32))).reshape(-1).astype(np.float64)
        if heat:
            raised = np.exp((logits - logits.max()) / heat)
            if not np.abs(found["probabilities"][0] - raised / raised.sum()).max() <= 1e-5:
                raise VerificationError("export_onnx: onnxruntime gives other probabilities; nothing was written")
        else:
            ordered = np.sort(logits)
            best = vocabulary.token(int(logits.argmax()))
            if ordered[-1] - ordered[-2] > 1e-4 and found["next"][0] != best:
                raise VerificationError("export_onnx: onnxruntime writes another token; nothing was written")


def zero_states(session: Any, pairs: list[list[str]]) -> dict[str, Any]:
    """The states of one row before its first token."""
    shapes = {value.name: value.shape for value in session.get_inputs()}
    return {before: np.zeros([1, *shapes[before][1:]], np.float32) for before, _ in pairs}
