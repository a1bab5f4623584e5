"""rekur.Seq2Seq: beams against a search in Python over what predict says, lengths of both sides, training, files."""

import copy
import itertools
import pickle

import numpy as np
import pytest

import rekur
from rekur import layers
from rekur._scheduled import Scheduled

SOURCES, CLASSES, START, END = 9, 6, 0, 1


def embedded(source, before, shared=False):
    one = layers.Embedding(SOURCES, 5, name="words")
    return one(source), (one if shared else layers.Embedding(CLASSES, 5, name="labels"))(before)


def states_alone(source, before):
    x, z = embedded(source, before)
    _, h, c = layers.LSTM(7, return_state=True, name="encoder")(x)
    return layers.LSTM(7, return_sequences=True, name="decoder")(z, initial_state=[h, c])


def luong(source, before, shared=False):
    """Attention beside the decoder, as Keras's examples have it."""
    x, z = embedded(source, before, shared)
    memory, h, c = layers.LSTM(7, return_sequences=True, return_state=True, name="encoder")(x)
    y = layers.LSTM(7, return_sequences=True, name="decoder")(z, initial_state=[h, c])
    context = layers.Attention(name="attention")([y, memory])
    return layers.Dense(8, "tanh", name="attentional")(layers.Concatenate()([y, context]))


def heads(source, before):
    x, z = embedded(source, before)
    memory = layers.Bidirectional(layers.GRU(4, return_sequences=True))(x)
    y = layers.GRU(7, return_sequences=True, name="decoder")(z)
    return layers.Add()([y, layers.MultiHeadAttention(2, 3, name="attention")(y, memory)])


def fed(kind, **more):
    def make(source, before):
        x, z = embedded(source, before)
        memory, h, c = layers.LSTM(7, return_sequences=True, return_state=True, name="encoder")(x)
        options = {"num_heads": 2, "key_dim": 3} if kind == "multi_head" else more
        decoder = layers.AttentionRNN(layers.LSTMCell(7), kind, return_sequences=True, name="decoder", **options)
        return decoder(z, memory, initial_state=[h, c])

    return make


def vector(source, before):
    """The decoder reads a vector of the source at each step."""
    x, z = embedded(source, before)
    summary = layers.GRU(5, name="encoder")(x)
    return layers.GRU(7, return_sequences=True, name="decoder")(layers.Add()([z, summary]))


MODELS = {
    "states": states_alone,
    "luong": luong,
    "shared": lambda source, before: luong(source, before, True),
    "heads": heads,
    "dot": fed("dot"),
    "general": fed("general"),
    "concat": fed("concat"),
    "bahdanau": fed("bahdanau"),
    "multi_head": fed("multi_head"),
    "covered": fed("concat", coverage=True),
    "covered_before": fed("bahdanau", coverage=True),
    "vector": vector,
}


def weighted(model, seed, scale=3.0):
    rng = np.random.default_rng(seed)
    model.set_weights([scale * rng.normal(size=w.shape) / np.sqrt(len(w)) for w in model.get_weights()])
    return model


def made(kind="luong", activation="softmax", seed=3, end=END, scale=3.0, **options):
    source = layers.Input((None,), dtype="int32", name="source")
    before = layers.Input((None,), dtype="int32", name="before")
    y = layers.Dense(CLASSES, activation, name="output")(MODELS[kind](source, before))
    model = weighted(rekur.Model([source, before], y, seed=seed), seed, scale)
    return rekur.Seq2Seq(model, START, end, **options)


def with_scores(seed=3, scale=3.0, sharpness=1.0):
    """One that says what it attends to."""
    source = layers.Input((None,), dtype="int32", name="source")
    before = layers.Input((None,), dtype="int32", name="before")
    x, z = embedded(source, before)
    memory = layers.GRU(7, return_sequences=True, name="encoder")(x)
    y = layers.GRU(7, return_sequences=True, name="decoder")(z)
    context, paid = layers.Attention(return_attention_scores=True, name="attention")(
        [layers.Rescaling(sharpness)(y), memory]
    )
    y = layers.Dense(CLASSES, "softmax", name="output")(layers.Concatenate()([y, context]))
    model = weighted(rekur.Model([source, before], y, seed=seed), seed, scale)
    both = rekur.Model([source, before], [y, paid])
    return rekur.Seq2Seq(model, START, END, attention=paid), both


def sources(rows, steps=6, seed=1):
    rng = np.random.default_rng(seed)
    return rng.integers(0, SOURCES, (rows, steps)).astype(np.int32), rng.integers(1, steps + 1, rows).astype(np.int32)


def looked_up(model, x, length=None, both=None):
    """What a model says behind labels of one source: ln p of each class, and the attention paid at each step so far."""
    known = {}

    def ask(labels):
        if labels not in known:
            rows = [x[None], np.array([labels], np.int32)]
            lengths = None if length is None else {"source": [length]}
            y = (both or model).predict(rows, lengths=lengths)
            p, paid = y if both else (y, None)
            with np.errstate(divide="ignore"):
                p = np.log(p[0, -1].astype(np.float64))
            known[labels] = (p, None if paid is None else paid[0, :, :length].astype(np.float64))
        return known[labels]

    return ask


def penalised(log_p, count, paid, length_penalty, coverage_penalty):
    covered = (
        0.0 if paid is None else np.log(np.minimum(np.maximum(paid.sum(axis=0), np.finfo(np.float32).tiny), 1)).sum()
    )
    return log_p / ((5 + count) / 6) ** length_penalty + coverage_penalty * covered


def search(ask, prefix=(), steps=5, beam_width=1, length_penalty=0.0, coverage_penalty=0.0, early_stop=False, end=END):
    """A beam search, of (labels, score), the best first."""
    beams, ended = [((), 0.0)], []

    def finish(labels, log_p, count):
        # What was paid until the last label was known, the end or one more.
        paid = ask((START, *prefix, *labels[: count - 1]))[1]
        ended.append((labels, penalised(log_p, count, paid, length_penalty, coverage_penalty)))
        ended.sort(key=lambda path: -path[1])
        del ended[beam_width:]

    while beams:
        candidates = []
        for labels, log_p in beams:
            for k, more in enumerate(ask((START, *prefix, *labels))[0]):
                candidates.append(((*labels, k), log_p + more))
        candidates.sort(key=lambda c: -c[1])
        beams = []
        for rank, (labels, log_p) in enumerate(candidates):
            if labels[-1] == end:
                if rank < beam_width:
                    finish(labels[:-1], log_p, len(labels))
            elif len(beams) < beam_width:
                beams.append((labels, log_p))
        if beam_width == 1 and ended:
            break
        best = max(log_p for _, log_p in beams)
        full = len(ended) == beam_width
        if full and (early_stop or best / ((5 + steps) / 6) ** length_penalty <= ended[-1][1]):
            break
        if len(beams[0][0]) == steps:
            for labels, log_p in beams:
                finish(labels, log_p, steps)
            break
    return ended


def check(model, x, lengths, both=None, prefix=None, **options):
    options.setdefault("steps", 5)
    labels, scores = model.decode(x, lengths=lengths, top_paths=options.get("beam_width", 1), prefix=prefix, **options)
    assert labels.dtype == np.int32
    assert scores.dtype == np.float64
    for row in range(len(x)):
        ask = looked_up(model.model, x[row], None if lengths is None else int(lengths[row]), both)
        expected = search(ask, () if prefix is None else tuple(prefix[row]), **options)
        found = [tuple(path[row][path[row] != -1].tolist()) for path in labels]
        there = [path for path, score in zip(found, scores[row], strict=True) if np.isfinite(score)]
        assert there == [path for path, _ in expected]
        np.testing.assert_allclose(scores[row, : len(expected)], [s for _, s in expected], rtol=1e-5, atol=1e-5)
        assert (scores[row, len(expected) :] == -np.inf).all()
    return labels, scores


@pytest.mark.parametrize("kind", MODELS)
def test_decoding_is_a_search_over_what_predict_says(kind, isa):
    x, lengths = sources(3)
    for width in (1, 3):
        check(made(kind), x, lengths, beam_width=width)


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize(
    "options", [{}, {"length_penalty": 0.7}, {"early_stop": True}, {"length_penalty": 2.0, "steps": 3}], ids=str
)
def test_beams_of_every_width(width, options):
    x, lengths = sources(3, seed=2)
    check(made(seed=5, scale=2.0), x, lengths, beam_width=width, **options)


def test_a_long_sequence_may_still_be_the_best():
    """A row is not done while one that goes on could score more at its greatest length."""
    x, lengths = sources(12, seed=2)
    check(made(seed=1, scale=4.0), x, lengths, beam_width=2, length_penalty=4.0, steps=12)


@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize("coverage", [0.1, 1.0])
def test_coverage(width, coverage):
    model, both = with_scores()
    x, lengths = sources(4, seed=3)
    for length_penalty in (0.0, 1.0):
        check(model, x, lengths, both, beam_width=width, coverage_penalty=coverage, length_penalty=length_penalty)
    # The more it counts, the other the best are.
    without = model.decode(x, lengths, beam_width=4, steps=5)[0]
    assert (
        without.shape != (got := model.decode(x, lengths, beam_width=4, steps=5, coverage_penalty=5.0)[0]).shape
        or (got != without).any()
    )


def test_steps_that_nothing_is_paid_to_count():
    model, both = with_scores(sharpness=300.0)
    x, lengths = sources(4, seed=3)
    paid = both.predict([x, np.zeros((4, 1), np.int32)], lengths={"source": lengths})[1]
    assert any((row[0, :count] == 0).any() for row, count in zip(paid, lengths, strict=True))
    check(model, x, lengths, both, beam_width=3, coverage_penalty=0.3)


def test_coverage_by_the_name_of_a_layer():
    model, _ = with_scores()
    x, lengths = sources(4, seed=3)
    named = rekur.Seq2Seq(model.model, START, END, attention="attention")
    for found, expected in zip(
        named.decode(x, lengths, beam_width=3, coverage_penalty=1.0),
        model.decode(x, lengths, beam_width=3, coverage_penalty=1.0),
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("covered", [False, True])
@pytest.mark.parametrize("kind", ["dot", "general", "concat", "bahdanau"])
def test_coverage_of_attention_within_the_step(kind, covered):
    source = layers.Input((None,), dtype="int32", name="source")
    before = layers.Input((None,), dtype="int32", name="before")
    x, z = embedded(source, before)
    memory, h, c = layers.LSTM(7, return_sequences=True, return_state=True)(x)
    decoder = layers.AttentionRNN(
        layers.LSTMCell(7), kind, coverage=covered, return_sequences=True, return_attention_scores=True, name="decoder"
    )
    y, paid = decoder(z, memory, initial_state=[h, c])
    inner = weighted(rekur.Model([source, before], layers.Dense(CLASSES, "softmax")(y), seed=1), 1)
    both = rekur.Model([source, before], [*inner.outputs, paid])
    model = rekur.Seq2Seq(inner, START, END, attention="decoder")
    x, lengths = sources(3, seed=3)
    labels, scores = check(model, x, lengths, both, beam_width=3, coverage_penalty=0.7, length_penalty=0.5)
    holes, mask = np.zeros((3, 12), np.int32), np.zeros((3, 12), bool)
    holes[:, ::2], mask[:, ::2] = x, np.arange(6) < lengths[:, None]
    options = {"beam_width": 3, "top_paths": 3, "coverage_penalty": 0.7, "length_penalty": 0.5, "steps": 5}
    for found, right in zip(model.decode(holes, mask=mask, **options), (labels, scores), strict=True):
        np.testing.assert_array_equal(found, right)


def test_steps_that_are_not_there_are_not_covered():
    """Neither those that pad a row to the longest, nor those that a mask leaves out."""
    model, _ = with_scores()
    x, lengths = sources(4, seed=3)
    options = {"beam_width": 3, "coverage_penalty": 0.5, "length_penalty": 0.5, "top_paths": 3}
    labels, scores = model.decode(x, lengths, **options)
    longer = np.concatenate([x, np.zeros((4, 40), np.int32)], axis=1)
    for found, expected in zip(model.decode(longer, lengths, **options), (labels, scores), strict=True):
        np.testing.assert_array_equal(found, expected)
    holes = np.zeros((4, 12), np.int32)
    holes[:, ::2] = x
    mask = np.zeros((4, 12), bool)
    mask[:, ::2] = np.arange(6) < lengths[:, None]
    for found, expected in zip(model.decode(holes, mask=mask, **options), (labels, scores), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_a_beam_that_is_wide_enough_finds_the_best(length_penalty):
    model, steps = made(seed=8, scale=2.0), 3
    x, _ = sources(2, seed=4)
    labels, scores = model.decode(x, beam_width=250, top_paths=250, steps=steps, length_penalty=length_penalty)
    for row in range(2):
        ask, every = looked_up(model.model, x[row]), []
        for count in range(steps + 1):
            for path in itertools.product([k for k in range(CLASSES) if k != END], repeat=count):
                whole = path if count == steps else (*path, END)
                log_p = sum(ask((START, *whole[:k]))[0][label] for k, label in enumerate(whole))
                every.append((penalised(log_p, len(whole), None, length_penalty, 0), path))
        every.sort(reverse=True)
        np.testing.assert_allclose(scores[row, : len(every)], [score for score, _ in every], atol=1e-5)
        assert (scores[row, len(every) :] == -np.inf).all()
        assert tuple(labels[0, row][labels[0, row] != -1]) == every[0][1]


@pytest.mark.parametrize("width", [1, 3])
def test_a_prefix_is_given(width):
    x, lengths = sources(3, seed=5)
    prefix = [[2, 3], [], [4, 1, 2]]  # the end among them, which ends nothing
    labels, scores = check(made(), x, lengths, prefix=prefix, beam_width=width)
    array = np.full((3, 4), -1)
    for row, given in zip(array, prefix, strict=True):
        row[: len(given)] = given
    for found, expected in zip(
        made().decode(x, lengths, prefix=array, beam_width=width, top_paths=width, steps=5),
        (labels, scores),
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)


def test_without_an_end_every_row_is_as_long():
    x, lengths = sources(3)
    labels, scores = made(end=None).decode(x, lengths, beam_width=3, top_paths=3, steps=4)
    for row in range(3):
        ask = looked_up(made().model, x[row], int(lengths[row]))
        expected = search(ask, steps=4, beam_width=3, end=-1)
        assert labels[:, row].tolist() == [list(path) for path, _ in expected]
        np.testing.assert_allclose(scores[row], [score for _, score in expected], rtol=1e-5, atol=1e-5)


def test_the_end_may_come_at_once():
    model = made()
    weights = model.model.get_weights()
    weights[-1][END] = 100
    model.model.set_weights(weights)
    x, lengths = sources(3)
    labels, scores = model.decode(x, lengths)
    assert labels.shape == (1, 3, 0)
    np.testing.assert_allclose(scores, 0, atol=1e-6)
    weights[-1][END] = -np.inf  # or never
    model.model.set_weights(weights)
    labels, _ = model.decode(x, lengths, steps=7, beam_width=2)
    assert labels.shape == (1, 3, 7)


@pytest.mark.parametrize("kind", ["states", "luong", "heads", "bahdanau", "vector"])
def test_rows_depend_on_nothing_but_themselves(kind, restore_threads):
    model = made(kind)
    x, lengths = sources(80)
    for options in ({}, {"beam_width": 3, "top_paths": 2, "length_penalty": 0.5}, {"sample": True, "seed": 2}):
        options["steps"] = 8
        expected, scores = model.decode(x, lengths, **options)
        for threads in (1, 2, 3):
            rekur.set_num_threads(threads)
            for found, right in zip(model.decode(x, lengths, **options), (expected, scores), strict=True):
                np.testing.assert_array_equal(found, right)
        few, some = model.decode(x[:3], lengths[:3], **options)
        np.testing.assert_array_equal(few, expected[:, :3, : few.shape[2]])
        np.testing.assert_array_equal(some, scores[:3])
        if "sample" in options:
            continue  # by the row's number
        one, score = model.decode(x[70:71, : lengths[70]], **options)
        np.testing.assert_array_equal(one[:, 0], expected[:, 70, : one.shape[2]])
        np.testing.assert_array_equal(score[0], scores[70])


@pytest.mark.parametrize("kind", MODELS)
def test_a_source_without_steps(kind):
    x, _ = sources(3)
    check(made(kind), x, np.array([0, 3, 6], np.int32), beam_width=2)


def test_logits_and_softmax_decode_alike():
    x, lengths = sources(5)
    for options in ({"beam_width": 3}, {}, {"sample": True, "seed": 1}):
        found, expected = (made(activation=a).decode(x, lengths, steps=9, **options) for a in (None, "softmax"))
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "settings", [{}, {"top_k": 3}, {"top_p": 0.8}, {"temperature": 0}, {"repetition_penalty": 2.0}], ids=str
)
def test_labels_are_drawn(settings):
    model = made(scale=2.0)
    x, lengths = sources(6)
    labels, scores = model.decode(x, lengths, steps=6, sample=True, seed=3, **settings)
    again, _ = model.decode(x, lengths, steps=6, sample=True, seed=3, **settings)
    np.testing.assert_array_equal(labels, again)
    for row in range(6):
        ask = looked_up(model.model, x[row], int(lengths[row]))
        path = tuple(labels[0, row][labels[0, row] != -1].tolist())
        whole = path if len(path) == 6 else (*path, END)
        log_p = sum(ask((START, *whole[:k]))[0][label] for k, label in enumerate(whole))
        np.testing.assert_allclose(scores[row, 0], log_p, rtol=1e-5, atol=1e-5)
    # Going on from some of it goes on with the rest.
    prefix = [row[:2][row[:2] >= 0] for row in labels[0]]
    rest, _ = model.decode(x, lengths, steps=4, sample=True, seed=3, prefix=prefix, **settings)
    for row in range(6):
        if (labels[0, row, :2] >= 0).all():
            got, right = rest[0, row], labels[0, row, 2:]
            np.testing.assert_array_equal(got[got >= 0], right[right >= 0])


def test_drawn_as_often_as_probable():
    model = made(scale=2.0)
    x, _ = sources(1)
    labels, _ = model.decode(np.repeat(x, 4000, 0), steps=1, sample=True, seed=4)
    p = np.exp(looked_up(model.model, x[0])((START,))[0])
    seen = np.bincount(labels[0, :, 0][labels[0, :, 0] >= 0], minlength=CLASSES)
    seen[END] = (labels[0, :, 0] == -1).sum()
    np.testing.assert_allclose(seen / 4000, p, atol=5 * 0.5 / np.sqrt(4000))


def two_sources():
    a = layers.Input((None,), dtype="int32", name="source")
    b = layers.Input((None, 3), name="other")
    before = layers.Input((None,), dtype="int32", name="before")
    x, z = embedded(a, before)
    one = layers.GRU(7, return_sequences=True, name="one")(x)
    other, h = layers.GRU(7, return_sequences=True, return_state=True, name="two")(b)
    y = layers.GRU(7, return_sequences=True, name="decoder")(z, initial_state=h)
    y = layers.Concatenate()([layers.Attention()([y, one]), layers.Attention()([y, other]), y])
    model = rekur.Model([a, before, b], layers.Dense(CLASSES, "softmax")(y), seed=1)
    return rekur.Seq2Seq(weighted(model, 1), START, END, labels="before")


def test_two_sources():
    model = two_sources()
    x, lengths = sources(3)
    other = np.random.default_rng(1).normal(size=(3, 4, 3)).astype(np.float32)
    both = {"source": lengths, "other": [4, 2, 1]}
    labels, scores = model.decode([x, other], both, beam_width=3, steps=5)
    named = model.decode({"other": other, "source": x}, both, beam_width=3, steps=5)
    np.testing.assert_array_equal(named[0], labels)
    for row in range(3):
        path = labels[0, row][labels[0, row] >= 0].tolist()
        whole = path if len(path) == 5 else [*path, END]
        p = model.model.predict(
            {"source": x[row : row + 1], "other": other[row : row + 1], "before": np.array([[START, *whole[:-1]]])},
            lengths={"source": lengths[row : row + 1], "other": [both["other"][row]]},
        )
        np.testing.assert_allclose(scores[row, 0], np.log(p[0, range(len(whole)), whole]).sum(), rtol=1e-5, atol=1e-5)
    targets = [[2, 3], [4], []]
    model.compile("adam")
    model.fit([x, other], targets, lengths=both, epochs=1, verbose=0)
    with pytest.raises(ValueError, match="decode: x: expected the 2 sources source, other"):
        model.decode(x)
    with pytest.raises(ValueError, match="decode: x: expected the sources source, other, got source"):
        model.decode({"source": x})
    with pytest.raises(ValueError, match="lengths: expected a dict by the names of the sources"):
        model.decode([x, other], lengths)


def test_masked_embeddings():
    """Zeros of the source are no steps; a label 0 is one none the less where the labels' embedding has no mask."""
    source = layers.Input((None,), dtype="int32", name="source")
    before = layers.Input((None,), dtype="int32", name="before")
    x = layers.Embedding(SOURCES, 5, mask_zero=True)(source)
    z = layers.Embedding(CLASSES, 5)(before)
    memory, h = layers.GRU(7, return_sequences=True, return_state=True)(x)
    y = layers.GRU(7, return_sequences=True)(z, initial_state=h)
    y = layers.Dense(CLASSES, "softmax")(layers.Concatenate()([y, layers.Attention()([y, memory])]))
    model = rekur.Seq2Seq(weighted(rekur.Model([source, before], y), 2), START, END)
    x = np.array([[3, 4, 5, 0, 0, 0], [1, 2, 3, 4, 5, 6]], np.int32)
    check(model, x, None, beam_width=2)
    alone = model.decode(x[:1, :3], beam_width=2, steps=5)
    both = model.decode(x, beam_width=2, steps=5)
    np.testing.assert_array_equal(both[1][0], alone[1][0])
    np.testing.assert_array_equal(both[0][0, 0, : alone[0].shape[2]], alone[0][0, 0])


# Training.


def task(rows=64, seed=0):
    """The source's labels of this alphabet, in the other order."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 5, rows).astype(np.int32)
    x = rng.integers(2, CLASSES, (rows, 4)).astype(np.int32)
    targets = [row[:n][::-1].tolist() for row, n in zip(x, lengths, strict=True)]
    return x, lengths, targets


def as_array(targets, width=6, fill=-1):
    found = np.full((len(targets), width), fill)
    for row, labels in zip(found, targets, strict=True):
        row[: len(labels)] = labels
    return found


def fresh(kind="luong", seed=3, end=END, activation="softmax"):
    model = made(kind, end=end, seed=seed, scale=1.0, activation=activation)
    model.compile(rekur.optimizers.Adam(0.01))
    return model


def weights_of(model):
    return np.concatenate([w.reshape(-1) for w in model.model.get_weights()])


def trained(*args, kind="luong", epochs=2, **options):
    model = fresh(kind)
    model.fit(*args, epochs=epochs, verbose=0, batch_size=16, **options)
    return weights_of(model)


def test_targets_as_lists_and_as_arrays():
    x, lengths, targets = task()
    expected = trained(x, targets, lengths)
    np.testing.assert_array_equal(trained(x, as_array(targets), lengths), expected)
    np.testing.assert_array_equal(trained(x, [np.array(row, np.int64) for row in targets], lengths), expected)
    with_end = as_array([[*row, END] for row in targets], fill=3)  # what stands behind the end does not matter
    np.testing.assert_array_equal(trained(x, with_end, lengths), expected)
    np.testing.assert_array_equal(trained({"source": x}, targets, {"source": lengths}), expected)


def test_fit_is_the_models_own_with_teacher_forcing():
    x, lengths, targets = task()
    model = made("luong", scale=1.0)
    inner = model.model
    inner.compile(rekur.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    steps = max(map(len, targets)) + 1
    y = as_array([[*row, END] for row in targets], steps, END)
    before = as_array([[START, *row] for row in targets], steps, START)
    counts = [len(row) + 1 for row in targets]
    inner.fit([x, before], y, lengths={"source": lengths, "before": counts}, epochs=2, verbose=0, batch_size=16)
    np.testing.assert_array_equal(weights_of(model), trained(x, targets, lengths))


@pytest.mark.parametrize("activation", ["softmax", None])
def test_a_task_is_learnt(activation):
    x, lengths, targets = task(400)
    model = fresh("bahdanau", activation=activation)
    history = model.fit(x, targets, lengths, epochs=40, verbose=0, validation_data=(x[:50], targets[:50], lengths[:50]))
    assert {"loss", "val_loss"} <= set(history.history)
    loss = model.evaluate(x[:50], targets[:50], lengths[:50], verbose=0)
    np.testing.assert_allclose(loss, history.history["val_loss"][-1], rtol=1e-5)
    labels, _ = model.decode(x, lengths, beam_width=2, steps=6)
    found = [row[row >= 0].tolist() for row in labels[0]]
    assert np.mean([a == b for a, b in zip(found, targets, strict=True)]) > 0.95


def test_scheduled_sampling_of_nothing_is_plain_training():
    x, lengths, targets = task()
    np.testing.assert_array_equal(
        trained(x, targets, lengths, scheduled_sampling=lambda epoch: 0.0), trained(x, targets, lengths)
    )
    np.testing.assert_array_equal(
        trained(x, targets, lengths, scheduled_sampling=lambda epoch: 0.0, shuffle=False),
        trained(x, targets, lengths, shuffle=False),
    )


def test_scheduled_sampling_reads_own_labels(monkeypatch):
    x, lengths, targets = task()
    seen = []
    original = Scheduled.__getitem__

    def watch(self, index):
        batch = original(self, index)
        seen.append((self._rows_of(index), batch))
        return batch

    monkeypatch.setattr(Scheduled, "__getitem__", watch)
    rates = []

    def rate(epoch):
        rates.append(epoch)
        return (0.0, 0.5, 1.0)[epoch]

    rekur.set_random_seed(1)
    trained(x, targets, lengths, epochs=3, scheduled_sampling=rate)
    assert set(rates) == {0, 1, 2}
    counts = np.array([len(row) + 1 for row in targets])
    right = as_array([[START, *row] for row in targets], max(counts), START)
    changed = {0: [], 1: [], 2: []}
    for k, (rows, batch) in enumerate(seen[: 3 * 4]):
        read = batch.x["before"] if isinstance(batch.x, dict) else batch.x[1]
        assert (read[:, 0] == START).all()
        inside = np.arange(right.shape[1])[None] < counts[rows][:, None]
        inside[:, 0] = False
        assert (read == right[rows])[~inside].all()
        changed[k // 4].append((read != right[rows])[inside])
    share = {epoch: np.concatenate(found).mean() for epoch, found in changed.items()}
    assert share[0] == 0
    # Of an untrained model's labels some are right by chance.
    assert 0.2 < share[1] < share[2] < 0.95


def test_scheduled_sampling_goes_by_the_seed_of_the_model():
    x, lengths, targets = task()
    found = []
    for elsewhere in (1, 2):
        rekur.set_random_seed(elsewhere)
        found.append(trained(x, targets, lengths, scheduled_sampling=0.7))
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != trained(x, targets, lengths)).any()


@pytest.mark.parametrize("kind", ["luong", "dot", "states"])
def test_scheduled_sampling_learns_too(kind):
    x, lengths, targets = task(200)
    model = fresh(kind)
    history = model.fit(x, targets, lengths, epochs=8, verbose=0, scheduled_sampling=lambda e: 0.05 * e)
    assert history.history["loss"][-1] < 0.8 * history.history["loss"][0]


def test_options_reach_the_model():
    x, lengths, targets = task()
    plain = trained(x, targets, lengths)
    weighted_rows = trained(x, targets, lengths, sample_weight=np.linspace(0, 2, 64).astype(np.float32))
    assert (plain != weighted_rows).any()
    by_class = trained(x, targets, lengths, class_weight={END: 3.0})
    assert (plain != by_class).any()
    split = fresh().fit(x, targets, lengths, epochs=1, verbose=0, validation_split=0.25)
    assert "val_loss" in split.history
    calls = []
    fresh().fit(
        x,
        targets,
        lengths,
        epochs=2,
        verbose=0,
        callbacks=[rekur.callbacks.LambdaCallback(on_epoch_end=lambda *a: calls.append(1))],
    )
    assert len(calls) == 2


@pytest.mark.parametrize("shuffle", [True, False])
def test_options_reach_the_model_with_scheduled_sampling(shuffle):
    x, lengths, targets = task()
    for options in ({"sample_weight": np.linspace(0, 2, 64).astype(np.float32)}, {"class_weight": {END: 3.0}}):
        options["shuffle"] = shuffle
        np.testing.assert_array_equal(
            trained(x, targets, lengths, scheduled_sampling=lambda epoch: 0.0, **options),
            trained(x, targets, lengths, **options),
        )
    mask = np.arange(4) < lengths[:, None]
    by_mask = trained(x, targets, mask=mask, scheduled_sampling=lambda epoch: 0.0)
    np.testing.assert_array_equal(by_mask, trained(x, targets, mask=mask))
    with pytest.raises(ValueError, match="fit: validation_split: with scheduled_sampling"):
        trained(x, targets, lengths, scheduled_sampling=0.5, validation_split=0.5)
    with pytest.raises(ValueError, match="fit: sample_weight: expected 64 rows, got 3"):
        trained(x, targets, lengths, scheduled_sampling=0.5, sample_weight=np.ones(3))


# Files.


def test_pickled_and_copied():
    model = made()
    x, lengths = sources(4)
    expected = model.decode(x, lengths, beam_width=2)
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model), copy.copy(model)):
        for found, right in zip(other.decode(x, lengths, beam_width=2), expected, strict=True):
            np.testing.assert_array_equal(found, right)


def test_saved_and_loaded(tmp_path):
    model, _ = with_scores()
    x, lengths = sources(4)
    path = tmp_path / "m.safetensors"
    model.save(path)
    loaded = rekur.Seq2Seq.load(path)
    assert (loaded.start, loaded.end, loaded.classes) == (START, END, CLASSES)
    options = {"beam_width": 3, "coverage_penalty": 0.3, "top_paths": 2}
    for a, b in zip(loaded.decode(x, lengths, **options), model.decode(x, lengths, **options), strict=True):
        np.testing.assert_array_equal(a, b)
    before = np.zeros((4, 2), np.int32)
    np.testing.assert_array_equal(rekur.load(path).predict([x, before]), model.model.predict([x, before]))
    other = tmp_path / "plain.safetensors"
    made().model.save(other)
    with pytest.raises(ValueError, match="was not saved by Seq2Seq"):
        rekur.Seq2Seq.load(other)
    with pytest.raises(OSError, match="missing"):
        rekur.Seq2Seq.load(tmp_path / "missing.safetensors")


@pytest.mark.parametrize("kind", ["luong", "states", "heads", "concat", "vector"])
def test_halves_are_models(tmp_path, kind):
    model = made(kind)
    x, _ = sources(3)
    model.save_halves(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    encoder, decoder = rekur.load(tmp_path / "a.safetensors"), rekur.load(tmp_path / "b.safetensors")
    read = np.random.default_rng(1).integers(0, CLASSES, (3, 4)).astype(np.int32)
    given = encoder.predict(x)
    given = given if isinstance(given, list) else [given]
    np.testing.assert_array_equal(decoder.predict([read, *given]), model.model.predict([x, read]))
    names = [port.name for port in decoder._ports()[0][1:]]
    whole = [port.name for port in decoder._ports()[0][1:] if port.timed or kind == "vector"]
    stream = rekur.Stream(decoder, 3, whole)
    stream.begin(dict(zip(names, given, strict=True)))
    np.testing.assert_array_equal(stream.process(read), model.model.predict([x, read]))
    with pytest.raises(ValueError, match="save_halves"):
        model.save_halves(tmp_path / "a.onnx", tmp_path / "b.safetensors")


def test_weights_are_those_of_now():
    model = made()
    x, lengths = sources(4)
    before = model.decode(x, lengths, beam_width=2)
    weights = model.model.get_weights()
    weighted(model.model, 77)
    changed = model.decode(x, lengths, beam_width=2)
    assert before[1].tolist() != changed[1].tolist()
    model.model.set_weights(weights)
    np.testing.assert_array_equal(model.decode(x, lengths, beam_width=2)[1], before[1])


# Mistakes.


def test_no_rows():
    labels, scores = made().decode(np.zeros((0, 3), np.int32), beam_width=2, top_paths=2)
    assert labels.shape == (2, 0, 0)
    assert scores.shape == (0, 2)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("options", [{}, {"beam_width": 3}, {"sample": True}], ids=str)
@pytest.mark.parametrize("activation", ["softmax", None])
def test_what_is_no_number_is_refused(value, options, activation):
    model = made(activation=activation)
    weights = model.model.get_weights()
    weights[-1][2] = value
    model.model.set_weights(weights)
    with pytest.raises(ValueError, match=r"decode: row 0: what the model gives for label 0 is no probability"):
        model.decode(sources(2)[0], **options)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"steps": 0}, ValueError, "decode: steps"),
        ({"steps": 1.5}, TypeError, "decode: steps"),
        ({"beam_width": 0}, ValueError, "decode: beam_width"),
        ({"top_paths": 0}, ValueError, "decode: top_paths"),
        ({"top_paths": 2}, ValueError, "top_paths must be from 1 to the beam width, 1, got 2"),
        ({"length_penalty": -1}, ValueError, "decode: length_penalty"),
        ({"length_penalty": np.nan}, ValueError, "decode: length_penalty"),
        ({"coverage_penalty": -1}, ValueError, "decode: coverage_penalty"),
        ({"coverage_penalty": 1}, ValueError, "coverage_penalty: the model has no output that is known"),
        ({"early_stop": 1}, TypeError, "decode: early_stop"),
        ({"sample": 1}, TypeError, "decode: sample"),
        ({"sample": True, "beam_width": 2}, ValueError, "beam_width must be 1"),
        ({"sample": True, "temperature": -1}, ValueError, "decode: temperature"),
        ({"sample": True, "seed": -1}, ValueError, "decode: seed"),
        ({"prefix": [[1]]}, ValueError, "decode: prefix: expected 2 rows, got 1"),
        ({"prefix": [[1], [6]]}, ValueError, "decode: prefix: expected labels from 0 to 5, got 6 in row 1"),
        ({"prefix": [[1.5], [2]]}, TypeError, "decode: prefix"),
        ({"lengths": [3, 7]}, ValueError, "length"),
        ({"lengths": [3]}, ValueError, "length"),
        ({"lengths": {"before": [1, 1]}}, ValueError, "lengths"),
        ({"lengths": {"x": [1, 1]}}, ValueError, "x"),
        ({"mask": np.ones((2, 5), bool)}, ValueError, "mask"),
    ],
)
def test_mistakes_in_decoding(options, error, message):
    with pytest.raises(error, match=message):
        made().decode(sources(2)[0], **options)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros((2, 3, 4), np.int32), ValueError, "source"),
        (np.full((2, 3), 0.5), TypeError, "source"),
        ({"src": np.zeros((2, 3), np.int32)}, ValueError, "decode: x: expected the sources source, got src"),
        (None, (TypeError, ValueError), "source"),
    ],
)
def test_mistakes_in_sources(x, error, message):
    with pytest.raises(error, match=message):
        made().decode(x)


@pytest.mark.parametrize(
    ("x", "y", "options", "error", "message"),
    [
        ([[1, 2], [3, 4]], [[2]], {}, ValueError, "rows|samples"),
        ([[1, 2]], [[6]], {}, ValueError, "fit: y: expected labels from 0 to 5, got 6 in row 0"),
        ([[1, 2]], [[2.5]], {}, TypeError, "fit: y"),
        ([[1, 2]], np.zeros((1, 2, 3), int), {}, ValueError, "fit: y: expected labels of shape"),
        ([[1, 2]], [[2]], {"scheduled_sampling": 1.5}, ValueError, "scheduled_sampling"),
        ([[1, 2]], [[2]], {"scheduled_sampling": lambda e: 2.0}, ValueError, "scheduled_sampling"),
        ([[1, 2]], [[2]], {"scheduled_sampling": "x"}, TypeError, "scheduled_sampling"),
        ([[1, 2]], [[2]], {"lengths": {"before": [1]}}, ValueError, "how long targets are, they say themselves"),
        ([[1, 2]], [[2]], {"validation_data": [1]}, ValueError, "fit: validation_data"),
    ],
)
def test_mistakes_in_training(x, y, options, error, message):
    with pytest.raises(error, match=message):
        fresh().fit(np.array(x, np.int32), y, verbose=0, **options)


def test_targets_without_labels():
    with pytest.raises(ValueError, match="a row without labels has nothing to be learnt"):
        fresh(end=None).fit(np.array([[1, 2]], np.int32), [[]], verbose=0)


def test_models_of_another_kind():
    source = layers.Input((None,), dtype="int32", name="source")
    before = layers.Input((None,), dtype="int32", name="before")
    x, z = embedded(source, before)
    y = layers.Dense(CLASSES, "softmax")(layers.GRU(4, return_sequences=True)(z))
    good = made().model
    with pytest.raises(TypeError, match="Seq2Seq: expected a model"):
        rekur.Seq2Seq("m", 0)
    with pytest.raises(ValueError, match="expected a model of two inputs or more"):
        rekur.Seq2Seq(rekur.Model(before, y), 0)
    with pytest.raises(ValueError, match="labels: no input of the model is named 'x'; there are source, before"):
        rekur.Seq2Seq(good, 0, labels="x")
    with pytest.raises(ValueError, match="Seq2Seq: start: expected a label below 6, got 6"):
        rekur.Seq2Seq(good, 6)
    with pytest.raises(ValueError, match="Seq2Seq: end"):
        rekur.Seq2Seq(good, 0, -1)
    with pytest.raises(TypeError, match="Seq2Seq: start"):
        rekur.Seq2Seq(good, 0.5)
    with pytest.raises(
        ValueError, match="attention: expected a tensor of the model or the name of a layer, got 'what'"
    ):
        rekur.Seq2Seq(good, 0, attention="what")
    with pytest.raises(ValueError, match="layer 'attention' was made without return_attention_scores=True"):
        rekur.Seq2Seq(good, 0, attention="attention")
    with pytest.raises(TypeError, match="Seq2Seq: from_logits"):
        rekur.Seq2Seq(good, 0, from_logits="yes")
    with pytest.raises(ValueError, match=r"expected one output of shape \(B, T, classes\)"):
        rekur.Seq2Seq(rekur.Model([source, before], [y, z]), 0)
    floats = layers.Input((None, 3), name="floats")
    with pytest.raises(ValueError, match=r"expected ids of shape \(B, T\)"):
        rekur.Seq2Seq(rekur.Model([source, floats], layers.Dense(3)(layers.Add()([layers.Dense(3)(x), floats]))), 0)
    backwards = layers.GRU(4, return_sequences=True, go_backwards=True)(z)
    both = layers.Dense(CLASSES)(layers.Attention()([backwards, layers.GRU(4, return_sequences=True)(x)]))
    with pytest.raises(ValueError, match=r"backwards|reverse|begin"):
        rekur.Seq2Seq(rekur.Model([source, before], both), 0).decode(sources(2)[0])
    independent = layers.Dense(CLASSES)(layers.GRU(4, return_sequences=True)(x))
    with pytest.raises(ValueError, match="does not depend on its input 'before'"):
        rekur.Seq2Seq(rekur.Model([source, before], independent), 0).decode(sources(2)[0])


def test_a_stream_whose_step_takes_memory_is_refused():
    x, memory = layers.Input((None, 3), name="x"), layers.Input((None, 4), name="memory")
    loop = layers.AttentionRNN(layers.GRUCell(4), "dot", coverage=True, return_sequences=True)
    keys = layers.Input((None, 4), name="keys")
    inside = next(n for n in rekur.Model([x, memory], loop(x, memory)).spec["layers"] if n["type"] == "Loop")
    held = layers.Loop(inside["body"], states=inside["states"], return_sequences=True)
    model = rekur.Model([x, memory, keys], held([x, memory, keys]))
    with pytest.raises(ValueError, match="a state as long as a whole input, such as coverage, whose step takes memory"):
        rekur.Stream(model, whole=["memory", "keys"])


@pytest.mark.parametrize("kind", ["covered", "covered_before", "dot"])
def test_a_sentence_that_ends_leaves_the_others_their_memory(kind):
    """One ends in the step in which others widen: as many rows as before, and others."""
    model = made(kind)
    x, lengths = sources(6, seed=5)
    prefix = [[], [3, 4, 5], [5, 4, 3], [], [4], [3, 3]]
    options = {"beam_width": 2, "steps": 4}
    labels, scores = model.decode(x, lengths, prefix=prefix, **options)
    for row in range(6):
        alone = model.decode(x[row : row + 1], lengths[row : row + 1], prefix=prefix[row : row + 1], **options)
        np.testing.assert_array_equal(alone[1][0], scores[row])
        np.testing.assert_array_equal(alone[0][0, 0], labels[0, row, : alone[0].shape[2]])


def test_decoding_is_in_the_precision_of_compile():
    model = made("luong")
    plain = model.decode(*sources(5), steps=5)[1]
    model.compile(precision="bf16")
    x, lengths = sources(5)
    labels, scores = model.decode(x, lengths, steps=5)
    assert (scores != plain).any()
    for row in range(5):
        path = [int(label) for label in labels[0, row] if label >= 0]
        path += [END] if len(path) < 5 else []
        p = model.model.predict(
            [x[row : row + 1], np.array([[START, *path[:-1]]])], lengths={"source": lengths[row : row + 1]}
        )
        log_p = np.log(p[0, np.arange(len(path)), path].astype(np.float64)).sum()
        assert scores[row, 0] == pytest.approx(log_p, abs=1e-4)


def test_stateful_layers_and_attention_of_the_encoder_are_refused():
    source = layers.Input((None,), dtype="int32", name="source", batch_size=2)
    before = layers.Input((None,), dtype="int32", name="before", batch_size=2)
    x, z = embedded(source, before)
    h = layers.GRU(7, stateful=True)(x)
    y = layers.Dense(CLASSES, "softmax")(layers.GRU(7, return_sequences=True)(z, initial_state=h))
    model = rekur.Seq2Seq(rekur.Model([source, before], y), START, END)
    with pytest.raises(ValueError, match="is stateful, and every decoding begins anew"):
        model.decode(np.zeros((2, 3), int))
    good = made("luong")
    inner = good.model
    wrong = rekur.Seq2Seq(inner, START, END, attention=inner.get_layer("encoder").output[0])
    with pytest.raises(ValueError, match="does not depend on the labels so far"):
        wrong.decode(*sources(2))
