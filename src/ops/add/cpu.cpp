#include "elements.h"
#include "parallel.h"

template <class T>
static void addForward(const Context* context, const T* a, const T* b, T* __restrict y, int64_t size) {
  parallelFor(context, size, 65536, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) y[i] = static_cast<T>(static_cast<float>(a[i]) + static_cast<float>(b[i]));
  });
}
VALUE_KERNEL(add_forward, addForward)
