"""The examples of cpp/examples and what is committed for them: made by these programs, and true on this machine."""

from __future__ import annotations

import importlib.util
import platform
import re
import struct
import sys
import wave
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import cpp_tools
import rekur
from cpp_tools import ROOT

EXAMPLES = ROOT / "cpp/examples"
MODELS = EXAMPLES / "models"
FORECASTER, AMP, WEATHER = MODELS / "forecaster.safetensors", MODELS / "amp.safetensors", MODELS / "weather.csv"

if not MODELS.is_dir():
    pytest.skip("no source tree around the tests", allow_module_level=True)


@pytest.fixture(scope="module")
def make_models() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_models", EXAMPLES / "make_models.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Compiled when first asked for."""
    folder, library = tmp_path_factory.mktemp("examples"), cpp_tools.library()

    class Programs(dict[str, Path]):
        def __missing__(self, name: str) -> Path:
            (source,) = EXAMPLES.glob(f"{name}.c*")
            needs = "EXCEPTIONS" if name in ("amp_stream", "forecast", "fine_tune") else "SHARED"
            if needs == "EXCEPTIONS" and not library.config[needs]:
                pytest.skip("the library's C++ functions do not throw")
            flags = ["-fno-exceptions", "-fno-rtti"] if name == "no_files" else []
            self[name] = library.compile(source, folder / name, *flags)
            return self[name]

    return Programs()


@pytest.mark.parametrize("name", ["amp", "forecaster"])
def test_the_headers_are_those_of_the_models(name: str, tmp_path: Path) -> None:
    rekur.export_cpp(MODELS / f"{name}.safetensors", tmp_path / f"{name}.hpp")
    assert (tmp_path / f"{name}.hpp").read_bytes() == (MODELS / f"{name}.hpp").read_bytes()
    # Where the library's own headers have changed: python cpp/examples/make_models.py --headers
    rekur.export_static(MODELS / f"{name}.safetensors", tmp_path / f"{name}_static.hpp")
    assert (tmp_path / f"{name}_static.hpp").read_bytes() == (MODELS / f"{name}_static.hpp").read_bytes()


def test_the_forecast_is_the_models(make_models: ModuleType, tmp_path: Path) -> None:
    committed = (MODELS / "forecast.csv").read_text().splitlines()
    values = np.loadtxt(WEATHER, np.float32, delimiter=",", skiprows=1, usecols=1)
    make_models.write_forecast(rekur.load(FORECASTER), values, tmp_path / "forecast.csv")
    ours = (tmp_path / "forecast.csv").read_text().splitlines()
    a, b = (np.array([line.split(",") for line in lines[1:]], np.float64) for lines in (committed, ours))
    assert a.shape == (72, 12) and np.abs(a - b).max() < 1e-4
    assert len(values) == make_models.READINGS


@pytest.mark.parametrize("name", ["forecast", "c_forecast"])
def test_forecasts(name: str, programs: dict[str, Path], make_models: ModuleType, cpp_isa: str, tmp_path: Path) -> None:
    """What C++ forecasts is bit for bit what this Python does, on each instruction set; the program itself compares."""
    values = np.loadtxt(WEATHER, np.float32, delimiter=",", skiprows=1, usecols=1)
    make_models.write_forecast(rekur.load(FORECASTER), values, tmp_path / "forecast.csv")
    compared = [tmp_path / "forecast.csv"] if name == "forecast" else []
    out = cpp_tools.run([programs[name], FORECASTER, WEATHER, *compared], REKUR_ISA=cpp_isa)
    if compared:
        assert "of this instruction set: 0 of 864 numbers differ" in out
    last = (tmp_path / "forecast.csv").read_text().splitlines()[-1].split(",")
    assert " ".join(f"{float(value):.1f}" for value in last) in out


def test_a_forecast_that_is_not_ours_is_noticed(
    programs: dict[str, Path], make_models: ModuleType, common_isa: str, tmp_path: Path
) -> None:
    values = np.loadtxt(WEATHER, np.float32, delimiter=",", skiprows=1, usecols=1)
    make_models.write_forecast(rekur.load(FORECASTER), values, tmp_path / "forecast.csv")
    text = (tmp_path / "forecast.csv").read_text()
    last = text.rstrip().rpartition(",")[2]
    next_bit = float(np.nextafter(np.float32(last), np.float32(99)))
    (tmp_path / "forecast.csv").write_text(text.replace(last, f"{next_bit:.9g}"))
    with pytest.raises(AssertionError, match=r"exit 1(.|\n)*1 of 864 numbers differ"):
        cpp_tools.run([programs["forecast"], FORECASTER, WEATHER, tmp_path / "forecast.csv"], REKUR_ISA=common_isa)


def test_static_memory(common_isa: str, tmp_path: Path) -> None:
    """Nothing calls malloc once the sizes are known: the program ends where something does."""
    library = cpp_tools.library()
    allocator = ROOT / "cpp/tests/no_more_malloc.c"
    objects = [
        library.compile(EXAMPLES / "static_memory.c", tmp_path / "a.o", "-DNO_MORE_MALLOC", link=False),
        library.compile(EXAMPLES / "static_memory_operators.cpp", tmp_path / "b.o", link=False),
    ]
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("the stand-in for malloc is glibc's")
    objects.append(library.compile(allocator, tmp_path / "c.o", link=False))
    assert cpp_tools.CXX is not None
    cpp_tools.run([cpp_tools.CXX, *objects, "-o", tmp_path / "all", *library.link, "-lm"])
    cpp_tools.run([cpp_tools.CXX, objects[0], objects[2], "-o", tmp_path / "without", *library.link, "-lm"])

    model, packed = rekur.load(AMP), tmp_path / "packed.safetensors"
    model.pack(packed)
    x = np.sin(np.float32(0.06) * np.arange(480, dtype=np.float32))
    expected = np.abs(np.asarray(model.predict(x.reshape(1, -1, 1))).astype(np.float64)).mean()
    taken = {}
    for file in (AMP, packed):
        out = cpp_tools.run([tmp_path / "all", file], REKUR_ISA=common_isa)
        numbers = re.search(
            r"takes (\d+) bytes, beside (\d+) of weights in the flash; its stream (\d+)\n"
            r"480 steps, mean .y. ([\d.]+)\n",
            out,
        )
        assert numbers is not None, out
        assert float(numbers[4]) == pytest.approx(expected, abs=2e-5)
        taken[file] = [int(n) for n in numbers.groups()[:3]]
    weights = 4 * sum(int(np.prod(w.shape)) for w in model.get_weights())
    assert taken[AMP][1] == 0 and taken[packed][1] == weights
    assert taken[packed][0] < taken[AMP][0] - weights + 1024
    assert taken[packed][2] < taken[AMP][2] - weights // 2
    with pytest.raises(AssertionError, match="malloc was called"):  # where the operators are missing
        cpp_tools.run([tmp_path / "without", packed], REKUR_ISA=common_isa)
    with pytest.raises(AssertionError, match="static_memory: sizes: "):
        (tmp_path / "cut").write_bytes(packed.read_bytes()[:-1])
        cpp_tools.run([tmp_path / "all", tmp_path / "cut"])


def test_ctypes(make_models: ModuleType, cpp_isa: str, tmp_path: Path) -> None:
    library = cpp_tools.library()
    if not library.config["SHARED"]:
        pytest.skip("a static library")
    values = np.loadtxt(WEATHER, np.float32, delimiter=",", skiprows=1, usecols=1)
    make_models.write_forecast(rekur.load(FORECASTER), values, tmp_path / "forecast.csv")
    command = [sys.executable, EXAMPLES / "ctypes_call.py", library.file, FORECASTER, WEATHER]
    out = cpp_tools.run([*command, tmp_path / "forecast.csv"], REKUR_ISA=cpp_isa)
    assert f"on {cpp_isa}\n" in out and out.endswith("the same bits\n")
    with pytest.raises(AssertionError, match=r"missing\.safetensors"):
        cpp_tools.run([*command[:3], "missing.safetensors", WEATHER])


def test_the_amplifier_plays_a_file(
    programs: dict[str, Path], common_isa: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    """Stereo, sixteen bits, with a chunk that nobody knows: what comes out is the model's, sample by sample."""
    dry = (rng.standard_normal((1500, 2)) * 6000).clip(-32768, 32767).astype("<i2")
    with wave.open(str(tmp_path / "dry.wav"), "wb") as file:
        file.setparams((2, 2, 44100, 0, "NONE", ""))
        file.writeframes(dry.tobytes())
    whole = (tmp_path / "dry.wav").read_bytes()
    odd = b"note" + struct.pack("<I", 3) + b"abc\0"
    (tmp_path / "dry.wav").write_bytes(whole[:12] + odd + whole[12:])
    command = [programs["amp_stream"], AMP, tmp_path / "dry.wav", tmp_path / "wet.wav"]
    assert "2 channels at 44100 Hz" in cpp_tools.run(command, REKUR_ISA=common_isa)
    with wave.open(str(tmp_path / "wet.wav"), "rb") as file:
        assert file.getparams()[:4] == (2, 2, 44100, 1500)
        wet = np.frombuffer(file.readframes(1500), "<i2").reshape(1500, 2)
    x = dry.T.astype(np.float32)[..., None] / np.float32(32768)
    y = rekur.load(AMP).predict(x)[..., 0].T
    assert np.abs(wet - np.clip(y, -1, 1) * 32767.0).max() <= 0.51
    for damaged, reason in [(b"RIFF", "no WAV file"), (whole[:20], "has no format|too early"), (b"", "no WAV file")]:
        (tmp_path / "dry.wav").write_bytes(damaged)
        with pytest.raises(AssertionError, match=rf"exit 1(.|\n)*({reason})"):
            cpp_tools.run(command)


@pytest.mark.parametrize("name", ["amp_stream", "fine_tune", "fixed_size", "no_files"])
def test_programs(name: str, programs: dict[str, Path], cpp_isa: str, tmp_path: Path) -> None:
    given = {"amp_stream": [AMP], "fine_tune": [FORECASTER, WEATHER, tmp_path / "adapted.safetensors"]}
    if name == "fine_tune" and not cpp_tools.library().config["TRAINING"]:
        pytest.skip("a library for inference only")
    cpp_tools.run([programs[name], *given.get(name, [])], REKUR_ISA=cpp_isa)
    if name == "fine_tune":  # Python reads what C++ has trained
        adapted, before = rekur.load(tmp_path / "adapted.safetensors"), rekur.load(FORECASTER)
        assert adapted.spec == before.spec
        assert not np.array_equal(adapted.get_weights()[0], before.get_weights()[0])


def test_every_file_is_on_the_list_and_built() -> None:
    readme, cmake = ((EXAMPLES / name).read_text() for name in ("README.md", "CMakeLists.txt"))
    for file in EXAMPLES.iterdir():
        if file.suffix in (".c", ".cpp", ".py"):
            assert f"[{file.name}]({file.name})" in readme
            assert file.name in cmake or file.name == "make_models.py"
    assert re.findall(r"find_package\(rekur [\d.]+ REQUIRED\)", cmake)
