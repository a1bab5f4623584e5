"""A newcomer's path of docs/embedding.md: five commands from the source to a sound, as they stand on the page.

They compile the library, which takes minutes: ``REKUR_FIVE_COMMANDS`` asks for that (.ci/embedded does), and may hold
options for the first of them. Otherwise the last two are run, with a program of a library that is there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import wave
from pathlib import Path

import numpy as np
import pytest

import cpp_tools
import rekur
from cpp_tools import ROOT

PAGE = ROOT / "docs/embedding.md"
if not PAGE.is_file():
    pytest.skip("no source tree around the tests", allow_module_level=True)
SECTION = "## An amplifier's model in five commands"
PROGRAM = "rekur/build/amp/cpp/examples/amp_stream"


def commands() -> list[str]:
    section = PAGE.read_text(encoding="utf-8").split(SECTION + "\n")[1].split("\n## ")[0]
    (block,) = re.findall(r"^```sh\n(.*?)^```$", section, re.M | re.S)
    return block.splitlines()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the newcomer is: the source, and a file of Neural Amp Modeler."""
    (tmp_path / "rekur").symlink_to(ROOT, target_is_directory=True)
    layers = [rekur.Input((None, 1)), rekur.layers.LSTM(16, return_sequences=True), rekur.layers.Dense(1)]
    rekur.convert.save(rekur.Sequential(layers), tmp_path / "amp.nam", sample_rate=48000)
    return tmp_path


def run(command: str, folder: Path) -> None:
    environment = {**os.environ, "HOME": str(folder)}
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=3000, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"


def check_sound(folder: Path) -> None:
    """The network's own: not silence, and not the dry string."""
    with wave.open(str(folder / "wet.wav"), "rb") as file:
        assert file.getparams()[:4] == (2, 2, 48000, 6 * 48000)
        wet = np.frombuffer(file.readframes(6 * 48000), "<i2").reshape(-1, 2) / 32768
    assert wet[:48000].std() > 1e-3
    # The last second hears silence, in which the network comes to rest.
    rest = rekur.convert.load(folder / "amp.nam").predict(np.zeros((1, 48000, 1), np.float32))[0, -1, 0]
    assert np.abs(wet[-100:] - np.clip(rest, -1, 1)).max() < 1e-3


def test_they_are_five() -> None:
    assert len(commands()) == 5 and commands()[3].startswith(PROGRAM)


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_load_and_hear(folder: Path) -> None:
    library = cpp_tools.library()
    if not library.config["EXCEPTIONS"] or not library.config.get("IMPORT"):
        pytest.skip("a library that reads no .nam")
    program = library.compile(ROOT / "cpp/examples/amp_stream.cpp", folder / "amp_stream")
    for command in commands()[3:]:
        run(command.replace(PROGRAM, str(program)), folder)
    check_sound(folder)


@pytest.mark.skipif("REKUR_FIVE_COMMANDS" not in os.environ, reason="minutes: REKUR_FIVE_COMMANDS asks for it")
def test_all_five(folder: Path) -> None:
    build = f"build/five-{os.getpid()}"
    first, *others = (command.replace("build/amp", build) for command in commands())
    try:
        for command in [f"{first} {os.environ['REKUR_FIVE_COMMANDS']}", *others]:
            run(command, folder)
    finally:
        shutil.rmtree(ROOT / build, ignore_errors=True)
    check_sound(folder)
    assert (folder / "rekur-sdk/include/rekur/stream.hpp").is_file()
    assert list(folder.glob("rekur-sdk/lib*/cmake/rekur/rekur-config.cmake"))
