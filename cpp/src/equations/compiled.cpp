#include "equations/compiled.hpp"

#include <algorithm>
#include <map>
#include <utility>

#include "equations/text.hpp"
#include "io/text.hpp"
#include "runtime/locks.hpp"
#include "runtime/own_memory.hpp"

namespace rekur::equations {
namespace {

constexpr const char* kNames[kInstructionSets] = {"baseline", "avx2", "avx512", "neon", "rvv"};

// What is compiled, and the equations that codes have. Functions outlive them: a model made later finds those again.
class Registry {
 public:
  std::shared_ptr<const Compiled> entry(Listing listing) {
    std::string signature = listing.signature();
    const runtime::Guard lock(mutex_);
    std::shared_ptr<Compiled> entry;
    if (runtime::in_own_memory()) {  // nothing of it may stand here, where it would outlive that memory
      entry = std::make_shared<Compiled>();
    } else {
      std::weak_ptr<Compiled>& known = entries_[signature];
      entry = known.lock();
      if (entry) return entry;
      known = entry = std::make_shared<Compiled>();
    }
    entry->listing = std::move(listing);
    for (int isa = 0; isa < kInstructionSets; ++isa) {
      const auto found = functions_[isa].find(signature);
      if (found != functions_[isa].end()) entry->function[isa].store(found->second, std::memory_order_release);
    }
    entry->signature = std::move(signature);
    if (entries_.size() > sweep_at_) {
      std::erase_if(entries_, [](const auto& each) { return each.second.expired(); });
      sweep_at_ = 2 * entries_.size() + 64;
    }
    return entry;
  }

  void add(const simd::CompiledTable& table) {
    if (table.abi != simd::kCompiledAbi)
      throw_error("compiled equations: made for version % of what they are called by, this library has %",
                  {table.abi, simd::kCompiledAbi});
    const auto name = std::find(std::begin(kNames), std::end(kNames), std::string_view(table.isa));
    if (name == std::end(kNames)) throw_error("compiled equations: unknown instruction set '%'", {table.isa});
    const auto isa = name - std::begin(kNames);
    const runtime::Guard lock(mutex_);
    for (int i = 0; i < table.count; ++i) {
      const auto [at, added] = functions_[isa].emplace(table.signatures[i], table.functions[i]);
      if (!added) continue;
      const auto known = entries_.find(at->first);
      if (known == entries_.end()) continue;
      if (const std::shared_ptr<Compiled> entry = known->second.lock())
        entry->function[isa].store(at->second, std::memory_order_release);
    }
  }

  std::vector<std::shared_ptr<const Compiled>> all() {
    const runtime::Guard lock(mutex_);
    std::vector<std::shared_ptr<const Compiled>> found;
    for (const auto& [signature, entry] : entries_)
      if (std::shared_ptr<const Compiled> alive = entry.lock()) found.push_back(std::move(alive));
    return found;
  }

 private:
  runtime::Mutex mutex_;
  std::map<std::string, std::weak_ptr<Compiled>, std::less<>> entries_;
  std::map<std::string, simd::CompiledCode, std::less<>> functions_[kInstructionSets];
  std::size_t sweep_at_ = 256;
};

Registry& registry() {
  static Registry* const registry = new Registry;  // models may end after static objects do
  return *registry;
}

REKUR_THREAD_LOCAL Listener* listening = nullptr;

}  // namespace

std::shared_ptr<const Compiled> compiled(Listing listing) {
  std::shared_ptr<const Compiled> entry = registry().entry(std::move(listing));
  if (listening != nullptr && std::find(listening->heard_.begin(), listening->heard_.end(), entry) == listening->heard_.end())
    listening->heard_.push_back(entry);
  return entry;
}

void add_compiled(const simd::CompiledTable& table) { registry().add(table); }

std::vector<std::shared_ptr<const Compiled>> all_equations() { return registry().all(); }

Listener::Listener() : before_(std::exchange(listening, this)) {}
Listener::~Listener() { listening = before_; }

runtime::Atomic<bool> compiled_in_use{true};

void use_compiled(bool use) { compiled_in_use.store(use, std::memory_order_relaxed); }

std::string functions_text(std::span<const std::shared_ptr<const Compiled>> equations) {
  std::string text = "namespace rekur {\nnamespace {\n", signatures, functions;
  int number = 0;
  for (const auto& each : equations) {
    const std::string name = compose("equations_%", {number++});
    text.append("\n// ").append(each->signature).append(1, '\n').append(function_text(each->listing, name));
    signatures.append("    \"").append(each->signature).append("\",\n");
    functions.append("    ").append(name).append(",\n");
  }
  text.append("\nconstexpr const char* kSignatures[] = {\n").append(signatures).append("};\n");
  text.append("constexpr simd::CompiledCode kFunctions[] = {\n").append(functions).append("};\n");
  return text.append("\n}  // namespace\n}  // namespace rekur\n");
}

}  // namespace rekur::equations
