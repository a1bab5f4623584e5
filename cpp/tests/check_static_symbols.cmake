# cmake -DNM=nm -DOBJECTS="a.o;b.o" -P check_static_symbols.cmake
# What a consumer's file gets of static.hpp, or of a model written out (rekur export-cpp --static), may be weak, for other files to
# share it; then it must be named after its instruction set, or be a model's constants.
foreach(object IN LISTS OBJECTS)
  execute_process(COMMAND ${NM} ${object} OUTPUT_VARIABLE symbols RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "${NM} failed on ${object}")
  endif()
  string(REGEX MATCHALL "[^\n]* [WVwvu] [^\n]*" weak "${symbols}")
  if(NOT weak)
    message(FATAL_ERROR "no weak symbol in ${object}: is it a probe?")
  endif()
  foreach(symbol IN LISTS weak)
    if(NOT symbol MATCHES " [WVwvu] _?_ZNK?(5rekur|10amp_static|17forecaster_static)(7weights|[0-9]+static_[a-z0-9_]+)")
      message(FATAL_ERROR "a weak symbol of no instruction set in ${object}:\n${symbol}")
    endif()
  endforeach()
endforeach()
