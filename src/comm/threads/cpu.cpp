// Ranks of one process reach straight into each other's memory: reductions and copies between native addresses.
#include <cstring>
#include "parallel.h"

// Sums run over the ranks in rank order; the kernels' common flags would let the compiler choose another.
#if defined(__clang__)
#pragma clang fp reassociate(off)
#else
#pragma GCC optimize("no-associative-math")
#endif

#include "elements.h"  // after the pragma: functions compiled with other flags are never inlined

namespace {

enum ReducedType { typeF32 = 1, typeBf16 = 2, typeI32 = 3, typeF64 = 4, typeF16 = 5 };
enum Reduction { reductionSum = 1, reductionMax = 2 };

constexpr int64_t blockSize = 2048;  // elements added up at a time: their sums stay in the first-level cache

// An element as it is stored, and as it is added up.
template <class Element>
struct Plain {
  using Stored = Element;
  using Sum = Element;
  static Sum load(Stored x) { return x; }
  static Stored store(Sum x) { return x; }
};
template <class Element>
struct Half {  // added up in float32, rounded once
  using Stored = Element;
  using Sum = float;
  static Sum load(Stored x) { return x; }
  static Stored store(Sum x) { return Stored(x); }
};

inline float add(float a, float b) { return a + b; }
inline double add(double a, double b) { return a + b; }
// wraps around, as in TypeScript
inline int32_t add(int32_t a, int32_t b) { return static_cast<int32_t>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b)); }

template <int reduction, class Number>
inline Number combine(Number a, Number b) {
  if (reduction == reductionSum) return add(a, b);
  return b > a || b != b ? b : a;  // a NaN stays
}

struct Places {
  const uint64_t* sources;
  const uint64_t* destinations;
  int64_t sourceCount, destinationCount;
  int64_t sourceBegin, destinationBegin;  // elements
};

template <class Type, int reduction>
void reduceRange(const Places& places, int64_t begin, int64_t end) {
  using Stored = typename Type::Stored;
  const auto source = [&](int64_t i) { return reinterpret_cast<const Stored*>(places.sources[i]) + places.sourceBegin; };
  const auto destination = [&](int64_t i) { return reinterpret_cast<Stored*>(places.destinations[i]) + places.destinationBegin; };
  if (places.sourceCount == 2 && places.destinationCount == 2) {
    // two ranks, everywhere: no sums in between. Each element is read before it is written, so the places may be the same.
    const Stored* a = source(0);
    const Stored* b = source(1);
    Stored* c = destination(0);
    Stored* d = destination(1);
#if defined(__clang__)
#pragma clang loop vectorize(assume_safety)
#else
#pragma GCC ivdep
#endif
    for (int64_t i = begin; i < end; ++i) {
      const Stored result = Type::store(combine<reduction>(Type::load(a[i]), Type::load(b[i])));
      c[i] = result;
      d[i] = result;
    }
    return;
  }
  typename Type::Sum sums[blockSize];
  Stored results[blockSize];
  for (int64_t from = begin; from < end; from += blockSize) {
    const int64_t count = std::min(blockSize, end - from);
    const Stored* first = source(0) + from;
    for (int64_t i = 0; i < count; ++i) sums[i] = Type::load(first[i]);
    for (int64_t s = 1; s < places.sourceCount; ++s) {
      const Stored* next = source(s) + from;
      for (int64_t i = 0; i < count; ++i) sums[i] = combine<reduction>(sums[i], Type::load(next[i]));
    }
    for (int64_t i = 0; i < count; ++i) results[i] = Type::store(sums[i]);
    for (int64_t d = 0; d < places.destinationCount; ++d)
      std::memcpy(destination(d) + from, results, static_cast<size_t>(count) * sizeof(Stored));
  }
}

template <class Type>
void reduce(const Context* context, const Places& places, int64_t count, int64_t reduction) {
  parallelFor(context, count, 16384, [&](int64_t begin, int64_t end, int) {
    if (reduction == reductionSum) reduceRange<Type, reductionSum>(places, begin, end);
    else reduceRange<Type, reductionMax>(places, begin, end);
  });
}

}  // namespace

// addresses: the sources', then the destinations', 64 bits each. Every destination becomes the reduction of all sources;
// `count` elements from sourceBegin, to destinationBegin on. A destination may be one of the sources at the same place.
extern "C" void reduce_between_ranks(const Context* context, const int32_t* addresses, int64_t sourceCount,
                                     int64_t destinationCount, int64_t sourceBegin, int64_t destinationBegin, int64_t count,
                                     int64_t type, int64_t reduction) {
  const uint64_t* all = reinterpret_cast<const uint64_t*>(addresses);
  const Places places{all, all + sourceCount, sourceCount, destinationCount, sourceBegin, destinationBegin};
  if (type == typeF32) reduce<Plain<float>>(context, places, count, reduction);
  if (type == typeBf16) reduce<Half<Bf16>>(context, places, count, reduction);
  if (type == typeF16) reduce<Half<F16>>(context, places, count, reduction);
  if (type == typeI32) reduce<Plain<int32_t>>(context, places, count, reduction);
  if (type == typeF64) reduce<Plain<double>>(context, places, count, reduction);
}

// addresses: from and to of each copy of `bytes` bytes.
extern "C" void copy_between_ranks(const Context* context, const int32_t* addresses, int64_t copies, int64_t bytes) {
  const uint64_t* all = reinterpret_cast<const uint64_t*>(addresses);
  parallelFor(context, copies * bytes, 65536, [&](int64_t begin, int64_t end, int) {
    while (begin < end) {
      const int64_t copy = begin / bytes, offset = begin % bytes, length = std::min(end - begin, bytes - offset);
      std::memcpy(reinterpret_cast<char*>(all[2 * copy + 1]) + offset,
                  reinterpret_cast<const char*>(all[2 * copy]) + offset, static_cast<size_t>(length));
      begin += length;
    }
  });
}
