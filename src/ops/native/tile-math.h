// Maths on whole vectors of a register tile.
#pragma once
#include "tile.h"

constexpr float negativeInfinity = -__builtin_inff();
constexpr float log2e = 1.44269504088896341f, ln2 = 0.69314718055994531f;

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
  Vector r;
#pragma GCC unroll 16
  for (int i = 0; i < lanes; ++i)  // fma keeps the two parts of ln 2 apart, which -fassociative-math would merge
    r[i] = __builtin_fmaf(n[i], 2.12194440e-4f, __builtin_fmaf(n[i], -0.693359375f, clamped[i]));
  const Vector power = powerOfTwo(biased, r * log2e);
  return x < lowest ? Vector{} : power;
}
