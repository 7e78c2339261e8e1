// Layer normalization, one block for each row at a time. A row is read from memory once; the second and third look at it find
// it in the first-level cache (a row of 1536 bf16 numbers is 3 KB, and 8 blocks share a multiprocessor, at 32 registers a thread).
// Forward moves 2 numbers for each of x, backward 3, and partial sums of at most 512 rows: for 16,384 rows of 1536 in bf16 that is
// 100 and 150 + 13 MB. Backward has 4 blocks on each of 132 multiprocessors with 6 KB of loads each under way, where the memory of
// an H200 (21 bytes a clock for each) asks for 17 KB at 800 clocks of latency.
#include "column-sums.cuh"

extern "C" __global__ void __launch_bounds__(256)
    layer_norm_forward(const Value* x, const float* gamma, const float* beta, Value* y, float* mean, float* rstd, Index rows,
                       Index width, float epsilon) {
  const bool packed = width % 8 == 0 && aligned(x, gamma, beta, y);
  for (Index row = blockIdx.x; row < rows; row += gridDim.x) {
    const Value* in = x + row * width;
    Value* out = y + row * width;
    float sum = 0;
    forEachInBlock(width, packed, [&](auto lanes, Index i) {
      constexpr int n = decltype(lanes)::count;
      const Floats<n> value = load<n>(in + i);
#pragma unroll
      for (int e = 0; e < n; ++e) sum += value.at[e];
    });
    const float average = blockSum(sum) / static_cast<float>(width);
    float squares = 0;
    forEachInBlock(width, packed, [&](auto lanes, Index i) {
      constexpr int n = decltype(lanes)::count;
      const Floats<n> value = load<n>(in + i);
#pragma unroll
      for (int e = 0; e < n; ++e) squares += (value.at[e] - average) * (value.at[e] - average);
    });
    const float inverse = rsqrtf(blockSum(squares) / static_cast<float>(width) + epsilon);
    forEachInBlock(width, packed, [&](auto lanes, Index i) {
      constexpr int n = decltype(lanes)::count;
      Floats<n> value = load<n>(in + i);
      const Floats<n> scale = load<n>(gamma + i), shift = load<n>(beta + i);
#pragma unroll
      for (int e = 0; e < n; ++e) value.at[e] = (value.at[e] - average) * inverse * scale.at[e] + shift.at[e];
      store<n>(out + i, value);
    });
    if (threadIdx.x == 0) {
      mean[row] = average;
      rstd[row] = inverse;
    }
  }
}

// dx, and partials [gridDim.x, 2, width]: what this block's rows add to dγ and dβ. Each thread keeps the sums of its own columns
// in shared memory (2 · width floats), so they need no barrier; registers would set a limit to the width.
extern "C" __global__ void __launch_bounds__(256)
    layer_norm_backward(const Value* dy, const Value* x, const float* gamma, const float* mean, const float* rstd, Value* dx,
                        float* partials, Index rows, Index width, Index accumulate) {
  DYNAMIC_SHARED(float, gammaSum);
  float* betaSum = gammaSum + width;
  const bool packed = width % 8 == 0 && aligned(dy, x, gamma, dx);
  forEachInBlock(width, packed, [&](auto lanes, Index i) {
    for (int e = 0; e < decltype(lanes)::count; ++e) gammaSum[i + e] = betaSum[i + e] = 0.0f;
  });
  for (Index row = blockIdx.x; row < rows; row += gridDim.x) {
    const Index start = row * width;
    const float average = mean[row], inverse = rstd[row];
    float sum = 0, sumNormal = 0;
    forEachInBlock(width, packed, [&](auto lanes, Index i) {
      constexpr int n = decltype(lanes)::count;
      const Floats<n> in = load<n>(x + start + i), upstream = load<n>(dy + start + i), scale = load<n>(gamma + i);
      Floats<n> gammas = load<n>(gammaSum + i), betas = load<n>(betaSum + i);
#pragma unroll
      for (int e = 0; e < n; ++e) {
        const float normal = (in.at[e] - average) * inverse, g = upstream.at[e] * scale.at[e];
        sum += g;
        sumNormal += g * normal;
        gammas.at[e] += upstream.at[e] * normal;
        betas.at[e] += upstream.at[e];
      }
      store<n>(gammaSum + i, gammas);
      store<n>(betaSum + i, betas);
    });
    const float shift = blockSum(sum) / static_cast<float>(width), slope = blockSum(sumNormal) / static_cast<float>(width);
    forEachInBlock(width, packed, [&](auto lanes, Index i) {
      constexpr int n = decltype(lanes)::count;
      const Floats<n> in = load<n>(x + start + i), upstream = load<n>(dy + start + i), scale = load<n>(gamma + i);
      Floats<n> out = {};
      if (accumulate) out = load<n>(dx + start + i);
#pragma unroll
      for (int e = 0; e < n; ++e)
        out.at[e] += inverse * (upstream.at[e] * scale.at[e] - shift - (in.at[e] - average) * inverse * slope);
      store<n>(dx + start + i, out);
    });
  }
  float* part = partials + static_cast<Index>(blockIdx.x) * 2 * width;
  forEachInBlock(width, packed, [&](auto lanes, Index i) {
    for (int e = 0; e < decltype(lanes)::count; ++e) {
      part[i + e] = gammaSum[i + e];
      part[width + i + e] = betaSum[i + e];
    }
  });
}

// partials [parts, 2, width] → dγ and dβ [width].
extern "C" __global__ void __launch_bounds__(256)
    layer_norm_add_sums(const float* partials, float* dGamma, float* dBeta, Index parts, Index width) {
  addColumnSums(partials, dGamma, dBeta, parts, 2 * width, width);
}
