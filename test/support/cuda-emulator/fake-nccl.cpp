// The collectives' part of the software CUDA: ranks are threads of one process that meet in groups. Numbers are nccl.h's.
//   ncclGetVersion ncclGetErrorString ncclGetUniqueId ncclCommInitRank ncclCommDestroy
//   ncclAllReduce (sum) ncclAllGather ncclReduceScatter (sum) ncclBroadcast, of int32, f16, f32, bf16
// Sums run in rank order in float32 and are rounded once; streams run at once, so a call is done when it returns.
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>
#include "../../../src/ops/native/elements.h"
#include "fake-cuda.h"

namespace {

struct Group {
  int size;
  std::mutex mutex;
  std::condition_variable changed;
  int waiting = 0;
  unsigned round = 0;
  std::vector<const char*> sent;

  explicit Group(int ranks) : size(ranks), sent(ranks) {}

  void meet() {
    std::unique_lock lock(mutex);
    const unsigned here = round;
    if (++waiting == size) {
      waiting = 0;
      ++round;
      changed.notify_all();
    } else {
      changed.wait(lock, [&] { return round != here; });
    }
  }
};

struct Member {
  std::shared_ptr<Group> group;
  int rank;
};

struct Id {
  char bytes[128];
};

std::mutex registry;
std::map<std::string, std::weak_ptr<Group>> groups;

size_t bytesOf(int type) { return type == 2 || type == 7 ? 4 : 2; }

template <class T>
void addUp(const std::vector<const char*>& from, size_t begin, size_t count, char* to) {
  for (size_t i = 0; i < count; ++i) {
    float sum = 0;
    for (const char* source : from) sum += static_cast<float>(reinterpret_cast<const T*>(source)[begin + i]);
    reinterpret_cast<T*>(to)[i] = static_cast<T>(sum);
  }
}

void addUpInts(const std::vector<const char*>& from, size_t begin, size_t count, char* to) {
  for (size_t i = 0; i < count; ++i) {
    int32_t sum = 0;
    for (const char* source : from) sum += reinterpret_cast<const int32_t*>(source)[begin + i];
    reinterpret_cast<int32_t*>(to)[i] = sum;
  }
}

void sum(const std::vector<const char*>& from, size_t begin, size_t count, int type, char* to) {
  if (type == 2) addUpInts(from, begin, count, to);
  if (type == 6) addUp<F16>(from, begin, count, to);
  if (type == 7) addUp<float>(from, begin, count, to);
  if (type == 9) addUp<Bf16>(from, begin, count, to);
}

// Shows what this rank sends, makes the result from what all show, and writes it when all have read.
template <class Make>
int together(void* handle, const void* send, void* receive, size_t resultBytes, Make make) {
  auto* member = static_cast<Member*>(handle);
  Group& group = *member->group;
  group.sent[member->rank] = static_cast<const char*>(send);
  group.meet();
  std::vector<char> result(resultBytes);
  make(group.sent, member->rank, result.data());
  group.meet();
  memcpy(receive, result.data(), resultBytes);
  group.meet();
  return 0;
}

}  // namespace

OFFERED int ncclGetVersion(int* version) { return *version = 22705, 0; }
OFFERED const char* ncclGetErrorString(int status) { return status == 0 ? "no error" : "invalid argument"; }

OFFERED int ncclGetUniqueId(Id* id) {
  static std::atomic<unsigned> made{0};
  memset(id, 0, sizeof *id);
  const unsigned number = ++made;
  memcpy(id->bytes + 100, &number, sizeof number);  // far in, so that a caller that cuts the id off fails
  return 0;
}

OFFERED int ncclCommInitRank(void** out, int size, Id id, int rank) {
  if (rank < 0 || rank >= size) return 4;
  std::shared_ptr<Group> group;
  {
    const std::lock_guard lock(registry);
    auto& known = groups[std::string(id.bytes, sizeof id.bytes)];
    group = known.lock();
    if (!group) known = group = std::make_shared<Group>(size);
  }
  if (group->size != size) return 4;
  *out = new Member{group, rank};
  group->meet();
  return 0;
}

OFFERED int ncclCommDestroy(void* handle) {
  delete static_cast<Member*>(handle);
  return 0;
}

OFFERED int ncclAllReduce(const void* send, void* receive, size_t count, int type, int operation, void* handle, void*) {
  if (operation != 0) return 4;
  return together(handle, send, receive, count * bytesOf(type),
                  [=](const auto& sent, int, char* to) { sum(sent, 0, count, type, to); });
}

OFFERED int ncclAllGather(const void* send, void* receive, size_t count, int type, void* handle, void*) {
  const size_t bytes = count * bytesOf(type), ranks = static_cast<Member*>(handle)->group->size;
  return together(handle, send, receive, bytes * ranks, [=](const auto& sent, int, char* to) {
    for (size_t rank = 0; rank < ranks; ++rank) memcpy(to + rank * bytes, sent[rank], bytes);
  });
}

OFFERED int ncclReduceScatter(const void* send, void* receive, size_t count, int type, int operation, void* handle, void*) {
  if (operation != 0) return 4;
  return together(handle, send, receive, count * bytesOf(type),
                  [=](const auto& sent, int rank, char* to) { sum(sent, rank * count, count, type, to); });
}

OFFERED int ncclBroadcast(const void* send, void* receive, size_t count, int type, int root, void* handle, void*) {
  return together(handle, send, receive, count * bytesOf(type),
                  [=](const auto& sent, int, char* to) { memcpy(to, sent[root], count * bytesOf(type)); });
}
