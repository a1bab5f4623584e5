"""Threads with small stacks: whatever is large in the engine stands in memory of its own, never on a stack."""

import os
import subprocess
import sys

import pytest

import rekur

SCRIPT = """
import sys, threading
import numpy as np
import rekur
from rekur import layers

def model():
    m = rekur.Sequential([
        layers.Input((None, 6)),
        layers.Bidirectional(layers.LSTM(40, return_sequences=True)),
        layers.GRU(33, return_sequences=True, reset_after=False),
        layers.GRU(70, return_sequences=True),
        layers.LayerNormalization(),
        layers.LSTM(130, activation="elu", clip=3.0),
        layers.Dense(300, activation="relu"),
        layers.Dense(2),
    ])
    m.compile("adam", "mse")
    return m

def work(m, results):
    for _ in range(2):
        m.train_on_batch(x, y)
    m.fit(x, y, epochs=1, batch_size=8, shuffle=False, verbose=0)
    results.append([*m.get_weights(), m.predict(x)])

random = np.random.default_rng(0)
x = random.standard_normal((16, 20, 6)).astype(np.float32)
y = random.standard_normal((16, 2)).astype(np.float32)
here, there = model(), model()
there.set_weights(here.get_weights())
results = []
rekur.set_num_threads(1)
work(here, results)
rekur.set_num_threads(3)
threading.stack_size(65536)
thread = threading.Thread(target=work, args=(there, results))
thread.start()
thread.join()
assert len(results) == 2, "the thread did not come to its end"
for a, b in zip(*results):
    assert np.array_equal(a, b), float(np.abs(a - b).max())
print("the same bits")
"""


@pytest.mark.parametrize("isa", rekur.available_isas())
def test_training_in_a_thread_of_64_kb_gives_the_bits_of_the_main_thread(isa):
    environment = dict(os.environ, REKUR_ISA=isa)
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, (done.returncode, done.stderr)
    assert done.stdout == "the same bits\n"
