"""TextClassifier: what it learns, how sure it is, why, and what it does with texts and labels that are none."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from rekur.tasks import NotFittedError, TextClassifier, load

KITCHEN = ("bread", "butter", "soup", "oven", "salt", "plate", "apple", "spoon")
GARDEN = ("tree", "spade", "rose", "lawn", "hedge", "seed", "apple", "pond")
COMMON = ("the", "a", "and", "is", "was", "here", "there", "old")
TINY: dict[str, Any] = {"units": 8, "embedding": 12, "epochs": 8, "learning_rate": 0.02, "random_state": 1}


def texts_of(count: int, seed: int) -> tuple[list[str], np.ndarray]:
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for _ in range(count):
        kind = int(rng.integers(2))
        words = [str(rng.choice(COMMON)) for _ in range(rng.integers(2, 9))]
        for _ in range(2):
            words.insert(int(rng.integers(len(words) + 1)), str(rng.choice((KITCHEN, GARDEN)[kind])))
        texts.append(" ".join(words).capitalize() + ".")
        labels.append(("kitchen", "garden")[kind])
    return texts, np.array(labels)


X, Y = texts_of(300, 0)
X_TEST, Y_TEST = texts_of(120, 1)


@pytest.fixture(scope="module")
def topics() -> TextClassifier:
    return TextClassifier(**TINY).fit(X, Y)


def test_topics_are_told(topics, capsys):
    assert topics.classes_.tolist() == ["garden", "kitchen"]
    assert topics.score(X_TEST, Y_TEST) > 0.9
    p = topics.predict_proba(X_TEST)
    assert p.shape == (120, 2) and p.dtype == np.float64
    np.testing.assert_allclose(p.sum(axis=1), 1)
    np.testing.assert_array_equal(topics.predict(X_TEST), topics.classes_[p.argmax(axis=1)])
    np.testing.assert_allclose(topics.decision_function(X_TEST), np.log(p[:, 1] / p[:, 0]), atol=1e-9)
    assert topics.held_out_["accuracy"] > 0.8 and topics.trained_on_["held_out"] == 30
    text = topics.summary()
    assert capsys.readouterr().out.strip() == text
    for part in ("by words", "300 texts, 30 of them held out", "2: garden, kitchen", "% right", "temperature"):
        assert part in text


def test_what_a_text_gives_depends_on_the_text_alone(topics):
    many = [*X, *X_TEST]  # in several parts, in an order of lengths
    np.testing.assert_allclose(topics.predict_proba(many)[-120:], topics.predict_proba(X_TEST), atol=1e-6)
    np.testing.assert_allclose(topics.predict_proba([X[5]])[0], topics.predict_proba(X)[5], atol=1e-6)
    again = TextClassifier(**TINY).fit(X, Y)
    np.testing.assert_array_equal(again.predict_proba(X_TEST), topics.predict_proba(X_TEST))


def test_words_are_the_reason(topics):
    found = dict(topics.explain("The old spade is there.", "garden"))
    assert list(found) == ["The", "old", "spade", "is", "there", "."]
    assert found["spade"] > 1 and found["spade"] == max(found.values())
    assert dict(topics.explain("The old spade is there.", "kitchen"))["spade"] == pytest.approx(-found["spade"])
    assert topics.explain("The old spade is there.") == topics.explain("The old spade is there.", "garden")
    assert topics.explain("") == [] and len(topics.explain("the the the", most=2)) == 2
    told = topics.telling_words(X_TEST, 6)
    assert {word for word, _ in told["kitchen"]} <= set(KITCHEN) - {"apple"}
    assert {word for word, _ in told["garden"]} <= set(GARDEN) - {"apple"}
    with pytest.raises(ValueError, match="label: expected one of"):
        topics.explain("the", "attic")


def test_case_and_unknown_words(topics):
    same = topics.predict_proba(["the spade", "THE SPADE", "The Spade"])
    np.testing.assert_allclose(same, np.broadcast_to(same[0], (3, 2)), atol=1e-6)
    assert topics.predict_proba(["", "  ", "zzz qqq", "Ünï 日本"]).shape == (4, 2)
    kept = TextClassifier(lower=False, **{**TINY, "epochs": 1}).fit(X, Y)
    tokens = kept.vocabularies_["word"]["tokens"]
    assert "The" in tokens and "the" in tokens


@pytest.mark.parametrize("level", ["character", "both"])
def test_characters(level):
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abcde" if k % 2 else "fghij"), 9)) for k in range(120)]
    made = TextClassifier(level, **TINY).fit(texts, np.arange(120) % 2)
    assert set(made.vocabularies_) == ({"character"} if level == "character" else {"word", "character"})
    assert made.predict(["abcabc", "hijhij", "adda"]).tolist() == [1, 0, 1]
    assert "characters" in made.summary()


def test_several_labels_a_text():
    pairs = [(a, b) for a in (0, 1) for b in (0, 1)] * 40
    texts = [f"{'red' if a else 'grey'} {'ball' if b else 'thing'}" for a, b in pairs]
    made = TextClassifier(**TINY).fit(texts, np.array(pairs))
    assert made.multilabel_ and made.predict(texts[:4]).tolist() == [list(pair) for pair in pairs[:4]]
    assert made.score(texts, np.array(pairs)) == 1 and made.classes_.tolist() == [0, 1]
    assert "a text may have several" in made.summary()
    p = made.predict_proba(["red ball"])
    np.testing.assert_allclose(made.decision_function(["red ball"]), np.log(p / (1 - p)), rtol=1e-6)
    with pytest.raises(ValueError, match=r"expected shape \(160, 2\)"):
        made.score(texts, np.zeros(160))
    with pytest.raises(ValueError, match="class_weight is for one label a text"):
        TextClassifier(class_weight="balanced").fit(texts, np.array(pairs))
    with pytest.raises(ValueError, match="a column of 0 and 1"):
        TextClassifier().fit(texts, np.full((160, 2), 3))


def test_probabilities_are_calibrated():
    rng = np.random.default_rng(3)
    texts = [str(rng.choice(["heads", "tails", "edge"])) for _ in range(600)]
    labels = np.array([text if rng.random() < 0.7 else "tails" for text in texts])
    made = TextClassifier(validation_fraction=0.5, **TINY).fit(texts, labels)
    assert made.predict_proba(["heads"]).max() == pytest.approx(0.7, abs=0.12)
    assert made.held_out_["calibration_error"] < 0.12
    assert len(made.temperatures_) == 1 and made.temperatures_[0] > 0
    plain = TextClassifier(validation_fraction=0.5, calibrate=False, **TINY).fit(texts, labels)
    assert plain.temperatures_ == [1.0] and made.held_out_["log_loss"] <= plain.held_out_["log_loss"]
    rows = [made._encode(text) for text in texts]
    logits = made._logits(made.models_[0], rows)
    np.testing.assert_allclose(
        made.predict_proba(texts), np.exp(logits) / np.exp(logits).sum(1, keepdims=True), rtol=1e-5
    )


def test_weights_and_classes():
    texts, labels = [*X[:100], *(["the"] * 40)], np.array([*Y[:100], *(["kitchen"] * 30), *(["garden"] * 10)])
    options = {**TINY, "validation_fraction": 0, "epochs": 6}
    free = TextClassifier(**options).fit(texts, labels).predict_proba(["the"])[0, 0]
    garden = TextClassifier(class_weight={"garden": 9}, **options).fit(texts, labels).predict_proba(["the"])[0, 0]
    same = TextClassifier(**options).fit(texts, labels, np.where(labels == "garden", 9.0, 1.0))
    assert garden > free + 0.1
    assert same.predict_proba(["the"])[0, 0] == pytest.approx(garden, abs=1e-6)
    with pytest.raises(ValueError, match="class_weight has the label 'attic'"):
        TextClassifier(class_weight={"attic": 2}).fit(texts, labels)


def test_networks_are_averaged():
    options = {**TINY, "epochs": 2}
    both = TextClassifier(ensemble=2, **options).fit(X, Y)
    assert len(both.models_) == 2 and len(both.history_) == 2
    one = TextClassifier(**options).fit(X, Y)
    np.testing.assert_array_equal(both.models_[0].get_weights()[0], one.models_[0].get_weights()[0])
    alone = copy.deepcopy(both)
    parts = []
    for model in both.models_:
        alone.models_ = [model]
        parts.append(alone.predict_proba(X_TEST))
    np.testing.assert_allclose(both.predict_proba(X_TEST), np.mean(parts, axis=0))


@pytest.mark.parametrize("way", ["file", "pickle", "copy"])
def test_it_comes_back(topics, tmp_path, way):
    if way == "file":
        topics.save(tmp_path / "topics.safetensors")
        other = load(tmp_path / "topics.safetensors")
    else:
        other = pickle.loads(pickle.dumps(topics)) if way == "pickle" else copy.deepcopy(topics)
    assert type(other) is TextClassifier and other.get_params() == topics.get_params()
    np.testing.assert_array_equal(other.predict_proba(X_TEST), topics.predict_proba(X_TEST))
    assert other.summary() == topics.summary()


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        (None, Y, "X: .*got None"),
        ("one text", ["a"], r"X: .*\[text\] is a list of it"),
        ([], [], "X: expected 1 text or more, got 0"),
        (["a", None], ["a", "b"], r"X\[1\]: .*got None: a missing text"),
        (["a", 1.5], ["a", "b"], r"X\[1\]: .*got 1.5"),
        (["", " "], ["a", "b"], "X: all 2 texts are empty"),
        (np.array([["a", "b"], ["c", "d"]]), ["a", "b"], r"X: .*shape \(2, 2\)"),
        (["a", "b"], None, "requires y to be passed"),
        (["a", "b"], ["a"], r"inconsistent numbers of samples: \[2, 1\]"),
        (["a", "b"], ["a", "a"], "only one class is present: 'a'"),
        (["a", "b"], ["a", None], "y contains NaN: no label at place 1"),
        (["a", "b"], [1.5, 2.0], "continuous"),
        (["a", "b"], [np.nan, 1.0], "y contains NaN"),
    ],
    ids=str,
)
def test_what_cannot_be_learned_from(texts, labels, message):
    with pytest.raises((TypeError, ValueError), match=f"TextClassifier.*{message}"):
        TextClassifier(epochs=1).fit(texts, labels)


@pytest.mark.parametrize(
    "setting",
    [
        {"level": "letters"}, {"units": 0}, {"cell": "grv"}, {"embedding": 0}, {"dropout": 1.0}, {"epochs": 0},
        {"batch_size": 0}, {"learning_rate": 0}, {"validation_fraction": 1.0}, {"patience": 0}, {"max_tokens": 0},
        {"min_count": 0}, {"max_length": 0}, {"lower": 2}, {"class_weight": "heavy"}, {"calibrate": 2},
        {"ensemble": 0}, {"random_state": -1}, {"verbose": -1},
    ],
    ids=str,
)  # fmt: skip
def test_settings_out_of_range_are_named(setting):
    with pytest.raises((TypeError, ValueError), match=rf"TextClassifier: {next(iter(setting))}"):
        TextClassifier(**setting).fit(X, Y)


def test_settings_make_a_difference():
    made = TextClassifier(
        "both", units=5, cell="lstm", embedding=7, max_tokens=9, min_count=2, max_length=4, epochs=1, random_state=2
    ).fit(X, Y)
    shapes = [w.shape for w in made.models_[0].get_weights()]
    assert (11, 7) in shapes and made.lengths_ == {"word": 4, "character": 4}
    assert len(made.vocabularies_["word"]["tokens"]) == 9
    assert made.predict_proba(["The old is and spade"])[0, 0] == made.predict_proba(["The old is and rose"])[0, 0]
    assert made.trained_on_["longer"] == 300 and "what is behind is not read" in made.summary()
    with pytest.raises(NotFittedError):
        TextClassifier().predict(["a"])


def test_pictures(topics):
    pytest.importorskip("matplotlib")
    for kind in ("confusion", "reliability", "training"):
        assert topics.plot(kind=kind).axes
    assert topics.plot(X_TEST, Y_TEST).axes
    with pytest.raises(ValueError, match="kind"):
        topics.plot(kind="pie")
    with pytest.raises(ValueError, match=r"y\[0\]: the label 'attic' is none"):
        topics.plot(["a"], ["attic"])


def test_scikit_learn_takes_it():
    pytest.importorskip("sklearn")
    from sklearn.base import clone, is_classifier
    from sklearn.model_selection import GridSearchCV, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer
    from sklearn.utils.estimator_checks import check_estimator

    made = TextClassifier(**{**TINY, "epochs": 2, "units": 4})
    assert is_classifier(made) and clone(made).get_params() == made.get_params()
    check_estimator(TextClassifier(**{**TINY, "epochs": 1}), on_fail="raise")
    assert len(cross_val_score(made, X[:120], Y[:120], cv=2)) == 2
    search = GridSearchCV(made, {"units": [3, 4]}, cv=2).fit(np.array(X[:120], object), Y[:120])
    assert search.best_estimator_.predict(X_TEST).shape == (120,)
    pipe = make_pipeline(FunctionTransformer(lambda rows: [row.lower() for row in rows]), made).fit(X, Y)
    assert pipe.score(X_TEST, Y_TEST) > 0.6


def test_series_of_frames(topics):
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    right = topics.predict(X_TEST[:5]).tolist()
    for given in (pandas.Series(X_TEST[:5], index=list("abcde")), polars.Series(X_TEST[:5]), np.array(X_TEST[:5])):
        assert topics.predict(given).tolist() == right
    with pytest.raises(ValueError, match=r"X\[1\]: .*missing"):
        topics.predict(pandas.Series(["a", None]))


@pytest.mark.parametrize(
    ("setting", "tokens"), [({"max_length": 5}, False), ({}, True), ({"level": "both", "ensemble": 2}, False)], ids=str
)
def test_texts_in_and_labels_out_in_onnx(tmp_path, setting, tokens):
    ort = pytest.importorskip("onnxruntime")
    made = TextClassifier(**{**TINY, "epochs": 2, **setting}).fit(X, Y)
    report = made.export_onnx(tmp_path / "topics.onnx", tokens=tokens)
    assert report.inputs[0][:2] == ("words" if tokens else "text", "string") and "label" in str(report)
    session = ort.InferenceSession(str(tmp_path / "topics.onnx"), providers=["CPUExecutionProvider"])
    texts = [*X_TEST[:40], "", "THE Spade, isn't it?", "日本 zzz\x0b\x1c q́"]
    feed = {"text": np.array(texts, object)}
    if tokens:
        rows = [made.tokens(text)["word"] for text in texts]
        feed = {"words": np.array([row + [""] * (40 - len(row)) for row in rows], object)}
        domains = {entry.domain for entry in pytest.importorskip("onnx").load(tmp_path / "topics.onnx").opset_import}
        assert domains == {"", "ai.onnx.ml"}
    label, probabilities = session.run(["label", "probabilities"], feed)
    assert label.tolist() == made.predict(texts).tolist()
    np.testing.assert_allclose(probabilities, made.predict_proba(texts), atol=1e-5)


def test_labels_of_other_kinds_in_onnx(tmp_path):
    ort = pytest.importorskip("onnxruntime")
    options = {**TINY, "epochs": 1}
    for labels in ((Y == "garden").astype(np.int64) * 7, Y == "garden", np.stack([Y == "garden", Y != "garden"], 1)):
        made = TextClassifier(**options).fit(X, labels)
        made.export_onnx(tmp_path / "topics.onnx")
        session = ort.InferenceSession(str(tmp_path / "topics.onnx"), providers=["CPUExecutionProvider"])
        label = session.run(["label"], {"text": np.array(X_TEST[:9], object)})[0]
        assert label.tolist() == made.predict(X_TEST[:9]).tolist() and label.dtype == made.predict(X_TEST[:9]).dtype
    with pytest.raises(ValueError, match=r"\.onnx"):
        made.export_onnx(tmp_path / "topics.safetensors")
    with pytest.raises(TypeError, match="tokens"):
        made.export_onnx(tmp_path / "topics.onnx", tokens="yes")
    with pytest.raises(NotFittedError):
        TextClassifier().export_onnx(tmp_path / "topics.onnx")


def test_each_class_has_its_share_held_out():
    from rekur.tasks.text._classifying import split_rows

    targets = np.repeat([0, 1, 2, 3], [100, 50, 9, 1])
    learned, held = split_rows(targets, 0.2, False, np.random.default_rng(0))
    assert sorted([*learned, *held]) == list(range(160)) and len(held) == 31
    assert np.bincount(targets[held], minlength=4).tolist() == [20, 10, 1, 0]
    assert len(split_rows(targets, 0.01, False, np.random.default_rng(0))[1]) == 0
    learned, held = split_rows(np.eye(4, dtype=int)[targets], 0.2, True, np.random.default_rng(0))
    assert len(held) == 32 and not set(learned) & set(held)
