// Weights in the order in which a stream's kernels read them, as a file keeps them (graph/packed_file.hpp). While a program is made
// within a PanelScope, its layers ask for them one after the other, always in the same order: what the file has is used where it
// lies, what it has not, or of another layout, is packed as ever.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>
#include <vector>

#include "rekur/tensor.hpp"
#include "runtime/lines.hpp"

namespace rekur::runtime {

struct Panel {
  std::uint64_t layout;
  Index size;  // floats
  const float* data;
};

// How numbers stand in a panel: what packs them, and all that their places depend on. Panels of the same layout and size may stand
// for one another.
inline std::uint64_t layout_of(std::string_view what, std::initializer_list<Index> sizes) {
  constexpr std::uint64_t kVersion = 2;  // another one when anything that packs changes its order
  std::uint64_t hash = 14695981039346656037u;
  const auto add = [&hash](std::uint64_t n) {
    for (int byte = 0; byte < 8; ++byte, n >>= 8) hash = (hash ^ (n & 255)) * 1099511628211u;
  };
  add(kVersion);
  for (const char c : what) add(static_cast<unsigned char>(c));
  for (const Index size : sizes) add(static_cast<std::uint64_t>(size));
  return hash;
}

class Panels {
 public:
  // of_file: they stand in a file, or will.
  explicit Panels(std::span<const Panel> stored, bool of_file) : stored_(stored), of_file_(of_file) {}

  bool of_file() const { return of_file_; }

  // The next one, where it is stored; null: it has to be packed, and `made` is told where that is.
  const float* next(Index size, std::uint64_t layout) {
    const std::size_t i = next_++;
    if (i >= stored_.size() || stored_[i].size != aligned(size) || stored_[i].layout != layout) return nullptr;
    used_ += size;
    return stored_[i].data;
  }
  void made(const Panel& panel) { made_.push_back(panel); }

  Index used() const { return used_; }  // floats that were stored
  const std::vector<Panel>& made() const { return made_; }

 private:
  std::span<const Panel> stored_;
  std::size_t next_ = 0;
  Index used_ = 0;
  std::vector<Panel> made_;
  bool of_file_;
};

class PanelScope {
 public:
  explicit PanelScope(Panels* panels) noexcept : before_(now()) { now() = panels; }
  ~PanelScope() { now() = before_; }
  PanelScope(const PanelScope&) = delete;
  PanelScope& operator=(const PanelScope&) = delete;

  // Null: nobody asks for panels.
  static Panels*& now() noexcept;

 private:
  Panels* const before_;
};

}  // namespace rekur::runtime
