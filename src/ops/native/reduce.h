// Sums over the rows of a matrix that give the same bits for every thread count: rows are cut into fixed blocks, each block
// has a row of partial sums, and the partial sums are added in order.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

class ColumnSums {
 public:
  const int64_t blocks;

  ColumnSums(int64_t rows, int64_t width)
      : blocks(std::max<int64_t>(1, std::min<int64_t>(16, rows / 16))),
        rows_(rows),
        width_(width),
        sums_(static_cast<size_t>(blocks * width), 0.0f) {}

  float* block(int64_t index) { return sums_.data() + index * width_; }
  int64_t firstRow(int64_t block) const { return rows_ * block / blocks; }
  int64_t lastRow(int64_t block) const { return rows_ * (block + 1) / blocks; }

  void addTo(float* destination) const {
    for (int64_t block = 0; block < blocks; ++block) {
      const float* partial = sums_.data() + block * width_;
      for (int64_t i = 0; i < width_; ++i) destination[i] += partial[i];
    }
  }

 private:
  const int64_t rows_, width_;
  std::vector<float> sums_;
};
