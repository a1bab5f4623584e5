"""Why what exporters are known to write cannot be had, and what to do instead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

_SORTED = (
    "PyTorch writes it for pack_padded_sequence(enforce_sorted=False): export with enforce_sorted=True (and an example "
    "whose rows are sorted); the loaded model takes rows in any order"
)
_INT8 = (
    "its weights or inputs are quantised otherwise than layers of eight bits here have them (weights that are "
    "constants, integers of -127 to 127 with a scale a column or one for all; inputs as they come): load the float32 "
    "model"
)

REASONS = {
    "GatherElements": (
        "PyTorch writes it for Tensor.gather; where that takes each row's own last step, take the final state h_n"
    ),
    "LinearAttention": (
        "it is loaded inside a GatedLinearAttention that rekur exported (with its norm, gate and projections); "
        "the operator alone is no layer here"
    ),
    **dict.fromkeys(("TopK", "ScatterElements"), _SORTED),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"), _INT8),
    **dict.fromkeys(("DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "MatMulInteger", "MatMulIntegerToFloat"), _INT8),
    **dict.fromkeys(("ConvInteger", "MatMulNBits", "QAttention", "QGemm"), _INT8),
}
UNROLLED = 3  # products by the same weights


def reason(node: Any) -> str:
    """Of an operator that no rule understands."""
    if node.op_type in REASONS:
        return REASONS[node.op_type]
    if node.op_type.startswith("QLinear"):
        return _INT8
    if node.domain not in ("", "ai.onnx"):
        return f"operators of the domain '{node.domain}' are not understood"
    return "this operator is not understood"


def hint(nodes: Iterable[Any]) -> str:
    """What the graph as a whole looks like, for a refusal somewhere in it: a loop over time that was written out."""
    factors = Counter(node.input[1] for node in nodes if node.op_type in ("Gemm", "MatMul") and len(node.input) > 1)
    times = max(factors.values(), default=0)
    if times < UNROLLED:
        return ""
    return (
        f". The file multiplies by the same weights {times} times: a recurrence that an exporter wrote out step by "
        "step is not put together again. For a loop over nn.LSTMCell, nn.GRUCell or nn.RNNCell write nn.LSTM, nn.GRU "
        "or nn.RNN over the whole sequence; nn.RNN itself PyTorch writes out unless dynamo=False"
    )
