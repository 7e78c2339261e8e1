// Σ x·w of a loss per token: one block, so that the order never changes; 100,000 numbers take some microseconds.
#include "reduce.cuh"

extern "C" __global__ void __launch_bounds__(1024)
    weighted_sum_forward(const Value* x, const float* weights, float* total, Index size) {
  double sum = 0;
  forEachInBlock(size, aligned(x, weights), [&](auto lanes, Index i) {
    constexpr int n = decltype(lanes)::count;
    const Floats<n> value = load<n>(x + i), weight = load<n>(weights + i);
#pragma unroll
    for (int e = 0; e < n; ++e) sum += static_cast<double>(value.at[e]) * static_cast<double>(weight.at[e]);
  });
  sum = blockSum(sum);
  if (threadIdx.x == 0) total[0] = static_cast<float>(sum);
}

extern "C" __global__ void weighted_sum_backward(const float* dTotal, const float* weights, Value* dx, Index size,
                                                 Index accumulate) {
  const float upstream = dTotal[0];
  forEach(size, aligned(weights, dx), [&](auto lanes, Index i) {
    constexpr int n = decltype(lanes)::count;
    const Floats<n> weight = load<n>(weights + i);
    Floats<n> out = {};
    if (accumulate) out = load<n>(dx + i);
#pragma unroll
    for (int e = 0; e < n; ++e) out.at[e] += upstream * weight.at[e];
    store<n>(dx + i, out);
  });
}
