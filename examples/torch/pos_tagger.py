"""A part-of-speech tagger: embedding, a bidirectional LSTM over packed sentences of all lengths, a tag for each word.

    python pos_tagger.py                      # 50 steps; prints the accuracy and the time

Change one import to run it in torch itself. The sentences are made up: a tag follows another, a word hangs on its tag.
"""

import time

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from rekur.torch import LSTM  # or: from torch.nn import LSTM

TAGS, WORDS, BATCH, PADDING = 12, 600, 32, -100


def sentences(count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(words, tags) of 3 to 40 words. A word may stand for two tags, so its neighbours say which."""
    generator = torch.Generator().manual_seed(2)
    found = []
    for length in torch.randint(3, 41, (count,), generator=generator).tolist():
        jumps = torch.randint(1, 4, (length,), generator=generator)
        tags = jumps.cumsum(0) % TAGS
        words = tags // 2 * (WORDS * 2 // TAGS) + torch.randint(WORDS * 2 // TAGS, (length,), generator=generator)
        found.append((words, tags))
    return found


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, 64)
        self.rnn = LSTM(64, 128, batch_first=True, bidirectional=True)
        self.tags = nn.Linear(2 * 128, TAGS)

    def forward(self, words, lengths):
        packed = pack_padded_sequence(self.embedding(words), lengths, batch_first=True, enforce_sorted=False)
        output, _ = pad_packed_sequence(self.rnn(packed)[0], batch_first=True)
        return self.tags(output)


def main(steps: int = 50) -> tuple[list[float], float]:
    """The loss of each step, and the accuracy of the last."""
    torch.manual_seed(2)
    data = sentences(BATCH * steps)
    model = Tagger()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    criterion = nn.CrossEntropyLoss(ignore_index=PADDING)
    losses = []
    for step in range(steps):
        words, tags = zip(*data[step * BATCH : (step + 1) * BATCH], strict=True)
        lengths = torch.tensor([len(sentence) for sentence in words])
        wanted = pad_sequence(tags, batch_first=True, padding_value=PADDING)
        scores = model(pad_sequence(words, batch_first=True), lengths)
        loss = criterion(scores.flatten(0, 1), wanted.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    right = (scores.argmax(-1) == wanted)[wanted != PADDING].float().mean()
    return losses, right.item()


if __name__ == "__main__":
    start = time.perf_counter()
    losses, accuracy = main()
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}, {accuracy:.0%} right, in {time.perf_counter() - start:.2f} s")
