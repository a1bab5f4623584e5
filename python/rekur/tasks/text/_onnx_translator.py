"""A translator as ONNX: one file from texts to texts, its loop within; or an encoder and a decoder of labels."""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rekur.tasks.text._onnx import (
    Builder,
    check_path,
    padded_tokens,
    session_of,
    trial_texts,
    write,
)
from rekur.tasks.text._vocabulary import MARK, UNKNOWN, UNKNOWN_TEXT

if TYPE_CHECKING:
    from rekur.tasks.text.translator import Translator

_OPSET = 20  # the first with an operator that joins texts


def write_translator(estimator: "Translator", path: Any, tokens: bool, options: dict[str, Any]) -> Any:
    """Export, verify whole translations in onnxruntime, and only then write."""
    target = check_path(path)
    import onnx
    from onnx import TensorProto

    import rekur.onnx

    source, written, decoder, _ = estimator._parts
    if "byte_pairs" in (source.level, written.level):
        raise rekur.onnx.ExportError(
            "export_onnx: byte pairs are bytes, which no operator makes of texts: give a path for the decoder, too, "
            "and the files take and give labels"
        )
    opset = int(options.setdefault("opset", _OPSET))
    if opset < _OPSET:
        raise rekur.onnx.ExportError(f"export_onnx: opset: texts are joined by an operator of opset {_OPSET}")
    with tempfile.TemporaryDirectory() as folder:
        parts = [Path(folder) / "encoder.onnx", Path(folder) / "decoder.onnx"]
        report = rekur.onnx.export_seq2seq(decoder, *parts, lengths=True, **options).encoder
        first, step = (onnx.load(str(part)) for part in parts)
    said = json.loads(next(entry.value for entry in step.metadata_props if entry.key == "seq2seq"))
    builder = Builder(opset)
    name = {"character": "characters", "word": "words"}[source.level] if tokens else "text"
    read = builder.tokens(name, source.level, not tokens)
    ids = builder.ids(read, source)
    copied = None
    if estimator.copies_:
        ids, copied = _copies(builder, read, ids, len(source), estimator.copies_)
    x, lengths = builder.steps(ids, None)
    memory = builder.part(first, "encoder/", {"source": x, "lengths": lengths})
    text = _loop(builder, estimator, step, said, memory, lengths, copied)
    builder.output("translation", text, TensorProto.STRING, ["batch"])
    made = builder.model(
        estimator._kind,
        {"source": source.level, "target": written.level},
        "Writes one text for another: at each step the most probable token.",
    )
    _verify(estimator, made, name, tokens)
    return write(target, made, report)


def _copies(builder: Builder, tokens: str, ids: str, first: int, count: int) -> tuple[str, str]:
    """Numbers for the unknown tokens of each row, and the tokens that they stand for, (B, count)."""
    one = builder.constant(np.int64(1))
    unknown = builder.node("Equal", ids, builder.constant(np.int64(UNKNOWN)))
    number = builder.node("CumSum", builder.node("Cast", unknown, to=7), one)  # from 1
    few = builder.node("LessOrEqual", number, builder.constant(np.int64(count)))
    label = builder.node("Add", number, builder.constant(np.int64(first - 1)))
    ids = builder.node("Where", builder.node("And", unknown, few), label, ids)
    # Where each number stands: a column of texts without tokens is there in any case.
    wide = builder.node("Pad", ids, builder.constant(np.array([0, 0, 0, 1])))
    labels = builder.constant(np.arange(first, first + count, dtype=np.int64)[None, None])
    there = builder.node("Equal", builder.node("Unsqueeze", wide, builder.constant(np.array([2]))), labels)
    flags = builder.node("Cast", there, to=7)
    place = builder.node("ArgMax", flags, axis=1, keepdims=0)
    has = builder.node("Cast", builder.node("ReduceMax", flags, builder.constant(np.array([1])), keepdims=0), to=9)
    shape = builder.node("Shape", ids)
    rows = builder.node("Slice", shape, builder.constant(np.array([0])), builder.constant(np.array([1])))
    column = builder.node("Concat", rows, builder.constant(np.array([1])), axis=0)
    empty = builder.node("Expand", builder.constant(np.array([""], object)), column)
    filled = builder.node("Concat", tokens, empty, axis=1)
    found = builder.node("GatherElements", filled, place, axis=1)
    return ids, builder.node("Where", has, found, builder.constant(np.array([UNKNOWN_TEXT], object)))


def _loop(
    builder: Builder,
    estimator: "Translator",
    step: Any,
    said: dict[str, Any],
    memory: dict[str, str],
    lengths: str,
    copied: str | None,
) -> str:
    """The decoder, again and again until every row has ended: the texts (B,)."""
    from onnx import TensorProto, helper

    _, written, _, _ = estimator._parts
    inputs = {value.name: value for value in step.graph.input}
    given = {name: memory[ref] for name, ref in said["given"]}
    rows = builder.node("Shape", lengths)
    column = builder.node("Concat", rows, builder.constant(np.array([1])), axis=0)
    ones = builder.node("ConstantOfShape", rows, value=helper.make_tensor("one", TensorProto.INT32, [1], [1]))
    starts: list[str] = []
    for before, _ in said["states"]:
        if before in given:
            starts.append(given[before])
            continue
        dims = [d.dim_value for d in inputs[before].type.tensor_type.shape.dim[1:]]
        shape = builder.node("Concat", rows, builder.constant(np.array(dims, np.int64)), axis=0)
        starts.append(builder.node("ConstantOfShape", shape))
    label = builder.node("ConstantOfShape", column, value=helper.make_tensor("mark", TensorProto.INT32, [1], [MARK]))
    ended = builder.node("ConstantOfShape", rows, value=helper.make_tensor("not", TensorProto.BOOL, [1], [0]))
    text = builder.node("Expand", builder.constant(np.array([""], object)), rows)

    body = Builder(builder.opset, "step")  # its names are others than those around it
    feeds: dict[str, str] = {said["labels"]: "task/label"}
    carried = [f"task/state_{k}" for k in range(len(starts))]
    feeds |= {before: carried[k] for k, (before, _) in enumerate(said["states"])}
    stepping = set(feeds)
    for name in inputs:
        if name.endswith("_lengths") and name not in given:
            whole = name.removesuffix("_lengths")
            feeds[name] = lengths if whole in given and whole not in stepping else ones
        elif name not in feeds:
            feeds[name] = given[name]
    found = body.part(step, "decoder/", feeds)
    first = next(iter(found.values()))
    scores = body.node("Squeeze", first, body.constant(np.array([1])))
    best = body.node("ArgMax", scores, axis=1, keepdims=0)
    done = body.node("Or", "task/ended", body.node("Equal", best, body.constant(np.int64(MARK))))
    shown = body.node("Where", done, body.constant(np.int64(MARK)), best)
    table = [written.token(k) for k in range(len(written))]
    if copied is None:
        piece = body.node("Gather", body.constant(np.array(table, object)), shown)
    else:
        last = body.constant(np.int64(len(written) - 1))
        plain = body.node("Gather", body.constant(np.array(table, object)), body.node("Min", shown, last))
        number = body.node("Sub", shown, body.constant(np.int64(len(written))))
        place = body.node("Max", number, body.constant(np.int64(0)))
        axis = body.constant(np.array([1]))
        copy = body.node("GatherElements", copied, body.node("Unsqueeze", place, axis), axis=1)
        copy = body.node("Squeeze", copy, axis)
        if written.level == "word":
            begun = body.node("Greater", "task/count", body.constant(np.int64(0)))
            space = body.node("Where", begun, *(body.constant(np.array([between], object)) for between in (" ", "")))
            copy = body.node("StringConcat", space, copy)
        is_copy = body.node("GreaterOrEqual", number, body.constant(np.int64(0)))
        piece = body.node("Where", is_copy, copy, plain)
    longer = body.node("StringConcat", "task/text", piece)
    next_label = body.node("Cast", body.node("Unsqueeze", shown, body.constant(np.array([1]))), to=TensorProto.INT32)
    some = body.node("ReduceMin", body.node("Cast", done, to=TensorProto.INT32), keepdims=0)
    going = body.node("Equal", some, body.constant(np.int32(0)))

    def value(name: str, kind: int, shape: list[Any]) -> Any:
        return helper.make_tensor_value_info(name, kind, shape)

    states = [[d.dim_value for d in inputs[before].type.tensor_type.shape.dim[1:]] for before, _ in said["states"]]
    body_inputs = [
        value("task/count", TensorProto.INT64, []),
        value("task/go_on", TensorProto.BOOL, []),
        value("task/label", TensorProto.INT32, ["batch", 1]),
        value("task/ended", TensorProto.BOOL, ["batch"]),
        value("task/text", TensorProto.STRING, ["batch"]),
        *(value(name, TensorProto.FLOAT, ["batch", *dims]) for name, dims in zip(carried, states, strict=True)),
    ]
    after = [found[later] for _, later in said["states"]]
    body_outputs = [
        value(going, TensorProto.BOOL, []),
        value(next_label, TensorProto.INT32, ["batch", 1]),
        value(done, TensorProto.BOOL, ["batch"]),
        value(longer, TensorProto.STRING, ["batch"]),
        *(value(name, TensorProto.FLOAT, ["batch", *dims]) for name, dims in zip(after, states, strict=True)),
    ]
    graph = helper.make_graph(body.nodes, "step", body_inputs, body_outputs, body.initializers)
    most = builder.constant(np.int64(estimator._most()))
    outputs = builder.node(
        "Loop", most, builder.constant(np.bool_(True)), label, ended, text, *starts, outputs=3 + len(starts), body=graph
    )
    return str(outputs[2])


def _verify(estimator: "Translator", made: Any, name: str, tokens: bool) -> None:
    """Whole translations as those of the engine, unless two tokens are as probable to 1e-4."""
    from rekur.onnx import VerificationError

    session = session_of(made)
    source = estimator._parts[0]
    texts = [text for text in trial_texts([source]) if text]
    for some in (texts, texts[1:2]):
        given = padded_tokens([source.split(text) for text in some]) if tokens else np.array(some, dtype=object)
        (found,) = session.run(None, {name: given})
        for text, theirs, ours in zip(some, found.tolist(), estimator.translate(some, beam_width=1), strict=True):
            if theirs != ours and estimator._margin(text) > 1e-4:
                raise VerificationError(
                    f"export_onnx: of {text!r:.60} onnxruntime made {theirs!r:.60}, the engine {ours!r:.60}; nothing "
                    "was written"
                )


def write_halves(estimator: "Translator", encoder: Any, decoder: Any, options: dict[str, Any]) -> Any:
    """An encoder and a decoder of labels, as of ``rekur.onnx.export_seq2seq``, with the tokens in their metadata."""
    check_path(encoder)
    import rekur.onnx

    source, written, network, _ = estimator._parts
    said = {
        "source": {"level": source.level, "ids": source.ids},
        "target": {"level": written.level, "tokens": [written.token(k) for k in range(len(written))]},
        "copies": estimator.copies_,
    }
    more = {**(options.pop("metadata", None) or {}), "vocabulary": json.dumps(said, ensure_ascii=False)}
    return rekur.onnx.export_seq2seq(network, encoder, decoder, lengths=True, metadata=more, **options)
