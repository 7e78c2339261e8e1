// CUDA for tests, in plain C++: g++ compiles the kernels' own `.cu` files behind this header and runs them on the CPU. One fiber
// for each thread of a block, blocks one after another, warps of 32 that meet in shuffles. What CUDA leaves undefined is made
// visible: dynamic shared memory holds NaN at first, asynchronous copies land as late as the waits allow, threads take turns in
// falling order in every other block, and a barrier that some threads never reach is an error. Products of warpgroups: warpgroup.h.
#pragma once
#define CUDA_EMULATED 1
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <tuple>
#include <utility>
#include <vector>
#include "../../../src/ops/native/elements.h"

#define __global__ __attribute__((visibility("default"), used))
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static
#define __align__(bytes) __attribute__((aligned(bytes)))

struct uint3 {
  unsigned x, y, z;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};

namespace emulator {

constexpr int warpSize = 32, slotBytes = 64;
constexpr size_t stackBytes = 256 << 10;

enum class State { ready, atWarp, atGroup, atBlock, done };  // atGroup: of four warps

struct Copy {
  void* to;
  const void* from;
  unsigned bytes, filled;  // the rest of `bytes` becomes zeros
  int group;
};

struct Fiber {
  jmp_buf registers;
  ucontext_t start;
  void* stack = nullptr;
  State state = State::ready;
  uint3 thread{};
  unsigned index = 0, turn = 0;
  std::vector<Copy> copies;
  int group = 0;  // of the asynchronous copies to come
  std::vector<Copy> written;  // that products of warpgroups do not see yet
};

// What a lane shows its warp; two sets, since a lane may come to its next shuffle while others still read of this one.
struct Warp {
  alignas(16) unsigned char slots[2][warpSize][slotBytes];
};

inline jmp_buf scheduler;
inline std::vector<Fiber> fibers;
inline std::vector<Warp> warps;
inline Fiber* current;
inline unsigned threads;
inline uint3 block, blockSize, gridSize;
inline std::vector<uint4> shared;
inline void (*body)(void**);
inline void** parameters;

__attribute__((noinline)) inline void wait(State state) {
  current->state = state;
  if (_setjmp(current->registers) == 0) _longjmp(scheduler, 1);
}

inline void fiberMain() {
  while (true) {
    body(parameters);
    wait(State::done);
  }
}

__attribute__((noinline)) inline void resume(Fiber& fiber) {
  if (_setjmp(scheduler) != 0) return;
  current = &fiber;
  if (fiber.stack) _longjmp(fiber.registers, 1);
  fiber.stack = mmap(nullptr, stackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  getcontext(&fiber.start);
  fiber.start.uc_stack.ss_sp = fiber.stack;
  fiber.start.uc_stack.ss_size = stackBytes;
  makecontext(&fiber.start, fiberMain, 0);
  setcontext(&fiber.start);
}

// Lets those of fibers [begin, end) go on that all wait in `state`; false where others have not come (those that ended count
// as there).
inline bool release(unsigned begin, unsigned end, State state) {
  bool any = false;
  for (unsigned i = begin; i < end; ++i) {
    if (fibers[i].state == State::done) continue;
    if (fibers[i].state != state) return false;
    any = true;
  }
  for (unsigned i = begin; i < end; ++i)
    if (fibers[i].state == state) fibers[i].state = State::ready;
  return any;
}

void resetWarpgroups();

// Runs one block to its end; false where its threads wait for each other for ever.
inline bool runBlock(bool falling) {
  for (Fiber& fiber : fibers) {
    fiber.state = State::ready;
    fiber.turn = 0;
    fiber.group = 0;
    fiber.copies.clear();
    fiber.written.clear();
  }
  resetWarpgroups();
  memset(static_cast<void*>(shared.data()), 0xff, shared.size() * sizeof(uint4));
  while (true) {
    for (unsigned i = 0; i < threads; ++i) {
      Fiber& fiber = fibers[falling ? threads - 1 - i : i];
      if (fiber.state == State::ready) resume(fiber);
    }
    bool moved = release(0, threads, State::atBlock), alive = false;
    for (unsigned first = 0; first < threads; first += warpSize)
      moved |= release(first, first + warpSize < threads ? first + warpSize : threads, State::atWarp);
    for (unsigned first = 0; first < threads; first += 4 * warpSize)
      moved |= release(first, first + 4 * warpSize < threads ? first + 4 * warpSize : threads, State::atGroup);
    for (const Fiber& fiber : fibers) alive |= fiber.state != State::done;
    if (!alive) return true;
    if (!moved) return false;
  }
}

inline void makeFibers(unsigned count) {
  for (unsigned i = count; i < fibers.size(); ++i)
    if (fibers[i].stack) munmap(fibers[i].stack, stackBytes);
  fibers.resize(count);
  warps.resize((count + warpSize - 1) / warpSize);
  for (unsigned i = 0; i < count; ++i) {
    fibers[i].index = i;
    fibers[i].thread = {i % blockSize.x, i / blockSize.x % blockSize.y, i / blockSize.x / blockSize.y};
  }
}

// What `source` lanes show, to each lane of the warp; all lanes must call it.
template <class T>
T* meet(const T& value) {
  static_assert(sizeof(T) <= slotBytes, "a slot is too small");
  auto& slots = warps[current->index / warpSize].slots[current->turn++ % 2];
  memcpy(slots[current->index % warpSize], &value, sizeof(T));
  wait(State::atWarp);
  return reinterpret_cast<T*>(slots);  // of lane l: at byte l · slotBytes
}

template <class T>
T shown(const T* slots, int lane) {
  T value;
  memcpy(&value, reinterpret_cast<const unsigned char*>(slots) + lane * slotBytes, sizeof(T));
  return value;
}

inline int lane() { return static_cast<int>(current->index % warpSize); }
inline int lanes() {  // of this warp
  const int left = static_cast<int>(threads - current->index / warpSize * warpSize);
  return left < warpSize ? left : warpSize;
}

template <class T>
T fromLane(const T& value, int source) {
  const T* slots = meet(value);
  return source >= 0 && source < lanes() ? shown(slots, source) : value;
}

template <class... A, size_t... I>
void call(void (*kernel)(A...), void** values, std::index_sequence<I...>) {
  kernel(*static_cast<std::remove_reference_t<A>*>(values[I])...);
}

template <class... A>
void invoke(void (*kernel)(A...), void** values) {
  call(kernel, values, std::index_sequence_for<A...>());
}

template <class... A>
std::vector<int> sizesOf(void (*)(A...)) {
  return {static_cast<int>(sizeof(A))...};
}

// 0 when all blocks ran to their end.
inline int launch(void (*kernel)(void**), void** values, uint3 grid, uint3 size, unsigned sharedBytes) {
  body = kernel;
  parameters = values;
  gridSize = grid;
  const unsigned count = size.x * size.y * size.z;
  const bool same = count == threads && size.x == blockSize.x && size.y == blockSize.y;
  blockSize = size;
  threads = count;
  if (!same) makeFibers(count);
  shared.resize((sharedBytes + sizeof(uint4) - 1) / sizeof(uint4));
  bool falling = false;
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) {
        block = {x, y, z};
        if (!runBlock(falling)) {
          fprintf(stderr, "threads of block (%u, %u, %u) wait at different barriers\n", x, y, z);
          return 1;
        }
        falling = !falling;
      }
  return 0;
}

}  // namespace emulator

#include "warpgroup.h"

#define threadIdx (emulator::current->thread)
#define blockIdx (emulator::block)
#define blockDim (emulator::blockSize)
#define gridDim (emulator::gridSize)

inline void __syncthreads() { emulator::wait(emulator::State::atBlock); }
inline void __syncwarp() { emulator::wait(emulator::State::atWarp); }

template <class T>
T __shfl_sync(unsigned, T value, int source) {
  return emulator::fromLane(value, source % 32);
}
template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  return emulator::fromLane(value, emulator::lane() ^ mask);
}
template <class T>
T __shfl_down_sync(unsigned, T value, int delta) {
  return emulator::fromLane(value, emulator::lane() + delta);
}
inline unsigned __ballot_sync(unsigned, bool flag) {
  const int value = flag ? 1 : 0;
  const int* slots = emulator::meet(value);
  unsigned bits = 0;
  for (int i = 0; i < emulator::lanes(); ++i) bits |= static_cast<unsigned>(emulator::shown(slots, i)) << i;
  return bits;
}

inline bool __any_sync(unsigned mask, bool flag) { return __ballot_sync(mask, flag) != 0; }

// Lanes take turns, so a read and a write are one.
inline int atomicMin(int* place, int value) {
  const int before = *place;
  if (value < before) *place = value;
  return before;
}
inline unsigned sharedAddress(const void* place) {
  return emulator::sharedBase + static_cast<unsigned>(emulator::offsetOf(place));
}

inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>((static_cast<uint64_t>(a) * b) >> 32); }
inline float __uint_as_float(unsigned bits) { return floatOf(bits); }
inline unsigned __float_as_uint(float x) { return bitsOf(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline void sincospi(double x, double* sine, double* cosine) {
  *sine = std::sin(M_PI * x);
  *cosine = std::cos(M_PI * x);
}
template <class T>
T min(T a, T b) {
  return b < a ? b : a;
}
template <class T>
T max(T a, T b) {
  return a < b ? b : a;
}
