#include "io/atomic_file.hpp"
#include "io/text.hpp"

#include <fcntl.h>
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
  if (::access(file.c_str(), W_OK) != 0) throw_system_error("write", path);
  return status;
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
    if (::fsync(fd_.get()) != 0) throw_system_error("write", path_);
    if (::close(fd_.release()) != 0 && errno != EINTR) throw_system_error("write", path_);
    if (::rename(name_.c_str(), file.c_str()) != 0) throw_system_error("write", path_);
    name_.clear();
  }

 private:
  int create(const fs::path& file) {
    std::random_device random;
    for (int attempt = 0; attempt < 100; ++attempt) {
      char suffix[32];
      std::snprintf(suffix, sizeof suffix, ".rekur-%08x%08x.tmp", random(), random());
      name_ = file.parent_path() / suffix;
      const int fd = ::open(name_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (fd >= 0) return fd;
      if (errno != EEXIST && errno != EINTR) break;
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
  const fs::path parent = file.parent_path();
  const Descriptor directory(::open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.open() && ::fsync(directory.get()) != 0 && errno != EINVAL && errno != ENOTSUP) throw_system_error("sync", path);
}

}  // namespace

void write_atomically(const std::string& path, std::span<const std::span<const std::byte>> pieces) {
  if (path.find('\0') != path.npos) throw_io_error("cannot write '%': the path contains a null character", {path});
  const fs::path file = follow_links(path);
  const std::optional<struct stat> existing = existing_file(file, path);
  TemporaryFile temporary(file, path);
  if (existing) temporary.take_permissions(*existing);
  for (const auto piece : pieces) temporary.write(piece);
  temporary.commit(file);
  sync_directory(file, path);
}

void write_atomically(const std::string& path, std::span<const std::byte> bytes) { write_atomically(path, std::span(&bytes, 1)); }

}  // namespace rekur::io
