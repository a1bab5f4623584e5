"""The interpreter ends while a daemon thread computes: the program ends too, with its own exit code, without a word."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys, threading, time
import numpy as np
import rekur

rekur.set_num_threads(2)
def build():
    model = rekur.Sequential([rekur.layers.LSTM({units}, input_shape=({steps}, 8)), rekur.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model

model = build()
x, y = np.ones((64, {steps}, 8), np.float32), np.ones((64, 1), np.float32)
path = sys.argv[1]

def work():
    while True:
        {call}
        begun.set()

begun = threading.Event()
for _ in range({threads}):
    threading.Thread(target=work, daemon=True).start()
begun.wait()
time.sleep({pause})
sys.exit(7)
"""
CALLS = {
    "predict": "model.predict(x)",
    "train_on_batch": "model.train_on_batch(x, y)",
    "fit": "model.fit(x, y, epochs=2, verbose=0)",
    "evaluate": "model.evaluate(x, y, verbose=0)",
    "save": "model.save(path)",
    "load": "model.save(path); rekur.load_model(path)",
    "build": "build()",
}


@pytest.mark.parametrize("call", CALLS)
def test_the_program_ends_with_its_own_code_while_a_daemon_thread_computes(call: str, tmp_path: Path) -> None:
    path = str(tmp_path / "model.safetensors")
    long = call in ("predict", "train_on_batch", "fit", "evaluate")
    for threads, pause in ((1, 0.005), (3, 0.011)):
        source = PROGRAM.format(
            call=CALLS[call], threads=threads, pause=pause, units=96 if long else 64, steps=60 if long else 6
        )
        done = subprocess.run([sys.executable, "-c", source, path], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (7, "")
