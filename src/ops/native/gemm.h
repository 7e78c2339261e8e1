// Matrix products for every kernel, whichever library stands behind them.
#pragma once
#include <cstdint>
#include "context.h"

// C[m,n] = alpha · op(A)[m,k] · op(B)[k,n] + beta · C, row-major, with leading dimensions in elements.
// Uses the engine's threads. beta 0 never reads C.
void gemm(const Context* context, bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, float alpha,
          const float* a, int64_t lda, const float* b, int64_t ldb, float beta, float* c, int64_t ldc);
