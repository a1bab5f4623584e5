#include "runtime/panels.hpp"

#include "runtime/locks.hpp"

namespace rekur::runtime {
namespace {

constinit REKUR_THREAD_LOCAL Panels* current_panels = nullptr;

}  // namespace

Panels*& PanelScope::now() noexcept { return current_panels; }

}  // namespace rekur::runtime
