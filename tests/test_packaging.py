"""The vcpkg port and the Conan recipe: what they say is what the sources say, and what they make can be used.

vcpkg itself is not here: its manifest is held against the documented form, and its portfile runs with functions of
ours in place of vcpkg's (vcpkg_functions.cmake). ``REKUR_PACKAGES`` asks for the two builds (.ci/packages does with
``--full``), which take minutes; otherwise CMake only configures, and Conan only computes its graph.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import cpp_tools
from cpp_tools import CC, CXX, ROOT, needs_compiler

PORT = ROOT / "cpp/packaging/vcpkg/ports/rekur"
RECIPE = ROOT / "cpp/packaging/conan"
FUNCTIONS = Path(__file__).parent / "vcpkg_functions.cmake"
if not PORT.is_dir():
    pytest.skip("no source tree around the tests", allow_module_level=True)

BESIDE = Path(sys.executable).parent / "conan"  # of a virtual environment that is not activated
CONAN = shutil.which("conan") or (str(BESIDE) if BESIDE.is_file() else None)
needs_cmake = pytest.mark.skipif(shutil.which("cmake") is None, reason="no cmake")
needs_conan = pytest.mark.skipif(CONAN is None, reason="no conan")
builds = pytest.mark.skipif("REKUR_PACKAGES" not in os.environ, reason="minutes: REKUR_PACKAGES asks for it")
# What is quickly compiled, and has what the consumer's project runs.
FEW_SWITCHES = ("exceptions", "files", "threads")


def cmake_list(name: str, file: str) -> list[str]:
    found = re.search(rf"^set\({name} ([^)]+)\)", (ROOT / file).read_text(), re.M)
    assert found is not None
    return found.group(1).split()


def project() -> tuple[str, str]:
    """Version and description."""
    text = (ROOT / "CMakeLists.txt").read_text()
    found = re.search(r'^project\(rekur VERSION (\S+) DESCRIPTION "([^"]+)"', text, re.M)
    assert found is not None
    return found.group(1), found.group(2)


def options() -> dict[str, str]:
    """Those of CMakeLists.txt that say what is in the library, each with its description."""
    text = (ROOT / "CMakeLists.txt").read_text()
    described = dict(re.findall(r'^(?:option|cmake_dependent_option)\(REKUR_(\w+) "([^"]+)"', text, re.M))
    for name in ("INSTALL", "DEB", "WERROR", "TESTS", "PYTHON", "BENCH", "EXAMPLES", "PROBE"):
        del described[name]  # how, and what else
    return described


def manifest() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((PORT / "vcpkg.json").read_text())
    return loaded


# ---- vcpkg ----

NAME = r"[a-z0-9]+(-[a-z0-9]+)*"
RESERVED = {"core", "default"} | {"prn", "aux", "nul", "con"}  # features vcpkg has itself, names Windows has
# In the order of vcpkg format-manifest.
KEYS = ["name", "version", "port-version", "maintainers", "summary", "description", "homepage", "documentation"]
KEYS += ["license", "supports", "builtin-baseline", "dependencies", "default-features", "features", "overrides"]
DEPENDENCY_KEYS = ["name", "host", "default-features", "features", "platform", "version>="]
FEATURE_KEYS = ["description", "supports", "license", "dependencies"]


def check_order(keys: list[str], known: list[str]) -> None:
    assert keys == [key for key in known if key in keys]


def check_dependencies(dependencies: list[Any]) -> None:
    names = [d if isinstance(d, str) else d["name"] for d in dependencies]
    assert names == sorted(names)
    for dependency in dependencies:
        if isinstance(dependency, dict):
            check_order(list(dependency), DEPENDENCY_KEYS)
            assert all(isinstance(dependency.get(key, True), bool) for key in ("host", "default-features"))
            assert len(dependency) > 1  # else the name alone is the form
    assert all(re.fullmatch(NAME, name) for name in names)


def test_manifest_has_the_documented_form() -> None:
    port = manifest()
    check_order(list(port), KEYS)
    assert port["name"] == PORT.name == "rekur" and re.fullmatch(NAME, port["name"])
    assert re.fullmatch(r"\d+(\.\d+)*", port["version"])
    assert port["license"] == "Apache-2.0"  # SPDX
    description = port["description"]
    assert isinstance(description, list) and all(isinstance(line, str) and line for line in description)
    assert re.fullmatch(r"[!()&|a-z0-9 ]+", port["supports"])
    check_dependencies(port["dependencies"])
    assert {d["name"] for d in port["dependencies"] if d["host"]} == {"vcpkg-cmake", "vcpkg-cmake-config"}
    features = port["features"]
    assert list(features) == sorted(features)
    for name, feature in features.items():
        assert re.fullmatch(NAME, name) and name not in RESERVED
        check_order(list(feature), FEATURE_KEYS)
        assert isinstance(feature["description"], str) and feature["description"]
        check_dependencies(feature.get("dependencies", []))
        for dependency in feature.get("dependencies", []):  # on itself: other features, and not all by default
            assert dependency["name"] == "rekur" and dependency["default-features"] is False
            assert set(dependency["features"]) <= set(features)
    defaults = port["default-features"]
    assert defaults == sorted(defaults) and set(defaults) <= set(features)


def test_manifest_is_written_as_vcpkg_writes_it() -> None:
    text = (PORT / "vcpkg.json").read_text()
    assert text == json.dumps(manifest(), indent=2, ensure_ascii=False) + "\n"


def test_manifest_says_what_the_sources_say() -> None:
    version, description = project()
    port = manifest()
    assert port["version"] == version and port["description"][0] == description
    cells = {cell.replace("_", "-") for cell in cmake_list("REKUR_KNOWN_CELLS", "cpp/cmake/cells.cmake")} - {"lstm"}
    switches = {name.lower().replace("_", "-") for name in options()} - {"compact"}
    assert set(port["features"]) == cells | switches
    assert port["default-features"] == list(port["features"])  # a library without options has everything, too


def run_port(work: Path, features: list[str], *, linkage: str = "static", build: bool = False, more: str = "") -> Path:
    """Runs the portfile; where the files of the package are."""
    arguments = {"PORT_DIR": PORT, "WORK": work, "FEATURES": ";".join(["core", *features]), "LINKAGE": linkage}
    arguments |= {"MORE": more, "CONFIGURE_ONLY": "OFF" if build else "ON"}
    words = [f"-D{name}={value}" for name, value in arguments.items()]
    done = subprocess.run(["cmake", *words, "-P", FUNCTIONS], capture_output=True, text=True, timeout=3000)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Manually-specified variables were not used" not in done.stdout + done.stderr
    return work / "packages"


def configured(work: Path) -> dict[str, str]:
    """What the configuration has put into rekur-config.cmake."""
    text = (work / "build/rekur-config.cmake").read_text()
    return dict(re.findall(r"^set\(rekur_([A-Z0-9_]+) (\S+)\)$", text, re.M))


@needs_cmake
@needs_compiler
def test_features_are_options(tmp_path: Path) -> None:
    port = manifest()
    run_port(tmp_path / "default", port["default-features"])
    everything = configured(tmp_path / "default")
    assert everything.pop("ISAS") and everything.pop("SHARED") == "OFF"
    assert everything.pop("CELLS").split(";") == cmake_list("REKUR_KNOWN_CELLS", "cpp/cmake/cells.cmake")
    assert set(everything) == set(options()) - {"COMPACT"} and set(everything.values()) == {"ON"}

    run_port(tmp_path / "core", [], linkage="dynamic")
    core = configured(tmp_path / "core")
    assert core.pop("ISAS") and core.pop("SHARED") == "ON" and core.pop("CELLS") == "lstm"
    assert set(core) == set(everything) and set(core.values()) == {"OFF"}

    few = ["gru-reset-before", "simple-rnn", "training", "threads"]
    run_port(tmp_path / "few", few)
    some = configured(tmp_path / "few")
    assert some["CELLS"] == "simple_rnn;lstm;gru_reset_before"
    assert {name for name, value in some.items() if value == "ON"} == {"TRAINING", "THREADS"}


@needs_cmake
@needs_compiler
def test_the_port_lays_out_what_vcpkg_asks_for(tmp_path: Path) -> None:
    packages = run_port(tmp_path, [])
    assert (packages / "share/rekur/copyright").read_bytes() == (ROOT / "LICENSE").read_bytes()
    usage = (packages / "share/rekur/usage").read_text()
    assert "find_package(rekur CONFIG REQUIRED)" in usage and "rekur::rekur" in usage


@needs_cmake
def test_a_copied_port_has_no_source(tmp_path: Path) -> None:
    copied = shutil.copytree(PORT, tmp_path / "ports/rekur")
    words = ["cmake", f"-DPORT_DIR={copied}", f"-DWORK={tmp_path}", "-DCONFIGURE_ONLY=ON", "-P", str(FUNCTIONS)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode and "overlay port of rekur's source tree" in " ".join(done.stderr.split())


@builds
@needs_cmake
@needs_compiler
def test_the_port_is_built_and_used(tmp_path: Path) -> None:
    packages = run_port(tmp_path, [*FEW_SWITCHES, "simple-rnn"], build=True, more=few_isas())
    assert not (packages / "lib/cmake").exists() and not (packages / "share/doc").exists()
    cpp_tools.run(["cmake", "-S", ROOT / "cpp/tests/consumer", "-B", tmp_path / "consumer",
                   f"-DCMAKE_PREFIX_PATH={packages}", "-DCONSUMER_CELLS=simple_rnn;lstm",
                   f"-DCMAKE_C_COMPILER={CC}", f"-DCMAKE_CXX_COMPILER={CXX}"])  # fmt: skip
    cpp_tools.run(["cmake", "--build", tmp_path / "consumer"])
    cpp_tools.run(["ctest", "--test-dir", tmp_path / "consumer", "--output-on-failure", "--no-tests=error"])


def few_isas() -> str:
    """One instruction set takes a third of the time."""
    return "-DREKUR_ISAS=baseline" if os.uname().machine in ("x86_64", "AMD64") else ""


# ---- Conan ----


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of Conan's with a profile of this machine, of which nothing is asked in the network."""
    folder = tmp_path_factory.mktemp("conan")
    conan(folder, "profile", "detect")
    conan(folder, "remote", "remove", "*")
    return folder


def conan(home: Path, *words: str | Path) -> str:
    environment = {**os.environ, "CONAN_HOME": str(home), **({"CC": CC, "CXX": CXX} if CC and CXX else {})}
    command = [str(word) for word in (CONAN, *words)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=3000)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout if "--format=json" in command else done.stderr  # where it, and what it runs, writes its log


def graph(home: Path, *words: str) -> dict[str, Any]:
    """The recipe as Conan sees it with these settings and options."""
    if "compiler=msvc" in words:
        words += ("-s", "compiler.runtime=dynamic")
    text = conan(home, "graph", "info", RECIPE, "--format=json", "-s", "compiler.cppstd=20", *words)
    node: dict[str, Any] = json.loads(text)["graph"]["nodes"]["0"]
    return node


@needs_conan
def test_recipe_says_what_the_sources_say(home: Path) -> None:
    recipe = json.loads(conan(home, "inspect", RECIPE, "--format=json"))
    assert recipe["version"] == project()[0] and recipe["license"] == "Apache-2.0" and recipe["name"] == "rekur"
    assert recipe["description"].startswith(project()[1])
    defaults = recipe["default_options"]
    switches = {name.lower(): name != "COMPACT" for name in options()}
    assert defaults == {"shared": False, "fPIC": True, "cells": "all", "isas": "all", **switches}
    assert set(recipe["options_definitions"]) == set(defaults)


@needs_conan
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-s", "compiler.cppstd=17"], "Current cppstd (17) is lower than the required C++ standard (20)"),
        (["-s", "compiler=gcc", "-s", "compiler.version=11"], "needs gcc 12 or later, not 11"),
        (["-s", "compiler=clang", "-s", "compiler.version=13"], "needs clang 14 or later, not 13"),
        (
            ["-s", "os=Windows", "-s", "compiler=msvc", "-s", "compiler.version=194"],
            "msvc lacks the vectors that the kernels are written in",
        ),
        (["-o", "rekur/*:cells=lstm,lstn"], "cells names 'lstn'; there are: all, or simple_rnn,lstm,gru,"),
        (["-o", "rekur/*:compact=True", "-o", "rekur/*:shared=True"], "compact is for the static library alone"),
        (["-o", "rekur/*:compact=True", "-s", "build_type=Debug"], "compact is for builds that optimise"),
    ],
)
def test_recipe_refuses(home: Path, words: list[str], message: str) -> None:
    assert message in graph(home, *words)["info_invalid"]


@needs_conan
def test_recipe_knows_all_cells(home: Path) -> None:
    for cell in cmake_list("REKUR_KNOWN_CELLS", "cpp/cmake/cells.cmake"):
        assert f"{cell}," in graph(home, "-o", "rekur/*:cells=?")["info_invalid"] + ","


@needs_conan
def test_packages_differ_where_their_contents_do(home: Path) -> None:
    def package(*chosen: str) -> str:
        node = graph(home, *(word for option in chosen for word in ("-o", f"rekur/*:{option}")))
        assert node["info_invalid"] is None
        return str(node["package_id"])

    assert package("cells=lstm,gru") == package("cells=gru,lstm") != package()
    assert package("compact=True") == package("compact=True", "int8=False") != package()
    assert package("shared=True") == package("shared=True", "fPIC=False")
    different = ("shared=True", "fPIC=False", "training=False", "isas=avx2")
    assert len({package(), *(package(option) for option in different)}) == 1 + len(different)


@builds
@needs_cmake
@needs_compiler
@needs_conan
def test_recipe_is_built_and_used(home: Path) -> None:
    words = ["-o", "rekur/*:cells=lstm"]
    for name in options():
        if name.lower() not in (*FEW_SWITCHES, "compact"):
            words += ["-o", f"rekur/*:{name.lower()}=False"]
    if isas := few_isas():
        words += ["-o", f"rekur/*:isas={isas.split('=')[1]}"]
    words += ["-c", f"tools.cmake.cmake_layout:test_folder={home / 'test'}"]
    out = conan(home, "create", RECIPE, "--build=missing", "-s", "compiler.cppstd=20", *words)
    assert f"rekur {project()[0]} in C: " in out and f"rekur {project()[0]} in C++: " in out


@needs_cmake
@needs_compiler
def test_position_independent_code_is_what_is_asked_for(tmp_path: Path) -> None:
    """fPIC of Conan's, which is CMAKE_POSITION_INDEPENDENT_CODE; a shared library has it in any case."""
    for more, there in ((), True), (["OFF"], False), (["ON"], True), (["OFF", "-DBUILD_SHARED_LIBS=ON"], True):
        words = [f"-DCMAKE_POSITION_INDEPENDENT_CODE={more[0]}", *more[1:]] if more else []
        build = tmp_path / str(len(list(tmp_path.iterdir())))
        cpp_tools.run(["cmake", "-S", ROOT, "-B", build, "-DREKUR_TESTS=OFF", *words])
        commands = json.loads((build / "compile_commands.json").read_text())
        assert all(("-fPIC" in entry["command"].split()) == there for entry in commands), more
