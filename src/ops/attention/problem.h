// What an attention call is about: sizes, strides in elements, mask and dropout. Shapes: q [b, sq, n, d], k and v [b, sk, n, d]
// wherever their strides put them (inside a fused QKV tensor or a cache), out [b, sq, n, d], logSumExp [b, n, sq].
#pragma once
#include <algorithm>
#include <cstdint>
#include "philox.h"

namespace attention {

struct Strides {
  int64_t batch, row, head;
};

// The keys of Philox's ten rounds, in 64 bits as vectors want them.
struct RoundKeys {
  uint64_t at[10][2];

  explicit RoundKeys(RandomSite site) {
    for (uint32_t round = 0; round < 10; ++round) {
      at[round][0] = site.seed + round * 0x9E3779B9u;
      at[round][1] = site.site + round * 0xBB67AE85u;
    }
  }
};

struct Attention {
  int64_t batch, heads, queries, keys;
  int64_t offset;  // position of query 0 among the keys
  int64_t width;   // d
  Strides query, key;
  float scale;
  bool causal;              // query i sees keys ≤ i + offset
  const int32_t* firstKey;  // [b, sq]: keys before it are hidden; null: none
  // Dropout of probabilities. The draw for (sample, head, query, key) is element ((headOffset + h)·S + query)·⌈S⌉₈ + key of the
  // sample, S = sequence: it depends on the position in the whole model alone, not on the rank that holds the head.
  DropoutRule dropout;
  RoundKeys roundKeys;
  uint64_t firstSample;
  int64_t sequence, headOffset;

  Strides output() const { return {queries * heads * width, heads * width, width}; }
  int64_t queryAt(int64_t b, int64_t h, int64_t i) const { return b * query.batch + i * query.row + h * query.head; }
  int64_t keyAt(int64_t b, int64_t h, int64_t j) const { return b * key.batch + j * key.row + h * key.head; }
  int64_t outputAt(int64_t b, int64_t h, int64_t i) const { return ((b * queries + i) * heads + h) * width; }
  int64_t statisticAt(int64_t b, int64_t h, int64_t i) const { return (b * heads + h) * queries + i; }

  // The keys that query i sees are [firstVisible, lastVisible]; none where lastVisible is smaller.
  int64_t lastVisible(int64_t i) const { return causal ? std::min(keys - 1, i + offset) : keys - 1; }
  int64_t firstVisible(int64_t b, int64_t i) const { return firstKey ? std::max(0, firstKey[b * queries + i]) : 0; }

  // Blocks of eight draws: the first of query i's row.
  uint64_t drawBlock(int64_t h, int64_t i) const {
    const int64_t blocks = (sequence + 7) / 8;
    return static_cast<uint64_t>(((headOffset + h) * sequence + offset + i) * blocks);
  }
};

}  // namespace attention
