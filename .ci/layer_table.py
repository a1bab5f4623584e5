"""docs/layers.md, made from the code: `python .ci/layer_table.py` writes it, `--check` compares.

What a layer is called, what it takes and what it is for come from the Python classes; what becomes of a mask and of a
time axis from the engine, which is asked with a small model of each layer.
"""

import inspect
import re
from typing import Any

import numpy as np
from pages import write_or_check

import rekur
from rekur import layers as L

GROUPS: dict[str, tuple[str, ...]] = {
    "Recurrence": (
        "SimpleRNN", "LSTM", "GRU", "RNN", "Bidirectional", "SimpleRNNCell", "LSTMCell", "GRUCell", "StackedRNNCells",
        "AttentionRNN", "Loop", "ConvLSTM1D", "ConvLSTM2D", "GatedLinearAttention", "MLSTM", "SelectiveSSM",
    ),
    "Along time": (
        "Conv1D", "DepthwiseConv1D", "SeparableConv1D", "Conv1DTranspose", "Conv2D", "MaxPooling1D", "AveragePooling1D",
        "MaxPooling2D", "AveragePooling2D", "GlobalMaxPooling1D", "GlobalAveragePooling1D", "UpSampling1D",
        "Cropping1D", "ZeroPadding1D", "Padding1D", "Step", "Flip", "Attention", "AdditiveAttention",
        "MultiHeadAttention",
        "GroupQueryAttention", "PositionEmbedding", "SinePositionEncoding", "RotaryEmbedding", "CRF",
    ),
    "Each step by itself": (
        "Dense", "Activation", "ReLU", "LeakyReLU", "ELU", "PReLU", "Softmax", "Embedding", "LayerNormalization",
        "RMSNormalization", "GroupNormalization", "UnitNormalization", "BatchNormalization", "Affine", "Rescaling",
        "Normalization", "Lambda", "Identity", "Slice", "ActivityRegularization",
    ),
    "In training alone": (
        "Dropout", "SpatialDropout1D", "GaussianNoise", "GaussianDropout", "AlphaDropout",
    ),
    "Several inputs": (
        "Concatenate", "Add", "Subtract", "Multiply", "Divide", "Maximum", "Minimum", "Average", "Dot",
        "Broadcast", "Parameter",
    ),
    "Shapes and steps": (
        "Input", "Masking", "Flatten", "Reshape", "Permute", "RepeatVector", "TimeDistributed", "FoldTime",
        "UnfoldTime",
    ),
}  # fmt: skip
NOT_LAYERS = {"Layer", "Wrapper", "InputLayer", "SymbolicTensor"}
# Constructor arguments for the small models; None: no model of one input says anything about a mask.
HOW: dict[str, Any] = {
    "SimpleRNN": lambda c: c(4, return_sequences=True),
    "LSTM": lambda c: c(4, return_sequences=True),
    "GRU": lambda c: c(4, return_sequences=True),
    "RNN": lambda c: c(rekur.cells.light_gru, 4, return_sequences=True),
    "Bidirectional": lambda c: c(L.LSTM(2, return_sequences=True)),
    "ConvLSTM1D": lambda c: c(2, 1, return_sequences=True),
    "ConvLSTM2D": lambda c: c(2, 1, return_sequences=True),
    "GatedLinearAttention": lambda c: c(1, 2, return_sequences=True),
    "MLSTM": lambda c: c(1, 2, return_sequences=True),
    "SelectiveSSM": lambda c: c(2, return_sequences=True),
    "Conv1D": lambda c: c(3, 2),
    "Conv1DTranspose": lambda c: c(3, 2),
    "SeparableConv1D": lambda c: c(3, 2),
    "DepthwiseConv1D": lambda c: c(2),
    "Dense": lambda c: c(3),
    "Activation": lambda c: c("tanh"),
    "Rescaling": lambda c: c(2.0),
    "Lambda": lambda c: c(lambda x: x * 2),
    "Slice": lambda c: c(0, 2),
    "Step": lambda c: c(-1),
    "TimeDistributed": lambda c: c(L.Dense(2)),
    **{name: lambda c: c(0.5) for name in GROUPS["In training alone"]},
}
SAME_TWICE = {*GROUPS["Several inputs"], "Attention", "AdditiveAttention", "MultiHeadAttention", "GroupQueryAttention"}
STEP: dict[str, tuple[int, ...]] = {"ConvLSTM1D": (3, 4), "ConvLSTM2D": (3, 3, 4)}  # of an input; else a row of 4
HOW["MultiHeadAttention"] = lambda c: c(1, 2)
HOW["GroupQueryAttention"] = lambda c: c(2, 2, 1)
HOW["PositionEmbedding"] = lambda c: c(6)
HOW["GroupNormalization"] = lambda c: c(2)
HOW["Dot"] = lambda c: c(2)
HOW["Reshape"] = lambda c: c((3, -1))
HOW["Permute"] = lambda c: c((2, 1))


def what_for(kind: Any) -> str:
    """The first sentence of a class's docstring."""
    text = " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split())
    text = re.sub(r":\w+:`([^`]*)`", r"`\1`", re.split(r"(?<=\.) ", text)[0]).replace("``", "`")
    return text.replace("|", "\\|")


def arguments(kind: Any) -> str:
    """The constructor's arguments with their defaults."""
    parts = []
    for name, parameter in inspect.signature(kind).parameters.items():
        if name in ("self", "name", "options") or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
        parts.append(f"{name}{default}")
    return f"`{', '.join(parts)}`".replace("|", "\\|") if parts else ""


def mask_of(name: str) -> str:
    """What a layer makes of a mask: asked of the engine."""
    kind = getattr(L, name)
    if not isinstance(kind, type) or not issubclass(kind, L.Layer) or name in ("FoldTime", "UnfoldTime"):
        return ""
    if name == "Masking" or name == "Embedding":
        return "makes one" if name == "Masking" else "makes one (`mask_zero`)"
    step = STEP.get(name, (4,))
    x = rekur.Input((6, *step))
    try:
        layer = HOW.get(name, lambda c: c())(kind)
        y = layer([x, x] if name in SAME_TWICE else x)
    except (TypeError, ValueError):
        return ""
    if len(y.shape) < 3:
        return "ends here"
    engine = rekur.Model(x, y)._engine()
    mask = np.array([[1, 0, 1, 1, 0, 1]], np.uint8)
    (valid,) = engine.valid_steps([np.ones((1, 6, *step), np.float32)], {"masks": [mask]})
    return "ends here" if valid is None else "passes on"


def time_of(name: str) -> str:
    """What a layer makes of the lengths of its rows: asked of the engine."""
    kind = getattr(L, name)
    if not isinstance(kind, type) or not issubclass(kind, L.Layer) or name in ("FoldTime", "UnfoldTime", "Embedding"):
        return ""
    step = STEP.get(name, (4,))
    x = rekur.Input((8, *step))
    try:
        layer = HOW.get(name, lambda c: c())(kind)
        y = layer([x, x] if name in SAME_TWICE else x)
    except (TypeError, ValueError):
        return ""
    if len(y.shape) < 3:
        return "none"
    engine = rekur.Model(x, y)._engine()
    (valid,) = engine.valid_steps([np.ones((1, 8, *step), np.float32)], [np.array([5], np.int32)])
    shown = f"{y.shape[1]} of 8 steps"
    return f"{shown}; its own" if valid is None else "the input's" if y.shape[1] == 8 and valid.sum() == 5 else shown


def table() -> str:
    """All groups, as Markdown."""
    lines: list[str] = []
    known = {name for names in GROUPS.values() for name in names}
    # Keras has two names for some.
    there = {name for name in L.__all__ if name[0].isupper() and getattr(L, name).__name__ == name} - NOT_LAYERS
    if missing := sorted(there - known):
        raise SystemExit(f"give a group in .ci/layer_table.py to {', '.join(missing)}")
    for group, names in GROUPS.items():
        lines += [f"## {group}", "", "| layer | what it is | arguments | time axis | mask |", "|---|---|---|---|---|"]
        for name in names:
            if name not in there:
                continue
            kind = getattr(L, name)
            lines.append(f"| `{name}` | {what_for(kind)} | {arguments(kind)} | {time_of(name)} | {mask_of(name)} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(write_or_check("layers.md", "layer_table.py", table(), "the code says"))
