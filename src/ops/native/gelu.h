// GELU and its derivative in both forms; see ops/gelu/kernels.ts for the formulas.
#pragma once
#include "math.h"

enum GeluForm { geluErf = 1, geluTanh = 2 };

template <int form>
inline float geluOf(float x) {
  if (form == geluErf) return 0.5f * x * (1.0f + fastErf(x * 0.70710678118654752f));
  return 0.5f * x * (1.0f + fastTanh(0.79788456080286536f * (x + 0.044715f * x * x * x)));
}

template <int form>
inline float geluSlope(float x) {
  if (form == geluErf)
    return 0.5f * (1.0f + fastErf(x * 0.70710678118654752f)) + x * fastExp(-0.5f * x * x) * 0.39894228040143268f;
  const float t = fastTanh(0.79788456080286536f * (x + 0.044715f * x * x * x));
  return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * 0.79788456080286536f * (1.0f + 0.134145f * x * x);
}
