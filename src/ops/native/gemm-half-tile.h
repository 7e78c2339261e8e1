// One register tile of a product of 16-bit operands: up to 6 rows of C by 4 vectors of columns, summed in float32.
#pragma once
#include <type_traits>
#include <utility>
#include "gemm-half-unit.h"

// Where a tile's sums go. Between blocks of the depth they wait in `partial`, which for a float32 C is C itself.
template <class Out>
struct HalfOutput {
  Out* c;
  float* partial;
  const float* bias;  // or null
  int64_t stride, partialStride, columns;
  bool add, addPartial, last;  // C is added to; earlier blocks' sums are in `partial`; no block of the depth follows
};

template <class Out>
ALWAYS_INLINE void finishValues(const HalfOutput<Out>& out, int i, int j, Vector sum) {
  float* partial = out.partial + i * out.partialStride + j * lanes;
  if (out.addPartial) sum += load(partial);
  if (!out.last) return store(partial, sum);
  Out* c = out.c + i * out.stride + j * lanes;
  if (out.bias) sum += load(out.bias + j * lanes);
  if (out.add) sum += loadValues(c);
  storeValues(c, sum);
}

// sums: [rows][width], of which out.columns count.
template <int width, class Out>
inline void finishEdge(const HalfOutput<Out>& out, int rows, const float* sums) {
  for (int i = 0; i < rows; ++i)
    for (int64_t j = 0; j < out.columns; ++j) {
      float sum = sums[i * width + j];
      float* partial = out.partial + i * out.partialStride + j;
      if (out.addPartial) sum += *partial;
      if (!out.last) {
        *partial = sum;
        continue;
      }
      Out* c = out.c + i * out.stride + j;
      if (out.bias) sum += out.bias[j];
      *c = static_cast<Out>(out.add ? sum + static_cast<float>(*c) : sum);
    }
}

// A: words of row i and step s at a[i·aRow + s] , or in a panel at a[s·halfRows + i]; B: a panel [steps][halfColumns].
template <class Unit, class Out, bool panel, int rows>
void halfTile(int64_t steps, const uint32_t* __restrict__ a, int64_t aRow, const uint32_t* __restrict__ b,
              const HalfOutput<Out>& out) {
  Vector sums[rows][halfVectors];
#pragma GCC unroll 8
  for (int i = 0; i < rows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < halfVectors; ++j) sums[i][j] = Vector{};
  const uint32_t* upper = a + 3 * aRow;
#pragma GCC unroll 1
  for (int64_t s = 0; s < steps; ++s) {
    Vector bs[halfVectors];
#pragma GCC unroll 8
    for (int j = 0; j < halfVectors; ++j) bs[j] = load(reinterpret_cast<const float*>(b) + j * lanes);
#pragma GCC unroll 8
    for (int i = 0; i < rows; ++i) {
      const Vector x = broadcastWord(panel ? a[i] : i < 3 ? a[i * aRow] : upper[(i - 3) * aRow]);
#pragma GCC unroll 8
      for (int j = 0; j < halfVectors; ++j) sums[i][j] = Unit::multiplyAdd(sums[i][j], x, bs[j]);
    }
    b += halfColumns;
    a += panel ? halfRows : 1;
    upper += 1;
  }
  if (out.columns == halfColumns) {
#pragma GCC unroll 8
    for (int i = 0; i < rows; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < halfVectors; ++j) finishValues(out, i, j, sums[i][j]);
    return;
  }
  float edge[rows * halfColumns];
#pragma GCC unroll 8
  for (int i = 0; i < rows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < halfVectors; ++j) store(edge + i * halfColumns + j * lanes, sums[i][j]);
  finishEdge<halfColumns>(out, rows, edge);
}

template <class Out>
using HalfTile = void (*)(int64_t steps, const uint32_t* a, int64_t aRow, const uint32_t* b, const HalfOutput<Out>& out);

template <class Unit, class Out, bool panel, int... i>
inline HalfTile<Out> halfTileFor(int64_t rows, std::integer_sequence<int, i...>) {
  static constexpr HalfTile<Out> table[] = {halfTile<Unit, Out, panel, i + 1>...};
  return table[rows - 1];
}
template <class Unit, class Out, bool panel>
inline HalfTile<Out> halfTileFor(int64_t rows) {
  return halfTileFor<Unit, Out, panel>(rows, std::make_integer_sequence<int, halfRows>{});
}
