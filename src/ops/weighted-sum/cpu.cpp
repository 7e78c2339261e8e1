#include "parallel.h"

// Small vectors (a loss per token): one thread, so that the sum's order never changes.
extern "C" void weighted_sum_forward(const Context*, const float* x, const float* weights, float* total, int64_t size) {
  double sum = 0;
  for (int64_t i = 0; i < size; ++i) sum += static_cast<double>(x[i]) * weights[i];
  total[0] = static_cast<float>(sum);
}

extern "C" void weighted_sum_backward(const Context*, const float* dTotal, const float* weights, float* dx, int64_t size,
                                      int64_t accumulate) {
  for (int64_t i = 0; i < size; ++i) dx[i] = (accumulate ? dx[i] : 0.0f) + dTotal[0] * weights[i];
}
