// Forward pass in bf16 (see forward.h for the scheme): scores, maxima, totals and sums in float32; the operands of both products
// in bf16, so the probabilities are rounded, and it is the rounded ones that the totals count.
#pragma once
#include "forward.h"
#include "pair-panels.h"

#if defined(HAVE_TILE_PAIRS)
namespace attention {

class ForwardPairTile {
 public:
  // Floats of workspace.
  static int64_t workspaceSize(const Attention& problem) {
    const int64_t padded = roundUp(problem.width, lanes), pairs = pairsOf(problem.width);
    const int64_t keys = roundUp(problem.keys, tileSize);
    return tileSize * (tileColumns + tileSize / 2 + padded + pairs) + keys * pairs + keys / 2 * padded + lanes;
  }

  ForwardPairTile(const Attention& problem, const RowsAhead& ahead, float* workspace)
      : problem_(problem), padded_(roundUp(problem.width, lanes)), pairs_(pairsOf(problem.width)), factor_(problem.scale * log2e),
        ahead_(ahead) {
    const int64_t keys = roundUp(problem.keys, tileSize);
    scores_ = workspace;
    sums_ = scores_ + tileSize * tileColumns;
    probabilities_ = reinterpret_cast<Pair*>(sums_ + tileSize * padded_);
    values_ = probabilities_ + tileSize / 2 * tileSize;
    queries_ = values_ + keys / 2 * padded_;
    keys_ = queries_ + tileSize * pairs_;
  }

  // Takes over the keys and values of a head; those from `end` on stay unread.
  void loadKeys(const Bf16* k, const Bf16* v, int64_t end) {
    packPairPanels<pairRows>(k, problem_.key.row, end, problem_.width, keys_);
    packPairRows(v, problem_.key.row, end, problem_.width, padded_, values_);
  }

  void run(int64_t b, int64_t h, int64_t queryBegin, const Bf16* q, Bf16* out, float* logSumExp) {
    const QueryTile tile(problem_, b, queryBegin);
    packPairPanels<tileColumns>(q + problem_.queryAt(b, h, queryBegin), problem_.query.row, tile.count, problem_.width, queries_);
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
        if (row * pairRows >= tile.count) break;
        const int64_t depth = tile.rowKeys(row, key, count);
        if (depth == 0) continue;
        addPairProduct<1, tileSize>(pairsOf(depth), probabilities_ + row * pairRows, values_ + key / 2 * padded_, padded_,
                                    sums_ + row * pairRows * padded_, corrections_ + row * pairRows);
      }
    }
    writeOutput(problem_, tile, b, h, sums_, padded_, totals_, maxima_, problem_.scale, out, logSumExp);
  }

 private:
  const Attention& problem_;
  const int64_t padded_, pairs_;
  const float factor_;     // from scores to exponents of 2
  RowsAhead ahead_;
  float *scores_, *sums_;  // [key][query of a panel], [query][d]
  Pair *probabilities_, *values_, *queries_, *keys_;  // probabilities: [pair of keys][query]
  alignas(64) float maxima_[tileSize], totals_[tileSize], corrections_[tileSize];

  // Scores of one panel of queries against tileRows keys, their maximum folded into `most`.
  template <bool masked>
  void scoreRows(const QueryTile& tile, int panel, int64_t key, int row, Vector (&most)[tileVectors]) {
    Vector sums[pairRows][tileVectors];
    pairScores(pairs_, keys_ + (key + row) * pairs_, queries_ + panel * tileColumns * pairs_, sums);
#pragma GCC unroll 32
    for (int i = 0; i < pairRows; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < tileVectors; ++j) {
        const int lane = panel * tileColumns + j * lanes;
        const Vector score =
            masked ? (tile.visible(lane, key + row + i) ? sums[i][j] : broadcast(negativeInfinity)) : sums[i][j];
        most[j] = larger(score, most[j]);
        store(scores_ + (row + i) * tileColumns + j * lanes, score);
      }
  }

  void softmaxPanel(const QueryTile& tile, int64_t b, int64_t h, int panel, int64_t key, int64_t count) {
    const int64_t rows = roundUp(tile.panelKeys(panel, key, count), pairRows);
    const int lane = panel * tileColumns;
    // Row groups reach past a panel by less than tileRows keys: those rows are read, and must be zero.
    for (int64_t r = rows; r < std::min<int64_t>(rows + pairRows, tileSize); r += 2)
      std::fill_n(probabilities_ + r / 2 * tileSize + lane, tileColumns, 0);
    Vector most[tileVectors], base[tileVectors], total[tileVectors];
    for (int j = 0; j < tileVectors; ++j) most[j] = load(maxima_ + lane + j * lanes);
    for (int row = 0; row < rows; row += pairRows) {
      ahead_.fetch();
      if (tile.allVisible(panel, key + row, pairRows))
        scoreRows<false>(tile, panel, key, row, most);
      else
        scoreRows<true>(tile, panel, key, row, most);
    }
    for (int j = 0; j < tileVectors; ++j) {
      const int at = lane + j * lanes;
      // A query that has seen no key yet has maximum −∞, and −∞ − (−∞) is no number.
      base[j] = most[j] == negativeInfinity ? Vector{} : most[j] * factor_;
      const Vector correction = exp2ForHalves(load(maxima_ + at) * factor_ - base[j]);
      total[j] = load(totals_ + at) * correction;
      store(maxima_ + at, most[j]);
      store(corrections_ + at, correction);
    }
    const __m512i ones = _mm512_set1_epi32(0x3f803f80);
    for (int64_t r = 0; r < rows; r += 2)
      for (int j = 0; j < tileVectors; ++j) {
        const float* from = scores_ + r * tileColumns + j * lanes;
        const Vector low = exp2ForHalves(load(from) * factor_ - base[j]);
        const Vector high = exp2ForHalves(load(from + tileColumns) * factor_ - base[j]);
        const __m512i p = pairLanes(roundToHalves(low, high));
        total[j] = addPairProducts(total[j], p, ones);
        storePairs(probabilities_ + r / 2 * tileSize + lane + j * lanes, p);
      }
    for (int j = 0; j < tileVectors; ++j) store(totals_ + lane + j * lanes, total[j]);
    if (problem_.dropout.threshold != 0) drop(b, h, tile.begin + lane, key, rows, probabilities_ + lane);
  }

  void drop(int64_t b, int64_t h, int64_t query, int64_t key, int64_t rows, Pair* probabilities) const {
    for (int j = 0; j < tileVectors; ++j)
      for (int64_t r = 0; r < rows; r += 8)
        drawPairMasks(problem_, b, h, query + j * lanes, key + r, [&](int w, __mmask32 kept) {
          Pair* p = probabilities + (r / 2 + w) * tileSize + j * lanes;
          storePairs(p, _mm512_maskz_mov_epi16(kept, loadPairs(p)));
        });
  }
};

}  // namespace attention
#endif
