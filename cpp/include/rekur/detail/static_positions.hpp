// Where a step stands, for static_steps.hpp: counted in two floats, as a stream counts it.
namespace rekur {
namespace REKUR_SIMD_NAMESPACE {

// The step's number, which `at` holds; then that of the next one.
REKUR_INLINE double count_step(float* at) {
  constexpr float kLow = 1048576.0f;
  const double t = static_cast<double>(at[1]) * static_cast<double>(kLow) + static_cast<double>(at[0]);
  at[0] += 1;
  if (at[0] >= kLow) {
    at[0] = 0;
    at[1] += 1;
  }
  return t;
}

template <int Rows, int N, class W>
REKUR_INLINE void position_embedding(double t, const W* table, float* y) {
  const bool known = t >= 0 && t < static_cast<double>(Rows);
  const int row = known ? static_cast<int>(t) : 0;
  for (int i = 0; i < N; i += kWidth) store(y + i, known ? load(table + row * N + i) : set1(REKUR_NAN));
}

template <int N>
REKUR_INLINE void sine_position(double t, const double* rate, float* y) {
  for (int i = 0; i < N; ++i) {
    const double angle = t * rate[i];
    y[i] = static_cast<float>(i % 2 ? REKUR_COS(angle) : REKUR_SIN(angle));
  }
}

// The pair (i, i + N / 2) turned by t times its rate.
template <int N>
REKUR_INLINE void rotary_position(double t, const double* rate, const float* x, float* y) {
  constexpr int half = N / 2;
  for (int i = 0; i < half; ++i) {
    const double angle = t * rate[i];
    const float c = static_cast<float>(REKUR_COS(angle)), s = static_cast<float>(REKUR_SIN(angle));
    const float a = x[i], b = x[half + i];
    y[i] = a * c - b * s;
    y[half + i] = b * c + a * s;
  }
}

}  // namespace REKUR_SIMD_NAMESPACE
}  // namespace rekur
