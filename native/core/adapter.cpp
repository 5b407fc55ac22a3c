#include "adapter.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace realm {
namespace {

constexpr int kGgmlF16 = 1, kGgmlQ8 = 8, kGgmlBfloat16 = 30;
constexpr float kLargestHalf = 65504.0f;

// To nearest, to even on ties.
uint16_t bfloat16_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

float float_of_bfloat16(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, 4);
  return value;
}

// Whether it is a number and stays one when it is rounded.
bool fits_bfloat16(float value) { return std::isfinite(float_of_bfloat16(bfloat16_of(value))); }

// Little-endian numbers for pack_groups; whether each stays a number.
bool write_bfloat16(const float* values, float scale, size_t count, uint8_t* to) {
  uint32_t endless = 0;
  for (size_t i = 0; i < count; i++) {
    const float value = values[i] * scale;
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    endless |= (bits & 0x7f800000) == 0x7f800000;
    endless |= (rounded & 0x7f80) == 0x7f80;
    const uint16_t stored = static_cast<uint16_t>(rounded);
    std::memcpy(to + 2 * i, &stored, 2);
  }
  return !endless;
}

bool write_half(const float* values, float scale, size_t count, uint8_t* to) {
  for (size_t i = 0; i < count; i++) {
    const float value = values[i] * scale;
    if (!(std::fabs(value) <= kLargestHalf)) return false;
    const uint16_t stored = float_to_half(value);
    std::memcpy(to + 2 * i, &stored, 2);
  }
  return true;
}

// A power of two that brings the factor's largest A between 1 and 2; B is multiplied with it, A divided. So
// the scales of neither leave the range of their numbers.
float balance_of(float largest) {
  // No smaller, or one over it would be infinite.
  return largest > 0.0f ? std::ldexp(1.0f, std::max(std::ilogb(largest), -100)) : 1.0f;
}

std::vector<float> floats_of(const KernelTable& kernels, const Numbers& numbers, size_t count) {
  std::vector<float> floats(count);
  kernels.read_numbers(numbers, static_cast<int64_t>(count), floats.data());
  return floats;
}

}  // namespace

uint8_t* Adapter::allocate(size_t bytes, bool is_filled) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return arena_.allocate(bytes, is_filled);
}

bool Adapter::make(int ggml_type, int rows, int columns, size_t bytes, PackedMatrix* matrix,
                   bool keep_floats) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return make_matrix(ggml_type, rows, columns, bytes, arena_, matrix, keep_floats);
}

bool Adapter::pack(int ggml_type, int rows, int columns, const std::vector<uint8_t>& data,
                   PackedMatrix* matrix) {
  if (!make(ggml_type, rows, columns, data.size(), matrix, true)) return false;
  pack_groups(ggml_type, data.data(), *matrix, 0, matrix->groups);
  return true;
}

bool Adapter::pack_floats_a(const std::vector<AdapterFactor>& factors, int ranks, PackedMatrix* matrix) {
  const int inputs = factors[0].inputs;
  std::vector<uint8_t> data(2 * static_cast<size_t>(ranks) * static_cast<size_t>(inputs));
  uint8_t* to = data.data();
  for (const AdapterFactor& factor : factors) {
    const size_t count = static_cast<size_t>(factor.rank) * static_cast<size_t>(inputs);
    if (!write_bfloat16(floats_of(kernels_, factor.a, count).data(), 1.0f, count, to)) return false;
    to += 2 * count;
  }
  return pack(kGgmlBfloat16, ranks, inputs, data, matrix);
}

bool Adapter::quantize_a(const std::vector<AdapterFactor>& factors, int ranks, float* balances,
                         PackedMatrix* matrix) {
  const int inputs = factors[0].inputs, blocks = inputs / kBlockColumns;
  if (!make(kGgmlQ8, ranks, inputs, row_bytes(kGgmlQ8, inputs) * static_cast<size_t>(ranks), matrix, false))
    return false;
  const size_t part_floats = static_cast<size_t>(blocks * kGroupRows);
  std::vector<float> largest;
  int index = 0;
  for (const AdapterFactor& factor : factors) {
    // In parts: the rows of a factor that stand in the same group.
    const auto for_parts = [&](const auto& work) {
      float* of_part = largest.data();
      for (int r = 0, rows; r < factor.rank; r += rows, of_part += part_floats) {
        rows = std::min(kGroupRows - (index + r) % kGroupRows, factor.rank - r);
        if (!work(factor.a.from(static_cast<ptrdiff_t>(r) * inputs), rows, index + r, of_part)) return false;
      }
      return true;
    };
    largest.assign(part_floats * static_cast<size_t>(factor.rank / kGroupRows + 2), 0.0f);
    if (!for_parts([&](const Numbers& numbers, int rows, int, float* of_part) {
          return kernels_.block_largest(numbers, inputs, rows, of_part);
        }))
      return false;
    *balances = balance_of(*std::max_element(largest.begin(), largest.end()));
    for_parts([&](const Numbers& numbers, int rows, int first, const float* of_part) {
      uint8_t* group = matrix->data + matrix->group_bytes * static_cast<size_t>(first / kGroupRows);
      kernels_.pack_q8_rows(numbers, inputs, rows, of_part, 1.0f / *balances, group, first % kGroupRows);
      return true;
    });
    index += factor.rank;
    balances++;
  }
  return true;
}

bool Adapter::quantize_b(const AdapterFactor& factor, RankMatrix* matrix) {
  matrix->groups = (factor.outputs + kGroupRows - 1) / kGroupRows;
  matrix->quads = (factor.rank + 3) / 4;
  matrix->data = allocate(matrix->group_bytes() * static_cast<size_t>(matrix->groups),
                          factor.outputs % kGroupRows == 0 && factor.rank % 4 == 0);
  for (int g = 0; g < matrix->groups; g++) {
    const int first = g * kGroupRows, rows = std::min(kGroupRows, factor.outputs - first);
    if (rows < kGroupRows) std::memset(matrix->group(g), 128, 64 * static_cast<size_t>(matrix->quads));
    if (!kernels_.pack_rank_rows(factor.b.from(static_cast<ptrdiff_t>(first) * factor.rank), rows,
                                 factor.rank, factor.scale, matrix->group(g)))
      return false;
  }
  return true;
}

bool Adapter::pack_floats_b(const AdapterFactor& factor, PackedMatrix* matrix) {
  const size_t count = static_cast<size_t>(factor.outputs) * static_cast<size_t>(factor.rank);
  const bool half = precision_ == AdapterPrecision::kInt8;
  std::vector<uint8_t> data(2 * count);
  if (!(half ? write_half : write_bfloat16)(floats_of(kernels_, factor.b, count).data(), factor.scale, count,
                                            data.data()))
    return false;
  return pack(half ? kGgmlF16 : kGgmlBfloat16, factor.outputs, factor.rank, data, matrix);
}

bool Adapter::set_site(int layer, AdapterInput input, const std::vector<AdapterFactor>& factors) {
  const bool is_quantized = precision_ == AdapterPrecision::kInt8;
  AdapterSite site;
  int ranks = 0, quants = 0;
  for (const AdapterFactor& factor : factors) {
    site.expands.push_back({factor.first_output, ranks, factor.rank, quants, {}, {}});
    ranks += factor.rank;
    quants += (factor.rank + kGroupRows - 1) / kGroupRows * kGroupRows;
  }
  std::vector<float> balances(factors.size(), 1.0f);
  if (!(is_quantized ? quantize_a(factors, ranks, balances.data(), &site.a)
                     : pack_floats_a(factors, ranks, &site.a)))
    return false;
  for (size_t i = 0; i < factors.size(); i++) {
    AdapterFactor factor = factors[i];
    factor.scale *= balances[i];
    if (!(is_quantized ? quantize_b(factor, &site.expands[i].quantized_b)
                       : pack_floats_b(factor, &site.expands[i].b)))
      return false;
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  widest_ = std::max(widest_, site.a.groups * kGroupRows);
  widest_quants_ = std::max(widest_quants_, quants);
  AdapterSite& to = input == AdapterInput::kHead
                        ? head_
                        : layers_[static_cast<size_t>(layer)].sites[static_cast<int>(input)];
  to = std::move(site);
  return true;
}

bool Adapter::set_embedding(const AdapterFactor& factor) {
  const size_t rank = static_cast<size_t>(factor.rank), vocabulary = static_cast<size_t>(factor.inputs);
  const bool half = precision_ == AdapterPrecision::kInt8;
  const std::vector<float> a = floats_of(kernels_, factor.a, rank * vocabulary);
  embedding_a_ = reinterpret_cast<uint16_t*>(allocate(2 * rank * vocabulary, true));
  for (size_t r = 0; r < rank; r++)
    for (size_t token = 0; token < vocabulary; token++) {
      const float value = a[r * vocabulary + token];
      if (half ? !(std::fabs(value) <= kLargestHalf) : !fits_bfloat16(value)) return false;
      embedding_a_[token * rank + r] = half ? float_to_half(value) : bfloat16_of(value);
    }
  return pack_floats_b(factor, &embedding_b_);
}

void Adapter::embedding_column(int token, float scale, float* out) const {
  const size_t rank = static_cast<size_t>(embedding_rank());
  const uint16_t* from = embedding_a_ + static_cast<size_t>(token) * rank;
  const bool half = precision_ == AdapterPrecision::kInt8;
  for (size_t r = 0; r < rank; r++)
    out[r] = scale * (half ? half_to_float(from[r]) : float_of_bfloat16(from[r]));
}

}  // namespace realm
