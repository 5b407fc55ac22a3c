#include "bindings_drafted.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace nb = nanobind;
using namespace nb::literals;

namespace realm {
namespace {

bool has_shape(const IntegerRows& array, size_t first, size_t second, size_t third) {
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

bool is_number(double value) { return std::isfinite(value) && value >= 0.0; }

}  // namespace

FeatureDraftArguments::FeatureDraftArguments(Transformer& model, CachePool& pool,
                                             Array<const int32_t, nb::ndim<2>> page_table,
                                             std::optional<Tokens> from_target,
                                             std::optional<Tokens> to_target, Draws draws, Doubles expected,
                                             int most, float least, double seconds,
                                             const std::vector<int>& feature_parts)
    : page_table_(page_table),
      from_target_(from_target),
      to_target_(to_target),
      draws_(draws),
      expected_(expected) {
  const size_t count = expected.size();
  require(model.reads_features(), "what drafts does not read features");
  require(feature_parts.size() == model.feature_.size(), "the draft reads features of other parts");
  require(count > 0 && most > 0 && most < kPageTokens, "too few drafts, or too many");
  require(least > 0.0f && least <= 1.0f && is_number(seconds), "no limits of drafts");
  require(from_target.has_value() == to_target.has_value(), "tokens are the same, or both lists are there");
  const int vocabulary = model.shape_.vocabulary;
  require(!to_target || to_target->size() == static_cast<size_t>(vocabulary),
          "to_target must be [draft's vocabulary]");
  check_tokens(from_target, 0, vocabulary);
  draft_.model = &model;
  draft_.pool = &pool;
  draft_.page_table = page_table.data();
  draft_.table_columns = static_cast<int>(page_table.shape(1));
  draft_.from_target = from_target ? from_target->data() : nullptr;
  draft_.to_target = to_target ? to_target->data() : nullptr;
  draft_.most = most;
  draft_.least = least;
  draft_.seconds = seconds;
  draft_.parts = feature_parts;
  draft_.expected = expected.data();
  check_pages(draft_, count, page_table);
  StepInput rows;
  rows.logit_rows.resize(count);
  read_draws(draws_, vocabulary, most - 1, rows);
  require(rows.sampling.size() == count, "every draft needs a policy");
  for (size_t i = 0; i < count; i++) {
    const SamplingRow& row = rows.sampling[i];
    require(is_number(expected.data()[i]), "a draft brings a number of tokens");
    require(row.draw && row.logprob_count >= 0 && row.history_count == 0 && !row.allowed,
            "a draft is drawn with log probabilities, looks at no history and has no mask");
  }
  draft_.policies = std::move(rows.sampling);
}

void FeatureDraftArguments::check_target(const Transformer& target, size_t parts) const {
  const Transformer& draft = *draft_.model;
  const int vocabulary = target.shape_.vocabulary;
  require(draft.shape_.hidden == target.shape_.hidden, "the draft reads features of another size");
  for (int part : draft_.parts)
    require(part >= 0 && static_cast<size_t>(part) < parts, "the draft reads features that are not there");
  require(from_target_ ? from_target_->size() == static_cast<size_t>(vocabulary)
                       : draft.shape_.vocabulary == vocabulary,
          "the draft has other tokens");
  check_tokens(to_target_, -1, vocabulary);
}

DraftedArguments::DraftedArguments(const FeatureDraftArguments* draft, const nb::list& sequence_texts,
                                   Array<const int32_t, nb::ndim<2>> sequences, Tokens owner_rows,
                                   Array<const double, nb::ndim<3>> chances, Doubles seconds,
                                   double most_seconds, double least, double least_gain, double least_share,
                                   IntegerRows sampled, Integers sources, IntegerRows drafted,
                                   IntegerRows grades, Array<float, nb::ndim<2>> features,
                                   Array<double, nb::ndim<1>> durations)
    : draft_(draft),
      texts_(sequence_texts),
      owner_rows_(owner_rows),
      chances_(chances),
      seconds_(seconds),
      sampled_(sampled),
      drafted_(drafted),
      grades_(grades),
      sources_(sources),
      features_(features),
      durations_(durations) {
  const auto texts = nb::cast<std::vector<SequenceTexts*>>(sequence_texts);
  const size_t count = texts.size(), times = sampled.shape(0), width = drafted.shape(2);
  require(count > 0 && times <= 64 && width > 0 && width <= 1024, "too few drafts, or too many");
  require(has_shape(sampled, times, count, 1 + width) && has_shape(drafted, 1 + times, count, width) &&
              has_shape(grades, 1 + times, count, width) && sources.shape(0) == 1 + times &&
              sources.shape(1) == count && durations.size() == 2 + times,
          "the arrays of drafts do not fit each other");
  require(!draft || (draft->count() == count && draft->draft().most <= static_cast<int>(width)),
          "the draft model is for other sequences");
  require(features.shape(0) == count, "features have another shape than the drafts");
  require(sequences.shape(0) == count && sequences.shape(1) == 3, "sequences must be [count, 3]");
  require(chances.shape(0) == count && chances.shape(1) == kDraftSources && chances.shape(2) == kDraftGrades,
          "every draft needs chances by source and grade");
  for (size_t i = 0; i < chances.size(); i++) require(is_number(chances.data()[i]), "a chance is a number");
  require(seconds.size() > 0, "a step without drafted tokens needs a time");
  for (size_t i = 0; i < seconds.size(); i++)
    require(is_number(seconds.data()[i]) && seconds.data()[i] > 0.0, "a step's time must be a number > 0");
  require(is_number(most_seconds) && is_number(least) && is_number(least_gain) && is_number(least_share),
          "no limits of drafts");
  require(owner_rows.size() > 0, "somebody owns the sequences");
  for (size_t i = 0; i < owner_rows.size(); i++)
    require(owner_rows.data()[i] > 0, "an owner has a row at least");
  std::vector<SequenceTexts*> sorted = texts;
  std::sort(sorted.begin(), sorted.end());
  require(sorted.front() && std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end(),
          "every sequence has texts of its own");
  for (size_t i = 0; i < count; i++) {
    const int32_t* row = sequences.data() + 3 * i;
    require(row[0] >= 0 && row[0] < std::numeric_limits<int32_t>::max(),
            "too many tokens are wanted, or fewer than none");
    require(row[1] >= 0 && row[1] <= static_cast<int32_t>(width), "a draft is longer than the arrays");
    require(row[2] >= 0 && static_cast<size_t>(row[2]) < owner_rows.size(), "a sequence has no owner");
    steps_.sequences.push_back(
        {texts[i], chances.data() + i * kDraftSources * kDraftGrades, row[0], row[1], row[2]});
  }
  if (draft) steps_.draft = draft->draft();
  steps_.width = static_cast<int>(width);
  steps_.least = least;
  steps_.plan.least_gain = least_gain;
  steps_.plan.seconds = seconds.data();
  steps_.plan.most = static_cast<int>(seconds.size()) - 1;
  steps_.plan.worth = static_cast<double>(count);
  steps_.plan.least_share = least_share;
  if (owner_rows.size() > 1) {
    steps_.plan.owner_rows = owner_rows.data();
    steps_.plan.owner_count = static_cast<int>(owner_rows.size());
  }
  steps_.most_seconds = most_seconds;
  steps_.times = static_cast<int>(times);
  steps_.sampled = sampled.data();
  steps_.sources = sources.data();
  steps_.drafted = drafted.data();
  steps_.grades = grades.data();
  steps_.features = features.data();
  steps_.durations = durations.data();
  std::fill(steps_.sampled, steps_.sampled + sampled.size(), -1);
  std::fill(steps_.sources, steps_.sources + sources.size(), -1);
  std::fill(steps_.drafted, steps_.drafted + drafted.size(), -1);
  std::fill(steps_.durations, steps_.durations + durations.size(), 0.0);
}

DraftedSteps& DraftedArguments::for_step(const Transformer& target, StepInput& input) {
  require(!is_used_, "each step needs its own drafts");
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
  const size_t parts = 1 + input.feature_layers.size();
  const size_t columns = parts * static_cast<size_t>(target.shape_.hidden);
  require(features_.shape(1) == columns, "features have another size");
  if (draft_) draft_->check_target(target, parts);
  for (const AdapterRun& run : input.adapters) {
    int first = 0, covered = 0;
    for (const Segment& segment : input.segments) {
      if (first >= run.first && first + segment.count <= run.first + run.count) covered += segment.count;
      first += segment.count;
    }
    require(covered == run.count, "an adapter has a part of a segment");
  }
  const size_t rows = steps_.sequences.size() + static_cast<size_t>(steps_.plan.most);
  steps_.row_features.reset(new float[std::max(rows, static_cast<size_t>(input.rows)) * columns]);
  input.features_out = steps_.row_features.get();
  is_used_ = true;
  return steps_;
}

void bind_drafted(nb::module_& module) {
  nb::class_<FeatureDraftArguments>(module, "FeatureDraft")
      .def(
          "__init__",
          [](FeatureDraftArguments* self, Transformer& model, CachePool& pool,
             Array<const int32_t, nb::ndim<2>> page_table, std::optional<Tokens> from_target,
             std::optional<Tokens> to_target, Rows sampling_floats,
             Array<const int64_t, nb::ndim<2>> sampling_integers, Tokens history,
             Array<float, nb::ndim<2>> logprobs, Array<int32_t, nb::ndim<2>> logprob_tokens, Doubles expected,
             int most, float least, double seconds, const std::vector<int>& feature_parts) {
            Draws draws;
            draws.floats = sampling_floats;
            draws.integers = sampling_integers;
            draws.history = history;
            draws.logprobs = logprobs;
            draws.logprob_tokens = logprob_tokens;
            draws.noise_tokens = to_target;
            new (self) FeatureDraftArguments(model, pool, page_table, from_target, to_target, draws, expected,
                                             most, least, seconds, feature_parts);
          },
          nb::keep_alive<1, 2>(), nb::keep_alive<1, 3>(), "model"_a, "pool"_a, nb::kw_only(), "page_table"_a,
          "from_target"_a.none(), "to_target"_a.none(), "sampling_floats"_a, "sampling_integers"_a,
          "history"_a, "logprobs"_a, "logprob_tokens"_a, "expected"_a, "most"_a, "least"_a, "seconds"_a,
          "feature_parts"_a = std::vector<int>{0});
  module.attr("NEXT_CHANCE") = kNextChance;
  nb::class_<DraftedArguments>(module, "DraftedSteps")
      .def(nb::init<const FeatureDraftArguments*, const nb::list&, Array<const int32_t, nb::ndim<2>>, Tokens,
                    Array<const double, nb::ndim<3>>, Doubles, double, double, double, double, IntegerRows,
                    Integers, IntegerRows, IntegerRows, Array<float, nb::ndim<2>>,
                    Array<double, nb::ndim<1>>>(),
           nb::keep_alive<1, 2>(), "draft"_a.none(), "texts"_a, nb::kw_only(), "sequences"_a, "owner_rows"_a,
           "chances"_a, "seconds"_a, "most_seconds"_a, "least"_a, "least_gain"_a, "least_share"_a,
           "sampled"_a, "sources"_a, "drafted"_a, "grades"_a, "features"_a, "durations"_a)
      .def_prop_ro("drafted_times", &DraftedArguments::drafted_times)
      .def_prop_ro("draft_steps", &DraftedArguments::draft_steps);
}

}  // namespace realm
