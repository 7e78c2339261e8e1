// y = a + b. Two numbers read and one written for each.
#include "elements.cuh"

extern "C" __global__ void add_forward(const Value* a, const Value* b, Value* y, Index size) {
  forEach(size, aligned(a, b, y), [&](auto lanes, Index i) {
    constexpr int n = decltype(lanes)::count;
    Floats<n> sum = load<n>(a + i);
    const Floats<n> other = load<n>(b + i);
#pragma unroll
    for (int e = 0; e < n; ++e) sum.at[e] += other.at[e];
    store<n>(y + i, sum);
  });
}
