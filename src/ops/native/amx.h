// Matrix tiles (AMX, Intel's processors from Sapphire Rapids on): 8 registers of 16 rows of 64 bytes. A thread says their
// shapes before it uses them, and gives them back. Tests put an emulation in place of the instructions (EMULATED_AMX).
#pragma once
#include <cstdint>

#if defined(EMULATED_AMX)
#define HAVE_AMX 1
inline bool amxGranted() { return EMULATED_AMX::granted; }
// Clang 14 and before call it __AMXBF16__.
#elif defined(__linux__) && defined(__x86_64__) && (defined(__AMX_BF16__) || defined(__AMXBF16__))
#define HAVE_AMX 1
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

// Whether this process may use tiles. Linux keeps their 8 KiB of state only for processes that ask for it (5.16 and later). It
// refuses where it does not know AMX, and where a signal stack is too small for the state.
inline bool amxGranted() {
  // ARCH_GET_XCOMP_PERM, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  constexpr long permissions = 0x1022, request = 0x1023, tileData = 18;
  static const bool granted = [] {
    uint64_t mask = 0;
    return syscall(SYS_arch_prctl, request, tileData) == 0 && syscall(SYS_arch_prctl, permissions, &mask) == 0 &&
           (mask >> tileData & 1) != 0;
  }();
  return granted;
}
#endif

#if defined(HAVE_AMX)
// What ldtilecfg reads.
struct alignas(64) TileShapes {
  uint8_t palette, startRow, reserved[14];
  uint16_t rowBytes[16];
  uint8_t rows[16];
};

// The thread's tiles, all of 16 rows of 64 bytes, for as long as this lives.
class WholeTiles {
 public:
  WholeTiles() { _tile_loadconfig(&shapes); }
  ~WholeTiles() { _tile_release(); }
  WholeTiles(const WholeTiles&) = delete;
  WholeTiles& operator=(const WholeTiles&) = delete;

 private:
  // A constant also because GCC's ldtilecfg tells the compiler of its first 8 bytes alone.
  static constexpr TileShapes shapes = {1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};
};
#endif
