// What files on Windows have in common: paths of UTF-8, handles, errors as <cerrno> has them.
#pragma once

#if defined(_WIN32)

#if !defined(WIN32_LEAN_AND_MEAN)
#define WIN32_LEAN_AND_MEAN
#endif
#if !defined(NOMINMAX)
#define NOMINMAX
#endif
#include <windows.h>

#include <string>
#include <string_view>
#include <utility>

#include "io/system_error.hpp"

namespace rekur::io {

class Handle {
 public:
  explicit Handle(HANDLE handle) noexcept : handle_(handle) {}
  ~Handle() {
    if (open()) ::CloseHandle(handle_);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  HANDLE get() const noexcept { return handle_; }
  bool open() const noexcept { return handle_ != INVALID_HANDLE_VALUE; }
  HANDLE release() noexcept { return std::exchange(handle_, INVALID_HANDLE_VALUE); }

 private:
  HANDLE handle_;
};

// The number of <cerrno> that says what GetLastError says.
int posix_error(DWORD error) noexcept;

[[noreturn]] void throw_windows_error(std::string_view verb, const std::string& path, DWORD error = ::GetLastError());

// The whole path, from the drive on, in the form that knows no limit of 260 characters. Throws IoError for what is no UTF-8, for ""
// and for a null character in it.
std::wstring whole_path(std::string_view verb, const std::string& path);

// Whether a handle or, where a file cannot be opened, its path is that of a directory.
bool is_directory(const std::wstring& path) noexcept;

}  // namespace rekur::io

#endif
