// Sums over the rows of a matrix that give the same bits for every thread count: rows are cut into fixed blocks, each block
// has a row of partial sums, and the partial sums are added in order.
#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>
#include <new>

class ColumnSums {
 public:
  const int64_t blocks;

  ColumnSums(int64_t rows, int64_t width)
      : blocks(std::max<int64_t>(1, std::min<int64_t>(16, rows / 16))),
        rows_(rows),
        width_(width),
        sums_(new (std::align_val_t(64)) float[static_cast<size_t>(blocks * width)]()) {}

  float* block(int64_t index) { return sums_.get() + index * width_; }
  int64_t firstRow(int64_t block) const { return rows_ * block / blocks; }
  int64_t lastRow(int64_t block) const { return rows_ * (block + 1) / blocks; }

  void addTo(float* destination) const {
    for (int64_t block = 0; block < blocks; ++block) {
      const float* partial = sums_.get() + block * width_;
      for (int64_t i = 0; i < width_; ++i) destination[i] += partial[i];
    }
  }

 private:
  const int64_t rows_, width_;
  struct Delete {
    void operator()(float* sums) const { ::operator delete[](sums, std::align_val_t(64)); }
  };
  // Aligned, as tensors are: a loop that also reduces along a row is cut where its stores become aligned, so that the order
  // of its additions, and with it the last bits, would depend on where the heap put the sums.
  std::unique_ptr<float[], Delete> sums_;
};
