// The gradient of queries on products of warpgroups: as flashQueryGradient of flash-backward.cuh, a warpgroup taking 64 queries and
// 64 keys at a time. Probabilities are made while the products of dO and values are under way, dropout's draws while all are.
//
// A tile of 64 × 64 at head width 64, 96, 128 is 384, 576, 768 clocks of a multiprocessor's tensor cores, and some 400 instructions
// of a warp (370 more with dropout), of which all but the last 100 can run beside products: so 60 to 70 % of the peak is the most
// to hope for, in products made. Nothing of this was measured.
#pragma once
#include "flash-backward.cuh"
#include "swizzled.cuh"

#ifdef HAS_WARPGROUPS

template <int padded, int warpgroups>
__device__ __forceinline__ void warpgroupQueryGradient(const Attention& problem, const FlashData& data, Value* dq,
                                                       bool accumulate) {
  constexpr int keyStep = 64;
  using Queries = Swizzled<64 * warpgroups, padded>;
  using Keys = Swizzled<keyStep, padded>;
  DYNAMIC_SHARED(unsigned char, memory);
  unsigned char* queryTile = alignedTiles(memory);
  unsigned char* upstreamTile = queryTile + Queries::bytes;
  unsigned char* stages = upstreamTile + Queries::bytes;  // two of: keys, values
  const Place at = placeOf(problem, blockIdx.y);
  const int firstQuery = static_cast<int>(gridDim.x - 1 - blockIdx.x) * Queries::rows;
  const int groupRow = 64 * ownWarpgroup(), warpRow = threadIdx.x / 32 * 16;
  const int begin = firstOfKeys(problem, at, firstQuery, Queries::rows) / keyStep * keyStep;
  const int end = endOfKeys(problem, firstQuery, Queries::rows), ownEnd = endOfKeys(problem, firstQuery + groupRow, 64);
  const Rows queries(data.q + problem.queryAt(at.batch, at.head, 0), problem.query.row, problem.queries, problem.width);
  const Rows upstream(data.dOut + problem.outputAt(at.batch, at.head, 0), problem.heads * problem.width, problem.queries,
                      problem.width);
  const Rows keys(data.k + problem.keyAt(at.batch, at.head, 0), problem.key.row, problem.keys, problem.width);
  const Rows values(data.v + problem.keyAt(at.batch, at.head, 0), problem.key.row, problem.keys, problem.width);
  const auto bring = [&](int key, int stage) {
    Keys::template bring<true>(stages + 2 * stage * Keys::bytes, keys, key);
    Keys::template bring<true>(stages + (2 * stage + 1) * Keys::bytes, values, key);
    commitCopies();
  };

  Queries::template bring<false>(queryTile, queries, firstQuery);
  Queries::template bring<false>(upstreamTile, upstream, firstQuery);
  bring(begin, 0);
  const int query = firstQuery + warpRow + threadIdx.x % 32 / 4;  // and eight further on
  float logSum[2], delta[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    logSum[half] = logSumOf(problem, data, at, query + 8 * half);
    delta[half] = deltaOf(problem, data, at, query + 8 * half);
  }
  float sums[1][padded / 8][4];
  clear(sums);

  const float scale = problem.scale * log2e;
  const int allSee = problem.firstKey ? 0 : problem.endVisible(firstQuery + groupRow);
  const unsigned queryRows = Queries::alongColumns(queryTile, groupRow);
  const unsigned upstreamRows = Queries::alongColumns(upstreamTile, groupRow);
  for (int key = begin, stage = 0; key < end; key += keyStep, stage ^= 1) {
    receiveTiles();
    if (key + keyStep < end) bring(key + keyStep, stage ^ 1);
    if (key >= ownEnd) continue;
    const unsigned char* keyTile = stages + 2 * stage * Keys::bytes;
    float scores[keyStep / 8][4], gradients[keyStep / 8][4];
    startProducts(scores, gradients);
    rowsTimesRows<Queries, Keys>(scores, queryRows, Keys::alongColumns(keyTile, 0));
    commitProducts();
    rowsTimesRows<Queries, Keys>(gradients, upstreamRows, Keys::alongColumns(keyTile + Keys::bytes, 0));
    commitProducts();
    const int ownKey = key + threadIdx.x % 4 * 8;  // eight keys from here on, and 32 further on, are this lane's; see `spread`
    LaneDecisions decisions;
    if (problem.dropout.threshold != 0) decisions.make(problem, at, query, key);
    waitForProducts<1>(scores);
    onBoolean(key + keyStep > allSee, [&](auto masked) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int firstKey = masked.value ? problem.firstVisible(at.batch, query + 8 * half) : 0;
        const int endKey = masked.value ? problem.endVisible(query + 8 * half) : 0;
#pragma unroll
        for (int n = 0; n < keyStep / 8; ++n)
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            float& score = scores[n][2 * half + e];
            score = exp2Fast(score * scale - logSum[half]);
            const int each = ownKey + n / 4 * 32 + n % 4 * 2 + e;
            if (masked.value && (each < firstKey || each >= endKey)) score = 0.0f;
          }
      }
    });
    waitForProducts<0>(gradients);
    unsigned operands[keyStep / 16][4];
    onBoolean(problem.dropout.threshold != 0, [&](auto dropping) {
#pragma unroll
      for (int n = 0; n < keyStep / 8; ++n) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          float& gradient = gradients[n][e];
          if (dropping.value) gradient = decisions.keeps(n, e) ? problem.dropout.scale * gradient : 0.0f;
          gradient = scores[n][e] * (gradient - delta[e / 2]);
        }
        // at once: registers are what there is least of
        if (n % 2 == 1) asOperand<Value>(operands[n / 2], gradients[n - 1], gradients[n]);
      }
    });
    startProducts(sums[0], operands);
    operandsTimesRows<Keys>(sums[0], operands, Keys::acrossColumns(keyTile));
    commitProducts();
    waitForProducts<0>(sums[0], operands);
  }
  receiveTiles();  // all are done with the tiles
  Queries::put(queryTile, warpRow, sums[0], [&](int) { return problem.scale; });
  const OutputRows out = {dq + problem.queryAt(at.batch, at.head, 0), problem.query.row, static_cast<int>(problem.queries),
                          static_cast<int>(problem.width)};
  Queries::write(queryTile, warpRow, out, firstQuery + warpRow, accumulate);
}

#endif
