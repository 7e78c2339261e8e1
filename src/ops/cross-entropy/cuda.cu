// Cross-entropy over rows of logits, one block for each row at a time. Forward reads the logits once (the maximum and the sum
// of powers run along together); backward reads them once and writes the gradient over them. At 51,200 entries in bf16 that is
// 300 KB for each token, forward and backward; one power each, of which a multiprocessor makes 16 a clock where memory brings 10.
#include "maths.cuh"
#include "reduce.cuh"

// Largest logit of a row so far and Σ exp(logit − largest).
struct Powers {
  float largest, sum;
};

// Two parts of one row together; one that saw nothing but −∞ adds nothing.
struct Merge {
  __device__ __forceinline__ Powers operator()(Powers a, Powers b) const {
    if (b.largest == NEGATIVE_INFINITY && b.sum == 0.0f) return a;
    if (a.largest == NEGATIVE_INFINITY && a.sum == 0.0f) return b;
    const float largest = Largest{}(a.largest, b.largest);
    return {largest, a.sum * expFast(a.largest - largest) + b.sum * expFast(b.largest - largest)};
  }
};

__device__ __forceinline__ Powers acrossBlock(Powers value) {
  __shared__ Powers parts[32];
  const int warps = static_cast<int>(blockDim.x / 32), lane = threadIdx.x % 32;
  const auto acrossLanes = [](Powers own) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2)
      own = Merge{}(own, {__shfl_xor_sync(0xffffffffu, own.largest, distance), __shfl_xor_sync(0xffffffffu, own.sum, distance)});
    return own;
  };
  value = acrossLanes(value);
  __syncthreads();
  if (lane == 0) parts[threadIdx.x / 32] = value;
  __syncthreads();
  return acrossLanes(lane < warps ? parts[lane] : Powers{NEGATIVE_INFINITY, 0.0f});
}

// A NaN loses every comparison, so it hides from the maximum; in the sum it comes through.
__device__ __forceinline__ Powers powersOf(const Value* in, Index entries, bool packed) {
  Powers powers = {NEGATIVE_INFINITY, 0.0f};
  forEachInBlock(entries, packed, [&](auto lanes, Index i) {
    constexpr int n = decltype(lanes)::count;
    const Floats<n> value = load<n>(in + i);
    float largest = powers.largest;
#pragma unroll
    for (int e = 0; e < n; ++e) largest = Largest{}(largest, value.at[e]);
    if (largest != powers.largest) {  // rare after the first few
      powers.sum *= expFast(powers.largest - largest);
      powers.largest = largest;
    }
    // All −∞ so far: no difference to take.
    const float from = largest == NEGATIVE_INFINITY ? 0.0f : largest;
#pragma unroll
    for (int e = 0; e < n; ++e) powers.sum += expFast(value.at[e] - from);
  });
  return acrossBlock(powers);
}

__device__ __forceinline__ float largestOf(const Value* in, Index entries, bool packed) {
  float largest = NEGATIVE_INFINITY;
  forEachInBlock(entries, packed, [&](auto lanes, Index i) {
    constexpr int n = decltype(lanes)::count;
    const Floats<n> value = load<n>(in + i);
#pragma unroll
    for (int e = 0; e < n; ++e) largest = Largest{}(largest, value.at[e]);
  });
  return acrossBlock(largest, Largest{}, NEGATIVE_INFINITY);
}

extern "C" __global__ void __launch_bounds__(256)
    cross_entropy_forward(const Value* logits, const int* labels, float* loss, float* statistics, Index rows, Index entries,
                          Index stride) {
  const bool packed = stride % 8 == 0 && aligned(logits);
  for (Index row = blockIdx.x; row < rows; row += gridDim.x) {
    const Value* in = logits + row * stride;
    const Powers powers = powersOf(in, entries, packed);
    if (threadIdx.x != 0) continue;
    statistics[2 * row] = powers.largest;
    statistics[2 * row + 1] = 1.0f / powers.sum;
    const int label = labels[row];
    const bool labelled = label >= 0 && label < entries;
    loss[row] = labelled ? powers.largest - toFloat(in[label]) + logf(powers.sum) : 0.0f;
  }
}

extern "C" __global__ void __launch_bounds__(256)
    cross_entropy_maximum(const Value* logits, float* maximum, Index rows, Index entries, Index stride) {
  const bool packed = stride % 8 == 0 && aligned(logits);
  for (Index row = blockIdx.x; row < rows; row += gridDim.x) {
    const float largest = largestOf(logits + row * stride, entries, packed);
    if (threadIdx.x == 0) maximum[row] = largest;
  }
}

extern "C" __global__ void __launch_bounds__(256)
    cross_entropy_sums(const Value* logits, const int* labels, const float* maximum, float* sums, Index rows, Index entries,
                       Index stride, Index firstEntry) {
  const bool packed = stride % 8 == 0 && aligned(logits);
  for (Index row = blockIdx.x; row < rows; row += gridDim.x) {
    const Value* in = logits + row * stride;
    const float largest = maximum[row];
    float sum = 0;
    forEachInBlock(entries, packed, [&](auto lanes, Index i) {
      constexpr int n = decltype(lanes)::count;
      const Floats<n> value = load<n>(in + i);
#pragma unroll
      for (int e = 0; e < n; ++e) sum += expFast(value.at[e] - largest);
    });
    sum = blockSum(sum);
    if (threadIdx.x != 0) continue;
    const Index column = labels[row] - firstEntry;
    sums[row] = sum;
    sums[rows + row] = column >= 0 && column < entries ? toFloat(in[column]) - largest : 0.0f;
  }
}

extern "C" __global__ void cross_entropy_of_sums(const int* labels, const float* maximum, const float* sums, float* loss,
                                                 float* statistics, Index rows, Index vocabulary) {
  forEach(rows, false, [&](auto, Index row) {
    const float total = sums[row];
    const bool labelled = labels[row] >= 0 && labels[row] < vocabulary;
    statistics[2 * row] = maximum[row];
    statistics[2 * row + 1] = 1.0f / total;
    loss[row] = labelled ? logf(total) - sums[rows + row] : 0.0f;
  });
}

extern "C" __global__ void __launch_bounds__(256)
    cross_entropy_backward(Value* logits, const int* labels, const float* statistics, const float* dLoss, Index rows,
                           Index entries, Index stride, Index firstEntry, Index vocabulary) {
  const bool packed = stride % 8 == 0 && aligned(logits);
  for (Index row = blockIdx.x; row < rows; row += gridDim.x) {
    Value* out = logits + row * stride;
    const int label = labels[row];
    const float upstream = label >= 0 && label < vocabulary ? dLoss[row] : 0.0f;
    const float largest = statistics[2 * row], share = upstream * statistics[2 * row + 1];
    const Index column = label - firstEntry;
    forEachInBlock(stride, packed, [&](auto lanes, Index i) {
      constexpr int n = decltype(lanes)::count;
      Floats<n> value = load<n>(out + i);
#pragma unroll
      for (int e = 0; e < n; ++e) {
        const float power = i + e < entries && upstream != 0.0f ? share * expFast(value.at[e] - largest) : 0.0f;
        value.at[e] = i + e == column && column < entries ? power - upstream : power;
      }
      store<n>(out + i, value);
    });
  }
}
