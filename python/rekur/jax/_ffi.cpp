// The layer as targets of XLA's foreign function interface. rekur.jax.compile builds it against the headers of the jax that is
// installed; it reaches the engine by the table of layer_calls.h and knows nothing else of rekur.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "layer_calls.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

const rekur_layer_calls* g_calls = nullptr;
constexpr std::size_t kMessage = 2048;

// A call as operands say it: weights, inputs, and lengths and resets where they are given.
struct Operands {
  std::vector<rekur_array> arrays;
  rekur_layer_call call{};

  // The error, or an empty string.
  std::string read(ffi::RemainingArgs args, std::string_view spec, std::size_t weights, std::size_t inputs, bool lengths,
                   bool resets) {
    const std::size_t all = weights + inputs;
    if (args.size() < all + lengths + resets) return "too few operands";
    for (std::size_t k = 0; k < all; ++k) {
      const auto array = args.get<ffi::AnyBuffer>(k);
      if (array.has_error()) return array.error().message();
      if (array->element_type() != ffi::F32) return "expected operands of float32";
      arrays.push_back({static_cast<const float*>(array->untyped_data()), array->dimensions().begin(), array->dimensions().size()});
    }
    call.spec = spec.data();
    call.spec_size = spec.size();
    call.weights = arrays.data();
    call.weight_count = weights;
    call.inputs = arrays.data() + weights;
    call.input_count = inputs;
    std::size_t at = all;
    if (lengths) call.lengths = static_cast<const std::int32_t*>(args.get<ffi::AnyBuffer>(at++)->untyped_data());
    if (resets) call.resets = static_cast<const std::uint8_t*>(args.get<ffi::AnyBuffer>(at++)->untyped_data());
    return {};
  }
};

template <class T>
T* result(ffi::RemainingRets& rets, std::size_t k) {
  return static_cast<T*>((*rets.get<ffi::AnyBuffer>(k))->untyped_data());
}

ffi::Error run(ffi::RemainingArgs args, ffi::RemainingRets rets, std::string_view spec, std::int64_t weights, std::int64_t inputs,
               bool lengths, bool resets, bool keep) {
  Operands operands;
  const std::string fault =
      operands.read(args, spec, static_cast<std::size_t>(weights), static_cast<std::size_t>(inputs), lengths, resets);
  if (!fault.empty()) return ffi::Error::InvalidArgument(fault);
  std::vector<float*> outputs;
  const std::size_t count = rets.size() - (keep ? 1 : 0);
  for (std::size_t k = 0; k < count; ++k) outputs.push_back(result<float>(rets, k));
  char message[kMessage];
  std::uint32_t* const token = keep ? result<std::uint32_t>(rets, count) : nullptr;
  if (g_calls->run(&operands.call, outputs.data(), token, message, kMessage) != 0) return ffi::Error::InvalidArgument(message);
  return ffi::Error::Success();
}

// arrived: an output's gradient is an operand where it has '1'; wanted: likewise results, by weight and input.
ffi::Error back(ffi::RemainingArgs args, ffi::RemainingRets rets, std::string_view spec, std::int64_t weights, std::int64_t inputs,
                bool lengths, bool resets, std::string_view arrived, std::string_view wanted) {
  Operands operands;
  const auto w = static_cast<std::size_t>(weights);
  const std::string fault = operands.read(args, spec, w, static_cast<std::size_t>(inputs), lengths, resets);
  if (!fault.empty()) return ffi::Error::InvalidArgument(fault);
  std::size_t at = operands.arrays.size() + lengths + resets;
  const auto* const token = static_cast<const std::uint32_t*>(args.get<ffi::AnyBuffer>(at++)->untyped_data());
  std::vector<const float*> output_gradients;
  static const float nothing = 0;  // of an array without elements, which has no address
  for (const char there : arrived) {
    const float* const data =
        there == '1' ? static_cast<const float*>(args.get<ffi::AnyBuffer>(at++)->untyped_data()) : nullptr;
    output_gradients.push_back(there == '1' && data == nullptr ? &nothing : data);
  }
  std::vector<float*> gradients;
  std::size_t to = 0;
  for (const char there : wanted) gradients.push_back(there == '1' ? result<float>(rets, to++) : nullptr);
  char message[kMessage];
  if (g_calls->back(&operands.call, token, output_gradients.data(), gradients.data(), gradients.data() + w, message, kMessage) != 0)
    return ffi::Error::InvalidArgument(message);
  return ffi::Error::Success();
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int rekur_set_calls(const void* table) {
  const auto* const calls = static_cast<const rekur_layer_calls*>(table);
  if (calls->abi != REKUR_LAYER_CALLS_ABI) return 1;
  g_calls = calls;
  return 0;
}

#pragma GCC visibility push(default)
XLA_FFI_DEFINE_HANDLER_SYMBOL(RekurLayerRun, run,
                              ffi::Ffi::Bind()
                                  .RemainingArgs()
                                  .RemainingRets()
                                  .Attr<std::string_view>("spec")
                                  .Attr<std::int64_t>("weights")
                                  .Attr<std::int64_t>("inputs")
                                  .Attr<bool>("lengths")
                                  .Attr<bool>("resets")
                                  .Attr<bool>("keep"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(RekurLayerBack, back,
                              ffi::Ffi::Bind()
                                  .RemainingArgs()
                                  .RemainingRets()
                                  .Attr<std::string_view>("spec")
                                  .Attr<std::int64_t>("weights")
                                  .Attr<std::int64_t>("inputs")
                                  .Attr<bool>("lengths")
                                  .Attr<bool>("resets")
                                  .Attr<std::string_view>("arrived")
                                  .Attr<std::string_view>("wanted"));
#pragma GCC visibility pop
