// Score tiles: 96 keys × 96 queries, transposed (each row a key, queries along the vector lanes). So the softmax needs no sums
// across lanes, and the tile serves as it lies as the left operand of every product that follows.
#pragma once
#include <type_traits>
#include "elements.h"
#include "gemm-pack.h"
#include "problem.h"
#include "tile-math.h"
#include "tile.h"

namespace attention {

constexpr int tileSize = 96;  // a multiple of tileRows and tileColumns on every instruction set
static_assert(tileSize % tileRows == 0 && tileSize % tileColumns == 0 && tileSize % 8 == 0, "score tile");
constexpr int keyPanels = tileSize / tileRows, queryPanels = tileSize / tileColumns;

inline int64_t roundUp(int64_t count, int64_t step) { return (count + step - 1) / step * step; }

// `count` rows of a strided matrix as float32, padded with zeros to `padded` columns.
template <class T>
inline void copyRows(const T* from, int64_t stride, int64_t count, int64_t width, int64_t padded, float* to) {
  for (int64_t r = 0; r < count; ++r) {
    for (int64_t c = 0; c < width; ++c) to[r * padded + c] = from[r * stride + c];
    for (int64_t c = width; c < padded; ++c) to[r * padded + c] = 0.0f;
  }
}

// Panels [width][panelRows] of `count` strided rows as float32, up to a whole tile, zeros after the last row.
template <class T>
inline void packPanels(const T* from, int64_t stride, int64_t count, int64_t width, int64_t panelRows, float* to) {
  for (int64_t r = 0; r < roundUp(count, tileSize); r += panelRows) {
    const int64_t used = std::max<int64_t>(0, std::min(panelRows, count - r));
    if constexpr (std::is_same_v<T, float>) {
      packAcross(from + r * stride, stride, used, panelRows, width, to + r * width);
    } else {
      constexpr int64_t step = 64;
      float rows[tileSize * step];  // widened first, so that one transposition serves all types
      for (int64_t begin = 0; begin < width; begin += step) {
        const int64_t depth = std::min(step, width - begin);
        copyRows(from + r * stride + begin, stride, used, depth, depth, rows);
        packAcross(rows, depth, used, panelRows, depth, to + r * width + begin * panelRows);
      }
    }
  }
}

inline void scaleAll(float* x, int64_t count, float factor) {
  for (int64_t i = 0; i < count; ++i) x[i] *= factor;
}

// c[rows of one tile, columns] = c · rowScale + Σ_k a(row, k) · b[k, columns]; columns a multiple of `lanes`.
template <int vectors, int aRow, int aDepth>
ALWAYS_INLINE void addProductColumns(int64_t depth, const float* a, const float* b, int64_t stride, float* c,
                                     const float* rowScale) {
  Vector sums[tileRows][vectors];
#pragma GCC unroll 32
  for (int i = 0; i < tileRows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < vectors; ++j) {
      const Vector before = load(c + i * stride + j * lanes);
      sums[i][j] = rowScale ? before * broadcast(rowScale[i]) : before;
    }
  multiplyTile<tileRows, vectors, aRow, aDepth>(sums, depth, a, b, stride);
#pragma GCC unroll 32
  for (int i = 0; i < tileRows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < vectors; ++j) store(c + i * stride + j * lanes, sums[i][j]);
}
// b and c share the row stride `width`, a multiple of `lanes`.
template <int aRow, int aDepth>
inline void addProduct(int64_t depth, const float* a, const float* b, int64_t width, float* c, const float* rowScale = nullptr) {
  int64_t column = 0;
  for (; column + tileColumns <= width; column += tileColumns)
    addProductColumns<tileVectors, aRow, aDepth>(depth, a, b + column, width, c + column, rowScale);
  for (; column < width; column += lanes) addProductColumns<1, aRow, aDepth>(depth, a, b + column, width, c + column, rowScale);
}

// The mask of one tile of queries: which keys each lane sees, and what all lanes of a panel see.
struct QueryTile {
  int64_t begin, count;           // queries
  int64_t keyBegin, keyEnd;       // keys that some query of the tile sees
  alignas(64) int32_t first[tileSize], last[tileSize];
  int64_t panelFirstMost[queryPanels], panelLastLeast[queryPanels], panelLastMost[queryPanels];
  int64_t rowLastMost[keyPanels];  // by groups of tileRows queries

  QueryTile(const Attention& problem, int64_t b, int64_t queryBegin) {
    begin = queryBegin;
    count = std::min<int64_t>(tileSize, problem.queries - begin);
    keyBegin = problem.keys;
    keyEnd = 0;
    for (int64_t i = 0; i < tileSize; ++i) {
      const int64_t query = begin + std::min(i, count - 1);  // lanes past the end repeat the last query's mask
      const int64_t firstKey = problem.firstVisible(b, query), lastKey = problem.lastVisible(query);
      first[i] = static_cast<int32_t>(firstKey);
      last[i] = static_cast<int32_t>(lastKey);
      if (firstKey <= lastKey) {
        keyBegin = std::min(keyBegin, firstKey);
        keyEnd = std::max(keyEnd, lastKey + 1);
      }
    }
    keyBegin = std::min(keyBegin, keyEnd) / tileSize * tileSize;
    for (int p = 0; p < queryPanels; ++p) {
      const auto from = p * tileColumns, to = from + tileColumns;
      panelFirstMost[p] = *std::max_element(first + from, first + to);
      panelLastLeast[p] = *std::min_element(last + from, last + to);
      panelLastMost[p] = *std::max_element(last + from, last + to);
    }
    for (int p = 0; p < keyPanels; ++p)
      rowLastMost[p] = *std::max_element(last + p * tileRows, last + (p + 1) * tileRows);
  }

  // How many of the `keys` keys from `key` on some query of the panel (of the row group) may see.
  int64_t panelKeys(int panel, int64_t key, int64_t keys) const { return clampKeys(panelLastMost[panel] - key + 1, keys); }
  int64_t rowKeys(int row, int64_t key, int64_t keys) const { return clampKeys(rowLastMost[row] - key + 1, keys); }
  // Whether every query of the panel sees all of keys [key, key + size).
  bool allVisible(int panel, int64_t key, int64_t size) const {
    return key >= panelFirstMost[panel] && key + size - 1 <= panelLastLeast[panel];
  }
  ALWAYS_INLINE IntVector visible(int lane, int64_t key) const {
    const IntVector at = IntVector{} + static_cast<int32_t>(key);
    IntVector from, to;
    std::memcpy(&from, first + lane, sizeof from);
    std::memcpy(&to, last + lane, sizeof to);
    return (at >= from) & (at <= to);
  }

 private:
  static int64_t clampKeys(int64_t visibleKeys, int64_t keys) { return std::max<int64_t>(0, std::min(visibleKeys, keys)); }
};

}  // namespace attention
