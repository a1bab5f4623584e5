"""The plug-in of cpp/examples/plugin, built as its own project and run in our own host and in Debian's for LV2."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

import cpp_tools
import rekur
from cpp_tools import ROOT

PLUGIN = ROOT / "cpp/examples/plugin"
AMP = ROOT / "cpp/examples/models/amp.safetensors"
CMAKE = shutil.which("cmake")

if not PLUGIN.is_dir():
    pytest.skip("no source tree around the tests", allow_module_level=True)
pytestmark = pytest.mark.skipif(CMAKE is None, reason="no cmake")

PACKAGE = """\
add_library(rekur::rekur INTERFACE IMPORTED)
target_include_directories(rekur::rekur INTERFACE "{include}")
target_link_libraries(rekur::rekur INTERFACE "{link}")
set(rekur_VERSION 0.1)
"""
VERSION = "set(PACKAGE_VERSION 0.1)\nset(PACKAGE_VERSION_COMPATIBLE TRUE)\n"


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as a reader has it who has copied the folder: against a library that find_package finds."""
    library, folder = cpp_tools.library(), tmp_path_factory.mktemp("plugin")
    package = PACKAGE.format(include=";".join(map(str, library.include)), link=";".join(library.link))
    (folder / "rekur-config.cmake").write_text(package)
    (folder / "rekur-config-version.cmake").write_text(VERSION)
    shutil.copytree(PLUGIN, folder / "mine")
    options = [f"-Drekur_DIR={folder}", f"-DAMP_MODEL={AMP}", "-DREKUR_WERROR=ON", "-DCMAKE_BUILD_TYPE=Release"]
    cpp_tools.run([str(CMAKE), "-S", folder / "mine", "-B", folder / "build", *options])
    cpp_tools.run([str(CMAKE), "--build", folder / "build"])
    return folder / "build"


def plugin(build: Path, form: str) -> Path:
    file = build / "plugins" / form
    if not file.is_file():
        pytest.skip("no LV2 headers")
    return file


FORMS = ["amp.lv2/amp.so", "amp.clap"]


@pytest.mark.parametrize("form", FORMS)
def test_promises(form: str, build: Path, cpp_isa: str) -> None:
    """Bits, blocks, rates, parameters, states, models changed while it runs, NaN, memory, locks, system calls."""
    out = cpp_tools.run([build / "amp_host", "--check", plugin(build, form), AMP], REKUR_ISA=cpp_isa)
    assert "all promises kept" in out


@pytest.mark.parametrize("form", FORMS)
def test_nothing_of_the_library_is_seen(form: str, build: Path) -> None:
    """Hosts load plug-ins of other versions of the library into one program."""
    if shutil.which("nm") is None:
        pytest.skip("no nm")
    out = cpp_tools.run(["nm", "-D", "--defined-only", plugin(build, form)])
    assert [line.split()[-1] for line in out.splitlines()] == [
        "clap_entry" if form.endswith(".clap") else "lv2_descriptor"
    ]


def write_wav(path: Path, x: np.ndarray, bits: int, rate: int = 48000) -> np.ndarray:
    """Writes frames × channels of -1 … 1, and returns them as a reader has them."""
    kept: np.ndarray
    if bits == 32:
        data, kept = x.astype("<f4").tobytes(), x.astype(np.float32)
    else:
        whole = np.round(x * (2 ** (bits - 1) - 1)).astype("<i4")
        data = whole.view(np.uint8).reshape(-1, 4)[:, : bits // 8].tobytes()
        kept = (whole / 2 ** (bits - 1)).astype(np.float32)
    frame = x.shape[1] * bits // 8
    form = struct.pack("<HHIIHH", 3 if bits == 32 else 1, x.shape[1], rate, rate * frame, frame, bits)
    odd = b"note" + struct.pack("<I", 3) + b"abc\0"  # a chunk that nobody knows
    body = b"WAVE" + odd + b"fmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return kept


def read_wav(path: Path, bits: int, channels: int) -> np.ndarray:
    file = path.read_bytes()
    data = file[file.index(b"data") + 8 :]
    if bits == 32:
        return np.frombuffer(data, "<f4").reshape(-1, channels)
    wide = np.zeros((len(data) // (bits // 8), 4), np.uint8)
    wide[:, 4 - bits // 8 :] = np.frombuffer(data[: len(wide) * (bits // 8)], np.uint8).reshape(len(wide), -1)
    return (wide.reshape(-1).view("<i4") / 2.0**31).reshape(-1, channels)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("bits", "channels"), [(16, 1), (24, 2), (32, 1), (32, 2)])
def test_a_file(
    form: str, bits: int, channels: int, build: Path, common_isa: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    x = write_wav(tmp_path / "dry.wav", rng.uniform(-0.5, 0.5, (1501, channels)), bits)
    command = [build / "amp_host", plugin(build, form), tmp_path / "dry.wav", tmp_path / "wet.wav", "--block", "17"]
    assert f"{channels} channels at 48000 Hz" in cpp_tools.run([*command, "--model", AMP], REKUR_ISA=common_isa)
    y = rekur.load(AMP).predict(x.T[..., None])[..., 0].T
    wet = read_wav(tmp_path / "wet.wav", bits, channels)
    assert wet.shape == y.shape
    assert np.abs(wet - y.clip(-1, 1)).max() <= (1e-6 if bits == 32 else 1.6 * 2.0 ** (1 - bits))
    # Without --model it is the one that lies beside the plug-in; -6 dB are half of it.
    cpp_tools.run([*command, "--set", "level=-6.0206"], REKUR_ISA=common_isa)
    assert np.abs(read_wav(tmp_path / "wet.wav", bits, channels) - y / 2).max() < 1e-4


@pytest.mark.parametrize("form", FORMS)
def test_a_file_of_another_program(
    form: str, build: Path, common_isa: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    """Neural Amp Modeler's, made for 48000 Hz: as it is there; elsewhere the log says what becomes of it."""
    if not cpp_tools.library().config.get("IMPORT"):
        pytest.skip("a library that reads no .nam")
    layers = [rekur.Input((None, 1)), rekur.layers.LSTM(8, return_sequences=True), rekur.layers.Dense(1)]
    model = rekur.Sequential(layers)
    rekur.convert.save(model, tmp_path / "amp.nam", sample_rate=48000)
    x = write_wav(tmp_path / "dry.wav", rng.uniform(-0.5, 0.5, (1501, 1)), 32)
    command = [build / "amp_host", plugin(build, form), tmp_path / "dry.wav", tmp_path / "wet.wav"]
    command += ["--model", tmp_path / "amp.nam"]
    cpp_tools.run(command, REKUR_ISA=common_isa)
    y = rekur.convert.load(tmp_path / "amp.nam").predict(x.T[..., None])[..., 0].T
    assert np.abs(read_wav(tmp_path / "wet.wav", 32, 1) - y).max() < 1e-6
    for rate, warned in (("48000", False), ("96000", False), ("44100", True)):
        done = subprocess.run([*command, "--rate", rate], capture_output=True, text=True, check=True)
        assert ("was made for 48000 Hz" in done.stderr) == warned, done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["missing.wav", "out.wav"], r"cannot open missing\.wav"),
        (["-", "out.wav", "--model", "missing.safetensors"], r"missing\.safetensors"),
        (["-", "out.wav", "--block", "0"], "--block: expected a number of frames from 1 on"),
        (["-", "out.wav", "--rate", "fast"], "--rate: expected a number, got fast"),
        (["-", "out.wav", "--set", "loudness=11"], "--set: expected SYMBOL=VALUE, got loudness=11"),
        (["-", "out.wav", "--gain", "3"], "--gain: no such option"),
    ],
)
def test_what_the_host_refuses(words: list[str], message: str, build: Path, tmp_path: Path) -> None:
    command = [build / "amp_host", plugin(build, FORMS[0]), *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1 and re.search(message, done.stderr), done.stderr
    assert not (tmp_path / "out.wav").exists()


@pytest.mark.skipif(shutil.which("lv2apply") is None, reason="no lv2apply (Debian: lilv-utils)")
@pytest.mark.parametrize("channels", [1, 2])
def test_in_lv2apply(channels: int, build: Path, common_isa: str, tmp_path: Path, rng: np.random.Generator) -> None:
    """A host that finds the plug-in by its Turtle files, and has neither a worker nor URIDs."""
    plugin(build, "amp.lv2/amp.so")
    x = write_wav(tmp_path / "dry.wav", rng.uniform(-0.5, 0.5, (3000, channels)), 16)
    uri = "urn:rekur:amp:" + ("mono" if channels == 1 else "stereo")
    here = {"LV2_PATH": str(build / "plugins"), "REKUR_ISA": common_isa}
    cpp_tools.run(["lv2apply", "-i", tmp_path / "dry.wav", "-o", tmp_path / "wet.wav", uri], **here)
    y = rekur.load(AMP).predict(x.T[..., None])[..., 0].T
    wet = read_wav(tmp_path / "wet.wav", 16, channels)
    assert len(wet) >= len(y) and np.abs(wet[: len(y)] - y.clip(-1, 1)).max() <= 2.0**-14
    command = ["lv2apply", "-i", tmp_path / "dry.wav", "-o", tmp_path / "wet.wav", "-c", "enabled", "0", uri]
    cpp_tools.run(command, **here)
    assert np.abs(read_wav(tmp_path / "wet.wav", 16, channels)[: len(x)] - x).max() <= 2.0**-14


@pytest.mark.skipif(shutil.which("lv2bench") is None, reason="no lv2bench (Debian: lilv-utils)")
@pytest.mark.parametrize("block", [1, 64, 512])
def test_in_lv2bench(block: int, build: Path, tmp_path: Path) -> None:
    """A host with a worker that goes through all plug-ins that it finds, and a tool that says what they are."""
    bundle = plugin(build, "amp.lv2/amp.so").parent
    shutil.copytree(bundle, tmp_path / bundle.name)  # alone: lilv takes every file for a folder of a plug-in
    here = {"LV2_PATH": str(tmp_path)}
    out = cpp_tools.run(["lv2bench", "-b", str(block), "-n", "24000"], **here)
    times = dict(reversed(line.split()) for line in out.splitlines() if line.split()[1:])
    assert sorted(times) == ["urn:rekur:amp:mono", "urn:rekur:amp:stereo"]
    assert all(float(seconds) > 0 for seconds in times.values())
    for channels in ("mono", "stereo"):
        out = cpp_tools.run(["lv2info", f"urn:rekur:amp:{channels}"], **here)
        assert f"Rekur Amp ({channels})" in out and "Has latency:       yes" in out
        assert out.count("AudioPort") == 2 * (1 + (channels == "stereo"))


def test_the_turtle_files(build: Path) -> None:
    """Valid by LV2's own schemas, where the validator is (Debian: sordi); the ports are those of the header."""
    bundle = plugin(build, "amp.lv2/amp.so").parent
    text = (bundle / "amp.ttl").read_text()
    table = re.findall(
        r'^    \{"(\w+)", "([\w ]+)", "(\w*)", ([-\d.]+)F?, ([-\d.]+)F?, ([-\d.]+)F?\}',
        (PLUGIN / "amp.cpp").read_text(),
        re.M,
    )
    assert len(table) == 7
    for part in text.split("a lv2:Plugin")[1:]:
        ports = [
            dict(re.findall(r"lv2:(index|symbol|name|default|minimum|maximum) \"?([^\";\n]+)", p))
            for p in part.split("[")[1:]
        ]
        assert [int(port["index"]) for port in ports] == list(range(len(ports)))
        for port, (symbol, name, _, least, most, usual) in zip(ports[2:], table, strict=False):
            assert (port["symbol"], port["name"]) == (symbol, name)
            assert [float(port[k]) for k in ("minimum", "maximum", "default")] == [
                float(least),
                float(most),
                float(usual),
            ]
    if shutil.which("lv2_validate") and shutil.which("sord_validate"):
        out = subprocess.run(
            ["lv2_validate", *bundle.glob("*.ttl")], capture_output=True, text=True, check=False, env={**os.environ}
        )
        assert out.returncode == 0 and "Found 0 errors" in out.stdout + out.stderr, out.stdout + out.stderr
