// cuBLASLt's part of fake-cuda.h: three loops, column-major, sums in float32, and the epilogues that the engine uses.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <tuple>
#include "../../../src/ops/native/elements.h"
#include "fake-cuda.h"

namespace {

// Numbers of cublasLt.h and library_types.h.
enum DataType { float32 = 0, half = 2, bfloat16 = 14 };
enum DescriptorAttribute {
  transposeA = 3,
  transposeB = 4,
  epilogue = 7,
  biasPointer = 8,
  auxPointer = 11,
  auxLd = 12,
  biasType = 26,
};
enum LayoutAttribute { layoutType = 0, layoutOrder, layoutRows, layoutColumns, layoutLd, layoutBatch, layoutStride };
enum Epilogue { plain = 1, withBias = 4, geluOnly = 32, geluBias = 36, geluAux = 160, geluAuxBias = 164, geluSlope = 192, sumsOfB = 512 };
constexpr int ok = 0, invalid = 7, unsupported = 15;

struct Descriptor {
  int transposeA = 0, transposeB = 0, epilogue = plain, biasType = -1;
  void* bias = nullptr;
  void* aux = nullptr;
  int64_t auxLd = 0;
};
struct Layout {
  int type, order = 0;
  uint64_t rows, columns;
  int64_t ld;
  int batch = 1;
  int64_t stride = 0;
};
struct Heuristic {  // cublasLtMatmulHeuristicResult_t
  uint64_t algorithm[8];
  size_t workspace;
  int state;
  float waves;
  int reserved[4];
};
static_assert(sizeof(Heuristic) == 96, "the size NVIDIA's header gives");

float read(int type, const void* from, int64_t i) {
  if (type == float32) return static_cast<const float*>(from)[i];
  return type == half ? float(static_cast<const F16*>(from)[i]) : float(static_cast<const Bf16*>(from)[i]);
}
void write(int type, void* to, int64_t i, float x) {
  if (type == float32) static_cast<float*>(to)[i] = x;
  if (type == half) static_cast<F16*>(to)[i] = F16(x);
  if (type == bfloat16) static_cast<Bf16*>(to)[i] = Bf16(x);
}
bool known(const Layout& layout) {
  return layout.order == 0 && (layout.type == float32 || layout.type == half || layout.type == bfloat16);
}

// The tanh form, which is cuBLASLt's.
float geluArgument(float x) { return 0.79788456080286536f * (x + 0.044715f * x * x * x); }
float geluOf(float x) { return 0.5f * x * (1.0f + std::tanh(geluArgument(x))); }
float slopeOf(float x) {
  const float t = std::tanh(geluArgument(x));
  return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * 0.79788456080286536f * (1.0f + 0.134145f * x * x);
}

bool has(int epilogue, int kind) { return (epilogue & kind) == kind; }
constexpr int auxiliary = 128;

// What NVIDIA's header asks of an epilogue, and what CUDA_EMULATED_EPILOGUES=0 refuses: then there are no algorithms for any.
int checkEpilogue(const Descriptor& rule, const Layout& d) {
  if (rule.epilogue == plain) return ok;
  const char* wanted = getenv("CUDA_EMULATED_EPILOGUES");
  if (wanted && wanted[0] == '0') return unsupported;
  if (has(rule.epilogue, withBias) && (!rule.bias || (rule.biasType >= 0 && rule.biasType != d.type))) return unsupported;
  if (rule.epilogue == sumsOfB && !rule.bias) return unsupported;
  if (has(rule.epilogue, auxiliary) && (!rule.aux || rule.auxLd % 8 != 0 || rule.auxLd < static_cast<int64_t>(d.rows)))
    return unsupported;
  return ok;
}

struct Product {
  Descriptor rule;
  Layout a, b, c, d;
  const void *aData, *bData, *cData;
  void* dData;
  float alpha, beta;

  void run() const {
    for (int batch = 0; batch < d.batch; ++batch)
      for (int64_t j = 0; j < static_cast<int64_t>(d.columns); ++j)
        for (int64_t i = 0; i < static_cast<int64_t>(d.rows); ++i) one(batch, i, j);
    if (rule.epilogue == sumsOfB)
      for (int64_t j = 0; j < static_cast<int64_t>(d.columns); ++j) {
        float sum = 0;
        for (int64_t p = 0; p < depth(); ++p) sum += read(b.type, bData, rule.transposeB ? p * b.ld + j : j * b.ld + p);
        write(d.type, rule.bias, j, sum);
      }
  }

  int64_t depth() const { return static_cast<int64_t>(rule.transposeA ? a.rows : a.columns); }

  void one(int64_t batch, int64_t i, int64_t j) const {
    float sum = 0;
    for (int64_t p = 0; p < depth(); ++p)
      sum += read(a.type, aData, batch * a.stride + (rule.transposeA ? i * a.ld + p : p * a.ld + i)) *
             read(b.type, bData, batch * b.stride + (rule.transposeB ? p * b.ld + j : j * b.ld + p));
    float x = alpha * sum;
    if (beta != 0.0f) x += beta * read(c.type, cData, batch * c.stride + j * c.ld + i);
    const int kind = rule.epilogue;
    if (kind == withBias || kind == geluBias || kind == geluAuxBias)
      x += read(rule.biasType < 0 ? d.type : rule.biasType, rule.bias, i);
    if (kind == geluAux || kind == geluAuxBias) write(d.type, rule.aux, j * rule.auxLd + i, x);
    if (kind == geluOnly || kind == geluBias || kind == geluAux || kind == geluAuxBias) x = geluOf(x);
    if (kind == geluSlope) x *= slopeOf(read(d.type, rule.aux, j * rule.auxLd + i));
    write(d.type, dData, batch * d.stride + j * d.ld + i, x);
  }
};

template <class T>
void take(T& to, const void* from) {
  memcpy(&to, from, sizeof(T));
}

}  // namespace

OFFERED size_t cublasLtGetVersion() { return 120800; }
OFFERED const char* cublasLtGetStatusString(int status) {
  return status == ok ? "CUBLAS_STATUS_SUCCESS" : status == invalid ? "CUBLAS_STATUS_INVALID_VALUE" : "CUBLAS_STATUS_NOT_SUPPORTED";
}
OFFERED const char* cublasLtGetStatusName(int status) { return cublasLtGetStatusString(status); }
OFFERED int cublasLtCreate(void** out) { return *out = new int, ok; }
OFFERED int cublasLtDestroy(void* handle) { return delete static_cast<int*>(handle), ok; }

OFFERED int cublasLtMatmulDescCreate(void** out, int, int) { return *out = new Descriptor, ok; }
OFFERED int cublasLtMatmulDescDestroy(void* rule) { return delete static_cast<Descriptor*>(rule), ok; }
OFFERED int cublasLtMatmulDescSetAttribute(void* handle, int attribute, const void* value, size_t size) {
  Descriptor& rule = *static_cast<Descriptor*>(handle);
  const bool isWide = attribute == biasPointer || attribute == auxPointer || attribute == auxLd;
  if (size != (isWide ? 8 : 4)) return invalid;
  switch (attribute) {
    case transposeA: take(rule.transposeA, value); break;
    case transposeB: take(rule.transposeB, value); break;
    case epilogue: take(rule.epilogue, value); break;
    case biasPointer: take(rule.bias, value); break;
    case auxPointer: take(rule.aux, value); break;
    case auxLd: take(rule.auxLd, value); break;
    case biasType: take(rule.biasType, value); break;
    default: break;
  }
  return ok;
}

OFFERED int cublasLtMatrixLayoutCreate(void** out, int type, uint64_t rows, uint64_t columns, int64_t ld) {
  return *out = new Layout{type, 0, rows, columns, ld, 1, 0}, ok;
}
OFFERED int cublasLtMatrixLayoutDestroy(void* layout) { return delete static_cast<Layout*>(layout), ok; }
OFFERED int cublasLtMatrixLayoutSetAttribute(void* handle, int attribute, const void* value, size_t) {
  Layout& layout = *static_cast<Layout*>(handle);
  switch (attribute) {
    case layoutType: take(layout.type, value); break;
    case layoutOrder: take(layout.order, value); break;
    case layoutRows: take(layout.rows, value); break;
    case layoutColumns: take(layout.columns, value); break;
    case layoutLd: take(layout.ld, value); break;
    case layoutBatch: take(layout.batch, value); break;
    case layoutStride: take(layout.stride, value); break;
    default: return invalid;
  }
  return ok;
}

OFFERED int cublasLtMatmulPreferenceCreate(void** out) { return *out = new int, ok; }
OFFERED int cublasLtMatmulPreferenceDestroy(void* preference) { return delete static_cast<int*>(preference), ok; }
OFFERED int cublasLtMatmulPreferenceSetAttribute(void*, int, const void*, size_t) { return ok; }

OFFERED int cublasLtMatmulAlgoGetHeuristic(void*, void* rule, void*, void*, void*, void* dLayout, void*, int wanted,
                                           Heuristic* results, int* count) {
  if (wanted < 1) return invalid;
  if (checkEpilogue(*static_cast<Descriptor*>(rule), *static_cast<Layout*>(dLayout)) != ok) return unsupported;
  *count = wanted < 3 ? wanted : 3;
  for (int i = 0; i < *count; ++i) {
    results[i] = {};
    results[i].algorithm[0] = i + 1;
    results[i].waves = 1.0f;
  }
  if (*count > 1) results[1].state = unsupported;
  return ok;
}

OFFERED int cublasLtMatmul(void*, void* rule, const void* alpha, const void* a, void* aLayout, const void* b, void* bLayout,
                           const void* beta, const void* c, void* cLayout, void* d, void* dLayout, const void* algorithm, void*,
                           size_t, void* stream) {
  // the first algorithm is refused where CUDA_EMULATED_REFUSES is set: heuristics do not promise that all run
  const uint64_t chosen = *static_cast<const uint64_t*>(algorithm);
  if (chosen < 1 || chosen == 2 || chosen > 3) return invalid;
  if (chosen == 1 && getenv("CUDA_EMULATED_REFUSES")) return unsupported;
  const Product product{*static_cast<Descriptor*>(rule), *static_cast<Layout*>(aLayout), *static_cast<Layout*>(bLayout),
                        *static_cast<Layout*>(cLayout),  *static_cast<Layout*>(dLayout), a, b, c, d,
                        *static_cast<const float*>(alpha), *static_cast<const float*>(beta)};
  const auto& [r, la, lb, lc, ld] = std::tie(product.rule, product.a, product.b, product.c, product.d);
  if (!known(la) || !known(lb) || !known(lc) || !known(ld)) return unsupported;
  const uint64_t m = r.transposeA ? la.columns : la.rows, k = r.transposeA ? la.rows : la.columns;
  const uint64_t n = r.transposeB ? lb.rows : lb.columns, kOfB = r.transposeB ? lb.columns : lb.rows;
  if (m != ld.rows || n != ld.columns || k != kOfB || lc.rows != m || lc.columns != n) return invalid;
  if (const int status = checkEpilogue(r, ld)) return status;
  if (la.batch != ld.batch || lb.batch != ld.batch || lc.batch != ld.batch) return invalid;
  return fake::enqueue(stream, {[product] {
    product.run();
    return fake::success;
  }, {}}) == fake::success ? ok : invalid;
}
