// Dropout masks by the global counter, many blocks of eight elements at a time so that Philox vectorizes.
#pragma once
#include <algorithm>
#include <cstdint>
#include "philox.h"

constexpr int64_t dropoutLanes = 64;  // blocks of eight elements made at once

// Random bits of `count` ≤ dropoutLanes consecutive blocks from `firstBlock` on; bits[8·i + e] is element e of block i.
inline void randomBits16Lanes(RandomSite key, uint64_t sample, uint64_t firstBlock, int64_t count, uint16_t* bits) {
  uint32_t c0[dropoutLanes], c1[dropoutLanes], c2[dropoutLanes], c3[dropoutLanes];
  const uint32_t sampleLow = static_cast<uint32_t>(sample), sampleHigh = static_cast<uint32_t>(sample >> 32);
  for (int64_t lane = 0; lane < count; ++lane) {
    const uint64_t block = firstBlock + static_cast<uint64_t>(lane);
    c0[lane] = static_cast<uint32_t>(block);
    c1[lane] = static_cast<uint32_t>(block >> 32);
    c2[lane] = sampleLow;
    c3[lane] = sampleHigh;
  }
  uint32_t k0 = key.seed, k1 = key.site;
  for (int round = 0; round < 10; ++round) {
    for (int64_t lane = 0; lane < count; ++lane) {
      const uint64_t p0 = static_cast<uint64_t>(0xD2511F53u) * c0[lane], p1 = static_cast<uint64_t>(0xCD9E8D57u) * c2[lane];
      const uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c1[lane] ^ k0;
      const uint32_t n2 = static_cast<uint32_t>(p0 >> 32) ^ c3[lane] ^ k1;
      c1[lane] = static_cast<uint32_t>(p1);
      c3[lane] = static_cast<uint32_t>(p0);
      c0[lane] = n0;
      c2[lane] = n2;
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  for (int64_t lane = 0; lane < count; ++lane) {
    uint16_t* out = bits + 8 * lane;
    const uint32_t words[4] = {c0[lane], c1[lane], c2[lane], c3[lane]};
    for (int i = 0; i < 4; ++i) {
      out[2 * i] = static_cast<uint16_t>(words[i]);
      out[2 * i + 1] = static_cast<uint16_t>(words[i] >> 16);
    }
  }
}

// Calls body(first, bits, count) for runs of elements [first, first + count) of one sample that cover [begin, end);
// `begin` must be a multiple of eight. bits[i] belongs to element first + i.
template <class Body>
inline void forDropoutBits(RandomSite key, uint64_t sample, int64_t begin, int64_t end, const Body& body) {
  uint16_t bits[8 * dropoutLanes];
  for (int64_t first = begin; first < end; first += 8 * dropoutLanes) {
    const int64_t count = std::min<int64_t>(8 * dropoutLanes, end - first);
    randomBits16Lanes(key, sample, static_cast<uint64_t>(first / 8), (count + 7) / 8, bits);
    body(first, bits, count);
  }
}
