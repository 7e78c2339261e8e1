#include "elements.h"
#include "gelu.h"
#include "parallel.h"

template <int form, class T>
static void forward(const Context* context, const T* __restrict x, T* __restrict y, int64_t size) {
  parallelFor(context, size, 16384, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) y[i] = static_cast<T>(geluOf<form>(x[i]));
  });
}

template <int form, class T>
static void backward(const Context* context, const T* dy, const T* x, T* dx, int64_t size, bool accumulate) {
  parallelFor(context, size, 16384, [&](int64_t begin, int64_t end, int) {
    const auto gradient = [=](int64_t i) { return static_cast<float>(dy[i]) * geluSlope<form>(x[i]); };
    if (accumulate) {
      for (int64_t i = begin; i < end; ++i) dx[i] = static_cast<T>(static_cast<float>(dx[i]) + gradient(i));
    } else {
      for (int64_t i = begin; i < end; ++i) dx[i] = static_cast<T>(gradient(i));
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
