// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
// The same function stands in src/tensor/philox.ts; a test holds the two to the same bits.
#pragma once
#include <cstdint>

struct Philox4 {
  uint32_t x0, x1, x2, x3;
};

inline Philox4 philox4x32(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t k0, uint32_t k1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = static_cast<uint64_t>(0xD2511F53u) * c0, p1 = static_cast<uint64_t>(0xCD9E8D57u) * c2;
    const uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0, n2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(p1);
    c3 = static_cast<uint32_t>(p0);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {c0, c1, c2, c3};
}

// Where a random draw stands in the run: the seed and the site (which dropout of which layer) make the key, the sample's
// global number and the element's index within the sample make the counter. Ranks and call order appear nowhere.
struct RandomSite {
  uint32_t seed, site;
};

// Sixteen random bits for each of eight consecutive elements [8·block, 8·block + 8) of a sample.
inline void randomBits16(RandomSite key, uint64_t sample, uint64_t block, uint16_t* out) {
  const Philox4 r = philox4x32(static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), static_cast<uint32_t>(sample),
                               static_cast<uint32_t>(sample >> 32), key.seed, key.site);
  const uint32_t words[4] = {r.x0, r.x1, r.x2, r.x3};
  for (int i = 0; i < 4; ++i) {
    out[2 * i] = static_cast<uint16_t>(words[i]);
    out[2 * i + 1] = static_cast<uint16_t>(words[i] >> 16);
  }
}

// An element is dropped when its 16 bits are below round(p·65536); what stays is scaled by 1/(1 − that share).
struct DropoutRule {
  uint32_t threshold;
  float scale;
};
inline DropoutRule dropoutRule(float probability) {
  const uint32_t threshold = static_cast<uint32_t>(probability * 65536.0f + 0.5f);
  return {threshold, static_cast<float>(65536.0 / (65536.0 - static_cast<double>(threshold)))};
}
