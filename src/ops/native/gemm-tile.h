// One register tile of the product: C[rows, up to tileColumns] = alpha · A·B + beta · C, A a packed panel [depth][rows],
// B rows of tileColumns numbers, bStride apart.
#pragma once
#include <utility>
#include "tile.h"

struct TileOutput {
  float* c;
  int64_t stride, columns;  // columns: how many of the tile's are part of C
  float alpha, beta;
};

template <int rows>
void computeTile(int64_t depth, const float* a, const float* b, int64_t bStride, const TileOutput& out) {
  Vector sums[rows][tileVectors];
#pragma GCC unroll 32
  for (int i = 0; i < rows; ++i) {
    if (out.beta != 0.0f) __builtin_prefetch(out.c + i * out.stride, 1);
#pragma GCC unroll 8
    for (int j = 0; j < tileVectors; ++j) sums[i][j] = Vector{};
  }
  multiplyTile<rows, tileVectors, 1, rows>(sums, depth, a, b, bStride);
  const Vector alpha = broadcast(out.alpha), beta = broadcast(out.beta);
  if (out.columns == tileColumns) {
#pragma GCC unroll 32
    for (int i = 0; i < rows; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < tileVectors; ++j) {
        float* c = out.c + i * out.stride + j * lanes;
        store(c, out.beta == 0.0f ? alpha * sums[i][j] : alpha * sums[i][j] + beta * load(c));
      }
    return;
  }
  float edge[rows * tileColumns];
#pragma GCC unroll 32
  for (int i = 0; i < rows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < tileVectors; ++j) store(edge + i * tileColumns + j * lanes, alpha * sums[i][j]);
  for (int i = 0; i < rows; ++i)
    for (int64_t j = 0; j < out.columns; ++j) {
      float* c = out.c + i * out.stride + j;
      *c = out.beta == 0.0f ? edge[i * tileColumns + j] : edge[i * tileColumns + j] + out.beta * *c;
    }
}

using ComputeTile = void (*)(int64_t depth, const float* a, const float* b, int64_t bStride, const TileOutput& out);

template <int... i>
inline ComputeTile computeTileFor(int64_t rows, std::integer_sequence<int, i...>) {
  static constexpr ComputeTile table[] = {computeTile<i + 1>...};
  return table[rows - 1];
}
// The tile of the given height, 1 … tileRows.
inline ComputeTile computeTileFor(int64_t rows) { return computeTileFor(rows, std::make_integer_sequence<int, tileRows>{}); }
