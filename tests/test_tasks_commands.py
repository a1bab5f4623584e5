"""``rekur forecast``, ``classify``, ``detect``, ``generate`` and ``predict`` on small tables, as a user calls them."""

from __future__ import annotations

import contextlib
import csv
import io
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rekur import cli, tasks
from rekur.tasks._commands._examples import Layout, find_layout, read_examples, split
from rekur.tasks._tables import read_table


def write(path: Path, columns: dict, separator: str = ",") -> Path:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, delimiter=separator)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def read(path: Path) -> dict[str, list[str]]:
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [row[name] for row in rows] for name in rows[0]}


def run(capsys, *arguments, expected=0):
    code = cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert code == expected, captured.err
    return captured


def hours(count, start="2024-03-25"):
    times = np.datetime64(start, "h") + np.arange(count)
    rng = np.random.default_rng(0)
    load = 10 + 3 * np.sin(np.arange(count) * 2 * np.pi / 24) + rng.normal(0, 0.3, count)
    return [str(time).replace("T", " ") + ":00" for time in times], np.round(load, 4)


@pytest.fixture
def load(tmp_path):
    times, values = hours(240)
    return write(tmp_path / "load.csv", {"date": times, "load": values, "id": range(240)})


QUICK = ("--epochs", 1, "--units", 4, "--no-report")


def test_help_is_quick_and_says_the_commands():
    code = "import sys, rekur.cli\ntry: rekur.cli.main(['--help'])\nexcept SystemExit: pass\n"
    code += (
        "print([name for name in sys.modules if name.startswith('rekur.tasks') or name in ('pandas', 'matplotlib')])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(name in found.stdout for name in ("forecast", "classify", "detect", "generate", "predict"))
    assert found.stdout.rstrip().endswith("[]")


@pytest.mark.parametrize("command", ["forecast", "classify", "detect", "generate", "predict"])
def test_help_and_wrong_lines(command, capsys):
    with pytest.raises(SystemExit) as done:
        cli.main([command, "--help"])
    assert done.value.code == 0 and "--out" in capsys.readouterr().out
    for wrong in ([], ["a", "--no-such-option"], ["a", "b", "c", "d"]):
        with pytest.raises(SystemExit) as done:
            cli.main([command, *wrong])
        assert done.value.code == 2
        capsys.readouterr()


def test_forecast(load, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    out = tmp_path / "out"
    command = ["forecast", load, "--target", "load", "--horizon", 12, "--epochs", 1, "--units", 4, "--folds", 2]
    command += ["--out", out]
    said = run(capsys, *command).out
    for part in ("'date', in steps of 1 hour, 2024-03-25 to 2024-04-03 23:00", "24 steps (1 day)",
                 "12 steps (12 hours)", "2 forecasts of 12 steps, from 2024-04-03 on", "seasonal naive", "MASE",
                 "the next 6 steps"):  # fmt: skip
        assert part in said, part
    names = {path.name for path in out.iterdir()}
    assert names == {"model.safetensors", "predictions.csv", "backtest.csv", "report.html", "pictures", "model.onnx"}
    assert all(path.stat().st_size > 1000 for path in (out / "pictures").iterdir())
    found = read(out / "predictions.csv")
    assert list(found) == ["date", "load", "load-lo-80", "load-hi-80"]
    assert found["date"] == [f"2024-04-04 {hour:02d}:00:00" for hour in range(12)]
    model = tasks.load(out / "model.safetensors")
    np.testing.assert_allclose(np.array(found["load"], float), np.asarray(model.predict()["load"], float), rtol=1e-6)
    past = read(out / "backtest.csv")
    assert len(past["date"]) == 24 and past["step"] == [str(step) for step in [*range(1, 13)] * 2]
    actual = np.genfromtxt(load, delimiter=",", skip_header=1, usecols=1)
    np.testing.assert_allclose(np.array(past["load"], float), actual[-24:])
    html = (out / "report.html").read_text()
    assert "load" in html and "seasonal naive" in html and "<script" not in html

    # A second run does not replace the first one, unless it is told to; the same seed gives the same bits.
    kept = ["predictions.csv", "backtest.csv", "model.onnx"]
    before = [(out / name).read_bytes() for name in kept]
    assert "earlier run" in run(capsys, *command, expected=1).err
    run(capsys, *command, "--overwrite", "--quiet", "--no-report")
    assert [(out / name).read_bytes() for name in kept] == before

    # predict: without data what predictions.csv has, with data what follows them.
    run(capsys, "predict", out / "model.safetensors", "-o", tmp_path / "p.csv")
    assert (tmp_path / "p.csv").read_bytes() == before[0]
    assert (
        "is there already"
        in run(capsys, "predict", out / "model.safetensors", "-o", tmp_path / "p.csv", expected=1).err
    )
    times, values = hours(300)
    new = write(tmp_path / "new.csv", {"date": times, "load": values})
    told = run(capsys, "predict", out / "model.safetensors", new, "--quantiles", "0.1,0.9", "--quiet").out
    assert told.startswith("date,load 0.1,load 0.9\n2024-04-06 12:00:00,") and told.count("\n") == 13
    assert "--length is of a TextGenerator" in run(
        capsys, "predict", out / "model.safetensors", "--length", 5, expected=1
    ).err  # fmt: skip


def test_forecast_quietly_of_many_series_with_covariates(tmp_path, capsys):
    days = [str(np.datetime64("2024-01-01") + day) for day in range(60)]
    rows = {"day": days * 2, "shop": ["a"] * 60 + ["b"] * 60, "sold": [*range(57), "", "", ""] * 2,
            "open": ["yes", "yes", "no"] * 40, "size": [1] * 60 + [2] * 60}  # fmt: skip
    data = write(tmp_path / "shops.csv", rows, ";")
    out = tmp_path / "out"
    captured = run(
        capsys, "forecast", data, "--horizon", 3, "--target", "sold", "--series", "shop", "--future", "open",
        "--static", "size", "--out", out, "--quiet", "--no-onnx", "--coverage", "0.5,0.9", "--time-zone",
        "Europe/Berlin", *QUICK,
    )  # fmt: skip
    assert captured.out == captured.err == ""
    found = read(out / "predictions.csv")
    assert list(found) == ["shop", "day", "sold", "sold-lo-50", "sold-hi-50", "sold-lo-90", "sold-hi-90"]
    assert found["shop"] == ["a"] * 3 + ["b"] * 3 and found["day"][:3] == ["2024-02-27", "2024-02-28", "2024-02-29"]
    assert {path.name for path in out.iterdir()} == {"model.safetensors", "predictions.csv", "backtest.csv"}


def test_names_with_commas_in_them(tmp_path, capsys):
    data = write(tmp_path / "odd.csv", {"when": range(1, 31), "load, MW": range(30), "other": range(30)})
    arguments = ("--horizon", 2, "--no-onnx", "--folds", 0, *QUICK)
    run(capsys, "forecast", data, "--target", "load, MW", "--out", tmp_path / "a", *arguments)
    assert list(read(tmp_path / "a" / "predictions.csv"))[1:] == ["load, MW", "load, MW-lo-80", "load, MW-hi-80"]
    said = run(capsys, "forecast", data, "--target", "when,other", "--out", tmp_path / "b", *arguments).out
    assert "'when', 'other'" in said and "test     none" in said
    assert "with commas between" in run(capsys, "forecast", data, "--target", "when,", *arguments, expected=1).err


def test_forecast_says_what_it_guesses(tmp_path, capsys):
    data = write(tmp_path / "few.csv", {"value": [1, 2, 4, 3, 5, 6, 8, 7] * 2})
    said = run(capsys, "forecast", data, "--out", tmp_path / "out", "--no-onnx", *QUICK).out
    assert "each row is a step" in said and "since none is said" in said and "The target is column 'value'" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "lod"], "target: there is no column 'lod'"),
        (["--freq", "fortnight"], "freq: expected a step"),
        (["--time-zone", "Mars"], "time_zone: 'Mars' is not known"),
        (["--folds", "500"], "folds: 500 forecasts of 5 steps"),
        (["--cell", "gruu"], "gruu"),
        (["--future", "id", "--future-data", "no.csv"], "no.csv"),
    ],
)
def test_forecast_that_cannot_be(load, tmp_path, capsys, arguments, message):
    captured = run(capsys, "forecast", load, "--horizon", 5, "--out", tmp_path / "o", *QUICK, *arguments, expected=1)
    assert message in captured.err and captured.err.startswith("rekur: ")
    assert not (tmp_path / "o").exists() or not list((tmp_path / "o").iterdir())


def test_files_that_cannot_be_read(tmp_path, capsys):
    for command in ("forecast", "classify", "detect"):
        assert "No such file" in run(capsys, command, tmp_path / "none.csv", expected=1).err
        (tmp_path / "cut.csv").write_text("a,b\n1,2\n3\n")
        assert "line 3" in run(capsys, command, tmp_path / "cut.csv", expected=1).err
        (tmp_path / "empty.csv").write_text("")
        assert "is empty" in run(capsys, command, tmp_path / "empty.csv", expected=1).err
    (tmp_path / "empty.txt").write_text("  \n")
    assert "holds no text" in run(capsys, "generate", tmp_path / "empty.txt", expected=1).err
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    assert run(capsys, "predict", tmp_path / "model.safetensors", expected=1).err.startswith("rekur: ")


def steps(count=24, label=None):
    rng = np.random.default_rng(0)
    rows: dict[str, list] = {"seq": [], "t": [], "x": [], "mood": [], "label": []}
    for number in range(count):
        up = number % 2
        for t in range(5 + number % 3):
            rows["seq"].append(f"s{number}")
            rows["t"].append(t)
            rows["x"].append(round(float(rng.normal(2 * up - 1, 0.3)), 3))
            rows["mood"].append("good" if up else "bad")
            rows["label"].append(("down", "up")[up] if label is None else label(number, t))
    return rows


def test_classify_sequences_of_steps(tmp_path, capsys):
    data, out = write(tmp_path / "steps.csv", steps()), tmp_path / "out"
    said = run(capsys, "classify", data, "--epochs", 30, "--out", out, "--test-share", 0.25, "--no-report").out
    for part in ("2 classes in 'label': down (12), up (12)", "sequences of 5 to 7 steps", "told apart by 'seq'",
                 "x, mood=bad, mood=good", "training   18 sequences", "test       6 sequences",
                 "accuracy"):  # fmt: skip
        assert part in said, part
    found = read(out / "predictions.csv")
    assert list(found) == ["seq", "label", "predicted", "probability of down", "probability of up"]
    assert found["label"] == found["predicted"] and len(found["seq"]) == 6
    assert {path.name for path in out.iterdir()} == {"model.safetensors", "model.onnx", "predictions.csv"}
    rows = steps(6)
    del rows["label"]
    new = write(tmp_path / "new.csv", {name: values[::-1] for name, values in rows.items()})  # rows in another order
    told = run(capsys, "predict", out / "model.safetensors", new).out.splitlines()
    assert told[0] == "seq,predicted,probability of down,probability of up"
    assert [line.split(",")[:2] for line in told[1:]] == [[f"s{n}", ("down", "up")[n % 2]] for n in (5, 4, 3, 2, 1, 0)]
    rows["x"][0] = "many"
    write(tmp_path / "wrong.csv", rows)
    error = run(capsys, "predict", out / "model.safetensors", tmp_path / "wrong.csv", expected=1).err
    assert "'x': expected numbers, got 'many' (line 2 of 'wrong.csv')" in error


def test_examples_of_a_table():
    notes: list[str] = []
    table = read_table({"id": [2, 1, 2, 1, 2], "t": [3, 1, 1, 2, 2], "x": [23.0, 11, 21, np.nan, 22],
                        "c": list("babab"), "y": ["u", "v", "u", None, "u"]})  # fmt: skip
    layout = find_layout(table, "y", None, None, None, None, "auto", notes)
    assert (layout.form, layout.kind, layout.sequence, layout.time) == ("steps", "classes", "id", ["t"])
    assert layout.channels == ["x", "c=a", "c=b"] and Layout.of_state(layout.state()) == layout
    found = read_examples(table, layout, notes)
    assert found.ids == ["2", "1"] and found.labels == ["u", "v"]
    np.testing.assert_array_equal(found.sequences[0], [[21, 0, 1], [22, 0, 1], [23, 0, 1]])
    np.testing.assert_array_equal(found.sequences[1], [[11, 1, 0], [np.nan, 1, 0]])
    train, test = split(found, 0.5, 0, alike=True)
    assert len(train) == 2 and len(test) == 0  # of a class with one sequence none is held out


def test_classify_rows_and_numbers(tmp_path, capsys):
    rng = np.random.default_rng(0)
    wide = {"class": [0, 1] * 15, **{f"t{n}": np.round(rng.normal(size=30) + np.tile([0, 3], 15), 3) for n in range(6)}}
    wide["t5"][::3] = np.nan  # some sequences are shorter
    data = write(tmp_path / "wide.csv", {name: ["" if v != v else v for v in column] for name, column in wide.items()})
    said = run(capsys, "classify", data, "--out", tmp_path / "a", "--no-onnx", *QUICK).out
    assert "the steps are the columns 't0' to 't5'" in said and "5 to 6 steps" in said and "0 (15), 1 (15)" in said
    wide["class"] = np.round(rng.normal(size=30), 3)
    data = write(tmp_path / "numbers.csv", {k: v for k, v in wide.items() if k != "t5"})
    said = run(capsys, "classify", data, "--out", tmp_path / "b", "--no-onnx", *QUICK).out
    assert "numbers in 'class', from" in said and "always the mean" in said
    assert read(tmp_path / "b" / "predictions.csv")["row"]


def test_classify_labels_of_steps(tmp_path, capsys):
    data = write(tmp_path / "steps.csv", steps(label=lambda number, t: "even" if t % 2 == 0 else "odd"))
    out = tmp_path / "out"
    said = run(
        capsys, "classify", data, "--sequence", "seq", "--out", out, "--no-onnx", "--epochs", 1, "--no-report"
    ).out
    assert "for each step, 2 classes" in said
    found = read(out / "predictions.csv")
    assert list(found)[:4] == ["seq", "step", "label", "predicted"]
    told = run(capsys, "predict", out / "model.safetensors", data).out
    assert told.count("\n") == len(steps()["seq"]) + 1


def test_classify_texts(tmp_path, capsys):
    texts = ["rain and wind again", "sun all day long", "cold rain, dark sky", "warm sun and beach"] * 10
    data = write(tmp_path / "texts.csv", {"what": texts, "topic": ["bad", "good"] * 20})
    out = tmp_path / "out"
    said = run(
        capsys, "classify", data, "--label", "topic", "--out", out, "--epochs", 2, "--no-report", "--no-onnx"
    ).out
    assert "texts in 'what'" in said
    told = run(capsys, "predict", out / "model.safetensors", "--text", "rain, rain").out
    assert told.startswith("text,predicted,probability of bad")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--label", "nothing"], "no column 'nothing'"),
        (["--label", "t", "--sequence", "seq", "--kind", "classes"], "has the labels 0 and 1"),
        (["--features", "label,mood"], "label: no column"),
        (["--kind", "steps", "--label", "label", "--features", "x"], "changes|steps"),
    ],
)
def test_classify_that_cannot_be(tmp_path, capsys, arguments, message):
    data = write(tmp_path / "steps.csv", steps())
    if "changes" in message:
        data = write(tmp_path / "wide.csv", {"label": ["a", "b"] * 5, "x": range(10)})
        message = "need rows that are steps"
    error = run(capsys, "classify", data, "--out", tmp_path / "o", *QUICK, *arguments, expected=1).err
    assert message in error


def test_detect(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    rng = np.random.default_rng(0)
    values = np.sin(np.arange(600) / 5) + rng.normal(0, 0.05, 600)
    values[500:506] += 4
    times, _ = hours(600)
    marks = np.zeros(600, int)
    marks[500:506] = 1
    data = write(tmp_path / "log.csv", {"time": times, "temp": np.round(values, 4), "anomaly": marks})
    out = tmp_path / "out"
    said = run(capsys, "detect", data, "--train-until", "2024-04-08", "--epochs", 2, "--out", out, "--window", 8).out
    for part in ("The targets are" not in said, "'anomaly' is taken to mark known anomalies" in said,
                 "the first 336 steps of 600, to 2024-04-07 23:00" in said, "VUS-PR" in said,
                 "alarm" in said):  # fmt: skip
        assert part, said
    found = read(out / "predictions.csv")
    assert list(found) == ["time", "temp", "score", "alarm", "anomaly"] and len(found["time"]) == 600
    assert 500 <= int(np.nanargmax(np.array(found["score"], float))) <= 520
    assert found["anomaly"] == [str(mark) for mark in marks] and "6 steps marked by 'anomaly'" in said
    alarms = read(out / "alarms.csv")
    assert any(
        a <= "2024-04-14 20:00:00" <= b or a[:10] == "2024-04-14"
        for a, b in zip(alarms["from"], alarms["to"], strict=True)
    )
    told = run(capsys, "predict", out / "model.safetensors", data, "--quiet").out.splitlines()
    assert told[0] == "time,temp,score,alarm"
    np.testing.assert_allclose(
        [float(line.split(",")[2] or "nan") for line in told[1:]], np.array(found["score"], float)
    )
    error = run(capsys, "detect", data, "--labels", "temp", "--out", tmp_path / "p", *QUICK, expected=1).err
    assert "labels: column 'temp': expected 0 and 1" in error
    error = run(capsys, "detect", data, "--train-until", "1999-01-01", "--out", tmp_path / "p", *QUICK, expected=1).err
    assert "no step comes before 1999-01-01" in error


def test_generate(tmp_path, capsys):
    (tmp_path / "words.txt").write_text("the cat sat on the mat and the dog sat on the log\n" * 40)
    out = tmp_path / "out"
    arguments = (
        "generate",
        tmp_path / "words.txt",
        "--prompt",
        "the ",
        "--length",
        30,
        "--samples",
        2,
        "--out",
        out,
        *QUICK,
    )
    said = run(capsys, *arguments, "--no-onnx").out
    assert "40 lines" in said.replace("41", "40") and "bits per character" in said
    samples = (out / "samples.txt").read_text()
    assert samples.startswith("the ") and samples.count("-" * 40) == 1
    assert "earlier run" in run(capsys, *arguments, expected=1).err
    told = run(capsys, "predict", out / "model.safetensors", "--text", "the dog ", "--length", 5, "--seed", 1).out
    assert told.startswith("the dog ") and len(told) == len("the dog ") + 6
    assert (
        told == run(capsys, "predict", out / "model.safetensors", "--text", "the dog ", "--length", 5, "--seed", 1).out
    )
    model = out / "model.safetensors"
    (tmp_path / "prompts.csv").write_text('id,prompt\n1,"the dog"\n2,"the cat"\n')
    written = run(capsys, "predict", model, tmp_path / "prompts.csv", "--length", 5)
    assert written.out.startswith("the dog") and "\nthe cat" in written.out and "id" not in written.out, written
    assert "texts are taken from column 'prompt'" in written.err.lower()
    (tmp_path / "prompts.txt").write_text("the dog\n\nthe cat\n")
    assert run(capsys, "predict", model, tmp_path / "prompts.txt", "--length", 5).out == written.out
    (tmp_path / "numbers.csv").write_text("id\n1\n")
    assert "holds texts" in run(capsys, "predict", model, tmp_path / "numbers.csv", expected=1).err
    (tmp_path / "zero.txt").write_bytes(b"\x00\x01" * 50)
    assert (
        "not a text" in run(capsys, "generate", tmp_path / "zero.txt", "--out", tmp_path / "z", *QUICK, expected=1).err
    )


def test_a_report_without_matplotlib_is_refused_early(load, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    error = run(capsys, "forecast", load, "--out", tmp_path / "o", expected=1).err
    assert 'pip install "rekur[tasks]"' in error and "--no-report" in error and not (tmp_path / "o").exists()


def test_the_page_of_the_commands_names_options_that_there_are():
    page = (Path(__file__).parent.parent / "docs" / "command-line.md").read_text()
    lines = [line.strip() for line in page.splitlines() if line.startswith("    rekur ")]
    assert len(lines) > 4
    for line in lines:
        assert cli._parser().parse_args(shlex.split(line)[1:]).command
    parsers = cli._parser()._subparsers._group_actions[0].choices
    known = set()
    for name in ("forecast", "classify", "detect", "generate", "predict"):
        with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
            parsers[name].parse_args(["--help"])
        known |= set(parsers[name]._option_string_actions)
    assert set(re.findall(r"--[a-z][a-z-]+", page)) <= known


def test_what_has_no_onnx_is_said_when_all_else_is_written(load, tmp_path, capsys, monkeypatch):
    def refuse(*_, **__):
        raise ValueError("no such operator")

    monkeypatch.setattr(tasks.AnomalyDetector, "export_onnx", refuse, raising=False)
    captured = run(capsys, "detect", load, "--target", "load", "--out", tmp_path / "o", *QUICK, expected=1)
    assert "model.onnx is not written: no such operator" in captured.err
    assert (tmp_path / "o" / "predictions.csv").exists() and not (tmp_path / "o" / "model.onnx").exists()


# What an option says is done, or refused.


def _texts(folder: Path) -> Path:
    body = ["a very good film", "a bad film", "good", "bad and dull"] * 6
    return write(folder / "t.csv", {"body": body, "stars": [5, 1, 4, 2] * 6, "label": ["yes", "no"] * 12})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--text", "body", "--kind", "classes"], "is not of texts"),
        (["--text", "body", "--kind", "numbers"], "is not of texts"),
        (["--kind", "texts", "--features", "stars"], "texts are classified by themselves"),
        (["--text", "body", "--sequence", "stars"], "texts are classified by themselves"),
        (["--text", "body", "--time", "stars"], "texts are classified by themselves"),
    ],
)
def test_classify_refuses_what_does_not_go_with_texts(capsys, tmp_path, options, message):
    out = tmp_path / "out"
    said = run(capsys, "classify", _texts(tmp_path), "--label", "label", *options, "--out", out, expected=1)
    assert message in said.err and not out.exists()


def test_classify_knows_before_training_what_it_cannot_be_tested_on(capsys, tmp_path):
    other = write(tmp_path / "o.csv", {"body": ["good", "bad"], "stars": [5, 1], "label": ["yes", "maybe"]})
    out = tmp_path / "out"
    options = ["--label", "label", "--text", "body", "--test", other, "--out", out]
    error = run(capsys, "classify", _texts(tmp_path), *options, expected=1).err
    assert "labels that are not in the training data: maybe" in error and not out.exists()


def test_what_an_earlier_run_wrote_does_not_stand_beside_another_model(capsys, tmp_path):
    data, out = _texts(tmp_path), tmp_path / "out"
    options = ["classify", data, "--label", "label", "--text", "body", "--epochs", 1, "--out", out]
    run(capsys, *options)
    assert (out / "model.onnx").exists() and (out / "predictions.csv").exists()
    said = run(capsys, *options, "--overwrite", "--no-onnx", "--test-share", 0).out
    assert "there are no predictions, and no report" in said
    assert [path.name for path in out.rglob("*") if path.is_file()] == ["model.safetensors"]


def test_a_share_of_nothing_and_bands_of_points_are_refused(capsys, tmp_path):
    data = write(tmp_path / "d.csv", {"y": np.sin(np.arange(60) / 3).round(4).tolist()})
    with pytest.raises(SystemExit):
        cli.main(["detect", str(data), "--train-share", "0"])
    assert "expected a share above 0" in capsys.readouterr().err
    options = ["--output", "point", "--coverage", 0.5, "--horizon", 3, "--out", tmp_path / "out"]
    assert "coverage: 'point' has no bands" in run(capsys, "forecast", data, *options, expected=1).err


def test_detect_says_which_steps_it_is_measured_on_and_counts_rows(capsys, tmp_path):
    hours = [f"2024-01-{1 + k // 24:02d} {k % 24:02d}:00" for k in range(300)]
    marks = [int(20 <= k < 24) for k in range(300)]
    data = write(tmp_path / "d.csv", {"t": hours, "y": np.sin(np.arange(300) / 4).round(4).tolist(), "anomaly": marks})
    options = ["--epochs", 1, "--window", 8, "--no-onnx", "--no-report", "--out", tmp_path / "out"]
    said = run(capsys, "detect", data, "--train-until", 250, *options).out
    assert "on all steps, those trained on too" in said and "250 steps of 300" in said


def test_forecast_after_a_search(load, tmp_path, capsys):
    optuna = pytest.importorskip("optuna")
    if not hasattr(optuna.trial.Trial, "set_constraint"):
        pytest.skip("needs Optuna 5")
    out = tmp_path / "out"
    command = ["forecast", load, "--target", "load", "--horizon", 6, "--epochs", 1, "--folds", 2, "--no-report"]
    command += ["--units", "4", "--search", 2, "--budget", "size=1MB,latency=1", "--out", out]
    captured = run(capsys, *command)
    assert "The best of 2 trials takes cell" in captured.out.replace("\n    ", " ") and "trial 1: " in captured.err
    model = tasks.load(out / "model.safetensors")
    assert (
        model.units == 4 and f"cell {model.cell}" in captured.out and f"batch_size {model.batch_size}" in captured.out
    )
    assert model.sizes_["steps"] == 240  # the last one is trained on all
    assert (
        "no trial of the search was done"
        in run(capsys, *command[:-2], "--out", tmp_path / "no", "--budget", "size=1B", expected=1).err
    )
    quick = ["forecast", load, "--horizon", 5, "--out", tmp_path / "o", *QUICK]
    assert "--search 20" in run(capsys, *quick, "--budget", "size=1MB", expected=1).err
    for wrong in ("size", "speed=3", "latency=fast"):
        with pytest.raises(SystemExit, match="2"):
            cli.main([str(part) for part in (*quick, "--search", 2, "--budget", wrong)])
        assert "argument --budget: expected" in capsys.readouterr().err


def test_a_search_sees_nothing_of_the_test(load, tmp_path, capsys, monkeypatch):
    pytest.importorskip("optuna")
    seen = []

    def search(model, data, **options):
        seen.append([len(series) for series in data.series])
        raise ValueError("enough")

    monkeypatch.setattr("rekur.tune.search", search)
    for folds, steps in ((3, 240 - 15), (0, 240)):
        command = ["forecast", load, "--target", "load", "--horizon", 5, "--folds", folds, "--search", 2]
        assert "enough" in run(capsys, *command, "--out", tmp_path / "o", *QUICK, expected=1).err
        assert seen.pop() == [steps]
