#if defined(_WIN32)

#include "io/mapped_file.hpp"
#include "io/windows.hpp"

namespace rekur::io {
namespace {

class Mapping {
 public:
  explicit Mapping(const std::string& path) {
    const std::wstring whole = whole_path("read", path);
    const Handle file(::CreateFileW(whole.c_str(), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, nullptr,
                                    OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, nullptr));
    if (!file.open()) {
      const DWORD error = ::GetLastError();
      if (is_directory(whole)) throw_system_error("read", path, EISDIR);
      throw_windows_error("read", path, error);
    }
    if (::GetFileType(file.get()) != FILE_TYPE_DISK) throw_io_error("cannot read '%': not a regular file", {path});
    LARGE_INTEGER size;
    if (!::GetFileSizeEx(file.get(), &size)) throw_windows_error("read", path);
    if (size.QuadPart == 0) return;
    HANDLE const mapping = ::CreateFileMappingW(file.get(), nullptr, PAGE_READONLY, 0, 0, nullptr);
    if (mapping == nullptr) throw_windows_error("map", path);
    void* const at = ::MapViewOfFile(mapping, FILE_MAP_READ, 0, 0, 0);
    const DWORD error = ::GetLastError();
    ::CloseHandle(mapping);  // the view keeps what it needs
    if (at == nullptr) throw_windows_error("map", path, error);
    bytes = {static_cast<const std::byte*>(at), static_cast<std::size_t>(size.QuadPart)};
  }
  ~Mapping() {
    if (!bytes.empty()) ::UnmapViewOfFile(bytes.data());
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  std::span<const std::byte> bytes;
};

}  // namespace

bool can_map_files() noexcept { return true; }

std::shared_ptr<const std::span<const std::byte>> map_file(const std::string& path) {
  const auto mapping = std::make_shared<const Mapping>(path);
  return {mapping, &mapping->bytes};
}

}  // namespace rekur::io

#endif
