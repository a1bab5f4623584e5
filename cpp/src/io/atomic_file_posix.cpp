#if !defined(_WIN32)

#include "io/atomic_file.hpp"
#include "io/text.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <random>

#include "io/descriptor.hpp"

namespace rekur::io {
namespace {

namespace fs = std::filesystem;

// The file that a chain of symbolic links ends at, which need not exist. Links among its directories are the kernel's business.
fs::path follow_links(const std::string& path) {
  constexpr int kMaxLinks = 40;
  fs::path file = path;
  for (int i = 0; i < kMaxLinks; ++i) {
    std::error_code error;
    if (!fs::is_symlink(fs::symlink_status(file, error))) return file;
    const fs::path target = fs::read_symlink(file, error);
    if (error) throw_system_error("write", path, error.value());
    file = file.parent_path() / target;  // an absolute target replaces the left side
  }
  throw_system_error("write", path, ELOOP);
}

// As who the process acts, which `access` does not ask.
bool may(const fs::path& file, int how) { return ::faccessat(AT_FDCWD, file.c_str(), how, AT_EACCESS) == 0; }

// What stands at the place to write to. Refuses what a rename must not replace: a directory, a device, a file protected from
// writing.
std::optional<struct stat> existing_file(const fs::path& file, const std::string& path) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) {
    if (errno == ENOENT) return std::nullopt;
    throw_system_error("write", path);
  }
  if (S_ISDIR(status.st_mode)) throw_system_error("write", path, EISDIR);
  if (!S_ISREG(status.st_mode)) throw_io_error("cannot write '%': not a regular file", {path});
  if (!may(file, W_OK)) throw_system_error("write", path);
  return status;
}

// Where the file is to stand, after a look at what is there.
struct Target {
  fs::path file;
  std::optional<struct stat> existing;
};

Target find_target(const std::string& path) {
  if (path.find('\0') != path.npos) throw_io_error("cannot write '%': the path contains a null character", {path});
  Target target{follow_links(path), {}};
  target.existing = existing_file(target.file, path);
  return target;
}

fs::path directory_of(const fs::path& file) { return file.has_parent_path() ? file.parent_path() : fs::path("."); }

// Names of temporary files: of which file, and by which writer.
constexpr std::size_t kDigits = 16;
constexpr std::string_view kEnd = ".tmp";

std::string temporary_prefix(const fs::path& file) {
  constexpr std::size_t kMost = 200;  // bytes of the name: with what is added it stays below the 255 of common file systems
  std::string name = file.filename().string();
  std::size_t size = std::min(name.size(), kMost);
  while (size < name.size() && size > 0 && (static_cast<unsigned char>(name[size]) & 0xC0) == 0x80)
    --size;  // no piece of a character
  name.resize(size);
  return "." + name + ".rekur-";
}

// Removes the temporary files of writers of `file` that were killed. It is a courtesy: what cannot be done is left.
void remove_left_behind(const fs::path& file) {
  const std::string prefix = temporary_prefix(file);
  DIR* const directory = ::opendir(directory_of(file).c_str());
  if (!directory) return;
  while (const dirent* const entry = ::readdir(directory)) {
    const std::string_view name = entry->d_name;
    if (name.size() != prefix.size() + kDigits + kEnd.size() || !name.starts_with(prefix) || !name.ends_with(kEnd)) continue;
    const Descriptor left(::openat(::dirfd(directory), entry->d_name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    struct stat status {};
    if (!left.open() || ::fstat(left.get(), &status) != 0 || !S_ISREG(status.st_mode)) continue;
    // Whoever writes it holds the lock until the file has its own name: the lock is free only when its writer is no more.
    if (::flock(left.get(), LOCK_EX | LOCK_NB) == 0) ::unlinkat(::dirfd(directory), entry->d_name, 0);
  }
  ::closedir(directory);
}

// A new file in the directory of `file`. Removed on destruction unless it took its place by commit().
class TemporaryFile {
 public:
  TemporaryFile(const fs::path& file, const std::string& path) : path_(path), fd_(create(file)) {}
  ~TemporaryFile() {
    if (!name_.empty()) ::unlink(name_.c_str());
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  void take_permissions(const struct stat& status) {
    // Only a privileged process can keep another user's ownership: the best that can be done, so no error when it fails.
    if (::fchown(fd_.get(), status.st_uid, status.st_gid) != 0) errno = 0;
    if (::fchmod(fd_.get(), status.st_mode & 0777) != 0) throw_system_error("write", path_);
  }

  void write(std::span<const std::byte> bytes) {
    constexpr std::size_t kMost = std::size_t{1} << 30;  // one call writes no more than 2 GiB on Linux, fails beyond on others
    while (!bytes.empty()) {
      const ssize_t written = ::write(fd_.get(), bytes.data(), std::min(bytes.size(), kMost));
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) throw_system_error("write", path_);
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
  }

  void commit(const fs::path& file) {
    // Closed by the destructor, behind the rename: until then its lock says that it has a writer. What a close could still find
    // wrong, fsync has found.
    if (::fsync(fd_.get()) != 0) throw_system_error("write", path_);
    if (::rename(name_.c_str(), file.c_str()) != 0) throw_system_error("write", path_);
    name_.clear();
  }

 private:
  int create(const fs::path& file) {
    const fs::path prefix = file.parent_path() / temporary_prefix(file);
    std::random_device random;
    for (int attempt = 0; attempt < 100; ++attempt) {
      char digits[kDigits + 1];
      std::snprintf(digits, sizeof digits, "%08x%08x", random(), random());
      name_ = prefix;
      name_ += digits;
      name_ += kEnd;
      Descriptor fd(::open(name_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
      if (!fd.open()) {
        if (errno == EEXIST || errno == EINTR) continue;
        break;
      }
      // Between its creation and this lock another writer may have taken it for left behind: then once more.
      while (::flock(fd.get(), LOCK_EX) != 0 && errno == EINTR) {
      }
      struct stat status {};
      if (::fstat(fd.get(), &status) == 0 && status.st_nlink > 0) return fd.release();
    }
    name_.clear();  // whatever has this name is not ours to remove
    throw_system_error("write", path_);
  }

  const std::string& path_;  // as errors name it
  fs::path name_;
  Descriptor fd_;
};

// Makes the rename itself durable. File systems that cannot sync a directory say EINVAL or ENOTSUP, and a directory without
// read permission cannot be opened: neither takes anything from the file.
void sync_directory(const fs::path& file, const std::string& path) {
  const Descriptor directory(::open(directory_of(file).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.open() && ::fsync(directory.get()) != 0 && errno != EINVAL && errno != ENOTSUP) throw_system_error("sync", path);
}

}  // namespace

void write_atomically(const std::string& path, std::span<const std::span<const std::byte>> pieces) {
  const Target target = find_target(path);
  remove_left_behind(target.file);
  TemporaryFile temporary(target.file, path);
  if (target.existing) temporary.take_permissions(*target.existing);
  for (const auto piece : pieces) temporary.write(piece);
  temporary.commit(target.file);
  sync_directory(target.file, path);
}

void write_atomically(const std::string& path, std::span<const std::byte> bytes) { write_atomically(path, std::span(&bytes, 1)); }

void check_writable(const std::string& path) {
  const Target target = find_target(path);
  struct stat status {};
  if (::stat(directory_of(target.file).c_str(), &status) != 0) throw_system_error("write", path);
  if (!S_ISDIR(status.st_mode)) throw_system_error("write", path, ENOTDIR);
  if (!may(directory_of(target.file), W_OK | X_OK)) throw_system_error("write", path);
  if (path.empty() || !target.file.has_filename()) throw_system_error("write", path, ENOENT);
}

}  // namespace rekur::io

#endif
