#include "sampler.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <numeric>

#include "selection.h"

namespace realm {
namespace {

// SplitMix64's finalizer (Steele, Lea and Flood, 2014): a bijection that mixes every bit.
uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

bool penalizes(const SamplingRow& row) {
  return row.repetition_penalty != 1.0f || row.presence_penalty != 0.0f || row.frequency_penalty != 0.0f;
}

bool adjusts(const SamplingRow& row) { return row.bias_count > 0 || row.allowed || penalizes(row); }

void forbid(float* logits, int vocabulary, const uint32_t* allowed) {
  for (int begin = 0; begin < vocabulary; begin += 32) {
    const uint32_t word = allowed[begin / 32];
    const int end = std::min(begin + 32, vocabulary);
    if (word == 0xffffffffu) continue;
    if (word == 0)
      std::fill(logits + begin, logits + end, -INFINITY);
    else
      for (int i = begin; i < end; i++)
        if (!(word >> (i - begin) & 1)) logits[i] = -INFINITY;
  }
}

void penalize(float* logits, int vocabulary, const SamplingRow& row, std::vector<uint32_t>& counts) {
  // 0: not seen; 1: seen in the prompt alone; n + 1: generated n times. All zero again afterwards.
  if (counts.size() < static_cast<size_t>(vocabulary)) counts.resize(static_cast<size_t>(vocabulary));
  for (int i = 0; i < row.history_count; i++) {
    const int32_t token = row.history[i];
    if (token < 0 || token >= vocabulary) continue;
    uint32_t& count = counts[static_cast<size_t>(token)];
    if (count == 0) count = 1;
    if (i >= row.prompt_count) count++;
  }
  for (int i = 0; i < row.history_count; i++) {
    const int32_t token = row.history[i];
    if (token < 0 || token >= vocabulary || counts[static_cast<size_t>(token)] == 0) continue;
    const uint32_t generated = counts[static_cast<size_t>(token)] - 1;
    counts[static_cast<size_t>(token)] = 0;
    float& logit = logits[token];
    logit = logit > 0.0f ? logit / row.repetition_penalty : logit * row.repetition_penalty;
    logit -=
        static_cast<float>(generated) * row.frequency_penalty + (generated > 0 ? row.presence_penalty : 0.0f);
  }
}

// One draw: the tokens that are left, and their probabilities relative to the most likely one's.
class Candidates {
 public:
  Candidates(const KernelTable& kernels, const float* logits, int vocabulary, const SamplingRow& row,
             int best, SamplerScratch& scratch)
      : kernels_(kernels),
        logits_(logits),
        vocabulary_(vocabulary),
        row_(row),
        best_(best),
        scratch_(scratch),
        ids_(scratch.candidates),
        weights_(scratch.weights),
        inverse_(std::min(1.0f / row.temperature, FLT_MAX)) {}

  int choose() {
    const bool few = row_.top_k > 0 && row_.top_k < vocabulary_;
    if (few)
      keep_top_k();
    else if (row_.top_p >= 1.0f && row_.min_p > 0.0f)
      weigh_above(std::log(row_.min_p));
    else
      weigh_all();
    if (!(total_ > 0.0f && total_ <= FLT_MAX)) return kNotANumber;
    if (row_.top_p < 1.0f) keep_top_p();
    if (row_.min_p > 0.0f) keep_min_p();
    if (row_.typical_p < 1.0f) keep_typical();
    return draw();
  }

 private:
  // Log of a token's weight.
  float exponent(int32_t token) const { return (logits_[token] - logits_[best_]) * inverse_; }
  // exp_sum gives no weight below exp(-87), for a token that is forbidden or no number either.
  bool is_possible(int32_t token) const { return exponent(token) >= -87.0f; }
  int count() const { return static_cast<int>(weights_.size()); }

  void weigh() {
    weights_.resize(ids_.size());
    for (size_t i = 0; i < ids_.size(); i++) weights_[i] = logits_[ids_[i]];
    total_ = kernels_.exp_sum(weights_.data(), count(), logits_[best_], inverse_, weights_.data());
  }

  void weigh_all() {
    if (row_.allowed && few_are_allowed()) {
      weigh_above(-INFINITY);
      return;
    }
    everyone_ = true;
    weights_.resize(static_cast<size_t>(vocabulary_));
    total_ = kernels_.exp_sum(logits_, vocabulary_, logits_[best_], inverse_, weights_.data());
  }

  // Whether the mask leaves so few tokens that listing them is less work than weighing all.
  bool few_are_allowed() const {
    int room = vocabulary_ / 8;
    for (int word = 0; word < (vocabulary_ + 31) / 32 && room >= 0; word++)
      for (uint32_t bits = row_.allowed[word]; bits; bits &= bits - 1) room--;
    return room >= 0;
  }

  // Possible tokens whose weight is not below exp(floor), and perhaps some a little below.
  void gather_above(float floor) {
    constexpr float kSlack = 0.01f;
    const auto is_above = [&](float logit) {
      return logit > -INFINITY && (logit - logits_[best_]) * inverse_ >= floor - kSlack;
    };
    ids_.clear();
    for (int begin = 0; begin < vocabulary_; begin += kMaximaBlock) {
      if (!is_above(scratch_.maxima[static_cast<size_t>(begin / kMaximaBlock)])) continue;
      const int end = std::min(begin + kMaximaBlock, vocabulary_);
      for (int i = begin; i < end; i++)
        if (is_above(logits_[i])) ids_.push_back(i);
    }
  }

  void weigh_above(float floor) {
    gather_above(floor);
    weigh();
  }

  void keep_top_k() {
    gather_largest(logits_, vocabulary_, scratch_.maxima, row_.top_k, scratch_.thresholds, ids_);
    if (ids_.size() > static_cast<size_t>(row_.top_k)) {
      scratch_.keys.resize(ids_.size());
      for (size_t i = 0; i < ids_.size(); i++) scratch_.keys[i] = ordered_bits(logits_[ids_[i]]);
      weights_.resize(ids_.size());  // not known yet, and not needed
      keep(select_mass(scratch_.keys.data(), nullptr, count(), row_.top_k, scratch_.histogram));
    }
    weigh();
  }

  void keep_top_p() {
    if (everyone_) {
      // Tokens below this weight together hold less than (1 - top_p): none of them can be needed.
      const float floor = total_ * (1.0f - row_.top_p) / static_cast<float>(vocabulary_);
      gather_above(floor > 0.0f ? std::log(floor) : -INFINITY);
      everyone_ = false;
      for (size_t i = 0; i < ids_.size(); i++) weights_[i] = weights_[static_cast<size_t>(ids_[i])];
      weights_.resize(ids_.size());
    }
    scratch_.keys.resize(weights_.size());
    for (size_t i = 0; i < weights_.size(); i++) scratch_.keys[i] = ordered_bits(weights_[i]);
    keep(select_mass(scratch_.keys.data(), weights_.data(), count(),
                     static_cast<double>(row_.top_p) * static_cast<double>(total_), scratch_.histogram));
  }

  void keep_min_p() {
    size_t kept = 0;
    for (size_t i = 0; i < ids_.size(); i++)
      if (weights_[i] >= row_.min_p || ids_[i] == best_) move(i, kept++);
    shrink(kept);
  }

  // Locally typical sampling (Meister et al., 2022): the tokens whose information is nearest to the entropy.
  void keep_typical() {
    if (everyone_) {
      ids_.resize(weights_.size());
      std::iota(ids_.begin(), ids_.end(), 0);
      everyone_ = false;
    }
    double total = 0.0, mean = 0.0;
    for (size_t i = 0; i < ids_.size(); i++) {
      if (!is_possible(ids_[i])) continue;
      total += static_cast<double>(weights_[i]);
      mean += static_cast<double>(weights_[i]) * static_cast<double>(exponent(ids_[i]));
    }
    mean /= total;  // information = log(total) - exponent, so the distance to the mean needs no logarithm
    scratch_.keys.resize(weights_.size());
    for (size_t i = 0; i < ids_.size(); i++) {
      const double distance = std::abs(static_cast<double>(exponent(ids_[i])) - mean);
      scratch_.keys[i] = is_possible(ids_[i]) ? ~ordered_bits(static_cast<float>(distance)) : 0;
    }
    keep(select_mass(scratch_.keys.data(), weights_.data(), count(),
                     static_cast<double>(row_.typical_p) * total, scratch_.histogram));
  }

  // Only what `cut` chooses by scratch_.keys; the order stays.
  void keep(Cut cut) {
    size_t kept = 0;
    for (size_t i = 0; i < ids_.size(); i++) {
      const uint32_t key = scratch_.keys[i];
      if (key < cut.key || (key == cut.key && cut.ties-- <= 0)) continue;
      move(i, kept++);
    }
    shrink(kept);
  }

  void move(size_t from, size_t to) {
    ids_[to] = ids_[from];
    weights_[to] = weights_[from];
  }

  void shrink(size_t size) {
    ids_.resize(size);
    weights_.resize(size);
  }

  // The token with the largest exponent + Gumbel noise: a draw from the softmax (Gumbel, 1954). The noise
  // -log(-log(u)) is keyed by seed, position and token.
  int draw() const {
    const uint64_t key = mix(mix(row_.seed + 0x632be59bd9b4e019u) + static_cast<uint64_t>(row_.position));
    constexpr uint64_t kEnd = uint64_t{1} << 53;
    const auto bits_of = [&](int32_t token) {
      const int32_t name = row_.noise_tokens ? row_.noise_tokens[token] : token;
      return mix(key + 0x9e3779b97f4a7c15u * (static_cast<uint64_t>(name) + 1)) >> 11;
    };
    int chosen = -1;
    double highest = -INFINITY, bound = INFINITY;
    // A token's value is log(weight / -log(u)) with u = (bits + 1/2) / 2^53. Since -log(u) >= 1 - u, those
    // with 1 - u > weight * exp(-highest) cannot win: most tokens need no logarithm. The most that 2^53 -
    // bits may be:
    const auto limit_of = [&](float weight) {
      const double limit = static_cast<double>(weight) * bound * 0x1p53 + 1.0;
      return limit < 0x1p53 ? static_cast<uint64_t>(limit) : kEnd;
    };
    const auto consider = [&](int32_t token, float weight, uint64_t bits) {
      if (kEnd - bits > limit_of(weight)) return;
      const double uniform = (static_cast<double>(bits) + 0.5) * 0x1p-53;
      const double value = static_cast<double>(exponent(token)) - std::log(-std::log(uniform));
      if (!(value > highest || (value == highest && token < chosen))) return;
      highest = value;
      chosen = token;
      bound = std::exp(-highest) * 1.001;
    };
    if (!everyone_) {
      for (size_t i = 0; i < ids_.size(); i++) consider(ids_[i], weights_[i], bits_of(ids_[i]));
      return chosen;
    }
    std::vector<float>& largest = scratch_.thresholds;  // the largest weight of every block
    largest.resize(scratch_.maxima.size());
    kernels_.exp_sum(scratch_.maxima.data(), static_cast<int>(largest.size()), logits_[best_], inverse_,
                     largest.data());
    for (int begin = 0; begin < vocabulary_; begin += kMaximaBlock) {
      const uint64_t limit = limit_of(largest[static_cast<size_t>(begin / kMaximaBlock)] * 1.001f);
      const int end = std::min(begin + kMaximaBlock, vocabulary_);
      for (int i = begin; i < end; i++) {
        const uint64_t bits = bits_of(i);
        if (kEnd - bits <= limit) consider(i, weights_[static_cast<size_t>(i)], bits);
      }
    }
    return chosen;
  }

  const KernelTable& kernels_;
  const float* logits_;
  const int vocabulary_;
  const SamplingRow& row_;
  const int best_;
  SamplerScratch& scratch_;
  std::vector<int32_t>& ids_;    // ascending; unused while everyone_
  std::vector<float>& weights_;  // of ids_, or of every token
  bool everyone_ = false;
  float total_ = 0.0f;  // of the weights after top_k
  const float inverse_;
};

int choose(const KernelTable& kernels, const float* logits, int vocabulary, const SamplingRow& row,
           SamplerScratch& scratch) {
  const int best = find_maxima(kernels, logits, vocabulary, scratch.maxima);
  if (best < 0) {
    for (int i = 0; i < vocabulary; i++)
      if (std::isnan(logits[i])) return kNotANumber;
    return kNothingAllowed;
  }
  if (logits[best] > FLT_MAX) return kNotANumber;
  if (row.temperature == 0.0f || row.top_k == 1) return best;
  return Candidates(kernels, logits, vocabulary, row, best, scratch).choose();
}

void write_logprobs(const KernelTable& kernels, const float* logits, int vocabulary, const SamplingRow& row,
                    int chosen, SamplerScratch& scratch) {
  const int best = find_maxima(kernels, logits, vocabulary, scratch.maxima);
  if (best < 0) return;
  const float largest = logits[best];
  scratch.weights.resize(static_cast<size_t>(vocabulary));
  const float sum = kernels.exp_sum(logits, vocabulary, largest, 1.0f, scratch.weights.data());
  const float total = largest + std::log(sum);
  row.logprobs[0] = logits[chosen] - total;
  row.logprob_tokens[0] = chosen;
  if (row.logprob_count == 0) return;
  std::vector<int32_t>& likely = scratch.candidates;
  gather_largest(logits, vocabulary, scratch.maxima, row.logprob_count, scratch.thresholds, likely);
  const int found = std::min(row.logprob_count, static_cast<int>(likely.size()));
  std::partial_sort(likely.begin(), likely.begin() + found, likely.end(), [&](int32_t a, int32_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  });
  for (int i = 0; i < row.logprob_count; i++) {
    row.logprob_tokens[1 + i] = i < found ? likely[static_cast<size_t>(i)] : -1;
    row.logprobs[1 + i] = i < found ? logits[likely[static_cast<size_t>(i)]] - total : -INFINITY;
  }
}

}  // namespace

int sample(const KernelTable& kernels, float* logits, int vocabulary, const SamplingRow& row,
           SamplerScratch& scratch) {
  const float* raw = logits;
  if (row.logprob_count >= 0 && adjusts(row)) {
    scratch.raw.assign(logits, logits + vocabulary);
    raw = scratch.raw.data();
  }
  for (int i = 0; i < row.bias_count; i++) logits[row.bias_tokens[i]] += row.bias_values[i];
  if (row.allowed) forbid(logits, vocabulary, row.allowed);
  if (penalizes(row)) penalize(logits, vocabulary, row, scratch.counts);
  const int chosen = choose(kernels, logits, vocabulary, row, scratch);
  if (chosen >= 0 && row.logprob_count >= 0) write_logprobs(kernels, raw, vocabulary, row, chosen, scratch);
  return chosen;
}

}  // namespace realm
