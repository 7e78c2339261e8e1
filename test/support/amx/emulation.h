// AMX in plain C++, for machines that have none: the compiler's intrinsics for tiles, by the rules of Intel's manual (volume 1,
// chapter 18, and the instructions' own pages). What would be an undefined-instruction fault on the processor is counted and
// does nothing; so is a row read that holds nothing but 0xff, which tests put where nothing may be read. Put before a source by
// `-include`.
#pragma once
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#if defined(__x86_64__)
#include <immintrin.h>  // first, so that the names below stay ours
#endif

namespace emulatedAmx {

inline std::atomic<bool> granted{true};  // whether the system lets the process use tiles
inline std::atomic<int64_t> products{0}, faults{0};

struct Tile {
  int rows, rowBytes;  // 0: no such tile is configured
  unsigned char bytes[16][64];
};
struct State {
  bool configured;
  Tile tiles[8];
};
inline thread_local State state{};

// Whether every tile named has a shape; else a fault.
template <class... Index>
inline bool usable(Index... index) {
  const bool good = granted && state.configured && ((state.tiles[index].rows > 0 && state.tiles[index].rowBytes > 0) && ...);
  if (!good) ++faults;
  return good;
}

// 64 bytes: palette, first row, 14 reserved, 16 row lengths of 2 bytes, 16 numbers of rows.
inline void loadConfig(const void* from) {
  unsigned char config[64];
  std::memcpy(config, from, 64);
  State next{};
  bool good = granted && config[0] <= 1 && config[1] == 0;
  for (int i = 2; i < 16; ++i) good = good && config[i] == 0;
  for (int i = 0; i < 16; ++i) {
    uint16_t rowBytes;
    std::memcpy(&rowBytes, config + 16 + 2 * i, 2);
    const int rows = config[48 + i];
    if (i >= 8) {
      good = good && rows == 0 && rowBytes == 0;
      continue;
    }
    good = good && rows <= 16 && rowBytes <= 64 && (rows == 0) == (rowBytes == 0);
    next.tiles[i].rows = rows;
    next.tiles[i].rowBytes = rowBytes;
  }
  if (!good) return void(++faults);
  next.configured = config[0] == 1;
  state = next;  // all tiles are zero
}

inline void release() { state = State{}; }

inline void zero(int tile) {
  if (usable(tile)) std::memset(state.tiles[tile].bytes, 0, sizeof(Tile::bytes));
}

inline void load(int tile, const void* from, int64_t stride) {
  if (!usable(tile)) return;
  Tile& to = state.tiles[tile];
  std::memset(to.bytes, 0, sizeof(Tile::bytes));
  for (int i = 0; i < to.rows; ++i) {
    std::memcpy(to.bytes[i], static_cast<const char*>(from) + i * stride, to.rowBytes);
    if (std::all_of(to.bytes[i], to.bytes[i] + to.rowBytes, [](unsigned char byte) { return byte == 0xff; })) ++faults;
  }
}

inline void store(int tile, void* to, int64_t stride) {
  if (!usable(tile)) return;
  const Tile& from = state.tiles[tile];
  for (int i = 0; i < from.rows; ++i) std::memcpy(static_cast<char*>(to) + i * stride, from.bytes[i], from.rowBytes);
}

// Subnormal numbers count as 0, on the way in and out.
inline float flushed(float x) { return std::fabs(x) < 1.17549435e-38f ? std::copysign(0.0f, x) : x; }
inline float widened(uint32_t bits) {
  const uint32_t word = bits << 16;
  float x;
  std::memcpy(&x, &word, 4);
  return flushed(x);
}

// For every row m and column n: the even elements of the depth are summed up, and the odd ones; then both sums are added to each
// other and to C, each step rounded to float32.
inline void multiply(int c, int a, int b) {
  if (!usable(c, a, b)) return;
  Tile& sums = state.tiles[c];
  const Tile &left = state.tiles[a], &right = state.tiles[b];
  const bool fitting = sums.rows == left.rows && sums.rowBytes == right.rowBytes && right.rows == left.rowBytes / 4 &&
                       sums.rowBytes % 4 == 0 && left.rowBytes % 4 == 0 && c != a && c != b && a != b;
  if (!fitting) return void(++faults);
  ++products;
  const int columns = sums.rowBytes / 4;
  for (int m = 0; m < sums.rows; ++m) {
    float even[16] = {}, odd[16] = {}, row[16];
    for (int k = 0; k < right.rows; ++k) {
      uint32_t pair, pairs[16];
      std::memcpy(&pair, left.bytes[m] + 4 * k, 4);
      std::memcpy(pairs, right.bytes[k], 64);
      const float x = widened(pair & 0xffff), y = widened(pair >> 16);
      for (int n = 0; n < columns; ++n) {
        even[n] = flushed(std::fma(x, widened(pairs[n] & 0xffff), even[n]));
        odd[n] = flushed(std::fma(y, widened(pairs[n] >> 16), odd[n]));
      }
    }
    std::memcpy(row, sums.bytes[m], 64);
    for (int n = 0; n < columns; ++n) row[n] = flushed(flushed(row[n]) + flushed(even[n] + odd[n]));
    std::memset(sums.bytes[m], 0, 64);
    std::memcpy(sums.bytes[m], row, sums.rowBytes);
  }
  for (int m = sums.rows; m < 16; ++m) std::memset(sums.bytes[m], 0, 64);
}

}  // namespace emulatedAmx

#define EMULATED_AMX emulatedAmx
#undef _tile_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbf16ps
#define _tile_loadconfig emulatedAmx::loadConfig
#define _tile_release emulatedAmx::release
#define _tile_zero emulatedAmx::zero
#define _tile_loadd emulatedAmx::load
#define _tile_stored emulatedAmx::store
#define _tile_dpbf16ps emulatedAmx::multiply
