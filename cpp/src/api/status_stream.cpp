// Apart from the rest of status.hpp: a program that does not stream need not be linked with what does.
#include "api/guard.hpp"

namespace rekur {

Result<Stream> try_stream(const Model& model, const StreamOptions& options) noexcept {
  return api::result_of([&] { return Stream(model, options); });
}

}  // namespace rekur
