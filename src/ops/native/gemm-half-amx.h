// The unit of matrix tiles: 32 × 32 sums of C in 2 × 2 tiles, a step of 32 of the depth by 4 instructions. A tile of A is 16
// rows of 16 words, read from rows that lie along memory; a tile of B is 16 words of 16 columns, read from a panel. So far run
// in emulation only.
#pragma once
#include "amx.h"
#include "gemm-half-pack.h"

#if defined(HAVE_AMX)
struct Amx : Pairs {
  static constexpr int rows = 32, columns = 32, stepMultiple = 16;
  static constexpr bool wholeTiles = true;
  using Session = WholeTiles;
};

// Rows of A that lie along memory, filled up with zeros to `steps` words: [rows][rowWords].
inline void packRows(const Bf16* source, int64_t stride, int64_t rows, int64_t depth, int64_t steps, uint32_t* packed,
                     int64_t rowWords) {
  for (int64_t i = 0; i < rows; ++i) {
    char* to = reinterpret_cast<char*>(packed + i * rowWords);
    std::memcpy(to, source + i * stride, 2 * depth);
    std::memset(to + 2 * depth, 0, 4 * steps - 2 * depth);
  }
}

// The same from rows that lie across memory, by blocks of 8 rows and 4 words.
inline void packRowsTransposed(const Bf16* source, int64_t stride, int64_t rows, int64_t depth, int64_t steps,
                               uint32_t* packed, int64_t rowWords) {
  const auto wordOf = [&](int64_t i, int64_t s) {
    const Bf16* first = source + 2 * s * stride + i;
    return 2 * s >= depth ? 0u : Pairs::word(first, 2 * s + 1 < depth ? first + stride : nullptr);
  };
  int64_t s = 0;
  for (; 2 * (s + 4) <= depth; s += 4) {
    const Bf16* from = source + 2 * s * stride;
    constexpr int64_t line = 64 / sizeof(Bf16);
    for (int64_t at = 0; at < rows; at += line)
      for (int64_t r = 8; r < 16; ++r) __builtin_prefetch(from + r * stride + at);
    int64_t i = 0;
    for (; i + 8 <= rows; i += 8) {
      EightWords words[4];  // of rows i …, each at one step
#pragma GCC unroll 4
      for (int r = 0; r < 4; ++r) words[r] = Pairs::across(from + 2 * r * stride + i, from + (2 * r + 1) * stride + i);
      uint32_t* to = packed + i * rowWords + s;
      transposeWords(words[0].low, words[1].low, words[2].low, words[3].low, to, rowWords);
      transposeWords(words[0].high, words[1].high, words[2].high, words[3].high, to + 4 * rowWords, rowWords);
    }
    for (; i < rows; ++i)
      for (int64_t r = s; r < s + 4; ++r) packed[i * rowWords + r] = wordOf(i, r);
  }
  for (; s < steps; ++s)
    for (int64_t i = 0; i < rows; ++i) packed[i * rowWords + s] = wordOf(i, s);
}

// The upper 16 rows of multiplyTiles, or both halves.
template <bool lower, class Out>
void multiplyHalves(int64_t steps, int rows, const uint32_t* a, int64_t aRow, const uint32_t* b,
                    const HalfOutput<Out>& out) {
  constexpr int side = 16;  // of a tile, in words
  constexpr int64_t stride = 4 * Amx::columns;  // of B and of the sums, in bytes
  const int64_t aStride = 4 * aRow;
  __asm__ volatile("" ::: "memory");  // GCC's tileloadd does not say that it reads memory
  _tile_zero(0);
  _tile_zero(1);
  if constexpr (lower) {
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int64_t s = 0; s < steps; s += side) {
    _tile_loadd(6, b, stride);
    _tile_loadd(4, a, aStride);
    _tile_loadd(7, b + side, stride);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    if constexpr (lower) {
      _tile_loadd(5, a + side * aRow, aStride);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    a += side;
    b += side * Amx::columns;
  }
  alignas(64) float sums[Amx::rows * Amx::columns];
  _tile_stored(0, sums, stride);
  _tile_stored(1, sums + side, stride);
  if constexpr (lower) {
    _tile_stored(2, sums + side * Amx::columns, stride);
    _tile_stored(3, sums + side * Amx::columns + side, stride);
  }
  if (out.columns < Amx::columns) return finishEdge<Amx::columns>(out, rows, sums);
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < Amx::columns / lanes; ++j) finishValues(out, i, j, load(sums + i * Amx::columns + j * lanes));
}

// 32 columns of up to 32 rows of C. A: row i at a[i·aRow …], `steps` words; B: a panel [steps][Amx::columns].
template <class Out>
inline void multiplyTiles(int64_t steps, int rows, const uint32_t* a, int64_t aRow, const uint32_t* b,
                          const HalfOutput<Out>& out) {
  if (rows > 16) return multiplyHalves<true>(steps, rows, a, aRow, b, out);
  multiplyHalves<false>(steps, rows, a, aRow, b, out);
}
#endif
