// destination += source. Reads and writes 3 numbers for each.
#include "elements.cuh"

extern "C" __global__ void accumulate(Value* destination, const Value* source, Index size) {
  forEach(size, aligned(destination, source), [&](auto lanes, Index i) {
    constexpr int n = decltype(lanes)::count;
    Floats<n> sum = load<n>(destination + i);
    const Floats<n> added = load<n>(source + i);
#pragma unroll
    for (int e = 0; e < n; ++e) sum.at[e] += added.at[e];
    store<n>(destination + i, sum);
  });
}
