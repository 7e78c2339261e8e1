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

// tanh x from one exponential; absolute error below 2e-7.
inline float fastTanh(float x) {
  const float magnitude = x < 0 ? -x : x;
  const float e = fastExp(-2.0f * magnitude);
  const float t = (1.0f - e) / (1.0f + e);
  return x < 0 ? -t : t;
}

// erf x as a rational function on [−4, 4] (coefficients: Eigen's float erf), ±1 outside; absolute error below 2e-7.
inline float fastErf(float x) {
  const float c = x < -4.0f ? -4.0f : (x > 4.0f ? 4.0f : x);
  const float s = c * c;
  float p = -2.72614225801306e-10f;
  p = p * s + 2.77068142495902e-08f;
  p = p * s + -2.10102402082508e-06f;
  p = p * s + -5.69250639462346e-05f;
  p = p * s + -7.34990630326855e-04f;
  p = p * s + -2.95459980854025e-03f;
  p = p * s + -1.60960333262415e-02f;
  float q = -1.45660718464996e-05f;
  q = q * s + -2.13374055278905e-04f;
  q = q * s + -1.68282697438203e-03f;
  q = q * s + -7.37332916720468e-03f;
  q = q * s + -1.42647390514189e-02f;
  return c * p / q;
}
