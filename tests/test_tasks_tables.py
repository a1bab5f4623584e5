"""Tables from files: what people's CSV files look like, and what is refused with its line."""

import bz2
import datetime
import gzip
import os
import random
import threading

import numpy as np
import pytest

from rekur.tasks import _dates
from rekur.tasks._csv import read_rows
from rekur.tasks._numbers import parse_numbers
from rekur.tasks._tables import read_table


def write(tmp_path, text, encoding="utf-8", name="data.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


def table(tmp_path, text, encoding="utf-8", **options):
    return read_table(write(tmp_path, text, encoding), **options)


def values(table, name):
    return table.column(name).values.tolist()


PLAIN = "date,load,site\n2024-01-01,1.5,a\n2024-01-02,,b\n2024-01-03,-3e2,a\n"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.encode(),
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.encode("utf-16"),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: text.rstrip("\n").encode(),
        lambda text: text.replace(",", ";").encode(),
        lambda text: text.replace(",", "\t").encode(),
        lambda text: text.replace(",", "|").encode(),
        lambda text: text.replace(",", " , ").encode(),
        lambda text: "\n".join(
            ",".join(f'"{cell}"' for cell in line.split(",")) for line in text.splitlines()
        ).encode(),
        lambda text: ("# a comment\n\n" + text.replace("\n", "\n\n")).encode(),
        lambda text: text.replace("\n", ",\n").encode(),
        lambda text: gzip.compress(text.encode(), mtime=0),
        lambda text: bz2.compress(text.encode()),
    ],
)
def test_one_table_in_many_dresses(tmp_path, change):
    found = table(tmp_path, change(PLAIN))
    assert found.names == ["date", "load", "site"]
    np.testing.assert_array_equal(found.column("load").numbers(), [1.5, np.nan, -300])
    assert found.times("date").values.astype("M8[ns]").astype("M8[D]").tolist() == [
        datetime.date(2024, 1, day) for day in (1, 2, 3)
    ]
    assert values(found, "site") == ["a", "b", "a"]


def test_columns_between_blanks(tmp_path):
    found = table(tmp_path, "x   y\n1   2\n  3 4.5\n")
    assert found.names == ["x", "y"] and values(found, "y") == [2, 4.5]


@pytest.mark.parametrize("mark", ["", "NA", "NaN", "nan", "null", "None", "?", "-", "N/A", "#N/A", " ", "NULL"])
def test_missing_marks(tmp_path, mark):
    found = table(tmp_path, f"x,y\n1,a\n{mark},b\n3,{mark}\n")
    np.testing.assert_array_equal(found.column("x").numbers(), [1, np.nan, 3])
    assert values(found, "y") == ["a", "b", None]


@pytest.mark.parametrize(
    ("texts", "numbers", "said"),
    [
        (["1", "-2", "+3"], [1, -2, 3], ""),
        (["1.5", ".5", "5.", "1e-3", "-1E+2"], [1.5, 0.5, 5, 1e-3, -100], ""),
        (["1,5", "2,25", "-0,125"], [1.5, 2.25, -0.125], "decimal comma"),
        (["1.234,5", "12.345.678,9"], [1234.5, 12345678.9], "decimal comma"),
        (["1,234.5", "12,345,678"], [1234.5, 12345678], "thousands"),
        (["1 234", "12 345 678", "5"], [1234, 12345678, 5], ""),
        (["1'234.5", "5"], [1234.5, 5], ""),
        (["1 234,5", "7"], [1234.5, 7], "decimal comma"),
        (["$1,234.50", "-$5"], [1234.5, -5], "left out"),
        (["12 %", "3.5%"], [12, 3.5], "left out"),
        (["(1,000)", "2"], [-1000, 2], ""),
        (["−5", "3"], [-5, 3], ""),
        (["inf", "1"], [np.inf, 1], ""),
        (["9007199254740993", "1"], [9007199254740993, 1], ""),
    ],
)  # fmt: skip
def test_numbers_as_people_write_them(texts, numbers, said):
    found = parse_numbers(texts)
    assert found is not None
    assert found[0].tolist() == numbers
    assert said in found[1]


@pytest.mark.parametrize(
    "texts", [["007", "12"], ["1_000"], ["1,2,3"], ["12:30"], ["1.2.3"], ["x", "1"], ["0x10"], ["--1"]]
)
def test_what_is_no_number(texts):
    assert parse_numbers(texts) is None


def test_one_column_tells_the_decimal_mark_of_the_others(tmp_path):
    found = table(tmp_path, "date;a;b\n01.02.2024;1,234;0,5\n02.02.2024;5,678;12,25\n")
    assert values(found, "a") == [1.234, 5.678] and values(found, "b") == [0.5, 12.25]
    assert any("decimal comma" in note for note in found.notes)
    found = table(tmp_path, "date,a\n01.02.2024,1.234\n02.02.2024,5.678\n")
    assert values(found, "a") == [1.234, 5.678]  # the points of the dates are no marks of thousands
    found = table(tmp_path, 'a,b\n"1,234",x\n"5,678",y\n')
    assert values(found, "a") == [1234, 5678]


def test_header(tmp_path):
    found = table(tmp_path, "2024-01-01,5\n2024-01-02,6\n")
    assert found.names == ["column_1", "column_2"] and found.rows == 2
    assert any("no header" in note for note in found.notes)
    found = table(tmp_path, "x,x,,x\n1,2,3,4\n")
    assert found.names == ["x", "x.1", "column_3", "x.2"]
    assert sum("stands twice" in note for note in found.notes) == 1
    found = table(tmp_path, "a b\nr1 1 2\nr2 3 4\n")  # as R writes it
    assert found.names == ["column_1", "a", "b"] and values(found, "b") == [2, 4]
    found = table(tmp_path, "name,2020,2021\na,1,2\n")
    assert found.names == ["name", "2020", "2021"]


def test_quotes_hold_separators_and_lines(tmp_path):
    found = table(tmp_path, 'x,y\n"a, ""b""\nc",1\nd,2\n')
    assert values(found, "x") == ['a, "b"\nc', "d"]
    assert found.lines == [2, 4]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "is empty"),
        (b"\n\n# only this\n", "is empty"),
        (b"a,b\n1,2\n3\n", r"line 3: 1 field where the header \(line 1\) has 2"),
        (b"a,b\n1,2\n\n3,4,5\n", r"line 4: 3 fields where"),
        (b'a,b\n1,2\n"3,4\n5,6\n', "line 3: a quote is opened and never closed"),
        (b"a,b\n1,\x00\n", "line 2 holds a byte of 0"),
        (bytes(range(256)) * 3, "bytes? of 0"),
        (b"PK\x03\x04" + b"x" * 99, "Excel or zip"),
        (gzip.compress(PLAIN.encode(), mtime=0)[:-12], "cannot be unpacked"),
        (b"\xff\xfea", "UTF-16"),
        (b'a,b\n"' + b"x" * 200_000 + b'",1\n', "line 2: field larger"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        table(tmp_path, text)


def test_windows_encoding_is_said(tmp_path):
    found = table(tmp_path, "größe,y\n1,2\n", "latin-1")
    assert found.names[0] == "größe" and "Windows-1252" in found.notes[0]


def test_random_bytes_never_end_in_anything_but_a_message(tmp_path):
    generator = random.Random(0)
    for _ in range(300):
        text = bytearray(PLAIN.encode() * 3)
        for _ in range(generator.randint(1, 12)):
            text[generator.randrange(len(text))] = generator.choice(b'\x00",;\n\r\xff\xe90.-#')
        path = write(tmp_path, bytes(text[: generator.randint(1, len(text))]))
        try:
            found = read_table(path)
            for name in found.names:
                found.column(name)
        except ValueError as error:
            assert "data.csv" in str(error)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-05-31", "2024-05-31"), ("2024/5/1", "2024-05-01"), ("2024.05.31", "2024-05-31"),
        ("20240531", "2024-05-31"),
        ("2024-05-31 13:05", "2024-05-31T13:05"), ("2024-05-31T13:05:06.5", "2024-05-31T13:05:06.5"),
        ("20240531T130506", "2024-05-31T13:05:06"), ("2024-05-31T13:05Z", "2024-05-31T13:05"),
        ("2024-05-31T13:05+02:00", "2024-05-31T11:05"), ("2024-05-31 13:05:06-0330", "2024-05-31T16:35:06"),
        ("31.05.2024", "2024-05-31"), ("31.05.2024 18.30.00", "2024-05-31T18:30"), ("31/5/24", "2024-05-31"),
        ("5/31/2024 1:05 PM", "2024-05-31T13:05"), ("5/31/2024 12:05 a.m.", "2024-05-31T00:05"),
        ("31 May 2024", "2024-05-31"), ("31-May-69", "1969-05-31"), ("May 31, 2024 08:00", "2024-05-31T08:00"),
        ("Fri, 31 May 2024", "2024-05-31"), ("2024-May-31", "2024-05-31"), ("September 5, 2024", "2024-09-05"),
        ("Fri May 31 13:05:06 UTC 2024", "2024-05-31T13:05:06"), ("2024-05", "2024-05-01"), ("2024M05", "2024-05-01"),
        ("May 2024", "2024-05-01"), ("2024 May", "2024-05-01"), ("2024Q2", "2024-04-01"), ("Q2 2024", "2024-04-01"),
        ("2024-W22", "2024-05-27"), ("2020-W53-5", "2021-01-01"), ("2024-05-31 24:00", "2024-06-01"),
        ("2024-05-31 13", "2024-05-31T13"), ("2024-06-30 23:59:60", "2024-07-01"), ("5/2024", "2024-05-01"),
    ],
)  # fmt: skip
def test_forms_of_dates(text, expected):
    found = _dates.parse_times([text, None])
    assert found.values[0].astype("M8[ns]") == np.datetime64(expected, "ns")
    assert found.missing.tolist() == [False, True]


@pytest.mark.parametrize("text", ["2024-13-01", "2024-02-30", "0999-01-01", "2400-01-01", "hello", "25:00",
                                  "2024-05-31 25:00", "Maybe 5, 2024", "2024-05-31 13:00 PM", "2024-W60"])  # fmt: skip
def test_dates_that_do_not_exist(text):
    with pytest.raises(_dates.NotTimes) as caught:
        _dates.parse_times(["2024-01-01", None, text])
    assert caught.value.row == 2


def test_many_dates_are_read_as_single_ones_are():
    start = np.datetime64("2024-02-28T00:00", "s")
    moments = start + np.random.default_rng(0).integers(0, 10**8, 300)
    stamps = [moment.astype(datetime.datetime) for moment in moments]
    for form in (
        "%Y-%m-%d %H:%M:%S",
        "%d.%m.%Y %H:%M:%S",
        "%m/%d/%Y %H:%M:%S",
        "%Y%m%dT%H%M%S",
        "%Y-%m-%dT%H:%M:%S.250Z",
    ):
        texts = [stamp.strftime(form) for stamp in stamps]
        extra = np.timedelta64(250 if ".250" in form else 0, "ms")
        np.testing.assert_array_equal(_dates.parse_times(texts).values.astype("M8[ns]"), moments + extra)


def test_day_and_month():
    def read(texts, **options):
        found = _dates.parse_times(texts, **options)
        return [str(day) for day in found.values.astype("M8[ns]").astype("M8[D]")], " ".join(found.notes)

    assert read(["03/04/2024", "13/04/2024"])[0] == ["2024-04-03", "2024-04-13"]
    assert read(["03/04/2024", "04/13/2024"])[0] == ["2024-03-04", "2024-04-13"]
    days, said = read(["01/02/2024", "02/02/2024", "03/02/2024", "04/02/2024", "01/03/2024"])
    assert days[1] == "2024-02-02" and "day first" in said and "order of the rows" in said
    days, said = read(["03/04/2024"])
    assert days == ["2024-03-04"] and "ambiguous ('03/04/2024')" in said and "month first" in said
    assert read(["03.04.2024"])[0] == ["2024-04-03"]
    assert read(["03/04/2024"], day_first=True) == (["2024-04-03"], "")
    with pytest.raises(_dates.NotTimes, match=r"day first.*month first"):
        read(["13/04/2024", "04/13/2024"])
    with pytest.raises(_dates.NotTimes, match="with and without an offset"):
        read(["2024-01-01T00:00Z", "2024-01-01T00:00"])


@pytest.mark.parametrize(
    ("name", "numbers", "expected", "said"),
    [
        ("t", [1700000000, 1700003600], "2023-11-14T22:13:20", "seconds since 1970"),
        ("t", [1700000000.5, 1700003600.5], "2023-11-14T22:13:20.5", "seconds since 1970"),
        ("t", [1700000000123, 1700003600000], "2023-11-14T22:13:20.123", "ms since 1970"),
        ("t", [1700000000123456, 1700003600000000], "2023-11-14T22:13:20.123456", "µs since 1970"),
        ("t", [1700000000123456789, 1700003600000000000], "2023-11-14T22:13:20.123456789", "ns since 1970"),
        ("x", [20240131, 20240201], "2024-01-31", "eight digits"),
        ("month", [202401, 202402], "2024-01-01", "six digits"),
        ("Year", [1749.0, 1750.0], "1749-01-01", "years"),
    ],
)
def test_numbers_that_are_dates(name, numbers, expected, said):
    found = _dates.times_of_numbers(np.array(numbers), name)
    assert found is not None
    assert found.values[0].astype("M8[ns]") == np.datetime64(expected, "ns")
    assert said in found.notes[0]


@pytest.mark.parametrize(
    ("name", "numbers"), [("t", [0, 1, 2]), ("x", [1999, 2000]), ("x", [202401, 202402]), ("t", [20241301])]
)
def test_numbers_that_are_no_dates(name, numbers):
    assert _dates.times_of_numbers(np.array(numbers), name) is None


def test_a_wrong_cell_is_named_with_its_line(tmp_path):
    found = table(tmp_path, "date,x\n2024-01-01,1\n\n2024-01-32,two\n")
    with pytest.raises(ValueError, match=r"line 4 of 'data.csv': 'date' holds '2024-01-32'"):
        found.times("date")
    with pytest.raises(ValueError, match=r"'x': expected numbers, got 'two' \(line 4 of 'data.csv'\)"):
        found.numbers("x")
    with pytest.raises(ValueError, match=r"no column 'X' \(did you mean 'x'\?\); the columns are 'date', 'x'"):
        found.column("X")


def test_frames_dicts_and_arrays_are_read_alike():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    stamps = np.array(["2024-01-01", "NaT", "2024-01-03"], "M8[ns]")
    columns = {
        "t": stamps, "f": [1.5, None, 3.0], "i": [1, 2, 3], "b": [True, False, None], "s": ["a", None, "b"],
    }  # fmt: skip
    frames = [
        columns, pandas.DataFrame(columns), pandas.DataFrame(columns).convert_dtypes(), polars.DataFrame(columns),
        pandas.DataFrame(columns).astype({"s": "category"}), polars.DataFrame(columns).lazy(),
        [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)],
    ]  # fmt: skip
    for frame in frames:
        found = read_table(frame)
        times = found.times("t")
        assert times.times.missing.tolist() == [False, True, False]
        assert times.values[2].astype("M8[ns]") == stamps[2]
        np.testing.assert_array_equal(found.column("f").numbers(), [1.5, np.nan, 3])
        assert values(found, "i") == [1, 2, 3]
        np.testing.assert_array_equal(found.column("b").numbers(), [1, 0, np.nan])
        assert values(found, "s") == ["a", None, "b"]


def test_parquet_and_arrow_files(tmp_path):
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"d": [datetime.datetime(2024, 1, 1)], "y": [1.5]})
    frame.write_parquet(tmp_path / "a.parquet")
    frame.write_ipc(tmp_path / "a.arrow")
    for name in ("a.parquet", "a.arrow"):
        found = read_table(str(tmp_path / name))
        assert found.names == ["d", "y"] and found.kind == "file" and values(found, "y") == [1.5]
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[:-30])
        with pytest.raises(ValueError, match="cannot be read"):
            read_table(tmp_path / name)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"a": [1, 2], "b": [1]}, "one length"),
        ({"a": 5}, "expected a sequence"),
        ({1.5: [1]}, "names of columns"),
        ({"a": [1, "x", object()]}, "got a object"),
        ({"a": [1 + 2j]}, "a complex"),
        (np.zeros((2, 2, 2)), "1 or 2 axes"),
        (5, "got int"),
        ([[1, 2], [3]], "different lengths"),
        ({"a": [10**400]}, "too large"),
    ],
)
def test_what_is_no_table(data, message):
    with pytest.raises(ValueError, match=message):
        found = read_table(data)
        for name in found.names:
            found.column(name)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "none.csv")
    with pytest.raises(OSError):
        read_table(tmp_path)


def test_as_pandas_reads_random_tables(tmp_path):
    pandas = pytest.importorskip("pandas")
    generator = np.random.default_rng(0)
    for _ in range(20):
        frame = pandas.DataFrame(
            {
                f"c{column}": generator.normal(size=30) * 10.0 ** generator.integers(-9, 9)
                if column % 2
                else generator.integers(-50, 50, 30)
                for column in range(generator.integers(1, 6))
            }
        )
        frame = frame.mask(generator.random(frame.shape) < generator.choice([0, 0.2]))
        path = tmp_path / "random.csv"
        frame.to_csv(path, index=False, sep=generator.choice(list(",;\t|")))
        found = read_table(path)
        for name in frame:
            np.testing.assert_array_equal(found.column(name).numbers(), frame[name].to_numpy(float))


def test_a_pipe_is_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_text(PLAIN))
    writer.start()
    assert read_table(tmp_path / "pipe").rows == 3
    writer.join()


def test_lines_of_a_file_are_counted_as_editors_do():
    rows = read_rows(b"#c\na,b\n\n1,2\n3,4\n", "x")
    assert rows.lines == [4, 5]
