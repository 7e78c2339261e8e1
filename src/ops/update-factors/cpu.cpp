#include <algorithm>
#include <cmath>
#include <limits>
#include "context.h"

extern "C" void update_factors(const Context*, const float* squares, const float* loss, const float* rates, float* factors,
                               float* norm, int64_t parts, int64_t sticky) {
  double sum = 0;
  for (int64_t i = 0; i < parts; ++i) sum += squares[i];
  const double scale = rates[0], bound = rates[1], length = std::sqrt(sum) / scale;
  const double clip = bound > 0 ? std::min(1.0, bound / (length + 1e-6)) : 1.0;
  const bool stays = !std::isfinite(length) || !std::isfinite(loss[0]) || (sticky && std::isnan(factors[0]));
  norm[0] = static_cast<float>(length);
  factors[0] = stays ? std::numeric_limits<float>::quiet_NaN() : static_cast<float>(clip / scale);
  std::copy_n(rates + 2, 3, factors + 1);
}
