"""Where memory does not suffice, every call raises MemoryError, and what there was goes on working."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# Each call asks for more than the address space that is left; what fits into it comes after.
SCRIPT = """
import copy, pickle, resource, sys
import numpy as np
import rekur
from rekur import _core
from rekur.layers import LSTM, Dense, Embedding

small = rekur.Sequential([LSTM(8, return_sequences=True, input_shape=(None, 4)), Dense(3)], seed=1)
small.compile("adam", "mse")
x = np.ones((2, 5, 4), np.float32)
expected = small.predict(x)
small.train_on_batch(x, np.ones((2, 5, 3)))
wide = rekur.Sequential([Embedding(10, 2000, input_shape=(None,)), LSTM(1, return_sequences=True)], seed=1)
wide.compile("sgd", "mse")
wide.predict(np.zeros((1, 1), np.int32))
ids = np.zeros((1, 300_000), np.int32)  # 10 MB as numbers, 2.4 GB as vectors
flat = rekur.Sequential([Dense(6000, input_shape=(6000,), kernel_initializer="zeros")])
flat.compile("adam", "mse")
flat.save(sys.argv[1])
big = rekur.Sequential([Dense(20_000, input_shape=(20_000,), kernel_initializer="zeros")])
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 120 * 2**20,) * 2)

calls = {
    "build": lambda: big.count_params(),
    "predict": lambda: wide.predict(ids),
    "evaluate": lambda: wide.evaluate(ids, np.zeros((1, 300_000, 1))),
    "train": lambda: wide.train_on_batch(ids, np.zeros((1, 300_000, 1))),
    "forward": lambda: wide._engine().forward([ids]),
    "gradients": lambda: wide.gradients(ids, np.zeros((1, 300_000, 1))),
    "load": lambda: rekur.load(sys.argv[1]),
    "load_weights": lambda: flat.load_weights(sys.argv[1]),
    "compile": lambda: flat.train_on_batch(np.zeros((1, 6000)), np.zeros((1, 6000))),
    "get_weights": lambda: [flat.get_weights() for _ in range(3)],
    "copy": lambda: [copy.deepcopy(flat) for _ in range(3)],
    "pickle": lambda: [pickle.dumps(flat) for _ in range(3)],
    "read": lambda: [_core.read_safetensors(sys.argv[1]) for _ in range(3)],
    "orthogonal": lambda: rekur.initializers.Orthogonal() and rekur.Sequential(
        [Dense(4500, input_shape=(4500,), kernel_initializer="orthogonal")]).count_params(),
}
for name, call in calls.items():
    try:
        call()
    except MemoryError as error:
        print(name, "MemoryError", error)
    except Exception as error:
        print(name, type(error).__name__, error)
    else:
        print(name, "fitted")
small.predict(x)
small.train_on_batch(x, np.ones((2, 5, 3)))
print("goes on")
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the address space in use is read from Linux's /proc")
def test_out_of_memory_is_a_memory_error_from_every_call(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "model.safetensors")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    *lines, last = done.stdout.splitlines()
    assert last == "goes on"
    raised = {line.split()[0]: line.split()[1] for line in lines}
    assert raised == dict.fromkeys(raised, "MemoryError"), done.stdout
    assert len(raised) == 14
