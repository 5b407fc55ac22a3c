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
      Text text;
      text.drafted.assign(tokens + 1, tokens + segment.count);
      text.history.assign(row.history, row.history + row.history_count);
      text.known = text.history.size();
      texts_.push_back(std::move(text));
      policies_.push_back(row);
      steps.sequences[texts_.size() - 1].wanted++;  // the first one comes in the step itself
      first += segment.count;
    }
    for (const AdapterRun& run : input.adapters) adapter_texts_.push_back(texts_of(run));
  }

  void run() {
    for (int time = 0; accept() && !is_interrupted(); time++) {
      // A last token comes without a draft.
      const auto wants_more = [](const DraftedSequence& each) { return each.wanted > 1; };
      if (std::any_of(steps_.sequences.begin(), steps_.sequences.end(), wants_more)) draft(time);
      if (time == steps_.times || is_interrupted()) return;
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

  // What the step drew joins the texts; whether all of them go on.
  bool accept() {
    const size_t hidden = static_cast<size_t>(target_.shape_.hidden);
    const int32_t *ends = following_.last_tokens, *ends_end = ends + following_.last_token_count;
    bool goes_on = true;
    size_t first = 0;
    for (size_t i = 0; i < texts_.size(); i++) {
      Text& text = texts_[i];
      const int32_t* sampled = input_.sampled + first;
      size_t right = 0;
      while (right < text.drafted.size() && sampled[right] == text.drafted[right]) right++;
      std::memcpy(steps_.features + i * hidden, target_.features() + (first + right) * hidden,
                  hidden * sizeof(float));
      first += 1 + text.drafted.size();
      const int count = static_cast<int>(right) + 1;
      for (int n = 0; n < count; n++)
        goes_on = goes_on && sampled[n] >= 0 && std::find(ends, ends_end, sampled[n]) == ends_end;
      text.newest = sampled[right];
      text.drafted.clear();
      text.history.resize(text.known);
      if (text.known > 0) text.history.insert(text.history.end(), sampled, sampled + count);
      text.known = text.history.size();
      input_.segments[i].position += count;
      policies_[i].position += count;
      steps_.sequences[i].wanted -= count;
      goes_on = goes_on && steps_.sequences[i].wanted > 0;
    }
    return goes_on;
  }

  // What may follow each text, and how much of it the next step verifies.
  void draft(int time) {
    const size_t count = texts_.size(), most = static_cast<size_t>(steps_.most);
    const FeatureDraft& draft = steps_.draft;
    std::vector<int32_t> tokens(count), drawn(count * most, -1);
    StepInput input;
    input.rows = static_cast<int>(count);
    for (size_t i = 0; i < count; i++) {
      tokens[i] = draft.from_target ? draft.from_target[texts_[i].newest] : texts_[i].newest;
      input.segments.push_back({static_cast<int>(i), 0, 1});
      input.logit_rows.push_back(static_cast<int32_t>(i));
      SamplingRow row = steps_.sequences[i].policy;
      row.position = policies_[i].position;
      input.sampling.push_back(row);
    }
    input.tokens = tokens.data();
    input.features = steps_.features;
    input.page_table = draft.page_table;
    input.table_columns = draft.table_columns;
    input.layer_end = static_cast<int>(draft.model->layers_.size());
    input.sampled = drawn.data();
    FollowingSteps following;
    following.times = steps_.most - 1;
    following.sampled = drawn.data() + count;
    following.least_logprob = std::log(steps_.least);
    draft.model->step(input, *draft.pool, team_);
    follow(*draft.model, input, following, *draft.pool, team_);
    for (size_t n = 0; n < most && drawn[n * count] != -1; n++) steps_.draft_steps++;
    steps_.drafted_times = time + 1;
    int room = steps_.most_rows;
    for (size_t i = 0; i < count; i++) choose(time, i, drawn, room);
  }

  // Notes the draft of one text, as far as it goes, and takes what brings the most tokens for the time of a
  // step in which every text has as many.
  void choose(int time, size_t i, const std::vector<int32_t>& drawn, int& room) {
    const size_t count = texts_.size(), most = static_cast<size_t>(steps_.most);
    const size_t at = (static_cast<size_t>(time) * count + i) * most;
    const DraftedSequence& sequence = steps_.sequences[i];
    const int32_t* to_target = steps_.draft.to_target;
    const size_t verified = static_cast<size_t>(std::min(room, sequence.wanted - 1));
    float survival = 1.0f, tokens = 1.0f, best = tokens / steps_.costs[0];
    size_t taken = 0;
    for (size_t n = 0; n < most; n++) {
      const int32_t own = drawn[n * count + i];
      const int32_t token = own >= 0 && to_target ? to_target[own] : own;
      if (token < 0) break;
      const SamplingRow& policy = sequence.policy;
      const float probability = std::exp(policy.logprobs[n * count * policy.logprob_stride]);
      const int grade = static_cast<int>(probability * static_cast<float>(steps_.grades));
      survival *= sequence.chances[std::clamp(grade, 0, steps_.grades - 1)];
      if (survival < steps_.least && n > 0) break;
      steps_.drafted[at + n] = token;
      steps_.probabilities[at + n] = probability;
      tokens += survival;
      if (n < verified && tokens / steps_.costs[n + 1] > best) {
        best = tokens / steps_.costs[n + 1];
        taken = n + 1;
      }
    }
    const int32_t* drafted = steps_.drafted + at;
    texts_[i].drafted.assign(drafted, drafted + taken);
    room -= static_cast<int>(taken);
  }

  // The step with the newest tokens and what was drafted behind them.
  void verify(int time) {
    const size_t width = static_cast<size_t>(1 + steps_.most);
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
    target_.step(input_, pool_, team_);
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
