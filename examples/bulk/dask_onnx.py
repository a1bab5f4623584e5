"""An exported model over a data set, on a Dask cluster: the workers need onnxruntime, pandas and pyarrow, not rekur.

    python dask_onnx.py DATA MODEL.onnx OUT --columns c0,c1,c2 [--scheduler tcp://HOST:8786]

DATA is a folder of Parquet files whose rows are sequences (columns of numbers are the steps, or one column holds lists)
or texts; OUT, a folder that all workers reach, gets the same rows with the model's answers beside them. Without
--scheduler a cluster of this machine's cores is started. `answers` takes and gives a frame: it is what a Dask frame's
map_partitions and Spark's mapInPandas are given, too (docs/bulk.md).
"""

from __future__ import annotations

import argparse
import functools
import os
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pyarrow.parquet as pq
from distributed import Client


@functools.lru_cache(maxsize=2)
def session(model: bytes) -> onnxruntime.InferenceSession:
    """One a process, whatever number of partitions it gets."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # the workers are as many as the cores
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def answers(frame: pd.DataFrame, model: bytes, columns: list[str]) -> pd.DataFrame:
    """The rows with the outputs of an ONNX file beside them, a column a number.

    Rows with nothing to tell it from have nulls.
    """
    graph = session(model)
    first, *more = graph.get_inputs()
    if first.type == "tensor(string)":
        there = frame[columns[0]].notna().to_numpy()
        given = {first.name: frame.loc[there, columns[0]].to_numpy(object)}
    elif len(columns) > 1 or frame[columns[0]].dtype != object:
        values = frame[columns].to_numpy(np.float32, na_value=np.nan)
        there = ~np.isnan(values).all(axis=1)
        given = {first.name: values[there][..., None] if len(first.shape) == 3 else values[there]}
    else:  # lists: each is a sequence of numbers, or of lists of them
        there = frame[columns[0]].map(lambda row: row is not None and len(row) > 0).to_numpy(bool)
        steps = [np.stack([np.atleast_1d(step) for step in row]) for row in frame.loc[there, columns[0]]]
        lengths = np.array([len(row) for row in steps], np.int32)
        if not more and len(set(lengths)) > 1:
            raise ValueError("the model takes no lengths, and sequences differ in length: export it with lengths=True")
        values = np.zeros((len(steps), max(lengths, default=0), steps[0].shape[1] if steps else 1), np.float32)
        for row, one in zip(values, steps, strict=True):
            row[: len(one)] = one
        given = {first.name: values, **{one.name: lengths for one in more}}
    found = frame.copy()
    for output in graph.get_outputs():
        width = output.shape[1] if len(output.shape) > 1 else 1
        kind = "string" if output.type == "tensor(string)" else "float64"
        told = graph.run([output.name], given)[0].reshape(there.sum(), width) if there.any() else np.zeros((0, width))
        for place in range(width):
            column = pd.Series(None, index=frame.index, dtype=kind)
            column[there] = told[:, place]
            found[output.name if width == 1 else f"{output.name} {place}"] = column
    return found


def part(file: str, group: int, place: str, model: bytes, columns: list[str]) -> int:
    """The answers on one row group, as a file that appears whole; how many rows it has."""
    frame = pq.ParquetFile(file).read_row_group(group).to_pandas()
    beside = f"{place}.{os.getpid()}.tmp"
    answers(frame, model, columns).to_parquet(beside, index=False)
    os.replace(beside, place)
    return len(frame)


def run(client: Client, data: str, model: str, out: str, columns: list[str]) -> int:
    """Map over the row groups of all files; those that are there already are not made again. Returns the rows."""
    from dask_onnx import part  # by this module's name, also where it is the program: workers import it

    Path(out).mkdir(parents=True, exist_ok=True)
    graph = client.scatter(Path(model).read_bytes(), broadcast=True)
    tasks = []
    for number, file in enumerate(sorted(Path(data).rglob("*.parquet"))):
        for group in range(pq.ParquetFile(file).num_row_groups):
            place = Path(out, f"part-{number:06d}-{group:04d}.parquet")
            if not place.exists():
                tasks.append(client.submit(part, str(file), group, str(place), graph, columns, pure=False))
    return sum(client.gather(tasks))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", metavar="DATA")
    parser.add_argument("model", metavar="MODEL.onnx")
    parser.add_argument("out", metavar="OUT")
    parser.add_argument("--columns", required=True, type=lambda text: text.split(","), metavar="COL[,COL]")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a cluster that runs")
    options = parser.parse_args()
    with Client(options.scheduler) if options.scheduler else Client() as client:
        client.upload_file(__file__)
        print(run(client, options.data, options.model, options.out, options.columns), "rows")


if __name__ == "__main__":
    main()
