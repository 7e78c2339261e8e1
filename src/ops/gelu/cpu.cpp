#include "gelu.h"
#include "parallel.h"
#include "vectors.h"

template <int form, class T>
static void forward(const Context* context, const T* x, T* y, int64_t size) {
  parallelFor(context, size, 16384, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i += lanes) {
      const int count = static_cast<int>(std::min<int64_t>(lanes, end - i));
      storeFirst(y + i, geluOf<form>(loadFirst(x + i, count)), count);
    }
  });
}

template <int form, class T>
static void backward(const Context* context, const T* dy, const T* x, T* dx, int64_t size, bool accumulate) {
  parallelFor(context, size, 16384, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i += lanes) {
      const int count = static_cast<int>(std::min<int64_t>(lanes, end - i));
      Vector gradient = loadFirst(dy + i, count) * geluSlope<form>(loadFirst(x + i, count));
      if (accumulate) gradient += loadFirst(dx + i, count);
      storeFirst(dx + i, gradient, count);
    }
  });
}

template <class T>
static void geluForward(const Context* context, const T* x, T* y, int64_t size, int64_t form) {
  form == geluErf ? forward<geluErf>(context, x, y, size) : forward<geluTanh>(context, x, y, size);
}
VALUE_KERNEL(gelu_forward, geluForward)

template <class T>
static void geluBackward(const Context* context, const T* dy, const T* x, T* dx, int64_t size, int64_t form,
                         int64_t accumulate) {
  form == geluErf ? backward<geluErf>(context, dy, x, dx, size, accumulate != 0)
                  : backward<geluTanh>(context, dy, x, dx, size, accumulate != 0);
}
VALUE_KERNEL(gelu_backward, geluBackward)
