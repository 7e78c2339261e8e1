// GELU, element by element: about 20 instructions for each number, less than memory takes to bring it.
#include "elements.cuh"
#include "gelu.cuh"

template <int form>
__device__ __forceinline__ void forward(const Value* x, Value* y, Index size) {
  forEach(size, aligned(x, y), [&](auto lanes, Index i) {
    constexpr int n = decltype(lanes)::count;
    Floats<n> value = load<n>(x + i);
#pragma unroll
    for (int e = 0; e < n; ++e) value.at[e] = geluOf<form>(value.at[e]);
    store<n>(y + i, value);
  });
}

template <int form>
__device__ __forceinline__ void backward(const Value* dy, const Value* x, Value* dx, Index size, Index accumulate) {
  forEach(size, aligned(dy, x, dx), [&](auto lanes, Index i) {
    constexpr int n = decltype(lanes)::count;
    const Floats<n> upstream = load<n>(dy + i), in = load<n>(x + i);
    Floats<n> gradient = {};
    if (accumulate) gradient = load<n>(dx + i);
#pragma unroll
    for (int e = 0; e < n; ++e) gradient.at[e] += upstream.at[e] * geluSlope<form>(in.at[e]);
    store<n>(dx + i, gradient);
  });
}

extern "C" __global__ void gelu_forward(const Value* x, Value* y, Index size, Index form) {
  if (form == 1) {
    forward<1>(x, y, size);
  } else {
    forward<2>(x, y, size);
  }
}

extern "C" __global__ void gelu_backward(const Value* dy, const Value* x, Value* dx, Index size, Index form, Index accumulate) {
  if (form == 1) {
    backward<1>(dy, x, dx, size, accumulate);
  } else {
    backward<2>(dy, x, dx, size, accumulate);
  }
}
