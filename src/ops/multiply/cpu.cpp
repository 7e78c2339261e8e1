#include "elements.h"
#include "parallel.h"

template <class T>
static void multiplyForward(const Context* context, const T* a, const T* b, T* __restrict y, int64_t size, int64_t accumulate) {
  parallelFor(context, size, 65536, [&](int64_t begin, int64_t end, int) {
    const auto product = [=](int64_t i) { return static_cast<float>(a[i]) * static_cast<float>(b[i]); };
    if (accumulate) {
      for (int64_t i = begin; i < end; ++i) y[i] = static_cast<T>(static_cast<float>(y[i]) + product(i));
    } else {
      for (int64_t i = begin; i < end; ++i) y[i] = static_cast<T>(product(i));
    }
  });
}
VALUE_KERNEL(multiply_forward, multiplyForward)
