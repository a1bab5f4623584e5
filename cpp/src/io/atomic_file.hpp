// Files that are written whole or not at all.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "rekur/tensor.hpp"

namespace rekur::io {

// Writes the pieces, one after the other, to a temporary file beside `path`, syncs it, renames it over `path` and syncs the
// directory. So `path` holds the old file or the new one at any moment, power cuts included, and never a piece. An existing file
// keeps its permissions; a new one gets 0666 less the umask. A symbolic link stays, and the file it points at is replaced. Throws
// IoError with the path and the system's reason; the temporary file is then gone.
void write_atomically(const std::string& path, std::span<const std::span<const std::byte>> pieces);
void write_atomically(const std::string& path, std::span<const std::byte> bytes);

}  // namespace rekur::io
