// Where there are no files (REKUR_FILES=OFF).
#include "io/atomic_file.hpp"
#include "io/text.hpp"

namespace rekur::io {

void check_writable(const std::string& path) {
  throw_io_error("cannot write '%': this rekur was built without files (REKUR_FILES=OFF)", {path});
}

void write_atomically(const std::string& path, std::span<const std::span<const std::byte>>) { check_writable(path); }
void write_atomically(const std::string& path, std::span<const std::byte>) { check_writable(path); }

}  // namespace rekur::io
