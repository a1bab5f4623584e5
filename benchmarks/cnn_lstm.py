"""Training step of a CNN-BiLSTM classifier, in turns with torch where it is installed: python -m benchmarks.cnn_lstm

Conv1D 64×5, pooling by 2, a bidirectional LSTM of 64 units, Dense; 128 steps of 32 features, 32 rows.
"""

from __future__ import annotations

import argparse

import numpy as np

import rekur
from benchmarks.conv import best
from rekur import layers

B, T, F, CLASSES = 32, 128, 32, 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    threads = parser.parse_args().threads
    rekur.set_num_threads(threads)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((B, T, F)).astype(np.float32), rng.integers(0, CLASSES, B)
    model = rekur.Sequential(
        [
            rekur.Input((T, F)),
            layers.Conv1D(64, 5, activation="relu"),
            layers.MaxPooling1D(2),
            layers.Bidirectional(layers.LSTM(64)),
            layers.Dense(CLASSES, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.train_on_batch(x, y)
    runs = {"rekur": lambda: model.train_on_batch(x, y)}
    try:
        import torch
    except ImportError:
        pass
    else:
        torch.set_num_threads(threads)

        class Net(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv = torch.nn.Conv1d(F, 64, 5)
                self.lstm = torch.nn.LSTM(64, 64, batch_first=True, bidirectional=True)
                self.dense = torch.nn.Linear(128, CLASSES)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                z = torch.nn.functional.max_pool1d(torch.relu(self.conv(x.transpose(1, 2))), 2)
                _, (h, _) = self.lstm(z.transpose(1, 2))
                return self.dense(torch.cat([h[0], h[1]], dim=1))

        net = Net()
        optimizer = torch.optim.Adam(net.parameters())
        tx, ty = torch.from_numpy(x), torch.from_numpy(y)

        def step() -> None:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(tx), ty).backward()
            optimizer.step()

        runs["torch"] = step
    least = dict.fromkeys(runs, np.inf)
    for _ in range(5):  # in turns
        for name, run in runs.items():
            least[name] = min(least[name], best(run, 1.0))
    print(
        f"threads {threads}: " + ", ".join(f"{name} {seconds * 1e3:.2f} ms a step" for name, seconds in least.items())
    )
    if "torch" in least:
        print(f"torch / rekur = {least['torch'] / least['rekur']:.2f}")


if __name__ == "__main__":
    main()
