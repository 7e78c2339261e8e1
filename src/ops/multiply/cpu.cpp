#include "parallel.h"

extern "C" void multiply_forward(const Context* context, const float* a, const float* b, float* __restrict y, int64_t size,
                                 int64_t accumulate) {
  parallelFor(context, size, 65536, [&](int64_t begin, int64_t end, int) {
    if (accumulate) {
      for (int64_t i = begin; i < end; ++i) y[i] += a[i] * b[i];
    } else {
      for (int64_t i = begin; i < end; ++i) y[i] = a[i] * b[i];
    }
  });
}
