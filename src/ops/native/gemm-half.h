// Our own product of 16-bit operands, summed in float32: B packed once and shared by the threads, A read as it lies where the
// unit can (rows along memory), else packed by the task that multiplies it. Each element of C is summed in one order, given by
// the depth alone, so the result is the same for every thread count.
#pragma once
#include "gemm-half-few-rows.h"
#include "gemm-half-pack.h"
#include "parallel.h"
#include "tile-workspace.h"

namespace half {

constexpr int64_t depthBlock = 3072;       // of one pass through the registers: a panel of B stays in the second-level cache
constexpr int64_t packedLimit = 1 << 22;   // words of packed B (16 MiB)
constexpr int64_t partialLimit = 1 << 22;  // float32 sums of C that wait for further blocks of the depth (16 MiB)
constexpr int64_t taskRows = 192;          // rows of A of a task

inline int64_t roundUp(int64_t a, int64_t b) { return ceilDivide(a, b) * b; }

template <class T>
struct Source {
  const T* data;
  int64_t stride;  // leading dimension in memory
  bool along;      // whether the depth runs along memory rows

  const T* at(int64_t vector, int64_t depth) const { return along ? data + vector * stride + depth : data + depth * stride + vector; }
};

struct Range {
  int64_t begin, size;
};

// What is multiplied at a time. B's panels are packed as [block of the depth][panel][steps][halfColumns].
struct Block {
  Range rows, columns, depth;
  const uint32_t* packed;
  float* partial;  // of the first row and column
  int64_t partialStride;
};

template <class Unit, class T, class Out>
struct Product {
  const Context* context;
  Source<T> a, b;
  int64_t m, n, k;
  const float* bias;
  Out* c;
  bool accumulate;
  int64_t depthStep;  // of one pass through the registers

  static constexpr bool sumsInPlace = std::is_same_v<Out, float>;
  static int64_t stepsOf(int64_t depth) { return ceilDivide(depth, Unit::depth); }

  void packColumns(const Range& columns, const Range& depth, uint32_t* packed) const {
    const int64_t panels = ceilDivide(columns.size, halfColumns), blocks = ceilDivide(depth.size, depthStep);
    const auto pack = [&](int64_t from, int64_t panel) {
      const int64_t size = std::min(depthStep, depth.size - from);
      const int64_t used = std::min<int64_t>(halfColumns, columns.size - panel * halfColumns);
      const T* source = b.at(columns.begin + panel * halfColumns, depth.begin + from);
      uint32_t* to = packed + halfColumns * (panels * stepsOf(from) + panel * stepsOf(size));
      if (b.along)
        packVectorsAlong<Unit>(source, b.stride, used, halfColumns, size, to);
      else
        packVectorsAcross<Unit, T, halfColumns>(source, b.stride, used, size, to);
    };
    parallelFor(context, panels * blocks, 1 + 65536 / (depthStep * halfColumns), [&](int64_t begin, int64_t end, int) {
      for (int64_t index = begin; index < end; ++index) pack(index / panels * depthStep, index % panels);
    });
  }

  // Rows of A as words, a tile's rows `tileStride` behind those of the one before: as they lie where they are words already,
  // else packed.
  const uint32_t* wordsOf(const Range& rows, const Range& depth, int64_t& tileStride) const {
    const T* source = a.at(rows.begin, depth.begin);
    const int64_t steps = stepsOf(depth.size);
    if (Unit::depth == 2 && a.along && k % 2 == 0) {
      tileStride = halfRows * a.stride / 2;
      return reinterpret_cast<const uint32_t*>(source);
    }
    // Panels are written side by side: 64 bytes more keep them from sharing the same sets of the first-level cache.
    tileStride = halfRows * steps + (a.along ? 0 : 16);
    uint32_t* packed = reinterpret_cast<uint32_t*>(reserveWorkspace(ceilDivide(rows.size, halfRows) * tileStride));
    if (a.along)
      widenRows<Unit>(source, a.stride, rows.size, depth.size, packed);
    else
      packRowsAcross<Unit>(source, a.stride, rows.size, depth.size, packed, tileStride);
    return packed;
  }

  // Rows and panels of columns of a block; both ranges count from its first.
  void task(const Block& block, const Range& rows, const Range& panels) const {
    const int64_t allPanels = ceilDivide(block.columns.size, halfColumns);
    for (int64_t from = 0; from < block.depth.size; from += depthStep) {
      const Range depth{block.depth.begin + from, std::min(depthStep, block.depth.size - from)};
      const int64_t steps = stepsOf(depth.size);
      const bool first = depth.begin == 0, last = depth.begin + depth.size == k;
      int64_t tileStride;
      const uint32_t* words = wordsOf({block.rows.begin + rows.begin, rows.size}, depth, tileStride);
      for (int64_t q = panels.begin; q < panels.begin + panels.size; ++q) {
        const uint32_t* panel = block.packed + halfColumns * (allPanels * stepsOf(from) + q * steps);
        const int64_t column = q * halfColumns, inC = block.columns.begin + column;
        for (int64_t i = 0; i < rows.size; i += halfRows) {
          const int64_t row = rows.begin + i, used = std::min<int64_t>(halfRows, rows.size - i);
          const HalfOutput<Out> out{c + (block.rows.begin + row) * n + inC,
                                    block.partial + row * block.partialStride + column,
                                    bias ? bias + inC : nullptr,
                                    n,
                                    block.partialStride,
                                    std::min<int64_t>(halfColumns, n - inC),
                                    accumulate && !sumsInPlace,
                                    !first || (accumulate && sumsInPlace),
                                    last};
          const auto compute = a.along ? halfTileFor<Unit, Out, false>(used) : halfTileFor<Unit, Out, true>(used);
          compute(steps, words + i / halfRows * tileStride, tileStride / halfRows, panel, out);
        }
      }
    }
  }

  void multiply(const Block& block) const {
    // Smaller tasks where there is too little work to go round.
    const int64_t rows = block.rows.size, panels = ceilDivide(block.columns.size, halfColumns);
    int64_t rowStep = taskRows, panelStep = panels;
    const auto tasks = [&] { return ceilDivide(rows, rowStep) * ceilDivide(panels, panelStep); };
    while (context->threads > 1 && tasks() < 4 * context->threads && (panelStep > 1 || rowStep > halfRows)) {
      if (panelStep > 4 || rowStep == halfRows)
        panelStep = (panelStep + 1) / 2;
      else
        rowStep = roundUp(rowStep / 2, halfRows);
    }
    const int64_t columnTasks = ceilDivide(panels, panelStep);
    const auto run = [&](int64_t index) {
      const int64_t row = index / columnTasks * rowStep, panel = index % columnTasks * panelStep;
      task(block, {row, std::min(rowStep, rows - row)}, {panel, std::min(panelStep, panels - panel)});
    };
    if (rows * block.columns.size * block.depth.size < 200000) {  // waking threads would cost more than the work
      for (int64_t index = 0; index < tasks(); ++index) run(index);
    } else {
      parallelTasks(context, tasks(), run);
    }
  }

  void run() const {
    static thread_local Workspace packedSpace, partialSpace;
    // B is packed for all of the depth where that leaves room for some columns.
    int64_t columnStep = std::min<int64_t>(roundUp(n, halfColumns), 1024);
    const int64_t fitting = packedLimit / (columnStep * stepsOf(depthStep)) * depthStep;
    const int64_t packedDepth = std::min(k, std::max(depthStep, fitting));
    if (packedDepth == k)
      columnStep = std::min(roundUp(n, halfColumns), std::max(columnStep, packedLimit / stepsOf(k) / halfColumns * halfColumns));
    const bool waits = !sumsInPlace && k > depthStep;
    const int64_t rowStep = waits ? std::min(m, partialLimit / columnStep / taskRows * taskRows) : m;
    uint32_t* packed = reinterpret_cast<uint32_t*>(packedSpace.reserve(columnStep * stepsOf(packedDepth)));
    float* sums = waits ? partialSpace.reserve(rowStep * columnStep) : nullptr;
    for (int64_t j = 0; j < n; j += columnStep) {
      const Range columns{j, std::min(columnStep, n - j)};
      for (int64_t i = 0; i < m; i += rowStep) {
        const Range rows{i, std::min(rowStep, m - i)};
        for (int64_t d = 0; d < k; d += packedDepth) {
          const Range depth{d, std::min(packedDepth, k - d)};
          if (i == 0 || packedDepth < k) packColumns(columns, depth, packed);
          if constexpr (sumsInPlace)
            multiply({rows, columns, depth, packed, c + i * n + j, n});
          else
            multiply({rows, columns, depth, packed, sums, columnStep});
        }
      }
    }
  }
};

template <class Unit, class T, class Out>
void multiply(const Context* context, const Source<T>& a, const Source<T>& b, int64_t m, int64_t n, int64_t k,
              const float* bias, Out* c, bool accumulate) {
  if (m <= fewRows && a.along && b.along)
    return FewRows<Unit, T, Out>{m, n, k, a.data, b.data, bias, c, accumulate}.run(context);
  const int64_t depthStep = roundUp(ceilDivide(k, ceilDivide(k, depthBlock)), 2);
  Product<Unit, T, Out>{context, a, b, m, n, k, bias, c, accumulate, depthStep}.run();
}

}  // namespace half
