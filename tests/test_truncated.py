"""fit(tbptt=k): windows of sequences, whose states go on; and fit(memory_limit=…)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rekur
from rekur import layers, optimizers
from rekur.layers.recurrence import Stateful

B, T, K = 5, 23, 7


def make(seed: int = 1, **options: Any) -> rekur.Model:
    rekur.set_random_seed(seed)
    x = layers.Input((None, 3), name=options.pop("input_name", None))
    z = layers.LSTM(4, return_sequences=True)(x)
    z = layers.RNN(rekur.cells.min_gru, 3, return_sequences=True)(layers.Dropout(0.0)(z))
    model = rekur.Model(x, layers.Dense(2)(z))
    model.compile(options.pop("optimizer", "adam"), "mse", **options)
    return model


def data(rng: np.random.Generator) -> tuple[Any, Any]:
    return rng.normal(size=(B, T, 3)).astype("f"), rng.normal(size=(B, T, 2)).astype("f")


def on_disk(array: Any, path: Path) -> Any:
    stored = np.memmap(path, array.dtype, "w+", shape=array.shape)
    stored[:] = array
    return stored


def test_states_go_on_as_in_one_long_forward_pass(rng: np.random.Generator) -> None:
    model, (x, y) = make(optimizer=optimizers.SGD(0.0)), data(rng)
    lengths = np.array([T, 3, 0, 14, 15], np.int32)
    for given in ({}, {"lengths": lengths}, {"mask": rng.random((B, T)) < 0.7}, {"resets": rng.random((B, T)) < 0.1}):
        whole = model.evaluate(x, y, **given)
        history = model.fit(x, y, tbptt=K, verbose=0, validation_data={"x": x, "y": y, **given}, batch_size=2, **given)
        assert history.history["val_loss"][0] == pytest.approx(whole, rel=1e-6)
        assert history.history["loss"][0] == pytest.approx(whole, rel=1e-6)
    np.testing.assert_array_equal(model.predict(x), make().predict(x))  # nothing is carried afterwards


GOING_ON: dict[str, Any] = {
    "SimpleRNN": lambda: layers.SimpleRNN(3, return_sequences=True),
    "LSTM": lambda: layers.LSTM(3, return_sequences=True, stateful=True),
    "GRU": lambda: layers.GRU(3, return_sequences=True),
    "RNN": lambda: layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)], return_sequences=True),
    "GatedLinearAttention": lambda: layers.GatedLinearAttention(2, 3, return_sequences=True),
    "MLSTM": lambda: layers.MLSTM(1, 3, return_sequences=True),
    "SelectiveSSM": lambda: layers.SelectiveSSM(4, return_sequences=True),
    "ConvLSTM1D": lambda: layers.ConvLSTM1D(2, 2, return_sequences=True),
    "ConvLSTM2D": lambda: layers.ConvLSTM2D(2, 2, return_sequences=True),
}


@pytest.mark.parametrize("kind", [k for k, t in layers.TYPES.items() if issubclass(t, Stateful)])
def test_states_of_every_layer_that_has_them_go_on(kind: str, rng: np.random.Generator) -> None:
    if kind == "Bidirectional":
        return  # refused: see below
    shape = {"ConvLSTM1D": (4, 2), "ConvLSTM2D": (3, 4, 2)}.get(kind, (3,))
    model = rekur.Sequential([layers.Input((None, *shape)), GOING_ON[kind]()], seed=3)
    model.compile(optimizers.SGD(0.0), "mse")
    x = rng.normal(size=(2, 8, *shape)).astype("f")
    y = np.zeros((2, 8, *model.output_shape[2:]), "f")
    model.reset_states()
    whole = model.evaluate(x, y, verbose=0)
    history = model.fit(x, y, tbptt=3, batch_size=2, verbose=0)
    assert history.history["loss"][0] == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize(
    "inner",
    [
        layers.LSTM(3),
        layers.Bidirectional(layers.GRU(2)),
        rekur.Sequential([layers.Input((4, 2)), layers.Conv1D(3, 2), layers.Flatten()]),
    ],
)
def test_a_layer_within_time_distributed_begins_anew_at_every_step(inner: Any, rng: np.random.Generator) -> None:
    inputs = layers.Input((None, 4, 2))
    outputs = layers.GRU(2, return_sequences=True)(layers.TimeDistributed(inner)(inputs))
    model = rekur.Model(inputs, outputs, seed=3)
    model.compile(optimizers.SGD(0.0), "mse")
    x, y = rng.normal(size=(2, 8, 4, 2)).astype("f"), np.zeros((2, 8, 2), "f")
    whole = model.evaluate(x, y, verbose=0)
    assert model.fit(x, y, tbptt=3, verbose=0).history["loss"][0] == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize("stored", [False, True])
def test_steps_are_those_of_stateful_layers_told_by_hand(
    stored: bool, rng: np.random.Generator, tmp_path: Path
) -> None:
    (x, y), model, weights = data(rng), make(), []
    if stored:
        given = on_disk(x, tmp_path / "x"), on_disk(y, tmp_path / "y")
        model.fit(given[0], given[1], tbptt=K, epochs=2, batch_size=3, shuffle=False, verbose=0)
    else:
        model.fit(x, y, tbptt=K, epochs=2, batch_size=3, shuffle=False, verbose=0)
    rekur.set_random_seed(1)
    inputs = layers.Input((None, 3))
    z = layers.LSTM(4, return_sequences=True, stateful=True)(inputs)
    z = layers.RNN(rekur.cells.min_gru, 3, return_sequences=True, stateful=True)(layers.Dropout(0.0)(z))
    other = rekur.Model(inputs, layers.Dense(2)(z))
    other.compile("adam", "mse")
    for _ in range(2):
        for rows in (slice(0, 3), slice(3, 5)):
            other.reset_states()
            for begin in range(0, T, K):
                steps = slice(begin, begin + K)
                other.train_on_batch(x[rows, steps], y[rows, steps])
    weights = [m.get_weights() for m in (model, other)]
    for one, another in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, another)


def test_the_optimizer_goes_on_and_layers_that_are_not_trained_stay(rng: np.random.Generator) -> None:
    (x, y), model = data(rng), make()
    model.layers[-1].trainable = False
    frozen = model.layers[-1].get_weights()
    assert len(frozen) == 2
    seen: list[int] = []
    watch = rekur.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(model._trainer().trainer.iterations)
    )
    model.fit(x, y, tbptt=K, batch_size=5, epochs=2, verbose=0, callbacks=[watch])
    assert seen == [4, 8]
    model.fit(x, y, batch_size=5, verbose=0)
    assert model._trainer().trainer.iterations == 9
    for one, other in zip(frozen, model.layers[-1].get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "given",
    [
        {"shuffle": True},
        {"shuffle": "batch"},
        {"sample_weight": np.arange(B, dtype="f")[:, None]},
        {"sample_weight": [np.linspace(0, 1, B * T).reshape(B, T)]},
        {"sample_weight": {"dense": np.linspace(0, 1, B * T).reshape(B, T, 1)}},
        {"lengths": {"x": np.array([T, 3, 0, 14, 15])}, "mask": {"x": np.arange(B * T).reshape(B, T) % 3 > 0}},
        {"steps_per_epoch": 1},
        {"validation_split": 0.4},
    ],
    ids=lambda given: "-".join(given),
)
def test_stored_arrays_give_the_numbers_of_those_in_memory(
    given: Any, rng: np.random.Generator, tmp_path: Path
) -> None:
    x, y = data(rng)
    models, histories = (make(input_name="x"), make(input_name="x")), []
    for model, inputs in zip(models, (x, on_disk(x, tmp_path / "x")), strict=True):
        history = model.fit(inputs, y, tbptt=K, epochs=2, batch_size=2, verbose=0, **{"shuffle": False, **given})
        histories.append(history.history)
    assert histories[0] == histories[1]
    for one, other in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_goes_with_stored_arrays_has_their_steps(rng: np.random.Generator, tmp_path: Path) -> None:
    (x, y), model = data(rng), make()
    stored = on_disk(x, tmp_path / "x")
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("y: expected 23 steps", {"y": np.concatenate([y, y], 1)}),
        ("sample_weight: expected 23 steps", {"y": y, "sample_weight": np.ones((B, K))}),
        ("mask: expected 23 steps", {"y": y, "mask": np.ones((B, K), bool)}),
        ("lengths of input .*: expected 0 to 23", {"y": y, "lengths": np.full(B, T + 1)}),
    ]
    for message, given in wrong:
        with pytest.raises(ValueError, match=message):
            model.fit(stored, tbptt=K, verbose=0, **given)


def test_callbacks_see_the_steps_and_the_optimizer_as_they_are_within_an_epoch(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    (x, y), seen = data(rng), []
    model = make()

    def look(batch: int, logs: Any) -> None:
        model.save(tmp_path / "m.safetensors")
        saved = rekur.load(tmp_path / "m.safetensors")._trainer()
        seen.append(saved.trainer.iterations)
        if batch == 2:
            for name, slot in model._trainer().state().items():
                np.testing.assert_array_equal(saved.state()[name], slot)
                assert slot.any()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, tbptt=K, verbose=0, callbacks=[rekur.callbacks.LambdaCallback(on_train_batch_end=look)])
    assert seen == [1, 2, 3]
    assert model._trainer().trainer.iterations == 3


def test_layers_frozen_between_epochs_are_not_trained(rng: np.random.Generator) -> None:
    (x, y), model, weights = data(rng), make(), []

    def freeze(epoch: int, logs: Any) -> None:
        weights.append(model.layers[1].get_weights())
        model.layers[1].trainable = False

    model.fit(x, y, tbptt=K, epochs=2, verbose=0, callbacks=[rekur.callbacks.LambdaCallback(on_epoch_end=freeze)])
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_backup_within_an_epoch_is_refused_before_the_first_step(rng: np.random.Generator, tmp_path: Path) -> None:
    (x, y), model = data(rng), make()
    with pytest.raises(ValueError, match="save_freq=2 with tbptt"):
        model.fit(x, y, tbptt=K, verbose=0, callbacks=[rekur.callbacks.BackupAndRestore(tmp_path / "b", save_freq=2)])
    assert model._trainer().trainer.iterations == 0
    model.fit(x, y, verbose=0)  # nothing of the call before acts on


def test_what_windows_cannot_do_is_refused_by_name(rng: np.random.Generator) -> None:
    x, y = data(rng)

    def refused(part: str, *parts: Any, target: Any = y, loss: str = "mse") -> None:
        model = rekur.Sequential([layers.Input((T, 3)), *parts])
        model.compile("sgd", loss)
        with pytest.raises(ValueError, match=part):
            model.fit(x, target, tbptt=K, verbose=0)

    refused("'bidirectional' reads its sequence", layers.Bidirectional(layers.LSTM(1, return_sequences=True)))
    refused("reads its sequence from the end", layers.GRU(2, return_sequences=True, reverse=True))
    refused("'conv1d' looks across", layers.Conv1D(2, 3, padding="causal"))
    refused(
        "'ctc' of output 'lstm' is one of whole sequences",
        layers.LSTM(5, return_sequences=True),
        target=np.ones((B, 4), int),
        loss="ctc",
    )
    refused("has no time axis", layers.LSTM(2), target=y[:, 0])
    refused("'lstm' begins with states of its own", layers.LSTM(2, return_sequences=True, learn_initial_state=True))
    inputs = layers.Input((T, 3)), layers.Input((2,))
    model = rekur.Model(inputs, layers.GRU(2, return_sequences=True)(inputs[0], initial_state=inputs[1]))
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="'gru' begins with states of its own"):
        model.fit([x, y[:, 0]], y, tbptt=K, verbose=0)
    with pytest.raises(ValueError, match="tbptt"):
        make().fit(x, y, tbptt=0)


def test_what_is_applied_to_every_step_may_look_along_the_step(rng: np.random.Generator) -> None:
    def steps(layer: layers.Layer) -> layers.Layer:
        return layers.TimeDistributed(layer)

    x, y = rng.normal(size=(B, T, 6, 2)).astype("f"), rng.normal(size=(B, T, 2)).astype("f")
    inputs = layers.Input((None, 6, 2))
    images = steps(layers.MaxPooling1D(2))(steps(layers.Conv1D(3, 3, padding="same"))(inputs))
    flat = steps(layers.Flatten())(images)
    read = steps(layers.Bidirectional(layers.GRU(2)))(images)
    z = layers.LSTM(4, return_sequences=True)(layers.Concatenate()([flat, read]))
    model = rekur.Model(inputs, layers.Dense(2)(z))
    model.compile("sgd", "mse")
    model.optimizer.learning_rate = 0.0
    history = model.fit(x, y, tbptt=K, verbose=0, shuffle=False)
    assert history.history["loss"][0] == pytest.approx(model.evaluate(x, y), rel=1e-6)


def test_what_a_layer_has_at_the_end_is_no_windows(rng: np.random.Generator) -> None:
    x, y = data(rng)

    def refused(model: rekur.Model, part: str) -> None:
        model.compile("sgd", "mse")
        with pytest.raises(ValueError, match=part):
            model.fit(x, y, tbptt=K, verbose=0)

    inputs = layers.Input((None, 3))
    beside = layers.Dense(2)(inputs)
    refused(rekur.Model(inputs, layers.Add()([layers.LSTM(2)(inputs), beside])), "'lstm' gives what it has at the end")
    seen, state = layers.GRU(2, return_sequences=True, return_state=True)(inputs)
    refused(rekur.Model(inputs, layers.Add()([seen, state])), "'gru' gives what it has at the end")
    inner = rekur.Model(inputs, layers.Add()([layers.SimpleRNN(2)(inputs), beside]))
    outer = layers.Input((None, 3))
    refused(rekur.Model(outer, inner(outer)), "'simple_rnn' gives what it has at the end")
    between = (
        layers.Conv1D(2, 3, padding="same", name="first")(inputs),
        layers.Conv1D(2, 3, padding="same", name="b")(inputs),
    )
    both = rekur.Model(inputs, layers.Add()(list(between)))
    assert both._engine().layers_across_time() == ["first", "b"]


def test_a_memory_limit_makes_steps_keep_little_or_says_which_batch_fits(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(8, 3000, 1)).astype("f"), rng.normal(size=(8, 1)).astype("f")
    weights = []
    for limit in (None, "2MB"):
        rekur.set_random_seed(1)
        model = rekur.Sequential([layers.LSTM(8, input_shape=(None, 1)), layers.Dense(1)])
        model.compile("adam", "mse")
        model.fit(x, y, verbose=0, memory_limit=limit)
        weights.append(model.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert model.memory(8, 3000)["train"] > 2 * 2**20
    # Between one row and eight, which depend on how long vectors are.
    with pytest.raises(MemoryError, match="one row takes") as least:
        model.fit(x, y, verbose=0, memory_limit=1000)
    eight, one = (float(size) for size in re.findall(r"takes ([\d.]+) KB", str(least.value)))
    with pytest.raises(MemoryError, match=r"batch of 8 rows takes .* batch_size=\d fits"):
        model.fit(x, y, verbose=0, memory_limit=f"{(eight + one) / 2:.1f}KB")
    for wrong in ("much", "-3MB", "0MB", 0, 2.5):
        with pytest.raises((ValueError, TypeError), match="memory_limit"):
            model.fit(x, y, verbose=0, memory_limit=wrong)


def test_a_memory_limit_ends_with_its_fit_also_where_that_fails_before_a_step(rng: np.random.Generator) -> None:
    (x, y), model = data(rng), make()

    def fail(logs: Any) -> None:
        raise RuntimeError("no")

    fails = rekur.callbacks.LambdaCallback(on_train_begin=fail)
    for options in ({}, {"tbptt": K}):
        with pytest.raises(RuntimeError, match="no"):
            model.fit(x, y, verbose=0, memory_limit=1, callbacks=[fails], **options)
        model.train_on_batch(x, y)
