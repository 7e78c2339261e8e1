// Operands of attention's products in bf16, as pairs along the depth of each product.
#pragma once
#include "draws.h"
#include "tile-pairs.h"
#include "tiles.h"

#if defined(HAVE_TILE_PAIRS)
namespace attention {

static_assert(pairRows == tileRows && tileColumns == 2 * lanes, "the mask of a tile counts in these");

inline int64_t pairsOf(int64_t count) { return (count + 1) / 2; }

// Up to 32 elements of a row as pairs, zeros after `count`.
ALWAYS_INLINE __m512i loadPairsUpTo(const Bf16* from, int64_t count) {
  return count >= 32 ? _mm512_loadu_si512(from) : _mm512_maskz_loadu_epi16((1u << std::max<int64_t>(count, 0)) - 1u, from);
}

// Panels [pair of the width][panelRows] of `count` strided rows, up to a whole tile, zeros at the ends. Writes up to `lanes`
// pairs past the last panel, which may lie before what is packed next.
template <int panelRows>
inline void packPairPanels(const Bf16* from, int64_t stride, int64_t count, int64_t width, Pair* to) {
  for (int64_t r = 0; r < roundUp(count, tileSize); r += panelRows, to += pairsOf(width) * panelRows)
    for (int64_t c = 0; c < width; c += 2 * lanes)
      for (int i = 0; i < panelRows; i += lanes) {
        __m512i rows[lanes];
#pragma GCC unroll 16
        for (int l = 0; l < lanes; ++l)
          rows[l] = i + l < panelRows && r + i + l < count ? loadPairsUpTo(from + (r + i + l) * stride + c, width - c) : __m512i{};
        transposePairs(rows);
        Pair* panel = to + c / 2 * panelRows + i;
        const int64_t pairs = std::min<int64_t>(lanes, pairsOf(width - c));
        // In narrow panels each vector reaches into the next, which is written after it.
        for (int64_t k = 0; k < pairs; ++k) storePairs(panel + k * panelRows, rows[k]);
      }
}

// Rows 2k and 2k + 1 of `count` strided rows as row k of pairs, padded with zeros to `padded` columns and to an even count.
inline void packPairRows(const Bf16* from, int64_t stride, int64_t count, int64_t width, int64_t padded, Pair* to) {
  for (int64_t r = 0; r < count; r += 2, to += padded)
    for (int64_t c = 0; c < width; c += lanes) {
      const __mmask16 columns = width - c >= lanes ? 0xffff : static_cast<__mmask16>((1u << (width - c)) - 1u);
      const auto row = [&](int64_t i) {
        return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(i < count ? columns : 0, from + i * stride + c));
      };
      storePairs(to + c, _mm512_or_si512(row(r), _mm512_slli_epi32(row(r + 1), 16)));
    }
}

// As addProduct, with a and b of pairs.
template <int vectors, int aRow, int aDepth>
ALWAYS_INLINE void addPairProductColumns(int64_t pairs, const Pair* a, const Pair* b, int64_t stride, float* c,
                                         const float* rowScale) {
  Vector sums[pairRows][vectors];
#pragma GCC unroll 32
  for (int i = 0; i < pairRows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < vectors; ++j) {
      const Vector before = load(c + i * stride + j * lanes);
      sums[i][j] = rowScale ? before * broadcast(rowScale[i]) : before;
    }
  multiplyPairs<pairRows, vectors, aRow, aDepth>(sums, pairs, a, b, stride);
#pragma GCC unroll 32
  for (int i = 0; i < pairRows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < vectors; ++j) store(c + i * stride + j * lanes, sums[i][j]);
}
template <int aRow, int aDepth>
inline void addPairProduct(int64_t pairs, const Pair* a, const Pair* b, int64_t width, float* c, const float* rowScale = nullptr) {
  int64_t column = 0;
  for (; column + tileColumns <= width; column += tileColumns)
    addPairProductColumns<tileVectors, aRow, aDepth>(pairs, a, b + column, width, c + column, rowScale);
  for (; column < width; column += lanes) addPairProductColumns<1, aRow, aDepth>(pairs, a, b + column, width, c + column, rowScale);
}

// sums = the scores (or their like) of tileRows keys × one panel of queries, `pairs` deep.
ALWAYS_INLINE void pairScores(int64_t pairs, const Pair* keyPanel, const Pair* queryPanel, Vector (&sums)[pairRows][tileVectors]) {
#pragma GCC unroll 32
  for (int i = 0; i < pairRows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < tileVectors; ++j) sums[i][j] = Vector{};
  multiplyPairs<pairRows, tileVectors, 1, pairRows>(sums, pairs, keyPanel, queryPanel, tileColumns);
}

// kept(w, mask) for w = 0 … 3: which halves of the pairs of keys (key + 2w, key + 2w + 1) × queries i … stay.
template <class Kept>
ALWAYS_INLINE void drawPairMasks(const Attention& problem, int64_t b, int64_t h, int64_t i, int64_t key, const Kept& kept) {
  UintVector words[4];
  drawKeys(problem, b, h, i, key, words);
  const __m512i threshold = _mm512_set1_epi16(static_cast<short>(problem.dropout.threshold));
#pragma GCC unroll 4
  for (int w = 0; w < 4; ++w) kept(w, _mm512_cmpge_epu16_mask(reinterpret_cast<__m512i>(words[w]), threshold));
}

// Which of a panel's queries i … keep their probabilities of keys [key, key + rows): bit l of kept[r] is that of query i + l
// and key + r.
inline void drawPanelMasks(const Attention& problem, int64_t b, int64_t h, int64_t i, int64_t key, int64_t rows, uint32_t* kept) {
  const __m512i threshold = _mm512_set1_epi32(static_cast<int>(problem.dropout.threshold));
  for (int64_t r = 0; r < rows; r += 8) {
    UintVector words[tileVectors][4];
    for (int j = 0; j < tileVectors; ++j) drawKeys(problem, b, h, i + j * lanes, key + r, words[j]);
    const auto maskOf = [&](int shift, int w) {
      uint32_t mask = 0;
      for (int j = 0; j < tileVectors; ++j) {
        const UintVector draws = words[j][w] >> shift & 0xffffu;
        mask |= static_cast<uint32_t>(_mm512_cmpge_epu32_mask(reinterpret_cast<__m512i>(draws), threshold)) << (j * lanes);
      }
      return mask;
    };
    for (int w = 0; w < 4; ++w) {
      kept[r + 2 * w] = maskOf(0, w);
      kept[r + 2 * w + 1] = maskOf(16, w);
    }
  }
}

}  // namespace attention
#endif
