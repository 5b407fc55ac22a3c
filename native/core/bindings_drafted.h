// Steps with drafts between them, as they come from Python.
#pragma once

#include <optional>
#include <vector>

#include "bindings.h"
#include "bindings_draws.h"
#include "drafted_steps.h"

namespace realm {

using Doubles = Array<const double, nanobind::ndim<1>>;
using Integers = Array<int32_t, nanobind::ndim<2>>;
using IntegerRows = Array<int32_t, nanobind::ndim<3>>;

// A draft model for the sequences of one step, and the arrays that it uses.
class FeatureDraftArguments {
 public:
  // Checks what the target has no part in. Raises NativeError.
  FeatureDraftArguments(Transformer& model, CachePool& pool,
                        Array<const int32_t, nanobind::ndim<2>> page_table, std::optional<Tokens> from_target,
                        std::optional<Tokens> to_target, Draws draws, Doubles expected, int most, float least,
                        double seconds, const std::vector<int>& feature_parts);

  const FeatureDraft& draft() const { return draft_; }
  size_t count() const { return expected_.size(); }
  // Whether it drafts for this target, whose features have so many parts. Raises NativeError.
  void check_target(const Transformer& target, size_t parts) const;

 private:
  Array<const int32_t, nanobind::ndim<2>> page_table_;
  std::optional<Tokens> from_target_, to_target_;
  Draws draws_;
  Doubles expected_;
  FeatureDraft draft_;
};

// What a step is followed by, and the arrays that it fills. For one step.
class DraftedArguments {
 public:
  // sequences: int32 [sequences, 3] = tokens wanted, most of a draft, owner. owner_rows: of each owner.
  // chances: [sequences, sources, grades]. seconds: [1 + most drafted rows of a step].
  DraftedArguments(const FeatureDraftArguments* draft, const nanobind::list& texts,
                   Array<const int32_t, nanobind::ndim<2>> sequences, Tokens owner_rows,
                   Array<const double, nanobind::ndim<3>> chances, Doubles seconds, double most_seconds,
                   double least, double least_gain, double least_share, IntegerRows sampled, Integers sources,
                   IntegerRows drafted, IntegerRows grades, Array<float, nanobind::ndim<2>> features,
                   Array<double, nanobind::ndim<1>> durations);

  // The steps, ready for what was read of a target's step. Raises NativeError.
  DraftedSteps& for_step(const Transformer& target, StepInput& input);
  // How many rows a sequence may have in all steps that follow.
  int further_rows(size_t sequence) const {
    return sequence < steps_.sequences.size() ? steps_.times * (1 + steps_.sequences[sequence].most) : 0;
  }
  int drafted_times() const { return steps_.drafted_times; }
  int draft_steps() const { return steps_.draft_steps; }

 private:
  const FeatureDraftArguments* draft_;
  nanobind::tuple texts_;  // so that they stay
  Tokens owner_rows_;
  Array<const double, nanobind::ndim<3>> chances_;
  Doubles seconds_;
  IntegerRows sampled_, drafted_, grades_;
  Integers sources_;
  Array<float, nanobind::ndim<2>> features_;
  Array<double, nanobind::ndim<1>> durations_;
  DraftedSteps steps_;
  bool is_used_ = false;
};

}  // namespace realm
