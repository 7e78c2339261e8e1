#include <cmath>
#include "parallel.h"

extern "C" void adamw_step(const Context* context, float* __restrict p, const float* __restrict gradient, float* __restrict m,
                           float* __restrict v, int64_t size, float gradientScale, float beta1, float oneMinusBeta1,
                           float beta2, float oneMinusBeta2, float stepSize, float inverseRoot, float epsilon, float decay) {
  parallelFor(context, size, 16384, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const float g = gradient[i] * gradientScale;
      const float first = beta1 * m[i] + oneMinusBeta1 * g;
      const float second = beta2 * v[i] + oneMinusBeta2 * g * g;
      m[i] = first;
      v[i] = second;
      p[i] = p[i] - decay * p[i] - stepSize * first / (std::sqrt(second) * inverseRoot + epsilon);
    }
  });
}
