// Streams, events and graphs of fake-cuda.h. Work is done as late as CUDA allows: only when somebody waits for it, and then no more
// of other streams than events ask for. So work that should have waited for another stream, and does not, sees old numbers every
// time, where a GPU would show them once in a while. A stream that captures keeps its work, and that of the streams that joined it,
// in the order in which it was given; whatever CUDA forbids meanwhile is an error here as well.
#include <map>
#include <set>
#include <vector>
#include "fake-cuda.h"

namespace fake {

struct Graph {
  std::vector<Work> works;
  Stream* origin = nullptr;
  std::map<Stream*, size_t> members;  // streams that capture into it, and how much work each gave
  std::set<Stream*> unjoined;         // of those, the ones that nobody waits for to the end
  bool open = true;
};

struct Stream {
  std::map<uint64_t, std::function<Status()>> queue;  // by number; done work is gone
  uint64_t given = 0, done = 0;
  bool busy = false;
  void* context = currentContext;
  std::thread::id worker;  // while busy
  std::shared_ptr<Graph> captured;
};

namespace {

struct Event {
  bool recorded = false;
  Place place;                      // all work before it
  std::shared_ptr<Graph> captured;  // where it was recorded in a capture
  Stream* member = nullptr;         // of which stream,
  size_t works = 0;                 // behind so much of its work
};

// cuda.h's words for what a capture forbids.
enum CaptureStatus { captureUnsupported = 900, captureUnmatched = 903, captureUnjoined = 904, captureIsolation = 905, capturedEvent = 907 };

std::map<void*, std::shared_ptr<Stream>> streams;
std::map<void*, std::shared_ptr<Event>> events;

std::shared_ptr<Stream> streamOf(void* handle) {
  const auto found = streams.find(handle);
  return found == streams.end() ? nullptr : found->second;
}

std::shared_ptr<Event> eventOf(void* handle) {
  const auto found = events.find(handle);
  return found == events.end() ? nullptr : found->second;
}

void give(const std::shared_ptr<Stream>& stream, const Work& work) {
  const uint64_t number = stream->given++;
  stream->queue[number] = work.placed ? work.placed({stream, number}) : work.run;
}

}  // namespace

Turns turns;
thread_local void* currentContext = nullptr;

void Turns::lock() {
  std::unique_lock held(mutex_);
  if (depth_ > 0 && owner_ == std::this_thread::get_id()) {
    ++depth_;
    return;
  }
  changed_.wait(held, [&] { return depth_ == 0; });
  owner_ = std::this_thread::get_id();
  depth_ = 1;
}

void Turns::unlock() {
  const std::lock_guard held(mutex_);
  if (--depth_ == 0) changed_.notify_one();
}

void Turns::pass() {
  std::unique_lock held(mutex_);
  const int depth = depth_;
  depth_ = 0;
  changed_.notify_one();
  held.unlock();
  std::this_thread::sleep_for(std::chrono::microseconds(100));
  held.lock();
  changed_.wait(held, [&] { return depth_ == 0; });
  owner_ = std::this_thread::get_id();
  depth_ = depth;
}

Status finishBefore(const Place& place) {
  Stream& stream = *place.stream;
  while (stream.done < place.number) {
    if (stream.busy) {
      if (stream.worker == std::this_thread::get_id()) return launchFailed;  // streams that wait for each other
      turns.pass();
      continue;
    }
    const auto next = stream.queue.find(stream.done);
    const std::function<Status()> work = std::move(next->second);
    stream.queue.erase(next);
    stream.busy = true;
    stream.worker = std::this_thread::get_id();
    const Status status = work();
    stream.busy = false;
    ++stream.done;
    if (status != success) return status;
  }
  return success;
}

Status finishDevice() {
  const auto all = streams;
  for (const auto& [handle, stream] : all)
    if (stream->context == currentContext)
      if (const Status status = finishBefore({stream, stream->given}); status != success) return status;
  return success;
}

Status enqueue(void* handle, Work work) {
  const std::lock_guard lock(turns);
  if (!handle) return work.run ? work.run() : invalidHandle;
  const auto stream = streamOf(handle);
  if (!stream) return invalidHandle;
  if (Graph* graph = stream->captured.get()) {
    graph->works.push_back(std::move(work));
    ++graph->members[stream.get()];
    if (stream.get() != graph->origin) graph->unjoined.insert(stream.get());
  } else {
    give(stream, work);
  }
  return success;
}

}  // namespace fake

using namespace fake;

OFFERED int cuStreamCreate(void** out, unsigned) {
  const std::lock_guard lock(turns);
  auto stream = std::make_shared<Stream>();
  *out = stream.get();
  streams[*out] = std::move(stream);
  return success;
}
OFFERED int cuStreamDestroy_v2(void* handle) {
  const std::lock_guard lock(turns);
  const auto stream = streamOf(handle);
  if (!stream) return invalidHandle;
  streams.erase(handle);
  return finishBefore({stream, stream->given});
}
OFFERED int cuStreamSynchronize(void* handle) {
  const std::lock_guard lock(turns);
  if (!handle) return success;
  const auto stream = streamOf(handle);
  if (!stream) return invalidHandle;
  if (stream->captured) return captureUnsupported;
  return finishBefore({stream, stream->given});
}
OFFERED int cuStreamQuery(void* handle) { return cuStreamSynchronize(handle); }
OFFERED int cuCtxSynchronize() {
  const std::lock_guard lock(turns);
  return finishDevice();
}

// An event that was never recorded is a mistake here, though CUDA would not mind.
OFFERED int cuStreamWaitEvent(void* handle, void* eventHandle, unsigned) {
  const std::lock_guard lock(turns);
  const auto stream = streamOf(handle);
  const auto event = eventOf(eventHandle);
  if (!stream || !event || !event->recorded) return invalidHandle;
  if (event->captured) {
    const auto graph = event->captured;
    if (!graph->open) return capturedEvent;
    if (stream->captured && stream->captured != graph) return captureIsolation;
    stream->captured = graph;
    graph->members.try_emplace(stream.get(), 0);
    if (stream.get() != graph->origin) graph->unjoined.insert(stream.get());
    if (stream.get() != event->member && event->works == graph->members[event->member]) graph->unjoined.erase(event->member);
    return success;
  }
  if (stream->captured) return captureIsolation;
  return enqueue(handle, {[place = event->place] { return finishBefore(place); }, {}});
}

OFFERED int cuEventCreate(void** out, unsigned) {
  const std::lock_guard lock(turns);
  auto event = std::make_shared<Event>();
  *out = event.get();
  events[*out] = std::move(event);
  return success;
}
OFFERED int cuEventDestroy_v2(void* handle) {
  const std::lock_guard lock(turns);
  return events.erase(handle) == 1 ? success : invalidHandle;
}
OFFERED int cuEventRecord(void* handle, void* streamHandle) {
  const std::lock_guard lock(turns);
  const auto event = eventOf(handle);
  const auto stream = streamOf(streamHandle);
  if (!event || !stream) return invalidHandle;
  *event = stream->captured ? Event{true, {}, stream->captured, stream.get(),
                                    stream->captured->members[stream.get()]}
                            : Event{true, {stream, stream->given}, nullptr, nullptr, 0};
  return success;
}
OFFERED int cuEventSynchronize(void* handle) {
  const std::lock_guard lock(turns);
  const auto event = eventOf(handle);
  if (!event) return invalidHandle;
  if (event->captured) return capturedEvent;
  return event->recorded ? finishBefore(event->place) : success;
}
OFFERED int cuEventQuery(void* handle) { return cuEventSynchronize(handle); }
OFFERED int cuEventElapsedTime(float* milliseconds, void*, void*) { return *milliseconds = 0.001f, success; }

OFFERED int cuStreamBeginCapture_v2(void* handle, int) {
  const std::lock_guard lock(turns);
  const auto stream = streamOf(handle);
  if (!stream) return invalidHandle;
  if (stream->captured) return invalidValue;
  stream->captured = std::make_shared<Graph>();
  stream->captured->origin = stream.get();
  stream->captured->members[stream.get()] = 0;
  return success;
}
OFFERED int cuStreamEndCapture(void* handle, void** out) {
  const std::lock_guard lock(turns);
  const auto stream = streamOf(handle);
  if (!stream || !stream->captured) return invalidHandle;
  const auto graph = stream->captured;
  if (graph->origin != stream.get()) return captureUnmatched;
  graph->open = false;
  for (const auto& [member, works] : graph->members) member->captured = nullptr;
  if (!graph->unjoined.empty()) return *out = nullptr, captureUnjoined;
  return *out = new Graph(*graph), success;
}
OFFERED int cuStreamIsCapturing(void* handle, int* status) {
  const std::lock_guard lock(turns);
  const auto stream = streamOf(handle);
  *status = stream && stream->captured ? 1 : 0;
  return success;
}
OFFERED int cuGraphInstantiateWithFlags(void** out, void* graph, uint64_t) {
  return *out = new Graph(*static_cast<Graph*>(graph)), success;
}
OFFERED int cuGraphUpload(void*, void*) { return success; }
OFFERED int cuGraphLaunch(void* executable, void* handle) {
  const std::lock_guard lock(turns);
  const auto stream = streamOf(handle);
  if (!stream) return invalidHandle;
  for (const Work& work : static_cast<Graph*>(executable)->works) give(stream, work);
  return success;
}
OFFERED int cuGraphExecDestroy(void* executable) { return delete static_cast<Graph*>(executable), success; }
OFFERED int cuGraphDestroy(void* graph) { return delete static_cast<Graph*>(graph), success; }
