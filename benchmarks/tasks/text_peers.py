"""The same networks in torch, written as its tutorials write them, and trained for as long as ours were.

The clock's `budget` says how many seconds: the median of our own runs of the task, or a minute where there is none.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from benchmarks.tasks.contender import PEER, Clock, Contender
from benchmarks.tasks.scores import accuracy
from benchmarks.tasks.text_baselines import of
from benchmarks.tasks.texts import CharacterTask, PairTask, TopicTask

EMBEDDING, UNITS, BATCH, WINDOW = 64, 256, 32, 64  # TextGenerator's, so that the networks are alike
RATE = 0.01  # the best of 0.002, 0.004, 0.008, 0.012 and 0.02 for so short a training


def _characters(task: CharacterTask, seed: int, clock: Clock) -> dict[str, float]:
    """Embedding → LSTM → linear: windows with the state carried over, Adam, a rate that falls along a cosine."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    marks = sorted(set(task.train))
    number = {mark: k for k, mark in enumerate(marks)}
    train = torch.tensor([number[mark] for mark in task.train])
    test = torch.tensor([number.get(mark, 0) for mark in task.test])
    embed, lstm = nn.Embedding(len(marks), EMBEDDING), nn.LSTM(EMBEDDING, UNITS, batch_first=True)
    out = nn.Linear(UNITS, len(marks))
    parameters = [*embed.parameters(), *lstm.parameters(), *out.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=RATE)
    loss = nn.CrossEntropyLoss()
    rows = train[: len(train) // BATCH * BATCH].view(BATCH, -1)
    budget = clock.budget or 60.0
    with clock.fitting():
        begun = time.perf_counter()
        spent = 0.0
        while spent < 1:
            state: Any = None
            for begin in range(0, rows.shape[1] - 1, WINDOW):
                part = rows[:, begin : begin + WINDOW + 1]
                hidden, state = lstm(embed(part[:, :-1]), state)
                state = tuple(one.detach() for one in state)
                optimiser.zero_grad()
                loss(out(hidden).flatten(0, 1), part[:, 1:].flatten()).backward()
                nn.utils.clip_grad_norm_(parameters, 1.0)
                optimiser.step()
                spent = (time.perf_counter() - begun) / budget
                if spent >= 1:
                    break
                optimiser.param_groups[0]["lr"] = RATE * max(0.01, (1 + math.cos(math.pi * spent)) / 2)
    with clock.predicting(), torch.no_grad():
        hidden, _ = lstm(embed(test[None, :-1]))
        each = nn.functional.cross_entropy(out(hidden)[0], test[1:], reduction="mean")
    return {"bits": float(each) / math.log(2)}


def _topics(task: TopicTask, seed: int, clock: Clock) -> dict[str, float]:
    """Embedding of words → packed bidirectional GRU → mean over time → linear."""
    import re

    import torch
    from torch import nn

    torch.manual_seed(seed)
    split = [re.findall(r"\w+|[^\w\s]", text.lower())[:200] or ["."] for text in task.train]
    asked = [re.findall(r"\w+|[^\w\s]", text.lower())[:200] or ["."] for text in task.test]
    counted: dict[str, int] = {}
    for words in split:
        for word in words:
            counted[word] = counted.get(word, 0) + 1
    number = {word: k + 2 for k, word in enumerate(sorted(word for word, count in counted.items() if count > 1))}
    topics = sorted(set(task.train_labels))
    labels = torch.tensor([topics.index(label) for label in task.train_labels])

    def batch(texts: list[list[str]]) -> tuple[Any, Any]:
        lengths = torch.tensor([len(words) for words in texts])
        table = torch.zeros(len(texts), int(lengths.max()), dtype=torch.long)
        for row, words in zip(table, texts, strict=True):
            row[: len(words)] = torch.tensor([number.get(word, 1) for word in words])
        return table, lengths

    embed, gru = nn.Embedding(len(number) + 2, 64, padding_idx=0), nn.GRU(64, 64, batch_first=True, bidirectional=True)
    drop, out = nn.Dropout(0.5), nn.Linear(128, len(topics))
    modules = nn.ModuleList([embed, gru, drop, out])
    optimiser = torch.optim.Adam(modules.parameters(), lr=1e-3)

    def logits(texts: list[list[str]]) -> Any:
        table, lengths = batch(texts)
        packed = nn.utils.rnn.pack_padded_sequence(drop(embed(table)), lengths, batch_first=True, enforce_sorted=False)
        hidden, _ = nn.utils.rnn.pad_packed_sequence(gru(packed)[0], batch_first=True)
        return out(drop(hidden.sum(1) / lengths[:, None]))

    generator = np.random.default_rng(seed)
    with clock.fitting():
        end = time.perf_counter() + (clock.budget or 60.0)
        while time.perf_counter() < end:
            for rows in np.array_split(generator.permutation(len(split)), max(1, len(split) // 64)):
                optimiser.zero_grad()
                nn.functional.cross_entropy(logits([split[k] for k in rows]), labels[rows]).backward()
                optimiser.step()
                if time.perf_counter() >= end:
                    break
    modules.eval()
    answer = []
    with clock.predicting(), torch.no_grad():
        for k in range(0, len(asked), 256):
            answer += [topics[one] for one in logits(asked[k : k + 256]).argmax(1)]
    return {"accuracy": accuracy(task.test_labels, answer)}


def _pairs(task: PairTask, seed: int, clock: Clock) -> dict[str, float]:
    """Bidirectional GRU → GRU with dot-product attention over its steps, teacher forcing, greedy answers."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    marks = sorted({mark for pair in task.train for text in pair for mark in text})
    number = {mark: k + 3 for k, mark in enumerate(marks)}  # 0 padding, 1 beginning, 2 end
    size, units = len(marks) + 3, 128

    def batch(texts: list[str]) -> Any:
        rows = [torch.tensor([number.get(mark, 0) for mark in text] + [2]) for text in texts]
        return nn.utils.rnn.pad_sequence(rows, batch_first=True)

    embed, encoder = nn.Embedding(size, 64, padding_idx=0), nn.GRU(64, units // 2, batch_first=True, bidirectional=True)
    decoder, out = nn.GRU(64, units, batch_first=True), nn.Linear(2 * units, size)
    modules = nn.ModuleList([embed, encoder, decoder, out])
    optimiser = torch.optim.Adam(modules.parameters(), lr=2e-3)

    def encode(texts: list[str]) -> tuple[Any, Any, Any]:
        table = batch(texts)
        lengths = (table != 0).sum(1)
        packed = nn.utils.rnn.pack_padded_sequence(embed(table), lengths, batch_first=True, enforce_sorted=False)
        steps, last = encoder(packed)
        steps, _ = nn.utils.rnn.pad_packed_sequence(steps, batch_first=True)
        return steps, torch.cat([last[0], last[1]], 1)[None], table[:, : steps.shape[1]] == 0

    def decode(given: Any, state: Any, steps: Any, padding: Any) -> tuple[Any, Any]:
        hidden, state = decoder(embed(given), state)
        weight = (hidden @ steps.transpose(1, 2)).masked_fill(padding[:, None], -1e9).softmax(-1)
        return out(torch.cat([hidden, weight @ steps], -1)), state

    generator = np.random.default_rng(seed)
    with clock.fitting():
        end = time.perf_counter() + (clock.budget or 60.0)
        while time.perf_counter() < end:
            for rows in np.array_split(generator.permutation(len(task.train)), max(1, len(task.train) // 64)):
                steps, state, padding = encode([task.train[k][0] for k in rows])
                target = batch([task.train[k][1] for k in rows])
                given = torch.cat([torch.ones(len(rows), 1, dtype=torch.long), target[:, :-1]], 1)
                optimiser.zero_grad()
                answer, _ = decode(given, state, steps, padding)
                nn.functional.cross_entropy(answer.flatten(0, 1), target.flatten(), ignore_index=0).backward()
                nn.utils.clip_grad_norm_(modules.parameters(), 1.0)
                optimiser.step()
                if time.perf_counter() >= end:
                    break
    right = 0
    longest = 2 * max(len(target) for _, target in task.train)
    with clock.predicting(), torch.no_grad():
        for k in range(0, len(task.test), 256):
            part = task.test[k : k + 256]
            steps, state, padding = encode([source for source, _ in part])
            mark = torch.ones(len(part), 1, dtype=torch.long)
            said = []
            for _ in range(longest):
                answer, state = decode(mark, state, steps, padding)
                mark = answer.argmax(-1)
                said.append(mark[:, 0].tolist())
                if (torch.tensor(said) == 2).any(0).all():
                    break
            for column, (_, target) in zip(zip(*said, strict=True), part, strict=True):
                stop = column.index(2) if 2 in column else len(column)
                right += "".join(marks[code - 3] if code > 2 else "" for code in column[:stop]) == target
    return {"exact": right / len(task.test)}


CONTENDERS = [
    Contender("torch LSTM, equal time", PEER, _characters, ("torch",), fits=of(CharacterTask)),
    Contender("torch GRU, equal time", PEER, _topics, ("torch",), fits=of(TopicTask)),
    Contender("torch seq2seq, equal time", PEER, _pairs, ("torch",), fits=of(PairTask)),
]
