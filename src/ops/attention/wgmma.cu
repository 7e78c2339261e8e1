// Attention on products of warpgroups (compute capability 9.0): entry points. ops/attention/cuda.ts chooses between these and those
// of cuda.cu.
#include "problem.cuh"
#ifdef VALUE_HALF
#include "warpgroup-forward.cuh"
#include "warpgroup-key-gradients.cuh"
#include "warpgroup-query-gradient.cuh"
#endif

#if defined(VALUE_HALF) && defined(HAS_WARPGROUPS)

// As problemParameters of problem.ts.
#define PROBLEM_PARAMETERS                                                                                          \
  Index batch, Index heads, Index queries, Index keys, Index offset, Index width, Index queryBatch, Index queryRow, \
      Index queryHead, Index keyBatch, Index keyRow, Index keyHead, float scale, Index causal, float dropout,       \
      unsigned seed, unsigned site, Counter firstSample, Index sequence, Index headOffset

#define FORWARD_PARAMETERS \
  const Value *q, const Value *k, const Value *v, Value *out, float *logSumExp, const int *firstKey, PROBLEM_PARAMETERS

// For heads of up to 64, 96 and 128 channels.
extern "C" __global__ void __launch_bounds__(256, 2) attention_forward_wgmma_64(FORWARD_PARAMETERS) {
  PROBLEM_OF_PARAMETERS
  warpgroupForward<64, 2>(problem, q, k, v, out, logSumExp);
}
extern "C" __global__ void __launch_bounds__(256, 2) attention_forward_wgmma_96(FORWARD_PARAMETERS) {
  PROBLEM_OF_PARAMETERS
  warpgroupForward<96, 2>(problem, q, k, v, out, logSumExp);
}
extern "C" __global__ void __launch_bounds__(384, 1) attention_forward_wgmma_128(FORWARD_PARAMETERS) {
  PROBLEM_OF_PARAMETERS
  warpgroupForward<128, 3>(problem, q, k, v, out, logSumExp);
}

#define QUERY_PARAMETERS                                                                                             \
  const Value *q, const Value *k, const Value *v, const Value *dOut, const float *logSumExp, const float *delta,    \
      const int *firstKey, Value *dq, Index accumulate, PROBLEM_PARAMETERS

extern "C" __global__ void __launch_bounds__(256, 2) attention_query_gradient_wgmma_64(QUERY_PARAMETERS) {
  PROBLEM_OF_PARAMETERS
  warpgroupQueryGradient<64, 2>(problem, {q, k, v, dOut, logSumExp, delta}, dq, accumulate != 0);
}
extern "C" __global__ void __launch_bounds__(384, 1) attention_query_gradient_wgmma_96(QUERY_PARAMETERS) {
  PROBLEM_OF_PARAMETERS
  warpgroupQueryGradient<96, 3>(problem, {q, k, v, dOut, logSumExp, delta}, dq, accumulate != 0);
}
extern "C" __global__ void __launch_bounds__(384, 1) attention_query_gradient_wgmma_128(QUERY_PARAMETERS) {
  PROBLEM_OF_PARAMETERS
  warpgroupQueryGradient<128, 3>(problem, {q, k, v, dOut, logSumExp, delta}, dq, accumulate != 0);
}

#define KEY_PARAMETERS                                                                                               \
  const Value *q, const Value *k, const Value *v, const Value *dOut, const float *logSumExp, const float *delta,    \
      const int *firstKey, Value *dk, Value *dv, Index accumulate, PROBLEM_PARAMETERS

extern "C" __global__ void __launch_bounds__(384, 1) attention_key_gradients_wgmma_64(KEY_PARAMETERS) {
  PROBLEM_OF_PARAMETERS
  warpgroupKeyGradients<64, 3, false>(problem, {q, k, v, dOut, logSumExp, delta}, dk, dv, accumulate != 0);
}
extern "C" __global__ void __launch_bounds__(256, 1) attention_key_gradients_wgmma_96(KEY_PARAMETERS) {
  PROBLEM_OF_PARAMETERS
  warpgroupKeyGradients<96, 2, true>(problem, {q, k, v, dOut, logSumExp, delta}, dk, dv, accumulate != 0);
}
extern "C" __global__ void __launch_bounds__(256, 1) attention_key_gradients_wgmma_128(KEY_PARAMETERS) {
  PROBLEM_OF_PARAMETERS
  warpgroupKeyGradients<128, 2, true>(problem, {q, k, v, dOut, logSumExp, delta}, dk, dv, accumulate != 0);
}

#endif
