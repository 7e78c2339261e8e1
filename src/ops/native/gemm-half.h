// Our own product of 16-bit operands, summed in float32: B packed once and shared by the threads, A read as it lies where the
// unit can (rows along memory), else packed by the task that multiplies it. Each element of C is summed in one order, given by
// the depth alone, so the result is the same for every thread count.
#pragma once
#include "gemm-half-amx.h"
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

// What is multiplied at a time. B's panels are packed as [block of the depth][panel][steps][Unit::columns].
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
  // Words of a vector, and of what pads them to whole tiles.
  static int64_t wordsIn(int64_t depth) { return ceilDivide(depth, Unit::depth); }
  static int64_t stepsOf(int64_t depth) { return roundUp(wordsIn(depth), Unit::stepMultiple); }

  void packColumns(const Range& columns, const Range& depth, uint32_t* packed) const {
    const int64_t panels = ceilDivide(columns.size, Unit::columns), blocks = ceilDivide(depth.size, depthStep);
    const auto pack = [&](int64_t from, int64_t panel) {
      const int64_t size = std::min(depthStep, depth.size - from);
      const int64_t used = std::min<int64_t>(Unit::columns, columns.size - panel * Unit::columns);
      const T* source = b.at(columns.begin + panel * Unit::columns, depth.begin + from);
      uint32_t* to = packed + Unit::columns * (panels * stepsOf(from) + panel * stepsOf(size));
      if (b.along)
        packVectorsAlong<Unit>(source, b.stride, used, Unit::columns, size, to);
      else
        packVectorsAcross<Unit, T, Unit::columns>(source, b.stride, used, size, to);
      std::fill(to + Unit::columns * wordsIn(size), to + Unit::columns * stepsOf(size), 0u);
    };
    parallelFor(context, panels * blocks, 1 + 65536 / (depthStep * Unit::columns), [&](int64_t begin, int64_t end, int) {
      for (int64_t index = begin; index < end; ++index) pack(index / panels * depthStep, index % panels);
    });
  }

  // Rows of A as words, a tile's rows `tileStride` behind those of the one before: as they lie where they are words already,
  // and whole tiles if need be; else packed.
  const uint32_t* wordsOf(const Range& rows, const Range& depth, int64_t& tileStride) const {
    const T* source = a.at(rows.begin, depth.begin);
    const int64_t steps = stepsOf(depth.size);
    const bool whole = rows.size % Unit::rows == 0 && depth.size % (Unit::depth * Unit::stepMultiple) == 0;
    if (Unit::depth == 2 && a.along && k % 2 == 0 && (whole || !Unit::wholeTiles)) {
      tileStride = Unit::rows * a.stride / 2;
      return reinterpret_cast<const uint32_t*>(source);
    }
    // What is written side by side, rows of a tile or panels, lies 64 bytes further apart than it is long, or it would share the
    // same sets of the first-level cache.
    constexpr int64_t apart = 16;
    if constexpr (Unit::wholeTiles) {
      const int64_t rowWords = steps + apart, wholeRows = roundUp(rows.size, Unit::rows);
      tileStride = Unit::rows * rowWords;
      uint32_t* packed = reinterpret_cast<uint32_t*>(reserveWorkspace(wholeRows * rowWords));
      std::fill(packed + rows.size * rowWords, packed + wholeRows * rowWords, 0u);
      if (a.along)
        packRows(source, a.stride, rows.size, depth.size, steps, packed, rowWords);
      else
        packRowsTransposed(source, a.stride, rows.size, depth.size, steps, packed, rowWords);
      return packed;
    }
    tileStride = Unit::rows * steps + (a.along ? 0 : apart);
    uint32_t* packed = reinterpret_cast<uint32_t*>(reserveWorkspace(ceilDivide(rows.size, Unit::rows) * tileStride));
    if (a.along)
      widenRows<Unit>(source, a.stride, rows.size, depth.size, packed);
    else
      packRowsAcross<Unit>(source, a.stride, rows.size, depth.size, packed, tileStride);
    return packed;
  }

  // Rows and panels of columns of a block; both ranges count from its first.
  void task(const Block& block, const Range& rows, const Range& panels) const {
    [[maybe_unused]] const typename Unit::Session session{};
    const int64_t allPanels = ceilDivide(block.columns.size, Unit::columns);
    for (int64_t from = 0; from < block.depth.size; from += depthStep) {
      const Range depth{block.depth.begin + from, std::min(depthStep, block.depth.size - from)};
      const int64_t steps = stepsOf(depth.size);
      const bool first = depth.begin == 0, last = depth.begin + depth.size == k;
      int64_t tileStride;
      const uint32_t* words = wordsOf({block.rows.begin + rows.begin, rows.size}, depth, tileStride);
      for (int64_t q = panels.begin; q < panels.begin + panels.size; ++q) {
        const uint32_t* panel = block.packed + Unit::columns * (allPanels * stepsOf(from) + q * steps);
        const int64_t column = q * Unit::columns, inC = block.columns.begin + column;
        for (int64_t i = 0; i < rows.size; i += Unit::rows) {
          const int64_t row = rows.begin + i, used = std::min<int64_t>(Unit::rows, rows.size - i);
          const HalfOutput<Out> out{c + (block.rows.begin + row) * n + inC,
                                    block.partial + row * block.partialStride + column,
                                    bias ? bias + inC : nullptr,
                                    n,
                                    block.partialStride,
                                    std::min<int64_t>(Unit::columns, n - inC),
                                    accumulate && !sumsInPlace,
                                    !first || (accumulate && sumsInPlace),
                                    last};
          const uint32_t* tileWords = words + i / Unit::rows * tileStride;
          if constexpr (Unit::wholeTiles) {
            multiplyTiles(steps, used, tileWords, tileStride / Unit::rows, panel, out);
          } else {
            const auto compute = a.along ? halfTileFor<Unit, Out, false>(used) : halfTileFor<Unit, Out, true>(used);
            compute(steps, tileWords, tileStride / Unit::rows, panel, out);
          }
        }
      }
    }
  }

  void multiply(const Block& block) const {
    // Every thread gets as many tasks, all but a tile of one size, so that none waits for a last one. More tasks where there is
    // little work to go round: fewer rows first, since each task may have to pack its rows of A.
    const int64_t threads = context->threads, panels = ceilDivide(block.columns.size, Unit::columns);
    const int64_t tiles = ceilDivide(block.rows.size, Unit::rows);
    int64_t rowTasks = std::min(tiles, roundUp(ceilDivide(block.rows.size, taskRows), threads)), columnTasks = 1;
    while (threads > 1 && rowTasks * columnTasks < 4 * threads) {
      if (16 * rowTasks <= tiles)
        rowTasks *= 2;
      else if (2 * columnTasks <= panels)
        columnTasks *= 2;
      else if (2 * rowTasks <= tiles)
        rowTasks *= 2;
      else
        break;
    }
    const auto run = [&](int64_t index) {
      const int64_t r = index / columnTasks, q = index % columnTasks;
      const int64_t row = tiles * r / rowTasks * Unit::rows, panel = panels * q / columnTasks;
      const int64_t rowEnd = std::min(block.rows.size, tiles * (r + 1) / rowTasks * Unit::rows);
      task(block, {row, rowEnd - row}, {panel, panels * (q + 1) / columnTasks - panel});
    };
    const int64_t tasks = rowTasks * columnTasks;
    if (block.rows.size * block.columns.size * block.depth.size < 200000) {  // waking threads would cost more than the work
      for (int64_t index = 0; index < tasks; ++index) run(index);
    } else {
      parallelTasks(context, tasks, run);
    }
  }

  void run() const {
    static thread_local Workspace packedSpace, partialSpace;
    // B is packed for all of the depth where that leaves room for some columns.
    int64_t columnStep = std::min<int64_t>(roundUp(n, Unit::columns), 1024);
    const int64_t fitting = packedLimit / (columnStep * stepsOf(depthStep)) * depthStep;
    const int64_t packedDepth = std::min(k, std::max(depthStep, fitting));
    if (packedDepth == k)
      columnStep = std::min(roundUp(n, Unit::columns),
                            std::max(columnStep, packedLimit / stepsOf(k) / Unit::columns * Unit::columns));
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
  static_assert(taskRows % Unit::rows == 0, "a block of rows whose sums wait is whole tiles");
  const int64_t multiple = std::max(2, Unit::depth * Unit::stepMultiple);
  const int64_t depthStep = roundUp(ceilDivide(k, ceilDivide(k, depthBlock)), multiple);
  Product<Unit, T, Out>{context, a, b, m, n, k, bias, c, accumulate, depthStep}.run();
}

}  // namespace half
