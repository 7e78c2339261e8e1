#include "gelu.h"
#include "parallel.h"
#include "reduce.h"

static int64_t grainOf(int64_t width) { return 1 + 16384 / (width + 1); }

extern "C" void add_bias(const Context* context, float* y, const float* bias, int64_t rows, int64_t width) {
  parallelFor(context, rows, grainOf(width), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      float* __restrict out = y + row * width;
      for (int64_t i = 0; i < width; ++i) out[i] += bias[i];
    }
  });
}

template <int form>
static void biasGelu(const Context* context, const float* u, const float* bias, float* y, int64_t rows, int64_t width) {
  parallelFor(context, rows, grainOf(width), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const float* __restrict in = u + row * width;
      float* __restrict out = y + row * width;
      for (int64_t i = 0; i < width; ++i) out[i] = geluOf<form>(in[i] + bias[i]);
    }
  });
}

extern "C" void bias_gelu_forward(const Context* context, const float* u, const float* bias, float* y, int64_t rows,
                                  int64_t width, int64_t form) {
  form == geluErf ? biasGelu<geluErf>(context, u, bias, y, rows, width)
                  : biasGelu<geluTanh>(context, u, bias, y, rows, width);
}

template <int form>
static void biasGeluBackward(const Context* context, const float* dy, const float* u, const float* bias, float* du,
                             float* dBias, int64_t rows, int64_t width) {
  ColumnSums sums(rows, width);
  parallelFor(context, sums.blocks, 1, [&](int64_t firstBlock, int64_t lastBlock, int) {
    for (int64_t block = firstBlock; block < lastBlock; ++block) {
      float* __restrict sum = sums.block(block);
      for (int64_t row = sums.firstRow(block); row < sums.lastRow(block); ++row) {
        const float* upstream = dy + row * width;
        const float* in = u + row * width;
        float* out = du + row * width;
#pragma GCC ivdep
        for (int64_t i = 0; i < width; ++i) {
          const float value = upstream[i] * geluSlope<form>(in[i] + bias[i]);
          out[i] = value;
          sum[i] += value;
        }
      }
    }
  });
  sums.addTo(dBias);
}

extern "C" void bias_gelu_backward(const Context* context, const float* dy, const float* u, const float* bias, float* du,
                                   float* dBias, int64_t rows, int64_t width, int64_t form) {
  form == geluErf ? biasGeluBackward<geluErf>(context, dy, u, bias, du, dBias, rows, width)
                  : biasGeluBackward<geluTanh>(context, dy, u, bias, du, dBias, rows, width);
}

extern "C" void column_sums(const Context* context, const float* x, float* destination, int64_t rows, int64_t width) {
  ColumnSums sums(rows, width);
  parallelFor(context, sums.blocks, 1, [&](int64_t firstBlock, int64_t lastBlock, int) {
    for (int64_t block = firstBlock; block < lastBlock; ++block) {
      float* __restrict sum = sums.block(block);
      for (int64_t row = sums.firstRow(block); row < sums.lastRow(block); ++row) {
        const float* __restrict in = x + row * width;
        for (int64_t i = 0; i < width; ++i) sum[i] += in[i];
      }
    }
  });
  sums.addTo(destination);
}
