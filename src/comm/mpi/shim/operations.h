// Collectives as exchanges of messages that are advanced step by step. MPI's own reductions promise no order of summation, and
// its blocking calls cannot be left when another rank fails; these can, and they overlap with whatever runs between two steps.
#pragma once
#include <algorithm>
#include <cstring>

#include "combine.h"
#include "failure.h"

constexpr int64_t pieceBytes = int64_t{1} << 30;    // one MPI message: its count is a 32-bit int
constexpr int64_t directBytes = 64 * 1024;          // up to here everyone gets everything and sums alone: one round trip
constexpr int64_t segmentBytes = 4 * 1024 * 1024;   // larger reductions go in segments, two on their way at a time
constexpr int userTag = 20000;

// Messages of one step.
class Messages {
 public:
  void send(const Group& group, const void* data, int64_t bytes, int to, int tag) {
    const char* from = static_cast<const char*>(data);
    for (int64_t done = 0; done < bytes; done += pieceBytes) {
      add(group.worldRanks[to]);
      check(MPI_Isend(from + done, static_cast<int>(std::min(pieceBytes, bytes - done)), MPI_BYTE, to, tag, group.comm,
                      &requests.back()),
            "MPI_Isend");
    }
  }
  // Done only when the other side has received, also when there is nothing in it.
  void sendWhenReceived(const Group& group, const void* data, int64_t bytes, int to, int tag) {
    const char* from = static_cast<const char*>(data);
    for (int64_t done = 0; done < bytes || done == 0; done += pieceBytes) {
      add(group.worldRanks[to]);
      check(MPI_Issend(from + done, static_cast<int>(std::min(pieceBytes, bytes - done)), MPI_BYTE, to, tag, group.comm,
                       &requests.back()),
            "MPI_Issend");
    }
  }
  void receive(const Group& group, void* data, int64_t bytes, int from, int tag, bool evenEmpty = false) {
    char* to = static_cast<char*>(data);
    for (int64_t done = 0; done < bytes || (evenEmpty && done == 0); done += pieceBytes) {
      add(group.worldRanks[from], std::min(pieceBytes, bytes - done));
      check(MPI_Irecv(to + done, static_cast<int>(peers.back().bytes), MPI_BYTE, from, tag, group.comm, &requests.back()),
            "MPI_Irecv");
    }
  }
  void broadcast(const Group& group, void* data, int64_t bytes, int root) {
    char* at = static_cast<char*>(data);
    for (int64_t done = 0; done < bytes; done += pieceBytes) {
      add(root == group.rank ? -1 : group.worldRanks[root]);
      check(MPI_Ibcast(at + done, static_cast<int>(std::min(pieceBytes, bytes - done)), MPI_BYTE, root, group.comm,
                       &requests.back()),
            "MPI_Ibcast");
    }
  }
  void barrier(const Group& group) {
    add(-1);
    check(MPI_Ibarrier(group.comm, &requests.back()), "MPI_Ibarrier");
  }
  // Whether all have arrived.
  bool done() {
    if (requests.empty()) return true;
    int flag = 0;
    statuses.resize(requests.size());
    const int code = MPI_Testall(static_cast<int>(requests.size()), requests.data(), &flag, statuses.data());
    if (code == MPI_ERR_IN_STATUS) {
      for (const MPI_Status& status : statuses) {
        if (status.MPI_ERROR != MPI_SUCCESS && status.MPI_ERROR != MPI_ERR_PENDING) check(status.MPI_ERROR, "a transfer");
      }
    }
    check(code, "MPI_Testall");
    if (!flag) return false;
    for (size_t i = 0; i < peers.size(); ++i) {
      if (peers[i].bytes < 0) continue;
      int bytes = 0;
      check(MPI_Get_count(&statuses[i], MPI_BYTE, &bytes), "MPI_Get_count");
      if (bytes != peers[i].bytes) throw MpiError{MPI_ERR_TRUNCATE, "a transfer"};
    }
    requests.clear();
    peers.clear();
    return true;
  }
  // A rank of the world whose work is over and that we still wait for; -1 where there is none.
  int peerThatLeft() const {
    for (size_t i = 0; i < requests.size(); ++i) {
      const int rank = peers[i].worldRank;
      if (rank < 0 || state().left[rank] == 0 || secondsNow() - state().left[rank] < secondsOnTheWay) continue;
      int flag = 0;
      check(MPI_Request_get_status(requests[i], &flag, MPI_STATUS_IGNORE), "MPI_Request_get_status");
      if (!flag) return rank;
    }
    return -1;
  }

 private:
  // Of each request: who it waits for (-1 where that cannot be said), and the bytes of a receive, -1 where it is none.
  struct Peer {
    int worldRank;
    int64_t bytes;
  };
  void add(int worldRank, int64_t bytes = -1) {
    requests.push_back(MPI_REQUEST_NULL);
    peers.push_back({worldRank, bytes});
  }
  std::vector<MPI_Request> requests;
  std::vector<Peer> peers;
  std::vector<MPI_Status> statuses;
};

// "among ranks 0, 2": numbers in the world.
inline std::string membersOf(const Group& group) {
  std::string text = "among ranks ";
  for (int rank = 0; rank < group.size && rank < 8; ++rank) {
    text += (rank == 0 ? "" : ", ") + std::to_string(group.worldRanks[static_cast<size_t>(rank)]);
  }
  return group.size > 8 ? text + " …" : text;
}

struct Operation : Awaited {
  // Does what can be done without waiting; true when all is done. Not called again after that.
  virtual bool advance() = 0;
  bool finished = false;
};

// A step that is begun as a whole: gathers, broadcasts, barriers, point-to-point messages.
struct Step : Operation {
  Step(const Group& group, const char* name, int64_t size, int peer = -1) : group(group), name(name), size(size), peer(peer) {}
  Messages messages;
  bool advance() override { return messages.done(); }
  int peerThatLeft() const override { return messages.peerThatLeft(); }
  std::string text() const override {
    return name + (peer < 0 ? "" : std::to_string(peer)) + " (" + std::to_string(size) + " B) " + membersOf(group);
  }
  double bytes() const override { return static_cast<double>(size); }

 private:
  const Group& group;
  const std::string name;
  const int64_t size;
  const int peer;
};

inline int nextTag(Group& group) { return static_cast<int>(group.sequence++ % 4096) * 4; }

// output[offsets[r] … offsets[r + 1]) = the bytes of rank r.
inline std::unique_ptr<Step> beginGather(Group& group, const void* input, void* output, const int64_t* offsets) {
  auto step = std::make_unique<Step>(group, "a gather", offsets[group.size]);
  const int tag = nextTag(group);
  char* to = static_cast<char*>(output);
  for (int i = 1; i < group.size; ++i) {
    const int from = (group.rank + group.size - i) % group.size;
    step->messages.receive(group, to + offsets[from], offsets[from + 1] - offsets[from], from, tag);
  }
  const int64_t own = offsets[group.rank + 1] - offsets[group.rank];
  for (int i = 1; i < group.size; ++i) step->messages.send(group, input, own, (group.rank + i) % group.size, tag);
  if (to + offsets[group.rank] != input) std::memmove(to + offsets[group.rank], input, own);
  return step;
}

// Reduction in rank order. Rank j owns the elements [bound(j), bound(j + 1)): it receives everyone's, sums them, and, when the
// result is shared, sends them to everyone. Both halves move each byte once, as much as any reduction must.
class Reduction : public Operation {
 public:
  // Of `count` elements, in place, into every rank's `data`.
  static std::unique_ptr<Reduction> shared(Group& group, void* data, int64_t count, int32_t type, int32_t operation) {
    return std::unique_ptr<Reduction>(new Reduction(group, data, data, count, type, operation, true));
  }
  // Of `size · count` elements; rank j's `output` gets the j-th `count` of the sum.
  static std::unique_ptr<Reduction> scattered(Group& group, const void* input, void* output, int64_t count, int32_t type) {
    return std::unique_ptr<Reduction>(
        new Reduction(group, static_cast<const char*>(input), output, count * group.size, type, reduceSum, false));
  }

  bool advance() override {
    bool moved = true;
    while (moved) {
      moved = false;
      for (Slot& slot : slots) {
        if (slot.phase != idle && slot.messages.done()) {
          moved = true;
          next(slot);
        }
        if (slot.phase == idle && started < segments && (started & 1) == &slot - slots) {
          moved = true;
          begin(slot);
        }
      }
    }
    return started == segments && slots[0].phase == idle && slots[1].phase == idle;
  }

  int peerThatLeft() const override {
    const int rank = slots[0].messages.peerThatLeft();
    return rank >= 0 ? rank : slots[1].messages.peerThatLeft();
  }
  std::string text() const override {
    const char* name = !share ? "a reduce-scatter of " : operation == reduceMax ? "an all-reduce (max) of " : "an all-reduce (sum) of ";
    return name + std::to_string(count) + " elements " + membersOf(group);
  }
  double bytes() const override { return static_cast<double>(count * element); }

 private:
  enum Phase { idle, collecting, sharing };
  struct Slot {
    Phase phase = idle;
    int64_t segment = 0;
    Messages messages;
    std::vector<char> staging;
  };

  Reduction(Group& group, const void* input, void* output, int64_t count, int32_t type, int32_t operation, bool share)
      : group(group),
        input(static_cast<const char*>(input)),
        output(static_cast<char*>(output)),
        count(count),
        element(bytesOf(type)),
        type(type),
        operation(operation),
        share(share),
        direct(share && count * element * group.size <= directBytes),
        tag(nextTag(group)),
        parts(group.size) {
    const int64_t longest = direct ? count : (count + group.size - 1) / group.size;
    chunk = direct ? count : std::max<int64_t>(1024, segmentBytes / element / group.size);
    segments = count == 0 ? 0 : (longest + chunk - 1) / chunk;
    advance();
  }

  // count · rank / size without overflow
  int64_t bound(int rank) const { return count / group.size * rank + count % group.size * rank / group.size; }
  int64_t from(int rank, int64_t segment) const {
    return direct ? 0 : std::min(bound(rank) + segment * chunk, bound(rank + 1));
  }
  int64_t length(int rank, int64_t segment) const {
    return direct ? count : std::min(chunk, bound(rank + 1) - from(rank, segment));
  }

  void begin(Slot& slot) {
    slot.segment = started++;
    slot.phase = collecting;
    const int64_t own = length(group.rank, slot.segment) * element;
    slot.staging.resize(static_cast<size_t>(own * (group.size - 1)));
    const int slotTag = tag + static_cast<int>(slot.segment & 1);
    for (int i = 1; i < group.size; ++i) {
      const int rank = (group.rank + group.size - i) % group.size;
      slot.messages.receive(group, stagingOf(slot, rank), own, rank, slotTag);
    }
    for (int i = 1; i < group.size; ++i) {
      const int rank = (group.rank + i) % group.size;
      slot.messages.send(group, input + from(rank, slot.segment) * element, length(rank, slot.segment) * element, rank,
                         slotTag);
    }
  }

  void next(Slot& slot) {
    if (slot.phase == sharing) {
      slot.phase = idle;
      return;
    }
    const int64_t first = from(group.rank, slot.segment), size = length(group.rank, slot.segment);
    for (int rank = 0; rank < group.size; ++rank) {
      parts[rank] = rank == group.rank ? input + first * element : stagingOf(slot, rank);
    }
    // A shared result lies where the input lay; a scattered one begins at this rank's first element.
    char* target = output + (share ? first : first - bound(group.rank)) * element;
    combine(parts.data(), group.size, target, size, type, operation);
    slot.phase = idle;
    if (!share || direct) return;
    slot.phase = sharing;
    const int slotTag = tag + 2 + static_cast<int>(slot.segment & 1);
    for (int i = 1; i < group.size; ++i) {
      const int rank = (group.rank + group.size - i) % group.size;
      slot.messages.receive(group, output + from(rank, slot.segment) * element, length(rank, slot.segment) * element, rank,
                            slotTag);
    }
    for (int i = 1; i < group.size; ++i) {
      slot.messages.send(group, target, size * element, (group.rank + i) % group.size, slotTag);
    }
  }

  char* stagingOf(Slot& slot, int rank) {
    const int place = rank < group.rank ? rank : rank - 1;
    return slot.staging.data() + place * length(group.rank, slot.segment) * element;
  }

  Group& group;
  const char* input;
  char* output;
  const int64_t count, element;
  const int32_t type, operation;
  const bool share, direct;
  const int tag;
  std::vector<const void*> parts;
  int64_t chunk = 0, segments = 0, started = 0;
  Slot slots[2];
};
