// Flash attention, forward, on products of warpgroups: as flash-forward.cuh, a warpgroup taking 64 queries and 64 keys at a time.
// The scores of the next keys and the sums with the last probabilities are under way together (Shah et al. 2024,
// "FlashAttention-3"), so that the softmax of the one runs beside the other; dropout's draws run beside both.
//
// A tile of 64 × 64 at head width 64, 96, 128 is 256, 384, 512 clocks of a multiprocessor's tensor cores (2048 multiply-adds each,
// by the data sheet). A warp issues some 350 instructions for it, counted in the machine code, in as many clocks of its scheduler,
// and 370 more with dropout; 32 exponentials are 256 clocks. So at width 64 instructions set the pace, at most 75 % of the peak
// (35 % with dropout), and products from 96 on (50 % and 65 % with dropout). Products that read A from shared memory for 64 columns
// of B take all of its 128 bytes a clock. Blocks of two warpgroups, two to a multiprocessor, at 64 and 96; at 128 three warpgroups
// fill the registers. Nothing of this was measured.
#pragma once
#include "flash-forward.cuh"
#include "swizzled.cuh"

#ifdef HAS_WARPGROUPS

template <int padded, int warpgroups>
struct WarpgroupForward : FlashForward<padded, 1, 64> {
  static constexpr int keyStep = 64;
  using Base = FlashForward<padded, 1, keyStep>;
  using Queries = Swizzled<64 * warpgroups, padded>;
  using Keys = Swizzled<keyStep, padded>;
  using Base::Base, Base::problem, Base::sums;

  float scores[1][keyStep / 8][4], correction[1][2];
  unsigned probabilities[keyStep / 16][4];  // of the tile before that of `scores`, until prepared
  LaneDecisions decisions;
  bool grew;

  // Operands by the lower words of their descriptors: this warpgroup's queries and keys along their columns, values across.
  __device__ __forceinline__ void score(unsigned queries, unsigned keys) {
    startProducts(scores[0]);
    rowsTimesRows<Queries, Keys>(scores[0], queries, keys);
    commitProducts();
  }
  __device__ __forceinline__ void add(unsigned values) {
    startProducts(sums[0], probabilities);
    operandsTimesRows<Keys>(sums[0], probabilities, values);
    commitProducts();
  }
  // While products are under way.
  __device__ __forceinline__ void draw(int key) {
    if (problem.dropout.threshold != 0) decisions.make(problem, this->at, this->query, key);
  }
  // Between the scores' arrival and `prepare`; products with the last probabilities may be under way.
  __device__ __forceinline__ void weigh(int key, bool masked) {
    onBoolean(masked, [&](auto flag) { grew = this->softmax(scores, correction, key, flag.value); });
    if (problem.dropout.threshold == 0) return;
#pragma unroll
    for (int n = 0; n < keyStep / 8; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e)
        if (!decisions.keeps(n, e)) scores[0][n][e] = 0.0f;  // what stays is scaled at the end
  }
  __device__ __forceinline__ void prepare() {
    this->correct(grew, correction);
    asOperands<Value>(probabilities, scores[0]);
  }

  __device__ __forceinline__ void finish(unsigned char* tile, int firstQuery, Value* out, float* logSumExp) {
    float factor[1][2];
    this->close(factor, logSumExp);
    const int own = threadIdx.x / 32 * 16;
    Queries::put(tile, own, sums[0], [&](int half) { return factor[0][half]; });
    Queries::write(tile, own, this->outputRows(out), firstQuery + own, false);
  }
};

template <int padded, int warpgroups>
__device__ __forceinline__ void warpgroupForward(const Attention& problem, const Value* q, const Value* k, const Value* v,
                                                 Value* out, float* logSumExp) {
  using Tile = WarpgroupForward<padded, warpgroups>;
  constexpr int keyStep = Tile::keyStep;
  using Queries = typename Tile::Queries;
  using Keys = typename Tile::Keys;
  DYNAMIC_SHARED(unsigned char, memory);
  unsigned char* queryTile = alignedTiles(memory);
  unsigned char* stages = queryTile + Queries::bytes;  // two of keys, two of values
  const Place at = placeOf(problem, blockIdx.y);
  // Of a causal mask the last queries see most: they start first.
  const int firstQuery = static_cast<int>(gridDim.x - 1 - blockIdx.x) * Queries::rows;
  const int ownRow = 64 * ownWarpgroup();
  const int end = endOfKeys(problem, firstQuery, Queries::rows), ownEnd = endOfKeys(problem, firstQuery + ownRow, 64);
  const Rows queries(q + problem.queryAt(at.batch, at.head, 0), problem.query.row, problem.queries, problem.width);
  const Rows keys(k + problem.keyAt(at.batch, at.head, 0), problem.key.row, problem.keys, problem.width);
  const Rows values(v + problem.keyAt(at.batch, at.head, 0), problem.key.row, problem.keys, problem.width);
  unsigned char* valueStages = stages + 2 * Keys::bytes;
  // All keys below are seen by all of this warpgroup's queries, where no document begins late.
  const int allSee = problem.firstKey ? 0 : problem.endVisible(firstQuery + ownRow);

  Queries::template bring<false>(queryTile, queries, firstQuery);
  const int begin = firstOfKeys(problem, at, firstQuery, Queries::rows) / keyStep * keyStep;
  Keys::template bring<true>(stages, keys, begin);
  commitCopies();
  Keys::template bring<true>(stages + Keys::bytes, keys, begin + keyStep);
  Keys::template bring<true>(valueStages, values, begin);
  commitCopies();
  Tile tile(problem, at, firstQuery);
  receiveTiles<1>();
  const unsigned queryRows = Queries::alongColumns(queryTile, ownRow);
  if (begin < ownEnd) {
    tile.score(queryRows, Keys::alongColumns(stages, 0));
    tile.draw(begin);
    waitForProducts<0>(tile.scores[0]);
    tile.weigh(begin, begin + keyStep > allSee);
    tile.prepare();
  }
  for (int key = begin, stage = 0; key < end; key += keyStep, stage ^= 1) {
    receiveTiles();  // the values of this stage and the keys of the other are there for all; none reads the others any more
    if (key + keyStep < end) {
      Keys::template bring<true>(stages + stage * Keys::bytes, keys, key + 2 * keyStep);
      Keys::template bring<true>(valueStages + (stage ^ 1) * Keys::bytes, values, key + keyStep);
      commitCopies();
    }
    if (key >= ownEnd) continue;
    const unsigned valueRows = Keys::acrossColumns(valueStages + stage * Keys::bytes);
    if (key + keyStep < ownEnd) {
      tile.score(queryRows, Keys::alongColumns(stages + (stage ^ 1) * Keys::bytes, 0));
      tile.add(valueRows);
      tile.draw(key + keyStep);
      waitForProducts<1>(tile.scores[0]);
      tile.weigh(key + keyStep, key + 2 * keyStep > allSee);
      waitForProducts<0>(tile.sums[0], tile.probabilities);
      tile.prepare();
    } else {
      tile.add(valueRows);
      waitForProducts<0>(tile.sums[0], tile.probabilities);
    }
  }
  receiveTiles();  // all are done with the tiles
  tile.finish(queryTile, firstQuery, out, logSumExp);
}

#endif
