"""rekur.generate and rekur.Generator: what is drawn against NumPy, what a draw depends on, numbers, mistakes."""

import numpy as np
import pytest

import rekur
from rekur import _core, layers

CLASSES = 11
KINDS = ("logits", "softmax", "softmax layer", "one-hot", "last", "masked")


def model_of(kind="logits", classes=CLASSES, scale=3.0, seed=4):
    """A model of labels, whose outputs are far from uniform; those of a seed have the same weights."""
    if kind == "one-hot":
        x = inputs = layers.Input((None, classes), name="vectors")
    else:
        inputs = layers.Input((None,), dtype="int32", name="ids")
        x = layers.Embedding(classes, 5, mask_zero=kind == "masked", name="embedding")(inputs)
    y = layers.GRU(7, return_sequences=kind != "last", name="gru")(x)
    y = layers.Dense(classes, "softmax" if kind in ("softmax", "masked") else None, name="dense")(y)
    if kind == "softmax layer":
        y = layers.Softmax()(y)
    model = rekur.Model(inputs, y, seed=seed)
    rng = np.random.default_rng(seed)
    model.set_weights([scale * rng.normal(size=w.shape) / np.sqrt(len(w)) for w in model.get_weights()])
    return model


def logits_of(model, kind, rows):
    """Of what comes behind rows of labels of one length, float64."""
    ids = np.asarray(rows)
    x = np.eye(CLASSES)[ids] if kind == "one-hot" else ids
    y = model.predict(x).astype(np.float64)
    y = y if kind == "last" else y[:, -1]
    return np.log(y) if kind.startswith("softmax") or kind == "masked" else y


def expected_p(logits, history=(), temperature=1.0, top_k=None, top_p=1.0, repetition_penalty=1.0):
    """The probabilities by which a label is drawn, of a row's logits."""
    z = np.array(logits, np.float64)
    for label in set(history):
        z[label] = z[label] / repetition_penalty if z[label] > 0 else z[label] * repetition_penalty
    z /= temperature
    order = np.argsort(-z, kind="stable")
    z[order[top_k:] if top_k else []] = -np.inf
    p = np.exp(z - z.max())
    p /= p.sum()
    before = np.cumsum(p[order]) - p[order]
    p[order[before >= top_p]] = 0
    return p / p.sum()


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_is_predict_and_argmax(kind, isa):
    model, rows = model_of(kind), np.array([[3, 1, 4], [1, 5, 9], [2, 6, 5]])
    found = rekur.generate(model, rows, 9, temperature=0)
    for _ in range(9):
        rows = np.concatenate([rows, logits_of(model, kind, rows).argmax(axis=1)[:, None]], axis=1)
    np.testing.assert_array_equal(found, rows[:, 3:])
    assert found.dtype == np.int32


SETTINGS = [
    {},
    {"temperature": 0.5},
    {"temperature": 3.0},
    {"top_k": 1},
    {"top_k": 3},
    {"top_k": 100},
    {"top_p": 0.5},
    {"top_p": 0.9, "temperature": 1.5},
    {"top_p": 1e-9},
    {"top_k": 5, "top_p": 0.7, "temperature": 2.0},
    {"repetition_penalty": 3.0, "temperature": 2.0},
    {"repetition_penalty": 0.5},
    {"repetition_penalty": 2.0, "top_k": 4, "top_p": 0.9, "temperature": 2.0},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("kind", ["logits", "one-hot"])
def test_labels_are_drawn_as_often_as_they_are_probable(kind, settings):
    model, prompt, count = model_of(kind), [7, 2, 7, 0], 6000
    p = expected_p(logits_of(model, kind, [prompt])[0], prompt, **settings)
    found = rekur.generate(model, [prompt] * count, 1, seed=5, **settings)[:, 0]
    seen = np.bincount(found, minlength=CLASSES)
    assert not seen[p == 0].any()
    often = count * p >= 5  # the others together are one more
    seen_of, expected = (np.append(n[often], n[~often].sum()) for n in (seen, count * p))
    chi2 = ((seen_of - expected) ** 2 / np.maximum(expected, 1)).sum()
    degrees = often.sum()
    assert chi2 <= degrees + 5 * np.sqrt(2 * degrees), (seen, count * p)
    # Draws of different numbers are as independent as those of different rows are.
    if settings == {}:
        longer = rekur.generate(model, [prompt] * count, 2, seed=5)
        p = np.array([expected_p(z) for z in logits_of(model, kind, [[*prompt, k] for k in range(CLASSES)])])
        for label in np.flatnonzero(seen > 300):
            second = np.bincount(longer[longer[:, 0] == label, 1], minlength=CLASSES)
            np.testing.assert_allclose(second / seen[label], p[label], atol=5 * 0.5 / np.sqrt(seen[label]))


@pytest.mark.parametrize("settings", [s for s in SETTINGS if "repetition_penalty" not in s], ids=str)
def test_logits_and_softmax_draw_alike(settings):
    prompt = np.random.default_rng(1).integers(0, CLASSES, (50, 3))
    drawn = [rekur.generate(model_of(k), prompt, 20, seed=3, **settings) for k in ("logits", "softmax")]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    # Logarithms of probabilities are rounded once more than the sums that they are made of.
    other = rekur.generate(model_of("softmax layer"), prompt, 1, seed=3, **settings)
    assert (other == drawn[0][:, :1]).mean() > 0.95


@pytest.mark.parametrize("settings", [{"top_p": 0.8}, {"top_k": 150}, {"top_k": 300, "top_p": 0.9}, {}], ids=str)
def test_many_classes(settings):
    """More than are put in order, or computed, at once."""
    classes, count = 1300, 3000
    model = model_of(classes=classes, scale=0.8)
    z = logits_of(model, "logits", [[7, 2]])[0]
    p = expected_p(z, **settings)
    found = rekur.generate(model, [[7, 2]] * count, 1, seed=5, **settings)[:, 0]
    seen = np.bincount(found, minlength=classes)
    # But for the one that reaches top_p by a rounding or not.
    assert (seen[p == 0] > 0).sum() <= 1
    often = count * p >= 5
    chi2 = ((seen - count * p)[often] ** 2 / (count * p)[often]).sum()
    assert chi2 <= often.sum() + 5 * np.sqrt(2 * often.sum())
    rows = np.array([[7, 2], [1200, 900], [513, 1299]])
    greedy = rekur.generate(model, rows, 4, temperature=0)
    for _ in range(4):
        rows = np.concatenate([rows, logits_of(model, "logits", rows).argmax(axis=1)[:, None]], axis=1)
    np.testing.assert_array_equal(greedy, rows[:, 2:])


@pytest.mark.parametrize("kind", ["Average", "Add", "Maximum", "gate"])
def test_mixtures_of_probabilities_are_known_to_be_some(kind):
    ids = layers.Input((None,), dtype="int32")
    h = layers.GRU(7, return_sequences=True)(layers.Embedding(CLASSES, 5)(ids))
    a, b = (layers.Dense(CLASSES, "softmax")(h) for _ in range(2))
    if kind == "gate":
        gate = layers.Dense(1, "sigmoid")(h)
        other = layers.Rescaling(-1.0, 1.0)(gate)
        y = layers.Add()([layers.Multiply()([a, gate]), layers.Multiply()([b, other])])
    else:
        y = getattr(layers, kind)()([a, b])
    model = rekur.Model(ids, y, seed=2)
    model.set_weights([3 * w for w in model.get_weights()])
    p = model.predict(np.array([[1, 2]]))[0, -1].astype(np.float64)
    found = rekur.generate(model, [[1, 2]] * 4000, 1, seed=1)[:, 0]
    np.testing.assert_allclose(np.bincount(found, minlength=CLASSES) / 4000, p / p.sum(), atol=0.04)
    generator = rekur.Generator(model)
    generator.read([1, 2])
    np.testing.assert_allclose(generator.logits[0], np.log(p), atol=1e-5)


def test_what_is_said_of_logits_counts():
    model = model_of("softmax layer", scale=1.0)
    p = model.predict(np.array([[1, 2]]))[0, -1].astype(np.float64)
    found = rekur.generate(model, [[1, 2]] * 4000, 1, seed=1, from_logits=True)[:, 0]
    np.testing.assert_allclose(np.bincount(found, minlength=CLASSES) / 4000, expected_p(p), atol=0.03)
    generator = rekur.Generator(model, from_logits=True)
    generator.read([1, 2])
    np.testing.assert_allclose(generator.logits[0], p, atol=1e-6)
    with pytest.raises(TypeError, match="generate: from_logits"):
        rekur.generate(model, [1], 1, from_logits=1)
    with pytest.raises(TypeError, match="Generator: from_logits"):
        rekur.Generator(model, from_logits=1)


def test_a_penalty_goes_by_all_that_came_before():
    model = model_of(scale=1.0)
    found = rekur.generate(model, [3], CLASSES - 1, temperature=0, repetition_penalty=1e6)
    z = logits_of(model, "logits", [[3]])[0]
    assert found[0] != 3 or (z <= 0).all()
    # Of labels, none with a positive logit comes twice while another is positive.
    so_far = [3]
    for label in found:
        z = logits_of(model, "logits", [so_far])[0]
        z[so_far] = np.where(z[so_far] > 0, z[so_far] / 1e6, z[so_far] * 1e6)
        assert label == z.argmax()
        so_far.append(int(label))


@pytest.mark.parametrize("settings", [{}, {"top_k": 4}, {"top_p": 0.8}, {"repetition_penalty": 1.5}], ids=str)
def test_a_row_depends_on_nothing_but_its_number(settings, restore_threads, isa):
    model, prompt = model_of("softmax"), np.random.default_rng(2).integers(0, CLASSES, (150, 4))
    expected = rekur.generate(model, prompt, 12, seed=9, end=0, **settings)
    for threads in (1, 2, 3):
        rekur.set_num_threads(threads)
        np.testing.assert_array_equal(rekur.generate(model, prompt, 12, seed=9, end=0, **settings), expected)
    changed = prompt.copy()
    changed[::2] = 1
    for rows, found in (
        (slice(1, None, 2), rekur.generate(model, changed, 12, seed=9, end=0, **settings)[1::2]),
        (slice(5), rekur.generate(model, prompt[:5], 12, seed=9, end=0, **settings)),
    ):
        for row, right in zip(found, expected[rows], strict=True):
            assert row[row >= 0].tolist() == right[right >= 0].tolist()
    assert (
        rekur.generate(model, prompt, 12, seed=10, **settings) != rekur.generate(model, prompt, 12, seed=9, **settings)
    ).any()
    # Of other rows other draws.
    same = rekur.generate(model, np.repeat(prompt[:1], 150, 0), 12, seed=9, **settings)
    assert len(np.unique(same, axis=0)) > 100


def test_without_a_seed_each_call_draws_others():
    model = model_of()
    assert (rekur.generate(model, [1], 50) != rekur.generate(model, [1], 50)).any()


@pytest.mark.parametrize("settings", [{}, {"top_k": 4}, {"top_p": 0.8}, {"temperature": 0}], ids=str)
def test_prompts_of_different_lengths(settings):
    model = model_of()
    rows = [[1, 2, 3, 4, 5], [6], [7, 8], [9, 10, 0]]
    found = rekur.generate(model, rows, 8, seed=2, **settings)
    array = np.full((4, 5), -1)
    for row, labels in zip(array, rows, strict=True):
        row[: len(labels)] = labels
    np.testing.assert_array_equal(rekur.generate(model, array, 8, seed=2, **settings), found)
    # Each as where it stands among others of its length.
    for k, row in enumerate(rows):
        alike = rekur.generate(model, [row] * 4, 8, seed=2, **settings)
        np.testing.assert_array_equal(alike[k], found[k])


@pytest.mark.parametrize(
    "settings", [{}, {"top_k": 4}, {"top_p": 0.8}, {"repetition_penalty": 1.5, "top_k": 5}, {"temperature": 0}], ids=str
)
@pytest.mark.parametrize("kind", KINDS)
def test_going_on_from_its_own_labels_changes_nothing(kind, settings):
    model, prompt = model_of(kind), np.array([[3, 1], [4, 1]])
    found = rekur.generate(model, prompt, 12, seed=8, **settings)
    longer = np.concatenate([prompt, found[:, :5]], axis=1)
    np.testing.assert_array_equal(rekur.generate(model, longer, 7, seed=8, **settings), found[:, 5:])
    # And label after label.
    generator = rekur.Generator(model, batch=2, seed=8)
    np.testing.assert_array_equal(np.stack(list(generator.stream(prompt, 12, **settings)), axis=1), found)
    generator.reset()
    generator.read(longer)
    np.testing.assert_array_equal([generator.next(**settings) for _ in range(7)], found[:, 5:].T)


def test_the_end_ends_a_row():
    model, prompt = model_of(scale=1.0), np.random.default_rng(3).integers(1, CLASSES, (40, 2))
    free = rekur.generate(model, prompt, 30, seed=1)
    found = rekur.generate(model, prompt, 30, seed=1, end=0)
    for row, whole in zip(found, free, strict=True):
        count = int(np.argmax(whole == 0)) if (whole == 0).any() else 30
        np.testing.assert_array_equal(row[:count], whole[:count])
        assert (row[count:] == -1).all()
    assert (found == -1).any()
    # None may be left, and the end in a prompt ends nothing.
    assert rekur.generate(model, [[2]], 3, temperature=0, end=int(free_label(model, 2))).shape == (1, 0)
    assert rekur.generate(model, [0, 0], 4, seed=1).shape == (4,)


def free_label(model, label):
    return rekur.generate(model, [label], 1, temperature=0)[0]


@pytest.mark.parametrize("temperature", [1e-7, 1e-30, 1e-40, 5e-324])
@pytest.mark.parametrize("settings", [{}, {"top_k": 3}, {"top_p": 0.9}, {"repetition_penalty": 2.0}], ids=str)
def test_a_low_temperature_is_none(temperature, settings):
    for shift in (-50.0, 0.0, 50.0):  # of logits that all are below or above 0, too
        model = model_of()
        weights = model.get_weights()
        model.set_weights([*weights[:-1], weights[-1] + shift])
        expected = rekur.generate(model, [[1, 2], [5, 6]], 9, **(settings | {"temperature": 0}))
        found = rekur.generate(model, [[1, 2], [5, 6]], 9, temperature=temperature, seed=1, **settings)
        np.testing.assert_array_equal(found, expected)


def test_a_beam_is_at_least_as_probable_as_going_greedily(isa):
    model, prompt = model_of(scale=2.0), [[1, 2], [3, 4], [5, 6]]

    def log_p(rows):
        rows, total = np.concatenate([prompt, rows], axis=1), 0.0
        for k in range(2, rows.shape[1]):
            z = logits_of(model, "logits", rows[:, :k])
            total += (z - np.log(np.exp(z).sum(axis=1, keepdims=True)))[range(3), rows[:, k]]
        return total

    greedy = rekur.generate(model, prompt, 6, temperature=0)
    found = {width: log_p(rekur.generate(model, prompt, 6, beam_width=width)) for width in (2, CLASSES**2)}
    assert (found[2] >= log_p(greedy) - 1e-6).all()
    assert (found[CLASSES**2] > log_p(greedy) + 0.01).any()


def numbers(kind):
    x = layers.Input((None, 3))
    y = layers.LSTM(6, return_sequences=kind == "sequences")(x)
    return rekur.Model(x, layers.Dense(3, "tanh")(y), seed=2)


@pytest.mark.parametrize("kind", ["sequences", "last"])
def test_numbers_go_on_as_repeated_predict(kind, isa):
    model, x = numbers(kind), np.random.default_rng(4).normal(size=(2, 5, 3)).astype(np.float32)
    found = rekur.generate(model, x, 7)
    assert found.shape == (2, 7, 3)
    assert found.dtype == np.float32
    for k in range(7):
        y = model.predict(x)
        y = y if kind == "last" else y[:, -1]
        np.testing.assert_array_equal(found[:, k], y)
        x = np.concatenate([x, y[:, None]], axis=1)
    np.testing.assert_array_equal(rekur.generate(model, x[0, :5], 7), found[0])
    assert rekur.generate(model, x[:0], 7).shape == (0, 7, 3)
    assert rekur.generate(model, x[0, :1].tolist(), 1).shape == (1, 3)


def test_no_rows_are_none():
    for prompt in (np.zeros((0, 3), np.int32), np.zeros((0, 0), np.int32)):
        assert rekur.generate(model_of(), prompt, 5).shape == (0, 0)


def test_shapes():
    model = model_of()
    assert rekur.generate(model, [1, 2], 5).shape == (5,)
    assert rekur.generate(model, np.array([1, 2], np.uint8), 5).shape == (5,)
    assert rekur.generate(model, (1, 2), 5).shape == (5,)
    assert rekur.generate(model, [[1, 2]], 5).shape == (1, 5)
    assert rekur.generate(model, [np.array([1]), [2, 3]], 5).shape == (2, 5)


GENERATOR_SETTINGS = [{}, {"top_k": 3}, {"top_p": 0.7}, {"repetition_penalty": 1.3}]


@pytest.mark.parametrize("settings", GENERATOR_SETTINGS, ids=str)
def test_a_generator_keeps_its_states(settings):
    model = model_of()
    generator = rekur.Generator(model, seed=6)
    assert generator.classes == CLASSES
    generator.read([3, 1, 4])
    np.testing.assert_allclose(generator.logits[0], logits_of(model, "logits", [[3, 1, 4]])[0], atol=1e-5)
    so_far = [3, 1, 4]
    for _ in range(4):
        so_far.append(generator.next(**settings))
        assert isinstance(so_far[-1], int)
        np.testing.assert_allclose(generator.logits[0], logits_of(model, "logits", [so_far])[0], atol=1e-5)
        generator.read([5])  # what somebody else says
        so_far.append(5)
        np.testing.assert_allclose(generator.logits[0], logits_of(model, "logits", [so_far])[0], atol=1e-5)
    went_on = list(generator.stream(None, 3, **settings))
    generator.reset()
    generator.read(so_far)
    assert list(generator.stream(None, 3, **settings)) == went_on


def test_a_generator_streams_as_long_as_one_likes():
    model = model_of()
    stream = rekur.Generator(model, seed=1).stream([1])
    assert len([next(stream) for _ in range(3000)]) == 3000  # more than is remembered
    end = int(rekur.generate(model, [1], 5, seed=1)[4])
    some = rekur.Generator(model, seed=1).stream([1], end=end)
    assert end not in list(some)
    # More than 1024 labels ago is long ago.
    one, other = (rekur.Generator(model, seed=1) for _ in range(2))
    for generator, first in ((one, 3), (other, 4)):
        generator.read([first] + [5] * 1100)
    assert one.next(repetition_penalty=2.0) == other.next(repetition_penalty=2.0)


def test_weights_are_taken_as_they_are():
    model = model_of()
    generator, expected = rekur.Generator(model, seed=1), rekur.generate(model, [1, 2], 20, seed=1)
    model.set_weights([0 * w for w in model.get_weights()])
    assert list(generator.stream([1, 2], 20)) == expected.tolist()
    assert rekur.generate(model, [1, 2], 20, seed=1).tolist() != expected.tolist()


def broken(value, kind="logits"):
    model = model_of(kind)
    weights = model.get_weights()
    weights[-1][3] = value
    model.set_weights(weights)
    return model


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("settings", [*SETTINGS, {"temperature": 0}, {"beam_width": 3}], ids=str)
@pytest.mark.parametrize("kind", ["logits", "softmax", "one-hot"])
def test_what_is_no_number_is_refused(kind, settings, value):
    with pytest.raises(ValueError, match=r"decode: row 0: what the model gives for label 0 is no probability"):
        rekur.generate(broken(value, kind), [[1, 2], [3, 4]], 3, **settings)


def test_a_generator_refuses_what_is_no_number():
    generator = rekur.Generator(broken(np.nan))
    generator.read([1])
    with pytest.raises(ValueError, match="no probability"):
        generator.next()


def test_a_class_that_is_impossible_is_not_drawn():
    found = rekur.generate(broken(-np.inf), [[1]] * 500, 4, seed=1)
    assert not (found == 3).any()
    for settings in ({"top_k": 11}, {"top_p": 0.9999999}, {"temperature": 0}, {"beam_width": 11}):
        assert not (rekur.generate(broken(-np.inf), [[1]] * 20, 4, **settings) == 3).any()


@pytest.mark.parametrize(
    ("prompt", "settings", "error", "message"),
    [
        ([], {}, ValueError, "generate: prompt: row 0 is empty: at least one label"),
        ([[1], []], {}, ValueError, "generate: prompt: row 1 is empty"),
        (np.full((2, 2), -1), {}, ValueError, "generate: prompt: row 0 is empty"),
        ([[11]], {}, ValueError, "generate: prompt: expected labels from 0 to 10, got 11 in row 0"),
        ([[1], [-2]], {}, ValueError, "generate: prompt: expected labels from 0 to 10, got -2 in row 1"),
        (np.zeros((1, 2, 3), int), {}, ValueError, r"generate: prompt: expected labels of shape \(B, P\) or \(P,\)"),
        (7, {}, ValueError, r"generate: prompt: expected labels of shape"),
        ([1.5], {}, TypeError, "generate: prompt: expected integers"),
        (np.ones((1, 2)), {}, TypeError, "generate: prompt: expected integers"),
        ([[True]], {}, TypeError, "generate: prompt.*expected integers"),
        (["a"], {}, TypeError, "generate: prompt"),
        (None, {}, TypeError, "generate: prompt"),
        (np.ma.masked_array([1, 2], [0, 1]), {}, (TypeError, ValueError), "generate: prompt.*mask"),
        ([2**40], {}, ValueError, "generate: prompt.*do not fit in int32"),
        ([1], {"steps": 0}, ValueError, "generate: steps"),
        ([1], {"steps": 2.5}, TypeError, "generate: steps"),
        ([1], {"steps": True}, TypeError, "generate: steps"),
        ([1], {"temperature": -1}, ValueError, "generate: temperature"),
        ([1], {"temperature": np.nan}, ValueError, "generate: temperature|temperature must be finite"),
        ([1], {"temperature": np.inf}, ValueError, "generate: temperature|temperature must be finite"),
        ([1], {"temperature": 1e300}, ValueError, "temperature"),
        ([1], {"temperature": "hot"}, TypeError, "generate: temperature"),
        ([1], {"top_k": -1}, ValueError, "generate: top_k"),
        ([1], {"top_k": 1.5}, TypeError, "generate: top_k"),
        ([1], {"top_p": 0}, ValueError, "generate: top_p"),
        ([1], {"top_p": 1.5}, ValueError, "generate: top_p"),
        ([1], {"top_p": np.nan}, ValueError, "generate: top_p"),
        ([1], {"repetition_penalty": 0}, ValueError, "generate: repetition_penalty"),
        ([1], {"repetition_penalty": -2}, ValueError, "generate: repetition_penalty"),
        ([1], {"repetition_penalty": 1e300}, ValueError, "repetition_penalty"),
        ([1], {"seed": -1}, ValueError, "generate: seed"),
        ([1], {"seed": 2**64}, ValueError, "generate: seed"),
        ([1], {"seed": "a"}, TypeError, "generate: seed"),
        ([1], {"end": 11}, ValueError, "generate: end: expected a label below 11, got 11"),
        ([1], {"end": -1}, ValueError, "generate: end"),
        ([1], {"beam_width": 0}, ValueError, "generate: beam_width"),
        ([1], {"beam_width": 2, "length_penalty": -1}, ValueError, "generate: length_penalty"),
        ([1], {"beam_width": 2, "length_penalty": np.inf}, ValueError, "length_penalty|penalties must be finite"),
    ],
)
def test_mistakes_name_themselves(prompt, settings, error, message):
    with pytest.raises(error, match=message):
        rekur.generate(model_of(), prompt, **({"steps": 3} | settings))


def test_many_steps_and_wide_beams():
    model = model_of(scale=1.0)
    assert len(rekur.generate(model, [1], 20000, seed=1)) == 20000
    assert rekur.generate(model, [1], 10**15, seed=1, end=3).ndim == 1
    assert rekur.generate(model, [1], 3, seed=1, top_k=10**15).shape == (3,)
    assert rekur.generate(model, [1], 2, beam_width=1000).shape == (2,)
    with pytest.raises((MemoryError, ValueError), match=r"memory|beam_width must be at most"):
        rekur.generate(model, [1], 2, beam_width=10**15)


def test_models_of_another_kind():
    x = layers.Input((None, 4))
    both = rekur.Model(x, layers.Dense(4)(layers.Bidirectional(layers.LSTM(3, return_sequences=True))(x)))
    with pytest.raises(ValueError, match="Bidirectional"):
        rekur.generate(both, [1], 3)
    with pytest.raises(ValueError, match="Bidirectional"):
        rekur.Generator(both)
    with pytest.raises(TypeError, match=r"Stream: expected a model|generate: expected a model"):
        rekur.generate("model", [1], 3)
    with pytest.raises(TypeError, match="Generator: expected a model"):
        rekur.Generator(None)
    other = rekur.Model(x, layers.LSTM(3, return_sequences=True)(x))
    with pytest.raises(ValueError, match="one-hot vectors of 3 classes"):
        rekur.generate(other, [1], 3)
    with pytest.raises(ValueError, match=r"each output is the next input.*\(1, 4\).*\(1, 3\)"):
        rekur.generate(other, np.zeros((1, 2, 4)), 3)
    with pytest.raises(ValueError, match=r"generate: prompt: expected shape \(B, P, …\)"):
        rekur.generate(numbers("last"), np.zeros((1, 2, 4)), 3)
    with pytest.raises(ValueError, match=r"generate: prompt: expected shape \(B, P, …\)"):
        rekur.generate(numbers("last"), np.zeros((1, 0, 3)), 3)
    a, b = layers.Input((None, 4)), layers.Input((None, 4))
    with pytest.raises(ValueError, match="generate: expected a model of one input, got 2"):
        rekur.generate(rekur.Model([a, b], layers.GRU(4)(layers.Add()([a, b]))), [1], 3)


@pytest.mark.parametrize(
    ("action", "error", "message"),
    [
        (lambda g: g.next(), ValueError, "nothing was read yet"),
        (lambda g: g.read([11]), ValueError, "Generator: expected labels from 0 to 10, got 11"),
        (lambda g: g.read([[1], [2]]), ValueError, r"Generator: expected labels of shape \(1, P\), got \(2, 1\)"),
        (lambda g: g.read([0.5]), TypeError, "Generator: labels: expected integers"),
        (lambda g: g.next(temperature=-1), ValueError, "Generator: temperature"),
        (lambda g: g.next(top_p=0), ValueError, "Generator: top_p"),
        (lambda g: list(g.stream([1], 0)), ValueError, "Generator: steps"),
        (lambda g: list(g.stream([1], 3, end=11)), ValueError, "Generator: end: expected a label below 11"),
        (lambda g: list(g.stream([1], 3, heat=1)), TypeError, "heat"),
        (lambda g: rekur.Generator(model_of(), batch=0), ValueError, "Generator: batch"),
        (lambda g: rekur.Generator(model_of(), seed=-1), ValueError, "Generator: seed"),
        (lambda g: rekur.Generator(model_of(), seed=2**64), ValueError, "Generator: seed"),
        (lambda g: list(rekur.Generator(model_of(), 2).stream([[1], [2]], 3, end=1)), ValueError, "Generator: end"),
    ],
)
def test_mistakes_with_a_generator(action, error, message):
    with pytest.raises(error, match=message):
        action(rekur.Generator(model_of()))


def test_rankings_of_many_classes_are_those_of_predict(isa):
    """Sums come a few hundred at a time: ties go by place, and the greatest may come last."""
    model = model_of("softmax", classes=2000)
    weights = model.get_weights()
    for w in weights[-2:]:
        w[:] = 0
    for high, expected in (
        ({5: 3, 700: 3, 1500: 3}, [5, 700, 1500]),
        ({5: 3, 700: 3, 1500: 3, 1900: 30}, [1900, 5, 700]),
    ):
        for place, value in high.items():
            weights[-1][place] = value
        model.set_weights(weights)
        decoder = _core.Decoder(model._engine(), [], False)
        options = {"steps": 1, "beam_width": 3, "top_paths": 3}
        (paths,) = decoder.decode([], None, [np.array([1], np.int32)], options)
        assert [int(path[0][0]) for path in paths] == expected
        p = model.predict(np.array([[1]]))[0, -1].astype(np.float64)
        np.testing.assert_allclose([path[1] for path in paths], np.log(p[expected]), atol=1e-5)
