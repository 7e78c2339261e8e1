// The element types of activations, and how a kernel is given for all of them.
#pragma once
#include <cstdint>
#include <cstring>

inline uint32_t bitsOf(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}
inline float floatOf(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}

// The upper half of a float32. Loops over these conversions are vectorized by the compilers.
struct Bf16 {
  uint16_t bits;

  Bf16() = default;
  // To nearest, ties to even; NaN stays NaN.
  explicit inline Bf16(float x) {
    const uint32_t word = bitsOf(x), rounded = (word + 0x7fffu + ((word >> 16) & 1u)) >> 16;
    bits = static_cast<uint16_t>((word & 0x7fffffffu) > 0x7f800000u ? (word >> 16) | 0x40u : rounded);
  }
  inline operator float() const { return floatOf(static_cast<uint32_t>(bits) << 16); }
};

// IEEE half, by arithmetic on bits: normal numbers re-bias the exponent, tiny ones round by a float add whose unit in the
// last place is the smallest half. All cases are computed and one is chosen, so that loops vectorize.
struct F16 {
  uint16_t bits;

  F16() = default;
  explicit inline F16(float x) {
    const uint32_t word = bitsOf(x), sign = (word >> 16) & 0x8000u, magnitude = word & 0x7fffffffu;
    const uint32_t normal = (magnitude + 0xfffu + ((magnitude >> 13) & 1u) - 0x38000000u) >> 13;
    const uint32_t tiny = bitsOf(floatOf(magnitude) + 0.5f) - 0x3f000000u;
    uint32_t half = magnitude < 0x38800000u ? tiny : normal;
    half = magnitude >= 0x477ff000u ? 0x7c00u : half;
    half = magnitude > 0x7f800000u ? 0x7e00u : half;
    bits = static_cast<uint16_t>(sign | half);
  }
  inline operator float() const {
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16, magnitude = bits & 0x7fffu;
    const uint32_t normal = (magnitude << 13) + (magnitude >= 0x7c00u ? 0x70000000u : 0x38000000u);
    const uint32_t tiny = bitsOf(static_cast<float>(static_cast<int32_t>(magnitude)) * 5.9604644775390625e-8f);
    return floatOf(sign | (magnitude < 0x400u ? tiny : normal));
  }
};

// Instances of a kernel, in the order of the engine's value types: float32, bf16, f16.
struct ValueKernel {
  const void* instances[3];
};

// Gives the function template `function<T>` to the engine as the kernel `name`.
#define VALUE_KERNEL(name, function)                                                        \
  extern "C" __attribute__((visibility("default"))) const ValueKernel name;                 \
  const ValueKernel name = {{reinterpret_cast<const void*>(&function<float>),               \
                             reinterpret_cast<const void*>(&function<Bf16>),                \
                             reinterpret_cast<const void*>(&function<F16>)}};
