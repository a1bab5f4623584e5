// Heads whose state is a matrix S of K × V numbers, through time: what GatedLinearAttention and MLSTM are between theirs.
//
// At each step, with q, k (K numbers) and v (V numbers) of the projection:
//   linear        S ← S + k vᵀ                                        Katharopoulos et al., arXiv:2006.16236
//   gated         S ← diag(a) S + k vᵀ                                Yang et al., arXiv:2312.06635
//   delta         S ← S + β k (v - Sᵀ k)ᵀ                             Yang et al., arXiv:2406.06484
//   gated_delta   S ← a S + β k (v - a Sᵀ k)ᵀ                         Yang et al., arXiv:2412.06464
//   o = Sᵀ q
//   mlstm         m' = max(ln σ(f) + m, i), a = e^(ln σ(f) + m - m'), u = k e^(i - m') / √K     Beck et al., arXiv:2405.04517
//                 S ← a S + u vᵀ, n ← a n + u, o = Sᵀ q / max(|n · q|, e^-m')
// There n is one more column of S, as if a 1 stood behind each v. m scales S, n and the bound alike, so that nothing overflows; o
// does not depend on it, so m has no gradients but those of the state that is handed over. The backward pass keeps no state. With G
// the gradient of S, which goes backwards in time by the same kind of step,
//   dq = S do   dw = Gᵀ k   dk = G w - Ŝ dr      where S ← Ŝ + k wᵀ, Ŝ = a S, r = v - Ŝᵀ k, w = β r, dr = β dw (else w = v, dr = 0)
// so S goes onwards a second time, transposed, while dq is made, and G backwards twice. The gradient of ln a at step t is that of
// step t + 1, plus q ⊙ dq - k ⊙ (G w + Ŝ dr) of step t: sums over v of G ⊙ S before and after a step differ by that.
#pragma once

#include "layers/layer.hpp"
#include "simd/matrix_kernels.hpp"

namespace rekur::layers {

enum class MatrixRule : std::uint8_t { linear, gated, delta, gated_delta, mlstm };

// Numbers of a head and step that mlstm keeps for the backward pass: a, e^(i - m'), n · q, e^-m'.
inline constexpr Index kMatrixGates = 4;

// One head of one row of a batch. Numbers of a step stand in rows of a projection.
struct HeadRun {
  Index head, steps;
  const float* projection;  // [steps] rows of columns()
  const float* initial;     // head_state() numbers, or null for zeros
  float* final;             // as many, or null
  float* o;                 // [steps] rows of heads · V, at the head's own
  float* r;                 // likewise: v - Sᵀ k of the delta rules, to be kept for the backward pass; null: not wanted
  float* gates;             // [steps] rows of heads · kMatrixGates, of mlstm, for the backward pass; null: not wanted
};

struct HeadBackward {
  HeadRun run;
  const float* d_o;      // as o
  const float* d_final;  // head_state() numbers, or null for zeros
  float* d_initial;      // as many, or null
  float* d_projection;   // as the projection; all of the head's columns but those of the output gate are written
};

class MatrixHeads {
 public:
  MatrixHeads() = default;
  MatrixHeads(MatrixRule rule, Index heads, Index key, Index value, float decay_power, bool output_gate);

  bool delta() const { return rule_ == MatrixRule::delta || rule_ == MatrixRule::gated_delta; }
  bool mlstm() const { return rule_ == MatrixRule::mlstm; }
  bool decays() const { return rule_ == MatrixRule::gated || rule_ == MatrixRule::gated_delta || mlstm(); }
  Index heads() const { return H_; }
  Index value() const { return V_; }
  Index width() const { return H_ * V_; }            // of o
  Index state() const { return H_ * head_state(); }  // of all heads
  // S, [K][V]; of mlstm [K][V + 1] and m.
  Index head_state() const { return K_ * L_ + (mlstm() ? 1 : 0); }
  // Of a projection, as far as the rule has them: q of all heads, k, v, the gates a, β, the output's gate; of mlstm q, k, v, i, the
  // output's gate, f.
  Index columns() const { return columns_; }
  Index output_gate() const { return z_; }  // its first column

  double operations(Index steps) const;  // of a head, roughly
  Index work() const;                    // floats that a run wants
  void forward(const simd::MatrixKernels& kernels, const HeadRun& run, float* work) const noexcept;
#if REKUR_TRAINING
  Index backward_work() const;
  void backward(const simd::MatrixKernels& kernels, const HeadBackward& b, float* work) const noexcept;
#endif

 private:
  struct Chunk;
  struct Memory;
  void pack_keys(const simd::MatrixKernels& kernels, const HeadRun& run, Index begin, Index count, const Chunk& to) const;
  void pack_values(const simd::MatrixKernels& kernels, const HeadRun& run, Index begin, Index count, const Chunk& to) const;
  void pack_gates(const simd::MatrixKernels& kernels, const HeadRun& run, Index begin, Index count, const Chunk& to,
                  float& m) const;
  void divide(const simd::MatrixKernels& kernels, const HeadRun& run, Index begin, Index count, const Chunk& c, float* o) const;
  Chunk chunk(Memory& memory) const;
  float query_scale() const;
  float key_scale() const;
  simd::Decay decay(bool lanes_are_keys) const;
#if REKUR_TRAINING
  void pack_kept(const simd::MatrixKernels& kernels, const HeadRun& run, Index begin, Index count, const Chunk& to) const;
  void pack_gradients(const simd::MatrixKernels& kernels, const HeadBackward& b, Index begin, Index count, float* to) const;
  void pack_added(const simd::MatrixKernels& kernels, const HeadRun& run, Index begin, Index count, const Chunk& to) const;
  void sweep_values(const simd::MatrixKernels& kernels, const HeadBackward& b, Memory memory) const;
  void sweep_queries(const simd::MatrixKernels& kernels, const HeadBackward& b, Memory memory, float* d_decay) const;
  void sweep_keys(const simd::MatrixKernels& kernels, const HeadBackward& b, Memory memory, float* d_decay) const;
#endif

  MatrixRule rule_ = MatrixRule::linear;
  Index H_ = 0, K_ = 0, V_ = 0, L_ = 0;  // L: columns of S
  Index Kp_ = 0, Lp_ = 0;                // filled up to whole vectors
  float decay_power_ = 1;
  Index k_ = 0, v_ = 0, a_ = 0, b_ = 0, z_ = 0, columns_ = 0;  // first columns; q's is 0
};

}  // namespace rekur::layers
