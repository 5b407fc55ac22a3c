// Chooses one token from a row of logits. The draw is a function of the logits, the seed and the position
// alone.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels.h"

namespace realm {

struct SamplingRow {
  float temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty;
  int32_t top_k;
  uint64_t seed;
  int64_t position;
  const int32_t* history;  // tokens of the sequence so far; the penalties look at them
  int history_count;
  int prompt_count;  // how many of them were not generated
  bool draw;         // false: only the logits are wanted
};

// Scratch of one thread.
struct SamplerScratch {
  std::vector<float> weights;
  std::vector<int32_t> candidates;
};

// logits: `vocabulary` floats, changed by the penalties. Returns a token id.
int sample(const KernelTable& kernels, float* logits, int vocabulary, const SamplingRow& row,
           SamplerScratch& scratch);

}  // namespace realm
