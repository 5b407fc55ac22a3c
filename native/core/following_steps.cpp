#include "following_steps.h"

#include <algorithm>
#include <vector>

namespace realm {
namespace {

// What one row has drawn so far.
struct Drawn {
  std::vector<int32_t> history;  // of a row that looks at it
  float logprob = 0.0f;          // of all its tokens together
};

bool ends(const FollowingSteps& following, const StepInput& input, std::vector<Drawn>& drawn) {
  const int32_t *begin = following.last_tokens, *end = begin + following.last_token_count;
  bool is_likely = false;
  for (size_t i = 0; i < drawn.size(); i++) {
    const int32_t token = input.sampled[i];
    if (token < 0 || std::find(begin, end, token) != end) return true;
    const SamplingRow& row = input.sampling[i];
    if (row.logprob_count >= 0) drawn[i].logprob += row.logprobs[0];
    is_likely = is_likely || drawn[i].logprob >= following.least_logprob;
  }
  return !is_likely;
}

// The row of the token that was drawn instead of those that were computed.
void go_on(Segment& segment, SamplingRow& row, Drawn& drawn, int32_t token, size_t rows) {
  segment.position += segment.count;
  segment.count = 1;
  row.position++;
  if (row.history_count > 0) {
    drawn.history.push_back(token);
    row.history = drawn.history.data();
    row.history_count++;
  }
  if (row.logprob_count >= 0) {
    row.logprobs += rows * row.logprob_stride;
    row.logprob_tokens += rows * row.logprob_stride;
  }
}

}  // namespace

void follow(Transformer& model, StepInput& input, const FollowingSteps& following, CachePool& pool,
            Team& team) {
  const size_t rows = input.sampling.size();
  std::vector<Drawn> drawn(rows);
  std::vector<int32_t> tokens(rows);
  for (size_t i = 0; i < rows; i++) {
    const SamplingRow& row = input.sampling[i];
    drawn[i].history.assign(row.history, row.history + row.history_count);
    input.logit_rows[i] = static_cast<int32_t>(i);
  }
  input.rows = static_cast<int>(rows);
  const size_t row_size = static_cast<size_t>(model.shape_.hidden) * (1 + input.feature_layers.size());
  for (int time = 0; time < following.times; time++) {
    if (following.interrupt && following.interrupt->is_set()) return;
    if (ends(following, input, drawn)) return;
    std::copy(input.sampled, input.sampled + rows, tokens.begin());
    for (size_t i = 0; i < rows; i++) go_on(input.segments[i], input.sampling[i], drawn[i], tokens[i], rows);
    input.tokens = tokens.data();
    if (input.features) {  // the model's own, of its head alone
      input.features = model.features();
      input.feature_parts = 1;
    }
    if (input.features_out) input.features_out += rows * row_size;
    input.sampled = following.sampled + static_cast<size_t>(time) * rows;
    model.step(input, pool, team);
  }
}

}  // namespace realm
