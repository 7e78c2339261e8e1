#include "gemm.h"

extern "C" void matrix_product(const Context* context, const float* a, const float* b, float* c, int64_t m, int64_t n,
                               int64_t k, int64_t transposeA, int64_t transposeB, int64_t accumulate) {
  gemm(context, transposeA != 0, transposeB != 0, m, n, k, 1.0f, a, transposeA ? m : k, b, transposeB ? k : n,
       accumulate ? 1.0f : 0.0f, c, n);
}
