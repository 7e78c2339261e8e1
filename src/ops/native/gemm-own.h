// Our own matrix product: packed, blocked for the caches, tiled for the registers (the scheme of Goto and van de Geijn,
// "Anatomy of high-performance matrix multiplication", 2008). Each element of C is summed in one order, given by the depth
// alone, so the result is the same for every thread count.
#pragma once
#include "gemm-few-rows.h"
#include "tile-workspace.h"

namespace own {

constexpr int64_t depthBlock = 768;     // few passes over C, at the price of panels of A that just miss the first-level cache
constexpr int64_t longestSide = 3072;    // a packed operand holds at most this · depthBlock floats (9 MiB)
constexpr int64_t taskRowPanels = 10, taskColumnPanels = 4;  // operands of a task: 0.8 MB

inline int64_t ceilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }

inline void scale(float* c, int64_t m, int64_t n, int64_t ldc, float beta) {
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) c[i * ldc + j] = beta == 0.0f ? 0.0f : beta * c[i * ldc + j];
}

struct Block {
  int64_t begin, size, panels;
};
inline Block blockAt(int64_t begin, int64_t total, int64_t step, int64_t width) {
  const int64_t size = std::min(step, total - begin);
  return {begin, size, ceilDivide(size, width)};
}

struct Product {
  const Context* context;
  Operand a, b;
  int64_t m, n, k;
  float alpha, beta;
  float* c;
  int64_t ldc;

  void packRows(const Block& rows, int64_t depthBegin, int64_t depth, float* packed) const {
    parallelFor(context, rows.panels, ceilDivide(65536, depth * tileRows), [&](int64_t begin, int64_t end, int) {
      for (int64_t p = begin; p < end; ++p) {
        const int64_t used = std::min<int64_t>(tileRows, rows.size - p * tileRows);
        a.pack(rows.begin + p * tileRows, used, used, depthBegin, depth, packed + p * tileRows * depth);
      }
    });
  }

  void packColumns(const Block& columns, int64_t depthBegin, int64_t depth, float* packed) const {
    parallelFor(context, columns.panels, ceilDivide(65536, depth * tileColumns), [&](int64_t begin, int64_t end, int) {
      for (int64_t p = begin; p < end; ++p) {
        const int64_t used = std::min<int64_t>(tileColumns, columns.size - p * tileColumns);
        b.pack(columns.begin + p * tileColumns, used, tileColumns, depthBegin, depth, packed + p * tileColumns * depth);
      }
    });
  }

  void multiply(const Block& rows, const Block& columns, int64_t depth, const float* packedA, const float* packedB,
                float blockBeta) const {
    // Smaller tasks where there is too little work to go round.
    int64_t rowStep = taskRowPanels, columnStep = taskColumnPanels;
    const auto tasksNow = [&] { return ceilDivide(rows.panels, rowStep) * ceilDivide(columns.panels, columnStep); };
    while (context->threads > 1 && tasksNow() < 4 * context->threads && rowStep * columnStep > 1) {
      int64_t& longer = rowStep >= columnStep ? rowStep : columnStep;
      longer = (longer + 1) / 2;
    }
    const int64_t columnTasks = ceilDivide(columns.panels, columnStep);
    const auto task = [&](int64_t index) {
      const int64_t rowBegin = index / columnTasks * rowStep, columnBegin = index % columnTasks * columnStep;
      const int64_t rowEnd = std::min(rows.panels, rowBegin + rowStep);
      const int64_t columnEnd = std::min(columns.panels, columnBegin + columnStep);
      for (int64_t p = rowBegin; p < rowEnd; ++p) {
        const ComputeTile compute = computeTileFor(std::min<int64_t>(tileRows, rows.size - p * tileRows));
        for (int64_t q = columnBegin; q < columnEnd; ++q) {
          const int64_t used = std::min<int64_t>(tileColumns, columns.size - q * tileColumns);
          float* tile = c + (rows.begin + p * tileRows) * ldc + columns.begin + q * tileColumns;
          compute(depth, packedA + p * tileRows * depth, packedB + q * tileColumns * depth, tileColumns,
                  {tile, ldc, used, alpha, blockBeta});
        }
      }
    };
    if (rows.size * columns.size * depth < 100000) {  // waking threads would cost more than the work
      for (int64_t index = 0; index < tasksNow(); ++index) task(index);
    } else {
      parallelTasks(context, tasksNow(), task);
    }
  }

  void runFewRows() const {
    float* panel = reserveWorkspace(m * k);
    if (b.across) {
      for (int64_t i = 0; i < m; ++i) a.pack(i, 1, 1, 0, k, panel + i * k);
      return fewRowsDots(context, m, n, k, alpha, panel, b.data, b.stride, beta, c, ldc);
    }
    a.pack(0, m, m, 0, k, panel);
    fewRowsTiles(context, m, n, k, alpha, panel, b.data, b.stride, beta, c, ldc);
  }

  void run() const {
    if (m <= fewRows) return runFewRows();
    const int64_t depthSteps = ceilDivide(k, depthBlock), depthStep = ceilDivide(k, depthSteps);
    const int64_t rowStep = std::min(m, longestSide / tileRows * tileRows), columnStep = std::min(n, longestSide);
    const int64_t packedRows = ceilDivide(rowStep, 16) * 16;
    float* packedA = reserveWorkspace((packedRows + ceilDivide(columnStep, tileColumns) * tileColumns) * depthStep);
    float* packedB = packedA + packedRows * depthStep;
    for (int64_t d = 0; d < k; d += depthStep) {
      const int64_t depth = std::min(depthStep, k - d);
      const float blockBeta = d == 0 ? beta : 1.0f;
      // The shorter side is packed once, the longer one walks past it.
      if (m <= n) {
        for (int64_t i = 0; i < m; i += rowStep) {
          const Block rows = blockAt(i, m, rowStep, tileRows);
          packRows(rows, d, depth, packedA);
          for (int64_t j = 0; j < n; j += columnStep) {
            const Block columns = blockAt(j, n, columnStep, tileColumns);
            packColumns(columns, d, depth, packedB);
            multiply(rows, columns, depth, packedA, packedB, blockBeta);
          }
        }
      } else {
        for (int64_t j = 0; j < n; j += columnStep) {
          const Block columns = blockAt(j, n, columnStep, tileColumns);
          packColumns(columns, d, depth, packedB);
          for (int64_t i = 0; i < m; i += rowStep) {
            const Block rows = blockAt(i, m, rowStep, tileRows);
            packRows(rows, d, depth, packedA);
            multiply(rows, columns, depth, packedA, packedB, blockBeta);
          }
        }
      }
    }
  }
};

}  // namespace own
