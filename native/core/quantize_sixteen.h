// Sixteen floats at a time: their largest magnitude, and rounding them to bytes. What packing an adapter
// spends its time on; both ways give the same bits.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#ifdef REALM_X86
#include <emmintrin.h>
#endif

namespace realm {

constexpr int kSixteen = 16;

#ifdef REALM_X86

// Magnitudes, and where a value was not finite.
class Largest {
 public:
  void add(const float* values) {
    for (int i = 0; i < kSixteen; i += 4) {
      const __m128i bits = _mm_and_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(values + i)),
                                         _mm_set1_epi32(0x7fffffff));
      endless_ = _mm_or_si128(endless_, _mm_cmpgt_epi32(bits, _mm_set1_epi32(0x7f7fffff)));
      largest_ = _mm_max_ps(largest_, _mm_castsi128_ps(bits));
    }
  }
  // NaN when some value was not finite.
  float get() const {
    if (_mm_movemask_epi8(endless_)) return std::numeric_limits<float>::quiet_NaN();
    const __m128 pair = _mm_max_ps(largest_, _mm_movehl_ps(largest_, largest_));
    return _mm_cvtss_f32(_mm_max_ss(pair, _mm_shuffle_ps(pair, pair, 1)));
  }

 private:
  __m128 largest_ = _mm_setzero_ps();
  __m128i endless_ = _mm_setzero_si128();
};

// values * factor to nearest, to even on ties, 128 added; each product is within +-127.4. Bytes 4 q .. 4 q +
// 3 stand at to + 64 q, for the first `quads` of them.
inline void round_quads(const float* values, float factor, int quads, uint8_t* to) {
  __m128i whole[4];
  for (int i = 0; i < 4; i++) {
    // 1.5 * 2 ** 23: what is behind the point falls off.
    const __m128 product = _mm_mul_ps(_mm_loadu_ps(values + 4 * i), _mm_set1_ps(factor));
    whole[i] = _mm_sub_epi32(_mm_castps_si128(_mm_add_ps(product, _mm_set1_ps(12582912.0f))),
                             _mm_set1_epi32(0x4b400000));
  }
  const __m128i narrow =
      _mm_packs_epi16(_mm_packs_epi32(whole[0], whole[1]), _mm_packs_epi32(whole[2], whole[3]));
  uint8_t bytes[kSixteen];
  _mm_storeu_si128(reinterpret_cast<__m128i*>(bytes), _mm_xor_si128(narrow, _mm_set1_epi8(-128)));
  for (int quad = 0; quad < quads; quad++) std::memcpy(to + 64 * quad, bytes + 4 * quad, 4);
}

#else

class Largest {
 public:
  void add(const float* values) {
    for (int i = 0; i < kSixteen; i++) {
      endless_ = endless_ || !std::isfinite(values[i]);
      largest_ = std::max(largest_, std::fabs(values[i]));
    }
  }
  float get() const { return endless_ ? std::numeric_limits<float>::quiet_NaN() : largest_; }

 private:
  float largest_ = 0.0f;
  bool endless_ = false;
};

inline void round_quads(const float* values, float factor, int quads, uint8_t* to) {
  for (int i = 0; i < 4 * quads; i++) {
    const float shifted = values[i] * factor + 12582912.0f;
    uint32_t bits;
    std::memcpy(&bits, &shifted, 4);
    to[64 * (i / 4) + i % 4] = static_cast<uint8_t>(bits ^ 128);
  }
}

#endif

// Sixteen values, or fewer and zeros behind them.
class Padded {
 public:
  Padded(const float* values, size_t count) : values_(values) {
    if (count >= kSixteen) return;
    std::memset(padded_, 0, sizeof padded_);
    std::memcpy(padded_, values, 4 * count);
    values_ = padded_;
  }
  const float* get() const { return values_; }

 private:
  const float* values_;
  float padded_[kSixteen];
};

// NaN when some value is not finite.
inline float largest_of(const float* values, size_t count) {
  Largest largest;
  size_t i = 0;
  for (; i + kSixteen <= count; i += kSixteen) largest.add(values + i);
  if (i < count) largest.add(Padded(values + i, count - i).get());
  return largest.get();
}

}  // namespace realm
