// Tiles of attention in shared memory: rows of a head, padded with zeros to `padded` columns and stored at a pitch of 8 more, an
// odd number of 16-byte groups, so that eight rows below each other lie in different banks.
#pragma once
#include "../native/cuda/tensor-cores.cuh"
#include "problem.cuh"

template <int padded>
constexpr int pitchOf = padded + 8;

// Where key `key` of a group of 32 stands in its tile: a lane's eight scores of one query (columns 2t and 2t + 1 of four operands)
// are then those of eight neighbours, which is one block of dropout's random bits.
__device__ __forceinline__ int spread(int key) { return key / 32 * 32 + key % 8 / 2 * 8 + key % 32 / 8 * 2 + key % 2; }

template <bool flag>
struct Boolean {
  static constexpr bool value = flag;
};
// body(Boolean), compiled for both: a select in every score would cost as much as the softmax itself.
template <class Body>
__device__ __forceinline__ void onBoolean(bool flag, const Body& body) {
  if (flag) {
    body(Boolean<true>{});
  } else {
    body(Boolean<false>{});
  }
}

template <class Body>
__device__ __forceinline__ void onBooleans(bool first, bool second, const Body& body) {
  onBoolean(first, [&](auto one) { onBoolean(second, [&](auto other) { body(one, other); }); });
}

// The keys below this number are all that the queries [first, first + rows) see; none where there are no such queries.
__device__ __forceinline__ int endOfKeys(const Attention& problem, int first, int rows) {
  const int queries = static_cast<int>(problem.queries);
  return first < queries ? problem.endVisible(min(queries, first + rows) - 1) : 0;
}

struct Smaller {
  __device__ __forceinline__ int operator()(int a, int b) const { return min(a, b); }
};
struct Greater {
  __device__ __forceinline__ int operator()(int a, int b) const { return max(a, b); }
};

// The first key that any of the queries [first, first + rows) sees, where documents hide some; all threads take part.
__device__ __forceinline__ int firstOfKeys(const Attention& problem, Place at, int first, int rows) {
  if (problem.firstKey == nullptr) return 0;
  int least = static_cast<int>(problem.keys);
  for (int i = first + threadIdx.x; i < min(static_cast<int>(problem.queries), first + rows); i += blockDim.x)
    least = min(least, problem.firstVisible(at.batch, i));
  return acrossBlock(least, Smaller{}, static_cast<int>(problem.keys));
}

// The end of the queries, from `first` on, that see a key below `end`; all threads take part.
__device__ __forceinline__ int endOfQueries(const Attention& problem, Place at, int first, int end) {
  const int queries = static_cast<int>(problem.queries);
  if (problem.firstKey == nullptr) return queries;
  int most = first;
  for (int i = first + threadIdx.x; i < queries; i += blockDim.x)
    if (problem.firstVisible(at.batch, i) < end) most = i + 1;
  return acrossBlock(most, Greater{}, first);
}

// Rows of one matrix of one head: row r is `rows` numbers in, of `count`; the rest reads as zeros.
struct Rows {
  const Value* first;
  Index stride;
  int count, width;
  bool packed;  // 16-byte accesses fit

  __device__ __forceinline__ Rows(const Value* from, Index rowStride, Index rows, Index columns)
      : first(from),
        stride(rowStride),
        count(static_cast<int>(rows)),
        width(static_cast<int>(columns)),
        packed(aligned(from) && (rowStride | columns) % 8 == 0) {}

  // Brings rows [begin, begin + rows) to a tile, by asynchronous copies where possible; in the order of `spread` where `spreading`.
  // Four threads take 64 bytes of a row, so that a thread's copies differ by constants and a multiple of the stride.
  template <int rows, int padded, bool spreading>
  __device__ __forceinline__ void bring(Value* tile, int begin) const {
    static_assert(rows % 32 == 0 && padded % 32 == 0, "what 128 threads take at once");
    const int row = threadIdx.x / 4, column = threadIdx.x % 4 * 8;
    const Value* from = first + (begin + row) * stride + column;
    Value* to = tile + (spreading ? spread(row) : row) * pitchOf<padded> + column;
#pragma unroll
    for (int i = 0; i < rows; i += 32)
#pragma unroll
      for (int c = 0; c < padded; c += 32) {
        const Value* source = from + i * stride + c;
        Value* target = to + i * pitchOf<padded> + c;
        const bool there = begin + row + i < count && column + c < width;
        if (packed) {
          copyAsync(target, there ? source : first, there);
        } else {
#pragma unroll
          for (int e = 0; e < 8; ++e) target[e] = there && column + c + e < width ? source[e] : fromFloat<Value>(0.0f);
        }
      }
  }
};

// Where results go: rows of a head, from a tile that one warp has filled; added to what is there where `accumulate`.
struct OutputRows {
  Value* first;
  Index stride;
  int count, width;

  template <int rows, int padded>
  __device__ __forceinline__ void write(const Value* tile, int begin, bool accumulate) const {
    writeFrom<rows, padded>([&](int row, int column) { return tile + row * pitchOf<padded> + column; }, begin, accumulate);
  }

  // place(row, column): where the tile has eight numbers from that column on.
  template <int rows, int padded, class Place>
  __device__ __forceinline__ void writeFrom(const Place& place, int begin, bool accumulate) const {
    constexpr int groups = padded / 8;
    const bool packed = aligned(first) && (stride | width) % 8 == 0;
    for (int index = threadIdx.x % 32; index < rows * groups; index += 32) {
      const int row = index / groups, column = index % groups * 8;
      if (begin + row >= count || column >= width) continue;
      const Value* from = place(row, column);
      Value* to = first + (begin + row) * stride + column;
      if (packed) {
        Floats<8> value = load<8>(from);
        if (accumulate) {
          const Floats<8> old = load<8>(to);
#pragma unroll
          for (int e = 0; e < 8; ++e) value.at[e] += old.at[e];
        }
        store<8>(to, value);
      } else {
        for (int e = 0; e < 8 && column + e < width; ++e)
          to[e] = fromFloat<Value>(toFloat(from[e]) + (accumulate ? toFloat(to[e]) : 0.0f));
      }
    }
  }
};

// Puts a warp's sums into a tile, multiplied by factor(i, half): half 0 is row g of the ith 16, half 1 row g + 8.
template <int pitch, int rowTiles, int columnTiles, class Factor>
__device__ __forceinline__ void putSums(Value* tile, const float (&sums)[rowTiles][columnTiles][4], const Factor& factor) {
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
  for (int i = 0; i < rowTiles; ++i)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float scale = factor(i, half);
      Value* row = tile + (16 * i + 8 * half + g) * pitch + 2 * t;
#pragma unroll
      for (int n = 0; n < columnTiles; ++n)
        *reinterpret_cast<unsigned*>(row + 8 * n) =
            packedHalves<Value>(scale * sums[i][n][2 * half], scale * sums[i][n][2 * half + 1]);
    }
}

// sums += left · rightᵀ: `left` [16 · rowTiles, padded] and `right` [8 · columnTiles, padded], both in tiles.
template <int rowTiles, int columnTiles, int padded>
__device__ __forceinline__ void addRowsTimesRows(float (&sums)[rowTiles][columnTiles][4], const Value* left, const Value* right) {
#pragma unroll
  for (int depth = 0; depth < padded; depth += 16) {
    unsigned a[rowTiles][4];
#pragma unroll
    for (int i = 0; i < rowTiles; ++i) loadTile<false, pitchOf<padded>>(a[i], left + 16 * i * pitchOf<padded> + depth);
#pragma unroll
    for (int n = 0; n < columnTiles; n += 2) {
      unsigned b[4];
      loadColumns<pitchOf<padded>>(b, right + 8 * n * pitchOf<padded> + depth);
#pragma unroll
      for (int i = 0; i < rowTiles; ++i) {
        multiplyTile<Value>(sums[i][n], a[i], b[0], b[1]);
        multiplyTile<Value>(sums[i][n + 1], a[i], b[2], b[3]);
      }
    }
  }
}

// sums += left · right: `left` are sums [16 · rowTiles, 8 · columnTiles] of before, rounded to 16 bits; `right`
// [8 · columnTiles, padded] is a tile.
template <int rowTiles, int columnTiles, int padded>
__device__ __forceinline__ void addSumsTimesRows(float (&sums)[rowTiles][padded / 8][4],
                                                 const float (&left)[rowTiles][columnTiles][4], const Value* right) {
#pragma unroll
  for (int depth = 0; depth < columnTiles; depth += 2) {
    unsigned a[rowTiles][4];
#pragma unroll
    for (int i = 0; i < rowTiles; ++i) asOperand<Value>(a[i], left[i][depth], left[i][depth + 1]);
#pragma unroll
    for (int n = 0; n < padded / 8; n += 2) {
      unsigned b[4];
      loadTile<true, pitchOf<padded>>(b, right + 8 * depth * pitchOf<padded> + 8 * n);
#pragma unroll
      for (int i = 0; i < rowTiles; ++i) {
        multiplyTile<Value>(sums[i][n], a[i], b[0], b[1]);
        multiplyTile<Value>(sums[i][n + 1], a[i], b[2], b[3]);
      }
    }
  }
}

// sums += left · right, both in tiles: `left` [16 · rowTiles, depth], `right` [depth, 8 · columnTiles].
template <int depth, int leftPitch, int rightPitch, int rowTiles, int columnTiles>
__device__ __forceinline__ void addTileTimesTile(float (&sums)[rowTiles][columnTiles][4], const Value* left, const Value* right) {
#pragma unroll
  for (int k = 0; k < depth; k += 16) {
    unsigned a[rowTiles][4];
#pragma unroll
    for (int i = 0; i < rowTiles; ++i) loadTile<false, leftPitch>(a[i], left + 16 * i * leftPitch + k);
#pragma unroll
    for (int n = 0; n < columnTiles; n += 2) {
      unsigned b[4];
      loadTile<true, rightPitch>(b, right + k * rightPitch + 8 * n);
#pragma unroll
      for (int i = 0; i < rowTiles; ++i) {
        multiplyTile<Value>(sums[i][n], a[i], b[0], b[1]);
        multiplyTile<Value>(sums[i][n + 1], a[i], b[2], b[3]);
      }
    }
  }
}

template <int rowTiles, int columnTiles>
__device__ __forceinline__ void clear(float (&sums)[rowTiles][columnTiles][4]) {
#pragma unroll
  for (int i = 0; i < rowTiles; ++i)
#pragma unroll
    for (int n = 0; n < columnTiles; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) sums[i][n][e] = 0.0f;
}
