// The 16-bit product for a handful of rows (text generation): B is read once, as it lies, in dot products along its rows.
#pragma once
#include "gemm-half-unit.h"
#include "parallel.h"

namespace half {

inline int64_t ceilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }

constexpr int64_t fewRows = 12;  // at most this many

// C [m, n] = a [m, k] · b [n, k]ᵀ (+ bias) (+ C).
template <class Unit, class T, class Out>
struct FewRows {
  int64_t m, n, k;
  const T *a, *b;
  const float* bias;
  Out* c;
  bool accumulate;

  template <int rows, int columns>
  void dotProducts(int64_t row, int64_t column) const {
    constexpr int64_t width = lanes * Unit::depth;
    const T *as = a + row * k, *bs = b + column * k;
    Vector sums[rows][columns];
#pragma GCC unroll 4
    for (int i = 0; i < rows; ++i)
#pragma GCC unroll 4
      for (int j = 0; j < columns; ++j) sums[i][j] = Vector{};
    int64_t p = 0;
#pragma GCC unroll 1
    for (; p + width <= k; p += width) {
      Vector y[columns];
#pragma GCC unroll 4
      for (int j = 0; j < columns; ++j) y[j] = Unit::vector(bs + j * k + p);
#pragma GCC unroll 4
      for (int i = 0; i < rows; ++i) {
        const Vector x = Unit::vector(as + i * k + p);
#pragma GCC unroll 4
        for (int j = 0; j < columns; ++j) sums[i][j] = Unit::multiplyAdd(sums[i][j], x, y[j]);
      }
    }
#pragma GCC unroll 4
    for (int i = 0; i < rows; ++i)
#pragma GCC unroll 4
      for (int j = 0; j < columns; ++j) {
        float sum = bias ? bias[column + j] : 0.0f;
        for (int l = 0; l < lanes; ++l) sum += sums[i][j][l];
        for (int64_t q = p; q < k; ++q) sum += static_cast<float>(as[i * k + q]) * static_cast<float>(bs[j * k + q]);
        Out& to = c[(row + i) * n + column + j];
        to = static_cast<Out>(accumulate ? sum + static_cast<float>(to) : sum);
      }
  }

  template <int columns>
  void allRows(int64_t column) const {
    int64_t row = 0;
    for (; row + 4 <= m; row += 4) dotProducts<4, columns>(row, column);
    if (m - row == 3) dotProducts<3, columns>(row, column);
    if (m - row == 2) dotProducts<2, columns>(row, column);
    if (m - row == 1) dotProducts<1, columns>(row, column);
  }

  void run(const Context* context) const {
    parallelFor(context, ceilDivide(n, 4), 1 + 50000 / (m * k), [&](int64_t begin, int64_t end, int) {
      int64_t column = begin * 4;
      for (; column + 4 <= std::min(n, end * 4); column += 4) allRows<4>(column);
      for (; column < std::min(n, end * 4); ++column) allRows<1>(column);
    });
  }
};

}  // namespace half
