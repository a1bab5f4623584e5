"""A word language model: embedding, two LSTM layers with dropout, tied output weights, truncated back-propagation.

    python word_language_model.py             # 50 steps; prints the perplexity and the time

Change one import to run it in torch itself. The text is made up: words that follow one another by a random grammar.
"""

import math
import time

import torch
from torch import nn

from rekur.torch import LSTM  # or: from torch.nn import LSTM

WORDS, WIDTH, LAYERS, BATCH, BPTT = 2000, 200, 2, 20, 35


def corpus(length: int) -> torch.Tensor:
    """Word numbers: each word has a few that may follow it."""
    generator = torch.Generator().manual_seed(1)
    follows = torch.randint(WORDS, (WORDS, 8), generator=generator).tolist()
    choices = torch.randint(8, (length,), generator=generator).tolist()
    words = [0]
    for choice in choices[1:]:
        words.append(follows[words[-1]][choice])
    return torch.tensor(words)


class LanguageModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.2)
        self.encoder = nn.Embedding(WORDS, WIDTH)
        self.rnn = LSTM(WIDTH, WIDTH, LAYERS, dropout=0.2)
        self.decoder = nn.Linear(WIDTH, WORDS)
        self.decoder.weight = self.encoder.weight
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, words, hidden):
        output, hidden = self.rnn(self.drop(self.encoder(words)), hidden)
        return self.decoder(self.drop(output)), hidden


def main(steps: int = 50) -> list[float]:
    """The loss of each step."""
    torch.manual_seed(1)
    text = corpus(BATCH * (BPTT * steps + 1)).view(BATCH, -1).t().contiguous()
    model = LanguageModel()
    criterion = nn.CrossEntropyLoss()
    hidden = (torch.zeros(LAYERS, BATCH, WIDTH), torch.zeros(LAYERS, BATCH, WIDTH))
    losses = []
    model.train()
    for step in range(steps):
        at = step * BPTT
        hidden = tuple(state.detach() for state in hidden)
        model.zero_grad()
        output, hidden = model(text[at : at + BPTT], hidden)
        loss = criterion(output.view(-1, WORDS), text[at + 1 : at + 1 + BPTT].reshape(-1))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        for parameter in model.parameters():
            parameter.data.add_(parameter.grad, alpha=-5.0)
        losses.append(loss.item())
    return losses


if __name__ == "__main__":
    start = time.perf_counter()
    losses = main()
    print(f"perplexity {math.exp(losses[0]):.1f} -> {math.exp(losses[-1]):.1f} in {time.perf_counter() - start:.2f} s")
