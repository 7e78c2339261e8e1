// Attention on the CPU: entry points.
#include <cstring>
#include "backward-pairs.h"
#include "few-queries.h"
#include "forward-pairs.h"

using namespace attention;

template <class T>
struct Passes {
  using Forward = ForwardTile;
  using Backward = BackwardHead<T>;
};
#if defined(HAVE_TILE_PAIRS)
template <>
struct Passes<Bf16> {
  using Forward = ForwardPairTile;
  using Backward = BackwardPairHead;
};
#endif

static Attention problemOf(const int32_t* firstKey, int64_t batch, int64_t heads, int64_t queries, int64_t keys, int64_t offset,
                           int64_t width, Strides query, Strides key, float scale, int64_t causal, float dropout, uint32_t seed,
                           uint32_t site, int64_t firstSample, int64_t sequence, int64_t headOffset) {
  return {batch, heads, queries, keys, offset, width, query, key, scale, causal != 0, firstKey, dropoutRule(dropout),
          RoundKeys({seed, site}),
          static_cast<uint64_t>(firstSample), sequence, headOffset};
}

template <class T>
static void forward(const Context* context, const T* q, const T* k, const T* v, T* out, float* logSumExp, const int32_t* firstKey,
                    int64_t batch, int64_t heads, int64_t queries, int64_t keys, int64_t offset, int64_t width, int64_t queryBatch,
                    int64_t queryRow, int64_t queryHead, int64_t keyBatch, int64_t keyRow, int64_t keyHead, float scale,
                    int64_t causal, float dropout, uint32_t seed, uint32_t site, int64_t firstSample, int64_t sequence,
                    int64_t headOffset) {
  const Attention problem = problemOf(firstKey, batch, heads, queries, keys, offset, width, {queryBatch, queryRow, queryHead},
                                      {keyBatch, keyRow, keyHead}, scale, causal, dropout, seed, site, firstSample, sequence,
                                      headOffset);
  if (queries <= fewQueries && problem.dropout.threshold == 0)
    attentionForwardFewQueries(context, problem, q, k, v, out, logSumExp);
  else
    attentionForwardTiles<typename Passes<T>::Forward>(context, problem, q, k, v, out, logSumExp);
}
VALUE_KERNEL(attention_forward, forward)

template <class T>
static void backward(const Context* context, const T* q, const T* k, const T* v, const T* out, const float* logSumExp,
                     const int32_t* firstKey, const T* dOut, T* dq, T* dk, T* dv, int64_t accumulate, int64_t batch, int64_t heads,
                     int64_t queries, int64_t keys, int64_t offset, int64_t width, int64_t queryBatch, int64_t queryRow,
                     int64_t queryHead, int64_t keyBatch, int64_t keyRow, int64_t keyHead, float scale, int64_t causal,
                     float dropout, uint32_t seed, uint32_t site, int64_t firstSample, int64_t sequence, int64_t headOffset) {
  const Attention problem = problemOf(firstKey, batch, heads, queries, keys, offset, width, {queryBatch, queryRow, queryHead},
                                      {keyBatch, keyRow, keyHead}, scale, causal, dropout, seed, site, firstSample, sequence,
                                      headOffset);
  const AttentionGradients<T> io{q, k, v, out, dOut, logSumExp, dq, dk, dv, accumulate != 0};
  attentionBackward<typename Passes<T>::Backward>(context, problem, io);
}
VALUE_KERNEL(attention_backward, backward)

template <class T>
static void appendToCache(const Context* context, const T* qkv, T* keys, T* values, int64_t batch, int64_t sequence,
                          int64_t heads, int64_t width, int64_t position, int64_t capacity) {
  const int64_t rows = sequence * heads;  // of one sample
  parallelFor(context, batch * rows, 1 + 32768 / (width + 1), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const T* from = qkv + i * 3 * width;
      const int64_t to = ((i / rows * capacity + position) * heads + i % rows) * width;
      std::memcpy(keys + to, from + width, static_cast<size_t>(width) * sizeof(T));
      std::memcpy(values + to, from + 2 * width, static_cast<size_t>(width) * sizeof(T));
    }
  });
}
VALUE_KERNEL(attention_append_to_cache, appendToCache)
