#include <cstring>
#include "elements.h"
#include "parallel.h"

template <class T>
static void embeddingForward(const Context* context, const int32_t* ids, const T* table, T* y, int64_t rows, int64_t width,
                             int64_t first, int64_t entries) {
  parallelFor(context, rows, 1 + 32768 / (width + 1), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t entry = ids[row] - first;
      const size_t bytes = static_cast<size_t>(width) * sizeof(T);
      if (entry < 0 || entry >= entries) {
        std::memset(y + row * width, 0, bytes);
      } else {
        std::memcpy(y + row * width, table + entry * width, bytes);
      }
    }
  });
}
VALUE_KERNEL(embedding_forward, embeddingForward)

// Each part owns a range of columns: no two parts write the same number, and every sum runs over the rows in order.
template <class T>
static void embeddingBackward(const Context* context, const int32_t* ids, const T* dy, float* dTable, int64_t rows,
                              int64_t width, int64_t first, int64_t entries) {
  parallelFor(context, width, 64, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t entry = ids[row] - first;
      if (entry < 0 || entry >= entries) continue;
      float* __restrict out = dTable + entry * width;
      const T* __restrict in = dy + row * width;
      for (int64_t i = begin; i < end; ++i) out[i] += in[i];
    }
  });
}
VALUE_KERNEL(embedding_backward, embeddingBackward)
