#include "gelu.h"
#include "gemm.h"
#include "parallel.h"
#include "reduce.h"
#include "vectors.h"

static int64_t grainOf(int64_t width) { return 1 + 16384 / (width + 1); }

template <class T>
static void addBias(const Context* context, T* y, const float* bias, int64_t rows, int64_t width) {
  parallelFor(context, rows, grainOf(width), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      T* __restrict out = y + row * width;
      for (int64_t i = 0; i < width; ++i) out[i] = static_cast<T>(out[i] + bias[i]);
    }
  });
}
VALUE_KERNEL(add_bias, addBias)

template <class T>
static void linearForward(const Context* context, const T* x, const T* weight, const float* bias, T* y, int64_t rows,
                          int64_t outputs, int64_t inputs) {
  gemmValues(context, false, true, rows, outputs, inputs, x, weight, bias, y, false);
}
VALUE_KERNEL(linear_forward, linearForward)

template <int form, class T>
static void biasGelu(const Context* context, const T* u, const float* bias, T* y, int64_t rows, int64_t width) {
  parallelFor(context, rows, grainOf(width), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const T* in = u + row * width;
      T* out = y + row * width;
      for (int64_t i = 0; i < width; i += lanes) {
        const int count = static_cast<int>(std::min<int64_t>(lanes, width - i));
        storeFirst(out + i, geluOf<form>(loadFirst(in + i, count) + loadFirst(bias + i, count)), count);
      }
    }
  });
}

template <class T>
static void biasGeluForward(const Context* context, const T* u, const float* bias, T* y, int64_t rows, int64_t width,
                            int64_t form) {
  form == geluErf ? biasGelu<geluErf>(context, u, bias, y, rows, width)
                  : biasGelu<geluTanh>(context, u, bias, y, rows, width);
}
VALUE_KERNEL(bias_gelu_forward, biasGeluForward)

template <int form, class T>
static void biasGeluSlopes(const Context* context, const T* dy, const T* u, const float* bias, T* du, float* dBias,
                           int64_t rows, int64_t width) {
  ColumnSums sums(rows, width);
  parallelFor(context, sums.blocks, 1, [&](int64_t firstBlock, int64_t lastBlock, int) {
    for (int64_t block = firstBlock; block < lastBlock; ++block) {
      float* __restrict sum = sums.block(block);
      for (int64_t row = sums.firstRow(block); row < sums.lastRow(block); ++row) {
        const T* upstream = dy + row * width;
        const T* in = u + row * width;
        T* out = du + row * width;
        for (int64_t i = 0; i < width; i += lanes) {
          const int count = static_cast<int>(std::min<int64_t>(lanes, width - i));
          const Vector slope = geluSlope<form>(loadFirst(in + i, count) + loadFirst(bias + i, count));
          const Vector gradient = loadFirst(upstream + i, count) * slope;
          storeFirst(out + i, gradient, count);
          storeFirst(sum + i, loadFirst(sum + i, count) + gradient, count);
        }
      }
    }
  });
  sums.addTo(dBias);
}

template <class T>
static void biasGeluBackward(const Context* context, const T* dy, const T* u, const float* bias, T* du, float* dBias,
                             int64_t rows, int64_t width, int64_t form) {
  form == geluErf ? biasGeluSlopes<geluErf>(context, dy, u, bias, du, dBias, rows, width)
                  : biasGeluSlopes<geluTanh>(context, dy, u, bias, du, dBias, rows, width);
}
VALUE_KERNEL(bias_gelu_backward, biasGeluBackward)

template <int form, class T>
static void multiplyBySlope(const Context* context, const T* u, T* du, int64_t size) {
  parallelFor(context, size, 16384, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i += lanes) {
      const int count = static_cast<int>(std::min<int64_t>(lanes, end - i));
      storeFirst(du + i, loadFirst(du + i, count) * geluSlope<form>(loadFirst(u + i, count)), count);
    }
  });
}

template <class T>
static void productGeluSlope(const Context* context, const T* dy, const T* weight, const T* u, T* du, int64_t rows,
                             int64_t width, int64_t outputs, int64_t form) {
  gemmValues(context, false, false, rows, width, outputs, dy, weight, nullptr, du, false);
  form == geluErf ? multiplyBySlope<geluErf>(context, u, du, rows * width)
                  : multiplyBySlope<geluTanh>(context, u, du, rows * width);
}
VALUE_KERNEL(product_gelu_slope, productGeluSlope)

template <class T>
static void columnSums(const Context* context, const T* x, float* destination, int64_t rows, int64_t width) {
  ColumnSums sums(rows, width);
  parallelFor(context, sums.blocks, 1, [&](int64_t firstBlock, int64_t lastBlock, int) {
    for (int64_t block = firstBlock; block < lastBlock; ++block) {
      float* __restrict sum = sums.block(block);
      for (int64_t row = sums.firstRow(block); row < sums.lastRow(block); ++row) {
        const T* __restrict in = x + row * width;
        for (int64_t i = 0; i < width; ++i) sum[i] += in[i];
      }
    }
  });
  sums.addTo(destination);
}
VALUE_KERNEL(column_sums, columnSums)
