// What POSIX has; test_atomic_file.cpp has what every system has.
#if !defined(_WIN32)

#include "io/atomic_file.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <string>

#include "io_helpers.hpp"

using namespace rekur;
namespace fs = std::filesystem;
using tests::error_of;
using tests::read_text;
using tests::TemporaryDirectory;
using tests::write_atomically;

namespace {

unsigned mode_of(const std::string& path) {
  struct stat status {};
  REQUIRE(stat(path.c_str(), &status) == 0);
  return status.st_mode & 07777;
}

// Files of this process may not grow beyond `bytes` while it lives: what a full disk looks like.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &saved_);
    const rlimit limit{bytes, saved_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &saved_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit saved_{};
  void (*handler_)(int);
};

}  // namespace

TEST_CASE("atomic file: a new file takes the place of the old one, of which nobody sees a piece") {
  const TemporaryDirectory directory;
  const std::string path = directory.file("model");
  write_atomically(path, "first");
  struct stat before {
  }, after{};
  REQUIRE(stat(path.c_str(), &before) == 0);
  write_atomically(path, "second");
  REQUIRE(stat(path.c_str(), &after) == 0);
  CHECK(before.st_ino != after.st_ino);
}

TEST_CASE("atomic file: permissions follow the umask, then the file that is there") {
  const TemporaryDirectory directory;
  const std::string path = directory.file("model");
  const mode_t old = umask(027);
  write_atomically(path, "x");
  CHECK(mode_of(path) == 0640);
  REQUIRE(chmod(path.c_str(), 0604) == 0);
  write_atomically(path, "y");
  CHECK(mode_of(path) == 0604);
  umask(old);
  CHECK(read_text(path) == "y");
}

TEST_CASE("atomic file: a symbolic link stays and its target is written") {
  const TemporaryDirectory directory;
  fs::create_directory(directory.path() / "sub");
  const std::string target = directory.file("sub/target"), link = directory.file("link"), chain = directory.file("chain");
  fs::create_symlink("sub/target", link);
  fs::create_symlink(link, chain);
  write_atomically(chain, "through a link that points nowhere yet");
  CHECK(read_text(target) == "through a link that points nowhere yet");
  write_atomically(link, "again");
  CHECK(read_text(target) == "again");
  CHECK(fs::is_symlink(link));
  CHECK(fs::is_symlink(chain));
  CHECK(fs::is_regular_file(fs::symlink_status(target)));
  fs::create_symlink("loop", directory.path() / "loop");
  CHECK_THROWS_AS(write_atomically(directory.file("loop"), "x"), IoError);
}

TEST_CASE("atomic file: what killed writers left is removed by the next write of the same path, and nothing else") {
  const TemporaryDirectory directory;
  const std::string path = directory.file("model.st"), link = directory.file("link");
  const auto left = [&](const std::string& name) {
    tests::write_text(directory.file(name), "a piece");
    return directory.file(name);
  };
  const std::string killed = left(".model.st.rekur-0123456789abcdef.tmp"), other = left(".model.rekur-0123456789abcdef.tmp");
  const std::string longer = left(".model.st.rekur-0123456789abcdef0.tmp"), mine = left(".model.st.rekur-notes.tmp");
  const std::string alive = left(".model.st.rekur-00000000feedbeef.tmp");
  const int writer = open(alive.c_str(), O_WRONLY);  // another writer's, in the middle of its work
  REQUIRE(flock(writer, LOCK_EX) == 0);
  write_atomically(path, "x");
  CHECK(!fs::exists(killed));
  for (const std::string& stays : {other, longer, mine, alive}) CHECK(fs::exists(stays));
  close(writer);
  fs::create_symlink("model.st", link);
  write_atomically(link, "y");  // the same path, seen through a link
  CHECK(!fs::exists(alive));
  CHECK(read_text(path) == "y");
  CHECK(directory.entries() == 5);
}

TEST_CASE("atomic file: the longest name that a file system takes") {
  const TemporaryDirectory directory;
  std::string name(251, 'n');
  name += "\xe2\x82\xac";  // a character of three bytes
  for (const std::string& any : {name, std::string(199, 'n') + "\xe2\x82\xac" + ".st"}) {
    write_atomically(directory.file(any), "x");
    CHECK(read_text(directory.file(any)) == "x");
  }
  CHECK(directory.entries() == 2);
}

TEST_CASE("atomic file: check_writable says what a write would, before there is anything to write") {
  const TemporaryDirectory directory;
  const std::string pipe = directory.file("pipe"), file = directory.file("file");
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  fs::create_symlink("nowhere/model", directory.file("dangling"));
  write_atomically(file, "x");
  for (const std::string& path : {pipe, directory.path().string(), directory.file("missing/model"), file + "/model",
                                  directory.file("dangling"), std::string(), std::string("a\0b", 3)}) {
    const std::string error = error_of([&] { io::check_writable(path); });
    CHECK(error != "");
    CHECK(error == error_of([&] { write_atomically(path, "x"); }));
  }
  io::check_writable(file);
  io::check_writable(directory.file("new"));
  CHECK(directory.entries() == 3);
}

TEST_CASE("atomic file: when the disk is full the old file stays and no piece of the new one") {
  const TemporaryDirectory directory;
  const std::string path = directory.file("model");
  write_atomically(path, "old");
  std::string error;
  {
    const FileSizeLimit limit(1000);
    error = error_of([&] { write_atomically(path, std::string(5000, 'n')); });
  }
  CHECK(error == "cannot write '" + path + "': File too large");
  CHECK(read_text(path) == "old");
  CHECK(directory.entries() == 1);
}

TEST_CASE("atomic file: what cannot be written is said with path and reason") {
  const TemporaryDirectory directory;
  const std::string missing = directory.file("missing/model");
  CHECK_THROWS_AS(write_atomically(missing, "x"), IoError);
  CHECK(error_of([&] { write_atomically(missing, "x"); }) == "cannot write '" + missing + "': No such file or directory");
  CHECK(error_of([&] { write_atomically(directory.path().string(), "x"); }) ==
        "cannot write '" + directory.path().string() + "': Is a directory");
  try {
    write_atomically(missing, "x");
  } catch (const IoError& error) {
    CHECK(error.system_error() == ENOENT);
  }
  const std::string pipe = directory.file("pipe");
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(error_of([&] { write_atomically(pipe, "x"); }) == "cannot write '" + pipe + "': not a regular file");
  CHECK_THROWS_AS(write_atomically("", "x"), IoError);
  CHECK_THROWS_AS(write_atomically(std::string("a\0b", 3), "x"), IoError);
  const std::string file = directory.file("file");
  write_atomically(file, "x");
  CHECK(error_of([&] { write_atomically(file + "/model", "x"); }) == "cannot write '" + file + "/model': Not a directory");
  if (geteuid() != 0) {  // root may write anywhere
    REQUIRE(chmod(file.c_str(), 0444) == 0);
    CHECK(error_of([&] { write_atomically(file, "y"); }) == "cannot write '" + file + "': Permission denied");
    CHECK(read_text(file) == "x");
    fs::create_directory(directory.path() / "closed");
    REQUIRE(chmod(directory.file("closed").c_str(), 0555) == 0);
    CHECK_THROWS_AS(write_atomically(directory.file("closed/model"), "x"), IoError);
  }
}

#endif
