// Tiles of attention for products of warpgroups: rows of a head, padded with zeros, in panels of 64 columns (32 for heads of 96),
// each in the swizzled order that descriptors of warpgroup.cuh speak of: eight rows below each other lie in different banks.
#pragma once
#include "../native/cuda/warpgroup.cuh"
#include "tiles.cuh"

#ifdef HAS_WARPGROUPS

constexpr int tileAlignment = 1024;  // eight lines of 128 bytes
// Threads that bring tiles, 32 or 64 rows at once; of a third warpgroup none.
constexpr int bringers = 256;

template <int rows_, int padded_>
struct Swizzled {
  static constexpr int rows = rows_, padded = padded_, panel = padded % 64 == 0 ? 64 : 32, lineBytes = 2 * panel;
  static constexpr int panelBytes = rows * lineBytes, bytes = 2 * rows * padded, patternBytes = 8 * lineBytes;
  static_assert(padded % panel == 0 && panelBytes % tileAlignment == 0, "whole patterns on multiples of their size");

  // Bytes from the tile's start to column 8·group of a row.
  static __device__ __forceinline__ int placeOf(int row, int group) {
    constexpr int groups = panel / 8;
    const int turn = panel == 64 ? row % 8 : row / 2 % 4;
    return group / groups * panelBytes + row * lineBytes + (group % groups ^ turn) * 16;
  }

  // Rows from `row`, a multiple of 64, on as rows of A or columns of B; `along` is what column `depth` adds to it.
  static __device__ __forceinline__ unsigned alongColumns(const unsigned char* tile, int row) {
    return operandAt(tile, 16) + row * lineBytes / 16;
  }
  static __device__ __forceinline__ unsigned along(int depth) { return (depth / panel * panelBytes + depth % panel * 2) / 16; }

  // The tile as B with a k for each row; `across` is what row `depth` adds to it.
  static __device__ __forceinline__ unsigned acrossColumns(const unsigned char* tile) { return operandAt(tile, panelBytes); }
  static __device__ __forceinline__ unsigned across(int depth) { return depth * lineBytes / 16; }

  // Brings rows [begin, begin + rows) of a head, by asynchronous copies where possible; in the order of `spread` where `spreading`.
  // The threads of eight groups of 16 bytes take a line each, so that a thread's copies differ by constants and a multiple of the
  // stride.
  template <bool spreading>
  static __device__ __forceinline__ void bring(unsigned char* tile, const Rows& from, int begin) {
    constexpr int groups = panel / 8, atOnce = bringers / groups;
    static_assert(rows % atOnce == 0 && atOnce % 32 == 0, "what all threads take at once");
    if (threadIdx.x >= bringers) return;
    const int row = threadIdx.x / groups, group = threadIdx.x % groups;
    const int stride = static_cast<int>(from.stride);  // one instruction instead of four for each product
    const Value* source = from.first + static_cast<Index>(begin + row) * stride + 8 * group;
    unsigned char* target = tile + placeOf(spreading ? spread(row) : row, group);
    // copy(to, values, there, columns): `columns` of the eight are there, if the row is
    const auto each = [&](const auto& copy) {
#pragma unroll
      for (int i = 0; i < rows; i += atOnce)
#pragma unroll
        for (int c = 0; c < padded; c += panel)
          copy(target + i * lineBytes + c / panel * panelBytes, source + static_cast<Index>(i) * stride + c,
               begin + row + i < from.count, from.width - 8 * group - c);
    };
    if (from.packed) {
      each([&](unsigned char* to, const Value* values, bool there, int columns) {
        copyAsync(to, there && columns > 0 ? values : from.first, there && columns > 0);
      });
    } else {
      each([&](unsigned char* to, const Value* values, bool there, int columns) {
        unsigned words[4] = {};
#pragma unroll
        for (int e = 0; e < 8; ++e)
          if (there && e < columns) words[e / 2] |= static_cast<unsigned>(values[e].bits) << e % 2 * 16;
        storeOperand(to, {words[0], words[1], words[2], words[3]});
      });
    }
  }

  // Puts a warp's sums into its 16 rows from `row` on, multiplied by factor(half): half 0 is row g, half 1 row g + 8.
  template <class Factor>
  static __device__ __forceinline__ void put(unsigned char* tile, int row, const float (&sums)[padded / 8][4],
                                             const Factor& factor) {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float scale = factor(half);
#pragma unroll
      for (int n = 0; n < padded / 8; ++n)
        *reinterpret_cast<unsigned*>(tile + placeOf(row + 8 * half + g, n) + 4 * t) =
            packedHalves<Value>(scale * sums[n][2 * half], scale * sums[n][2 * half + 1]);
    }
  }

  // Writes the 16 rows from `row` on, which this warp has put there, to the rows from `begin` on.
  static __device__ __forceinline__ void write(const unsigned char* tile, int row, const OutputRows& to, int begin,
                                               bool accumulate) {
    __syncwarp();
    to.writeFrom<16, padded>(
        [&](int own, int column) { return reinterpret_cast<const Value*>(tile + placeOf(row + own, column / 8)); }, begin,
        accumulate);
  }
};

// The first multiple of `tileAlignment` in shared memory: dynamic memory begins behind static variables.
__device__ __forceinline__ unsigned char* alignedTiles(unsigned char* from) {
  return from + (-sharedAddress(from) & (tileAlignment - 1));
}

// sums [64, 8 · tiles] = left · rightᵀ over all columns, of two tiles along their columns.
template <class Left, class Right, int tiles>
__device__ __forceinline__ void rowsTimesRows(float (&sums)[tiles][4], unsigned left, unsigned right) {
#pragma unroll
  for (int depth = 0; depth < Left::padded; depth += 16)
    multiplyShared<Value, false>(sums, descriptorOf<Left::lineBytes>(left + Left::along(depth)),
                                 descriptorOf<Right::lineBytes>(right + Right::along(depth)), depth > 0);
}

// sums [64, padded] += left · right, where left [64, 16 · steps] is in registers and right a tile across its columns.
template <class Right, int steps>
__device__ __forceinline__ void operandsTimesRows(float (&sums)[Right::padded / 8][4], const unsigned (&left)[steps][4],
                                                  unsigned right) {
#pragma unroll
  for (int k = 0; k < steps; ++k)
    multiplyRegisters<Value, true>(sums, left[k], descriptorOf<Right::lineBytes>(right + Right::across(16 * k)), true);
}

// Dropout's decisions for a lane's scores of two queries, eight apart, and 64 keys in the order of `spread`: a bit each. They are
// made while products are under way, when there is little else to do.
struct LaneDecisions {
  unsigned bits = 0;

  // `query`: the lane's first; `key`: the first of the 64.
  __device__ __forceinline__ void make(const Attention& problem, Place at, int query, int key) {
    bits = 0;
#pragma unroll
    for (int part = 0; part < 4; ++part) {
      const int ownKey = key + part % 2 * 32 + threadIdx.x % 4 * 8;
      const Philox draws = problem.draws(at.batch, at.head, query + part / 2 * 8, ownKey);
#pragma unroll
      for (int e = 0; e < 8; ++e)
        if (kept(problem.dropout, draws, e)) bits |= 1u << (8 * part + e);
    }
  }

  // Whether the sum of number `n`, `e` (as those of products) stays.
  __device__ __forceinline__ bool keeps(int n, int e) const {
    return bits >> (e / 2 * 16 + n / 4 * 8 + n % 4 * 2 + e % 2) & 1u;
  }
};

// Waits for what this thread has brought, but for its last `pending` groups of copies, and shows it to the products of all.
template <int pending = 0>
__device__ __forceinline__ void receiveTiles() {
  waitForCopies<pending>();
  showToProducts();
  __syncthreads();
}

#endif
