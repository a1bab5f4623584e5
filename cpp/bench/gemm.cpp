// The engine's products against the peak of the instruction set they run on, one thread.
//
//   rekur_bench_gemm [--isa ISA] [--kernel gemm|gemm_tn] [--below F] [MxNxK …]
//
// Without shapes: those of recurrent networks, and awkward ones. --below 0.85 prints only lines under that fraction of the peak.
// B GB/s is how fast the K × N operand is read if each call reads it once: with few rows that, not arithmetic, is the bound
// (compare with rekur_bench_roofline).
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "isa/dispatch.hpp"
#include "rekur/runtime.hpp"
#include "runtime/scratch.hpp"
#include "simd/pack.hpp"
#include "timing.hpp"

double roofline_gflops(const std::string& isa, int threads);  // roofline.cpp

namespace rekur::bench {
namespace {

struct Shape {
  Index M, N, K;
  const char* what;
};

// C[M, N] = A[M, K] B[K, N]
const std::vector<Shape> kGemm = {
    {1, 128, 32, "step of a row, H 32"},
    {1, 512, 128, "step of a row, H 128"},
    {1, 2048, 512, "step of a row, H 512"},
    {4, 512, 128, "step, B 4, H 128"},
    {16, 512, 128, "step, B 16, H 128"},
    {64, 1024, 256, "step, B 64, H 256"},
    {64, 2048, 512, "step, B 64, H 512"},
    {128, 512, 128, "step, B 128, H 128"},
    {20, 2048, 512, "step, B 20, H 512"},
    {16, 128, 512, "gradient of h, B 16, H 128"},
    {64, 256, 1024, "gradient of h, B 64, H 256"},
    {64, 512, 2048, "gradient of h, B 64, H 512"},
    {192, 128, 1, "projection, I 1, H 32"},
    {192, 512, 28, "projection, I 28, H 128"},
    {192, 512, 64, "projection, I 64, H 128"},
    {192, 1024, 128, "projection, I 128, H 256"},
    {192, 2048, 512, "projection, I 512, H 512"},
    {3200, 1024, 256, "many rows"},
    {1600, 1, 64, "dense, one unit"},
    {1600, 10, 128, "dense, ten classes"},
    {7, 100, 50, "awkward"},
    {13, 65, 33, "awkward"},
    {193, 257, 129, "awkward"},
};

// C[M, N] += Aᵀ B, summed over K rows
const std::vector<Shape> kGemmTn = {
    {32, 128, 100, "recurrent kernel, H 32, T·B 100"},
    {128, 512, 200, "recurrent kernel, H 128, T·B 200"},
    {128, 512, 800, "recurrent kernel, H 128, T·B 800"},
    {256, 1024, 3200, "recurrent kernel, H 256, T·B 3200"},
    {512, 2048, 25, "recurrent kernel, H 512, T·B 25"},
    {512, 2048, 1600, "recurrent kernel, H 512, T·B 1600"},
    {1, 128, 200, "kernel, I 1, H 32"},
    {28, 512, 3584, "kernel, I 28, H 128"},
    {64, 512, 800, "kernel, I 64, H 128"},
    {128, 1024, 3200, "kernel, I 128, H 256"},
    {128, 1, 1600, "dense, one unit"},
    {7, 100, 50, "awkward"},
    {33, 65, 129, "awkward"},
};

// Numbers in [-1, 1), and the addresses of rows of them.
struct Matrix {
  Matrix(Index rows, Index columns) : data(static_cast<std::size_t>(rows * columns)) {
    std::uint32_t state = 1;
    for (float& x : data) {
      state = state * 1664525u + 1013904223u;
      x = static_cast<float>(static_cast<std::int32_t>(state)) * 0x1p-31f;
    }
    for (Index i = 0; i < rows; ++i) row.push_back(data.data() + i * columns);
  }
  std::vector<float> data;
  std::vector<float*> row;
};

Times time_gemm(const simd::Kernels& kernels, const Shape& s) {
  const Matrix a(s.M, s.K), b(s.K, s.N), bias(1, s.N);
  Matrix c(s.M, s.N);
  // One cache line more than needed: a real operand stands on a line's border.
  std::vector<float> storage(static_cast<std::size_t>(simd::packed_size(kernels, s.K, s.N) + 16));
  const auto misplaced = static_cast<Index>(reinterpret_cast<std::uintptr_t>(storage.data()) / sizeof(float) % 16);
  float* packed = storage.data() + (16 - misplaced) % 16;
  simd::pack(kernels, s.K, s.N, b.data.data(), s.N, 1, packed);
  return measure([&] {
    kernels.gemm(s.M, s.N, s.K, a.row.data(), packed, bias.data.data(), c.row.data(), 0, false);
    keep(c.data.data());
  });
}

Times time_gemm_tn(const simd::Kernels& kernels, const Shape& s) {
  const Matrix a(s.K, s.M), b(s.K, s.N);
  Matrix c(s.M, s.N);
  Scratch scratch;
  float* const work = scratch.take<float>(kernels.gemm_tn_work).data();
  return measure([&] {
    kernels.gemm_tn(s.M, s.N, s.K, a.row.data(), 0, b.row.data(), 0, c.data.data(), s.N, true, work);
    keep(c.data.data());
  });
}

struct Options {
  std::string isa, kernel;
  double below = 1e9;
  std::vector<Shape> shapes;
};

Options parse(const std::vector<std::string>& arguments) {
  Options options;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& name = arguments[i];
    const auto value = [&]() -> const std::string& {
      if (++i == arguments.size()) throw std::invalid_argument(name + " wants a value");
      return arguments[i];
    };
    long long M = 0, N = 0, K = 0;
    char rest = 0;
    if (name == "--isa")
      options.isa = value();
    else if (name == "--kernel")
      options.kernel = value();
    else if (name == "--below")
      options.below = std::strtod(value().c_str(), nullptr);
    else if (std::sscanf(name.c_str(), "%lldx%lldx%lld%c", &M, &N, &K, &rest) == 3 && std::min({M, N, K}) > 0)
      options.shapes.push_back({M, N, K, ""});
    else
      throw std::invalid_argument("expected an option or a shape MxNxK, got '" + name + "'");
  }
  if (!options.kernel.empty() && options.kernel != "gemm" && options.kernel != "gemm_tn")
    throw std::invalid_argument("--kernel is gemm or gemm_tn, not '" + options.kernel + "'");
  return options;
}

void print_lines(const Options& options, const std::string& isa, const char* kernel, double peak, const std::vector<Shape>& shapes,
                 Times (*time)(const simd::Kernels&, const Shape&)) {
  if (!options.kernel.empty() && options.kernel != kernel) return;
  for (const Shape& s : options.shapes.empty() ? shapes : options.shapes) {
    const Times times = time(isa::kernels(), s);
    const double size = static_cast<double>(s.N) * static_cast<double>(s.K);
    const double gflops = 2e-9 * size * static_cast<double>(s.M) / times.minimum;
    if (gflops / peak >= options.below) continue;
    std::printf("%-9s %-8s %5lld %5lld %5lld %11.2f %11.2f %8.1f %6.2f %8.1f  %s\n", isa.c_str(), kernel,
                static_cast<long long>(s.M), static_cast<long long>(s.N), static_cast<long long>(s.K), times.minimum * 1e6,
                times.median * 1e6, gflops, gflops / peak, 4e-9 * size / times.minimum, s.what);
    std::fflush(stdout);
  }
}

void run(const Options& options) {
  if (!options.isa.empty()) set_isa(options.isa);
  std::printf("%-9s %-8s %5s %5s %5s %11s %11s %8s %6s %8s\n", "isa", "kernel", "M", "N", "K", "µs", "median µs", "GFLOP/s",
              "/peak", "B GB/s");
  for (const std::string& isa : options.isa.empty() ? available_isas() : std::vector{options.isa}) {
    set_isa(isa);
    const double peak = roofline_gflops(isa, 1);
    std::printf("%-9s peak %43.1f\n", isa.c_str(), peak);
    print_lines(options, isa, "gemm", peak, kGemm, time_gemm);
    print_lines(options, isa, "gemm_tn", peak, kGemmTn, time_gemm_tn);
  }
}

}  // namespace
}  // namespace rekur::bench

int main(int argc, char** argv) {
  try {
    rekur::bench::run(rekur::bench::parse({argv + 1, argv + argc}));
  } catch (const std::exception& e) {
    std::fprintf(stderr, "rekur_bench_gemm: %s\n", e.what());
    return 2;
  }
  return 0;
}
