// GGUF blocks in, packed groups out. Block layouts: ggml's GGUF specification (docs/gguf.md) and quantization
// types.
#include "formats.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>

namespace realm {
namespace {

// One block of 32 columns of one row: unsigned quants and what they are multiplied with.
struct Block {
  uint8_t quants[kBlockColumns];
  float scale[2];  // both equal but for forms with a scale for 16 columns
  float minimum;
};

uint16_t read_u16(const uint8_t* p) {
  uint16_t value;
  std::memcpy(&value, p, 2);
  return value;
}
float read_half(const uint8_t* p) { return half_to_float(read_u16(p)); }

void nibbles(const uint8_t* p, uint8_t* quants) {
  for (int i = 0; i < 16; i++) {
    quants[i] = p[i] & 15;
    quants[i + 16] = p[i] >> 4;
  }
}
void fifth_bits(const uint8_t* p, uint8_t* quants) {
  uint32_t bits;
  std::memcpy(&bits, p, 4);
  for (int i = 0; i < 32; i++) quants[i] |= static_cast<uint8_t>(((bits >> i) & 1) << 4);
}
void set_scale(Block& b, float scale, float minimum = 0.0f) {
  b.scale[0] = b.scale[1] = scale;
  b.minimum = minimum;
}

void read_q4_0(const uint8_t* row, int block, Block& b) {
  const uint8_t* p = row + block * 18;
  nibbles(p + 2, b.quants);
  set_scale(b, read_half(p));
}
void read_q4_1(const uint8_t* row, int block, Block& b) {
  const uint8_t* p = row + block * 20;
  nibbles(p + 4, b.quants);
  set_scale(b, read_half(p), read_half(p + 2));
}
void read_q5_0(const uint8_t* row, int block, Block& b) {
  const uint8_t* p = row + block * 22;
  nibbles(p + 6, b.quants);
  fifth_bits(p + 2, b.quants);
  set_scale(b, read_half(p));
}
void read_q5_1(const uint8_t* row, int block, Block& b) {
  const uint8_t* p = row + block * 24;
  nibbles(p + 8, b.quants);
  fifth_bits(p + 4, b.quants);
  set_scale(b, read_half(p), read_half(p + 2));
}
void read_q8_0(const uint8_t* row, int block, Block& b) {
  const uint8_t* p = row + block * 34;
  for (int i = 0; i < 32; i++) b.quants[i] = static_cast<uint8_t>(p[2 + i] ^ 0x80);
  set_scale(b, read_half(p));
}
// Scale and minimum of sub-block j of a Q4_K or Q5_K block: twelve bytes hold eight pairs of six bits.
void k_scales(const uint8_t* p, int j, float d, float dmin, Block& b) {
  const int scale = j < 4 ? p[j] & 63 : (p[j + 4] & 15) | ((p[j - 4] >> 6) << 4);
  const int minimum = j < 4 ? p[j + 4] & 63 : (p[j + 4] >> 4) | ((p[j] >> 6) << 4);
  set_scale(b, d * static_cast<float>(scale), -dmin * static_cast<float>(minimum));
}
void read_q4_k(const uint8_t* row, int block, Block& b) {
  const uint8_t* p = row + block / 8 * 144;
  const int j = block % 8;
  k_scales(p + 4, j, read_half(p), read_half(p + 2), b);
  const uint8_t* q = p + 16 + j / 2 * 32;
  for (int i = 0; i < 32; i++) b.quants[i] = j % 2 ? q[i] >> 4 : q[i] & 15;
}
void read_q5_k(const uint8_t* row, int block, Block& b) {
  const uint8_t* p = row + block / 8 * 176;
  const int j = block % 8;
  k_scales(p + 4, j, read_half(p), read_half(p + 2), b);
  const uint8_t *high = p + 16, *q = p + 48 + j / 2 * 32;
  for (int i = 0; i < 32; i++) {
    const int low = j % 2 ? q[i] >> 4 : q[i] & 15;
    b.quants[i] = static_cast<uint8_t>(low | (((high[i] >> j) & 1) << 4));
  }
}
void read_q6_k(const uint8_t* row, int block, Block& b) {
  const uint8_t* p = row + block / 8 * 210;
  const int j = block % 8, half = j / 4, part = j % 4;
  const uint8_t* low = p + half * 64 + (part % 2) * 32;
  const uint8_t* high = p + 128 + half * 32;
  const int8_t* scales = reinterpret_cast<const int8_t*>(p + 192) + half * 8 + part * 2;
  for (int i = 0; i < 32; i++) {
    const int nibble = part < 2 ? low[i] & 15 : low[i] >> 4;
    b.quants[i] = static_cast<uint8_t>(nibble | (((high[i] >> (2 * part)) & 3) << 4));
  }
  const float d = read_half(p + 208);
  b.scale[0] = d * static_cast<float>(scales[0]);
  b.scale[1] = d * static_cast<float>(scales[1]);
  b.minimum = 0.0f;
}

// One row of the table for every GGML block type that can run.
struct Source {
  int ggml_type;
  Form form;
  int columns;  // of one GGUF block
  int bytes;    // of one GGUF block
  void (*read)(const uint8_t* row, int block, Block& b);
};
constexpr Source kSources[] = {
    {0, Form::kF32, 1, 4, nullptr},          {1, Form::kF16, 1, 2, nullptr},
    {30, Form::kBF16, 1, 2, nullptr},        {2, Form::kQ4, 32, 18, read_q4_0},
    {3, Form::kQ4Min, 32, 20, read_q4_1},    {6, Form::kQ5, 32, 22, read_q5_0},
    {7, Form::kQ5Min, 32, 24, read_q5_1},    {8, Form::kQ8, 32, 34, read_q8_0},
    {12, Form::kQ4Min, 256, 144, read_q4_k}, {13, Form::kQ5Min, 256, 176, read_q5_k},
    {14, Form::kQ6, 256, 210, read_q6_k},
};
const Source* source_of(int ggml_type) {
  for (const Source& s : kSources)
    if (s.ggml_type == ggml_type) return &s;
  return nullptr;
}

int bits_of(Form form) {
  return form == Form::kQ8 ? 8 : form == Form::kQ6 ? 6 : form == Form::kQ5 || form == Form::kQ5Min ? 5 : 4;
}
size_t plane_bytes(Form form) {
  return form == Form::kQ8 ? 512 : 256 + 64 * static_cast<size_t>(bits_of(form) - 4);
}
bool has_minimum(Form form) { return form == Form::kQ4Min || form == Form::kQ5Min; }

// Writes one row's quants into the planes of a group's block (the inverse of kernels.inc's part<J>).
void place(Form form, const Block& b, int lane, uint8_t* to) {
  for (int c = 0; c < kBlockColumns; c++) {
    const int j = c / 4, byte = 4 * lane + c % 4;
    const uint8_t q = b.quants[c];
    if (form == Form::kQ8) {
      to[64 * j + byte] = q;
      continue;
    }
    to[64 * (j % 4) + byte] |= static_cast<uint8_t>((q & 15) << (j < 4 ? 0 : 4));
    if (bits_of(form) == 5) to[256 + byte] |= static_cast<uint8_t>((q >> 4) << j);
    if (bits_of(form) == 6) to[256 + 64 * (j / 4) + byte] |= static_cast<uint8_t>((q >> 4) << (2 * (j % 4)));
  }
  const size_t scales = plane_bytes(form);
  const uint16_t first = float_to_half(b.scale[0]);
  std::memcpy(to + scales + 2 * lane, &first, 2);
  if (form == Form::kQ6 || has_minimum(form)) {
    const uint16_t second = float_to_half(form == Form::kQ6 ? b.scale[1] : b.minimum);
    std::memcpy(to + scales + 32 + 2 * lane, &second, 2);
  }
}

uint8_t quant_at(Form form, const uint8_t* block, int lane, int c) {
  const int j = c / 4, byte = 4 * lane + c % 4;
  if (form == Form::kQ8) return block[64 * j + byte];
  uint8_t q = (block[64 * (j % 4) + byte] >> (j < 4 ? 0 : 4)) & 15;
  if (bits_of(form) == 5) q |= static_cast<uint8_t>(((block[256 + byte] >> j) & 1) << 4);
  if (bits_of(form) == 6)
    q |= static_cast<uint8_t>(((block[256 + 64 * (j / 4) + byte] >> (2 * (j % 4))) & 3) << 4);
  return q;
}

size_t float_bytes(Form form) { return form == Form::kF32 ? 4 : 2; }

}  // namespace

bool form_of(int ggml_type, Form* form) {
  const Source* source = source_of(ggml_type);
  if (source) *form = source->form;
  return source != nullptr;
}

size_t row_bytes(int ggml_type, int columns) {
  const Source* source = source_of(ggml_type);
  if (!source || columns <= 0 || columns % source->columns != 0) return 0;
  return static_cast<size_t>(columns / source->columns) * static_cast<size_t>(source->bytes);
}

bool make_matrix(int ggml_type, int rows, int columns, size_t bytes, Arena& arena, PackedMatrix* matrix) {
  const size_t stride = row_bytes(ggml_type, columns);
  if (rows <= 0 || stride == 0 || bytes / stride != static_cast<size_t>(rows) || bytes % stride != 0)
    return false;
  form_of(ggml_type, &matrix->form);
  matrix->rows = rows;
  matrix->columns = columns;
  matrix->groups = (rows + kGroupRows - 1) / kGroupRows;
  matrix->group_bytes = is_quantized(matrix->form)
                            ? block_bytes(matrix->form) * static_cast<size_t>(columns / kBlockColumns)
                            : static_cast<size_t>(columns) * kGroupRows * float_bytes(matrix->form);
  matrix->data = arena.allocate(matrix->bytes());
  return true;
}

void pack_groups(int ggml_type, const uint8_t* source, PackedMatrix& m, int begin, int end) {
  const Source& from = *source_of(ggml_type);
  const size_t stride = row_bytes(ggml_type, m.columns);
  for (int g = begin; g < end; g++) {
    uint8_t* to = m.data + m.group_bytes * static_cast<size_t>(g);
    const int lanes = std::min(kGroupRows, m.rows - g * kGroupRows);
    const uint8_t* rows = source + stride * static_cast<size_t>(g) * kGroupRows;
    if (!is_quantized(m.form)) {
      const size_t width = float_bytes(m.form);
      for (int lane = 0; lane < lanes; lane++)
        for (int c = 0; c < m.columns; c++)
          std::memcpy(to + (static_cast<size_t>(c) * kGroupRows + static_cast<size_t>(lane)) * width,
                      rows + stride * static_cast<size_t>(lane) + static_cast<size_t>(c) * width, width);
      continue;
    }
    Block block;
    for (int b = 0; b < m.columns / kBlockColumns; b++, to += block_bytes(m.form))
      for (int lane = 0; lane < lanes; lane++) {
        from.read(rows + stride * static_cast<size_t>(lane), b, block);
        place(m.form, block, lane, to);
      }
  }
}

void unpack_row(const PackedMatrix& m, int row, float* out) {
  const int lane = row % kGroupRows;
  const uint8_t* group = m.group(row / kGroupRows);
  if (!is_quantized(m.form)) {
    for (int c = 0; c < m.columns; c++) {
      const uint8_t* p =
          group + (static_cast<size_t>(c) * kGroupRows + static_cast<size_t>(lane)) * float_bytes(m.form);
      if (m.form == Form::kF32) {
        std::memcpy(out + c, p, 4);
      } else if (m.form == Form::kF16) {
        out[c] = read_half(p);
      } else {
        const uint32_t bits = static_cast<uint32_t>(read_u16(p)) << 16;
        std::memcpy(out + c, &bits, 4);
      }
    }
    return;
  }
  const int zero = has_minimum(m.form) ? 0 : 1 << (bits_of(m.form) - 1);
  for (int b = 0; b < m.columns / kBlockColumns; b++, group += block_bytes(m.form)) {
    const uint8_t* scales = group + plane_bytes(m.form) + 2 * lane;
    const float first = read_half(scales);
    const float second = m.form == Form::kQ6 ? read_half(scales + 32) : first;
    const float minimum = has_minimum(m.form) ? read_half(scales + 32) : 0.0f;
    for (int c = 0; c < kBlockColumns; c++)
      out[b * kBlockColumns + c] =
          (c < 16 ? first : second) * static_cast<float>(quant_at(m.form, group, lane, c) - zero) + minimum;
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

Arena::~Arena() {
  for (const Piece& piece : pieces_) munmap(piece.base, piece.size);
}

uint8_t* Arena::allocate(size_t bytes) {
  bytes = (bytes + 63) / 64 * 64;
  if (pieces_.empty() || pieces_.back().size - pieces_.back().used < bytes) {
    const size_t size = std::max<size_t>(bytes, size_t{256} << 20);
    void* base =
        mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
    madvise(base, size, MADV_HUGEPAGE);
#endif
    pieces_.push_back({static_cast<uint8_t*>(base), size, 0});
  }
  Piece& piece = pieces_.back();
  uint8_t* result = piece.base + piece.used;
  piece.used += bytes;
  used_ += bytes;
  return result;
}

}  // namespace realm
