#include <cstring>
#include "parallel.h"

extern "C" void embedding_forward(const Context* context, const int32_t* ids, const float* table, float* y, int64_t rows,
                                  int64_t width, int64_t first, int64_t entries) {
  parallelFor(context, rows, 1 + 32768 / (width + 1), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t entry = ids[row] - first;
      const size_t bytes = static_cast<size_t>(width) * sizeof(float);
      if (entry < 0 || entry >= entries) {
        std::memset(y + row * width, 0, bytes);
      } else {
        std::memcpy(y + row * width, table + entry * width, bytes);
      }
    }
  });
}

// Each part owns a range of columns: no two parts write the same number, and every sum runs over the rows in order.
extern "C" void embedding_backward(const Context* context, const int32_t* ids, const float* dy, float* dTable, int64_t rows,
                                   int64_t width, int64_t first, int64_t entries) {
  parallelFor(context, width, 64, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t entry = ids[row] - first;
      if (entry < 0 || entry >= entries) continue;
      float* __restrict out = dTable + entry * width;
      const float* __restrict in = dy + row * width;
      for (int64_t i = begin; i < end; ++i) out[i] += in[i];
    }
  });
}
