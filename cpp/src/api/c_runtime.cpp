// The machine in rekur.h.
#include <algorithm>

#include "api/c_call.hpp"

namespace {

using rekur::api::Call;

// What rekur_isa and rekur_available_isa point into.
const std::vector<std::string>& isas() {
  static const std::vector<std::string> names = rekur::available_isas();
  return names;
}

}  // namespace

const char* rekur_version(void) noexcept { return rekur::version(); }

int32_t rekur_num_threads(void) noexcept {
  int32_t threads = 0;
  (void)Call(__func__).run([&] { threads = rekur::num_threads(); });
  return threads;
}

rekur_code rekur_set_num_threads(int32_t threads) noexcept {
  return Call(__func__).run([&] { rekur::set_num_threads(threads); });
}

const char* rekur_isa(void) noexcept {
  const char* name = nullptr;
  (void)Call(__func__).run([&] { name = std::find(isas().begin(), isas().end(), rekur::current_isa())->c_str(); });
  return name;
}

const char* rekur_available_isa(size_t index) noexcept {
  const char* name = nullptr;
  (void)Call(__func__).run([&] {
    if (index < isas().size()) name = isas()[index].c_str();
  });
  return name;
}

rekur_code rekur_set_isa(const char* name) noexcept {
  const Call call(__func__);
  return call.run([&] {
    call.expect(name, "name");
    rekur::set_isa(name);
  });
}
