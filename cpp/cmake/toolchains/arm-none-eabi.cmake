# A Cortex-M by Debian's compilers (gcc-arm-none-eabi, libstdc++-arm-none-eabi-newlib): REKUR_CORTEX is m4, m7 (the default), m33 or
# m55, each with its unit for float32. Programs of the tests run on boards of qemu-system-arm, which print by semihosting.
set(CMAKE_SYSTEM_NAME Generic)
set(REKUR_CORTEX m7 CACHE STRING "Which Cortex-M: m4, m7, m33 or m55")
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES REKUR_CORTEX)
set(CMAKE_SYSTEM_PROCESSOR cortex-${REKUR_CORTEX})
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)  # a program needs a board
set(CMAKE_C_COMPILER arm-none-eabi-gcc)
set(CMAKE_CXX_COMPILER arm-none-eabi-g++)
set(rekur_fpu_m4 -mfpu=fpv4-sp-d16)
set(rekur_fpu_m7 -mfpu=fpv5-sp-d16)
set(rekur_fpu_m33 -mfpu=fpv5-sp-d16)
set(rekur_fpu_m55 "")  # by the processor's name
set(rekur_board_m4 mps2-an386)
set(rekur_board_m7 mps2-an500)
set(rekur_board_m33 mps2-an505)
set(rekur_board_m55 mps3-an547)
if(NOT rekur_board_${REKUR_CORTEX})
  message(FATAL_ERROR "rekur: REKUR_CORTEX is expected to be m4, m7, m33 or m55, got '${REKUR_CORTEX}'")
endif()
set(rekur_flags "-mcpu=cortex-${REKUR_CORTEX} ${rekur_fpu_${REKUR_CORTEX}} -mthumb -mfloat-abi=hard -ffunction-sections -fdata-sections")
set(CMAKE_C_FLAGS_INIT "${rekur_flags}")
set(CMAKE_CXX_FLAGS_INIT "${rekur_flags}")
set(CMAKE_EXE_LINKER_FLAGS_INIT "-Wl,--gc-sections")
set(CMAKE_EXECUTABLE_SUFFIX_C .elf)
set(CMAKE_EXECUTABLE_SUFFIX_CXX .elf)
find_program(REKUR_QEMU_SYSTEM_ARM qemu-system-arm)
mark_as_advanced(REKUR_QEMU_SYSTEM_ARM)
if(REKUR_QEMU_SYSTEM_ARM)
  # A nanosecond of the board's clock is an instruction.
  set(CMAKE_CROSSCOMPILING_EMULATOR ${REKUR_QEMU_SYSTEM_ARM} -M ${rekur_board_${REKUR_CORTEX}} -display none -monitor none -serial none
    -icount shift=0 -semihosting-config enable=on,target=native -kernel)
endif()
