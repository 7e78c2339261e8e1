// Matrix products of values of any type: float32 goes to the libraries, 16 bits to our own product.
#include <vector>
#include "elements.h"
#include "gemm.h"
#include "parallel.h"

template <>
void gemmValues(const Context* context, bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, const float* a,
                const float* b, const float* bias, float* c, bool accumulate) {
  gemm(context, transposeA, transposeB, m, n, k, 1.0f, a, transposeA ? m : k, b, transposeB ? k : n, accumulate ? 1.0f : 0.0f,
       c, n);
  if (!bias) return;
  parallelFor(context, m, 1 + 16384 / (n + 1), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      float* __restrict out = c + row * n;
      for (int64_t i = 0; i < n; ++i) out[i] += bias[i];
    }
  });
}

template <class T, class Out>
void gemmValues(const Context* context, bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, const T* a,
                const T* b, const float* bias, Out* c, bool accumulate) {
  const std::vector<float> wideA(a, a + m * k), wideB(b, b + k * n);
  std::vector<float> wideC(static_cast<size_t>(m * n));
  if (accumulate) std::copy(c, c + m * n, wideC.begin());
  gemmValues(context, transposeA, transposeB, m, n, k, wideA.data(), wideB.data(), bias, wideC.data(), accumulate);
  for (int64_t i = 0; i < m * n; ++i) c[i] = static_cast<Out>(wideC[static_cast<size_t>(i)]);
}

#define INSTANCE(T, Out)                                                                                            \
  template void gemmValues(const Context*, bool, bool, int64_t, int64_t, int64_t, const T*, const T*, const float*, Out*, bool);
INSTANCE(Bf16, Bf16)
INSTANCE(Bf16, float)
INSTANCE(F16, F16)
INSTANCE(F16, float)
