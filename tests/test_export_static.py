"""Models as C++ types: what they compute is what a stream computes, to the bit, with nothing but a compiler."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import rekur
import sampling
from cpp_tools import CXX, ROOT, WARNINGS
from harness import Engine, input_layer, model_spec
from random_cells import SIZES, cell_model, library, random_cell
from rekur import _core, cli
from rekur._static import static_header
from rekur.layers import GRU, LSTM, Bidirectional, Conv1D, Dense, LayerNormalization, TimeDistributed
from test_layer_contract import EXAMPLES, IMAGES, ROWS, Example, Input

CLANG = shutil.which("clang++")
ISA_FLAGS = {
    "baseline": ["-march=x86-64"],
    "avx2": ["-march=x86-64", "-mavx2", "-mfma"],
    "avx512": ["-march=x86-64", "-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma"],
    "neon": [],
}
ISA_FLAGS["amx"] = ISA_FLAGS["avx512"]
BARE = ["-fno-exceptions", "-fno-rtti", *WARNINGS]
DRIVER = """\
#include <cstdio>
#include <cstdlib>
#include <cstring>
static float* room(std::size_t n) { return static_cast<float*>(std::calloc(n + 1, sizeof(float))); }
template <class T>
static const T* given(std::size_t n) {
  T* const p = static_cast<T*>(std::calloc(n + 1, sizeof(T)));
  if (std::fread(p, sizeof(T), n, stdin) != n) std::abort();
  return p;
}
"""


class Case(NamedTuple):
    name: str
    engine: Engine
    steps: int = 6


def compilers() -> list[Any]:
    missing = pytest.mark.skip(reason="no such compiler")
    return [pytest.param("g++", marks=[] if CXX else missing), pytest.param("clang++", marks=[] if CLANG else missing)]


every_compiler = pytest.mark.parametrize("compiler", compilers())


def streamed(example: Example) -> Example:
    """The example with a time axis, where it has none."""
    if any(len(shape) == (2 if dtype == "int32" else 3) for shape, dtype in example.inputs):
        return example
    inputs = [((None, None, *shape[1:]), dtype) for shape, dtype in example.inputs]
    layer = dict(example.layer)
    if layer["type"] == "Dot":
        layer["axes"] = [2, 2]
    return Example(layer, inputs, [])


def contract_cases() -> Iterator[Case]:
    for k, example in enumerate(EXAMPLES):
        try:
            engine = Engine(streamed(example).spec(), seed=k)
            _core.stream_program(engine.model)
        except ValueError:  # no stream
            continue
        yield Case(f"{example.type} {k}", engine)


def memory_cases() -> Iterator[Case]:
    """Layers with states beyond a cell's, wider than a vector; attention long enough for its ring to come round."""
    wide: Input = ((None, None, 21), "float32")
    sequences = {"return_sequences": True}
    linear: dict[str, Any] = {"type": "GatedLinearAttention", "num_heads": 3}
    causal: dict[str, Any] = {"use_causal_mask": True}
    layers: list[tuple[dict[str, Any], list[Input], int]] = [
        *(
            ({**linear, "key_dim": K, "value_dim": V, "mode": mode, **more}, [wide], 9)
            for mode in ("linear", "gated", "delta", "gated_delta")
            for K, V in ((17, 33), (16, 5))
            for more in ({**sequences, "return_state": True}, {"output_gate": False, "use_bias": False})
        ),
        ({"type": "MLSTM", "num_heads": 2, "key_dim": 19, "value_dim": 32, "return_state": True}, [wide], 9),
        ({"type": "SelectiveSSM", "state_size": 5, "units": 7, "return_state": True, "use_bias": True}, [wide], 9),
        ({"type": "PositionEmbedding", "sequence_length": 4}, [wide], 6),
        ({"type": "SinePositionEncoding"}, [wide], 40),
        ({"type": "RotaryEmbedding", "scaling_factor": 2.5}, [((None, None, 22), "float32")], 40),
        ({"type": "MultiHeadAttention", "num_heads": 3, "key_dim": 5, "value_dim": 18, "sliding_window": 150, **causal},
         [wide] * 2, 700),
        ({"type": "GroupQueryAttention", "head_dim": 17, "num_query_heads": 4, "num_key_value_heads": 2,
          "sliding_window": 3, **causal}, [wide] * 2, 30),
        ({"type": "Attention", "use_scale": True, "sliding_window": 4, **causal}, [wide] * 3, 20),
        ({"type": "Attention", "score_mode": "concat", "use_scale": True, "sliding_window": 4, **causal},
         [wide] * 2, 20),
        ({"type": "AdditiveAttention", "sliding_window": 140, **causal}, [wide] * 2, 300),
        ({"type": "ConvLSTM1D", "filters": 5, "kernel_size": 3, "strides": 2, "padding": "same", **sequences},
         [ROWS], 6),
        ({"type": "ConvLSTM2D", "filters": 3, "kernel_size": [3, 2], "recurrent_activation": "hard_sigmoid",
          **sequences}, [IMAGES], 6),
        ({"type": "ConvLSTM2D", "filters": 17, "kernel_size": 2, "padding": "same", "dilation_rate": [1, 2],
          "use_bias": False, "activation": "relu", **sequences}, [IMAGES], 6),
    ]  # fmt: skip
    for k, (layer, inputs, steps) in enumerate(layers):
        spec = Example(layer, inputs, []).spec()
        if len(inputs) > 1:  # keys, values and queries of one sequence
            for each in spec["layers"]:
                if each["name"] == "subject":
                    each["inputs"] = ["in0"] * len(inputs)
            spec["layers"] = [each for each in spec["layers"] if each["name"] in ("in0", "subject")]
            spec["inputs"] = ["in0"]
        yield Case(f"{layer['type']} {k}", Engine(spec, seed=k, scale=0.5), steps)


def masked_cases() -> Iterator[Case]:
    """Steps that a mask leaves out, by zeros among the ids: what every kind of layer then does."""
    mask = {"type": "Embedding", "name": "words", "inputs": ["ids"], "input_dim": 7, "output_dim": 5, "mask_zero": True}
    own = {"type": "Masking", "name": "own", "inputs": ["x"], "mask_value": 1.0}
    joined = {"type": "Add", "name": "joined", "inputs": ["words", "own"]}
    sequences = {"return_sequences": True}
    layers: list[dict[str, Any]] = [
        {"type": "LSTM", "units": 4, "return_state": True, "residual": False, **sequences},
        {"type": "GRU", "units": 5, "residual": True, "zero_output_for_mask": True, **sequences},
        {"type": "RNN", "cell": library()["min_gru"], "units": 4, "zero_output_for_mask": True, "return_state": True},
        {"type": "GRU", "units": 5, "residual": True, **sequences},
        {"type": "GRU", "units": 5, "residual": True},
        {"type": "SimpleRNN", "units": 5, "residual": True, "zero_output_for_mask": True},
        {"type": "LSTM", "units": 5, "residual": True, "learn_initial_state": True, "return_state": True},
        {"type": "LSTM", "units": 5, "residual": True, "zero_output_for_mask": True, "return_state": True},
        {"type": "RNN", "cell": library()["min_gru"], "units": 5, "residual": True, "return_state": True},
        {"type": "GatedLinearAttention", "num_heads": 2, "key_dim": 3, "return_state": True, **sequences},
        {"type": "MLSTM", "num_heads": 2, "key_dim": 3, "return_state": True},
        {"type": "SelectiveSSM", "state_size": 2, "return_state": True, **sequences},
    ]
    for k, layer in enumerate(layers):
        spec = model_spec(
            [input_layer("ids", None, dtype="int32"), input_layer("x", None, 5), mask, own, joined,
             {**layer, "name": "subject", "inputs": ["joined"]}],
            ["subject", *[f"subject:{i}" for i in (1, 2)[: (layer["type"] == "LSTM") + ("return_state" in layer)]]],
        )  # fmt: skip
        yield Case(f"masked {layer['type']} {k}", Engine(spec, seed=k), 40)


def cell_cases(count: int, seed: int) -> Iterator[Case]:
    """Random cells, and those of the library with options, of widths around whole vectors."""
    rng = np.random.default_rng(seed)
    known = library()
    options: list[dict[str, Any]] = [
        {}, {"layer_normalization": "both"}, {"zoneout": 0.125, "state_clip": 0.5}, {"residual": True},
        {"learn_initial_state": True}, {"layer_normalization": "sums", "use_bias": False},
    ]  # fmt: skip
    names = list(known)
    for k in range(count):
        cell = random_cell(seed + k) if k % 2 else known[names[int(rng.integers(len(names)))]]
        I, H = (int(rng.choice(SIZES)) for _ in range(2))
        more = dict(options[int(rng.integers(len(options)))])
        if more.get("residual"):
            I = H
        try:
            yield Case(f"cell {k} {I} {H} {more}", Engine(cell_model(cell, "forward", I, H, **more), seed=k, scale=0.5))
        except ValueError:  # the option does not go with the cell
            continue


def weighted(model: rekur.Model, seed: int) -> Engine:
    return Engine(json.loads(model._engine().spec), seed=seed, scale=0.3)


def model_cases() -> Iterator[Case]:
    """Whole models, wide enough for several passes of a product."""
    for k, units in enumerate((8, 16, 20, 40, 64, 131)):
        amp = rekur.Sequential([LSTM(units, return_sequences=True, input_shape=(None, 1)), Dense(1)])
        yield Case(f"LSTM {units}", weighted(amp, k))
    x = rekur.Input((None, 19), name="x")
    y = GRU(67, return_sequences=True, reset_after=False)(x)
    y = Conv1D(33, 3, padding="causal", dilation_rate=2, activation="relu")(y)
    y = LayerNormalization()(y)
    z = TimeDistributed(Dense(33, activation="tanh"))(y)
    y = rekur.layers.Concatenate()([rekur.layers.Add()([y, z]), x])
    y = GRU(17, return_sequences=True)(y)
    heads = [Dense(40, activation="softmax", name="class")(y), Dense(1, name="int")(z)]
    yield Case("several heads", weighted(rekur.Model(x, heads), 8))


def example_cases() -> Iterator[Case]:
    for path in sorted((ROOT / "cpp/examples/models").glob("*.safetensors")):
        model, _, _ = _core.load(os.fsencode(path))
        engine = Engine(json.loads(model.spec))
        engine.model.set_weights(model.get_weights())
        yield Case(path.stem, engine)


def int8_cases() -> Iterator[Case]:
    """Layers of precision int8 at awkward sizes: all of their matrices of eight bits, or some of them."""
    cells = library()
    layers: list[tuple[int, dict[str, Any]]] = [
        *((I, {"type": type_, "units": H}) for I, H in ((5, 65), (17, 64), (65, 67))
          for type_ in ("LSTM", "GRU", "SimpleRNN")),
        (200, {"type": "LSTM", "units": 7}),
        (200, {"type": "GRU", "units": 7}),
        (1, {"type": "LSTM", "units": 40}),
        (33, {"type": "LSTM", "units": 33, "return_state": True}),
        (20, {"type": "LSTM", "units": 67, "peepholes": True}),
        (20, {"type": "LSTM", "units": 67, "clip": 0.3, "coupled_gates": True, "use_bias": False}),
        (20, {"type": "LSTM", "units": 67, "projection_size": 48}),
        (65, {"type": "LSTM", "units": 70, "projection_size": 62, "return_state": True}),
        (20, {"type": "LSTM", "units": 67, "layer_normalization": "sums", "peepholes": True}),
        (65, {"type": "GRU", "units": 65, "residual": True, "learn_initial_state": True}),
        (20, {"type": "GRU", "units": 65, "reset_after": False}),
        (70, {"type": "GRU", "units": 131, "reset_after": False}),
        (40, {"type": "GRU", "units": 65, "layer_normalization": "both"}),
        *((33, {"type": "RNN", "cell": cells[name], "units": 65}) for name in ("min_gru", "lstm", "ugrnn", "mut1")
          if name in cells),
        (65, {"type": "Dense", "units": 70, "activation": "softmax"}),
        (301, {"type": "Dense", "units": 17, "use_bias": False}),
        (20, {"type": "Conv1D", "filters": 66, "kernel_size": 5, "dilation_rate": 2, "padding": "causal"}),
        (65, {"type": "Conv1D", "filters": 67, "kernel_size": 1, "padding": "causal"}),
        (34, {"type": "Conv1D", "filters": 66, "kernel_size": 8, "groups": 2, "padding": "causal"}),
        (40, {"type": "Conv1D", "filters": 140, "kernel_size": 3, "groups": 2, "dilation_rate": 3, "padding": "causal",
              "use_bias": False, "activation": "relu"}),
    ]  # fmt: skip
    for k, (features, layer) in enumerate(layers):
        recurrent = layer["type"] not in ("Dense", "Conv1D")
        more = {"name": "y", "inputs": ["x"], "precision": "int8", **({"return_sequences": True} if recurrent else {})}
        outputs = ["y", "y:1", "y:2"][: 3 if layer.get("return_state") else 1]
        spec = model_spec([input_layer("x", None, features), {**layer, **more}], outputs)
        yield Case(f"int8 {k} {layer['type']} {features}", Engine(spec, seed=k, scale=0.3), 13)
    table = {"type": "Embedding", "name": "table", "inputs": ["x"], "input_dim": 7, "output_dim": 65, "mask_zero": True}
    cell = {"type": "GRU", "name": "y", "inputs": ["table"], "units": 65, "return_sequences": True}
    spec = model_spec(
        [input_layer("x", None, dtype="int32"), *({**layer, "precision": "int8"} for layer in (table, cell))], ["y"]
    )
    yield Case("masked int8 table", Engine(spec, seed=3, scale=0.3), 13)
    x = rekur.Input((None, 3, 65), name="x")
    y = TimeDistributed(Dense(64, precision="int8"))(x)
    yield Case("int8 rows", weighted(rekur.Model(x, y), 9), 13)


def awkward_rows(x: np.ndarray) -> None:
    """The last rows become what rounding has to look out for: nothing, little, too wide a range, no numbers."""
    x[-7] = 0
    x[-6] = np.abs(x[-6]) * 1e-3 + 1
    x[-5] = -np.abs(x[-5])
    x[-4] *= 1e-35
    x[-3].reshape(-1)[: x[-3].size // 2 + 1] = 2.5e38
    x[-3].reshape(-1)[:1] = -2.5e38
    x[-2].reshape(-1)[-1] = np.inf
    x[-1].reshape(-1)[0] = np.nan


def inputs_of(case: Case, rng: np.random.Generator) -> list[np.ndarray]:
    program = _core.stream_program(case.engine.model)
    arrays = []
    for number in program["inputs"]:
        name, shape, dtype = program["arrays"][number]
        if dtype == "int32":
            # Of -1 NaN is made, which would stay in the states that a mask is to keep.
            least = 0 if case.name.startswith("masked") else -1
            ids = rng.integers(least, 7, (case.steps, *shape[1:])).astype(np.int32)
            arrays.append(np.where(ids == 6, 0, ids).astype(np.int32))
        else:
            x = rng.standard_normal((case.steps, *shape[1:])).astype(np.float32)
            x[::5] = 1  # what a Masking may look for
            if case.name.startswith("int8"):
                awkward_rows(x)
            arrays.append(np.abs(x) + np.float32(0.1) if "step" in name or name in ("time", "mask") else x)
    return arrays


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(((a.view(np.uint32) == b.view(np.uint32)) | (np.isnan(a) & np.isnan(b))).all())


def rounded(model: _core.Model, kind: str) -> _core.Model:
    """Itself, or a model of its matrices in sixteen bits."""
    if kind == "float32":
        return model
    result = _core.Model(model.spec)
    result.set_weights(model.rounded_weights(kind))
    return result


def program(
    folder: Path, cases: Sequence[Case], rng: np.random.Generator, kind: str = "float32"
) -> tuple[Path, bytes, list[Any]]:
    """One translation unit of all models; what it reads, and by output its case and what a stream gives."""
    includes, body, data, wanted = "", "", b"", []
    for k, case in enumerate(cases):
        text, report = static_header(case.engine.model, f"m{k}", kind)
        (folder / f"m{k}.hpp").write_text(text)
        includes += f'#include "m{k}.hpp"\n'
        inputs = inputs_of(case, rng)
        data += b"".join(x.tobytes() for x in inputs)
        body += f"static void run{k}() {{\n  static m{k}::Model model;\n"
        names = []
        for x, (name, size) in zip(inputs, report.inputs.items(), strict=True):
            type_ = "int32_t" if x.dtype == np.int32 else "float"
            body += f"  const {type_}* const {name} = given<{type_}>({case.steps * size});\n"
            names.append((name, size))
        for name, size in report.outputs.items():
            body += (
                f"  float* const {name} = room({case.steps * size}), *const again_{name} = room({case.steps * size});\n"
            )
            names.append((name, size))
        state = f"state{k}"
        body += f"  float {state}[m{k}::Model::state_size + 1];\n"
        body += f"  model.process({', '.join(n for n, _ in names)}, {case.steps});\n  model.reset();\n"
        # The same once more, step by step, by two objects that hand the states over.
        again = [f"{'again_' if n in report.outputs else ''}{n} + t * {s}" for n, s in names]
        body += f"  m{k}::Model other;\n  for (int t = 0; t < {case.steps}; ++t) {{\n"
        body += f"    (t % 2 ? other : model).step({', '.join(again)});\n"
        body += (
            f"    (t % 2 ? other : model).get_state({state});\n    (t % 2 ? model : other).set_state({state});\n  }}\n"
        )
        for name, size in report.outputs.items():
            body += f"  if (std::memcmp({name}, again_{name}, {case.steps * size * 4}) != 0) std::abort();\n"
            body += f"  std::fwrite({name}, 4, {case.steps * size}, stdout);\n"
        body += "}\n"
        for y in _core.stream_steps(rounded(case.engine.model, kind), inputs):
            wanted.append((case.name, y))
    body += "int main() {\n" + "".join(f"  run{k}();\n" for k in range(len(cases))) + "}\n"
    source = folder / "main.cpp"
    source.write_text(includes + DRIVER + body)
    return source, data, wanted


def check(folder: Path, cases: Sequence[Case], isa: str, compiler: str, *flags: str, kind: str = "float32") -> None:
    source, data, wanted = program(folder, cases, np.random.default_rng(5), kind)
    out = source.with_suffix("")
    # Without the runtime of C++: gcc and clang link C's alone.
    command = [CXX if compiler == "g++" else CLANG, *BARE, *ISA_FLAGS[isa], *flags, "-c", str(source), "-o", f"{out}.o"]
    link = [re.sub(r"\+\+(?=[^/]*$)", lambda _: "cc" if compiler == "g++" else "", str(command[0])), f"{out}.o"]
    for call in (command, [*link, "-o", str(out), "-lm"]):
        done = subprocess.run([str(word) for word in call], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[:4000]
    results = subprocess.run([out], input=data, capture_output=True, check=True, timeout=120).stdout
    at, bad = 0, []
    for name, y in wanted:
        got = np.frombuffer(results, np.float32, y.size, at).reshape(y.shape)
        at += y.nbytes
        if not same_bits(got, y):
            bad.append(f"{name}: {np.count_nonzero(got != y)} of {y.size}, by {np.nanmax(np.abs(got - y)):.2g}")
    assert at == len(results) and not bad, bad


@pytest.mark.isa_in_turn
def test_every_layer_that_streams_gives_a_streams_bits(isa: str, tmp_path: Path) -> None:
    compiler = "clang++" if CLANG else "g++" if CXX else pytest.skip("no C++ compiler")
    check(tmp_path, list(contract_cases()), isa, compiler, "-std=c++20", "-O1")


def test_positions_matrices_attention_images_and_masks_give_a_streams_bits(tmp_path: Path) -> None:
    """And layers of every kind once more, by the other compiler."""
    if CXX is None:
        pytest.skip("no g++")
    cases = [*memory_cases(), *masked_cases(), *sampling.one_of(3, list(contract_cases()), "g++")]
    check(tmp_path, cases, _core.isa(), "g++", "-std=c++17", "-O1")


@every_compiler
def test_whole_models_give_a_streams_bits(tmp_path: Path, compiler: str) -> None:
    """Those that come with the source among them; by default compilers would round a product and a sum once."""
    cases = [*example_cases(), *model_cases()]
    assert {"amp", "forecaster"} <= {case.name for case in cases}
    check(tmp_path, cases, _core.isa(), compiler, "-std=c++17", "-O2")


def test_cells_of_the_library_and_random_ones_give_a_streams_bits(isa: str, tmp_path: Path, request: Any) -> None:
    if CXX is None:
        pytest.skip("no C++ compiler")
    count = max(12, request.config.getoption("--cell-cases") // 100)
    check(tmp_path, list(cell_cases(count, 11)), isa, "g++", "-std=c++17", "-O1")


@pytest.mark.isa_in_turn
@pytest.mark.parametrize("kind", ["bf16", "fp16"])
def test_matrices_in_sixteen_bits_give_the_bits_of_a_stream_of_them(isa: str, kind: str, tmp_path: Path) -> None:
    compiler = "clang++" if CLANG and kind == "bf16" else "g++" if CXX else pytest.skip("no C++ compiler")
    cases = [*example_cases(), *model_cases(), *cell_cases(6, 23)]
    flags = ["-std=c++17", "-O1", *(["-mf16c"] if isa == "avx2" and compiler == "g++" else [])]
    check(tmp_path, cases, isa, compiler, *flags, kind=kind)


def test_layers_in_sixteen_bits_give_the_bits_of_a_stream_of_them(tmp_path: Path) -> None:
    if CXX is None:
        pytest.skip("no g++")
    cases = sampling.one_of(3, [*contract_cases(), *memory_cases(), *masked_cases()], "bf16")
    check(tmp_path, cases, _core.isa(), "g++", "-std=c++17", "-O1", kind="bf16")


def has(*flags: str) -> bool:
    """Whether this processor has them, as Linux calls them."""
    path = Path("/proc/cpuinfo")
    found = set(re.findall(r"\w+", path.read_text())) if path.exists() else set()
    return found.issuperset(flags)


@pytest.mark.isa_in_turn
@pytest.mark.parametrize("dots", [False, True], ids=["", "dots"])
def test_layers_of_eight_bits_give_a_streams_bits(isa: str, dots: bool, tmp_path: Path) -> None:
    """By instructions that multiply and add numbers of eight bits, too, where the processor has them."""
    known = {"avx512": ("avx512_vnni", "-mavx512vnni"), "avx2": ("avx_vnni", "-mavxvnni"),
             "neon": ("asimddp", "-march=armv8.2-a+dotprod")}  # fmt: skip
    if dots and (isa not in known or not has(known[isa][0])):
        pytest.skip("no such instruction")
    compiler = "clang++" if CLANG and dots else "g++" if CXX else pytest.skip("no C++ compiler")
    cases = list(int8_cases())
    for case in cases:
        assert case.engine.model.int8_matrices, case.name
    check(tmp_path, cases, isa, compiler, "-std=c++17", "-O1", *([known[isa][1]] if dots else []))


def test_other_matrices_of_a_model_of_eight_bits_may_be_in_sixteen(tmp_path: Path) -> None:
    if CXX is None:
        pytest.skip("no g++")
    cases = sampling.one_of(3, list(int8_cases()), "bf16")
    check(tmp_path, cases, _core.isa(), "g++", "-std=c++17", "-O1", kind="bf16")


def test_matrices_of_eight_bits_take_a_quarter_of_the_bytes(tmp_path: Path) -> None:
    plain = rekur.Sequential([LSTM(64, return_sequences=True, input_shape=(None, 64), name="lstm"), Dense(1)])
    whole = rekur.export_static(plain, tmp_path / "whole.hpp")
    small = rekur.export_static(rekur.quantize(plain, "int8").model, tmp_path / "small.hpp")
    columns = 2 * 256  # a scale and a sum each
    assert whole.weight_bytes - small.weight_bytes == 3 * 128 * 256 - 8 * columns
    assert f"of {small.weight_bytes:,} bytes" in str(small) and "64 states" not in str(small)
    text = (tmp_path / "small.hpp").read_text()
    assert sum(int(n) - 64 for n in re.findall(r"constexpr int8_t \w+\[(\d+)\]", text)) == 128 * 256
    assert small.file_size < whole.file_size / 2
    asked = rekur.export_static(rekur.quantize(plain, "int8").model, tmp_path / "asked.hpp", weights="int8")
    assert asked.weight_bytes == small.weight_bytes and "matrices in int8" in str(asked)
    with pytest.raises(ValueError, match="no layer has the precision int8"):
        rekur.export_static(plain, tmp_path / "m.hpp", weights="int8")
    assert not (tmp_path / "m.hpp").exists()


def test_a_column_of_eight_bits_that_is_not_finite_gives_nan(tmp_path: Path) -> None:
    if CXX is None:
        pytest.skip("no C++ compiler")
    layer = {"type": "Dense", "name": "y", "units": 64, "inputs": ["x"], "precision": "int8"}
    engine = Engine(model_spec([input_layer("x", None, 64), layer], ["y"]))
    flat = engine.model.get_weights()
    flat[[0, 70, 130]] = [np.inf, np.nan, 1e-42]
    engine.model.set_weights(flat)
    check(tmp_path, [Case("special", engine)], _core.isa(), "g++", "-std=c++17")
    model = rekur.Sequential([Dense(64, precision="int8", input_shape=(None, 64), name="y")])
    model.set_weights([flat[:4096].reshape(64, 64), flat[4096:]])
    with pytest.raises(ValueError, match="weight 'y/kernel': element 0"):
        rekur.export_static(model, tmp_path / "m.hpp", weights="int8")


@pytest.mark.parametrize("kind", ["bf16", "fp16"])
def test_matrices_in_sixteen_bits_take_half_the_bytes(kind: str) -> None:
    for case in [*contract_cases(), *memory_cases()]:
        half = static_header(case.engine.model, "m", kind)[0]
        matrices = set(case.engine.model.matrices)
        few = {  # a Dense of few outputs, which stays as it is
            f"{layer['name']}/kernel"
            for layer in case.engine.spec["layers"]
            if layer["type"] in ("Dense", "TimeDistributed") and _few(case.engine, layer["name"])
        }
        expected = sum(int(np.prod(case.engine.shapes[name])) for name in matrices - few)
        found = sum(int(n) - 16 for n in re.findall(r"constexpr uint16_t \w+\[(\d+)\]", half))
        assert found >= expected, (case.name, found, expected)  # groups are written out with zeros between them


def _few(engine: Engine, layer: str) -> bool:
    shape = engine.shapes.get(f"{layer}/kernel")
    return shape is not None and len(shape) == 2 and bool(_core.few_outputs(*shape))


def test_a_matrix_that_sixteen_bits_cannot_hold_is_refused(tmp_path: Path) -> None:
    model = rekur.Sequential([Dense(1, input_shape=(None, 2), name="out")])
    model.set_weights([np.array([[1e5], [1]], np.float32), np.zeros(1, np.float32)])
    with pytest.raises(ValueError, match="weight 'out/kernel': element 0"):
        rekur.export_static(model, tmp_path / "m.hpp", weights="fp16")
    with pytest.raises(
        ValueError, match="export_static: weights: expected one of float32, bf16, fp16, int8, got 'half'"
    ):
        rekur.export_static(model, tmp_path / "m.hpp", weights="half")
    assert not (tmp_path / "m.hpp").exists()
    assert "matrices in bf16" in str(rekur.export_static(model, tmp_path / "m.hpp", weights="bf16"))


def test_a_layer_that_cannot_step_is_refused_by_its_name_and_reason(tmp_path: Path) -> None:
    both = rekur.Sequential([Bidirectional(LSTM(3), name="both"), Dense(1)])
    both.build((None, None, 2))
    with pytest.raises(ValueError, match="Bidirectional 'both': cannot go one step at a time: it begins at the end"):
        rekur.export_static(both, tmp_path / "m.hpp")
    assert not (tmp_path / "m.hpp").exists()


HOSTILE = ("int", "1st.lstm-x", "1st-lstm.x", "copy", "Model", "x", "state", "step", "INFINITY", "a__b", "_")


@every_compiler
def test_any_name_of_a_layer_gives_a_header_that_compiles(tmp_path: Path, compiler: str) -> None:
    layers = [input_layer("x", None, 3), input_layer("x_size", None, 3), input_layer("x-size", None, 3)]
    layers.append({"type": "Add", "name": "run", "inputs": ["x", "x_size", "x-size"]})
    layers += [
        {"type": "LSTM", "units": 3, "return_sequences": True, "inputs": ["run"], "name": n} for n in HOSTILE[1:5]
    ]
    layers += [
        {"type": "Dense", "units": 2, "inputs": [HOSTILE[1]], "name": n} for n in HOSTILE if n not in HOSTILE[1:6]
    ]
    spec = model_spec(layers, [name for name in HOSTILE if name != "x"])
    spec["name"] = "*/ \\ \n#error \u00e9 ??/"
    check(tmp_path, [Case("hostile", Engine(spec))], _core.isa(), compiler, "-std=c++17")


def test_a_header_named_after_a_function_of_c_compiles(tmp_path: Path) -> None:
    if CXX is None:
        pytest.skip("no C++ compiler")
    text = "#include <cmath>\n#include <csignal>\n#include <cstdlib>\n#include <ctime>\n#include <unistd.h>\n"
    for name in ("main", "random", "signal", "gamma", "time", "index", "tanh"):
        model = rekur.Sequential([Dense(1, input_shape=(None, 2), name="out")])
        report = rekur.export_static(model, tmp_path / f"{name}.hpp")
        text += f'#include "{name}.hpp"\n{report.namespace}::Model of_{name};\n'
    (tmp_path / "program.cpp").write_text(text + "int main() {}\n")
    command = [CXX, "-std=c++17", "-fsyntax-only", str(tmp_path / "program.cpp")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:4000]


@pytest.mark.parametrize("kind", ["float32", "bf16", "fp16"])
def test_weights_that_are_no_numbers_survive(tmp_path: Path, kind: str) -> None:
    if CXX is None:
        pytest.skip("no C++ compiler")
    engine = Engine(
        model_spec([input_layer("x", None, 3), {"type": "Dense", "name": "y", "units": 4, "inputs": ["x"]}], ["y"])
    )
    flat = engine.model.get_weights()
    flat[:6] = [np.inf, -np.inf, np.nan, 1e-42, -0.0, 6e4 if kind == "fp16" else 3e38]
    engine.model.set_weights(flat)
    check(tmp_path, [Case("special", engine)], _core.isa(), "g++", "-std=c++17", kind=kind)


@pytest.mark.parametrize("kind", ["float32", "bf16"])
def test_the_command_writes_what_the_function_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    model = ROOT / "cpp/examples/models/amp.safetensors"
    report = rekur.export_static(model, tmp_path / "a.hpp", namespace="tone::amp", weights=kind)
    command = ["export-cpp", str(model), "-o", str(tmp_path / "b.hpp"), "--namespace", "tone::amp", "--static"]
    command += [] if kind == "float32" else ["--weights", kind]
    assert cli.main(command) in (None, 0)
    assert (tmp_path / "a.hpp").read_bytes() == (tmp_path / "b.hpp").read_bytes()
    out = capsys.readouterr().out
    assert "tone::amp::Model" in out and report.state_size == 32 and list(report.inputs.values()) == [1]
    assert re.sub(r"[ab]\.hpp", "", str(report)) == re.sub(r"[ab]\.hpp", "", out.rstrip("\n"))


def test_a_header_needs_no_other_file(tmp_path: Path) -> None:
    text = static_header(next(example_cases()).engine.model, "m")[0]
    assert set(re.findall(r"^ *#include (.*)", text, re.M)) == {"<stdint.h>", "<immintrin.h>", "<arm_neon.h>"}
