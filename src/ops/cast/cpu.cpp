#include "elements.h"
#include "parallel.h"

template <class T>
static void castTo(const Context* context, const float* x, T* y, int64_t size) {
  parallelFor(context, size, 65536, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) y[i] = static_cast<T>(x[i]);
  });
}
VALUE_KERNEL(cast_to, castTo)

template <class T>
static void castFrom(const Context* context, const T* x, float* y, int64_t size) {
  parallelFor(context, size, 65536, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) y[i] = static_cast<float>(x[i]);
  });
}
VALUE_KERNEL(cast_from, castFrom)
