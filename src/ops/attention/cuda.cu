// Attention on a GPU: entry points. ops/attention/cuda.ts chooses among them.
#include "plain.cuh"
#ifdef VALUE_HALF
#include "flash-backward.cuh"
#include "flash-forward.cuh"
#endif

// As problemParameters of problem.ts.
#define PROBLEM_PARAMETERS                                                                                          \
  Index batch, Index heads, Index queries, Index keys, Index offset, Index width, Index queryBatch, Index queryRow, \
      Index queryHead, Index keyBatch, Index keyRow, Index keyHead, float scale, Index causal, float dropout,       \
      unsigned seed, unsigned site, Counter firstSample, Index sequence, Index headOffset

extern "C" __global__ void __launch_bounds__(128)
    attention_forward_plain(const Value* q, const Value* k, const Value* v, Value* out, float* logSumExp, const int* firstKey,
                            PROBLEM_PARAMETERS) {
  PROBLEM_OF_PARAMETERS
  plainForward(problem, q, k, v, out, logSumExp);
}

extern "C" __global__ void __launch_bounds__(128)
    attention_delta(const Value* out, const Value* dOut, float* delta, const int* firstKey, PROBLEM_PARAMETERS) {
  PROBLEM_OF_PARAMETERS
  plainDelta(problem, out, dOut, delta);
}

extern "C" __global__ void __launch_bounds__(128)
    attention_query_gradient_plain(const Value* q, const Value* k, const Value* v, const Value* dOut, const float* logSumExp,
                                   const float* delta, const int* firstKey, Value* dq, Index accumulate, PROBLEM_PARAMETERS) {
  PROBLEM_OF_PARAMETERS
  plainQueryGradient(problem, {q, k, v, dOut, logSumExp, delta}, dq, accumulate != 0);
}

extern "C" __global__ void __launch_bounds__(128)
    attention_key_gradients_plain(const Value* q, const Value* k, const Value* v, const Value* dOut, const float* logSumExp,
                                  const float* delta, const int* firstKey, Value* dk, Value* dv, Index accumulate,
                                  PROBLEM_PARAMETERS) {
  PROBLEM_OF_PARAMETERS
  plainKeyGradients(problem, {q, k, v, dOut, logSumExp, delta}, dk, dv, accumulate != 0);
}

// Copies the keys and values of qkv [b, s, n, 3, d] into keys and values [b, S, n, d] from `position` on.
extern "C" __global__ void attention_append_to_cache(const Value* qkv, Value* keys, Value* values, Index batch, Index sequence,
                                                     Index heads, Index width, Index position, Index capacity) {
  const Index rows = sequence * heads;  // of one sample
  forEach(batch * rows * width, width % 8 == 0 && aligned(qkv, keys, values), [&](auto lanes, Index i) {
    constexpr int n = decltype(lanes)::count;
    const Quotient row = divide(i, width), sample = divide(row.quotient, rows);
    const Value* from = qkv + row.quotient * 3 * width + row.remainder;
    const Index to = ((sample.quotient * capacity + position) * heads + sample.remainder) * width + row.remainder;
    store<n>(keys + to, load<n>(from + width));
    store<n>(values + to, load<n>(from + 2 * width));
  });
}

#ifdef VALUE_HALF
#define FORWARD_PARAMETERS \
  const Value *q, const Value *k, const Value *v, Value *out, float *logSumExp, const int *firstKey, PROBLEM_PARAMETERS

// For heads of up to 64, 96 and 128 channels.
extern "C" __global__ void __launch_bounds__(128, 2) attention_forward_64(FORWARD_PARAMETERS) {
  PROBLEM_OF_PARAMETERS
  flashForward<64, 2, 64>(problem, q, k, v, out, logSumExp);
}
extern "C" __global__ void __launch_bounds__(128, 2) attention_forward_96(FORWARD_PARAMETERS) {
  PROBLEM_OF_PARAMETERS
  flashForward<96, 2, 64>(problem, q, k, v, out, logSumExp);
}
extern "C" __global__ void __launch_bounds__(128, 2) attention_forward_128(FORWARD_PARAMETERS) {
  PROBLEM_OF_PARAMETERS
  flashForward<128, 2, 32>(problem, q, k, v, out, logSumExp);
}

#define QUERY_PARAMETERS                                                                                             \
  const Value *q, const Value *k, const Value *v, const Value *dOut, const float *logSumExp, const float *delta,    \
      const int *firstKey, Value *dq, Index accumulate, PROBLEM_PARAMETERS

extern "C" __global__ void __launch_bounds__(128, 2) attention_query_gradient_64(QUERY_PARAMETERS) {
  PROBLEM_OF_PARAMETERS
  flashQueryGradient<64, 2, 32>(problem, {q, k, v, dOut, logSumExp, delta}, dq, accumulate != 0);
}
extern "C" __global__ void __launch_bounds__(128, 2) attention_query_gradient_96(QUERY_PARAMETERS) {
  PROBLEM_OF_PARAMETERS
  flashQueryGradient<96, 2, 32>(problem, {q, k, v, dOut, logSumExp, delta}, dq, accumulate != 0);
}
extern "C" __global__ void __launch_bounds__(128, 2) attention_query_gradient_128(QUERY_PARAMETERS) {
  PROBLEM_OF_PARAMETERS
  flashQueryGradient<128, 2, 32>(problem, {q, k, v, dOut, logSumExp, delta}, dq, accumulate != 0);
}

#define KEY_PARAMETERS                                                                                               \
  const Value *q, const Value *k, const Value *v, const Value *dOut, const float *logSumExp, const float *delta,    \
      const int *firstKey, Value *dk, Value *dv, Index accumulate, PROBLEM_PARAMETERS

extern "C" __global__ void __launch_bounds__(128, 2) attention_key_gradients_64(KEY_PARAMETERS) {
  PROBLEM_OF_PARAMETERS
  flashKeyGradients<64, 64>(problem, {q, k, v, dOut, logSumExp, delta}, dk, dv, accumulate != 0);
}
extern "C" __global__ void __launch_bounds__(128, 2) attention_key_gradients_96(KEY_PARAMETERS) {
  PROBLEM_OF_PARAMETERS
  flashKeyGradients<96, 64>(problem, {q, k, v, dOut, logSumExp, delta}, dk, dv, accumulate != 0);
}
extern "C" __global__ void __launch_bounds__(128, 2) attention_key_gradients_128(KEY_PARAMETERS) {
  PROBLEM_OF_PARAMETERS
  flashKeyGradients<128, 32>(problem, {q, k, v, dOut, logSumExp, delta}, dk, dv, accumulate != 0);
}
#endif
