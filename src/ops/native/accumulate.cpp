#include "elements.h"
#include "parallel.h"

template <class T>
static void accumulateValues(const Context* context, T* __restrict destination, const T* __restrict source, int64_t size) {
  parallelFor(context, size, 65536, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i)
      destination[i] = static_cast<T>(static_cast<float>(destination[i]) + static_cast<float>(source[i]));
  });
}
VALUE_KERNEL(accumulate, accumulateValues)
