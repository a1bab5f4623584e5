"""Models of one RNN layer for the tests: of the library's cells, and of cells that nobody would write."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

import rekur
from harness import input_layer, model_spec
from rekur import cells, ops

SIZES = (1, 2, 3, 5, 7, 17, 31, 33, 65)
DIRECTIONS = ("forward", "reverse", "concat", "sum", "mul", "ave")


def library() -> dict[str, dict[str, Any]]:
    """Every cell of rekur.cells by name: found, not listed; with step inputs and, where it can do without, without."""
    found = {}
    for name in cells.__all__:
        cell = getattr(cells, name)
        found[name] = cell.spec()
        if cell.step_inputs and None not in cell.step_inputs.values():
            found[f"{name} alone"] = cell.spec(())
    return found


def reads_x(cell: Mapping[str, Any]) -> bool:
    """Whether x must have as many features as the layer has units."""
    return "x" in cell["equations"]["inputs"]


def cell_model(
    cell: Mapping[str, Any],
    direction: str,
    I: int,
    H: int,
    *,
    initial: bool = False,
    sequences: bool = True,
    states: bool = True,
    widths: Mapping[str, int] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """The spec of one layer. widths: of step inputs, H for those that are not named."""
    I = H if reads_x(cell) else I
    count = len(cell["states"]) * (1 if direction in ("forward", "reverse") else 2)
    steps = cell.get("step_inputs", [])
    starts = [f"s{k}" for k in range(count if initial else 0)]
    core = {
        "type": "RNN", "cell": dict(cell), "units": H, "return_sequences": sequences, "return_state": states, **options
    }  # fmt: skip
    if direction in ("forward", "reverse"):
        layer = {**core, "reverse": direction == "reverse"}
    else:
        layer = {"type": "Bidirectional", "merge_mode": direction, "layer": core}
    return model_spec(
        [
            input_layer("x", None, I),
            *(input_layer(name, None, (widths or {}).get(name, H)) for name in steps),
            *(input_layer(name, H) for name in starts),
            {**layer, "name": "rnn", "inputs": ["x", *steps, *starts]},
        ],
        ["rnn", *(f"rnn:{k + 1}" for k in range(count if states else 0))],
    )


def cell_inputs(rng: np.random.Generator, spec: Mapping[str, Any], B: int, T: int) -> list[np.ndarray]:
    """What the model takes; step inputs are positive, as times and masks are; so are states called n, divisors."""
    result = []
    core = spec["layers"][-1].get("layer", spec["layers"][-1])
    states = core.get("cell", {}).get("states", ["h"])
    for layer in spec["layers"]:
        if layer["type"] == "Input":
            shape = (B, *(T if size is None else size for size in layer["shape"]))
            x = rng.standard_normal(shape)
            name = layer["name"]
            step = name != "x" and len(layer["shape"]) == 2
            divisor = not step and name != "x" and states[int(name[1:]) % len(states)] == "n"
            result.append((np.abs(x) + 0.1 if step or divisor else x).astype(np.float32))
    return result


# Operations whose values stay moderate, whatever they are given.
UNARY = (
    ops.tanh, ops.sigmoid, ops.relu, ops.softplus, ops.softsign, ops.silu, ops.gelu, ops.elu, ops.leaky_relu,
    ops.hard_sigmoid, ops.abs, ops.sin, ops.cos, ops.erf, ops.negative, ops.layer_normalization, ops.softmax,
    lambda a: ops.exp(ops.tanh(a)), lambda a: ops.log(1 + a * a), lambda a: ops.log1p(a * a),
    lambda a: ops.sqrt(1 + a * a), lambda a: ops.reciprocal(1 + ops.abs(a)), lambda a: 0.7 * a - 0.1,
    lambda a: a - ops.mean(a, -1), lambda a: ops.clip(a, -1.5, 1.25),
)  # fmt: skip
BINARY = (
    ops.add, ops.subtract, ops.multiply, ops.maximum, ops.minimum, ops.add, ops.multiply,
    lambda a, b: a / (1 + ops.abs(b)), lambda a, b: ops.where(a < b, a, 0.5 * b), lambda a, b: a * (b > 0.1),
    lambda a, b: a + 0.3 * ops.max(b, -1), lambda a, b: a * ops.sigmoid(ops.sum(b, -1)),
)  # fmt: skip


def random_cell(seed: int) -> dict[str, Any]:
    """A cell of one to four states that blends what a few dozen operations make of everything there is."""
    rng = np.random.default_rng([seed, 41])
    states = ["h", "c", "n", "m"][: int(rng.choice([1, 1, 2, 2, 3, 4]))]
    weights = ["u", "v"][: int(rng.integers(0, 3))]
    steps = ["time", "mask"][: int(rng.choice([0, 0, 1, 2]))]
    raw = rng.random() < 0.15
    parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY) for name in ("x", *steps, *states)]
    parameters += [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in weights]

    def step(x: Any, *others: Any, **own: Any) -> Any:
        draw = np.random.default_rng([seed, 43])  # the same each time it is traced
        pool = [*others, *own.values()]
        names = iter("abcdefghijklmnopqrstuvw")
        pool += [getattr(x, next(names)) for _ in range(int(draw.integers(0, 4)))]
        pool += [getattr(value, next(names)) for value in others if draw.random() < 0.4]
        pool += [x] if raw else []

        def pick() -> Any:
            return pool[int(draw.integers(0, len(pool)))]

        for _ in range(int(draw.integers(2, 14))):
            kind = draw.random()
            if kind < 0.15:
                source = pick()
                if source is x:
                    continue
                pool.append(getattr(source + 0.0 * others[-1], next(names)))
            elif kind < 0.55:
                pool.append(UNARY[int(draw.integers(0, len(UNARY)))](pick()))
            else:
                pool.append(BINARY[int(draw.integers(0, len(BINARY)))](pick(), pick()))
        used = sum(0.05 * ops.tanh(value) for value in (*others, *own.values()))
        new = []
        for state in others[len(steps) :]:
            gate = ops.sigmoid(pick())
            new.append(gate * ops.tanh(state + used) + (1 - gate) * ops.tanh(pick()))
        return tuple(new)

    step.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    cell = rekur.cell(step, name=f"random_{seed}", inputs=tuple(steps))
    if rng.random() < 0.3 and cell.spec()["recurrent"]:
        cell = rekur.cell(step, name=f"random_{seed}", inputs=tuple(steps), recurrent_bias=True)
    return cell.spec()
