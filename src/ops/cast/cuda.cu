// Casts between float32 and the type of activations; 16 bytes or more of each at a time.
#include "elements.cuh"

template <class From, class To>
__device__ __forceinline__ void cast(const From* x, To* y, Index size) {
  forEach(size, aligned(x, y), [&](auto lanes, Index i) {
    constexpr int n = decltype(lanes)::count;
    store<n>(y + i, load<n>(x + i));
  });
}

extern "C" __global__ void cast_to(const float* x, Value* y, Index size) { cast(x, y, size); }

extern "C" __global__ void cast_from(const Value* x, float* y, Index size) { cast(x, y, size); }
