#include "gelu.h"
#include "parallel.h"

template <int form>
static void forward(const Context* context, const float* __restrict x, float* __restrict y, int64_t size) {
  parallelFor(context, size, 16384, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) y[i] = geluOf<form>(x[i]);
  });
}

template <int form>
static void backward(const Context* context, const float* dy, const float* x, float* dx, int64_t size, bool accumulate) {
  parallelFor(context, size, 16384, [&](int64_t begin, int64_t end, int) {
    if (accumulate) {
      for (int64_t i = begin; i < end; ++i) dx[i] += dy[i] * geluSlope<form>(x[i]);
    } else {
      for (int64_t i = begin; i < end; ++i) dx[i] = dy[i] * geluSlope<form>(x[i]);
    }
  });
}

extern "C" void gelu_forward(const Context* context, const float* x, float* y, int64_t size, int64_t form) {
  form == geluErf ? forward<geluErf>(context, x, y, size) : forward<geluTanh>(context, x, y, size);
}

extern "C" void gelu_backward(const Context* context, const float* dy, const float* x, float* dx, int64_t size, int64_t form,
                              int64_t accumulate) {
  form == geluErf ? backward<geluErf>(context, dy, x, dx, size, accumulate != 0)
                  : backward<geluTanh>(context, dy, x, dx, size, accumulate != 0);
}
