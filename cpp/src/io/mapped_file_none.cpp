// Where there are no files (REKUR_FILES=OFF).
#include "io/mapped_file.hpp"
#include "io/text.hpp"

namespace rekur::io {

bool can_map_files() noexcept { return false; }
std::shared_ptr<const std::span<const std::byte>> map_file(const std::string& path) {
  throw_io_error("cannot map '%': this rekur was built without files (REKUR_FILES=OFF)", {path});
}

}  // namespace rekur::io
