// Dropout by the global counter: one Philox call for eight neighbours, some 60 instructions, hides behind their 16-byte accesses.
// With residual and result that is 48 bytes in bf16; at 21 bytes a clock for each multiprocessor of an H200 memory takes 2.3 clocks
// for it, the 128 lanes of a multiprocessor about 1. 70 registers leave room for 3 blocks, with 8 KB of loads each under way.
#include "random.cuh"

// body(Lanes, first element, its index in the sample, the factor of each) over samples [samples, elements]: whole blocks of
// eight where rows allow, else one by one, each with its own Philox call.
template <class Body>
__device__ __forceinline__ void forEachDraw(const Dropout& rule, Index samples, Index elements, Index firstSample, bool packed,
                                            const Body& body) {
  forEach(samples * elements, packed && elements % 8 == 0, [&](auto lanes, Index i) {
    constexpr int n = decltype(lanes)::count;
    const Quotient at = divide(i, elements);
    Floats<n> factor;
    if (rule.threshold == 0) {
#pragma unroll
      for (int e = 0; e < n; ++e) factor.at[e] = 1.0f;
    } else {
      const Philox draws = drawsOf(rule, firstSample + at.quotient, at.remainder / 8);
      if constexpr (n == 8) {
#pragma unroll
        for (int e = 0; e < n; ++e) factor.at[e] = kept(rule, draws, e) ? rule.scale : 0.0f;
      } else {
        const int place = static_cast<int>(at.remainder % 8);
        const unsigned low = place & 2 ? draws.word[1] : draws.word[0], high = place & 2 ? draws.word[3] : draws.word[2];
        const unsigned word = place & 4 ? high : low, bits = place & 1 ? word >> 16 : word & 0xffffu;
        factor.at[0] = bits >= rule.threshold ? rule.scale : 0.0f;
      }
    }
    body(lanes, i, at.remainder, factor);
  });
}

extern "C" __global__ void dropout_apply(const Value* x, Value* y, Index samples, Index elements, float probability,
                                         unsigned seed, unsigned site, Counter firstSample, Index accumulate) {
  const Dropout rule = dropoutOf(probability, seed, site);
  forEachDraw(rule, samples, elements, firstSample.value(), aligned(x, y), [&](auto lanes, Index i, Index, const auto& factor) {
    constexpr int n = decltype(lanes)::count;
    const Floats<n> in = load<n>(x + i);
    Floats<n> out = {};
    if (accumulate) out = load<n>(y + i);
#pragma unroll
    for (int e = 0; e < n; ++e) out.at[e] += factor.at[e] == 0.0f ? 0.0f : in.at[e] * factor.at[e];  // a dropped NaN is gone too
    store<n>(y + i, out);
  });
}

extern "C" __global__ void bias_dropout_add_forward(const Value* x, const float* bias, const Value* residual, Value* y,
                                                    Index samples, Index elements, Index width, float probability,
                                                    unsigned seed, unsigned site, Counter firstSample) {
  const Dropout rule = dropoutOf(probability, seed, site);
  const bool packed = width % 8 == 0 && aligned(x, bias, residual, y);
  forEachDraw(rule, samples, elements, firstSample.value(), packed, [&](auto lanes, Index i, Index inSample, const auto& factor) {
    constexpr int n = decltype(lanes)::count;
    const Floats<n> in = load<n>(x + i);
    Floats<n> out = load<n>(residual + i), shift = {};
    if (bias) shift = load<n>(bias + divide(inSample, width).remainder);
#pragma unroll
    for (int e = 0; e < n; ++e) out.at[e] += factor.at[e] == 0.0f ? 0.0f : (in.at[e] + shift.at[e]) * factor.at[e];
    store<n>(y + i, out);
  });
}
