"""Loops over PyTorch's cells, cells of one's own, sequences turned around, masks: exported by it, loaded as layers."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import rekur
import rekur.onnx
from onnx_graphs import assert_as_onnxruntime

torch = pytest.importorskip("torch")
nn = torch.nn
B, T, I, H = 3, 6, 4, 5
Module: Any = nn.Module


class Loop(Module):
    """A loop over the steps; ``how``: what is kept of each."""

    def __init__(self, cell: str, how: str) -> None:
        super().__init__()
        self.cell, self.how = getattr(nn, f"{cell}Cell")(I, H), how
        self.head = nn.Linear(H, 3)

    def forward(self, x: Any, *states: Any) -> Any:
        lstm = isinstance(self.cell, nn.LSTMCell)
        state = (states if lstm else states[0]) if states else None
        kept = []
        for t in reversed(range(T)) if self.how == "backward" else range(T):
            state = self.cell(x[:, t], state)
            kept.append(state[0] if lstm else state)
        match self.how:
            case "stack":
                return (torch.stack(kept, 1), *(state if lstm else [state]))
            case "cat":
                return torch.cat([h.unsqueeze(0) for h in kept], 0)
            case "head":
                return torch.stack([torch.relu(self.head(h)) for h in kept], 1)
            case "backward":
                return torch.stack(kept[::-1], 1)
        return self.head(kept[-1])


class Stacked(Module):
    """Two cells in one loop over unbound steps, beginning with zeros of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.GRUCell(I, H), nn.LSTMCell(H, H)

    def forward(self, x: Any) -> Any:
        g, h, c = (torch.zeros(x.size(0), H) for _ in range(3))
        for step in x.unbind(1):
            g = self.one(step, g)
            h, c = self.two(g, (h, c))
        return h, c


class ResetBefore(Module):
    """A GRU as the paper has it, on the input and the state side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.z, self.r, self.n = (nn.Linear(I + H, H) for _ in range(3))

    def forward(self, x: Any) -> Any:
        h, kept = torch.zeros(x.size(0), H), []
        for t in range(T):
            both = torch.cat([x[:, t], h], -1)
            z, r = torch.sigmoid(self.z(both)), torch.sigmoid(self.r(both))
            n = torch.tanh(self.n(torch.cat([x[:, t], r * h], -1)))
            h = (1 - z) * h + z * n
            kept.append(h)
        return torch.stack(kept, 1)


class BothWays(Module):
    def __init__(self) -> None:
        super().__init__()
        self.forth, self.back = (nn.LSTM(I, H, batch_first=True) for _ in range(2))

    def forward(self, x: Any) -> Any:
        return torch.cat([self.forth(x)[0], self.back(x.flip(1))[0].flip(1)], -1)


class AttentionPooling(Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.score = nn.GRU(I, H, batch_first=True, bidirectional=True), nn.Linear(2 * H, 1)

    def forward(self, x: Any) -> Any:
        y = self.rnn(x)[0]
        return (torch.softmax(self.score(y), 1) * y).sum(1)


class MaskedMean(Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.GRU(I, H, batch_first=True), nn.Linear(H, 2)

    def forward(self, x: Any, mask: Any) -> Any:
        y, there = self.rnn(x)[0], mask.unsqueeze(-1).float()
        mean = (y * there).sum(1) / there.sum(1).clamp(min=1)
        return torch.log_softmax(self.head(nn.functional.gelu(mean)), -1)


class OneStep(Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.LSTMCell(I, H), nn.GRUCell(H, H)

    def forward(self, x: Any, h: Any, c: Any, g: Any) -> Any:
        h, c = self.one(torch.tanh(x), (h, c))
        g = self.two(h, g)
        return torch.softmax(g, -1), h, c, g


def layers_of(module: Any, inputs: tuple[Any, ...], tmp_path: Path, dynamic: bool = True) -> list[str]:
    """Export, load, compare, export again; the recurrent layers."""
    path, names = tmp_path / "theirs.onnx", [f"in{k}" for k in range(len(inputs))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        axes = {name: {0: "batch"} for name in names} if dynamic else None
        torch.onnx.export(module.eval(), inputs, path, input_names=names, dynamic_axes=axes, dynamo=False)
    model = onnx.load(path)
    assert_as_onnxruntime(model, {name: x.numpy() for name, x in zip(names, inputs, strict=True)})
    loaded = rekur.onnx.load(path)
    rekur.onnx.export(loaded, tmp_path / "again.onnx")
    kinds = [layer["type"] for layer in loaded.spec["layers"]]
    return [kind for kind in kinds if kind in ("LSTM", "GRU", "SimpleRNN", "Bidirectional")]


def data(*shape: int) -> Any:
    return torch.from_numpy(np.random.default_rng(3).standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize("how", ["stack", "cat", "head", "backward", "last"])
@pytest.mark.parametrize("states", [False, True], ids=["zeros", "given"])
@pytest.mark.parametrize("cell", ["RNN", "GRU", "LSTM"])
def test_a_loop_over_a_cell_is_a_layer(cell: str, states: bool, how: str, tmp_path: Path) -> None:
    given = [data(B, H)] * (2 if cell == "LSTM" else 1) if states else []
    found = layers_of(Loop(cell, how), (data(B, T, I), *given), tmp_path)
    assert found == [{"RNN": "SimpleRNN"}.get(cell, cell)]


def test_a_batch_that_was_built_in(tmp_path: Path) -> None:
    assert layers_of(Loop("LSTM", "stack"), (data(B, T, I),), tmp_path, dynamic=False) == ["LSTM"]


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (Stacked, ["GRU", "LSTM"]),
        (ResetBefore, ["GRU"]),
        (BothWays, ["Bidirectional"]),
        (AttentionPooling, ["Bidirectional"]),
    ],
)
def test_models_of_sequences(module: Any, expected: list[str], tmp_path: Path) -> None:
    assert layers_of(module(), (data(B, T, I),), tmp_path) == expected


def test_a_masked_mean(tmp_path: Path) -> None:
    mask = torch.arange(T)[None] < torch.tensor([[T], [2], [0]])
    assert layers_of(MaskedMean(), (data(B, T, I), mask), tmp_path) == ["GRU"]


def test_one_step_with_its_states(tmp_path: Path) -> None:
    assert layers_of(OneStep(), (data(B, I), data(B, H), data(B, H), data(B, H)), tmp_path) == ["LSTM", "GRU"]
