// How ranks learn that one of them failed: the failing rank sends its words to every other rank on a communicator of their own,
// and everyone who waits for anything looks there.
#pragma once
#include <sched.h>
#include <time.h>

#include "keepalive.h"
#include "state.h"

constexpr int announcementTag = 1, acknowledgementTag = 2, leavingTag = 3;
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
    const double waited = secondsNow() - begun;
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

 private:
  int64_t looks = 0;
  double begun = 0, nextCheck = 1;
};

inline void throwIfFailed() {
  listen();
  if (state().announcements.empty()) return;
  state().failed = true;
  throw PeerFailed{};
}

// Calls `done` until it returns true. `peerThatLeft` names a rank that this waits for although its work is over, or -1.
// Throws PeerFailed when another rank announces a failure.
template <class Done, class PeerThatLeft>
void waitUntil(Done done, PeerThatLeft peerThatLeft) {
  Patience patience;
  while (!done()) {
    if (!patience.rest()) continue;
    throwIfFailed();
    if (!state().anyLeft) continue;
    const int rank = peerThatLeft();
    if (rank >= 0) throw PeerLeft{rank};
  }
}
