// Flash attention, backward, without atomics: one kernel walks over the keys for the gradients of its queries, another over the
// queries for those of its keys and values. Each makes the probabilities again from logSumExp, so together they take seven products
// where one kernel with atomic sums takes five; in return the gradients have the same bits on every run.
//   P = 2^(score − logSumExp), dP = D ∘ (dO Vᵀ), dS = P ∘ (dP − Δ): dQ = scale·dS K, dK = scale·dSᵀ Q, dV = (P∘D)ᵀ dO
#pragma once
#include "tiles.cuh"

struct FlashData {
  const Value *q, *k, *v, *dOut;
  const float *logSumExp, *delta;
};

// logSumExp of query i in base 2; +∞, which makes every probability 0, where there is no such query or it sees no key.
__device__ __forceinline__ float logSumOf(const Attention& problem, const FlashData& data, Place at, int i) {
  const float value = i < problem.queries ? data.logSumExp[problem.statisticAt(at.batch, at.head, i)] : NEGATIVE_INFINITY;
  return value == NEGATIVE_INFINITY ? -NEGATIVE_INFINITY : value * log2e;
}
__device__ __forceinline__ float deltaOf(const Attention& problem, const FlashData& data, Place at, int i) {
  return i < problem.queries ? data.delta[problem.statisticAt(at.batch, at.head, i)] : 0.0f;
}

// dQ of 16 · rowTiles queries for each warp, `keyStep` keys at a time.
//
// At head width 96, rowTiles = 2 and keyStep = 32 a warp reads 30 KB of shared memory for 144 products of 2048 multiply-adds: 240
// clocks at 128 bytes, 245 at 1200 multiply-adds (see flash-forward.cuh): both near their limits. keyStep = 64 would read 24 KB,
// but its scores do not fit the 255 registers beside the sums (at head width 128 two are spilled as it is). Shared memory:
// queries and dO 53 KB, two stages of keys and values 27 KB; two blocks in 228 KB.
template <int padded, int rowTiles, int keyStep>
__device__ __forceinline__ void flashQueryGradient(const Attention& problem, const FlashData& data, Value* dq, bool accumulate) {
  constexpr int pitch = pitchOf<padded>, warpRows = 16 * rowTiles, rows = 4 * warpRows, columnTiles = keyStep / 8;
  constexpr int stageSize = 2 * keyStep * pitch, valuesAt = keyStep * pitch;
  DYNAMIC_SHARED(Value, queryTile);
  Value* upstreamTile = queryTile + rows * pitch;
  Value* stages = upstreamTile + rows * pitch;  // two of: keys, values
  const Place at = placeOf(problem, blockIdx.y);
  const int firstQuery = static_cast<int>(gridDim.x - 1 - blockIdx.x) * rows, warpQuery = threadIdx.x / 32 * warpRows;
  const int begin = firstOfKeys(problem, at, firstQuery, rows) / keyStep * keyStep;
  const int end = endOfKeys(problem, firstQuery, rows);
  const Rows queries(data.q + problem.queryAt(at.batch, at.head, 0), problem.query.row, problem.queries, problem.width);
  const Rows upstream(data.dOut + problem.outputAt(at.batch, at.head, 0), problem.heads * problem.width, problem.queries,
                      problem.width);
  const Rows keys(data.k + problem.keyAt(at.batch, at.head, 0), problem.key.row, problem.keys, problem.width);
  const Rows values(data.v + problem.keyAt(at.batch, at.head, 0), problem.key.row, problem.keys, problem.width);
  const auto bring = [&](int key, int stage) {
    keys.template bring<keyStep, padded, true>(stages + stage * stageSize, key);
    values.template bring<keyStep, padded, true>(stages + stage * stageSize + valuesAt, key);
    commitCopies();
  };

  queries.template bring<rows, padded, false>(queryTile, firstQuery);
  upstream.template bring<rows, padded, false>(upstreamTile, firstQuery);
  bring(begin, 0);
  // Of each query: logSumExp, Δ. Here and not in registers, which are what there is least of.
  __shared__ float statistics[2][rows];
  for (int row = threadIdx.x; row < rows; row += blockDim.x) {
    statistics[0][row] = logSumOf(problem, data, at, firstQuery + row);
    statistics[1][row] = deltaOf(problem, data, at, firstQuery + row);
  }
  float sums[rowTiles][padded / 8][4];
  clear(sums);

  const float scale = problem.scale * log2e;
  for (int key = begin, stage = 0; key < end; key += keyStep, stage ^= 1) {
    waitForCopies<0>();
    __syncthreads();
    if (key + keyStep < end) bring(key + keyStep, stage ^ 1);
    if (key >= endOfKeys(problem, firstQuery + warpQuery, warpRows)) continue;
    const Value* keyTile = stages + stage * stageSize;
    float scores[rowTiles][columnTiles][4], gradients[rowTiles][columnTiles][4];
    clear(scores);
    clear(gradients);
    addRowsTimesRows<rowTiles, columnTiles, padded>(scores, queryTile + warpQuery * pitch, keyTile);
    addRowsTimesRows<rowTiles, columnTiles, padded>(gradients, upstreamTile + warpQuery * pitch, keyTile + valuesAt);
    const bool hides = problem.firstKey != nullptr || key + keyStep > problem.endVisible(firstQuery);
    onBooleans(hides, problem.dropout.threshold != 0, [&](auto masked, auto dropping) {
#pragma unroll
      for (int i = 0; i < rowTiles; ++i)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int own = warpQuery + 16 * i + 8 * half + threadIdx.x % 32 / 4, row = firstQuery + own;
          const float logSum = statistics[0][own], delta = statistics[1][own];
          const int firstKey = masked.value ? problem.firstVisible(at.batch, row) : 0;
          const int endKey = masked.value ? problem.endVisible(row) : 0;
#pragma unroll
          for (int group = 0; group < columnTiles / 4; ++group) {
            const int ownKey = key + 32 * group + threadIdx.x % 4 * 8;  // eight keys from here on are this lane's; see `spread`
            Philox draws;
            if (dropping.value) draws = problem.draws(at.batch, at.head, row, ownKey);
#pragma unroll
            for (int e = 0; e < 8; ++e) {
              const float score = scores[i][4 * group + e / 2][2 * half + e % 2];
              float& gradient = gradients[i][4 * group + e / 2][2 * half + e % 2];
              float probability = exp2Fast(score * scale - logSum);
              if (masked.value && (ownKey + e < firstKey || ownKey + e >= endKey)) probability = 0.0f;
              if (dropping.value) gradient *= kept(problem.dropout, draws, e) ? problem.dropout.scale : 0.0f;
              gradient = probability * (gradient - delta);
            }
          }
        }
    });
    addSumsTimesRows<rowTiles, columnTiles, padded>(sums, gradients, keyTile);
  }
  waitForCopies<0>();
  __syncthreads();
  Value* own = queryTile + warpQuery * pitch;
  putSums<pitch>(own, sums, [&](int, int) { return problem.scale; });
  __syncwarp();
  const OutputRows out = {dq + problem.queryAt(at.batch, at.head, 0), problem.query.row, static_cast<int>(problem.queries),
                          static_cast<int>(problem.width)};
  out.template write<warpRows, padded>(own, firstQuery + warpQuery, accumulate);
}

// Dropout's decisions for a warp's 32 keys and 8 · queryTiles queries, a bit each. The draws of one query for eight keys are one
// Philox call. A lane makes those of one query, 8·n + 2t + e with 2n + e = g, and keeps the decisions for keys 8·block + bit in
// byte `block` of a word; lanes with one t then look into each other's words. Of 16 queries two lanes share each, half of the
// blocks to either.
template <int queryTiles>
struct Decisions {
  static_assert(queryTiles == 4 || queryTiles == 2, "lanes share the calls");
  unsigned own = 0;

  __device__ __forceinline__ void make(const Attention& problem, Place at, int query, int key) {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, column = g % (2 * queryTiles);
    const int first = queryTiles == 4 ? 0 : g / 4 * 2;
#pragma unroll
    for (int turn = 0; turn < queryTiles; ++turn) {
      const int block = first + turn;
      const Philox draws = problem.draws(at.batch, at.head, query + column / 2 * 8 + 2 * t + column % 2, key + 8 * block);
#pragma unroll
      for (int bit = 0; bit < 8; ++bit)
        if (kept(problem.dropout, draws, bit)) own |= 1u << (8 * block + bit);
    }
  }

  // Of query 8n + 2t + e.
  __device__ __forceinline__ unsigned of(int n, int e) const {
    const int lane = 4 * (2 * n + e) + threadIdx.x % 4;
    unsigned word = __shfl_sync(0xffffffffu, own, lane);
    if (queryTiles == 2) word |= __shfl_sync(0xffffffffu, own, lane + 16);
    return word;
  }
};

// dK and dV of 64 keys, `queryStep` queries at a time. Scores are transposed: keys are rows. Of their tile a warp makes 32 keys
// and half of the queries, of the sums 32 keys and half of the columns; P and dS pass through shared memory from the ones to the
// others.
//
// At head width 96 and queryStep = 64 a warp reads and writes 48 KB of shared memory for 192 products: 384 clocks against 330
// (see flash-forward.cuh). Warps of 16 keys, which need no exchange, would take 480; warps of 32 keys and all columns do not fit
// the registers. Shared memory: 98 KB, two blocks in 228 KB.
template <int padded, int queryStep>
__device__ __forceinline__ void flashKeyGradients(const Attention& problem, const FlashData& data, Value* dk, Value* dv,
                                                  bool accumulate) {
  constexpr int pitch = pitchOf<padded>, rows = 64, warpRows = 32, warpQueries = queryStep / 2, queryTiles = warpQueries / 8;
  constexpr int columns = padded / 2, stageSize = 2 * queryStep * pitch, upstreamAt = queryStep * pitch;
  constexpr int pairPitch = queryStep + 8;
  DYNAMIC_SHARED(Value, keyTile);
  Value* valueTile = keyTile + rows * pitch;
  Value* stages = valueTile + rows * pitch;  // two of: queries, dO
  Value* probabilityTile = stages + 2 * stageSize;
  Value* gradientTile = probabilityTile + rows * pairPitch;
  __shared__ float statistics[2][2][queryStep];  // of each stage: logSumExp, Δ
  __shared__ int firstKeys[2][queryStep];
  const Place at = placeOf(problem, blockIdx.y);
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4, warp = threadIdx.x / 32;
  const int firstKey = static_cast<int>(blockIdx.x) * rows, warpKey = warp / 2 * warpRows;
  const int warpQuery = warp % 2 * warpQueries, warpColumn = warp % 2 * columns;
  const int keys = static_cast<int>(problem.keys);
  // The queries that see a key of this block, and the first from which on all see all.
  const int begin = problem.causal ? max(0, firstKey - static_cast<int>(problem.offset)) / queryStep * queryStep : 0;
  const int end = endOfQueries(problem, at, begin, firstKey + rows);
  const int allSee = problem.causal ? firstKey + rows - 1 - static_cast<int>(problem.offset) : 0;
  const Rows queryRows(data.q + problem.queryAt(at.batch, at.head, 0), problem.query.row, problem.queries, problem.width);
  const Rows upstreamRows(data.dOut + problem.outputAt(at.batch, at.head, 0), problem.heads * problem.width, problem.queries,
                          problem.width);
  const Rows keyRows(data.k + problem.keyAt(at.batch, at.head, 0), problem.key.row, problem.keys, problem.width);
  const Rows valueRows(data.v + problem.keyAt(at.batch, at.head, 0), problem.key.row, problem.keys, problem.width);
  const auto bring = [&](int query, int stage) {
    queryRows.template bring<queryStep, padded, false>(stages + stage * stageSize, query);
    upstreamRows.template bring<queryStep, padded, false>(stages + stage * stageSize + upstreamAt, query);
    commitCopies();
    const int row = threadIdx.x;
    if (row < queryStep) {
      statistics[stage][0][row] = logSumOf(problem, data, at, query + row);
      statistics[stage][1][row] = deltaOf(problem, data, at, query + row);
      firstKeys[stage][row] = problem.firstVisible(at.batch, query + row);
    }
  };

  keyRows.template bring<rows, padded, false>(keyTile, firstKey);
  valueRows.template bring<rows, padded, false>(valueTile, firstKey);
  bring(begin, 0);
  float keySums[2][columns / 8][4], valueSums[2][columns / 8][4];
  clear(keySums);
  clear(valueSums);
  const float scale = problem.scale * log2e;
  for (int query = begin, stage = 0; query < end; query += queryStep, stage ^= 1) {
    waitForCopies<0>();
    __syncthreads();  // this stage is there for all; none still reads the other, nor P and dS
    if (query + queryStep < end) bring(query + queryStep, stage ^ 1);
    const Value* queryTile = stages + stage * stageSize;
    float scores[2][queryTiles][4], gradients[2][queryTiles][4];
    clear(scores);
    clear(gradients);
    addRowsTimesRows<2, queryTiles, padded>(scores, keyTile + warpKey * pitch, queryTile + warpQuery * pitch);
    addRowsTimesRows<2, queryTiles, padded>(gradients, valueTile + warpKey * pitch, queryTile + upstreamAt + warpQuery * pitch);
    Decisions<queryTiles> decisions;
    if (problem.dropout.threshold != 0) decisions.make(problem, at, query + warpQuery, firstKey + warpKey);
    const bool hides = problem.firstKey != nullptr || query < allSee;
    onBooleans(hides, problem.dropout.threshold != 0, [&](auto masked, auto dropping) {
#pragma unroll
      for (int n = 0; n < queryTiles; ++n)
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const int column = warpQuery + 8 * n + 2 * t + e;
          const float logSum = statistics[stage][0][column], delta = statistics[stage][1][column];
          unsigned word = 0;
          if (dropping.value) word = decisions.of(n, e);
#pragma unroll
          for (int block = 0; block < 4; ++block) {  // key g of eight
            float &score = scores[block / 2][n][block % 2 * 2 + e], &gradient = gradients[block / 2][n][block % 2 * 2 + e];
            const int key = firstKey + warpKey + 8 * block + g;
            float probability = exp2Fast(score * scale - logSum);
            if (masked.value && (key < firstKeys[stage][column] || key >= problem.endVisible(query + column))) probability = 0.0f;
            const float share = dropping.value ? (word >> (8 * block + g) & 1u ? problem.dropout.scale : 0.0f) : 1.0f;
            gradient = probability * (share * gradient - delta);
            score = probability * share;
          }
        }
    });
    const auto one = [](int, int) { return 1.0f; };
    putSums<pairPitch>(probabilityTile + warpKey * pairPitch + warpQuery, scores, one);
    putSums<pairPitch>(gradientTile + warpKey * pairPitch + warpQuery, gradients, one);
    __syncthreads();
    addTileTimesTile<queryStep, pairPitch, pitch>(valueSums, probabilityTile + warpKey * pairPitch,
                                                  queryTile + upstreamAt + warpColumn);
    addTileTimesTile<queryStep, pairPitch, pitch>(keySums, gradientTile + warpKey * pairPitch, queryTile + warpColumn);
  }
  waitForCopies<0>();
  __syncthreads();
  putSums<pitch>(keyTile + warpKey * pitch + warpColumn, keySums, [&](int, int) { return problem.scale; });
  putSums<pitch>(valueTile + warpKey * pitch + warpColumn, valueSums, [](int, int) { return 1.0f; });
  __syncthreads();
  const int width = static_cast<int>(problem.width), own = 16 * warp;
  const Index place = problem.keyAt(at.batch, at.head, 0);
  const OutputRows keyOut = {dk + place, problem.key.row, keys, width}, valueOut = {dv + place, problem.key.row, keys, width};
  keyOut.template write<16, padded>(keyTile + own * pitch, firstKey + own, accumulate);
  valueOut.template write<16, padded>(valueTile + own * pitch, firstKey + own, accumulate);
}
