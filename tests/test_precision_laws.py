"""Laws of precisions: gradients in bf16 are near float32's at sizes that fill no tile, threads change no bit of stacks
of several precisions, a thread may have no rows, and a model may be compiled anew while it predicts."""

import itertools
import json
import subprocess
import sys
import threading

import numpy as np
import pytest

import rekur
from rekur import _core, layers


def spec_of(*stack):
    return json.dumps(rekur.Sequential(list(stack)).spec)


def trained(spec, x, y, threads=1, remat=False):
    """Weights before and after a step of SGD."""
    _core.set_num_threads(threads)
    model = _core.Model(spec)
    before = (0.1 * np.random.default_rng(9).standard_normal(len(model.get_weights()))).astype(np.float32)
    model.set_weights(before)
    config = {"optimizer": {"name": "sgd", "learning_rate": 0.5}, "losses": [{"name": "mean_squared_error"}]}
    _core.Trainer(model, json.dumps(config | {"seed": 3, "remat": remat})).step([x], [y])
    return before, np.array(model.get_weights())


GRADIENTS = {
    "reset before": lambda units, precision: layers.GRU(
        units, reset_after=False, return_sequences=True, precision=precision
    ),
    "projection": lambda units, precision: layers.LSTM(
        units, projection_size=units // 2 + 1, return_sequences=True, precision=precision
    ),
    "LSTM": lambda units, precision: layers.LSTM(units, return_sequences=True, precision=precision),
    "mgu2": lambda units, precision: layers.RNN(rekur.cells.mgu2, units, return_sequences=True, precision=precision),
}


@pytest.mark.parametrize("units", [33, 50, 65, 100, 108])
@pytest.mark.parametrize("kind", GRADIENTS)
def test_gradients_in_bf16_are_near_those_of_float32(kind, units, rounding_isa, rng, restore_threads):
    x = rng.standard_normal((4, 20, 8)).astype(np.float32)
    width = rekur.Sequential([layers.Input((None, 8)), GRADIENTS[kind](units, None)]).output_shape[-1]
    y = rng.standard_normal((4, 20, width)).astype(np.float32)
    steps = []
    for precision in ("float32", "bf16"):
        spec = spec_of(layers.Input((None, 8)), GRADIENTS[kind](units, precision))
        before, after = trained(spec, x, y)
        steps.append((after - before, _core.Model(spec).parameters))
    at = 0
    for name, shape, *_ in steps[0][1]:
        size = int(np.prod(shape))
        exact, rounded = (step[at : at + size].astype(np.float64) for step, _ in steps)
        assert np.linalg.norm(rounded - exact) <= 0.03 * np.linalg.norm(exact) + 1e-6, name
        at += size


STACKED = {
    "LSTM": lambda units, precision: layers.LSTM(units, return_sequences=True, precision=precision),
    "GRU": lambda units, precision: layers.GRU(units, return_sequences=True, precision=precision),
    "sru": lambda units, precision: layers.RNN(rekur.cells.sru, units, return_sequences=True, precision=precision),
}


@pytest.mark.parametrize("precisions", [("bf16", "float32"), ("float32", "bf16"), ("bf16", "bf16")])
@pytest.mark.parametrize("kinds", list(itertools.product(STACKED, STACKED)))
def test_threads_change_no_bit_of_stacks_of_several_precisions(kinds, precisions, rng, restore_threads):
    for B, T, units in ((1, 40, 128), (3, 90, 128), (1, 150, 96)):
        stack = [STACKED[kind](units, precision) for kind, precision in zip(kinds, precisions, strict=True)]
        spec = spec_of(layers.Input((None, units)), *stack)
        x, y = (rng.standard_normal((B, T, units)).astype(np.float32) for _ in range(2))
        expected = trained(spec, x, y)[1]
        for threads, remat in ((2, False), (3, True)):
            np.testing.assert_array_equal(trained(spec, x, y, threads, remat)[1], expected)


@pytest.mark.parametrize("kind", [layers.LSTM, layers.GRU])
@pytest.mark.parametrize("precision", ["int8", "bf16"])
def test_fewer_rows_than_threads(kind, precision, rng, rounding_isa, restore_threads):
    model = rekur.Sequential([kind(256, precision=precision, return_sequences=True, input_shape=(None, 256))])
    x = rng.standard_normal((1, 1, 256)).astype(np.float32)
    results = []
    for threads in (1, 2, 3, 4):
        rekur.set_num_threads(threads)
        results.append(model.predict(x, verbose=0))
        np.testing.assert_array_equal(results[-1], results[0])


def test_a_model_is_compiled_anew_while_it_predicts(rng, restore_threads):
    rekur.set_num_threads(1)
    model = rekur.Sequential([layers.Input((None, 64)), layers.Dense(96), layers.LSTM(96, return_sequences=True)])
    x = rng.standard_normal((8, 20, 64)).astype(np.float32)
    known = []
    for precision in ("float32", "bf16"):
        model.compile("sgd", "mse", precision=precision)
        known.append(model.predict(x, verbose=0))
    wrong, stop = [], threading.Event()

    def predict():
        while not stop.is_set():
            y = model._engine().predict([x])[0]
            if not any(np.array_equal(y, each) for each in known):
                wrong.append(y)

    thread = threading.Thread(target=predict)
    thread.start()
    for k in range(200):
        model.compile("sgd", "mse", precision="bf16" if k % 2 else "float32")
    stop.set()
    thread.join()
    assert not wrong


@pytest.mark.parametrize("before,after", [("float32", "bf16"), ("bf16", "float32")])
def test_a_tape_of_another_precision_is_refused(before, after, rng):
    model = _core.Model(spec_of(layers.Input((None, 40)), layers.LSTM(64, return_sequences=True)))
    config = {"optimizer": {"name": "sgd"}, "losses": [{"name": "mean_squared_error"}]}
    _core.Trainer(model, json.dumps(config | {"precision": before}))
    outputs, tape = model.forward([rng.standard_normal((8, 50, 40)).astype(np.float32)])
    _core.Trainer(model, json.dumps(config | {"precision": after}))
    with pytest.raises((ValueError, RuntimeError), match="tape"):
        model.backward(tape, [np.ones_like(outputs[0])])


SMALL_SIGNAL_STACK = """
import ctypes
class Stack(ctypes.Structure):
    _fields_ = [("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]
memory = ctypes.create_string_buffer(8192)
assert ctypes.CDLL(None).sigaltstack(ctypes.byref(Stack(ctypes.addressof(memory), 0, 8192)), None) == 0
import rekur
try:
    rekur.set_isa("amx")
except Exception as error:
    print(error)
model = rekur.Sequential([rekur.layers.LSTM(40, precision="bf16", input_shape=(None, 33))], seed=1)
print(model.predict([[[1.0] * 33] * 3], verbose=0).shape)
"""


@pytest.mark.skipif("amx" not in _core.available_isas(), reason="no AMX")
def test_a_system_that_does_not_give_the_registers_of_amx():
    run = subprocess.run([sys.executable, "-c", SMALL_SIGNAL_STACK], capture_output=True, text=True, check=True)
    assert "set_isa: 'amx': the system does not give this process the registers" in run.stdout
    assert run.stdout.endswith("(1, 40)\n")
