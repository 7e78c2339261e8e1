#include "dropout.h"
#include "parallel.h"

// Elements of a sample are cut into pieces at multiples of eight, so that a piece owns whole blocks of random bits.
constexpr int64_t pieceSize = 8 * dropoutLanes * 8;

// body(sample row, first element, bits, count) over all samples, in parallel.
template <class Body>
static void forAllBits(const Context* context, int64_t samples, int64_t elements, RandomSite key, int64_t firstSample,
                       const Body& body) {
  const int64_t pieces = (elements + pieceSize - 1) / pieceSize;
  parallelFor(context, samples * pieces, 4, [&](int64_t begin, int64_t end, int) {
    for (int64_t piece = begin; piece < end; ++piece) {
      const int64_t row = piece / pieces, first = piece % pieces * pieceSize;
      forDropoutBits(key, static_cast<uint64_t>(firstSample + row), first, std::min(elements, first + pieceSize),
                     [&](int64_t at, const uint16_t* bits, int64_t count) { body(row, at, bits, count); });
    }
  });
}

extern "C" void dropout_apply(const Context* context, const float* x, float* y, int64_t samples, int64_t elements,
                              float probability, uint32_t seed, uint32_t site, int64_t firstSample, int64_t accumulate) {
  const DropoutRule rule = dropoutRule(probability);
  const float scale = rule.scale;
  const int32_t threshold = static_cast<int32_t>(rule.threshold);
  forAllBits(context, samples, elements, {seed, site}, firstSample,
             [&](int64_t row, int64_t at, const uint16_t* bits, int64_t count) {
               const float* in = x + row * elements + at;
               float* out = y + row * elements + at;
               if (accumulate) {
                 for (int64_t i = 0; i < count; ++i) out[i] += static_cast<int32_t>(bits[i]) < threshold ? 0.0f : in[i] * scale;
               } else {
                 for (int64_t i = 0; i < count; ++i) out[i] = static_cast<int32_t>(bits[i]) < threshold ? 0.0f : in[i] * scale;
               }
             });
}

extern "C" void bias_dropout_add_forward(const Context* context, const float* x, const float* bias, const float* residual,
                                         float* y, int64_t samples, int64_t elements, int64_t width, float probability,
                                         uint32_t seed, uint32_t site, int64_t firstSample) {
  const DropoutRule rule = dropoutRule(probability);
  const float scale = rule.scale;
  const int32_t threshold = static_cast<int32_t>(rule.threshold);
  if (threshold == 0) {
    parallelFor(context, samples * elements / width, 1 + 32768 / (width + 1), [&](int64_t begin, int64_t end, int) {
      for (int64_t line = begin; line < end; ++line) {
        const float* in = x + line * width;
        const float* kept = residual + line * width;
        float* __restrict out = y + line * width;
        if (bias) {
          for (int64_t i = 0; i < width; ++i) out[i] = kept[i] + in[i] + bias[i];
        } else {
          for (int64_t i = 0; i < width; ++i) out[i] = kept[i] + in[i];
        }
      }
    });
    return;
  }
  forAllBits(context, samples, elements, {seed, site}, firstSample,
             [&](int64_t row, int64_t at, const uint16_t* bits, int64_t count) {
               const float* in = x + row * elements + at;
               const float* kept = residual + row * elements + at;
               float* out = y + row * elements + at;
               for (int64_t done = 0; done < count;) {  // runs that stay inside one row of the bias
                 const int64_t column = (at + done) % width, run = std::min(count - done, width - column);
                 const uint16_t* __restrict drop = bits + done;
                 float* __restrict target = out + done;
                 for (int64_t i = 0; i < run; ++i) {
                   const float value = in[done + i] + (bias ? bias[column + i] : 0.0f);
                   target[i] = kept[done + i] + (static_cast<int32_t>(drop[i]) < threshold ? 0.0f : value * scale);
                 }
                 done += run;
               }
             });
}
