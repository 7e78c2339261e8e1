#include <algorithm>
#include <cmath>
#include "elements.h"
#include "parallel.h"
#include "tile-math.h"
#include "vectors.h"

template <class T>
static float largestOf(const T* in, int64_t entries) {
  Vector most = broadcast(negativeInfinity);
  forEachVector(in, entries, negativeInfinity, [&](Vector x, int64_t, int) { most = larger(x, most); });
  float largest = most[0];
  for (int i = 1; i < lanes; ++i) largest = most[i] > largest ? most[i] : largest;
  return largest;
}

// Σ exp(x − largest). Partial sums of 4096 terms added in double keep a large vocabulary's sum exact to float precision.
// A NaN loses every comparison, so it hides from the maximum; here it comes through.
template <class T>
static double sumOfPowers(const T* in, int64_t entries, float largest) {
  double sum = 0;
  for (int64_t first = 0; first < entries; first += 4096) {
    Vector part{};
    forEachVector(in + first, std::min<int64_t>(4096, entries - first), negativeInfinity,
                  [&](Vector x, int64_t, int) { part += expVector(x - largest); });
    for (int i = 0; i < lanes; ++i) sum += part[i];
  }
  return sum;
}

static int64_t grainOf(int64_t entries) { return 1 + 8192 / (entries + 1); }

template <class T>
static void crossEntropyForward(const Context* context, const T* logits, const int32_t* labels, float* loss, float* statistics,
                                int64_t rows, int64_t entries, int64_t stride) {
  parallelFor(context, rows, grainOf(entries), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const T* in = logits + row * stride;
      const float largest = largestOf(in, entries);
      const double sum = sumOfPowers(in, entries, largest);
      statistics[2 * row] = largest;
      statistics[2 * row + 1] = static_cast<float>(1.0 / sum);
      const int32_t label = labels[row];
      const bool labelled = label >= 0 && label < entries;
      loss[row] = labelled ? static_cast<float>(static_cast<double>(largest) - static_cast<float>(in[label]) + std::log(sum)) : 0.0f;
    }
  });
}
VALUE_KERNEL(cross_entropy_forward, crossEntropyForward)

template <class T>
static void crossEntropyMaximum(const Context* context, const T* logits, float* maximum, int64_t rows, int64_t entries,
                                int64_t stride) {
  parallelFor(context, rows, grainOf(entries), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) maximum[row] = largestOf(logits + row * stride, entries);
  });
}
VALUE_KERNEL(cross_entropy_maximum, crossEntropyMaximum)

template <class T>
static void crossEntropySums(const Context* context, const T* logits, const int32_t* labels, const float* maximum, float* sums,
                             int64_t rows, int64_t entries, int64_t stride, int64_t firstEntry) {
  parallelFor(context, rows, grainOf(entries), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const T* in = logits + row * stride;
      const int64_t column = labels[row] - firstEntry;
      sums[row] = static_cast<float>(sumOfPowers(in, entries, maximum[row]));
      sums[rows + row] = column >= 0 && column < entries ? in[column] - maximum[row] : 0.0f;
    }
  });
}
VALUE_KERNEL(cross_entropy_sums, crossEntropySums)

extern "C" void cross_entropy_of_sums(const Context* context, const int32_t* labels, const float* maximum, const float* sums,
                                      float* loss, float* statistics, int64_t rows, int64_t vocabulary) {
  parallelFor(context, rows, 2048, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const double total = sums[row];
      const bool labelled = labels[row] >= 0 && labels[row] < vocabulary;
      statistics[2 * row] = maximum[row];
      statistics[2 * row + 1] = static_cast<float>(1.0 / total);
      loss[row] = labelled ? static_cast<float>(std::log(total) - sums[rows + row]) : 0.0f;
    }
  });
}

template <class T>
static void crossEntropyBackward(const Context* context, T* logits, const int32_t* labels, const float* statistics,
                                 const float* dLoss, int64_t rows, int64_t entries, int64_t stride, int64_t firstEntry,
                                 int64_t vocabulary) {
  parallelFor(context, rows, grainOf(entries), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      T* __restrict out = logits + row * stride;
      const int32_t label = labels[row];
      const float upstream = label >= 0 && label < vocabulary ? dLoss[row] : 0.0f;
      if (upstream == 0.0f) {
        std::fill(out, out + stride, T(0.0f));
        continue;
      }
      const float largest = statistics[2 * row], share = upstream * statistics[2 * row + 1];
      const int64_t column = label - firstEntry;
      const bool isHere = column >= 0 && column < entries;
      const float atLabel = isHere ? share * expVector(broadcast(out[column] - largest))[0] - upstream : 0.0f;  // rounded once
      forEachVector(out, entries, negativeInfinity, [&](Vector x, int64_t i, int count) {
        storeFirst(out + i, share * expVector(x - largest), count);
      });
      std::fill(out + entries, out + stride, T(0.0f));
      if (isHere) out[column] = static_cast<T>(atLabel);
    }
  });
}
VALUE_KERNEL(cross_entropy_backward, crossEntropyBackward)
