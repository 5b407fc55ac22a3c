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
#include "simd_avx512.h"
#elif defined(REALM_KERNELS_AVX2)
#include "simd_avx2.h"
#else
#include "simd_plain.h"
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
