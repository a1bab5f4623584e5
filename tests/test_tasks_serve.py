"""``rekur serve``: a real process and a real client, streams, limits, hostile requests, the page in Chromium."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chromium import Chromium
from web_tools import chromium

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("httpx")
pytest.importorskip("websockets")

import httpx
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from websockets.sync.client import connect

import rekur.tasks
from rekur.tasks.serve import Limits, create_app
from rekur.tasks.serve._problems import Problem, pointer
from rekur.tasks.serve._sessions import Sessions

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def writer() -> Any:
    made = rekur.tasks.TextGenerator(units=8, embedding=4, epochs=1, batch_size=4, window=16, random_state=0)
    return made.fit("The quick brown fox jumps over the lazy dog. " * 20)


@pytest.fixture(scope="module")
def forecaster() -> Any:
    made = rekur.tasks.Forecaster(horizon=6, time="date", target="load", units=8, epochs=2, random_state=0)
    return made.fit(table(240))


def table(count: int) -> dict[str, Any]:
    hours = np.arange(count)
    times = np.datetime64("2024-01-01T00:00") + hours * np.timedelta64(1, "h")
    return {"date": times.astype(str), "load": 10 + np.sin(hours * 2 * np.pi / 24) + 0.01 * (hours % 7)}


def as_json(columns: dict[str, Any]) -> dict[str, Any]:
    return {name: np.asarray(values).tolist() for name, values in columns.items()}


@contextlib.contextmanager
def client(estimator: Any, **limits: Any) -> Iterator[TestClient]:
    with TestClient(create_app(estimator, name="m", limits=Limits(**limits)), raise_server_exceptions=False) as made:
        yield made


@pytest.fixture(scope="module")
def writing(writer: Any) -> Iterator[TestClient]:
    with client(writer) as made:
        yield made


@pytest.fixture(scope="module")
def forecasting(forecaster: Any) -> Iterator[TestClient]:
    with client(forecaster) as made:
        yield made


def refused(answer: Any, status: int, words: str, field: str | None = None) -> dict[str, Any]:
    """The problem of an answer."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["status"] == status and found["title"]
    assert words in found["detail"], found
    if field is not None:
        assert field in [error["pointer"] for error in found["errors"]], found
    return found


# Numbers are the estimator's.


def test_a_text_is_the_generators(writing: TestClient, writer: Any) -> None:
    body = {"prompt": "The ", "length": 30, "seed": 4, "temperature": 0.5, "top_k": 3}
    expected = writer.generate("The ", 30, seed=4, temperature=0.5, top_k=3)
    assert writing.post("/v1/predict", json=body).json() == {"text": expected}


def test_forecasts_are_the_forecasters(forecasting: TestClient, forecaster: Any) -> None:
    answer = forecasting.post("/v1/predict", json={"data": as_json(table(100)), "quantiles": [0.1, 0.9]}).json()
    point = forecaster.predict(table(100))
    assert answer["targets"] == ["load"] and answer["quantiles"] == [0.1, 0.9]
    assert answer["columns"]["load"] == [float(value) for value in point["load"]]
    bands = forecaster.predict_quantiles(table(100), quantiles=[0.1, 0.9])
    for name in ("load 0.1", "load 0.9"):
        assert answer["columns"][name] == [float(value) for value in bands[name]]
    assert [time[:13] for time in answer["columns"]["date"]] == [f"2024-01-05T0{h}" for h in range(4, 10)]
    # Without data: after those that it learned from.
    after = forecasting.post("/v1/predict", json={}).json()
    assert after["columns"]["load"] == [float(value) for value in forecaster.predict()["load"]]
    assert len(after["columns"]) == 2 + len(forecaster.quantiles)


def test_a_missing_value_is_null_both_ways(forecasting: TestClient, forecaster: Any) -> None:
    data = table(100)
    data["load"][50] = np.nan
    sent = as_json(data)
    sent["load"][50] = None
    answer = forecasting.post("/v1/predict", json={"data": sent}).json()
    assert answer["columns"]["load"] == [float(value) for value in forecaster.predict(data)["load"]]


def waves(count: int, channels: int = 2) -> tuple[list[Any], list[str]]:
    rng = np.random.default_rng(0)
    labels = ["slow" if i % 2 else "fast" for i in range(count)]
    made = [
        np.sin(np.arange(12 + i % 5)[:, None] / (4 if label == "slow" else 1) + rng.normal(size=channels)).astype(
            np.float32
        )
        for i, label in enumerate(labels)
    ]
    return made, labels


@pytest.fixture(scope="module")
def classifier() -> Any:
    made = rekur.tasks.SequenceClassifier(units=8, epochs=3, causal=True, random_state=0)
    return made.fit(*waves(40))


def test_labels_are_the_classifiers_and_so_are_streams(classifier: Any) -> None:
    sequences = waves(6)[0]
    with client(classifier) as made:
        answer = made.post("/v1/predict", json={"sequences": [s.tolist() for s in sequences]}).json()
        assert answer["labels"] == classifier.predict(sequences).tolist()
        assert answer["classes"] == classifier.classes_.tolist()
        assert answer["probabilities"] == np.asarray(classifier.predict_proba(sequences), np.float64).tolist()
        steps = made.post("/v1/streams", json={}).json()["steps"]
        parts = [made.post(steps, json={"values": part.tolist()}).json() for part in np.split(sequences[0], [1, 7])]
        assert [len(part["labels"]) for part in parts] == [1, 6, len(sequences[0]) - 7]
        np.testing.assert_allclose(parts[-1]["probabilities"][-1], answer["probabilities"][0], atol=1e-5)
        refused(
            made.post("/v1/predict", json={"sequences": [[1.0, 2.0]]}), 422, "2 channels a step, not 1", "/sequences/0"
        )
        refused(made.post("/v1/predict", json={"sequences": []}), 422, "", "/sequences")
        refused(made.post("/v1/predict", json={"sequences": [[]]}), 422, "one step", "/sequences/0")
        refused(made.post("/v1/predict", json={"sequences": [[[1.0, 1e39]]]}), 422, "float32", "/sequences/0")
        refused(made.post("/v1/predict", json={"sequences": [[[1.0, 2.0], ["a", 1.0]]]}), 422, "", "/sequences/0/1/0")
        refused(made.post(steps, json={"values": [[1.0]]}), 422, "2 channels", "/values")
        refused(made.post(steps, json={}), 422, "is missing", "/values")


def test_a_network_that_reads_both_ways_has_no_streams() -> None:
    regressor = rekur.tasks.SequenceRegressor(units=8, epochs=1, random_state=0)
    sequences, labels = waves(20)
    regressor.fit(sequences, [len(s) + (label == "slow") for s, label in zip(sequences, labels, strict=True)])
    with client(regressor) as made:
        answer = made.post("/v1/predict", json={"sequences": [s.tolist() for s in sequences[:3]]}).json()
        assert answer["values"] == [float(value) for value in regressor.predict(sequences[:3])]
        assert "both directions" in made.get("/v1/model").json()["why_no_streams"]
        refused(made.post("/v1/streams", json={}), 404, "both directions")


@pytest.fixture(scope="module")
def detector() -> Any:
    made = rekur.tasks.AnomalyDetector(window=8, units=8, epochs=2, random_state=0)
    return made.fit(np.sin(np.arange(400) / 5)[:, None] + np.random.default_rng(0).normal(0, 0.05, (400, 2)))


def test_scores_are_the_detectors_and_so_are_streams(detector: Any) -> None:
    series = np.sin(np.arange(60) / 5)[:, None] + np.zeros((60, 2))
    series[40, 1] += 8
    with client(detector) as made:
        answer = made.post("/v1/predict", json={"series": series.tolist()}).json()
        expected = -np.asarray(detector.score_samples(series), np.float64)
        assert answer["scores"] == [float(v) if np.isfinite(v) else None for v in expected]
        assert answer["alarms"] == (detector.predict(series) == -1).tolist() and any(answer["alarms"])
        assert answer["threshold"] == detector.threshold_
        flags = np.zeros(60, bool)
        for stretch in answer["stretches"]:
            flags[stretch["start"] : stretch["end"]] = True
        assert flags.tolist() == answer["alarms"]
        with made.websocket_connect("/v1/stream") as stream:
            scores: list[Any] = []
            for part in np.split(series, [1, 41, 50]):
                stream.send_json({"values": part.tolist()})
                scores += stream.receive_json()["scores"]
        assert scores == answer["scores"]
        refused(made.post("/v1/predict", json={"series": [[1.0, 2.0], [3.0]]}), 422, "expected 2 values", "/series/1")
        missing = made.post("/v1/predict", json={"series": [[None, 1.0]] * 20})
        assert missing.status_code == 200


def test_steps_are_tagged() -> None:
    words = [["Ada", "lives", "here"], ["London", "is", "far"], ["she", "knows", "Ada", "well"]] * 8
    tags = [["name", "o", "o"], ["name", "o", "o"], ["o", "o", "name", "o"]] * 8
    tagger = rekur.tasks.SequenceTagger(units=8, embedding=8, epochs=2, random_state=0).fit(words, tags)
    with client(tagger) as made:
        answer = made.post("/v1/predict", json={"sequences": words[:3]}).json()
        assert answer == {"tags": tagger.predict(words[:3]), "classes": tagger.classes_.tolist()}
        assert "tokens" in made.get("/v1/model").json()["why_no_streams"]
        refused(made.post("/v1/predict", json={"sequences": [[1.0]]}), 422, "expected a text", "/sequences/0/0")
        refused(made.post("/v1/predict", json={"sequences": [["a"], []]}), 422, "one token", "/sequences/1")
        assert made.get("/").status_code == 200
    sequences = waves(20)[0]
    labels = [["up" if step > 0 else "down" for step in sequence[:, 0]] for sequence in sequences]
    settings = {"units": 8, "epochs": 2, "random_state": 0, "crf": False, "causal": True}
    tagger = rekur.tasks.SequenceTagger(**settings).fit(sequences, labels)
    with client(tagger) as made:
        answer = made.post("/v1/predict", json={"sequences": [s.tolist() for s in sequences[:2]]}).json()
        assert answer["tags"] == tagger.predict(sequences[:2])
        steps = made.post("/v1/streams", json={}).json()["steps"]
        assert made.post(steps, json={"values": sequences[0].tolist()}).json()["labels"] == answer["tags"][0]


def test_forecasters_of_all_kinds() -> None:
    hours = np.arange(200)
    settings = {"horizon": 3, "units": 4, "epochs": 1, "random_state": 0}
    series = np.sin(hours / 3)
    points = rekur.tasks.Forecaster(output="point", **settings).fit(series)
    with client(points) as made:
        answer = made.post("/v1/predict", json={"data": series[:90].tolist()}).json()
        assert answer["columns"] == {"step": [1, 2, 3], "y": [float(v) for v in points.predict(series[:90])]}
        refused(made.post("/v1/predict", json={"quantiles": [0.5]}), 422, "without quantiles", "/quantiles")
        steps = made.post("/v1/streams", json={"data": series[:89].tolist()}).json()["steps"]
        pushed = made.post(steps, json={"rows": {"values": [float(series[89])]}}).json()
        assert pushed["columns"]["y"] == answer["columns"]["y"]
    many = rekur.tasks.Forecaster(output="normal", **settings).fit([series, np.cos(hours[:100] / 4)])
    with client(many) as made:
        answer = made.post("/v1/predict", json={"quantiles": [0.25]}).json()["columns"]
        assert answer["series"] == [0, 0, 0, 1, 1, 1] and answer["step"] == [1, 2, 3] * 2
        assert answer["y"] == [float(v) for part in many.predict() for v in part]
        assert answer["y 0.25"] == [
            float(v) for part in many.predict_quantiles(quantiles=[0.25]) for v in np.ravel(part)
        ]
    rows = np.c_[np.sin(hours / 5), np.cos(hours / 5)]
    supervised = rekur.tasks.Forecaster(**settings).fit(rows, series)
    with client(supervised) as made:
        # Fitted on (X, y): the data are the covariates of the steps to come.
        answer = made.post("/v1/predict", json={"data": rows[:3].tolist()}).json()
        (target,) = answer["targets"]
        assert answer["columns"][target] == [float(v) for v in supervised.predict(rows[:3])]


def test_texts_are_classified_and_translated() -> None:
    texts = ["good day", "fine day", "bad night", "dark night"] * 6
    labels = ["up", "up", "down", "down"] * 6
    made = rekur.tasks.TextClassifier(units=4, epochs=1, random_state=0).fit(texts, labels)
    with client(made) as service:
        answer = service.post("/v1/predict", json={"texts": ["good", ""]}).json()
        assert answer["labels"] == made.predict(["good", ""]).tolist()
        assert answer["probabilities"] == made.predict_proba(["good", ""]).tolist()
        refused(service.post("/v1/predict", json={"texts": "good"}), 422, "expected a list", "/texts")
        refused(service.post("/v1/predict", json={"texts": [None]}), 422, "expected a text", "/texts/0")
    translator = rekur.tasks.Translator(units=8, epochs=1, random_state=0).fit(
        ["ab", "ba", "aa"] * 8, ["xy", "yx", "xx"] * 8
    )
    with client(translator) as service:
        answer = service.post("/v1/predict", json={"texts": ["ab", "aa"]}).json()
        assert answer["texts"] == translator.predict(["ab", "aa"]).tolist()


# Streams.


def test_a_stream_of_text_goes_on_where_it_was(writing: TestClient, writer: Any) -> None:
    expected = writer.generate("The ", 24, seed=9)
    made = writing.post("/v1/streams", json={"prompt": "The ", "seed": 9})
    assert made.status_code == 201
    steps = made.json()["steps"]
    text = "".join(writing.post(steps, json={"length": n}).json()["text"] for n in (1, 8, 15))
    assert text == expected
    assert writing.get("/health").json()["streams"] == 1
    identity = made.json()["id"]
    assert writing.delete(f"/v1/streams/{identity}").status_code == 204
    refused(writing.post(steps, json={"length": 1}), 404, "no such stream")
    refused(writing.delete(f"/v1/streams/{identity}"), 404, "no such stream")
    assert writing.get("/health").json()["streams"] == 0


def test_a_stream_of_rows_forecasts_behind_each(forecasting: TestClient, forecaster: Any) -> None:
    whole = as_json(table(80))
    first = {name: values[:70] for name, values in whole.items()}
    steps = forecasting.post("/v1/streams", json={"data": first}).json()["steps"]
    for begin, end in ((70, 71), (71, 80)):
        rows = {name: values[begin:end] for name, values in whole.items()}
        answer = forecasting.post(steps, json={"rows": rows}).json()
        known = {name: np.asarray(values)[:end] for name, values in table(80).items()}
        assert answer["columns"]["load"] == [float(value) for value in forecaster.predict(known)["load"]]
    refused(forecasting.post(steps, json={"rows": {"other": [1.0]}}), 422, "expected the columns", "/rows")


def test_streams_are_limited_and_expire(writer: Any) -> None:
    with client(writer, sessions=2, idle=0.3) as made:
        names = [made.post("/v1/streams", json={}).json()["steps"] for _ in range(2)]
        answer = made.post("/v1/streams", json={})
        refused(answer, 429, "2 streams are open")
        assert answer.headers["retry-after"]
        with made.websocket_connect("/v1/stream") as socket:
            assert socket.receive_json()["status"] == 429
        time.sleep(0.4)
        refused(made.post(names[0], json={}), 404, "idle too long")
        assert made.post("/v1/streams", json={}).status_code == 201


def test_a_failed_beginning_takes_no_place(writer: Any) -> None:
    with client(writer, sessions=1) as made:
        for _ in range(3):
            refused(made.post("/v1/streams", json={"prompt": 3}), 422, "expected a text", "/prompt")
        assert made.post("/v1/streams", json={}).status_code == 201


def test_sessions_count_themselves() -> None:
    now = [0.0]
    sessions = Sessions(Limits(sessions=2, idle=10), clock=lambda: now[0])
    sessions.reserve()
    first = sessions.add("a")
    sessions.reserve()
    with pytest.raises(Problem):
        sessions.reserve()
    sessions.release()
    now[0] = 9
    assert sessions.get(first).live == "a"
    now[0] = 18
    session = sessions.get(first)
    with session.lock:  # one that is at work does not expire
        now[0] = 40
        assert len(sessions) == 1
    assert len(sessions) == 0


# What does not fit.

HOSTILE: list[tuple[str | bytes, int, str]] = [
    (b"", 422, ""),
    (b"{", 400, ""),
    (b"null", 422, ""),
    (b"[]", 422, ""),
    (b'"text"', 422, ""),
    (b"\xff\xfe\x00", 400, ""),
    (b'{"prompt": "a", "length": NaN}', 422, "/length"),
    (b'{"prompt": "a", "temperature": NaN}', 422, "/temperature"),
    (b'{"prompt": "a", "temperature": Infinity}', 422, "/temperature"),
    (b'{"prompt": "a", "temperature": 1e999}', 422, "/temperature"),
    (b'{"prompt": "a", "temperature": "0.5"}', 422, "/temperature"),
    (b'{"prompt": "a", "temperature": -1}', 422, "/temperature"),
    (b'{"prompt": "a", "length": true}', 422, "/length"),
    (b'{"prompt": "a", "length": 1.5}', 422, "/length"),
    (b'{"prompt": "a", "length": 1000000000}', 422, "/length"),
    (b'{"prompt": "a", "length": 0}', 422, "/length"),
    (b'{"prompt": "a", "seed": 99999999999999999999999999}', 422, "/seed"),
    (b'{"prompt": "a", "length": ' + b"9" * 5000 + b"}", 400, ""),
    (b'{"prompt": ["a"]}', 422, "/prompt"),
    (b'{"prompt": "\\ud800"}', 422, "/prompt"),
    (b'{"prompt": "a", "unknown": 1}', 422, "/unknown"),
    (b'{"a/b~c": 1}', 422, "/a~1b~0c"),
    (b"[" * 100_000, 400, ""),
    (b'{"a":' * 50_000, 400, ""),
    (b'{"prompt": ' + b"[" * 3000 + b"]" * 3000 + b"}", 400, ""),
]


@pytest.mark.parametrize("body, status, field", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_bodies_are_refused(writing: TestClient, body: bytes, status: int, field: str) -> None:
    answer = writing.post("/v1/predict", content=body, headers=JSON)
    # Where a body ends too early or nests too deeply, which of the two is told depends on the parser.
    assert answer.status_code in ((status,) if field else (400, 422)), answer.text
    refused(answer, answer.status_code, "", field or None)


TABLES: list[tuple[Any, str, str]] = [
    ({"date": ["2024-01-01"], "load": ["x"]}, "", "/data"),
    ({"date": ["no date"] * 3, "load": [1.0, 2.0, 3.0]}, "", "/data"),
    ({"date": [1, 2], "load": [1.0]}, "expected 2 values", "/data/load"),
    ({"load": []}, "one row", "/data"),
    ({}, "one column", "/data"),
    ({"other": [1.0, 2.0]}, "", "/data"),
    ({"date": ["2024-01-01"], "load": [[1.0]]}, "", "/data/load/0"),
    ({"date": ["2024-01-01"], "load": [10**400]}, "", "/data/load/0"),
    ({"date": ["0001-01-01T00:00", "9999-12-31T23:00"], "load": [1.0, 2.0]}, "", "/data"),
    ([], "one step", "/data"),
    ([[1.0], [1.0, 2.0]], "expected 1 values", "/data/1"),
    (["a"], "expected a number", "/data/0"),
    ("/etc/passwd", "expected a list", "/data"),
    (3, "expected a list", "/data"),
]


@pytest.mark.parametrize("data, words, field", TABLES, ids=range(len(TABLES)))
def test_tables_that_do_not_fit_are_refused(forecasting: TestClient, data: Any, words: str, field: str) -> None:
    begin = time.monotonic()
    refused(forecasting.post("/v1/predict", json={"data": data}), 422, words, field)
    assert time.monotonic() - begin < 10


def test_other_things_are_refused(writing: TestClient) -> None:
    refused(writing.get("/v1/nothing"), 404, "")
    refused(writing.get("/v1/predict"), 405, "")
    refused(writing.post("/v1/predict", content=b"{}", headers={"Content-Type": "text/plain"}), 415, "JSON")
    refused(
        writing.post("/v1/predict", content=b"{}", headers={"Content-Type": "application/x-www-form-urlencoded"}),
        415,
        "",
    )
    refused(writing.post("/v1/streams/..%2f..%2fetc/steps", content=b"{}", headers=JSON), 404, "")


def test_a_million_wrong_numbers_are_told_once(forecasting: TestClient) -> None:
    answer = forecasting.post("/v1/predict", json={"data": {"date": ["a"] * 200_000, "load": ["b"] * 200_000}})
    assert answer.status_code == 422 and len(answer.content) < 3000
    answer = forecasting.post("/v1/predict", json={"data": ["x"] * 300_000})
    assert len(refused(answer, 422, "expected a number")["errors"]) == 1


def test_sizes_are_limited(writer: Any, forecaster: Any) -> None:
    with client(writer, body=1000) as made:
        refused(made.post("/v1/predict", json={"prompt": "a" * 2000}), 413, "1000 bytes")
        with made.websocket_connect("/v1/stream") as socket:
            socket.send_text(json.dumps({"begin": {"prompt": "a" * 2000}}))
            assert socket.receive_json()["status"] == 413

        def pieces() -> Iterator[bytes]:  # without a length
            yield from [b"a" * 400] * 5

        refused(made.post("/v1/predict", content=pieces(), headers=JSON), 413, "1000 bytes")
    with client(forecaster, values=100) as made:
        refused(made.post("/v1/predict", json={"data": as_json(table(60))}), 413, "100 cells", "/data")


def test_time_is_limited(writer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    monkeypatch.setattr(writer, "generate", lambda *a, **k: ended.wait(5) and "x", raising=False)
    with client(writer, seconds=0.2) as made:
        refused(made.post("/v1/predict", json={}), 504, "0.2 seconds")
        ended.set()


def test_an_error_of_ours_is_a_problem_without_its_text(writer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> str:
        raise RuntimeError("secret")

    monkeypatch.setattr(writer, "generate", broken, raising=False)
    with client(writer) as made:
        answer = made.post("/v1/predict", json={})
        refused(answer, 500, "service itself")
        assert "secret" not in answer.text


def test_too_many_requests_are_told(writer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    monkeypatch.setattr(writer, "generate", lambda *a, **k: ended.wait(10) and "x", raising=False)
    app = create_app(writer, limits=Limits(requests=3))

    async def ask() -> list[int]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as made:
            waiting = [asyncio.create_task(made.post("/v1/predict", json={})) for _ in range(3)]
            await asyncio.sleep(0.3)
            refusal = await made.get("/health")
            ended.set()
            return [refusal.status_code, *(answer.status_code for answer in await asyncio.gather(*waiting))]

    assert asyncio.run(ask()) == [503, 200, 200, 200]


def test_hosts_and_origins(writer: Any) -> None:
    with TestClient(create_app(writer, hosts=["localhost"]), base_url="http://localhost:8000") as made:
        assert made.get("/health").status_code == 200
        refused(made.get("/health", headers={"Host": "rebound.example"}), 421, "Host")
        ours = {"Origin": "http://localhost:8000", "Host": "localhost:8000"}
        with made.websocket_connect("/v1/stream", headers=ours):
            pass
        for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
            with pytest.raises(WebSocketDisconnect), made.websocket_connect("/v1/stream", headers=headers):
                pass


# What describes itself.


def test_the_card_and_the_description(writing: TestClient, forecasting: TestClient, writer: Any) -> None:
    card = writing.get("/v1/model").json()
    assert card["estimator"] == "TextGenerator" and card["task"] == "write" and card["streams"] is True
    assert card["parameters"] == writer.models_[0].count_params()
    assert card["versions"]["rekur"] == rekur.__version__ and "TextGenerator" in card["summary"]
    other = forecasting.get("/v1/model").json()
    assert other["horizon"] == 6 and other["targets"] == ["load"] and other["time"] == ["date"]
    described = forecasting.get("/openapi.json").json()
    request = described["components"]["schemas"]["ForecastRequest"]["properties"]
    assert set(request) == {"data", "future", "quantiles"}
    assert set(described["paths"]) == {
        "/health", "/v1/model", "/v1/predict", "/v1/streams", "/v1/streams/{identity}/steps", "/v1/streams/{identity}",
    }  # fmt: skip
    assert "422" in described["paths"]["/v1/predict"]["post"]["responses"]


def test_the_page_is_safe_and_alone(writer: Any) -> None:
    name = '<script>alert("x")</script></textarea>'
    with TestClient(create_app(writer, name=name)) as made:
        answer = made.get("/")
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe-inline" not in policy.split("style-src")[0]
        assert answer.text.count("<script") == 2 and answer.text.count("</textarea>") == 1
        assert "&lt;script&gt;alert(&quot;x&quot;)" in answer.text and "\\u003c/script>" in answer.text
        assert "http://" not in answer.text.replace("http://www.w3.org/2000/svg", "")


def test_other_objects_are_refused() -> None:
    with pytest.raises(TypeError, match="expected an estimator of rekur"):
        create_app(object())
    with pytest.raises(ValueError, match="not fitted"):
        create_app(rekur.tasks.TextGenerator())
    with pytest.raises(ValueError, match="Limits: seconds"):
        Limits(seconds=0)
    with pytest.raises(ValueError, match="Limits: idle: expected a finite number above 0, not inf"):
        Limits(idle=float("inf"))
    assert pointer(["a/b", "c~d", 3]) == "/a~1b/c~0d/3"


def test_importing_needs_no_fastapi() -> None:
    code = "import sys, rekur.tasks.serve; print({'fastapi', 'pydantic', 'uvicorn'} & set(sys.modules))"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout.strip() == "set()"


# A real process.


@pytest.fixture(scope="module")
def process(writer: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[str], str]]:
    path = tmp_path_factory.mktemp("serve") / "writer.safetensors"
    writer.save(path)
    command = [sys.executable, "-m", "rekur", "serve", str(path), "--port", "0"]
    made = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert made.stdout is not None and made.stderr is not None
    line = made.stdout.readline()
    found = re.search(r"writer\.safetensors \(TextGenerator\) is served at (http://127\.0\.0\.1:\d+) ", line)
    assert found, line + made.stderr.read()
    yield made, found.group(1)
    made.kill()
    made.wait()


def ask(address: str, body: Any) -> Any:
    request = urllib.request.Request(f"{address}/v1/predict", json.dumps(body).encode(), JSON)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_a_real_client(process: Any, writer: Any) -> None:
    _, address = process
    assert ask(address, {"prompt": "The ", "length": 12, "seed": 3}) == {"text": writer.generate("The ", 12, seed=3)}
    with pytest.raises(urllib.error.HTTPError) as error:
        ask(address, {"prompt": 3})
    assert error.value.code == 422 and json.load(error.value)["errors"][0]["pointer"] == "/prompt"
    answers: list[Any] = []
    body = {"seed": 1, "length": 9}
    threads = [threading.Thread(target=lambda: answers.append(ask(address, body))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [{"text": writer.generate("", 9, seed=1)}] * 8


def test_a_stream_over_a_websocket(process: Any, writer: Any) -> None:
    address = process[1].replace("http", "ws") + "/v1/stream"
    with connect(address) as stream:
        stream.send(json.dumps({"begin": {"prompt": "The ", "seed": 5}}))
        assert json.loads(stream.recv(30)) == {"begun": True}
        text = ""
        for length in (2, 10):
            stream.send(json.dumps({"length": length}))
            text += json.loads(stream.recv(30))["text"]
        assert text == writer.generate("The ", 12, seed=5)
        bad = {"{": 400, '{"length": "x"}': 422, "[" * 50_000: 400, b"\xff": 400, "NaN": 422}
        for message, status in bad.items():
            stream.send(message)
            assert json.loads(stream.recv(30))["status"] == status
        stream.send(json.dumps({"length": 1}))  # it goes on all the same
        assert len(json.loads(stream.recv(30))["text"]) == 1


def test_a_client_that_sends_nothing_is_no_harm(process: Any) -> None:
    host, port = process[1].removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as silent:
        head = "POST /v1/predict HTTP/1.1", "Host: localhost", "Content-Type: application/json", "Content-Length: 99"
        silent.sendall("\r\n".join([*head, "", ""]).encode())
        assert ask(process[1], {"length": 1})


def test_the_page_in_chromium(process: Any, writer: Any, tmp_path: Path) -> None:
    with Chromium(chromium(), tmp_path) as page:
        for width in (1280, 390):
            page.open(process[1], width=width)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.evaluate("document.getElementById('seed').value = '7', document.getElementById('length').value = '20'")
        page.evaluate("document.getElementById('go').click()")
        text = page.wait_for("document.querySelector('#words span:nth-child(2)')?.textContent")
        assert text == writer.generate("The ", 20, seed=7)
        page.evaluate("document.getElementById('live').click()")
        page.wait_for("document.getElementById('state').textContent.startsWith('answered')")
        assert page.evaluate("document.querySelector('#words span:nth-child(2)').textContent") == text
        page.evaluate("document.getElementById('length').value = '0'")
        page.evaluate("document.getElementById('form').noValidate = true, document.getElementById('go').click()")
        page.wait_for("document.getElementById('problem').textContent.includes('/length')")
        problems = [p for p in page.problems if "422" not in p]  # the refusal just asked for
        assert problems == []


def test_it_ends_in_order(process: Any) -> None:
    made, address = process
    with connect(address.replace("http", "ws") + "/v1/stream"):
        made.send_signal(signal.SIGTERM)
        _, errors = made.communicate(timeout=30)
    assert made.returncode == 0
    assert "Traceback" not in errors


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    from rekur.cli import main

    assert main(["serve", str(tmp_path / "none.safetensors")]) == 1
    assert main(["serve", str(tmp_path / "x.safetensors"), "--port", "70000"]) == 1
