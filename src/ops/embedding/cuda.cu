// Embedding look-up, and its gradient without atomics: the same sums in the same order on every run.
#include "elements.cuh"

extern "C" __global__ void embedding_forward(const int* ids, const Value* table, Value* y, Index rows, Index width, Index first,
                                             Index entries) {
  const bool packed = width % 8 == 0 && aligned(table, y);
  forEach(rows * width, packed, [&](auto lanes, Index i) {
    constexpr int n = decltype(lanes)::count;
    const Quotient at = divide(i, width);
    const Index entry = ids[at.quotient] - first;
    Floats<n> value = {};
    if (entry >= 0 && entry < entries) value = load<n>(table + entry * width + at.remainder);
    store<n>(y + i, value);
  });
}

// Which row is the first with each id: firstRow [entries]. A minimum is the same in whatever order it is taken.
extern "C" __global__ void embedding_forget_rows(int* firstRow, Index entries) {
  forEach(entries, false, [&](auto, Index i) { firstRow[i] = 0x7fffffff; });
}
extern "C" __global__ void embedding_find_rows(const int* ids, int* firstRow, Index rows, Index first, Index entries) {
  forEach(rows, false, [&](auto, Index row) {
    const Index entry = ids[row] - first;
    if (entry >= 0 && entry < entries) atomicMin(firstRow + entry, static_cast<int>(row));
  });
}

// One block for each row (and 2048 columns). The first row with an id adds up all rows with it, in order; the others leave at once.
// To find them it reads the ids that follow: for each different id up to rows · 4 bytes from the second-level cache, at three
// barriers for 256 of them.
extern "C" __global__ void __launch_bounds__(256)
    embedding_backward(const int* ids, const int* firstRow, const Value* dy, float* dTable, Index rows, Index width, Index first,
                       Index entries) {
  __shared__ int matches[256];
  __shared__ unsigned ballots[8];
  const Index row = blockIdx.x;
  const int id = ids[row], lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const Index entry = id - first;
  if (entry < 0 || entry >= entries || firstRow[entry] != row) return;
  const Index column = static_cast<Index>(blockIdx.y) * 2048 + threadIdx.x * 8;
  const int columns = static_cast<int>(min(static_cast<Index>(8), width - column));  // ≤ 0: none for this thread
  const bool packed = width % 8 == 0 && aligned(dy, dTable) && columns == 8;
  float* out = dTable + entry * width + column;
  Floats<8> sum = {};
  for (Index begin = row; begin < rows; begin += 256) {
    const Index candidate = begin + threadIdx.x;
    const unsigned found = __ballot_sync(0xffffffffu, candidate < rows && ids[candidate] == id);
    __syncthreads();  // the matches of the last round have been read
    if (lane == 0) ballots[warp] = found;
    __syncthreads();
    int before = 0, count = 0;
    for (int i = 0; i < 8; ++i) {
      if (i < warp) before += __popc(ballots[i]);
      count += __popc(ballots[i]);
    }
    if (found >> lane & 1u) matches[before + __popc(found & ((1u << lane) - 1))] = static_cast<int>(candidate - begin);
    __syncthreads();
    if (columns <= 0) continue;
#pragma unroll 4
    for (int i = 0; i < count; ++i) {
      const Value* from = dy + (begin + matches[i]) * width + column;
      if (packed) {
        const Floats<8> added = load<8>(from);
#pragma unroll
        for (int e = 0; e < 8; ++e) sum.at[e] += added.at[e];
      } else {
#pragma unroll
        for (int e = 0; e < 8; ++e)
          if (e < columns) sum.at[e] += toFloat(from[e]);
      }
    }
  }
#pragma unroll
  for (int e = 0; e < 8; ++e)
    if (e < columns) out[e] += sum.at[e];
}
