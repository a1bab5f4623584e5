"""A sequence classifier: images of 28 by 28 read row by row by a GRU, the class from its last state.

    python sequence_classifier.py             # 50 steps; prints the accuracy and the time

Change one import to run it in torch itself. The images are made up: strokes of ten kinds, with noise.
"""

import time

import torch
from torch import nn

from rekur.torch import GRU  # or: from torch.nn import GRU

CLASSES, SIZE, BATCH = 10, 28, 64


def images(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (count, 28, 28): a stroke whose slope and bend are those of its class, somewhere; and the classes."""
    generator = torch.Generator().manual_seed(3)
    kinds = torch.randint(CLASSES, (count,), generator=generator)
    rows = torch.arange(SIZE) / SIZE - 0.5
    slope, bend = (kinds % 5 - 2).float()[:, None] * 6, (kinds // 5).float()[:, None] * 24
    begin = torch.rand(count, 1, generator=generator) * 8 + 8
    middle = begin + slope * rows + bend * rows.square()
    strokes = torch.exp(-((torch.arange(SIZE) - middle[..., None]) ** 2) / 4)
    return strokes + 0.3 * torch.randn(count, SIZE, SIZE, generator=generator), kinds


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = GRU(SIZE, 128, num_layers=2, batch_first=True)
        self.classes = nn.Linear(128, CLASSES)

    def forward(self, rows):
        _, last = self.rnn(rows)
        return self.classes(last[-1])


def main(steps: int = 50) -> tuple[list[float], float]:
    """The loss of each step, and the accuracy of the last ones."""
    torch.manual_seed(3)
    x, y = images(BATCH * steps)
    model = Classifier()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.002)
    losses, right = [], []
    for rows, kinds in zip(x.split(BATCH), y.split(BATCH), strict=True):
        scores = model(rows)
        loss = nn.functional.cross_entropy(scores, kinds)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        right.append((scores.argmax(-1) == kinds).float().mean().item())
    return losses, sum(right[-5:]) / 5


if __name__ == "__main__":
    start = time.perf_counter()
    losses, accuracy = main()
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}, {accuracy:.0%} right, in {time.perf_counter() - start:.2f} s")
