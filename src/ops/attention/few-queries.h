// Attention of a handful of queries to a cache of keys, as text generation asks for: keys and values are read once, where they
// lie, because packing them would cost more than the products. No dropout.
#pragma once
#include "parallel.h"
#include "problem.h"
#include "tile-math.h"
#include "tile-workspace.h"

namespace attention {

constexpr int64_t fewQueries = 4;

// scores[j − begin] = scale · q · k_j in base 2, for keys [begin, end); returns the largest.
template <class T>
inline float scoreKeys(const Attention& problem, const T* q, const T* keys, int64_t begin, int64_t end, float* scores) {
  const float scale = problem.scale * log2e;
  float most = negativeInfinity;
  const auto put = [&](int64_t j, float sum) {
    scores[j - begin] = sum * scale;
    most = scores[j - begin] > most ? scores[j - begin] : most;
  };
  int64_t j = begin;
  for (; j + 4 <= end; j += 4) {
    const T *k0 = keys + j * problem.key.row, *k1 = k0 + problem.key.row, *k2 = k1 + problem.key.row, *k3 = k2 + problem.key.row;
    float s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (int64_t c = 0; c < problem.width; ++c) {
      const float x = q[c];
      s0 += x * k0[c];
      s1 += x * k1[c];
      s2 += x * k2[c];
      s3 += x * k3[c];
    }
    put(j, s0);
    put(j + 1, s1);
    put(j + 2, s2);
    put(j + 3, s3);
  }
  for (; j < end; ++j) {
    float sum = 0;
    for (int64_t c = 0; c < problem.width; ++c) sum += static_cast<float>(q[c]) * keys[j * problem.key.row + c];
    put(j, sum);
  }
  return most;
}

// Replaces scores by 2^(score − most); returns their sum. The array reaches to a multiple of `lanes`.
inline float exponentials(float* scores, int64_t count, float most) {
  for (int64_t j = count; j % lanes != 0; ++j) scores[j] = negativeInfinity;
  Vector sums = Vector{};
  for (int64_t j = 0; j < count; j += lanes) {
    const Vector p = exp2Vector(load(scores + j) - most);
    sums += p;
    store(scores + j, p);
  }
  float total = 0;
  for (int l = 0; l < lanes; ++l) total += sums[l];
  return total;
}

template <class T>
inline void attentionForwardFewQueries(const Context* context, const Attention& problem, const T* q, const T* k, const T* v, T* out,
                                       float* logSumExp) {
  const int64_t heads = problem.batch * problem.heads, work = problem.queries * problem.keys * problem.width;
  parallelFor(context, heads, 1 + 50000 / (work + 1), [&](int64_t begin, int64_t end, int) {
    float* sums = reserveWorkspace(problem.width + problem.keys + lanes);
    float* scores = sums + problem.width;
    for (int64_t head = begin; head < end; ++head) {
      const int64_t b = head / problem.heads, h = head % problem.heads;
      for (int64_t i = 0; i < problem.queries; ++i) {
        const int64_t first = problem.firstVisible(b, i), count = std::max<int64_t>(0, problem.lastVisible(i) + 1 - first);
        T* to = out + problem.outputAt(b, h, i);
        float& statistic = logSumExp[problem.statisticAt(b, h, i)];
        statistic = negativeInfinity;
        if (count == 0) {
          std::fill_n(to, problem.width, static_cast<T>(0.0f));
          continue;
        }
        const T* query = q + problem.queryAt(b, h, i);
        const float most = scoreKeys(problem, query, k + problem.keyAt(b, h, 0), first, first + count, scores);
        const float total = exponentials(scores, count, most);
        std::fill_n(sums, problem.width, 0.0f);
        for (int64_t j = 0; j < count; ++j) {
          const float p = scores[j] / total;
          const T* row = v + problem.keyAt(b, h, first + j);
          for (int64_t c = 0; c < problem.width; ++c) sums[c] += p * row[c];
        }
        for (int64_t c = 0; c < problem.width; ++c) to[c] = static_cast<T>(sums[c]);
        statistic = most * ln2 + __builtin_logf(total);
      }
    }
  });
}

}  // namespace attention
