// Maths on whole vectors of a register tile.
#pragma once
#include "tile.h"

constexpr float negativeInfinity = -__builtin_inff();
constexpr float log2e = 1.44269504088896341f, ln2 = 0.69314718055994531f;

ALWAYS_INLINE Vector larger(Vector a, Vector b) { return a > b ? a : b; }

// 2ˣ for x ≤ 127 to about 1 ulp; 0 below −126; NaN stays NaN. x = n + r with |r| ≤ ½, then a degree-6 polynomial in r
// (fitted for the smallest relative error, 2e-8 before rounding).
ALWAYS_INLINE Vector exp2Vector(Vector x) {
  const Vector lowest = broadcast(-126.0f), clamped = x < lowest ? lowest : x;
  const IntVector biased = __builtin_convertvector(clamped + 127.5f, IntVector);  // n + 127, at least 1: truncation is floor
  const Vector r = clamped - (__builtin_convertvector(biased, Vector) - 127.0f);
  Vector p = r * 1.5353255731e-4f + 1.3399004238e-3f;
  p = p * r + 9.6184387803e-3f;
  p = p * r + 5.5503319949e-2f;
  p = p * r + 2.4022647738e-1f;
  p = p * r + 6.9314718246e-1f;
  p = p * r + 1.0f;
  const Vector power = reinterpret_cast<Vector>(biased << 23);
  return x < lowest ? Vector{} : p * power;
}
