#include "train/clipping.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "isa/dispatch.hpp"
#include "runtime/parallel.hpp"

namespace rekur::train {
namespace {

constexpr Index kNormBlock = 4096;

// Written so that a NaN norm gives a NaN factor.
float factor(double norm, double limit) { return norm <= limit ? 1.0f : static_cast<float>(limit / norm); }

void clip_values(std::span<float> x, float limit) {
  const Index size = static_cast<Index>(x.size());
  runtime::parallel_range(size, kNormBlock, static_cast<double>(size),
                          [&](Index begin, Index end) { isa::kernels().clamp(-limit, limit, x.data() + begin, end - begin); });
}

void scale(std::span<float> x, float s) {
  const Index size = static_cast<Index>(x.size());
  runtime::parallel_range(size, kNormBlock, static_cast<double>(size), [&](Index begin, Index end) {
    isa::kernels().scale(s, x.data() + begin, x.data() + begin, end - begin);
  });
}

}  // namespace

Clipping read_clipping(json::Reader& optimizer) {
  struct Key {
    const char* name;
    ClipKind kind;
  };
  Clipping clipping;
  const char* given = nullptr;
  for (const Key key :
       {Key{"clipvalue", ClipKind::value}, Key{"clipnorm", ClipKind::norm}, Key{"global_clipnorm", ClipKind::global_norm}}) {
    if (!optimizer.find(key.name)) continue;
    if (given) optimizer.fail("'%' and '%' are both given; at most one can be", {given, key.name});
    given = key.name;
    clipping = {key.kind, optimizer.number(key.name)};
    const bool fits = clipping.limit >= std::numeric_limits<float>::min() && clipping.limit <= std::numeric_limits<float>::max();
    if (!fits) optimizer.refuse(key.name, "a positive number");
  }
  return clipping;
}

double norm(std::span<const float> x) {
  constexpr Index kAtOnce = 64;  // blocks, so that nothing has to be allocated
  const Index size = static_cast<Index>(x.size()), blocks = (size + kNormBlock - 1) / kNormBlock;
  double sum = 0, squares[kAtOnce];
  for (Index first = 0; first < blocks; first += kAtOnce) {
    const Index count = std::min(kAtOnce, blocks - first);
    runtime::parallel_tasks(count, 2.0 * static_cast<double>(count * kNormBlock), [&](Index i) {
      const Index begin = (first + i) * kNormBlock;
      squares[i] = isa::kernels().sum_of_squares(x.data() + begin, std::min(kNormBlock, size - begin));
    });
    for (Index i = 0; i < count; ++i) sum += squares[i];
  }
  return std::sqrt(sum);
}

float clip(const Clipping& clipping, std::span<const Range> parameters, std::span<const Range> ranges, std::span<float> gradients) {
  const auto of = [&](const Range& range) {
    return gradients.subspan(static_cast<std::size_t>(range.begin), static_cast<std::size_t>(range.size));
  };
  switch (clipping.kind) {
    case ClipKind::none:
      return 1.0f;
    case ClipKind::value:
      for (const Range& range : ranges) clip_values(of(range), static_cast<float>(clipping.limit));
      return 1.0f;
    case ClipKind::norm:
      for (const Range& parameter : parameters) {
        const std::span<float> tensor = of(parameter);
        const float s = factor(norm(tensor), clipping.limit);
        if (s != 1.0f) scale(tensor, s);
      }
      return 1.0f;
    case ClipKind::global_norm:
      if (ranges.size() == 1) return factor(norm(of(ranges[0])), clipping.limit);
      double squares = 0;
      for (const Range& range : ranges) {
        const double length = norm(of(range));
        squares += length * length;
      }
      return factor(std::sqrt(squares), clipping.limit);
  }
  return 1.0f;
}

}  // namespace rekur::train
