// Drafted steps as they come from Python.
#pragma once

#include "bindings.h"
#include "bindings_draws.h"
#include "drafted_steps.h"

namespace realm {

// What a step is followed by, and the arrays that it fills. For one step.
class DraftedArguments {
 public:
  using Floats = Array<float, nanobind::ndim<3>>;
  using Integers = Array<int32_t, nanobind::ndim<3>>;

  // Checks what the target has no part in. Raises NativeError.
  DraftedArguments(Transformer& draft, CachePool& pool, Array<const int32_t, nanobind::ndim<2>> page_table,
                   std::optional<Tokens> from_target, std::optional<Tokens> to_target, Draws draws,
                   Rows chances, Vector costs, Tokens wanted, float least, int most_rows, Integers sampled,
                   Integers drafted, Floats probabilities, Array<float, nanobind::ndim<2>> features);

  // The steps, ready for what was read of a target's step. Raises NativeError.
  DraftedSteps& for_step(const Transformer& target, const StepInput& input);
  // How many rows each sequence may have in all steps that follow.
  int further_rows() const { return steps_.times * (1 + steps_.most); }
  int drafted_times() const { return steps_.drafted_times; }
  int draft_steps() const { return steps_.draft_steps; }

 private:
  Array<const int32_t, nanobind::ndim<2>> page_table_;
  std::optional<Tokens> from_target_, to_target_;
  Draws draws_;
  Rows chances_;
  Vector costs_;
  Tokens wanted_;
  Integers sampled_, drafted_;
  Floats probabilities_;
  Array<float, nanobind::ndim<2>> features_;
  DraftedSteps steps_;
};

}  // namespace realm
