"""rekur for Conan 2: ``conan create cpp/packaging/conan -s compiler.cppstd=20``. The source is the tree around it."""

import os
import re

from conan import ConanFile
from conan.errors import ConanInvalidConfiguration
from conan.tools.build import check_min_cppstd, stdcpp_library
from conan.tools.cmake import CMake, CMakeDeps, CMakeToolchain, cmake_layout
from conan.tools.files import copy, load, rmdir
from conan.tools.scm import Version

required_conan_version = ">=2.0"

ROOT = os.path.join("..", "..", "..")  # from here
# What is ON or OFF in CMake, REKUR_ and the name in capitals, with CMake's defaults.
SWITCHES = {
    "threads": True,
    "files": True,
    "exceptions": True,
    "training": True,
    "equations": True,
    "compiled_cells": True,
    "matrix": True,
    "sequence": True,
    "int8": True,
    "import": True,
    "compact": False,
}
CELLS = ("simple_rnn", "lstm", "gru", "gru_reset_before", "lstm_peephole", "lstm_coupled", "lstm_peephole_coupled")
OLDEST = {"gcc": "12", "clang": "14", "apple-clang": "15"}


def names(option):
    """Those of an option that is a list; none: all."""
    return [] if str(option) == "all" else re.split("[,;]", str(option))


class RekurConan(ConanFile):
    name = "rekur"
    description = "Recurrent networks on ordinary CPUs: run and trained, step by step in real time or whole sequences"
    license = "Apache-2.0"
    topics = ("lstm", "gru", "rnn", "neural-network", "real-time", "simd")
    package_type = "library"
    settings = "os", "arch", "compiler", "build_type"
    options = {  # noqa: RUF012  # Conan's form
        "shared": [True, False],
        "fPIC": [True, False],
        "cells": ["ANY"],  # all, or some of them: lstm,gru
        "isas": ["ANY"],  # all of the processor, or some of them: avx2
        **{name: [True, False] for name in SWITCHES},
    }
    default_options = {"shared": False, "fPIC": True, "cells": "all", "isas": "all", **SWITCHES}  # noqa: RUF012

    def set_version(self):
        text = load(self, os.path.join(self.recipe_folder, ROOT, "CMakeLists.txt"))
        self.version = re.search(r"^project\(rekur VERSION (\S+)", text, re.M).group(1)

    def export_sources(self):
        root = os.path.join(self.recipe_folder, ROOT)
        for pattern in ("CMakeLists.txt", "LICENSE", "cpp/include/*", "cpp/src/*", "cpp/cmake/*"):
            copy(self, pattern, src=root, dst=self.export_sources_folder)
        copy(self, "cpp/packaging/cpack.cmake", src=root, dst=self.export_sources_folder)

    def config_options(self):
        if self.settings.os == "Windows":
            del self.options.fPIC

    def configure(self):
        if self.options.shared:
            self.options.rm_safe("fPIC")
        # What CMake's own dependent options leave out, too: one package, not several of the same contents.
        if self.options.compact:
            for name in ("int8", "import", "compiled_cells"):
                self.options.rm_safe(name)
        if not self.options.equations:
            self.options.rm_safe("compiled_cells")

    def layout(self):
        cmake_layout(self)

    def validate(self):
        compiler = self.settings.compiler
        if compiler == "msvc":
            raise ConanInvalidConfiguration(
                "rekur: msvc lacks the vectors that the kernels are written in (GNU C's); clang of MinGW-w64 does"
            )
        oldest = OLDEST.get(str(compiler))
        if oldest and Version(compiler.version) < oldest:
            raise ConanInvalidConfiguration(f"rekur: needs {compiler} {oldest} or later, not {compiler.version}")
        if compiler.get_safe("cppstd"):
            check_min_cppstd(self, 20)
        if self.options.compact and self.options.shared:
            raise ConanInvalidConfiguration("rekur: compact is for the static library alone, not for shared=True")
        if self.options.compact and self.settings.build_type == "Debug":
            raise ConanInvalidConfiguration("rekur: compact is for builds that optimise, not for build_type=Debug")
        unknown = [name for name in names(self.options.cells) if name not in CELLS]
        if unknown:
            raise ConanInvalidConfiguration(f"rekur: cells names '{unknown[0]}'; there are: all, or {','.join(CELLS)}")

    def package_id(self):  # lists in another order are the same package
        self.info.options.cells = ",".join(sorted(set(names(self.info.options.cells)))) or "all"
        self.info.options.isas = ",".join(sorted(set(names(self.info.options.isas)))) or "all"

    def generate(self):
        toolchain = CMakeToolchain(self)
        toolchain.user_presets_path = False
        toolchain.cache_variables["REKUR_TESTS"] = False
        toolchain.cache_variables["REKUR_INSTALL"] = True
        for name in SWITCHES:
            value = self.options.get_safe(name)
            if value is not None:
                toolchain.cache_variables[f"REKUR_{name.upper()}"] = bool(value)
        for name in ("cells", "isas"):
            chosen = names(self.options.get_safe(name))
            if chosen:
                toolchain.cache_variables[f"REKUR_{name.upper()}"] = ";".join(chosen)
        toolchain.generate()
        CMakeDeps(self).generate()

    def build(self):
        cmake = CMake(self)
        cmake.configure()
        cmake.build()

    def package(self):
        copy(self, "LICENSE", src=self.source_folder, dst=os.path.join(self.package_folder, "licenses"))
        CMake(self).install()
        for folder in ("lib/cmake", "lib/pkgconfig", "share"):  # Conan's generators make their own
            rmdir(self, os.path.join(self.package_folder, folder))

    def package_info(self):
        self.cpp_info.libs = ["rekur"]
        self.cpp_info.set_property("cmake_file_name", "rekur")
        self.cpp_info.set_property("cmake_target_name", "rekur::rekur")
        self.cpp_info.set_property("pkg_config_name", "rekur")
        # As rekur's own CMake package has them.
        variables = {}
        for name in ("shared", *SWITCHES):
            if name != "compact":
                variables[f"rekur_{name.upper()}"] = "ON" if self.options.get_safe(name) else "OFF"
        variables["rekur_CELLS"] = ";".join(name for name in CELLS if name in (names(self.options.cells) or CELLS))
        self.cpp_info.set_property("cmake_extra_variables", variables)
        if self.settings.os in ("Linux", "FreeBSD"):
            self.cpp_info.system_libs.append("m")
            if self.options.threads:
                self.cpp_info.system_libs.append("pthread")
        runtime = stdcpp_library(self)
        if runtime and not self.options.shared:  # a program in C needs it, too
            self.cpp_info.system_libs.append(runtime)
