// host PLUGIN: loads it twice over, as hosts do, and runs it.
#if defined(_WIN32)
#include <windows.h>
#else
#include <dlfcn.h>
#endif

#include <cstdio>

#if defined(_WIN32)
namespace {

enum { RTLD_NOW, RTLD_LOCAL = 0 };
void* dlopen(const char* path, int) { return reinterpret_cast<void*>(LoadLibraryA(path)); }
void* dlsym(void* plugin, const char* name) { return reinterpret_cast<void*>(GetProcAddress(static_cast<HMODULE>(plugin), name)); }
void dlclose(void* plugin) { FreeLibrary(static_cast<HMODULE>(plugin)); }
const char* dlerror() { return "it cannot be loaded, or lacks the function"; }

}  // namespace
#endif

int main(int argc, char** argv) {
  for (int turn = 0; turn < 2; ++turn) {
    void* plugin = argc == 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : nullptr;
    void* function = plugin ? dlsym(plugin, "plugin_run") : nullptr;
    if (!function) return std::fprintf(stderr, "host: %s\n", dlerror()), 1;
#ifdef LIBRARY_INSIDE
    if (dlsym(plugin, "rekur_version")) return std::fprintf(stderr, "host: the plugin shows the library inside it\n"), 1;
#endif
    float y = 0;
    const int failed = reinterpret_cast<int (*)(float, float*)>(function)(1.0f, &y);
    if (failed || y != 3.0f) return std::fprintf(stderr, "host: the plugin failed (%d, %g)\n", failed, double(y)), 1;
    dlclose(plugin);
  }
}
