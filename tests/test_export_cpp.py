"""Models as C++ headers: compilers read back the very bits, whatever layers are named and weights hold."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

import cpp_tools
import rekur
from cpp_tools import CXX, WARNINGS, needs_compiler
from harness import Engine, floats, input_layer, model_spec
from rekur import cli
from rekur._cpp_names import check_namespace, layer_namespace
from rekur.layers import GRU, LSTM, Bidirectional, Dense, Embedding, Rescaling
from test_layer_contract import EXAMPLES, Example

SPECIAL = np.array(
    # ±0, denormals, the smallest and largest that are not, ±inf, NaNs, and two ordinary ones
    [0, 0x80000000, 1, 0x807FFFFF, 0x00800000, 0x7F7FFFFF, 0xFF7FFFFF, 0x7F800000, 0xFF800000, 0x7FC00000, 0xFFC00000,
     0x7FC12345, 0x3F800001, 0x3DCCCCCD],
    np.uint32,
).view(np.float32)  # fmt: skip


def small(name: str = "lstm", seed: int = 0) -> rekur.Sequential:
    return rekur.Sequential([LSTM(4, input_shape=(None, 3), name=name), Dense(2, name="dense")], seed=seed)


def program(header: Path, body: str) -> Path:
    """A program that says REKUR_WEIGHTS_ONLY and so needs no library; what `bytes` is given goes to the output."""
    source = header.with_name("main.cpp")
    source.write_text(
        "#define REKUR_WEIGHTS_ONLY\n"
        f'#include "{header.name}"\n#include "{header.name}"\n#include <cstdio>\n'
        "static void bytes(const void* data, std::size_t size) { std::fwrite(data, 1, size, stdout); }\n"
        f"int main() {{\n{body}\n}}\n"
    )
    return source


def output(source: Path, *flags: str) -> bytes:
    out = source.with_suffix("")
    cpp_tools.run([CXX or "", "-std=c++20", *WARNINGS, *flags, str(source), "-o", str(out)])
    return subprocess.run([out], capture_output=True, check=True, timeout=60).stdout


@needs_compiler
@pytest.mark.parametrize("flags", [(), ("-O2", "-ffast-math", "-fno-exceptions", "-fno-rtti")], ids=["plain", "fast"])
def test_weights_and_spec_survive_to_the_bit(tmp_path: Path, flags: tuple[str, ...]) -> None:
    model = rekur.Sequential([LSTM(40, input_shape=(None, 3)), Dense(2)])
    weights = model.get_weights()
    rng = np.random.default_rng(3)
    for w in weights:  # whatever bits there can be, signalling NaNs among them
        w[...] = rng.integers(0, 2**32, w.shape, np.uint32).view(np.float32)
    weights[0].reshape(-1)[: len(SPECIAL)] = SPECIAL
    model.set_weights(weights)
    rekur.export_cpp(model, tmp_path / "m.hpp")
    flat = model._engine().get_weights()
    body = "bytes(m::weights, sizeof(float) * m::weight_count); bytes(m::spec, sizeof m::spec);"
    data = output(program(tmp_path / "m.hpp", body), *flags)
    assert data[: flat.nbytes] == flat.tobytes()
    assert json.loads(data[flat.nbytes : -1]) == json.loads(model._engine().spec) and data[-1:] == b"\0"


@needs_compiler
def test_every_parameter_has_its_name(tmp_path: Path) -> None:
    x, ids = rekur.Input((None, 3), name="x"), rekur.Input((None,), dtype="int32", name="ids")
    embedded = Embedding(5, 2, name="new")(ids)
    both = Bidirectional(GRU(4, return_sequences=True, reset_after=False), name="both")(x)
    lstm = LSTM(3, use_bias=False, name="1st.lstm-x")(both)
    last = LSTM(5, name="weights")(embedded)
    y = Dense(2, name="1st-lstm.x")(lstm)
    model = rekur.Model([x, ids], [y, last])
    report = rekur.export_cpp(model, tmp_path / "my-model.2.hpp")
    assert report.namespace == "my_model_2" and str(report.file_size // 1000) in str(report)
    assert {name.rpartition("::")[0] for name in report.parameters} == {
        "layer_both::forward",
        "layer_both::backward",
        "layer_1st_lstm_x",
        "layer_1st_lstm_x_2",
        "layer_new",
        "layer_weights",
    }
    body = "".join(f"bytes({n}, sizeof(float) * {n}_size);\n" for n in (f"my_model_2::{p}" for p in report.parameters))
    body += "static_assert(my_model_2::layer_weights::features == 2 && my_model_2::layer_weights::units == 5);\n"
    body += "static_assert(my_model_2::layer_both::forward::features == 3);\n"
    expected = b"".join(array.tobytes() for array in model.named_weights().values())
    assert output(program(tmp_path / "my-model.2.hpp", body)) == expected


@needs_compiler
def test_hostile_names_compile(tmp_path: Path) -> None:
    """Keywords, macros of compilers and C, names of the header's own, names that become one."""
    names = ["class", "NULL", "linux", "errno", "std", "rekur", "model", "try_model", "spec", "bits", "int", "_A", "__"]
    names += ["a.b", "a-b", "a_b", "a__b", "a_b_2", ".", "-", "7", "layer_7", "xor", "co_await", "weight_count", "m"]
    layers = [{"type": "Dense", "name": n, "inputs": ["x"], "units": 2} for n in names]
    engine = Engine(model_spec([input_layer("x", 3), *layers], names))
    engine.model.save(str(tmp_path / "hostile.safetensors"))
    report = rekur.export_cpp(tmp_path / "hostile.safetensors", tmp_path / "m.hpp")
    kernels = [p for p in report.parameters if p.endswith("::kernel")]
    assert len(set(report.parameters)) == 2 * len(names) == 2 * len(kernels)
    body = "".join(f"bytes(m::{p}, sizeof(float) * m::{p}_size);" for p in report.parameters)
    assert output(program(tmp_path / "m.hpp", body), "-std=gnu++20") == engine.model.get_weights().tobytes()


_HEADERS = [
    "algorithm",
    "any",
    "array",
    "atomic",
    "bit",
    "bitset",
    "cassert",
    "cctype",
    "cerrno",
    "cfenv",
    "cfloat",
    "charconv",
    "chrono",
    "cinttypes",
    "climits",
    "clocale",
    "cmath",
    "complex",
    "complex.h",
    "condition_variable",
    "csetjmp",
    "csignal",
    "cstdarg",
    "cstddef",
    "cstdint",
    "cstdio",
    "cstdlib",
    "cstring",
    "ctime",
    "cwchar",
    "cwctype",
    "deque",
    "errno.h",
    "exception",
    "fcntl.h",
    "fenv.h",
    "filesystem",
    "forward_list",
    "fstream",
    "functional",
    "future",
    "iomanip",
    "iostream",
    "iso646.h",
    "iterator",
    "limits",
    "limits.h",
    "list",
    "locale",
    "map",
    "math.h",
    "memory",
    "mutex",
    "new",
    "numeric",
    "optional",
    "pthread.h",
    "queue",
    "random",
    "ratio",
    "regex",
    "set",
    "shared_mutex",
    "signal.h",
    "sstream",
    "stack",
    "stdexcept",
    "stdio.h",
    "stdlib.h",
    "streambuf",
    "string",
    "string.h",
    "string_view",
    "sys/param.h",
    "sys/stat.h",
    "sys/sysmacros.h",
    "sys/time.h",
    "sys/types.h",
    "sys/wait.h",
    "system_error",
    "tgmath.h",
    "thread",
    "time.h",
    "tuple",
    "type_traits",
    "typeinfo",
    "unistd.h",
    "unordered_map",
    "utility",
    "valarray",
    "variant",
    "vector",
    "version",
]


@needs_compiler
def test_layers_named_as_any_macro_of_any_standard_header_compile_behind_it(tmp_path: Path) -> None:
    before = "".join(f"#if __has_include(<{h}>)\n#include <{h}>\n#endif\n" for h in _HEADERS)
    (tmp_path / "headers.hpp").write_text(before)
    command = [CXX or "", "-std=gnu++20", "-dM", "-E", "-x", "c++", str(tmp_path / "headers.hpp")]
    macros = re.findall(r"^#define ([A-Za-z0-9_]+)", cpp_tools.run(command), re.MULTILINE)
    names = sorted({"linux", "unix", "errno", "EOF", "NULL", *macros})
    assert {"INT_MAX", "CHAR_BIT", "SEEK_SET", "CLOCKS_PER_SEC", "MB_CUR_MAX"} < set(names) and len(names) > 500
    always = [
        "INT_MAX",
        "CHAR_BIT",
        "PATH_MAX",
        "SEEK_SET",
        "CLOCKS_PER_SEC",
        "MB_CUR_MAX",
        "EOF",
        "NULL",
        "errno",
        "major",
        "unix",
        "linux",
    ]
    names = [*names[:: max(1, len(names) // 800)], *always]
    names = list(dict.fromkeys(names))
    layers = [{"type": "Affine", "name": n, "inputs": ["x"]} for n in names]
    engine = Engine(model_spec([input_layer("x", 1), *layers], names))
    engine.model.save(str(tmp_path / "macros.safetensors"))
    report = rekur.export_cpp(tmp_path / "macros.safetensors", tmp_path / "m.hpp")
    body = "".join(f"bytes(m::{p}, sizeof(float) * m::{p}_size);" for p in report.parameters)
    source = program(tmp_path / "m.hpp", body)
    source.write_text(before + source.read_text())
    assert output(source, "-std=gnu++20", "-Wno-error") == engine.model.get_weights().tobytes()


@needs_compiler
@pytest.mark.parametrize("name", ["no parameters", "long spec"])
def test_unusual_models(tmp_path: Path, name: str) -> None:
    """Nothing to learn, or constants that are longer than one string literal may be."""
    features = 3 if name == "no parameters" else 20_000
    scale = list(np.random.default_rng(1).standard_normal(features))
    model = rekur.Sequential([Rescaling(scale, input_shape=(features,), name="scale")])
    rekur.export_cpp(model, tmp_path / "m.hpp", "a::b_2")
    source = program(tmp_path / "m.hpp", "bytes(a::b_2::spec, sizeof a::b_2::spec); return a::b_2::weight_count;")
    assert json.loads(output(source)[:-1]) == json.loads(model._engine().spec)
    assert max(map(len, (tmp_path / "m.hpp").read_text().splitlines())) < 4100


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    model = small()
    model.save(tmp_path / "m.safetensors")
    (tmp_path / "elsewhere").mkdir()
    written = []
    for source, path in [
        (model, tmp_path / "tone.hpp"),
        (tmp_path / "m.safetensors", tmp_path / "elsewhere/tone.hpp"),
        (str(tmp_path / "m.safetensors"), tmp_path / "tone.hpp"),
    ]:
        rekur.export_cpp(source, path)
        written.append(path.read_bytes())
    assert written[0] == written[1] == written[2]
    text = written[0].decode("ascii")
    assert str(tmp_path) not in text and "elsewhere" not in text
    rekur.export_cpp(small(seed=1), tmp_path / "tone.hpp")
    assert (tmp_path / "tone.hpp").read_bytes() != written[0]


@needs_compiler
def test_two_hundred_thousand_parameters_compile_in_seconds(tmp_path: Path) -> None:
    model = rekur.Sequential([LSTM(200, input_shape=(None, 48), name="lstm"), Dense(4)], seed=0)
    assert model.count_params() > 190_000
    rekur.export_cpp(model, tmp_path / "m.hpp")
    source = program(tmp_path / "m.hpp", "bytes(m::layer_lstm::bias, 4);")
    usage = os.times()
    assert output(source, "-O2") == b"\0" * 4
    after = os.times()
    assert after.children_user - usage.children_user < 10


def test_failures_leave_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "m.hpp"
    path.write_text("old")
    (tmp_path / "none.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    np.save(tmp_path / "a.npy", np.ones(3))
    model = small()
    model.save(tmp_path / "m")
    saved = (tmp_path / "m").read_bytes()
    for source, error, message in [
        (tmp_path / "missing.safetensors", OSError, "missing.safetensors"),
        (tmp_path / "none.safetensors", OSError, "none.safetensors"),
        (tmp_path / "a.npy", OSError, "a.npy"),
        (3, TypeError, "expected a rekur model or the path of one, got 3"),
    ]:
        with pytest.raises(error, match=message):
            rekur.export_cpp(source, path)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="is the model itself"):
        rekur.export_cpp(tmp_path / "m", tmp_path / "m")
    with pytest.raises(IsADirectoryError, match="Is a directory"):
        rekur.export_cpp(model, tmp_path)
    with pytest.raises(FileNotFoundError, match="No such file"):
        rekur.export_cpp(model, tmp_path / "nowhere/m.hpp")

    assert path.read_text() == "old" and (tmp_path / "m").read_bytes() == saved
    assert {p.name for p in tmp_path.iterdir()} == {"m.hpp", "none.safetensors", "a.npy", "m"}


@pytest.mark.parametrize(
    ("namespace", "message"),
    [
        ("", "'' is no C\\+\\+ identifier"),
        ("a b", "'a b' is no C\\+\\+ identifier"),
        ("1a", "'1a' is no C\\+\\+ identifier"),
        ("a::", "'' is no C\\+\\+ identifier"),
        ("a:b", "'a:b' is no C\\+\\+ identifier"),
        ("größe", "is no C\\+\\+ identifier"),
        ("a\n", "is no C\\+\\+ identifier"),
        ("a::class", "'class' is reserved"),
        ("a__b", "'a__b' is reserved"),
        ("a::_B", "'_B' is reserved"),
        ("NULL", "'NULL' is reserved"),
        ("_a", "names that begin with '_'"),
        ("std", "'std' is a library's own"),
        ("rekur::mine", "'rekur' is a library's own"),
        ("main", "'main' is a program's first function"),
    ],
)
def test_bad_namespaces(namespace: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"namespace .*{message}"):
        rekur.export_cpp(small(), tmp_path / "m.hpp", namespace)
    assert not any(tmp_path.iterdir())


def test_namespaces_and_identifiers(tmp_path: Path) -> None:
    assert [check_namespace(n) for n in ("a", "a::b_2::C")] == ["a", "a::b_2::C"]
    with pytest.raises(TypeError, match="expected a string, got 3"):
        check_namespace(3)
    found = [layer_namespace(n, ()) for n in ("lstm", "1st", "new", "a.-b", "__", "_A_", "NULL")]
    assert found == [f"layer{n}" for n in ("_lstm", "_1st", "_new", "_a_b", "", "_A", "_NULL")]
    assert layer_namespace("a-b", {"layer_a_b", "layer_a_b_2"}) == "layer_a_b_3"
    files = [
        ("std.hpp", "std_model"),
        ("größe-1.hpp", "gr_e_1"),
        ("7.hpp", "model_7"),
        ("…", "model"),
        ("new.h", "new_model"),
    ]
    for file, namespace in [
        *files,
        ("INT_MAX.hpp", "INT_MAX_model"),
        ("errno.hpp", "errno_model"),
        ("main.hpp", "main_model"),
        ("random.hpp", "random_model"),
        ("gamma.hpp", "gamma_model"),
        ("tone.hpp", "tone"),
    ]:
        assert rekur.export_cpp(small(), tmp_path / file).namespace == namespace


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small().save(tmp_path / "m.safetensors")
    out = tmp_path / "tone.hpp"
    command = ["export-cpp", str(tmp_path / "m.safetensors")]
    assert cli.main([*command, "-o", str(out), "--namespace", "amp::clean"]) == 0
    printed = capsys.readouterr().out
    assert f"{out}: {out.stat().st_size:,} bytes, namespace amp::clean, 138 parameters" in printed
    assert "lstm::recurrent_kernel  [4, 16]" in printed
    assert "namespace amp::clean {" in out.read_text()
    assert cli.main([*command, "-o", str(out), "--namespace", "class"]) == 1
    assert capsys.readouterr().err == "rekur: namespace 'class': 'class' is reserved in C++\n"
    assert cli.main(["export-cpp", "nowhere.safetensors", "-o", str(out)]) == 1
    assert capsys.readouterr().err.startswith("rekur: ") and "namespace amp::clean {" in out.read_text()
    with pytest.raises(SystemExit) as done:
        cli.main(command)
    assert done.value.code == 2 and "-o" in capsys.readouterr().err


MODEL_MAIN = """
#include "m.hpp"
#include <rekur/status.hpp>
#include <cstdio>
#include <utility>
#include <vector>

int main() {
  rekur::Result<rekur::Model> made = m::try_model();
  if (!made) return 1;
  rekur::Model model = std::move(*made);
#if REKUR_THROWS
  model = m::model();
#endif
  std::vector<float> x(@INPUT@), y(@OUTPUT@);
  if (std::fread(x.data(), sizeof(float), x.size(), stdin) != x.size()) return 2;
  rekur::Batch batch;
  batch.inputs.push_back({x.data(), {2, 5, 3}, rekur::DType::float32});
  const std::vector<rekur::View> outputs = {{y.data(), @SHAPE@}};
  if (!rekur::try_predict(model, batch, outputs)) return 3;
  std::fwrite(y.data(), sizeof(float), y.size(), stdout);
}
"""
ON_SEQUENCES = [e for e in EXAMPLES if [i[1] for i in e.inputs] == ["float32"] and len(e.inputs[0][0]) == 3]


@pytest.mark.parametrize("flags", [(), ("-fno-exceptions", "-fno-rtti")], ids=["throws", "no exceptions"])
def test_the_model_in_the_header_is_the_model(
    tmp_path: Path, rng: np.random.Generator, common_isa: str, flags: tuple[str, ...]
) -> None:
    library = cpp_tools.library()
    example = next(e for e in ON_SEQUENCES if e.type == "Bidirectional")
    engine = Engine({**example.spec(), "outputs": ["subject"]})
    engine.model.save(str(tmp_path / "m.safetensors"))
    rekur.export_cpp(tmp_path / "m.safetensors", tmp_path / "m.hpp")
    x = floats(rng, 2, 5, 3)
    (y,) = engine.predict([x])
    text = MODEL_MAIN.replace("@INPUT@", str(x.size)).replace("@OUTPUT@", str(y.size))
    (tmp_path / "main.cpp").write_text(text.replace("@SHAPE@", "{" + ", ".join(map(str, y.shape)) + "}"))
    out = library.compile(tmp_path / "main.cpp", tmp_path / "main", *flags)
    environment = {**os.environ, "REKUR_ISA": common_isa}
    done = subprocess.run([out], input=x.tobytes(), capture_output=True, timeout=60, env=environment)
    assert done.returncode == 0 and done.stdout == y.tobytes()


@pytest.mark.parametrize(
    "example", [*EXAMPLES[:6], *[e for e in EXAMPLES if e.type == "Loop"][:1]], ids=lambda e: e.type
)
def test_headers_of_layers_compile_without_a_warning(example: Example, tmp_path: Path) -> None:
    library = cpp_tools.library()
    Engine(example.spec()).model.save(str(tmp_path / "m.safetensors"))
    rekur.export_cpp(tmp_path / "m.safetensors", tmp_path / "m.hpp")
    (tmp_path / "main.cpp").write_text('#include "m.hpp"\n')
    library.compile(tmp_path / "main.cpp", tmp_path / "main.o", link=False)


def test_every_layer_is_written(tmp_path: Path) -> None:
    for example in EXAMPLES:
        Engine(example.spec()).model.save(str(tmp_path / "m.safetensors"))
        rekur.export_cpp(tmp_path / "m.safetensors", tmp_path / "m.hpp")
