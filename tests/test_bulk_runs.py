"""Runs of bulk prediction that are broken off, shared, repeated, refused; damaged files; full disks; memory."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

import bulk_data
from rekur import bulk, cli

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(scope="module")
def rows_model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "rows.safetensors"
    bulk_data.rows_classifier().save(path)
    return path


@pytest.fixture(scope="module")
def steps_model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "steps.safetensors"
    bulk_data.steps_classifier().save(path)
    return path


def write_rows(path, count, group, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).normal(size=(count, bulk_data.CHANNELS))
    pq.write_table(pa.table({f"c{n}": values[:, n] for n in range(bulk_data.CHANNELS)}), path, row_group_size=group)


def write_steps(path, walks, group, first=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    walk = np.repeat(np.arange(first, first + walks), rng.integers(1, 9, walks))
    kinds = rng.choice(["x", "y"], len(walk))
    table = pa.table({"walk": walk, "t": np.arange(len(walk)), "a": rng.normal(size=len(walk)), "kind": kinds})
    pq.write_table(table, path, row_group_size=group)


def python(*arguments, code=None, **options):
    """Another process with this one's packages."""
    given = [sys.executable, *(["-c", textwrap.dedent(code)] if code else []), *map(str, arguments)]
    paths = os.pathsep.join(path for path in sys.path if path)
    return subprocess.Popen(given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env={**os.environ, "PYTHONPATH": paths}, **options)  # fmt: skip


def ended(process, timeout=120):
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


@pytest.mark.parametrize("kind", ["rows", "steps"])
def test_killed_at_any_moment(rows_model, steps_model, tmp_path, kind):
    for number in range(2):
        if kind == "rows":
            write_rows(tmp_path / f"data/{number}.parquet", 60, 20, number)
        else:
            write_steps(tmp_path / f"data/{number}.parquet", 12, 10, 12 * number)
    model = rows_model if kind == "rows" else steps_model
    bulk.predict(model, tmp_path / "data", tmp_path / "expected", unit_rows=40, batch_size=16, verbose=0)
    script = Path(__file__).with_name("bulk_killed.py")
    every = 2 if kind == "rows" else 5
    process = python(script, tmp_path / "data", model, tmp_path, tmp_path / "expected", every)
    code, out, err = ended(process)
    assert code == 0, err
    assert int(out) >= 20 // every, out


RUN = """
    import sys
    from rekur import bulk
    report = bulk.predict(sys.argv[1], sys.argv[2], sys.argv[3], unit_rows=20, batch_size=8, verbose=0)
    print(report.written, report.complete)
"""
SLOW = """
    import sys, time
    from rekur.bulk import _parts
    make = _parts.Parts._make
    def slow(self, unit, progress):
        print("begins", unit.name, flush=True)
        time.sleep(float(sys.argv[4]))
        return make(self, unit, progress)
    _parts.Parts._make = slow
"""


def test_processes_share_a_folder(rows_model, tmp_path):
    write_rows(tmp_path / "data/a.parquet", 400, 20)
    write_rows(tmp_path / "data/b.parquet", 100, 20)
    slow = textwrap.dedent(SLOW) + textwrap.dedent(RUN)
    arguments = (rows_model, tmp_path / "data", tmp_path / "out", 0.05)
    processes = [python(*arguments, code=slow) for _ in range(2)]
    made, written = [], 0
    for process in processes:
        code, out, err = ended(process)
        assert code == 0, err
        *begun, last = out.splitlines()
        made += [line.split()[1] for line in begun]
        count, complete = last.split()
        written += int(count)
        assert complete == "True"
    assert len(made) == len(set(made)) == written == 25  # none twice
    bulk.predict(rows_model, tmp_path / "data", tmp_path / "alone", unit_rows=20, verbose=0)
    assert pq.read_table(tmp_path / "out").equals(pq.read_table(tmp_path / "alone"))
    assert not list((tmp_path / "out").glob(".*"))


def test_what_a_dead_process_has_begun_is_taken_over(rows_model, tmp_path):
    write_rows(tmp_path / "a.parquet", 60, 20)
    slow = textwrap.dedent(SLOW) + textwrap.dedent(RUN)
    first = python(rows_model, tmp_path / "a.parquet", tmp_path / "out", 600, code=slow)
    assert first.stdout.readline().startswith("begins")
    second = python(rows_model, tmp_path / "a.parquet", tmp_path / "out", 0, code=slow)
    assert second.stdout.readline().startswith("begins")
    with pytest.raises(ValueError, match="another process is writing there"):
        bulk.predict(rows_model, tmp_path / "a.parquet", tmp_path / "out", unit_rows=20, overwrite=True, verbose=0)
    for _ in range(200):
        if len(list((tmp_path / "out").glob("part-*.parquet"))) == 2:
            break
        time.sleep(0.1)
    assert second.poll() is None  # it waits for what the first one has claimed
    first.send_signal(signal.SIGKILL)
    first.communicate()
    code, out, err = ended(second)
    assert code == 0 and out.splitlines()[-1] == "3 True", (out, err)


def test_shards(rows_model, tmp_path):
    write_rows(tmp_path / "a.parquet", 100, 10)
    options = {"unit_rows": 10, "verbose": 0}
    reports = [
        bulk.predict(rows_model, tmp_path / "a.parquet", tmp_path / "out", shard=(n, 3), **options) for n in (1, 2, 3)
    ]
    assert [report.written for report in reports] == [4, 3, 3]
    assert [report.complete for report in reports] == [False, False, True]
    assert "6 parts are left to other shards" in str(reports[0])
    bulk.predict(rows_model, tmp_path / "a.parquet", tmp_path / "alone", **options)
    assert pq.read_table(tmp_path / "out").equals(pq.read_table(tmp_path / "alone"))


def test_shards_need_no_locks(rows_model, tmp_path, monkeypatch):
    write_rows(tmp_path / "data" / "0.parquet", 100, 25)

    def flock(descriptor: int, mode: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    options = {"unit_rows": 50, "verbose": 0}
    with pytest.raises(OSError, match="without locks: No locks available; a share"):
        bulk.predict(rows_model, tmp_path / "data", tmp_path / "out", **options)
    reports = [bulk.predict(rows_model, tmp_path / "data", tmp_path / "out", shard=(n, 2), **options) for n in (2, 1)]
    assert not reports[0].complete and reports[1].complete
    assert (tmp_path / "out" / "_SUCCESS").exists() and not (tmp_path / "out" / ".claims").exists()


def test_another_run_is_refused_by_name(rows_model, steps_model, tmp_path):
    write_rows(tmp_path / "data/a.parquet", 50, 10)
    write_rows(tmp_path / "data/b.parquet", 50, 10)
    out = tmp_path / "out"

    def run(model=rows_model, **options):
        return bulk.predict(model, tmp_path / "data", out, unit_rows=20, verbose=0, **options)

    run()
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    for options, message in (
        ({"keep": "c1"}, r"with keep=\[\], this is keep=\['c1'\]"),
        ({"model": bulk_data.regressor(), "columns": ["c0", "c1"]}, "of another model"),
    ):
        with pytest.raises(ValueError, match=message):
            run(**options)
    with pytest.raises(ValueError, match="with unit_rows=20, this is unit_rows=30"):
        bulk.predict(rows_model, tmp_path / "data", out, unit_rows=30, verbose=0)
    write_rows(tmp_path / "data/aa.parquet", 5, 5)
    with pytest.raises(ValueError, match=r"of other files \('aa.parquet' is new\)"):
        run()
    (tmp_path / "data/aa.parquet").rename(tmp_path / "aa.parquet")
    os.utime(tmp_path / "data/a.parquet")  # a copy of the data is the same data
    assert run().written == 0
    write_rows(tmp_path / "data/b.parquet", 50, 10, seed=1)
    with pytest.raises(ValueError, match=r"'b.parquet' has changed since part-000001-0000.parquet"):
        run()
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == before
    assert run(overwrite=True).written == 6
    (out / "_manifest.json").unlink()
    with pytest.raises(ValueError, match="without a plan"):
        run()
    (out / "_manifest.json").write_text("{")
    with pytest.raises(ValueError, match="no plan of a run"):
        run()
    (out / "_manifest.json").write_text(json.dumps({"version": 99}))
    with pytest.raises(ValueError, match="of version 99"):
        run()


def test_a_part_that_is_damaged_is_made_again(rows_model, tmp_path):
    write_rows(tmp_path / "a.parquet", 50, 10)
    options = {"unit_rows": 10, "verbose": 0}
    bulk.predict(rows_model, tmp_path / "a.parquet", tmp_path / "out", **options)
    before = pq.read_table(tmp_path / "out")
    parts = sorted((tmp_path / "out").glob("part-*.parquet"))
    parts[1].write_bytes(parts[1].read_bytes()[:-20])
    parts[2].unlink()
    assert bulk.predict(rows_model, tmp_path / "a.parquet", tmp_path / "out", **options).written == 2
    assert pq.read_table(tmp_path / "out").equals(before)


@pytest.mark.parametrize("how", ["cut off", "empty", "a page", "not parquet"])
def test_a_damaged_file_does_not_spoil_the_others(rows_model, tmp_path, how):
    for number, name in enumerate("abc"):
        write_rows(tmp_path / f"data/{name}.parquet", 60, 20, number)
    whole = (tmp_path / "data/b.parquet").read_bytes()
    options = {"unit_rows": 20, "verbose": 0}
    bulk.predict(rows_model, tmp_path / "data", tmp_path / "expected", **options)
    if how == "a page":
        at = len(whole) // 2
        bad = whole[: at - 150] + b"\xff" * 300 + whole[at + 150 :]
    else:
        bad = {"cut off": whole[:-100], "empty": b"", "not parquet": b"x" * 1000}[how]
    (tmp_path / "data/b.parquet").write_bytes(bad)
    for _ in range(2):
        with pytest.raises(bulk.Unfinished, match=r"'b\.parquet' cannot be read") as caught:
            bulk.predict(rows_model, tmp_path / "data", tmp_path / "out", **options)
        assert len(caught.value.failures) == 1 and "goes on with what is missing" in str(caught.value)
    report = caught.value.report
    assert report.written == 0 and report.rows_in == (160 if how == "a page" else 120) and not report.complete
    assert not (tmp_path / "out/_SUCCESS").exists()
    (tmp_path / "data/b.parquet").write_bytes(whole)
    report = bulk.predict(rows_model, tmp_path / "data", tmp_path / "out", **options)
    assert report.complete and report.written == (1 if how == "a page" else 3)
    assert pq.read_table(tmp_path / "out").equals(pq.read_table(tmp_path / "expected"))


def test_small_files_together_of_which_one_is_damaged(rows_model, tmp_path):
    """Whether that is seen at once, by its end, or only when its pages are read."""
    for number in range(6):
        write_rows(tmp_path / f"data/{number}.parquet", 20, 20, number)
    bulk.predict(rows_model, tmp_path / "data", tmp_path / "expected", unit_rows=50, verbose=0)
    whole = (tmp_path / "data/3.parquet").read_bytes()
    for bad, rows in ((whole[:-30], 100), (whole[:200] + b"\xff" * 400 + whole[600:], 80)):
        out = tmp_path / f"out-{rows}"
        (tmp_path / "data/3.parquet").write_bytes(bad)
        with pytest.raises(bulk.Unfinished, match=r"'3\.parquet' cannot be read") as caught:
            bulk.predict(rows_model, tmp_path / "data", out, unit_rows=50, verbose=0)
        assert caught.value.report.rows_in == rows
        write_rows(tmp_path / "data/3.parquet", 30, 10, 9)  # another one in its place, before a part was made of it
        assert bulk.predict(rows_model, tmp_path / "data", out, unit_rows=50, verbose=0).rows_in == 130
        (tmp_path / "data/3.parquet").write_bytes(whole)
        with pytest.raises(ValueError, match=r"'3\.parquet' has changed since"):
            bulk.predict(rows_model, tmp_path / "data", out, unit_rows=50, verbose=0)
        report = bulk.predict(rows_model, tmp_path / "data", out, unit_rows=50, verbose=0, overwrite=True)
        assert report.rows_in == 120
        assert pq.read_table(out).equals(pq.read_table(tmp_path / "expected"))


def test_interrupted(rows_model, tmp_path):
    write_rows(tmp_path / "a.parquet", 60, 20)
    code = textwrap.dedent(SLOW) + textwrap.dedent("""
        from rekur import cli
        sys.exit(cli.main(["predict", sys.argv[1], sys.argv[2], "-o", sys.argv[3], "--bulk", "--part-rows", "20"]))
    """)
    process = python(rows_model, tmp_path / "a.parquet", tmp_path / "out", 0.5, code=code)
    while "0001" not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGINT)
    assert ended(process)[0] == 130
    left = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert left == ["_manifest.json", "part-000000-0000.parquet"]


def test_a_value_that_cannot_be_read(rows_model, tmp_path):
    values = {f"c{n}": ["1", "2", "3"] for n in range(bulk_data.CHANNELS)}
    pq.write_table(pa.table({**values, "c2": ["1", "many", "3"]}), tmp_path / "a.parquet")
    with pytest.raises(bulk.Unfinished, match=r"'a.parquet': column 'c2': expected numbers, got 'many'"):
        bulk.predict(rows_model, tmp_path / "a.parquet", tmp_path / "out", verbose=0)
    assert not list((tmp_path / "out").glob("*.parquet")) and not list((tmp_path / "out").glob(".*"))


def test_nothing_half_written_where_the_disk_is_full(rows_model, tmp_path):
    write_rows(tmp_path / "a.parquet", 3000, 1500)
    code = """
        import resource, signal, sys
        from rekur import bulk
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))
        try:
            bulk.predict(sys.argv[1], sys.argv[2], sys.argv[3], unit_rows=1500, verbose=0)
        except OSError as error:
            print(error)
    """
    result, out, err = ended(python(rows_model, tmp_path / "a.parquet", tmp_path / "out", code=code))
    assert result == 0 and "part-000000-0000.parquet' cannot be written: " in out, (out, err)
    left = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert left == ["_manifest.json"]
    assert bulk.predict(rows_model, tmp_path / "a.parquet", tmp_path / "out", unit_rows=1500, verbose=0).complete


@pytest.mark.parametrize("kind", ["rows", "steps"])
def test_memory_does_not_grow_with_the_data(rows_model, steps_model, tmp_path, kind):
    """One row group of 200 000 and of 600 000 rows, whose columns have 10 and 29 MB or more, in batches of 1000."""
    model = rows_model if kind == "rows" else steps_model
    for name, count in (("small", 200_000), ("large", 600_000)):
        if kind == "rows":
            write_rows(tmp_path / f"{name}.parquet", count, count)
        else:
            write_steps(tmp_path / f"{name}.parquet", count // 5, count)
    code = r"""
        import re, sys
        from rekur import bulk
        from rekur.bulk import _answers
        import pyarrow as pa
        pa.set_memory_pool(pa.system_memory_pool())
        class Quick(_answers.Classes):  # the network's own work is not what is measured
            def say(self, given):
                fields = self.fields()
                return [pa.array(["x"] * len(given)), *[pa.array([0.5] * len(given)) for _ in fields[1:]]]
        _answers.HEADS["SequenceClassifier"] = Quick
        Quick.fields = lambda self: [pa.field("predicted", pa.string()), pa.field("p", pa.float64())]
        report = bulk.predict(sys.argv[1], sys.argv[2], sys.argv[3], batch_size=1000, verbose=0)
        peak = re.search(r"VmHWM:\s*(\d+) kB", open("/proc/self/status").read())[1]  # of this program alone
        print(report.rows_in, peak)
    """
    found = {}
    for name in ("small", "large"):
        result, out, err = ended(python(model, tmp_path / f"{name}.parquet", tmp_path / name, code=code))
        assert result == 0, err
        found[name] = tuple(map(int, out.split()))
    assert found["large"][0] >= 500_000
    assert found["large"][1] - found["small"][1] < 15_000, found  # kB


def test_command(rows_model, steps_model, tmp_path, capsys):
    write_rows(tmp_path / "data/a.parquet", 50, 10)

    def run(*arguments, expected=0):
        code = cli.main(["predict", *map(str, arguments)])
        captured = capsys.readouterr()
        assert code == expected, captured.err
        return captured.err

    told = run(rows_model, tmp_path / "data", "-o", tmp_path / "1", "--keep", "c0,c1", "--part-rows", 20)
    assert "50 rows of 1 file read, 50 rows written" in told and "3 parts" in told
    assert pq.read_table(tmp_path / "1").column_names[:4] == ["file", "row", "c0", "c1"]
    assert "this is keep=[]" in run(rows_model, tmp_path / "data", "-o", tmp_path / "1", "--part-rows", 20, expected=1)
    run(rows_model, tmp_path / "data", "-o", tmp_path / "1", "--overwrite", "--quiet")
    for number in (1, 2):
        run(rows_model, tmp_path / "data/*.parquet", "-o", tmp_path / "2", "--part-rows", 10, "--shard", f"{number}/2")
    assert (tmp_path / "2/_SUCCESS").exists()
    run(rows_model, tmp_path / "data/a.parquet", "-o", f"{tmp_path}/3/", "--batch", 7)
    run(rows_model, tmp_path / "data/a.parquet", "-o", tmp_path / "4", "--bulk")
    for number in (2, 3, 4):
        assert pq.read_table(tmp_path / str(number)).num_rows == 50
    run(rows_model, tmp_path / "data/a.parquet", "-o", tmp_path / "4.csv")
    assert (tmp_path / "4.csv").read_text().startswith("row,predicted")
    program = bulk_data.regressor()
    program.save(tmp_path / "p.safetensors")
    write_steps(tmp_path / "steps.parquet", 9, 5)
    columns = ("--columns", "a,t", "--key", "walk", "--time", "t")
    run(tmp_path / "p.safetensors", tmp_path / "steps.parquet", "-o", f"{tmp_path}/5/", *columns)
    assert pq.read_table(tmp_path / "5").num_rows == 9
    for wrong, message in (
        (("--keep", "c0"), "--keep is of bulk prediction"),
        (("-o", f"{tmp_path}/6/", "--text", "x"), "--text: there is no such thing"),
        (("--bulk",), "needs DATA, and -o DIR"),
        (("-o", f"{tmp_path}/6/", "--columns", "a=c0", "--columns", "c1"), "name the input of all"),
    ):
        assert message in run(rows_model, tmp_path / "data/a.parquet", *wrong, expected=1)
    for wrong in (("--shard", "3/2"), ("--shard", "x"), ("--keep", "a,,b"), ("--batch", "0")):
        with pytest.raises(SystemExit) as done:
            cli.main(["predict", str(rows_model), "x", *wrong])
        assert done.value.code == 2
    capsys.readouterr()


def test_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r'pip install "rekur\[bulk\]"'):
        bulk.predict("m.safetensors", tmp_path, tmp_path / "out")


def test_a_bar_with_the_remaining_time(rows_model, tmp_path, monkeypatch, capsys):
    from rekur.bulk import _parts

    write_rows(tmp_path / "a.parquet", 50, 10)
    monkeypatch.setattr(_parts, "_is_watched", lambda stream: True)
    report = bulk.predict(rows_model, tmp_path / "a.parquet", tmp_path / "out", unit_rows=10, batch_size=10)
    said = capsys.readouterr().err
    assert "predict" in said and "50.0 rows" in said and said.rstrip().endswith(str(report))
