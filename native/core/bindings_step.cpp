// Transformer.step for Python: everything that it is given is checked here, the GIL is released, then the
// core computes.
#include "bindings_step.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <limits>
#include <optional>

#include "bindings_adapter.h"
#include "bindings_drafted.h"
#include "bindings_draws.h"
#include "following_steps.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace realm {
namespace {

using Int32s = Array<const int32_t, nb::ndim<1>>;
using Int32Rows = Array<const int32_t, nb::ndim<2>>;

// following(i): how many rows come after those of segment i.
template <class Following>
void check_segments(const Transformer& model, const StepInput& input, const CachePool& pool, int table_rows,
                    const Following& following) {
  int64_t rows = 0;
  for (size_t i = 0; i < input.segments.size(); i++) {
    const Segment& s = input.segments[i];
    require(s.table_row >= 0 && s.table_row < table_rows, "a segment has no row in the page table");
    require(s.position >= 0 && s.count > 0, "a segment needs a position >= 0 and at least one row");
    const int64_t end = static_cast<int64_t>(s.position) + s.count + following(i);
    const int64_t pages = (end + kPageTokens - 1) / kPageTokens;
    require(pages <= input.table_columns, "a segment is longer than the page table is wide");
    const int32_t* table = input.page_table + static_cast<ptrdiff_t>(s.table_row) * input.table_columns;
    for (int64_t p = 0; p < pages; p++)
      require(table[p] >= 0 && table[p] < pool.page_count(), "a segment uses a page that is not in the pool");
    rows += s.count;
  }
  require(rows == input.rows, "the segments have another number of rows than the step");
  require(pool.page_bytes() == model.page_bytes(pool.form()), "the pool was made for another model");
}

// out: int32 [times, rows], filled with -1.
FollowingSteps read_following(std::optional<Array<int32_t, nb::ndim<2>>>& out,
                              const std::optional<Int32s>& last_tokens, float least_logprob,
                              const Interrupt* interrupt) {
  FollowingSteps following;
  if (last_tokens) {
    following.last_tokens = last_tokens->data();
    following.last_token_count = static_cast<int>(last_tokens->size());
  }
  following.least_logprob = least_logprob;
  following.interrupt = interrupt;
  if (!out) return following;
  require(out->shape(0) <= 64, "at most 64 steps follow one");
  following.times = static_cast<int>(out->shape(0));
  following.sampled = out->data();
  std::fill(out->data(), out->data() + out->size(), -1);
  return following;
}

void check_following(const StepInput& input, const std::optional<Array<int32_t, nb::ndim<2>>>& out,
                     bool is_whole) {
  if (!out) return;
  const size_t count = input.segments.size();
  require(is_whole && input.tokens && !input.hidden_out && input.logit_rows.size() == count &&
              input.sampling.size() == count && out->shape(1) == count,
          "steps follow one of all layers, in which each segment draws a token");
  require(input.adapters.empty() || input.rows == static_cast<int>(count),
          "with adapters, steps follow one of one row a segment");
  int32_t end = 0;
  for (size_t i = 0; i < count; i++) {
    end += input.segments[i].count;
    require(input.logit_rows[i] == end - 1 && input.sampling[i].draw && !input.sampling[i].allowed,
            "what follows a segment needs a token in its last row, drawn without a mask");
  }
}

// times: how many steps follow; they fill further rows of `out`.
void read_features(const Transformer& model, const std::optional<Rows>& features,
                   std::optional<Array<float, nb::ndim<2>>>& out, int times, StepInput& input) {
  require(features.has_value() == model.reads_features(),
          "features come for a model that reads them, and for no other");
  const size_t hidden = static_cast<size_t>(model.shape_.hidden);
  if (features) {
    require(input.tokens && input.layer_begin == 0 && input.adapters.empty(),
            "features come with tokens, for the first layer, without adapters");
    const size_t columns = features->shape(1);
    require(features->shape(0) == static_cast<size_t>(input.rows) &&
                (columns == hidden || columns == hidden * model.feature_.size()),
            "features have another shape than the rows");
    input.features = features->data();
    input.feature_parts = static_cast<int>(columns / hidden);
  }
  for (size_t i = 0; i < input.feature_layers.size(); i++) {
    const int layer = input.feature_layers[i],
              before = i == 0 ? input.layer_begin - 1 : input.feature_layers[i - 1];
    require(layer > before && layer < input.layer_end, "layers of features are out of range, or of order");
  }
  if (!out) return;
  require(out->shape(0) == input.logit_rows.size() * static_cast<size_t>(1 + times) &&
              out->shape(1) == hidden * (1 + input.feature_layers.size()),
          "features_out has another shape than the rows that give logits");
  input.features_out = out->data();
}

nb::ndarray<nb::numpy, int32_t, nb::ndim<1>> step(
    Transformer& model, CachePool& pool, Team& team, std::optional<Int32s> tokens, std::optional<Rows> hidden,
    const Int32Rows& page_table, const Int32Rows& segments, int layer_begin, int layer_end,
    const Int32s& logit_rows, std::optional<Rows> sampling_floats,
    std::optional<Array<const int64_t, nb::ndim<2>>> sampling_integers, std::optional<Int32s> history,
    std::optional<Array<float, nb::ndim<2>>> hidden_out, std::optional<Int32s> bias_tokens,
    std::optional<Vector> bias_values, std::optional<Array<const uint32_t, nb::ndim<2>>> allowed,
    std::optional<Array<float, nb::ndim<2>>> logprobs,
    std::optional<Array<int32_t, nb::ndim<2>>> logprob_tokens, std::optional<Int32s> noise_tokens,
    const std::vector<const Adapter*>& adapters,
    std::optional<Array<const int32_t, nb::ndim<2>>> adapter_runs, std::optional<Vector> adapter_weights,
    std::optional<Array<int32_t, nb::ndim<2>>> following_out, std::optional<Int32s> last_tokens,
    float least_logprob, const Interrupt* interrupt, std::optional<Rows> features,
    std::optional<Array<float, nb::ndim<2>>> features_out, const std::vector<int>& feature_layers,
    DraftedArguments* drafted) {
  StepInput input;
  input.feature_layers = feature_layers;
  const FollowingSteps following = read_following(following_out, last_tokens, least_logprob, interrupt);
  require(tokens.has_value() != hidden.has_value(), "a step takes tokens or hidden states");
  const int layer_count = static_cast<int>(model.layers_.size());
  require(0 <= layer_begin && layer_begin <= layer_end && layer_end <= layer_count, "layers out of range");
  const size_t rows = tokens ? tokens->shape(0) : hidden->shape(0);
  require(rows > 0 && rows <= 65536, "a step takes 1 to 65536 rows");
  input.rows = static_cast<int>(rows);
  if (tokens) {
    input.tokens = tokens->data();
    for (size_t i = 0; i < rows; i++)
      require(input.tokens[i] >= 0 && input.tokens[i] < model.shape_.vocabulary,
              "a token id is out of the vocabulary");
  } else {
    require(static_cast<int>(hidden->shape(1)) == model.shape_.hidden,
            "hidden states have another size than the model");
    input.hidden = hidden->data();
  }
  if (hidden_out) {
    require(hidden_out->shape(0) == rows && static_cast<int>(hidden_out->shape(1)) == model.shape_.hidden,
            "hidden_out has another shape than the rows");
    input.hidden_out = hidden_out->data();
  }
  input.layer_begin = layer_begin;
  input.layer_end = layer_end;
  input.page_table = page_table.data();
  input.table_columns = static_cast<int>(page_table.shape(1));
  require(segments.shape(1) == 3, "segments must be [count, 3]");
  for (size_t i = 0; i < segments.shape(0); i++) {
    const int32_t* s = segments.data() + 3 * i;
    input.segments.push_back({s[0], s[1], s[2]});
  }
  if (layer_begin < layer_end)
    check_segments(model, input, pool, static_cast<int>(page_table.shape(0)),
                   [&](size_t i) { return drafted ? drafted->further_rows(i) : following.times; });
  else
    input.segments.clear();
  for (size_t i = 0; i < logit_rows.shape(0); i++) {
    const int32_t r = logit_rows.data()[i];
    require(r >= 0 && r < input.rows, "a row of logits is out of range");
    input.logit_rows.push_back(r);
  }
  read_draws({sampling_floats, sampling_integers, history, bias_tokens, bias_values, allowed, logprobs,
              logprob_tokens, noise_tokens},
             model.shape_.vocabulary, following.times, input);
  read_adapters({adapters, adapter_runs, adapter_weights}, model, input);
  read_features(model, features, features_out, following.times, input);
  check_following(input, following_out, layer_end - layer_begin == layer_count);
  require(!drafted || !following_out, "steps follow with drafts or without");
  DraftedSteps* drafts = drafted ? &drafted->for_step(model, input) : nullptr;
  const size_t outputs = input.logit_rows.size();
  auto* sampled = new int32_t[outputs + 1];
  nb::capsule owner(sampled, [](void* p) noexcept { delete[] static_cast<int32_t*>(p); });
  std::fill(sampled, sampled + outputs, -1);
  input.sampled = sampled;
  {
    nb::gil_scoped_release release;
    {
      double unused = 0.0;
      const Stopwatch watch(drafts ? drafts->durations[0] : unused);
      model.step(input, pool, team);
    }
    if (following.times > 0) follow(model, input, following, pool, team);
    if (drafts) follow_with_drafts(model, input, following, *drafts, pool, team);
  }
  return nb::ndarray<nb::numpy, int32_t, nb::ndim<1>>(sampled, {outputs}, owner);
}

}  // namespace

void bind_step(nb::class_<Transformer>& transformer) {
  transformer.def("step", &step, "pool"_a, "team"_a, nb::kw_only(), "tokens"_a = nb::none(),
                  "hidden"_a = nb::none(), "page_table"_a, "segments"_a, "layer_begin"_a, "layer_end"_a,
                  "logit_rows"_a, "sampling_floats"_a = nb::none(), "sampling_integers"_a = nb::none(),
                  "history"_a = nb::none(), "hidden_out"_a = nb::none(), "bias_tokens"_a = nb::none(),
                  "bias_values"_a = nb::none(), "allowed"_a = nb::none(), "logprobs"_a = nb::none(),
                  "logprob_tokens"_a = nb::none(), "noise_tokens"_a = nb::none(),
                  "adapters"_a = std::vector<const Adapter*>(), "adapter_runs"_a = nb::none(),
                  "adapter_weights"_a = nb::none(), "following"_a = nb::none(), "last_tokens"_a = nb::none(),
                  "least_logprob"_a = -std::numeric_limits<float>::infinity(),
                  "interrupt"_a.none() = nb::none(), "features"_a = nb::none(), "features_out"_a = nb::none(),
                  "feature_layers"_a = std::vector<int>(), "drafted"_a.none() = nb::none());
}

}  // namespace realm
