// Scratch memory for packing and tiles, one per thread.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstdlib>

// Grows, is never shrunk, and is freed with its thread: scratch memory would otherwise be mapped anew at every call.
class Workspace {
 public:
  float* reserve(int64_t count) {
    if (count <= size_) return data_;
    std::free(data_);
    const size_t bytes = (static_cast<size_t>(count) * sizeof(float) + 4095) / 4096 * 4096;
    data_ = static_cast<float*>(std::aligned_alloc(4096, bytes));
    if (!data_) {
      std::fprintf(stderr, "megatron: out of memory for %zu bytes of scratch\n", bytes);
      std::abort();
    }
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
