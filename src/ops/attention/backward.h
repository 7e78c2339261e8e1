// Backward pass: the probabilities of a tile are made again from the scores and the saved log-sum-exp, so nothing of size
// sq × sk is ever kept. With P the probabilities, D the dropout mask with its scale and Δ = rowsum(dO ∘ O):
//   dV = (P∘D)ᵀ dO,  dP = D ∘ (dO Vᵀ),  dS = P ∘ (dP − Δ),  dQ = scale · dS K,  dK = scale · dSᵀ Q.
#pragma once
#include "ahead.h"
#include "draws.h"
#include "parallel.h"
#include "tile-workspace.h"
#include "tiles.h"

namespace attention {

template <class T>
struct AttentionGradients {
  const T *q, *k, *v, *out, *dOut;
  const float* logSumExp;
  T *dq, *dk, *dv;  // strides of q and of k and v
  bool accumulate;      // whether dq, dk and dv are added to
};

// Writes or adds factor · from [count, padded] to strided rows.
template <class T>
inline void writeRows(T* to, int64_t stride, int64_t count, int64_t width, const float* from, int64_t padded, float factor,
                      bool accumulate) {
  for (int64_t r = 0; r < count; ++r) {
    T* row = to + r * stride;
    const float* source = from + r * padded;
    if (accumulate) {
      for (int64_t c = 0; c < width; ++c) row[c] = static_cast<T>(row[c] + source[c] * factor);
    } else {
      for (int64_t c = 0; c < width; ++c) row[c] = static_cast<T>(source[c] * factor);
    }
  }
}

// Δ and the log-sum-exp in base 2 of a head's queries, up to whole tiles.
template <class T>
inline void loadStatistics(const Attention& problem, const AttentionGradients<T>& io, int64_t b, int64_t h, float* deltas,
                           float* logSumExp) {
  const T* out = io.out + problem.outputAt(b, h, 0);
  const T* dOut = io.dOut + problem.outputAt(b, h, 0);
  const int64_t row = problem.output().row, queries = problem.queries;
  for (int64_t i = 0; i < queries; ++i) {
    float delta = 0;
    for (int64_t c = 0; c < problem.width; ++c)
      delta += static_cast<float>(out[i * row + c]) * static_cast<float>(dOut[i * row + c]);
    deltas[i] = delta;
    logSumExp[i] = io.logSumExp[problem.statisticAt(b, h, i)] * log2e;
  }
  for (int64_t i = queries; i < roundUp(queries, tileSize); ++i) {  // so that lanes past the end have probability 0
    deltas[i] = 0.0f;
    logSumExp[i] = __builtin_inff();
  }
}

// One head of one sample.
template <class T>
class BackwardHead {
 public:
  static int64_t workspaceSize(const Attention& problem) {
    const int64_t padded = roundUp(problem.width, lanes), width = problem.width;
    const int64_t queries = roundUp(problem.queries, tileSize), keys = roundUp(problem.keys, tileSize);
    return 2 * tileSize * (tileSize + padded) + queries * (3 * padded + 2 * width + 2) + keys * (padded + 2 * width);
  }

  BackwardHead(const Attention& problem, const AttentionGradients<T>& io, int64_t b, int64_t h, const RowsAhead& ahead,
               float* workspace)
      : problem_(problem), io_(io), b_(b), h_(h), padded_(roundUp(problem.width, lanes)), ahead_(ahead) {
    const int64_t width = problem.width, queries = roundUp(problem.queries, tileSize), keys = roundUp(problem.keys, tileSize);
    float* next = workspace;
    const auto take = [&](int64_t count) {
      float* at = next;
      next += count;
      return at;
    };
    probabilities_ = take(tileSize * tileSize);
    scoreGradients_ = take(tileSize * tileSize);
    dKeys_ = take(tileSize * padded_);
    dValues_ = take(tileSize * padded_);
    dQueries_ = take(queries * padded_);
    queryRows_ = take(queries * padded_);
    outRows_ = take(queries * padded_);
    keyRows_ = take(keys * padded_);
    queryPanels_ = take(queries * width);
    outPanels_ = take(queries * width);
    keyPanels_ = take(keys * width);
    valuePanels_ = take(keys * width);
    logSumExp_ = take(queries);
    deltas_ = take(queries);
  }

  void run() {
    loadAll();
    for (int64_t key = 0; key < problem_.keys; key += tileSize) {
      const int64_t count = std::min<int64_t>(tileSize, problem_.keys - key);
      std::fill_n(dKeys_, tileSize * padded_, 0.0f);
      std::fill_n(dValues_, tileSize * padded_, 0.0f);
      const int64_t firstQuery = problem_.causal ? std::max<int64_t>(0, key - problem_.offset) / tileSize * tileSize : 0;
      for (int64_t query = firstQuery; query < problem_.queries; query += tileSize) {
        const QueryTile tile(problem_, b_, query);
        if (key + count > tile.keyBegin && key < tile.keyEnd) addTile(tile, key, std::min(count, tile.keyEnd - key));
      }
      write(io_.dk + problem_.keyAt(b_, h_, key), problem_.key.row, count, dKeys_, problem_.scale);
      write(io_.dv + problem_.keyAt(b_, h_, key), problem_.key.row, count, dValues_, problem_.dropout.scale);
    }
    write(io_.dq + problem_.queryAt(b_, h_, 0), problem_.query.row, problem_.queries, dQueries_, problem_.scale);
  }

 private:
  const Attention& problem_;
  const AttentionGradients<T>& io_;
  const int64_t b_, h_, padded_;
  RowsAhead ahead_;
  // Rows [·, padded] as right operands, panels [·/width of a tile][d][width of a tile] as the others.
  float *probabilities_, *scoreGradients_, *dKeys_, *dValues_, *dQueries_, *queryRows_, *outRows_, *keyRows_;
  float *queryPanels_, *outPanels_, *keyPanels_, *valuePanels_, *logSumExp_, *deltas_;

  void write(T* to, int64_t stride, int64_t count, const float* from, float factor) const {
    writeRows(to, stride, count, problem_.width, from, padded_, factor, io_.accumulate);
  }

  void loadAll() {
    const int64_t width = problem_.width, queries = problem_.queries, keys = problem_.keys;
    const T* q = io_.q + problem_.queryAt(b_, h_, 0);
    const T* k = io_.k + problem_.keyAt(b_, h_, 0);
    const T* v = io_.v + problem_.keyAt(b_, h_, 0);
    const T* dOut = io_.dOut + problem_.outputAt(b_, h_, 0);
    const int64_t outRow = problem_.output().row, paddedQueries = roundUp(queries, tileSize);
    copyRows(q, problem_.query.row, queries, width, padded_, queryRows_);
    copyRows(dOut, outRow, queries, width, padded_, outRows_);
    copyRows(k, problem_.key.row, keys, width, padded_, keyRows_);
    packPanels(q, problem_.query.row, queries, width, tileColumns, queryPanels_);
    scaleAll(queryPanels_, paddedQueries * width, problem_.scale * log2e);
    packPanels(dOut, outRow, queries, width, tileColumns, outPanels_);
    packPanels(k, problem_.key.row, keys, width, tileRows, keyPanels_);
    packPanels(v, problem_.key.row, keys, width, tileRows, valuePanels_);
    std::fill_n(dQueries_, paddedQueries * padded_, 0.0f);
    loadStatistics(problem_, io_, b_, h_, deltas_, logSumExp_);
  }

  void addTile(const QueryTile& tile, int64_t key, int64_t count) {
    for (int panel = 0; panel < queryPanels; ++panel) {
      if (panel * tileColumns >= tile.count) break;
      fillPanel(tile, panel, key, count);
    }
    // Rows of the score tile are keys: dV and dK sum over the queries from the first that sees the row group.
    for (int64_t row = 0; row < count; row += tileRows) {
      const int64_t first = problem_.causal ? std::max<int64_t>(0, key + row - problem_.offset - tile.begin) : 0;
      if (first >= tile.count) break;
      const int64_t depth = tile.count - first, from = row * tileSize + first, query = (tile.begin + first) * padded_;
      addProduct<tileSize, 1>(depth, probabilities_ + from, outRows_ + query, padded_, dValues_ + row * padded_);
      addProduct<tileSize, 1>(depth, scoreGradients_ + from, queryRows_ + query, padded_, dKeys_ + row * padded_);
    }
    for (int group = 0; group < keyPanels; ++group) {
      const int64_t query = group * tileRows;
      if (query >= tile.count) break;
      const int64_t depth = tile.rowKeys(group, key, count);
      addProduct<1, tileSize>(depth, scoreGradients_ + query, keyRows_ + key * padded_, padded_,
                              dQueries_ + (tile.begin + query) * padded_);
    }
  }

  // P∘(mask) and dS of one panel of queries against a tile of keys.
  void fillPanel(const QueryTile& tile, int panel, int64_t key, int64_t count) {
    const int64_t rows = roundUp(tile.panelKeys(panel, key, count), tileRows);
    const int lane = panel * tileColumns;
    // Row groups reach past a panel by less than tileRows keys: those rows are read, and must be zero.
    for (int64_t r = rows; r < std::min<int64_t>(rows + tileRows, tileSize); ++r)
      std::fill_n(scoreGradients_ + r * tileSize + lane, tileColumns, 0.0f);
    for (int row = 0; row < rows; row += tileRows) {
      ahead_.fetch();
      if (tile.allVisible(panel, key + row, tileRows))
        probabilityRows<false>(tile, panel, key, row);
      else
        probabilityRows<true>(tile, panel, key, row);
    }
    if (problem_.dropout.threshold != 0) {
      for (int j = 0; j < tileVectors; ++j)
        for (int64_t r = 0; r < rows; r += 8)
          drawMasks(problem_, b_, h_, tile.begin + lane + j * lanes, key + r, [&](int i, IntVector kept) {
            float* p = probabilities_ + (r + i) * tileSize + lane + j * lanes;
            store(p, kept ? load(p) : -load(p));  // the sign tells the next step what is dropped
          });
    }
    for (int row = 0; row < rows; row += tileRows) {
      if (problem_.dropout.threshold != 0)
        gradientRows<true>(tile, panel, key, row);
      else
        gradientRows<false>(tile, panel, key, row);
    }
  }

  ALWAYS_INLINE void product(const float* keyPanel, const float* queryPanel, Vector (&sums)[tileRows][tileVectors]) const {
#pragma GCC unroll 32
    for (int i = 0; i < tileRows; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < tileVectors; ++j) sums[i][j] = Vector{};
    multiplyTile<tileRows, tileVectors, 1, tileRows>(sums, problem_.width, keyPanel, queryPanel, tileColumns);
  }

  template <bool masked>
  void probabilityRows(const QueryTile& tile, int panel, int64_t key, int row) {
    const int lane = panel * tileColumns;
    Vector sums[tileRows][tileVectors];
    product(keyPanels_ + (key + row) * problem_.width, queryPanels_ + (tile.begin + lane) * problem_.width, sums);
    float* to = probabilities_ + row * tileSize + lane;
#pragma GCC unroll 32
    for (int i = 0; i < tileRows; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < tileVectors; ++j) store(to + i * tileSize + j * lanes, sums[i][j]);
    for (int j = 0; j < tileVectors; ++j) {
      const Vector base = load(logSumExp_ + tile.begin + lane + j * lanes);
      for (int i = 0; i < tileRows; ++i) {
        float* at = to + i * tileSize + j * lanes;
        const Vector p = exp2Vector(load(at) - base);
        store(at, masked ? (tile.visible(lane + j * lanes, key + row + i) ? p : Vector{}) : p);
      }
    }
  }

  template <bool dropped>
  void gradientRows(const QueryTile& tile, int panel, int64_t key, int row) {
    const int lane = panel * tileColumns;
    Vector sums[tileRows][tileVectors];
    product(valuePanels_ + (key + row) * problem_.width, outPanels_ + (tile.begin + lane) * problem_.width, sums);
    float* from = probabilities_ + row * tileSize + lane;
    float* to = scoreGradients_ + row * tileSize + lane;
    const Vector factor = broadcast(problem_.dropout.scale);
    Vector deltas[tileVectors];
#pragma GCC unroll 8
    for (int j = 0; j < tileVectors; ++j) deltas[j] = load(deltas_ + tile.begin + lane + j * lanes);
#pragma GCC unroll 32
    for (int i = 0; i < tileRows; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < tileVectors; ++j) {
        float* at = from + i * tileSize + j * lanes;
        const Vector p = load(at);
        if (dropped) {
          const IntVector gone = reinterpret_cast<IntVector>(p < 0.0f);
          const Vector kept = gone ? Vector{} : p;
          store(at, kept);
          const Vector dp = gone ? Vector{} : sums[i][j] * factor;
          store(to + i * tileSize + j * lanes, (gone ? -p : p) * (dp - deltas[j]));
        } else {
          store(to + i * tileSize + j * lanes, p * (sums[i][j] - deltas[j]));
        }
      }
  }
};

// Heads are independent, so each sum has one owner: no atomics, the same bits for every thread count.
template <class Head, class T>
inline void attentionBackward(const Context* context, const Attention& problem, const AttentionGradients<T>& io) {
  parallelTasks(context, problem.batch * problem.heads, [&](int64_t head) {
    float* workspace = reserveWorkspace(Head::workspaceSize(problem));
    RowsAhead ahead;
    const int64_t next = head + context->threads, b = next / problem.heads, h = next % problem.heads;
    if (b < problem.batch) {
      for (const T* from : {io.k, io.v}) ahead.add(from + problem.keyAt(b, h, 0), problem.key.row, problem.keys, problem.width);
      ahead.add(io.q + problem.queryAt(b, h, 0), problem.query.row, problem.queries, problem.width);
      for (const T* from : {io.out, io.dOut})
        ahead.add(from + problem.outputAt(b, h, 0), problem.output().row, problem.queries, problem.width);
    }
    Head(problem, io, head / problem.heads, head % problem.heads, ahead, workspace).run();
  });
}

}  // namespace attention
