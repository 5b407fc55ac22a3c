// Sixteen lanes of float and int32, and 64 bytes of weights, for one instruction set.
// Included by kernels.inc only, inside an anonymous namespace: every instruction set has types of its own.

// Sums and maxima over lanes halve the vector four times, always in the same way: lane i with lane i + width.
#if defined(REALM_KERNELS_AVX512) || defined(REALM_KERNELS_AVX2)
inline float sum_of_eight(__m256 a) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}
inline float largest_of_eight(__m256 a) {
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}
// Sum of sixteen int8: as unsigned numbers 128 larger, which one instruction adds.
inline int32_t sum_of_int8(const int8_t* p) {
  const __m128i biased =
      _mm_xor_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)), _mm_set1_epi8(-128));
  const __m128i sums = _mm_sad_epu8(biased, _mm_setzero_si128());
  return _mm_cvtsi128_si32(sums) + _mm_cvtsi128_si32(_mm_unpackhi_epi64(sums, sums)) - 16 * 128;
}
#endif

#if defined(REALM_KERNELS_AVX512)

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
inline void store_int8(int8_t* p, VF a) {  // a already rounded and within -127..127
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a.v)));
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
// table[index] for indices below 16
inline VB vb_lookup(const uint8_t* table, VB index) {
  const __m128i entries = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
  return {_mm512_shuffle_epi8(_mm512_broadcast_i32x4(entries), index.v)};
}
// acc[lane] += sum over c of w[4 lane + c] * x[c]
template <bool kWide>
inline VI dot(VI acc, VB w, const int8_t* x) {
  int32_t packed;
  std::memcpy(&packed, x, 4);
  return {_mm512_dpbusd_epi32(acc.v, w.v, _mm512_set1_epi32(packed))};
}

inline float vf_sum(VF a) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  return sum_of_eight(eight);
}
inline float vf_largest(VF a) {
  return largest_of_eight(_mm256_max_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1)));
}

#elif defined(REALM_KERNELS_AVX2)

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
inline VB vb_lookup(const uint8_t* table, VB index) {
  const __m256i entries = _mm256_broadcastsi128_si256(load128(table));
  return {_mm256_shuffle_epi8(entries, index.a), _mm256_shuffle_epi8(entries, index.b)};
}
inline __m256i pair_sums(__m256i w, __m256i x) {
  return _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), _mm256_set1_epi16(1));
}
// maddubs saturates at 16 bits: weights of 8 bits go through it as their low seven bits and their top bit.
template <bool kWide>
inline __m256i dot256(__m256i acc, __m256i w, __m256i x) {
  if constexpr (!kWide) return _mm256_add_epi32(acc, pair_sums(w, x));
  const __m256i low = _mm256_and_si256(w, _mm256_set1_epi8(127));
  const __m256i top = _mm256_and_si256(w, _mm256_set1_epi8(static_cast<char>(128)));
  return _mm256_add_epi32(acc, _mm256_add_epi32(pair_sums(low, x), pair_sums(top, x)));
}
template <bool kWide>
inline VI dot(VI acc, VB w, const int8_t* x) {
  int32_t packed;
  std::memcpy(&packed, x, 4);
  const __m256i four = _mm256_set1_epi32(packed);
  return {dot256<kWide>(acc.a, w.a, four), dot256<kWide>(acc.b, w.b, four)};
}

inline float vf_sum(VF x) { return sum_of_eight(_mm256_add_ps(x.a, x.b)); }
inline float vf_largest(VF x) { return largest_of_eight(_mm256_max_ps(x.a, x.b)); }

#else  // plain C++

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
inline VB vb_lookup(const uint8_t* table, VB index) {
  VB r;
  for (int i = 0; i < 64; i++) r.v[i] = table[index.v[i]];
  return r;
}
template <bool kWide>
inline VI dot(VI acc, VB w, const int8_t* x) {
  for (int i = 0; i < 16; i++)
    for (int c = 0; c < 4; c++) acc.v[i] += static_cast<int32_t>(w.v[4 * i + c]) * x[c];
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

#endif

// e ** a by range reduction and a polynomial of degree 6 (relative error below 2e-7); clamped to float's
// range.
inline VF vf_exp(VF a) {
  a = vf_min(vf_max(a, vf_set(-87.0f)), vf_set(88.0f));
  const VF n = vf_round(a * vf_set(1.44269504088896341f));
  VF r = vf_fma(n, vf_set(-0.693359375f), a);
  r = vf_fma(n, vf_set(2.12194440e-4f), r);
  VF p = vf_set(1.9875691500e-4f);
  p = vf_fma(p, r, vf_set(1.3981999507e-3f));
  p = vf_fma(p, r, vf_set(8.3334519073e-3f));
  p = vf_fma(p, r, vf_set(4.1665795894e-2f));
  p = vf_fma(p, r, vf_set(1.6666665459e-1f));
  p = vf_fma(p, r, vf_set(5.0000001201e-1f));
  p = vf_fma(p, r * r, r) + vf_set(1.0f);
  return p * vf_power_of_two(n);
}
