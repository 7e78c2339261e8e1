// Rows of the head that comes next, fetched into the second-level cache while the present one is computed: the rows of a head
// lie apart in memory, so that packing them would otherwise wait for each.
#pragma once
#include <cstdint>

namespace attention {

class RowsAhead {
 public:
  // `count` rows of `width` elements, `stride` elements apart.
  template <class T>
  void add(const T* from, int64_t stride, int64_t count, int64_t width) {
    step_ = 1 + 767 / count;
    constexpr int64_t size = sizeof(T);
    matrices_[matrixCount_++] = {reinterpret_cast<const char*>(from), stride * size, count, width * size};
  }

  // Asks for the next row, or rows where a head is done in few steps, of all matrices. Called for each group of keys × panel of
  // queries, which a causal head has keys / 768 of for each of its rows.
  void fetch() {
    for (int m = 0; m < matrixCount_; ++m)
      for (int64_t row = next_; row < next_ + step_ && row < matrices_[m].count; ++row)
        for (int64_t byte = 0; byte < matrices_[m].bytes; byte += 64)
          __builtin_prefetch(matrices_[m].at + row * matrices_[m].stride + byte, 0, 2);
    next_ += step_;
  }

 private:
  struct Matrix {
    const char* at;
    int64_t stride, count, bytes;
  };
  Matrix matrices_[5];
  int matrixCount_ = 0;
  int64_t next_ = 0, step_ = 1;
};

}  // namespace attention
