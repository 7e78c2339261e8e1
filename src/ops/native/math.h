// Scalar maths that compilers can vectorize: no branches, no library calls.
#pragma once
#include <cstdint>
#include <cstring>

// eˣ to about 2 ulp on [−87, 88]; below it flushes to 0, above it saturates to the largest finite power.
// Range reduction x = n·ln2 + r, then a degree-6 polynomial (coefficients: Cephes expf, Moshier).
inline float fastExp(float x) {
  const float clamped = x < -87.3f ? -87.3f : (x > 88.3762626f ? 88.3762626f : x);
  const float n = __builtin_floorf(clamped * 1.44269504088896341f + 0.5f);
  // fma keeps the two-part ln 2 apart, which -fassociative-math would otherwise merge.
  const float r = __builtin_fmaf(n, 2.12194440e-4f, __builtin_fmaf(n, -0.693359375f, clamped));
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const int32_t bits = (static_cast<int32_t>(n) + 127) << 23;
  float power;
  std::memcpy(&power, &bits, 4);
  return x < -87.3f ? 0.0f : p * power;
}
