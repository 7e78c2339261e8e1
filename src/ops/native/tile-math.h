// Maths on whole vectors of a register tile.
#pragma once
#include "tile.h"

constexpr float negativeInfinity = -__builtin_inff();
constexpr float log2e = 1.44269504088896341f, ln2 = 0.69314718055994531f;

// The same number, about which the compiler knows nothing: -fassociative-math cannot rearrange sums across it.
ALWAYS_INLINE Vector opaque(Vector x) {
#if defined(__AVX512F__)
  __asm__("" : "+v"(x));
#elif defined(__x86_64__)
  __asm__("" : "+x"(x));
#elif defined(__aarch64__)
  __asm__("" : "+w"(x));
#endif
  return x;
}

ALWAYS_INLINE Vector larger(Vector a, Vector b) { return a > b ? a : b; }

// 2ⁿ⁺ʳ with n = biased − 127 ≥ −126 and |r| ≤ ½ (about): a degree-6 polynomial in r, fitted for the smallest relative error,
// 2e-8 before rounding.
ALWAYS_INLINE Vector powerOfTwo(IntVector biased, Vector r) {
  Vector p = r * 1.5353255731e-4f + 1.3399004238e-3f;
  p = p * r + 9.6184387803e-3f;
  p = p * r + 5.5503319949e-2f;
  p = p * r + 2.4022647738e-1f;
  p = p * r + 6.9314718246e-1f;
  p = p * r + 1.0f;
  return p * reinterpret_cast<Vector>(biased << 23);
}

// 2ˣ for x ≤ 127 to about 1 ulp; 0 below −126; NaN stays NaN.
ALWAYS_INLINE Vector exp2Vector(Vector x) {
  const Vector lowest = broadcast(-126.0f), clamped = x < lowest ? lowest : x;
  const IntVector biased = __builtin_convertvector(clamped + 127.5f, IntVector);  // n + 127, at least 1: truncation is floor
  const Vector power = powerOfTwo(biased, clamped - (__builtin_convertvector(biased, Vector) - 127.0f));
  return x < lowest ? Vector{} : power;
}

// eˣ for x ≤ 88 to about 2 ulp; 0 below −87.3; NaN stays NaN. What is left of x besides n·ln 2 is formed in two steps, the
// first exact, so that large arguments keep their digits.
ALWAYS_INLINE Vector expVector(Vector x) {
  const Vector lowest = broadcast(-87.3f), clamped = x < lowest ? lowest : x;
  const IntVector biased = __builtin_convertvector(clamped * log2e + 127.5f, IntVector);
  const Vector n = __builtin_convertvector(biased, Vector) - 127.0f;
  const Vector most = opaque(clamped - n * 0.693359375f);
  const Vector power = powerOfTwo(biased, (most + n * 2.12194440e-4f) * log2e);
  return x < lowest ? Vector{} : power;
}
