#include <algorithm>
#include <cmath>
#include <limits>
#include "math.h"
#include "parallel.h"

static float largestOf(const float* in, int64_t entries) {
  float largest = -std::numeric_limits<float>::infinity();
  for (int64_t i = 0; i < entries; ++i) largest = in[i] > largest ? in[i] : largest;
  return largest;
}

// Σ exp(x − largest). Partial sums of 4096 terms added in double keep a large vocabulary's sum exact to float precision.
// A NaN loses every comparison, so it hides from the maximum; here it comes through.
static double sumOfPowers(const float* in, int64_t entries, float largest) {
  double sum = 0;
  for (int64_t first = 0; first < entries; first += 4096) {
    float part = 0;
    const int64_t last = std::min(entries, first + 4096);
    for (int64_t i = first; i < last; ++i) part += fastExp(in[i] - largest);
    sum += part;
  }
  return sum;
}

static int64_t grainOf(int64_t entries) { return 1 + 8192 / (entries + 1); }

extern "C" void cross_entropy_forward(const Context* context, const float* logits, const int32_t* labels, float* loss,
                                      float* statistics, int64_t rows, int64_t entries, int64_t stride) {
  parallelFor(context, rows, grainOf(entries), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const float* in = logits + row * stride;
      const float largest = largestOf(in, entries);
      const double sum = sumOfPowers(in, entries, largest);
      statistics[2 * row] = largest;
      statistics[2 * row + 1] = static_cast<float>(1.0 / sum);
      const int32_t label = labels[row];
      const bool labelled = label >= 0 && label < entries;
      loss[row] = labelled ? static_cast<float>(static_cast<double>(largest) - in[label] + std::log(sum)) : 0.0f;
    }
  });
}

extern "C" void cross_entropy_maximum(const Context* context, const float* logits, float* maximum, int64_t rows,
                                      int64_t entries, int64_t stride) {
  parallelFor(context, rows, grainOf(entries), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) maximum[row] = largestOf(logits + row * stride, entries);
  });
}

extern "C" void cross_entropy_sums(const Context* context, const float* logits, const int32_t* labels, const float* maximum,
                                   float* sums, int64_t rows, int64_t entries, int64_t stride, int64_t firstEntry) {
  parallelFor(context, rows, grainOf(entries), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const float* in = logits + row * stride;
      const int64_t column = labels[row] - firstEntry;
      sums[row] = static_cast<float>(sumOfPowers(in, entries, maximum[row]));
      sums[rows + row] = column >= 0 && column < entries ? in[column] - maximum[row] : 0.0f;
    }
  });
}

extern "C" void cross_entropy_backward(const Context* context, float* logits, const int32_t* labels, const float* statistics,
                                       const float* dLoss, int64_t rows, int64_t entries, int64_t stride, int64_t firstEntry,
                                       int64_t vocabulary) {
  parallelFor(context, rows, grainOf(entries), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      float* __restrict out = logits + row * stride;
      const int32_t label = labels[row];
      const float upstream = label >= 0 && label < vocabulary ? dLoss[row] : 0.0f;
      if (upstream == 0.0f) {
        std::fill(out, out + stride, 0.0f);
        continue;
      }
      const float largest = statistics[2 * row], share = upstream * statistics[2 * row + 1];
      for (int64_t i = 0; i < entries; ++i) out[i] = share * fastExp(out[i] - largest);
      std::fill(out + entries, out + stride, 0.0f);
      const int64_t column = label - firstEntry;
      if (column >= 0 && column < entries) out[column] -= upstream;
    }
  });
}
