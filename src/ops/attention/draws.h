// Dropout of attention probabilities, a tile at a time: Philox with one query in each lane, so that the eight draws of a block
// land on eight consecutive keys (rows of the transposed score tile) without any shuffling.
#pragma once
#include "philox.h"
#include "problem.h"
#include "tile.h"
#if defined(__AVX2__)
#include <immintrin.h>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // false, from GCC's own header
#endif
#endif

namespace attention {

typedef uint64_t LongVector __attribute__((vector_size(vectorBytes)));

// The low 32 bits of each 64-bit lane, times m.
ALWAYS_INLINE LongVector multiplyLow(LongVector x, uint32_t m) {
#if defined(__AVX512F__)
  return reinterpret_cast<LongVector>(_mm512_mul_epu32(reinterpret_cast<__m512i>(x), _mm512_set1_epi64(m)));
#elif defined(__AVX2__)
  return reinterpret_cast<LongVector>(_mm256_mul_epu32(reinterpret_cast<__m256i>(x), _mm256_set1_epi64x(m)));
#else
  return (x & 0xffffffffu) * m;
#endif
}

ALWAYS_INLINE LongVector xorOf(LongVector x, LongVector y, uint64_t z) {
#if defined(__AVX512F__)
  const __m512i key = _mm512_set1_epi64(static_cast<int64_t>(z));
  return reinterpret_cast<LongVector>(
      _mm512_ternarylogic_epi64(reinterpret_cast<__m512i>(x), reinterpret_cast<__m512i>(y), key, 0x96));
#else
  return x ^ y ^ z;
#endif
}

// Philox4x32-10 on the low halves of 64-bit lanes; the high halves may hold anything before and after.
struct PhiloxLanes {
  LongVector c0, c1, c2, c3;

  ALWAYS_INLINE void round(const uint64_t (&keys)[2]) {
    const LongVector p0 = multiplyLow(c0, 0xD2511F53u), p1 = multiplyLow(c2, 0xCD9E8D57u);
    c0 = xorOf(p1 >> 32, c1, keys[0]);
    c2 = xorOf(p0 >> 32, c3, keys[1]);
    c1 = p1;
    c3 = p0;
  }
};

// Eight draws for each of `lanes` queries: words[w] holds those of keys 2w (low half) and 2w + 1 (high half).
ALWAYS_INLINE void drawWords(const RoundKeys& keys, uint64_t sample, uint64_t block, uint64_t blockStride, UintVector (&words)[4]) {
  LongVector offsets;  // of the even queries; the same for all blocks of a panel, so that loops compute it once
#pragma GCC unroll 8
  for (int l = 0; l < lanes / 2; ++l) offsets[l] = blockStride * static_cast<uint64_t>(2 * l);
  const LongVector even = offsets + block, odd = even + blockStride;
  const LongVector sampleLow = LongVector{} + (sample & 0xffffffffu), sampleHigh = LongVector{} + (sample >> 32);
  PhiloxLanes a{even, even >> 32, sampleLow, sampleHigh}, b{odd, odd >> 32, sampleLow, sampleHigh};
#pragma GCC unroll 10
  for (int i = 0; i < 10; ++i) {
    a.round(keys.at[i]);
    b.round(keys.at[i]);
  }
  const auto join = [](LongVector x, LongVector y) { return reinterpret_cast<UintVector>((x & 0xffffffffu) | (y << 32)); };
  words[0] = join(a.c0, b.c0);
  words[1] = join(a.c1, b.c1);
  words[2] = join(a.c2, b.c2);
  words[3] = join(a.c3, b.c3);
}

// The draws of queries i … i + lanes − 1 for keys key … key + 7, key a multiple of 8; see drawWords.
ALWAYS_INLINE void drawKeys(const Attention& problem, int64_t b, int64_t h, int64_t i, int64_t key, UintVector (&words)[4]) {
  drawWords(problem.roundKeys, problem.firstSample + static_cast<uint64_t>(b),
            problem.drawBlock(h, i) + static_cast<uint64_t>(key / 8), static_cast<uint64_t>((problem.sequence + 7) / 8), words);
}

// kept(r, mask) for r = 0 … 7: which lanes (queries i …) keep their probability of key + r.
template <class Kept>
ALWAYS_INLINE void drawMasks(const Attention& problem, int64_t b, int64_t h, int64_t i, int64_t key, const Kept& kept) {
  UintVector words[4];
  drawKeys(problem, b, h, i, key, words);
  const UintVector threshold = UintVector{} + problem.dropout.threshold;
#pragma GCC unroll 4
  for (int w = 0; w < 4; ++w) {
    kept(2 * w, reinterpret_cast<IntVector>((words[w] & 0xffffu) >= threshold));
    kept(2 * w + 1, reinterpret_cast<IntVector>((words[w] >> 16) >= threshold));
  }
}

}  // namespace attention
