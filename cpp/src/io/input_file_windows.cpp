#if defined(_WIN32)

#include "io/input_file.hpp"
#include "io/windows.hpp"

#include <algorithm>

namespace rekur::io {

int posix_error(DWORD error) noexcept {
  switch (error) {
    case ERROR_FILE_NOT_FOUND:
    case ERROR_PATH_NOT_FOUND:
    case ERROR_INVALID_DRIVE:
    case ERROR_INVALID_NAME:
    case ERROR_BAD_PATHNAME:
    case ERROR_BAD_NETPATH:
    case ERROR_BAD_NET_NAME:
      return ENOENT;
    case ERROR_ACCESS_DENIED:
    case ERROR_SHARING_VIOLATION:
    case ERROR_LOCK_VIOLATION:
    case ERROR_CANNOT_MAKE:
      return EACCES;
    case ERROR_FILE_EXISTS:
    case ERROR_ALREADY_EXISTS:
      return EEXIST;
    case ERROR_DISK_FULL:
    case ERROR_HANDLE_DISK_FULL:
      return ENOSPC;
    case ERROR_WRITE_PROTECT:
      return EROFS;
    case ERROR_DIRECTORY:
      return ENOTDIR;
    case ERROR_FILENAME_EXCED_RANGE:
    case ERROR_BUFFER_OVERFLOW:
      return ENAMETOOLONG;
    case ERROR_NOT_ENOUGH_MEMORY:
    case ERROR_OUTOFMEMORY:
      return ENOMEM;
    case ERROR_TOO_MANY_OPEN_FILES:
      return EMFILE;
    default:
      return EIO;
  }
}

void throw_windows_error(std::string_view verb, const std::string& path, DWORD error) {
  throw_system_error(verb, path, posix_error(error));
}

std::wstring whole_path(std::string_view verb, const std::string& path) {
  if (path.find('\0') != path.npos) throw_io_error("cannot % '%': the path contains a null character", {verb, path});
  if (path.empty()) throw_system_error(verb, path, ENOENT);
  if (path.size() > 3 * std::size_t{32767}) throw_system_error(verb, path, ENAMETOOLONG);  // what Windows can name, in UTF-8
  const int size = static_cast<int>(path.size());
  const int wide = ::MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path.data(), size, nullptr, 0);
  if (wide <= 0) throw_io_error("cannot % '%': the path is not UTF-8", {verb, path});
  std::wstring given(static_cast<std::size_t>(wide), L'\0');
  ::MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path.data(), size, given.data(), wide);
  const DWORD room = ::GetFullPathNameW(given.c_str(), 0, nullptr, nullptr);
  if (room == 0) throw_windows_error(verb, path);
  std::wstring whole(room, L'\0');
  whole.resize(::GetFullPathNameW(given.c_str(), room, whole.data(), nullptr));
  if (whole.starts_with(L"\\\\?\\") || whole.starts_with(L"\\\\.\\")) return whole;
  return whole.starts_with(L"\\\\") ? L"\\\\?\\UNC" + whole.substr(1) : L"\\\\?\\" + whole;
}

bool is_directory(const std::wstring& path) noexcept {
  const DWORD attributes = ::GetFileAttributesW(path.c_str());
  return attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_DIRECTORY) != 0;
}

// Whoever replaces or deletes the file meanwhile may: it is read as it was when it was opened.
InputFile::InputFile(const std::string& path) : path_(path) {
  const std::wstring whole = whole_path("read", path);
  Handle file(::CreateFileW(whole.c_str(), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, nullptr,
                            OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, nullptr));
  if (!file.open()) {
    const DWORD error = ::GetLastError();
    if (is_directory(whole)) throw_system_error("read", path, EISDIR);
    throw_windows_error("read", path, error);
  }
  if (::GetFileType(file.get()) != FILE_TYPE_DISK) throw_io_error("cannot read '%': not a regular file", {path});
  LARGE_INTEGER size;
  if (!::GetFileSizeEx(file.get(), &size)) throw_windows_error("read", path);
  size_ = static_cast<std::uint64_t>(size.QuadPart);
  handle_ = reinterpret_cast<std::intptr_t>(file.release());
}

InputFile::~InputFile() { ::CloseHandle(reinterpret_cast<HANDLE>(handle_)); }

void InputFile::read(std::uint64_t offset, void* out, std::size_t size) const {
  constexpr std::size_t kMost = std::size_t{1} << 30;
  for (std::size_t done = 0; done < size;) {
    OVERLAPPED place{};
    place.Offset = static_cast<DWORD>(offset + done);
    place.OffsetHigh = static_cast<DWORD>((offset + done) >> 32);
    DWORD got = 0;
    if (!::ReadFile(reinterpret_cast<HANDLE>(handle_), static_cast<char*>(out) + done,
                    static_cast<DWORD>(std::min(size - done, kMost)), &got, &place) &&
        ::GetLastError() != ERROR_HANDLE_EOF)
      throw_windows_error("read", path_);
    if (got == 0) throw_io_error("cannot read '%': it became shorter meanwhile", {path_});
    done += got;
  }
}

}  // namespace rekur::io

#endif
