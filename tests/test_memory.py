"""What training a long sequence takes: the tape that cpp/tests/test_tape.cpp counts, and little else."""

from __future__ import annotations

import pytest

import child

B, T, I, H = 8, 10_000, 8, 64
MOST = {"LSTM": 6, "GRU": 5, "SimpleRNN": 2}  # floats a unit keeps of each (t, b), the outputs among them
SLACK = 6 * 2**20  # bytes: what a first step of this size starts and allocates whatever the length

# Peak resident memory of training steps above what the process held before, in bytes; its arguments are the layer's
# type, whether it returns sequences, and the shape.
SCRIPT = """
import contextlib, sys
import numpy as np
import rekur
from rekur.layers import Dense

def training(B, T, I, H):
    x = rekur.Input((None, I))
    layer = getattr(rekur.layers, sys.argv[1])(H, return_sequences=sys.argv[2] == "True")
    model = rekur.Model(x, Dense(1)(layer(x)), seed=1)
    model.compile("adam", "mean_squared_error")
    data = np.ones((B, T, I), np.float32)
    target = np.ones((B, T, 1) if sys.argv[2] == "True" else (B, 1), np.float32)
    return lambda: model.train_on_batch(data, target)

training(2, 3, 2, 16)()  # code is read and threads are started
step = training(*map(int, sys.argv[3:]))
before = status("VmRSS")
with contextlib.suppress(OSError):
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak so far is forgotten
for _ in range(2):
    step()
print(status("VmHWM") - before)
"""


@child.needs_peaks
@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("cell", MOST)
def test_training_on_10000_steps_takes_the_tape_and_little_more(cell: str, sequences: bool) -> None:
    grown = int(child.run(SCRIPT, cell, str(sequences), *(str(n) for n in (B, T, I, H))))
    kept = 4 * T * B * H * MOST[cell]
    arriving = 4 * T * B * H if sequences else 0  # the gradient of the sequence
    assert grown <= 1.3 * (kept + arriving) + SLACK
    assert grown >= 4 * T * B * H, "the peak was not measured"
