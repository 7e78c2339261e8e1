#include "parallel.h"

extern "C" void accumulate(const Context* context, float* __restrict destination, const float* __restrict source, int64_t size) {
  parallelFor(context, size, 65536, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) destination[i] += source[i];
  });
}
