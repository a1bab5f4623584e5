// The error of a system call that failed, as a message.
#pragma once

#include <cerrno>
#include <string>
#include <string_view>
#include <system_error>

#include "io/text.hpp"
#include "rekur/tensor.hpp"

namespace rekur::io {

// "cannot write 'model.safetensors': No space left on device". `error` is a number of <cerrno>.
[[noreturn]] inline void throw_system_error(std::string_view verb, const std::string& path, int error = errno) {
  throw IoError(compose("cannot % '%': %", {verb, path, std::generic_category().message(error)}), error);
}

}  // namespace rekur::io
