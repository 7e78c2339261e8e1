#include "elements.h"
#include "parallel.h"

// Small vectors (a loss per token): one thread, so that the sum's order never changes.
template <class T>
static void weightedSumForward(const Context*, const T* x, const float* weights, float* total, int64_t size) {
  double sum = 0;
  for (int64_t i = 0; i < size; ++i) sum += static_cast<double>(static_cast<float>(x[i])) * weights[i];
  total[0] = static_cast<float>(sum);
}
VALUE_KERNEL(weighted_sum_forward, weightedSumForward)

template <class T>
static void weightedSumBackward(const Context*, const float* dTotal, const float* weights, T* dx, int64_t size,
                                int64_t accumulate) {
  for (int64_t i = 0; i < size; ++i)
    dx[i] = static_cast<T>((accumulate ? static_cast<float>(dx[i]) : 0.0f) + dTotal[0] * weights[i]);
}
VALUE_KERNEL(weighted_sum_backward, weightedSumBackward)
