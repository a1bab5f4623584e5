# REKUR_ISAS: the instruction sets whose kernels are compiled. The widest that the machine has is chosen when the program first
# computes; with only one there is nothing to choose, and a machine that lacks it gets an error instead of an illegal instruction.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(known baseline avx2 avx512)
  set(default ${known})
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64|ARM64)$")
  set(known neon baseline)  # baseline would be the same instructions
  set(default neon)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^arm")
  set(known baseline neon)
  set(default ${known})
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^riscv64$" AND CMAKE_CXX_COMPILER_ID STREQUAL "Clang"
       AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 16)
  set(known baseline rvv)  # other compilers, and older ones, make no instructions for RISC-V's vectors of the engine's
  set(default ${known})
else()
  set(known baseline)
  set(default ${known})
endif()
set(REKUR_ISAS "${default}" CACHE STRING "Instruction sets to build for, a list: ${known}")

if(NOT REKUR_ISAS)
  message(FATAL_ERROR "rekur: REKUR_ISAS is empty; of ${CMAKE_SYSTEM_PROCESSOR} there are: ${known}")
endif()
foreach(isa IN LISTS REKUR_ISAS)
  if(NOT isa IN_LIST known)
    message(FATAL_ERROR "rekur: REKUR_ISAS names '${isa}'; of ${CMAKE_SYSTEM_PROCESSOR} there are: ${known}")
  endif()
endforeach()
set(ordered ${known})  # narrowest first, as everywhere, each once
foreach(isa IN LISTS known)
  if(NOT isa IN_LIST REKUR_ISAS)
    list(REMOVE_ITEM ordered ${isa})
  endif()
endforeach()
set(REKUR_ISAS ${ordered})

set(REKUR_FLAGS_avx2 -mavx2 -mfma -mf16c)
set(REKUR_FLAGS_avx512 -mavx512f -mavx512dq -mavx512bw -mavx512vl -mfma -mprefer-vector-width=512)
set(REKUR_FLAGS_rvv -march=rv64gcv)
if(CMAKE_SYSTEM_PROCESSOR STREQUAL "riscv64" AND CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  set(REKUR_FLAGS_baseline -Wno-pass-failed)  # where a processor has no vectors, clang leaves tiles of them in loops
endif()
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^arm" AND CMAKE_SIZEOF_VOID_P EQUAL 4)
  set(REKUR_FLAGS_neon -mfpu=neon-vfpv4)  # the first with a fused multiply-add
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # g++ takes NEON, which flushes denormals, for vectors of floats only if it may be unsafe; nothing else of that is wanted: with the
    # other flags no sum is reordered, no division becomes a product, and zeros keep their signs.
    list(APPEND REKUR_FLAGS_neon -funsafe-math-optimizations -fno-associative-math -fno-reciprocal-math -fsigned-zeros -ftrapping-math)
  endif()
endif()
if(REKUR_SANITIZE)
  set(optimised -O1)  # more would hide errors, and without any the tests take too long
else()
  # Kernels are useless without it, whatever the build type; only in debug builds it would hide errors.
  list(TRANSFORM REKUR_KERNEL_FLAGS REPLACE "(.+)" "$<$<NOT:$<CONFIG:Debug>>:\\1>" OUTPUT_VARIABLE optimised)
endif()
foreach(isa IN LISTS REKUR_ISAS)
  foreach(unit IN ITEMS isa compiled)
    set_source_files_properties(${CMAKE_CURRENT_SOURCE_DIR}/cpp/src/isa/${unit}_${isa}.cpp PROPERTIES
      COMPILE_OPTIONS "${REKUR_FLAGS_${isa}};${optimised}")
  endforeach()
  string(TOUPPER ${isa} upper)
  # Told only to who chooses: the rest is compiled alike for any of them.
  set_property(SOURCE ${CMAKE_CURRENT_SOURCE_DIR}/cpp/src/isa/amx.cpp ${CMAKE_CURRENT_SOURCE_DIR}/cpp/src/isa/dispatch.cpp
    APPEND PROPERTY COMPILE_DEFINITIONS REKUR_HAVE_${upper})
endforeach()
