"""rekur.tasks.SequenceTagger: tags of tokens and of numbers, the random field, entities, deployment."""

import copy
import itertools
import pickle
from typing import Any

import numpy as np
import pytest

from rekur.tasks import NotFittedError, SequenceTagger, load
from rekur.tasks.classification import _spans, _tokens

SMALL: dict[str, Any] = {"units": 12, "embedding": 8, "random_state": 0}
FIRST, PLACES = ["Ada", "Grace", "Alan", "Emmy"], ["London", "York", "Berlin"]


def sentences(n: int, seed: int = 0) -> tuple[list[list[str]], list[list[str]]]:
    """Who lives where; a third of the names are in no vocabulary, and are known by where and how they are written."""
    rng = np.random.default_rng(seed)
    tokens, tags = [], []
    for _ in range(n):
        made = "".join(rng.choice(list("bcdfg"), 4)).capitalize()
        words = [str(rng.choice(FIRST)) if rng.random() < 0.67 else made]
        marks = ["B-person"]
        if rng.random() < 0.4:
            words, marks = [*words, "Miller"], [*marks, "I-person"]
        words += [str(rng.choice(["lives", "works"])), "in", str(rng.choice(PLACES)), "."]
        tokens.append(words)
        tags.append([*marks, "O", "O", "B-place", "O"])
    return tokens, tags


def paths(n: int, seed: int = 0) -> tuple[list[Any], list[Any]]:
    """Noisy walks of two channels, and whether the first one's sum is above 0."""
    rng = np.random.default_rng(seed)
    x = [rng.normal(size=(rng.integers(4, 15), 2)) for _ in range(n)]
    return [100 + 20 * row for row in x], [(np.cumsum(row[:, 0]) > 0).astype(int) for row in x]


@pytest.fixture(scope="module")
def names() -> SequenceTagger:
    return SequenceTagger(**SMALL, epochs=10, ensemble=2).fit(*sentences(120))


@pytest.fixture(scope="module")
def numbers() -> SequenceTagger:
    x, y = paths(120)
    x[0][1, 1] = np.nan
    return SequenceTagger(**SMALL, epochs=20).fit(x, y)


def test_names_are_found_by_word_and_by_how_they_are_written(names):
    x, y = sentences(80, 1)
    found = names.evaluate(x, y)
    assert found["accuracy"] > 0.97 and found["sequences"] > 0.9 and found["entities"]["micro"]["f1"] > 0.95
    assert set(found["entities"]) == {"person", "place", "micro"}
    assert names.score(x, y) == pytest.approx(found["accuracy"])
    assert names.predict([["Xcvbn", "works", "in", "Berlin", "."]]) == [["B-person", "O", "O", "B-place", "O"]]
    assert names.vocabulary_["ADA"] == names.vocabulary_["ada"] == names.vocabulary_["Ada"]


def test_a_tag_is_right_as_a_whole(names):
    x, _ = sentences(6, 1)
    found = names.predict(x)
    assert names.score(x, found) == 1.0
    assert names.score(x, [[tag[:1] for tag in row] for row in found]) == pytest.approx(
        np.mean([tag == "O" for row in found for tag in row])
    )
    assert names.score(x, [[0] * len(row) for row in x]) == 0.0


@pytest.mark.parametrize(
    "options", [{}, {"crf": False}, {"crf": False, "causal": True, "filters": (6,)}, {"cell": "lstm"}]
)
def test_steps_of_numbers_are_tagged(options):
    made = SequenceTagger(**SMALL, epochs=20, **options).fit(*paths(120))
    x, y = paths(60, 1)
    assert made.score(x, y) > 0.85
    assert made.classes_.tolist() == [0, 1] and [len(row) for row in made.predict(x)] == [len(row) for row in x]
    cube = SequenceTagger(**SMALL, epochs=1, **options).fit(np.zeros((4, 5)), [[0, 1, 0, 1, 1]] * 4)
    assert len(cube.predict(np.zeros((2, 5)))[0]) == 5
    assert "entities" not in made.evaluate(x, y)


def test_probabilities_and_best_sequences_by_enumeration(names):
    x = [["Ada", "Miller", "works"], ["Grace"]]
    scores, lengths = names._scores(x)
    chain = names.chain_
    tags = len(names.classes_)
    for row, n in enumerate(lengths):
        worth = {}
        for path in itertools.product(range(tags), repeat=int(n)):
            total = sum(float(scores[row, t, tag]) for t, tag in enumerate(path))
            total += float(chain["start"][path[0]]) + float(chain["end"][path[-1]])
            total += sum(float(chain["transitions"][a, b]) for a, b in itertools.pairwise(path))
            worth[path] = total
        values = np.array(list(worth.values()))
        p = np.exp(values - values.max())
        p /= p.sum()
        marginals = np.zeros((n, tags))
        for path, share in zip(worth, p, strict=True):
            marginals[np.arange(n), list(path)] += share
        np.testing.assert_allclose(names.predict_proba(x)[row], marginals, atol=1e-5)
        best = sorted(zip(p, worth, strict=True), reverse=True)[:3]
        found = names.best_sequences(x, 3)[row]
        assert [tags for tags, _ in found] == [names.classes_[list(path)].tolist() for _, path in best]
        np.testing.assert_allclose([log for _, log in found], np.log([share for share, _ in best]), atol=1e-4)
        assert names.predict(x)[row] == found[0][0]
    assert len(names.best_sequences([["Ada"]], 50)[0]) == tags  # there are no more


def test_an_ensemble_is_the_mean_of_scores(names):
    x, _ = sentences(5, 3)
    reader = _tokens.Reader(names.vocabulary_, names.patterns_)
    given = reader(x)
    lengths = np.array([len(row) for row in x])
    counts = {"words": lengths, "marks": lengths}
    mean = np.mean([model.predict(given, lengths=counts, verbose=0) for model in names.models_], axis=0)
    np.testing.assert_allclose(names._scores(x)[0], mean, atol=1e-5)


def test_same_seed_same_bits_and_weights():
    x, y = sentences(30)
    one = SequenceTagger(**SMALL, epochs=2).fit(x, y)
    two = SequenceTagger(**SMALL, epochs=2).fit(x, y)
    np.testing.assert_array_equal(one._scores(x)[0], two._scores(x)[0])
    heavy = SequenceTagger(**SMALL, epochs=2).fit(x, y, sample_weight=np.r_[np.zeros(25), np.ones(5)])
    alone = SequenceTagger(**SMALL, epochs=2).fit(x[25:], y[25:])
    np.testing.assert_array_equal(heavy._scores(x)[0], alone._scores(x)[0])


def test_early_stopping_holds_sequences_out():
    x, _ = paths(40)
    y = [np.random.default_rng(0).integers(0, 2, len(row)) for row in x]  # there is nothing to learn but by heart
    made = SequenceTagger(**SMALL, epochs=80, learning_rate=0.05, validation_fraction=0.25, patience=3).fit(x, y)
    losses = made.history_[0]["val_loss"]
    assert made.training_["held_out"] == 10 and len(losses) < 80 and np.argmin(losses) == len(losses) - 4


@pytest.mark.parametrize("way", ["file", "pickle", "copy"])
def test_what_was_learned_comes_back(names, numbers, tmp_path, way):
    for made, x in ((names, sentences(8)[0]), (numbers, paths(8)[0])):
        if way == "file":
            made.save(tmp_path / "m.safetensors")
            other = load(tmp_path / "m.safetensors")
        else:
            other = pickle.loads(pickle.dumps(made)) if way == "pickle" else copy.deepcopy(made)
        assert other.predict(x) == made.predict(x) and other.get_params() == made.get_params()
        for one, two in zip(other.predict_proba(x), made.predict_proba(x), strict=True):
            np.testing.assert_array_equal(one, two)


def test_searches_take_lists():
    selection = pytest.importorskip("sklearn.model_selection")
    x, y = sentences(12)
    search = selection.GridSearchCV(SequenceTagger(**SMALL, epochs=1), {"units": [4, 6]}, cv=2)
    assert len(search.fit(x, y).best_estimator_.predict(x)) == 12


def test_summary_and_pictures(names, numbers, capsys):
    names.summary()
    numbers.summary()
    text = capsys.readouterr().out
    for part in (
        "120 sequences of tokens, 5 to 6 steps",
        "4: B-person",
        "marks of how words",
        "random field",
        "mean of 2",
    ):
        assert part in text
    assert "numbers of 2 channels" in text
    pytest.importorskip("matplotlib")
    assert names.plot().axes and "steps right" in names.plot(*sentences(9)).get_suptitle()


# Deployment.


def test_onnx_takes_strings(names, tmp_path):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    names.export_onnx(tmp_path / "m.onnx")
    x, _ = sentences(20, 5)
    x.append(["Zürich", "x-ray", "1984", "ADA", "U.S.", "running", "…"])
    lengths = np.array([len(row) for row in x], np.int32)
    strings = np.full((21, 7), "anything", dtype=object)
    for row, tokens in zip(strings, x, strict=True):
        row[: len(tokens)] = tokens
    session = runtime.InferenceSession(str(tmp_path / "m.onnx"))
    tags, probabilities = session.run(["tags", "probabilities"], {"X": strings, "lengths": lengths})
    for row, expected, p in zip(range(21), names.predict(x), names.predict_proba(x), strict=True):
        n = lengths[row]
        assert tags[row, :n].tolist() == expected and (tags[row, n:] == "").all()
        np.testing.assert_allclose(probabilities[row, :n], p, atol=1e-5)
        assert not probabilities[row, n:].any()


@pytest.mark.parametrize("crf", [True, False])
def test_onnx_takes_numbers(tmp_path, crf):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    x, y = paths(20)
    x[0][0, 0] = np.nan
    made = SequenceTagger(**SMALL, epochs=2, crf=crf, ensemble=2).fit(x, y)
    made.export_onnx(tmp_path / "m.onnx")
    lengths = np.array([len(row) for row in x], np.int32)
    values = np.full((20, lengths.max(), 2), 7, np.float32)
    for row, given in zip(values, x, strict=True):
        row[: len(given)] = given
    session = runtime.InferenceSession(str(tmp_path / "m.onnx"))
    tags, probabilities = session.run(["tags", "probabilities"], {"X": values, "lengths": lengths})
    for row, p in enumerate(made.predict_proba(x)):
        np.testing.assert_allclose(probabilities[row, : lengths[row]], p, atol=1e-5)
        assert (tags[row, lengths[row] :] == -1).all() and set(tags[row, : lengths[row]]) <= {0, 1}


def test_streams_of_what_no_later_step_changes(names, numbers, tmp_path):
    x, y = paths(20)
    made = SequenceTagger(**SMALL, epochs=1, crf=False, causal=True, filters=(4,)).fit(x, y)
    found = made.stream().process(x[0].astype(np.float32))
    np.testing.assert_allclose(found, made.predict_proba(x[:1])[0], atol=1e-6)
    assert made.export_cpp(tmp_path / "m.hpp").path.exists()
    with pytest.raises(ValueError, match="what comes later changes earlier ones"):
        numbers.stream()
    with pytest.raises(ValueError, match="a stream takes numbers"):
        names.stream()
    with pytest.raises(ValueError, match=r"SequenceTagger: fit with crf=False and causal=True"):
        SequenceTagger(**SMALL, epochs=1, crf=False).fit(x, y).stream()


# Words and entities by themselves.


def test_words_are_one_in_all_cases():
    table = _tokens.vocabulary([["The", "the", "THE", "cat"], ["iPhone", "iPhone", "Cat"]], 2)
    assert table["the"] == table["The"] == table["THE"] == 2
    assert table["cat"] == table["CAT"] == table["Cat"] and table["iPhone"] == table["iphone"] == table["IPHONE"]
    assert "dog" not in table and _tokens.vocabulary([["one"]], 2) == {}
    patterns = _tokens.patterns([["running", "walking", "eating", "going", "cat"]])
    assert ".*ing" in patterns and ".*at" not in patterns
    read = _tokens.Reader(table, patterns)([["the", "Sleeping"], ["dog"]])
    assert read["words"].tolist() == [[2, 1], [1, 0]]
    marks = dict(zip(patterns, read["marks"][0, 1], strict=True))
    assert marks[".*ing"] == marks["[A-Z][a-z]+"] == 1 and marks["[0-9]+"] == 0
    assert not read["marks"][1, 1].any()


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O B-a I-a O B-a B-a", [("a", 1, 3), ("a", 4, 5), ("a", 5, 6)]),
        ("I-a I-a I-b", [("a", 0, 2), ("b", 2, 3)]),
        ("S-a B-a I-a E-a O", [("a", 0, 1), ("a", 1, 4)]),
        ("U-a B-b L-b", [("a", 0, 1), ("b", 1, 3)]),
        ("B-a I-b", [("a", 0, 1), ("b", 1, 2)]),
        ("E-a E-a", [("a", 0, 1), ("a", 1, 2)]),
        ("O O", []),
    ],
)
def test_entities(tags, expected):
    assert _spans.spans(tags.split()) == expected


def test_scores_of_entities_by_hand():
    truth = [["B-a", "I-a", "O", "B-b"], ["O", "B-a"]]
    told = [["B-a", "O", "O", "B-b"], ["B-b", "B-a"]]
    found = _spans.entity_scores(truth, told)
    assert found["a"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
    assert found["b"] == {"precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "support": 1}
    assert found["micro"]["f1"] == pytest.approx(2 * 2 / (4 + 3)) and found["micro"]["support"] == 3
    assert _spans.entity_scores([["O"]], [["O"]])["micro"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}
    assert _spans.are_entities(["O", "B-x", "I-x"]) and not _spans.are_entities(["N", "V"])
    assert not _spans.are_entities(["O"]) and not _spans.are_entities([0, 1])


# What is refused.


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (["a text"], [["O"]], "X: sequence 0: expected a list of tokens, got 'a text'"),
        ([["a", 3]], [["O", "O"]], "X: sequence 0, step 1: expected a text, got 3"),
        ([["a"], []], [["O"], []], "X: sequence 1 has 0 steps"),
        ([["a"], ["b"]], [["O"]], r"inconsistent numbers of samples: \[2, 1\]"),
        ([["a", "b"]], [["O"]], "y: sequence 0 has 1 tags, X has 2 steps"),
        ([["a", "b"]], ["OO"], "y: sequence 0: expected a list of tags"),
        ([["a", "b"]], [["O", None]], "y: sequence 0, step 1: expected a text or an integer, got None"),
        ([["a", "b"]], [["O", 1]], "tags are texts or integers, not both"),
        ([["a", "b"]], [["O", "O"]], "y holds one tag, 'O'"),
        ([["a", "b"]], None, "requires y to be passed"),
        ([["a", "b"]], "OO", "y: expected a list of tags for each sequence"),
        ([], [], "0 sample"),
    ],
)
def test_data_that_do_not_fit(x, y, message):
    with pytest.raises((ValueError, TypeError), match=message):
        SequenceTagger(**SMALL, epochs=1).fit(x, y)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crf": "yes"}, "crf must be True or False"),
        ({"units": ()}, "units must be a number"),
        ({"cell": "gruu"}, "cell 'gruu' is unknown"),
        ({"embedding": 0}, "embedding must be at least 1"),
        ({"min_count": 0}, "min_count must be at least 1"),
        ({"dropout": 1}, "dropout must be below 1"),
        ({"filters": 0}, "filters must be at least 1"),
        ({"ensemble": 0}, "ensemble must be at least 1"),
    ],
)
def test_parameters_that_are_none(options, message):
    with pytest.raises((ValueError, TypeError), match=f"SequenceTagger: .*{message}"):
        SequenceTagger(**options).fit(*sentences(4))


def test_texts_are_no_numbers(names, numbers):
    with pytest.raises(TypeError, match="expected lists of tokens"):
        names.predict(paths(2)[0])
    with pytest.raises(TypeError, match="expected sequences of numbers"):
        numbers.predict([["a"]])
    with pytest.raises(ValueError, match="X has 1 features, but SequenceTagger is expecting 2"):
        numbers.predict([np.zeros(3)])
    with pytest.raises(NotFittedError):
        SequenceTagger().predict([["a"]])
    with pytest.raises(ValueError, match="crf=True"):
        SequenceTagger(**SMALL, epochs=1, crf=False).fit(*sentences(4)).best_sequences([["a"]])
