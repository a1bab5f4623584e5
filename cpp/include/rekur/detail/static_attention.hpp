// Causal attention over the last steps, for static_steps.hpp: the ring of a stream (sequence/attention_cache.hpp) and its
// arithmetic (simd/attention.hpp): blocks of 128 keys, an online softmax over them.
namespace rekur {
namespace REKUR_SIMD_NAMESPACE {

inline constexpr int kAttentionKeys = 128;

// Keys that there is room for: whole blocks that a window can touch.
constexpr int attention_room(int window) {
  return (window - 1 + kAttentionKeys - 1) / kAttentionKeys * kAttentionKeys + kAttentionKeys;
}

template <int Dim, int Value, int Window>
struct AttentionRing {
  static constexpr int room = attention_room(Window), columns = lines(Value), size = room * (Dim + columns);
};

inline IVec lanes_within(int at, int low, int high) {
  IVec index;
  for (int i = 0; i < kWidth; ++i) index[i] = i;
  return (index >= low - at) & (index < high - at);
}

// All lanes the largest of them.
REKUR_INLINE Vec largest_everywhere(Vec v) {
  for (int step = kWidth / 2; step > 0; step /= 2) {
    Vec other = v;
    for (int lane = 0; lane < kWidth; ++lane) other[lane] = v[lane ^ step];
    v = at_least(v, other);
  }
  return v;
}

// The step's number, modulo twice the ring, from which a new key and value find their places.
template <int Room>
REKUR_INLINE int attention_place(const float* position) {
  return *position >= 0 && *position < static_cast<float>(2 * Room) ? static_cast<int>(*position) : 0;
}

template <int Dim, int Value, int Window>
REKUR_INLINE void attention_enter(int at, const float* key, float key_scale, const float* value, float* ring) {
  using Ring = AttentionRing<Dim, Value, Window>;
  const int block = at % Ring::room / kAttentionKeys * kAttentionKeys, lane = at % kAttentionKeys;
  for (int i = 0; i < Dim; ++i) ring[block * Dim + i * kAttentionKeys + lane] = key[i] * key_scale;
  copy<Value>(value, ring + Ring::room * Dim + (block + lane) * Ring::columns);
}

// out = Σ_k softmax(score)_k value_k over the window; additive [Dim] or null: scores Σ additive tanh(q + k) instead of q · k.
template <int Dim, int Value, int Window>
void attend(int at, const float* query, float scale, const float* additive, const float* ring, float* to) {
  using Ring = AttentionRing<Dim, Value, Window>;
  const int oldest = at + 1 - Window > 0 ? at + 1 - Window : 0, first = oldest / kAttentionKeys * kAttentionKeys;
  const int begin = oldest - first, end = at + 1 - first;
  alignas(64) float q[lines(Dim)], out[Ring::columns], s[kAttentionKeys];
  map<Dim>(query, q, [=](Vec v) REKUR_INLINED { return v * set1(scale); });
  fill<Value>(0.0f, out);
  Vec largest = set1(-REKUR_INFINITY);
  RowSum sum;
  for (int k0 = 0; k0 < end; k0 += kAttentionKeys) {
    const int n = end - k0 < kAttentionKeys ? end - k0 : kAttentionKeys, low = begin > k0 ? begin - k0 : 0;
    if (low >= n) continue;
    const int place = (first + k0) % Ring::room;
    const float *const keys = ring + place * Dim, *const values = ring + Ring::room * Dim + place * Ring::columns;
    const Vec before = largest;
    for (int k = 0; k < n; k += kWidth) {
      Vec v = zero();
      for (int i = 0; i < Dim; ++i) {
        const Vec key = load(keys + i * kAttentionKeys + k);
        v = additive ? fma(set1(additive[i]), tanh(set1(q[i]) + key), v) : fma(set1(q[i]), key, v);
      }
      v = select(lanes_within(k, low, n), v, set1(-REKUR_INFINITY));
      store(s + k, v);
      largest = at_least(v, largest);
    }
    largest = largest_everywhere(largest);
    if (largest[0] != before[0]) {
      const Vec factor = exp(before - largest);
      REKUR_UNROLL
      for (int j = 0; j < kSixteen; ++j) sum.s[j] *= factor;
      map<Value>(out, out, [=](Vec v) REKUR_INLINED { return v * factor; });
    }
    by_sixteens(n, [&](Index k, Index, int j) REKUR_INLINED {
      const Vec p = exp(load(s + k) - largest);
      store(s + k, p);
      sum.s[j] += p;
    });
    for (int i = 0; i < Value; i += kWidth) {
      Vec v = load(out + i);
      for (int k = 0; k < n; ++k) v = fma(set1(s[k]), load(values + k * Ring::columns + i), v);
      store(out + i, v);
    }
  }
  const Vec inverse = set1(1.0f / sum.total());
  map<Value>(out, out, [=](Vec v) REKUR_INLINED { return v * inverse; });
  copy<Value>(out, to);
}

template <int Room>
REKUR_INLINE void attention_next(int at, float* position) {
  *position = static_cast<float>(at + 1 < 2 * Room ? at + 1 : Room);
}

}  // namespace REKUR_SIMD_NAMESPACE
}  // namespace rekur
