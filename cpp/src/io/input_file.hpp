// A file that is read at any place, whatever the system: input_file_posix.cpp, input_file_windows.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace rekur::io {

class InputFile {
 public:
  // A regular file; the path is UTF-8 on Windows, and bytes elsewhere. Throws IoError with the path and the system's reason; a pipe
  // is not waited for. `path` must outlive this.
  explicit InputFile(const std::string& path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  std::uint64_t size() const noexcept { return size_; }

  // `size` bytes at `offset` to `out`; both lie within the file. Throws IoError.
  void read(std::uint64_t offset, void* out, std::size_t size) const;

 private:
  const std::string& path_;
  std::intptr_t handle_;  // a descriptor, a HANDLE
  std::uint64_t size_ = 0;
};

}  // namespace rekur::io
