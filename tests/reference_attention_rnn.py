"""A decoder that attends to a memory within its step, in float64, a row at a time, from the papers' equations.

Luong et al. 2015 (dot, general, concat, input feeding), Bahdanau et al. 2015, See et al. 2017 (coverage), Vaswani et
al. 2017 (heads). Shares the cells' equations with reference.py, and nothing with the engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference import Options, built_in_step, program_step, state_count
from reference_basics import Array, softmax


def cell_step(cell: Mapping[str, Any], weights: Mapping[str, Array], x: Array, state: Sequence[Array]) -> list[Array]:
    """(I,) and states (H,) to new states."""
    o, rows = Options(cell, weights, {}), tuple(s[None] for s in state)
    if cell["type"] == "RNN":
        new = program_step(o, x[None], [], rows, weights, 1)
    else:
        new = built_in_step(o, x[None], rows, weights)
    return [np.asarray(s)[0] for s in new]


class Decoder:
    """One layer of ``config`` (what get_config gives), with weights by their names within it."""

    def __init__(self, config: Mapping[str, Any], weights: Mapping[str, Array]) -> None:
        self.c, self.w = config, {name: np.asarray(w, np.float64) for name, w in weights.items()}
        self.cells: list[Mapping[str, Any]] = config["cell"]

    def of_cell(self, k: int) -> dict[str, Array]:
        prefix = "loop/cell/" if len(self.cells) == 1 else f"loop/cell_{k}/"
        return {name.removeprefix(prefix): w for name, w in self.w.items() if name.startswith(prefix)}

    def keys_and_values(self, memory: Array) -> list[tuple[Array, Array]]:
        """Of each head, (S, D) and (S, V)."""
        kind, w = self.c["attention"], self.w
        if kind == "dot":
            return [(memory, memory)]
        if kind != "multi_head":
            return [(memory @ w["keys/kernel"], memory)]
        heads = self.c["num_heads"]
        keys = np.split(memory @ w["keys/kernel"] + w["keys/bias"], heads, axis=-1)
        values = np.split(memory @ w["values/kernel"] + w["values/bias"], heads, axis=-1)
        return list(zip(keys, values, strict=True))

    def attend(self, query: Array, memory: Array, seen: NDArray[np.bool_], coverage: Array) -> tuple[Array, Array]:
        """The context and the weights (S,)."""
        kind, w, contexts, weights = self.c["attention"], self.w, [], []
        heads = self.keys_and_values(memory)
        for k, (keys, values) in enumerate(heads):
            if self.c["coverage"]:
                keys = keys + coverage[:, None] * w["loop/coverage/kernel"]
            if kind in ("dot", "general"):
                scores = keys @ query
            elif kind == "multi_head":
                q = np.split(query @ w["loop/query/kernel"] + w["loop/query/bias"], len(heads))[k]
                scores = keys @ q / np.sqrt(len(q))
            else:
                scores = np.tanh(keys + query @ w["loop/query/kernel"]) @ w["loop/attention/scale"]
            a = np.zeros(len(memory))
            a[seen] = softmax(scores[seen])
            weights.append(a)
            contexts.append(a @ values)
        context = np.concatenate(contexts)
        if kind == "multi_head":
            context = context @ w["loop/attention_output/kernel"] + w["loop/attention_output/bias"]
        return context, np.mean(weights, axis=0)

    def output(self, h: Array, context: Array) -> Array:
        if self.c["attention_size"] is None:
            return np.concatenate([h, context])
        return np.tanh(np.concatenate([context, h]) @ self.w["loop/attentional/kernel"])

    def row(
        self, x: Array, memory: Array, steps: NDArray[np.bool_], seen: NDArray[np.bool_], states: Sequence[Array]
    ) -> tuple[list[Array], list[Array], list[Array]]:
        """Outputs and weights of the valid steps, and the states after the last: cells', what is fed, the coverage.

        ``states``: the first ones of these.
        """
        c, counts = self.c, [state_count(cell) for cell in self.cells]
        given = [np.asarray(s, np.float64) for s in states]
        widths = [cell["units"] for cell, count in zip(self.cells, counts, strict=True) for _ in range(count)]
        h = widths[-1]
        context_size = h if c["attention"] == "multi_head" else memory.shape[-1]
        feeds = c["input_feeding"] and c["attention"] != "bahdanau"
        sizes = [
            *widths,
            *([c["attention_size"] or context_size] if feeds else []),
            *([len(memory)] if c["coverage"] else []),
        ]
        state = [given[k].reshape(-1) if k < len(given) else np.zeros(n) for k, n in enumerate(sizes)]
        outputs, scores = [], []
        for t in np.flatnonzero(steps):
            cells, rest = state[: len(widths)], state[len(widths) :]
            fed = rest.pop(0) if feeds else None
            coverage = rest.pop(0) if c["coverage"] else np.zeros(len(memory))
            if c["attention"] == "bahdanau":
                before = cells[sum(counts[:-1])]
                context, a = self.attend(before, memory, seen, coverage)
                y, cells = self.through(np.concatenate([x[t], context]), cells, counts)
            else:
                y, cells = self.through(x[t] if fed is None else np.concatenate([x[t], fed]), cells, counts)
                context, a = self.attend(y, memory, seen, coverage)
            out = self.output(y, context)
            outputs.append(out)
            scores.append(a)
            state = [
                *cells,
                *([out if c["attention_size"] else context] if feeds else []),
                *([coverage + a] if c["coverage"] else []),
            ]
        return outputs, scores, state

    def through(self, x: Array, state: Sequence[Array], counts: Sequence[int]) -> tuple[Array, list[Array]]:
        left, new = list(state), []
        for k, (cell, count) in enumerate(zip(self.cells, counts, strict=True)):
            own, left = left[:count], left[count:]
            made = cell_step(cell, self.of_cell(k), x, own)
            new += made
            x = made[0]
        return x, new


def run(
    config: Mapping[str, Any],
    weights: Mapping[str, Array],
    x: Array,
    memory: Array,
    states: Sequence[Array] = (),
    steps: NDArray[np.bool_] | None = None,
    seen: NDArray[np.bool_] | None = None,
    masked: bool = False,
) -> list[Array]:
    """What the layer gives: the output, the weights and the states, as far as it returns them.

    ``masked``: steps that are left out repeat the output before them; they are zeros before the first, and otherwise.
    """
    B, T = x.shape[:2]
    S = memory.shape[1]
    steps = np.ones((B, T), bool) if steps is None else steps
    seen = np.ones((B, S), bool) if seen is None else seen
    decoder, rows = Decoder(config, weights), []
    for b in range(B):
        given = [np.asarray(s, np.float64)[b] for s in states]
        outputs, scores, last = decoder.row(
            x[b].astype(np.float64), memory[b].astype(np.float64), steps[b], seen[b], given
        )
        rows.append((outputs, scores, last))
    sizes = next((len(outputs[0]) for outputs, _, _ in rows if outputs), 0)
    found = []
    for which, size in ((0, sizes), (1, S)):
        y = np.zeros((B, T, size))
        for b in range(B):
            y[b, steps[b]] = rows[b][which] if rows[b][which] else np.zeros((0, size))
            for t in range(1, T):
                if masked and not steps[b, t]:
                    y[b, t] = y[b, t - 1]
        if not config["return_sequences"]:
            y = np.stack([rows[b][which][-1] if rows[b][which] else np.zeros(size) for b in range(B)])
        found.append(y)
    if not config["return_attention_scores"]:
        found.pop()
    if config["return_state"]:
        cells = sum(state_count(cell) for cell in config["cell"])
        for k in range(len(rows[0][2])):
            value = np.stack([rows[b][2][k] for b in range(B)])
            if k >= cells:
                last = k == len(rows[0][2]) - 1 and config["coverage"]
                value = value[:, :, None] if last else value[:, None]
            found.append(value)
    return found
