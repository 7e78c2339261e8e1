// Sums and maxima of the same elements of all ranks, in rank order: ((x0 + x1) + x2) + …, so that every rank, every run and
// every communicator gets the same bits. 16-bit floats are added up in float32 and rounded once.
#pragma once
#include <cstdint>
#include "elements.h"

enum ElementType : int32_t { typeF32 = 0, typeBf16 = 1, typeI32 = 2, typeF64 = 3, typeF16 = 4 };
enum ReduceOperation : int32_t { reduceSum = 0, reduceMax = 1 };

inline int64_t bytesOf(int32_t type) { return type == typeF64 ? 8 : type == typeBf16 || type == typeF16 ? 2 : 4; }

inline float widen(float x) { return x; }
inline double widen(double x) { return x; }
inline uint32_t widen(int32_t x) { return static_cast<uint32_t>(x); }  // unsigned: a sum that overflows wraps around
inline float widen(Bf16 x) { return x; }
inline float widen(F16 x) { return x; }

inline void narrow(float x, float* to) { *to = x; }
inline void narrow(double x, double* to) { *to = x; }
inline void narrow(uint32_t x, int32_t* to) { *to = static_cast<int32_t>(x); }
inline void narrow(float x, Bf16* to) { *to = Bf16(x); }
inline void narrow(float x, F16* to) { *to = F16(x); }

// NaN wins, whichever rank has it: a gradient that is not a number must not be hidden by one that is.
template <class Wide>
inline Wide larger(Wide a, Wide b) {
  return (b > a || b != b) ? b : a;
}
template <>
inline uint32_t larger(uint32_t a, uint32_t b) {
  return static_cast<int32_t>(b) > static_cast<int32_t>(a) ? b : a;
}

// parts[r] holds `count` elements of rank r; `output` may be one of them.
template <class Element>
void combineAs(const void* const* parts, int ranks, void* output, int64_t count, int32_t operation) {
  using Wide = decltype(widen(Element{}));
  constexpr int64_t block = 1024;  // stays in the first-level cache
  Wide total[block];
  for (int64_t begin = 0; begin < count; begin += block) {
    const int64_t size = count - begin < block ? count - begin : block;
    for (int rank = 0; rank < ranks; ++rank) {
      const Element* part = static_cast<const Element*>(parts[rank]) + begin;
      if (rank == 0) {
        for (int64_t i = 0; i < size; ++i) total[i] = widen(part[i]);
      } else if (operation == reduceSum) {
        for (int64_t i = 0; i < size; ++i) total[i] = total[i] + widen(part[i]);
      } else {
        for (int64_t i = 0; i < size; ++i) total[i] = larger<Wide>(total[i], widen(part[i]));
      }
    }
    Element* target = static_cast<Element*>(output) + begin;
    for (int64_t i = 0; i < size; ++i) narrow(total[i], target + i);
  }
}

inline void combine(const void* const* parts, int ranks, void* output, int64_t count, int32_t type, int32_t operation) {
  switch (type) {
    case typeF32:
      return combineAs<float>(parts, ranks, output, count, operation);
    case typeBf16:
      return combineAs<Bf16>(parts, ranks, output, count, operation);
    case typeF16:
      return combineAs<F16>(parts, ranks, output, count, operation);
    case typeI32:
      return combineAs<int32_t>(parts, ranks, output, count, operation);
    case typeF64:
      return combineAs<double>(parts, ranks, output, count, operation);
  }
}
