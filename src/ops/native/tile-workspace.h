// Scratch memory for packing and tiles, one per thread; large ones on huge pages.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#if defined(__linux__)
#include <sys/mman.h>
#endif

// Grows, is never shrunk, and is freed with its thread: scratch memory would otherwise be mapped anew at every call.
class Workspace {
 public:
  float* reserve(int64_t count) {
    if (count <= size_) return data_;
    std::free(data_);
    constexpr size_t page = 4096, hugePage = size_t{2} << 20;
    const size_t wanted = static_cast<size_t>(count) * sizeof(float), unit = wanted < hugePage / 2 ? page : hugePage;
    const size_t bytes = (wanted + unit - 1) / unit * unit;
    data_ = static_cast<float*>(std::aligned_alloc(unit, bytes));
    if (!data_) {
      std::fprintf(stderr, "megatron: out of memory for %zu bytes of scratch\n", bytes);
      std::abort();
    }
#if defined(__linux__)
    if (unit == hugePage) madvise(data_, bytes, MADV_HUGEPAGE);
#endif
    size_ = count;
    return data_;
  }
  ~Workspace() { std::free(data_); }

 private:
  float* data_ = nullptr;
  int64_t size_ = 0;
};

// Aligned, contents undefined, valid until this thread's next call.
inline float* reserveWorkspace(int64_t count) {
  static thread_local Workspace workspace;
  return workspace.reserve(count);
}
