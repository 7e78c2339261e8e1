// Philox4x32-10 and dropout by the global counter: the bits of ops/native/philox.h.
#pragma once
#include "elements.cuh"

// A whole number, or where one lies: captured work reads it anew each time it runs.
struct Counter {
  Index number;
  const Index* place;

  __device__ __forceinline__ Index value() const { return place ? *place : number; }
};

struct Philox {
  unsigned word[4];
};

// All 64 bits of a product, as one instruction: of the two halves asked for one by one nvcc makes two.
struct Product {
  unsigned low, high;
};
__device__ __forceinline__ Product multiplied(unsigned a, unsigned b) {
  const unsigned long long product = static_cast<unsigned long long>(a) * b;
  return {static_cast<unsigned>(product), static_cast<unsigned>(product >> 32)};
}

__device__ __forceinline__ Philox philox(unsigned c0, unsigned c1, unsigned c2, unsigned c3, unsigned k0, unsigned k1) {
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const Product right = multiplied(0xCD9E8D57u, c2), left = multiplied(0xD2511F53u, c0);
    c0 = right.high ^ c1 ^ k0;
    c2 = left.high ^ c3 ^ k1;
    c1 = right.low;
    c3 = left.low;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// An element is dropped when its 16 bits are below the threshold; what stays is multiplied by the scale.
struct Dropout {
  unsigned threshold;
  float scale;
  unsigned seed, site;
};
__device__ __forceinline__ Dropout dropoutOf(float probability, unsigned seed, unsigned site) {
  const unsigned threshold = static_cast<unsigned>(probability * 65536.0f + 0.5f);
  return {threshold, 65536.0f / (65536.0f - static_cast<float>(threshold)), seed, site};
}

// The bits of the elements [8·block, 8·block + 8) of a sample: element e's are half e % 2 of word e / 2.
__device__ __forceinline__ Philox drawsOf(const Dropout& rule, unsigned long long sample, unsigned long long block) {
  return philox(static_cast<unsigned>(block), static_cast<unsigned>(block >> 32), static_cast<unsigned>(sample),
                static_cast<unsigned>(sample >> 32), rule.seed, rule.site);
}

// What dropout multiplies element e of the block by.
__device__ __forceinline__ bool kept(const Dropout& rule, const Philox& draws, int e) {
  const unsigned word = draws.word[e / 2];
  return (e % 2 ? word >> 16 : word & 0xffffu) >= rule.threshold;
}
