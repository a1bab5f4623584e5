// Images as states, for static_steps.hpp: one step of ConvLSTM1D and ConvLSTM2D.
namespace rekur {
namespace REKUR_SIMD_NAMESPACE {

// Rows, columns and channels of an image; taps of a window and how far apart they are.
template <int Rows, int Columns, int Channels, int RowTaps, int ColumnTaps, int RowDilation, int ColumnDilation>
struct Image {
  static constexpr int size = RowTaps * ColumnTaps * Channels;

  // The window whose first tap stands at (row, column): zeros beyond the image.
  static REKUR_INLINE void window(const float* x, int row, int column, float* to) {
    for (int i = 0; i < RowTaps; ++i)
      for (int j = 0; j < ColumnTaps; ++j, to += Channels) {
        const int r = row + i * RowDilation, c = column + j * ColumnDilation;
        const bool inside = r >= 0 && r < Rows && c >= 0 && c < Columns;
        for (int k = 0; k < Channels; ++k) to[k] = inside ? x[(r * Columns + c) * Channels + k] : 0.0f;
      }
  }
};

// An LSTM's equations on the sums of its gates i, f, g, o.
template <ActivationKind Gate, ActivationKind Candidate, int F>
REKUR_INLINE void lstm_gates(float gate_alpha, float gate_beta, float alpha, float beta, const float* sums, float* c, float* h) {
  const Activation gate{Gate, gate_alpha, gate_beta}, candidate{Candidate, alpha, beta};
  const auto sum = [=](int g, int u) REKUR_INLINED { return load(sums + g * F + u) + zero(); };
  alignas(64) float cell[lines(F)], out[lines(F)];
  copy<F>(c, cell);
  for (int u = 0; u < F; u += kWidth) {
    const Vec i = activation<Gate>(gate, sum(0, u)), f = activation<Gate>(gate, sum(1, u));
    const Vec g = activation<Candidate>(candidate, sum(2, u));
    const Vec next = f * load(cell + u) + i * g;
    const Vec o = activation<Gate>(gate, sum(3, u));
    store(cell + u, next);
    store(out + u, o * activation<Candidate>(candidate, next));
  }
  copy<F>(cell, c);
  copy<F>(out, h);
}

}  // namespace REKUR_SIMD_NAMESPACE
}  // namespace rekur
