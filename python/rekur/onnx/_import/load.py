"""``load``, and what the backend needs besides: how the file's inputs and outputs lie in the model's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rekur.onnx._errors import LoadError
from rekur.onnx._import.finish import Finished, finish
from rekur.onnx._import.read import check_envelope, read_model
from rekur.onnx._import.values import Refused
from rekur.onnx._import.walk import walk

if TYPE_CHECKING:
    from rekur.models import Model


@dataclass(frozen=True)
class Loaded:
    model: Model
    finished: Finished


def load(path: str | os.PathLike[str], *, seed: int | None = None) -> Model:
    """A trainable model of an ONNX file: of any exporter, as far as layers here compute what its nodes do.

    RNN, LSTM and GRU nodes with every attribute become recurrent layers, what exporters write around them (Gemm,
    Transpose, Reshape, Shape, …) becomes layers or nothing at all; docs/onnx.md has the table. Weights become
    parameters, to be trained further with ``compile`` and ``fit``.

    The model is batch-first, whatever the file is: an input that is ``(T, B, F)`` in the file is ``(B, T, F)`` here,
    and outputs likewise. An input of rows' lengths becomes the ``lengths=`` of ``predict``, ``fit`` and ``evaluate``.
    Inputs and outputs keep the file's names, with ``_`` for characters that a name cannot have; one that holds several
    states ``(directions, B, H)`` becomes as many of ``(B, H)``: ``h0_0``, ``h0_1``, …. Layers are named after the
    file's nodes.

    Parameters
    ----------
    path
        The file, of opset 7 or newer. External data is read from the file's own folder only, through no link.
    seed
        Of dropout and the order of the rows in training; see :class:`rekur.Model`.

    Raises
    ------
    LoadError
        The file is damaged, or a node does what no layer can; the message names it. A ``ValueError``.
    OSError
        The file cannot be read.
    """
    source = Path(path)
    return build(read_model(source), source.parent, seed=seed).model


def build(
    proto: Any, folder: Path | None, bound: Mapping[str, NDArray[Any]] | None = None, seed: int | None = None
) -> Loaded:
    """bound: inputs of the graph that are constants this time."""
    from rekur import _core
    from rekur._spec import dumps
    from rekur.models import Model

    check_envelope(proto, "the model")
    try:
        finished = finish(walk(proto, folder, bound or {}), proto.graph.name)
        core = _core.Model(dumps(finished.spec))
        model = Model._of_core(core, seed)
        flat = core.get_weights()
    except LoadError:
        raise
    except (Refused, ValueError) as error:
        raise LoadError(f"the file's layers do not make a model: {error}") from None
    expected = {name for name, _, _ in core.parameters}
    if expected != set(finished.weights):
        raise LoadError(f"the file's weights do not make a model: {sorted(expected ^ set(finished.weights))}")
    for name, shape, offset in core.parameters:
        array = finished.weights[name]
        if array.shape != tuple(shape):
            raise LoadError(f"parameter '{name}': expected shape {tuple(shape)}, the file has {array.shape}")
        flat[offset : offset + array.size] = np.ravel(array)
    core.set_weights(flat)
    return Loaded(model, finished)
