// Initial weights, once in a run: float64 all the way, so that they are the CPU's but for the last bit of its logarithm.
#include "random.cuh"

extern "C" __global__ void random_normal(float* x, Index rows, Index width, Index globalWidth, Index firstRow, Index firstColumn,
                                         float deviation, unsigned seed, unsigned stream) {
  forEach(rows * width, false, [&](auto, Index i) {
    const Index element = (firstRow + i / width) * globalWidth + firstColumn + i % width;
    const unsigned long long block = static_cast<unsigned long long>(element) / 4;
    const Philox draws = philox(static_cast<unsigned>(block), static_cast<unsigned>(block >> 32), 0, 0, seed, stream);
    const int place = static_cast<int>(element % 4);
    const unsigned length = place < 2 ? draws.word[0] : draws.word[2], turn = place < 2 ? draws.word[1] : draws.word[3];
    const double radius = sqrt(-2.0 * log((length + 0.5) / 4294967296.0));
    double sine, cosine;
    sincospi((turn + 0.5) / 2147483648.0, &sine, &cosine);
    x[i] = static_cast<float>(static_cast<double>(deviation) * radius * (place % 2 ? sine : cosine));
  });
}
