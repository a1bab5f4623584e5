"""``rekur serve``: requests that are small and cost much, numbers beyond all ranges, columns of any name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from fastapi.testclient import TestClient

import rekur.tasks
from rekur.tasks.serve import Limits, create_app

SETTINGS = {"horizon": 3, "units": 4, "epochs": 1, "random_state": 0}
JSON = {"Content-Type": "application/json"}


def client(estimator: Any, **limits: Any) -> TestClient:
    return TestClient(create_app(estimator, name="m", limits=Limits(**limits)), raise_server_exceptions=False)


def problem(answer: Any, status: int, words: str) -> list[str]:
    """The pointers of a problem."""
    assert answer.status_code == status, answer.text
    assert words in answer.json()["detail"]
    return [error["pointer"] for error in answer.json().get("errors", ())]


@pytest.fixture(scope="module")
def named() -> Any:
    return rekur.tasks.Forecaster(target="load", **SETTINGS).fit({"load": np.sin(np.arange(90) / 3)})


def test_what_is_added_to_short_sequences_counts() -> None:
    x = [np.sin(np.arange(20) / (2 + number % 2)) for number in range(12)]
    classifier = rekur.tasks.SequenceClassifier(units=4, epochs=1, random_state=0).fit(x, ["a", "b"] * 6)
    with client(classifier, values=1000) as made:
        fair = {"sequences": [[0.5] * 40, *[[1.0]] * 50]}
        assert made.post("/v1/predict", json=fair).status_code == 200
        unfair = {"sequences": [[0.5] * 500, *[[1.0]] * 400]}
        assert problem(made.post("/v1/predict", json=unfair), 413, "as long as the longest") == ["/sequences"]
    texts = rekur.tasks.TextClassifier(epochs=1, random_state=0).fit(["good day", "bad night"] * 8, ["a", "b"] * 8)
    with client(texts, values=1000) as made:
        assert problem(made.post("/v1/predict", json={"texts": ["x" * 400, *"y" * 200]}), 413, "longest") == ["/texts"]


def test_tokens_count_as_padded_too() -> None:
    words = [["in", "York"], ["Ada", "lives"]] * 6
    tagger = rekur.tasks.SequenceTagger(units=4, epochs=1, random_state=0).fit(words, [["O", "P"], ["P", "O"]] * 6)
    with client(tagger, values=1000) as made:
        unfair = {"sequences": [["x"] * 400, *[["y"]] * 400]}
        assert problem(made.post("/v1/predict", json=unfair), 413, "longest") == ["/sequences"]


@pytest.mark.parametrize("number", [10**400, 10**30 * 10**10, -(10**39), 1e300])
def test_a_number_that_is_too_large_is_told(named: Any, number: Any) -> None:
    values = [float(value) for value in np.sin(np.arange(40) / 3)]
    with client(named) as made:
        for given in ([*values[:20], number, *values[21:]], [*values[:20], number, "x", *values[22:]]):
            answer = made.post("/v1/predict", json={"data": {"load": given}})
            assert problem(answer, 422, "a number is too large") == ["/data/load/20"]
            answer = made.post("/v1/streams", json={"data": {"load": given}})
            assert problem(answer, 422, "a number is too large") == ["/data/load/20"]


def test_rows_of_several_channels_begin_a_stream() -> None:
    hours = np.arange(90)
    both = np.c_[np.sin(hours / 3), np.cos(hours / 4)]
    unnamed = rekur.tasks.Forecaster(**SETTINGS).fit(both)
    tabled = rekur.tasks.Forecaster(target=["b", "a"], **SETTINGS).fit({"b": both[:, 0], "a": both[:, 1]})
    for model, names in ((unnamed, ["y0", "y1"]), (tabled, ["b", "a"])):
        with client(model) as made:
            steps = made.post("/v1/streams", json={"data": both[:80].tolist()}).json()["steps"]
            rows = {name: both[80:, place].tolist() for place, name in enumerate(names)}
            pushed = made.post(steps, json={"rows": rows})
            whole = dict(zip(names, both.T, strict=True)) if model is tabled else both
            expected = np.asarray(
                [model.predict(whole)[n] for n in names] if model is tabled else model.predict(whole).T
            )
            assert pushed.status_code == 200, pushed.text
            found = [pushed.json()["columns"][name] for name in names]
            np.testing.assert_allclose(found, expected, rtol=1e-6)
            assert problem(made.post("/v1/streams", json={"data": [[1.0] * 3] * 9}), 422, "not of 3") == ["/data"]


@pytest.mark.parametrize("name", ["series", "rows", "body", "flat", "table", "nothing", "float", "int", "a[0]"])
def test_a_column_of_any_name_is_pointed_to(named: Any, name: str) -> None:
    with client(named) as made:
        answer = made.post("/v1/predict", json={"data": {name: [1.0, [2.0]]}})
        assert set(problem(answer, 422, f"/data/{name}/1")) == {f"/data/{name}/1"}
        answer = made.post("/v1/predict", json={"data": {name: 3}})
        assert problem(answer, 422, "expected a list") == [f"/data/{name}"]
        answer = made.post("/v1/predict", json={name: 3})
        assert problem(answer, 422, "no such field") == [f"/{name}"]
        with made.websocket_connect("/v1/stream") as socket:
            socket.send_json({name: 3})
            assert f"/{name}" in [error["pointer"] for error in socket.receive_json()["errors"]]
