// operator new and delete of static_memory.c: in a program in C, too, the library's small things are C++.
#include <rekur/operators.hpp>
