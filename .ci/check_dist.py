"""python check_dist.py DIR: the wheel holds the package and nothing else, the sdist holds what a build needs."""

import sys
import tarfile
import zipfile
from pathlib import Path


def main(folder: Path) -> None:
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    inside = zipfile.ZipFile(wheel).namelist()
    for name in ("rekur/py.typed", "rekur/_core.pyi", "rekur/cli.py", "rekur/onnx/__init__.py", "rekur/demo/run.py"):
        assert name in inside, f"{wheel.name} lacks {name}"
    assert any(name.startswith("rekur/_core.") and name.endswith(".so") for name in inside), "no extension"
    assert any(name.endswith("/LICENSE") for name in inside), "no licence"
    strangers = [name for name in inside if not name.startswith(("rekur/", "rekur-"))]
    # C++ is that alone which rekur.compile_cells and rekur.jax.compile compile where they run.
    headers = "rekur/_compile_include/"
    of_jax = ["rekur/jax/_ffi.cpp", "rekur/jax/layer_calls.h"]
    assert f"{headers}simd/compiled.hpp" in inside, f"{wheel.name} lacks what equations are compiled with"
    assert not set(of_jax) - set(inside), f"{wheel.name} lacks what JAX's calls are compiled from"
    built = (".cpp", ".hpp", ".h", ".a", ".cmake", ".pc", ".pyc")
    known = [name for name in inside if name.startswith(headers) or name in of_jax]
    strangers += [name for name in inside if name.endswith(built) and name not in known]
    assert not strangers, f"{wheel.name} holds {strangers}"
    with tarfile.open(sdist) as archive:
        source = {name.partition("/")[2] for name in archive.getnames()}
    for name in (
        "CMakeLists.txt",
        "LICENSE",
        "README.md",
        "cpp/cmake/rekur-config.cmake.in",
        "cpp/cmake/toolchains/aarch64-linux-gnu.cmake",
        "cpp/examples/CMakeLists.txt",
        "cpp/include/rekur/detail/cells/lstm.hpp",
        "cpp/src/layers/registry.cpp",
        "cpp/tests/consumer/CMakeLists.txt",
        "bindings/module.cpp",
        "tests/reference.py",
    ):
        assert name in source, f"{sdist.name} lacks {name}"
    for file in (wheel, sdist):
        print(f"{file.name}: {file.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
