#include "following_steps.h"

#include <algorithm>
#include <vector>

namespace realm {
namespace {

bool ends(const FollowingSteps& following, const int32_t* drawn, size_t rows) {
  const int32_t *begin = following.last_tokens, *end = begin + following.last_token_count;
  return std::any_of(drawn, drawn + rows,
                     [&](int32_t token) { return token < 0 || std::find(begin, end, token) != end; });
}

}  // namespace

void follow(Transformer& model, StepInput& input, const FollowingSteps& following, CachePool& pool,
            Team& team) {
  const size_t rows = input.sampling.size();
  std::vector<std::vector<int32_t>> histories(rows);
  for (size_t i = 0; i < rows; i++) {
    const SamplingRow& row = input.sampling[i];
    histories[i].assign(row.history, row.history + row.history_count);
  }
  std::vector<int32_t> tokens(rows);
  for (int time = 0; time < following.times; time++) {
    if (following.interrupt && following.interrupt->is_set()) return;
    if (ends(following, input.sampled, rows)) return;
    std::copy(input.sampled, input.sampled + rows, tokens.begin());
    for (size_t i = 0; i < rows; i++) {
      input.segments[i].position++;
      SamplingRow& row = input.sampling[i];
      row.position++;
      if (row.history_count == 0) continue;
      histories[i].push_back(tokens[i]);
      row.history = histories[i].data();
      row.history_count++;
    }
    input.tokens = tokens.data();
    input.sampled = following.sampled + static_cast<size_t>(time) * rows;
    model.step(input, pool, team);
  }
}

}  // namespace realm
