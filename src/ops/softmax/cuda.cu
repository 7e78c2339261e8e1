// Softmax and log-softmax over rows, one block for each row at a time.
#include "maths.cuh"
#include "reduce.cuh"

extern "C" __global__ void __launch_bounds__(256)
    softmax_forward(const float* x, float* y, Index rows, Index width, Index logarithm) {
  const bool packed = width % 8 == 0 && aligned(x, y);
  for (Index row = blockIdx.x; row < rows; row += gridDim.x) {
    const float* in = x + row * width;
    float* out = y + row * width;
    float largest = NEGATIVE_INFINITY;
    forEachInBlock(width, packed, [&](auto lanes, Index i) {
      constexpr int n = decltype(lanes)::count;
      const Floats<n> value = load<n>(in + i);
#pragma unroll
      for (int e = 0; e < n; ++e) largest = Largest{}(largest, value.at[e]);
    });
    largest = acrossBlock(largest, Largest{}, NEGATIVE_INFINITY);
    float sum = 0;
    forEachInBlock(width, packed, [&](auto lanes, Index i) {
      constexpr int n = decltype(lanes)::count;
      const Floats<n> value = load<n>(in + i);
#pragma unroll
      for (int e = 0; e < n; ++e) sum += expFast(value.at[e] - largest);
    });
    sum = blockSum(sum);
    const float total = logf(sum), inverse = 1.0f / sum;
    forEachInBlock(width, packed, [&](auto lanes, Index i) {
      constexpr int n = decltype(lanes)::count;
      Floats<n> value = load<n>(in + i);
#pragma unroll
      for (int e = 0; e < n; ++e) {
        const float shifted = value.at[e] - largest;
        value.at[e] = logarithm ? shifted - total : expFast(shifted) * inverse;
      }
      store<n>(out + i, value);
    });
  }
}

extern "C" __global__ void __launch_bounds__(256)
    softmax_backward(const float* dy, const float* y, float* dx, Index rows, Index width, Index logarithm, Index accumulate) {
  const bool packed = width % 8 == 0 && aligned(dy, y, dx);
  for (Index row = blockIdx.x; row < rows; row += gridDim.x) {
    const Index start = row * width;
    float sum = 0;
    forEachInBlock(width, packed, [&](auto lanes, Index i) {
      constexpr int n = decltype(lanes)::count;
      const Floats<n> upstream = load<n>(dy + start + i), out = load<n>(y + start + i);
#pragma unroll
      for (int e = 0; e < n; ++e) sum += logarithm ? upstream.at[e] : upstream.at[e] * out.at[e];
    });
    sum = blockSum(sum);
    forEachInBlock(width, packed, [&](auto lanes, Index i) {
      constexpr int n = decltype(lanes)::count;
      const Floats<n> upstream = load<n>(dy + start + i), out = load<n>(y + start + i);
      Floats<n> gradient = {};
      if (accumulate) gradient = load<n>(dx + start + i);
#pragma unroll
      for (int e = 0; e < n; ++e)
        gradient.at[e] += logarithm ? upstream.at[e] - expFast(out.at[e]) * sum : out.at[e] * (upstream.at[e] - sum);
      store<n>(dx + start + i, gradient);
    });
  }
}
