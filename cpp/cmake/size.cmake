# What is compiled for size, and REKUR_COMPACT.

# Kernels are compiled for speed, as is what runs between them once a step. All else (reading, checking, planning, building) is a
# small part of any call's time, and most of the code.
function(rekur_compile_for_size sources)
  if(REKUR_SANITIZE OR CMAKE_BUILD_TYPE STREQUAL "Debug")
    return()
  endif()
  foreach(source IN LISTS sources)
    if(NOT source MATCHES "/src/(recurrent|isa|runtime|stream)/")
      set_property(SOURCE ${source} APPEND PROPERTY COMPILE_OPTIONS -Os)
    endif()
  endforeach()
endfunction()

if(NOT REKUR_COMPACT)
  return()
endif()
if(BUILD_SHARED_LIBS OR REKUR_TESTS OR REKUR_PYTHON OR SKBUILD)
  message(FATAL_ERROR "REKUR_COMPACT is for the static library alone: tests and the Python extension need what it hides")
endif()
if(REKUR_SANITIZE OR CMAKE_BUILD_TYPE STREQUAL "Debug")
  message(FATAL_ERROR "REKUR_COMPACT is for builds that optimise")
endif()
# Unwinding happens at calls only, and never through a kernel.
set(REKUR_COMPACT_FLAGS -fno-asynchronous-unwind-tables)
set(REKUR_KERNEL_FLAGS -fno-asynchronous-unwind-tables -fno-unwind-tables -fno-exceptions)
set(REKUR_COMPACT_HOW merged)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  set(REKUR_COMPACT_HOW whole)
  list(APPEND REKUR_COMPACT_FLAGS -flto)
  list(APPEND REKUR_KERNEL_FLAGS -fno-lto)
endif()
string(JOIN " " REKUR_COMPACT_LINK_FLAGS ${REKUR_COMPACT_FLAGS})
set(CMAKE_CXX_ARCHIVE_CREATE
    "${CMAKE_CURRENT_LIST_DIR}/compact.sh <TARGET> <CMAKE_AR> ${CMAKE_NM} ${CMAKE_OBJCOPY} ${REKUR_COMPACT_HOW} \
<CMAKE_CXX_COMPILER> -Os ${REKUR_COMPACT_LINK_FLAGS} -- <OBJECTS>")
set(CMAKE_CXX_ARCHIVE_FINISH "")
