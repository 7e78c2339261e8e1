// GELU and its derivative; `form` as in ops/gelu/kernels.ts: 1 is x·Φ(x), 2 the tanh approximation.
#pragma once
#include "maths.cuh"

// ½(1 + tanh u) = 1 / (1 + e⁻²ᵘ), and its product with its complement ½(1 − tanh u): both without cancellation.
struct Sigmoid {
  float value, product;
};
__device__ __forceinline__ Sigmoid sigmoidOfTwice(float u) {
  const float power = expFast(-2.0f * fabsf(u)), inverse = __fdividef(1.0f, 1.0f + power);
  return {u < 0.0f ? power * inverse : inverse, power * inverse * inverse};
}

__device__ __forceinline__ float tanhArgument(float x) { return 0.79788456080286536f * (x + 0.044715f * x * x * x); }

template <int form>
__device__ __forceinline__ float geluOf(float x) {
  if (form == 1) return 0.5f * x * (1.0f + erfFast(x * 0.70710678118654752f));
  return x * sigmoidOfTwice(tanhArgument(x)).value;
}

template <int form>
__device__ __forceinline__ float geluSlope(float x) {
  if (form == 1) return 0.5f * (1.0f + erfFast(x * 0.70710678118654752f)) + x * expFast(-0.5f * x * x) * 0.39894228040143268f;
  const Sigmoid sigmoid = sigmoidOfTwice(tanhArgument(x));
  return sigmoid.value + 2.0f * x * sigmoid.product * 0.79788456080286536f * (1.0f + 0.134145f * x * x);
}
