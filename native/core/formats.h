// Packed weight layout: what every kernel reads. See docs/decisions/0001-packed-layout.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace realm {

constexpr int kGroupRows = 16;     // output rows that one vector of accumulators holds
constexpr int kBlockColumns = 32;  // input columns that share a scale
constexpr int kTileRows = 8;       // activation rows that one activation block holds

// How the weights of one block are stored. Zeros and minimums follow the GGUF block they come from.
enum class Form : int {
  kQ2Min = 0,       // 2 bits, value = scale * q + minimum, a scale and a minimum for 16 columns
  kQ3 = 1,          // 3 bits, value = scale * (q - 4), one scale for 16 columns
  kQ4 = 2,          // 4 bits, value = scale * (q - 8)
  kQ4Min = 3,       // 4 bits, value = scale * q + minimum
  kQ4Codebook = 4,  // 4 bits, value = scale * (kCodebook[q] - 128)
  kQ5 = 5,          // 5 bits, value = scale * (q - 16)
  kQ5Min = 6,       // 5 bits, value = scale * q + minimum
  kQ6 = 7,          // 6 bits, value = scale * (q - 32), one scale for 16 columns
  kQ8 = 8,          // 8 bits, value = scale * (q - 128)
  kQ16 = 9,         // 16 bits, value = scale * q, a power of two: F16 and BF16 of a model
  kF16 = 10,
  kBF16 = 11,
  kF32 = 12,
};

constexpr bool is_float(Form form) { return static_cast<int>(form) >= static_cast<int>(Form::kF16); }
// Whether the form is multiplied with activations of 16 bits. Weights of two bits are, since a model of them
// suffers most from what int8 loses.
constexpr bool is_wide(Form form) { return form == Form::kQ16 || form == Form::kQ2Min; }
constexpr bool is_bytes(Form form) { return !is_float(form) && !is_wide(form); }

// What a quantized form's block of 16 rows and 32 columns is made of: planes of quants, then numbers for
// every row. A plane of `width` bits is `width` vectors of 64 bytes; columns 4 j .. 4 j + 3 of row r are
// bytes 4 r .. 4 r + 3 of vector j % width, moved up by width * (j / width) bits. A form has the planes whose
// widths add up to its bits, the widest first, which holds the lowest bits.
struct FormShape {
  int bits;
  int zero_shift;  // the quant of zero is 1 << zero_shift; 0: the form has minimums instead
  bool split;      // a scale (and minimum) for 16 columns instead of 32
  bool codebook;   // quants are indices into kCodebook

  constexpr bool minimum() const { return zero_shift == 0; }
  // Both: sixteen bytes a half, whose low four bits multiply the scale and whose high four the minimum.
  constexpr bool stepped() const { return split && minimum(); }
  constexpr size_t plane_bytes() const { return 64 * static_cast<size_t>(bits); }
  constexpr size_t block_bytes() const {
    return plane_bytes() + (stepped() ? 96 : split || minimum() ? 64 : 32);
  }
};
constexpr FormShape kFormShapes[] = {
    {2, 0, true, false},   // kQ2Min
    {3, 2, true, false},   // kQ3
    {4, 3, false, false},  // kQ4
    {4, 0, false, false},  // kQ4Min
    {4, 7, false, true},   // kQ4Codebook
    {5, 4, false, false},  // kQ5
    {5, 0, false, false},  // kQ5Min
    {6, 5, true, false},   // kQ6
    {8, 7, false, false},  // kQ8
};
constexpr const FormShape& shape_of(Form form) { return kFormShapes[static_cast<int>(form)]; }

// A block of kQ16: of four columns from 4 j, the first and third of row r are int16 2 r and 2 r + 1 of vector
// 2 j, the others of vector 2 j + 1; then sixteen scales as bfloat16. Magnitudes stay below 2^14 and those of
// its activations below 2^12, so that the sum of a block's 32 products is an int32. What is at least an
// eighth of its block's largest weight is kept exactly.
constexpr int kWideWeightBits = 14, kWideActivationLimit = 4095;
constexpr size_t kWideScales = 2 * kGroupRows * kBlockColumns;
constexpr size_t kWideBlockBytes = kWideScales + 2 * kGroupRows;

// The sixteen weights of IQ4_NL and IQ4_XS, 128 added (`kvalues_iq4nl` in ggml-common.h).
constexpr uint8_t kCodebook[16] = {1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241};

// Eight rows of activations, 32 columns: what one step of the integer kernels eats.
struct alignas(64) ActivationBlock {
  int8_t quants[kTileRows][kBlockColumns];
  float scale[kTileRows];              // value = scale * quant
  float scaled_sum[kTileRows];         // scale * sum of the quants
  int32_t negative_sum[2][kTileRows];  // minus the sum of columns 0..15 and 16..31
};

// The same as 16 bits. Of four columns the second and third have changed places: so they meet bytes of
// weights that are widened in place.
struct alignas(64) WideActivationBlock {
  int16_t quants[kTileRows][kBlockColumns];
  float scale[kTileRows];
  int32_t negative_sum[2][kTileRows];
};
constexpr int wide_place(int column) {
  return column % 4 == 1 ? column + 1 : column % 4 == 2 ? column - 1 : column;
}

struct PackedMatrix {
  Form form = Form::kF32;
  int rows = 0;     // outputs, without padding
  int columns = 0;  // inputs
  int groups = 0;   // ceil(rows / 16)
  size_t group_bytes = 0;
  uint8_t* data = nullptr;

  const uint8_t* group(int index) const { return data + group_bytes * static_cast<size_t>(index); }
  size_t bytes() const { return group_bytes * static_cast<size_t>(groups); }
};

// Memory that weights live in: reserved in large pieces, handed out in order, freed together.
class Arena {
 public:
  // is_recycled: pieces come from arenas that are gone, and go on to later ones; some are kept for them.
  // Memory that the process has used before costs far less than memory that the system must clear or find
  // first.
  explicit Arena(size_t piece_bytes = size_t{256} << 20, bool is_recycled = false)
      : piece_bytes_(piece_bytes), is_recycled_(is_recycled) {}
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  // 64-byte aligned; zero filled unless the caller fills all of it.
  uint8_t* allocate(size_t bytes, bool is_filled = false);
  size_t used() const { return used_; }

  // A bit of work on memory for the next recycled arena, which the system finds and clears now; whether there
  // is more to do until so much of it is ready.
  static bool prepare(size_t bytes);

 private:
  struct Piece {
    uint8_t* base;
    size_t size, used;
    bool is_clear;     // all zeros where it is not used
    size_t ready = 0;  // bytes that the system has given, as far as is known
  };
  struct Recycled;
  static Recycled& recycled();
  static Piece new_piece(size_t bytes);
  void add_piece(size_t bytes);

  const size_t piece_bytes_;
  const bool is_recycled_;
  std::vector<Piece> pieces_;
  size_t used_ = 0;
};

// Whether a GGML block type can be packed.
bool can_pack(int ggml_type);
// Bytes of `columns` values of a GGML block type; 0 when columns do not divide into blocks.
size_t row_bytes(int ggml_type, int columns);
// A matrix of this block type with memory of the arena, not filled yet. false: the type cannot run, the
// columns do not divide into blocks, or `bytes` is not what rows and columns say. keep_floats: F16 and BF16
// stay what they are, as they also do when the columns do not divide by 32.
bool make_matrix(int ggml_type, int rows, int columns, size_t bytes, Arena& arena, PackedMatrix* matrix,
                 bool keep_floats = false);
// Packs groups [begin, end) of a row-major GGUF tensor.
void pack_groups(int ggml_type, const uint8_t* source, PackedMatrix& matrix, int begin, int end);
// One row of a packed matrix as floats.
void unpack_row(const PackedMatrix& matrix, int row, float* out);

float half_to_float(uint16_t half);
uint16_t float_to_half(float value);

}  // namespace realm
