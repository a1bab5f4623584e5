// Equations that are compiled: compiled into this library (isa/compiled_cells.hpp), or where it runs and loaded.
//
// Equations are known by their signature (equations/listing.hpp), so whoever made them, the same ones share a function. A code
// looks its own up once; functions that are loaded later are found by the codes that there are.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "equations/listing.hpp"
#include "runtime/locks.hpp"

namespace rekur::equations {

inline constexpr int kInstructionSets = 5;  // by simd::Kernels::number

struct Compiled {
  Listing listing;
  std::string signature;
  runtime::Atomic<simd::CompiledCode> function[kInstructionSets] = {};
};

// The entry of these equations, the same for all that have them.
std::shared_ptr<const Compiled> compiled(Listing listing);

// Throws Error where it was made for another version. The functions stay in use until the program ends.
void add_compiled(const simd::CompiledTable& table);

// Equations that codes have: all there are, or those made on this thread while a Listener listened.
std::vector<std::shared_ptr<const Compiled>> all_equations();
class Listener {
 public:
  Listener();
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  const std::vector<std::shared_ptr<const Compiled>>& heard() const { return heard_; }

 private:
  friend std::shared_ptr<const Compiled> compiled(Listing);
  std::vector<std::shared_ptr<const Compiled>> heard_;
  Listener* before_;
};

// Whether functions are used where there are any: for tests and benchmarks.
extern runtime::Atomic<bool> compiled_in_use;
void use_compiled(bool use);

// The equations' functions as C++, with their signatures: what a table is made of, in the words of simd/compiled.hpp.
std::string functions_text(std::span<const std::shared_ptr<const Compiled>> equations);

}  // namespace rekur::equations
