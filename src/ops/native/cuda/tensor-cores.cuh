// Tensor cores through PTX: m16n8k16 products of 16-bit numbers with float32 sums, and what feeds them (compute capability 8.0
// on). With g = lane / 4 and t = lane % 4 a lane holds, two numbers in a word:
//   A [16, 16]: rows g, g + 8, g, g + 8 at columns 2t, 2t, 2t + 8, 2t + 8
//   B [16, 8]:  column g at rows 2t and 2t + 8
//   C [16, 8]:  c[0], c[1]: row g, columns 2t, 2t + 1; c[2], c[3]: row g + 8
#pragma once
#include "elements.cuh"

#ifdef CUDA_EMULATED

struct MatrixOperands {
  unsigned a[4], b[2];
};

// Each lane shows its operands, and adds up its own four results from those of the others.
template <class T>
inline void multiplyTile(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  const auto* slots = emulator::meet(MatrixOperands{{a[0], a[1], a[2], a[3]}, {b0, b1}});
  const int g = emulator::lane() / 4, t = emulator::lane() % 4;
  for (int k = 0; k < 16; ++k) {
    const int pair = k % 8 / 2, upper = k / 8;
    const MatrixOperands row = emulator::shown(slots, 4 * g + pair);
    for (int e = 0; e < 2; ++e) {
      const MatrixOperands column = emulator::shown(slots, 4 * (2 * t + e) + pair);
      const float b = unpacked<T>(column.b[upper], k % 2);
      c[e] += unpacked<T>(row.a[2 * upper], k % 2) * b;
      c[2 + e] += unpacked<T>(row.a[2 * upper + 1], k % 2) * b;
    }
  }
}

template <bool transposed, class T>
inline void loadMatrices(unsigned (&words)[4], const T* row) {
  const auto* slots = emulator::meet(row);
  const int lane = emulator::lane();
  for (int matrix = 0; matrix < 4; ++matrix) {
    unsigned short bits[2];
    for (int e = 0; e < 2; ++e) {
      const int line = transposed ? 2 * (lane % 4) + e : lane / 4, place = transposed ? lane / 4 : 2 * (lane % 4) + e;
      bits[e] = emulator::shown(slots, 8 * matrix + line)[place].bits;
    }
    words[matrix] = bits[0] | static_cast<unsigned>(bits[1]) << 16;
  }
}

inline void copyAsync(void* to, const void* from, bool there) {
  emulator::hideFromProducts(to, 16);
  emulator::current->copies.push_back({to, from, 16, there ? 16u : 0u, emulator::current->group});
}
inline void commitCopies() { ++emulator::current->group; }
template <int pending>
inline void waitForCopies() {
  auto& copies = emulator::current->copies;
  size_t done = 0;
  for (; done < copies.size() && copies[done].group < emulator::current->group - pending; ++done) {
    const emulator::Copy& copy = copies[done];
    memset(copy.to, 0, copy.bytes);
    memcpy(copy.to, copy.from, copy.filled);
    emulator::written(copy.to, copy.bytes);
  }
  copies.erase(copies.begin(), copies.begin() + static_cast<long>(done));
}

#else

// c += a · b
template <class T>
__device__ __forceinline__ void multiplyTile(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1);
#define MULTIPLY_TILE(type, name)                                                                                       \
  template <>                                                                                                           \
  __device__ __forceinline__ void multiplyTile<type>(float(&c)[4], const unsigned(&a)[4], unsigned b0, unsigned b1) {   \
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." name "." name ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "     \
                 "{%8, %9}, {%0, %1, %2, %3};"                                                                          \
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                                                       \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));                                       \
  }
MULTIPLY_TILE(Bf16, "bf16")
MULTIPLY_TILE(F16, "f16")

__device__ __forceinline__ unsigned sharedAddress(const void* address) {
  return static_cast<unsigned>(__cvta_generic_to_shared(address));
}

// Four 8 × 8 matrices from shared memory: lane l gives the address of row l % 8 of matrix l / 8, on a multiple of 16 bytes. A
// lane gets row g, columns 2t and 2t + 1 of each, or column g, rows 2t and 2t + 1 where `transposed`.
template <bool transposed, class T>
__device__ __forceinline__ void loadMatrices(unsigned (&words)[4], const T* row) {
  if constexpr (transposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"(sharedAddress(row))
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"(sharedAddress(row))
                 : "memory");
  }
}

// 16 bytes from device to shared memory, around the registers; zeros where not `there`.
__device__ __forceinline__ void copyAsync(void* to, const void* from, bool there) {
  const int bytes = there ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(sharedAddress(to)), "l"(from), "r"(bytes) : "memory");
}
__device__ __forceinline__ void commitCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until no more than `pending` of this thread's groups are under way.
template <int pending>
__device__ __forceinline__ void waitForCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

#endif

// A tile of a matrix in shared memory, rows of `pitch` numbers: the operand A [16, 16] at `tile`; transposed, two operands
// B [16, 8] side by side (words 0, 1 and 2, 3).
template <bool transposed, int pitch, class T>
__device__ __forceinline__ void loadTile(unsigned (&words)[4], const T* tile) {
  const int lane = threadIdx.x % 32;
  loadMatrices<transposed>(words, tile + (lane % 16) * pitch + lane / 16 * 8);
}

// Two operands B [16, 8] from 16 rows of 16 numbers, each row being a column of B: words 0, 1 and 2, 3.
template <int pitch, class T>
__device__ __forceinline__ void loadColumns(unsigned (&words)[4], const T* tile) {
  const int lane = threadIdx.x % 32;
  loadMatrices<false>(words, tile + (lane % 8 + lane / 16 * 8) * pitch + lane / 8 % 2 * 8);
}

// The sums C of two neighbouring tiles [16, 8] as an operand A [16, 16].
template <class T>
__device__ __forceinline__ void asOperand(unsigned (&a)[4], const float (&left)[4], const float (&right)[4]) {
  a[0] = packedHalves<T>(left[0], left[1]);
  a[1] = packedHalves<T>(left[2], left[3]);
  a[2] = packedHalves<T>(right[0], right[1]);
  a[3] = packedHalves<T>(right[2], right[3]);
}
