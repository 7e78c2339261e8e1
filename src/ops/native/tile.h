// Register tiles: the inner loop of every matrix product on the CPU, written once with the compilers' vector extensions.
// The vector width and the tile's size follow the instruction set the file is compiled for.
#pragma once
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
constexpr int vectorBytes = 64, tileRows = 12;  // 32 registers: 24 sums, 2 of B, 1 of A
#elif defined(__AVX__)
constexpr int vectorBytes = 32, tileRows = 6;  // 16 registers: 12 sums, 2 of B, 1 of A
#elif defined(__aarch64__)
constexpr int vectorBytes = 16, tileRows = 12;  // 32 registers
#else
constexpr int vectorBytes = 16, tileRows = 6;  // 16 registers
#endif
constexpr int lanes = vectorBytes / 4;
constexpr int tileVectors = 2;
constexpr int tileColumns = tileVectors * lanes;

typedef float Vector __attribute__((vector_size(vectorBytes)));
typedef int32_t IntVector __attribute__((vector_size(vectorBytes)));
typedef uint32_t UintVector __attribute__((vector_size(vectorBytes)));
typedef float UnalignedVector __attribute__((vector_size(vectorBytes), aligned(4), may_alias));

#define ALWAYS_INLINE inline __attribute__((always_inline))

ALWAYS_INLINE Vector broadcast(float x) { return x - Vector{}; }
ALWAYS_INLINE Vector load(const float* p) { return *reinterpret_cast<const UnalignedVector*>(p); }
ALWAYS_INLINE void store(float* p, Vector x) { *reinterpret_cast<UnalignedVector*>(p) = x; }

// sums[i][j] += Σ_k a[i·aRow + k·aDepth] · b[k·bDepth + j·lanes …]. The strides of A are constants, so that a whole column
// of it is reached from one register. Packed panels: aRow 1, aDepth rows; row-major: aRow the width, aDepth 1.
template <int rows, int vectors, int aRow, int aDepth>
ALWAYS_INLINE void multiplyTile(Vector (&sums)[rows][vectors], int64_t depth, const float* __restrict__ a,
                                const float* __restrict__ b, int64_t bDepth) {
#pragma GCC unroll 1
  for (int64_t k = 0; k < depth; ++k) {
    Vector bs[vectors];
#pragma GCC unroll 8
    for (int j = 0; j < vectors; ++j) bs[j] = load(b + j * lanes);
#pragma GCC unroll 32
    for (int i = 0; i < rows; ++i) {
      const Vector x = broadcast(a[i * aRow]);
#pragma GCC unroll 8
      for (int j = 0; j < vectors; ++j) sums[i][j] += x * bs[j];
    }
    a += aDepth;
    b += bDepth;
  }
}
