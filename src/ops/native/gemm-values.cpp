// Matrix products of values of any type: float32 goes to the libraries, 16 bits to our own product.
#include "gemm-half.h"
#include "gemm.h"

template <>
void gemmValues(const Context* context, bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, const float* a,
                const float* b, const float* bias, float* c, bool accumulate) {
  gemm(context, transposeA, transposeB, m, n, k, 1.0f, a, transposeA ? m : k, b, transposeB ? k : n, accumulate ? 1.0f : 0.0f,
       c, n);
  if (!bias) return;
  parallelFor(context, m, 1 + 16384 / (n + 1), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      float* __restrict out = c + row * n;
      for (int64_t i = 0; i < n; ++i) out[i] += bias[i];
    }
  });
}

// The unit of vectors that multiplies values of type T here.
template <class T>
using UnitOf = std::conditional_t<hasPairs && std::is_same_v<T, Bf16>, Pairs, Widened>;

template <class T, class Out>
void gemmValues(const Context* context, bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, const T* a,
                const T* b, const float* bias, Out* c, bool accumulate) {
  if (m <= 0 || n <= 0) return;
  if (k <= 0) {  // an empty sum
    for (int64_t i = 0; i < m * n; ++i)
      c[i] = static_cast<Out>((accumulate ? static_cast<float>(c[i]) : 0.0f) + (bias ? bias[i % n] : 0.0f));
    return;
  }
  const half::Source<T> rows{a, transposeA ? m : k, !transposeA}, columns{b, transposeB ? k : n, transposeB};
  if (m <= half::fewRows && rows.along && columns.along)
    return half::FewRows<UnitOf<T>, T, Out>{m, n, k, a, b, bias, c, accumulate}.run(context);
#if defined(HAVE_AMX)
  if constexpr (std::is_same_v<T, Bf16>)
    if (amxGranted()) return half::multiply<Amx>(context, rows, columns, m, n, k, bias, c, accumulate);
#endif
  half::multiply<UnitOf<T>>(context, rows, columns, m, n, k, bias, c, accumulate);
}

#define INSTANCE(T, Out)                                                                                            \
  template void gemmValues(const Context*, bool, bool, int64_t, int64_t, int64_t, const T*, const T*, const float*, Out*, bool);
INSTANCE(Bf16, Bf16)
INSTANCE(Bf16, float)
INSTANCE(F16, F16)
INSTANCE(F16, float)

// What multiplies bf16 in this process: 0 float32 units after widening, 1 AVX512-BF16, 2 AMX, 3 AVX512-BF16 because the
// system refuses AMX. f16 is always widened.
extern "C" int32_t megatron_bf16_unit() {
#if defined(HAVE_AMX)
  if (amxGranted()) return 2;
  if (hasPairs) return 3;
#endif
  return hasPairs ? 1 : 0;
}
