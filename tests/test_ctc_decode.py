"""Decoding of CTC: every path counted, Keras, lengths, n-grams, threads, mistakes."""

import itertools
import math
import pickle
from collections import defaultdict

import numpy as np
import pytest

import rekur
from rekur import ops, sequences
from rekur.sequences import NGram, ctc_decode

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 1.5, size=(6, 6, 4)).astype(np.float32)


def _log_p(logits):
    x = np.asarray(logits, np.float64)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def _spelt(path, blank):
    return tuple(c for k, c in enumerate(path) if c != blank and (k == 0 or path[k - 1] != c))


def _all_sequences(logits, blank=0):
    """log p of every label sequence: of all paths that spell it."""
    log_p, found = _log_p(logits), defaultdict(float)
    for path in itertools.product(range(logits.shape[1]), repeat=len(logits)):
        found[_spelt(path, blank)] += math.exp(sum(log_p[t, c] for t, c in enumerate(path)))
    return {labels: math.log(p) for labels, p in found.items()}


def _lists(labels):
    return [[tuple(int(c) for c in row if c >= 0) for row in path] for path in labels]


@pytest.mark.parametrize("blank", [0, 2, 3])
def test_a_wide_beam_finds_the_most_probable_sequences(blank):
    labels, scores = ctc_decode(LOGITS, strategy="beam_search", beam_width=5000, top_paths=20, mask_index=blank)
    for b, logits in enumerate(LOGITS):
        expected = sorted(_all_sequences(logits, blank).items(), key=lambda item: -item[1])[:20]
        assert [path[b] for path in _lists(labels)] == [found for found, _ in expected]
        np.testing.assert_allclose(scores[b], [value for _, value in expected], rtol=1e-5)


def test_a_narrow_beam_never_promises_more_than_there_is():
    labels, scores = ctc_decode(LOGITS, strategy="beam_search", beam_width=3, top_paths=3)
    for b, logits in enumerate(LOGITS):
        every = _all_sequences(logits)
        for path, score in zip(_lists(labels), scores[b], strict=True):
            assert score <= every[path[b]] + 1e-5
    assert (np.diff(scores, axis=1) <= 0).all()


def test_greedy_takes_the_best_class_of_each_step():
    lengths = np.array([6, 5, 4, 1, 0, 6])
    for merge, blank in itertools.product((True, False), (0, 1)):
        labels, scores = ctc_decode(LOGITS, lengths, merge_repeated=merge, mask_index=blank)
        assert labels.shape == (1, 6, 6)
        for b, n in enumerate(lengths):
            path = LOGITS[b, :n].argmax(axis=-1)
            expected = _spelt(path, blank) if merge else tuple(c for c in path if c != blank)
            assert _lists(labels)[0][b] == expected
            assert scores[b, 0] == pytest.approx(-LOGITS[b, :n].max(axis=-1).sum(), abs=1e-5)


def test_keras_finds_the_same():
    keras = pytest.importorskip("keras")
    lengths = np.array([6, 5, 4, 2, 1, 6], np.int32)
    for options in (
        {},
        {"merge_repeated": False, "mask_index": 3},
        {"strategy": "beam_search", "beam_width": 8, "top_paths": 3},
        {"strategy": "beam_search", "beam_width": 5, "top_paths": 1, "mask_index": None},
    ):
        theirs, their_scores = keras.ops.ctc_decode(LOGITS, lengths, **options)
        ours, scores = ops.ctc_decode(LOGITS, lengths, **options)
        theirs, there = np.asarray(theirs), scores > -1e30  # Keras fills up with what is improbable
        for path in range(len(ours)):
            for b in range(6):
                if there[b, min(path, scores.shape[1] - 1)]:
                    np.testing.assert_array_equal(ours[path, b], theirs[path, b])
        np.testing.assert_allclose(scores[there], np.asarray(their_scores)[there], rtol=1e-4)


def test_lengths_cut_rows_off():
    lengths = np.array([6, 5, 4, 2, 0, 3])
    labels, scores = ctc_decode(LOGITS, lengths, "beam_search", 50, 4)
    for b, n in enumerate(lengths):
        alone, values = ctc_decode(LOGITS[b : b + 1, :n], None, "beam_search", 50, 4)
        np.testing.assert_array_equal(labels[:, b, :n], alone[:, 0])
        assert (labels[:, b, n:] == -1).all()
        np.testing.assert_array_equal(scores[b], values[0])
    assert _lists(labels)[0][4] == () and scores[4, 0] == 0 and np.isneginf(scores[4, 1:]).all()


def _backed_off(gram, probabilities, backoff, unknown):
    if gram in probabilities:
        return probabilities[gram]
    if len(gram) == 1:
        return unknown
    return backoff.get(gram[:-1], 0.0) + _backed_off(gram[1:], probabilities, backoff, unknown)


def test_a_scorer_counts_for_every_label():
    probabilities = {(1,): -1.0, (2,): -0.5, (-1,): -99.0, (-2,): -2.0, (1, 2): -0.1, (-1, 1): -0.2, (2, 2, 1): -0.05}
    probabilities |= {(2, 2): -3.0, (1, -2): -0.3}
    backoff = {(1,): -0.4, (2,): -0.7, (-1,): -0.6, (2, 2): -0.2}
    scorer = NGram(probabilities, backoff, unknown=-6.0)
    assert scorer.order == 3 and len(scorer) == 9
    labels, scores = ctc_decode(LOGITS, None, "beam_search", 5000, 15, scorer=scorer, alpha=0.7, beta=0.9)
    for b, logits in enumerate(LOGITS):
        every = {}
        for found, value in _all_sequences(logits).items():
            whole = (-1, *found, -2)
            grams = [whole[max(0, k - 2) : k + 1] for k in range(1, len(whole))]
            every[found] = (
                value + 0.9 * len(found) + 0.7 * sum(_backed_off(gram, probabilities, backoff, -6.0) for gram in grams)
            )
        expected = sorted(every.items(), key=lambda item: -item[1])[:15]
        np.testing.assert_allclose(scores[b], [value for _, value in expected], rtol=1e-5)
        assert [path[b] for path in _lists(labels)] == [found for found, _ in expected]


def test_n_grams_are_read_counted_scored_and_pickled(tmp_path):
    (tmp_path / "lm.arpa").write_text(
        "\\data\\\nngram 1=4\nngram 2=2\n\n\\1-grams:\n-1.0 <unk>\n-0.5 a -0.25\n-0.7 b\n-99 <s> -0.1\n-0.9 z\n\n"
        "\\2-grams:\n-0.2 a b\n-0.3 <s> a\n\n\\end\\\n",
        encoding="utf-8",
    )
    scorer = NGram.from_arpa(tmp_path / "lm.arpa", ["", "a", "b", "c"])
    ten = math.log(10)
    assert scorer.score("ab") == pytest.approx(-0.2 * ten)
    assert scorer.score("aa") == pytest.approx((-0.25 - 0.5) * ten)
    assert scorer.score(["<s>", "a"]) == pytest.approx(-0.3 * ten)
    assert scorer.score([1, 3]) == pytest.approx((-0.25 - 1.0) * ten)
    assert pickle.loads(pickle.dumps(scorer)).score("ab") == scorer.score("ab")
    with pytest.raises(ValueError, match=r"line 2: expected a logarithm, 1 words"):
        (tmp_path / "bad.arpa").write_text("\\1-grams:\nx a\n", encoding="utf-8")
        NGram.from_arpa(tmp_path / "bad.arpa", ["a"])
    (tmp_path / "marked.arpa").write_text(
        "\\1-grams:\n-1 a\n-inf <unk>\n", encoding="utf-8-sig"
    )  # Windows writes a mark
    marked = NGram.from_arpa(tmp_path / "marked.arpa", ["a", "b"])
    assert marked.score("a") == pytest.approx(-ten)
    assert marked.score("b") < -1e29
    for text, message in (
        ("\\x-grams:\n-1 a\n", r"bad\.arpa, line 1: expected the order of n-grams, got '\\\\x-grams:'"),
        ("\\0-grams:\n-1 a\n", r"bad\.arpa, line 1: expected the order of n-grams"),
        ("\\1-grams:\nnan a\n", r"bad\.arpa, line 2: expected a logarithm"),
        ("\\1-grams:\n0.5 a\n", r"bad\.arpa, line 2: expected a logarithm"),
        ("\\1-grams:\n-1 a inf\n", r"bad\.arpa, line 2: expected a logarithm"),
    ):
        (tmp_path / "bad.arpa").write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            NGram.from_arpa(tmp_path / "bad.arpa", ["a"])
    with pytest.raises(ValueError, match="expected an ARPA file"):
        (tmp_path / "none.arpa").write_text("nothing\n", encoding="utf-8")
        NGram.from_arpa(tmp_path / "none.arpa", ["a"])

    counted = NGram.count(["abab", "abb", "ba"], order=3, vocabulary=["-", "a", "b"])
    for context in ([], [1], [2], [-1], [-1, 1], [1, 2], [2, 2]):  # p(. | context) sums to one
        whole = sum(math.exp(counted.score([*context, label])) for label in (1, 2, -2))
        assert whole == pytest.approx(1, abs=1e-9)


def test_symbols_of_begin_and_end_are_no_labels_also_where_classes_are_called_so(tmp_path):
    symbols = ["<pad>", "<s>", "</s>", "a", "b"]  # of a model whose classes have what a text model has
    (tmp_path / "lm.arpa").write_text(
        "\\1-grams:\n-0.5 a\n-0.7 b\n-99 <s> -0.1\n-0.9 </s>\n\\2-grams:\n-0.1 <s> b\n\\end\\\n", encoding="utf-8"
    )
    scorer = NGram.from_arpa(tmp_path / "lm.arpa", symbols)
    assert scorer.score([-1, 4]) == scorer.score(["<s>", "b"]) == pytest.approx(-0.1 * math.log(10))
    again = pickle.loads(pickle.dumps(scorer))
    assert again.score("ab") == scorer.score([3, 4])  # each symbol has its id
    logits = np.zeros((1, 1, 5), np.float32)
    logits[0, 0, :3] = -20
    assert _lists(ctc_decode(logits, None, "beam_search", scorer=scorer)[0])[0][0] == (4,)
    counted = NGram.count(["ab", "b"], order=2, vocabulary=symbols)
    assert counted.score(["<s>", "a"]) == counted.score([-1, 3])


def test_a_scorer_chooses_between_what_sounds_alike():
    logits = np.full((1, 3, 4), -4.0, np.float32)
    logits[0, 0, 1] = logits[0, 1, 0] = 4
    logits[0, 2, 2], logits[0, 2, 3] = 3.9, 4.0
    assert _lists(ctc_decode(logits, None, "beam_search")[0])[0][0] == (1, 3)
    scorer = NGram({(1,): -1, (2,): -1, (3,): -1, (1, 2): -0.1, (1, 3): -4})
    assert _lists(ctc_decode(logits, None, "beam_search", scorer=scorer)[0])[0][0] == (1, 2)


def test_the_bits_are_the_same_for_any_number_of_threads():
    logits = RNG.normal(0, 2, size=(17, 40, 12)).astype(np.float32)
    scorer = NGram({(k,): -1.0 - k / 7 for k in range(12)})
    before, found = rekur.num_threads(), []
    try:
        for threads in (1, 2, 3):
            rekur.set_num_threads(threads)
            found.append(ctc_decode(logits, None, "beam_search", 20, 5, scorer=scorer))
    finally:
        rekur.set_num_threads(before)
    for labels, scores in found[1:]:
        np.testing.assert_array_equal(labels, found[0][0])
        np.testing.assert_array_equal(scores, found[0][1])
    alone = ctc_decode(logits[3:4], None, "beam_search", 20, 5, scorer=scorer)
    np.testing.assert_array_equal(alone[0][:, 0], found[0][0][:, 3])


def test_sequences_that_cannot_be_are_not_there():
    logits = np.zeros((2, 3, 3), np.float32)
    logits[0, :, 1] = -np.inf
    labels, scores = ctc_decode(logits, None, "beam_search", 50, 12)
    there = np.isfinite(scores)
    assert there.sum(axis=1).tolist() == [3, 9]  # "", "2" and "2 2"; 1 2 1 and 2 1 2 and all of up to two labels
    assert not (labels[:, 0] == 1).any()
    assert (labels[~there.T] == -1).all()


def test_nan_is_seen():
    logits = LOGITS.copy()
    logits[1, 2, 1] = np.nan
    scores = ctc_decode(logits, None, "beam_search", 10, 2)[1]
    assert np.isnan(scores[1, 0]) and np.isfinite(np.delete(scores, 1, axis=0)).all()
    assert np.isnan(ctc_decode(logits)[1][1, 0])


def test_mistakes():
    for arguments, options, message in (
        ((LOGITS[0],), {}, r"inputs: expected logits of shape \(B, T, classes\), got \(6, 4\)"),
        ((LOGITS, [6] * 5), {}, r"sequence_lengths: expected shape \(6,\)"),
        ((LOGITS, [7] * 6), {}, "sequence_lengths: expected lengths from 0 to 6, got 7"),
        ((LOGITS, None, "best"), {}, "strategy: expected one of greedy, beam_search, got 'best'"),
        ((LOGITS,), {"mask_index": 4}, "mask_index must be one of the 4 classes, got 4"),
        ((LOGITS, None, "beam_search", 3, 4), {}, "top_paths must be at most beam_width, 3, got 4"),
        ((LOGITS, None, "beam_search", 0), {}, "beam_width must be at least 1"),
        ((LOGITS,), {"scorer": NGram({(1,): -1.0})}, "a scorer needs strategy="),
    ):
        with pytest.raises(ValueError, match=message):
            ctc_decode(*arguments, **options)
    with pytest.raises(TypeError, match="scorer: expected an NGram"):
        ctc_decode(LOGITS, None, "beam_search", scorer={(1,): -1.0})
    with pytest.raises(ValueError, match="at least one n-gram"):
        NGram({})
    with pytest.raises(TypeError, match=r"probabilities: expected a dict of logarithms by n-gram, got \[1\]"):
        NGram([1])
    with pytest.raises(TypeError, match=r"backoff: expected a dict"):
        NGram({1: -1.0}, [1])
    with pytest.raises(TypeError, match=r"expected a label or a sequence of labels, got 1\.0"):
        NGram({1.0: -1.0})
    with pytest.raises(ValueError, match=r"a label must be below 2\^31, got 4294967296"):
        NGram({2**32: -1.0})
    with pytest.raises(ValueError, match="vocabulary: 'a' is there twice, at 0 and 2"):
        NGram({"a": -1.0}, vocabulary="aba")
    with pytest.raises(TypeError, match="vocabulary: expected symbols, got 7 at 1"):
        NGram({"a": -1.0}, vocabulary=["a", 7])
    with pytest.raises(TypeError, match=r"NGram\.count: expected a list of sequences, got 'abab'"):
        NGram.count("abab", vocabulary="ab")
    for flat in ([1, 2, 3], np.array([1, 2, 3])):
        with pytest.raises(TypeError, match=r"NGram\.count: expected sequences of labels, got .*1.* for one"):
            NGram.count(flat)
    with pytest.raises(ValueError, match=r"probabilities\[1\] must be a finite number"):
        NGram({1: 0.5})
    with pytest.raises(ValueError, match=r"backoff\[\(1, 2\)\]: the context is no n-gram"):
        NGram({1: -0.5}, {(1, 2): -1.0})
    with pytest.raises(ValueError, match=r"'x' of .* is no symbol of the vocabulary"):
        NGram({"xy": -0.5}, vocabulary=["a"])
    with pytest.raises(ValueError, match="discount must be above 0"):
        NGram.count([[1]], discount=1.0)
    assert "ctc_decode" in dir(sequences)
