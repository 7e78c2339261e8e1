#include <cmath>
#include "elements.h"
#include "parallel.h"

template <class T>
static void adamWStep(const Context* context, float* __restrict p, const float* __restrict gradient, float* __restrict m,
                      float* __restrict v, T* __restrict copy, int64_t size, float gradientScale, float beta1,
                      float oneMinusBeta1, float beta2, float oneMinusBeta2, float stepSize, float inverseRoot, float epsilon,
                      float decay) {
  const auto update = [=](int64_t i) {
    const float g = gradient[i] * gradientScale;
    const float first = beta1 * m[i] + oneMinusBeta1 * g;
    const float second = beta2 * v[i] + oneMinusBeta2 * g * g;
    m[i] = first;
    v[i] = second;
    return p[i] = p[i] - decay * p[i] - stepSize * first / (std::sqrt(second) * inverseRoot + epsilon);
  };
  parallelFor(context, size, 16384, [&](int64_t begin, int64_t end, int) {
    if (copy) {
      for (int64_t i = begin; i < end; ++i) copy[i] = static_cast<T>(update(i));
    } else {
      for (int64_t i = begin; i < end; ++i) update(i);
    }
  });
}
VALUE_KERNEL(adamw_step, adamWStep)
