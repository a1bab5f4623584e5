"""A layer or a model on every time step: TimeDistributed, FoldTime, UnfoldTime; tensors of more than three axes."""

import copy
import pickle

import numpy as np
import pytest

import rekur
from rekur import layers as L


def inner_model():
    x = rekur.Input((4, 3))
    return rekur.Model(x, L.Dense(2)(L.LSTM(5)(x)), name="frame")


INNER = {
    "LSTM": lambda: L.LSTM(5),
    "sequences": lambda: L.GRU(5, return_sequences=True),
    "Bidirectional": lambda: L.Bidirectional(L.LSTM(2)),
    "Dense": lambda: L.Dense(2, activation="tanh"),
    "model": inner_model,
    "Sequential": lambda: rekur.Sequential([L.LSTM(3), L.Dense(2)]),
    "twice": lambda: L.TimeDistributed(L.Dense(2)),
}


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("name", INNER)
def test_every_step_is_what_the_layer_gives_for_it(name, steps):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, steps, 4, 3)).astype(np.float32)
    layer = L.TimeDistributed(INNER[name]())
    model = rekur.Sequential([L.Input((None, 4, 3)), layer], seed=1)
    alone = rekur.Sequential([L.Input((4, 3)), INNER[name]()])
    y = model.predict(x)
    alone.set_weights(model.get_weights())
    for t in range(steps):
        np.testing.assert_array_equal(y[:, t], alone.predict(np.ascontiguousarray(x[:, t])))


@pytest.mark.parametrize("name", INNER)
def test_gradients(name):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2, 3, 4, 3)).astype(np.float32)
    model = rekur.Sequential([L.Input((None, 4, 3)), L.TimeDistributed(INNER[name]())], seed=1)
    r = rng.normal(size=model.predict(x).shape).astype(np.float32)
    _, by_name, (dx,) = model.gradients(x, r)
    weights = model.get_weights()
    h = 3e-3
    for w, g in zip(weights, by_name.values(), strict=True):
        for k in rng.choice(w.size, min(4, w.size), replace=False):
            values = []
            for sign in (h, -h):
                before = w.flat[k]
                w.flat[k] += sign
                model.set_weights(weights)
                values.append(float((model.predict(x).astype(np.float64) * r).sum()))
                w.flat[k] = before
            assert (values[0] - values[1]) / (2 * h) == pytest.approx(g.flat[k], abs=2e-2)
    model.set_weights(weights)
    for k in rng.choice(x.size, 8, replace=False):
        values = []
        for sign in (h, -h):
            moved = x.copy()
            moved.flat[k] += sign
            values.append(float((model.predict(moved).astype(np.float64) * r).sum()))
        assert (values[0] - values[1]) / (2 * h) == pytest.approx(dx.flat[k], abs=2e-2)


def test_ids_of_three_axes():
    ids = np.random.default_rng(2).integers(0, 6, (3, 4, 5))
    words = rekur.Sequential([L.Input((5,), dtype="int32"), L.Embedding(6, 3), L.LSTM(4)])
    model = rekur.Sequential([L.Input((None, 5), dtype="int32"), L.TimeDistributed(words), L.LSTM(2)], seed=3)
    y = model.predict(ids)
    sentences = np.stack([words.predict(ids[:, t]) for t in range(4)], axis=1)
    last = rekur.Sequential([L.Input((None, 4)), L.LSTM(2)])
    last.set_weights(model.get_weights()[4:])
    np.testing.assert_array_equal(y, last.predict(sentences))
    embedded = rekur.Sequential([L.Input((None, 5), dtype="int32"), L.TimeDistributed(L.Embedding(6, 3))], seed=3)
    assert embedded.predict(ids).shape == (3, 4, 5, 3)


def test_lengths_and_masks_go_on_to_the_output():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(3, 5, 4, 2)).astype(np.float32)
    mask = rng.random((3, 5)) < 0.6
    model = rekur.Sequential([L.Input((None, 4, 2)), L.TimeDistributed(L.LSTM(3)), L.GRU(2)], seed=1)
    frames = rekur.Sequential([L.Input((4, 2)), L.LSTM(3)])
    frames.set_weights(model.get_weights()[:3])
    steps = np.stack([frames.predict(np.ascontiguousarray(x[:, t])) for t in range(5)], axis=1)
    tail = rekur.Sequential([L.Input((None, 3)), L.GRU(2)])
    tail.set_weights(model.get_weights()[3:])
    np.testing.assert_array_equal(model.predict(x, mask=mask), tail.predict(steps, mask=mask))
    lengths = [5, 0, 2]
    np.testing.assert_array_equal(model.predict(x, lengths=lengths), tail.predict(steps, lengths=lengths))


def test_it_trains_with_targets_of_four_axes_and_leaves_padding_out():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(8, 6, 4, 3)).astype(np.float32)
    y = rng.normal(size=(8, 6, 4, 2)).astype(np.float32)
    lengths = rng.integers(1, 7, 8)
    y[np.arange(6) >= lengths[:, None]] = np.nan
    model = rekur.Sequential(
        [L.Input((None, 4, 3)), L.TimeDistributed(L.LSTM(5, return_sequences=True)), L.TimeDistributed(L.Dense(2))],
        seed=1,
    )
    model.compile("adam", "mse", metrics=["mae"])
    p = model.predict(x, lengths=lengths)
    there = np.arange(6) < lengths[:, None]
    loss, mae = model.evaluate(x, y, lengths=lengths, batch_size=3)
    assert loss == pytest.approx(((p - y) ** 2)[there].mean(), rel=1e-5)
    assert mae == pytest.approx(np.abs(p - y)[there].mean(), rel=1e-5)
    history = model.fit(x, y, lengths=lengths, epochs=3, verbose=0).history["loss"]
    assert history[-1] < history[0]


def test_copies_files_and_a_shared_layer(tmp_path):
    x = np.random.default_rng(6).normal(size=(2, 3, 4, 3)).astype(np.float32)
    shared = inner_model()
    one, many = rekur.Input((4, 3)), rekur.Input((None, 4, 3))
    model = rekur.Model([one, many], [shared(one), L.TimeDistributed(shared, name="frames")(many)], seed=2)
    first = np.ascontiguousarray(x[:, 0])
    y = model.predict([first, x])
    np.testing.assert_array_equal(y[0], y[1][:, 0])
    model.save(tmp_path / "m.safetensors")
    for again in (
        rekur.load_model(tmp_path / "m.safetensors"),
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
    ):
        for a, b in zip(again.predict([first, x]), y, strict=True):
            np.testing.assert_array_equal(a, b)
        assert again.get_layer("frames").name == "frames"
    assert len(model.get_weights()) == 5


def test_what_does_not_fit_is_refused_by_name():
    with pytest.raises(
        ValueError, match=r"TimeDistributed 'td': expected a sequence of shape \(B, T, …\), got \(None, 3\)"
    ):
        L.TimeDistributed(L.Dense(2), name="td")(rekur.Input((3,)))
    with pytest.raises(TypeError, match="expected a layer or a model, got 3"):
        L.TimeDistributed(3)
    with pytest.raises(ValueError, match="expected an input of at most 4 axes"):
        L.UnfoldTime()([rekur.Input((2, 2, 2, 2)), rekur.Input((None, 3))])


def test_a_stack_does_not_run_across_unfolded_rows():
    """A recurrent layer behind UnfoldTime reads another shape than the one before it made."""
    x = np.random.default_rng(7).normal(size=(2, 9, 6, 3)).astype(np.float32)
    model = rekur.Sequential([L.Input((None, 6, 3)), L.TimeDistributed(L.LSTM(4)), L.LSTM(4)], seed=1)
    one = model.predict(x, batch_size=1)
    np.testing.assert_array_equal(model.predict(x), one)


@pytest.mark.parametrize("name", ["LSTM", "sequences", "Dense", "Bidirectional"])
def test_keras_has_the_same_numbers(name):
    keras = pytest.importorskip("keras")
    build = {
        "LSTM": lambda k: k.LSTM(5),
        "sequences": lambda k: k.GRU(5, return_sequences=True),
        "Dense": lambda k: k.Dense(2, activation="tanh"),
        "Bidirectional": lambda k: k.Bidirectional(k.LSTM(2)),
    }[name]
    theirs = keras.Sequential([keras.Input((6, 4, 3)), keras.layers.TimeDistributed(build(keras.layers))])
    ours = rekur.Sequential([L.Input((6, 4, 3)), L.TimeDistributed(build(L))])
    ours.set_weights(theirs.get_weights())
    x = np.random.default_rng(8).normal(size=(3, 6, 4, 3)).astype(np.float32)
    np.testing.assert_allclose(ours.predict(x), theirs.predict(x, verbose=0), atol=2e-6)


def test_a_mask_of_the_steps_may_be_given_with_arrays():
    layer = L.TimeDistributed(L.Dense(2))
    x, mask = np.ones((4, 5, 3), np.float32), np.ones((4, 5), bool)
    plain = layer(x)
    mask[1, 2:] = False
    np.testing.assert_array_equal(layer(x, mask=mask), plain)  # each step is computed by itself
    assert layer(x, mask=mask[..., None]).shape == (4, 5, 2)
    for wrong in (np.ones((4, 6)), np.ones((5, 5)), np.ones((4,))):
        with pytest.raises(ValueError, match=r"mask: expected shape \(4, 5\), \(batch, steps\), got"):
            layer(x, mask=wrong)
    with pytest.raises(ValueError, match="a step is left out as a whole"):
        layer(x, mask=np.arange(3) > np.zeros((4, 5, 1)))
    with pytest.raises(TypeError, match="no argument 'marks'"):
        layer(x, marks=mask)
