// Where exceptions end: what an action throws becomes a Status.
#pragma once

#include "rekur/status.hpp"

namespace rekur::api {

// The exception that is being handled.
Status caught() noexcept;

template <class Action>
Status status_of(const Action& action) noexcept {
  try {
    action();
    return {};
  } catch (...) {
    return caught();
  }
}

template <class Action>
auto result_of(const Action& action) noexcept -> Result<decltype(action())> {
  try {
    return action();
  } catch (...) {
    return caught();
  }
}

// Throws Error if it is null; `what` names the argument.
std::string to_string(Text text, const char* what);

}  // namespace rekur::api
