"""Training step of a CNN-BiLSTM-attention classifier, in turns with torch where it is installed: python -m
benchmarks.cnn_lstm

Conv1D 64×5, pooling by 2, a bidirectional LSTM of 64 units, scaled dot-product attention of its outputs to one another,
their mean, Dense; 128 steps of 32 features, 32 rows. With --without-attention the LSTM's last output goes to the Dense.
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
    parser.add_argument("--without-attention", action="store_true")
    arguments = parser.parse_args()
    threads, attends = arguments.threads, not arguments.without_attention
    rekur.set_num_threads(threads)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((B, T, F)).astype(np.float32), rng.integers(0, CLASSES, B)
    inputs = rekur.Input((T, F))
    z = layers.MaxPooling1D(2)(layers.Conv1D(64, 5, activation="relu")(inputs))
    z = layers.Bidirectional(layers.LSTM(64, return_sequences=attends))(z)
    if attends:
        z = layers.GlobalAveragePooling1D()(layers.Attention(use_scale=False, score_mode="dot")([z, z]))
    model = rekur.Model(inputs, layers.Dense(CLASSES, activation="softmax")(z))
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
                y, (h, _) = self.lstm(z.transpose(1, 2))
                if not attends:
                    return self.dense(torch.cat([h[0], h[1]], dim=1))
                attended = torch.nn.functional.scaled_dot_product_attention(y, y, y, scale=1.0)
                return self.dense(attended.mean(dim=1))

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
