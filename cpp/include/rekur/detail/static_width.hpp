// The fixed-size layers for one width of vector. Included, without a guard, by static.hpp once for every width that the consumer's
// instruction set has. The order of every sum is the engine's (docs/architecture.md, "Numbers"), and so are the bits.
#include "rekur/detail/vec.hpp"
//
#include "rekur/detail/weights.hpp"
//
#include "rekur/detail/math.hpp"
//
#include "rekur/detail/activation.hpp"
//
#include "rekur/detail/int8.hpp"
//
#include "rekur/detail/static_int8.hpp"

namespace rekur {
namespace REKUR_SIMD_NAMESPACE {

// A vector as a cell's equations see it. Compilers may contract a product and a sum into one rounding (g++ does by default); the
// engine is compiled without that, so here a product goes through an empty instruction that no compiler looks into (`apart`).
struct Value {
  Vec v;
};

REKUR_INLINE Value operator+(Value a, Value b) { return {a.v + b.v}; }
REKUR_INLINE Value operator+(Value a, float b) { return {a.v + set1(b)}; }
REKUR_INLINE Value operator-(Value a, Value b) { return {a.v - b.v}; }
REKUR_INLINE Value operator*(Value a, Value b) { return {apart(a.v * b.v)}; }

// The functions a cell is written in, chosen when it is compiled.
template <class Options>
struct StaticFunctions {
  static REKUR_INLINE Vec clamped(Vec v) {
    if constexpr (Options::clip < std::numeric_limits<float>::infinity())
      return at_most(at_least(v, set1(-Options::clip)), set1(Options::clip));
    else
      return v;
  }
  REKUR_INLINE Value gate(Value x) const {
    constexpr Activation f = Options::recurrent_activation;
    return {activation<f.kind>(f, clamped(x.v))};
  }
  REKUR_INLINE Value candidate(Value x) const {
    constexpr Activation f = Options::activation;
    return {activation<f.kind>(f, clamped(x.v))};
  }
  REKUR_INLINE Value output(Value x) const {
    constexpr Activation f = static_detail::output_activation<Options>();
    return {activation<f.kind>(f, x.v)};
  }
};

// --- products ---

template <int N>
REKUR_INLINE void start(const float* bias, Vec* sum) {
  REKUR_UNROLL
  for (int n = 0; n < N; ++n) sum[n] = bias ? load(bias + n * kWidth) : zero();
}

template <WeightType>
struct RowsOf {
  using W = FloatRows;
};
template <>
struct RowsOf<WeightType::bf16> {
  using W = Bf16Rows;
};
template <>
struct RowsOf<WeightType::fp16> {
  using W = Fp16Rows;
};

// One row: sum[n] += a w[n].
template <class W, int N>
REKUR_INLINE void add_row(float a, const float* w, int i, Vec* sum) {
  const Vec x = set1(a);
  REKUR_UNROLL
  for (int n = 0; n < N; ++n) sum[n] = fma(x, W::row(w + n * kWidth, i), sum[n]);
}

// A pair of them, column by column: both rows of one at a time take few registers.
template <class W, int N>
REKUR_INLINE void add_pair(const float* a, const float* w, Vec* sum) {
  const Vec x = set1(a[0]), y = set1(a[1]);
  REKUR_UNROLL
  for (int n = 0; n < N; ++n) sum[n] = fma(y, W::row(w + n * kWidth, 1), fma(x, W::row(w + n * kWidth, 0), sum[n]));
}

// sum[n] += Σ_k a[k] w[k][n] over Begin <= k < End, ascending, one accumulator each. w: [K][N] vectors, or pairs of rows.
template <class W, int Begin, int End, int N>
REKUR_INLINE void accumulate(const float* a, const float* w, Vec* sum) {
  constexpr int K = End - Begin, kBlock = N * K <= 64 && K <= 32 ? K : K < 4 ? K : 4;
  if constexpr (K > 0 && W::kTogether == 1) {
    for (int k = Begin; k + kBlock <= End; k += kBlock) {
      REKUR_UNROLL
      for (int j = 0; j < kBlock; ++j) add_row<W, N>(a[k + j], w + (k + j) * N * kWidth, 0, sum);
    }
    REKUR_UNROLL
    for (int k = End - K % kBlock; k < End; ++k) add_row<W, N>(a[k], w + k * N * kWidth, 0, sum);
  } else if constexpr (K > 0) {
    constexpr int first = Begin + Begin % 2, last = End - End % 2;
    if constexpr (first > Begin) add_row<W, N>(a[Begin], w + Begin / 2 * N * kWidth, 1, sum);
    for (int k = first; k < last; k += 2) add_pair<W, N>(a + k, w + k / 2 * N * kWidth, sum);
    if constexpr (last < End && last >= first) add_row<W, N>(a[last], w + last / 2 * N * kWidth, 0, sum);
  }
}

// Two such sums side by side: two chains hide more of the latency than one.
template <class W, int K, int NA, int NB>
REKUR_INLINE void accumulate_both(const float* a, const float* v, Vec* sum_a, const float* b, const float* w, Vec* sum_b) {
  constexpr int T = W::kTogether, full = K / T, kBlock = T == 1 && K % 2 == 0 ? 2 : 1;
  for (int line = 0; line < full; line += kBlock) {
    REKUR_UNROLL
    for (int j = 0; j < kBlock; ++j) {
      REKUR_UNROLL
      for (int i = 0; i < T; ++i) {
        add_row<W, NA>(a[(line + j) * T + i], v + (line + j) * NA * kWidth, i, sum_a);
        add_row<W, NB>(b[(line + j) * T + i], w + (line + j) * NB * kWidth, i, sum_b);
      }
    }
  }
  if constexpr (full * T < K) {
    add_row<W, NA>(a[K - 1], v + full * NA * kWidth, 0, sum_a);
    add_row<W, NB>(b[K - 1], w + full * NB * kWidth, 0, sum_b);
  }
}

// Rows of a matrix that stand together, in as many bytes as one of floats.
constexpr int together(WeightType type) { return type == WeightType::float32 ? 1 : type == WeightType::int8 ? 4 : 2; }

// A matrix [K][…] whose columns are `Slots` blocks of `Units` each, cut into passes of a few panels (a panel: a vector of units of
// all slots), so that the sums of a pass stay in registers: [pass][K][panel][slot][width].
// Rows of sixteen bits stand in pairs, as weights.hpp says, of eight bits in fours, as static_int8.hpp does.
template <int K, int Slots, int Units, int PassPanels, WeightType Type = WeightType::float32>
struct Panels {
  static constexpr int kPanels = (Units + kWidth - 1) / kWidth, kLines = (K + together(Type) - 1) / together(Type);
  alignas(64) float data[static_cast<std::size_t>(kLines) * kPanels * (Slots > 0 ? Slots : 1) * kWidth];

  const float* pass(int first_panel) const { return data + first_panel * kLines * Slots * kWidth; }

  // Columns that no unit has are never written: they stay zero.
  void set(int k, int slot, int unit, float x) {
    const int lane = unit % kWidth;
    float* const vector = data + vector_of(k, slot, unit);
    if constexpr (Type == WeightType::float32) {
      vector[lane] = x;
    } else {
      const std::uint16_t half = Type == WeightType::bf16 ? detail::bf16_of(x) : detail::fp16_of(x);
      const int at = Type == WeightType::bf16 ? 2 * lane + k % 2 : k % 2 * kWidth + lane;
      REKUR_COPY(reinterpret_cast<char*>(vector) + at * static_cast<int>(sizeof half), &half, sizeof half);
    }
  }
  void set(int k, int slot, int unit, std::int8_t number)
    requires(Type == WeightType::int8)
  {
    REKUR_COPY(reinterpret_cast<char*>(data + vector_of(k, slot, unit)) + 4 * (unit % kWidth) + k % 4, &number, 1);
  }
  // An integer in place of a float.
  void set_bits(int slot, int unit, std::int32_t x) { REKUR_COPY(data + vector_of(0, slot, unit) + unit % kWidth, &x, sizeof x); }

 private:
  static int vector_of(int k, int slot, int unit) {
    const int panel = unit / kWidth, first = panel / PassPanels * PassPanels;
    const int taken = kPanels - first < PassPanels ? kPanels - first : PassPanels;
    return ((first * kLines + k / together(Type) * taken + panel - first) * Slots + slot) * kWidth;
  }
};

// A weight as it is given, or as one of sixteen bits of the layer's type.
template <WeightType Type>
REKUR_INLINE float given(float x) {
  return x;
}
template <WeightType Type>
REKUR_INLINE float given(std::uint16_t half) {
  return Type == WeightType::bf16 ? detail::float_of_bf16(half) : detail::float_of_fp16(half);
}

// --- matrices of a layer, whatever their type ---

// What a layer of a type has a matrix [K, N] in: of eight bits the large ones alone.
constexpr WeightType kept_in(WeightType type, int K, int N) {
  return type == WeightType::int8 && !detail::takes_int8(K, N) ? WeightType::float32 : type;
}

// A column's numbers as they are given, and their scale.
template <WeightType Type, class T>
struct GivenMatrix {
  const T* numbers;
  int columns;

  template <class To, class Kept>
  void put(int K, int column, int slot, int unit, To& to, Kept&) const {
    for (int k = 0; k < K; ++k) to.set(k, slot, unit, given<Type>(numbers[k * columns + column]));
  }
};
template <>
struct GivenMatrix<WeightType::int8, float> {
  const float* numbers;
  int columns;

  template <class To, class Kept>
  void put(int K, int column, int slot, int unit, To& to, Kept& scales) const {
    float largest = 0;
    for (int k = 0; k < K; ++k) {
      const float x = numbers[k * columns + column], magnitude = x < 0 ? -x : x;
      if (magnitude > largest || magnitude != magnitude) largest = magnitude;  // a NaN stays
    }
    const float scale = detail::int8_scale(largest), kept = scale - scale == 0 ? scale : scale - scale;
    scales.put(K, slot, unit, kept, to, [&](int k) { return detail::int8_of(numbers[k * columns + column], kept); });
  }
};
template <>
struct GivenMatrix<WeightType::int8, std::int8_t> {
  const std::int8_t* numbers;
  int columns;
  const float* scale;

  template <class To, class Kept>
  void put(int K, int column, int slot, int unit, To& to, Kept& scales) const {
    scales.put(K, slot, unit, scale[column], to, [&](int k) { return int{numbers[k * columns + column]}; });
  }
};

template <WeightType Type>
GivenMatrix<Type, float> matrix_of(const float* numbers, int columns) {
  return {numbers, columns};
}
template <WeightType Type>
GivenMatrix<Type, std::uint16_t> matrix_of(const std::uint16_t* numbers, int columns) {
  return {numbers, columns};
}
template <WeightType Type>
GivenMatrix<Type, std::int8_t> matrix_of(const Int8Weights& given, int columns) {
  return {given.numbers, columns, given.scales};
}

// Of columns of eight bits: what their numbers are worth, and their sums.
template <int Slots, int Units, int PassPanels, WeightType Type>
struct Scales {};
template <int Slots, int Units, int PassPanels>
struct Scales<Slots, Units, PassPanels, WeightType::int8> {
  Panels<1, Slots, Units, PassPanels> worth, sums;

  template <class To, class Number>
  void put(int K, int slot, int unit, float scale, To& to, const Number& number) {
    std::int32_t sum = 0;
    for (int k = 0; k < K; ++k) {
      const int q = number(k);
      sum += q;
      to.set(k, slot, unit, static_cast<std::int8_t>(q));
    }
    worth.set(0, slot, unit, scale);
    sums.set_bits(slot, unit, sum);
  }
};

// A row as products with such a matrix read it.
template <int K, WeightType Type>
struct RowOf {
  const float* x;
  explicit RowOf(const float* from) : x(from) {}
};
template <int K>
struct RowOf<K, WeightType::int8> : Int8Row<K> {
  using Int8Row<K>::Int8Row;
};

// sum[n] = bias[n] + Σ_k a[k] w[k][n] of the NP panels of a pass, N vectors in all.
template <int K, int Slots, int NP, WeightType Type, int Units, int PassPanels>
REKUR_INLINE void pass_sums(const RowOf<K, Type>& a, const Panels<K, Slots, Units, PassPanels, Type>& w,
                            const Scales<Slots, Units, PassPanels, Type>& scales, int panel, const float* bias, Vec* sum) {
  constexpr int N = NP * Slots;
  if constexpr (Type == WeightType::int8) {
    const char* const numbers = reinterpret_cast<const char*>(w.pass(panel));
    const float* const worth = scales.worth.pass(panel);
    IVec acc[N];
    int8_start<N>(a, reinterpret_cast<const std::int32_t*>(scales.sums.pass(panel)), acc,
                  [](int v) REKUR_INLINED { return v * kWidth; });
    for (int i = 0; i < int8_groups(K); ++i) {
      const Int8Dots::Group group = Int8Dots::group(a.numbers + 4 * i);
      REKUR_UNROLL
      for (int n = 0; n < N; ++n) acc[n] = Int8Dots::add(acc[n], group, load_group(numbers + 4 * kWidth * (i * N + n)));
    }
    REKUR_UNROLL
    for (int n = 0; n < N; ++n) sum[n] = int8_sum(a, acc[n], load(worth + n * kWidth), bias ? load(bias + n * kWidth) : zero());
  } else {
    start<N>(bias, sum);
    accumulate<typename RowsOf<Type>::W, 0, K, N>(a.x, w.pass(panel), sum);
  }
}

// The same of a recurrent product, which may be two sums (first_sum).
template <int K, int Slots, int NP, WeightType Type, int Units, int PassPanels>
REKUR_INLINE void recurrent_pass_sums(const RowOf<K, Type>& a, const Panels<K, Slots, Units, PassPanels, Type>& w,
                                      const Scales<Slots, Units, PassPanels, Type>& scales, int panel, const float* bias,
                                      Vec* sum) {
  constexpr int N = NP * Slots, first = static_cast<int>(first_sum(K));
  if constexpr (first == K || Type == WeightType::int8) {
    pass_sums<K, Slots, NP>(a, w, scales, panel, bias, sum);
  } else {
    using W = typename RowsOf<Type>::W;
    const float *const at = w.pass(panel), *const behind = at + first / W::kTogether * N * kWidth;
    Vec second[N];
    start<N>(bias, sum);
    start<N>(nullptr, second);
    if constexpr (K == 2 * first && 2 * N + 2 <= kRegisters) {
      accumulate_both<W, first, N, N>(a.x, at, sum, a.x + first, behind, second);
    } else {
      accumulate<W, 0, first, N>(a.x, at, sum);
      accumulate<W, 0, K - first, N>(a.x + first, behind, second);
    }
    REKUR_UNROLL
    for (int n = 0; n < N; ++n) sum[n] += second[n];
  }
}

inline constexpr int kStaticSums = kRegisters == 32 ? 24 : 12;  // the rest holds a broadcast, and weights where they must
// Of weights beyond the first-level cache: two units, four cycles, enough to hide the latency of fma. Of narrow vectors a pass is
// short, and three gates' sums of two panels would be too few.
inline constexpr int kStreamedSums = kRegisters == 32 ? 8 : 12;
inline constexpr int kNearBytes = REKUR_STATIC_NEAR;  // what a first-level cache holds besides other things

// Panels of a pass: as many as `sums` hold, dealt out evenly.
constexpr int pass_panels(int panels, int slots, int sums) {
  const int most = sums / slots < 1 ? 1 : sums / slots;
  const int passes = (panels + most - 1) / most;
  return (panels + passes - 1) / passes;
}

// --- recurrent layers ---

// One recurrent product of a cell and the slots that the input's product feeds with it.
template <class Cell, int P>
struct StaticPhase {
  static constexpr cells::CellInfo info = Cell::info;
  static constexpr int first = info.phase[P].first, count = info.phase[P].count;
  // With one phase all slots of the input; with two, those of the phase.
  static constexpr int x_first = info.phases == 1 || first < info.x_first ? info.x_first : first;
  static constexpr int x_end = info.x_first + info.x_count;
  static constexpr int x_count = info.phases == 1 || first + count > x_end ? x_end - x_first : first + count - x_first;
};

template <class Cell, int P, int In, int Hidden, WeightType Type>
struct StaticWeights {
  using Phase = StaticPhase<Cell, P>;
  static constexpr int kPanels = (Hidden + kWidth - 1) / kWidth;
  // Weights that the first-level cache does not hold stream from the second. Passes then go up and down in turns, so that what was
  // read last is read first by the next step, and the input's product, if long, goes beside the recurrent one, but for weights that
  // have to be widened: their arithmetic takes longer than reading them. Fetching them ahead made a Zen 4 a fifth slower.
  static constexpr WeightType kInput = kept_in(Type, In, Cell::info.gates* Hidden),
                              kRecurrent = kept_in(Type, Hidden, Cell::info.gates* Hidden);
  static constexpr bool kStreams =
      (In * Phase::x_count * 4 / together(kInput) + Hidden * Phase::count * 4 / together(kRecurrent)) * kPanels * kWidth >
      kNearBytes;
  static constexpr bool kBeside = kStreams && In >= 8 && Type == WeightType::float32;
  static constexpr int kPassPanels =
      pass_panels(kPanels, kBeside ? Phase::count + Phase::x_count : Phase::count, kStreams ? kStreamedSums : kStaticSums);
  Panels<In, Phase::x_count, Hidden, kPassPanels, kInput> input;
  [[no_unique_address]] Scales<Phase::x_count, Hidden, kPassPanels, kInput> input_scales;
  Panels<1, Phase::x_count, Hidden, kPassPanels> input_bias;
  Panels<Hidden, Phase::count, Hidden, kPassPanels, kRecurrent> recurrent;
  [[no_unique_address]] Scales<Phase::count, Hidden, kPassPanels, kRecurrent> recurrent_scales;
  Panels<1, Cell::info.recurrent_bias ? Phase::count : 0, Hidden, kPassPanels> recurrent_bias;
};

struct NoWeights {};

template <class Cell, class Options, int In, int Hidden>
class RecurrentCore {
  static constexpr cells::CellInfo info = Cell::info;
  static constexpr int kPanels = (Hidden + kWidth - 1) / kWidth, kPadded = kPanels * kWidth;

  static constexpr WeightType kType = Options::weights;
  static constexpr WeightType kInput = kept_in(kType, In, info.gates* Hidden),
                              kRecurrent = kept_in(kType, Hidden, info.gates* Hidden);
  using XRow = RowOf<In, kInput>;
  using HRow = RowOf<Hidden, kRecurrent>;

 public:
  template <class Kernel, class Recurrent>
  void set_weights(const Kernel& kernel, const Recurrent& recurrent_kernel, const float* bias, const float* peephole) noexcept {
    pack(first_, kernel, recurrent_kernel, bias);
    if constexpr (info.phases > 1) pack(second_, kernel, recurrent_kernel, bias);
    for (int row = 0; row < info.peepholes; ++row)
      for (int u = 0; u < Hidden; ++u) peephole_[row * kPadded + u] = peephole[row * Hidden + u];
  }

  REKUR_NOINLINE const float* step(const float* x) noexcept {
    alignas(64) float record[info.phases > 1 ? info.slots * kPadded : 1];
    const float* const h = this->h();
    turn_ ^= 1;
    float* const h_next = h_[kBuffers > 1 ? turn_ : 0];
    const XRow x_row(x);
    run<0>(first_, {x_row, HRow(h), h, h_next, record});
    if constexpr (info.phases > 1) run<1>(second_, {x_row, HRow(record + info.phase[1].input_slot * kPadded), h, h_next, record});
    return h_next;
  }

  const float* h() const noexcept { return h_[kBuffers > 1 ? turn_ : 0]; }
  const float* c() const noexcept { return c_; }

  void set_state(const float* h, const float* c) noexcept {
    float* const to = h_[kBuffers > 1 ? turn_ : 0];
    for (int u = 0; u < Hidden; ++u) to[u] = h ? h[u] : 0.0f;
    if constexpr (info.states > 1)
      for (int u = 0; u < Hidden; ++u) c_[u] = c ? c[u] : 0.0f;
  }

 private:
  // One phase of a step: the input, what the recurrent product takes, the states before and after, what one phase leaves the next.
  struct Step {
    const XRow& x;
    const HRow& from;
    const float* h;
    float *h_next, *record;
  };

  template <class Weights, class Kernel, class Recurrent>
  static void pack(Weights& w, const Kernel& kernel, const Recurrent& recurrent_kernel, const float* bias) noexcept {
    using Phase = typename Weights::Phase;
    constexpr int columns = info.gates * Hidden;
    const auto input = matrix_of<kInput>(kernel, columns);
    const auto recurrent = matrix_of<kRecurrent>(recurrent_kernel, columns);
    for (int slot = 0; slot < Phase::x_count; ++slot) {
      const int column = info.kernel_block[Phase::x_first + slot] * Hidden;
      for (int u = 0; u < Hidden; ++u) {
        input.put(In, column + u, slot, u, w.input, w.input_scales);
        w.input_bias.set(0, slot, u, bias ? bias[column + u] : 0.0f);
      }
    }
    for (int slot = 0; slot < Phase::count; ++slot) {
      const int column = info.kernel_block[Phase::first + slot] * Hidden;
      for (int u = 0; u < Hidden; ++u) {
        recurrent.put(Hidden, column + u, slot, u, w.recurrent, w.recurrent_scales);
        if constexpr (info.recurrent_bias) w.recurrent_bias.set(0, slot, u, bias ? bias[columns + column + u] : 0.0f);
      }
    }
  }

  template <int P, class Weights>
  REKUR_INLINE void run(const Weights& w, const Step& s) noexcept {
    constexpr int NP = Weights::kPassPanels, full = kPanels / NP, rest = kPanels % NP;
    if (!Weights::kStreams || turn_) {
      for (int i = 0; i < full; ++i) run_pass<P, NP>(w, i * NP, s);
      if constexpr (rest > 0) run_pass<P, rest>(w, full * NP, s);
    } else {
      if constexpr (rest > 0) run_pass<P, rest>(w, full * NP, s);
      for (int i = full - 1; i >= 0; --i) run_pass<P, NP>(w, i * NP, s);
    }
  }

  template <int P, int NP, class Weights>
  REKUR_INLINE void run_pass(const Weights& w, int panel, const Step& s) noexcept {
    using Phase = typename Weights::Phase;
    constexpr int X = NP * Phase::x_count, G = NP * Phase::count;
    Vec in[X], rec[G];
    const float* const recurrent_bias = info.recurrent_bias ? w.recurrent_bias.pass(panel) : nullptr;
    if constexpr (Weights::kBeside) {
      using W = typename RowsOf<kType>::W;
      constexpr int common = In < Hidden ? In : Hidden;
      const float *const input = w.input.pass(panel), *const recurrent = w.recurrent.pass(panel);
      start<X>(w.input_bias.pass(panel), in);
      start<G>(recurrent_bias, rec);
      accumulate_both<W, common, X, G>(s.x.x, input, in, s.from.x, recurrent, rec);
      accumulate<W, common, In, X>(s.x.x, input, in);
      accumulate<W, common, Hidden, G>(s.from.x, recurrent, rec);
    } else {
      pass_sums<In, Phase::x_count, NP>(s.x, w.input, w.input_scales, panel, w.input_bias.pass(panel), in);
      recurrent_pass_sums<Hidden, Phase::count, NP>(s.from, w.recurrent, w.recurrent_scales, panel, recurrent_bias, rec);
    }
    finish<P, NP>(panel, in, rec, s);
  }

  // The cell's equations for the panels of a pass.
  template <int P, int NP>
  REKUR_INLINE void finish(int panel, const Vec* in, const Vec* rec, const Step& s) noexcept {
    using Phase = StaticPhase<Cell, P>;
    constexpr int X = Phase::x_count, G = Phase::count;
    REKUR_UNROLL
    for (int p = 0; p < NP; ++p) {
      const int u = (panel + p) * kWidth;
      Value in_slot[cells::kMaxSlots], rec_slot[cells::kMaxSlots], state[cells::kMaxStates], slot[cells::kMaxSlots];
      Value peephole[cells::kMaxPeepholes];
      REKUR_UNROLL
      for (int g = 0; g < X; ++g) in_slot[Phase::x_first + g] = {in[p * X + g]};
      REKUR_UNROLL
      for (int g = 0; g < G; ++g) rec_slot[Phase::first + g] = {rec[p * G + g]};
      REKUR_UNROLL
      for (int row = 0; row < info.peepholes; ++row) peephole[row] = {load(peephole_ + row * kPadded + u)};
      if constexpr (P > 0) {
        REKUR_UNROLL
        for (int k = 0; k < info.slots; ++k) slot[k] = {load(s.record + k * kPadded + u)};
      }
      state[0] = {load(s.h + u)};
      if constexpr (info.states > 1) state[1] = {load(c_ + u)};
      Cell::forward(cells::PhaseTag<P>{}, StaticFunctions<Options>{}, in_slot, rec_slot, peephole, state, slot);
      if constexpr (P == info.phases - 1) {
        store(s.h_next + u, state[0].v);
        if constexpr (info.states > 1) store(c_ + u, state[1].v);
      } else {
        // Only what this phase made: the other slots are a later phase's.
        REKUR_UNROLL
        for (int g = 0; g < G; ++g) store(s.record + (Phase::first + g) * kPadded + u, slot[Phase::first + g].v);
        constexpr int product = info.phase[P + 1].input_slot;
        store(s.record + product * kPadded + u, slot[product].v);
      }
    }
  }

  using First = StaticWeights<Cell, 0, In, Hidden, kType>;
  using Second = std::conditional_t<(info.phases > 1), StaticWeights<Cell, info.phases - 1, In, Hidden, kType>, NoWeights>;
  // When h is made in several passes, none may write what a later one reads.
  static constexpr int kBuffers = kPanels > StaticWeights<Cell, info.phases - 1, In, Hidden, kType>::kPassPanels ? 2 : 1;

  First first_{};
  Second second_{};
  alignas(64) float peephole_[info.peepholes > 0 ? info.peepholes* kPadded : 1]{};
  alignas(64) float h_[kBuffers][kPadded]{};
  alignas(64) float c_[info.states > 1 ? kPadded : 1]{};
  int turn_ = 0;  // of the passes' direction, and which h is current
};

// --- dense layers ---

// As in the engine (simd/pointwise.hpp): e^(y - the largest), summed by sixteens. y goes on to a whole vector.
template <int Out>
REKUR_INLINE void softmax_row(float* y) {
  float largest = y[0];
  for (int u = 1; u < Out; ++u) largest = y[u] > largest ? y[u] : largest;
  RowSum total;
  by_sixteens(Out, [&](Index u, Index count, int j) REKUR_INLINED {
    const Vec e = first_lanes(exp(load(y + u) - set1(largest)), count);
    store(y + u, e);
    total.s[j] += e;
  });
  const float sum = total.total();
  for (int u = 0; u < Out; u += kWidth) store(y + u, load(y + u) / set1(sum));
}

template <class Options, int In, int Out>
class DenseCore {
  static constexpr int kPanels = (Out + kWidth - 1) / kWidth, kPassPanels = pass_panels(kPanels, 1, kStreamedSums);
  static constexpr WeightType kType = kept_in(Options::weights, In, Out);

 public:
  template <class Kernel>
  void set_weights(const Kernel& kernel, const float* bias) noexcept {
    const auto matrix = matrix_of<kType>(kernel, Out);
    for (int u = 0; u < Out; ++u) {
      matrix.put(In, u, 0, u, kernel_, scales_);
      bias_.set(0, 0, u, bias ? bias[u] : 0.0f);
    }
  }

  REKUR_NOINLINE const float* step(const float* x) noexcept {
    constexpr int full = kPanels / kPassPanels, rest = kPanels % kPassPanels;
    const RowOf<In, kType> row(x);
    for (int i = 0; i < full; ++i) run_pass<kPassPanels>(i * kPassPanels, row);
    if constexpr (rest > 0) run_pass<rest>(full * kPassPanels, row);
    if constexpr (Options::softmax) softmax_row<Out>(y_);
    return y_;
  }

  const float* y() const noexcept { return y_; }

 private:
  template <int NP>
  REKUR_INLINE void run_pass(int panel, const RowOf<In, kType>& x) noexcept {
    constexpr Activation f = Options::activation;
    Vec sum[NP];
    pass_sums<In, 1, NP>(x, kernel_, scales_, panel, bias_.pass(panel), sum);
    REKUR_UNROLL
    for (int p = 0; p < NP; ++p) store(y_ + (panel + p) * kWidth, activation<f.kind>(f, sum[p]));
  }

  Panels<In, 1, Out, kPassPanels, kType> kernel_{};
  [[no_unique_address]] Scales<1, Out, kPassPanels, kType> scales_{};
  Panels<1, 1, Out, kPassPanels> bias_{};
  alignas(64) float y_[kPanels * kWidth]{};
};

// Of few outputs (few_outputs.hpp).
template <class Options, int In, int Out>
class DotsCore {
  static constexpr int kStride = (In + 15) / 16 * 16;
  static_assert(Out <= kWidth);

 public:
  template <class T>
  void set_weights(const T* kernel, const float* bias) noexcept {
    for (int u = 0; u < Out; ++u) {
      for (int k = 0; k < In; ++k) kernel_[u][k] = rounded(given<Options::weights>(kernel[k * Out + u]));
      bias_[u] = bias ? bias[u] : 0.0f;
    }
  }

  // Without an activation in its caller: after a small cell the call took longer than the sums. A product that ends an activation
  // stays apart, or compilers would contract it with what the caller adds.
  REKUR_INLINE const float* step(const float* x) noexcept {
    if constexpr (Options::activation.kind == ActivationKind::linear && !Options::softmax)
      return sum(x);
    else
      return step_apart(x);
  }

  const float* y() const noexcept { return y_; }

 private:
  REKUR_INLINE const float* sum(const float* x) noexcept {
    constexpr Activation f = Options::activation;
    Vec sums = zero();
    REKUR_UNROLL
    for (int u = 0; u < Out; ++u) sums[u] = dot_by_sixteens(In, x, kernel_[u], bias_ + u);
    store(y_, activation<f.kind>(f, sums));
    return y_;
  }

  REKUR_NOINLINE const float* step_apart(const float* x) noexcept {
    sum(x);
    if constexpr (Options::softmax) softmax_row<Out>(y_);
    return y_;
  }

  // They are few, and stay floats.
  static float rounded(float x) {
    if constexpr (Options::weights == WeightType::bf16)
      return detail::float_of_bf16(detail::bf16_of(x));
    else if constexpr (Options::weights == WeightType::fp16)
      return detail::float_of_fp16(detail::fp16_of(x));
    else
      return x;
  }

  alignas(64) float kernel_[Out][kStride]{};
  alignas(64) float bias_[kWidth]{};
  alignas(64) float y_[kWidth]{};
};

}  // namespace REKUR_SIMD_NAMESPACE
}  // namespace rekur
