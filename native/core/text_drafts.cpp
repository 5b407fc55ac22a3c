#include "text_drafts.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace realm {
namespace {

// When the first tokens of a copy turn out right, the later ones have a longer match behind them.
void grade(TextDraft& draft, int matched, const double* chances) {
  double survival = 1.0;
  for (size_t n = 0; n < draft.tokens.size(); n++) {
    draft.grades.push_back(std::min(matched + static_cast<int>(n), kMatchTokens));
    survival *= chances[static_cast<int>(draft.source) * kDraftGrades + draft.grades.back()];
    draft.survivals.push_back(survival);
  }
}

}  // namespace

void copy_within_text(const TokenIndex& index, const TextMatch& found, int count, std::vector<int32_t>& out) {
  const auto begin = index.tokens().begin() + found.position;
  const auto end = begin + std::min(count, index.size() - found.position);
  out.assign(begin, std::find(begin, end, kTextSeparator));
}

SuffixText::SuffixText(int limit) : limit_(std::max(limit, 2 * kMatchTokens)) {}

void SuffixText::extend(const int32_t* tokens, size_t count) {
  const size_t held = static_cast<size_t>(index_.size());
  if (held + count <= static_cast<size_t>(limit_)) return index_.extend(tokens, count);
  const size_t kept = static_cast<size_t>(limit_ / 2), fresh = std::min(kept, count);
  std::vector<int32_t> last(index_.tokens().end() - static_cast<ptrdiff_t>(std::min(kept - fresh, held)),
                            index_.tokens().end());
  last.insert(last.end(), tokens + count - fresh, tokens + count);
  forgotten_ += static_cast<int>(held + count - last.size());
  index_.clear();
  index_.extend(last.data(), last.size());
}

void SuffixText::truncate(int length) {
  index_.truncate(std::max(length - forgotten_, 0));
  forgotten_ = std::min(forgotten_, length);
}

const int32_t* SuffixText::tail(int* count) const {
  *count = std::min(index_.size(), kMatchTokens);
  return index_.tokens().data() + index_.size() - *count;
}

TextMatch SuffixText::match() const {
  int count;
  const int32_t* last = tail(&count);
  return index_.find(last, count);
}

void SuffixText::copy(const TextMatch& found, int count, std::vector<int32_t>& out) const {
  const std::vector<int32_t>& tokens = index_.tokens();
  const int period = index_.size() - found.position;
  out.clear();
  for (int n = 0; n < count; n++)
    out.push_back(n < period ? tokens[static_cast<size_t>(found.position + n)]
                             : out[static_cast<size_t>(n - period)]);
}

double TextDraft::expected() const { return std::accumulate(survivals.begin(), survivals.end(), 0.0); }

SequenceTexts::Found SequenceTexts::match() const {
  Found found;
  if (copies_itself_) found.own = own_.match();
  if (history_->size() > 0 && found.own.length < kMatchTokens) {
    int count;
    const int32_t* last = own_.tail(&count);
    found.past = history_->find(last, count);
  }
  return found;
}

TextDraft SequenceTexts::propose(const Found& found, const double* chances, int count) const {
  TextDraft own, past;
  past.source = DraftSource::kHistory;
  if (found.own.length > 0) {
    own_.copy(found.own, count, own.tokens);
    grade(own, found.own.length, chances);
  }
  if (found.past.length > 0) {
    copy_within_text(*history_, found.past, count, past.tokens);
    grade(past, found.past.length, chances);
  }
  const bool is_past = !past.tokens.empty() && (own.tokens.empty() || past.expected() > own.expected());
  return is_past ? std::move(past) : std::move(own);
}

int probability_grade(float probability) {
  return std::clamp(static_cast<int>(probability * kDraftGrades), 0, kDraftGrades - 1);
}

}  // namespace realm
