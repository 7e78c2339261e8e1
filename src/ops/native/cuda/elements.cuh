// The type of activations in a kernel, `Value`: chosen by -DVALUE_F32, -DVALUE_BF16 or -DVALUE_F16, one compilation for each. No
// header of the CUDA toolkit is needed, so NVRTC alone compiles this. Arithmetic is in float32; memory is read and written
// 16 bytes at a time where addresses allow.
#pragma once

using Index = long long;

#ifdef CUDA_EMULATED  // test/support/cuda-emulator: the same source as plain C++; Bf16 and F16 are those of ../elements.h
#define DYNAMIC_SHARED(type, name) type* name = reinterpret_cast<type*>(emulator::shared.data())
__device__ __forceinline__ float toFloat(Bf16 x) { return x; }
__device__ __forceinline__ float toFloat(F16 x) { return x; }
__device__ __forceinline__ unsigned short bitsOfValue(Bf16 x) { return x.bits; }
__device__ __forceinline__ unsigned short bitsOfValue(F16 x) { return x.bits; }
template <class T>
__device__ __forceinline__ unsigned packedHalves(float low, float high) {
  return T(low).bits | static_cast<unsigned>(T(high).bits) << 16;
}
#else
#define DYNAMIC_SHARED(type, name)                              \
  extern __shared__ __align__(16) unsigned char dynamicShared[]; \
  type* name = reinterpret_cast<type*>(dynamicShared)

struct Bf16 {
  unsigned short bits;
};
struct F16 {
  unsigned short bits;
};
__device__ __forceinline__ float toFloat(Bf16 x) { return __uint_as_float(static_cast<unsigned>(x.bits) << 16); }
__device__ __forceinline__ float toFloat(F16 x) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(x.bits));
  return value;
}
// Two numbers rounded to nearest even, the first in the low half.
template <class T>
__device__ __forceinline__ unsigned packedHalves(float low, float high);
template <>
__device__ __forceinline__ unsigned packedHalves<Bf16>(float low, float high) {
  unsigned bits;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
}
template <>
__device__ __forceinline__ unsigned packedHalves<F16>(float low, float high) {
  unsigned bits;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
}
#endif

__device__ __forceinline__ float toFloat(float x) { return x; }

#if defined(VALUE_BF16) || defined(VALUE_F16)
#define VALUE_HALF  // 16 bits, which tensor cores take
#endif
#if defined(VALUE_BF16)
using Value = Bf16;
#elif defined(VALUE_F16)
using Value = F16;
#else
using Value = float;
#endif

template <class T>
__device__ __forceinline__ T fromFloat(float x) {
  T value;
  value.bits = static_cast<unsigned short>(packedHalves<T>(x, 0.0f));
  return value;
}
template <>
__device__ __forceinline__ float fromFloat<float>(float x) {
  return x;
}

// The first or second of two packed halves.
template <class T>
__device__ __forceinline__ float unpacked(unsigned bits, int second) {
  T value;
  value.bits = static_cast<unsigned short>(second ? bits >> 16 : bits);
  return toFloat(value);
}

// Numbers on their way through a thread.
template <int n>
struct Floats {
  float at[n];
};

// How many numbers a thread takes at once: 8 (one or two 16-byte accesses, and one block of random bits) or 1.
template <int n>
struct Lanes {
  static constexpr int count = n;
};

template <class T>
struct Access {  // 16-bit types
  static __device__ __forceinline__ Floats<8> load(const T* from) {
    const uint4 words = *reinterpret_cast<const uint4*>(from);
    const unsigned bits[4] = {words.x, words.y, words.z, words.w};
    Floats<8> out;
#pragma unroll
    for (int i = 0; i < 8; ++i) out.at[i] = unpacked<T>(bits[i / 2], i % 2);
    return out;
  }
  static __device__ __forceinline__ void store(T* to, const Floats<8>& values) {
    uint4 words;
    words.x = packedHalves<T>(values.at[0], values.at[1]);
    words.y = packedHalves<T>(values.at[2], values.at[3]);
    words.z = packedHalves<T>(values.at[4], values.at[5]);
    words.w = packedHalves<T>(values.at[6], values.at[7]);
    *reinterpret_cast<uint4*>(to) = words;
  }
};
template <>
struct Access<float> {
  static __device__ __forceinline__ Floats<8> load(const float* from) {
    const float4 a = reinterpret_cast<const float4*>(from)[0], b = reinterpret_cast<const float4*>(from)[1];
    return {{a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w}};
  }
  static __device__ __forceinline__ void store(float* to, const Floats<8>& values) {
    const float* v = values.at;
    reinterpret_cast<float4*>(to)[0] = {v[0], v[1], v[2], v[3]};
    reinterpret_cast<float4*>(to)[1] = {v[4], v[5], v[6], v[7]};
  }
};

// n numbers from `from` on; for n = 8 the address must be a multiple of 16 bytes.
template <int n, class T>
__device__ __forceinline__ Floats<n> load(const T* from) {
  if constexpr (n == 8) {
    return Access<T>::load(from);
  } else {
    return {{toFloat(*from)}};
  }
}
template <int n, class T>
__device__ __forceinline__ void store(T* to, const Floats<n>& values) {
  if constexpr (n == 8) {
    Access<T>::store(to, values);
  } else {
    *to = fromFloat<T>(values.at[0]);
  }
}

// Whether all addresses are multiples of 16 bytes; null is.
template <class... T>
__device__ __forceinline__ bool aligned(const T*... addresses) {
  return ((reinterpret_cast<unsigned long long>(addresses) | ...) & 15) == 0;
}

// body(Lanes, first) for runs of 8 numbers, then for the rest one by one; only one by one unless `packed`. This thread is number
// `thread` of `threads`.
template <class Body>
__device__ __forceinline__ void forEachOf(Index size, bool packed, Index thread, Index threads, const Body& body) {
  const Index packs = packed ? size / 8 : 0;
  for (Index i = thread; i < packs; i += threads) body(Lanes<8>{}, i * 8);
  for (Index i = packs * 8 + thread; i < size; i += threads) body(Lanes<1>{}, i);
}

// The threads of the whole grid share the numbers.
template <class Body>
__device__ __forceinline__ void forEach(Index size, bool packed, const Body& body) {
  forEachOf(size, packed, static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x, static_cast<Index>(gridDim.x) * blockDim.x,
            body);
}

// The threads of one block share the numbers.
template <class Body>
__device__ __forceinline__ void forEachInBlock(Index size, bool packed, const Body& body) {
  forEachOf(size, packed, threadIdx.x, blockDim.x, body);
}

// Quotient and remainder of numbers ≥ 0: 64-bit division is a long routine on a GPU, so it is only taken where needed.
struct Quotient {
  Index quotient, remainder;
};
__device__ __forceinline__ Quotient divide(Index a, Index b) {
  if (((a | b) >> 32) == 0) {
    const unsigned quotient = static_cast<unsigned>(a) / static_cast<unsigned>(b);
    return {quotient, static_cast<unsigned>(a) - quotient * static_cast<unsigned>(b)};
  }
  return {a / b, a % b};
}
