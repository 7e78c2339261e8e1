// A dozen numbers in one thread, so that the host need not wait for the norm of the gradient.
#include "elements.cuh"

extern "C" __global__ void update_factors(const float* squares, const float* loss, const float* rates, float* factors,
                                          float* norm, Index parts, Index sticky) {
  double sum = 0;
  for (Index i = 0; i < parts; ++i) sum += squares[i];
  const double scale = rates[0], bound = rates[1], length = sqrt(sum) / scale;
  const double limit = bound / (length + 1e-6), clip = bound > 0 && limit < 1.0 ? limit : 1.0;
  const float notANumber = __uint_as_float(0x7fc00000u), before = factors[0];
  const bool finite = length - length == 0.0 && loss[0] - loss[0] == 0.0f;  // ∞ − ∞ and NaN are no zeros
  norm[0] = static_cast<float>(length);
  factors[0] = !finite || (sticky && before != before) ? notANumber : static_cast<float>(clip / scale);
  for (int i = 1; i < 4; ++i) factors[i] = rates[i + 1];
}
