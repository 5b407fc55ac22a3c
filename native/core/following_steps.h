// Steps that follow one at once, each with the tokens that the one before drew.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>

#include "transformer.h"

namespace realm {

// Set by one thread to end what another one computes, soon.
class Interrupt {
 public:
  void set() { is_set_.store(true, std::memory_order_relaxed); }
  void clear() { is_set_.store(false, std::memory_order_relaxed); }
  bool is_set() const { return is_set_.load(std::memory_order_relaxed); }

 private:
  std::atomic<bool> is_set_{false};
};

struct FollowingSteps {
  int times = 0;
  int32_t* sampled = nullptr;            // [times][rows]; rows of steps that do not come are left as they are
  const int32_t* last_tokens = nullptr;  // a step that draws one of these is the last
  int last_token_count = 0;
  // A step after which no row's tokens are, all together, as likely is the last. Needs log probabilities.
  float least_logprob = -std::numeric_limits<float>::infinity();
  const Interrupt* interrupt = nullptr;  // set: no further step begins
};

// Computes the steps after `input`, which has been computed: each of its segments draws a token in its last
// row. None comes after a row that has no token. What a row wants to know of its token's probability stands
// behind that of all rows of the step before. Changes `input`.
void follow(Transformer& model, StepInput& input, const FollowingSteps& following, CachePool& pool,
            Team& team);

}  // namespace realm
