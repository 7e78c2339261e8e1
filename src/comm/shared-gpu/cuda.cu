// Sums and maxima of what several ranks hold in the memory of one GPU, in the order of the ranks, whatever the number of threads:
// the same bits as on the host. Reads each source once; each element is read everywhere before it is written anywhere, so that
// the destinations may be the sources.
#include "elements.cuh"

constexpr int mostPlaces = 16;
#define VALUE_PLACES                                                                                                          \
  Value *p0, Value *p1, Value *p2, Value *p3, Value *p4, Value *p5, Value *p6, Value *p7, Value *p8, Value *p9, Value *p10, \
      Value *p11, Value *p12, Value *p13, Value *p14, Value *p15
#define INT_PLACES                                                                                                        \
  int *p0, int *p1, int *p2, int *p3, int *p4, int *p5, int *p6, int *p7, int *p8, int *p9, int *p10, int *p11, int *p12, \
      int *p13, int *p14, int *p15
#define ALL_PLACES p0, p1, p2, p3, p4, p5, p6, p7, p8, p9, p10, p11, p12, p13, p14, p15

enum Reduction { reductionSum = 1, reductionMax = 2 };

__device__ __forceinline__ float combined(float a, float b, int reduction) {
  if (reduction == reductionSum) return a + b;
  return b > a || b != b ? b : a;  // a NaN stays
}
__device__ __forceinline__ int combined(int a, int b, int reduction) {
  // wraps around
  if (reduction == reductionSum) return static_cast<int>(static_cast<unsigned>(a) + static_cast<unsigned>(b));
  return b > a ? b : a;
}

// `to`, or where it is null each of the first `count` places, becomes the reduction of those; 16-bit numbers are added up in
// float32 and rounded once.
extern "C" __global__ void combine_places(VALUE_PLACES, Value* to, int count, Index size, int reduction) {
  Value* const places[mostPlaces] = {ALL_PLACES};
  forEach(size, aligned(ALL_PLACES, to), [&](auto lanes, Index i) {
    constexpr int n = decltype(lanes)::count;
    Floats<n> result = load<n>(places[0] + i);
#pragma unroll
    for (int p = 1; p < mostPlaces; ++p) {  // with known indices the places stay in registers
      if (p >= count) break;
      const Floats<n> next = load<n>(places[p] + i);
#pragma unroll
      for (int e = 0; e < n; ++e) result.at[e] = combined(result.at[e], next.at[e], reduction);
    }
    if (to) {
      store<n>(to + i, result);
      return;
    }
#pragma unroll
    for (int p = 0; p < mostPlaces; ++p) {
      if (p >= count) break;
      store<n>(places[p] + i, result);
    }
  });
}

extern "C" __global__ void combine_int_places(INT_PLACES, int* to, int count, Index size, int reduction) {
  int* const places[mostPlaces] = {ALL_PLACES};
  forEach(size, false, [&](auto, Index i) {
    int result = places[0][i];
#pragma unroll
    for (int p = 1; p < mostPlaces; ++p) {
      if (p >= count) break;
      result = combined(result, places[p][i], reduction);
    }
    if (to) {
      to[i] = result;
      return;
    }
#pragma unroll
    for (int p = 0; p < mostPlaces; ++p) {
      if (p >= count) break;
      places[p][i] = result;
    }
  });
}
