"""Error rates, BLEU, perplexity: by hand, by a table of distances, and the peers that are installed."""

import math
import random
import warnings

import numpy as np
import pytest

import rekur
from rekur import layers, metrics, sequences


def _distance(a, b):
    table = np.zeros((len(a) + 1, len(b) + 1), int)
    table[:, 0], table[0] = range(len(a) + 1), range(len(b) + 1)
    for i, x in enumerate(a, 1):
        for j, y in enumerate(b, 1):
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (x != y))
    return table[-1, -1]


def _texts(count, seed=0, letters="abc ", most=12):
    draw = random.Random(seed)
    return ["".join(draw.choice(letters) for _ in range(draw.randint(0, most))) for _ in range(count)]


def test_edit_distances_are_those_of_the_table():
    a, b = _texts(200), _texts(200, 1)
    np.testing.assert_array_equal(sequences.edit_distance(a, b), [_distance(x, y) for x, y in zip(a, b, strict=True)])
    assert sequences.edit_distance(["kitten", ""], ["sitting", "abc"]).tolist() == [3, 3]
    assert sequences.edit_distance([np.array([1, 2, 3]), ("a", 1)], [[1, 3], ["a", "1"]]).tolist() == [1, 1]
    assert sequences.edit_distance([], []).shape == (0,)
    before = rekur.num_threads()
    try:
        rekur.set_num_threads(2)
        long = _texts(9, 2, most=400)
        found = sequences.edit_distance(long, long[::-1])
        rekur.set_num_threads(1)
        np.testing.assert_array_equal(sequences.edit_distance(long, long[::-1]), found)
    finally:
        rekur.set_num_threads(before)
    np.testing.assert_array_equal(found, [_distance(x, y) for x, y in zip(long, long[::-1], strict=True)])


def test_error_rates_are_of_all_pairs_together():
    true, pred = ["the cat sat", "on a mat"], ["the cat", "on the big mat"]
    assert metrics.WordErrorRate()(true, pred) == (1 + 2) / 6
    assert metrics.CharacterErrorRate()(true, pred) == (_distance(true[0], pred[0]) + _distance(true[1], pred[1])) / 19
    one = metrics.EditDistance()
    one.update_state(true[:1], pred[:1])
    one.update_state(true[1:], pred[1:])
    assert one.result() == metrics.CharacterErrorRate()(true, pred)
    assert metrics.EditDistance(normalize=False)([[1, 2], [3]], [[1], [3]]) == 0.5
    one.reset_state()
    assert one.result() == 0
    assert metrics.CharacterErrorRate()([""], [""]) == 0
    assert metrics.CharacterErrorRate()([""], ["a"]) == math.inf
    assert metrics.get("cer").larger_is_better is False
    assert metrics.get("word_error_rate")(["a b"], ["a"]) == 0.5
    assert metrics.get(metrics.EditDistance(False).config()).normalize is False


def test_tensors_are_their_numbers():
    torch = pytest.importorskip("torch")
    a, b = torch.tensor([1, 2, 3]), torch.tensor([1, 3, 3])
    for first, second in (([a], [b]), ([list(a)], [list(b)]), (a[None], b[None]), ([a.numpy()], [b])):
        assert sequences.edit_distance(first, second).tolist() == [1]
        assert metrics.CharacterErrorRate()(first, second) == pytest.approx(1 / 3)
        assert metrics.BLEU(1)(first, second) == pytest.approx(2 / 3)
    assert metrics.BLEU(1)([[a, b]], [b]) == 1


def test_bleu_by_hand():
    true, pred = ["the cat is on the mat"], ["the cat the cat on the mat"]
    # unigrams: the (2 of 3), cat (1 of 2), on, mat: 5 of 7; bigrams: the cat, on the, the mat: 3 of 6
    expected = math.exp((math.log(5 / 7) + math.log(3 / 6)) / 2)
    assert metrics.BLEU(2)(true, pred) == pytest.approx(expected)
    short = ["the cat"]
    assert metrics.BLEU(2, "none")(true, short) == pytest.approx(math.exp(1 - 6 / 2))
    assert metrics.BLEU(4, "none")(true, pred) == 0
    assert metrics.BLEU()([["one", "two"]], [["one", "two"]]) == 0  # no n-gram of three
    assert metrics.BLEU(2)([[["one", "two"], ["two", "one"]]], [["two", "one"]]) == 1
    assert metrics.BLEU(2)([["one two", "two one"]], ["two one"]) == 1
    assert metrics.BLEU(1, tokenizer=list)(["abc"], ["abd"]) == pytest.approx(2 / 3)
    assert metrics.BLEU()([], []) == 0


def test_perplexity_and_bits():
    rng = np.random.default_rng(0)
    logits, y, weight = rng.normal(size=(4, 6, 5)), rng.integers(0, 5, (4, 6)), rng.random((4, 6))
    p = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    nats = -np.log(np.take_along_axis(p, y[..., None], axis=-1)[..., 0])
    assert metrics.Perplexity()(y, p) == pytest.approx(math.exp(nats.mean()))
    assert metrics.Perplexity(from_logits=True)(y, logits) == pytest.approx(math.exp(nats.mean()))
    assert metrics.BitsPerCharacter(from_logits=True)(y, logits) == pytest.approx(nats.mean() / math.log(2))
    assert metrics.Perplexity()(y, p, weight) == pytest.approx(math.exp(np.average(nats, weights=weight)))
    assert metrics.Perplexity(ignore_class=2)(y, p) == pytest.approx(math.exp(nats[y != 2].mean()))
    assert metrics.Perplexity()(y, np.full((4, 6, 5), 0.2)) == pytest.approx(5)
    model = rekur.Sequential([layers.Dense(5, "softmax", input_shape=(6, 5))], seed=1)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["perplexity", metrics.BitsPerCharacter()])
    loss, perplexity, bits = model.evaluate(logits, y)
    assert perplexity == pytest.approx(math.exp(loss), rel=1e-5)
    assert bits == pytest.approx(loss / math.log(2), rel=1e-5)


def test_perplexities_beyond_what_a_double_holds():
    logits = np.array([[0, 2000.0, 0], [0, 2000.0, 0]])
    assert metrics.Perplexity(from_logits=True)([0, 2], logits) == math.inf
    assert metrics.BitsPerCharacter(from_logits=True)([0, 2], logits) == pytest.approx(2000 / math.log(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert math.isnan(metrics.Perplexity()([0, 1], np.zeros((2, 2))))
        assert math.isnan(metrics.Perplexity(from_logits=True)([0], np.full((1, 2), -np.inf)))


def test_perplexity_refuses_what_it_would_misread():
    p = np.full((3, 4), 0.25)
    for y in ([0, 1, -1], [0, 1, 4], [0.0, 1.0, 1.5], [0.0, 1.0, np.nan]):
        with pytest.raises(ValueError, match=r"metric 'perplexity': expected class indices from 0 to 3, got"):
            metrics.Perplexity()(y, p)
    assert metrics.Perplexity(ignore_class=-1)([0, 1, -1], p) == pytest.approx(4)
    assert metrics.Perplexity()([[0], [1], [2]], p) == pytest.approx(4)
    with pytest.raises(ValueError, match=r"got targets of shape \(3, 4\) beside outputs of shape \(3, 4\)"):
        metrics.Perplexity()(np.eye(4)[:3], p)
    with pytest.raises(ValueError, match="expected class indices and outputs of a number a class"):
        metrics.Perplexity()([0, 1, 1], p[:, :1])
    with pytest.raises(ValueError, match=r"bits_per_character.*expected probabilities, got -1; from_logits=True"):
        metrics.BitsPerCharacter()([0], np.array([[2.0, -1.0]]))
    model = rekur.Sequential([layers.Dense(4, "softmax", input_shape=(6, 5))], seed=1)
    loss = rekur.losses.SparseCategoricalCrossentropy(ignore_class=-1)
    x, y = np.ones((2, 6, 5)), np.full((2, 6), -1)
    y[0] = 2
    model.compile("sgd", loss, metrics=["perplexity"])
    with pytest.raises(ValueError, match="ignore_class= names one that stands for no target"):
        model.evaluate(x, y)
    model.compile("sgd", loss, metrics=[metrics.Perplexity(ignore_class=-1)])
    value, perplexity = model.evaluate(x, y)
    assert perplexity == pytest.approx(math.exp(value), rel=1e-5)


@pytest.mark.parametrize("name", ["cer", "wer", "bleu", "edit_distance"])
def test_compile_has_no_metrics_of_texts(name):
    model = rekur.Sequential([layers.Dense(4, "softmax", input_shape=(6, 5))], seed=1)
    for where in ("metrics", "weighted_metrics"):
        with pytest.raises(TypeError, match=f"metric '{name}' is none of compile: it compares texts or lists"):
            model.compile("sgd", "sparse_categorical_crossentropy", **{where: [name]})


@pytest.mark.parametrize("smoothing", ["exp", "floor", "add-k", "none"])
def test_sacrebleu_finds_the_same(smoothing):
    sacrebleu = pytest.importorskip("sacrebleu")
    true, other, pred = (_texts(40, seed, "ab ", 60) for seed in (1, 2, 3))
    for texts in ([true], [true, other]):
        for few in (pred, pred[:1], ["x y z"], ["a b"]):
            theirs = sacrebleu.BLEU(tokenize="none", smooth_method=smoothing)
            expected = theirs.corpus_score(few, [t[: len(few)] for t in texts]).score / 100
            references = [list(each) for each in zip(*(t[: len(few)] for t in texts), strict=True)]
            found = metrics.BLEU(smoothing=smoothing)(references, few)
            assert found == pytest.approx(expected, abs=1e-9)


def test_nltk_finds_the_same():
    bleu_score = pytest.importorskip("nltk.translate.bleu_score")
    true, pred = ([t.split() for t in _texts(30, seed, "ab ", 60)] for seed in (4, 5))
    theirs = bleu_score.corpus_bleu([[t] for t in true], pred)
    assert metrics.BLEU(smoothing="none")([[t] for t in true], pred) == pytest.approx(theirs, abs=1e-9)


def test_jiwer_finds_the_same():
    jiwer = pytest.importorskip("jiwer")
    true, pred = (["x" + t.strip() for t in _texts(60, seed, "abc ", 30)] for seed in (6, 7))
    true, pred = ([" ".join(t.split()) for t in texts] for texts in (true, pred))
    assert metrics.WordErrorRate()(true, pred) == pytest.approx(jiwer.wer(true, pred))
    assert metrics.CharacterErrorRate()(true, pred) == pytest.approx(jiwer.cer(true, pred))


def test_mistakes():
    with pytest.raises(TypeError, match="metric 'wer': y_true: expected a list of texts or of lists, got 'a b'"):
        metrics.WordErrorRate()("a b", ["a"])
    with pytest.raises(ValueError, match="metric 'cer': expected as many of both, got 1 and 2"):
        metrics.CharacterErrorRate()(["a"], ["a", "b"])
    with pytest.raises(TypeError, match="metric 'bleu': it takes no weights"):
        metrics.BLEU()(["a"], ["a"], [1.0])
    with pytest.raises(ValueError, match="smoothing: expected one of none, floor, add-k, exp, got 'half'"):
        metrics.BLEU(smoothing="half")
    with pytest.raises(TypeError, match="tokenizer: expected a function of a text"):
        metrics.BLEU(tokenizer="13a")
    with pytest.raises(TypeError, match="edit_distance: expected lists of sequences, got a text"):
        sequences.edit_distance("a", ["a"])
    with pytest.raises(ValueError, match="edit_distance: expected as many of both, got 1 and 2"):
        sequences.edit_distance(["a"], ["a", "b"])
    masked = np.ma.masked_array([[1, 2]], [[False, True]])
    for of in (metrics.CharacterErrorRate(), sequences.edit_distance):
        with pytest.raises(ValueError, match=r"1 of 2 values are masked, the first at \(0, 1\)"):
            of(masked, [[1, 2]])
        with pytest.raises(ValueError, match="1 of 2 values are masked"):
            of([[1, 2]], [masked[0]])
        with pytest.raises(TypeError, match=r"expected a list of .*, got None at 1"):
            of(["a", None], ["a", "b"])
        with pytest.raises(TypeError, match=r"expected a list of .*, got 7"):
            of(7, 7)
        with pytest.raises(TypeError, match="elements that cannot"):
            of([[[1], [2]]], [[[1]]])
    with pytest.raises(TypeError, match=r"metric 'bleu': y_pred: expected a list of texts or of lists, got b'a' at 0"):
        metrics.BLEU()(["a"], [b"a"])
