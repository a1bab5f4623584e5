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
//
// A process that is killed meanwhile leaves the temporary file, `.NAME.rekur-<16 hexadecimal digits>.tmp` for a file NAME. The next
// write of the same path removes it. A writer holds a lock on its temporary file (flock), which ends with the process: so a file
// that another writer is about to rename stays. Where the file system has no such locks, nothing is removed.
void write_atomically(const std::string& path, std::span<const std::span<const std::byte>> pieces);
void write_atomically(const std::string& path, std::span<const std::byte> bytes);

// Throws what write_atomically would throw at once: there is no such directory, or a directory, a device, a pipe or a file
// protected from writing stands there. For callers that have work to do before they write.
void check_writable(const std::string& path);

}  // namespace rekur::io
