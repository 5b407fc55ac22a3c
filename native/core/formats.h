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

// How the weights of one block are stored. Offsets and minimums follow the GGUF block they come from.
enum class Form : int {
  kQ4 = 0,     // 4 bits, value = scale * (q - 8)
  kQ4Min = 1,  // 4 bits, value = scale * q + minimum
  kQ5 = 2,     // 5 bits, value = scale * (q - 16)
  kQ5Min = 3,  // 5 bits, value = scale * q + minimum
  kQ6 = 4,     // 6 bits, value = scale * (q - 32), one scale for 16 columns
  kQ8 = 5,     // 8 bits, value = scale * (q - 128)
  kF16 = 6,
  kBF16 = 7,
  kF32 = 8,
};
constexpr int kFormCount = 9;

inline bool is_quantized(Form form) { return static_cast<int>(form) <= static_cast<int>(Form::kQ8); }

// Bytes that one group of 16 rows takes for one block of 32 columns (quantized forms).
constexpr size_t block_bytes(Form form) {
  switch (form) {
    case Form::kQ4:
      return 256 + 32;
    case Form::kQ4Min:
      return 256 + 64;
    case Form::kQ5:
      return 256 + 64 + 32;
    case Form::kQ5Min:
      return 256 + 64 + 64;
    case Form::kQ6:
      return 256 + 128 + 64;
    case Form::kQ8:
      return 512 + 32;
    default:
      return 0;
  }
}

// Eight rows of activations, 32 columns: what one step of the integer kernels eats.
struct alignas(64) ActivationBlock {
  int8_t quants[kTileRows][kBlockColumns];
  float scale[kTileRows];              // value = scale * quant
  float scaled_sum[kTileRows];         // scale * sum of the quants
  int32_t negative_sum[2][kTileRows];  // minus the sum of columns 0..15 and 16..31
};

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
  ~Arena();
  uint8_t* allocate(size_t bytes);  // 64-byte aligned, zero filled
  size_t used() const { return used_; }

 private:
  struct Piece {
    uint8_t* base;
    size_t size, used;
  };
  std::vector<Piece> pieces_;
  size_t used_ = 0;
};

// The form that a GGML block type is packed into; false when the type has none.
bool form_of(int ggml_type, Form* form);
// Bytes of `columns` values of a GGML block type; 0 when columns do not divide into blocks.
size_t row_bytes(int ggml_type, int columns);
// A matrix of this block type with memory of the arena, not filled yet. false: the type cannot run, the
// columns do not divide into blocks, or `bytes` is not what rows and columns say.
bool make_matrix(int ggml_type, int rows, int columns, size_t bytes, Arena& arena, PackedMatrix* matrix);
// Packs groups [begin, end) of a row-major GGUF tensor.
void pack_groups(int ggml_type, const uint8_t* source, PackedMatrix& matrix, int begin, int end);
// One row of a packed matrix as floats.
void unpack_row(const PackedMatrix& matrix, int row, float* out);

float half_to_float(uint16_t half);
uint16_t float_to_half(float value);

}  // namespace realm
