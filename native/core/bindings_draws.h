// What a step samples, as it comes from Python.
#pragma once

#include <optional>

#include "bindings.h"
#include "transformer.h"

namespace realm {

using Tokens = Array<const int32_t, nanobind::ndim<1>>;

// What the rows of logits are for: floats [rows, 7] = temperature, top_p, min_p, typical_p, repetition,
// presence, frequency; integers [rows, 11] = draw (0 or 1), top_k, seed, position, history offset, history
// count, prompt count, bias offset, bias count, row of `allowed` (-1: none), log probabilities of the most
// likely (-1: none are wanted, not the chosen token's either).
struct Draws {
  std::optional<Rows> floats;
  std::optional<Array<const int64_t, nanobind::ndim<2>>> integers;
  std::optional<Tokens> history;
  std::optional<Tokens> bias_tokens;
  std::optional<Vector> bias_values;
  std::optional<Array<const uint32_t, nanobind::ndim<2>>> allowed;  // [masks, ceil(vocabulary / 32)]
  std::optional<Array<float, nanobind::ndim<2>>> logprobs;          // [rows of all steps, 1 + most]: out
  std::optional<Array<int32_t, nanobind::ndim<2>>> logprob_tokens;  // the same shape: out
  std::optional<Tokens> noise_tokens;                               // [vocabulary]
};

// Checks `draws` and adds one SamplingRow for each of the input's logit_rows, or none without integers. The
// rows point into the arrays. following: how many steps come after this one. Raises NativeError.
void read_draws(const Draws& draws, int vocabulary, int following, StepInput& input);

}  // namespace realm
