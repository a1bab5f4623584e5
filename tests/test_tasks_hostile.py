"""Tables and files that would take too much time or memory, or hold numbers beyond all ranges."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from rekur.tasks._csv import read_rows
from rekur.tasks._dates import NotTimes, look_like_times, parse_times
from rekur.tasks._numbers import plain_numbers


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
