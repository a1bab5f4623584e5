"""Labels by a file of one step in onnxruntime, drawn as the engine draws them."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur import _core
from rekur._generation import Labels, gives_logits, label_rows, padded, sampling
from rekur._validate import integer
from rekur.onnx._metadata import metadata


def generate(
    path: str | os.PathLike[str],
    prompt: Any,
    steps: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    repetition_penalty: float = 1.0,
    seed: int | None = None,
    end: int | None = None,
) -> Labels:
    """What :func:`rekur.generate` gives, by a file of ``rekur.onnx.export(model, path, streaming=True)``.

    The file runs in onnxruntime, a step a label; labels are drawn by the engine's own numbers. So the labels of a seed
    are those of the engine, unless two are as probable to the last bits of float32.

    Parameters
    ----------
    path : str or path
        Of a model of labels: one input of ids or one-hot vectors, the first output the probabilities or logits of what
        comes next.
    prompt, steps, temperature, top_k, top_p, repetition_penalty, seed, end
        As of :func:`rekur.generate`.

    Returns
    -------
    int32 ndarray of shape (B, L), or (L,) of one prompt; -1 stands behind rows that have ended.

    Raises
    ------
    ValueError
        For a file of another kind, labels that are no class, settings out of range, and outputs that are no numbers.
    """
    import onnxruntime

    name = os.fspath(path)
    steps = integer(steps, "generate: steps")
    said = metadata(path)
    if said.states is None or not said.states.streaming or len(said.states.timed_inputs) != 1 or said.spec is None:
        raise ValueError(f"{name}: expected a file of export(model, path, streaming=True) with one input")
    session = onnxruntime.InferenceSession(name, providers=["CPUExecutionProvider"])
    inputs = {node.name: node for node in session.get_inputs()}
    entrance, outputs = inputs[said.states.timed_inputs[0]], [node.name for node in session.get_outputs()]
    classes = session.get_outputs()[0].shape[-1]
    if not isinstance(classes, int):
        raise ValueError(f"{name}: the first output has no classes of a known number")
    one_hot = "float" in entrance.type
    rows, single = label_rows(prompt, classes, "generate: prompt")
    if any(not len(row) for row in rows):
        raise ValueError("generate: prompt: a row is empty: at least one label comes first")
    last = -1 if end is None else integer(end, "generate: end", 0)
    options = sampling(temperature, top_k, top_p, repetition_penalty, seed, "generate")
    logits = gives_logits(said.spec)
    if not logits and options["repetition_penalty"] != 1:
        raise ValueError(
            f"generate: repetition_penalty divides logits, and the output of {name} is a softmax of them; the engine's "
            "generate has both, as a file has of a model that ends in logits"
        )
    made: list[list[int]] = [[] for _ in rows]
    going = np.ones(len(rows), bool)
    carried: dict[str, NDArray[Any]] = said.states.start({}, len(rows))
    pairs = [(state.input, state.output) for state in said.states.states]
    read = [list(map(int, row)) for row in rows]
    for t in range(max((len(row) for row in rows), default=0) + steps - 1):
        if not going.any():
            break
        labels = np.array([row[min(t, len(row) - 1)] for row in read], np.int32)
        x = np.eye(classes, dtype=np.float32)[labels] if one_hot else labels
        found = dict(zip(outputs, session.run(None, {entrance.name: x, **carried}), strict=True))
        carried = {before: found[after] for before, after in pairs}
        y = found[outputs[0]]
        with np.errstate(divide="ignore"):
            z = y if logits else np.log(y)
        drawn = _core.draw_labels(np.ascontiguousarray(z), t + 1, [np.array(row, np.int32) for row in read], options)
        for k, label in enumerate(drawn):
            if not going[k] or t + 1 < len(rows[k]):
                continue
            if label < 0:
                raise ValueError(f"generate: row {k}: what the model gives is no probability of any class")
            if label == last:
                going[k] = False
                continue
            made[k].append(int(label))
            read[k].append(int(label))
            going[k] = len(made[k]) < steps
    arrays = [np.array(row, np.int32) for row in made]
    return arrays[0] if single else padded(arrays)
