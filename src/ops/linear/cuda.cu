// Around the matrix products of linear layers: bias, GELU and sums over rows. All wait for memory: bias_gelu_forward moves 2
// numbers for each, bias_gelu_backward 3 and column_sums 1, besides partial sums of at most 128 rows. Their blocks of 256 threads
// fit 5 times or more (48 registers, 16 KB of shared memory), each with 4 to 12 KB of loads under way.
#include "column-sums.cuh"
#include "gelu.cuh"

// body(Lanes, first element, its column) over a matrix of `width` columns.
template <class Body>
__device__ __forceinline__ void forEachWithColumn(Index rows, Index width, bool packed, const Body& body) {
  forEach(rows * width, packed && width % 8 == 0, [&](auto lanes, Index i) { body(lanes, i, divide(i, width).remainder); });
}

extern "C" __global__ void add_bias(Value* y, const float* bias, Index rows, Index width) {
  forEachWithColumn(rows, width, aligned(y, bias), [&](auto lanes, Index i, Index column) {
    constexpr int n = decltype(lanes)::count;
    Floats<n> value = load<n>(y + i);
    const Floats<n> shift = load<n>(bias + column);
#pragma unroll
    for (int e = 0; e < n; ++e) value.at[e] += shift.at[e];
    store<n>(y + i, value);
  });
}

template <int form>
__device__ __forceinline__ void biasGelu(const Value* u, const float* bias, Value* y, Index rows, Index width) {
  forEachWithColumn(rows, width, aligned(u, bias, y), [&](auto lanes, Index i, Index column) {
    constexpr int n = decltype(lanes)::count;
    Floats<n> value = load<n>(u + i);
    const Floats<n> shift = load<n>(bias + column);
#pragma unroll
    for (int e = 0; e < n; ++e) value.at[e] = geluOf<form>(value.at[e] + shift.at[e]);
    store<n>(y + i, value);
  });
}

extern "C" __global__ void bias_gelu_forward(const Value* u, const float* bias, Value* y, Index rows, Index width, Index form) {
  if (form == 1) {
    biasGelu<1>(u, bias, y, rows, width);
  } else {
    biasGelu<2>(u, bias, y, rows, width);
  }
}

template <int form>
__device__ __forceinline__ void biasGeluBackward(const Value* dy, const Value* u, const float* bias, Value* du, float* partials,
                                                 Index rows, Index width) {
  const bool packed = width % 8 == 0 && aligned(dy, u, bias, du);
  partialColumnSums(partials, rows, width, packed, [&](auto lanes, Index row, Index column) {
    constexpr int n = decltype(lanes)::count;
    const Index at = row * width + column;
    const Floats<n> upstream = load<n>(dy + at), in = load<n>(u + at), shift = load<n>(bias + column);
    Floats<n> gradient;
#pragma unroll
    for (int e = 0; e < n; ++e) gradient.at[e] = upstream.at[e] * geluSlope<form>(in.at[e] + shift.at[e]);
    store<n>(du + at, gradient);
    return gradient;
  });
}

// du, and partials [gridDim.y, width] of its sums over rows.
extern "C" __global__ void __launch_bounds__(256)
    bias_gelu_backward(const Value* dy, const Value* u, const float* bias, Value* du, float* partials, Index rows, Index width,
                       Index form) {
  if (form == 1) {
    biasGeluBackward<1>(dy, u, bias, du, partials, rows, width);
  } else {
    biasGeluBackward<2>(dy, u, bias, du, partials, rows, width);
  }
}

extern "C" __global__ void __launch_bounds__(256) column_sums(const Value* x, float* partials, Index rows, Index width) {
  partialColumnSums(partials, rows, width, width % 8 == 0 && aligned(x), [&](auto lanes, Index row, Index column) {
    return load<decltype(lanes)::count>(x + row * width + column);
  });
}

// partials [parts, width] → sums [width].
extern "C" __global__ void __launch_bounds__(256)
    linear_add_sums(const float* partials, float* sums, Index parts, Index width) {
  addColumnSums(partials, sums, sums, parts, width, width);
}
