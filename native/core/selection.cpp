#include "selection.h"

#include <algorithm>
#include <cmath>
#include <functional>

namespace realm {

int find_maxima(const KernelTable& kernels, const float* values, int count, std::vector<float>& maxima) {
  maxima.resize(static_cast<size_t>((count + kMaximaBlock - 1) / kMaximaBlock));
  kernels.block_maxima(values, count, maxima.data());
  float largest = -INFINITY;
  int best = -1;
  for (size_t block = 0; block < maxima.size(); block++)
    if (maxima[block] > largest) {
      largest = maxima[block];
      best = static_cast<int>(block) * kMaximaBlock;
    }
  while (best >= 0 && values[best] != largest) best++;
  return best;
}

void gather_largest(const float* values, int count, const std::vector<float>& maxima, int wanted,
                    std::vector<float>& thresholds, std::vector<int32_t>& indices) {
  // At least `wanted` values reach the wanted-th largest of the blocks' maxima.
  float threshold = -INFINITY;
  if (wanted <= static_cast<int>(maxima.size())) {
    thresholds = maxima;
    std::nth_element(thresholds.begin(), thresholds.begin() + (wanted - 1), thresholds.end(),
                     std::greater<float>());
    threshold = thresholds[static_cast<size_t>(wanted - 1)];
  }
  indices.clear();
  for (int block = 0; block < static_cast<int>(maxima.size()); block++) {
    if (!(maxima[static_cast<size_t>(block)] >= threshold)) continue;
    const int begin = block * kMaximaBlock, end = std::min(begin + kMaximaBlock, count);
    for (int i = begin; i < end; i++)
      if (values[i] >= threshold && values[i] > -INFINITY) indices.push_back(i);
  }
}

Cut select_mass(const uint32_t* keys, const float* masses, int count, double target,
                std::vector<double>& histogram) {
  constexpr int kShifts[] = {21, 10, 0};
  constexpr uint32_t kDigits[] = {2047, 2047, 1023};
  uint32_t prefix = 0, known = 0;
  double above = 0.0;
  for (int level = 0; level < 3; level++) {
    const int shift = kShifts[level];
    const uint32_t digits = kDigits[level];
    histogram.assign(digits + 1, 0.0);
    for (int i = 0; i < count; i++)
      if ((keys[i] & known) == prefix)
        histogram[(keys[i] >> shift) & digits] += masses ? static_cast<double>(masses[i]) : 1.0;
    // The digit at which the target is reached, or the lowest that occurs.
    uint32_t digit = 0;
    double before = above;
    for (uint32_t at = digits + 1; at-- > 0;) {
      if (histogram[at] == 0.0) continue;
      digit = at;
      before = above;
      above += histogram[at];
      if (above >= target) break;
    }
    above = before;
    prefix |= digit << shift;
    known |= digits << shift;
  }
  int ties = 0;
  for (int i = 0; i < count && (ties == 0 || above < target); i++)
    if (keys[i] == prefix) {
      above += masses ? static_cast<double>(masses[i]) : 1.0;
      ties++;
    }
  return {prefix, ties};
}

}  // namespace realm
