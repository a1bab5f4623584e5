"""Decoding of an attention model against an eager loop of torch: greedy and by a beam, weights shared, in turns.

python -m benchmarks.decoding [--threads 1 2] [--precision float32 bf16 int8]

64 sources of 30 steps are decoded to 20 labels each by an LSTM of 256 units with Luong's attention and input feeding,
over a vocabulary of 8,000. torch's loop is what one writes by hand: cells and products of torch.nn, argmax or topk,
everything in float32. The numbers of products a run needs, over the time, are printed beside, to be held against the
machine's peak.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import rekur
from rekur import layers

BATCH, SOURCE, STEPS, UNITS, CLASSES, BEAM = 64, 30, 20, 256, 8000, 5
ROUNDS = 9


def translator(precision: str) -> rekur.Seq2Seq:
    source, before = (layers.Input((None,), dtype="int32", name=name) for name in ("source", "before"))
    x, y = (layers.Embedding(CLASSES, UNITS, name=name)(t) for name, t in (("read", source), ("wrote", before)))
    encoder = layers.LSTM(UNITS, return_sequences=True, return_state=True, precision=precision, name="encoder")
    memory, h, c = encoder(x)
    cell = layers.LSTMCell(UNITS, precision=precision)
    decoder = layers.AttentionRNN(cell, "dot", attention_size=UNITS, return_sequences=True, name="decoder")
    z = decoder(y, memory, initial_state=[h, c])
    logits = layers.Dense(CLASSES, precision=precision, name="out")(z)
    return rekur.Seq2Seq(rekur.Model([source, before], logits, seed=1), start=1)


def torch_decoders(weights: dict[str, np.ndarray]) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """Greedy and beam search as loops over torch's modules with these weights."""
    import torch

    def tensor(name: str) -> Any:
        return torch.from_numpy(np.ascontiguousarray(weights[name].T if weights[name].ndim > 1 else weights[name]))

    read, wrote = (torch.from_numpy(weights[f"{name}/embeddings"]) for name in ("read", "wrote"))
    encoder, cell = torch.nn.LSTM(UNITS, UNITS, batch_first=True), torch.nn.LSTMCell(2 * UNITS, UNITS)
    attentional, out = torch.nn.Linear(2 * UNITS, UNITS, bias=False), torch.nn.Linear(UNITS, CLASSES)
    zeros = torch.zeros(4 * UNITS)
    for module, values in (
        (encoder, [tensor("encoder/kernel"), tensor("encoder/recurrent_kernel"), tensor("encoder/bias"), zeros]),
        (cell, [tensor(f"decoder.loop/cell/{name}") for name in ("kernel", "recurrent_kernel", "bias")] + [zeros]),
        (attentional, [tensor("decoder.loop/attentional/kernel")]),
        (out, [tensor("out/kernel"), tensor("out/bias")]),
    ):
        for parameter, value in zip(module.parameters(), values, strict=True):
            parameter.data.copy_(value)

    def step(labels: Any, fed: Any, h: Any, c: Any, memory: Any) -> tuple[Any, Any, Any, Any]:
        h, c = cell(torch.cat([wrote[labels], fed], 1), (h, c))
        paid = torch.softmax(torch.bmm(memory, h[:, :, None])[:, :, 0], 1)
        context = torch.bmm(paid[:, None], memory)[:, 0]
        fed = torch.tanh(attentional(torch.cat([context, h], 1)))
        return out(fed), fed, h, c

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def greedy(ids: Any) -> Any:
        memory, (h, c) = encoder(read[ids])
        h, c, fed, labels = h[0], c[0], torch.zeros(BATCH, UNITS), torch.ones(BATCH, dtype=torch.long)
        found = []
        for _ in range(STEPS):
            logits, fed, h, c = step(labels, fed, h, c, memory)
            labels = torch.argmax(logits, 1)
            found.append(labels)
        return torch.stack(found, 1)

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def beam(ids: Any) -> Any:
        memory, (h, c) = encoder(read[ids])
        memory, h, c = (t.repeat_interleave(BEAM, 0) for t in (memory, h[0], c[0]))
        fed, labels = torch.zeros(BATCH * BEAM, UNITS), torch.ones(BATCH * BEAM, dtype=torch.long)
        scores = torch.full((BATCH, BEAM), -1e9)
        scores[:, 0] = 0
        found = torch.zeros(BATCH, BEAM, 0, dtype=torch.long)
        first = torch.arange(BATCH)[:, None] * BEAM
        for _ in range(STEPS):
            logits, fed, h, c = step(labels, fed, h, c, memory)
            all_scores = torch.log_softmax(logits, 1).view(BATCH, BEAM, CLASSES) + scores[:, :, None]
            scores, places = all_scores.view(BATCH, -1).topk(BEAM, 1)
            parent, labels = places // CLASSES, places % CLASSES
            rows = (parent + first).view(-1)
            h, c, fed = h[rows], c[rows], fed[rows]
            before = found.gather(1, parent[:, :, None].expand(-1, -1, found.shape[2]))
            found, labels = torch.cat([before, labels[:, :, None]], 2), labels.view(-1)
        return found[:, 0]

    return greedy, beam


def products(beams: int) -> float:
    """Floating-point operations of the products of a run."""
    encode = SOURCE * 2 * UNITS * 4 * UNITS
    step = 3 * UNITS * 4 * UNITS + 2 * UNITS * UNITS + UNITS * CLASSES + 2 * SOURCE * UNITS
    return 2.0 * BATCH * (encode + STEPS * beams * step)


def in_turns(calls: Sequence[Callable[[], Any]]) -> list[float]:
    """The quickest of some runs of each, in ms."""
    best = [float("inf")] * len(calls)
    for call in calls:
        call()
    for _ in range(ROUNDS):
        for k, call in enumerate(calls):
            begin = time.perf_counter()
            call()
            best[k] = min(best[k], 1e3 * (time.perf_counter() - begin))
    return best


def main(arguments: Sequence[str] | None = None) -> None:
    import torch

    parser = argparse.ArgumentParser(prog="python -m benchmarks.decoding", description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--precision", nargs="+", default=["float32", "bf16", "int8"])
    options = parser.parse_args(arguments)
    sources = np.random.default_rng(0).integers(3, CLASSES, (BATCH, SOURCE)).astype(np.int32)
    ids = torch.from_numpy(sources.astype(np.int64))
    print(rekur.cpu_info())
    plain = translator("float32")
    engine = plain.model._engine()
    flat, at, weights = engine.get_weights(), 0, {}
    for name, shape, _ in engine.parameters:
        size = int(np.prod(shape))
        weights[name] = flat[at : at + size].reshape(shape)
        at += size
    greedy, beam = torch_decoders(weights)
    for precision in options.precision:
        model = translator(precision)
        model.model._engine().set_weights(flat)
        for threads in options.threads:
            rekur.set_num_threads(threads)
            torch.set_num_threads(threads)
            for name, width, theirs in (("greedy", 1, greedy), (f"beam {BEAM}", BEAM, beam)):
                ours, peer = in_turns(
                    [
                        lambda model=model, width=width: model.decode(sources, steps=STEPS, beam_width=width),
                        lambda theirs=theirs: theirs(ids),
                    ]
                )
                labels, _ = model.decode(sources, steps=STEPS, beam_width=width)
                alike = float(np.mean(labels[0] == theirs(ids).numpy()))
                rate = products(width) / ours / 1e6
                print(f"{precision:8} {threads} threads {name:7} ours {ours:7.1f} ms  torch {peer:7.1f} ms", end="  ")
                print(f"ratio {peer / ours:5.2f}  {rate:6.0f} GFLOP/s  labels alike {alike:.3f}", flush=True)


if __name__ == "__main__":
    main()
