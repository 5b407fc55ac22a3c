// Drafts that are copied: what followed when the end of a sequence stood in it before, or in what its
// tenant's sequences put out.
#pragma once

#include <vector>

#include "token_index.h"

namespace realm {

enum class DraftSource : int { kSuffix = 0, kHistory = 1, kModel = 2 };
constexpr int kDraftSources = 3;
constexpr int kDraftGrades = kMatchTokens + 1;  // of one source: how good the evidence for a token is

// At most `count` tokens behind a match in texts with separators; none where a text ends there.
void copy_within_text(const TokenIndex& index, const TextMatch& found, int count, std::vector<int32_t>& out);

// One sequence's tokens, prompt and output, as a source of drafts.
class SuffixText {
 public:
  // limit: when so many tokens are held, the older half is forgotten.
  explicit SuffixText(int limit);
  // Tokens of the sequence so far, the forgotten ones included.
  int size() const { return forgotten_ + index_.size(); }
  const TokenIndex& index() const { return index_; }
  void extend(const int32_t* tokens, size_t count);
  void truncate(int length);
  // The last tokens, as many as a match may have.
  const int32_t* tail(int* count) const;
  // Where the end of the sequence stood before, in the tokens that are kept.
  TextMatch match() const;
  // The tokens behind a match. A copy that runs into the end of the sequence goes on with what it has copied,
  // as if the text repeated for ever.
  void copy(const TextMatch& found, int count, std::vector<int32_t>& out) const;

 private:
  TokenIndex index_;
  const int limit_;
  int forgotten_ = 0;
};

// A draft of one sequence: a grade for each token, and the chance that it and all before it are right.
struct TextDraft {
  DraftSource source = DraftSource::kSuffix;
  std::vector<int32_t> tokens;
  std::vector<int> grades;
  std::vector<double> survivals;
  double expected() const;
};

// What one sequence may draft from: itself, if it may, and its tenant's history.
class SequenceTexts {
 public:
  SequenceTexts(int suffix_limit, bool copies_itself, const TokenIndex* history)
      : own_(suffix_limit), history_(history), copies_itself_(copies_itself) {}
  SuffixText& text() { return own_; }
  // How many tokens before its end match, in each source, by now.
  struct Found {
    TextMatch own, past;
  };
  Found match() const;
  // The draft, of at most `count` tokens, of which most are expected to be right; without tokens where there
  // is none. chances: [kDraftSources][kDraftGrades] that a token is right when all before it are.
  TextDraft propose(const Found& found, const double* chances, int count) const;

 private:
  SuffixText own_;
  const TokenIndex* history_;
  bool copies_itself_;
};

// The grade of a token that a draft model gives this probability (0 to 1).
int probability_grade(float probability);

}  // namespace realm
