// The product for a handful of rows of C (text generation): there each number of B is used only a few times, so copying it
// into panels would cost more than the product itself.
#pragma once
#include "gemm-pack.h"
#include "gemm-tile.h"
#include "parallel.h"

namespace own {

constexpr int64_t fewRows = tileRows;  // at most this many

// C columns [begin, end) for B [n, k] (its depth along memory rows): dot products, `rows` × 4 at a time.
template <int rows>
void dotProducts(int64_t begin, int64_t end, int64_t k, const float* a, const float* b, int64_t ldb, float alpha, float beta,
                 float* c, int64_t ldc) {
  const auto finish = [&](int i, int64_t column, float sum) {
    float* to = c + i * ldc + column;
    *to = beta == 0.0f ? alpha * sum : alpha * sum + beta * *to;
  };
  int64_t column = begin;
  for (; column + 4 <= end; column += 4) {
    const float* columns = b + column * ldb;
    Vector sums[rows][4];
#pragma GCC unroll 8
    for (int i = 0; i < rows; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < 4; ++j) sums[i][j] = Vector{};
    int64_t p = 0;
#pragma GCC unroll 1
    for (; p + lanes <= k; p += lanes) {
      Vector bs[4];
#pragma GCC unroll 8
      for (int j = 0; j < 4; ++j) bs[j] = load(columns + j * ldb + p);
#pragma GCC unroll 8
      for (int i = 0; i < rows; ++i) {
        const Vector x = load(a + i * k + p);
#pragma GCC unroll 8
        for (int j = 0; j < 4; ++j) sums[i][j] += x * bs[j];
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < 4; ++j) {
        float sum = 0;
        for (int l = 0; l < lanes; ++l) sum += sums[i][j][l];
        for (int64_t q = p; q < k; ++q) sum += a[i * k + q] * columns[j * ldb + q];
        finish(i, column + j, sum);
      }
  }
  for (; column < end; ++column)
    for (int i = 0; i < rows; ++i) {
      float sum = 0;
      for (int64_t q = 0; q < k; ++q) sum += a[i * k + q] * b[column * ldb + q];
      finish(i, column, sum);
    }
}

// a: op(A) as contiguous rows [m, k].
inline void fewRowsDots(const Context* context, int64_t m, int64_t n, int64_t k, float alpha, const float* a, const float* b,
                        int64_t ldb, float beta, float* c, int64_t ldc) {
  parallelFor(context, (n + 3) / 4, 1 + 50000 / (m * k), [&](int64_t begin, int64_t end, int) {
    const int64_t first = begin * 4, last = std::min(n, end * 4);
    int64_t i = 0;
    for (; i + 4 <= m; i += 4) dotProducts<4>(first, last, k, a + i * k, b, ldb, alpha, beta, c + i * ldc, ldc);
    const float* rest = a + i * k;
    if (m - i == 3) dotProducts<3>(first, last, k, rest, b, ldb, alpha, beta, c + i * ldc, ldc);
    if (m - i == 2) dotProducts<2>(first, last, k, rest, b, ldb, alpha, beta, c + i * ldc, ldc);
    if (m - i == 1) dotProducts<1>(first, last, k, rest, b, ldb, alpha, beta, c + i * ldc, ldc);
  });
}

// a: op(A) packed as one panel [k][m]; b [k, n].
inline void fewRowsTiles(const Context* context, int64_t m, int64_t n, int64_t k, float alpha, const float* a, const float* b,
                         int64_t ldb, float beta, float* c, int64_t ldc) {
  const ComputeTile compute = computeTileFor(m);
  const int64_t whole = n / tileColumns;
  parallelFor(context, whole, 1 + 6000 / (m * k), [&](int64_t begin, int64_t end, int) {
    for (int64_t p = begin; p < end; ++p)
      compute(k, a, b + p * tileColumns, ldb, {c + p * tileColumns, ldc, tileColumns, alpha, beta});
  });
  for (int64_t column = whole * tileColumns; column < n; ++column)
    for (int64_t i = 0; i < m; ++i) {
      float sum = 0;
      for (int64_t q = 0; q < k; ++q) sum += a[q * m + i] * b[q * ldb + column];
      float* to = c + i * ldc + column;
      *to = beta == 0.0f ? alpha * sum : alpha * sum + beta * *to;
    }
}

}  // namespace own
