// Reads the factors of an adapter out of its file and hashes them. It trusts no byte: a file may end early, a
// number may be none.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "blake3.h"

namespace realm {

// A matrix as it stands in a file, little-endian, row after row.
struct StoredMatrix {
  int64_t position;  // of its first byte; of a given one, among the given numbers' bytes
  Form form;         // kF32, kF16 or kBF16
  int64_t rows, columns;
  int64_t heads;  // above 0: rows of each head alternate between its halves afterwards, (0, half, 1, half +
                  // 1, ...)
  bool turned;    // it becomes [columns][rows]; then heads is 0
  bool given;     // it is in no file but in memory, as float32
  int64_t place;  // of its first number among all of the adapter

  int64_t count() const { return rows * columns; }
  size_t width() const { return Numbers{form}.width(); }
  size_t bytes() const { return width() * static_cast<size_t>(count()); }
  int64_t row_bytes() const { return columns * static_cast<int64_t>(width()); }
};

// Where all numbers of an adapter stand: matrices in the order of their places, without gaps, and parts of
// whole matrices, each of which is read and hashed at once.
struct StoredFactors {
  struct Part {
    size_t first_matrix, end_matrix;
    int64_t begin, end;  // places
  };
  std::vector<StoredMatrix> matrices;
  std::vector<Part> parts;
  int64_t given_count = 0;  // numbers that must be given

  int64_t count() const { return parts.empty() ? 0 : parts.back().end; }
};

enum class ReadFault : int {
  kNone = 0,
  kEnd = 1,      // the file ends at byte `at`
  kSystem = 2,   // the operating system's error number is `at`
  kEndless = 3,  // a number of the matrix is not finite: told by read_floats alone
  kWait = 4,     // it would have to wait for the disk
};

struct ReadOutcome {
  ReadFault fault;
  int64_t index, at;  // index: of the first matrix that it is about
};

// What one thread needs to read parts; its memory is kept for the next one.
class FactorReader {
 public:
  FactorReader(const StoredFactors& stored, int descriptor, const float* given, const KernelTable& kernels)
      : stored_(stored), descriptor_(descriptor), given_(given), kernels_(kernels) {}

  // may_wait: else what is not in the system's cache is a fault. The part's numbers as they are stored, in
  // the adapter's order, one matrix after another: there until the next call. digest: of them.
  ReadOutcome read(size_t part, bool may_wait, const uint8_t** numbers, Digest* digest);
  // The same as floats, from `out` on.
  ReadOutcome read_floats(size_t part, float* out, Digest* digest);

 private:
  // Memory that is not initialised.
  struct Room {
    uint8_t* reserve(size_t bytes);
    std::unique_ptr<uint8_t[]> data;
    size_t size = 0;
  };
  ReadFault fill(const StoredMatrix& matrix, uint8_t* to, int64_t* at);
  ReadFault read_file(int64_t position, uint8_t* to, size_t bytes, int64_t* at) const;
  ssize_t read_once(int64_t position, uint8_t* to, size_t bytes) const;

  const StoredFactors& stored_;
  const int descriptor_;
  const float* given_;
  const KernelTable& kernels_;
  bool may_wait_ = true;
  Room stored_bytes_, in_file_order_;
};

}  // namespace realm
