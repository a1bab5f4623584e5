// Files mapped into memory, on every system that has such a thing; models on them: test_mapped.cpp.
#include "io/mapped_file.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <span>
#include <string>

#include "io_helpers.hpp"

using namespace rekur;
using tests::error_of;
using tests::TemporaryDirectory;
using tests::write_atomically;

namespace {

std::string text_of(std::span<const std::byte> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

}  // namespace

TEST_CASE("mapped file: its bytes, and an empty file has none") {
  if (!io::can_map_files()) return;
  const TemporaryDirectory directory;
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{4096}, std::size_t{100001}}) {
    std::string text(size, ' ');
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 7);
    write_atomically(directory.file("model"), text);
    CHECK(text_of(*io::map_file(directory.file("model"))) == text);
  }
}

TEST_CASE("mapped file: as it was, while another takes its place") {
  if (!io::can_map_files()) return;
  const TemporaryDirectory directory;
  const std::string path = directory.file("model"), before(70000, 'a'), after(50000, 'b');
  write_atomically(path, before);
  std::shared_ptr<const std::span<const std::byte>> mapped = io::map_file(path);
  const std::string error = error_of([&] { write_atomically(path, after); });
  CHECK(text_of(*mapped) == before);
  // Some Windows lets nobody replace a file that is open; then that is said, and the old one is there.
#if defined(_WIN32)
  CHECK((error.empty() || error == "cannot write '" + path + "': Permission denied"));
#else
  CHECK(error == "");
#endif
  CHECK(tests::read_text(path) == (error.empty() ? after : before));
  mapped.reset();
  write_atomically(path, after);
  CHECK(text_of(*io::map_file(path)) == after);
  CHECK(directory.entries() == 1);
}

TEST_CASE("mapped file: what cannot be mapped is said with path and reason") {
  if (!io::can_map_files()) return;
  const TemporaryDirectory directory;
  const std::string missing = directory.file("missing"), folder = directory.path().string();
  CHECK(error_of([&] { io::map_file(missing); }) == "cannot read '" + missing + "': No such file or directory");
  CHECK(error_of([&] { io::map_file(folder); }) == "cannot read '" + folder + "': Is a directory");
  CHECK_THROWS_AS(io::map_file(""), IoError);
  CHECK_THROWS_AS(io::map_file(std::string("a\0b", 3)), IoError);
}
