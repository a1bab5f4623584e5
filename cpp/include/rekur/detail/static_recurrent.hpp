// Recurrent layers of fixed size, for one width of vector. Part of static_width.hpp, after static_products.hpp: it has no guard.

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

}  // namespace REKUR_SIMD_NAMESPACE
}  // namespace rekur
