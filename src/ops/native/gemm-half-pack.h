// Packing 16-bit operands into words of 32 bits (gemm-half-unit.h). Panel layout: [steps][width], a step being one word of each
// column of B, or row of A. What a panel has beyond the operand is zero in B; the tile never reads it in A.
#pragma once
#include "gemm-half-tile.h"

// The columns of a 4 × 4 block of words, given its rows: column s goes to to[s·toStride …].
ALWAYS_INLINE void transposeWords(Words a, Words b, Words c, Words d, uint32_t* to, int64_t toStride) {
  const Words ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), abHigh = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const Words cd = __builtin_shufflevector(c, d, 0, 4, 1, 5), cdHigh = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  const auto write = [&](int s, Words x) { *reinterpret_cast<UnalignedWords*>(to + s * toStride) = x; };
  write(0, __builtin_shufflevector(ab, cd, 0, 1, 4, 5));
  write(1, __builtin_shufflevector(ab, cd, 2, 3, 6, 7));
  write(2, __builtin_shufflevector(abHigh, cdHigh, 0, 1, 4, 5));
  write(3, __builtin_shufflevector(abHigh, cdHigh, 2, 3, 6, 7));
}

// to[s·toStride + i] = from[i·fromStride + s], words, for 4 i and 4 s.
template <class Unit, class T>
ALWAYS_INLINE void transposeWords(const T* from, int64_t fromStride, uint32_t* to, int64_t toStride) {
  transposeWords(Unit::words(from), Unit::words(from + fromStride), Unit::words(from + 2 * fromStride),
                 Unit::words(from + 3 * fromStride), to, toStride);
}

// The word of step s of a vector that lies along memory.
template <class Unit, class T>
ALWAYS_INLINE uint32_t wordAt(const T* from, int64_t s, int64_t depth) {
  return Unit::word(from + s * Unit::depth, (s + 1) * Unit::depth <= depth ? from + s * Unit::depth + 1 : nullptr);
}

// The panel of `used` vectors that lie along memory, `stride` apart.
template <class Unit, class T>
void packVectorsAlong(const T* source, int64_t stride, int64_t used, int64_t width, int64_t depth, uint32_t* panel) {
  constexpr int64_t piece = 64;  // a piece of the panel this deep is finished while it is in the first-level cache
  const int64_t steps = (depth + Unit::depth - 1) / Unit::depth;
  for (int64_t begin = 0; begin < steps; begin += piece) {
    const int64_t end = std::min(steps, begin + piece), whole = std::min(end, depth / Unit::depth);
    int64_t i = 0;
    for (; i + 4 <= used; i += 4) {
      const T* from = source + i * stride;
      int64_t s = begin;
      for (; s + 4 <= whole; s += 4) transposeWords<Unit>(from + s * Unit::depth, stride, panel + s * width + i, width);
      for (; s < end; ++s)
        for (int64_t r = 0; r < 4; ++r) panel[s * width + i + r] = wordAt<Unit>(from + r * stride, s, depth);
    }
    for (; i < used; ++i)
      for (int64_t s = begin; s < end; ++s) panel[s * width + i] = wordAt<Unit>(source + i * stride, s, depth);
    for (; i < width; ++i)
      for (int64_t s = begin; s < end; ++s) panel[s * width + i] = 0;
  }
}

// The panel of `used` vectors that lie across memory: neighbours are neighbours, a step further is `stride` further.
template <class Unit, class T, int width>
void packVectorsAcross(const T* source, int64_t stride, int64_t used, int64_t depth, uint32_t* panel) {
  for (int64_t k = 0; k < depth; k += Unit::depth, panel += width) {
    const T* first = source + k * stride;
    const T* second = k + Unit::depth <= depth ? first + stride : nullptr;
    if (used == width && second) {  // the common case, with a constant size
      for (int i = 0; i < width; ++i) panel[i] = Unit::word(first + i, first + stride + i);
      continue;
    }
    for (int64_t i = 0; i < used; ++i) panel[i] = Unit::word(first + i, second ? second + i : nullptr);
    for (int64_t i = used; i < width; ++i) panel[i] = 0;
  }
}

// All panels of `rows` rows of A that lie across memory, a panel `panelWords` behind the other. Rows of memory are short here
// and far apart, so they are fetched ahead.
template <class Unit, class T>
void packRowsAcross(const T* source, int64_t stride, int64_t rows, int64_t depth, uint32_t* packed, int64_t panelWords) {
  for (int64_t k = 0, s = 0; k < depth; k += Unit::depth, ++s) {
    const T* first = source + k * stride;
    const T* second = k + Unit::depth <= depth ? first + (Unit::depth - 1) * stride : nullptr;
    uint32_t* to = packed + s * halfRows;
    constexpr int64_t ahead = 8, line = 64 / sizeof(T);
    for (int64_t at = 0; at < rows; at += line)
      for (int64_t r = ahead; r < ahead + Unit::depth; ++r) __builtin_prefetch(first + r * stride + at);
    int64_t i = 0;
    // Eight words at a time, of which six count: the next step overwrites the others.
    if (k + Unit::depth < depth) {
      for (; i + 8 <= rows; i += halfRows, to += panelWords) {
        const EightWords words = Unit::across(first + i, second + i);
        *reinterpret_cast<UnalignedWords*>(to) = words.low;
        *reinterpret_cast<UnalignedWords*>(to + 4) = words.high;
      }
    }
    for (; i < rows; i += halfRows, to += panelWords)
      for (int64_t r = 0; r < std::min<int64_t>(halfRows, rows - i); ++r)
        to[r] = Unit::word(first + i + r, second ? second + i + r : nullptr);
  }
}

// Rows that lie along memory, as words, one behind the other: [rows][steps].
template <class Unit, class T>
void widenRows(const T* source, int64_t stride, int64_t rows, int64_t depth, uint32_t* packed) {
  const int64_t steps = (depth + Unit::depth - 1) / Unit::depth;
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t s = 0; s < steps; ++s) packed[i * steps + s] = wordAt<Unit>(source + i * stride, s, depth);
}
