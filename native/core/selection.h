// Finds the largest of many numbers without sorting them.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels.h"

namespace realm {

// maxima: KernelTable::block_maxima of the values. Returns the index of the largest of all, the lowest on
// ties; -1 when no number is above -infinity.
int find_maxima(const KernelTable& kernels, const float* values, int count, std::vector<float>& maxima);

// A number as bits that compare as the numbers do.
inline uint32_t ordered_bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}

// Indices of at least `wanted` of the largest values above -infinity, in ascending order, and usually not
// many more. maxima: those of the values. thresholds: scratch.
void gather_largest(const float* values, int count, const std::vector<float>& maxima, int wanted,
                    std::vector<float>& thresholds, std::vector<int32_t>& indices);

// Which entries are chosen: all with a key above `key`, and the first `ties` of those with this key.
struct Cut {
  uint32_t key;
  int ties;
};

// The fewest entries with the largest keys whose masses sum to at least `target` (> 0), the first ones on
// ties; all when they do not. masses: nullptr counts each entry as 1. A radix selection (one pass a digit),
// so that the time is linear whatever the distribution.
Cut select_mass(const uint32_t* keys, const float* masses, int count, double target,
                std::vector<double>& histogram);

}  // namespace realm
