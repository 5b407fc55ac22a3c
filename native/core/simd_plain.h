// Lanes as plain arrays. Part of simd.h.

struct VF {
  float v[16];
};
struct VI {
  int32_t v[16];
};
struct VB {
  uint8_t v[64];
};

#define REALM_LANES(type, expression)                    \
  type result;                                           \
  for (int i = 0; i < 16; i++) result.v[i] = expression; \
  return result;
inline VF vf_set(float x) { REALM_LANES(VF, x) }
inline VF vf_zero() { return vf_set(0.0f); }
inline VF vf_load(const float* p) { REALM_LANES(VF, p[i]) }
inline void vf_store(float* p, VF a) { std::memcpy(p, a.v, sizeof a.v); }
inline VF vf_half(const uint16_t* p) { REALM_LANES(VF, half_to_float(p[i])) }
inline float bfloat_to_float(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, 4);
  return value;
}
inline VF vf_bfloat(const uint16_t* p) { REALM_LANES(VF, bfloat_to_float(p[i])) }
inline VF vf_int8(const int8_t* p) { REALM_LANES(VF, static_cast<float>(p[i])) }
inline void vf_store_half(uint16_t* p, VF a) {
  for (int i = 0; i < 16; i++) p[i] = float_to_half(a.v[i]);
}
inline VF operator+(VF a, VF b) { REALM_LANES(VF, a.v[i] + b.v[i]) }
inline VF operator-(VF a, VF b) { REALM_LANES(VF, a.v[i] - b.v[i]) }
inline VF operator*(VF a, VF b) { REALM_LANES(VF, a.v[i] * b.v[i]) }
inline VF operator/(VF a, VF b) { REALM_LANES(VF, a.v[i] / b.v[i]) }
inline VF vf_fma(VF a, VF b, VF c) { REALM_LANES(VF, a.v[i] * b.v[i] + c.v[i]) }
inline VF vf_max(VF a, VF b) { REALM_LANES(VF, a.v[i] > b.v[i] ? a.v[i] : b.v[i]) }
inline VF vf_min(VF a, VF b) { REALM_LANES(VF, a.v[i] < b.v[i] ? a.v[i] : b.v[i]) }
inline VF vf_abs(VF a) { REALM_LANES(VF, a.v[i] < 0.0f ? -a.v[i] : a.v[i]) }
inline VF vf_round(VF a) { REALM_LANES(VF, std::nearbyint(a.v[i])) }
inline VF vf_keep(VF a, VF b, int begin, int end) { REALM_LANES(VF, i >= begin && i < end ? a.v[i] : b.v[i]) }
inline VF vf_swap_pairs(VF a) { REALM_LANES(VF, a.v[i ^ 1]) }
inline float power_of_two(float x) {
  const uint32_t bits = static_cast<uint32_t>(static_cast<int32_t>(x) + 127) << 23;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}
inline VF vf_power_of_two(VF a) { REALM_LANES(VF, power_of_two(a.v[i])) }
inline VI vi_set(int32_t x) { REALM_LANES(VI, x) }
inline VI vi_zero() { return vi_set(0); }
inline VI operator+(VI a, VI b) { REALM_LANES(VI, a.v[i] + b.v[i]) }
template <int N>
inline VI vi_shift_left(VI a) {
  REALM_LANES(VI, a.v[i] * (1 << N))
}
inline VF vf_from(VI a) { REALM_LANES(VF, static_cast<float>(a.v[i])) }
inline VF vf_low_nibbles(const uint8_t* p) { REALM_LANES(VF, static_cast<float>(p[i] & 15)) }
inline VF vf_high_nibbles(const uint8_t* p) { REALM_LANES(VF, static_cast<float>(p[i] >> 4)) }
inline void store_int8(int8_t* p, VF a) {
  for (int i = 0; i < 16; i++) p[i] = static_cast<int8_t>(a.v[i]);
}
inline void store_quads(const VF* rows, uint8_t* to) {
  for (int row = 0; row < 16; row++)
    for (int i = 0; i < 16; i++)
      to[64 * (i / 4) + 4 * row + i % 4] = static_cast<uint8_t>(std::nearbyint(rows[row].v[i]) + 128.0f);
}
inline VF vf_over(VF a, VF b) { REALM_LANES(VF, b.v[i] > 0.0f ? a.v[i] / b.v[i] : 0.0f) }
inline VF vf_largest_each(const VF* rows) { REALM_LANES(VF, *std::max_element(rows[i].v, rows[i].v + 16)) }
inline void store_wide(int16_t* p, VF a) {
  for (int i = 0; i < 16; i++) p[wide_place(i)] = static_cast<int16_t>(a.v[i]);
}
inline VB vb_load(const uint8_t* p) {
  VB r;
  std::memcpy(r.v, p, 64);
  return r;
}
inline void vb_store(uint8_t* p, VB a) { std::memcpy(p, a.v, 64); }
inline VB operator|(VB a, VB b) {
  VB r;
  for (int i = 0; i < 64; i++) r.v[i] = a.v[i] | b.v[i];
  return r;
}
template <int N>
inline VB vb_bits_right(VB a, uint8_t mask) {
  VB r;
  for (int i = 0; i < 64; i++) r.v[i] = static_cast<uint8_t>((a.v[i] >> N) & mask);
  return r;
}
template <int N>
inline VB vb_bits_left(VB a, uint8_t mask) {
  VB r;
  for (int i = 0; i < 64; i++) r.v[i] = static_cast<uint8_t>((a.v[i] << N) & mask);
  return r;
}
inline VB vb_even_bytes(VB x) {
  VB r;
  for (int i = 0; i < 64; i++) r.v[i] = i % 2 ? 0 : x.v[i];
  return r;
}
inline VB vb_odd_bytes(VB x) {
  VB r;
  for (int i = 0; i < 64; i++) r.v[i] = i % 2 ? 0 : x.v[i + 1];
  return r;
}
inline VB vb_lookup(const uint8_t* table, VB index) {
  VB r;
  for (int i = 0; i < 64; i++) r.v[i] = table[index.v[i]];
  return r;
}
struct Quad {
  const void* x;
};
inline Quad quad_of(const void* x) { return {x}; }
constexpr bool kWideDotsAreSigned = false;
template <bool kWide>
inline VI dot(VI acc, VB w, Quad quad) {
  const int8_t* x = static_cast<const int8_t*>(quad.x);
  for (int i = 0; i < 16; i++)
    for (int c = 0; c < 4; c++) acc.v[i] += static_cast<int32_t>(w.v[4 * i + c]) * x[c];
  return acc;
}
inline VI dot_pairs(VI acc, VB w, Quad quad) {
  const int16_t* x = static_cast<const int16_t*>(quad.x);
  int16_t pairs[32];
  std::memcpy(pairs, w.v, 64);
  for (int i = 0; i < 16; i++)
    for (int c = 0; c < 2; c++) acc.v[i] += static_cast<int32_t>(pairs[2 * i + c]) * x[c];
  return acc;
}
#undef REALM_LANES
inline int32_t sum_of_int8(const int8_t* p) {
  int32_t sum = 0;
  for (int i = 0; i < 16; i++) sum += p[i];
  return sum;
}
inline float vf_sum(VF a) {
  for (int width = 8; width > 0; width /= 2)
    for (int i = 0; i < width; i++) a.v[i] += a.v[i + width];
  return a.v[0];
}
inline float vf_largest(VF a) {
  for (int width = 8; width > 0; width /= 2)
    for (int i = 0; i < width; i++) a.v[i] = a.v[i] > a.v[i + width] ? a.v[i] : a.v[i + width];
  return a.v[0];
}
