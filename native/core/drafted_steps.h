// Steps that follow one at once, each with rows of drafted tokens: what a step drew tells which of them were
// right, and from the feature of the last right one a draft model goes on.
#pragma once

#include <cstdint>
#include <vector>

#include "following_steps.h"
#include "transformer.h"

namespace realm {

// A draft model that reads features (Li et al., 2024), with pages for a draft of every sequence.
struct FeatureDraft {
  Transformer* model = nullptr;
  CachePool* pool = nullptr;
  const int32_t* page_table = nullptr;  // a row for each sequence
  int table_columns = 0;
  const int32_t* from_target = nullptr;  // [target's vocabulary]; nullptr: the tokens are the same
  const int32_t* to_target = nullptr;    // [draft's vocabulary], negative for none
};

// One for each sequence, the segments of the step in their order.
struct DraftedSequence {
  SamplingRow policy;              // the draft's, with room for the log probabilities of `most` steps
  const float* chances = nullptr;  // [grades] that a token is right, by what the draft thinks of it
  int wanted = 0;                  // tokens, besides the first one of the step
};

struct DraftedSteps {
  FeatureDraft draft;
  std::vector<DraftedSequence> sequences;
  int grades = 0;                // equal parts of 0..1 that a probability falls in
  int most = 0;                  // tokens of one draft
  int most_rows = 0;             // drafted, of one step
  float least = 0.0f;            // chance below which no token is drafted
  const float* costs = nullptr;  // [1 + most] what a step takes in which every sequence has so many drafted
  int times = 0;
  // What comes of it; what does not come is left as it is.
  int32_t* sampled = nullptr;  // [times][sequences][1 + most]: in the rows of each step that follows
  int32_t* drafted = nullptr;  // [1 + times][sequences][most]: behind each step, also what is not verified
  float* probabilities = nullptr;  // the same shape: what the draft thinks of them
  float* features = nullptr;       // [sequences][hidden] of the newest tokens
  int drafted_times = 0;           // 1 + the number of the last step that was drafted behind
  int draft_steps = 0;             // of the draft model
};

// Computes the steps after `input`, which has been computed: each of its segments is a sequence's newest
// token and what was drafted behind it, and draws a token in every row. The last of them is followed by a
// draft as well, unless a sequence ended in it or all have what is wanted. following: what ends it. Changes
// `input`.
void follow_with_drafts(Transformer& target, StepInput& input, const FollowingSteps& following,
                        DraftedSteps& drafted, CachePool& pool, Team& team);

}  // namespace realm
