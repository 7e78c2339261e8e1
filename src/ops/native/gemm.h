// Matrix products for every kernel, whichever library stands behind them.
#pragma once
#include <cstdint>
#include "context.h"

// C[m,n] = alpha · op(A)[m,k] · op(B)[k,n] + beta · C, row-major, with leading dimensions in elements.
// Uses the engine's threads. beta 0 never reads C.
void gemm(const Context* context, bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, float alpha,
          const float* a, int64_t lda, const float* b, int64_t ldb, float beta, float* c, int64_t ldc);

// C[m,n] = op(A)[m,k] · op(B)[k,n] (+ bias[n], where given) (+ C, where asked), row-major without gaps. Operands of 16 bits are
// multiplied and summed as float32, and a C of 16 bits is rounded once. T and Out: float, float; or Bf16 or F16, and the same or
// float.
template <class T, class Out>
void gemmValues(const Context* context, bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, const T* a,
                const T* b, const float* bias, Out* c, bool accumulate);
