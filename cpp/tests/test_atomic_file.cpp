// What holds on every system; what does not: test_atomic_file_posix.cpp, test_atomic_file_windows.cpp.
#include "io/atomic_file.hpp"
#include "io/input_file.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <filesystem>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "io_helpers.hpp"

using namespace rekur;
namespace fs = std::filesystem;
using tests::error_of;
using tests::read_text;
using tests::TemporaryDirectory;
using tests::write_atomically;

TEST_CASE("atomic file: writes, replaces and leaves nothing else behind") {
  const TemporaryDirectory directory;
  const std::string path = directory.file("model");
  write_atomically(path, "first");
  CHECK(read_text(path) == "first");
  write_atomically(path, "second");
  CHECK(read_text(path) == "second");
  write_atomically(path, "");
  CHECK(read_text(path).empty());
  const std::string pieces[] = {"a", "", std::string(3 << 20, 'b'), "c"};
  std::vector<std::span<const std::byte>> spans;
  for (const std::string& piece : pieces) spans.push_back(std::as_bytes(std::span(piece)));
  io::write_atomically(path, spans);
  CHECK(read_text(path) == "a" + pieces[2] + "c");
  const io::InputFile file(path);
  std::string read(static_cast<std::size_t>(file.size()), '\0');
  file.read(0, read.data(), read.size());
  CHECK(read == "a" + pieces[2] + "c");
  CHECK(directory.entries() == 1);
}

TEST_CASE("atomic file: a relative path without a directory") {
  const TemporaryDirectory directory;
  const fs::path here = fs::current_path();
  fs::current_path(directory.path());
  const std::string error = error_of([] { write_atomically("model", "x"); });
  fs::current_path(here);
  CHECK(error == "");
  CHECK(read_text(directory.file("model")) == "x");
}

TEST_CASE("atomic file: writers of one path do not disturb each other") {
  const TemporaryDirectory directory;
  const std::string path = directory.file("model");
  std::vector<std::thread> threads;
  std::atomic<int> failures = 0;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int k = 0; k < 25; ++k)
        failures += error_of([&] { write_atomically(path, std::string(100, static_cast<char>('a' + i))); }) != "";
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(failures == 0);
  const std::string text = read_text(path);
  CHECK(text.size() == 100);
  CHECK(text == std::string(100, text[0]));
  CHECK(directory.entries() == 1);
}
