#include "adapter.h"

#include <algorithm>
#include <cmath>
#include <cstring>

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

void put(std::vector<uint8_t>& to, uint16_t value) {
  to.push_back(static_cast<uint8_t>(value & 255));
  to.push_back(static_cast<uint8_t>(value >> 8));
}

// The largest magnitude, NaN when some value is not finite. In four lanes, which the compiler keeps in one
// register.
float largest_of(const float* values, size_t count) {
  float largest[4] = {}, poison[4] = {};
  size_t i = 0;
  for (; i + 4 <= count; i += 4)
    for (size_t lane = 0; lane < 4; lane++) {
      const float magnitude = std::fabs(values[i + lane]);
      largest[lane] = magnitude > largest[lane] ? magnitude : largest[lane];
      poison[lane] += values[i + lane] * 0.0f;
    }
  for (; i < count; i++) {
    largest[0] = std::max(largest[0], std::fabs(values[i]));
    poison[0] += values[i] * 0.0f;
  }
  return std::max(std::max(largest[0], largest[1]), std::max(largest[2], largest[3])) +
         ((poison[0] + poison[1]) + (poison[2] + poison[3]));
}

// To nearest, to even on ties; |value| below 2 ** 22.
int32_t round_of(float value) {
  const float shifted = value + 12582912.0f;  // 1.5 * 2 ** 23: what is behind the point falls off
  int32_t bits;
  std::memcpy(&bits, &shifted, 4);
  return bits - 0x4b400000;
}

// A power of two that brings the factor's largest A between 1 and 2; B is multiplied with it, A divided. So
// the scales of neither leave the range of their numbers. NaN when A is not finite.
float balance_of(const AdapterFactor& factor) {
  const float largest =
      largest_of(factor.a, static_cast<size_t>(factor.rank) * static_cast<size_t>(factor.inputs));
  if (!std::isfinite(largest)) return largest - largest;
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
    if (half_to_float(half) < wanted) half++;  // upwards: no quant is beyond 127
    const float scale = half_to_float(half), inverse = scale > 0.0f ? factor / scale : 0.0f;
    std::memcpy(block + plane_bytes + 2 * lane, &half, 2);
    for (size_t i = 0; i < kBlockColumns; i++)
      block[64 * (i / 4) + 4 * lane + i % 4] = static_cast<uint8_t>(128 + round_of(values[i] * inverse));
  }
}

}  // namespace

bool Adapter::pack(int ggml_type, int rows, int columns, const std::vector<uint8_t>& data,
                   PackedMatrix* matrix) {
  if (!make_matrix(ggml_type, rows, columns, data.size(), arena_, matrix)) return false;
  pack_groups(ggml_type, data.data(), *matrix, 0, matrix->groups);
  return true;
}

bool Adapter::pack_a(const std::vector<AdapterFactor>& factors, int ranks, const float* balances,
                     PackedMatrix* matrix) {
  const int inputs = factors[0].inputs;
  if (precision_ == AdapterPrecision::kBfloat16) {
    std::vector<uint8_t> data;
    for (const AdapterFactor& factor : factors)
      for (ptrdiff_t i = 0; i < static_cast<ptrdiff_t>(factor.rank) * inputs; i++) {
        if (!fits_bfloat16(factor.a[i])) return false;
        put(data, bfloat16_of(factor.a[i]));
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
  for (int g = 0; g < matrix->groups; g++) {
    uint8_t *group = matrix->group(g), *scales = group + 64 * static_cast<size_t>(matrix->quads);
    std::memset(group, 128, static_cast<size_t>(scales - group));
    for (int lane = 0; lane < kGroupRows && g * kGroupRows + lane < factor.outputs; lane++) {
      const float* values = factor.b + static_cast<ptrdiff_t>(g * kGroupRows + lane) * factor.rank;
      const float wanted =
          largest_of(values, static_cast<size_t>(factor.rank)) * std::fabs(factor.scale) / 127.0f;
      if (!(wanted < kLargestScale)) return false;
      uint16_t bits = bfloat16_of(wanted);
      if (float_of_bfloat16(bits) < wanted) bits++;  // upwards: no quant is beyond 127
      const float scale = float_of_bfloat16(bits), inverse = scale > 0.0f ? factor.scale / scale : 0.0f;
      std::memcpy(scales + 2 * lane, &bits, 2);
      for (int r = 0; r < factor.rank; r++)
        group[64 * (r / 4) + 4 * lane + r % 4] = static_cast<uint8_t>(128 + round_of(values[r] * inverse));
    }
  }
  return true;
}

bool Adapter::pack_b(const AdapterFactor& factor, PackedMatrix* matrix) {
  const size_t count = static_cast<size_t>(factor.outputs) * static_cast<size_t>(factor.rank);
  const bool half = precision_ == AdapterPrecision::kInt8;
  std::vector<uint8_t> data;
  data.reserve(2 * count);
  for (size_t i = 0; i < count; i++) {
    const float value = factor.scale * factor.b[i];
    if (half ? !(std::fabs(value) <= kLargestHalf) : !fits_bfloat16(value)) return false;
    put(data, half ? float_to_half(value) : bfloat16_of(value));
  }
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
