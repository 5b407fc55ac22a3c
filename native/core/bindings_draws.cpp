#include "bindings_draws.h"

#include <cmath>

namespace realm {
namespace {

void check_draws(const Draws& draws, size_t count, size_t times, int vocabulary) {
  require(draws.floats && draws.history, "sampling needs floats, integers and history together");
  require(draws.floats->shape(0) == count && draws.floats->shape(1) == 7,
          "sampling floats must be [rows, 7]");
  require(draws.integers->shape(0) == count && draws.integers->shape(1) == 11,
          "sampling integers must be [rows, 11]");
  require(draws.bias_tokens.has_value() == draws.bias_values.has_value() &&
              (!draws.bias_tokens || draws.bias_tokens->size() == draws.bias_values->size()),
          "biases need as many tokens as values");
  if (draws.bias_tokens)
    for (size_t i = 0; i < draws.bias_tokens->size(); i++)
      require(draws.bias_tokens->data()[i] >= 0 && draws.bias_tokens->data()[i] < vocabulary,
              "a bias is for a token out of the vocabulary");
  require(!draws.allowed || draws.allowed->shape(1) == static_cast<size_t>(vocabulary + 31) / 32,
          "a mask must have one bit a token");
  require(!draws.noise_tokens || draws.noise_tokens->size() == static_cast<size_t>(vocabulary),
          "noise_tokens must be [vocabulary]");
  require(
      draws.logprobs.has_value() == draws.logprob_tokens.has_value() &&
          (!draws.logprobs || (draws.logprobs->shape(0) == times * count && draws.logprobs->shape(1) > 0 &&
                               draws.logprob_tokens->shape(0) == times * count &&
                               draws.logprob_tokens->shape(1) == draws.logprobs->shape(1))),
      "log probabilities need values and tokens, [rows of all steps, 1 + most]");
}

// Offset and count lie in an array of `size`.
bool lies_in(int64_t offset, int64_t count, size_t size) {
  const int64_t all = static_cast<int64_t>(size);
  return offset >= 0 && count >= 0 && offset <= all && count <= all - offset;
}

}  // namespace

void read_draws(const Draws& draws, int vocabulary, int following, StepInput& input) {
  if (!draws.integers) return;
  const size_t count = input.logit_rows.size();
  check_draws(draws, count, 1 + static_cast<size_t>(following), vocabulary);
  const size_t bias_size = draws.bias_tokens ? draws.bias_tokens->size() : 0;
  const int64_t masks = draws.allowed ? static_cast<int64_t>(draws.allowed->shape(0)) : 0;
  const int64_t most = draws.logprobs ? static_cast<int64_t>(draws.logprobs->shape(1)) - 1 : -1;
  for (size_t i = 0; i < count; i++) {
    const float* f = draws.floats->data() + 7 * i;
    const int64_t* n = draws.integers->data() + 11 * i;
    require(lies_in(n[4], n[5], draws.history->size()), "a history reaches outside of its array");
    require(lies_in(n[7], n[8], bias_size), "a bias reaches outside of its array");
    require(n[9] >= -1 && n[9] < masks, "no mask of this number");
    require(n[10] >= -1 && n[10] <= most && n[10] <= kMostLogprobs, "too many log probabilities");
    require(n[0] == 0 || (std::isfinite(f[0]) && f[0] >= 0.0f), "a temperature must be a number >= 0");
    SamplingRow row;
    row.temperature = f[0];
    row.top_p = f[1];
    row.min_p = f[2];
    row.typical_p = f[3];
    row.repetition_penalty = f[4];
    row.presence_penalty = f[5];
    row.frequency_penalty = f[6];
    row.draw = n[0] != 0;
    row.top_k = static_cast<int32_t>(n[1]);
    row.seed = static_cast<uint64_t>(n[2]);
    row.position = n[3];
    row.history = draws.history->data() + n[4];
    row.history_count = static_cast<int>(n[5]);
    row.prompt_count = static_cast<int>(n[6]);
    row.bias_count = static_cast<int>(n[8]);
    if (row.bias_count > 0) {
      row.bias_tokens = draws.bias_tokens->data() + n[7];
      row.bias_values = draws.bias_values->data() + n[7];
    }
    if (n[9] >= 0) row.allowed = draws.allowed->data() + n[9] * static_cast<int64_t>(draws.allowed->shape(1));
    if (draws.noise_tokens) row.noise_tokens = draws.noise_tokens->data();
    row.logprob_count = static_cast<int>(n[10]);
    if (row.logprob_count >= 0) {
      row.logprob_stride = static_cast<size_t>(most) + 1;
      row.logprobs = draws.logprobs->data() + static_cast<int64_t>(i) * (most + 1);
      row.logprob_tokens = draws.logprob_tokens->data() + static_cast<int64_t>(i) * (most + 1);
    }
    input.sampling.push_back(row);
  }
}

}  // namespace realm
