# 64-bit Windows by clang and lld with Debian's MinGW-w64 (clang, lld, g++-mingw-w64-x86-64-posix); tests run under Wine where it is
# installed. MinGW's own g++ does not put vectors of AVX on aligned places of the stack (GCC bug 54412): with it, REKUR_ISAS=baseline.
set(CMAKE_SYSTEM_NAME Windows)
set(CMAKE_SYSTEM_PROCESSOR x86_64)
set(CMAKE_C_COMPILER clang)
set(CMAKE_CXX_COMPILER clang++)
set(CMAKE_C_COMPILER_TARGET x86_64-w64-windows-gnu)
set(CMAKE_CXX_COMPILER_TARGET x86_64-w64-windows-gnu)
set(CMAKE_FIND_ROOT_PATH /usr/x86_64-w64-mingw32)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
# Where its g++ keeps the standard library, which clang does not find by itself.
execute_process(COMMAND x86_64-w64-mingw32-g++-posix -print-file-name=libstdc++.a OUTPUT_VARIABLE rekur_mingw
  OUTPUT_STRIP_TRAILING_WHITESPACE)
cmake_path(GET rekur_mingw PARENT_PATH rekur_mingw)
# Thread-local variables as that standard library has them.
set(CMAKE_C_FLAGS_INIT "-femulated-tls")
set(CMAKE_CXX_FLAGS_INIT
  "-femulated-tls -stdlib++-isystem ${rekur_mingw}/include/c++ -cxx-isystem ${rekur_mingw}/include/c++/x86_64-w64-mingw32")
# Programs and libraries that need no other file; the standard library asks for threads even where the library has one.
foreach(kind IN ITEMS EXE SHARED MODULE)
  set(CMAKE_${kind}_LINKER_FLAGS_INIT "-fuse-ld=lld -L${rekur_mingw} -static -lpthread")
endforeach()
find_program(REKUR_WINE NAMES wine wine64 PATHS /usr/lib/wine)
mark_as_advanced(REKUR_WINE)
if(REKUR_WINE)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${REKUR_WINE})
endif()
