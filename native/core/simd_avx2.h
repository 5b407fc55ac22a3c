// Lanes as two registers of AVX2. Part of simd.h.

struct VF {
  __m256 a, b;
};
struct VI {
  __m256i a, b;
};
struct VB {
  __m256i a, b;
};

inline VF vf_zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
inline VF vf_set(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline VF vf_load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline void vf_store(float* p, VF x) {
  _mm256_storeu_ps(p, x.a);
  _mm256_storeu_ps(p + 8, x.b);
}
inline __m128i load128(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
inline VF vf_half(const uint16_t* p) {
  return {_mm256_cvtph_ps(load128(p)), _mm256_cvtph_ps(load128(p + 8))};
}
inline VF vf_bfloat(const uint16_t* p) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load128(p)), 16)),
          _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load128(p + 8)), 16))};
}
inline VF vf_int8(const int8_t* p) {
  const __m128i bytes = load128(p);
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)),
          _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8)))};
}
inline void vf_store_half(uint16_t* p, VF x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(x.a, _MM_FROUND_TO_NEAREST_INT));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 8), _mm256_cvtps_ph(x.b, _MM_FROUND_TO_NEAREST_INT));
}
inline VF operator+(VF x, VF y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
inline VF operator-(VF x, VF y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
inline VF operator*(VF x, VF y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
inline VF operator/(VF x, VF y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
inline VF vf_fma(VF x, VF y, VF z) {
  return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
inline VF vf_max(VF x, VF y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
inline VF vf_min(VF x, VF y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
inline VF vf_abs(VF x) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
}
inline VF vf_round(VF x) {
  constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return {_mm256_round_ps(x.a, kNearest), _mm256_round_ps(x.b, kNearest)};
}
inline __m256 lane_mask(int first, int begin, int end) {
  const __m256i lane = _mm256_add_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(first));
  return _mm256_castsi256_ps(_mm256_and_si256(_mm256_cmpgt_epi32(lane, _mm256_set1_epi32(begin - 1)),
                                              _mm256_cmpgt_epi32(_mm256_set1_epi32(end), lane)));
}
inline VF vf_keep(VF x, VF y, int begin, int end) {
  return {_mm256_blendv_ps(y.a, x.a, lane_mask(0, begin, end)),
          _mm256_blendv_ps(y.b, x.b, lane_mask(8, begin, end))};
}
inline VF vf_swap_pairs(VF x) { return {_mm256_permute_ps(x.a, 0xb1), _mm256_permute_ps(x.b, 0xb1)}; }
inline __m256 power_of_two(__m256 x) {
  return _mm256_castsi256_ps(
      _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(x), _mm256_set1_epi32(127)), 23));
}
inline VF vf_power_of_two(VF x) { return {power_of_two(x.a), power_of_two(x.b)}; }
inline VI vi_zero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
inline VI vi_set(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
inline VI operator+(VI x, VI y) { return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
template <int N>
inline VI vi_shift_left(VI x) {
  return {_mm256_slli_epi32(x.a, N), _mm256_slli_epi32(x.b, N)};
}
inline VF vf_from(VI x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
inline __m256 low_nibbles(__m128i bytes) {
  return _mm256_cvtepi32_ps(_mm256_and_si256(_mm256_cvtepu8_epi32(bytes), _mm256_set1_epi32(15)));
}
inline __m256 high_nibbles(__m128i bytes) {
  return _mm256_cvtepi32_ps(_mm256_srli_epi32(_mm256_cvtepu8_epi32(bytes), 4));
}
inline VF vf_low_nibbles(const uint8_t* p) {
  const __m128i bytes = load128(p);
  return {low_nibbles(bytes), low_nibbles(_mm_unpackhi_epi64(bytes, bytes))};
}
inline VF vf_high_nibbles(const uint8_t* p) {
  const __m128i bytes = load128(p);
  return {high_nibbles(bytes), high_nibbles(_mm_unpackhi_epi64(bytes, bytes))};
}
inline void store_int8(int8_t* p, VF x) {
  const __m256i words =
      _mm256_permute4x64_epi64(_mm256_packs_epi32(_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)), 0xD8);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
}
inline void store_quads(const VF* rows, uint8_t* to) {
  __m256i even[4], odd[4];  // four rows: the first and the second, the third and the fourth numbers of each
  for (int i = 0; i < 4; i++) {
    const auto packed = [&](int row) {
      return _mm256_packs_epi32(_mm256_cvtps_epi32(rows[row].a), _mm256_cvtps_epi32(rows[row].b));
    };
    const auto pair = [&](int row) {  // in each half of the first row, then of the second: two times four
      const __m256i bytes = _mm256_packs_epi16(packed(row), packed(row + 1));
      return _mm256_castsi256_ps(_mm256_xor_si256(bytes, _mm256_set1_epi8(-128)));
    };
    const __m256 one = pair(4 * i), other = pair(4 * i + 2);
    even[i] = _mm256_castps_si256(_mm256_shuffle_ps(one, other, 0x88));
    odd[i] = _mm256_castps_si256(_mm256_shuffle_ps(one, other, 0xdd));
  }
  const auto store = [&](int place, const __m256i* four, auto half) {
    constexpr int kHalves = decltype(half)::value;
    for (int i = 0; i < 2; i++)
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 64 * place + 32 * i),
                          _mm256_permute2x128_si256(four[2 * i], four[2 * i + 1], kHalves));
  };
  store(0, even, std::integral_constant<int, 0x20>());
  store(1, even, std::integral_constant<int, 0x31>());
  store(2, odd, std::integral_constant<int, 0x20>());
  store(3, odd, std::integral_constant<int, 0x31>());
}
inline __m256 over(__m256 x, __m256 y) {
  return _mm256_and_ps(_mm256_div_ps(x, y), _mm256_cmp_ps(y, _mm256_setzero_ps(), _CMP_GT_OQ));
}
inline VF vf_over(VF x, VF y) { return {over(x.a, y.a), over(x.b, y.b)}; }
// Lane i: the largest of rows[i], none of which is below 0.
inline __m256 largest_of_eight_each(const VF* rows) {
  const auto best = [&](int row) { return _mm256_max_ps(rows[row].a, rows[row].b); };
  const auto mixed = [](__m256 x, __m256 y) {
    return _mm256_max_ps(_mm256_unpacklo_ps(x, y), _mm256_unpackhi_ps(x, y));
  };
  const __m256 low = mixed(mixed(best(0), best(2)), mixed(best(1), best(3)));
  const __m256 high = mixed(mixed(best(4), best(6)), mixed(best(5), best(7)));
  return _mm256_max_ps(_mm256_permute2f128_ps(low, high, 0x20), _mm256_permute2f128_ps(low, high, 0x31));
}
inline VF vf_largest_each(const VF* rows) {
  return {largest_of_eight_each(rows), largest_of_eight_each(rows + 8)};
}
inline void store_wide(int16_t* p, VF x) {
  const __m256i words =
      _mm256_permute4x64_epi64(_mm256_packs_epi32(_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)), 0xD8);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm256_shufflehi_epi16(_mm256_shufflelo_epi16(words, 0xD8), 0xD8));
}
inline VB vb_load(const uint8_t* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 32))};
}
inline void vb_store(uint8_t* p, VB x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x.a);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 32), x.b);
}
inline VB operator|(VB x, VB y) { return {_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)}; }
template <int N>
inline VB vb_bits_right(VB x, uint8_t mask) {
  const __m256i m = _mm256_set1_epi8(static_cast<char>(mask));
  return {_mm256_and_si256(_mm256_srli_epi32(x.a, N), m), _mm256_and_si256(_mm256_srli_epi32(x.b, N), m)};
}
template <int N>
inline VB vb_bits_left(VB x, uint8_t mask) {
  const __m256i m = _mm256_set1_epi8(static_cast<char>(mask));
  return {_mm256_and_si256(_mm256_slli_epi32(x.a, N), m), _mm256_and_si256(_mm256_slli_epi32(x.b, N), m)};
}
inline VB vb_even_bytes(VB x) {
  const __m256i low = _mm256_set1_epi16(255);
  return {_mm256_and_si256(x.a, low), _mm256_and_si256(x.b, low)};
}
inline VB vb_odd_bytes(VB x) { return {_mm256_srli_epi16(x.a, 8), _mm256_srli_epi16(x.b, 8)}; }
inline VB vb_lookup(const uint8_t* table, VB index) {
  const __m256i entries = _mm256_broadcastsi128_si256(load128(table));
  return {_mm256_shuffle_epi8(entries, index.a), _mm256_shuffle_epi8(entries, index.b)};
}
inline __m256i pair_sums(__m256i w, __m256i x) {
  return _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), _mm256_set1_epi16(1));
}
// maddubs saturates at 16 bits: weights of 8 bits go through it as magnitudes, less their zero of 128, and
// their signs go to the activations, which never are -128.
constexpr bool kWideDotsAreSigned = true;
template <bool kWide>
inline __m256i dot256(__m256i acc, __m256i w, __m256i x) {
  if constexpr (!kWide) return _mm256_add_epi32(acc, pair_sums(w, x));
  const __m256i value = _mm256_xor_si256(w, _mm256_set1_epi8(static_cast<char>(128)));
  return _mm256_add_epi32(acc, pair_sums(_mm256_abs_epi8(value), _mm256_sign_epi8(x, value)));
}
// In int16, which the caller knows to hold it.
inline VB vb_zero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
struct Quad {
  __m256i v;
};
template <bool>
inline VB dot(VB acc, VB w, Quad x) {
  return {_mm256_add_epi16(acc.a, _mm256_maddubs_epi16(w.a, x.v)),
          _mm256_add_epi16(acc.b, _mm256_maddubs_epi16(w.b, x.v))};
}
inline VI add_shorts(VI acc, VB shorts) {
  const __m256i one = _mm256_set1_epi16(1);
  return {_mm256_add_epi32(acc.a, _mm256_madd_epi16(shorts.a, one)),
          _mm256_add_epi32(acc.b, _mm256_madd_epi16(shorts.b, one))};
}
inline Quad quad_of(const void* x) {
  int32_t packed;
  std::memcpy(&packed, x, 4);
  return {_mm256_set1_epi32(packed)};
}
template <bool kWide>
inline VI dot(VI acc, VB w, Quad x) {
  return {dot256<kWide>(acc.a, w.a, x.v), dot256<kWide>(acc.b, w.b, x.v)};
}
inline VI dot_pairs(VI acc, VB w, Quad x) {
  return {_mm256_add_epi32(acc.a, _mm256_madd_epi16(w.a, x.v)),
          _mm256_add_epi32(acc.b, _mm256_madd_epi16(w.b, x.v))};
}

inline float vf_sum(VF x) { return sum_of_eight(_mm256_add_ps(x.a, x.b)); }
inline float vf_largest(VF x) { return largest_of_eight(_mm256_max_ps(x.a, x.b)); }
