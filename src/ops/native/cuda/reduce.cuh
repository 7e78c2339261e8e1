// Sums and maxima over the threads of a block, in a fixed order: the same bits on every run.
#pragma once
#include "elements.cuh"

struct Sum {
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Largest {  // of a number and NaN, the number
  __device__ __forceinline__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

// All 32 lanes get the result.
template <class Operation, class T>
__device__ __forceinline__ T acrossWarp(T value, Operation operation) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2)
    value = operation(value, __shfl_xor_sync(0xffffffffu, value, distance));
  return value;
}

// All threads of the block get the result; blockDim.x is a multiple of 32. `neutral`: what changes nothing.
template <class Operation, class T>
__device__ __forceinline__ T acrossBlock(T value, Operation operation, T neutral) {
  __shared__ T parts[32];
  const int warps = static_cast<int>(blockDim.x / 32), lane = threadIdx.x % 32;
  value = acrossWarp(value, operation);
  __syncthreads();  // the last call's parts have been read
  if (lane == 0) parts[threadIdx.x / 32] = value;
  __syncthreads();
  return acrossWarp(lane < warps ? parts[lane] : neutral, operation);
}

__device__ __forceinline__ float blockSum(float value) { return acrossBlock(value, Sum{}, 0.0f); }
__device__ __forceinline__ double blockSum(double value) { return acrossBlock(value, Sum{}, 0.0); }
