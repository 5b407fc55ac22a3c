// Lanes as one register of AVX-512. Part of simd.h.

struct VF {
  __m512 v;
};
struct VI {
  __m512i v;
};
struct VB {
  __m512i v;
};

inline VF vf_zero() { return {_mm512_setzero_ps()}; }
inline VF vf_set(float x) { return {_mm512_set1_ps(x)}; }
inline VF vf_load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline void vf_store(float* p, VF a) { _mm512_storeu_ps(p, a.v); }
inline VF vf_half(const uint16_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
inline VF vf_bfloat(const uint16_t* p) {
  return {_mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))), 16))};
}
inline VF vf_int8(const int8_t* p) {
  return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))))};
}
inline void vf_store_half(uint16_t* p, VF a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT));
}
inline VF operator+(VF a, VF b) { return {_mm512_add_ps(a.v, b.v)}; }
inline VF operator-(VF a, VF b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline VF operator*(VF a, VF b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline VF operator/(VF a, VF b) { return {_mm512_div_ps(a.v, b.v)}; }
inline VF vf_fma(VF a, VF b, VF c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline VF vf_max(VF a, VF b) { return {_mm512_max_ps(a.v, b.v)}; }
inline VF vf_min(VF a, VF b) { return {_mm512_min_ps(a.v, b.v)}; }
inline VF vf_abs(VF a) { return {_mm512_abs_ps(a.v)}; }
inline VF vf_round(VF a) {
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
// Lanes begin <= lane < end keep a, the others take b.
inline VF vf_keep(VF a, VF b, int begin, int end) {
  const __mmask16 mask = static_cast<__mmask16>(((1u << end) - 1u) & ~((1u << begin) - 1u));
  return {_mm512_mask_blend_ps(mask, b.v, a.v)};
}
inline VF vf_swap_pairs(VF a) { return {_mm512_permute_ps(a.v, 0xb1)}; }
inline VF vf_power_of_two(VF a) {  // 2 ** a for whole a in -126..127
  return {_mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(a.v), _mm512_set1_epi32(127)), 23))};
}
inline VI vi_zero() { return {_mm512_setzero_si512()}; }
inline VI vi_set(int32_t x) { return {_mm512_set1_epi32(x)}; }
inline VI operator+(VI a, VI b) { return {_mm512_add_epi32(a.v, b.v)}; }
template <int N>
inline VI vi_shift_left(VI a) {
  return {_mm512_slli_epi32(a.v, N)};
}
inline VF vf_from(VI a) { return {_mm512_cvtepi32_ps(a.v)}; }
// The low or the high four bits of sixteen bytes.
inline __m512i sixteen_bytes(const uint8_t* p) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline VF vf_low_nibbles(const uint8_t* p) {
  return {_mm512_cvtepi32_ps(_mm512_and_si512(sixteen_bytes(p), _mm512_set1_epi32(15)))};
}
inline VF vf_high_nibbles(const uint8_t* p) {
  return {_mm512_cvtepi32_ps(_mm512_srli_epi32(sixteen_bytes(p), 4))};
}
inline void store_int8(int8_t* p,
                       VF a) {  // a already rounded and within -127..127
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a.v)));
}
// Sixteen rows, rounded, with 128 added, as bytes: every four of a row at `to` and 64 bytes further on, rows
// following one another. All within -128..127 before.
inline void store_quads(const VF* rows, uint8_t* to) {
  __m512i four[4];  // four rows: lane n has the n-th four numbers of each
  for (int i = 0; i < 4; i++) {
    const auto pair = [&](int row) {
      return _mm512_packs_epi32(_mm512_cvtps_epi32(rows[row].v), _mm512_cvtps_epi32(rows[row + 1].v));
    };
    four[i] = _mm512_xor_si512(_mm512_packs_epi16(pair(4 * i), pair(4 * i + 2)), _mm512_set1_epi8(-128));
  }
  const __m512i low0 = _mm512_shuffle_i32x4(four[0], four[1], 0x44),
                low1 = _mm512_shuffle_i32x4(four[2], four[3], 0x44);
  const __m512i high0 = _mm512_shuffle_i32x4(four[0], four[1], 0xee),
                high1 = _mm512_shuffle_i32x4(four[2], four[3], 0xee);
  _mm512_storeu_si512(to, _mm512_shuffle_i32x4(low0, low1, 0x88));
  _mm512_storeu_si512(to + 64, _mm512_shuffle_i32x4(low0, low1, 0xdd));
  _mm512_storeu_si512(to + 128, _mm512_shuffle_i32x4(high0, high1, 0x88));
  _mm512_storeu_si512(to + 192, _mm512_shuffle_i32x4(high0, high1, 0xdd));
}
// a / b, 0 where b is 0
inline VF vf_over(VF a, VF b) {
  return {_mm512_maskz_div_ps(_mm512_cmp_ps_mask(b.v, _mm512_setzero_ps(), _CMP_GT_OQ), a.v, b.v)};
}
// Lane i: the largest of rows[i], none of which is below 0.
inline VF vf_largest_each(const VF* rows) {
  __m512 x[16];
  for (int i = 0; i < 16; i++) x[i] = rows[i].v;
  // Each time half as many: two rows take turns, in the low half of their lanes and in the high one.
  const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
#pragma GCC unroll 4
  for (int half = 8; half > 0; half /= 2)
#pragma GCC unroll 8
    for (int i = 0; i < half; i++)
      x[i] = _mm512_max_ps(_mm512_permutex2var_ps(x[i], low, x[i + half]),
                           _mm512_permutex2var_ps(x[i], high, x[i + half]));
  return {x[0]};
}
// As int16; of four numbers the second and third change places. a already rounded.
inline void store_wide(int16_t* p, VF a) {
  const __m256i words = _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(a.v));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm256_shufflehi_epi16(_mm256_shufflelo_epi16(words, 0xd8), 0xd8));
}
inline VB vb_load(const uint8_t* p) { return {_mm512_loadu_si512(p)}; }
inline void vb_store(uint8_t* p, VB a) { _mm512_storeu_si512(p, a.v); }
inline VB operator|(VB a, VB b) { return {_mm512_or_si512(a.v, b.v)}; }
// ((a >> N) & mask) in every byte: the mask keeps what a 32-bit shift brings in from a neighbour away.
template <int N>
inline VB vb_bits_right(VB a, uint8_t mask) {
  return {_mm512_and_si512(_mm512_srli_epi32(a.v, N), _mm512_set1_epi8(static_cast<char>(mask)))};
}
template <int N>
inline VB vb_bits_left(VB a, uint8_t mask) {
  return {_mm512_and_si512(_mm512_slli_epi32(a.v, N), _mm512_set1_epi8(static_cast<char>(mask)))};
}
// The first, or the second, byte of every two as an int16.
inline VB vb_even_bytes(VB x) { return {_mm512_and_si512(x.v, _mm512_set1_epi16(255))}; }
inline VB vb_odd_bytes(VB x) { return {_mm512_srli_epi16(x.v, 8)}; }
// table[index] for indices below 16
inline VB vb_lookup(const uint8_t* table, VB index) {
  const __m128i entries = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
  return {_mm512_shuffle_epi8(_mm512_broadcast_i32x4(entries), index.v)};
}
// Four bytes of activations, the same in every lane.
struct Quad {
  __m512i v;
};
inline Quad quad_of(const void* x) {
  int32_t packed;
  std::memcpy(&packed, x, 4);
  return {_mm512_set1_epi32(packed)};
}
// acc[lane] += sum over c of w[4 lane + c] * x[c]
constexpr bool kWideDotsAreSigned = false;
template <bool kWide>
inline VI dot(VI acc, VB w, Quad x) {
  return {_mm512_dpbusd_epi32(acc.v, w.v, x.v)};
}
// acc[lane] += sum over c of w[2 lane + c] * x[c], all of sixteen bits
inline VI dot_pairs(VI acc, VB w, Quad x) { return {_mm512_dpwssd_epi32(acc.v, w.v, x.v)}; }

inline float vf_sum(VF a) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  return sum_of_eight(eight);
}
inline float vf_largest(VF a) {
  return largest_of_eight(_mm256_max_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1)));
}
