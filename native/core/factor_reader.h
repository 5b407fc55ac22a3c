// Reads the factors of an adapter out of its file as floats. It trusts no byte: a file may end early, a
// number may be none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace realm {

enum class StoredType : int { kFloat32 = 0, kFloat16 = 1, kBfloat16 = 2 };

// A matrix as it stands in a file, little-endian, row after row, and where its floats go.
struct StoredMatrix {
  int64_t position;  // of its first byte
  StoredType type;
  int64_t rows, columns;
  int64_t heads;  // above 0: rows of each head alternate between its halves afterwards, (0, half, 1, half +
                  // 1, ...)
  bool turned;    // it becomes [columns][rows]; then heads is 0
  float* out;

  int64_t row_bytes() const { return columns * (type == StoredType::kFloat32 ? 4 : 2); }
};

enum class ReadFault : int {
  kNone = 0,
  kEnd = 1,      // the file ends at byte `at`
  kSystem = 2,   // the operating system's error number is `at`
  kEndless = 3,  // a number of the matrix is not finite; all of it is there
};

struct ReadOutcome {
  ReadFault fault;
  int64_t index, at;  // index: of the first matrix that it is about
};

// read: called with every matrix that is there.
ReadOutcome read_matrices(int descriptor, const std::vector<StoredMatrix>& matrices,
                          const std::function<void(const StoredMatrix&)>& read);

}  // namespace realm
