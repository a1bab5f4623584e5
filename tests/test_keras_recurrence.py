"""Cells, stacks of cells, go_backwards, Bidirectional of two kinds, stateful layers: Keras's spelling and numbers."""

from __future__ import annotations

import copy
import importlib.util
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rekur
import rekur.onnx
from rekur import Input, Model, Sequential, cells, layers, ops

X = np.random.default_rng(1).normal(size=(3, 5, 3)).astype(np.float32)
Make = Callable[[Any], Any]


def model_of(make: Make, package: Any = rekur, **options: Any) -> Any:
    x = package.Input(batch_shape=(3, 5, 3))
    return package.Model(x, make(package.layers)(x), **options)


def outputs(model: Any, x: np.ndarray = X, **options: Any) -> list[np.ndarray]:
    found = model.predict(x, verbose=0, **options)
    return list(found) if isinstance(found, (list, tuple)) else [found]


def flat(found: Any) -> list[np.ndarray]:
    """What Keras gives: nested where a stack of cells has states."""
    return [a for part in found for a in flat(part)] if isinstance(found, (list, tuple)) else [np.asarray(found)]


def both_ways(kind: str, merge_mode: Any, **options: Any) -> Make:
    return lambda L: L.Bidirectional(
        L.LSTM(4, **options), merge_mode=merge_mode, backward_layer=getattr(L, kind)(4, go_backwards=True, **options)
    )


SEQUENCES = {"return_sequences": True}
FULL = {"return_sequences": True, "return_state": True}
CASES: dict[str, Make] = {
    "lstm cell": lambda L: L.RNN(L.LSTMCell(4)),
    "lstm cell, options": lambda L: L.RNN(
        L.LSTMCell(4, "relu", "hard_sigmoid", bias_initializer="ones", unit_forget_bias=False), **FULL
    ),
    "gru cell, backwards": lambda L: L.RNN(L.GRUCell(4, reset_after=False), go_backwards=True, **SEQUENCES),
    "simple cell": lambda L: L.RNN(L.SimpleRNNCell(4), return_state=True),
    "positions": lambda L: L.RNN(L.GRUCell(4), True, True, True, False, True),
    "list of cells": lambda L: L.RNN([L.LSTMCell(4), L.GRUCell(5)], **FULL),
    "list of cells, backwards": lambda L: L.RNN([L.LSTMCell(4), L.GRUCell(5)], go_backwards=True, **FULL),
    "list of cells, last, backwards": lambda L: L.RNN([L.LSTMCell(4), L.GRUCell(5)], go_backwards=True),
    "stacked cells": lambda L: L.RNN(L.StackedRNNCells([L.SimpleRNNCell(4), L.LSTMCell(5)]), return_state=True),
    "lstm, backwards": lambda L: L.LSTM(4, go_backwards=True, **FULL),
    "gru, backwards, last": lambda L: L.GRU(4, go_backwards=True),
    "stateful lstm": lambda L: L.LSTM(4, stateful=True),
    "stateful lstm, backwards": lambda L: L.LSTM(4, stateful=True, go_backwards=True, **FULL),
    "stateful stack": lambda L: L.RNN([L.LSTMCell(4), L.GRUCell(5)], stateful=True),
    "bidirectional, forwards from the end": lambda L: L.Bidirectional(
        L.LSTM(4, go_backwards=True, **SEQUENCES), backward_layer=L.LSTM(4, **SEQUENCES)
    ),
    "bidirectional stack": lambda L: L.Bidirectional(L.RNN([L.LSTMCell(4), L.GRUCell(3)], **SEQUENCES)),
    **{
        f"bidirectional {merge_mode} {sorted(options)}": lambda L, m=merge_mode, o=options: L.Bidirectional(
            L.GRU(4, **o), merge_mode=m
        )
        for merge_mode in ("concat", "sum", "mul", "ave", None)
        for options in ({}, SEQUENCES, FULL)
    },
    **{
        f"bidirectional of two kinds {merge_mode} {sorted(options)}": both_ways("GRU", merge_mode, **options)
        for merge_mode in ("concat", "sum", "mul", "ave", None)
        for options in ({}, SEQUENCES)
    },
    "bidirectional of two layers, states": both_ways("LSTM", None, **FULL),
}
every_case = pytest.mark.parametrize("make", CASES.values(), ids=CASES)


@every_case
def test_numbers_order_of_weights_outputs_and_states_are_those_of_keras(make: Make) -> None:
    if importlib.util.find_spec("keras") is None or importlib.util.find_spec("jax") is None:
        pytest.skip("no keras to compare with")
    os.environ.setdefault("KERAS_BACKEND", "jax")
    theirs, ours = model_of(make, pytest.importorskip("keras")), model_of(make)
    rng = np.random.default_rng(2)
    weights = [rng.normal(0, 0.4, a.shape).astype(np.float32) for a in theirs.get_weights()]
    theirs.set_weights(weights)
    ours.set_weights(weights)
    for _ in range(2):  # a stateful layer goes on
        for a, b in zip(flat(theirs(X)), outputs(ours), strict=True):
            np.testing.assert_allclose(b, a, atol=2e-6)


@every_case
def test_files_copies_and_pickles_are_the_same_model(make: Make, tmp_path: Path) -> None:
    model = model_of(make, seed=0)
    model.save(tmp_path / "m.safetensors")
    expected = [outputs(model) for _ in range(2)]
    for twin in (rekur.load(tmp_path / "m.safetensors"), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert [type(layer) for layer in twin.layers] == [type(layer) for layer in model.layers]
        assert twin.layers[1].config() == model.layers[1].config()
        for wanted in expected:
            for a, b in zip(wanted, outputs(twin), strict=True):
                np.testing.assert_array_equal(a, b)


@every_case
def test_a_layer_gives_and_takes_its_weights(make: Make) -> None:
    model = model_of(make, seed=0)
    layer, before = model.layers[1], outputs(model)
    weights = layer.get_weights()
    assert sum(w.size for w in weights) == layer.count_params() == model.count_params()
    for own, whole in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(own, whole)
    model.set_weights([np.zeros_like(w) for w in weights])
    layer.set_weights(weights)
    if hasattr(model, "reset_states"):
        model.reset_states()
    for a, b in zip(before, outputs(model), strict=True):
        np.testing.assert_array_equal(a, b)


@every_case
def test_it_trains_and_freezes(make: Make) -> None:
    x = Input(batch_shape=(3, 5, 3))
    y = make(layers)(x)
    model = Model(x, y[0] if isinstance(y, list) else y, seed=0)
    model.compile("sgd", "mse")
    target = np.ones_like(model.predict(X))
    model.reset_states()
    before = model.get_weights()
    model.fit(X, target, epochs=3, batch_size=3, verbose=0)
    changed = [not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]
    assert any(changed)
    model.layers[1].trainable = False
    frozen = model.get_weights()
    model.fit(X, target, epochs=1, batch_size=3, verbose=0)
    for a, b in zip(frozen, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_row_with_a_length_is_turned_around_by_itself() -> None:
    lengths = np.array([5, 2, 0])
    for make in (CASES["gru cell, backwards"], CASES["list of cells, backwards"], CASES["lstm, backwards"]):
        model = model_of(make, seed=0)
        whole = outputs(model, lengths=lengths)
        for row, length in enumerate(lengths):
            alone = outputs(model_like(model), X[row : row + 1, :length])
            np.testing.assert_array_equal(whole[0][row, :length], alone[0][0])
            assert not whole[0][row, length:].any()
            for state, expected in zip(whole[1:], alone[1:], strict=True):
                np.testing.assert_array_equal(state[row], expected[0])


def model_like(model: Any) -> Any:
    layer = model.layers[1]
    x = Input((None, 3))
    twin = Model(x, type(layer).from_config(layer.config())(x))
    twin.set_weights(model.get_weights())
    return twin


def test_initial_states_of_a_stack_come_by_cell_or_in_one_list() -> None:
    x, states = Input((5, 3)), [Input((4,)), Input((4,)), Input((5,))]
    found = []
    for given in (states, [states[:2], states[2:]], [states[:2], states[2]]):
        layer = layers.RNN([layers.LSTMCell(4), layers.GRUCell(5)], return_state=True)
        model = Model([x, *states], layer(x, initial_state=given), seed=3)
        rng = np.random.default_rng(0)
        data = [X, *(rng.normal(size=(3, n)).astype(np.float32) for n in (4, 4, 5))]
        found.append(model.predict(data))
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="expected 3 initial states, got 2"):
        layers.RNN([layers.LSTMCell(4), layers.GRUCell(5)])(x, initial_state=states[:2])


def test_a_layer_of_a_cell_is_the_layer() -> None:
    layer = layers.RNN(layers.LSTMCell(4, recurrent_activation="hard_sigmoid"), return_sequences=True, name="decoder")
    assert isinstance(layer, layers.LSTM)
    assert layer.name == "decoder"
    assert layer.cell.units == 4
    assert layer.cell.recurrent_activation == layer.recurrent_activation
    assert layers.GRU(6).cell.state_size == 6
    assert layers.LSTMCell(4).state_size == [4, 4]
    stack = layers.StackedRNNCells([layers.LSTMCell(4), layers.GRUCell(5)])
    assert stack.state_size == [[4, 4], 5]
    assert stack.output_size == 5
    assert [a.shape for a in layers.LSTMCell(4).get_initial_state(batch_size=2)] == [(2, 4), (2, 4)]


def test_a_cell_belongs_to_one_layer() -> None:
    cell = layers.GRUCell(4)
    layers.RNN(cell)
    with pytest.raises(ValueError, match="GRUCell 'gru_cell' is the cell of GRU 'gru' already"):
        layers.RNN(cell)
    with pytest.raises(ValueError, match="is the cell of RNN 'rnn' already"):
        one = layers.LSTMCell(4)
        layers.RNN([one, one])


def test_a_cell_that_is_not_trained_stays_so_in_its_layer() -> None:
    assert not layers.RNN(layers.LSTMCell(4, trainable=False)).trainable
    cell = layers.GRUCell(4)
    cell.trainable, cell.lr_scale = False, 0.5
    layer = layers.RNN(cell)
    assert (layer.trainable, layer.lr_scale) == (False, 0.5)
    layer.trainable = True
    assert cell.trainable
    model = model_of(lambda L: L.RNN([L.LSTMCell(4, trainable=False), L.GRUCell(5)]))
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.fit(X, np.ones((3, 5)), verbose=0)
    assert [np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)] == [True] * 3 + [False] * 3


def test_a_stack_keeps_what_it_was_made_with(tmp_path: Path) -> None:
    options = {"activity_regularizer": "l2", "batch_input_shape": (3, 5, 3), "return_sequences": True}
    model = Sequential([layers.RNN([layers.LSTMCell(4), layers.GRUCell(5)], **options)])
    model.compile("sgd", "mse")
    model.save(tmp_path / "m.safetensors")
    y = np.zeros((3, 5, 5))
    for twin in (rekur.load(tmp_path / "m.safetensors"), copy.deepcopy(model)):
        assert twin.evaluate(X, y) == model.evaluate(X, y) > np.square(model.predict(X)).mean()
    twin = pickle.loads(pickle.dumps(layers.RNN([layers.LSTMCell(4)], **options)))
    assert (twin._activity["name"], twin._batch_rows, twin.return_sequences) == ("l2", 3, True)


def test_cells_in_time_read_from_the_end_in_two_ways() -> None:
    turned = model_of(lambda L: L.RNN([L.LSTMCell(4), L.GRUCell(4)], go_backwards=True, return_sequences=True))
    there = model_of(lambda L: L.RNN([L.LSTMCell(4), L.GRUCell(4)], reverse=True, return_sequences=True))
    there.set_weights(turned.get_weights())
    np.testing.assert_array_equal(there.predict(X), turned.predict(X)[:, ::-1])
    with pytest.raises(ValueError, match="must not have reverse=True"):
        layers.Bidirectional(layers.RNN([layers.LSTMCell(4)], reverse=True))
    with pytest.raises(ValueError, match="both read each row from its end"):
        layers.RNN([layers.LSTMCell(4)], reverse=True, go_backwards=True)


def test_what_a_cell_cannot_say_is_refused() -> None:
    with pytest.raises(TypeError, match="no argument 'return_sequences': it is one of RNN"):
        layers.LSTMCell(4, return_sequences=True)
    with pytest.raises(ValueError, match="units must be at least 1"):
        layers.GRUCell(0)
    with pytest.raises(TypeError, match=r"cells\[1\]: expected an LSTMCell, GRUCell or SimpleRNNCell, got"):
        layers.RNN([layers.LSTMCell(4), layers.LSTM(4)])
    with pytest.raises(TypeError, match="expected a list of cells"):
        layers.StackedRNNCells([])
    with pytest.raises(ValueError, match=r"on \(inputs, states\), or go through time with RNN\(LSTMCell\(4\)\)"):
        layers.LSTMCell(4)(Input((3,)))
    with pytest.raises(TypeError, match="did you mean 'return_state'"):
        layers.RNN(layers.LSTMCell(4), return_stat=True)
    assert layers.RNN(layers.LSTMCell(4), unroll=True).units == 4
    assert layers.RNN(cells.gru, 4, go_backwards=True).go_backwards


def test_directions_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(ValueError, match="one direction reads from the end"):
        layers.Bidirectional(layers.GRU(4), backward_layer=layers.GRU(4))
    with pytest.raises(ValueError, match="return_sequences must be the same of both"):
        layers.Bidirectional(layers.GRU(4), backward_layer=layers.GRU(4, go_backwards=True, return_sequences=True))
    with pytest.raises(ValueError, match="residual=True goes with two directions of one kind"):
        layers.Bidirectional(layers.GRU(4), merge_mode=None, residual=True)
    with pytest.raises(TypeError, match="expected an RNN, SimpleRNN, LSTM or GRU layer"):
        layers.Bidirectional(layers.Dense(4))


def test_bidirectional_begins_with_the_weights_it_is_given() -> None:
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=s).astype(np.float32) for s in ((3, 6), (2, 6), (2, 6)) * 2]
    for merge_mode in ("concat", None):
        layer = layers.Bidirectional(layers.GRU(2), merge_mode=merge_mode, weights=weights)
        model_of(lambda L, layer=layer: layer)
        for given, there in zip(weights, layer.get_weights(), strict=True):
            np.testing.assert_array_equal(given, there)
    with pytest.raises(ValueError, match="weights has 6 weights, got 2"):
        model_of(lambda L: L.Bidirectional(L.GRU(2), weights=weights[:2]))


# Stateful layers.


def stateful_model(**options: Any) -> Any:
    return Sequential(
        [
            Input(batch_shape=(4, None, 3)),
            layers.LSTM(6, stateful=True, return_sequences=True, **options),
            layers.Dropout(0.3),
            layers.RNN(cells.janet, 5, stateful=True, return_sequences=True),
            layers.Dense(2),
        ],
        seed=0,
    )


LONG = np.random.default_rng(5).normal(size=(4, 12, 3)).astype(np.float32)


def test_states_go_on_from_batch_to_batch_to_the_bit() -> None:
    model = stateful_model()
    whole = model.predict(LONG)
    model.reset_states()
    pieces = [model.predict(LONG[:, a:b]) for a, b in ((0, 5), (5, 6), (6, 12))]
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), whole)
    assert not np.array_equal(model.predict(LONG), whole)
    assert [state.shape for state in model.layers[0].states] == [(4, 6), (4, 6)]
    model.layers[0].reset_states()
    assert model.layers[0].states is None
    assert model.layers[2].states is not None


def test_evaluate_fit_and_batches_of_a_call_go_on_likewise() -> None:
    model, plain = stateful_model(), stateful_model()
    y = np.zeros((4, 12, 2), np.float32)
    rows = np.concatenate([LONG[:, :6], LONG[:, 6:]])  # the second batch of 4 rows follows the first one in time
    for m in (model, plain):
        m.compile("sgd", "mse")
    whole = plain.evaluate(LONG, y)
    parts = np.concatenate([y[:, :6], y[:, 6:]])
    assert model.evaluate(rows, parts, batch_size=4) == pytest.approx(whole, rel=1e-6)
    model.reset_states()
    model.fit(rows, parts, batch_size=4, shuffle=False, verbose=0)
    after_fit = [state.copy() for state in model.layers[0].states]
    twin = stateful_model()
    twin.compile("sgd", "mse")
    for k in (0, 4):
        twin.train_on_batch(rows[k : k + 4], parts[k : k + 4])
    for a, b in zip(after_fit, twin.layers[0].states, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_training_step_sees_the_states_and_no_gradient_goes_back_beyond_them() -> None:
    x, h = Input((6, 3)), Input((4,))
    given = Model([x, h], layers.GRU(4)(x, initial_state=h), seed=1)
    carried = Sequential([Input((6, 3)), layers.GRU(4, stateful=True)], seed=1)
    carried.set_weights(given.get_weights())
    first = carried.predict(LONG[:, :6])
    one = np.ones((4, 4), np.float32)
    values, gradients, of_inputs = carried.gradients(LONG[:, 6:], one)
    expected, wanted, wanted_inputs = given.gradients([LONG[:, 6:], first], one)
    np.testing.assert_array_equal(values[0], expected[0])
    np.testing.assert_array_equal(of_inputs[0], wanted_inputs[0])
    assert len(of_inputs) == 1
    for a, b in zip(gradients.values(), wanted.values(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_batch_of_another_number_of_rows_is_refused_before_anything_is_computed() -> None:
    model = stateful_model()
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"LSTM 'lstm' is stateful: its states are those of 4 rows, .* would have 3"):
        model.predict(LONG[:3])
    before = model.get_weights()
    with pytest.raises(ValueError, match="would have 2"):
        model.fit(np.concatenate([LONG, LONG[:2]]), np.zeros((6, 12, 2)), batch_size=4, verbose=0)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    free = Sequential([Input((None, 3)), layers.GRU(2, stateful=True)])
    assert free.predict(LONG[:3]).shape == (3, 2)
    with pytest.raises(ValueError, match=r"or call reset_states\(\) to begin with another number"):
        free.predict(LONG)
    free.reset_states()
    assert free.predict(LONG).shape == (4, 2)


def test_metrics_that_are_tried_beforehand_leave_the_states_alone() -> None:
    def watched(y_true: Any, y_pred: Any) -> Any:
        return np.mean(np.abs(y_true - y_pred), axis=-1)

    model, plain = stateful_model(), stateful_model()
    model.compile("sgd", "mse", metrics=[watched])
    plain.compile("sgd", "mse")
    y = np.zeros((4, 12, 2), np.float32)
    assert model.evaluate(LONG, y)[0] == plain.evaluate(LONG, y)
    for a, b in zip(model.layers[0].states, plain.layers[0].states, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_stateful_layer_that_is_called_twice_goes_on_where_the_first_call_ended() -> None:
    a, b = Input((5, 3)), Input((7, 3))
    layer = layers.GRU(4, stateful=True)
    layer(a)
    model = Model([a, b], [layer._calls[0].outputs[0], layer(b)], seed=0)
    parts = model.predict([LONG[:, :5], LONG[:, 5:]])
    whole = Sequential([Input((None, 3)), layers.GRU(4)])
    whole.set_weights(model.get_weights())
    np.testing.assert_array_equal(parts[1], whole.predict(LONG))


def test_initial_states_of_the_call_take_the_place_of_carried_ones() -> None:
    x, h = Input((5, 3)), Input((4,))
    layer = layers.GRU(4, stateful=True)
    model = Model([x, h], layer(x, initial_state=h), seed=0)
    start = np.ones((3, 4), np.float32)
    first = model.predict([X, start])
    np.testing.assert_array_equal(model.predict([X, start]), first)
    np.testing.assert_array_equal(layer.states[0], first)


def test_a_stateful_model_in_onnx_has_its_states_as_inputs_and_outputs(tmp_path: Path) -> None:
    ort = pytest.importorskip("onnxruntime")
    model = Sequential([Input(batch_shape=(4, None, 3)), layers.GRU(2, stateful=True, return_sequences=True)], seed=0)
    rekur.onnx.export(model, tmp_path / "m.onnx")
    session = ort.InferenceSession(tmp_path / "m.onnx")
    names = [i.name for i in session.get_inputs()]
    state = np.zeros((4, 2), np.float32)
    for piece in (LONG[:, :5], LONG[:, 5:]):
        y, state = session.run(None, dict(zip(names, (piece, state), strict=True)))
        np.testing.assert_allclose(y, model.predict(piece), atol=1e-6)


def test_streams_and_flipped_outputs(tmp_path: Path) -> None:
    model = model_of(CASES["lstm, backwards"], seed=0)
    report = rekur.onnx.export(model, tmp_path / "m.onnx", lengths=True)
    assert report.largest_difference <= 1e-5
    rekur.onnx.export(model, tmp_path / "plain.onnx")
    back = rekur.onnx.load(tmp_path / "plain.onnx")
    for a, b in zip(outputs(model), outputs(back), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_a_cell_called_by_itself_takes_one_step() -> None:
    cell, states = layers.LSTMCell(4), [Input((4,)), Input((4,))]
    x = Input((5, 3))
    carried = states
    for t in range(5):
        y, carried = cell(x[:, t], carried)
    model = Model([x, *states], [y, *carried], seed=0)
    whole = Model([x, *states], layers.LSTM(4, return_state=True)(x, initial_state=states))
    whole.set_weights(model.get_weights())
    rng = np.random.default_rng(0)
    data = [X, *(rng.normal(size=(3, 4)).astype(np.float32) for _ in range(2))]
    for a, b in zip(model.predict(data), whole.predict(data), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    alone = layers.GRUCell(2)
    y, (h,) = alone(X[:, 0], alone.get_initial_state(batch_size=3))
    np.testing.assert_array_equal(y, h)
    with pytest.raises(ValueError, match="is the cell of"):
        layers.RNN(cell)


@pytest.mark.parametrize(
    "make",
    [
        lambda L, **o: L.LSTM(4, return_state=True, **o),
        lambda L, **o: L.RNN(cells.janet, 4, **o),
        lambda L, **o: L.RNN([L.LSTMCell(4), L.GRUCell(5)], return_state=True, **o),
    ],
    ids=["lstm", "program", "stack"],
)
@pytest.mark.parametrize("sequences", [False, True])
def test_outputs_of_go_backwards_are_those_of_the_turned_sequence(make: Any, sequences: bool) -> None:
    plain = model_of(lambda L: make(L, return_sequences=sequences), seed=1)
    backwards = model_of(lambda L: make(L, return_sequences=sequences, go_backwards=True), seed=2)
    backwards.set_weights(plain.get_weights())
    for a, b in zip(outputs(backwards), outputs(plain, np.ascontiguousarray(X[:, ::-1])), strict=True):
        np.testing.assert_array_equal(a, b)


class FeedBack(Model):
    """Forecasts step by step of what it said itself, as in TensorFlow's tutorial of time series."""

    def __init__(self, units: int, steps: int, **how: bool) -> None:
        super().__init__()
        self.steps = steps
        self.cell = layers.LSTMCell(units)
        self.rnn = layers.RNN(self.cell, return_state=True, **how)
        self.dense = layers.Dense(2)

    def call(self, inputs: Any, training: Any = None) -> Any:
        x, *state = self.rnn(inputs)
        said = [self.dense(x[:, -1] if self.rnn.return_sequences else x)]
        for _ in range(1, self.steps):
            x, state = self.cell(said[-1], states=state, training=training)
            said.append(self.dense(x))
        return ops.transpose(ops.stack(said), [1, 0, 2])


@pytest.mark.parametrize("sequences", [False, True])
def test_a_layers_cell_takes_single_steps_of_ones_own(sequences: bool) -> None:
    rng = np.random.default_rng(3)
    model = FeedBack(4, 3, return_sequences=sequences)
    x = rng.normal(size=(5, 6, 2)).astype(np.float32)
    model.compile("adam", "mse")
    model.fit(x, rng.normal(size=(5, 3, 2)), verbose=0)
    assert len(model.get_weights()) == 5  # the steps have the layer's
    w, r, b, dense, bias = (a.astype(float) for a in model.get_weights())
    h, c = np.zeros((2, 5, 4))
    seen, said = [x[:, t] for t in range(6)], []
    for _ in range(3):
        for value in seen:
            i, f, g, o = np.split(value @ w + h @ r + b, 4, axis=1)
            c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
            h = np.tanh(c) / (1 + np.exp(-o))
        said.append(h @ dense + bias)
        seen = [said[-1]]
    np.testing.assert_allclose(model.predict(x), np.stack(said, axis=1), atol=1e-5)


def test_a_layers_cell_without_its_states_takes_no_steps() -> None:
    cell = layers.GRUCell(4)
    layers.RNN(cell)
    with pytest.raises(ValueError, match=r"is the cell of GRU 'gru'.*return_state=True"):
        cell(rekur.Input((2,)), [rekur.Input((4,))])


def test_initial_states_of_two_directions_of_other_cells() -> None:
    x, states = rekur.Input((None, 3)), [rekur.Input((4,)) for _ in range(3)]
    rng = np.random.default_rng(2)
    data = [rng.standard_normal((2, *shape)).astype(np.float32) for shape in ((5, 3), (4,), (4,), (4,))]
    for forward, backward, first in ((layers.LSTM, layers.GRU, 2), (layers.GRU, layers.LSTM, 1)):
        both = layers.Bidirectional(forward(4), backward_layer=backward(4, go_backwards=True))
        model = rekur.Model([x, *states], both(x, initial_state=states), seed=1)
        there = forward(4)(x, initial_state=states[:first])
        back = backward(4, go_backwards=True)(x, initial_state=states[first:])
        apart = rekur.Model([x, *states], layers.Concatenate()([there, back]), seed=3)
        apart.set_weights(model.get_weights())
        np.testing.assert_array_equal(model.predict(data), apart.predict(data))
