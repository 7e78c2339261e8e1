#include <cstring>
#include "parallel.h"

enum HalfFormat { formatBf16 = 1, formatF16 = 2 };

static inline uint32_t bitsOf(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}
static inline float floatOf(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}

static inline uint16_t toBf16(float x) {
  const uint32_t bits = bitsOf(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// IEEE half by arithmetic on bits: normal numbers re-bias the exponent, tiny ones round by a float add whose unit in the
// last place is the smallest half.
static inline uint16_t toF16(float x) {
  const uint32_t bits = bitsOf(x), sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);
  if (magnitude < 0x38800000u) return static_cast<uint16_t>(sign | (bitsOf(floatOf(magnitude) + 0.5f) - bitsOf(0.5f)));
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

static inline float fromF16(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16, magnitude = half & 0x7fffu;
  if (magnitude >= 0x7c00u) return floatOf(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
  if (magnitude < 0x400u) return floatOf(sign | bitsOf(static_cast<float>(magnitude) * 5.9604644775390625e-8f));
  return floatOf(sign | ((magnitude << 13) + 0x38000000u));
}

extern "C" void cast_to_half(const Context* context, const float* x, uint16_t* y, int64_t size, int64_t format) {
  parallelFor(context, size, 65536, [&](int64_t begin, int64_t end, int) {
    if (format == formatBf16) {
      for (int64_t i = begin; i < end; ++i) y[i] = toBf16(x[i]);
    } else {
      for (int64_t i = begin; i < end; ++i) y[i] = toF16(x[i]);
    }
  });
}

extern "C" void cast_from_half(const Context* context, const uint16_t* x, float* y, int64_t size, int64_t format) {
  parallelFor(context, size, 65536, [&](int64_t begin, int64_t end, int) {
    if (format == formatBf16) {
      for (int64_t i = begin; i < end; ++i) y[i] = floatOf(static_cast<uint32_t>(x[i]) << 16);
    } else {
      for (int64_t i = begin; i < end; ++i) y[i] = fromF16(x[i]);
    }
  });
}
