#include "dropout.h"
#include "elements.h"
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

template <class T>
static void dropoutApply(const Context* context, const T* x, T* y, int64_t samples, int64_t elements, float probability,
                         uint32_t seed, uint32_t site, int64_t firstSample, int64_t accumulate) {
  const DropoutRule rule = dropoutRule(probability);
  const float scale = rule.scale;
  const int32_t threshold = static_cast<int32_t>(rule.threshold);
  forAllBits(context, samples, elements, {seed, site}, firstSample,
             [&](int64_t row, int64_t at, const uint16_t* bits, int64_t count) {
               const T* in = x + row * elements + at;
               T* out = y + row * elements + at;
               const auto kept = [=](int64_t i) { return static_cast<int32_t>(bits[i]) < threshold ? 0.0f : in[i] * scale; };
               if (accumulate) {
                 for (int64_t i = 0; i < count; ++i) out[i] = static_cast<T>(out[i] + kept(i));
               } else {
                 for (int64_t i = 0; i < count; ++i) out[i] = static_cast<T>(kept(i));
               }
             });
}
VALUE_KERNEL(dropout_apply, dropoutApply)

template <class T>
static void biasDropoutAddForward(const Context* context, const T* x, const float* bias, const T* residual, T* y,
                                  int64_t samples, int64_t elements, int64_t width, float probability, uint32_t seed,
                                  uint32_t site, int64_t firstSample) {
  const DropoutRule rule = dropoutRule(probability);
  const float scale = rule.scale;
  const int32_t threshold = static_cast<int32_t>(rule.threshold);
  if (threshold == 0) {
    parallelFor(context, samples * elements / width, 1 + 32768 / (width + 1), [&](int64_t begin, int64_t end, int) {
      for (int64_t line = begin; line < end; ++line) {
        const T* in = x + line * width;
        const T* kept = residual + line * width;
        T* __restrict out = y + line * width;
        const auto sum = [=](int64_t i) { return static_cast<float>(kept[i]) + static_cast<float>(in[i]); };
        if (bias) {
          for (int64_t i = 0; i < width; ++i) out[i] = static_cast<T>(sum(i) + bias[i]);
        } else {
          for (int64_t i = 0; i < width; ++i) out[i] = static_cast<T>(sum(i));
        }
      }
    });
    return;
  }
  forAllBits(context, samples, elements, {seed, site}, firstSample,
             [&](int64_t row, int64_t at, const uint16_t* bits, int64_t count) {
               const T* in = x + row * elements + at;
               const T* kept = residual + row * elements + at;
               T* out = y + row * elements + at;
               for (int64_t done = 0; done < count;) {  // runs that stay inside one row of the bias
                 const int64_t column = (at + done) % width, run = std::min(count - done, width - column);
                 const uint16_t* __restrict drop = bits + done;
                 T* __restrict target = out + done;
                 for (int64_t i = 0; i < run; ++i) {
                   const float value = in[done + i] + (bias ? bias[column + i] : 0.0f);
                   target[i] =
                       static_cast<T>(kept[done + i] + (static_cast<int32_t>(drop[i]) < threshold ? 0.0f : value * scale));
                 }
                 done += run;
               }
             });
}
VALUE_KERNEL(bias_dropout_add_forward, biasDropoutAddForward)
