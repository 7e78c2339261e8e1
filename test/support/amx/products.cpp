// Products of bf16 for src/ops/native/gemm-amx.test.ts, and what the emulation of AMX counts.
#include "elements.h"
#include "gemm.h"

#define PRODUCT(name, Out)                                                                                              \
  extern "C" void name(const Context* context, int32_t transposeA, int32_t transposeB, int64_t m, int64_t n, int64_t k, \
                       const Bf16* a, const Bf16* b, const float* bias, Out* c, int32_t accumulate) {                   \
    gemmValues(context, transposeA, transposeB, m, n, k, a, b, bias, c, accumulate);                                    \
  }
PRODUCT(multiply_to_bf16, Bf16)
PRODUCT(multiply_to_f32, float)

#if defined(EMULATED_AMX)
extern "C" void amx_grant(int32_t granted) { emulatedAmx::granted = granted; }
extern "C" int64_t amx_products() { return emulatedAmx::products; }
extern "C" int64_t amx_faults() { return emulatedAmx::faults; }

// One product on tiles of `rows` rows whose rows of A have `depth` bf16: its result [rows][16], and the number of faults.
extern "C" int64_t amx_tile(int32_t configured, int32_t rows, int32_t depth, const Bf16* a, const Bf16* b, float* c) {
  const int64_t before = emulatedAmx::faults;
  unsigned char config[64] = {1};
  const int shapes[3][2] = {{rows, 64}, {rows, 2 * depth}, {depth / 2, 64}};
  for (int i = 0; i < 3; ++i) {
    config[16 + 2 * i] = static_cast<unsigned char>(shapes[i][1]);
    config[48 + i] = static_cast<unsigned char>(shapes[i][0]);
  }
  if (configured) _tile_loadconfig(config);
  _tile_zero(0);
  _tile_loadd(1, a, 2 * depth);
  _tile_loadd(2, b, 64);
  _tile_dpbf16ps(0, 1, 2);
  _tile_stored(0, c, 64);
  _tile_release();
  return emulatedAmx::faults - before;
}
#endif
