# 32-bit ARM (armv7, hard float) by Debian's cross compiler (g++-arm-linux-gnueabihf); tests run under qemu-user where it is
# installed.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR armv7l)
set(CMAKE_C_COMPILER arm-linux-gnueabihf-gcc)
set(CMAKE_CXX_COMPILER arm-linux-gnueabihf-g++)
find_program(REKUR_QEMU_ARM qemu-arm)
mark_as_advanced(REKUR_QEMU_ARM)
if(REKUR_QEMU_ARM)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${REKUR_QEMU_ARM} -L /usr/arm-linux-gnueabihf)
endif()
