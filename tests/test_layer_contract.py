"""One contract for every layer type: shapes, errors that name the layer, empty batches, NaN, saving and loading."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rekur
from harness import Engine, floats, input_layer, model_spec
from rekur import _core, cells, models

F32, I32 = "float32", "int32"
Input = tuple[tuple[int | None, ...], str]
SEQUENCE: Input = ((None, None, 3), F32)
ROW: Input = ((None, 3), F32)
STATE: Input = ((None, 4), F32)


class Example:
    """A layer with inputs that suit it, and inputs that do not."""

    def __init__(
        self,
        layer: dict[str, Any],
        inputs: list[Input],
        wrong: list[list[Input]],
        least_steps: int = 0,
        steps: Callable[[int], int] = lambda steps: steps,
    ) -> None:
        self.layer, self.inputs, self.wrong = layer, inputs, wrong
        self.type = layer["type"]
        self.least_steps = least_steps  # shorter sequences are an error
        self.steps = steps  # of the output for those of the input

    def spec(self) -> dict[str, Any]:
        names = [f"in{k}" for k in range(len(self.inputs))]
        sources = [
            input_layer(n, *shape[1:], dtype=dtype) for n, (shape, dtype) in zip(names, self.inputs, strict=True)
        ]
        count = len(_core.infer_layer(json.dumps({**self.layer, "name": "subject"}), self.inputs))
        layer = {**self.layer, "name": "subject", "inputs": names}
        return model_spec([*sources, layer], [f"subject:{k}" for k in range(count)])

    def arrays(self, rng: np.random.Generator, B: int, T: int) -> list[np.ndarray]:
        result = []
        for shape, dtype in self.inputs:
            actual = [B, *(T if d is None else d for d in shape[1:])]
            result.append(floats(rng, *actual) if dtype == F32 else rng.integers(0, 5, actual).astype(np.int32))
        return result


RECURRENT_WRONG: list[list[Input]] = [
    [ROW],  # no time axis
    [((None, None, None), F32)],  # unknown features
    [((None, None, 3), I32)],
    [SEQUENCE, ((None, 5), F32)],  # a state of the wrong width
    [SEQUENCE, ((None, None, 4), F32)],
    [SEQUENCE, STATE, STATE, STATE, STATE, STATE],
    [],
]
POINTWISE_WRONG: list[list[Input]] = [[((None, 3), I32)], [((None, None), F32)], [ROW, ROW], []]
ELEMENTWISE_WRONG: list[list[Input]] = [[ROW, STATE], [ROW, SEQUENCE], [ROW, ((None, 3), I32)], []]
FULL_OUTPUTS = {"return_sequences": True, "return_state": True}
FULL = {"units": 4, **FULL_OUTPUTS}
INSIDE = {"dropout": 0.25, "recurrent_dropout": 0.5, "zoneout": 0.125, "state_clip": 0.75}
NORMALIZED = {"layer_normalization": "both", "normalization_epsilon": 0.1, "gamma_initializer": "ones"}
AROUND = {"units": 3, "residual": True, "learn_initial_state": True, "recurrent_weight_dropout": 0.25}


def recurrent_examples(kind: str) -> list[Example]:
    states = [STATE] * (len(_core.infer_layer(json.dumps({"type": kind, "name": "n", **FULL}), [SEQUENCE])) - 1)
    return [
        Example({"type": kind, "units": 4}, [SEQUENCE], RECURRENT_WRONG),
        Example({"type": kind, **FULL}, [SEQUENCE, *states], RECURRENT_WRONG),
        Example({"type": kind, **FULL, "reverse": True}, [((None, 6, 3), F32)], RECURRENT_WRONG),
    ]


OTHER: Input = ((None, None, 4), F32)
ATTENTION_WRONG: list[list[Input]] = [
    [ROW, SEQUENCE],
    [SEQUENCE, ROW],
    [SEQUENCE, ((None, None), I32)],
    [SEQUENCE, OTHER],  # a query and a key of different features
    [((None, 3, 3), F32), ((None, 4, 3), F32), ((None, 5, 3), F32)],  # a value and a key of different steps
    [SEQUENCE],
    [SEQUENCE] * 4,
]
WINDOW_WRONG: list[list[Input]] = [[ROW], [((None, None), F32)], [((None, None, 3), I32)], [SEQUENCE, SEQUENCE], []]

ROWS: Input = ((None, None, 5, 3), F32)  # of positions
IMAGES: Input = ((None, None, 4, 5, 2), F32)
IMAGES_WRONG: list[list[Input]] = [
    [SEQUENCE],
    [((None, None, 5, 3), I32)],
    [((None, None, None, 3), F32)],  # unknown positions
    [((None, None, 5, None), F32)],
    [((None, None, 1, 3), F32)],  # fewer positions than a window has
    [ROWS, STATE],
    [ROWS, ((None, 4, 3), F32)],
    [],
]

SWISH = {"inputs": ["x"], "nodes": [["sigmoid", 0], ["multiply", 0, 1]], "outputs": [2]}
CENTRED = {"inputs": ["x"], "nodes": [["mean", 0], ["subtract", 0, 1], ["sin", 2]], "outputs": [3]}
NORMED = {
    "inputs": ["a", "b"],
    "nodes": [["mean", 0], ["subtract", 0, 2], ["multiply", 3, 1], ["max", 4]],
    "outputs": [4, 5],
}

TIMED = ((None, None, 1), F32)
PEEPHOLE, CFC, GRU_D = (getattr(cells, name).spec() for name in ("peephole_lstm", "cfc", "gru_d"))


def body_of(nodes: list[dict[str, Any]], inputs: list[str], outputs: list[str]) -> dict[str, Any]:
    return {**model_spec(nodes, outputs), "inputs": inputs}


# A GRU whose step attends to a memory and reads what it found at the step before.
ATTENDING = body_of(
    [
        input_layer("x", 1, 3),
        input_layer("memory", None, 4),
        input_layer("h", 4),
        input_layer("fed", 1, 4),
        {"type": "Concatenate", "name": "joined", "inputs": ["x", "fed"]},
        {"type": "GRU", "name": "cell", "inputs": ["joined", "h"], **FULL},
        {"type": "Attention", "name": "context", "inputs": ["cell", "memory"]},
        {"type": "Add", "name": "y", "inputs": ["cell", "context"]},
    ],
    ["x", "memory", "h", "fed"],
    ["y", "cell:1", "context"],
)
COUNTING = body_of(
    [
        input_layer("x", 1, 3),
        input_layer("scale", 3),
        input_layer("sum", 1, 3),
        {"type": "Add", "name": "y", "inputs": ["x", "sum"]},
        {"type": "Step", "name": "row", "inputs": ["y"], "index": 0},
        {"type": "Multiply", "name": "scaled", "inputs": ["row", "scale"]},
    ],
    ["x", "scale", "sum"],
    ["scaled", "y"],
)
LOOP_WRONG: list[list[Input]] = [
    [SEQUENCE],
    [SEQUENCE, STATE],
    [ROW, OTHER],
    [SEQUENCE, SEQUENCE],
    [SEQUENCE, OTHER, ((None, 3), F32)],
    [SEQUENCE, ((None, None, 4), I32)],
    [SEQUENCE, OTHER, STATE, ((None, 1, 4), F32), STATE],
]

EXAMPLES = [
    Example({"type": "Loop", "body": ATTENDING, "states": 2}, [SEQUENCE, OTHER], LOOP_WRONG),
    Example({"type": "Loop", "body": ATTENDING, "states": 2, **FULL_OUTPUTS}, [SEQUENCE, OTHER, STATE], LOOP_WRONG),
    Example({"type": "Loop", "body": COUNTING, "states": 1, "return_sequences": True}, [SEQUENCE, ROW], [[SEQUENCE]]),
    Example({"type": "RNN", "cell": PEEPHOLE, "units": 4}, [SEQUENCE], RECURRENT_WRONG),
    Example({"type": "RNN", "cell": PEEPHOLE, **FULL, "use_bias": False}, [SEQUENCE, STATE, STATE], RECURRENT_WRONG),
    Example({"type": "RNN", "cell": CFC, **FULL, "reverse": True}, [SEQUENCE, TIMED], [[SEQUENCE], [SEQUENCE, STATE]]),
    Example({"type": "RNN", "cell": GRU_D, "units": 3}, [SEQUENCE, SEQUENCE, TIMED], [[SEQUENCE]]),
    Example(
        {"type": "Bidirectional", "layer": {"type": "RNN", "cell": CFC, **FULL}}, [SEQUENCE, TIMED, STATE, STATE], []
    ),
    *(example for kind in ("SimpleRNN", "LSTM", "GRU") for example in recurrent_examples(kind)),
    Example({"type": "GRU", "units": 4, "reset_after": False}, [SEQUENCE], RECURRENT_WRONG),
    Example({"type": "LSTM", **FULL, "peepholes": True, "clip": 2.0}, [SEQUENCE, STATE, STATE], RECURRENT_WRONG),
    Example({"type": "LSTM", **FULL, "peepholes": True, "coupled_gates": True}, [SEQUENCE, STATE], RECURRENT_WRONG),
    Example({"type": "LSTM", "units": 4, "coupled_gates": True, "output_activation": "softplus"}, [SEQUENCE], []),
    Example({"type": "Bidirectional", "layer": {"type": "LSTM", **FULL}}, [SEQUENCE, *[STATE] * 4], RECURRENT_WRONG),
    Example({"type": "Bidirectional", "layer": {"type": "GRU", "units": 4}, "merge_mode": "ave"}, [SEQUENCE], []),
    Example({"type": "LSTM", **FULL, **NORMALIZED, "state_clip": {"c": 0.5}}, [SEQUENCE, STATE], RECURRENT_WRONG),
    Example({"type": "LSTM", **FULL, **INSIDE, "clip": 2.0}, [SEQUENCE, STATE], RECURRENT_WRONG),
    Example({"type": "GRU", **FULL, **INSIDE, **NORMALIZED}, [SEQUENCE, STATE], RECURRENT_WRONG),
    Example({"type": "GRU", **FULL, **NORMALIZED, "reset_after": False}, [SEQUENCE], RECURRENT_WRONG),
    Example({"type": "SimpleRNN", **INSIDE, "units": 4, "learn_initial_state": True}, [SEQUENCE], RECURRENT_WRONG),
    Example({"type": "RNN", "cell": PEEPHOLE, **FULL, **INSIDE, **NORMALIZED}, [SEQUENCE, STATE], RECURRENT_WRONG),
    Example({"type": "RNN", "cell": CFC, **FULL, **INSIDE, **NORMALIZED}, [SEQUENCE, TIMED, STATE], []),
    Example({"type": "Bidirectional", "layer": {"type": "LSTM", **FULL, **INSIDE, **NORMALIZED}}, [SEQUENCE], []),
    Example({"type": "RNN", "cell": PEEPHOLE, **AROUND, **FULL_OUTPUTS}, [SEQUENCE], [[STATE]]),
    Example({"type": "LSTM", **FULL, "learn_initial_state": True}, [SEQUENCE, STATE], RECURRENT_WRONG),
    Example({"type": "LSTM", **FULL, "projection_size": 3, "residual": True}, [SEQUENCE], [[SEQUENCE, STATE]]),
    Example({"type": "SimpleRNN", "units": 5, "projection_size": 4, "return_state": True}, [SEQUENCE, STATE], []),
    Example(
        {"type": "LSTM", **FULL, "projection_size": 1, "learn_initial_state": True, "peepholes": True}, [SEQUENCE], []
    ),
    Example({"type": "GRU", **AROUND, **FULL_OUTPUTS}, [SEQUENCE], [[SEQUENCE, STATE], [((None, None, 4), F32)]]),
    Example({"type": "LSTM", **AROUND}, [SEQUENCE], []),
    Example({"type": "SimpleRNN", **AROUND, "reverse": True}, [SEQUENCE], []),
    Example(
        {
            "type": "Bidirectional",
            "layer": {"type": "LSTM", "units": 3, "learn_initial_state": True, **FULL_OUTPUTS},
            "merge_mode": "sum",
            "residual": True,
        },
        [SEQUENCE],
        [[((None, None, 4), F32)]],
    ),
    Example({"type": "GatedLinearAttention", "num_heads": 2, "key_dim": 3}, [SEQUENCE], RECURRENT_WRONG),
    *(
        Example(
            {"type": "GatedLinearAttention", "num_heads": 1, "key_dim": 2, "mode": mode, "units": 4, **FULL_OUTPUTS},
            [SEQUENCE, STATE],
            RECURRENT_WRONG,
        )
        for mode in ("linear", "gated", "delta", "gated_delta")
    ),
    Example({"type": "MLSTM", "num_heads": 2, "key_dim": 3}, [SEQUENCE], RECURRENT_WRONG),
    Example({"type": "MLSTM", "num_heads": 2, "key_dim": 3, "reverse": True, **FULL_OUTPUTS}, [SEQUENCE], []),
    Example(
        {"type": "GatedLinearAttention", "num_heads": 2, "key_dim": 3, "mode": "gated_delta", "reverse": True},
        [SEQUENCE],
        RECURRENT_WRONG,
    ),
    Example(
        {"type": "MLSTM", "num_heads": 1, "key_dim": 1, "value_dim": 2, "units": 4, **FULL_OUTPUTS},
        [SEQUENCE, STATE],
        RECURRENT_WRONG,
    ),
    Example({"type": "SelectiveSSM", "state_size": 2}, [SEQUENCE], RECURRENT_WRONG),
    Example(
        {"type": "SelectiveSSM", "state_size": 2, "conv_kernel": 3, "expand": 1, "units": 4, **FULL_OUTPUTS},
        [SEQUENCE, ((None, 12), F32)],
        RECURRENT_WRONG,
    ),
    Example(
        {"type": "SelectiveSSM", "state_size": 1, "conv_kernel": 1, "dt_rank": 2, "use_bias": True, "reverse": True},
        [SEQUENCE],
        RECURRENT_WRONG,
    ),
    Example({"type": "Attention"}, [SEQUENCE, SEQUENCE], ATTENTION_WRONG),
    Example(
        {"type": "Attention", "use_scale": True, "use_causal_mask": True}, [SEQUENCE, OTHER, SEQUENCE], [[ROW, ROW]]
    ),
    Example(
        {"type": "Attention", "score_mode": "concat", "use_scale": True, "return_attention_scores": True},
        [SEQUENCE, SEQUENCE],
        ATTENTION_WRONG,
    ),
    Example({"type": "AdditiveAttention", "sliding_window": 2}, [SEQUENCE, SEQUENCE], ATTENTION_WRONG),
    Example({"type": "MultiHeadAttention", "num_heads": 2, "key_dim": 3}, [SEQUENCE, OTHER], [[ROW, ROW], [SEQUENCE]]),
    Example(
        {
            "type": "MultiHeadAttention",
            "num_heads": 3,
            "key_dim": 2,
            "value_dim": 5,
            "output_shape": 4,
            "use_bias": False,
            "use_causal_mask": True,
            "return_attention_scores": True,
        },
        [SEQUENCE, SEQUENCE, OTHER],
        [[SEQUENCE, ROW]],
    ),
    Example(
        {"type": "GroupQueryAttention", "head_dim": 2, "num_query_heads": 4, "num_key_value_heads": 2},
        [SEQUENCE, SEQUENCE],
        [],
    ),
    Example(
        {"type": "PositionEmbedding", "sequence_length": 50},
        [SEQUENCE],
        [[ROW], [((None, 51, 3), F32)], [((None, None, 2, 3), F32)], [SEQUENCE, SEQUENCE]],
    ),
    Example({"type": "SinePositionEncoding"}, [SEQUENCE], [[ROW], [((None, None), I32)]]),
    Example({"type": "RotaryEmbedding", "scaling_factor": 2.5}, [OTHER], [[STATE], [SEQUENCE]]),
    Example({"type": "RotaryEmbedding", "max_wavelength": 100}, [((None, None, 3, 2), F32)], []),
    Example(
        {"type": "Conv1D", "filters": 4, "kernel_size": 3}, [SEQUENCE], WINDOW_WRONG, steps=lambda T: max(T - 2, 0)
    ),
    Example(
        {"type": "Conv1D", "filters": 6, "kernel_size": 3, "padding": "causal", "dilation_rate": 2, "groups": 3},
        [SEQUENCE],
        [*WINDOW_WRONG, [((None, None, 4), F32)]],
    ),
    Example(
        {"type": "Conv1D", "filters": 2, "kernel_size": 2, "padding": "same", "strides": 2, "use_bias": False},
        [SEQUENCE],
        [],
        steps=lambda T: -(-T // 2),
    ),
    Example(
        {"type": "DepthwiseConv1D", "kernel_size": 2, "depth_multiplier": 2, "activation": "tanh", "padding": "same"},
        [SEQUENCE],
        WINDOW_WRONG,
    ),
    Example(
        {"type": "Conv1DTranspose", "filters": 2, "kernel_size": 3, "strides": 2},
        [SEQUENCE],
        WINDOW_WRONG,
        steps=lambda T: 2 * T + 1 if T else 0,
    ),
    Example({"type": "ConvLSTM1D", "filters": 2, "kernel_size": 3}, [ROWS], IMAGES_WRONG),
    Example(
        {"type": "ConvLSTM1D", "filters": 2, "kernel_size": [2], **FULL_OUTPUTS},
        [ROWS, ((None, 4, 2), F32), ((None, 4, 2), F32)],
        IMAGES_WRONG,
    ),
    Example(
        {
            "type": "ConvLSTM1D",
            "filters": 3,
            "kernel_size": 2,
            "padding": "same",
            "strides": 2,
            "reverse": True,
            "return_sequences": True,
            "dropout": 0.25,
            "recurrent_dropout": 0.5,
        },
        [ROWS],
        [[SEQUENCE]],
    ),
    Example({"type": "ConvLSTM2D", "filters": 3, "kernel_size": 2, **FULL_OUTPUTS}, [IMAGES], [[ROWS], [SEQUENCE]]),
    Example(
        {
            "type": "ConvLSTM2D",
            "filters": 2,
            "kernel_size": [3, 2],
            "padding": "same",
            "dilation_rate": [1, 2],
            "use_bias": False,
            "activation": "relu",
        },
        [IMAGES, ((None, 4, 5, 2), F32)],
        [[IMAGES, ((None, 4, 5, 3), F32)]],
    ),
    Example({"type": "MaxPooling1D"}, [SEQUENCE], WINDOW_WRONG, steps=lambda T: T // 2),
    Example(
        {"type": "AveragePooling1D", "pool_size": 3, "strides": 2, "padding": "same"},
        [SEQUENCE],
        WINDOW_WRONG,
        steps=lambda T: -(-T // 2),
    ),
    Example({"type": "GlobalMaxPooling1D"}, [SEQUENCE], WINDOW_WRONG),
    Example({"type": "GlobalAveragePooling1D", "keepdims": True}, [SEQUENCE], WINDOW_WRONG),
    Example({"type": "UpSampling1D", "size": 3}, [SEQUENCE], WINDOW_WRONG, steps=lambda T: 3 * T),
    Example({"type": "Cropping1D", "cropping": [1, 2]}, [SEQUENCE], WINDOW_WRONG, steps=lambda T: max(T - 3, 0)),
    Example({"type": "ZeroPadding1D", "padding": [2, 1]}, [SEQUENCE], WINDOW_WRONG, steps=lambda T: T + 3 if T else 0),
    *(
        Example(
            {"type": "Padding1D", "padding": [2, 1], **how}, [SEQUENCE], WINDOW_WRONG, steps=lambda T: T + 3 if T else 0
        )
        for how in ({"mode": "reflect"}, {"mode": "edge"}, {"mode": "wrap"}, {"value": 0.5})
    ),
    Example({"type": "Flatten"}, [((None, 4, 3), F32)], [[SEQUENCE], *POINTWISE_WRONG]),
    Example({"type": "Reshape", "target_shape": [2, -1]}, [((None, 4, 3), F32)], [[((None, 3, 3), F32)], [SEQUENCE]]),
    Example({"type": "Reshape", "target_shape": [-1, 1]}, [SEQUENCE], POINTWISE_WRONG, steps=lambda T: 3 * T),
    Example({"type": "Permute", "dims": [2, 1]}, [((None, 4, 3), F32)], [[SEQUENCE], [ROW], *POINTWISE_WRONG]),
    Example({"type": "RepeatVector", "n": 3}, [ROW], [[SEQUENCE], *POINTWISE_WRONG]),
    Example({"type": "Dense", "units": 5}, [ROW], [[((None, None), F32)], [((None, 3), I32)], [ROW, ROW], []]),
    Example({"type": "Dense", "units": 5, "activation": "softmax"}, [SEQUENCE], []),
    Example({"type": "Dense", "units": 5, "activation": {"name": "swish", "equations": SWISH}}, [SEQUENCE], []),
    Example({"type": "Dense", "units": 5, "activation": {"name": "centred", "equations": CENTRED}}, [ROW], []),
    Example({"type": "Activation", "activation": {"name": "swish", "equations": SWISH}}, [ROW], []),
    Example({"type": "Activation", "activation": {"name": "c", "equations": CENTRED}}, [SEQUENCE], POINTWISE_WRONG),
    Example({"type": "Activation", "activation": "tanh"}, [SEQUENCE], [[((None, 3), I32)], [ROW, ROW]]),
    Example({"type": "Activation", "activation": "softmax"}, [ROW], []),
    Example({"type": "Activation", "activation": "softplus"}, [ROW], []),
    Example({"type": "Activation", "activation": "thresholded_relu"}, [ROW], []),
    Example({"type": "Dropout", "rate": 0.5}, [SEQUENCE], [[((None, 3), I32)], [ROW, ROW]]),
    Example({"type": "Embedding", "input_dim": 5, "output_dim": 3}, [((None, None), I32)], [[ROW], [SEQUENCE], []]),
    Example({"type": "Embedding", "input_dim": 5, "output_dim": 3}, [((None,), I32)], []),
    Example({"type": "Concatenate"}, [ROW, STATE], [[ROW, SEQUENCE], [ROW, ((None, 3), I32)], []]),
    Example({"type": "Concatenate", "axis": -1}, [SEQUENCE, ((None, None, 2), F32)], []),
    Example(
        {"type": "Concatenate", "axis": 1},
        [((None, 4, 3), F32), ((None, 2, 3), F32)],
        [[SEQUENCE, ((None, None, 2), F32)], [SEQUENCE]],
    ),
    Example({"type": "Add"}, [SEQUENCE, SEQUENCE], ELEMENTWISE_WRONG),
    Example({"type": "Multiply"}, [ROW, ROW, ROW], ELEMENTWISE_WRONG),
    Example({"type": "Subtract"}, [SEQUENCE, SEQUENCE], [*ELEMENTWISE_WRONG, [ROW, ROW, ROW], [ROW]]),
    Example({"type": "Divide"}, [ROW, ROW], [*ELEMENTWISE_WRONG, [ROW, ROW, ROW], [ROW]]),
    Example({"type": "LayerNormalization"}, [ROW], POINTWISE_WRONG),
    Example({"type": "LayerNormalization", "epsilon": 1e-5, "center": False, "scale": False}, [SEQUENCE], []),
    Example({"type": "Affine"}, [SEQUENCE], POINTWISE_WRONG),
    Example({"type": "Affine", "center": False}, [ROW], []),
    Example({"type": "BatchNormalization"}, [SEQUENCE], POINTWISE_WRONG),
    Example({"type": "BatchNormalization", "momentum": 0.5, "epsilon": 1e-5, "center": False}, [ROW], []),
    Example({"type": "BatchNormalization", "scale": False, "moving_variance_initializer": "ones"}, [ROW], []),
    *(
        Example(
            {"type": "CRF", "units": 3, "output_mode": mode, "transition_initializer": "uniform", **more},
            [SEQUENCE],
            [[ROW], [OTHER], [((None, None, 3), I32)], [((None, None, 4, 3), F32)], [SEQUENCE, SEQUENCE], []],
        )
        for mode in ("tags", "marginals")
        for more in ({"boundary_initializer": "uniform"}, {"use_boundary": False})
    ),
    Example({"type": "PReLU", "alpha_initializer": "uniform"}, [ROW], [*POINTWISE_WRONG, [SEQUENCE]]),
    Example({"type": "PReLU", "shared_axes": [1]}, [SEQUENCE], POINTWISE_WRONG),
    Example({"type": "PReLU"}, [((None, 4, 3), F32)], []),
    Example({"type": "PReLU", "shared_axes": [1, 2]}, [SEQUENCE], [[ROW]]),
    Example({"type": "Parameter", "shape": [4, 3]}, [ROW], [[ROW, ROW], []], steps=lambda T: 4),
    Example({"type": "Parameter", "shape": [1, 5], "initializer": "uniform"}, [SEQUENCE], []),
    Example({"type": "Parameter", "shape": [3], "beside": True}, [SEQUENCE], POINTWISE_WRONG),
    Example({"type": "Parameter", "shape": [], "beside": True}, [SEQUENCE], []),
    Example({"type": "Parameter", "shape": [7], "beside": True}, [ROW], []),
    Example({"type": "Parameter", "shape": [4, 1], "beside": True}, [((None, 4, 3), F32)], [[SEQUENCE], [ROW]]),
    Example({"type": "SpatialDropout1D", "rate": 0.5}, [SEQUENCE], [[ROW], [SEQUENCE, SEQUENCE], []]),
    Example({"type": "GaussianNoise", "stddev": 0.5}, [SEQUENCE], POINTWISE_WRONG),
    Example({"type": "GaussianDropout", "rate": 0.5}, [ROW], POINTWISE_WRONG),
    Example({"type": "AlphaDropout", "rate": 0.5}, [SEQUENCE], POINTWISE_WRONG),
    Example({"type": "ActivityRegularization", "l1": 0.5, "l2": 0.25}, [SEQUENCE], POINTWISE_WRONG),
    Example({"type": "Broadcast"}, [((None, None, 1), F32), SEQUENCE], [[ROW], [ROW, ((None, 3), I32)], []]),
    Example({"type": "Broadcast"}, [((None, 1), F32), ROW], [[STATE, ROW], [ROW, ((None, None, 4), F32)]]),
    Example({"type": "Dot", "axes": [1, 1]}, [ROW, ROW], [[ROW, STATE], [ROW], [ROW, ((None, 3), I32)]]),
    Example({"type": "Dot", "axes": [2, 2]}, [SEQUENCE, ((None, 5, 3), F32)], [[SEQUENCE, ROW], [ROW, ROW]]),
    Example({"type": "Dot", "axes": [2, 1]}, [((None, 4, 3), F32), ROW], [[ROW, ROW]]),
    Example({"type": "Dot", "axes": [1, 1]}, [SEQUENCE, SEQUENCE], [[ROW, STATE]]),
    Example({"type": "Rescaling", "scale": 3, "offset": [1, 2.5, -3]}, [ROW], [*POINTWISE_WRONG, [STATE]]),
    Example({"type": "Rescaling", "scale": [0.5, 0, 1e-3]}, [SEQUENCE], [[((None, None, 2), F32)]]),
    Example({"type": "Lambda", "equations": SWISH}, [SEQUENCE], POINTWISE_WRONG),
    Example({"type": "Lambda", "equations": NORMED}, [ROW, ((None, 1), F32)], ELEMENTWISE_WRONG),
    Example({"type": "Lambda", "equations": NORMED}, [SEQUENCE, SEQUENCE], [[SEQUENCE, ROW], [SEQUENCE]]),
    Example({"type": "Step", "index": -1}, [SEQUENCE], [[ROW], [((None, 0, 3), F32)], *POINTWISE_WRONG], 1),
    Example({"type": "Step", "index": 2}, [SEQUENCE], [[((None, 2, 3), F32)]], 3),
    Example({"type": "Masking"}, [SEQUENCE], [[ROW], *POINTWISE_WRONG]),
    Example({"type": "Embedding", "input_dim": 5, "output_dim": 3, "mask_zero": True}, [((None, None), I32)], []),
    Example({"type": "Flip"}, [SEQUENCE], [[ROW], *POINTWISE_WRONG]),
    Example({"type": "Slice", "start": 1, "stop": 3}, [SEQUENCE], [*POINTWISE_WRONG, [((None, 2), F32)]]),
    Example({"type": "Slice", "start": -2}, [ROW], [[((None, 1), F32)]]),
]
every_layer = pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: f"{e.type}-{len(e.inputs)}")
every_float_layer = pytest.mark.parametrize(
    "example", [e for e in EXAMPLES if e.inputs[0][1] == F32], ids=lambda e: f"{e.type}-{len(e.inputs)}"
)
OPTIONAL = {
    ("GatedLinearAttention", "units"),
    ("MLSTM", "units"),
    ("SelectiveSSM", "units"),
    ("SelectiveSSM", "dt_rank"),
    ("MultiHeadAttention", "value_dim"),
}
REFOLDED = ("FoldTime", "UnfoldTime")  # other rows than those that come: test_time_distributed.py
EMPTY_OR_NOT = [(4, 5), (1, 1), (0, 5), (4, 0), (0, 0)]


def test_every_layer_type_is_here() -> None:
    assert {example.type for example in EXAMPLES} | {"Input", "AddLoss", *REFOLDED} == set(_core.layer_types())


@every_layer
@pytest.mark.parametrize(("B", "T"), EMPTY_OR_NOT)
def test_inferred_shapes_are_those_of_the_results(rng: np.random.Generator, example: Example, B: int, T: int) -> None:
    """Also of an empty batch, and of sequences without a step."""
    engine = Engine(example.spec())
    inputs = example.arrays(rng, B, max(T, example.least_steps))
    inferred = _core.infer_layer(json.dumps({**example.layer, "name": "subject"}), example.inputs)
    assert [(tuple(shape), dtype) for _, shape, dtype in engine.model.outputs] == [(tuple(s), d) for s, d in inferred]
    time = example.steps(inputs[0].shape[1] if inputs[0].ndim > 1 else T)
    outputs = engine.predict(inputs)
    for y, (shape, dtype) in zip(outputs, inferred, strict=True):
        assert y.shape == tuple(size if d is None else d for d, size in zip(shape, (B, *[time] * 4), strict=False))
        assert y.dtype == np.dtype(dtype)
        assert np.isfinite(y).all()
    trained, d_weights, d_inputs = engine.gradients(inputs, [np.ones_like(y) for y in outputs])
    assert [y.shape for y in trained] == [y.shape for y in outputs]
    for x, dx in zip(inputs, d_inputs, strict=True):
        assert dx is None if x.dtype == np.int32 else dx is not None and dx.shape == x.shape
    if B == 0:
        assert all(not g.any() for g in d_weights.values())


@every_layer
def test_wrong_inputs_are_refused_by_name(example: Example) -> None:
    layer = json.dumps({**example.layer, "name": "subject"})
    for wrong in example.wrong:
        with pytest.raises(ValueError, match=f"{example.type} 'subject': "):
            _core.infer_layer(layer, wrong)


@every_layer
def test_wrong_arrays_are_refused(rng: np.random.Generator, example: Example) -> None:
    engine = Engine(example.spec())
    inputs = example.arrays(rng, 3, 4)
    first = inputs[0]
    if first.dtype == np.float32:
        with pytest.raises(ValueError, match=r"in0.*\(3, "):
            engine.predict([np.repeat(first, 2, axis=-1), *inputs[1:]])
    with pytest.raises(ValueError, match="in0"):
        engine.predict([first[None], *inputs[1:]])
    with pytest.raises(TypeError):
        engine.predict([first.astype(np.float64), *inputs[1:]])  # type: ignore[list-item]
    with pytest.raises((TypeError, ValueError), match=r"in0|float32|int32"):
        engine.predict([first.astype(np.int32 if first.dtype == np.float32 else np.float32), *inputs[1:]])
    with pytest.raises(ValueError):
        engine.predict([*inputs, first])
    if len(inputs) > 1:
        with pytest.raises(ValueError, match="in1"):
            engine.predict([first, inputs[1][:-1].copy(), *inputs[2:]])


@every_float_layer
def test_nan_in_gives_nan_out_of_its_own_row_only(isa: str, rng: np.random.Generator, example: Example) -> None:
    engine = Engine(example.spec())
    inputs = example.arrays(rng, 5, 4)
    clean = engine.predict(inputs)
    if example.type in ("PositionEmbedding", "SinePositionEncoding", "Parameter"):
        return  # what x is makes no difference
    inputs[0][2, ..., -1] = np.nan
    for y, want in zip(engine.predict(inputs), clean, strict=True):
        assert np.isnan(y[2]).any()
        np.testing.assert_array_equal(np.delete(y, 2, axis=0), np.delete(want, 2, axis=0))
    if example.type == "BatchNormalization":
        return  # in training a batch's statistics are those of all its rows
    _, d_weights, d_inputs = engine.gradients(inputs, [np.ones_like(y) for y in clean])
    assert all(np.isnan(g).any() for name, g in d_weights.items() if name.endswith("/kernel"))
    for dx in d_inputs:
        assert dx is not None and np.isfinite(np.delete(dx, 2, axis=0)).all()


@every_float_layer
def test_infinite_and_huge_inputs_do_not_crash(isa: str, rng: np.random.Generator, example: Example) -> None:
    engine = Engine(example.spec())
    inputs = example.arrays(rng, 5, 4)
    for value in (np.inf, -np.inf, 3e38, 1e-42):
        inputs[0][1] = value
        y = engine.predict(inputs)
        engine.gradients(inputs, [np.ones_like(v) for v in y])


@every_layer
def test_a_layer_survives_its_file(rng: np.random.Generator, example: Example, tmp_path: Path) -> None:
    engine = Engine(example.spec())
    inputs = example.arrays(rng, 3, 4)
    path = str(tmp_path / "layer.safetensors")
    engine.model.save(path)
    loaded, tensors, _ = _core.load(path)
    assert not tensors
    assert json.loads(loaded.spec) == json.loads(engine.model.spec)
    assert loaded.parameters == engine.model.parameters
    np.testing.assert_array_equal(loaded.get_weights(), engine.model.get_weights())
    for got, want in zip(loaded.predict(inputs), engine.predict(inputs), strict=True):
        np.testing.assert_array_equal(got, want)


@every_layer
def test_a_layer_is_made_again_of_its_configuration(example: Example) -> None:
    core = _core.Model(json.dumps(example.spec()))
    core.initialize(1)
    model = rekur.Model._of_core(core, 1, None)
    for twin in (models.model_from_json(model.to_json()), models.clone_model(model)):
        assert [layer.spec() for layer in twin.layers] == [layer.spec() for layer in model.layers]
        twin.set_weights(model.get_weights())


@every_layer
def test_unknown_missing_and_mistyped_keys_are_refused(example: Example) -> None:
    layer = {**example.layer, "name": "subject"}
    with pytest.raises(ValueError, match="unitz"):
        _core.infer_layer(json.dumps({**layer, "unitz": 3}), example.inputs)
    spec = example.spec()
    spec["layers"][-1]["unitz"] = 3
    with pytest.raises(ValueError, match=r"subject.*unitz"):
        _core.Model(json.dumps(spec))
    for key in (
        "units",
        "rate",
        "input_dim",
        "output_dim",
        "layer",
        "num_heads",
        "key_dim",
        "filters",
        "kernel_size",
        "n",
    ):
        if key not in layer:
            continue
        without = json.dumps({k: v for k, v in layer.items() if k != key})
        if (example.type, key) in OPTIONAL:
            _core.infer_layer(without, example.inputs)
        else:
            with pytest.raises(ValueError, match=key):
                _core.infer_layer(without, example.inputs)
        for bad in ("four", -1, 0 if key != "rate" else 1.0, None, [], True, 2**62):
            with pytest.raises(ValueError, match="subject"):
                _core.infer_layer(json.dumps({**layer, key: bad}), example.inputs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "keras"}, "format"),
        ({"version": 3}, "version"),
        ({"surprise": 1}, "surprise"),
        ({"inputs": ["nowhere"]}, "nowhere"),
        ({"outputs": ["nowhere"]}, "nowhere"),
        ({"outputs": ["dense:1"]}, "dense:1"),
        ({"outputs": []}, "output"),
        ({"layers": []}, "unknown layer 'x'"),
    ],
)
def test_a_wrong_spec_is_refused(change: dict[str, Any], message: str) -> None:
    dense = {"type": "Dense", "name": "dense", "inputs": ["x"], "units": 1}
    spec = model_spec([input_layer("x", 2), dense], ["dense"])
    _core.Model(json.dumps(spec))
    with pytest.raises(ValueError, match=message):
        _core.Model(json.dumps({**spec, **change}))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"type": "LSTN"}, r"LSTM"),  # the suggestion
        ({"name": "x"}, "'x'"),  # taken
        ({"name": "a/b"}, "a/b"),
        ({"name": ""}, "name"),
        ({"inputs": ["lstm"]}, "lstm"),  # itself
        ({"inputs": ["later"]}, "later"),
        ({"activation": "tahn"}, r"'lstm'.*tanh"),
        ({"activation": "softmax"}, r"'lstm'.*softmax"),
        ({"activation": {"name": "tanh", "alpha": 1}}, r"'lstm'.*alpha"),
        ({"activation": {"name": "leaky_relu", "alpha": -1}}, r"'lstm'.*alpha"),
        ({"kernel_initializer": "glorot"}, r"'lstm'.*glorot"),
        ({"units": 2**40}, "lstm"),
        ({"reset_after": True}, r"'lstm'.*reset_after"),
        ({"return_state": 1}, r"'lstm'.*return_state"),
        ({"clip": 0}, r"'lstm'.*clip"),
        ({"clip": None}, r"'lstm'.*clip"),
        ({"dropout": 1}, r"'lstm'.*'dropout' must be at least 0 and less than 1"),
        ({"recurrent_dropout": 0.99999999}, r"'lstm'.*'recurrent_dropout' must be at least 0 and less than 1"),
        ({"zoneout": {"k": 0.5}}, r"'lstm'.*zoneout.*'k'"),
        ({"zoneout": {"c": -0.5}}, r"'lstm'.*zoneout.*'c' must be at least 0"),
        ({"zoneout": [0.1, 0.2]}, r"'lstm'.*zoneout"),
        ({"state_clip": 0}, r"'lstm'.*state_clip"),
        ({"state_clip": {"h": 1e39}}, r"'lstm'.*state_clip.*'h'"),
        ({"layer_normalization": "sum"}, r"'lstm'.*did you mean 'sums'"),
        ({"layer_normalization": True}, r"'lstm'.*layer_normalization"),
        ({"normalization_epsilon": 0.1}, r"'lstm'.*normalization_epsilon"),
        ({"layer_normalization": "sums", "beta_initializer": "zeros"}, r"'lstm'.*beta_initializer"),
        ({"layer_normalization": "sums", "gamma_initializer": "oned"}, r"'lstm'.*oned"),
        ({"layer_normalization": "sums", "normalization_epsilon": 0}, r"'lstm'.*normalization_epsilon"),
        ({"peepholes": 1}, r"'lstm'.*peepholes"),
        ({"coupled_gates": "yes"}, r"'lstm'.*coupled_gates"),
        ({"output_activation": "softmax"}, r"'lstm'.*softmax"),
        ({"peephole_initializer": "zeros"}, r"'lstm'.*peephole_initializer"),
        ({"peepholes": True, "peephole_initializer": "zeroes"}, r"'lstm'.*zeroes"),
        ({"activation": {"name": "affine", "alpha": 1e39}}, r"'lstm'.*alpha"),
    ],
)
def test_a_wrong_layer_is_refused_by_name(layer: dict[str, Any], message: str) -> None:
    lstm = {"type": "LSTM", "name": "lstm", "inputs": ["x"], "units": 3}
    source = input_layer("x", None, 2)
    _core.Model(json.dumps(model_spec([source, lstm], ["lstm"])))
    name = layer.get("name", "lstm")
    with pytest.raises(ValueError, match=message):
        _core.Model(json.dumps(model_spec([source, {**lstm, **layer}], [name])))


@pytest.mark.parametrize("ids", [[[5]], [[-1]], [[0], [2**31 - 1]]])
def test_ids_out_of_range_are_refused(ids: list[list[int]]) -> None:
    embedding = {"type": "Embedding", "name": "words", "inputs": ["x"], "input_dim": 5, "output_dim": 2}
    engine = Engine(model_spec([input_layer("x", None, dtype=I32), embedding], ["words"]))
    with pytest.raises(ValueError, match=rf"words.*{ids[-1][0]}"):
        engine.predict([np.array(ids, np.int32)])


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"type": "Rescaling", "scale": [1, 2]}, r"'subject': 'scale': expected a number or 3 .*, got 2 .*\(None, 3\)"),
        ({"type": "Rescaling", "offset": [1, 2, 3, 4]}, r"'subject': 'offset': expected a number or 3 .*, got 4 "),
        ({"type": "Rescaling", "scale": []}, r"'subject': 'scale' must be a number or a list"),
        ({"type": "Rescaling", "scale": "2"}, r"'subject': 'scale' must be a number or a list"),
        ({"type": "Rescaling", "scale": None}, r"'subject': 'scale' must be a number or a list"),
        ({"type": "Rescaling", "scale": True}, r"'subject': 'scale' must be a number or a list"),
        ({"type": "Rescaling", "scale": [1, [2], 3]}, r"'subject': 'scale' must be a number or a list"),
        ({"type": "Rescaling", "offset": [1, 2, 1e39]}, r"'subject': 'offset' must hold finite float32 .* 1e\+39"),
        ({"type": "Rescaling", "offset": -1e39}, r"'subject': 'offset' must hold finite float32"),
        ({"type": "LayerNormalization", "epsilon": 0}, r"'subject': 'epsilon' must be a positive"),
        ({"type": "LayerNormalization", "epsilon": 1e-40}, r"'subject': 'epsilon' must be a positive"),
        ({"type": "LayerNormalization", "epsilon": 1e39}, r"'subject': 'epsilon' must be a positive"),
        ({"type": "LayerNormalization", "epsilon": "1"}, r"'subject': 'epsilon' must be a number"),
        ({"type": "LayerNormalization", "center": 1}, r"'subject': 'center' must be true or false"),
        ({"type": "LayerNormalization", "gamma_initializer": "one"}, r"'subject': initializer of gamma"),
        ({"type": "GatedLinearAttention", "num_heads": 1}, r"'subject': missing key 'key_dim'"),
        ({"type": "GatedLinearAttention", "num_heads": 1, "key_dim": 2, "mode": "g"}, r"'subject': unknown mode 'g'"),
        ({"type": "GatedLinearAttention", "num_heads": 1, "key_dim": 2, "units": 0}, r"'subject': 'units' must be"),
        (
            {"type": "MLSTM", "num_heads": 2**31 - 1, "key_dim": 2**31 - 1},
            r"'subject': a state of 2147483647 heads of 2147483647 × 2147483647 is too large",
        ),
        ({"type": "SelectiveSSM", "state_size": 0}, r"'subject': 'state_size' must be"),
        ({"type": "SelectiveSSM", "dt_min": 1, "dt_max": 0.5}, r"'subject': 'dt_min' must not be above 'dt_max'"),
        ({"type": "SelectiveSSM", "dt_min": 0}, r"'subject': 'dt_min' must be a number from 1e-30 to 1e30"),
        ({"type": "SelectiveSSM", "expand": 2**31 - 1, "state_size": 2**31 - 1}, r"'subject'.*is too large"),
        ({"type": "MLSTM", "num_heads": 1, "key_dim": 2, "mode": "linear"}, r"'subject': unknown key 'mode'"),
        ({"type": "Affine", "scale": 1}, r"'subject': unknown key 'scale'"),
        ({"type": "Slice", "start": 2, "stop": 2}, r"'subject': features \[2, 2\) are none of the input's 3"),
        ({"type": "Slice", "start": 3}, r"'subject': features \[3, end\) are none of the input's 3"),
        ({"type": "Slice", "start": -1, "stop": 1}, r"'subject': features \[-1, 1\) are none of"),
        ({"type": "Slice", "stop": 4}, r"'subject': features \[0, 4\) do not lie within the input's 3"),
        ({"type": "Slice", "start": -4}, r"'subject': features \[-4, end\) do not lie within"),
        ({"type": "Slice", "start": -(2**63), "stop": 2**63 - 1}, r"'subject': features .* do not lie within"),
        ({"type": "Slice", "stop": 1.5}, r"'subject': 'stop' must be an integer or null"),
        ({"type": "Step"}, r"'subject': missing key 'index'"),
        ({"type": "Step", "index": 1.0}, r"'subject': 'index' must be an integer"),
        ({"type": "Step", "index": -(2**40)}, r"'subject': 'index' must be an integer of 32 bits"),
        ({"type": "Step", "index": 0}, r"'subject': expected a sequence of shape \(B, T, F\), got \(None, 3\)"),
    ],
)
def test_wrong_keys_of_the_layers_around_recurrent_ones(layer: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _core.infer_layer(json.dumps({**layer, "name": "subject"}), [ROW])


@pytest.mark.parametrize("index", [2, -3])
def test_a_sequence_without_the_step_is_refused(rng: np.random.Generator, index: int) -> None:
    layer = {"type": "Step", "name": "third", "inputs": ["x"], "index": index}
    with pytest.raises(ValueError, match=rf"Step 'third': .* at least 3 steps for index {index}, got 2"):
        _core.Model(json.dumps(model_spec([input_layer("x", 2, 4), layer], ["third"])))
    engine = Engine(model_spec([input_layer("x", None, 4), layer], ["third"]))
    for T in (0, 2):
        with pytest.raises(ValueError, match=rf"Step 'third': .* at least 3 steps for index {index}, got {T}"):
            engine.predict([floats(rng, 2, T, 4)])
    assert engine.predict([floats(rng, 2, 3, 4)])[0].shape == (2, 4)
