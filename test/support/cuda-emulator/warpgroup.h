// Part of emulator.h: products of a warpgroup (wgmma). They read a second picture of shared memory, which holds NaN until a thread
// shows it what it has written (the proxy fence), and again from the moment on that a copy to the same place is asked for. They
// run as late as the waits allow; until then their sums hold NaN, and what is written to these is lost. A group of products that
// begins without a fence, and lanes that disagree, give NaN.
#pragma once

namespace emulator {

constexpr unsigned groupSize = 128;
// The address of dynamic shared memory: behind static variables, a multiple of 16 alone.
constexpr unsigned sharedBase = 1024 + 48;

struct Sums {
  float* at[groupSize] = {};
  std::vector<float> values[groupSize];
};

// What a matrix in shared memory is read by: the 64 bits of wgmma's descriptor.
struct Descriptor {
  uint64_t bits;
  bool majorK;  // neighbours in memory are neighbours along k; else along the rows of A, the columns of B

  unsigned field(int first) const { return static_cast<unsigned>(bits >> first & 0x3fff) << 4; }

  // The place of the number at (row of A or column of B, k).
  unsigned addressOf(unsigned at, unsigned k) const {
    const unsigned leading = field(16), stride = field(32), mode = static_cast<unsigned>(bits >> 62);
    if (mode == 0 || (bits >> 49 & 7) != 0) return 0;  // no swizzle, base offsets: not needed so far
    const unsigned line = 256 >> mode;                 // 128, 64 or 32 bytes
    unsigned address = field(0);
    if (majorK) {
      address += at / 8 * stride + at % 8 * line + 2 * k;
    } else {
      const unsigned numbers = line / 2;
      address += at / numbers * leading + at % numbers * 2 + k / 8 * stride + k % 8 * line;
    }
    // 16-byte groups within `line` bytes change places by the number of the 128 bytes they are in
    const unsigned groups = line / 16 - 1;
    return address ^ ((address >> 7 & groups) << 4);
  }
};

struct GroupProduct {
  int columns;
  bool keep, inRegisters, valid;
  Descriptor a, b;
  unsigned registers[groupSize][4];
  float (*decode)(unsigned short);
  unsigned sums;  // number of
  int group;
};

struct Warpgroup {
  std::vector<GroupProduct> products;
  std::vector<Sums> sums;
  unsigned arrived = 0;
  int group = 0;
  // Since the last wait, for all operands; since the last group was closed as well, for operands in registers.
  bool fenced = false, fencedRegisters = false;
};

inline std::vector<Warpgroup> warpgroups;
inline std::vector<unsigned char> pictured;  // shared memory as products see it

inline long offsetOf(const void* place) {
  return static_cast<const unsigned char*>(place) - reinterpret_cast<const unsigned char*>(shared.data());
}
inline bool inDynamic(const void* place, unsigned bytes) {
  const long offset = offsetOf(place);
  return offset >= 0 && offset + bytes <= static_cast<long>(pictured.size());
}
// Products no longer see what was here.
inline void hideFromProducts(const void* place, unsigned bytes) {
  if (inDynamic(place, bytes)) memset(pictured.data() + offsetOf(place), 0xff, bytes);
}
// The next fence of this thread shows it to them.
inline void written(void* place, unsigned bytes) {
  hideFromProducts(place, bytes);
  if (inDynamic(place, bytes)) current->written.push_back({place, place, bytes, bytes, 0});
}
inline void showWritten() {
  for (const Copy& copy : current->written) memcpy(pictured.data() + offsetOf(copy.to), copy.to, copy.bytes);
  current->written.clear();
}

inline void resetWarpgroups() {
  warpgroups.assign((threads + groupSize - 1) / groupSize, {});
  pictured.assign(shared.size() * sizeof(uint4), 0xff);
}

inline Warpgroup& ownGroup() { return warpgroups[current->index / groupSize]; }

// All lanes of a warpgroup meet; the last one does `work` before any goes on.
template <class Work>
void meetGroup(const Work& work) {
  Warpgroup& own = ownGroup();
  if (++own.arrived == groupSize) {
    own.arrived = 0;
    work(own);
  }
  wait(State::atGroup);
}

inline void startGroup() {
  meetGroup([](Warpgroup& own) { own.fenced = own.fencedRegisters = true; });
}
inline void commitGroup() {
  meetGroup([](Warpgroup& own) {
    ++own.group;
    own.fencedRegisters = false;
  });
}

inline float numberAt(const GroupProduct& product, const Descriptor& matrix, unsigned at, unsigned k) {
  const unsigned offset = matrix.addressOf(at, k) - sharedBase;
  if (offset + 2 > pictured.size()) return NAN;
  unsigned short bits;
  memcpy(&bits, pictured.data() + offset, 2);
  return product.decode(bits);
}

__attribute__((optimize("O3"))) inline void runProduct(const GroupProduct& product, Sums& sums) {
  static float a[64][16], b[16][256];
  const unsigned columns = static_cast<unsigned>(product.columns);
  for (unsigned k = 0; k < 16; ++k) {
    for (unsigned column = 0; column < columns; ++column) b[k][column] = numberAt(product, product.b, column, k);
    for (unsigned row = 0; row < 64; ++row) {
      if (!product.inRegisters) {
        a[row][k] = numberAt(product, product.a, row, k);
      } else {  // rows g, g + 8, g, g + 8 at columns 2t, 2t, 2t + 8, 2t + 8
        const unsigned word = product.registers[row / 16 * 32 + row % 8 * 4 + k % 8 / 2][row % 16 / 8 + k / 8 * 2];
        a[row][k] = product.decode(static_cast<unsigned short>(k % 2 ? word >> 16 : word));
      }
    }
  }
  for (unsigned row = 0; row < 64; ++row) {
    float line[256] = {};
    const auto place = [&](unsigned column) -> float& {
      return sums.values[row / 16 * 32 + row % 8 * 4 + column % 8 / 2][column / 8 * 4 + row % 16 / 8 * 2 + column % 2];
    };
    for (unsigned column = 0; column < columns && product.keep; ++column) line[column] = place(column);
    for (unsigned k = 0; k < 16; ++k)
      for (unsigned column = 0; column < columns; ++column) line[column] += a[row][k] * b[k][column];
    for (unsigned column = 0; column < columns; ++column) place(column) = product.valid ? line[column] : NAN;
  }
}

// Lane's part of a product of the warpgroup: sums [64, columns] = (or, where `keep`, +=) A · B, A by its descriptor or in
// registers. `decode` makes a number of 16 bits.
inline void multiplyGroup(float* sums, int columns, const unsigned* registers, Descriptor a, Descriptor b, bool keep,
                          float (*decode)(unsigned short)) {
  Warpgroup& own = ownGroup();
  const unsigned lane = current->index % groupSize;
  if (own.arrived == 0) {
    const bool fenced = registers ? own.fencedRegisters : own.fenced;
    own.products.push_back({columns, keep, registers != nullptr, fenced, a, b, {}, decode, ~0u, own.group});
  }
  GroupProduct& product = own.products.back();
  unsigned number = 0;
  while (number < own.sums.size() && own.sums[number].at[lane] != sums) ++number;
  if (number == own.sums.size()) {
    number = 0;
    while (number < own.sums.size() && own.sums[number].at[lane] != nullptr) ++number;
    if (number == own.sums.size()) own.sums.push_back({});
    own.sums[number].at[lane] = sums;
    own.sums[number].values[lane].assign(sums, sums + columns / 2);
  }
  for (int i = 0; i < columns / 2; ++i) sums[i] = NAN;
  if (own.arrived == 0) product.sums = number;
  product.valid &= product.sums == number && product.columns == columns && product.a.bits == a.bits && product.b.bits == b.bits;
  if (registers) memcpy(product.registers[lane], registers, sizeof(product.registers[lane]));
  meetGroup([](Warpgroup&) {});
}

// Runs the products of all groups but the last `pending`, and hands out the sums that nothing more is to be added to.
inline void waitForGroups(int pending) {
  meetGroup([pending](Warpgroup& own) {
    size_t done = 0;
    for (; done < own.products.size() && own.products[done].group < own.group - pending; ++done)
      runProduct(own.products[done], own.sums[own.products[done].sums]);
    own.products.erase(own.products.begin(), own.products.begin() + static_cast<long>(done));
    for (unsigned number = 0; number < own.sums.size(); ++number) {
      Sums& sums = own.sums[number];
      bool waiting = false;
      for (const GroupProduct& product : own.products) waiting |= product.sums == number;
      if (waiting) continue;
      for (unsigned lane = 0; lane < groupSize; ++lane) {
        for (size_t i = 0; sums.at[lane] && i < sums.values[lane].size(); ++i) sums.at[lane][i] = sums.values[lane][i];
        sums.at[lane] = nullptr;
      }
    }
    own.fenced = own.fencedRegisters = false;
  });
}

}  // namespace emulator
