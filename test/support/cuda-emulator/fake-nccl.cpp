// The collectives' part of the software CUDA: ranks are threads of one process that meet in groups. Numbers are nccl.h's.
//   ncclGetVersion ncclGetErrorString ncclGetUniqueId ncclCommInitRank ncclCommDestroy
//   ncclAllReduce (sum) ncclAllGather ncclReduceScatter (sum) ncclBroadcast, of int32, f16, f32, bf16
// Sums run in rank order in float32 and are rounded once. A call is part of its stream's work, as with NCCL, also in a graph.
#include <atomic>
#include <cstring>
#include <map>
#include <string>
#include <vector>
#include "../../../src/ops/native/elements.h"
#include "fake-cuda.h"

namespace {

// A collective of all ranks: done at once for all when the streams of all have come to it.
struct Call {
  std::vector<const char*> sent;
  std::vector<char*> received;
  std::vector<std::function<std::vector<char>(const std::vector<const char*>&)>> makers;
  std::vector<fake::Place> places;
  std::vector<bool> here;
  bool done = false;

  explicit Call(size_t ranks) : sent(ranks), received(ranks), makers(ranks), places(ranks), here(ranks) {}

  void finish() {
    std::vector<std::vector<char>> results;
    for (const auto& make : makers) results.push_back(make(sent));
    for (size_t rank = 0; rank < results.size(); ++rank) memcpy(received[rank], results[rank].data(), results[rank].size());
    done = true;
  }
};

struct Group {
  int size, joined = 0;
  std::map<uint64_t, std::shared_ptr<Call>> calls;  // that not all have come to
  explicit Group(int ranks) : size(ranks) {}
};

struct Member {
  std::shared_ptr<Group> group;
  int rank;
  uint64_t calls = 0;  // given to streams
};

struct Id {
  char bytes[128];
};

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

std::vector<char> sum(const std::vector<const char*>& from, size_t begin, size_t count, int type) {
  std::vector<char> result(count * bytesOf(type));
  char* to = result.data();
  if (type == 2) addUpInts(from, begin, count, to);
  if (type == 6) addUp<F16>(from, begin, count, to);
  if (type == 7) addUp<float>(from, begin, count, to);
  if (type == 9) addUp<Bf16>(from, begin, count, to);
  return result;
}

// The work of a stream that has come to a call: does that of the other ranks' streams before it, or waits until they have it.
fake::Status takePart(const std::shared_ptr<Call>& call, int rank) {
  call->here[rank] = true;
  while (!call->done) {
    bool all = true, moved = false;
    for (size_t other = 0; other < call->here.size(); ++other) {
      if (call->here[other] || call->done) continue;
      all = false;
      const fake::Place place = call->places[other];
      if (!place.stream) continue;
      if (const fake::Status status = fake::finishBefore({place.stream, place.number + 1}); status != fake::success) return status;
      moved = true;
    }
    if (all && !call->done) call->finish();
    if (!call->done && !moved) fake::turns.pass();
  }
  return fake::success;
}

// `make` gives what this rank receives, from what all send.
template <class Make>
int together(void* handle, const void* send, void* receive, void* stream, Make make) {
  auto* member = static_cast<Member*>(handle);
  const auto placed = [=](const fake::Place& place) {
    Group& group = *member->group;
    const uint64_t number = member->calls++;
    auto& known = group.calls[number];
    if (!known) known = std::make_shared<Call>(group.size);
    const std::shared_ptr<Call> call = known;
    const int rank = member->rank;
    call->sent[rank] = static_cast<const char*>(send);
    call->received[rank] = static_cast<char*>(receive);
    call->makers[rank] = [=](const std::vector<const char*>& sent) { return make(sent, rank); };
    call->places[rank] = place;
    bool all = true;
    for (const fake::Place& one : call->places) all &= one.stream != nullptr;
    if (all) group.calls.erase(number);
    return std::function<fake::Status()>([=] { return takePart(call, rank); });
  };
  return fake::enqueue(stream, {{}, placed}) == fake::success ? 0 : 1;
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
  const std::lock_guard lock(fake::turns);
  auto& known = groups[std::string(id.bytes, sizeof id.bytes)];
  std::shared_ptr<Group> group = known.lock();
  if (!group) known = group = std::make_shared<Group>(size);
  if (group->size != size) return 4;
  *out = new Member{group, rank};
  ++group->joined;
  while (group->joined < size) fake::turns.pass();
  return 0;
}

OFFERED int ncclCommDestroy(void* handle) {
  const std::lock_guard lock(fake::turns);
  const int failed = fake::finishDevice();
  delete static_cast<Member*>(handle);
  return failed == fake::success ? 0 : 1;
}

OFFERED int ncclAllReduce(const void* send, void* receive, size_t count, int type, int operation, void* handle, void* stream) {
  if (operation != 0) return 4;
  return together(handle, send, receive, stream, [=](const auto& sent, int) { return sum(sent, 0, count, type); });
}

OFFERED int ncclAllGather(const void* send, void* receive, size_t count, int type, void* handle, void* stream) {
  return together(handle, send, receive, stream, [=](const auto& sent, int) {
    std::vector<char> all;
    for (const char* part : sent) all.insert(all.end(), part, part + count * bytesOf(type));
    return all;
  });
}

OFFERED int ncclReduceScatter(const void* send, void* receive, size_t count, int type, int operation, void* handle,
                              void* stream) {
  if (operation != 0) return 4;
  return together(handle, send, receive, stream,
                  [=](const auto& sent, int rank) { return sum(sent, rank * count, count, type); });
}

OFFERED int ncclBroadcast(const void* send, void* receive, size_t count, int type, int root, void* handle, void* stream) {
  return together(handle, send, receive, stream, [=](const auto& sent, int) {
    return std::vector<char>(sent[root], sent[root] + count * bytesOf(type));
  });
}
