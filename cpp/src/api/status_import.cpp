// Apart from the rest of status.hpp: a program that reads rekur's own files need not be linked with what reads others'.
#include "api/guard.hpp"

namespace rekur {

Result<Model> try_import(Text path, const foreign::Options& options) noexcept {
  return api::result_of([&] { return foreign::load(api::to_string(path, "the path"), options); });
}

Result<Model> try_import(std::span<const std::byte> file, Text source, const foreign::Options& options) noexcept {
  return api::result_of([&] { return foreign::load(file, api::to_string(source, "the source's name"), options); });
}

}  // namespace rekur
