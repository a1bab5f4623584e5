"""Steps that a mask leaves out: where a flag is 0, a layer's states stay, and its output is a stream's."""

from typing import Any

import numpy as np

from rekur._static._layers import LAYERS
from rekur._static._writer import Layer, Writer


def write_layer(w: Writer, layer: Layer, step: dict[str, Any]) -> None:
    """The layer's step, taken where there is no flag or it says so."""
    if step["flags"] < 0:
        LAYERS[layer.type](w, layer)
        return
    n, flag, kind = layer.numbers, w.arrays[step["flags"]], step["masked"]
    before = len(w.states)
    w.line(f"if (*{flag} != 0.0f) {{")
    LAYERS[layer.type](w, layer)
    states = w.states[before:]
    y = w.arrays[layer.outputs[0]]
    if kind == "first_state":
        own = y
    else:  # the states that it may stand in go on
        own = w.own(layer.outputs[0], n)
        w.line(f"copy<{n}>({y}, {own});")
    if step["adds_last_input"]:  # -0 before there is one: what has it added stays as it is
        x = w.state(layer.name, "input", n, np.full(n, -0.0, np.float32))
        w.line(f"copy<{n}>({layer.inputs[0]}, {x});")
    w.line("} else {")
    for k, state in enumerate(states[: len(layer.outputs) - 1]):
        to = w.arrays[layer.outputs[1 + k]]
        if to != state.member:
            for line in state.moves(True, to):
                w.line(line)
    if kind == "zeros":
        w.line(f"fill<{n}>(0.0f, {own});")
    elif kind == "last_output":
        last = w.state(layer.name, "output", n, None)
        w.line(f"copy<{n}>({last}, {own});")
    elif own != states[0].member:
        w.line(f"copy<{n}>({states[0].member}, {own});")
    if step["adds_last_input"]:
        w.line(f"map<{n}>({own}, {x}, {own}, [](Vec a, Vec b) REKUR_INLINED {{ return a + b; }});")
    w.line("}")
    if kind == "last_output":
        w.line(f"copy<{n}>({own}, {last});")


def write_join(w: Writer, step: dict[str, Any]) -> None:
    """A step is there where two masks say so."""
    a, b = (w.arrays[array] for array in step["inputs"])
    w.line(f"*{w.own(step['outputs'][0], 1)} = *{a} * *{b};")
