// What TypeScript calls: plain C functions over the MPI that this was compiled against. All are called by one thread.
//
// Functions that can fail return a Status of border.h.
#include <atomic>
#include <chrono>
#include <thread>

#include "border.h"
#include "operations.h"
#include "pmi.h"

State& state() {
  static State* const instance = new State;  // never destroyed: MPI may still write into its buffers when the process ends
  return *instance;
}

namespace {

Group& groupOf(int32_t index) { return *state().groups[static_cast<size_t>(index)]; }

int32_t addGroup(MPI_Comm comm) {
  auto group = std::make_unique<Group>();
  group->comm = comm;
  check(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  check(MPI_Comm_rank(comm, &group->rank), "MPI_Comm_rank");
  check(MPI_Comm_size(comm, &group->size), "MPI_Comm_size");
  MPI_Group members, world;
  check(MPI_Comm_group(comm, &members), "MPI_Comm_group");
  check(MPI_Comm_group(MPI_COMM_WORLD, &world), "MPI_Comm_group");
  std::vector<int> ranks(static_cast<size_t>(group->size));
  for (int rank = 0; rank < group->size; ++rank) ranks[static_cast<size_t>(rank)] = rank;
  group->worldRanks.resize(ranks.size());
  check(MPI_Group_translate_ranks(members, group->size, ranks.data(), world, group->worldRanks.data()),
        "MPI_Group_translate_ranks");
  check(MPI_Group_free(&members), "MPI_Group_free");
  check(MPI_Group_free(&world), "MPI_Group_free");
  state().groups.push_back(std::move(group));
  return static_cast<int32_t>(state().groups.size() - 1);
}

// Moves everything that is on its way, oldest first.
void advanceAll() {
  for (auto& operation : state().active) {
    if (!operation->finished) operation->finished = operation->advance();
  }
}

Operation* launch(std::unique_ptr<Operation> operation) {
  state().active.push_back(std::move(operation));
  advanceAll();
  return state().active.back().get();
}

void finish(Operation* operation) {
  waitUntil(*operation, [&] {
    advanceAll();
    return operation->finished;
  });
  auto& active = state().active;
  active.erase(std::find_if(active.begin(), active.end(), [&](const auto& one) { return one.get() == operation; }));
}

// Runs a step to its end. When that fails the step stays: MPI may still hold its requests.
template <class Begin>
int32_t runStep(Begin begin) {
  return guarded([&] {
    throwIfFailed();
    finish(launch(begin()));
  });
}

}  // namespace

extern "C" {

// Makes sure that MPICH's launcher can be reached; 1 when it cannot.
int32_t megatron_mpi_recover_socket() { return recoverPmiSocket(); }

// facts: rank, size, rank on this host, ranks on this host. patience: seconds after which a wait may be part of a deadlock.
int32_t megatron_mpi_init(int32_t* facts, double patience) {
  return guarded([&] {
    State& s = state();
    int provided = 0;
    check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
    // Errors of calls that belong to no communicator are the world's.
    check(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    MPI_Comm world, host;
    check(MPI_Comm_dup(MPI_COMM_WORLD, &world), "MPI_Comm_dup");
    const Group& group = groupOf(addGroup(world));
    check(MPI_Comm_dup(MPI_COMM_WORLD, &s.failures), "MPI_Comm_dup");
    check(MPI_Comm_set_errhandler(s.failures, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    check(MPI_Comm_split_type(world, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host), "MPI_Comm_split_type");
    check(MPI_Comm_rank(host, &s.localRank), "MPI_Comm_rank");
    check(MPI_Comm_size(host, &s.localSize), "MPI_Comm_size");
    check(MPI_Comm_free(&host), "MPI_Comm_free");
    s.rank = group.rank;
    s.size = group.size;
    s.heard.assign(static_cast<size_t>(s.size), 0);
    s.left.assign(static_cast<size_t>(s.size), 0);
    s.longWaits.resize(static_cast<size_t>(s.size));
    s.patience = patience;
    facts[0] = s.rank;
    facts[1] = s.size;
    facts[2] = s.localRank;
    facts[3] = s.localSize;
  });
}

void megatron_mpi_version(char* buffer, int64_t capacity) {
  char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  MPI_Get_library_version(text, &length);
  copyText(std::string(text, static_cast<size_t>(length)), buffer, capacity);
}

void megatron_mpi_last_error(char* buffer, int64_t capacity) { copyText(state().lastError, buffer, capacity); }

// A reduction that is on its way; `handle` is for `finish`. In place.
int32_t megatron_mpi_start_all_reduce(int32_t group, void* data, int64_t count, int32_t type, int32_t operation,
                                      int64_t* handle) {
  return guarded([&] {
    throwIfFailed();
    *handle = reinterpret_cast<int64_t>(launch(Reduction::shared(groupOf(group), data, count, type, operation)));
  });
}

int32_t megatron_mpi_finish(int64_t handle) {
  return guarded([&] { finish(reinterpret_cast<Operation*>(handle)); });
}

int32_t megatron_mpi_reduce_scatter(int32_t group, const void* input, void* output, int64_t count, int32_t type) {
  return runStep([&] { return Reduction::scattered(groupOf(group), input, output, count, type); });
}

// offsets: size + 1 numbers, in bytes.
int32_t megatron_mpi_gather(int32_t group, const void* input, void* output, const int64_t* offsets) {
  return runStep([&] { return beginGather(groupOf(group), input, output, offsets); });
}

int32_t megatron_mpi_broadcast(int32_t group, void* data, int64_t bytes, int32_t root) {
  return runStep([&] {
    auto step = std::make_unique<Step>(groupOf(group), "a broadcast", bytes);
    step->messages.broadcast(groupOf(group), data, bytes, root);
    return step;
  });
}

int32_t megatron_mpi_barrier(int32_t group) {
  return runStep([&] {
    auto step = std::make_unique<Step>(groupOf(group), "a barrier", 0);
    step->messages.barrier(groupOf(group));
    return step;
  });
}

int32_t megatron_mpi_send(int32_t group, const void* data, int64_t bytes, int32_t to) {
  return runStep([&] {
    auto step = std::make_unique<Step>(groupOf(group), "a send to rank ", bytes, to);
    step->messages.sendWhenReceived(groupOf(group), data, bytes, to, userTag);
    return step;
  });
}

int32_t megatron_mpi_receive(int32_t group, void* data, int64_t bytes, int32_t from) {
  return runStep([&] {
    auto step = std::make_unique<Step>(groupOf(group), "a receive from rank ", bytes, from);
    step->messages.receive(groupOf(group), data, bytes, from, userTag, true);
    return step;
  });
}

// made: index of the new group.
int32_t megatron_mpi_split(int32_t group, int32_t color, int32_t key, int32_t* made) {
  return guarded([&] {
    MPI_Comm part;
    check(MPI_Comm_split(groupOf(group).comm, color, key, &part), "MPI_Comm_split");
    *made = addGroup(part);
  });
}

int32_t megatron_mpi_free(int32_t group) {
  return guarded([&] {
    if (!state().failed) check(MPI_Comm_free(&groupOf(group).comm), "MPI_Comm_free");
  });
}

// Tells every other rank that this one failed.
int32_t megatron_mpi_announce(const char* text, int64_t length) {
  return guarded([&] {
    state().failed = true;
    const std::string words(text, static_cast<size_t>(length));
    for (int rank = 0; rank < state().size; ++rank) {
      if (rank != state().rank) tell(rank, announcementTag, words);
    }
  });
}

// Answers those that announced a failure: their words have been heard.
int32_t megatron_mpi_acknowledge() {
  return guarded([&] {
    State& s = state();
    listen();
    while (s.acknowledged < s.announcements.size()) tell(s.announcements[s.acknowledged++].rank, acknowledgementTag, "");
  });
}

// Tells the others that this rank's work is over, and waits until theirs is.
int32_t megatron_mpi_leave() {
  return guarded([&] {
    State& s = state();
    throwIfFailed();
    for (int rank = 0; rank < s.size; ++rank) {
      if (rank != s.rank) tell(rank, leavingTag, "");
    }
    s.left[s.rank] = secondsNow();
    struct End : Awaited {
      std::string text() const override { return "the end of the run"; }
    };
    waitUntil(End{}, [&] {
      listen();
      return std::all_of(s.left.begin(), s.left.end(), [](double time) { return time != 0; });
    });
  });
}

int32_t megatron_mpi_culprit() { return state().culprit; }

// Waits until every other rank announced a failure or acknowledged ours. all: 1 when they did in time.
int32_t megatron_mpi_await_others(int64_t milliseconds, int32_t* all) {
  return guarded([&] {
    State& s = state();
    const double end = secondsNow() + static_cast<double>(milliseconds) * 1e-3;
    Patience patience;
    for (;;) {
      listen();
      *all = 1;
      for (int rank = 0; rank < s.size; ++rank) {
        if (rank != s.rank && !s.heard[static_cast<size_t>(rank)]) *all = 0;
      }
      if (*all || secondsNow() > end) return;
      patience.rest();
    }
  });
}

// The index-th announcement that arrived: its rank, or -1 where there is none.
int32_t megatron_mpi_announcement(int32_t index, char* buffer, int64_t capacity) {
  const auto& announcements = state().announcements;
  if (index < 0 || static_cast<size_t>(index) >= announcements.size()) return -1;
  copyText(announcements[static_cast<size_t>(index)].text, buffer, capacity);
  return announcements[static_cast<size_t>(index)].rank;
}

// Ends MPI; every rank must come here. Only with nothing on its way.
int32_t megatron_mpi_finalize() {
  return guarded([&] {
    State& s = state();
    if (!s.sentRequests.empty()) {
      check(MPI_Waitall(static_cast<int>(s.sentRequests.size()), s.sentRequests.data(), MPI_STATUSES_IGNORE), "MPI_Waitall");
    }
    // MPICH over UCX's TCP waits for ever in MPI_Finalize when this rank still moves messages, of whatever kind, while another
    // closes its connections already. So all come to a halt together, and do nothing at all for longer than they differ.
    check(MPI_Barrier(groupOf(0).comm), "MPI_Barrier");
    const timespec pause = {0, s.size > 1 ? 100'000'000 : 0};
    nanosleep(&pause, nullptr);
    std::atomic<bool>& ended = *new std::atomic<bool>(false);
    std::thread([&ended] {
      std::this_thread::sleep_for(std::chrono::seconds(20));
      if (ended) return;
      std::fputs("megatron: all ranks have done their work, but MPI does not end (MPI_Finalize): giving up on it\n", stderr);
      _exit(1);
    }).detach();
    check(MPI_Finalize(), "MPI_Finalize");
    ended = true;
  });
}

int32_t megatron_mpi_pending() { return static_cast<int32_t>(state().active.size()); }

// Ends this process and all others of the run.
void megatron_mpi_abort(int32_t exitCode) { MPI_Abort(MPI_COMM_WORLD, exitCode); }
}
