// Layer normalization, one pass over each row while it is in the first-level cache.
#include <cmath>
#include "elements.h"
#include "parallel.h"
#include "reduce.h"

template <class T>
static void layerNormForward(const Context* context, const T* x, const float* gamma, const float* beta, T* y, float* mean,
                             float* rstd, int64_t rows, int64_t width, float epsilon) {
  parallelFor(context, rows, 1 + 32768 / (width + 1), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const T* __restrict in = x + row * width;
      T* __restrict out = y + row * width;
      float sum = 0;
      for (int64_t i = 0; i < width; ++i) sum += in[i];
      const float average = sum / static_cast<float>(width);
      float squares = 0;
      for (int64_t i = 0; i < width; ++i) squares += (in[i] - average) * (in[i] - average);
      const float inverse = 1.0f / std::sqrt(squares / static_cast<float>(width) + epsilon);
      for (int64_t i = 0; i < width; ++i) out[i] = static_cast<T>((in[i] - average) * inverse * gamma[i] + beta[i]);
      mean[row] = average;
      rstd[row] = inverse;
    }
  });
}
VALUE_KERNEL(layer_norm_forward, layerNormForward)

template <class T>
static void layerNormBackward(const Context* context, const T* dy, const T* x, const float* gamma, const float* mean,
                              const float* rstd, T* dx, float* dGamma, float* dBeta, int64_t rows, int64_t width,
                              int64_t accumulate) {
  // Column sums come together from fixed blocks of rows, in order: the same bits for every thread count.
  ColumnSums dGammaSums(rows, width), dBetaSums(rows, width);
  parallelFor(context, dGammaSums.blocks, 1, [&](int64_t firstBlock, int64_t lastBlock, int) {
    for (int64_t block = firstBlock; block < lastBlock; ++block) {
      float* __restrict gammaSum = dGammaSums.block(block);
      float* __restrict betaSum = dBetaSums.block(block);
      for (int64_t row = dGammaSums.firstRow(block); row < dGammaSums.lastRow(block); ++row) {
        const T* __restrict in = x + row * width;
        const T* __restrict upstream = dy + row * width;
        T* __restrict out = dx + row * width;
        const float average = mean[row], inverse = rstd[row];
        float sum = 0, sumNormal = 0;
        for (int64_t i = 0; i < width; ++i) {
          const float normal = (in[i] - average) * inverse, g = upstream[i] * gamma[i];
          sum += g;
          sumNormal += g * normal;
          gammaSum[i] += upstream[i] * normal;
          betaSum[i] += upstream[i];
        }
        const float shift = sum / static_cast<float>(width), slope = sumNormal / static_cast<float>(width);
        const auto gradient = [=](int64_t i) {
          return inverse * (upstream[i] * gamma[i] - shift - (in[i] - average) * inverse * slope);
        };
        if (accumulate) {
          for (int64_t i = 0; i < width; ++i) out[i] = static_cast<T>(out[i] + gradient(i));
        } else {
          for (int64_t i = 0; i < width; ++i) out[i] = static_cast<T>(gradient(i));
        }
      }
    }
  });
  dGammaSums.addTo(dGamma);
  dBetaSums.addTo(dBeta);
}
VALUE_KERNEL(layer_norm_backward, layerNormBackward)
