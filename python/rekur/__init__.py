"""Recurrent networks on ordinary CPUs: train, forecast, and ship to ONNX.

model = rekur.Sequential([rekur.layers.LSTM(50, input_shape=(24, 1)), rekur.layers.Dense(1)])
model.compile(optimizer="adam", loss="mean_squared_error")
model.fit(x, y, epochs=10)
model.save("model.safetensors")
rekur.onnx.export(model, "model.onnx")
"""

import importlib
from typing import TYPE_CHECKING, Any

from rekur import (
    activations,
    callbacks,
    constraints,
    initializers,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    regularizers,
)
from rekur._cell_define import cell
from rekur._core import (
    __version__,
    available_isas,
    cpu_info,
    isa,
    num_threads,
    set_isa,
    set_num_threads,
)
from rekur._own import no_attribute
from rekur._random import set_random_seed
from rekur.initializers import Initializer
from rekur.layers import Input, InputLayer, Layer
from rekur.layers import SymbolicTensor as KerasTensor
from rekur.losses import Loss
from rekur.metrics import Metric
from rekur.models import Model, Sequential, load_model
from rekur.models import load_model as load
from rekur.optimizers import Optimizer

if TYPE_CHECKING:
    from rekur import cells, convert, data, debug, hub, onnx, ops, preprocessing, sequences, tasks, tune, utils
    from rekur import torch as torch  # not in __all__: whoever imports * means PyTorch by that name
    from rekur._compile import compile_cells
    from rekur._export_cpp import CppReport, export_cpp
    from rekur._generation import Generator, generate
    from rekur._quantize import Quantized, quantize
    from rekur._readout import fit_readout
    from rekur._static import StaticReport, export_static
    from rekur._streams import Stream
    from rekur.seq2seq import Seq2Seq

get_num_threads = num_threads
# Imported when first used: they bring in packages that take time, or few need them.
_LAZY = (
    "bulk", "cells", "convert", "data", "debug", "distributed", "hub", "jax", "onnx", "ops", "preprocessing",
    "sequences", "tasks", "torch", "tune", "utils",
)  # fmt: skip
_FUNCTIONS = {
    "compile_cells": "_compile",
    "CppReport": "_export_cpp",
    "export_cpp": "_export_cpp",
    "export_static": "_static",
    "fit_readout": "_readout",
    "Generator": "_generation",
    "generate": "_generation",
    "Seq2Seq": "seq2seq",
    "Quantized": "_quantize",
    "quantize": "_quantize",
    "StaticReport": "_static",
    "Stream": "_streams",
}

__all__ = [
    "CppReport",
    "Generator",
    "Initializer",
    "Input",
    "InputLayer",
    "KerasTensor",
    "Layer",
    "Loss",
    "Metric",
    "Model",
    "Optimizer",
    "Quantized",
    "Seq2Seq",
    "Sequential",
    "StaticReport",
    "Stream",
    "__version__",
    "activations",
    "available_isas",
    "bulk",
    "callbacks",
    "cell",
    "cells",
    "compile_cells",
    "constraints",
    "convert",
    "cpu_info",
    "data",
    "debug",
    "distributed",
    "export_cpp",
    "export_static",
    "fit_readout",
    "generate",
    "get_num_threads",
    "hub",
    "initializers",
    "isa",
    "layers",
    "load",
    "load_model",
    "losses",
    "metrics",
    "models",
    "num_threads",
    "onnx",
    "ops",
    "optimizers",
    "preprocessing",
    "quantize",
    "regularizers",
    "sequences",
    "set_isa",
    "set_num_threads",
    "set_random_seed",
    "tasks",
    "tune",
    "utils",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"rekur.{name}")
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(f"rekur.{_FUNCTIONS[name]}"), name)
    no_attribute(__name__, "top", name)


def __dir__() -> list[str]:
    return __all__
