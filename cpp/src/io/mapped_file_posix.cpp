#if !defined(_WIN32)

#include "io/mapped_file.hpp"
#include "io/text.hpp"

#if __has_include(<sys/mman.h>) && !defined(__wasi__)

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cstdint>
#include <limits>

#include "io/descriptor.hpp"

namespace rekur::io {
namespace {

class Mapping {
 public:
  explicit Mapping(const std::string& path) {
    // O_NONBLOCK: opening a pipe by mistake must not wait for its other end.
    const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat status {};
    if (!fd.open() || ::fstat(fd.get(), &status) != 0) throw_system_error("read", path);
    if (S_ISDIR(status.st_mode)) throw_system_error("read", path, EISDIR);
    if (!S_ISREG(status.st_mode)) throw_io_error("cannot read '%': not a regular file", {path});
    if (status.st_size == 0) return;
    if (static_cast<std::uint64_t>(status.st_size) > std::numeric_limits<std::size_t>::max() / 2)
      throw_io_error("cannot map '%': it is larger than what there are addresses for", {path});
    const auto size = static_cast<std::size_t>(status.st_size);
    void* const at = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
    if (at == MAP_FAILED) throw_system_error("map", path);
    bytes = {static_cast<const std::byte*>(at), size};
  }
  ~Mapping() {
    if (!bytes.empty()) ::munmap(const_cast<std::byte*>(bytes.data()), bytes.size());
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  std::span<const std::byte> bytes;
};

}  // namespace

bool can_map_files() noexcept { return true; }

std::shared_ptr<const std::span<const std::byte>> map_file(const std::string& path) {
  if (path.find('\0') != path.npos) throw_io_error("cannot read '%': the path contains a null character", {path});
  const auto mapping = std::make_shared<const Mapping>(path);
  return {mapping, &mapping->bytes};
}

}  // namespace rekur::io

#else

namespace rekur::io {

bool can_map_files() noexcept { return false; }
std::shared_ptr<const std::span<const std::byte>> map_file(const std::string& path) {
  throw_io_error("cannot map '%': this system maps no files into memory", {path});
}

}  // namespace rekur::io

#endif

#endif
