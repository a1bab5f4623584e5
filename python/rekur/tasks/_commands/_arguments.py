"""The arguments of the commands on tables and texts."""

import argparse
from pathlib import Path

from rekur.tasks._grid import AGGREGATES

_DATA = "CSV (any separator, plain or packed) or Parquet"


def natural(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"expected a whole number of 0 or more, got {text!r}")
    return int(text)


def positive(text: str) -> int:
    if (number := natural(text)) == 0:
        raise argparse.ArgumentTypeError("expected a whole number of 1 or more, got '0'")
    return number


def sizes(text: str) -> int | tuple[int, ...]:
    """A number, or several with commas between them."""
    found = tuple(positive(part.strip()) for part in text.split(","))
    return found[0] if len(found) == 1 else found


def share(text: str) -> float:
    """A number from 0 to below 1."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"expected a share from 0 to below 1, as 0.2, got {text!r}")
    return number


def part(text: str) -> float:
    """A number above 0 and below 1."""
    number = share(text)
    if number == 0:
        raise argparse.ArgumentTypeError("expected a share above 0 and below 1, as 0.5, got '0'")
    return number


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return number


def _fractions(text: str) -> list[float]:
    found = [share(part.strip()) for part in text.split(",")]
    if not all(found):
        raise argparse.ArgumentTypeError(f"expected shares above 0 with commas between them, got {text!r}")
    return found


def _listed(text: str) -> list[str]:
    found = [part.strip() for part in text.split(",")]
    if not all(found):
        raise argparse.ArgumentTypeError(f"expected names with commas between them, got {text!r}")
    return found


def _inputs(text: str) -> tuple[str | None, list[str]]:
    name, equals, columns = text.partition("=")
    return (name.strip(), _listed(columns)) if equals else (None, _listed(text))


def _budget(text: str) -> dict[str, object]:
    from rekur.tasks._commands._search import budget

    try:
        return budget(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _shard(text: str) -> tuple[int, int]:
    number, slash, count = text.partition("/")
    if not slash or not 1 <= positive(number) <= positive(count):
        raise argparse.ArgumentTypeError(f"expected I/N with I from 1 to N, as 1/4, got {text!r}")
    return int(number), int(count)


def _out(parser: argparse.ArgumentParser, folder: str) -> None:
    group = parser.add_argument_group("what is written")
    add = group.add_argument
    add("--out", type=Path, default=Path(folder), metavar="DIR", help=f"folder for all of it ({folder})")
    add("--overwrite", action="store_true", help="replace files of an earlier run in the folder")
    add("--no-report", dest="report", action="store_false", help="no report and pictures, which need matplotlib")
    add("--no-onnx", dest="onnx", action="store_false", help="no ONNX file")
    add("--quiet", action="store_true", help="print nothing but errors")


def _training(parser: argparse.ArgumentParser, ensemble: bool = True) -> None:
    group = parser.add_argument_group("training", "What is not said has the estimator's default.")
    add = group.add_argument
    add("--seed", type=natural, default=0, metavar="N", help="the same seed gives the same result, to the bit (0)")
    add("--epochs", type=positive, metavar="N", help="at most so many passes; training stops early")
    add("--units", type=sizes, metavar="N[,N]", help="of the recurrent layers")
    add("--cell", metavar="NAME", help="lstm, gru, or another of docs/cells.md")
    if ensemble:
        add("--ensemble", type=positive, metavar="N", help="average so many networks of different seeds (1)")


def _reading(parser: argparse.ArgumentParser, target: str, past: bool) -> None:
    group = parser.add_argument_group("columns", "What is not said is found out, and said.")
    add = group.add_argument
    add("--time", metavar="COL[,COL]", help="when; a date and its time of day may stand in two columns")
    add("--target", metavar="COL[,COL]", help=target)
    add("--series", metavar="COL", help="which series a row belongs to, where the table holds many")
    if past:
        add(
            "--past",
            metavar="COLS",
            help="known up to now alone, such as a measurement beside it",
        )
    group = parser.add_argument_group("time")
    add = group.add_argument
    add("--freq", metavar="STEP", help="15min, h, D, B (business days), W, MS (months), QS, YS, …")
    add("--time-zone", metavar="NAME", help="of times without a zone, and of hours and days: Europe/Berlin")
    add("--aggregate", choices=AGGREGATES, default="mean", help="how rows within one step become one value (mean)")
    add("--day-first", action=argparse.BooleanOptionalAction, default=None, help="how to read 03/04/2024")


def forecast(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Train a forecaster on a table, test it on the last part of the data beside simple forecasts, and forecast "
        "what comes. Writes model.safetensors, model.onnx, predictions.csv, backtest.csv, report.html and pictures."
    )
    parser.add_argument("data", type=Path, metavar="DATA", help=f"{_DATA}: rows in time")
    add = parser.add_argument
    add("--horizon", type=positive, metavar="N", help="steps ahead (a season, as far as the data suffice)")
    add(
        "--future-data",
        type=Path,
        metavar="FILE",
        help="a table of what is known ahead (--future) of the steps to come",
    )
    _reading(parser, "what to forecast", past=True)
    group = parser.add_argument_group("more columns")
    add = group.add_argument
    add("--future", metavar="COLS", help="known ahead, such as holidays or set prices")
    add("--static", metavar="COLS", help="constant for a series, such as its region")
    group = parser.add_argument_group("search", 'By Optuna, on what comes before the test: pip install "rekur[tune]".')
    add = group.add_argument
    add("--search", type=positive, metavar="N", help="try N forecasters, and take the best")
    add("--budget", type=_budget, metavar="COST=LIMIT[,…]", help="latency=0.001 (seconds), size=200KB, memory=1MB")
    group = parser.add_argument_group("forecasts")
    add = group.add_argument
    add("--output", metavar="KIND", help="quantiles (default), point, mean, or a distribution such as student_t")
    add("--quantiles", type=_fractions, metavar="Q[,Q]", help="which, as 0.05,0.5,0.95 (0.1 to 0.9)")
    add("--coverage", type=_fractions, metavar="C", help="of the band in predictions.csv (0.8)")
    add("--context", type=positive, metavar="N", help="steps that a forecast looks back")
    add("--season", type=positive, metavar="N", help="steps of the main season (what the step suggests)")
    add("--folds", type=natural, metavar="N", help="forecasts of the back-test; 0: no back-test (up to 10)")
    _training(parser)
    _out(parser, "rekur-forecast")


def classify(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Train a classifier of sequences or of texts on a table, and test it on some that are held out. Either each "
        "row is a step, and a column says which sequence it belongs to; or each row is a whole sequence; or a column "
        "holds texts. "
        "Writes model.safetensors, model.onnx, predictions.csv (of what was held out), report.html and pictures."
    )
    parser.add_argument("data", type=Path, metavar="DATA", help=_DATA)
    group = parser.add_argument_group("columns", "What is not said is found out, and said.")
    add = group.add_argument
    add("--label", metavar="COL", help="what to tell")
    add("--sequence", metavar="COL", help="which sequence a row belongs to, where rows are steps")
    add("--time", metavar="COL[,COL]", help="orders the steps of a sequence (the order of the rows)")
    add("--features", metavar="COLS", help="what to tell it from (all other columns)")
    add("--text", metavar="COL", help="the column of texts, where it is these that are classified")
    add("--kind", choices=("auto", "classes", "numbers", "steps", "texts"), default="auto",
        help="classes or numbers of sequences, classes of steps, or classes of texts (auto)")  # fmt: skip
    add("--test", type=Path, metavar="FILE", help="a table to test on, instead of rows held out")
    add("--test-share", type=share, default=0.2, metavar="S", help="of the sequences held out; 0: no test (0.2)")
    add("--class-weight", choices=("balanced",), help="rare classes count as much as frequent ones")
    _training(parser)
    _out(parser, "rekur-classify")


def detect(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Train an anomaly detector on the beginning of a table, where all is usual, and score all of it. Writes "
        "model.safetensors, model.onnx, predictions.csv (a score a step), alarms.csv, report.html and pictures."
    )
    parser.add_argument("data", type=Path, metavar="DATA", help=f"{_DATA}: rows in time")
    _reading(parser, "what to watch (all columns of numbers)", past=False)
    group = parser.add_argument_group("detection")
    add = group.add_argument
    add(
        "--labels",
        metavar="COL",
        help="known anomalies, 0 or 1 (a column called anomaly or label): it is tested on them",
    )
    add("--train-share", type=part, default=0.5, metavar="S", help="the first part, from which it learns (0.5)")
    add("--train-until", metavar="TIME", help="the same as a time, or a number of rows (a year of the table is a year)")
    methods = ("auto", "forecast", "nearest", "reconstruction")
    add("--method", choices=methods, help="what the score is made of (auto: forecast and nearest)")
    add("--window", type=positive, metavar="N", help="steps of a window that is compared")
    add("--season", type=positive, metavar="N", help="steps of a season, whose last one is looked at, too")
    add("--false-alarms", type=share, metavar="P", help="that are wished for, in each step (0.0001)")
    _training(parser)
    _out(parser, "rekur-detect")


def generate(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Train a model of text on a file, and let it write. Writes model.safetensors, model.onnx, samples.txt, "
        "report.html and pictures."
    )
    parser.add_argument(
        "text", type=Path, metavar="TEXT", help="a text file (UTF-8), or a CSV or Parquet file of texts"
    )
    add = parser.add_argument
    add("--column", metavar="COL", help="of the texts in a table")
    add("--level", choices=("char", "word", "byte-pairs"), default="char", help="what is learned to follow what (char)")
    add("--prompt", metavar="TEXT", default="", help="what samples begin with")
    add("--length", type=positive, default=500, metavar="N", help="characters or words of a sample (500)")
    add("--samples", type=positive, default=3, metavar="N", help="how many (3)")
    add("--temperature", type=_number, default=0.8, metavar="T", help="low: likely texts; high: varied ones (0.8)")
    _training(parser, ensemble=False)
    _out(parser, "rekur-generate")


def predict(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Apply a model that one of the other commands (or save of an estimator) wrote. A forecaster forecasts what "
        "follows DATA; a classifier tells the labels of its sequences or texts, a detector scores it, and a generator "
        "goes on with each of its texts, the lines of a text or a column of a table. Data larger than memory: a folder "
        "of Parquet or Arrow files, with -o DIR (docs/bulk.md)."
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="model.safetensors")
    parser.add_argument("data", type=Path, nargs="?", metavar="DATA",
                        help=f"{_DATA}; a forecaster can do without: what follows its training data; in bulk a folder "
                        "or a pattern, too")  # fmt: skip
    add = parser.add_argument
    add("--future-data", type=Path, metavar="FILE", help="of a forecaster: what is known ahead of the steps to come")
    add("--coverage", type=_fractions, metavar="C[,C]", help="of a forecaster: bands (0.8)")
    add("--quantiles", type=_fractions, metavar="Q[,Q]", help="of a forecaster: quantiles instead of a band")
    add("--text", metavar="TEXT", help="of a model of texts: one text instead of DATA")
    add("--length", type=positive, metavar="N", help="of a generator: how much it writes (200)")
    add("--temperature", type=_number, metavar="T", help="of a generator (0.8)")
    add("--seed", type=natural, metavar="N", help="of a generator (0)")
    add("-o", "--out", metavar="FILE|DIR/", help="where to write CSV (the terminal); in bulk the folder of parts")
    add("--overwrite", action="store_true", help="replace FILE, or the parts of an earlier run, if it is there")
    add("--quiet", action="store_true", help="no remarks beside the predictions")
    group = parser.add_argument_group(
        "bulk", "Parts in a folder; a run that was broken off goes on. DATA is a folder or pattern, or DIR ends in /."
    )
    add = group.add_argument
    add("--bulk", action="store_true", help="in bulk, whatever DATA and DIR look like")
    add("--keep", type=_listed, metavar="COL[,COL]", help="columns of the data that stand beside the answers")
    add("--batch", type=positive, metavar="N", help="rows at a time (1024); the answers do not depend on it")
    add("--part-rows", type=positive, metavar="N", help="about how many rows a part is of (100000)")
    add("--shard", type=_shard, metavar="I/N", help="the I-th of N shares, for machines that share no locks")
    add("--columns", type=_inputs, action="append", metavar="[INPUT=]COL[,COL]",
        help="of a model that does not know its columns; may be repeated")  # fmt: skip
    add("--key", metavar="COL", help="of such a model: which sequence or series a row belongs to")
    add("--time", type=_listed, metavar="COL[,COL]", help="of such a model: orders the steps of a sequence")
