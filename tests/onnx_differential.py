"""Random ONNX graphs and mutants of real ones, through onnxruntime and the import side by side.

    python tests/onnx_differential.py --cases 20000 --seed 7      # a long run; prints counts and what disagrees

What the import takes must give onnxruntime's numbers, to 1e-5 of the output's magnitude; everything else it must
refuse. Where onnxruntime itself refuses to run a graph, onnx's reference evaluator must agree with the import.
A run is one process of its own: onnxruntime ends the process on some inputs.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from onnx_mutants import mutate
from onnx_random_graph import SIZES
from onnx_random_nodes import GATES, random_model
from onnx_sweeps import Make, sweeps

OTHERS = ({"T": 4, "B": 4}, {"T": 1, "B": 2}, {"T": 2, "B": 1})
TOLERANCE = 1e-5
SHAKE, SLACK = 2.0**-21, 8.0
HUGE = 1e4  # beyond that outputs are not compared


def live(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without what has no say in the numbers and confuses onnxruntime.

    Nodes that no output needs, for which it refuses a graph; shapes that a file notes beside its nodes, which a change
    of these makes false, and by which it then goes.
    """
    from rekur.onnx._import.order import reads

    needed = {value.name for value in model.graph.output}
    kept: list[onnx.NodeProto] = []
    before = -1
    while before != len(needed):
        before = len(needed)
        kept = [node for node in model.graph.node if needed & set(node.output)]
        needed.update(name for node in kept for name in reads(node))
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.node[:]
    result.graph.node.extend(kept)
    del result.graph.value_info[:]
    for value in result.graph.output:
        value.type.tensor_type.ClearField("shape")
    return result


def _has_axes(value: onnx.ValueInfoProto) -> bool:
    return len(value.type.tensor_type.shape.dim) > 0


def as_onnxruntime_takes_it(model: onnx.ModelProto) -> onnx.ModelProto:
    """What ONNX allows and onnxruntime refuses, said otherwise.

    Layout 1 becomes Transpose, hidden_size is written out, activations have their usual case, trailing inputs that
    are left out are not there.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    nodes = list(result.graph.node)
    del result.graph.node[:]
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph.value_info
    units = {value.name: value.type.tensor_type.shape.dim[-1].dim_value for value in inferred if _has_axes(value)}
    units.update((tensor.name, tensor.dims[-1]) for tensor in model.graph.initializer if tensor.dims)
    for k, node in enumerate(nodes):
        while node.input and not node.input[-1]:
            del node.input[-1]
        names = [entry.name for entry in node.attribute]
        if node.op_type in GATES and "hidden_size" not in names and len(node.input) > 2 and node.input[2] in units:
            node.attribute.append(helper.make_attribute("hidden_size", units[node.input[2]]))
        for entry in node.attribute:
            if entry.name == "activations":
                entry.strings[:] = [
                    text.replace(b"sigmoid", b"Sigmoid", 1) if text == b"sigmoid" else text for text in entry.strings
                ]
        batch_first = [entry for entry in node.attribute if entry.name == "layout" and entry.i == 1]
        if node.op_type not in GATES or not batch_first:
            result.graph.node.append(node)
            continue
        node.attribute.remove(batch_first[0])
        after = []
        for index in (0, 5, 6):
            if index < len(node.input) and node.input[index]:
                name = f"turned_{k}_{index}"
                result.graph.node.append(helper.make_node("Transpose", [node.input[index]], [name], perm=[1, 0, 2]))
                node.input[index] = name
        for index, name in enumerate(node.output):
            if name:
                perm = [2, 0, 1, 3] if index == 0 else [1, 0, 2]
                after.append(helper.make_node("Transpose", [f"plain_{k}_{index}"], [name], perm=perm))
                node.output[index] = f"plain_{k}_{index}"
        result.graph.node.extend([node, *after])
    return result


def feed_of(model: onnx.ModelProto, sizes: dict[str, int], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Numbers for every input, at these sizes of the symbols; lengths within the steps."""
    stored = {tensor.name for tensor in model.graph.initializer}
    feed = {}
    for value in model.graph.input:
        if value.name in stored:
            continue
        kind = value.type.tensor_type.elem_type
        shape = [
            d.dim_value if d.HasField("dim_value") else _size(d.dim_param, sizes)
            for d in value.type.tensor_type.shape.dim
        ]
        dtype = helper.tensor_dtype_to_np_dtype(kind)
        if np.dtype(dtype).kind in "iu":
            low = 1 if "len" in value.name else 0
            feed[value.name] = rng.integers(low, 1 + sizes["T"] if low else 3, shape).astype(dtype)
        elif "ids" in value.name:
            feed[value.name] = rng.integers(0, 3, shape).astype(dtype)
        else:
            feed[value.name] = rng.standard_normal(shape).astype(dtype)
    return feed


def _size(symbol: str, sizes: dict[str, int]) -> int:
    low = symbol.lower()
    return sizes["B"] if low in ("b", "batch", "n", "s0") or low.endswith("batch") else sizes["T"]


def by_onnxruntime(model: onnx.ModelProto, feed: dict[str, np.ndarray], optimised: bool = True) -> list[np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, feed))


def by_reference(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    from onnx.reference import ReferenceEvaluator

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return list(ReferenceEvaluator(model).run(None, feed))


def shaken(feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The feed but for a few units in the last place, as ``verify`` does it."""
    rng = np.random.default_rng(0)
    return {
        name: (x * (1 + SHAKE * rng.choice((-1.0, 1.0), x.shape))).astype(x.dtype) if x.dtype.kind == "f" else x
        for name, x in feed.items()
    }


def distance(
    ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray], moved: Sequence[np.ndarray] | None = None
) -> str | None:
    """What is wrong with ours, or None. moved: ours on a shaken feed; float32 does not determine them better."""
    for k, (y, e) in enumerate(zip(ours, theirs, strict=True)):
        e = np.asarray(e)
        if y.shape != e.shape:
            return f"output {k} has shape {y.shape}, expected {e.shape}"
        if not e.size:
            continue
        wild = not np.isfinite(e).all() or np.abs(e).max() > HUGE
        if wild and (not np.isfinite(y).all() or np.abs(y).max() > HUGE / 10):
            continue
        worst = float(np.abs(y.astype(np.float64) - e).max())
        allowed = TOLERANCE * max(1.0, float(np.abs(e).max()))
        if moved is not None:
            allowed = max(allowed, SLACK * float(np.abs(moved[k].astype(np.float64) - y).max()))
        if not worst <= allowed:
            return f"output {k} is {worst:.3g} off"
    return None


def judge(model: onnx.ModelProto, seed: int) -> tuple[str, str]:
    """(verdict, what was seen): refused, equal, unread (only by shapes it cannot run), reference, or wrong."""
    from rekur.onnx import LoadError
    from rekur.onnx.backend import RekurBackendRep

    model = live(model)
    try:
        ours = RekurBackendRep(model)
        if ours._loaded is None:
            return "refused", "a weight is an input"
    except LoadError as error:
        return "refused", str(error)
    except Exception as error:
        return "wrong", f"the import raises {error!r}"
    verdict = "refused in the run"
    # Squeeze without axes drops what has size 1: other axes where there is one row or one step
    plain = any(
        node.op_type == "Squeeze" and len(list(filter(None, node.input))) + len(node.attribute) < 2
        for node in model.graph.node
    )
    for sizes in (SIZES, *OTHERS):
        if plain and 1 in sizes.values():
            continue
        feed = feed_of(model, sizes, np.random.default_rng(seed))
        try:
            actual = ours.run(feed)
        except ValueError as error:
            seen = str(error)
            continue
        except Exception as error:
            return "wrong", f"the run raises {error!r}"
        if any(not y.size for y in actual):  # of a sequence shorter than a window, of which the two think differently
            seen = "an output is empty"
            continue
        try:
            expected = by_onnxruntime(as_onnxruntime_takes_it(model), feed)
        except Exception as error:
            seen = str(error).replace("\n", " ")[:300]
            try:
                fault = distance(actual, by_reference(model, feed))
            except Exception as reason:
                return "wrong", f"onnxruntime refuses: {seen}; so does the reference: {reason!r:.200}"
            if fault:
                return "wrong", f"onnxruntime refuses: {seen}; by the reference, {fault}"
            verdict = "by the reference"
            continue
        fault = distance(actual, expected)
        fault = fault and distance(actual, expected, ours.run(shaken(feed)))
        recurrent = any(made.op_type in ("RNN", "GRU", "LSTM") for made in model.graph.node)
        if fault and recurrent and any(np.isnan(y).any() for y in actual):
            seen = "no numbers, which onnxruntime's recurrent nodes make numbers of"  # docs/onnx.md says so
            continue
        if fault:  # 1.32 fuses a layer normalisation whatever the exponent of its squares is
            plainly = by_onnxruntime(as_onnxruntime_takes_it(model), feed, False)
            fault = distance(actual, plainly, ours.run(shaken(feed)))
        if fault:
            return "wrong", f"{fault} at {sizes}"
        verdict, seen = "equal", ""
    return verdict, seen


def sources() -> list[onnx.ModelProto]:
    """Files as exporters write them: ours, and what others write around recurrent nodes."""
    import test_onnx_load_operators as operators
    import test_onnx_load_windows as windows
    from onnx_graphs import COMMON, around, model_of

    result = []
    for _, (nodes, constants, *_) in {**operators.PLAIN, **operators.NEW}.items():
        try:
            result.append(around(nodes, np.random.default_rng(1), **COMMON, **constants))
        except Exception:  # constants of the table that need more
            continue
    for nodes, constants, _ in windows.LOADED.values():
        result.append(model_of(nodes, windows.X, ["y"], constants, infer=False))
    return result + exported()


def exported() -> list[onnx.ModelProto]:
    import tempfile

    import rekur
    import rekur.onnx
    from rekur import layers

    result = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.onnx"
        for kind in (layers.SimpleRNN, layers.LSTM, layers.GRU):
            x = rekur.Input((None, 3), name="x")
            y = layers.Bidirectional(kind(4, return_sequences=True))(x)
            y = layers.LayerNormalization()(kind(3, return_sequences=True)(layers.Dense(4, activation="tanh")(y)))
            outputs = [layers.Dense(2, activation="softmax")(layers.Step(-1)(y)), y]
            model = rekur.Model(x, outputs)
            for options in ({}, {"lengths": True}):
                rekur.onnx.export(model, path, verify=False, **options)
                result.append(onnx.load(path))
            live = rekur.Sequential([rekur.Input((None, 3)), kind(4, return_sequences=True), kind(4), layers.Dense(2)])
            for options in ({"streaming": True}, {"states": True}):
                rekur.onnx.export(live, path, verify=False, **options)
                result.append(onnx.load(path))
    return result


def case(
    index: int, seed: int, files: Sequence[onnx.ModelProto], combinations: Sequence[Make]
) -> onnx.ModelProto | None:
    """In turns: a random graph as it is, a changed one, a changed file, a combination of a sweep."""
    rng = np.random.default_rng((seed, index))
    match index % 4:
        case 0:
            return random_model(rng)
        case 1:
            model = random_model(rng)
        case 2:
            model = files[rng.integers(len(files))]
        case _:
            return combinations[rng.integers(len(combinations))]()
    for _ in range(rng.integers(1, 4)):
        model = model and mutate(model, rng)
    return model


def run(cases: int, seed: int, seconds: float, extra: Sequence[Path] = (), keep: Path | None = None) -> dict[str, Any]:
    files = sources() + [onnx.load(path) for path in extra]
    combinations = sweeps()
    counts: Counter[str] = Counter()
    faults: list[str] = []
    end = time.monotonic() + seconds
    for index in range(cases):
        if time.monotonic() > end:
            break
        model = case(index, seed, files, combinations)
        if model is None:
            counts["nothing"] += 1
            continue
        print(f"case {index} of seed {seed}", file=sys.stderr) if keep else None
        verdict, seen = judge(model, index)
        counts[verdict] += 1
        if verdict == "wrong":
            faults.append(f"case {index} of seed {seed}: {seen}")
            if keep:
                onnx.save(model, keep / f"{seed}_{index}.onnx")
    return {"counts": dict(counts), "wrong": faults}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so long")
    parser.add_argument("--files", type=Path, nargs="*", default=[], help="more ONNX files to change")
    parser.add_argument("--keep", type=Path, help="folder for the graphs that disagree")
    arguments = parser.parse_args()
    result = run(arguments.cases, arguments.seed, arguments.seconds, arguments.files, arguments.keep)
    print(json.dumps(result, indent=1))
    sys.exit(bool(result["wrong"]))


if __name__ == "__main__":
    main()
