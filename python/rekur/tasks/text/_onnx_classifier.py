"""A classifier of texts as one ONNX file: texts, or their tokens, in; labels and probabilities out."""

from typing import TYPE_CHECKING, Any

import numpy as np

from rekur.tasks.text._onnx import (
    Builder,
    check_path,
    differs,
    exported,
    padded_tokens,
    session_of,
    trial_texts,
    write,
)

if TYPE_CHECKING:
    from rekur.tasks.text.classifier import TextClassifier

_NAMES = {"word": "words", "character": "characters"}


def write_classifier(estimator: "TextClassifier", path: Any, tokens: bool, options: dict[str, Any]) -> Any:
    """Export, verify against predict in onnxruntime, and only then write."""
    target = check_path(path)
    from onnx import TensorProto, helper

    vocabularies = estimator._vocabularies
    builder = Builder(int(options.get("opset", 17)))
    feeds: dict[str, str] = {}
    several = len(vocabularies) > 1
    for level, vocabulary in vocabularies.items():
        read = builder.tokens(_NAMES[level] if tokens else "text", level, not tokens)
        ids, lengths = builder.steps(builder.ids(read, vocabulary), estimator.lengths_[level])
        feeds[level] = ids
        feeds[f"{level}_lengths" if several else "lengths"] = lengths
    parts, report = [], None
    for number, model in enumerate(estimator.models_):
        proto, report = exported(model, options, lengths=True)
        logits = builder.part(proto, f"network_{number}/", feeds)["logits"]
        parts.append(builder.node("Sigmoid", logits) if estimator.multilabel_ else builder.node("Softmax", logits))
    probabilities = parts[0] if len(parts) == 1 else builder.node("Mean", *parts)
    classes = estimator.classes_
    if estimator.multilabel_:
        half = builder.constant(np.float32(0.5))
        label = builder.node("Cast", builder.node("GreaterOrEqual", probabilities, half), to=TensorProto.INT64)
        kind, shape = TensorProto.INT64, ["batch", len(classes)]
    else:
        table = classes.astype(object) if classes.dtype.kind in "UO" else classes
        best = builder.node("ArgMax", probabilities, axis=1, keepdims=0)
        label = builder.node("Gather", builder.constant(table, "classes"), best)
        plain = classes.dtype.kind in "UO"
        kind, shape = TensorProto.STRING if plain else helper.np_dtype_to_tensor_dtype(classes.dtype), ["batch"]
    builder.output("label", label, kind, shape)
    builder.output("probabilities", probabilities, TensorProto.FLOAT, ["batch", len(classes)])
    said = {
        "classes": [str(name) for name in classes.tolist()],
        "tokens": {level: {"lower": v.lower, "most": estimator.lengths_[level]} for level, v in vocabularies.items()},
    }
    doc = "Tells classes of texts apart." if not tokens else "Tells classes of texts apart, by their tokens."
    made = builder.model(estimator._kind, said, doc)
    _verify(estimator, made, tokens)
    return write(target, made, report)


def _verify(estimator: "TextClassifier", made: Any, tokens: bool) -> None:
    from rekur.onnx import VerificationError

    session = session_of(made)
    texts = trial_texts(list(estimator._vocabularies.values()))
    longest = max(estimator.lengths_.values())
    for some in (texts, texts[:1], texts[5:6], [" ".join(texts[3:9]) * (1 + longest // 50)]):
        feed: dict[str, Any] = {"text": np.array(some, dtype=object)}
        if tokens:
            feed = {
                _NAMES[level]: padded_tokens([vocabulary.split(text) for text in some])
                for level, vocabulary in estimator._vocabularies.items()
            }
        label, probabilities = session.run(None, feed)
        wanted = estimator.predict_proba(some)
        differs(probabilities, wanted, "probabilities")
        ordered = np.sort(wanted, axis=1)
        sure = ordered[:, -1] - ordered[:, -2] > 1e-4
        if estimator.multilabel_:
            sure = np.abs(wanted - 0.5).min(axis=1) > 1e-4
        if not (np.asarray(label)[sure] == estimator.predict(some)[sure]).all():
            raise VerificationError("export_onnx: onnxruntime gives other labels than predict; nothing was written")
