#include "bindings_drafted.h"

#include <nanobind/stl/optional.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace nb = nanobind;
using namespace nb::literals;

namespace realm {
namespace {

template <class T>
bool has_shape(const Array<T, nb::ndim<3>>& array, size_t first, size_t second, size_t third) {
  return array.shape(0) == first && array.shape(1) == second && array.shape(2) == third;
}

void check_pages(const FeatureDraft& draft, size_t count, const Array<const int32_t, nb::ndim<2>>& table) {
  require(table.shape(0) >= count && table.shape(1) >= 1, "every draft needs a page");
  require(draft.pool->page_bytes() == draft.model->page_bytes(draft.pool->form()),
          "the pool was made for another model than the draft");
  for (size_t i = 0; i < count * table.shape(1); i++)
    require(table.data()[i] >= 0 && table.data()[i] < draft.pool->page_count(),
            "a draft uses a page that is not in the pool");
}

void check_tokens(const std::optional<Tokens>& tokens, int least, int end) {
  if (!tokens) return;
  int lowest = least, highest = least;
  for (size_t i = 0; i < tokens->size(); i++) {
    lowest = std::min(lowest, tokens->data()[i]);
    highest = std::max(highest, tokens->data()[i]);
  }
  require(lowest >= least && highest < end, "a token id is out of the vocabulary");
}

}  // namespace

DraftedArguments::DraftedArguments(Transformer& draft, CachePool& pool,
                                   Array<const int32_t, nb::ndim<2>> page_table,
                                   std::optional<Tokens> from_target, std::optional<Tokens> to_target,
                                   Draws draws, Rows chances, Vector costs, Tokens wanted, float least,
                                   int most_rows, Integers sampled, Integers drafted, Floats probabilities,
                                   Array<float, nb::ndim<2>> features)
    : page_table_(page_table),
      from_target_(from_target),
      to_target_(to_target),
      draws_(draws),
      chances_(chances),
      costs_(costs),
      wanted_(wanted),
      sampled_(sampled),
      drafted_(drafted),
      probabilities_(probabilities),
      features_(features) {
  const size_t count = wanted.size(), times = sampled.shape(0), most = drafted.shape(2);
  require(draft.reads_features(), "what drafts does not read features");
  require(count > 0 && times <= 64 && most > 0 && most < kPageTokens, "too few drafts, or too many");
  require(has_shape(sampled, times, count, 1 + most) && has_shape(drafted, 1 + times, count, most) &&
              has_shape(probabilities, 1 + times, count, most),
          "the arrays of drafts do not fit each other");
  require(features.shape(0) == count && features.shape(1) == static_cast<size_t>(draft.shape_.hidden),
          "features have another shape than the drafts");
  require(chances.shape(0) == count && chances.shape(1) > 0, "every draft needs chances by grade");
  require(costs.size() == 1 + most, "steps with no drafted token up to all of them need a cost each");
  for (size_t i = 0; i < costs.size(); i++)
    require(std::isfinite(costs.data()[i]) && costs.data()[i] > 0.0f, "a step's cost must be a number > 0");
  require(least > 0.0f && least <= 1.0f && most_rows >= 0, "no limits of drafts");
  require(from_target.has_value() == to_target.has_value(), "tokens are the same, or both lists are there");
  steps_.draft = {&draft,
                  &pool,
                  page_table.data(),
                  static_cast<int>(page_table.shape(1)),
                  from_target ? from_target->data() : nullptr,
                  to_target ? to_target->data() : nullptr};
  check_pages(steps_.draft, count, page_table);
  require(!to_target || to_target->size() == static_cast<size_t>(draft.shape_.vocabulary),
          "to_target must be [draft's vocabulary]");
  check_tokens(from_target, 0, draft.shape_.vocabulary);
  StepInput rows;
  rows.logit_rows.resize(count);
  read_draws(draws_, draft.shape_.vocabulary, static_cast<int>(most) - 1, rows);
  require(rows.sampling.size() == count, "every draft needs a policy");
  for (size_t i = 0; i < count; i++) {
    const SamplingRow& row = rows.sampling[i];
    require(wanted.data()[i] >= 0 && wanted.data()[i] < std::numeric_limits<int32_t>::max(),
            "too many tokens are wanted, or fewer than none");
    require(row.draw && row.logprob_count >= 0 && row.history_count == 0 && !row.allowed,
            "a draft is drawn with log probabilities, looks at no history and has no mask");
    steps_.sequences.push_back({row, chances.data() + i * chances.shape(1), wanted.data()[i]});
  }
  steps_.grades = static_cast<int>(chances.shape(1));
  steps_.most = static_cast<int>(most);
  steps_.most_rows = most_rows;
  steps_.least = least;
  steps_.costs = costs.data();
  steps_.times = static_cast<int>(times);
  steps_.sampled = sampled.data();
  steps_.drafted = drafted.data();
  steps_.probabilities = probabilities.data();
  steps_.features = features.data();
  std::fill(steps_.sampled, steps_.sampled + sampled.size(), -1);
  std::fill(steps_.drafted, steps_.drafted + drafted.size(), -1);
}

DraftedSteps& DraftedArguments::for_step(const Transformer& target, const StepInput& input) {
  const Transformer& draft = *steps_.draft.model;
  const int vocabulary = target.shape_.vocabulary;
  require(input.segments.size() == steps_.sequences.size() && input.tokens && !input.hidden_out &&
              !input.features && !input.features_out && input.layer_begin == 0 &&
              input.layer_end == static_cast<int>(target.layers_.size()),
          "drafts follow a step of all layers with as many segments");
  require(input.logit_rows.size() == static_cast<size_t>(input.rows) &&
              input.sampling.size() == input.logit_rows.size(),
          "drafts follow a step that draws a token in every row");
  for (size_t i = 0; i < input.sampling.size(); i++)
    require(input.logit_rows[i] == static_cast<int32_t>(i) && input.sampling[i].draw &&
                !input.sampling[i].allowed && input.sampling[i].logprob_count < 0,
            "what drafts follow is drawn without masks and log probabilities");
  require(draft.shape_.hidden == target.shape_.hidden, "the draft reads features of another size");
  require(from_target_ ? from_target_->size() == static_cast<size_t>(vocabulary)
                       : draft.shape_.vocabulary == vocabulary,
          "the draft has other tokens");
  check_tokens(to_target_, -1, vocabulary);
  for (const AdapterRun& run : input.adapters) {
    int first = 0, covered = 0;
    for (const Segment& segment : input.segments) {
      if (first >= run.first && first + segment.count <= run.first + run.count) covered += segment.count;
      first += segment.count;
    }
    require(covered == run.count, "an adapter has a part of a segment");
  }
  return steps_;
}

void bind_drafted(nb::module_& module) {
  nb::class_<DraftedArguments>(module, "DraftedSteps")
      .def(
          "__init__",
          [](DraftedArguments* self, Transformer& draft, CachePool& pool,
             Array<const int32_t, nb::ndim<2>> page_table, std::optional<Tokens> from_target,
             std::optional<Tokens> to_target, Rows sampling_floats,
             Array<const int64_t, nb::ndim<2>> sampling_integers, Tokens history,
             Array<float, nb::ndim<2>> logprobs, Array<int32_t, nb::ndim<2>> logprob_tokens, Rows chances,
             Vector costs, Tokens wanted, float least, int most_rows, DraftedArguments::Integers sampled,
             DraftedArguments::Integers drafted, DraftedArguments::Floats probabilities,
             Array<float, nb::ndim<2>> features) {
            Draws draws;
            draws.floats = sampling_floats;
            draws.integers = sampling_integers;
            draws.history = history;
            draws.logprobs = logprobs;
            draws.logprob_tokens = logprob_tokens;
            draws.noise_tokens = to_target;
            new (self)
                DraftedArguments(draft, pool, page_table, from_target, to_target, draws, chances, costs,
                                 wanted, least, most_rows, sampled, drafted, probabilities, features);
          },
          nb::keep_alive<1, 2>(), nb::keep_alive<1, 3>(), "draft"_a, "pool"_a, nb::kw_only(), "page_table"_a,
          "from_target"_a.none(), "to_target"_a.none(), "sampling_floats"_a, "sampling_integers"_a,
          "history"_a, "logprobs"_a, "logprob_tokens"_a, "chances"_a, "costs"_a, "wanted"_a, "least"_a,
          "most_rows"_a, "sampled"_a, "drafted"_a, "probabilities"_a, "features"_a)
      .def_prop_ro("drafted_times", &DraftedArguments::drafted_times)
      .def_prop_ro("draft_steps", &DraftedArguments::draft_steps);
}

}  // namespace realm
