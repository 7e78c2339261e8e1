// The C interface of the software CUDA that tests run against: what libcuda, libnvrtc, libcublasLt and libnccl offer here. Names,
// signatures and numbers are NVIDIA's (cuda.h, nvrtc.h, cublasLt.h); only what is listed exists.
//
// libcuda (all return CUresult; handles are pointers)
//   cuInit cuDriverGetVersion cuGetErrorName cuGetErrorString
//   cuDeviceGetCount cuDeviceGet cuDeviceGetName cuDeviceTotalMem_v2 cuDeviceGetAttribute
//   cuDevicePrimaryCtxRetain cuDevicePrimaryCtxRelease_v2 cuCtxSetCurrent cuCtxGetCurrent cuCtxSynchronize
//   cuMemGetInfo_v2 cuMemAlloc_v2 cuMemFree_v2 cuMemAllocHost_v2 cuMemHostAlloc cuMemFreeHost
//   cuMemcpyHtoD_v2 cuMemcpyDtoH_v2 cuMemcpyDtoD_v2 cuMemcpyHtoDAsync_v2 cuMemcpyDtoHAsync_v2 cuMemcpyDtoDAsync_v2
//   cuMemsetD8_v2 cuMemsetD16_v2 cuMemsetD32_v2 cuMemsetD8Async cuMemsetD16Async cuMemsetD32Async
//   cuStreamCreate cuStreamDestroy_v2 cuStreamSynchronize cuStreamQuery cuStreamWaitEvent
//   cuStreamBeginCapture_v2 cuStreamEndCapture cuStreamIsCapturing
//   cuGraphInstantiateWithFlags cuGraphUpload cuGraphLaunch cuGraphExecDestroy cuGraphDestroy
//   cuEventCreate cuEventDestroy_v2 cuEventRecord cuEventQuery cuEventSynchronize cuEventElapsedTime
//   cuModuleLoadData cuModuleLoadDataEx cuModuleUnload cuModuleGetFunction cuFuncSetAttribute cuFuncGetAttribute cuLaunchKernel
// libnvrtc
//   nvrtcVersion nvrtcGetErrorString nvrtcCreateProgram nvrtcCompileProgram nvrtcDestroyProgram
//   nvrtcGetProgramLogSize nvrtcGetProgramLog nvrtcGetCUBINSize nvrtcGetCUBIN
// libcublasLt (pointers to alpha and beta on the host; float32 sums; data f32, bf16, f16; column-major)
//   cublasLtGetVersion cublasLtCreate cublasLtDestroy cublasLtGetStatusName cublasLtGetStatusString
//   cublasLtMatmulDescCreate cublasLtMatmulDescDestroy cublasLtMatmulDescSetAttribute (TRANSA, TRANSB, EPILOGUE, BIAS_POINTER,
//     EPILOGUE_AUX_POINTER, EPILOGUE_AUX_LD, BIAS_DATA_TYPE; others are taken and ignored)
//   cublasLtMatrixLayoutCreate cublasLtMatrixLayoutDestroy cublasLtMatrixLayoutSetAttribute
//   cublasLtMatmulPreferenceCreate cublasLtMatmulPreferenceDestroy cublasLtMatmulPreferenceSetAttribute
//   cublasLtMatmulAlgoGetHeuristic (three results, the second of which failed) cublasLtMatmul (epilogues DEFAULT, BIAS, GELU_AUX_BIAS, GELU_AUX, DGELU, BGRADB);
//     CUDA_EMULATED_EPILOGUES=0: none but DEFAULT; CUDA_EMULATED_REFUSES: the first algorithm does not run
//
// libnccl (ranks are threads of one process; see fake-nccl.cpp)
//   ncclGetVersion ncclGetErrorString ncclGetUniqueId ncclCommInitRank ncclCommDestroy
//   ncclAllReduce ncclAllGather ncclReduceScatter ncclBroadcast
//
// The device (CUDA_EMULATED_DEVICES of them, 1 where not set): "Emulated GPU", architecture 9.0, 4 multiprocessors, CUDA_EMULATED_MEMORY bytes of memory (1 GiB where not set),
// all of it poisoned with 0xff bytes as it is handed out. Streams do their work as late as may be: when it is waited for (see
// fake-streams.cpp); the null stream at once. A cubin is an ELF shared library that g++ built. Launches of all threads of the process
// take turns.
#pragma once
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#define OFFERED extern "C" __attribute__((visibility("default")))

namespace fake {

// Numbers of cuda.h.
enum Status : int {
  success = 0,
  invalidValue = 1,
  outOfMemory = 2,
  invalidContext = 201,
  invalidImage = 200,
  invalidHandle = 400,
  notFound = 500,
  launchFailed = 719,
};

struct Stream;

// Behind all work of a stream that has a smaller number.
struct Place {
  std::shared_ptr<Stream> stream;
  uint64_t number = 0;
};

struct Work {
  std::function<Status()> run;
  // Where given, in the place of `run`: called each time that the work comes to its place in a stream, for what is to be done there.
  std::function<std::function<Status()>(const Place&)> placed;
};

// All threads of the process take turns in this library. Whoever waits for another thread's work passes the turn on meanwhile.
class Turns {
 public:
  void lock();
  void unlock();
  void pass();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::thread::id owner_;
  int depth_ = 0;
};
extern Turns turns;

// Gives the work to the stream, or to the graph that it captures; a null stream does it now.
Status enqueue(void* stream, Work work);
// Does the work of a stream up to a place. @returns the first failure.
Status finishBefore(const Place& place);
// The context that this thread uses, one for each device.
extern thread_local void* currentContext;
// Does the work of all streams of this thread's device.
Status finishDevice();

}  // namespace fake
