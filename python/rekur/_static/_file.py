"""The header of a static model: what it needs of the library's headers, the constants, the type."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rekur import _core
from rekur._cpp_text import filled, literal
from rekur._spec import Signal
from rekur._static._equations import FUNCTIONS
from rekur._static._writer import BEYOND, INT8, Constants, Writer

_COMPILER = "rekur/detail/compiler.hpp"
_HEADERS = ("rekur/activation.hpp", _COMPILER, "rekur/detail/float_mode.hpp")
_VECTORS = ("rekur/detail/vec.hpp", "rekur/detail/math.hpp", "rekur/detail/activation.hpp")
_STEPS, _WEIGHTS = "rekur/detail/static_steps.hpp", "rekur/detail/weights.hpp"
_ROWS = ("rekur/detail/int8.hpp", "rekur/detail/static_int8.hpp")
_TYPES = {"f4": "float", "u2": "uint16_t", "i1": "int8_t", "i4": "int32_t"}
_OWN_MACROS = (
    "REKUR_STATIC_ISA", "REKUR_STATIC_BYTES", "REKUR_STATIC_DOT", "REKUR_STATIC_NEAR",
    "REKUR_VEC_BYTES", "REKUR_SIMD_NAMESPACE",
)  # fmt: skip
# Products and sums are rounded one by one, as the engine's are, whatever -ffp-contract says.
_BEGIN = """\
#include <stdint.h>
#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#if defined(__FAST_MATH__)
#error "a static model: -ffast-math changes its numbers, and loses NaN"
#endif

// Products and sums are rounded one by one, whatever -ffp-contract says: a fused multiply-add stands where `fma` does.
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#else
#pragma GCC push_options
#pragma GCC optimize("fp-contract=off")
#endif
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wold-style-cast"

"""
_END = """\
#pragma GCC diagnostic pop
#if defined(__clang__)
#pragma STDC FP_CONTRACT DEFAULT
#else
#pragma GCC pop_options
#endif
"""


_LOAD = """\
namespace rekur {
namespace REKUR_SIMD_NAMESPACE {
REKUR_INLINE Vec load(const uint16_t* p) { return WIDEN(p); }
}
}
"""


@dataclass
class Port:
    """An input or an output of a step."""

    name: str  # the model's
    identifier: str
    size: int
    ids: bool


def header(
    name: str, namespace: str, writer: Writer, inputs: Sequence[Port], outputs: Sequence[Port], signal: Signal
) -> Iterator[str]:
    yield from _introduction(name, namespace, writer, inputs, outputs)
    yield "#pragma once\n\n"
    yield _BEGIN
    yield f"namespace {namespace} {{\n\n"
    yield from _constants(writer)
    # Code is named after its instruction set: of two files for different ones no linker takes one for the other.
    macros = (*sorted(set(re.findall(r"#define (REKUR_\w+)", _text(_COMPILER)))), *_OWN_MACROS)
    yield from (f"#undef {macro}\n" for macro in macros)
    yield _text("rekur/detail/static_isa.hpp")
    yield "inline namespace REKUR_STATIC_ISA {\n\n"
    yield f"// Of rekur {_core.__version__}, its comments left out: vectors, their functions, layers of fixed sizes.\n"
    yield from _library(writer)
    yield "\n"
    yield from _model(writer, inputs, outputs, signal)
    yield f"\n}}  // inline namespace REKUR_STATIC_ISA\n}}  // namespace {namespace}\n\n"
    yield _END
    yield from (f"#undef {macro}\n" for macro in macros)


def _introduction(
    name: str, namespace: str, writer: Writer, inputs: Sequence[Port], outputs: Sequence[Port]
) -> Iterator[str]:
    yield f"// The model {json.dumps(name)} as a type, written by `rekur export-cpp --static`. Do not edit.\n//\n"
    for kind, ports in (("input", inputs), ("output", outputs)):
        for port in ports:
            yield f"//   {kind:<6}  {port.name}: {'int32' if port.ids else 'float32'} [{port.size}]\n"
    arguments = ", ".join(port.identifier for port in (*inputs, *outputs))
    yield f"""//
//   {namespace}::Model model;      // its states, and nothing else: the weights are constants
//   model.step({arguments});  // one time step; process(…, n): n of them
//   model.reset();                 // the beginning of a sequence
//
// C++17 or later. It needs nothing: no library, no heap, no exceptions, no other file. Its numbers are those of a
// rekur::Stream, to the bit where that uses the instruction set that this is compiled for (-march=…); not with
// -ffast-math.
"""
    if writer.weights in ("bf16", "fp16"):
        yield f"// Kernels and embeddings are kept in {writer.weights}, rounded; all arithmetic is float32.\n"
    if INT8 in writer.needs:
        yield "// Matrices of layers of precision int8 are integers, and so are the products with them.\n"


def _constants(writer: Writer) -> Iterator[str]:
    numbers = (values for values in writer.constants.values() if values.dtype == np.float32)
    special = any(not np.isfinite(values).all() for values in numbers)
    special = special or any(s.initial is not None and not np.isfinite(s.initial).all() for s in writer.states)
    if special or any("bits(0x" in line for line in writer.body):
        yield "// What no literal says.\n"
        yield "constexpr float bits(uint32_t pattern) noexcept { return __builtin_bit_cast(float, pattern); }\n\n"
    yield "namespace weights {\n"
    for name, values in writer.constants.items():
        floats = values.dtype == np.float32
        size = values.size + _beyond(values)
        yield f"alignas(64) inline constexpr {_TYPES[values.dtype.str[1:]]} {name}[{size}] = {{"
        yield from filled(map(literal if floats else str, values))
        yield "};\n"
    yield "}  // namespace weights\n\n"


def _beyond(values: Constants) -> int:
    """Numbers behind a constant: of eight bits four of a column go together."""
    return BEYOND * (4 if values.dtype == np.int8 else 1)


def _text(path: str) -> str:
    """A header without its comments, includes and guard."""
    text = (Path(_core.__file__).parent / "_compile_include" / path).read_text(encoding="utf-8")
    kept = []
    for line in text.splitlines():
        if line.startswith(("#include", "#pragma once")):
            continue
        line = re.sub(r"\s*//.*", "", line).rstrip().replace("std::", "")  # whole numbers of C's <stdint.h>
        if line:
            kept.append(line)
    return "\n".join(kept) + "\n"


def _library(writer: Writer) -> Iterator[str]:
    for path in _HEADERS:
        yield _text(path)
    yield _text("runtime/flush_briefly.hpp")
    yield "#define REKUR_VEC_BYTES REKUR_STATIC_BYTES\n#define REKUR_SIMD_NAMESPACE steps\n"
    for path in _VECTORS:
        yield _text(path)
    if FUNCTIONS in writer.needs:
        yield _text(FUNCTIONS).replace("namespace {", "namespace REKUR_SIMD_NAMESPACE {", 1)
    if writer.weights in ("bf16", "fp16"):
        yield _text(_WEIGHTS)
        yield _LOAD.replace("WIDEN", f"widen_{writer.weights}")
    if INT8 in writer.needs:
        for path in _ROWS:
            yield _text(path)
    yield _text(_STEPS)
    for path in sorted(writer.needs - {FUNCTIONS}):
        yield _text(path)


def _model(writer: Writer, inputs: Sequence[Port], outputs: Sequence[Port], signal: Signal) -> Iterator[str]:
    declared = [f"const {'int32_t' if p.ids else 'float'}* {p.identifier}" for p in inputs]
    declared += [f"float* {p.identifier}" for p in outputs]
    names = [port.identifier for port in (*inputs, *outputs)]
    ports = (*inputs, *outputs)
    following = ", ".join(f"{p.identifier} + step * {p.size}" for p in ports)
    state_size = sum(state.size for state in writer.states)
    yield "namespace rekur {\nnamespace REKUR_SIMD_NAMESPACE {\n\n"
    yield "class Model {\n public:\n"
    yield "  // Numbers of a step, by argument.\n"
    for port in ports:
        yield f"  static constexpr int size_of_{port.identifier} = {port.size};\n"
    yield f"  static constexpr int state_size = {state_size};\n"
    yield "  // Of the signal whose samples the steps are, in Hz (0: not said); samples that the output is behind.\n"
    yield f"  static constexpr double sample_rate = {signal.sample_rate or 0.0!r};\n"
    yield f"  static constexpr int latency = {signal.latency};\n\n"
    yield "  // One time step. No array of outputs may overlap another array.\n"
    yield f"  void step({', '.join(declared)}) noexcept {{\n"
    yield "    const runtime::FlushDenormalsBriefly flush;\n"
    yield f"    run({', '.join(names)});\n  }}\n\n"
    yield "  // So many of them, one after the other in the arrays.\n"
    yield f"  void process({', '.join([*declared, 'int steps'])}) noexcept {{\n"
    yield "    const runtime::FlushDenormalsBriefly flush;\n"
    yield f"    for (int step = 0; step < steps; ++step) run({following});\n  }}\n\n"
    yield "  // The beginning of a sequence.\n"
    yield "  void reset() noexcept { *this = Model(); }\n\n"
    yield "  // The states, state_size floats in the order of a rekur::Stream's.\n"
    yield "  void get_state(float* state) const noexcept {\n"
    at = 0
    for state in writer.states:
        yield from (f"    {line}\n" for line in state.moves(True, f"state + {at}"))
        at += state.size
    yield "    static_cast<void>(state);\n  }\n"
    yield "  void set_state(const float* state) noexcept {\n"
    at = 0
    for state in writer.states:
        yield from (f"    {line}\n" for line in state.moves(False, f"state + {at}"))
        at += state.size
    yield "    static_cast<void>(state);\n  }\n\n private:\n"
    yield f"  REKUR_NOINLINE void run({', '.join(declared)}) noexcept {{\n"
    indent = 4
    for line in (*writer.declarations, *writer.body):
        indent -= 2 * line.startswith("}")
        yield " " * indent + line + "\n"
        indent += 2 * line.endswith("{")
    yield "  }\n\n"
    for state in writer.states:
        start = "" if state.initial is None else ", ".join(map(literal, state.initial))
        yield f"  alignas(64) float {state.member}[{state.floats()}] = {{{start}}};\n"
    yield "};\n\n}  // namespace REKUR_SIMD_NAMESPACE\n}  // namespace rekur\n\n"
    yield "using rekur::REKUR_SIMD_NAMESPACE::Model;\n"
