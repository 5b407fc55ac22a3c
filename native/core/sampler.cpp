#include "sampler.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

namespace realm {
namespace {

// SplitMix64's finalizer (Steele, Lea and Flood, 2014): a bijection that mixes every bit.
uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// Gumbel noise keyed by seed, position and token: argmax(logit + noise) is a draw from the softmax.
double gumbel(uint64_t key, int32_t token) {
  const uint64_t bits = mix(key + 0x9e3779b97f4a7c15u * (static_cast<uint64_t>(token) + 1));
  const double uniform = (static_cast<double>(bits >> 11) + 0.5) * 0x1p-53;
  return -std::log(-std::log(uniform));
}

void penalize(float* logits, int vocabulary, const SamplingRow& row) {
  if (row.repetition_penalty == 1.0f && row.presence_penalty == 0.0f && row.frequency_penalty == 0.0f) return;
  std::unordered_map<int32_t, int> generated;  // how often; 0 for tokens of the prompt alone
  for (int i = 0; i < row.history_count; i++) {
    const int32_t token = row.history[i];
    if (token >= 0 && token < vocabulary) generated[token] += i >= row.prompt_count ? 1 : 0;
  }
  for (const auto& [token, count] : generated) {
    float& logit = logits[token];
    logit = logit > 0.0f ? logit / row.repetition_penalty : logit * row.repetition_penalty;
    logit -= static_cast<float>(count) * row.frequency_penalty + (count > 0 ? row.presence_penalty : 0.0f);
  }
}

}  // namespace

int sample(const KernelTable& kernels, float* logits, int vocabulary, const SamplingRow& row,
           SamplerScratch& scratch) {
  penalize(logits, vocabulary, row);
  const int best = kernels.argmax(logits, vocabulary);
  if (row.temperature == 0.0f || row.top_k == 1) return best;

  std::vector<float>& weights = scratch.weights;
  std::vector<int32_t>& kept = scratch.candidates;
  weights.resize(static_cast<size_t>(vocabulary));
  kept.clear();
  const float inverse = 1.0f / row.temperature, largest = logits[best] * inverse;
  for (int i = 0; i < vocabulary; i++) weights[static_cast<size_t>(i)] = logits[i] * inverse;
  const float total_of_all = kernels.exp_sum(weights.data(), vocabulary, largest);

  // The most likely first; the lower id on ties.
  const auto more_likely = [&](int32_t a, int32_t b) {
    const float x = weights[static_cast<size_t>(a)], y = weights[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  };
  float total = total_of_all;
  if (row.top_k > 0 && row.top_k < vocabulary) {
    for (int i = 0; i < vocabulary; i++) kept.push_back(i);
    std::nth_element(kept.begin(), kept.begin() + row.top_k, kept.end(), more_likely);
    kept.resize(static_cast<size_t>(row.top_k));
    total = 0.0f;
    std::sort(kept.begin(), kept.end(), more_likely);
    for (int32_t token : kept) total += weights[static_cast<size_t>(token)];
  }
  if (row.top_p < 1.0f) {
    if (kept.empty()) {
      // Tokens below this weight together hold less than (1 - top_p): none of them can be in the nucleus.
      const float floor = total * (1.0f - row.top_p) / static_cast<float>(vocabulary);
      for (int i = 0; i < vocabulary; i++)
        if (weights[static_cast<size_t>(i)] >= floor) kept.push_back(i);
      std::sort(kept.begin(), kept.end(), more_likely);
    }
    float mass = 0.0f;
    size_t count = 0;
    while (count < kept.size() && mass < row.top_p * total)
      mass += weights[static_cast<size_t>(kept[count++])];
    kept.resize(std::max<size_t>(count, 1));
  }
  if (kept.empty())
    for (int i = 0; i < vocabulary; i++) kept.push_back(i);

  const uint64_t key = mix(mix(row.seed + 0x632be59bd9b4e019u) + static_cast<uint64_t>(row.position));
  int chosen = best;
  double highest = -INFINITY;
  for (int32_t token : kept) {
    if (weights[static_cast<size_t>(token)] < row.min_p || weights[static_cast<size_t>(token)] == 0.0f)
      continue;
    const double value = static_cast<double>(logits[token]) * inverse + gumbel(key, token);
    if (value > highest) {
      highest = value;
      chosen = token;
    }
  }
  return chosen;
}

}  // namespace realm
