// Vectors of activations: loaded as float32, stored rounded. And the last few of a row.
#pragma once
#include <algorithm>
#include <type_traits>
#include "elements.h"
#include "tile.h"
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

typedef uint16_t LaneHalves __attribute__((vector_size(vectorBytes / 2)));
typedef uint16_t UnalignedLaneHalves __attribute__((vector_size(vectorBytes / 2), aligned(2), may_alias));

// A vector's worth of values as float32.
ALWAYS_INLINE Vector loadValues(const float* from) { return load(from); }
ALWAYS_INLINE Vector loadValues(const Bf16* from) {
  return reinterpret_cast<Vector>(
      __builtin_convertvector(*reinterpret_cast<const UnalignedLaneHalves*>(from), UintVector) << 16);
}
ALWAYS_INLINE Vector loadValues(const F16* from) {
#if defined(__AVX512F__)
  return (Vector)_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
#else
  Vector values;
  for (int i = 0; i < lanes; ++i) values[i] = from[i];
  return values;
#endif
}

ALWAYS_INLINE void storeValues(float* to, Vector x) { store(to, x); }
template <class T>
ALWAYS_INLINE void storeValues(T* to, Vector x) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<T, F16>)
    return _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtps_ph((__m512)x, _MM_FROUND_TO_NEAREST_INT));
#endif
#if defined(__AVX512BF16__)
  if constexpr (std::is_same_v<T, Bf16>)
    return _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), (__m256i)_mm512_cvtneps_pbh((__m512)x));
#endif
  for (int i = 0; i < lanes; ++i) to[i] = static_cast<T>(x[i]);
}

// body(vector loaded from from[i …], i, count) over `size` elements, a vector at a time; lanes past the end hold `padding`.
template <class T, class Body>
ALWAYS_INLINE void forEachVector(const T* from, int64_t size, float padding, const Body& body) {
  int64_t i = 0;
  for (; i + lanes <= size; i += lanes) body(loadValues(from + i), i, lanes);
  if (i == size) return;
  float rest[lanes];
  std::fill_n(rest, lanes, padding);
  for (int64_t j = i; j < size; ++j) rest[j - i] = from[j];
  body(load(rest), i, static_cast<int>(size - i));
}

// The first `count` lanes; the rest are 0.
template <class T>
ALWAYS_INLINE Vector loadFirst(const T* from, int count) {
  if (count == lanes) return loadValues(from);
  Vector x{};
  for (int i = 0; i < count; ++i) x[i] = from[i];
  return x;
}

// Stores the first `count` lanes, rounded by the instructions of a whole vector: AVX512-BF16's take denormals for zero, plain
// code does not, and no bit may depend on where the threads' shares end.
template <class T>
ALWAYS_INLINE void storeFirst(T* to, Vector x, int count) {
  if (count == lanes) return storeValues(to, x);
  T rest[lanes];
  storeValues(rest, x);
  std::copy_n(rest, count, to);
}
