"""Backward passes of cells without a recurrent product go in parts of the batch, with weight gradients of their own."""

import numpy as np
import pytest

import rekur
from rekur import cells, layers

B, T, FEATURES, UNITS = 18, 70, 20, 20  # four parts
pytestmark = pytest.mark.usefixtures("restore_threads")

CELLS = ["min_gru", "ind_rnn", "sru", "lru", "rg_lru", "qrnn_2", "gru_with_time"]


@rekur.cell(inputs=("time",))
def gru_with_time(x, h, time):
    z = rekur.ops.sigmoid(x.z + time)
    return h + z * (x.n - h)


def model(name, wrap, states, residual=False):
    cell = gru_with_time if name == "gru_with_time" else getattr(cells, name)
    rnn = layers.RNN(cell, UNITS, return_sequences=True, residual=residual)
    x = rekur.Input((None, FEATURES))
    inputs = [x]
    if name == "gru_with_time":
        inputs.append(rekur.Input((None, UNITS)))
    if states:
        inputs.append(rekur.Input((UNITS,)))
    return rekur.Model(inputs, wrap(rnn)(inputs if len(inputs) > 1 else x), seed=3)


def gradients(engine, inputs, dy, lengths):
    _, tape = engine.forward(inputs, lengths=lengths)
    return engine.backward(tape, [dy])


def data(made, rows=B):
    rng = np.random.default_rng(5)
    inputs = [
        rng.standard_normal((rows, *[T if n is None else n for n in shape[1:]])).astype(np.float32)
        for shape in (i.shape for i in made.inputs)
    ]
    return rng, inputs


def check(made, row_lengths=None):
    engine = made._engine()
    rng, inputs = data(made)
    lengths = None if row_lengths is None else [row_lengths if x.ndim == 3 else None for x in inputs]
    dy = rng.standard_normal(engine.predict(inputs, lengths=lengths)[0].shape).astype(np.float32)
    whole = {}
    for threads in (1, 2, 3):
        rekur.set_num_threads(threads)
        flat, into = gradients(engine, inputs, dy, lengths)
        whole[threads] = [flat, *into]
    for threads in (2, 3):
        for one, other in zip(whole[1], whole[threads], strict=True):
            np.testing.assert_array_equal(one, other)
    rekur.set_num_threads(2)
    total = 0.0
    for b in range(B):
        own = None if lengths is None else [None if each is None else each[b : b + 1] for each in lengths]
        flat, into = gradients(engine, [x[b : b + 1] for x in inputs], dy[b : b + 1], own)
        total = total + flat.astype(np.float64)
        for one, many in zip(into, whole[1][1:], strict=True):
            np.testing.assert_array_equal(one[0], many[b])
    scale = np.abs(total).max()
    np.testing.assert_allclose(whole[1][0], total, atol=2e-5 * scale, rtol=0)


@pytest.mark.parametrize("name", CELLS)
def test_gradients_of_a_batch_are_those_of_its_rows(name):
    check(model(name, lambda rnn: rnn, states=False))


@pytest.mark.parametrize("name", CELLS)
def test_gradients_of_a_batch_with_lengths_are_those_of_its_rows(name):
    lengths = np.random.default_rng(1).integers(0, T + 1, B).astype(np.int32)
    lengths[9:13] = 0  # one part has nothing to do
    lengths[4] = 0
    check(model(name, lambda rnn: rnn, states=name in ("min_gru", "ind_rnn", "gru_with_time")), lengths)


@pytest.mark.parametrize("mode", ["concat", "sum", "mul"])
def test_gradients_of_both_directions_are_those_of_their_rows(mode):
    check(model("sru", lambda rnn: layers.Bidirectional(rnn, merge_mode=mode), states=False))


def test_gradients_of_a_stack_are_those_of_its_rows():
    x = rekur.Input((None, FEATURES))
    h = x
    for name in ("min_gru", "ind_rnn", "min_gru"):
        h = layers.RNN(getattr(cells, name), UNITS, return_sequences=True)(h)
    check(rekur.Model(x, h, seed=3))


def test_gradients_of_the_last_step_alone_are_those_of_its_rows():
    x = rekur.Input((None, FEATURES))
    check(rekur.Model(x, layers.RNN(cells.min_gru, UNITS)(x), seed=3))


def test_gradients_beside_dropout_are_the_same_for_any_number_of_threads():
    x = rekur.Input((None, FEATURES))
    made = rekur.Model(x, layers.RNN(cells.min_gru, UNITS, return_sequences=True, dropout=0.3, zoneout=0.2)(x), seed=3)
    engine = made._engine()
    rng, inputs = data(made)
    dy = rng.standard_normal((B, T, UNITS)).astype(np.float32)
    found = []
    for threads in (1, 2, 3):
        rekur.set_num_threads(threads)
        _, tape = engine.forward(inputs, seed=1, step=4)
        flat, into = engine.backward(tape, [dy])
        found.append([flat, *into])
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(one, two)
