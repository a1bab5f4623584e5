# 64-bit ARM by Debian's cross compiler (g++-aarch64-linux-gnu); tests run under qemu-user where it is installed, on the processor
# that REKUR_QEMU_CPU names.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(REKUR_QEMU_CPU max CACHE STRING "The emulated processor, as qemu-aarch64 -cpu names it")
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES REKUR_QEMU_CPU)
find_program(REKUR_QEMU_AARCH64 qemu-aarch64)
mark_as_advanced(REKUR_QEMU_AARCH64)
if(REKUR_QEMU_AARCH64)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${REKUR_QEMU_AARCH64} -cpu ${REKUR_QEMU_CPU} -L /usr/aarch64-linux-gnu)
endif()
