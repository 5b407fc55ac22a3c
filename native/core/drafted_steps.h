// Steps that follow one at once, each with rows of drafted tokens: what a step drew tells which of them were
// right. What comes next is copied from texts, or a draft model goes on from the feature of the last right
// one.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "draft_plan.h"
#include "following_steps.h"
#include "text_drafts.h"
#include "transformer.h"

namespace realm {

// Of a draft's next token: a draft that would be too unlikely with it is not gone on with.
constexpr float kNextChance = 0.5f;

// A draft model that reads features (Li et al., 2024), with pages for a draft of every sequence.
struct FeatureDraft {
  Transformer* model = nullptr;
  CachePool* pool = nullptr;
  const int32_t* page_table = nullptr;  // a row for each sequence
  int table_columns = 0;
  const int32_t* from_target = nullptr;  // [target's vocabulary]; nullptr: the tokens are the same
  const int32_t* to_target = nullptr;    // [draft's vocabulary], negative for none
  int most = 0;                          // tokens of one draft
  float least = 0.0f;                    // chance below which no token is drafted
  double seconds = 0.0;                  // that a step of it takes
  std::vector<int> parts;                // which of the target's features are those that it reads
  // One for each sequence: its policy, with room for the log probabilities of `most` steps; and how many
  // tokens of a draft are likely to be right, 0 where it is not asked.
  std::vector<SamplingRow> policies;
  const double* expected = nullptr;
};

// One for each sequence, the segments of the step in their order.
struct DraftedSequence {
  SequenceTexts* texts = nullptr;
  const double* chances = nullptr;  // [kDraftSources][kDraftGrades] that a token is right
  int wanted = 0;                   // tokens, besides the first one of the step
  int most = 0;                     // tokens of a draft
  int owner = 0;
};

struct DraftedSteps {
  FeatureDraft draft;  // without a model: from texts alone
  std::vector<DraftedSequence> sequences;
  int width = 0;              // most tokens of any draft
  double least = 0.0;         // chance of a first copied token, below which none is copied
  DraftPlan plan;             // of one step
  double most_seconds = 0.0;  // of all that follows, by what is expected of each step
  int times = 0;
  // What comes of it; what does not come is left as it is.
  int32_t* sampled = nullptr;   // [times][sequences][1 + width]: in the rows of each step that follows
  int32_t* sources = nullptr;   // [1 + times][sequences]: DraftSource of the draft behind each step
  int32_t* drafted = nullptr;   // [1 + times][sequences][width]: the draft, also what is not verified
  int32_t* grades = nullptr;    // the same shape
  float* features = nullptr;    // [sequences][1 + feature_layers][hidden] of the newest tokens
  double* durations = nullptr;  // [2 + times] seconds: of each step, then of the draft model in all of them
  std::unique_ptr<float[]> row_features;  // of one step, as StepInput::features_out
  int drafted_times = 0;                  // 1 + the number of the last step that was drafted behind
  int draft_steps = 0;                    // of the draft model
};

// Computes the steps after `input`, which has been computed: each of its segments is a sequence's newest
// token and what was drafted behind it, and draws a token in every row. The last of them is followed by a
// draft as well, unless a sequence ended in it or all have what is wanted. following: what ends it. Changes
// `input`; the sequences' texts end in the end where they did.
void follow_with_drafts(Transformer& target, StepInput& input, const FollowingSteps& following,
                        DraftedSteps& drafted, CachePool& pool, Team& team);

// What a part of the work takes: added to `seconds` in the end.
class Stopwatch {
 public:
  explicit Stopwatch(double& seconds) : seconds_(seconds) {}
  ~Stopwatch() {
    seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  double& seconds_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

}  // namespace realm
