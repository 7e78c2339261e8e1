#include <vector>
#include "parallel.h"

extern "C" void sum_squares(const Context* context, const float* x, float* total, int64_t size) {
  // Fixed pieces, added in order: the same bits for every thread count.
  constexpr int64_t piece = 4096;
  const int64_t pieces = (size + piece - 1) / piece;
  std::vector<float> sums(static_cast<size_t>(pieces));
  parallelFor(context, pieces, 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t index = begin; index < end; ++index) {
      const float* __restrict in = x + index * piece;
      const int64_t count = std::min(piece, size - index * piece);
      float sum = 0;
      for (int64_t i = 0; i < count; ++i) sum += in[i] * in[i];
      sums[static_cast<size_t>(index)] = sum;
    }
  });
  double sum = 0;
  for (const float part : sums) sum += part;
  total[0] = static_cast<float>(sum);
}
