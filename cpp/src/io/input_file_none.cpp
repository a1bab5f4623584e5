// Where there are no files (REKUR_FILES=OFF).
#include "io/input_file.hpp"
#include "io/text.hpp"

namespace rekur::io {

InputFile::InputFile(const std::string& path) : path_(path), handle_(0) {
  throw_io_error("cannot read '%': this rekur was built without files (REKUR_FILES=OFF); load models from memory", {path});
}

InputFile::~InputFile() = default;

// There is none to read.
void InputFile::read(std::uint64_t, void*, std::size_t) const { static_cast<void>(path_), static_cast<void>(handle_); }

}  // namespace rekur::io
