// How ranks learn that one of them failed: the failing rank sends its words to every other rank on a communicator of their own,
// and everyone who waits for anything looks there. Who waits for long tells rank 0, which knows when all do.
#pragma once
#include <sched.h>
#include <time.h>

#include <algorithm>

#include "keepalive.h"
#include "state.h"

constexpr int announcementTag = 1, acknowledgementTag = 2, leavingTag = 3, waitingTag = 4;
// What a rank sent before it left arrives within this time.
constexpr double secondsOnTheWay = 1.5;

inline double secondsNow() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

// Receives what has come on the failures' communicator. Messages are short enough to be there at once.
inline void listen() {
  State& s = state();
  if (s.failures == MPI_COMM_NULL) return;
  for (;;) {
    int flag = 0;
    MPI_Status status;
    check(MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, s.failures, &flag, &status), "MPI_Iprobe");
    if (!flag) return;
    int bytes = 0;
    check(MPI_Get_count(&status, MPI_BYTE, &bytes), "MPI_Get_count");
    std::string text(static_cast<size_t>(bytes), '\0');
    check(MPI_Recv(text.data(), bytes, MPI_BYTE, status.MPI_SOURCE, status.MPI_TAG, s.failures, &status), "MPI_Recv");
    const size_t source = static_cast<size_t>(status.MPI_SOURCE);
    if (status.MPI_TAG == leavingTag) {
      s.left[source] = secondsNow();
      s.anyLeft = true;
      continue;
    }
    if (status.MPI_TAG == waitingTag) {
      s.longWaits[source] = {std::move(text), secondsNow()};
      continue;
    }
    s.heard[source] = 1;
    if (status.MPI_TAG == announcementTag) s.announcements.push_back({status.MPI_SOURCE, std::move(text)});
  }
}

inline void tell(int rank, int tag, const std::string& text) {
  State& s = state();
  s.sentTexts.push_back(std::make_unique<std::string>(text));
  s.sentRequests.push_back(MPI_REQUEST_NULL);
  const std::string& kept = *s.sentTexts.back();
  check(MPI_Isend(kept.data(), static_cast<int>(kept.size()), MPI_BYTE, rank, tag, s.failures, &s.sentRequests.back()),
        "MPI_Isend");
}

// The rhythm of waiting: look again at once, then let others have the core, then sleep a little longer each time.
class Patience {
 public:
  // Called after each look in vain. True when it is time to look for failures, too. Throws HostSilent.
  bool rest() {
    ++looks;
    if (looks < 100) return false;
    if (looks < 2000) {
      sched_yield();
      return looks % 100 == 0;
    }
    if (looks == 2000) begun = secondsNow();
    waited = secondsNow() - begun;
    if (waited < 0.002) {
      sched_yield();
      return looks % 100 == 0;
    }
    if (waited > nextCheck) {
      const std::string silent = silentHost();
      if (!silent.empty()) throw HostSilent{silent};
      nextCheck = waited + secondsBetweenSigns;
    }
    const timespec nap = {0, waited < 0.05 ? 20000 : waited < 1 ? 100000 : 500000};
    nanosleep(&nap, nullptr);
    return true;
  }

  double seconds() const { return waited; }

 private:
  int64_t looks = 0;
  double begun = 0, waited = 0, nextCheck = 1;
};

inline void throwIfFailed() {
  listen();
  if (state().announcements.empty()) return;
  state().failed = true;
  throw PeerFailed{};
}

// What rank 0 shall know of us: where we have waited for long, or (empty) that we go on.
inline void tellOfWait(const std::string& text) {
  State& s = state();
  if (s.rank == 0) {
    s.longWaits[0] = {text, secondsNow()};
  } else {
    tell(0, waitingTag, text);
  }
}

// On rank 0. A message between two ranks that wait would have arrived meanwhile.
inline void throwIfDeadlocked() {
  State& s = state();
  double last = 0;
  for (const LongWait& one : s.longWaits) {
    if (one.text.empty()) return;
    last = std::max(last, one.since);
  }
  if (secondsNow() - last < s.patience / 3) return;
  s.lastError = "the ranks wait for each other in vain:";
  for (size_t rank = 0; rank < s.longWaits.size(); ++rank) {
    s.lastError += (rank == 0 ? " rank " : "; rank ") + std::to_string(rank) + " in " + s.longWaits[rank].text;
  }
  throw Deadlock{};
}

// Something to wait for.
struct Awaited {
  virtual ~Awaited() = default;
  // A rank of the world that this waits for although its work is over, or -1.
  virtual int peerThatLeft() const { return -1; }
  virtual std::string text() const = 0;
  // How much has to travel: slow networks take their time.
  virtual double bytes() const { return 0; }
};

// Calls `done` until it returns true. Throws PeerFailed when another rank announces a failure, PeerLeft, HostSilent, Deadlock.
template <class Done>
void waitUntil(const Awaited& awaited, Done done) {
  constexpr double slowestBytesPerSecond = 20e6;
  State& s = state();
  Patience patience;
  bool told = false;
  while (!done()) {
    if (!patience.rest()) continue;
    throwIfFailed();
    const int gone = s.anyLeft ? awaited.peerThatLeft() : -1;
    if (gone >= 0) throw PeerLeft{gone};
    if (patience.seconds() < s.patience + awaited.bytes() / slowestBytesPerSecond) continue;
    if (!told) tellOfWait(awaited.text());
    told = true;
    if (s.rank == 0) throwIfDeadlocked();
  }
  if (told) tellOfWait("");
}
