#include "factor_reader.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace realm {
namespace {

// From the file's order to the adapter's.
void place(const StoredMatrix& matrix, const uint8_t* from, uint8_t* to) {
  if (matrix.turned) {
    const size_t width = matrix.width();
    for (int64_t r = 0; r < matrix.rows; r++)
      for (int64_t c = 0; c < matrix.columns; c++, from += width)
        std::memcpy(to + static_cast<size_t>(c * matrix.rows + r) * width, from, width);
    return;
  }
  const int64_t size = matrix.rows / matrix.heads, half = size / 2, row_bytes = matrix.row_bytes();
  for (int64_t r = 0; r < matrix.rows; r++, from += row_bytes) {
    const int64_t within = r % size;
    std::memcpy(to + (r - within + 2 * (within % half) + within / half) * row_bytes, from,
                static_cast<size_t>(row_bytes));
  }
}

}  // namespace

uint8_t* FactorReader::Room::reserve(size_t bytes) {
  if (size < bytes) {
    data.reset(new uint8_t[bytes]);
    size = bytes;
  }
  return data.get();
}

ssize_t FactorReader::read_once(int64_t position, uint8_t* to, size_t bytes) const {
#ifdef RWF_NOWAIT
  iovec place{to, bytes};
  if (!may_wait_) return preadv2(descriptor_, &place, 1, position, RWF_NOWAIT);
#endif
  return pread(descriptor_, to, bytes, position);
}

ReadFault FactorReader::read_file(int64_t position, uint8_t* to, size_t bytes, int64_t* at) const {
  while (bytes > 0) {
    const ssize_t count = read_once(position, to, bytes);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && !may_wait_) return ReadFault::kWait;  // or it fails: so it will again
    if (count <= 0) {
      *at = count < 0 ? errno : position;
      return count < 0 ? ReadFault::kSystem : ReadFault::kEnd;
    }
    to += count;
    position += count;
    bytes -= static_cast<size_t>(count);
  }
  return ReadFault::kNone;
}

ReadFault FactorReader::fill(const StoredMatrix& matrix, uint8_t* to, int64_t* at) {
  if (matrix.given) {
    std::memcpy(to, reinterpret_cast<const uint8_t*>(given_) + matrix.position, matrix.bytes());
    return ReadFault::kNone;
  }
  if (!matrix.turned && matrix.heads == 0) return read_file(matrix.position, to, matrix.bytes(), at);
  uint8_t* from = in_file_order_.reserve(matrix.bytes());
  const ReadFault fault = read_file(matrix.position, from, matrix.bytes(), at);
  if (fault != ReadFault::kNone) return fault;
  place(matrix, from, to);
  return ReadFault::kNone;
}

ReadOutcome FactorReader::read(size_t part, bool may_wait, const uint8_t** numbers, Digest* digest) {
  may_wait_ = may_wait;
  const StoredFactors::Part& range = stored_.parts[part];
  const StoredMatrix* const matrices = stored_.matrices.data();
  size_t bytes = 0;
  for (size_t i = range.first_matrix; i < range.end_matrix; i++) bytes += matrices[i].bytes();
  uint8_t* to = stored_bytes_.reserve(bytes);
  *numbers = to;
  for (size_t i = range.first_matrix; i < range.end_matrix; to += matrices[i++].bytes()) {
    int64_t at = 0;
    const ReadFault fault = fill(matrices[i], to, &at);
    if (fault != ReadFault::kNone) return {fault, static_cast<int64_t>(i), at};
  }
  *digest = dealt_blake3(kernels_, *numbers, bytes);
  return {ReadFault::kNone, 0, 0};
}

ReadOutcome FactorReader::read_floats(size_t part, float* out, Digest* digest) {
  const uint8_t* numbers;
  const ReadOutcome outcome = read(part, true, &numbers, digest);
  if (outcome.fault != ReadFault::kNone) return outcome;
  for (size_t i = stored_.parts[part].first_matrix; i < stored_.parts[part].end_matrix; i++) {
    const StoredMatrix& matrix = stored_.matrices[i];
    if (!kernels_.read_numbers({matrix.form, numbers}, matrix.count(), out))
      return {ReadFault::kEndless, static_cast<int64_t>(i), 0};
    numbers += matrix.bytes();
    out += matrix.count();
  }
  return outcome;
}

}  // namespace realm
