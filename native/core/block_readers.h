// How GGUF blocks are read: 32 columns of one row at a time, whatever the block type.
#pragma once

#include <cstring>

#include "formats.h"

namespace realm {

inline uint16_t read_u16(const uint8_t* p) {
  uint16_t value;
  std::memcpy(&value, p, 2);
  return value;
}
inline float read_half(const uint8_t* p) { return half_to_float(read_u16(p)); }

// 32 columns of one row: unsigned quants and what they are multiplied with.
struct Block {
  uint8_t quants[kBlockColumns];
  float scale[2];  // of columns 0..15 and 16..31
  float minimum;
  uint8_t steps[2];  // stepped forms: what scale (low four bits) and minimum (high) are multiplied with
};

struct Source {
  int ggml_type;
  Form form;
  int columns;                                            // of one GGUF block
  int bytes;                                              // of one GGUF block
  void (*read)(const uint8_t* row, int block, Block& b);  // nullptr for floats
};

// The table's row of a GGML block type; nullptr when the type cannot run.
const Source* source_of(int ggml_type);

}  // namespace realm
