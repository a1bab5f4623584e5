// The same cells as one writes them with Eigen: fused gates, products without temporaries, Eigen's own vectorised tanh and
// logistic. H = Eigen::Dynamic: sizes known at run time only.
#pragma once

#define EIGEN_STACK_ALLOCATION_LIMIT 0  // cells of fixed size are members, not locals
#include <Eigen/Core>

namespace rekur::bench {

template <int N>
using EigenVector = Eigen::Matrix<float, N, 1>;
template <int R, int C>
using EigenMatrix = Eigen::Matrix<float, R, C>;

constexpr int eigen_size(int a, int b) { return a == Eigen::Dynamic || b == Eigen::Dynamic ? Eigen::Dynamic : a * b; }
constexpr int eigen_sum(int a, int b) { return a == Eigen::Dynamic || b == Eigen::Dynamic ? Eigen::Dynamic : a + b; }

using RowMajor = Eigen::Map<const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>;

// Gates of one matrix-vector product: (W R b)·(x h 1).
template <int I, int H>
class EigenLstm {
 public:
  EigenLstm(int in, int hidden)
      : I_(in), H_(hidden), m_(4 * hidden, in + hidden + 1), v_(in + hidden + 1), z_(4 * hidden), c_(hidden) {
    v_.setZero();
    v_(I_ + H_) = 1.0f;
    c_.setZero();
  }

  void set_weights(const float* kernel, const float* recurrent_kernel, const float* bias) {
    m_.leftCols(I_) = RowMajor(kernel, I_, 4 * H_).transpose();
    m_.middleCols(I_, H_) = RowMajor(recurrent_kernel, H_, 4 * H_).transpose();
    m_.rightCols(1) = RowMajor(bias, 1, 4 * H_).transpose();
  }

  const float* step(const float* x) {
    v_.template head<I>(I_) = Eigen::Map<const EigenVector<I>>(x, I_);
    z_.noalias() = m_ * v_;
    const auto i = z_.template segment<H>(0, H_).array().logistic();
    const auto f = z_.template segment<H>(H_, H_).array().logistic();
    const auto g = z_.template segment<H>(2 * H_, H_).array().tanh();
    const auto o = z_.template segment<H>(3 * H_, H_).array().logistic();
    c_.array() = f * c_.array() + i * g;
    v_.template segment<H>(I_, H_).array() = o * c_.array().tanh();
    return v_.data() + I_;
  }

 private:
  Eigen::Index I_, H_;
  EigenMatrix<eigen_size(4, H), eigen_sum(eigen_sum(I, H), 1)> m_;
  EigenVector<eigen_sum(eigen_sum(I, H), 1)> v_;
  EigenVector<eigen_size(4, H)> z_;
  EigenVector<H> c_;
};

// Reset after: the two products stay apart, for r takes a part of one only.
template <int I, int H>
class EigenGru {
 public:
  EigenGru(int in, int hidden)
      : I_(in),
        H_(hidden),
        w_(3 * hidden, in + 1),
        r_(3 * hidden, hidden + 1),
        x_(in + 1),
        h_(hidden + 1),
        a_(3 * hidden),
        q_(3 * hidden),
        z_(hidden) {
    x_.setOnes();
    h_.setZero();
    h_(H_) = 1.0f;
  }

  void set_weights(const float* kernel, const float* recurrent_kernel, const float* bias) {
    w_.leftCols(I_) = RowMajor(kernel, I_, 3 * H_).transpose();
    w_.rightCols(1) = RowMajor(bias, 1, 3 * H_).transpose();
    r_.leftCols(H_) = RowMajor(recurrent_kernel, H_, 3 * H_).transpose();
    r_.rightCols(1) = RowMajor(bias + 3 * H_, 1, 3 * H_).transpose();
  }

  const float* step(const float* x) {
    x_.template head<I>(I_) = Eigen::Map<const EigenVector<I>>(x, I_);
    a_.noalias() = w_ * x_;
    q_.noalias() = r_ * h_;
    const auto at = [this](auto& v, Eigen::Index gate) { return v.template segment<H>(gate * H_, H_).array(); };
    auto h = h_.template head<H>(H_).array();
    z_.array() = (at(a_, 0) + at(q_, 0)).logistic();
    const auto n = (at(a_, 2) + (at(a_, 1) + at(q_, 1)).logistic() * at(q_, 2)).tanh();
    // n is used twice: once computed, it goes where a's last gate was.
    at(a_, 2) = n;
    h = at(a_, 2) + z_.array() * (h - at(a_, 2));
    return h_.data();
  }

 private:
  Eigen::Index I_, H_;
  EigenMatrix<eigen_size(3, H), eigen_sum(I, 1)> w_;
  EigenMatrix<eigen_size(3, H), eigen_sum(H, 1)> r_;
  EigenVector<eigen_sum(I, 1)> x_;
  EigenVector<eigen_sum(H, 1)> h_;
  EigenVector<eigen_size(3, H)> a_, q_;
  EigenVector<H> z_;
};

}  // namespace rekur::bench
