#include <cmath>
#include <limits>
#include "math.h"
#include "parallel.h"

extern "C" void softmax_forward(const Context* context, const float* x, float* y, int64_t rows, int64_t width,
                                int64_t logarithm) {
  parallelFor(context, rows, 1 + 8192 / (width + 1), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const float* __restrict in = x + row * width;
      float* __restrict out = y + row * width;
      float largest = -std::numeric_limits<float>::infinity(), sum = 0;
      for (int64_t i = 0; i < width; ++i) largest = in[i] > largest ? in[i] : largest;
      if (logarithm) {
        // The largest is taken off first and for itself: added to the logarithm it would swallow that one's digits.
        for (int64_t i = 0; i < width; ++i) {
          out[i] = in[i] - largest;
          sum += fastExp(out[i]);
        }
        const float total = std::log(sum);
        for (int64_t i = 0; i < width; ++i) out[i] -= total;
      } else {
        for (int64_t i = 0; i < width; ++i) {
          out[i] = fastExp(in[i] - largest);
          sum += out[i];
        }
        const float inverse = 1.0f / sum;
        for (int64_t i = 0; i < width; ++i) out[i] *= inverse;
      }
    }
  });
}

extern "C" void softmax_backward(const Context* context, const float* dy, const float* y, float* dx, int64_t rows,
                                 int64_t width, int64_t logarithm, int64_t accumulate) {
  parallelFor(context, rows, 1 + 8192 / (width + 1), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const float* upstream = dy + row * width;
      const float* out = y + row * width;
      float* target = dx + row * width;
      float sum = 0;
      for (int64_t i = 0; i < width; ++i) sum += logarithm ? upstream[i] : upstream[i] * out[i];
      for (int64_t i = 0; i < width; ++i) {
        const float value = logarithm ? upstream[i] - fastExp(out[i]) * sum : out[i] * (upstream[i] - sum);
        target[i] = accumulate ? target[i] + value : value;
      }
    }
  });
}
