// Flash attention, forward, on products of warpgroups: as flash-forward.cuh, a warpgroup taking 64 queries.
#pragma once
#include "flash-forward.cuh"
#include "swizzled.cuh"

#ifdef HAS_WARPGROUPS

template <int padded, int warpgroups, int keyStep>
struct WarpgroupForward : FlashForward<padded, 1, keyStep> {
  using Base = FlashForward<padded, 1, keyStep>;
  using Queries = Swizzled<64 * warpgroups, padded>;
  using Keys = Swizzled<keyStep, padded>;
  using Base::Base, Base::problem, Base::sums;

  // Lower words of descriptors: this warpgroup's queries and all keys along their columns, values across.
  __device__ __forceinline__ void run(unsigned queries, unsigned keys, unsigned values, int key, bool masked) {
    float scores[1][keyStep / 8][4];
    unsigned probabilities[keyStep / 16][4];
    startProducts(scores[0]);
    rowsTimesRows<Queries, Keys>(scores[0], queries, keys);
    commitProducts();
    waitForProducts<0>(scores[0]);
    if (masked) {
      this->softmax(scores, key, true);
    } else {
      this->softmax(scores, key, false);
    }
    if (problem.dropout.threshold != 0) this->drop(scores, key);
    asOperands<Value>(probabilities, scores[0]);
    startProducts(sums[0], probabilities);
    operandsTimesRows<Keys>(sums[0], probabilities, values);
    commitProducts();
    waitForProducts<0>(sums[0], probabilities);
  }

  __device__ __forceinline__ void finish(unsigned char* tile, int firstQuery, Value* out, float* logSumExp) {
    float factor[1][2];
    this->close(factor, logSumExp);
    const int own = threadIdx.x / 32 * 16;
    Queries::put(tile, own, sums[0], [&](int half) { return factor[0][half]; });
    Queries::write(tile, own, this->outputRows(out), firstQuery + own, false);
  }
};

template <int padded, int warpgroups, int keyStep>
__device__ __forceinline__ void warpgroupForward(const Attention& problem, const Value* q, const Value* k, const Value* v,
                                                 Value* out, float* logSumExp) {
  using Tile = WarpgroupForward<padded, warpgroups, keyStep>;
  using Queries = typename Tile::Queries;
  using Keys = typename Tile::Keys;
  DYNAMIC_SHARED(unsigned char, memory);
  unsigned char* queryTile = alignedTiles(memory);
  unsigned char* stages = queryTile + Queries::bytes;  // two of: keys, values
  const Place at = placeOf(problem, blockIdx.y);
  // Of a causal mask the last queries see most: they start first.
  const int firstQuery = static_cast<int>(gridDim.x - 1 - blockIdx.x) * Queries::rows;
  const int ownRow = 64 * ownWarpgroup();
  const int end = endOfKeys(problem, firstQuery, Queries::rows), ownEnd = endOfKeys(problem, firstQuery + ownRow, 64);
  const Rows queries(q + problem.queryAt(at.batch, at.head, 0), problem.query.row, problem.queries, problem.width);
  const Rows keys(k + problem.keyAt(at.batch, at.head, 0), problem.key.row, problem.keys, problem.width);
  const Rows values(v + problem.keyAt(at.batch, at.head, 0), problem.key.row, problem.keys, problem.width);
  const auto bring = [&](int key, int stage) {
    Keys::template bring<true>(stages + 2 * stage * Keys::bytes, keys, key);
    Keys::template bring<true>(stages + (2 * stage + 1) * Keys::bytes, values, key);
    commitCopies();
  };
  // All keys below are seen by all of this warpgroup's queries, where no document begins late.
  const int allSee = problem.firstKey ? 0 : problem.endVisible(firstQuery + ownRow);

  Queries::template bring<false>(queryTile, queries, firstQuery);
  const int begin = firstOfKeys(problem, at, firstQuery, Queries::rows) / keyStep * keyStep;
  bring(begin, 0);
  Tile tile(problem, at, firstQuery);
  const unsigned queryRows = Queries::alongColumns(queryTile, ownRow);
  for (int key = begin, stage = 0; key < end; key += keyStep, stage ^= 1) {
    receiveTiles();  // this stage is there for all, and none still reads the other
    if (key + keyStep < end) bring(key + keyStep, stage ^ 1);
    if (key >= ownEnd) continue;
    const unsigned char* keyTile = stages + 2 * stage * Keys::bytes;
    tile.run(queryRows, Keys::alongColumns(keyTile, 0), Keys::acrossColumns(keyTile + Keys::bytes), key, key + keyStep > allSee);
  }
  receiveTiles();  // where there was no key to see, copies of others may still be under way
  tile.finish(queryTile, firstQuery, out, logSumExp);
}

#endif
