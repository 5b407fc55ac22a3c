// Chooses one token from a row of logits. The draw is a function of the logits, the policy, the seed and the
// position alone.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels.h"

namespace realm {

constexpr int kMostLogprobs = 20;  // alternatives whose log probability one row may ask for

// Instead of a token.
constexpr int kNothingAllowed = -2;  // every token is forbidden
constexpr int kNotANumber = -3;      // the logits are infinite or no numbers

struct SamplingRow {
  float temperature = 0.0f, top_p = 1.0f, min_p = 0.0f, typical_p = 1.0f;
  float repetition_penalty = 1.0f, presence_penalty = 0.0f, frequency_penalty = 0.0f;
  int32_t top_k = 0;
  uint64_t seed = 0;
  int64_t position = 0;
  const int32_t* history = nullptr;  // tokens of the sequence so far; the penalties look at them
  int history_count = 0;
  int prompt_count = 0;                  // how many of them were not generated
  bool draw = true;                      // false: only the logits are wanted
  const int32_t* bias_tokens = nullptr;  // [bias_count], all in the vocabulary
  const float* bias_values = nullptr;    // [bias_count]
  int bias_count = 0;
  // [vocabulary] what keys the noise of each token; nullptr: the token itself. A draft that has other ids
  // than its target draws with its target's noise.
  const int32_t* noise_tokens = nullptr;
  const uint32_t* allowed = nullptr;  // one bit a token, the lowest bit first; nullptr: all are
  // Log probabilities under the model itself, before anything of the policy: the chosen token's, then those
  // of the `logprob_count` most likely tokens. -1: none are wanted.
  int logprob_count = -1;
  size_t logprob_stride = 0;          // from one row of these arrays to the next
  float* logprobs = nullptr;          // [1 + logprob_count]
  int32_t* logprob_tokens = nullptr;  // [1 + logprob_count]; -1 past the end of a small vocabulary
};

// Scratch of one thread.
struct SamplerScratch {
  std::vector<float> weights, raw, maxima, thresholds;
  std::vector<int32_t> candidates;
  std::vector<uint32_t> keys, counts;
  std::vector<double> histogram;
};

// logits: `vocabulary` floats, changed by bias, mask and penalties. Returns a token id, kNothingAllowed or
// kNotANumber.
int sample(const KernelTable& kernels, float* logits, int vocabulary, const SamplingRow& row,
           SamplerScratch& scratch);

}  // namespace realm
