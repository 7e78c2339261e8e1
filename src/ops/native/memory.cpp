// Memory for tensors: aligned to cache lines, large blocks to huge pages.
#include <cstdint>
#include <cstdlib>
#if defined(__linux__)
#include <sys/mman.h>
#endif

extern "C" void* megatron_allocate(int64_t bytes) {
  constexpr int64_t hugePage = int64_t{2} << 20;
  void* memory = nullptr;
  const bool large = bytes >= hugePage;
  if (posix_memalign(&memory, large ? hugePage : 64, static_cast<size_t>(bytes)) != 0) return nullptr;
#if defined(__linux__)
  if (large) madvise(memory, static_cast<size_t>(bytes), MADV_HUGEPAGE);
#endif
  return memory;
}

extern "C" void megatron_free(void* memory, int64_t) { free(memory); }
