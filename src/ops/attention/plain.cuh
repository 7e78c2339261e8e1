// Attention without tensor cores: float32 activations, single queries of generation, and sizes that tiles do not fit. A block
// of four warps takes one query (or, for the gradients of keys and values, one key); a lane takes one of 32 partners, and then
// a column. Keys and values come through the first-level cache.
#pragma once
#include "problem.cuh"

constexpr int plainWarps = 4, plainColumns = 8;  // head widths up to 32 · plainColumns

__device__ __forceinline__ float dot(const Value* a, const Value* b, Index width, bool packed) {
  float sum = 0;
  if (packed) {
    for (Index c = 0; c < width; c += 8) {
      const Floats<8> left = load<8>(a + c), right = load<8>(b + c);
#pragma unroll
      for (int e = 0; e < 8; ++e) sum += left.at[e] * right.at[e];
    }
  } else {
    for (Index c = 0; c < width; ++c) sum += toFloat(a[c]) * toFloat(b[c]);
  }
  return sum;
}

// What dropout leaves of the probability of one key.
__device__ __forceinline__ float keptShare(const Attention& problem, Place at, Index i, int key) {
  if (problem.dropout.threshold == 0) return 1.0f;
  const Philox draws = problem.draws(at.batch, at.head, i, key & ~7);
  const unsigned low = key & 2 ? draws.word[1] : draws.word[0], high = key & 2 ? draws.word[3] : draws.word[2];
  const unsigned word = key & 4 ? high : low, bits = key & 1 ? word >> 16 : word & 0xffffu;
  return bits >= problem.dropout.threshold ? problem.dropout.scale : 0.0f;
}

// A row of the head's width, a column (or several) for each lane.
struct Row {
  float at[plainColumns] = {};

  // += factor · row
  __device__ __forceinline__ void add(float factor, const Value* row, int width) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int u = 0; u < plainColumns; ++u)
      if (lane + 32 * u < width) at[u] += factor * toFloat(row[lane + 32 * u]);
  }
  __device__ __forceinline__ void scale(float factor) {
#pragma unroll
    for (int u = 0; u < plainColumns; ++u) at[u] *= factor;
  }
};

// Shows each lane's number to its warp; `to` are 32 floats of this warp's own.
__device__ __forceinline__ void show(float* to, float value) {
  __syncwarp();  // the last numbers have been read
  to[threadIdx.x % 32] = value;
  __syncwarp();
}

// Adds up the four warps' rows, `weight` times each; the first warp then writes to (or adds to) `to`.
__device__ __forceinline__ void writeSum(Row row, float weight, float factor, Value* to, int width, bool accumulate) {
  __shared__ float sums[plainWarps][32 * plainColumns];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  __syncthreads();
#pragma unroll
  for (int u = 0; u < plainColumns; ++u) sums[warp][lane + 32 * u] = weight * row.at[u];
  __syncthreads();
  for (int c = threadIdx.x; c < width; c += 32 * plainWarps) {
    float sum = accumulate ? toFloat(to[c]) : 0.0f, total = 0;
    for (int i = 0; i < plainWarps; ++i) total += sums[i][c];
    sum += factor * total;
    to[c] = fromFloat<Value>(sum);
  }
}

__device__ __forceinline__ void plainForward(const Attention& problem, const Value* q, const Value* k, const Value* v, Value* out,
                                             float* logSumExp) {
  __shared__ float maxima[plainWarps], totals[plainWarps], weights[plainWarps][32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, width = static_cast<int>(problem.width);
  const bool packed = aligned(q, k) && (problem.width | problem.query.row | problem.query.head | problem.query.batch |
                                        problem.key.row | problem.key.head | problem.key.batch) % 8 == 0;
  const Index i = blockIdx.x;
  const Place at = placeOf(problem, blockIdx.y);
  const Value* query = q + problem.queryAt(at.batch, at.head, i);
  const Value* keys = k + problem.keyAt(at.batch, at.head, 0);
  const Value* values = v + problem.keyAt(at.batch, at.head, 0);
  const int first = problem.firstVisible(at.batch, i), end = problem.endVisible(i);
  float largest = NEGATIVE_INFINITY, total = 0;
  Row sum;
  for (int begin = first / 32 * 32 + 32 * warp; begin < end; begin += 32 * plainWarps) {
    const int key = begin + lane;
    const bool visible = key >= first && key < end;
    const float score =
        visible ? problem.scale * log2e * dot(query, keys + key * problem.key.row, problem.width, packed) : NEGATIVE_INFINITY;
    const float now = Largest{}(largest, acrossWarp(score, Largest{})), base = now == NEGATIVE_INFINITY ? 0.0f : now;
    const float correction = exp2Fast(largest - base), power = visible ? exp2Fast(score - base) : 0.0f;
    total = total * correction + acrossWarp(power, Sum{});
    sum.scale(correction);
    largest = now;
    show(weights[warp], visible ? power * keptShare(problem, at, i, key) : 0.0f);
    for (int j = max(0, first - begin); j < min(32, end - begin); ++j)
      sum.add(weights[warp][j], values + (begin + j) * problem.key.row, width);
  }
  if (lane == 0) {
    maxima[warp] = largest;
    totals[warp] = total;
  }
  __syncthreads();
  float most = NEGATIVE_INFINITY, all = 0;
  for (int w = 0; w < plainWarps; ++w) most = Largest{}(most, maxima[w]);
  const float base = most == NEGATIVE_INFINITY ? 0.0f : most;
  for (int w = 0; w < plainWarps; ++w) all += totals[w] * exp2Fast(maxima[w] - base);
  writeSum(sum, exp2Fast(largest - base), all == 0.0f ? 0.0f : 1.0f / all, out + problem.outputAt(at.batch, at.head, i), width,
           false);
  if (threadIdx.x == 0) logSumExp[problem.statisticAt(at.batch, at.head, i)] = base / log2e + logf(all);
}

// Δ = dO·O of every query, as logSumExp is laid out; one warp each.
__device__ __forceinline__ void plainDelta(const Attention& problem, const Value* out, const Value* dOut, float* delta) {
  const Index rows = problem.batch * problem.queries * problem.heads;
  const int lane = threadIdx.x % 32;
  const bool packed = problem.width % 8 == 0 && aligned(out, dOut);
  for (Index row = (static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x) / 32; row < rows;
       row += static_cast<Index>(gridDim.x) * blockDim.x / 32) {
    float sum = 0;
    forEachOf(problem.width, packed, lane, 32, [&](auto lanes, Index c) {
      constexpr int n = decltype(lanes)::count;
      const Floats<n> left = load<n>(out + row * problem.width + c), right = load<n>(dOut + row * problem.width + c);
#pragma unroll
      for (int e = 0; e < n; ++e) sum += left.at[e] * right.at[e];
    });
    sum = acrossWarp(sum, Sum{});
    const Quotient query = divide(row, problem.heads), sample = divide(query.quotient, problem.queries);
    if (lane == 0) delta[problem.statisticAt(sample.quotient, query.remainder, sample.remainder)] = sum;
  }
}

struct Pair {  // of a query and a key
  float probability, gradient;  // after dropout; of the score, before the scale
};

__device__ __forceinline__ Pair pairOf(const Attention& problem, Place at, Index i, int key, const Value* query,
                                       const Value* keyRow, const Value* upstream, const Value* value, float logSum,
                                       float delta, bool packed) {
  const float score = problem.scale * dot(query, keyRow, problem.width, packed);
  const float probability = expFast(score - logSum), share = keptShare(problem, at, i, key);
  return {probability * share, probability * (share * dot(upstream, value, problem.width, packed) - delta)};
}

struct PlainData {
  const Value *q, *k, *v, *dOut;
  const float *logSumExp, *delta;

  __device__ __forceinline__ bool packed(const Attention& problem) const {
    return aligned(q, k, v, dOut) && (problem.width | problem.query.row | problem.query.head | problem.query.batch |
                                      problem.key.row | problem.key.head | problem.key.batch) % 8 == 0;
  }
};

__device__ __forceinline__ void plainQueryGradient(const Attention& problem, const PlainData& data, Value* dq, bool accumulate) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, width = static_cast<int>(problem.width);
  const bool packed = data.packed(problem);
  const Index i = blockIdx.x;
  const Place at = placeOf(problem, blockIdx.y);
  const Index queryAt = problem.queryAt(at.batch, at.head, i), keysAt = problem.keyAt(at.batch, at.head, 0);
  const Index statistic = problem.statisticAt(at.batch, at.head, i);
  const float logSum = data.logSumExp[statistic], delta = data.delta[statistic];
  const int first = problem.firstVisible(at.batch, i), end = problem.endVisible(i);
  __shared__ float gradients[plainWarps][32];
  Row sum;
  for (int begin = first / 32 * 32 + 32 * warp; begin < end; begin += 32 * plainWarps) {
    const int key = begin + lane;
    Pair pair = {};
    if (key >= first && key < end) {
      const Index row = keysAt + key * problem.key.row;
      pair = pairOf(problem, at, i, key, data.q + queryAt, data.k + row, data.dOut + problem.outputAt(at.batch, at.head, i),
                    data.v + row, logSum, delta, packed);
    }
    show(gradients[warp], pair.gradient);
    for (int j = max(0, first - begin); j < min(32, end - begin); ++j)
      sum.add(gradients[warp][j], data.k + keysAt + (begin + j) * problem.key.row, width);
  }
  writeSum(sum, 1.0f, problem.scale, dq + queryAt, width, accumulate);
}

__device__ __forceinline__ void plainKeyGradients(const Attention& problem, const PlainData& data, Value* dk, Value* dv,
                                                  bool accumulate) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, width = static_cast<int>(problem.width);
  const bool packed = data.packed(problem);
  const int key = static_cast<int>(blockIdx.x);
  const Place at = placeOf(problem, blockIdx.y);
  const Index keyAt = problem.keyAt(at.batch, at.head, key);
  const int queries = static_cast<int>(problem.queries);
  const int first = problem.causal ? max(0, key - static_cast<int>(problem.offset)) : 0;
  __shared__ float probabilities[plainWarps][32], gradients[plainWarps][32];
  Row keySum, valueSum;
  for (int begin = first / 32 * 32 + 32 * warp; begin < queries; begin += 32 * plainWarps) {
    const int i = begin + lane;
    Pair pair = {};
    if (i >= first && i < queries && key >= problem.firstVisible(at.batch, i)) {
      const Index statistic = problem.statisticAt(at.batch, at.head, i);
      pair = pairOf(problem, at, i, key, data.q + problem.queryAt(at.batch, at.head, i), data.k + keyAt,
                    data.dOut + problem.outputAt(at.batch, at.head, i), data.v + keyAt, data.logSumExp[statistic],
                    data.delta[statistic], packed);
    }
    show(probabilities[warp], pair.probability);
    show(gradients[warp], pair.gradient);
    for (int j = max(0, first - begin); j < min(32, queries - begin); ++j) {
      valueSum.add(probabilities[warp][j], data.dOut + problem.outputAt(at.batch, at.head, begin + j), width);
      keySum.add(gradients[warp][j], data.q + problem.queryAt(at.batch, at.head, begin + j), width);
    }
  }
  writeSum(keySum, 1.0f, problem.scale, dk + keyAt, width, accumulate);
  writeSum(valueSum, 1.0f, 1.0f, dv + keyAt, width, accumulate);
}
