// An open POSIX file descriptor that closes itself, and the error of a system call that failed.
#pragma once

#include <unistd.h>

#include <cerrno>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "io/text.hpp"
#include "rekur/tensor.hpp"

namespace rekur::io {

class Descriptor {
 public:
  explicit Descriptor(int fd) noexcept : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int get() const noexcept { return fd_; }
  bool open() const noexcept { return fd_ >= 0; }
  int release() noexcept { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

// "cannot write 'model.safetensors': No space left on device"
[[noreturn]] inline void throw_system_error(std::string_view verb, const std::string& path, int error = errno) {
  throw IoError(compose("cannot % '%': %", {verb, path, std::generic_category().message(error)}), error);
}

}  // namespace rekur::io
