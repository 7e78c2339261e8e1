// Forward pass (Dao et al. 2022, "FlashAttention"): scores exist a tile at a time; a running maximum and sum per query make
// the softmax exact. Scores are kept in base 2 (scaled by log₂e), so that the exponential is 2ˣ.
#pragma once
#include "ahead.h"
#include "draws.h"
#include "parallel.h"
#include "tile-workspace.h"
#include "tiles.h"

namespace attention {

// Output and log-sum-exp of a tile of queries from its sums [·, padded] of values, its totals and its maxima in `unit`s.
template <class T>
inline void writeOutput(const Attention& problem, const QueryTile& tile, int64_t b, int64_t h, const float* sums, int64_t padded,
                        const float* totals, const float* maxima, float unit, T* out, float* logSumExp) {
  for (int64_t i = 0; i < tile.count; ++i) {
    const int64_t query = tile.begin + i;
    const float total = totals[i];
    const float factor = total == 0.0f ? 0.0f : problem.dropout.scale / total;
    T* to = out + problem.outputAt(b, h, query);
    for (int64_t c = 0; c < problem.width; ++c) to[c] = static_cast<T>(sums[i * padded + c] * factor);
    logSumExp[problem.statisticAt(b, h, query)] = maxima[i] * unit + __builtin_logf(total);
  }
}

class ForwardTile {
 public:
  // Floats of workspace.
  static int64_t workspaceSize(const Attention& problem) {
    const int64_t padded = roundUp(problem.width, lanes);
    return roundUp(problem.keys, tileSize) * (problem.width + padded) + tileSize * (problem.width + padded + tileSize);
  }

  ForwardTile(const Attention& problem, const RowsAhead& ahead, float* workspace)
      : problem_(problem), padded_(roundUp(problem.width, lanes)), ahead_(ahead) {
    const int64_t keys = roundUp(problem.keys, tileSize);
    scores_ = workspace;
    values_ = scores_ + tileSize * tileSize;
    sums_ = values_ + keys * padded_;
    keys_ = sums_ + tileSize * padded_;
    queries_ = keys_ + keys * problem.width;
  }

  // Takes over the keys and values of a head; those from `end` on stay unread.
  template <class T>
  void loadKeys(const T* k, const T* v, int64_t end) {
    packPanels(k, problem_.key.row, end, problem_.width, tileRows, keys_);
    copyRows(v, problem_.key.row, end, problem_.width, padded_, values_);
  }

  template <class T>
  void run(int64_t b, int64_t h, int64_t queryBegin, const T* q, T* out, float* logSumExp) {
    const QueryTile tile(problem_, b, queryBegin);
    packPanels(q + problem_.queryAt(b, h, queryBegin), problem_.query.row, tile.count, problem_.width, tileColumns, queries_);
    scaleAll(queries_, tileSize * problem_.width, problem_.scale * log2e);
    std::fill_n(sums_, tileSize * padded_, 0.0f);
    std::fill_n(maxima_, tileSize, negativeInfinity);
    std::fill_n(totals_, tileSize, 0.0f);
    for (int64_t key = tile.keyBegin; key < tile.keyEnd; key += tileSize) {
      const int64_t count = std::min<int64_t>(tileSize, tile.keyEnd - key);
      for (int panel = 0; panel < queryPanels; ++panel) {
        if (panel * tileColumns >= tile.count) break;
        softmaxPanel(tile, b, h, panel, key, count);
      }
      for (int row = 0; row < keyPanels; ++row) {
        if (row * tileRows >= tile.count) break;
        const int64_t depth = tile.rowKeys(row, key, count);
        if (depth == 0) continue;
        addProduct<1, tileSize>(depth, scores_ + row * tileRows, values_ + key * padded_, padded_, sums_ + row * tileRows * padded_,
                                corrections_ + row * tileRows);
      }
    }
    writeOutput(problem_, tile, b, h, sums_, padded_, totals_, maxima_, ln2, out, logSumExp);
  }

 private:
  const Attention& problem_;
  const int64_t padded_;
  RowsAhead ahead_;
  float *scores_, *values_, *sums_, *keys_, *queries_;
  alignas(64) float maxima_[tileSize], totals_[tileSize], corrections_[tileSize];

  // Scores of one panel of queries against a tile of keys, their maximum folded into `most`.
  template <bool masked>
  ALWAYS_INLINE void scoreRows(const QueryTile& tile, int panel, int64_t key, int row, Vector (&most)[tileVectors]) {
    Vector sums[tileRows][tileVectors];
#pragma GCC unroll 32
    for (int i = 0; i < tileRows; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < tileVectors; ++j) sums[i][j] = Vector{};
    multiplyTile<tileRows, tileVectors, 1, tileRows>(sums, problem_.width, keys_ + (key + row) * problem_.width,
                                                     queries_ + panel * tileColumns * problem_.width, tileColumns);
#pragma GCC unroll 32
    for (int i = 0; i < tileRows; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < tileVectors; ++j) {
        const int lane = panel * tileColumns + j * lanes;
        const Vector score =
            masked ? (tile.visible(lane, key + row + i) ? sums[i][j] : broadcast(negativeInfinity)) : sums[i][j];
        most[j] = larger(score, most[j]);
        store(scores_ + (row + i) * tileSize + lane, score);
      }
  }

  void softmaxPanel(const QueryTile& tile, int64_t b, int64_t h, int panel, int64_t key, int64_t count) {
    const int64_t visibleKeys = tile.panelKeys(panel, key, count);
    const int64_t rows = roundUp(visibleKeys, tileRows);
    const int lane = panel * tileColumns;
    // Row groups reach past a panel by less than tileRows keys: those rows are read, and must be zero.
    for (int64_t r = rows; r < std::min<int64_t>(rows + tileRows, tileSize); ++r)
      std::fill_n(scores_ + r * tileSize + lane, tileColumns, 0.0f);
    Vector most[tileVectors];
    for (int j = 0; j < tileVectors; ++j) most[j] = load(maxima_ + lane + j * lanes);
    for (int row = 0; row < rows; row += tileRows) {
      ahead_.fetch();
      if (tile.allVisible(panel, key + row, tileRows))
        scoreRows<false>(tile, panel, key, row, most);
      else
        scoreRows<true>(tile, panel, key, row, most);
    }
    for (int j = 0; j < tileVectors; ++j) {
      const int at = lane + j * lanes;
      // A query that has seen no key yet has maximum −∞, and −∞ − (−∞) is no number.
      const Vector base = most[j] == negativeInfinity ? Vector{} : most[j];
      const Vector correction = exp2Vector(load(maxima_ + at) - base);
      Vector total = load(totals_ + at) * correction;
      store(maxima_ + at, most[j]);
      store(corrections_ + at, correction);
      float* column = scores_ + at;
      for (int64_t r = 0; r < rows; ++r) {
        const Vector p = exp2Vector(load(column + r * tileSize) - base);
        total += p;
        store(column + r * tileSize, p);
      }
      store(totals_ + at, total);
      if (problem_.dropout.threshold == 0) continue;
      for (int64_t r = 0; r < rows; r += 8)
        drawMasks(problem_, b, h, tile.begin + at, key + r, [&](int i, IntVector kept) {
          float* p = column + (r + i) * tileSize;
          store(p, kept ? load(p) : Vector{});
        });
    }
  }
};

// Heads are shared out over the threads, and where there are few of them also their tiles of queries.
template <class Tile, class T>
inline void attentionForwardTiles(const Context* context, const Attention& problem, const T* q, const T* k, const T* v, T* out,
                                  float* logSumExp) {
  const int64_t tiles = (problem.queries + tileSize - 1) / tileSize, heads = problem.batch * problem.heads;
  const int64_t wantedChunks = heads >= 2 * context->threads ? 1 : (4 * context->threads + heads - 1) / heads;
  const int64_t chunkTiles = std::max<int64_t>(2, tiles / wantedChunks), chunks = (tiles + chunkTiles - 1) / chunkTiles;
  parallelTasks(context, heads * chunks, [&](int64_t task) {
    const int64_t head = task % heads, chunk = chunks - 1 - task / heads;  // the longest first
    const int64_t b = head / problem.heads, h = head % problem.heads;
    const int64_t begin = chunk * chunkTiles, end = std::min(tiles, begin + chunkTiles);
    RowsAhead ahead;
    if (task + context->threads < heads * chunks) {
      const int64_t next = (task + context->threads) % heads, nextB = next / problem.heads, nextH = next % problem.heads;
      ahead.add(q + problem.queryAt(nextB, nextH, 0), problem.query.row, problem.queries, problem.width);
      ahead.add(k + problem.keyAt(nextB, nextH, 0), problem.key.row, problem.keys, problem.width);
      ahead.add(v + problem.keyAt(nextB, nextH, 0), problem.key.row, problem.keys, problem.width);
    }
    Tile tile(problem, ahead, reserveWorkspace(Tile::workspaceSize(problem)));
    const int64_t lastQuery = std::min(problem.queries, end * tileSize) - 1;
    tile.loadKeys(k + problem.keyAt(b, h, 0), v + problem.keyAt(b, h, 0), problem.lastVisible(lastQuery) + 1);
    for (int64_t t = begin; t < end; ++t) tile.run(b, h, t * tileSize, q, out, logSumExp);
  });
}

}  // namespace attention
