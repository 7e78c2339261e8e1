// GELU and its derivative in both forms; see ops/gelu/kernels.ts for the formulas.
#pragma once
#include "tile-math.h"

enum GeluForm { geluErf = 1, geluTanh = 2 };

ALWAYS_INLINE Vector magnitudeOf(Vector x) { return x < 0.0f ? -x : x; }

// Φ(x) where power = exp(−x²/2): the tail beyond |x| by Abramowitz & Stegun 7.1.26, absolute error below 1e-7.
ALWAYS_INLINE Vector normalCdf(Vector x, Vector power) {
  const Vector t = 1.0f / (1.0f + 0.23164189f * magnitudeOf(x));  // 0.3275911/√2
  Vector p = t * 0.5307027145f - 0.7265760135f;                   // half of their coefficients
  p = p * t + 0.7107068705f;
  p = p * t - 0.142248368f;
  p = p * t + 0.127414796f;
  const Vector tail = p * t * power;
  return x < 0.0f ? tail : 1.0f - tail;
}

// σ = σ(2y) = ½(1 + tanh y) with y as the approximate form has it, and σ(1 − σ), which keeps its digits where σ is near 1.
struct GeluSigmoid {
  Vector value, slope;
};
ALWAYS_INLINE GeluSigmoid geluSigmoid(Vector x) {
  const Vector y = 0.79788456080286536f * (x + 0.044715f * x * x * x);
  const Vector e = expVector(-2.0f * magnitudeOf(y)), larger = 1.0f / (1.0f + e), smaller = e * larger;
  return {y < 0.0f ? smaller : larger, smaller * larger};
}

template <int form>
ALWAYS_INLINE Vector geluOf(Vector x) {
  if (form == geluErf) return x * normalCdf(x, expVector(-0.5f * x * x));
  return x * geluSigmoid(x).value;
}

template <int form>
ALWAYS_INLINE Vector geluSlope(Vector x) {
  if (form == geluErf) {
    const Vector power = expVector(-0.5f * x * x);
    return normalCdf(x, power) + x * power * 0.39894228040143268f;
  }
  const GeluSigmoid s = geluSigmoid(x);
  return s.value + x * s.slope * 1.59576912160573072f * (1.0f + 0.134145f * x * x);
}
