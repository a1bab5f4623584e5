// The promises of atomic_file.hpp by means of Windows. A writer has its temporary file for itself (no share mode), which ends with
// its process, where POSIX has a lock; the file is renamed by its handle, so that it never stands there without its writer.
#if defined(_WIN32)

#include "io/atomic_file.hpp"
#include "io/text.hpp"
#include "io/windows.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <random>
#include <vector>

namespace rekur::io {
namespace {

constexpr std::size_t kDigits = 16;
constexpr std::wstring_view kEnd = L".tmp";

// Where the file is to stand, after a look at what is there.
struct Target {
  std::wstring file;
  bool exists = false;

  std::size_t name() const { return file.find_last_of(L'\\') + 1; }
  std::wstring directory() const { return file.substr(0, name()); }
};

// The file that symbolic links end at, of which there must be one: a link that points nowhere is replaced by the file.
Target find_target(const std::string& path) {
  Target target{whole_path("write", path)};
  if (is_directory(target.file)) throw_system_error("write", path, EISDIR);
  if (target.name() == target.file.size()) throw_system_error("write", path, ENOENT);
  const Handle there(::CreateFileW(target.file.c_str(), FILE_READ_ATTRIBUTES,
                                   FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, nullptr, OPEN_EXISTING,
                                   FILE_ATTRIBUTE_NORMAL, nullptr));
  if (!there.open()) {
    const DWORD error = ::GetLastError();
    if (error == ERROR_FILE_NOT_FOUND) return target;
    throw_windows_error("write", path, error);
  }
  if (::GetFileType(there.get()) != FILE_TYPE_DISK) throw_io_error("cannot write '%': not a regular file", {path});
  BY_HANDLE_FILE_INFORMATION status;
  if (!::GetFileInformationByHandle(there.get(), &status)) throw_windows_error("write", path);
  if ((status.dwFileAttributes & FILE_ATTRIBUTE_READONLY) != 0) throw_system_error("write", path, EACCES);
  const DWORD room = ::GetFinalPathNameByHandleW(there.get(), nullptr, 0, FILE_NAME_NORMALIZED | VOLUME_NAME_DOS);
  if (room > 0) {  // a file system without such names has no links, either
    std::wstring last(room, L'\0');
    last.resize(::GetFinalPathNameByHandleW(there.get(), last.data(), room, FILE_NAME_NORMALIZED | VOLUME_NAME_DOS));
    if (!last.empty()) target.file = last;
  }
  target.exists = true;
  return target;
}

std::wstring temporary_prefix(const Target& target) {
  constexpr std::size_t kMost = 200;  // of a name's 255 characters
  std::wstring name = target.file.substr(target.name(), kMost);
  if (!name.empty() && (name.back() & 0xFC00) == 0xD800) name.pop_back();  // no half of a character
  return L"." + name + L".rekur-";
}

// Removes the temporary files of writers that were killed. Of one that lives nobody can.
void remove_left_behind(const Target& target) {
  const std::wstring prefix = temporary_prefix(target), directory = target.directory();
  WIN32_FIND_DATAW found;
  const HANDLE search = ::FindFirstFileW((directory + prefix + L"*").c_str(), &found);
  if (search == INVALID_HANDLE_VALUE) return;
  do {
    const std::wstring_view name = found.cFileName;
    if (name.size() != prefix.size() + kDigits + kEnd.size() || !name.starts_with(prefix) || !name.ends_with(kEnd)) continue;
    if ((found.dwFileAttributes & (FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_REPARSE_POINT)) != 0) continue;
    ::DeleteFileW((directory + found.cFileName).c_str());
  } while (::FindNextFileW(search, &found));
  ::FindClose(search);
}

// A new file in the directory of `target`. Removed on destruction unless it took its place by commit().
class TemporaryFile {
 public:
  TemporaryFile(const Target& target, const std::string& path) : path_(path), file_(create(target)) {}
  ~TemporaryFile() {
    if (name_.empty()) return;
    ::CloseHandle(file_.release());
    ::DeleteFileW(name_.c_str());
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  // Who may do what with the file, as far as it may be read and given on.
  void take_permissions(const Target& target) {
    DWORD size = 0;
    ::GetFileSecurityW(target.file.c_str(), DACL_SECURITY_INFORMATION, nullptr, 0, &size);
    std::vector<std::byte> rights(size);
    if (size > 0 && ::GetFileSecurityW(target.file.c_str(), DACL_SECURITY_INFORMATION, rights.data(), size, &size))
      ::SetKernelObjectSecurity(file_.get(), DACL_SECURITY_INFORMATION, rights.data());
  }

  void write(std::span<const std::byte> bytes) {
    constexpr std::size_t kMost = std::size_t{1} << 30;
    while (!bytes.empty()) {
      DWORD written = 0;
      if (!::WriteFile(file_.get(), bytes.data(), static_cast<DWORD>(std::min(bytes.size(), kMost)), &written, nullptr))
        throw_windows_error("write", path_);
      bytes = bytes.subspan(written);
    }
  }

  void commit(const Target& target) {
    if (!::FlushFileBuffers(file_.get())) throw_windows_error("write", path_);
    // Another program, such as one that looks for viruses, may have the old file open for a moment.
    constexpr int kAttempts = 50;
    constexpr DWORD kPause = 20;
    for (int attempt = 1; !rename(target.file); ++attempt) {
      const DWORD error = ::GetLastError();
      if (attempt == kAttempts || (error != ERROR_ACCESS_DENIED && error != ERROR_SHARING_VIOLATION))
        throw_windows_error("write", path_, error);
      ::Sleep(kPause);
    }
    name_.clear();
  }

 private:
  // What FILE_RENAME_INFO is since Windows 10 1607, which not every header has: flags where there was a truth value.
  struct Rename {
    DWORD flags;
    HANDLE root;
    DWORD bytes;
    WCHAR name[1];
  };

  bool rename(const std::wstring& to) {
    std::vector<std::byte> memory(sizeof(Rename) + to.size() * sizeof(WCHAR));
    Rename rename{0, nullptr, static_cast<DWORD>(to.size() * sizeof(WCHAR)), {}};
    constexpr DWORD kReplace = 1, kPosix = 2;  // the latter: whoever has the old file open keeps it
    for (const auto& [kind, flags] :
         {std::pair{22, kReplace | kPosix}, std::pair{3, kReplace}}) {  // FileRenameInfoEx, FileRenameInfo
      rename.flags = flags;
      std::memcpy(memory.data(), &rename, sizeof rename);
      std::memcpy(memory.data() + offsetof(Rename, name), to.data(), to.size() * sizeof(WCHAR));
      if (::SetFileInformationByHandle(file_.get(), static_cast<FILE_INFO_BY_HANDLE_CLASS>(kind), memory.data(),
                                       static_cast<DWORD>(memory.size())))
        return true;
    }
    return false;
  }

  HANDLE create(const Target& target) {
    const std::wstring prefix = target.directory() + temporary_prefix(target);
    std::random_device random;
    DWORD error = ERROR_FILE_EXISTS;
    for (int attempt = 0; attempt < 100 && error == ERROR_FILE_EXISTS; ++attempt) {
      name_ = prefix;
      for (std::size_t i = 0; i < kDigits; ++i) name_ += L"0123456789abcdef"[random() % 16];
      name_ += kEnd;
      const HANDLE file =
          ::CreateFileW(name_.c_str(), GENERIC_WRITE | DELETE | WRITE_DAC, 0, nullptr, CREATE_NEW, FILE_ATTRIBUTE_NORMAL, nullptr);
      if (file != INVALID_HANDLE_VALUE) return file;
      error = ::GetLastError();
    }
    name_.clear();  // whatever has this name is not ours to remove
    throw_windows_error("write", path_, error);
  }

  const std::string& path_;  // as errors name it
  std::wstring name_;
  Handle file_;
};

}  // namespace

void write_atomically(const std::string& path, std::span<const std::span<const std::byte>> pieces) {
  const Target target = find_target(path);
  remove_left_behind(target);
  TemporaryFile temporary(target, path);
  for (const auto piece : pieces) temporary.write(piece);
  if (target.exists) temporary.take_permissions(target);
  temporary.commit(target);
}

void write_atomically(const std::string& path, std::span<const std::byte> bytes) { write_atomically(path, std::span(&bytes, 1)); }

// Whether a directory may be written to, only trying tells.
void check_writable(const std::string& path) { const TemporaryFile temporary(find_target(path), path); }

}  // namespace rekur::io

#endif
