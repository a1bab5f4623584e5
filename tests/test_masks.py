"""Masks: steps that are none, wherever they stand; Masking, mask_zero, mask=; resets within a row."""

import itertools

import numpy as np
import pytest

import rekur
import rekur.onnx
from rekur import layers as L

CELLS = {"SimpleRNN": L.SimpleRNN, "LSTM": L.LSTM, "GRU": L.GRU}
KINDS = ["left", "right", "holes", "none", "all"]


def masks(kind, rng, rows, steps):
    """Flags (rows, steps) of the steps that are there."""
    if kind == "none":
        return np.ones((rows, steps), bool)
    if kind == "holes":
        return rng.random((rows, steps)) < 0.6
    lengths = rng.integers(0, steps + 1, rows) if kind == "all" else rng.integers(1, steps + 1, rows)
    places = np.arange(steps)
    return places >= steps - lengths[:, None] if kind == "left" else places < lengths[:, None]


def stepwise(layer_of, weights, x, mask, reverse=False, zeros=False, units=5):
    """What a masked layer gives, one step of one row after the other through a layer without a mask."""
    # States are handed on through a model with them as inputs.
    inp = rekur.Input((1, x.shape[-1]))
    layer = layer_of(return_sequences=False, return_state=True)
    states = [rekur.Input((units,)) for _ in range(2 if layer.type == "LSTM" else 1)]
    model = rekur.Model([inp, *states], layer(inp, initial_state=states))
    model.set_weights(weights)
    out = np.zeros((*x.shape[:2], units), np.float32)
    last = np.zeros((len(x), units), np.float32)
    for b in range(len(x)):
        state = [np.zeros((1, units), np.float32) for _ in states]
        order = range(x.shape[1])[::-1] if reverse else range(x.shape[1])
        for t in order:
            if mask[b, t]:
                given = model.predict([x[b : b + 1, t : t + 1], *state])
                state = given[1:]
                out[b, t] = given[0][0]
            else:
                out[b, t] = 0 if zeros else state[0][0]
        last[b] = state[0][0]
    return out, last


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("reverse", [False, True], ids=["onwards", "reverse"])
@pytest.mark.parametrize("zeros", [False, True], ids=["repeat", "zeros"])
def test_a_masked_step_is_left_out_to_the_bit(cell, kind, reverse, zeros):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(7, 6, 3)).astype(np.float32)
    mask = masks(kind, rng, 7, 6)
    model = rekur.Sequential(
        [L.Input((None, 3)), CELLS[cell](5, return_sequences=True, reverse=reverse, zero_output_for_mask=zeros)], seed=2
    )
    sequences = model.predict(x, mask=mask)
    expected, last = stepwise(lambda **o: CELLS[cell](5, **o), model.get_weights(), x, mask, reverse, zeros)
    np.testing.assert_array_equal(sequences, expected)
    short = rekur.Sequential([L.Input((None, 3)), CELLS[cell](5, reverse=reverse)], seed=2)
    short.set_weights(model.get_weights())
    np.testing.assert_array_equal(short.predict(x, mask=mask), last)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("units", [7, 33])
def test_masks_give_the_same_bits_for_any_batch_and_threads(units, threads):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(9, 11, 4)).astype(np.float32)
    mask = masks("holes", rng, 9, 11)
    model = rekur.Sequential([L.Input((None, 4)), L.LSTM(units, return_sequences=True), L.GRU(units)], seed=1)
    whole = model.predict(x, mask=mask)
    before = rekur.num_threads()
    try:
        rekur.set_num_threads(threads)
        rows = [model.predict(x[b : b + 1], mask=mask[b : b + 1]) for b in range(9)]
    finally:
        rekur.set_num_threads(before)
    np.testing.assert_array_equal(np.concatenate(rows), whole)


def difference(model, x, mask, resets=None):
    """The gradients of Σ y·r against central differences, the largest deviation relative to the largest gradient."""
    rng = np.random.default_rng(9)
    y = model.predict(x, mask=mask, resets=resets)
    r = rng.normal(size=y.shape).astype(np.float32)
    _, by_name, (dx, *_) = model.gradients(x, r, mask=mask, resets=resets)
    flat = np.concatenate([g.ravel() for g in by_name.values()])
    weights = model.get_weights()
    sizes = [w.size for w in weights]

    def value(w, data):
        parts = np.split(w, np.cumsum(sizes)[:-1])
        model.set_weights([p.reshape(v.shape) for p, v in zip(parts, weights, strict=True)])
        return float((model.predict(data, mask=mask, resets=resets).astype(np.float64) * r).sum())

    start = np.concatenate([w.ravel() for w in weights]).astype(np.float32)
    worst, h = 0.0, 3e-3
    for k in rng.choice(start.size, min(25, start.size), replace=False):
        moved = [start.copy(), start.copy()]
        moved[0][k] += h
        moved[1][k] -= h
        numeric = (value(moved[0], x) - value(moved[1], x)) / (float(moved[0][k]) - float(moved[1][k]))
        worst = max(worst, abs(numeric - flat[k]))
    for k in rng.choice(x.size, 25, replace=False):
        moved = [x.copy(), x.copy()]
        moved[0].flat[k] += h
        moved[1].flat[k] -= h
        numeric = (value(start, moved[0]) - value(start, moved[1])) / (2 * h)
        worst = max(worst, abs(numeric - dx.flat[k]))
    model.set_weights(weights)
    return worst / max(1.0, np.abs(flat).max())


def layered(name, sequences):
    if name in CELLS:
        return CELLS[name](4, return_sequences=sequences)
    if name == "reverse":
        return L.LSTM(4, return_sequences=sequences, reverse=True)
    if name == "zeros":
        return L.GRU(4, return_sequences=sequences, zero_output_for_mask=True)
    if name == "program":
        return L.RNN(rekur.cells.light_gru, 4, return_sequences=sequences)
    if name == "no product":
        return L.RNN(rekur.cells.min_gru, 4, return_sequences=sequences)
    if name == "residual":
        return L.LSTM(3, return_sequences=sequences, residual=True)
    if name == "learned":
        return L.LSTM(4, return_sequences=sequences, learn_initial_state=True)
    if name == "projection":
        return L.LSTM(6, return_sequences=sequences, projection_size=3)
    if name == "attention":
        return L.GatedLinearAttention(2, 3, return_sequences=sequences)
    if name == "mlstm":
        return L.MLSTM(2, 3, return_sequences=sequences)
    if name == "ssm":
        return L.SelectiveSSM(3, return_sequences=sequences)
    if name == "attention reversed":
        return L.GatedLinearAttention(2, 3, return_sequences=sequences, reverse=True)
    if name == "mlstm reversed":
        return L.MLSTM(2, 3, return_sequences=sequences, reverse=True)
    if name == "ssm reversed":
        return L.SelectiveSSM(3, return_sequences=sequences, reverse=True)
    return L.Bidirectional(L.LSTM(3, return_sequences=sequences), merge_mode=name)


NAMES = [*CELLS, "reverse", "zeros", "program", "no product", "residual", "learned", "projection"]
MATRIX = ["attention", "mlstm", "ssm", "attention reversed", "mlstm reversed", "ssm reversed"]
MODES = ["concat", "sum", "mul", "ave"]


@pytest.mark.parametrize("kind", ["left", "holes", "all"])
@pytest.mark.parametrize("sequences", [True, False], ids=["sequences", "last"])
@pytest.mark.parametrize("name", [*NAMES, *MATRIX, *MODES])
def test_gradients_of_masked_layers(name, sequences, kind):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(4, 5, 3)).astype(np.float32)
    model = rekur.Sequential([L.Input((None, 3)), layered(name, sequences)], seed=3)
    assert difference(model, x, masks(kind, rng, 4, 5)) < (3e-2 if name in MATRIX else 5e-3)


@pytest.mark.parametrize("name", [*NAMES, "concat", "sum"])
def test_resets_begin_the_states_anew(name):
    """A row with resets is the sequences that it is made of, one after the other, to the bit."""
    rng = np.random.default_rng(6)
    x = rng.normal(size=(3, 12, 3)).astype(np.float32)
    resets = rng.random((3, 12)) < 0.3
    model = rekur.Sequential([L.Input((None, 3)), layered(name, True)], seed=3)
    whole = model.predict(x, resets=resets)
    for b in range(3):
        borders = [0, *(np.flatnonzero(resets[b, 1:]) + 1), 12]
        parts = [model.predict(x[b : b + 1, i:j]) for i, j in itertools.pairwise(borders)]
        np.testing.assert_array_equal(np.concatenate(parts, axis=1)[0], whole[b])


@pytest.mark.parametrize("sequences", [True, False], ids=["sequences", "last"])
@pytest.mark.parametrize("name", [*NAMES, *MODES])
def test_gradients_with_resets_and_masks(name, sequences):
    rng = np.random.default_rng(7)
    x = rng.normal(size=(3, 7, 3)).astype(np.float32)
    model = rekur.Sequential([L.Input((None, 3)), layered(name, sequences)], seed=3)
    assert difference(model, x, masks("holes", rng, 3, 7), rng.random((3, 7)) < 0.3) < 5e-3


def test_resets_through_a_stack_and_two_threads():
    rng = np.random.default_rng(8)
    x = rng.normal(size=(2, 40, 8)).astype(np.float32)
    resets = rng.random((2, 40)) < 0.1
    model = rekur.Sequential(
        [L.Input((None, 8)), *(L.LSTM(96, return_sequences=True) for _ in range(3)), L.Dense(1)], seed=3
    )
    whole = model.predict(x, resets=resets)
    for b in range(2):
        borders = [0, *(np.flatnonzero(resets[b, 1:]) + 1), 40]
        parts = [model.predict(x[b : b + 1, i:j]) for i, j in itertools.pairwise(borders)]
        np.testing.assert_array_equal(np.concatenate(parts, axis=1)[0], whole[b])


def test_a_reset_at_a_masked_step_is_one_of_the_next_valid_step():
    x = np.random.default_rng(1).normal(size=(1, 5, 2)).astype(np.float32)
    model = rekur.Sequential([L.Input((None, 2)), L.GRU(3, return_sequences=True)], seed=1)
    mask = np.array([[True, True, False, True, True]])
    at_masked = model.predict(x, mask=mask, resets=np.array([[0, 0, 1, 0, 0]]))
    after = model.predict(x, mask=mask, resets=np.array([[0, 0, 0, 1, 0]]))
    np.testing.assert_array_equal(at_masked, after)
    np.testing.assert_array_equal(after[:, 3:], model.predict(x[:, 3:]))


@pytest.mark.parametrize("layer", [lambda: L.MLSTM(1, 2), lambda: L.SelectiveSSM(2)], ids=["MLSTM", "SelectiveSSM"])
def test_layers_that_cannot_begin_anew_refuse_resets(layer):
    model = rekur.Sequential([L.Input((None, 2)), layer()])
    with pytest.raises(ValueError, match=r"looks across the borders that the resets of input '.*' set within a row"):
        model.predict(np.zeros((1, 4, 2), np.float32), resets=np.array([[0, 0, 1, 0]]))


def test_masking_and_mask_zero_are_the_mask_given():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(5, 6, 3)).astype(np.float32)
    mask = masks("holes", rng, 5, 6)
    plain = rekur.Sequential([L.Input((None, 3)), L.LSTM(4, return_sequences=True), L.Dense(2)], seed=1)
    masked = rekur.Sequential([L.Input((None, 3)), L.Masking(-1.5), L.LSTM(4, return_sequences=True), L.Dense(2)])
    masked.set_weights(plain.get_weights())
    marked = np.where(mask[..., None], x, np.float32(-1.5))
    np.testing.assert_array_equal(masked.predict(marked), plain.predict(x, mask=mask))
    ids = rng.integers(1, 9, (5, 6)) * mask
    embedded = rekur.Sequential([L.Embedding(9, 3, mask_zero=True), L.GRU(4)], seed=4)
    other = rekur.Sequential([L.Embedding(9, 3), L.GRU(4)], seed=4)
    np.testing.assert_array_equal(embedded.predict(ids), other.predict(ids, mask=mask))


def test_losses_and_metrics_leave_masked_steps_out():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(6, 5, 3)).astype(np.float32)
    mask = masks("left", rng, 6, 5)
    x[~mask] = 0
    y = rng.normal(size=(6, 5, 2)).astype(np.float32)
    y[~mask] = np.nan
    model = rekur.Sequential([L.Input((5, 3)), L.Masking(), L.LSTM(4, return_sequences=True), L.Dense(2)], seed=1)
    model.compile("sgd", "mse", metrics=["mae"])
    p = model.predict(x)
    loss, mae = model.evaluate(x, y, batch_size=4)
    assert loss == pytest.approx(((p - y) ** 2)[mask].mean(), rel=1e-5)
    assert mae == pytest.approx(np.abs(p - y)[mask].mean(), rel=1e-5)
    assert np.isfinite(model.fit(x, y, epochs=2, verbose=0, batch_size=4).history["loss"]).all()


def test_labels_of_masked_steps_may_be_anything():
    rng = np.random.default_rng(4)
    ids = rng.integers(1, 7, (6, 5))
    ids[:, :2] = 0
    y = np.where(ids > 0, ids, -1)
    model = rekur.Sequential(
        [L.Embedding(7, 3, mask_zero=True), L.LSTM(4, return_sequences=True), L.Dense(7, activation="softmax")], seed=1
    )
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    assert np.isfinite(model.fit(ids, y, verbose=0).history["loss"]).all()
    with pytest.raises(ValueError, match="class indices from 0 to 6, got -1"):
        model.fit(ids, np.full_like(y, -1), verbose=0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mask": np.ones((2, 3))}, r"mask of input 'input': expected shape \(2, 4\), one flag a step, got \(2, 3\)"),
        ({"mask": np.full((2, 4), 2)}, r"mask of input 'input': expected True or False, got 2"),
        ({"resets": np.full((2, 4), np.nan)}, r"resets of input 'input': expected True or False, got nan"),
    ],
)
def test_masks_that_do_not_fit_are_refused(given, message):
    model = rekur.Sequential([L.Input((None, 2), name="input"), L.LSTM(2)])
    with pytest.raises(ValueError, match=message):
        model.predict(np.zeros((2, 4, 2), np.float32), **given)


def test_a_mask_without_a_time_axis_is_refused():
    model = rekur.Sequential([L.Input((3,)), L.Dense(2)])
    with pytest.raises(ValueError, match="mask: no input of the model has a time axis"):
        model.predict(np.zeros((2, 3), np.float32), mask=np.ones((2, 3)))


def test_merged_sequences_have_the_steps_that_both_have():
    """Keras: a merge layer's mask is where all of its inputs' masks are."""
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(2, 4, 5, 3)).astype(np.float32)
    masks_ = [masks("holes", rng, 4, 5) for _ in range(2)]
    first, second = rekur.Input((None, 3), name="a"), rekur.Input((None, 3), name="b")
    model = rekur.Model([first, second], L.LSTM(2)(L.add([L.Masking()(first), L.Masking()(second)])))
    x = [a * masks_[0][..., None], b * masks_[1][..., None]]
    plain = rekur.Sequential([L.Input((None, 3)), L.LSTM(2)])
    plain.set_weights(model.get_weights())
    np.testing.assert_array_equal(model.predict(x), plain.predict(x[0] + x[1], mask=masks_[0] & masks_[1]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sequences", [True, False], ids=["sequences", "last"])
@pytest.mark.parametrize("name", ["SimpleRNN", "LSTM", "GRU", "zeros", *MODES])
def test_keras_has_the_same_numbers(name, sequences, kind):
    keras = pytest.importorskip("keras")
    rng = np.random.default_rng(11)
    mask = masks(kind, rng, 5, 6)
    x = rng.normal(size=(5, 6, 3)).astype(np.float32) * mask[..., None]
    options = {"return_sequences": sequences}

    def build(k):
        if name in CELLS:
            layer = getattr(k, name)(4, **options)
        elif name == "zeros":
            if not hasattr(k, "GRUCell"):
                pytest.skip("RNN(GRUCell) is not here yet")
            layer = k.RNN(k.GRUCell(4), zero_output_for_mask=True, **options)
        else:
            layer = k.Bidirectional(k.LSTM(4, **options), merge_mode=name)
        return [k.Masking(), layer]

    theirs = keras.Sequential([keras.Input((6, 3)), *build(keras.layers)])
    ours = rekur.Sequential([L.Input((6, 3)), *build(L)])
    ours.set_weights(theirs.get_weights())
    np.testing.assert_allclose(ours.predict(x), theirs.predict(x, verbose=0), atol=2e-6)


@pytest.mark.parametrize("given", ["mask", "resets", "both"])
@pytest.mark.parametrize("cell", ["min_gru", "ind_rnn"])
def test_gradients_of_a_batch_in_parts_are_those_of_its_rows(cell, given):
    """Cells without a recurrent product go backward in parts of the batch, each with its rows' own steps."""
    rng = np.random.default_rng(12)
    x = rng.normal(size=(32, 40, 3)).astype(np.float32)
    marks = {"mask": masks("holes", rng, 32, 40), "resets": rng.random((32, 40)) < 0.2}
    marks = {key: value for key, value in marks.items() if given in (key, "both")}
    layer = L.RNN(getattr(rekur.cells, cell), 5, return_sequences=True)
    model = rekur.Sequential([L.Input((None, 3)), layer], seed=1)
    r = rng.normal(size=(32, 40, 5)).astype(np.float32)
    _, whole, (dx,) = model.gradients(x, r, **marks)
    sums = {name: np.zeros(g.shape) for name, g in whole.items()}
    for b in range(32):
        row = slice(b, b + 1)
        _, alone, (own,) = model.gradients(x[row], r[row], **{key: value[row] for key, value in marks.items()})
        np.testing.assert_array_equal(own, dx[row])
        for name, gradient in alone.items():
            sums[name] += gradient
    for name, gradient in whole.items():
        np.testing.assert_allclose(gradient, sums[name], rtol=1e-4, atol=1e-4)


ACROSS = {
    "Conv1D": lambda: L.Conv1D(2, 2, padding="same"),
    "MaxPooling1D": lambda: L.MaxPooling1D(2),
    "GlobalAveragePooling1D": L.GlobalAveragePooling1D,
    "Flip": L.Flip,
    "Flatten": L.Flatten,
    "Permute": lambda: L.Permute((2, 1)),
    "PositionEmbedding": lambda: L.PositionEmbedding(4),
    "RotaryEmbedding": L.RotaryEmbedding,
}


@pytest.mark.parametrize("name", ACROSS)
def test_layers_along_time_refuse_resets(name):
    model = rekur.Sequential([L.Input((4, 2)), ACROSS[name]()])
    with pytest.raises(ValueError, match=r"looks across the borders that the resets of input '.*' set within a row"):
        model.predict(np.zeros((1, 4, 2), np.float32), resets=np.array([[0, 0, 1, 0]]))


@pytest.mark.parametrize("layer", [L.Attention, L.AdditiveAttention, lambda: L.MultiHeadAttention(1, 2)])
def test_attention_refuses_resets(layer):
    x = rekur.Input((4, 2))
    model = rekur.Model(x, layer()([x, x]))
    with pytest.raises(ValueError, match="looks across the borders that the resets of input"):
        model.predict(np.zeros((1, 4, 2), np.float32), resets=np.array([[0, 0, 1, 0]]))


def test_a_global_mean_is_that_of_the_masks_steps_and_a_maximum_that_of_all():
    """Keras: of the pooling layers GlobalAveragePooling1D alone heeds a mask."""
    rng = np.random.default_rng(10)
    x = rng.normal(size=(5, 6, 3)).astype(np.float32)
    mask = masks("holes", rng, 5, 6)
    mask[:, 3] = True
    mask[0] = [False, True, False, True, True, False]
    mean = rekur.Sequential([L.Input((None, 3)), L.GlobalAveragePooling1D()])
    largest = rekur.Sequential([L.Input((None, 3)), L.GlobalMaxPooling1D()])
    dy = rng.normal(size=(5, 3)).astype(np.float32)
    (y,), _, (dx,) = mean.gradients(x, dy, mask=mask)
    for b in range(5):
        np.testing.assert_allclose(y[b], x[b, mask[b]].mean(0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(dx[b], mask[b][:, None] * dy[b] / mask[b].sum(), rtol=1e-5)
    np.testing.assert_array_equal(largest.predict(x, mask=mask), x.max(1))


@pytest.mark.parametrize("layer", [lambda: L.MaxPooling1D(2, 1), lambda: L.Conv1D(3, 2), lambda: L.ZeroPadding1D(1)])
def test_a_mask_ends_where_the_steps_become_others(layer):
    """Keras: behind windows, cuts and padding every step counts, also where the mask was one of lengths."""
    x = np.random.default_rng(11).normal(size=(3, 6, 3)).astype(np.float32)
    x[1, 4:] = x[2, 1:] = 0
    end = [layer(), L.LSTM(2)]
    masked = rekur.Sequential([L.Input((None, 3)), L.Masking(), *end])
    plain = rekur.Sequential([L.Input((None, 3)), *end])
    np.testing.assert_array_equal(masked.predict(x), plain.predict(x))
    np.testing.assert_array_equal(plain.predict(x, mask=np.any(x != 0, axis=-1)), plain.predict(x))


@pytest.mark.parametrize("masked", [False, True], ids=["plain", "masked"])
@pytest.mark.parametrize("given", [0, 1])
def test_resets_of_any_input_that_is_joined_count(given, masked):
    rng = np.random.default_rng(12)
    x = [rng.normal(size=(3, 8, 2)).astype(np.float32) for _ in range(2)]
    mask = masks("holes", rng, 3, 8) if masked else None
    inputs = [rekur.Input((None, 2), name=name) for name in "ab"]
    model = rekur.Model(inputs, L.GRU(4, return_sequences=True)(L.add(inputs)), seed=1)
    plain = rekur.Sequential([L.Input((None, 2)), L.GRU(4, return_sequences=True)])
    plain.set_weights(model.get_weights())
    resets = rng.random((3, 8)) < 0.4
    found = model.predict(x, resets={"ab"[given]: resets}, mask={"a": mask} if masked else None)
    np.testing.assert_array_equal(found, plain.predict(x[0] + x[1], resets=resets, mask=mask))


@pytest.mark.parametrize("reverse", [False, True], ids=["onwards", "reverse"])
@pytest.mark.parametrize("cell", CELLS)
def test_masked_steps_before_the_first_one_send_their_gradient_to_the_initial_state(cell, reverse):
    """Their output is the initial state."""
    rng = np.random.default_rng(13)
    x, mask = rng.normal(size=(3, 5, 2)).astype(np.float32), np.ones((3, 5), bool)
    mask[1, :2] = mask[1, 4:] = mask[2] = False
    h, inp = rekur.Input((4,)), rekur.Input((None, 2), name="x")
    states = [h, h] if cell == "LSTM" else [h]
    y = CELLS[cell](4, return_sequences=True, reverse=reverse)(inp, initial_state=states)
    model = rekur.Model([inp, h], y, seed=1)
    start = rng.normal(size=(3, 4)).astype(np.float32)
    dy = rng.normal(size=(3, 5, 4)).astype(np.float32)
    found = model.gradients([x, start], dy, mask={"x": mask})[2][1]
    np.testing.assert_allclose(found[2], dy[2].sum(0), rtol=1e-5, atol=1e-6)

    def value(k, by):
        moved = start.copy()
        moved[:, k] += by
        return (model.predict([x, moved], mask={"x": mask}).astype(np.float64) * dy).sum((1, 2))

    for k in range(4):
        np.testing.assert_allclose(found[:, k], (value(k, 0.01) - value(k, -0.01)) / 0.02, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("learned", [False, True])
def test_resets_bring_zeros_or_learned_states_whatever_states_are_given(learned):
    rng = np.random.default_rng(3)
    inputs = rekur.Input((None, 2)), rekur.Input((3,))
    layer = rekur.layers.GRU(3, return_sequences=True, learn_initial_state=learned)
    if learned:
        model = rekur.Model(inputs[0], layer(inputs[0]))
        model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    else:
        model = rekur.Model(inputs, layer(inputs[0], initial_state=inputs[1]))
    x, state = rng.normal(size=(2, 9, 2)).astype("f"), rng.normal(size=(2, 3)).astype("f")
    resets = np.zeros((2, 9), bool)
    resets[0, 4] = resets[1, 0] = True

    def run(x, state, resets=None):
        return model.predict(x if learned else [x, state], resets=resets if learned else {"input": resets})

    model_inputs = [name for name, *_ in model._engine().inputs]
    assert model_inputs[0] == "input" or learned
    found = run(x, state, resets)
    np.testing.assert_array_equal(found[0, :4], run(x[:1, :4], state[:1])[0])
    np.testing.assert_array_equal(found[0, 4:], run(x[:1, 4:], 0 * state[:1])[0])
    np.testing.assert_array_equal(found[1], run(x[1:], 0 * state[1:])[0])
