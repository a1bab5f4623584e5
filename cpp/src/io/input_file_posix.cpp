#if !defined(_WIN32)

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "io/descriptor.hpp"
#include "io/input_file.hpp"

namespace rekur::io {

InputFile::InputFile(const std::string& path) : path_(path) {
  if (path.find('\0') != path.npos) throw_io_error("cannot read '%': the path contains a null character", {path});
  // O_NONBLOCK: opening a pipe by mistake must not wait for its other end.
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status {};
  if (!fd.open() || ::fstat(fd.get(), &status) != 0) throw_system_error("read", path);
  if (S_ISDIR(status.st_mode)) throw_system_error("read", path, EISDIR);
  if (!S_ISREG(status.st_mode)) throw_io_error("cannot read '%': not a regular file", {path});
  size_ = static_cast<std::uint64_t>(status.st_size);
  handle_ = fd.release();
}

InputFile::~InputFile() { ::close(static_cast<int>(handle_)); }

void InputFile::read(std::uint64_t offset, void* out, std::size_t size) const {
  constexpr std::size_t kMost = std::size_t{1} << 30;
  for (std::size_t done = 0; done < size;) {
    const ssize_t got = ::pread(static_cast<int>(handle_), static_cast<char*>(out) + done, std::min(size - done, kMost),
                                static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw_system_error("read", path_);
    if (got == 0) throw_io_error("cannot read '%': it became shorter meanwhile", {path_});
    done += static_cast<std::size_t>(got);
  }
}

}  // namespace rekur::io

#endif
