"""What training in bf16 keeps of its steps is in bf16: half the memory, gradients of a rounded tape, the same bits."""

import json

import numpy as np
import pytest

import random_cells
import rekur
from rekur import _core, layers
from test_bf16 import product, rounded, sequences, sigmoid

AVAILABLE = [name for name in _core.available_isas() if name != "baseline"] or [_core.isa()]


def spec_in(stack, precision):
    """The spec of a stack whose recurrent layers, parts of them included, are of a precision."""
    spec = json.loads(json.dumps(rekur.Sequential(stack).spec))
    for layer in spec["layers"]:
        inner = layer.get("layer", layer)
        if inner["type"] in ("LSTM", "GRU", "SimpleRNN", "RNN"):
            inner["precision"] = precision
    return json.dumps(spec)


def trained(spec, x, y, *, steps=2, rate=0.5, start=None, scale=None, seed=5, remat=False, **given):
    """Weights before and after steps of SGD. scale: of weights that are drawn anew."""
    model = _core.Model(spec if isinstance(spec, str) else json.dumps(spec))
    if scale is not None:
        drawn = np.random.default_rng(seed).standard_normal(len(model.get_weights()))
        start = (scale * drawn).astype(np.float32)
    if start is not None:
        model.set_weights(start)
    before = np.array(model.get_weights())
    config = {"optimizer": {"name": "sgd", "learning_rate": rate}, "losses": [{"name": "mean_squared_error"}]}
    trainer = _core.Trainer(model, json.dumps(config | {"seed": 3, "remat": remat}))
    for _ in range(steps):
        trainer.step(x if isinstance(x, list) else [x], [y], **({"lengths": None} | given))
    return before, np.array(model.get_weights())


def lstm_gradients(x, dy, w, u, b, start, keep):
    """Of Σ y dy for an LSTM without peepholes; `keep` rounds what the tape keeps and the gradients of its sums."""
    T, H = x.shape[1], u.shape[0]
    h, c = (np.asarray(s, np.float64) for s in start)
    tape = []
    for t in range(T):
        i, f, g, o = np.split(product(x[:, t], w, b) + product(h, u), 4, axis=-1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        before = h, keep(c)
        c = f * c + i * g
        tape.append((before, [keep(v) for v in (i, f, g, o, c)]))
        h = o * np.tanh(c)
    dw, du, db, dh, dc = np.zeros(w.shape), np.zeros(u.shape), np.zeros(4 * H), 0.0, 0.0
    for t in reversed(range(T)):
        (h_before, c_before), (i, f, g, o, c) = tape[t]
        dh = dh + dy[:, t]
        phi = np.tanh(c)
        dc = dc + dh * o * (1 - phi * phi)
        sums = [dc * g * i * (1 - i), dc * c_before * f * (1 - f), dc * i * (1 - g * g), dh * phi * o * (1 - o)]
        d = keep(np.concatenate(sums, axis=-1))
        dw += rounded(x[:, t]).T @ rounded(d)
        du += rounded(h_before).T @ rounded(d)
        db += d.sum(axis=0)
        dc, dh = dc * f, rounded(d) @ rounded(u).T
    return dw, du, db


@pytest.mark.parametrize("batch,units", [(2, 1), (3, 7), (5, 33), (2, 65)])
def test_gradients_of_an_lstm_are_those_of_a_rounded_tape(rounding_isa, rng, batch, units):
    T, features = 12, 5
    inputs = [layers.Input((None, features)), layers.Input((units,)), layers.Input((units,))]
    out = layers.LSTM(units, return_sequences=True, precision="bf16")(inputs[0], initial_state=inputs[1:])
    model = rekur.Model(inputs, out)
    weights = [0.5 * sequences(rng, *w.shape) for w in model.get_weights()]
    model.set_weights(weights)
    given = [sequences(rng, batch, T, features), sequences(rng, batch, units), 2 * sequences(rng, batch, units)]
    y = model.predict(given, verbose=0)
    dy = sequences(rng, batch, T, units)
    model.compile(rekur.optimizers.SGD(1.0), "mse")
    model.train_on_batch(given, y - dy * (y.size / 2))
    made = [old - new for old, new in zip(weights, model.get_weights(), strict=True)]
    expected, of_floats = (lstm_gradients(given[0], dy, *weights, given[1:], keep) for keep in (rounded, lambda v: v))
    for ours, wanted, other in zip(made, expected, of_floats, strict=True):
        error, rounding = (np.linalg.norm(v - wanted) / np.linalg.norm(wanted) for v in (ours, other))
        # Some number half-way between two of bf16 becomes the other one; a tape of floats is further off.
        assert error < (0.3 * rounding if units > 3 else 1e-3)


CELLS = {
    "lstm": lambda **o: layers.LSTM(5, **o),
    "gru": lambda **o: layers.GRU(5, **o),
    "reset before": lambda **o: layers.GRU(7, reset_after=False, **o),
    "simple_rnn": lambda **o: layers.SimpleRNN(17, **o),
    "peepholes": lambda **o: layers.LSTM(9, peepholes=True, **o),
    "coupled": lambda **o: layers.LSTM(5, peepholes=True, coupled_gates=True, **o),
    "projected": lambda **o: layers.LSTM(33, projection_size=17, **o),
    "normalised": lambda **o: layers.RNN(rekur.cells.layer_norm_lstm, 5, **o),
    "zoneout": lambda **o: layers.LSTM(5, zoneout=0.2, **o),
    "dropped": lambda **o: layers.LSTM(5, dropout=0.2, recurrent_dropout=0.3, **o),
    "light_gru": lambda **o: layers.RNN(rekur.cells.light_gru, 3, **o),
    "min_lstm": lambda **o: layers.RNN(rekur.cells.min_lstm, 5, **o),
    "sru": lambda **o: layers.RNN(rekur.cells.sru, 2, **o),
    "slstm": lambda **o: layers.RNN(rekur.cells.slstm, 5, **o),
}


def ways(T, B, rng):
    """Rows of some lengths, with holes, and whose states begin anew."""
    mask = rng.random((B, T)) < 0.8
    mask[0, : T // 2] = False
    resets = (rng.random((B, T)) < 0.05).astype(np.uint8)
    yield {}
    yield {"lengths": [np.array([T, T // 2, 0, *([T - 1] * (B - 3))], np.int32)]}
    yield {"lengths": {"masks": [mask.astype(np.uint8)], "resets": [resets]}}
    yield {"lengths": {"resets": [resets]}}


@pytest.mark.parametrize("sequences_out,reverse", [(True, False), (False, True)])
@pytest.mark.parametrize("cell", CELLS)
def test_windows_threads_and_instruction_sets_change_no_bit(cell, sequences_out, reverse, rng, restore_threads):
    B, T = 16, 70
    layer = CELLS[cell](return_sequences=sequences_out, go_backwards=reverse)
    features = 2
    stack = [layers.Input((None, features)), layers.Dense(features), layer]
    x = sequences(rng, B, T, features)
    units = rekur.Sequential(stack).output_shape[-1]
    y = sequences(rng, *((B, T, units) if sequences_out else (B, units)))
    spec = spec_in(stack, "bf16")
    before = _core.isa()
    for given in ways(T, B, rng):
        results = {False: [], True: []}
        try:
            for isa in AVAILABLE:
                _core.set_isa(isa)
                for threads, remat in ((1, False), (3, True), (2, False)):
                    rekur.set_num_threads(threads)
                    results[isa == "amx"].append(trained(spec, x, y, scale=0.4, remat=remat, **given)[1])
        finally:
            _core.set_isa(before)
        for first, *others in filter(None, results.values()):  # AMX has sums of its own
            assert np.isfinite(first).all()
            for other in others:
                np.testing.assert_array_equal(other, first)


@pytest.mark.parametrize(
    "rows,units",
    [(1, 256), (3, 160), (40, 65)],  # hidden slices, a wavefront of the stack, slices of the batch
)
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "reset before", "cell", "projected", "alone"])
def test_however_threads_share_the_work(kind, rows, units, rng, restore_threads):
    def layer():
        o = {"return_sequences": True}
        return {
            "LSTM": lambda: layers.LSTM(units, **o),
            "GRU": lambda: layers.GRU(units, **o),
            "reset before": lambda: layers.GRU(units, reset_after=False, **o),
            "cell": lambda: layers.RNN(rekur.cells.peephole_lstm, units, **o),
            "projected": lambda: layers.LSTM(units, projection_size=units // 2 + 1, **o),
            "alone": lambda: layers.RNN(rekur.cells.sru, units, **o),
        }[kind]()

    x, width = sequences(rng, rows, 30, units), units // 2 + 1 if kind == "projected" else units
    stacks = [[layers.Input((None, units)), layer(), layer()]] if width == units else []
    stacks.append([layers.Input((None, units)), layers.Bidirectional(layer(), merge_mode="sum")])
    for stack in stacks:
        spec, y, results = spec_in(stack, "bf16"), sequences(rng, rows, 30, width), []
        for threads in (1, 2, 3, 5):
            rekur.set_num_threads(threads)
            results.append(trained(spec, x, y, steps=1)[1])
            np.testing.assert_array_equal(results[-1], results[0])


@pytest.mark.parametrize("cell", ["lstm", "gru", "peepholes", "normalised", "sru"])
def test_initial_states_are_rounded_as_those_of_the_tape_are(cell, rng):
    """With them in inputs, with learned ones that resets bring again, and where windows begin."""
    B, T = 3, 1100
    resets = np.zeros((B, T), np.uint8)
    resets[:, [171, 179, 180, 181, 343, 359, 360, 370]] = 1
    plain = CELLS[cell]()
    whole = {"return_sequences": True, "precision": "bf16"}
    states = 1 if cell == "gru" else 2
    inputs = [layers.Input((None, 2)), *(layers.Input((plain.units,)) for _ in range(states))]
    given = CELLS[cell](**whole)(inputs[0], initial_state=[layers.Dense(plain.units)(s) for s in inputs[1:]])
    model = rekur.Model(inputs, given)
    x = [sequences(rng, B, T, 2), *(sequences(rng, B, plain.units) for _ in range(states))]
    y = sequences(rng, B, T, plain.units)
    for lengths in ({"resets": [resets, *([None] * states)]}, None):
        spec = json.dumps(model.spec)
        once, again = (trained(spec, x, y, remat=remat, scale=0.4, lengths=lengths)[1] for remat in (False, True))
        np.testing.assert_array_equal(once, again)
    learned = rekur.Sequential([layers.Input((None, 2)), CELLS[cell](learn_initial_state=True, **whole)])
    spec = json.dumps(learned.spec)
    once, again = (
        trained(spec, x[0], y, remat=remat, scale=0.4, lengths={"resets": [resets]})[1] for remat in (False, True)
    )
    np.testing.assert_array_equal(once, again)


@pytest.mark.parametrize("name", random_cells.library())
def test_gradients_of_every_cell_are_near_those_of_float32(name, rng):
    cell = random_cells.library()[name]
    for direction, sequences_out in (("forward", True), ("concat", False)):
        spec = random_cells.cell_model(cell, direction, 5, 17, sequences=sequences_out, states=False)
        x = random_cells.cell_inputs(rng, spec, 6, 15)
        width = 34 if direction == "concat" else 17
        y = sequences(rng, *((6, 15, width) if sequences_out else (6, width)))
        lengths = [np.array([15, 3, 9, 15, 1, 7], np.int32)] * len(x)
        inner = spec["layers"][-1].get("layer", spec["layers"][-1])
        gradients = []
        for precision in ("float32", "bf16"):
            inner["precision"] = precision
            before, after = trained(spec, x, y, steps=1, rate=1.0, scale=0.3, lengths=lengths)
            gradients.append(before.astype(np.float64) - after)
        plain, narrow = gradients
        assert np.linalg.norm(plain) > 0 or name == "reservoir"  # which is not trained
        assert np.linalg.norm(narrow - plain) <= 0.1 * np.linalg.norm(plain)


def test_a_rows_input_gradient_does_not_depend_on_the_rows_beside_it(rng):
    """Of an Embedding with a number of its own for each row; a loss over 4 rows counts each a quarter."""
    for kind in ("LSTM", "GRU", "SimpleRNN"):
        stack = [layers.Embedding(4, 6, input_shape=(None,)), getattr(layers, kind)(17)]
        spec, steps = spec_in(stack, "bf16"), 9
        y = sequences(rng, 4, 17)
        rows = np.repeat(np.arange(4)[:, None], steps, 1).astype(np.int32)
        together = trained(spec, rows, y, steps=1, rate=4.0)[1][:24].reshape(4, 6)
        for row in range(4):
            alone = trained(spec, rows[row : row + 1], y[row : row + 1], steps=1, rate=1.0)[1][:24].reshape(4, 6)
            np.testing.assert_array_equal(alone[row], together[row])


RECORDS = {
    "LSTM": (layers.LSTM, {}, 5),
    "GRU": (layers.GRU, {}, 4),
    "SimpleRNN": (layers.SimpleRNN, {}, 1),
    "coupled": (layers.LSTM, {"coupled_gates": True}, 4),
    "cell": (lambda units, **o: layers.RNN(rekur.cells.min_gru, units, **o), {}, None),
    "normalised": (lambda units, **o: layers.RNN(rekur.cells.layer_norm_lstm, units, **o), {}, None),
}


@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("kind", RECORDS)
def test_records_take_half_the_bytes(kind, return_sequences):
    make, options, slots = RECORDS[kind]
    memory = {}
    for precision in ("float32", "bf16"):
        layer = make(64, return_sequences=return_sequences, precision=precision, **options)
        memory[precision] = rekur.Sequential([layers.Input((None, 8)), layer]).memory(8, 1000)
    saved = memory["float32"]["train"] - memory["bf16"]["train"]
    per_number = 8 * 1000 * 64 * 2
    assert saved % per_number == 0
    assert saved // per_number == slots if slots else saved // per_number >= 2
    assert memory["bf16"]["train_remat"] < memory["float32"]["train_remat"]
    assert memory["bf16"]["predict"] == memory["float32"]["predict"]


def test_compiling_anew_changes_the_tape_of_shapes_that_were_seen(rng):
    x, y = sequences(rng, 4, 30, 3), sequences(rng, 4, 33)
    model = rekur.Sequential([layers.LSTM(33, input_shape=(None, 3))])
    start, results, memory = model.get_weights(), {}, {}
    for precision in ("float32", "bf16", "float32", "bf16"):
        model.set_weights(start)
        model.compile("sgd", "mse", precision=precision)
        model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
        for name, now in ((results, model.get_weights()), (memory, [model.memory(4, 30)["train"]])):
            for first, again in zip(name.setdefault(precision, now), now, strict=True):
                np.testing.assert_array_equal(again, first)
    assert memory["bf16"] < memory["float32"]
