// What Windows has; test_atomic_file.cpp has what every system has.
#if defined(_WIN32)

#include "io/atomic_file.hpp"
#include "io/input_file.hpp"
#include "io/windows.hpp"

#include <doctest/doctest.h>

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

std::string read(const std::string& path) {
  const io::InputFile file(path);
  std::string text(static_cast<std::size_t>(file.size()), '\0');
  file.read(0, text.data(), text.size());
  return text;
}

// A file that nobody else may delete, as that of a writer that lives.
io::Handle open_alone(const std::string& path) {
  return io::Handle(::CreateFileW(io::whole_path("open", path).c_str(), GENERIC_READ, 0, nullptr, OPEN_EXISTING, 0, nullptr));
}

}  // namespace

TEST_CASE("atomic file: paths are UTF-8, and as long as they like") {
  const TemporaryDirectory directory;
  const std::string name = "\xd0\xbc\xd0\xbe\xd0\xb4\xd0\xb5\xd0\xbb\xd1\x8c \xf0\x9f\x8e\xb8.safetensors";
  const std::string path = directory.path().string() + "\\" + name;
  write_atomically(path, "x");
  CHECK(read(path) == "x");
  bool found = false;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory.path()))
    found |= entry.path().filename().u8string() == std::u8string(name.begin(), name.end());
  CHECK(found);
  std::string deep = directory.path().string();
  for (int i = 0; i < 6; ++i) {
    deep += "\\" + std::string(60, static_cast<char>('a' + i));
    REQUIRE(::CreateDirectoryW(io::whole_path("make", deep).c_str(), nullptr));
  }
  write_atomically(deep + "/model", "far down");
  CHECK(read(deep + "\\model") == "far down");
  ::DeleteFileW(io::whole_path("delete", deep + "\\model").c_str());
  for (int i = 0; i < 6; ++i, deep.resize(deep.find_last_of('\\'))) ::RemoveDirectoryW(io::whole_path("delete", deep).c_str());
}

TEST_CASE("atomic file: what killed writers left is removed by the next write of the same path, and nothing else") {
  const TemporaryDirectory directory;
  const std::string path = directory.file("model.st");
  const auto left = [&](const std::string& name) {
    tests::write_text(directory.file(name), "a piece");
    return directory.file(name);
  };
  const std::string killed = left(".model.st.rekur-0123456789abcdef.tmp"), other = left(".model.rekur-0123456789abcdef.tmp");
  const std::string longer = left(".model.st.rekur-0123456789abcdef0.tmp"), mine = left(".model.st.rekur-notes.tmp");
  const std::string alive = left(".model.st.rekur-00000000feedbeef.tmp");
  {
    const io::Handle writer = open_alone(alive);
    REQUIRE(writer.open());
    write_atomically(path, "x");
    CHECK(!fs::exists(killed));
    for (const std::string& stays : {other, longer, mine, alive}) CHECK(fs::exists(stays));
  }
  write_atomically(path, "y");
  CHECK(!fs::exists(alive));
  CHECK(read_text(path) == "y");
  CHECK(directory.entries() == 4);
}

TEST_CASE("atomic file: who reads a file keeps it while it is replaced") {
  const TemporaryDirectory directory;
  const std::string path = directory.file("model");
  write_atomically(path, "old");
  const io::InputFile reader(path);
  const std::string error = error_of([&] { write_atomically(path, "new!"); });
  std::string text(3, ' ');
  reader.read(0, text.data(), text.size());
  CHECK(text == "old");
  // Before Windows 10 1607, and under Wine, an open file stays where it is: then that is said, and nothing is left behind.
  if (error.empty()) {
    CHECK(read(path) == "new!");
  } else {
    CHECK(error == "cannot write '" + path + "': Permission denied");
    CHECK(read(path) == "old");
  }
  CHECK(directory.entries() == 1);
}

TEST_CASE("atomic file: what cannot be written is said with path and reason, before there is anything to write") {
  const TemporaryDirectory directory;
  const std::string missing = directory.file("missing/model"), file = directory.file("file"), fixed = directory.file("fixed");
  write_atomically(file, "x");
  write_atomically(fixed, "x");
  REQUIRE(::SetFileAttributesW(io::whole_path("set", fixed).c_str(), FILE_ATTRIBUTE_READONLY));
  struct Refused {
    std::string path, reason;
  };
  for (const Refused& refused :
       {Refused{missing, "No such file or directory"}, Refused{directory.path().string(), "Is a directory"},
        Refused{fixed, "Permission denied"}, Refused{"", "No such file or directory"}, Refused{"NUL", "not a regular file"},
        Refused{"\xff", "the path is not UTF-8"}}) {
    const std::string& path = refused.path;
    const std::string expected = "cannot write '" + path + "': " + refused.reason;
    CHECK(error_of([&] { io::check_writable(path); }) == expected);
    CHECK(error_of([&] { write_atomically(path, "y"); }) == expected);
  }
  CHECK_THROWS_AS(write_atomically(std::string("a\0b", 3), "x"), IoError);
  CHECK(error_of([&] { write_atomically(file + "/model", "x"); }) != "");
  io::check_writable(file);
  io::check_writable(directory.file("new"));
  CHECK(read_text(fixed) == "x");
  CHECK(read_text(file) == "x");
  ::SetFileAttributesW(io::whole_path("set", fixed).c_str(), FILE_ATTRIBUTE_NORMAL);
  CHECK(directory.entries() == 2);
}

#endif
