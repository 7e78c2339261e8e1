// Flash attention, forward (Dao 2023, "FlashAttention-2"): a block takes 16 · rowTiles queries for each of its four warps and
// walks over the keys `keyStep` at a time, two tiles of keys and values on their way while the last are used. The softmax runs
// along in base 2: maximum and sum of each query in the registers of the four lanes that share it.
//
// At head width 96 (the paper's 1.2B), rowTiles = 2 and keyStep = 64: each warp reads 30 KB of queries, keys and values from
// shared memory for 192 products of 2048 multiply-adds. At 128 bytes and some 1200 multiply-adds (what mma.sync is said to reach
// on an H100; not measured here) per clock and multiprocessor that is 240 clocks against 330: tensor cores set the pace, where
// rowTiles = 1 would leave shared memory at its limit. A warp issues some 800 other instructions meanwhile (600 more with dropout),
// in 1300 clocks of its scheduler's tensor core. Shared memory: 80 KB, two blocks in 228 KB.
#pragma once
#include "tiles.cuh"

template <int padded_, int rowTiles_, int keyStep_>
struct FlashForward {
  static constexpr int padded = padded_, rowTiles = rowTiles_, keyStep = keyStep_;
  static constexpr int pitch = pitchOf<padded>, warpRows = 16 * rowTiles, rows = 4 * warpRows, columnTiles = keyStep / 8;

  const Attention& problem;
  const Place at;
  float sums[rowTiles][padded / 8][4];
  float maxima[rowTiles][2], totals[rowTiles][2];  // of query g (and g + 8) of each 16; totals of this lane's keys alone
  int first[rowTiles][2], end[rowTiles][2];        // the keys it sees
  int query;                                       // g of the warp's first 16

  __device__ __forceinline__ FlashForward(const Attention& about, Place place, int firstQuery) : problem(about), at(place) {
    query = firstQuery + threadIdx.x / 32 * warpRows + threadIdx.x % 32 / 4;
    clear(sums);
#pragma unroll
    for (int i = 0; i < rowTiles; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        maxima[i][half] = NEGATIVE_INFINITY;
        totals[i][half] = 0.0f;
        first[i][half] = problem.firstVisible(at.batch, query + 16 * i + 8 * half);
        end[i][half] = problem.endVisible(query + 16 * i + 8 * half);
      }
  }

  // The key of number `n`, `e` (0, 1: query g; 2, 3: query g + 8) of this lane's scores; see `spread`.
  static __device__ __forceinline__ int keyOf(int n, int e) { return n / 4 * 32 + threadIdx.x % 4 * 8 + n % 4 * 2 + e % 2; }

  // Scores become 2^(score − maximum), 0 where hidden. Whether a maximum grew: the sums so far must then be corrected.
  __device__ __forceinline__ bool softmax(float (&scores)[rowTiles][columnTiles][4], float (&correction)[rowTiles][2], int key,
                                          bool masked) {
    const float scale = problem.scale * log2e;
    bool grew = false;
#pragma unroll
    for (int i = 0; i < rowTiles; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float most = NEGATIVE_INFINITY;
#pragma unroll
        for (int n = 0; n < columnTiles; ++n)
#pragma unroll
          for (int e = 2 * half; e < 2 * half + 2; ++e) {
            float& score = scores[i][n][e];
            if (masked) {
              const int column = key + keyOf(n, e);
              if (column < first[i][half] || column >= end[i][half]) score = NEGATIVE_INFINITY;
            }
            most = Largest{}(most, score);
          }
        most = Largest{}(most, __shfl_xor_sync(0xffffffffu, most, 1));
        most = Largest{}(most, __shfl_xor_sync(0xffffffffu, most, 2));
        const float old = maxima[i][half], now = Largest{}(old, most * scale);
        const float base = now == NEGATIVE_INFINITY ? 0.0f : now;
        correction[i][half] = exp2Fast(old - base);
        maxima[i][half] = now;
        grew |= now != old;
        float total = 0.0f;
#pragma unroll
        for (int n = 0; n < columnTiles; ++n)
#pragma unroll
          for (int e = 2 * half; e < 2 * half + 2; ++e) {
            scores[i][n][e] = exp2Fast(scores[i][n][e] * scale - base);
            total += scores[i][n][e];
          }
        totals[i][half] = totals[i][half] * correction[i][half] + total;
      }
    return __any_sync(0xffffffffu, grew);
  }

  // The sums so far follow a maximum that grew, which is rare after the first keys.
  __device__ __forceinline__ void correct(bool grew, const float (&correction)[rowTiles][2]) {
    if (!grew) return;
#pragma unroll
    for (int i = 0; i < rowTiles; ++i)
#pragma unroll
      for (int n = 0; n < padded / 8; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e) sums[i][n][e] *= correction[i][e / 2];
  }

  // Dropped probabilities become 0; what stays is scaled at the end.
  __device__ __forceinline__ void drop(float (&scores)[rowTiles][columnTiles][4], int key) {
#pragma unroll
    for (int i = 0; i < rowTiles; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half)
#pragma unroll
        for (int group = 0; group < columnTiles / 4; ++group) {
          const Philox draws = problem.draws(at.batch, at.head, query + 16 * i + 8 * half, key + keyOf(4 * group, 0));
#pragma unroll
          for (int e = 0; e < 8; ++e)
            if (!kept(problem.dropout, draws, e)) scores[i][4 * group + e / 2][2 * half + e % 2] = 0.0f;
        }
  }

  __device__ __forceinline__ void run(const Value* queries, const Value* keys, const Value* values, int key, bool masked) {
    float scores[rowTiles][columnTiles][4];
    clear(scores);
    addRowsTimesRows<rowTiles, columnTiles, padded>(scores, queries + threadIdx.x / 32 * warpRows * pitch, keys);
    float correction[rowTiles][2];
    bool grew;
    onBoolean(masked, [&](auto flag) { grew = softmax(scores, correction, key, flag.value); });
    correct(grew, correction);
    if (problem.dropout.threshold != 0) drop(scores, key);
    addSumsTimesRows<rowTiles, columnTiles, padded>(sums, scores, values);
  }

  // Writes logSumExp, and gives what makes a query's sums its output.
  __device__ __forceinline__ void close(float (&factor)[rowTiles][2], float* logSumExp) const {
#pragma unroll
    for (int i = 0; i < rowTiles; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float total = totals[i][half];
        total += __shfl_xor_sync(0xffffffffu, total, 1);
        total += __shfl_xor_sync(0xffffffffu, total, 2);
        factor[i][half] = total == 0.0f ? 0.0f : problem.dropout.scale / total;
        const int row = query + 16 * i + 8 * half;
        if (threadIdx.x % 4 == 0 && row < problem.queries)
          logSumExp[problem.statisticAt(at.batch, at.head, row)] = maxima[i][half] / log2e + logf(total);
      }
  }

  __device__ __forceinline__ OutputRows outputRows(Value* out) const {
    return {out + problem.outputAt(at.batch, at.head, 0), problem.heads * problem.width, static_cast<int>(problem.queries),
            static_cast<int>(problem.width)};
  }

  // `tile`: the block's tile of queries, of which each warp reads its own rows alone, so that it may put its results there.
  __device__ __forceinline__ void finish(Value* tile, int firstQuery, Value* out, float* logSumExp) {
    float factor[rowTiles][2];
    close(factor, logSumExp);
    Value* own = tile + threadIdx.x / 32 * warpRows * pitch;
    __syncwarp();
    putSums<pitch>(own, sums, [&](int i, int half) { return factor[i][half]; });
    __syncwarp();
    outputRows(out).template write<warpRows, padded>(own, firstQuery + threadIdx.x / 32 * warpRows, false);
  }
};

template <int padded, int rowTiles, int keyStep>
__device__ __forceinline__ void flashForward(const Attention& problem, const Value* q, const Value* k, const Value* v, Value* out,
                                             float* logSumExp) {
  using Tile = FlashForward<padded, rowTiles, keyStep>;
  DYNAMIC_SHARED(Value, queryTile);
  Value* stages = queryTile + Tile::rows * Tile::pitch;  // two of: keys, values
  constexpr int stageSize = 2 * keyStep * Tile::pitch, valuesAt = keyStep * Tile::pitch;
  const Place at = placeOf(problem, blockIdx.y);
  // Of a causal mask the last queries see most: they start first.
  const int firstQuery = static_cast<int>(gridDim.x - 1 - blockIdx.x) * Tile::rows;
  const int end = endOfKeys(problem, firstQuery, Tile::rows);
  const int warpEnd = endOfKeys(problem, firstQuery + threadIdx.x / 32 * Tile::warpRows, Tile::warpRows);
  const Rows queries(q + problem.queryAt(at.batch, at.head, 0), problem.query.row, problem.queries, problem.width);
  const Rows keys(k + problem.keyAt(at.batch, at.head, 0), problem.key.row, problem.keys, problem.width);
  const Rows values(v + problem.keyAt(at.batch, at.head, 0), problem.key.row, problem.keys, problem.width);
  const auto bring = [&](int key, int stage) {
    keys.template bring<keyStep, padded, true>(stages + stage * stageSize, key);
    values.template bring<keyStep, padded, true>(stages + stage * stageSize + valuesAt, key);
    commitCopies();
  };
  // All keys below are seen by all of these queries, where no document begins late.
  const int allSee = problem.firstKey ? 0 : problem.endVisible(firstQuery);

  queries.template bring<Tile::rows, padded, false>(queryTile, firstQuery);
  const int begin = firstOfKeys(problem, at, firstQuery, Tile::rows) / keyStep * keyStep;
  bring(begin, 0);
  Tile tile(problem, at, firstQuery);
  for (int key = begin, stage = 0; key < end; key += keyStep, stage ^= 1) {
    waitForCopies<0>();
    __syncthreads();  // this stage is there for all, and none still reads the other
    if (key + keyStep < end) bring(key + keyStep, stage ^ 1);
    if (key >= warpEnd) continue;
    tile.run(queryTile, stages + stage * stageSize, stages + stage * stageSize + valuesAt, key, key + keyStep > allSee);
  }
  waitForCopies<0>();
  __syncthreads();  // where there was no key to see, copies of others may still be under way
  tile.finish(queryTile, firstQuery, out, logSumExp);
}
