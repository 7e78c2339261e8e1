// Scalar functions for kernels that wait for memory anyway: a few instructions each, accurate to some 1e-7.
#pragma once

// 2ˣ by the hardware, relative error 2⁻²²; 0 below 2⁻¹²⁶.
__device__ __forceinline__ float exp2Fast(float x) {
#ifdef CUDA_EMULATED
  return x < -126.0f ? 0.0f : std::exp2(x);
#else
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#endif
}

constexpr float log2e = 1.44269504088896341f;
#define NEGATIVE_INFINITY __uint_as_float(0xff800000u)

__device__ __forceinline__ float expFast(float x) { return exp2Fast(x * log2e); }

// As fastErf of ops/native/math.h: a rational function on [−4, 4] (coefficients: Eigen's float erf), ±1 outside.
__device__ __forceinline__ float erfFast(float x) {
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
  return c * __fdividef(p, q);
}
