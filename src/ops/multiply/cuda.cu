// y = a ∘ b, or y += a ∘ b.
#include "elements.cuh"

extern "C" __global__ void multiply_forward(const Value* a, const Value* b, Value* y, Index size, Index accumulate) {
  forEach(size, aligned(a, b, y), [&](auto lanes, Index i) {
    constexpr int n = decltype(lanes)::count;
    const Floats<n> left = load<n>(a + i), right = load<n>(b + i);
    Floats<n> product = {};
    if (accumulate) product = load<n>(y + i);
#pragma unroll
    for (int e = 0; e < n; ++e) product.at[e] += left.at[e] * right.at[e];
    store<n>(y + i, product);
  });
}
