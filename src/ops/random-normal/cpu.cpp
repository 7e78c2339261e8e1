#include <cmath>
#include "parallel.h"
#include "philox.h"

extern "C" void random_normal(const Context* context, float* x, int64_t rows, int64_t width, int64_t globalWidth,
                              int64_t firstRow, int64_t firstColumn, float deviation, uint32_t seed, uint32_t stream) {
  parallelFor(context, rows * width, 4096, [&](int64_t begin, int64_t end, int) {
    double normals[4] = {};
    int64_t made = -1;
    for (int64_t index = begin; index < end; ++index) {
      const int64_t element = (firstRow + index / width) * globalWidth + firstColumn + index % width, block = element / 4;
      if (block != made) {
        const Philox4 r = philox4x32(static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), 0, 0, seed, stream);
        const uint32_t words[4] = {r.x0, r.x1, r.x2, r.x3};
        for (int pair = 0; pair < 4; pair += 2) {
          const double radius = std::sqrt(-2.0 * std::log((words[pair] + 0.5) / 4294967296.0));
          const double angle = 2.0 * M_PI * (words[pair + 1] + 0.5) / 4294967296.0;
          normals[pair] = radius * std::cos(angle);
          normals[pair + 1] = radius * std::sin(angle);
        }
        made = block;
      }
      x[index] = static_cast<float>(static_cast<double>(deviation) * normals[element % 4]);
    }
  });
}
