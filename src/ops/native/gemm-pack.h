// Packing: copies a block of a matrix into panels that the register tile reads front to back.
// Panel layout: [depth][width], width consecutive rows of op(A) or columns of op(B); the last panel of B is padded with zeros,
// the last of A is as narrow as its rows.
#pragma once
#include <algorithm>
#include "tile.h"

typedef float Quad __attribute__((vector_size(16)));
typedef float UnalignedQuad __attribute__((vector_size(16), aligned(4), may_alias));

// to[k·toStride + i] = from[i·fromStride + k] for 4 rows i and 4 columns k.
ALWAYS_INLINE void transposeQuad(const float* from, int64_t fromStride, float* to, int64_t toStride) {
  const auto row = [&](int i) { return static_cast<Quad>(*reinterpret_cast<const UnalignedQuad*>(from + i * fromStride)); };
  const Quad a = row(0), b = row(1), c = row(2), d = row(3);
  const Quad ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), abHigh = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const Quad cd = __builtin_shufflevector(c, d, 0, 4, 1, 5), cdHigh = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  const auto write = [&](int k, Quad x) { *reinterpret_cast<UnalignedQuad*>(to + k * toStride) = x; };
  write(0, __builtin_shufflevector(ab, cd, 0, 1, 4, 5));
  write(1, __builtin_shufflevector(ab, cd, 2, 3, 6, 7));
  write(2, __builtin_shufflevector(abHigh, cdHigh, 0, 1, 4, 5));
  write(3, __builtin_shufflevector(abHigh, cdHigh, 2, 3, 6, 7));
}

// panel[k·width + i] = source[i·stride + k], i < used; the rest of each row is zero.
inline void packAcross(const float* source, int64_t stride, int64_t used, int64_t width, int64_t depth, float* panel) {
  constexpr int64_t step = 64;  // a piece of the panel this deep is finished while it is in the first-level cache
  for (int64_t begin = 0; begin < depth; begin += step) {
    const int64_t end = std::min(depth, begin + step);
    int64_t i = 0;
    for (; i + 4 <= used; i += 4) {
      const float* from = source + i * stride;
      int64_t k = begin;
      for (; k + 4 <= end; k += 4) transposeQuad(from + k, stride, panel + k * width + i, width);
      for (; k < end; ++k)
        for (int64_t r = 0; r < 4; ++r) panel[k * width + i + r] = from[r * stride + k];
    }
    for (; i < used; ++i)
      for (int64_t k = begin; k < end; ++k) panel[k * width + i] = source[i * stride + k];
    for (; i < width; ++i)
      for (int64_t k = begin; k < end; ++k) panel[k * width + i] = 0.0f;
  }
}

// panel[k·width + i] = source[k·stride + i], i < used; the rest of each row is zero.
inline void packAlong(const float* source, int64_t stride, int64_t used, int64_t width, int64_t depth, float* panel) {
  if (used == tileColumns) {  // the common case, with a constant size
    for (int64_t k = 0; k < depth; ++k) std::memcpy(panel + k * tileColumns, source + k * stride, tileColumns * sizeof(float));
    return;
  }
  for (int64_t k = 0; k < depth; ++k) {
    float* to = panel + k * width;
    for (int64_t i = 0; i < used; ++i) to[i] = source[k * stride + i];
    for (int64_t i = used; i < width; ++i) to[i] = 0.0f;
  }
}

// One operand of the product, seen as vectors of `depth` elements: op(A) by rows, op(B) by columns.
struct Operand {
  const float* data;
  int64_t stride;  // leading dimension in memory
  bool across;     // whether the depth runs along memory rows (so that packing transposes)

  // Panel of `used` vectors from `first`, depth [depthBegin, depthBegin + depth).
  void pack(int64_t first, int64_t used, int64_t width, int64_t depthBegin, int64_t depth, float* panel) const {
    if (across)
      packAcross(data + first * stride + depthBegin, stride, used, width, depth, panel);
    else
      packAlong(data + depthBegin * stride + first, stride, used, width, depth, panel);
  }
};
