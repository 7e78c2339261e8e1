// Register tiles of bf16 products: vdpbf16ps multiplies the neighbours of a pair and adds both to a float32 sum, two
// multiply-adds a lane. A pair is 32 bits, the element of smaller depth in the low half.
#pragma once
#include "tile-math.h"

#if defined(__AVX512BF16__) && defined(__AVX512BW__) && defined(__AVX512DQ__)
#define HAVE_TILE_PAIRS 1
#include <immintrin.h>

typedef uint32_t Pair __attribute__((may_alias));
constexpr int pairRows = 12;  // 24 sums, 2 of B, 1 of A

ALWAYS_INLINE __m512i loadPairs(const Pair* p) { return _mm512_loadu_si512(p); }
ALWAYS_INLINE void storePairs(Pair* p, __m512i x) { _mm512_storeu_si512(p, x); }

// sum + the products of both halves, lane by lane.
ALWAYS_INLINE Vector addPairProducts(Vector sum, __m512i a, __m512i b) {
  return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
}

// sums[i][j] += Σ_k a(i, k) · b(k, j) over `pairs` pairs of the depth; as `multiplyTile`, strides in pairs.
template <int rows, int vectors, int aRow, int aDepth>
ALWAYS_INLINE void multiplyPairs(Vector (&sums)[rows][vectors], int64_t pairs, const Pair* __restrict__ a,
                                 const Pair* __restrict__ b, int64_t bDepth) {
#pragma GCC unroll 1
  for (int64_t k = 0; k < pairs; ++k) {
    __m512i bs[vectors];
#pragma GCC unroll 8
    for (int j = 0; j < vectors; ++j) bs[j] = loadPairs(b + j * lanes);
#pragma GCC unroll 32
    for (int i = 0; i < rows; ++i) {
      const __m512i x = _mm512_set1_epi32(static_cast<int>(a[i * aRow]));
#pragma GCC unroll 8
      for (int j = 0; j < vectors; ++j) sums[i][j] = addPairProducts(sums[i][j], x, bs[j]);
    }
    a += aDepth;
    b += bDepth;
  }
}

// Two vectors rounded to bf16: the lanes of `low`, then those of `high`.
ALWAYS_INLINE __m512i roundToHalves(Vector low, Vector high) { return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low)); }

struct HalfOrder {
  alignas(64) uint16_t at[32];
  // Pairs (begin + l, begin + l + partner) for l = 0 … 15.
  constexpr HalfOrder(int begin, int partner) : at() {
    for (int i = 0; i < 32; ++i) at[i] = static_cast<uint16_t>(begin + i / 2 + i % 2 * partner);
  }
  ALWAYS_INLINE __m512i vector() const { return _mm512_load_si512(at); }
};

// Pairs (x[l], x[l + 16]): from two rounded vectors, the pairs of their lanes.
ALWAYS_INLINE __m512i pairLanes(__m512i x) {
  static constexpr HalfOrder order(0, 16);
  return _mm512_permutexvar_epi16(order.vector(), x);
}
// Pairs (low[l], high[l]) for 16 of the 32 elements, from `begin` on.
template <int begin>
ALWAYS_INLINE __m512i pairRowsOf(__m512i low, __m512i high) {
  static constexpr HalfOrder order(begin, 32);
  return _mm512_permutex2var_epi16(low, order.vector(), high);
}

// Transposes 16 rows of 16 pairs: 4 × 4 within quarters of the vectors, then the quarters.
ALWAYS_INLINE void transposePairs(__m512i (&rows)[16]) {
  __m512i x[16];
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    const __m512i a = _mm512_unpacklo_epi32(rows[i], rows[i + 1]), b = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
    const __m512i c = _mm512_unpacklo_epi32(rows[i + 2], rows[i + 3]), d = _mm512_unpackhi_epi32(rows[i + 2], rows[i + 3]);
    x[i] = _mm512_unpacklo_epi64(a, c);  // rows i … i + 3 of pairs 0, 4, 8, 12
    x[i + 1] = _mm512_unpackhi_epi64(a, c);
    x[i + 2] = _mm512_unpacklo_epi64(b, d);
    x[i + 3] = _mm512_unpackhi_epi64(b, d);
  }
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
    const __m512i a = _mm512_shuffle_i32x4(x[k], x[k + 4], 0x88), b = _mm512_shuffle_i32x4(x[k], x[k + 4], 0xdd);
    const __m512i c = _mm512_shuffle_i32x4(x[k + 8], x[k + 12], 0x88), d = _mm512_shuffle_i32x4(x[k + 8], x[k + 12], 0xdd);
    rows[k] = _mm512_shuffle_i32x4(a, c, 0x88);
    rows[k + 8] = _mm512_shuffle_i32x4(a, c, 0xdd);
    rows[k + 4] = _mm512_shuffle_i32x4(b, d, 0x88);
    rows[k + 12] = _mm512_shuffle_i32x4(b, d, 0xdd);
  }
}

// 2ˣ to 8e-5 of its value, well below half a unit in the last place of bf16 (2e-3); 0 for −∞, NaN stays NaN. x is its floor
// plus r in [0, 1], then a polynomial in r (fitted for the smallest relative error).
ALWAYS_INLINE Vector exp2ForHalves(Vector x) {
  const Vector r = _mm512_reduce_ps(x, 9);
  Vector p = r * 7.8024521e-2f + 2.2606716e-1f;
  p = p * r + 6.9583356e-1f;
  p = p * r + 9.9992520e-1f;
  return _mm512_maskz_scalef_ps(0xffff, p, x);  // unmasked; GCC 12 warns of its own header's plain form
}
#endif
