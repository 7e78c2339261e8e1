#include <algorithm>
#include <cmath>
#include <limits>
#include "math.h"
#include "parallel.h"

extern "C" void cross_entropy_forward(const Context* context, const float* logits, const int32_t* labels, float* loss,
                                      float* logSum, int64_t rows, int64_t entries, int64_t stride) {
  parallelFor(context, rows, 1 + 8192 / (entries + 1), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const float* in = logits + row * stride;
      float largest = -std::numeric_limits<float>::infinity();
      for (int64_t i = 0; i < entries; ++i) largest = in[i] > largest ? in[i] : largest;
      // Partial sums of 4096 terms added in double keep a large vocabulary's sum exact to float precision.
      double sum = 0;
      for (int64_t first = 0; first < entries; first += 4096) {
        float part = 0;
        const int64_t last = std::min(entries, first + 4096);
        for (int64_t i = first; i < last; ++i) part += fastExp(in[i] - largest);
        sum += part;
      }
      // A NaN loses every comparison, so it would hide from the maximum; adding it to the sum lets it through.
      const float logOfSum = static_cast<float>(std::log(sum));
      logSum[row] = largest + logOfSum;
      const int32_t label = labels[row];
      loss[row] = label >= 0 && label < entries ? largest - in[label] + logOfSum : 0.0f;
    }
  });
}

extern "C" void cross_entropy_backward(const Context* context, float* logits, const int32_t* labels, const float* logSum,
                                       const float* dLoss, int64_t rows, int64_t entries, int64_t stride) {
  parallelFor(context, rows, 1 + 8192 / (entries + 1), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      float* __restrict out = logits + row * stride;
      const int32_t label = labels[row];
      const float upstream = label >= 0 && label < entries ? dLoss[row] : 0.0f, total = logSum[row];
      if (upstream == 0.0f) {
        std::fill(out, out + stride, 0.0f);
        continue;
      }
      for (int64_t i = 0; i < entries; ++i) out[i] = upstream * fastExp(out[i] - total);
      std::fill(out + entries, out + stride, 0.0f);
      out[label] -= upstream;
    }
  });
}
