# What is compiled for size, and REKUR_COMPACT.

# The kernels are compiled for speed (CMakeLists.txt), and so is what runs in every call; all else, reading, checking, planning and
# building, is most of the code and a small part of the time. In the compact library even the kernels are compiled for size.
function(rekur_compile_for_size sources)
  if(REKUR_SANITIZE OR CMAKE_BUILD_TYPE STREQUAL "Debug")
    return()
  endif()
  set(fast "/src/(recurrent|runtime)/|/equations/code_run\\.cpp|/graph/(run|graph|arena|store|stream|labels|search)\\.cpp|/sequence/(attention_run|conv_lstm_run|convolution|crf_chain|ctc_decode|ctc_loss|depthwise|edit_distance|sampler|attention_whole)\\.cpp|/layers/(recurrent|merge|stream_op|recurrent_run|recurrent_gradients|dense|dense_products|matrix_heads|selective_ssm|selective_ssm_op|row_products)\\.cpp")
  foreach(source IN LISTS sources)
    if(REKUR_COMPACT AND source MATCHES "/io/text\\.cpp")  # the exceptions' own: callers may ask for their type
      set_property(SOURCE ${source} APPEND PROPERTY COMPILE_OPTIONS -frtti)
    endif()
    if(REKUR_COMPACT OR NOT source MATCHES "${fast}")
      set_property(SOURCE ${source} APPEND PROPERTY COMPILE_OPTIONS -Os)
    endif()
  endforeach()
endfunction()

set(REKUR_KERNEL_FLAGS -O3)
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
set(REKUR_COMPACT_FLAGS -fno-asynchronous-unwind-tables -fno-rtti)
# -O2 would make the kernels of AVX2 8 KB larger and an LSTM over 16 rows a tenth faster.
set(REKUR_KERNEL_FLAGS -DREKUR_COMPACT_KERNELS -Os -fno-asynchronous-unwind-tables -fno-unwind-tables -fno-exceptions)
set(REKUR_COMPACT_HOW merged)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  set(REKUR_COMPACT_HOW whole)
  list(APPEND REKUR_COMPACT_FLAGS -flto -fno-merge-constants)  # constants that could be merged with others' each have a symbol
  list(APPEND REKUR_KERNEL_FLAGS -fno-merge-constants -falign-loops=16)
endif()
string(JOIN " " REKUR_COMPACT_LINK_FLAGS ${REKUR_COMPACT_FLAGS})
set(CMAKE_CXX_ARCHIVE_CREATE
    "${CMAKE_CURRENT_LIST_DIR}/compact.sh <TARGET> <CMAKE_AR> ${CMAKE_NM} ${CMAKE_OBJCOPY} ${REKUR_COMPACT_HOW} \
<CMAKE_CXX_COMPILER> -Os ${REKUR_COMPACT_LINK_FLAGS} -- <OBJECTS>")
set(CMAKE_CXX_ARCHIVE_FINISH "")
