#include "adapter.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "quantize_sixteen.h"

namespace realm {
namespace {

constexpr int kGgmlF16 = 1, kGgmlQ8 = 8, kGgmlBfloat16 = 30;
constexpr float kLargestHalf = 65504.0f, kLargestScale = 1e36f;

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
// the scales of neither leave the range of their numbers. NaN when A is not finite.
float balance_of(const AdapterFactor& factor) {
  const float largest =
      largest_of(factor.a, static_cast<size_t>(factor.rank) * static_cast<size_t>(factor.inputs));
  if (std::isnan(largest)) return largest;
  // No smaller, or one over it would be infinite.
  return largest > 0.0f ? std::ldexp(1.0f, std::max(std::ilogb(largest), -100)) : 1.0f;
}

// Row `index` of a matrix of kQ8: in every block byte 4 * (row % 16) + c % 4 of vector c / 4 for column c,
// 128 added, and a scale behind the vectors (formats.h).
void write_q8(PackedMatrix& matrix, int index, const float* values, float factor) {
  const size_t block_bytes = shape_of(Form::kQ8).block_bytes(),
               plane_bytes = shape_of(Form::kQ8).plane_bytes();
  const size_t lane = static_cast<size_t>(index % kGroupRows);
  uint8_t* block = matrix.data + matrix.group_bytes * static_cast<size_t>(index / kGroupRows);
  for (int c = 0; c < matrix.columns; c += kBlockColumns, values += kBlockColumns, block += block_bytes) {
    const float wanted = largest_of(values, kBlockColumns) * factor / 127.0f;
    uint16_t half = float_to_half(wanted);
    half = static_cast<uint16_t>(half + (half_to_float(half) < wanted));  // upwards: no quant is beyond 127
    const float scale = half_to_float(half), inverse = scale > 0.0f ? factor / scale : 0.0f;
    std::memcpy(block + plane_bytes + 2 * lane, &half, 2);
    for (int first = 0; first < kBlockColumns; first += kSixteen)
      round_quads(values + first, inverse, 4, block + 16 * first + 4 * lane);
  }
}

}  // namespace

bool Adapter::pack(int ggml_type, int rows, int columns, const std::vector<uint8_t>& data,
                   PackedMatrix* matrix) {
  if (!make_matrix(ggml_type, rows, columns, data.size(), arena_, matrix, true)) return false;
  pack_groups(ggml_type, data.data(), *matrix, 0, matrix->groups);
  return true;
}

bool Adapter::pack_a(const std::vector<AdapterFactor>& factors, int ranks, const float* balances,
                     PackedMatrix* matrix) {
  const int inputs = factors[0].inputs;
  if (precision_ == AdapterPrecision::kBfloat16) {
    std::vector<uint8_t> data(2 * static_cast<size_t>(ranks) * static_cast<size_t>(inputs));
    uint8_t* to = data.data();
    for (const AdapterFactor& factor : factors) {
      const size_t count = static_cast<size_t>(factor.rank) * static_cast<size_t>(inputs);
      if (!write_bfloat16(factor.a, 1.0f, count, to)) return false;
      to += 2 * count;
    }
    return pack(kGgmlBfloat16, ranks, inputs, data, matrix);
  }
  if (!make_matrix(kGgmlQ8, ranks, inputs, row_bytes(kGgmlQ8, inputs) * static_cast<size_t>(ranks), arena_,
                   matrix))
    return false;
  int index = 0;
  for (size_t i = 0; i < factors.size(); i++)
    for (int r = 0; r < factors[i].rank; r++)
      write_q8(*matrix, index++, factors[i].a + static_cast<ptrdiff_t>(r) * inputs, 1.0f / balances[i]);
  return true;
}

bool Adapter::quantize_b(const AdapterFactor& factor, RankMatrix* matrix) {
  matrix->groups = (factor.outputs + kGroupRows - 1) / kGroupRows;
  matrix->quads = (factor.rank + 3) / 4;
  matrix->data = arena_.allocate(matrix->group_bytes() * static_cast<size_t>(matrix->groups));
  const float strength = std::fabs(factor.scale);
  for (int g = 0; g < matrix->groups; g++) {
    uint8_t *group = matrix->group(g), *scales = group + 64 * static_cast<size_t>(matrix->quads);
    const int first = g * kGroupRows, lanes = std::min(kGroupRows, factor.outputs - first);
    if (lanes < kGroupRows) std::memset(group, 128, static_cast<size_t>(scales - group));
    for (int lane = 0; lane < lanes; lane++) {
      const float* values = factor.b + static_cast<ptrdiff_t>(first + lane) * factor.rank;
      const float wanted = largest_of(values, static_cast<size_t>(factor.rank)) * strength / 127.0f;
      if (!(wanted < kLargestScale)) return false;
      uint16_t bits = bfloat16_of(wanted);
      bits = static_cast<uint16_t>(bits +
                                   (float_of_bfloat16(bits) < wanted));  // upwards: no quant is beyond 127
      const float scale = float_of_bfloat16(bits), inverse = scale > 0.0f ? factor.scale / scale : 0.0f;
      std::memcpy(scales + 2 * lane, &bits, 2);
      for (int r = 0; r < factor.rank; r += kSixteen)
        round_quads(Padded(values + r, static_cast<size_t>(factor.rank - r)).get(), inverse,
                    std::min(4, matrix->quads - r / 4), group + 16 * r + 4 * lane);
    }
  }
  return true;
}

bool Adapter::pack_b(const AdapterFactor& factor, PackedMatrix* matrix) {
  const size_t count = static_cast<size_t>(factor.outputs) * static_cast<size_t>(factor.rank);
  const bool half = precision_ == AdapterPrecision::kInt8;
  std::vector<uint8_t> data(2 * count);
  if (!(half ? write_half : write_bfloat16)(factor.b, factor.scale, count, data.data())) return false;
  return pack(half ? kGgmlF16 : kGgmlBfloat16, factor.outputs, factor.rank, data, matrix);
}

bool Adapter::set_site(int layer, AdapterInput input, const std::vector<AdapterFactor>& factors) {
  AdapterSite site;
  int ranks = 0, quants = 0;
  std::vector<float> balances;
  for (AdapterFactor factor : factors) {
    AdapterExpand expand{factor.first_output, ranks, factor.rank, quants, {}, {}};
    bool packed;
    if (precision_ == AdapterPrecision::kInt8) {
      balances.push_back(balance_of(factor));
      factor.scale *= balances.back();
      packed = std::isfinite(balances.back()) && quantize_b(factor, &expand.quantized_b);
    } else {
      packed = pack_b(factor, &expand.b);
    }
    if (!packed) return false;
    site.expands.push_back(expand);
    ranks += factor.rank;
    quants += (factor.rank + kGroupRows - 1) / kGroupRows * kGroupRows;
  }
  if (!pack_a(factors, ranks, balances.data(), &site.a)) return false;
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
  embedding_a_ = reinterpret_cast<uint16_t*>(arena_.allocate(2 * rank * vocabulary));
  for (size_t r = 0; r < rank; r++)
    for (size_t token = 0; token < vocabulary; token++) {
      const float value = factor.a[r * vocabulary + token];
      if (half ? !(std::fabs(value) <= kLargestHalf) : !fits_bfloat16(value)) return false;
      embedding_a_[token * rank + r] = half ? float_to_half(value) : bfloat16_of(value);
    }
  return pack_b(factor, &embedding_b_);
}

void Adapter::embedding_column(int token, float scale, float* out) const {
  const size_t rank = static_cast<size_t>(embedding_rank());
  const uint16_t* from = embedding_a_ + static_cast<size_t>(token) * rank;
  const bool half = precision_ == AdapterPrecision::kInt8;
  for (size_t r = 0; r < rank; r++)
    out[r] = scale * (half ? half_to_float(from[r]) : float_of_bfloat16(from[r]));
}

}  // namespace realm
