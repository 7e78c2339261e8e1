// What every kernel is told about the engine that calls it: threads and the matrix-product provider.
// One Context per engine (that is, per rank), so two ranks in one process never share settings.
#pragma once
#include <cstdint>

// oneDNN's C entry point (row-major): returns 0 on success.
using DnnlSgemm = int (*)(char transA, char transB, int64_t m, int64_t n, int64_t k, float alpha, const float* a,
                          int64_t lda, const float* b, int64_t ldb, float beta, float* c, int64_t ldc);
// CBLAS (OpenBLAS, Accelerate): order 101 is row-major, 111 no transpose, 112 transpose.
using CblasSgemm = void (*)(int order, int transA, int transB, int m, int n, int k, float alpha, const float* a, int lda,
                            const float* b, int ldb, float beta, float* c, int ldc);

struct Context {
  int32_t threads;        // threads this engine may use
  int32_t reserved;
  DnnlSgemm dnnlSgemm;    // null where oneDNN is missing
  CblasSgemm cblasSgemm;  // null where there is no BLAS
};
