// The driver's part of fake-cuda.h but for streams: memory is malloc's, and a module is a shared library that the compiler of
// fake-compiler.cpp made.
#include <dlfcn.h>
#include <elf.h>
#include <unistd.h>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>
#include "fake-cuda.h"

using namespace fake;

namespace {

struct Function {
  std::string name;
  void (*body)(void**);
  int (*launch)(void (*)(void**), void**, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned);
  const std::vector<int>* sizes;  // bytes of each parameter
  int sharedBytes = 48 << 10;     // that a launch may ask for
};
struct Module {
  void* library;
  std::vector<std::unique_ptr<Function>> functions;
};

std::map<void*, size_t> blocks;
size_t used = 0;
int contexts[64];  // their addresses are the contexts of devices

size_t totalMemory() {
  const char* text = getenv("CUDA_EMULATED_MEMORY");
  return text ? strtoull(text, nullptr, 10) : size_t{1} << 30;
}

const std::map<int, const char*> names = {{success, "CUDA_SUCCESS"},
                                          {invalidValue, "CUDA_ERROR_INVALID_VALUE"},
                                          {outOfMemory, "CUDA_ERROR_OUT_OF_MEMORY"},
                                          {invalidImage, "CUDA_ERROR_INVALID_IMAGE"},
                                          {invalidContext, "CUDA_ERROR_INVALID_CONTEXT"},
                                          {invalidHandle, "CUDA_ERROR_INVALID_HANDLE"},
                                          {notFound, "CUDA_ERROR_NOT_FOUND"},
                                          {launchFailed, "CUDA_ERROR_LAUNCH_FAILED"}};

template <class T>
void fill(void* to, T value, size_t count) {
  for (size_t i = 0; i < count; ++i) static_cast<T*>(to)[i] = value;
}

template <class T>
Status fillLater(void* to, T value, size_t count, void* stream) {
  return enqueue(stream, {[=] {
    fill(to, value, count);
    return success;
  }, {}});
}

Status copyLater(void* to, const void* from, size_t bytes, void* stream) {
  return enqueue(stream, {[=] {
    memcpy(to, from, bytes);
    return success;
  }, {}});
}

Status copyNow(void* to, const void* from, size_t bytes) {
  const std::lock_guard lock(turns);
  memmove(to, from, bytes);
  return success;
}

void* pointerTo(uint64_t address) { return reinterpret_cast<void*>(address); }

}  // namespace

OFFERED int cuInit(unsigned) { return success; }
OFFERED int cuDriverGetVersion(int* version) { return *version = 12080, success; }
OFFERED int cuGetErrorName(int status, const char** name) {
  const auto found = names.find(status);
  *name = found == names.end() ? nullptr : found->second;
  return found == names.end() ? invalidValue : success;
}
OFFERED int cuGetErrorString(int status, const char** text) { return cuGetErrorName(status, text); }

// CUDA_EMULATED_DEVICES says how many GPUs there seem to be; all are the same memory.
OFFERED int cuDeviceGetCount(int* count) {
  const char* text = getenv("CUDA_EMULATED_DEVICES");
  return *count = text ? atoi(text) : 1, success;
}
OFFERED int cuDeviceGet(int* device, int ordinal) { return *device = ordinal, success; }
OFFERED int cuDeviceGetName(char* name, int length, int) { return snprintf(name, length, "Emulated GPU"), success; }
OFFERED int cuDeviceTotalMem_v2(size_t* bytes, int) { return *bytes = totalMemory(), success; }
OFFERED int cuDeviceGetAttribute(int* value, int attribute, int device) {
  const std::map<int, int> values = {{1, 1024},       {8, 48 << 10},  {10, 32}, {12, 65536}, {13, 1755000}, {16, 4},
                                     {36, 2619000},   {37, 5120},     {38, 50 << 20},       {39, 2048},    {75, 9},
                                     {76, 0},         {81, 228 << 10}, {97, 227 << 10}};
  if (attribute == 33) return *value = device, success;  // the number of its bus
  const auto found = values.find(attribute);
  *value = found == values.end() ? 0 : found->second;
  return success;
}
OFFERED int cuDevicePrimaryCtxRetain(void** out, int device) { return *out = &contexts[device % 64], success; }
OFFERED int cuDevicePrimaryCtxRelease_v2(int) { return success; }
OFFERED int cuCtxSetCurrent(void* context) { return currentContext = context, success; }
OFFERED int cuCtxGetCurrent(void** out) { return *out = currentContext, success; }

OFFERED int cuMemGetInfo_v2(size_t* free, size_t* total) {
  const std::lock_guard lock(turns);
  *total = totalMemory();
  *free = *total > used ? *total - used : 0;
  return success;
}
OFFERED int cuMemAlloc_v2(uint64_t* address, size_t bytes) {
  const std::lock_guard lock(turns);
  if (bytes == 0) return invalidValue;
  if (used + bytes > totalMemory()) return outOfMemory;
  void* memory = aligned_alloc(256, (bytes + 255) / 256 * 256);
  if (!memory) return outOfMemory;
  memset(memory, 0xff, bytes);
  blocks[memory] = bytes;
  used += bytes;
  *address = reinterpret_cast<uint64_t>(memory);
  return success;
}
OFFERED int cuMemFree_v2(uint64_t address) {
  const std::lock_guard lock(turns);
  const auto found = blocks.find(pointerTo(address));
  if (found == blocks.end()) return invalidValue;
  if (const Status status = finishDevice(); status != success) return status;  // as the driver waits
  used -= found->second;
  free(found->first);
  blocks.erase(found);
  return success;
}
OFFERED int cuMemHostAlloc(void** out, size_t bytes, unsigned) {
  *out = aligned_alloc(256, (bytes + 255) / 256 * 256);
  return *out ? success : outOfMemory;
}
OFFERED int cuMemAllocHost_v2(void** out, size_t bytes) { return cuMemHostAlloc(out, bytes, 0); }
OFFERED int cuMemFreeHost(void* memory) {
  const std::lock_guard lock(turns);
  const Status status = finishDevice();
  return free(memory), status;
}

OFFERED int cuMemcpyHtoD_v2(uint64_t to, const void* from, size_t bytes) { return copyNow(pointerTo(to), from, bytes); }
OFFERED int cuMemcpyDtoH_v2(void* to, uint64_t from, size_t bytes) { return copyNow(to, pointerTo(from), bytes); }
OFFERED int cuMemcpyDtoD_v2(uint64_t to, uint64_t from, size_t bytes) { return copyNow(pointerTo(to), pointerTo(from), bytes); }
OFFERED int cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, void* stream) {
  return copyLater(pointerTo(to), from, bytes, stream);
}
OFFERED int cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes, void* stream) {
  return copyLater(to, pointerTo(from), bytes, stream);
}
OFFERED int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void* stream) {
  return copyLater(pointerTo(to), pointerTo(from), bytes, stream);
}
OFFERED int cuMemsetD8_v2(uint64_t to, uint8_t value, size_t count) { return fillLater(pointerTo(to), value, count, nullptr); }
OFFERED int cuMemsetD16_v2(uint64_t to, uint16_t value, size_t count) { return fillLater(pointerTo(to), value, count, nullptr); }
OFFERED int cuMemsetD32_v2(uint64_t to, uint32_t value, size_t count) { return fillLater(pointerTo(to), value, count, nullptr); }
OFFERED int cuMemsetD8Async(uint64_t to, uint8_t value, size_t count, void* stream) {
  return fillLater(pointerTo(to), value, count, stream);
}
OFFERED int cuMemsetD16Async(uint64_t to, uint16_t value, size_t count, void* stream) {
  return fillLater(pointerTo(to), value, count, stream);
}
OFFERED int cuMemsetD32Async(uint64_t to, uint32_t value, size_t count, void* stream) {
  return fillLater(pointerTo(to), value, count, stream);
}

// A cubin comes without its length: the table of sections stands at the end of the file.
OFFERED int cuModuleLoadData(void** out, const void* image) {
  const auto* header = static_cast<const Elf64_Ehdr*>(image);
  if (memcmp(header->e_ident, ELFMAG, SELFMAG) != 0) return invalidImage;
  const size_t bytes = header->e_shoff + size_t{header->e_shnum} * header->e_shentsize;
  char path[] = "/tmp/emulated-cubin-XXXXXX";
  const int file = mkstemp(path);
  if (file < 0) return invalidImage;
  const bool written = write(file, image, bytes) == static_cast<ssize_t>(bytes);
  close(file);
  void* library = written ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : nullptr;
  unlink(path);
  if (!library) return fprintf(stderr, "%s\n", dlerror()), invalidImage;
  *out = new Module{library, {}};
  return success;
}
OFFERED int cuModuleLoadDataEx(void** out, const void* image, unsigned, int*, void**) { return cuModuleLoadData(out, image); }
OFFERED int cuModuleUnload(void* module) {
  const std::lock_guard lock(turns);
  if (const Status status = finishDevice(); status != success) return status;
  dlclose(static_cast<Module*>(module)->library);
  delete static_cast<Module*>(module);
  return success;
}
OFFERED int cuModuleGetFunction(void** out, void* handle, const char* name) {
  Module* module = static_cast<Module*>(handle);
  const auto symbol = [&](const std::string& full) { return dlsym(module->library, full.c_str()); };
  void* body = symbol(std::string(name) + "_emulated");
  void* sizes = symbol(std::string(name) + "_sizes");
  void* launch = symbol("emulated_launch");
  if (!body || !sizes || !launch) return notFound;
  auto function = std::make_unique<Function>();
  function->name = name;
  function->body = reinterpret_cast<decltype(function->body)>(body);
  function->launch = reinterpret_cast<decltype(function->launch)>(launch);
  function->sizes = static_cast<const std::vector<int>*>(sizes);
  *out = function.get();
  module->functions.push_back(std::move(function));
  return success;
}
OFFERED int cuFuncSetAttribute(void* function, int attribute, int value) {
  if (attribute == 8) static_cast<Function*>(function)->sharedBytes = value;  // MAX_DYNAMIC_SHARED_SIZE_BYTES
  return value > 227 << 10 ? invalidValue : success;
}
OFFERED int cuFuncGetAttribute(int* value, int, void*) { return *value = 0, success; }

OFFERED int cuLaunchKernel(void* handle, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX, unsigned blockY,
                           unsigned blockZ, unsigned sharedBytes, void* stream, void** parameters, void**) {
  Function* function = static_cast<Function*>(handle);
  const unsigned threads = blockX * blockY * blockZ;
  if (!function) return invalidHandle;
  if (threads == 0 || threads > 1024 || gridX == 0 || gridY == 0 || gridZ == 0 || gridY > 65535 || gridZ > 65535)
    return invalidValue;
  if (sharedBytes > static_cast<unsigned>(function->sharedBytes)) return invalidValue;
  // Parameters are copied as the launch is asked for, as CUDA does.
  struct Parameter {
    alignas(16) char bytes[64];
  };
  std::vector<Parameter> values(function->sizes->size());
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t bytes = (*function->sizes)[i];
    if (bytes > sizeof(Parameter)) return invalidValue;
    memcpy(values[i].bytes, parameters[i], bytes);
  }
  return enqueue(stream, {[=]() mutable {
    std::vector<void*> pointers;
    for (Parameter& value : values) pointers.push_back(value.bytes);
    const int failed = function->launch(function->body, pointers.data(), gridX, gridY, gridZ, blockX, blockY, blockZ, sharedBytes);
    if (failed) fprintf(stderr, "%s: launch failed\n", function->name.c_str());
    return failed ? launchFailed : success;
  }, {}});
}
