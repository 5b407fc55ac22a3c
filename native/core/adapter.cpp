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

void put(std::vector<uint8_t>& to, uint16_t value) {
  to.push_back(static_cast<uint8_t>(value & 255));
  to.push_back(static_cast<uint8_t>(value >> 8));
}

// Blocks of Q8_0: a half float, then 32 int8.
bool append_q8(std::vector<uint8_t>& to, const float* values, int count) {
  for (int begin = 0; begin < count; begin += kBlockColumns, values += kBlockColumns) {
    float largest = 0.0f;
    for (int i = 0; i < kBlockColumns; i++) largest = std::max(largest, std::fabs(values[i]));
    if (largest > 127.0f * kLargestHalf) return false;
    const uint16_t half = float_to_half(largest / 127.0f);
    const float scale = half_to_float(half), inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
    put(to, half);
    for (int i = 0; i < kBlockColumns; i++) {
      const float quant = std::nearbyint(std::clamp(values[i] * inverse, -127.0f, 127.0f));
      to.push_back(static_cast<uint8_t>(static_cast<int8_t>(quant)));
    }
  }
  return true;
}

}  // namespace

bool Adapter::pack(int ggml_type, int rows, int columns, const std::vector<uint8_t>& data,
                   PackedMatrix* matrix) {
  if (!make_matrix(ggml_type, rows, columns, data.size(), arena_, matrix)) return false;
  pack_groups(ggml_type, data.data(), *matrix, 0, matrix->groups);
  return true;
}

bool Adapter::pack_a(const AdapterFactor& factor, std::vector<uint8_t>& data) const {
  const ptrdiff_t count = static_cast<ptrdiff_t>(factor.rank) * factor.inputs;
  for (ptrdiff_t i = 0; i < count; i++)
    if (!std::isfinite(factor.a[i])) return false;
  if (precision_ == AdapterPrecision::kBfloat16) {
    for (ptrdiff_t i = 0; i < count; i++) put(data, bfloat16_of(factor.a[i]));
    return true;
  }
  return append_q8(data, factor.a, static_cast<int>(count));
}

bool Adapter::pack_b(const AdapterFactor& factor, PackedMatrix* matrix) {
  const size_t count = static_cast<size_t>(factor.outputs) * static_cast<size_t>(factor.rank);
  const bool half = precision_ == AdapterPrecision::kInt8;
  std::vector<uint8_t> data;
  data.reserve(2 * count);
  for (size_t i = 0; i < count; i++) {
    const float value = factor.scale * factor.b[i];
    if (!std::isfinite(value) || (half && std::fabs(value) > kLargestHalf)) return false;
    put(data, half ? float_to_half(value) : bfloat16_of(value));
  }
  return pack(half ? kGgmlF16 : kGgmlBfloat16, factor.outputs, factor.rank, data, matrix);
}

bool Adapter::set_site(int layer, AdapterInput input, const std::vector<AdapterFactor>& factors) {
  AdapterSite site;
  std::vector<uint8_t> a;
  int ranks = 0;
  for (const AdapterFactor& factor : factors) {
    AdapterExpand expand{factor.first_output, ranks, {}};
    if (!pack_a(factor, a) || !pack_b(factor, &expand.b)) return false;
    site.expands.push_back(expand);
    ranks += factor.rank;
  }
  const int type = precision_ == AdapterPrecision::kInt8 ? kGgmlQ8 : kGgmlBfloat16;
  if (!pack(type, ranks, factors[0].inputs, a, &site.a)) return false;
  widest_ = std::max(widest_, site.a.groups * kGroupRows);
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
      if (!std::isfinite(value) || (half && std::fabs(value) > kLargestHalf)) return false;
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
