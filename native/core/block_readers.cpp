// The blocks of every GGML type. Layouts: the `block_*` structures in ggml-common.h, their meaning
// `dequantize_row_*` in ggml-quants.c.
#include "block_readers.h"

#include <cstring>

namespace realm {
namespace {

void nibbles(const uint8_t* p, uint8_t* quants) {
  for (int i = 0; i < 16; i++) {
    quants[i] = p[i] & 15;
    quants[i + 16] = p[i] >> 4;
  }
}
void fifth_bits(const uint8_t* p, uint8_t* quants) {
  uint32_t bits;
  std::memcpy(&bits, p, 4);
  for (int i = 0; i < 32; i++) quants[i] |= static_cast<uint8_t>(((bits >> i) & 1) << 4);
}
void set_scale(Block& b, float scale, float minimum = 0.0f) {
  b.scale[0] = b.scale[1] = scale;
  b.minimum = minimum;
}

void read_q4_0(const uint8_t* row, int block, Block& b) {
  const uint8_t* p = row + block * 18;
  nibbles(p + 2, b.quants);
  set_scale(b, read_half(p));
}
void read_q4_1(const uint8_t* row, int block, Block& b) {
  const uint8_t* p = row + block * 20;
  nibbles(p + 4, b.quants);
  set_scale(b, read_half(p), read_half(p + 2));
}
void read_q5_0(const uint8_t* row, int block, Block& b) {
  const uint8_t* p = row + block * 22;
  nibbles(p + 6, b.quants);
  fifth_bits(p + 2, b.quants);
  set_scale(b, read_half(p));
}
void read_q5_1(const uint8_t* row, int block, Block& b) {
  const uint8_t* p = row + block * 24;
  nibbles(p + 8, b.quants);
  fifth_bits(p + 4, b.quants);
  set_scale(b, read_half(p), read_half(p + 2));
}
void read_q8_0(const uint8_t* row, int block, Block& b) {
  const uint8_t* p = row + block * 34;
  for (int i = 0; i < 32; i++) b.quants[i] = static_cast<uint8_t>(p[2 + i] ^ 0x80);
  set_scale(b, read_half(p));
}
void read_q2_k(const uint8_t* row, int block, Block& b) {
  const uint8_t* p = row + block / 8 * 84;
  const int j = block % 8;
  const uint8_t* q = p + 16 + j / 4 * 32;
  for (int i = 0; i < 32; i++) b.quants[i] = (q[i] >> (2 * (j % 4))) & 3;
  b.steps[0] = p[2 * j];
  b.steps[1] = p[2 * j + 1];
  set_scale(b, read_half(p + 80), -read_half(p + 82));
}
void read_q3_k(const uint8_t* row, int block, Block& b) {
  const uint8_t* p = row + block / 8 * 110;
  const int j = block % 8;
  const uint8_t *high = p, *low = p + 32 + j / 4 * 32, *scales = p + 96;
  for (int i = 0; i < 32; i++)
    b.quants[i] = static_cast<uint8_t>(((low[i] >> (2 * (j % 4))) & 3) | (((high[i] >> j) & 1) << 2));
  const float d = read_half(p + 108);
  for (int half = 0; half < 2; half++) {  // sixteen scales of six bits: low nibbles in 8 bytes, the rest in 4
    const int k = 2 * j + half;
    const int scale =
        ((scales[k % 8] >> (k < 8 ? 0 : 4)) & 15) | (((scales[8 + k % 4] >> (2 * (k / 4))) & 3) << 4);
    b.scale[half] = d * static_cast<float>(scale - 32);
  }
  b.minimum = 0.0f;
}
// Scale and minimum of sub-block j of a Q4_K or Q5_K block: twelve bytes hold eight pairs of six bits.
void k_scales(const uint8_t* p, int j, float d, float dmin, Block& b) {
  const int scale = j < 4 ? p[j] & 63 : (p[j + 4] & 15) | ((p[j - 4] >> 6) << 4);
  const int minimum = j < 4 ? p[j + 4] & 63 : (p[j + 4] >> 4) | ((p[j] >> 6) << 4);
  set_scale(b, d * static_cast<float>(scale), -dmin * static_cast<float>(minimum));
}
void read_q4_k(const uint8_t* row, int block, Block& b) {
  const uint8_t* p = row + block / 8 * 144;
  const int j = block % 8;
  k_scales(p + 4, j, read_half(p), read_half(p + 2), b);
  const uint8_t* q = p + 16 + j / 2 * 32;
  for (int i = 0; i < 32; i++) b.quants[i] = j % 2 ? q[i] >> 4 : q[i] & 15;
}
void read_q5_k(const uint8_t* row, int block, Block& b) {
  const uint8_t* p = row + block / 8 * 176;
  const int j = block % 8;
  k_scales(p + 4, j, read_half(p), read_half(p + 2), b);
  const uint8_t *high = p + 16, *q = p + 48 + j / 2 * 32;
  for (int i = 0; i < 32; i++) {
    const int low = j % 2 ? q[i] >> 4 : q[i] & 15;
    b.quants[i] = static_cast<uint8_t>(low | (((high[i] >> j) & 1) << 4));
  }
}
void read_q6_k(const uint8_t* row, int block, Block& b) {
  const uint8_t* p = row + block / 8 * 210;
  const int j = block % 8, half = j / 4, part = j % 4;
  const uint8_t* low = p + half * 64 + (part % 2) * 32;
  const uint8_t* high = p + 128 + half * 32;
  const int8_t* scales = reinterpret_cast<const int8_t*>(p + 192) + half * 8 + part * 2;
  for (int i = 0; i < 32; i++) {
    const int nibble = part < 2 ? low[i] & 15 : low[i] >> 4;
    b.quants[i] = static_cast<uint8_t>(nibble | (((high[i] >> (2 * part)) & 3) << 4));
  }
  const float d = read_half(p + 208);
  b.scale[0] = d * static_cast<float>(scales[0]);
  b.scale[1] = d * static_cast<float>(scales[1]);
  b.minimum = 0.0f;
}
void read_q8_k(const uint8_t* row, int block, Block& b) {
  const uint8_t* p = row + block / 8 * 292;
  const uint8_t* q = p + 4 + block % 8 * 32;
  for (int i = 0; i < 32; i++) b.quants[i] = static_cast<uint8_t>(q[i] ^ 0x80);
  float d;
  std::memcpy(&d, p, 4);
  set_scale(b, d);
}
void read_iq4_xs(const uint8_t* row, int block, Block& b) {
  const uint8_t* p = row + block / 8 * 136;
  const int j = block % 8;
  const int scale = ((p[4 + j / 2] >> (4 * (j % 2))) & 15) | (((read_u16(p + 2) >> (2 * j)) & 3) << 4);
  nibbles(p + 8 + 16 * j, b.quants);
  set_scale(b, read_half(p) * static_cast<float>(scale - 32));
}

// One row for every GGML block type that can run.
constexpr Source kSources[] = {
    {0, Form::kF32, 1, 4, nullptr},
    {1, Form::kF16, 1, 2, nullptr},
    {30, Form::kBF16, 1, 2, nullptr},
    {2, Form::kQ4, 32, 18, read_q4_0},
    {3, Form::kQ4Min, 32, 20, read_q4_1},
    {6, Form::kQ5, 32, 22, read_q5_0},
    {7, Form::kQ5Min, 32, 24, read_q5_1},
    {8, Form::kQ8, 32, 34, read_q8_0},
    {12, Form::kQ4Min, 256, 144, read_q4_k},
    {13, Form::kQ5Min, 256, 176, read_q5_k},
    {14, Form::kQ6, 256, 210, read_q6_k},
    {10, Form::kQ2Min, 256, 84, read_q2_k},
    {11, Form::kQ3, 256, 110, read_q3_k},
    {15, Form::kQ8, 256, 292, read_q8_k},
    {20, Form::kQ4Codebook, 32, 18, read_q4_0},
    {23, Form::kQ4Codebook, 256, 136, read_iq4_xs},
};
}  // namespace

const Source* source_of(int ggml_type) {
  for (const Source& s : kSources)
    if (s.ggml_type == ggml_type) return &s;
  return nullptr;
}

}  // namespace realm
