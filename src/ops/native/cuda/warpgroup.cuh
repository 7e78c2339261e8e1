// Products of a warpgroup through PTX's wgmma: m64nNk16 of 16-bit numbers with float32 sums, compute capability 9.0 alone (sm_90a).
// A warpgroup is four neighbouring warps of which the first's number is a multiple of four; all its 128 threads execute each of
// these together. Products are asynchronous:
//   startProducts(…)     before the first of a group: registers written so far may be read
//   multiply…            as many as wanted; those with the same sums run in order
//   commitProducts()     closes the group
//   waitForProducts<n>() all groups but the last n are done; until then nobody touches their sums nor their operands
// A lane's sums are those of tensor-cores.cuh for every 8 columns: warp w of the group has rows 16w … 16w + 15, and with
// g = lane / 4 and t = lane % 4, sums[n]: row g, columns 8n + 2t, 8n + 2t + 1, then row g + 8. An operand A in registers is A of
// tensor-cores.cuh.
//
// Operands in shared memory are read past what orders usual accesses (by the "async proxy"): whoever wrote them, cp.async that has
// been waited for included, calls showToProducts() before the barrier that tells the others.
//
// The descriptor of such an operand (PTX ISA, "Asynchronous Warpgroup Level Matrix Shared Memory Layout"; all in units of 16
// bytes):
//   bits 0–13 address, 16–29 leading offset, 32–45 stride offset, 49–51 base offset, 62–63 swizzle: 1: 128, 2: 64, 3: 32 bytes
// Lines of 128 or 64 bytes lie below each other, eight of them a pattern that starts on a multiple of its size, so that the base
// offset is 0; of an address in a line of 128 bytes bits 4–6 are xored with bits 7–9, of 64 bytes 4–5 with 7–8.
//   along k:        a line is a row of A (a column of B) and has 64 or 32 of its numbers; stride: from eight lines to the next
//                   eight; leading: not used. 16 further along k is 32 bytes more in the address.
//   across k:       (`transposed`) a line has 64 or 32 rows of A (columns of B) of one k; stride: from eight k to the next eight;
//                   leading: from one line's numbers to the next of the same k.
#pragma once
#include "tensor-cores.cuh"

#if defined(CUDA_EMULATED) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define HAS_WARPGROUPS

constexpr int warpgroupThreads = 128;

// The lower word of a descriptor, which alone differs among the tiles of a kernel; `leading` in bytes. Where the compiler sees that
// all lanes have the same one, it takes no registers and no time between products.
__device__ __forceinline__ unsigned operandAt(const void* at, unsigned leading) {
  return (sharedAddress(at) & 0x3ffff) >> 4 | leading >> 4 << 16;
}
// The descriptor: eight lines lie behind the eight before them.
template <int lineBytes>
__device__ __forceinline__ unsigned long long descriptorOf(unsigned lower) {
  static_assert(lineBytes == 128 || lineBytes == 64, "no other is used");
  constexpr unsigned upper = 8 * lineBytes >> 4 | (lineBytes == 128 ? 1u : 2u) << 30;
  return lower | static_cast<unsigned long long>(upper) << 32;
}

// The number of this thread's warpgroup in its block, in a way that shows that all lanes of a warp have the same.
__device__ __forceinline__ int ownWarpgroup() {
  return __shfl_sync(0xffffffffu, static_cast<int>(threadIdx.x / warpgroupThreads), 0);
}

#ifdef CUDA_EMULATED

inline void showToProducts() { emulator::showWritten(); }
template <class... Registers>
inline void startProducts(Registers&...) {
  emulator::startGroup();
}
inline void commitProducts() { emulator::commitGroup(); }
template <int pending, class... Registers>
inline void waitForProducts(Registers&...) {
  emulator::waitForGroups(pending);
}

template <class T>
inline float decoded(unsigned short bits) {
  return unpacked<T>(bits, 0);
}
template <class T, bool transposed, int tiles>
inline void multiplyShared(float (&sums)[tiles][4], unsigned long long a, unsigned long long b, bool keep) {
  emulator::multiplyGroup(sums[0], 8 * tiles, nullptr, {a, true}, {b, !transposed}, keep, decoded<T>);
}
template <class T, bool transposed, int tiles>
inline void multiplyRegisters(float (&sums)[tiles][4], const unsigned (&a)[4], unsigned long long b, bool keep) {
  emulator::multiplyGroup(sums[0], 8 * tiles, a, {0, true}, {b, !transposed}, keep, decoded<T>);
}

// 16 bytes of an operand by a usual store.
inline void storeOperand(void* to, const uint4& words) {
  memcpy(to, &words, 16);
  emulator::written(to, 16);
}

#else

__device__ __forceinline__ void showToProducts() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// Keeps the compiler from moving what it does to these registers across.
template <int tiles>
__device__ __forceinline__ void pin(float (&sums)[tiles][4]) {
#pragma unroll
  for (int n = 0; n < tiles; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e) asm volatile("" : "+f"(sums[n][e])::"memory");
}
template <int steps>
__device__ __forceinline__ void pin(unsigned (&operand)[steps][4]) {
#pragma unroll
  for (int k = 0; k < steps; ++k)
#pragma unroll
    for (int e = 0; e < 4; ++e) asm volatile("" : "+r"(operand[k][e])::"memory");
}

template <class... Registers>
__device__ __forceinline__ void startProducts(Registers&... registers) {
  (pin(registers), ...);
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void commitProducts() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int pending, class... Registers>
__device__ __forceinline__ void waitForProducts(Registers&... registers) {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
  (pin(registers), ...);
}

template <class T, int tiles, bool transposed>
struct WarpgroupProduct;

#define SUMS_4(n) "+f"(sums[n][0]), "+f"(sums[n][1]), "+f"(sums[n][2]), "+f"(sums[n][3])
#define SUMS_16(n) SUMS_4(n), SUMS_4(n + 1), SUMS_4(n + 2), SUMS_4(n + 3)
#define PLACES_16 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define PLACES_32 PLACES_16 ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define PLACES_48 PLACES_32 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define PLACES_64 PLACES_48 ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"

// p0 … p6: the numbers of the operands behind the sums. The flags behind `keep`: signs of A and B, then what is transposed.
#define WARPGROUP_PRODUCT(type, name, columns, list, places, p0, p1, p2, p3, p4, p5, p6)                                        \
  template <bool transposed>                                                                                                     \
  struct WarpgroupProduct<type, columns / 8, transposed> {                                                                       \
    static __device__ __forceinline__ void shared(float (&sums)[columns / 8][4], unsigned long long a, unsigned long long b,     \
                                                  int keep) {                                                                    \
      asm volatile("{.reg .pred keep; setp.ne.b32 keep, " p2 ", 0; wgmma.mma_async.sync.aligned.m64n" #columns                   \
                   "k16.f32." name "." name " {" places "}, " p0 ", " p1 ", keep, 1, 1, 0, " p3 ";}"                             \
                   : list                                                                                                        \
                   : "l"(a), "l"(b), "r"(keep), "n"(transposed ? 1 : 0)                                                          \
                   : "memory");                                                                                                  \
    }                                                                                                                            \
    static __device__ __forceinline__ void registers(float (&sums)[columns / 8][4], const unsigned (&a)[4],                      \
                                                     unsigned long long b, int keep) {                                           \
      asm volatile("{.reg .pred keep; setp.ne.b32 keep, " p5 ", 0; wgmma.mma_async.sync.aligned.m64n" #columns                   \
                   "k16.f32." name "." name " {" places "}, {" p0 ", " p1 ", " p2 ", " p3 "}, " p4 ", keep, 1, 1, " p6 ";}"      \
                   : list                                                                                                        \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(keep), "n"(transposed ? 1 : 0)                      \
                   : "memory");                                                                                                  \
    }                                                                                                                            \
  };
#define LIST_32 SUMS_16(0)
#define LIST_64 LIST_32, SUMS_16(4)
#define LIST_96 LIST_64, SUMS_16(8)
#define LIST_128 LIST_96, SUMS_16(12)
#define WARPGROUP_PRODUCTS(type, name)                                                                                \
  WARPGROUP_PRODUCT(type, name, 32, LIST_32, PLACES_16, "%16", "%17", "%18", "%19", "%20", "%21", "%22")               \
  WARPGROUP_PRODUCT(type, name, 64, LIST_64, PLACES_32, "%32", "%33", "%34", "%35", "%36", "%37", "%38")               \
  WARPGROUP_PRODUCT(type, name, 96, LIST_96, PLACES_48, "%48", "%49", "%50", "%51", "%52", "%53", "%54")               \
  WARPGROUP_PRODUCT(type, name, 128, LIST_128, PLACES_64, "%64", "%65", "%66", "%67", "%68", "%69", "%70")
WARPGROUP_PRODUCTS(Bf16, "bf16")
WARPGROUP_PRODUCTS(F16, "f16")

// sums [64, 8 · tiles] = A · B, added to what is there where `keep`. A, by its descriptor, lies along k; so does B, or across where
// `transposed`.
template <class T, bool transposed, int tiles>
__device__ __forceinline__ void multiplyShared(float (&sums)[tiles][4], unsigned long long a, unsigned long long b, bool keep) {
  WarpgroupProduct<T, tiles, transposed>::shared(sums, a, b, keep);
}
// The same with A in registers.
template <class T, bool transposed, int tiles>
__device__ __forceinline__ void multiplyRegisters(float (&sums)[tiles][4], const unsigned (&a)[4], unsigned long long b,
                                                  bool keep) {
  WarpgroupProduct<T, tiles, transposed>::registers(sums, a, b, keep);
}

__device__ __forceinline__ void storeOperand(void* to, const uint4& words) { *static_cast<uint4*>(to) = words; }

#endif

// Sums [64, 16 · steps] as operands A.
template <class T, int steps>
__device__ __forceinline__ void asOperands(unsigned (&operands)[steps][4], const float (&sums)[2 * steps][4]) {
#pragma unroll
  for (int k = 0; k < steps; ++k) asOperand<T>(operands[k], sums[2 * k], sums[2 * k + 1]);
}

#endif
