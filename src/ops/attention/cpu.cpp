// Attention on the CPU: entry points.
#include "backward.h"
#include "few-queries.h"
#include "forward.h"

static Attention problemOf(const int32_t* firstKey, int64_t batch, int64_t heads, int64_t queries, int64_t keys, int64_t offset,
                           int64_t width, Strides query, Strides key, float scale, int64_t causal, float dropout, uint32_t seed,
                           uint32_t site, int64_t firstSample, int64_t sequence, int64_t headOffset) {
  return {batch, heads, queries, keys, offset, width, query, key, scale, causal != 0, firstKey, dropoutRule(dropout), {seed, site},
          static_cast<uint64_t>(firstSample), sequence, headOffset};
}

extern "C" void attention_forward(const Context* context, const float* q, const float* k, const float* v, float* out,
                                  float* logSumExp, const int32_t* firstKey, int64_t batch, int64_t heads, int64_t queries,
                                  int64_t keys, int64_t offset, int64_t width, int64_t queryBatch, int64_t queryRow,
                                  int64_t queryHead, int64_t keyBatch, int64_t keyRow, int64_t keyHead, float scale, int64_t causal,
                                  float dropout, uint32_t seed, uint32_t site, int64_t firstSample, int64_t sequence,
                                  int64_t headOffset) {
  const Attention problem = problemOf(firstKey, batch, heads, queries, keys, offset, width, {queryBatch, queryRow, queryHead},
                                      {keyBatch, keyRow, keyHead}, scale, causal, dropout, seed, site, firstSample, sequence,
                                      headOffset);
  if (queries <= fewQueries && problem.dropout.threshold == 0)
    attentionForwardFewQueries(context, problem, q, k, v, out, logSumExp);
  else
    attentionForwardTiles(context, problem, q, k, v, out, logSumExp);
}

extern "C" void attention_backward(const Context* context, const float* q, const float* k, const float* v, const float* out,
                                   const float* logSumExp, const float* dOut, float* dq, float* dk, float* dv,
                                   const int32_t* firstKey, int64_t batch, int64_t heads, int64_t queries, int64_t keys,
                                   int64_t offset, int64_t width, int64_t queryBatch, int64_t queryRow, int64_t queryHead,
                                   int64_t keyBatch, int64_t keyRow, int64_t keyHead, float scale, int64_t causal, float dropout,
                                   uint32_t seed, uint32_t site, int64_t firstSample, int64_t sequence, int64_t headOffset,
                                   int64_t accumulate) {
  const Attention problem = problemOf(firstKey, batch, heads, queries, keys, offset, width, {queryBatch, queryRow, queryHead},
                                      {keyBatch, keyRow, keyHead}, scale, causal, dropout, seed, site, firstSample, sequence,
                                      headOffset);
  attentionBackward(context, problem, {q, k, v, out, logSumExp, dOut, dq, dk, dv, accumulate != 0});
}
