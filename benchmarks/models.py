"""Three models of everyday size, each built with rekur and with torch: same weights, same batches, same mathematics.

Every library is imported by the side that needs it, so that a process can hold one of them alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import rekur

RATE, CLIP = 0.001, 1.0  # Adam's, and the global norm that gradients are clipped to
EPSILON = 1e-14  # Adam's too, so small that it does not matter where it stands, which torch sees otherwise than Keras


class Batch(NamedTuple):
    x: np.ndarray  # (B, T) ids or (B, T, features)
    y: np.ndarray  # (B, T) classes or (B, outputs)
    lengths: np.ndarray | None


TrainStep = Callable[[Batch], float]  # one training step; returns the loss before it


@dataclasses.dataclass(frozen=True)
class Task:
    """[Embedding ->] recurrent layers -> Dense: classes at every step (cross entropy), or numbers at the end (MSE)."""

    name: str
    about: str
    cell: str
    units: int
    layers: int
    B: int
    T: int
    inputs: int  # ids where there is an embedding, else features
    outputs: int
    embedding: int = 0  # 0: no embedding
    bidirectional: bool = False
    every_step: bool = True
    lengths: bool = False  # rows end at different steps

    def tiny(self) -> Task:
        """The same kind of model, of next to no size."""
        return dataclasses.replace(
            self, units=16, B=2, T=3, inputs=min(self.inputs, 8), embedding=min(self.embedding, 8)
        )

    def batch(self, seed: int) -> Batch:
        """Something that can be learned, a little at every step."""
        rng = np.random.default_rng([seed, 5])
        B, T = self.B, self.T
        lengths = rng.integers(min(T, T // 2), T + 1, B).astype(np.int32) if self.lengths else None
        if not self.every_step:  # waves: what comes after the last step
            time = np.arange(T + self.outputs)[None, :, None]
            wave = np.sin(time * rng.uniform(0.02, 0.3, (B, 1, self.inputs)) + rng.uniform(0, 6, (B, 1, self.inputs)))
            wave = (wave + 0.1 * rng.standard_normal(wave.shape)).astype(np.float32)
            return Batch(np.ascontiguousarray(wave[:, :T]), np.ascontiguousarray(wave[:, T:, 0]), None)
        if self.bidirectional:  # a word's tag: of itself and of the next word; few words are frequent, most are rare
            ids = (self.inputs ** rng.uniform(0, 1, (B, T + 1))).astype(np.int32) % self.inputs
            tags = ids[:, :-1] % 4 * 4 + ids[:, 1:] % 4
            return Batch(np.ascontiguousarray(ids[:, :-1]), tags % self.outputs, lengths)
        ids = np.cumsum(rng.integers(1, 4, (B, T + 1)), axis=1) % self.inputs  # the next character, of three
        return Batch(ids[:, :-1].astype(np.int32), (ids[:, 1:] % self.outputs).astype(np.int32), lengths)


TASKS = {
    task.name: task
    for task in (
        Task("char", "characters: Embedding 64, 2 x LSTM 256, Dense 64", "LSTM", 256, 2, 64, 64, 64, 64, 64),
        Task("forecaster", "forecaster: GRU 64, Dense 24", "GRU", 64, 1, 128, 168, 8, 24, every_step=False),
        Task("tagger", "tagger: Embedding 100, Bidirectional LSTM 128, Dense 16", "LSTM", 128, 1, 32, 40, 1000, 16, 100,
             bidirectional=True, lengths=True),
    )
}  # fmt: skip


def rekur_model(task: Task) -> rekur.Model:
    """The public face, compiled."""
    import rekur
    from rekur.layers import Bidirectional, Dense, Embedding

    x: Any = rekur.Input((None,), dtype="int32") if task.embedding else rekur.Input((None, task.inputs))
    h = Embedding(task.inputs, task.embedding, name="embedding")(x) if task.embedding else x
    for k in range(task.layers):
        sequences = task.every_step or k + 1 < task.layers
        layer = getattr(rekur.layers, task.cell)(task.units, return_sequences=sequences, name=f"l{k}")
        h = (Bidirectional(layer) if task.bidirectional else layer)(h)
    y = Dense(task.outputs, activation="softmax" if task.every_step else "linear", name="head")(h)
    model = rekur.Model(x, y, seed=1)
    loss = "sparse_categorical_crossentropy" if task.every_step else "mean_squared_error"
    model.compile(rekur.optimizers.Adam(RATE, epsilon=EPSILON, global_clipnorm=CLIP), loss)
    return model


def rekur_step(model: rekur.Model) -> TrainStep:
    return lambda batch: model.train_on_batch(batch.x, batch.y, lengths=batch.lengths)


class TorchWay(NamedTuple):
    """How torch is asked for the same step."""

    time_first: bool
    adam: str  # "fused" or "foreach"
    packed: bool  # packed sequences: rows end at their lengths; else they are padded and the loss leaves padding out

    def __str__(self) -> str:
        return f"{'time' if self.time_first else 'batch'} first, {self.adam}{', packed' if self.packed else ''}"


def torch_ways(packed: bool) -> list[TorchWay]:
    return [TorchWay(time_first, adam, packed) for time_first in (False, True) for adam in ("fused", "foreach")]


def torch_step(task: Task, way: TorchWay, weights: dict[str, np.ndarray] | None = None) -> TrainStep:
    """A training loop's body as torch's users tune it. ``weights``: a rekur model's, by name; torch's own without.

    torch's LSTM and RNN have two biases that are only ever added; one stays at zero here, as rekur has one. Targets at
    padding are -100, cross entropy's ignore_index.
    """
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    stack = getattr(torch.nn, task.cell.replace("SimpleRNN", "RNN"))(
        task.embedding or task.inputs,
        task.units,
        task.layers,
        batch_first=not way.time_first,
        bidirectional=task.bidirectional,
    )
    embedding = torch.nn.Embedding(task.inputs, task.embedding) if task.embedding else torch.nn.Identity()
    head = torch.nn.Linear(task.units * (1 + task.bidirectional), task.outputs)
    with torch.no_grad():
        if weights is not None:
            _copy_weights(task, weights, stack, embedding, head)
        if task.cell != "GRU":
            for name, p in stack.named_parameters():
                if name.startswith("bias_hh"):
                    p.zero_()
                    p.requires_grad_(False)
    parameters = [p for module in (stack, embedding, head) for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=RATE, eps=EPSILON, **{way.adam: True})
    functional = torch.nn.functional

    def tensors(batch: Batch) -> tuple[Any, Any]:
        x, y = torch.from_numpy(batch.x), torch.from_numpy(batch.y)
        if not task.every_step:
            return (x.transpose(0, 1) if way.time_first else x), y
        y = y.long()
        if batch.lengths is not None:
            y.masked_fill_(torch.arange(task.T) >= torch.from_numpy(batch.lengths)[:, None], -100)
        return (x.t(), y.t()) if way.time_first else (x, y)

    def step(batch: Batch) -> float:
        x, y = tensors(batch)
        optimizer.zero_grad(set_to_none=True)
        h = embedding(x)
        if way.packed:
            lengths = torch.from_numpy(batch.lengths)
            h, _ = stack(pack_padded_sequence(h, lengths, batch_first=not way.time_first, enforce_sorted=False))
            h, _ = pad_packed_sequence(h, batch_first=not way.time_first, total_length=task.T)
        else:
            h, last = stack(h)
        if task.every_step:
            loss = functional.cross_entropy(head(h).reshape(-1, task.outputs), y.reshape(-1))
        else:
            loss = functional.mse_loss(head((last[0] if task.cell == "LSTM" else last)[-1]), y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, CLIP, foreach=True)
        optimizer.step()
        return loss.item()

    return step


def _copy_weights(task: Task, weights: dict[str, np.ndarray], stack: Any, embedding: Any, head: Any) -> None:
    """A kernel is torch's weight transposed; GRU gates are z, r, n here and r, z, n there."""
    import torch

    def put(parameter: Any, value: np.ndarray) -> None:
        parameter.copy_(torch.from_numpy(np.array(value.T, order="C")))

    def gates(w: np.ndarray) -> np.ndarray:
        if task.cell != "GRU":
            return w
        z, r, n = np.split(w, 3, axis=-1)
        return np.concatenate([r, z, n], axis=-1)

    directions = {"forward/": "", "backward/": "_reverse"} if task.bidirectional else {"": ""}
    for k in range(task.layers):
        for ours, theirs in directions.items():
            w = {name: gates(weights[f"l{k}/{ours}{name}"]) for name in ("kernel", "recurrent_kernel", "bias")}
            bias = w["bias"] if task.cell == "GRU" else [w["bias"]]  # torch's second one is zero: torch_step
            for name, value in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"),
                                   (w["kernel"], w["recurrent_kernel"], *bias), strict=False):  # fmt: skip
                put(getattr(stack, f"{name}_l{k}{theirs}"), value)
    if task.embedding:
        put(embedding.weight, weights["embedding/embeddings"].T)
    put(head.weight, weights["head/kernel"])
    put(head.bias, weights["head/bias"])
