// How 16-bit operands become what the registers multiply: 32-bit words, one for each step of the depth. Units:
// Pairs: two neighbours of the depth in a word, multiplied and summed by one instruction (AVX512-BF16);
// Widened: each value as a float32, for f16 and for processors without such an instruction;
// Amx (gemm-half-amx.h): pairs, multiplied a tile at a time.
#pragma once
#include <algorithm>
#include "vectors.h"

constexpr int halfRows = 6;  // with AVX-512 24 sums, 4 vectors of B and one of A in 32 registers
constexpr int halfVectors = vectorBytes == 32 || (vectorBytes == 16 && tileRows == 6) ? 2 : 4;
constexpr int halfColumns = halfVectors * lanes;

// What the units that work on vectors have in common.
struct VectorUnit {
  static constexpr int rows = halfRows, columns = halfColumns;  // of a tile of C
  static constexpr int stepMultiple = 1;     // words of the depth that are multiplied at a time
  static constexpr bool wholeTiles = false;  // whether tiles of A are read whole, from rows that lie along memory
  struct Session {};                         // what a thread holds while it multiplies
};

#if defined(__AVX512BF16__)
constexpr bool hasPairs = true;
#else
constexpr bool hasPairs = false;
#endif

// The same word in every lane.
ALWAYS_INLINE Vector broadcastWord(uint32_t word) { return reinterpret_cast<Vector>(word - UintVector{}); }

typedef uint32_t Words __attribute__((vector_size(16)));
typedef uint32_t UnalignedWords __attribute__((vector_size(16), aligned(2), may_alias));
typedef uint16_t Halves __attribute__((vector_size(16)));
typedef uint16_t UnalignedHalves __attribute__((vector_size(16), aligned(2), may_alias));

typedef float PairVector __attribute__((vector_size(vectorBytes), aligned(2), may_alias));

// Eight words of neighbours across the depth.
struct EightWords {
  Words low, high;
};

struct Pairs : VectorUnit {
  static constexpr int depth = 2;  // of a word

  static ALWAYS_INLINE uint32_t word(const Bf16* first, const Bf16* second) {
    return first->bits | (second ? static_cast<uint32_t>(second->bits) << 16 : 0u);
  }
  // Four words along the depth.
  static ALWAYS_INLINE Words words(const Bf16* from) { return *reinterpret_cast<const UnalignedWords*>(from); }
  static ALWAYS_INLINE EightWords across(const Bf16* first, const Bf16* second) {
    const Halves a = *reinterpret_cast<const UnalignedHalves*>(first), b = *reinterpret_cast<const UnalignedHalves*>(second);
    return {(Words)__builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11),
            (Words)__builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)};
  }
  // A vector of words along the depth.
  static ALWAYS_INLINE Vector vector(const Bf16* from) {
    return *reinterpret_cast<const PairVector*>(from);
  }
#if defined(__AVX512BF16__)
  static ALWAYS_INLINE Vector multiplyAdd(Vector sum, Vector a, Vector b) {
    return (Vector)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
  }
#endif
};

struct Widened : VectorUnit {
  static constexpr int depth = 1;

  template <class T>
  static ALWAYS_INLINE uint32_t word(const T* first, const T*) {
    return bitsOf(*first);
  }
  static ALWAYS_INLINE Words words(const Bf16* from) {
    return Words{bitsOf(from[0]), bitsOf(from[1]), bitsOf(from[2]), bitsOf(from[3])};
  }
  static ALWAYS_INLINE Words words(const F16* from) {
#if defined(__F16C__)
    return (Words)_mm_cvtph_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
#else
    return Words{bitsOf(from[0]), bitsOf(from[1]), bitsOf(from[2]), bitsOf(from[3])};
#endif
  }
  template <class T>
  static ALWAYS_INLINE EightWords across(const T* first, const T*) {
    return {words(first), words(first + 4)};
  }
  template <class T>
  static ALWAYS_INLINE Vector vector(const T* from) {
    return loadValues(from);
  }
  static ALWAYS_INLINE Vector multiplyAdd(Vector sum, Vector a, Vector b) { return sum + a * b; }
};
