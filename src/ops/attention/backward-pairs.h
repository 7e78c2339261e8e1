// Backward pass in bf16 (see backward.h for the formulas): scores, probabilities and their gradients are made in float32 and
// rounded as operands of the products that follow; all sums are float32.
#pragma once
#include "backward.h"
#include "pair-panels.h"

#if defined(HAVE_TILE_PAIRS)
namespace attention {

// One head of one sample.
class BackwardPairHead {
 public:
  static int64_t workspaceSize(const Attention& problem) {
    const int64_t padded = roundUp(problem.width, lanes), pairs = pairsOf(problem.width);
    const int64_t queries = roundUp(problem.queries, tileSize), keys = roundUp(problem.keys, tileSize);
    return pairRows * tileColumns + 3 * tileSize * tileSize / 2 + 2 * tileSize * padded + queries * (2 * padded + 2 * pairs + 2) +
           keys * (padded / 2 + 2 * pairs);
  }

  BackwardPairHead(const Attention& problem, const AttentionGradients<Bf16>& io, int64_t b, int64_t h, const RowsAhead& ahead,
                   float* workspace)
      : problem_(problem), io_(io), b_(b), h_(h), padded_(roundUp(problem.width, lanes)), pairs_(pairsOf(problem.width)),
        factor_(problem.scale * log2e), ahead_(ahead) {
    const int64_t queries = roundUp(problem.queries, tileSize), keys = roundUp(problem.keys, tileSize);
    float* next = workspace;
    const auto take = [&](int64_t count) {
      float* at = next;
      next += count;
      return at;
    };
    const auto takePairs = [&](int64_t count) { return reinterpret_cast<Pair*>(take(count)); };
    group_ = take(pairRows * tileColumns);
    probabilities_ = takePairs(tileSize * rowPairs);
    scoreGradients_ = takePairs(tileSize * rowPairs);
    scoreGradientPairs_ = takePairs(tileSize / 2 * tileSize);
    dKeys_ = take(tileSize * padded_);
    dValues_ = take(tileSize * padded_);
    dQueries_ = take(queries * padded_);
    queryRows_ = takePairs(queries / 2 * padded_);
    outRows_ = takePairs(queries / 2 * padded_);
    keyRows_ = takePairs(keys / 2 * padded_);
    queryPanels_ = takePairs(queries * pairs_);
    outPanels_ = takePairs(queries * pairs_);
    keyPanels_ = takePairs(keys * pairs_);
    valuePanels_ = takePairs(keys * pairs_);
    logSumExp_ = take(queries);
    deltas_ = take(queries);
  }

  void run() {
    loadAll();
    for (int64_t key = 0; key < problem_.keys; key += tileSize) {
      const int64_t count = std::min<int64_t>(tileSize, problem_.keys - key);
      std::fill_n(dKeys_, tileSize * padded_, 0.0f);
      std::fill_n(dValues_, tileSize * padded_, 0.0f);
      const int64_t firstQuery = problem_.causal ? std::max<int64_t>(0, key - problem_.offset) / tileSize * tileSize : 0;
      for (int64_t query = firstQuery; query < problem_.queries; query += tileSize) {
        const QueryTile tile(problem_, b_, query);
        if (key + count > tile.keyBegin && key < tile.keyEnd) addTile(tile, key, std::min(count, tile.keyEnd - key));
      }
      write(io_.dk + problem_.keyAt(b_, h_, key), problem_.key.row, count, dKeys_, problem_.scale);
      write(io_.dv + problem_.keyAt(b_, h_, key), problem_.key.row, count, dValues_, problem_.dropout.scale);
    }
    write(io_.dq + problem_.queryAt(b_, h_, 0), problem_.query.row, problem_.queries, dQueries_, problem_.scale);
  }

 private:
  static constexpr int rowPairs = tileSize / 2;
  const Attention& problem_;
  const AttentionGradients<Bf16>& io_;
  const int64_t b_, h_, padded_, pairs_;
  const float factor_;  // from scores to exponents of 2
  RowsAhead ahead_;
  float *group_, *dKeys_, *dValues_, *dQueries_, *logSumExp_, *deltas_;
  // Of a tile: [key][pair of queries], and once more [pair of keys][query].
  Pair *probabilities_, *scoreGradients_, *scoreGradientPairs_;
  // Rows of pairs [pair of ·][padded] as right operands, panels [pair of d][width of a tile] as the others.
  Pair *queryRows_, *outRows_, *keyRows_, *queryPanels_, *outPanels_, *keyPanels_, *valuePanels_;

  void loadAll() {
    const int64_t width = problem_.width, queries = problem_.queries, keys = problem_.keys;
    const int64_t queryRow = problem_.query.row, keyRow = problem_.key.row, outRow = problem_.output().row;
    const Bf16* q = io_.q + problem_.queryAt(b_, h_, 0);
    const Bf16* k = io_.k + problem_.keyAt(b_, h_, 0);
    const Bf16* dOut = io_.dOut + problem_.outputAt(b_, h_, 0);
    packPairRows(q, queryRow, queries, width, padded_, queryRows_);
    packPairRows(dOut, outRow, queries, width, padded_, outRows_);
    packPairRows(k, keyRow, keys, width, padded_, keyRows_);
    packPairPanels<tileColumns>(q, queryRow, queries, width, queryPanels_);
    packPairPanels<tileColumns>(dOut, outRow, queries, width, outPanels_);
    packPairPanels<pairRows>(k, keyRow, keys, width, keyPanels_);
    packPairPanels<pairRows>(io_.v + problem_.keyAt(b_, h_, 0), keyRow, keys, width, valuePanels_);
    std::fill_n(dQueries_, roundUp(queries, tileSize) * padded_, 0.0f);
    loadStatistics(problem_, io_, b_, h_, deltas_, logSumExp_);
  }

  void addTile(const QueryTile& tile, int64_t key, int64_t count) {
    for (int panel = 0; panel < queryPanels; ++panel) {
      if (panel * tileColumns >= tile.count) break;
      if (problem_.dropout.threshold != 0)
        fillPanel<true>(tile, panel, key, count);
      else
        fillPanel<false>(tile, panel, key, count);
    }
    // dV and dK sum over the queries from the first that sees the row group.
    for (int64_t row = 0; row < count; row += pairRows) {
      const int64_t first = problem_.causal ? std::max<int64_t>(0, key + row - problem_.offset - tile.begin) / 2 : 0;
      const int64_t pairs = pairsOf(tile.count) - first, from = row * rowPairs + first, query = (tile.begin / 2 + first) * padded_;
      if (pairs <= 0) break;
      addPairProduct<rowPairs, 1>(pairs, probabilities_ + from, outRows_ + query, padded_, dValues_ + row * padded_);
      addPairProduct<rowPairs, 1>(pairs, scoreGradients_ + from, queryRows_ + query, padded_, dKeys_ + row * padded_);
    }
    for (int group = 0; group < keyPanels; ++group) {
      const int64_t query = group * pairRows;
      if (query >= tile.count) break;
      addPairProduct<1, tileSize>(pairsOf(tile.rowKeys(group, key, count)), scoreGradientPairs_ + query,
                                  keyRows_ + key / 2 * padded_, padded_, dQueries_ + (tile.begin + query) * padded_);
    }
  }

  // P∘(mask) and dS of one panel of queries against a tile of keys.
  template <bool dropped>
  void fillPanel(const QueryTile& tile, int panel, int64_t key, int64_t count) {
    const int64_t rows = roundUp(tile.panelKeys(panel, key, count), pairRows);
    const int lane = panel * tileColumns;
    uint32_t kept[tileSize];  // a bit for each query of the panel
    if (dropped) drawPanelMasks(problem_, b_, h_, tile.begin + lane, key, rows, kept);
    // Row groups reach past a panel by less than tileRows keys: those rows are read, and must be zero.
    for (int64_t r = rows; r < std::min<int64_t>(rows + pairRows, tileSize); r += 2)
      std::fill_n(scoreGradientPairs_ + r / 2 * tileSize + lane, tileColumns, 0);
    for (int row = 0; row < rows; row += pairRows) {
      ahead_.fetch();
      if (tile.allVisible(panel, key + row, pairRows))
        probabilityRows<false, dropped>(tile, panel, key, row, kept);
      else
        probabilityRows<true, dropped>(tile, panel, key, row, kept);
      gradientRows<dropped>(tile, panel, key, row, kept);
    }
  }

  template <bool masked, bool dropped>
  void probabilityRows(const QueryTile& tile, int panel, int64_t key, int row, const uint32_t* kept) {
    const int lane = panel * tileColumns;
    Vector sums[pairRows][tileVectors];
    pairScores(pairs_, keyPanels_ + (key + row) * pairs_, queryPanels_ + (tile.begin + lane) * pairs_, sums);
#pragma GCC unroll 32
    for (int i = 0; i < pairRows; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < tileVectors; ++j) store(group_ + i * tileColumns + j * lanes, sums[i][j]);
    Vector base[tileVectors];
    for (int j = 0; j < tileVectors; ++j) base[j] = load(logSumExp_ + tile.begin + lane + j * lanes);
#pragma GCC unroll 2
    for (int i = 0; i < pairRows; ++i) {
      Vector p[tileVectors];
      for (int j = 0; j < tileVectors; ++j) {
        float* at = group_ + i * tileColumns + j * lanes;
        p[j] = exp2ForHalves(load(at) * factor_ - base[j]);
        if (masked) p[j] = tile.visible(lane + j * lanes, key + row + i) ? p[j] : Vector{};
        store(at, p[j]);
      }
      const __m512i rounded = roundToHalves(p[0], p[1]);
      storePairs(probabilities_ + (row + i) * rowPairs + lane / 2,
                 dropped ? _mm512_maskz_mov_epi16(kept[row + i], rounded) : rounded);
    }
  }

  template <bool dropped>
  void gradientRows(const QueryTile& tile, int panel, int64_t key, int row, const uint32_t* kept) {
    const int lane = panel * tileColumns;
    Vector sums[pairRows][tileVectors];
    pairScores(pairs_, valuePanels_ + (key + row) * pairs_, outPanels_ + (tile.begin + lane) * pairs_, sums);
    const Vector factor = broadcast(problem_.dropout.scale);
    const Vector delta[] = {load(deltas_ + tile.begin + lane), load(deltas_ + tile.begin + lane + lanes)};
#pragma GCC unroll 32
    for (int i = 0; i < pairRows; i += 2) {
      __m512i rounded[2];
#pragma GCC unroll 2
      for (int r = 0; r < 2; ++r) {
        Vector gradient[tileVectors];
#pragma GCC unroll 8
        for (int j = 0; j < tileVectors; ++j) {
          Vector dp = sums[i + r][j];
          if (dropped) dp = _mm512_maskz_mul_ps(static_cast<__mmask16>(kept[row + i + r] >> (j * lanes)), dp, factor);
          gradient[j] = load(group_ + (i + r) * tileColumns + j * lanes) * (dp - delta[j]);
        }
        rounded[r] = roundToHalves(gradient[0], gradient[1]);
        storePairs(scoreGradients_ + (row + i + r) * rowPairs + lane / 2, rounded[r]);
      }
      Pair* to = scoreGradientPairs_ + (row + i) / 2 * tileSize + lane;
      storePairs(to, pairRowsOf<0>(rounded[0], rounded[1]));
      storePairs(to + lanes, pairRowsOf<lanes>(rounded[0], rounded[1]));
    }
  }

  void write(Bf16* to, int64_t stride, int64_t count, const float* from, float factor) const {
    writeRows(to, stride, count, problem_.width, from, padded_, factor, io_.accumulate);
  }
};

}  // namespace attention
#endif
