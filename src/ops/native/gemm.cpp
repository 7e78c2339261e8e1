// The matrix product's entry point: oneDNN where the machine has it, else a BLAS, else our own kernel.
#include "gemm.h"
#include <climits>
#include "gemm-own.h"
#include "signals.h"

static bool gemmDnnl(const Context* context, bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, float alpha,
                     const float* a, int64_t lda, const float* b, int64_t ldb, float beta, float* c, int64_t ldc) {
  const SignalGuard guard;
#if defined(_OPENMP)
  // oneDNN asks OpenMP for its thread count, which is a setting of the calling thread: another engine's is untouched.
  // A product of some 20 µs is over before a second thread has woken.
  const int before = omp_get_max_threads(), wanted = m * n * k < 1000000 ? 1 : context->threads;
  if (before != wanted) omp_set_num_threads(wanted);
#endif
  const auto flag = [](bool transpose) { return transpose ? 'T' : 'N'; };
  const int status = context->dnnlSgemm(flag(transposeA), flag(transposeB), m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
#if defined(_OPENMP)
  if (before != wanted) omp_set_num_threads(before);
#endif
  return status == 0;
}

static bool gemmCblas(const Context* context, bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, float alpha,
                      const float* a, int64_t lda, const float* b, int64_t ldb, float beta, float* c, int64_t ldc) {
  for (const int64_t size : {m, n, k, lda, ldb, ldc})
    if (size > INT_MAX) return false;
  const auto flag = [](bool transpose) { return transpose ? 112 : 111; };
  const auto narrow = [](int64_t size) { return static_cast<int>(size); };
  context->cblasSgemm(101, flag(transposeA), flag(transposeB), narrow(m), narrow(n), narrow(k), alpha, a, narrow(lda), b,
                      narrow(ldb), beta, c, narrow(ldc));
  return true;
}

void gemm(const Context* context, bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, float alpha,
          const float* a, int64_t lda, const float* b, int64_t ldb, float beta, float* c, int64_t ldc) {
  if (m <= 0 || n <= 0) return;
  if (k <= 0 || alpha == 0.0f) return own::scale(c, m, n, ldc, beta);
  if (context->dnnlSgemm && gemmDnnl(context, transposeA, transposeB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)) return;
  if (context->cblasSgemm && gemmCblas(context, transposeA, transposeB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)) return;
  own::Product{context, {a, lda, !transposeA}, {b, ldb, transposeB}, m, n, k, alpha, beta, c, ldc}.run();
}
