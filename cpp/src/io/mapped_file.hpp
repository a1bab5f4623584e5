// A file as memory: its pages are read when they are first looked at, and may be given up again. mapped_file_posix.cpp,
// mapped_file_windows.cpp.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace rekur::io {

// Whether this system has that. Where it has not, map_file throws IoError.
bool can_map_files() noexcept;

// The whole of a regular file, not to be written, as long as somebody has a share in it. Throws IoError naming the file and the
// fault; what becomes of the memory when somebody else makes the file shorter is the system's affair (POSIX: SIGBUS).
std::shared_ptr<const std::span<const std::byte>> map_file(const std::string& path);

}  // namespace rekur::io
