"""A run: the plan, the parts that are missing, and, when all are there, that every row was counted once."""

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rekur._files import check_writable, write_atomic
from rekur._validate import integer
from rekur.bulk import _model, _source
from rekur.bulk._answers import Answerer, names_of
from rekur.bulk._arrow import import_pyarrow
from rekur.bulk._claims import FOLDER as CLAIMS
from rekur.bulk._claims import Claim
from rekur.bulk._parts import Parts, Progress, said_of
from rekur.bulk._plan import MANIFEST, Plan
from rekur.bulk._report import Report, Unfinished
from rekur.bulk._source import Source

SUCCESS = "_SUCCESS"


def predict(
    model: Any,
    source: Any,
    out: str | os.PathLike[str],
    *,
    columns: Any = None,
    key: str | None = None,
    time: Any = None,
    keep: Any = (),
    coverage: Sequence[float] | None = None,
    quantiles: Sequence[float] | None = None,
    batch_size: int = 1024,
    unit_rows: int = 100_000,
    shard: tuple[int, int] | None = None,
    overwrite: bool = False,
    verbose: int = 1,
) -> Report:
    """Apply a model to a data set of any size, in parts that are each made once.

    The folder gets ``part-….parquet``, in the order of the data, ``_manifest.json`` with the plan, and in the end
    ``_SUCCESS``. A run that was broken off, whatever way, goes on where it was when it is started again. Several
    processes may work on one folder at the same time. Answers have the bits of the model's ``predict``, whatever rows
    are read together; those of an ONNX file are as exact as onnxruntime is.

    Parameters
    ----------
    model : path, estimator of rekur.tasks, or Model
        A ``.safetensors`` file of ``save``, or an ``.onnx`` file, which onnxruntime computes.
        A SequenceClassifier, SequenceRegressor or TextClassifier answers each row, or each sequence; a SequenceTagger
        each step; an AnomalyDetector scores each row; a Forecaster forecasts what follows each series. A model of
        layers gives its outputs for each row.
    source : path, pattern, list of paths, URI or pyarrow.dataset.Dataset
        Parquet or Arrow files, or folders of them. ``year=2024`` in a path is a column.
    out : path
        A folder on a local (or mounted) file system; it is made if need be.
    columns : str, list of str, or dict, optional
        What the model reads, if it does not know that itself: columns of numbers (a row's are the steps of a
        sequence, or the values of an input), or of lists (each a sequence; several are channels), one of texts. Of a
        model with several inputs a dict of them.
    key : str, optional
        Rows are steps: the column that says which sequence or series a row belongs to. Rows of one key stand together.
        Models that know it need it not.
    time : str or list of str, optional
        With ``key``: what orders the steps (the order of the rows).
    keep : str or list of str
        Columns of the data that stand beside the answers; of a sequence or series its first row's.
    coverage, quantiles : list of float, optional
        Of a Forecaster: bands (0.8), or quantiles instead.
    batch_size : int
        Rows read and answered at a time. The answers do not depend on it.
    unit_rows : int
        About how many rows a part is of; a row group is never parted, nor a group of one key.
    shard : (int, int), optional
        (I, N): make the I-th of N shares of the parts, I from 1 on. For machines that share no locks.
    overwrite : bool
        Begin anew where the folder holds predictions of another model, of other data or settings, or old ones.
    verbose : int
        1: a bar with the remaining time on a terminal, and a line at the end. 0: nothing.

    Returns
    -------
    Report

    Raises
    ------
    Unfinished
        If some parts could not be made: a file that is damaged, a value that is no number. The others are there.
    ValueError
        If the folder holds predictions of something else, which is said; if columns are missing; if the rows of a key
        do not stand together.
    OSError
        If the folder cannot be written, or the disk is full.
    ImportError
        If pyarrow is not installed.
    """
    import_pyarrow()
    begin = _now()
    batch_size, unit_rows = integer(batch_size, "batch_size"), integer(unit_rows, "unit_rows")
    kept = names_of(keep, "keep") if keep else []
    if key is not None and not isinstance(key, str):
        raise ValueError(f"key: expected the name of a column, got {key!r}")
    share = _share(shard)
    folder = Path(out)
    _refuse_inside(source, folder)
    asked, described = _model.load(model)
    files = _source.find(source)
    files.inspect()
    schema = files.schema
    answerer = _model.answerer(
        asked, schema, columns=columns, key=key, time=time, coverage=coverage, quantiles=quantiles
    )
    _check_columns(files, answerer, kept)
    settings = {**answerer.described, "keep": kept, "unit_rows": unit_rows, "whole_files": _whole(answerer)}
    now = Plan.make(described, json.loads(json.dumps(settings)), files, unit_rows, _whole(answerer))
    folder.mkdir(parents=True, exist_ok=True)
    check_writable(folder / MANIFEST)
    with _planned(folder, now, files, overwrite, shard is None) as plan:
        parts = Parts(folder, plan, answerer, files, kept, schema, batch_size, locks=shard is None)
        made = Progress(sum(file.rows for file in files.files), verbose)
        try:
            parts.make(share, made)
        finally:
            made.close()
        report = parts.report(begin)
        if parts.failures:
            raise Unfinished(parts.failures, report)
        if report.complete:
            parts.check()
            _succeed(folder, plan, report)
    if verbose:
        print(report, file=sys.stderr, flush=True)
    return report


def _now() -> float:
    return time.monotonic()


def _share(shard: Any) -> tuple[int, int]:
    if shard is None:
        return 1, 1
    if not isinstance(shard, (tuple, list)) or len(shard) != 2:
        raise ValueError(f"shard: expected (I, N), such as (1, 4), got {shard!r}")
    number, count = integer(shard[0], "shard: I"), integer(shard[1], "shard: N")
    if number > count:
        raise ValueError(f"shard: expected I from 1 to N, got ({number}, {count})")
    return number, count


def _whole(answerer: Answerer) -> bool:
    return answerer.grouped and answerer.key is None


def _refuse_inside(source: Any, folder: Path) -> None:
    """The parts are no data of theirs."""
    if isinstance(source, (str, os.PathLike)) and "://" not in str(source) and Path(source).is_dir():
        inside, outside = folder.resolve(), Path(source).resolve()
        if inside == outside or outside in inside.parents:
            raise ValueError(f"out: '{folder}' lies in the data's folder '{source}': name another one")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"out: '{folder}' is a file; expected a folder, or the name of a new one")


def _check_columns(source: Source, answerer: Answerer, keep: Sequence[str]) -> None:
    """Every file has the columns, before any work."""
    needed = list(dict.fromkeys([*answerer.needs, *keep]))
    for file in source.files:
        if file.error is not None:
            continue
        names = source.schema_of(file).names
        for name in needed:
            if names.count(name) != 1:
                what = "keep: " if name not in answerer.needs else "columns: "
                known = ", ".join(map(repr, names[:20])) + (", …" if len(names) > 20 else "")
                many = f"{names.count(name)} columns" if name in names else "no column"
                raise ValueError(f"{what}'{file.name}' has {many} {name!r}; its columns are {known or 'none'}")


@contextlib.contextmanager
def _planned(folder: Path, now: Plan, source: Source, overwrite: bool, locks: bool) -> Iterator[Plan]:
    """The plan in force, while this process works by it. ``locks``: they are needed."""
    planning = Claim.take(folder, "plan", wait=True, needed=locks)
    assert planning is not None
    working = None
    try:
        with planning:
            alone = Claim.take(folder, "work", needed=locks)
            working = alone or Claim.take(folder, "work", shared=True, wait=True, needed=locks)
            assert working is not None
            plan = _plan_in_force(folder, now, source, overwrite, alone is not None)
            working.share()
        yield plan
    finally:
        if working is not None:
            _leave(folder, working, locks)


def _leave(folder: Path, working: Claim, locks: bool) -> None:
    working.release()
    last = Claim.take(folder, "work", needed=locks)
    if last is not None:  # nobody else works there: claims of processes that were killed may go
        for left in (folder / CLAIMS).glob("part-*"):
            left.unlink(missing_ok=True)
        last.release(remove=True)
        with contextlib.suppress(OSError):
            os.rmdir(folder / CLAIMS)


def _plan_in_force(folder: Path, now: Plan, source: Source, overwrite: bool, alone: bool) -> Plan:
    """The folder's plan, brought up to date; or a new one, where there is none or it is to be replaced."""
    if overwrite and not alone:
        raise ValueError(f"'{folder}': another process is writing there: overwrite when it has ended")
    plan = None if overwrite else Plan.read(folder)
    if plan is None:
        if not overwrite and (old := next(folder.glob("part-*.parquet"), None)) is not None:
            raise ValueError(f"'{folder}' holds '{old.name}' without a plan: name another folder, or overwrite")
        _clear(folder)
        now.write(folder)
        return now
    before = json.dumps(plan.state())
    done = {unit.name: True for unit in plan.units if said_of(folder, plan, unit) is not None}
    if len(done) < len(plan.units):
        (folder / SUCCESS).unlink(missing_ok=True)  # of a run whose parts are no longer all there
    plan.go_on(now, source, done, folder)
    if json.dumps(plan.state()) != before:
        if not alone:
            raise ValueError(
                f"'{folder}': files have changed, and another process is writing there by the old plan: try again when "
                "it has ended"
            )
        plan.write(folder)
    return plan


def _clear(folder: Path) -> None:
    """What an earlier run has written goes, its plan last."""
    for pattern in (SUCCESS, "part-*.parquet", ".part-*.parquet.*.tmp", MANIFEST):
        for old in folder.glob(pattern):
            old.unlink(missing_ok=True)


def _succeed(folder: Path, plan: Plan, report: Report) -> None:
    """Say that all is there."""
    said = {
        "rows_in": report.rows_in,
        "rows_out": report.rows_out,
        "untold": report.untold,
        "files": report.files,
        "parts": report.parts,
        "model": plan.model,
        "settings": plan.settings,
    }
    text = json.dumps(said, indent=1, ensure_ascii=False)
    if not (folder / SUCCESS).exists() or (folder / SUCCESS).read_text(encoding="utf-8") != text + "\n":
        write_atomic(folder / SUCCESS, (text + "\n").encode())
