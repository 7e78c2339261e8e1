// From C++'s exceptions to the numbers that TypeScript understands.
#pragma once
#include <algorithm>
#include <cstring>

#include "failure.h"

enum Status : int32_t {
  fine = 0,
  peerFailed = 1,   // another rank announced its failure
  mpiFailed = 2,    // MPI reported an error; `megatron_mpi_last_error` has its words
  sizesDiffer = 3,  // a message was longer or shorter than expected
  peerLeft = 4,     // the rank that `megatron_mpi_culprit` tells has ended its work without doing its part
  deadlock = 5,     // all ranks wait for each other; `megatron_mpi_last_error` says in what
};

template <class Body>
inline int32_t guarded(Body body) {
  try {
    body();
    return fine;
  } catch (const PeerFailed&) {
    return peerFailed;
  } catch (const HostSilent& host) {
    state().lastError = "the host " + host.address + " has not answered for " + std::to_string(secondsOfSilence) + " s";
  } catch (const Deadlock&) {
    return deadlock;
  } catch (const PeerLeft& left) {
    state().culprit = left.rank;
    return peerLeft;
  } catch (const MpiError& error) {
    char text[MPI_MAX_ERROR_STRING];
    int length = 0, kind = MPI_SUCCESS;
    MPI_Error_class(error.code, &kind);
    if (kind == MPI_ERR_TRUNCATE) return sizesDiffer;
    if (MPI_Error_string(error.code, text, &length) != MPI_SUCCESS) length = 0;
    state().lastError = std::string(error.call) + " failed: " + std::string(text, static_cast<size_t>(length));
  } catch (const std::exception& error) {
    state().lastError = error.what();
  }
  return mpiFailed;
}

inline void copyText(const std::string& text, char* buffer, int64_t capacity) {
  const size_t size = std::min(text.size(), static_cast<size_t>(capacity - 1));
  std::memcpy(buffer, text.data(), size);
  buffer[size] = '\0';
}
