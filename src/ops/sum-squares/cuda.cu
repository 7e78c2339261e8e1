// Σ x² in two steps with a fixed cut, so that the sum has the same bits on every device and run. Groups of eight are added in
// float32, groups in float64.
#include "reduce.cuh"

extern "C" __global__ void __launch_bounds__(256) sum_squares(const float* x, double* partials, Index size) {
  double sum = 0;
  forEach(size, aligned(x), [&](auto lanes, Index i) {
    constexpr int n = decltype(lanes)::count;
    const Floats<n> value = load<n>(x + i);
    float part = 0;
#pragma unroll
    for (int e = 0; e < n; ++e) part += value.at[e] * value.at[e];
    sum += part;
  });
  sum = blockSum(sum);
  if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}

extern "C" __global__ void __launch_bounds__(256) sum_squares_total(const double* partials, float* total, Index parts) {
  double sum = 0;
  for (Index i = threadIdx.x; i < parts; i += blockDim.x) sum += partials[i];
  sum = blockSum(sum);
  if (threadIdx.x == 0) total[0] = static_cast<float>(sum);
}
