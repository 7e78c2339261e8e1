// What the process knows of its MPI world. MPI itself is one per process, so this is too.
#pragma once
#include <mpi.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

// A failed MPI call, thrown inside the shim and turned into a status and words at its border.
struct MpiError {
  int code;
  const char* call;
};

inline void check(int code, const char* call) {
  if (code != MPI_SUCCESS) throw MpiError{code, call};
}

// Another rank announced its failure: what is blocked ends now.
struct PeerFailed {};

// What is blocked waits for a rank whose work is over.
struct PeerLeft {
  int rank;
};

// All ranks wait, and none has moved for long.
struct Deadlock {};

// A host that ranks run on does not answer any more.
struct HostSilent {
  std::string address;
};

struct Group {
  MPI_Comm comm = MPI_COMM_NULL;
  int rank = 0, size = 1;
  // Collectives begun so far. The same on every rank of the group, so that it tells their messages apart.
  uint64_t sequence = 0;
  std::vector<int> worldRanks;
};

struct Announcement {
  int rank;
  std::string text;
};

// What a rank has waited in for long, as rank 0 knows it; empty where it works.
struct LongWait {
  std::string text;
  double since = 0;
};

struct Operation;

struct State {
  std::vector<std::unique_ptr<Group>> groups;  // the first one is the world
  // Failures travel apart from everything else, so that a rank that waits for data can look for them.
  MPI_Comm failures = MPI_COMM_NULL;
  int rank = 0, size = 1, localRank = 0, localSize = 1;
  std::vector<std::unique_ptr<Operation>> active;  // begun and not finished, oldest first
  std::vector<Announcement> announcements;         // of other ranks, as they arrived
  size_t acknowledged = 0;                         // how many of them were answered
  std::vector<char> heard;                         // ranks that announced a failure, or acknowledged ours
  std::vector<double> left;                        // when we learned that a rank's work is over; 0: it is not
  bool anyLeft = false;
  double patience = 30;             // seconds of waiting that others are told of
  std::vector<LongWait> longWaits;  // of all ranks, on rank 0
  bool failed = false;  // this rank or another: MPI is left as it is
  std::vector<std::unique_ptr<std::string>> sentTexts;
  std::vector<MPI_Request> sentRequests;
  std::string lastError;
  int culprit = -1;
};

State& state();  // shim.cpp
