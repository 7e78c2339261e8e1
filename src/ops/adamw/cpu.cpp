#include <cmath>
#include "parallel.h"
#include "vectors.h"

ALWAYS_INLINE static Vector squareRoot(Vector x) {
#if defined(__AVX512F__)
  return (Vector)_mm512_sqrt_ps((__m512)x);
#else
  Vector root;
  for (int i = 0; i < lanes; ++i) root[i] = std::sqrt(x[i]);
  return root;
#endif
}

struct AdamWFactors {
  float gradientScale, beta1, oneMinusBeta1, beta2, oneMinusBeta2, stepSize, inverseRoot, epsilon, decay;
};

// Updates a vector's worth of p, m and v; returns the new p.
ALWAYS_INLINE static Vector updateVector(const AdamWFactors& by, float* p, const float* gradient, float* m, float* v) {
  const Vector g = load(gradient) * by.gradientScale, value = load(p);
  const Vector first = by.beta1 * load(m) + by.oneMinusBeta1 * g;
  const Vector second = by.beta2 * load(v) + by.oneMinusBeta2 * g * g;
  const Vector next = value - by.decay * value - by.stepSize * first / (squareRoot(second) * by.inverseRoot + by.epsilon);
  store(m, first);
  store(v, second);
  store(p, next);
  return next;
}

template <class T>
static void adamWStep(const Context* context, float* p, const float* gradient, float* m, float* v, T* copy, const float* factors,
                      int64_t size, float beta1, float oneMinusBeta1, float beta2, float oneMinusBeta2, float epsilon,
                      int64_t decays) {
  if (std::isnan(factors[0])) return;
  const AdamWFactors by{factors[0], beta1,      oneMinusBeta1, beta2, oneMinusBeta2,
                        factors[1], factors[2], epsilon,       decays ? factors[3] : 0.0f};
  parallelFor(context, size, 16384, [&](int64_t begin, int64_t end, int) {
    int64_t i = begin;
    for (; i + lanes <= end; i += lanes) {
      const Vector next = updateVector(by, p + i, gradient + i, m + i, v + i);
      if (copy) storeValues(copy + i, next);
    }
    // The last few go through the same instructions, so that no bit depends on how the threads share the work.
    if (i == end) return;
    float rest[4][lanes] = {};
    const int count = static_cast<int>(end - i);
    const float* const from[4] = {p + i, gradient + i, m + i, v + i};
    for (int k = 0; k < 4; ++k) std::copy_n(from[k], count, rest[k]);
    const Vector next = updateVector(by, rest[0], rest[1], rest[2], rest[3]);
    std::copy_n(rest[0], count, p + i);
    std::copy_n(rest[2], count, m + i);
    std::copy_n(rest[3], count, v + i);
    if (copy) storeFirst(copy + i, next, count);
  });
}
VALUE_KERNEL(adamw_step, adamWStep)
