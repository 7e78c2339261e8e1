#include "elements.h"
#include "gemm.h"

template <class T>
static void matrixProduct(const Context* context, const T* a, const T* b, T* c, int64_t m, int64_t n, int64_t k,
                          int64_t transposeA, int64_t transposeB, int64_t accumulate) {
  gemmValues(context, transposeA != 0, transposeB != 0, m, n, k, a, b, static_cast<const float*>(nullptr), c, accumulate != 0);
}
VALUE_KERNEL(matrix_product, matrixProduct)

template <class T>
static void matrixProductIntoFloats(const Context* context, const T* a, const T* b, float* c, int64_t m, int64_t n, int64_t k,
                                    int64_t transposeA, int64_t transposeB, int64_t accumulate) {
  gemmValues(context, transposeA != 0, transposeB != 0, m, n, k, a, b, static_cast<const float*>(nullptr), c, accumulate != 0);
}
VALUE_KERNEL(matrix_product_into_floats, matrixProductIntoFloats)
