// What an attention call is about, on a GPU: the twin of problem.h.
#pragma once
#include "../native/cuda/maths.cuh"
#include "../native/cuda/random.cuh"
#include "../native/cuda/reduce.cuh"

struct Strides {
  Index batch, row, head;
};

struct Attention {
  Index batch, heads, queries, keys;
  Index offset;  // position of query 0 among the keys
  Index width;   // d
  Strides query, key;
  float scale;
  bool causal;  // query i sees keys ≤ i + offset
  Dropout dropout;
  Index firstSample, sequence, headOffset;
  const int* firstKey;  // [b, sq]: keys before it are hidden; null: none

  __device__ __forceinline__ Index queryAt(Index b, Index h, Index i) const {
    return b * query.batch + i * query.row + h * query.head;
  }
  __device__ __forceinline__ Index keyAt(Index b, Index h, Index j) const { return b * key.batch + j * key.row + h * key.head; }
  __device__ __forceinline__ Index outputAt(Index b, Index h, Index i) const { return ((b * queries + i) * heads + h) * width; }
  __device__ __forceinline__ Index statisticAt(Index b, Index h, Index i) const { return (b * heads + h) * queries + i; }

  // Query i sees the keys [firstVisible, endVisible).
  __device__ __forceinline__ int endVisible(Index i) const {
    return static_cast<int>(causal ? min(keys, i + offset + 1) : keys);
  }
  __device__ __forceinline__ int firstVisible(Index b, Index i) const {
    return firstKey && i < queries ? max(0, firstKey[b * queries + i]) : 0;
  }
  // The draws of query i for the eight keys from `key` on, a multiple of eight.
  __device__ __forceinline__ Philox draws(Index b, Index h, Index i, Index key) const {
    const Index row = ((headOffset + h) * sequence + offset + i) * ((sequence + 7) / 8);
    return drawsOf(dropout, firstSample + b, row + key / 8);
  }
};

#define PROBLEM_OF_PARAMETERS                                                                                             \
  const Attention problem = {batch, heads, queries, keys, offset, width, {queryBatch, queryRow, queryHead},               \
                             {keyBatch, keyRow, keyHead}, scale, causal != 0, dropoutOf(dropout, seed, site), firstSample.value(), \
                             sequence, headOffset, firstKey};

// (sample, head) of a block that is number `index` among all samples' heads.
struct Place {
  int batch, head;
};
__device__ __forceinline__ Place placeOf(const Attention& problem, int index) {
  const int heads = static_cast<int>(problem.heads);
  return {index / heads, index % heads};
}
