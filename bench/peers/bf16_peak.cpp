// The processor's rate of bf16 products: nothing but vdpbf16ps on registers, as many threads as asked for.
#include <cstdint>
#if defined(__AVX512BF16__)
#include <immintrin.h>

constexpr int chains = 16;  // more than latency times throughput

static void multiply(int64_t times) {
  __m512 sums[chains];
#pragma GCC unroll 16
  for (int i = 0; i < chains; ++i) sums[i] = _mm512_setzero_ps();  // unrolled, or the sums would live in memory
  __m512bh a = (__m512bh)_mm512_set1_epi32(0x3f803f80), b = a;
  for (int64_t t = 0; t < times; ++t) {
#pragma GCC unroll 16
    for (int i = 0; i < chains; ++i) {
      sums[i] = _mm512_dpbf16_ps(sums[i], a, b);
      asm volatile("" : "+v"(sums[i]));
    }
  }
}
#endif

// Floating-point operations done; 0 where the processor has no such instruction.
extern "C" double bf16_peak(int32_t threads, int64_t times) {
#if defined(__AVX512BF16__)
#pragma omp parallel for num_threads(threads) schedule(static, 1)
  for (int32_t thread = 0; thread < threads; ++thread) multiply(times);
  return 64.0 * chains * static_cast<double>(times) * threads;
#else
  return 0.0 * threads * static_cast<double>(times);
#endif
}
