#include "drafted_steps.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace realm {
namespace {

// A sequence between two steps.
struct Text {
  int32_t newest = 0;
  std::vector<int32_t> drafted;  // what is verified behind it
  // Where its policy looks back: tokens of the text, then those of `drafted`.
  std::vector<int32_t> history;
  size_t known = 0;  // tokens of the text there
  int begin = 0;     // tokens of the sequence before the call
};

class DraftedRun {
 public:
  DraftedRun(Transformer& target, StepInput& input, const FollowingSteps& following, DraftedSteps& steps,
             CachePool& pool, Team& team)
      : target_(target), input_(input), following_(following), steps_(steps), pool_(pool), team_(team) {
    int first = 0;
    for (const Segment& segment : input.segments) {
      const SamplingRow& row = input.sampling[static_cast<size_t>(first)];
      const int32_t* tokens = input.tokens + first;
      DraftedSequence& sequence = steps.sequences[texts_.size()];
      Text text;
      text.drafted.assign(tokens + 1, tokens + segment.count);
      text.history.assign(row.history, row.history + row.history_count);
      text.known = text.history.size();
      text.begin = sequence.texts->text().size();
      texts_.push_back(std::move(text));
      policies_.push_back(row);
      sequence.wanted++;  // the first one comes in the step itself
      first += segment.count;
    }
    for (const AdapterRun& run : input.adapters) adapter_texts_.push_back(texts_of(run));
  }

  ~DraftedRun() {
    for (size_t i = 0; i < texts_.size(); i++) steps_.sequences[i].texts->text().truncate(texts_[i].begin);
  }
  DraftedRun(const DraftedRun&) = delete;
  DraftedRun& operator=(const DraftedRun&) = delete;

  void run() {
    for (int time = 0; accept() && !is_interrupted(); time++) {
      // A last token comes without a draft.
      const auto wants_more = [](const DraftedSequence& each) { return each.wanted > 1; };
      if (std::any_of(steps_.sequences.begin(), steps_.sequences.end(), wants_more)) draft(time);
      if (time == steps_.times || is_interrupted() || !has_time()) return;
      verify(time);
    }
  }

 private:
  struct Range {
    size_t begin, end;
  };

  bool is_interrupted() const { return following_.interrupt && following_.interrupt->is_set(); }

  Range texts_of(const AdapterRun& run) const {
    Range texts{texts_.size(), 0};
    int first = 0;
    for (size_t i = 0; i < texts_.size(); first += input_.segments[i++].count)
      if (first >= run.first && first < run.first + run.count) {
        texts.begin = std::min(texts.begin, i);
        texts.end = i + 1;
      }
    return texts;
  }

  size_t feature_columns() const {
    return static_cast<size_t>(target_.shape_.hidden) * (1 + input_.feature_layers.size());
  }

  // Whether the step that comes next ends in time; it counts from now on.
  bool has_time() {
    size_t rows = 0;
    for (const Text& text : texts_) rows += text.drafted.size();
    steps_.most_seconds -= steps_.plan.seconds[rows];
    return steps_.most_seconds >= 0.0;
  }

  // What the step drew joins the texts; whether all of them go on.
  bool accept() {
    const size_t columns = feature_columns();
    const int32_t *ends = following_.last_tokens, *ends_end = ends + following_.last_token_count;
    bool goes_on = true;
    size_t first = 0;
    for (size_t i = 0; i < texts_.size(); i++) {
      Text& text = texts_[i];
      const int32_t* sampled = input_.sampled + first;
      size_t right = 0;
      while (right < text.drafted.size() && sampled[right] == text.drafted[right]) right++;
      std::memcpy(steps_.features + i * columns, input_.features_out + (first + right) * columns,
                  columns * sizeof(float));
      first += 1 + text.drafted.size();
      const int count = static_cast<int>(right) + 1;
      for (int n = 0; n < count; n++)
        goes_on = goes_on && sampled[n] >= 0 && std::find(ends, ends_end, sampled[n]) == ends_end;
      text.newest = sampled[right];
      text.drafted.clear();
      text.history.resize(text.known);
      if (text.known > 0) text.history.insert(text.history.end(), sampled, sampled + count);
      text.known = text.history.size();
      if (goes_on) steps_.sequences[i].texts->text().extend(sampled, static_cast<size_t>(count));
      input_.segments[i].position += count;
      policies_[i].position += count;
      steps_.sequences[i].wanted -= count;
      goes_on = goes_on && steps_.sequences[i].wanted > 0;
    }
    return goes_on;
  }

  // What may follow each text, and how much of it the next step verifies.
  void draft(int time) {
    if (time == steps_.times && !steps_.draft.model) return;  // no step verifies it, and a copy is soon made
    std::vector<TextDraft> drafts;
    for (const DraftedSequence& each : steps_.sequences) {
      TextDraft found;
      const int count = std::min(each.most, each.wanted - 1);
      if (count > 0) found = each.texts->propose(each.texts->match(), each.chances, count);
      const auto is_token = [&](int32_t token) { return token >= 0 && token < target_.shape_.vocabulary; };
      const bool is_draft = std::all_of(found.tokens.begin(), found.tokens.end(), is_token) &&
                            !found.tokens.empty() && found.survivals[0] >= steps_.least;
      drafts.push_back(is_draft ? std::move(found) : TextDraft());
    }
    if (steps_.draft.model) ask_model(drafts);
    steps_.drafted_times = time + 1;
    std::vector<DraftCandidate> candidates;
    for (size_t i = 0; i < drafts.size(); i++) {
      const TextDraft& each = drafts[i];
      const size_t at = static_cast<size_t>(time) * drafts.size() + i;
      if (!each.tokens.empty()) steps_.sources[at] = static_cast<int32_t>(each.source);
      std::copy(each.tokens.begin(), each.tokens.end(),
                steps_.drafted + at * static_cast<size_t>(steps_.width));
      std::copy(each.grades.begin(), each.grades.end(),
                steps_.grades + at * static_cast<size_t>(steps_.width));
      const int count = std::min(static_cast<int>(each.tokens.size()), steps_.sequences[i].wanted - 1);
      candidates.push_back({each.survivals.data(), count, steps_.sequences[i].owner});
    }
    std::vector<int> counts(drafts.size());
    plan_drafts(candidates, steps_.plan, counts.data());
    for (size_t i = 0; i < drafts.size(); i++)
      texts_[i].drafted.assign(drafts[i].tokens.begin(), drafts[i].tokens.begin() + counts[i]);
  }

  // Drafts of the model where it is likely to bring more than those that there are.
  void ask_model(std::vector<TextDraft>& drafts) {
    const FeatureDraft& draft = steps_.draft;
    const size_t hidden = static_cast<size_t>(target_.shape_.hidden);
    std::vector<size_t> asked;
    for (size_t i = 0; i < drafts.size(); i++)
      if (steps_.sequences[i].wanted > 1 && draft.expected[i] > drafts[i].expected()) asked.push_back(i);
    if (asked.empty()) return;
    const size_t count = asked.size(), most = static_cast<size_t>(draft.most);
    std::vector<int32_t> tokens, drawn(count * most, -1);
    std::vector<float> features;
    StepInput input;
    input.rows = static_cast<int>(count);
    for (size_t n = 0; n < count; n++) {
      const size_t i = asked[n];
      const float* feature = steps_.features + i * feature_columns();
      tokens.push_back(draft.from_target ? draft.from_target[texts_[i].newest] : texts_[i].newest);
      for (int part : draft.parts) {
        const float* begin = feature + static_cast<size_t>(part) * hidden;
        features.insert(features.end(), begin, begin + hidden);
      }
      input.segments.push_back({static_cast<int>(i), 0, 1});
      input.logit_rows.push_back(static_cast<int32_t>(n));
      // Where its log probabilities stand, all that are asked are one step's rows.
      SamplingRow row = draft.policies[i];
      row.logprobs = draft.policies[n].logprobs;
      row.logprob_tokens = draft.policies[n].logprob_tokens;
      row.position = policies_[i].position;
      input.sampling.push_back(row);
    }
    input.tokens = tokens.data();
    input.features = features.data();
    input.feature_parts = static_cast<int>(draft.parts.size());
    input.page_table = draft.page_table;
    input.table_columns = draft.table_columns;
    input.layer_end = static_cast<int>(draft.model->layers_.size());
    input.sampled = drawn.data();
    FollowingSteps following;
    following.times = draft.most - 1;
    following.sampled = drawn.data() + count;
    following.least_logprob = std::log(std::min(1.0f, draft.least / kNextChance));
    {
      const Stopwatch watch(steps_.durations[1 + steps_.times]);
      draft.model->step(input, *draft.pool, team_);
      follow(*draft.model, input, following, *draft.pool, team_);
    }
    for (size_t n = 0; n < most && drawn[n * count] != -1; n++) {
      steps_.draft_steps++;
      steps_.most_seconds -= draft.seconds;
    }
    for (size_t n = 0; n < count; n++) {
      TextDraft found = model_draft(asked[n], drawn.data() + n, draft.policies[n].logprobs, count);
      TextDraft& other = drafts[asked[n]];
      if (!found.tokens.empty() && (other.tokens.empty() || found.expected() > other.expected()))
        other = std::move(found);
    }
  }

  // As far as what the model drew for one sequence is likely. drawn, logprobs: every stride-th.
  TextDraft model_draft(size_t i, const int32_t* drawn, const float* logprobs, size_t stride) const {
    const FeatureDraft& draft = steps_.draft;
    const double* chances =
        steps_.sequences[i].chances + static_cast<int>(DraftSource::kModel) * kDraftGrades;
    const int most = std::min(draft.most, steps_.sequences[i].most);
    TextDraft found;
    found.source = DraftSource::kModel;
    double survival = 1.0;
    for (int n = 0; n < most; n++, drawn += stride, logprobs += stride * draft.policies[i].logprob_stride) {
      const int32_t token = *drawn >= 0 && draft.to_target ? draft.to_target[*drawn] : *drawn;
      if (token < 0) break;
      const int grade = probability_grade(std::exp(*logprobs));
      survival *= chances[grade];
      if (survival < draft.least && n > 0) break;
      found.tokens.push_back(token);
      found.grades.push_back(grade);
      found.survivals.push_back(survival);
    }
    return found;
  }

  // The step with the newest tokens and what was drafted behind them.
  void verify(int time) {
    const size_t width = static_cast<size_t>(1 + steps_.width);
    tokens_.clear();
    input_.logit_rows.clear();
    input_.sampling.clear();
    std::vector<int> firsts;
    for (size_t i = 0; i < texts_.size(); i++) {
      Text& text = texts_[i];
      firsts.push_back(static_cast<int>(tokens_.size()));
      tokens_.push_back(text.newest);
      tokens_.insert(tokens_.end(), text.drafted.begin(), text.drafted.end());
      input_.segments[i].count = static_cast<int>(1 + text.drafted.size());
      const bool looks_back = text.known > 0;
      if (looks_back) text.history.insert(text.history.end(), text.drafted.begin(), text.drafted.end());
      SamplingRow row = policies_[i];
      row.history = text.history.data();
      row.history_count = static_cast<int>(text.known);
      for (size_t n = 0; n <= text.drafted.size(); n++) {
        input_.sampling.push_back(row);
        row.position++;
        if (looks_back) row.history_count++;
      }
    }
    firsts.push_back(static_cast<int>(tokens_.size()));
    for (size_t r = 0; r < tokens_.size(); r++) input_.logit_rows.push_back(static_cast<int32_t>(r));
    for (size_t a = 0; a < input_.adapters.size(); a++) {
      const Range& texts = adapter_texts_[a];
      input_.adapters[a].first = firsts[texts.begin];
      input_.adapters[a].count = firsts[texts.end] - firsts[texts.begin];
    }
    input_.rows = static_cast<int>(tokens_.size());
    input_.tokens = tokens_.data();
    sampled_.assign(tokens_.size(), -1);
    input_.sampled = sampled_.data();
    {
      const Stopwatch watch(steps_.durations[1 + time]);
      target_.step(input_, pool_, team_);
    }
    for (size_t i = 0; i < texts_.size(); i++)
      std::copy(sampled_.data() + firsts[i], sampled_.data() + firsts[i + 1],
                steps_.sampled + (static_cast<size_t>(time) * texts_.size() + i) * width);
  }

  Transformer& target_;
  StepInput& input_;
  const FollowingSteps& following_;
  DraftedSteps& steps_;
  CachePool& pool_;
  Team& team_;
  std::vector<Text> texts_;
  std::vector<SamplingRow> policies_;  // of each text's next token
  std::vector<Range> adapter_texts_;   // which an adapter is for
  std::vector<int32_t> tokens_, sampled_;
};

}  // namespace

void follow_with_drafts(Transformer& target, StepInput& input, const FollowingSteps& following,
                        DraftedSteps& drafted, CachePool& pool, Team& team) {
  DraftedRun(target, input, following, drafted, pool, team).run();
}

}  // namespace realm
