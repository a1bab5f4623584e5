#include "graph/store.hpp"
#include "runtime/locks.hpp"

namespace rekur::graph {

std::uint64_t Store::next_id() {
  static runtime::Atomic<std::uint64_t> last{0};
  return ++last;
}

bool stands_in(std::span<const Segment> segments, int store) {
  for (const Segment& segment : segments)
    if (segment.store == store) return true;
  return false;
}

HeldStores::HeldStores(const Stores& stores) : writing_(false) {
  if (stores.size() == 1)
    only_ = &stores.own();
  else
    for (int i = 0; i < stores.size(); ++i) several_.push_back(&stores[i]);
  begin();
}

HeldStores::HeldStores(const Stores& stores, std::span<const Segment> written) : writing_(true) {
  for (int i = 0; i < stores.size(); ++i) {
    if (!stands_in(written, i)) continue;
    if (stores.size() == 1)
      only_ = &stores.own();
    else
      several_.push_back(&stores[i]);
  }
  begin();
}

void HeldStores::begin() {
  if (only_ != nullptr) return only_->turns.begin(writing_);
  for (std::size_t i = 1; i < several_.size(); ++i)
    for (std::size_t k = i; k > 0 && several_[k]->id < several_[k - 1]->id; --k) std::swap(several_[k], several_[k - 1]);
  for (Store* const store : several_) store->turns.begin(writing_);
}

HeldStores::~HeldStores() {
  if (only_ != nullptr) only_->turns.end(writing_);
  for (Store* const store : several_) store->turns.end(writing_);
}

int Stores::add(const std::shared_ptr<Store>& store) {
  for (int i = 0; i < size(); ++i)
    if (all_[static_cast<std::size_t>(i)] == store) return i;
  all_.push_back(store);
  return size() - 1;
}

std::uint64_t Stores::version() const {
  std::uint64_t sum = 0;
  for (const auto& store : all_) sum += store->version;
  return sum;
}

}  // namespace rekur::graph
