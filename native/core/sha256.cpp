#include "sha256.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#ifdef REALM_X86
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace realm {
namespace {

constexpr size_t kBlockBytes = 64, kBlocksAtOnce = 1024;

// FIPS 180-4, 4.2.2 and 5.3.3.
alignas(16) constexpr uint32_t kRoundConstants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
constexpr uint32_t kBeginning[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

using State = uint32_t[8];

uint32_t rotated(uint32_t value, int bits) { return value >> bits | value << (32 - bits); }

void compress_plain(uint32_t* state, const uint8_t* text, size_t blocks) {
  for (; blocks > 0; blocks--, text += kBlockBytes) {
    uint32_t w[64];
    for (int t = 0; t < 16; t++)
      w[t] = static_cast<uint32_t>(text[4 * t]) << 24 | static_cast<uint32_t>(text[4 * t + 1]) << 16 |
             static_cast<uint32_t>(text[4 * t + 2]) << 8 | text[4 * t + 3];
    for (int t = 16; t < 64; t++) {
      const uint32_t low = rotated(w[t - 15], 7) ^ rotated(w[t - 15], 18) ^ w[t - 15] >> 3;
      const uint32_t high = rotated(w[t - 2], 17) ^ rotated(w[t - 2], 19) ^ w[t - 2] >> 10;
      w[t] = w[t - 16] + low + w[t - 7] + high;
    }
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (int t = 0; t < 64; t++) {
      const uint32_t choice = (e & f) ^ (~e & g), majority = (a & b) ^ (a & c) ^ (b & c);
      const uint32_t first =
          h + (rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)) + choice + kRoundConstants[t] + w[t];
      const uint32_t second = (rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)) + majority;
      h = g, g = f, f = e, e = d + first, d = c, c = b, b = a, a = first + second;
    }
    const uint32_t next[8] = {a, b, c, d, e, f, g, h};
    for (int i = 0; i < 8; i++) state[i] += next[i];
  }
}

#ifdef REALM_X86

// Lanes in step: the instructions of one fill the time that those of the other take. The processor wants the
// state as (a, b, e, f) and (c, d, g, h), the highest word first.
template <int lanes>
__attribute__((target("sha,sse4.1"))) void compress_sha(State* states, const uint8_t** texts, size_t blocks) {
  const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
  __m128i abef[lanes], cdgh[lanes];
  for (int l = 0; l < lanes; l++) {
    const uint32_t* s = states[l];
    abef[l] = _mm_set_epi32(static_cast<int>(s[0]), static_cast<int>(s[1]), static_cast<int>(s[4]),
                            static_cast<int>(s[5]));
    cdgh[l] = _mm_set_epi32(static_cast<int>(s[2]), static_cast<int>(s[3]), static_cast<int>(s[6]),
                            static_cast<int>(s[7]));
  }
  for (; blocks > 0; blocks--) {
    __m128i words[lanes][4], first[lanes], second[lanes];
    for (int l = 0; l < lanes; l++) first[l] = abef[l], second[l] = cdgh[l];
#pragma GCC unroll 16
    for (int quad = 0; quad < 16; quad++) {
      const __m128i constants = _mm_load_si128(reinterpret_cast<const __m128i*>(kRoundConstants + 4 * quad));
#pragma GCC unroll 2
      for (int l = 0; l < lanes; l++) {
        __m128i& w = words[l][quad % 4];
        if (quad < 4) {
          const __m128i* from = reinterpret_cast<const __m128i*>(texts[l] + 16 * quad);
          w = _mm_shuffle_epi8(_mm_loadu_si128(from), swap);
        } else {
          const __m128i before = words[l][(quad + 3) % 4];
          const __m128i middle = _mm_alignr_epi8(before, words[l][(quad + 2) % 4], 4);
          w = _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(w, words[l][(quad + 1) % 4]), middle),
                                   before);
        }
        const __m128i sum = _mm_add_epi32(w, constants);
        cdgh[l] = _mm_sha256rnds2_epu32(cdgh[l], abef[l], sum);
        abef[l] = _mm_sha256rnds2_epu32(abef[l], cdgh[l], _mm_shuffle_epi32(sum, 0x0e));
      }
    }
    for (int l = 0; l < lanes; l++) {
      abef[l] = _mm_add_epi32(abef[l], first[l]);
      cdgh[l] = _mm_add_epi32(cdgh[l], second[l]);
      texts[l] += kBlockBytes;
    }
  }
  for (int l = 0; l < lanes; l++) {
    uint32_t upper[4], lower[4];
    _mm_storeu_si128(reinterpret_cast<__m128i*>(upper), abef[l]);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(lower), cdgh[l]);
    uint32_t* s = states[l];
    s[0] = upper[3], s[1] = upper[2], s[4] = upper[1], s[5] = upper[0];
    s[2] = lower[3], s[3] = lower[2], s[6] = lower[1], s[7] = lower[0];
  }
}

#endif

bool find_sha_instructions() {
#ifdef REALM_X86
  const char* forced = std::getenv("REALM_ISA");
  if (forced && std::strcmp(forced, "scalar") == 0) return false;
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b >> 29 & 1)) return false;
  return __get_cpuid(1, &a, &b, &c, &d) && (c >> 19 & 1);  // SSE 4.1
#else
  return false;
#endif
}

// Compresses `blocks` blocks of every lane and moves the texts on.
void compress(State* states, const uint8_t** texts, int lanes, size_t blocks) {
#ifdef REALM_X86
  if (has_sha_instructions()) {
    if (lanes == 2)
      compress_sha<2>(states, texts, blocks);
    else
      compress_sha<1>(states, texts, blocks);
    return;
  }
#endif
  for (int l = 0; l < lanes; l++) {
    compress_plain(states[l], texts[l], blocks);
    texts[l] += blocks * kBlockBytes;
  }
}

// The rest of a text, a one bit, zeros, and the text's length in bits (FIPS 180-4, 5.1.1).
void finish(uint32_t* state, const uint8_t* rest, size_t bytes, Sha256Digest* digest) {
  const size_t left = bytes % kBlockBytes, blocks = left + 9 > kBlockBytes ? 2 : 1;
  uint8_t last[2 * kBlockBytes] = {};
  if (left > 0) std::memcpy(last, rest, left);
  last[left] = 0x80;
  for (size_t i = 0; i < 8; i++)
    last[blocks * kBlockBytes - 1 - i] = static_cast<uint8_t>(uint64_t{bytes} * 8 >> 8 * i);
  compress_plain(state, last, blocks);
  for (size_t i = 0; i < 32; i++) (*digest)[i] = static_cast<uint8_t>(state[i / 4] >> (24 - 8 * (i % 4)));
}

}  // namespace

bool has_sha_instructions() {
  static const bool found = find_sha_instructions();
  return found;
}

void sha256(const uint8_t* const* texts, const size_t* bytes, int lanes, const std::atomic<bool>& abandoned,
            Sha256Digest* digests) {
  State states[2];
  const uint8_t* places[2];
  size_t common = bytes[0] / kBlockBytes;
  for (int l = 0; l < lanes; l++) {
    std::memcpy(states[l], kBeginning, sizeof kBeginning);
    places[l] = texts[l];
    common = std::min(common, bytes[l] / kBlockBytes);
  }
  for (size_t at = 0; at < common && !abandoned; at += kBlocksAtOnce)
    compress(states, places, lanes, std::min(kBlocksAtOnce, common - at));
  for (int l = 0; l < lanes; l++) {
    const size_t whole = bytes[l] / kBlockBytes;
    for (size_t at = common; at < whole && !abandoned; at += kBlocksAtOnce)
      compress(states + l, places + l, 1, std::min(kBlocksAtOnce, whole - at));
    finish(states[l], texts[l] + whole * kBlockBytes, bytes[l], digests + l);
  }
}

}  // namespace realm
