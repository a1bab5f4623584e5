"""Tables and files that would take too much time or memory, or hold numbers beyond all ranges."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rekur
from rekur import _core
from rekur.tasks._csv import read_rows
from rekur.tasks._dates import NotTimes, look_like_times, parse_times
from rekur.tasks._file import KEY, is_task, read, write
from rekur.tasks._numbers import plain_numbers
from rekur.tasks._series import read_series
from rekur.tasks._timeline import Timeline


def seconds(call: Any) -> float:
    begin = time.process_time()
    call()
    return time.process_time() - begin


@pytest.mark.parametrize("text", ["2024-01-01 10:00" + " " * 8000 + "x", "1" * 20_000 + "x"])
def test_a_long_text_is_no_date_and_is_told_so_at_once(text: str) -> None:
    assert seconds(lambda: look_like_times([text])) < 0.5
    with pytest.raises(NotTimes, match="no date"):
        parse_times([text])
    many = [text[:-1] + str(number % 10) for number in range(10)] * 10
    with pytest.raises(NotTimes, match="no date"):
        parse_times([f"{one}{number:03d}" for number, one in enumerate(many)])


def test_a_date_among_blanks_stays_one() -> None:
    found = parse_times([" " * 100 + "2024-01-01   10:00:00.123456789 am +02:00" + " " * 100])
    assert found.values[0] == np.datetime64("2024-01-01T08:00:00.123456789").astype(np.int64)


def test_integers_of_more_digits_than_python_reads_are_numbers() -> None:
    found = plain_numbers(["1" * 5000, "2"])
    assert found is not None
    assert found.tolist() == [float("inf"), 2.0]
    zeros = plain_numbers(["1" + "0" * 20, "0" * 5000 + "1"])
    assert zeros is not None
    assert zeros.tolist() == [1e20, 1.0]


def test_names_that_stand_many_times_are_told_apart_at_once_with_one_note() -> None:
    count = 3000
    data = (",".join(["a"] * count) + "\n" + ",".join(["1"] * count) + "\n").encode()
    rows = read_rows(data, "x.csv")
    assert seconds(lambda: read_rows(data, "x.csv")) < 2
    assert rows.names == ["a", *(f"a.{number}" for number in range(1, count))]
    assert [note for note in rows.notes if "stands twice" in note] == [
        "column 'a' stands twice: the one at place 2 is called 'a.1' "
        f"(and {count - 2} more of columns whose name was taken)"
    ]


def test_a_new_name_is_none_that_stands_before_it() -> None:
    assert read_rows(b"a,a.1,a,a\n1,2,3,4\n", "x.csv").names == ["a", "a.1", "a.2", "a.3"]


def test_many_series_may_not_have_too_many_steps_together() -> None:
    first = np.datetime64("2024-01-01T00:00:00")
    ends = [first, first + np.timedelta64(1999, "s")]
    times = [str(t) for _ in range(20_000) for t in ends]
    data = {"id": np.repeat(np.arange(20_000), 2), "t": times, "y": np.arange(40_000.0)}
    with pytest.raises(ValueError, match=r"time: the series have more than 20\d{6} values .* for 40000 rows"):
        read_series(data, time="t", target="y", series="id", freq="s")


def test_the_gap_before_a_future_counts() -> None:
    known = read_series({"t": np.arange(50), "y": np.arange(50.0), "x": np.arange(50.0)}, time="t", target="y",
                        future="x")  # fmt: skip
    with pytest.raises(ValueError, match="time: the series goes from 50 to 90000000, 89999951 steps"):
        known.with_future({"t": [90_000_000], "x": [1.0]})
    assert len(known.with_future({"t": [60], "x": [1.0]}).series[0].future) == 61


@pytest.mark.parametrize("freq", [None, 1])
@pytest.mark.parametrize("far", [1e300, -1e19, 2.0**63])
def test_a_time_beyond_all_numbers_is_too_far(far: float, freq: int | None) -> None:
    data = {"t": np.array([0.0, 1.0, 2.0, far]), "y": np.arange(4.0)}
    with pytest.raises(ValueError, match=r"time: .* is too far"):
        read_series(data, time="t", target="y", freq=freq)
    with pytest.raises(ValueError, match=r"time: .* is too far"):
        Timeline().ordinal(far)


def test_a_model_that_a_file_does_not_hold_takes_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"
    model = rekur.Sequential([rekur.Input((None, 3)), rekur.layers.LSTM(4)])
    write(path, "X", {"model": model})
    metadata, tensors = _core.read_safetensors(os.fsencode(path))
    spec = metadata[KEY].replace('"units": 4', '"units": 20000')
    assert spec != metadata[KEY]
    _core.write_safetensors(os.fsencode(path), {KEY: spec}, tensors)
    made: list[str] = []
    monkeypatch.setattr("rekur.tasks._file._core.Model", made.append)
    with pytest.raises(ValueError, match=r"not a valid estimator: weight .* not \("):
        read(path)
    assert not made


def test_no_memory_is_said_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path := tmp_path / "a.safetensors", "X", {"a": 1})

    def get(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr("rekur.tasks._file._Reader.get", get)
    with pytest.raises(ValueError, match="not a valid estimator: MemoryError"):
        read(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_no_estimator(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    asked = threading.Thread(target=is_task, args=(tmp_path / "pipe",), daemon=True)
    asked.start()
    asked.join(5)
    assert not asked.is_alive()


def test_an_estimator_says_so_in_its_metadata_alone(tmp_path: Path) -> None:
    write(path := tmp_path / "a.safetensors", "X", {"a": 1})
    assert is_task(path)
    other = tmp_path / "b.safetensors"
    _core.write_safetensors(os.fsencode(other), {"about": f'"{KEY}"'}, {KEY: np.zeros(2, np.float32)})
    assert not is_task(other)
    for text in (b"[]", b'{"__metadata__":3}', b"{" * 50_000):
        other.write_bytes(len(text).to_bytes(8, "little") + text)
        assert not is_task(other)
