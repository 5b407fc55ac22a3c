// GGUF blocks in, packed groups out.
#include "formats.h"

#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <mutex>
#include <new>

#include "block_readers.h"

namespace realm {
namespace {

void write_half(uint8_t* p, float value) {
  const uint16_t half = float_to_half(value);
  std::memcpy(p, &half, 2);
}

// Quants as words of four columns; a shift never carries a bit that the mask keeps from one to the next.
constexpr uint32_t plane_mask(int width) { return ((1u << width) - 1) * 0x01010101u; }

// Moves the next kWidth bits of every quant into one row's bytes of a plane, zero so far. Returns its end.
template <int kWidth>
uint8_t* place_plane(const Block& block, int lane, int& taken, uint8_t* to) {
  for (int j = 0; j < kBlockColumns / 4; j++) {
    uint8_t* at = to + 64 * (j % kWidth) + 4 * lane;
    uint32_t quants, placed;
    std::memcpy(&quants, block.quants + 4 * j, 4);
    std::memcpy(&placed, at, 4);
    placed |= ((quants >> taken) & plane_mask(kWidth)) << (kWidth * (j / kWidth));
    std::memcpy(at, &placed, 4);
  }
  taken += kWidth;
  return to + 64 * kWidth;
}

// The inverse of place_plane.
template <int kWidth>
const uint8_t* lift_plane(const uint8_t* from, int lane, int& taken, Block& block) {
  for (int j = 0; j < kBlockColumns / 4; j++) {
    uint32_t quants, placed;
    std::memcpy(&quants, block.quants + 4 * j, 4);
    std::memcpy(&placed, from + 64 * (j % kWidth) + 4 * lane, 4);
    quants |= ((placed >> (kWidth * (j / kWidth))) & plane_mask(kWidth)) << taken;
    std::memcpy(block.quants + 4 * j, &quants, 4);
  }
  taken += kWidth;
  return from + 64 * kWidth;
}

// Writes one row's block into a group's block.
void place(const FormShape& shape, const Block& block, int lane, uint8_t* to) {
  int taken = 0;
  if (shape.bits & 8) to = place_plane<8>(block, lane, taken, to);
  if (shape.bits & 4) to = place_plane<4>(block, lane, taken, to);
  if (shape.bits & 2) to = place_plane<2>(block, lane, taken, to);
  if (shape.bits & 1) to = place_plane<1>(block, lane, taken, to);
  if (shape.stepped()) {
    to[lane] = block.steps[0];
    to[kGroupRows + lane] = block.steps[1];
    to += 2 * kGroupRows;
  }
  write_half(to + 2 * lane, block.scale[0]);
  if (shape.minimum())
    write_half(to + 32 + 2 * lane, block.minimum);
  else if (shape.split)
    write_half(to + 32 + 2 * lane, block.scale[1]);
}

// The inverse of place.
void lift(const FormShape& shape, const uint8_t* from, int lane, Block& block) {
  std::memset(block.quants, 0, sizeof block.quants);
  int taken = 0;
  if (shape.bits & 8) from = lift_plane<8>(from, lane, taken, block);
  if (shape.bits & 4) from = lift_plane<4>(from, lane, taken, block);
  if (shape.bits & 2) from = lift_plane<2>(from, lane, taken, block);
  if (shape.bits & 1) from = lift_plane<1>(from, lane, taken, block);
  if (shape.stepped()) {
    block.steps[0] = from[lane];
    block.steps[1] = from[kGroupRows + lane];
    from += 2 * kGroupRows;
  }
  block.scale[0] = block.scale[1] = read_half(from + 2 * lane);
  block.minimum = 0.0f;
  if (shape.minimum())
    block.minimum = read_half(from + 32 + 2 * lane);
  else if (shape.split)
    block.scale[1] = read_half(from + 32 + 2 * lane);
}

size_t float_bytes(Form form) { return form == Form::kF32 ? 4 : 2; }

float bfloat_to_float(uint16_t bfloat) {
  const uint32_t bits = static_cast<uint32_t>(bfloat) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

constexpr int wide_offset(int column, int lane) {
  const int place = wide_place(column);
  return 64 * (place / 2) + 4 * lane + 2 * (place % 2);
}

// kBlockColumns half floats or bfloat16 into one row's part of a block of kQ16.
void place_wide(Form source, const uint8_t* from, int lane, uint8_t* to) {
  constexpr int kSmallestExponent = kWideWeightBits - 126;  // scales stay normal numbers
  float values[kBlockColumns], largest = 0.0f;
  bool finite = true;
  for (int c = 0; c < kBlockColumns; c++) {
    values[c] = source == Form::kF16 ? read_half(from + 2 * c) : bfloat_to_float(read_u16(from + 2 * c));
    largest = std::max(largest, std::fabs(values[c]));
    finite = finite && std::isfinite(values[c]);
  }
  int exponent = kSmallestExponent;
  if (finite && largest > 0.0f) std::frexp(largest, &exponent);
  exponent = std::max(exponent, kSmallestExponent);
  // A row with a weight that is no number gives none.
  const float scale =
      finite ? std::ldexp(1.0f, exponent - kWideWeightBits) : std::numeric_limits<float>::quiet_NaN();
  const float inverse = finite ? std::ldexp(1.0f, kWideWeightBits - exponent) : 0.0f;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2 ** 23: what is behind the point falls off
  for (int c = 0; c < kBlockColumns; c++) {
    const int16_t quant = finite ? static_cast<int16_t>((values[c] * inverse + kRound) - kRound) : int16_t{0};
    std::memcpy(to + wide_offset(c, lane), &quant, 2);
  }
  uint32_t bits;
  std::memcpy(&bits, &scale, 4);
  const uint16_t top = static_cast<uint16_t>(bits >> 16);
  std::memcpy(to + kWideScales + 2 * lane, &top, 2);
}

// The inverse of place_wide.
void lift_wide(const uint8_t* from, int lane, float* out) {
  const float scale = bfloat_to_float(read_u16(from + kWideScales + 2 * lane));
  for (int c = 0; c < kBlockColumns; c++)
    out[c] = scale * static_cast<int16_t>(read_u16(from + wide_offset(c, lane)));
}

Form packed_form(const Source& source, int columns, bool keep_floats) {
  const bool is_half = source.form == Form::kF16 || source.form == Form::kBF16;
  return is_half && !keep_floats && columns % kBlockColumns == 0 ? Form::kQ16 : source.form;
}

// Of one group.
size_t packed_bytes(Form form, int columns) {
  if (is_float(form)) return static_cast<size_t>(columns) * kGroupRows * float_bytes(form);
  return static_cast<size_t>(columns / kBlockColumns) *
         (form == Form::kQ16 ? kWideBlockBytes : shape_of(form).block_bytes());
}

}  // namespace

bool can_pack(int ggml_type) { return source_of(ggml_type) != nullptr; }

size_t row_bytes(int ggml_type, int columns) {
  const Source* source = source_of(ggml_type);
  if (!source || columns <= 0 || columns % source->columns != 0) return 0;
  return static_cast<size_t>(columns / source->columns) * static_cast<size_t>(source->bytes);
}

bool make_matrix(int ggml_type, int rows, int columns, size_t bytes, Arena& arena, PackedMatrix* matrix,
                 bool keep_floats) {
  const size_t stride = row_bytes(ggml_type, columns);
  if (rows <= 0 || stride == 0 || bytes / stride != static_cast<size_t>(rows) || bytes % stride != 0)
    return false;
  matrix->form = packed_form(*source_of(ggml_type), columns, keep_floats);
  matrix->rows = rows;
  matrix->columns = columns;
  matrix->groups = (rows + kGroupRows - 1) / kGroupRows;
  matrix->group_bytes = packed_bytes(matrix->form, columns);
  matrix->data = arena.allocate(matrix->bytes(), rows % kGroupRows == 0);
  return true;
}

void pack_groups(int ggml_type, const uint8_t* source, PackedMatrix& m, int begin, int end) {
  const Source& from = *source_of(ggml_type);
  const size_t stride = row_bytes(ggml_type, m.columns);
  for (int g = begin; g < end; g++) {
    uint8_t* to = m.data + m.group_bytes * static_cast<size_t>(g);
    const int lanes = std::min(kGroupRows, m.rows - g * kGroupRows);
    const uint8_t* rows = source + stride * static_cast<size_t>(g) * kGroupRows;
    if (m.form == Form::kQ16) {
      for (int b = 0; b < m.columns / kBlockColumns; b++, to += kWideBlockBytes)
        for (int lane = 0; lane < lanes; lane++)
          place_wide(from.form,
                     rows + stride * static_cast<size_t>(lane) + 2 * kBlockColumns * static_cast<size_t>(b),
                     lane, to);
      continue;
    }
    if (is_float(m.form)) {
      const size_t width = float_bytes(m.form);
      for (int lane = 0; lane < lanes; lane++)
        for (int c = 0; c < m.columns; c++)
          std::memcpy(to + (static_cast<size_t>(c) * kGroupRows + static_cast<size_t>(lane)) * width,
                      rows + stride * static_cast<size_t>(lane) + static_cast<size_t>(c) * width, width);
      continue;
    }
    const FormShape& shape = shape_of(m.form);
    Block block;
    for (int b = 0; b < m.columns / kBlockColumns; b++, to += shape.block_bytes())
      for (int lane = 0; lane < lanes; lane++) {
        from.read(rows + stride * static_cast<size_t>(lane), b, block);
        place(shape, block, lane, to);
      }
  }
}

void unpack_row(const PackedMatrix& m, int row, float* out) {
  const int lane = row % kGroupRows;
  const uint8_t* group = m.group(row / kGroupRows);
  if (m.form == Form::kQ16) {
    for (int b = 0; b < m.columns / kBlockColumns; b++, group += kWideBlockBytes, out += kBlockColumns)
      lift_wide(group, lane, out);
    return;
  }
  if (is_float(m.form)) {
    for (int c = 0; c < m.columns; c++) {
      const uint8_t* p =
          group + (static_cast<size_t>(c) * kGroupRows + static_cast<size_t>(lane)) * float_bytes(m.form);
      if (m.form == Form::kF32) {
        std::memcpy(out + c, p, 4);
      } else if (m.form == Form::kF16) {
        out[c] = read_half(p);
      } else {
        out[c] = bfloat_to_float(read_u16(p));
      }
    }
    return;
  }
  const FormShape& shape = shape_of(m.form);
  const int zero = shape.minimum() ? 0 : 1 << shape.zero_shift;
  Block block;
  for (int b = 0; b < m.columns / kBlockColumns; b++, group += shape.block_bytes()) {
    lift(shape, group, lane, block);
    for (int c = 0; c < kBlockColumns; c++, out++) {
      const int quant = shape.codebook ? kCodebook[block.quants[c]] : block.quants[c];
      float scale = block.scale[c / 16], minimum = block.minimum;
      if (shape.stepped()) {
        scale *= static_cast<float>(block.steps[c / 16] & 15);
        minimum *= static_cast<float>(block.steps[c / 16] >> 4);
      }
      *out = scale * static_cast<float>(quant - zero) + minimum;
    }
  }
}

float half_to_float(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  uint32_t exponent = (half >> 10) & 31, mantissa = half & 1023;
  uint32_t bits;
  if (exponent == 31) {
    bits = sign | 0x7f800000 | (mantissa << 13);
  } else if (exponent != 0) {
    bits = sign | ((exponent + 112) << 23) | (mantissa << 13);
  } else {
    const float value = static_cast<float>(mantissa) * 5.9604644775390625e-8f;  // 2 ** -24
    std::memcpy(&bits, &value, 4);
    bits |= sign;
  }
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

uint16_t float_to_half(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000);
  bits &= 0x7fffffff;
  if (bits > 0x7f800000) return static_cast<uint16_t>(sign | 0x7e00 | ((bits >> 13) & 0x1ff));
  if (bits >= 0x477ff000) return static_cast<uint16_t>(sign | 0x7c00);  // rounds to infinity
  if (bits < 0x38800000) {                                              // below the smallest normal half
    float magnitude;
    std::memcpy(&magnitude, &bits, 4);
    const float shifted = magnitude + 0.5f;  // the addition rounds to multiples of 2 ** -24, to even on ties
    uint32_t rounded;
    std::memcpy(&rounded, &shifted, 4);
    return static_cast<uint16_t>(sign | (rounded - 0x3f000000));
  }
  const uint32_t odd = (bits >> 13) & 1;
  bits += 0xfff + odd - (112u << 23);
  return static_cast<uint16_t>(sign | (bits >> 13));
}

// Pieces that no arena has, all of one size.
constexpr size_t kRecycledBytes = size_t{8} << 20, kHugePage = size_t{2} << 20, kSystemPage = 4096;
struct Arena::Recycled {
  static constexpr size_t kMost = 8;
  std::mutex mutex;
  std::vector<Piece> pieces;
};

Arena::Recycled& Arena::recycled() {
  static Recycled* const pieces = new Recycled;  // arenas may outlive static objects
  return *pieces;
}

Arena::~Arena() {
  for (const Piece& piece : pieces_) {
    if (is_recycled_ && piece.size == kRecycledBytes) {
      Recycled& others = recycled();
      const std::lock_guard<std::mutex> lock(others.mutex);
      if (others.pieces.size() < Recycled::kMost) {
        others.pieces.push_back({piece.base, piece.size, 0, false});
        continue;
      }
    }
    munmap(piece.base, piece.size);
  }
}

Arena::Piece Arena::new_piece(size_t bytes) {
  void* base =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
  madvise(base, bytes, MADV_HUGEPAGE);
#endif
  return {static_cast<uint8_t*>(base), bytes, 0, true};
}

bool Arena::prepare(size_t bytes) {
  Recycled& others = recycled();
  Piece piece;
  {
    const std::lock_guard<std::mutex> lock(others.mutex);
    const bool is_missing = others.pieces.empty();
    piece = is_missing ? new_piece(kRecycledBytes) : others.pieces.back();
    if (!piece.is_clear) return false;  // it was used before
    if (!is_missing) others.pieces.pop_back();
  }
  const size_t end = std::min({bytes, piece.size, piece.ready + kHugePage});
  for (; piece.ready < end; piece.ready += kSystemPage)
    *const_cast<volatile uint8_t*>(piece.base + piece.ready) = 0;
  const std::lock_guard<std::mutex> lock(others.mutex);
  others.pieces.push_back(piece);
  return piece.ready < std::min(bytes, piece.size);
}

void Arena::add_piece(size_t bytes) {
  const size_t size = std::max(bytes, piece_bytes_);
  if (is_recycled_ && size == kRecycledBytes) {
    Recycled& others = recycled();
    const std::lock_guard<std::mutex> lock(others.mutex);
    if (!others.pieces.empty()) {
      pieces_.push_back(others.pieces.back());
      others.pieces.pop_back();
      return;
    }
  }
  pieces_.push_back(new_piece(size));
}

uint8_t* Arena::allocate(size_t bytes, bool is_filled) {
  bytes = (bytes + 63) / 64 * 64;
  if (pieces_.empty() || pieces_.back().size - pieces_.back().used < bytes) add_piece(bytes);
  Piece& piece = pieces_.back();
  uint8_t* result = piece.base + piece.used;
  piece.used += bytes;
  used_ += bytes;
  if (!piece.is_clear && !is_filled) std::memset(result, 0, bytes);
  return result;
}

}  // namespace realm
