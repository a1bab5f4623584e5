/* Nothing but the library's interface is in the module: CMakeLists.txt lists it. */
typedef int rekur_module;
