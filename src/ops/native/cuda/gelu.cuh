// GELU and its derivative; `form` as in ops/gelu/kernels.ts: 1 is x·Φ(x), 2 the tanh approximation.
#pragma once
#include "maths.cuh"

template <int form>
__device__ __forceinline__ float geluOf(float x) {
  if (form == 1) return 0.5f * x * (1.0f + erfFast(x * 0.70710678118654752f));
  return 0.5f * x * (1.0f + tanhFast(0.79788456080286536f * (x + 0.044715f * x * x * x)));
}

template <int form>
__device__ __forceinline__ float geluSlope(float x) {
  if (form == 1) return 0.5f * (1.0f + erfFast(x * 0.70710678118654752f)) + x * expFast(-0.5f * x * x) * 0.39894228040143268f;
  const float t = tanhFast(0.79788456080286536f * (x + 0.044715f * x * x * x));
  return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * 0.79788456080286536f * (1.0f + 0.134145f * x * x);
}
