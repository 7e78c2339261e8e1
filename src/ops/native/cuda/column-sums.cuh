// Sums over the rows of a matrix: blocks of rows make partial sums, which a second kernel adds in order. How rows are cut
// depends on the matrix alone, so the sums have the same bits on every device and run.
#pragma once
#include "reduce.cuh"

// Adds the columns of partials [parts, width] to `first` [split] and `second` [width − split]. Blocks of 256 threads: 32 columns
// and 8 runs of parts each. Reads parts · width · 4 bytes, coalesced by 128.
__device__ __forceinline__ void addColumnSums(const float* partials, float* first, float* second, Index parts, Index width,
                                              Index split) {
  __shared__ float runs[8][33];
  const int lane = threadIdx.x % 32, run = threadIdx.x / 32;
  const Index column = static_cast<Index>(blockIdx.x) * 32 + lane;
  float sum = 0;
  if (column < width) {
    const Index begin = parts * run / 8, end = parts * (run + 1) / 8;
#pragma unroll 8
    for (Index part = begin; part < end; ++part) sum += partials[part * width + column];
  }
  runs[run][lane] = sum;
  __syncthreads();
  if (run > 0 || column >= width) return;
  for (int i = 1; i < 8; ++i) sum += runs[i][lane];
  if (column < split) {
    first[column] += sum;
  } else {
    second[column - split] += sum;
  }
}

// The matrix of one width: 256 columns (8 for each of 32 lanes) and 8 rows at a time for each block (x: columns, y: rows).
// value(Lanes, row, column) gives numbers to add up; the block's sums go to partials [gridDim.y, width].
template <class ValueOf>
__device__ __forceinline__ void partialColumnSums(float* partials, Index rows, Index width, bool packed, const ValueOf& value) {
  __shared__ float sums[8][256];
  const int lane = threadIdx.x % 32, line = threadIdx.x / 32;
  const Index column = static_cast<Index>(blockIdx.x) * 256 + lane * 8;
  const Index begin = rows * blockIdx.y / gridDim.y, end = rows * (blockIdx.y + 1) / gridDim.y;
  Floats<8> sum = {};
  if (packed && column + 8 <= width) {
    for (Index row = begin + line; row < end; row += 8) {
      const Floats<8> part = value(Lanes<8>{}, row, column);
#pragma unroll
      for (int e = 0; e < 8; ++e) sum.at[e] += part.at[e];
    }
  } else {
#pragma unroll
    for (int e = 0; e < 8; ++e)
      for (Index row = begin + line; row < end && column + e < width; row += 8)
        sum.at[e] += value(Lanes<1>{}, row, column + e).at[0];
  }
#pragma unroll
  for (int e = 0; e < 8; ++e) sums[line][lane * 8 + e] = sum.at[e];
  __syncthreads();
  const Index mine = static_cast<Index>(blockIdx.x) * 256 + threadIdx.x;
  if (mine >= width) return;
  float total = 0;
  for (int i = 0; i < 8; ++i) total += sums[i][threadIdx.x];
  partials[blockIdx.y * width + mine] = total;
}
