"""Whether onnxruntime's products of eight bits are exact on this processor."""

from __future__ import annotations

import functools

import numpy as np


@functools.cache
def products_overflow() -> bool:
    """Whether they overflow: x86 processors without VNNI add pairs of products in 16 bits, which two large ones exceed.

    Asked of the runtime itself by a product of one row, of numbers as large as there are.
    """
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    rows, columns = 64, 32
    matrix = np.full((rows, columns), 127, np.int8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "w"], ["y"])],
        "products",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [1, rows])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [1, columns])],
        [numpy_helper.from_array(matrix, "w")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (product,) = session.run(None, {"x": np.full((1, rows), 255, np.uint8)})
    return bool((product != 255 * 127 * rows).any())
