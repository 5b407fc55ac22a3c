#include "factor_reader.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace realm {
namespace {

constexpr int64_t kReadBytes = 128 << 10;  // what is read is still in the cache when it is converted

// Each fills `out` and tells whether every number is finite. The loops are such that the compiler takes
// several numbers at a time.
bool floats_are_finite(const float* values, int64_t count) {
  uint32_t endless = 0;
  for (int64_t i = 0; i < count; i++) {
    uint32_t bits;
    std::memcpy(&bits, values + i, 4);
    endless |= (bits & 0x7f800000) == 0x7f800000 ? 1u : 0u;
  }
  return !endless;
}

bool from_float16(const uint16_t* stored, int64_t count, float* out) {
  uint32_t endless = 0;
  for (int64_t i = 0; i < count; i++) {
    const uint32_t half = stored[i], magnitude = half & 0x7fff;
    // As the bits of a float it is 2 ** -112 of what it means, below the smallest normal number too.
    const uint32_t moved = magnitude << 13;
    float value;
    std::memcpy(&value, &moved, 4);
    value *= 5.192296858534828e33f;  // 2 ** 112
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    const uint32_t is_endless = magnitude >= 0x7c00 ? ~0u : 0u;
    bits |= (is_endless & 0x7f800000) | (half & 0x8000) << 16;
    std::memcpy(out + i, &bits, 4);
    endless |= is_endless;
  }
  return !endless;
}

bool from_bfloat16(const uint16_t* stored, int64_t count, float* out) {
  uint32_t endless = 0;
  for (int64_t i = 0; i < count; i++) {
    const uint32_t bits = static_cast<uint32_t>(stored[i]) << 16;
    std::memcpy(out + i, &bits, 4);
    endless |= (bits & 0x7f800000) == 0x7f800000 ? 1u : 0u;
  }
  return !endless;
}

// Rows [first, first + count) of the matrix, given as floats, to where they belong.
void place_rows(const StoredMatrix& matrix, int64_t first, int64_t count, const float* values) {
  if (matrix.turned) {
    for (int64_t c = 0; c < matrix.columns; c++)
      for (int64_t r = 0; r < count; r++)
        matrix.out[c * matrix.rows + first + r] = values[r * matrix.columns + c];
    return;
  }
  const int64_t size = matrix.rows / matrix.heads, half = size / 2;
  for (int64_t r = 0; r < count; r++, values += matrix.columns) {
    const int64_t head = (first + r) / size, within = (first + r) % size;
    const int64_t to = head * size + 2 * (within % half) + within / half;
    std::memcpy(matrix.out + to * matrix.columns, values, 4 * static_cast<size_t>(matrix.columns));
  }
}

class Reader {
 public:
  explicit Reader(int descriptor) : descriptor_(descriptor) {}

  ReadFault read(const StoredMatrix& matrix, int64_t* at) {
    const bool in_order = !matrix.turned && matrix.heads == 0;
    const int64_t row_bytes = matrix.row_bytes();
    const int64_t most = std::max<int64_t>(1, kReadBytes / row_bytes);
    bool finite = true;
    for (int64_t first = 0; first < matrix.rows; first += most) {
      const int64_t rows = std::min(most, matrix.rows - first), count = rows * matrix.columns;
      const size_t bytes = static_cast<size_t>(rows * row_bytes);
      float* floats =
          in_order ? matrix.out + first * matrix.columns : room(&floats_, static_cast<size_t>(count));
      const bool is_whole = matrix.type == StoredType::kFloat32;
      void* stored = is_whole ? static_cast<void*>(floats) : room(&stored_, static_cast<size_t>(count));
      const ReadFault fault = fill(matrix.position + first * row_bytes, stored, bytes, at);
      if (fault != ReadFault::kNone) return fault;
      const uint16_t* narrow = stored_.data();
      finite &= is_whole                              ? floats_are_finite(floats, count)
                : matrix.type == StoredType::kFloat16 ? from_float16(narrow, count, floats)
                                                      : from_bfloat16(narrow, count, floats);
      if (!in_order) place_rows(matrix, first, rows, floats);
    }
    return finite ? ReadFault::kNone : ReadFault::kEndless;
  }

 private:
  template <class T>
  static T* room(std::vector<T>* scratch, size_t count) {
    if (scratch->size() < count) scratch->resize(count);
    return scratch->data();
  }

  ReadFault fill(int64_t position, void* to, size_t bytes, int64_t* at) {
    uint8_t* rest = static_cast<uint8_t*>(to);
    while (bytes > 0) {
      const ssize_t count = pread(descriptor_, rest, bytes, position);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) {
        *at = count < 0 ? errno : position;
        return count < 0 ? ReadFault::kSystem : ReadFault::kEnd;
      }
      rest += count;
      position += count;
      bytes -= static_cast<size_t>(count);
    }
    return ReadFault::kNone;
  }

  const int descriptor_;
  std::vector<float> floats_;
  std::vector<uint16_t> stored_;
};

}  // namespace

ReadOutcome read_matrices(int descriptor, const std::vector<StoredMatrix>& matrices,
                          const std::function<void(const StoredMatrix&)>& read) {
  Reader reader(descriptor);
  for (size_t i = 0; i < matrices.size(); i++) {
    int64_t at = 0;
    const ReadFault fault = reader.read(matrices[i], &at);
    if (fault != ReadFault::kNone) return {fault, static_cast<int64_t>(i), at};
    read(matrices[i]);
  }
  return {ReadFault::kNone, 0, 0};
}

}  // namespace realm
