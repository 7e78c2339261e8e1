// The gradients of keys and values on products of warpgroups: as flashKeyGradients of flash-backward.cuh, a warpgroup taking 64
// keys. Scores are transposed, keys by queries, so that P and dS are operands of the second products as they come, in registers.
// Where registers allow (`valuesFirst`), dV's products are under way while dS is made.
//
// A tile of 64 × 64 at head width 64, 96, 128 is 512, 768, 1024 clocks of a multiprocessor's tensor cores, and some 470
// instructions of a warp (430 more with dropout). Two warpgroups are all that the registers hold from 96 on, so products wait for
// instructions and for shared memory more often than in the other kernels: 50 to 65 % of the peak, in products made. Nothing of
// this was measured.
#pragma once
#include "flash-backward.cuh"
#include "swizzled.cuh"

#ifdef HAS_WARPGROUPS

// Dropout's decisions for a warp's 16 keys and 64 queries, a bit each. The draws of one query for eight keys are one Philox call; a
// lane makes those of two queries, 8n + 2t + e and 32 more with 2n + e = g, for both eights: byte 2·(upper 32) + half of its word.
// Lanes with one t then show each other their words.
struct GroupDecisions {
  unsigned words[8];  // of queries 8n + 2t + e and 32 more: word 2n + e

  __device__ __forceinline__ void make(const Attention& problem, Place at, int query, int key) {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    unsigned own = 0;
#pragma unroll
    for (int part = 0; part < 4; ++part) {
      const int column = part / 2 * 32 + g / 2 * 8 + 2 * t + g % 2;
      const Philox draws = problem.draws(at.batch, at.head, query + column, key + part % 2 * 8);
#pragma unroll
      for (int bit = 0; bit < 8; ++bit)
        if (kept(problem.dropout, draws, bit)) own |= 1u << (8 * part + bit);
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) words[i] = __shfl_sync(0xffffffffu, own, 4 * i + t) >> g;
  }

  // What query 8n + 2t + e leaves of key g + 8·half.
  __device__ __forceinline__ float of(const Dropout& dropout, int n, int e, int half) const {
    return words[n % 4 * 2 + e] >> (n / 4 * 16 + half * 8) & 1u ? dropout.scale : 0.0f;
  }
};

template <int padded, int warpgroups, bool valuesFirst>
__device__ __forceinline__ void warpgroupKeyGradients(const Attention& problem, const FlashData& data, Value* dk, Value* dv,
                                                      bool accumulate) {
  constexpr int queryStep = 64;
  using Keys = Swizzled<64 * warpgroups, padded>;
  using Queries = Swizzled<queryStep, padded>;
  DYNAMIC_SHARED(unsigned char, memory);
  unsigned char* keyTile = alignedTiles(memory);
  unsigned char* valueTile = keyTile + Keys::bytes;
  unsigned char* stages = valueTile + Keys::bytes;  // two of: queries, dO
  __shared__ __align__(8) float statistics[2][2][queryStep];  // of each stage: logSumExp, Δ
  __shared__ __align__(8) int firstKeys[2][queryStep];
  const Place at = placeOf(problem, blockIdx.y);
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  const int firstKey = static_cast<int>(blockIdx.x) * Keys::rows, keys = static_cast<int>(problem.keys);
  const int groupRow = 64 * ownWarpgroup(), warpRow = threadIdx.x / 32 * 16;
  const int offset = static_cast<int>(problem.offset);
  // The queries that see a key of this block, the first that sees one of this warpgroup, and the first from which on all see all.
  const int begin = problem.causal ? max(0, firstKey - offset) / queryStep * queryStep : 0;
  const int end = endOfQueries(problem, at, begin, firstKey + Keys::rows);
  const int ownBegin = firstKey + groupRow >= keys ? end : problem.causal ? firstKey + groupRow - offset : 0;
  const int reach = problem.causal ? offset : 1 << 30;  // query i sees keys up to i + reach
  const int allSee = problem.causal ? firstKey + groupRow + 63 - offset : 0;
  const Rows queryRows(data.q + problem.queryAt(at.batch, at.head, 0), problem.query.row, problem.queries, problem.width);
  const Rows upstreamRows(data.dOut + problem.outputAt(at.batch, at.head, 0), problem.heads * problem.width, problem.queries,
                          problem.width);
  const Rows keyRows(data.k + problem.keyAt(at.batch, at.head, 0), problem.key.row, problem.keys, problem.width);
  const Rows valueRows(data.v + problem.keyAt(at.batch, at.head, 0), problem.key.row, problem.keys, problem.width);
  const auto bring = [&](int query, int stage) {
    Queries::template bring<false>(stages + 2 * stage * Queries::bytes, queryRows, query);
    Queries::template bring<false>(stages + (2 * stage + 1) * Queries::bytes, upstreamRows, query);
    commitCopies();
    const int row = threadIdx.x;
    if (row < queryStep) {
      statistics[stage][0][row] = logSumOf(problem, data, at, query + row);
      statistics[stage][1][row] = deltaOf(problem, data, at, query + row);
      firstKeys[stage][row] = problem.firstVisible(at.batch, query + row);
    }
  };

  Keys::template bring<false>(keyTile, keyRows, firstKey);
  Keys::template bring<false>(valueTile, valueRows, firstKey);
  bring(begin, 0);
  float keySums[1][padded / 8][4], valueSums[1][padded / 8][4];
  clear(keySums);
  clear(valueSums);
  const float scale = problem.scale * log2e;
  const unsigned ownKeys = Keys::alongColumns(keyTile, groupRow), ownValues = Keys::alongColumns(valueTile, groupRow);
  for (int query = begin, stage = 0; query < end; query += queryStep, stage ^= 1) {
    receiveTiles();
    if (query + queryStep < end) bring(query + queryStep, stage ^ 1);
    if (query + queryStep <= ownBegin) continue;
    const unsigned char* queryTile = stages + 2 * stage * Queries::bytes;
    const unsigned char* upstreamTile = queryTile + Queries::bytes;
    float scores[queryStep / 8][4], gradients[queryStep / 8][4];
    startProducts(scores, gradients);
    rowsTimesRows<Keys, Queries>(scores, ownKeys, Queries::alongColumns(queryTile, 0));
    commitProducts();
    rowsTimesRows<Keys, Queries>(gradients, ownValues, Queries::alongColumns(upstreamTile, 0));
    commitProducts();
    GroupDecisions decisions;
    if (problem.dropout.threshold != 0) decisions.make(problem, at, query, firstKey + warpRow);
    waitForProducts<1>(scores);
    onBoolean(problem.firstKey != nullptr || query < allSee, [&](auto masked) {
#pragma unroll
      for (int n = 0; n < queryStep / 8; ++n)
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const int column = 8 * n + 2 * t + e;
          const float logSum = statistics[stage][0][column];
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            float& score = scores[n][2 * half + e];
            const int key = firstKey + warpRow + 8 * half + g;
            score = exp2Fast(score * scale - logSum);
            if (masked.value && (key < firstKeys[stage][column] || key > query + column + reach)) score = 0.0f;
          }
        }
    });
    const bool drops = problem.dropout.threshold != 0;
    unsigned probabilities[queryStep / 16][4], operands[queryStep / 16][4];
    const auto shareOf = [&](auto dropping, int n, int e) {
      return dropping.value ? decisions.of(problem.dropout, n, e % 2, e / 2) : 1.0f;
    };
    const auto prepareProbabilities = [&](auto dropping, int k) {
      float kept[2][4];
#pragma unroll
      for (int n = 0; n < 2; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e) kept[n][e] = shareOf(dropping, 2 * k + n, e) * scores[2 * k + n][e];
      asOperand<Value>(probabilities[k], kept[0], kept[1]);
    };
    if constexpr (valuesFirst) {
      onBoolean(drops, [&](auto dropping) {
#pragma unroll
        for (int k = 0; k < queryStep / 16; ++k) prepareProbabilities(dropping, k);
      });
      startProducts(valueSums[0], probabilities);
      operandsTimesRows<Queries>(valueSums[0], probabilities, Queries::acrossColumns(upstreamTile));
      commitProducts();
    }
    waitForProducts<valuesFirst ? 1 : 0>(gradients);
    onBoolean(drops, [&](auto dropping) {
#pragma unroll
      for (int n = 0; n < queryStep / 8; ++n) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const float delta = statistics[stage][1][8 * n + 2 * t + e % 2];
          gradients[n][e] = scores[n][e] * (shareOf(dropping, n, e) * gradients[n][e] - delta);
        }
        if (n % 2 == 0) continue;
        // at once: registers are what there is least of
        if constexpr (!valuesFirst) prepareProbabilities(dropping, n / 2);
        asOperand<Value>(operands[n / 2], gradients[n - 1], gradients[n]);
      }
    });
    if constexpr (valuesFirst) {
      startProducts(keySums[0], operands);
    } else {
      startProducts(valueSums[0], probabilities, keySums[0], operands);
      operandsTimesRows<Queries>(valueSums[0], probabilities, Queries::acrossColumns(upstreamTile));
    }
    operandsTimesRows<Queries>(keySums[0], operands, Queries::acrossColumns(queryTile));
    commitProducts();
    waitForProducts<0>(valueSums[0], keySums[0], probabilities, operands);
  }
  receiveTiles();  // all are done with the tiles
  Keys::put(keyTile, warpRow, keySums[0], [&](int) { return problem.scale; });
  Keys::put(valueTile, warpRow, valueSums[0], [](int) { return 1.0f; });
  const int width = static_cast<int>(problem.width);
  const Index place = problem.keyAt(at.batch, at.head, 0);
  const OutputRows keyOut = {dk + place, problem.key.row, keys, width}, valueOut = {dv + place, problem.key.row, keys, width};
  Keys::write(keyTile, warpRow, keyOut, firstKey + warpRow, accumulate);
  Keys::write(valueTile, warpRow, valueOut, firstKey + warpRow, accumulate);
}

#endif
