// How many tokens of which draft a step verifies.
#pragma once

#include <vector>

namespace realm {

// survivals: of each drafted token the chance that it and all before it are accepted; they never increase.
// owner: whose sequence it is, an index into the plan's owners.
struct DraftCandidate {
  const double* survivals = nullptr;
  int count = 0;
  int owner = 0;
};

struct DraftPlan {
  const double* seconds = nullptr;  // [1 + most] of the step with so many drafted tokens
  int most = 0;
  double worth = 0.0;               // what the step brings without drafts: rows
  double least_gain = 1.0;          // what drafting must bring over not drafting, in tokens a second
  double least_share = 0.0;         // what every owner keeps of its tokens a second
  const int* owner_rows = nullptr;  // of each owner in the step anyway; nullptr: all are of one
  int owner_count = 0;
};

// The tokens of all drafts stand in one line, the likeliest first; the step takes the beginning of it that
// maximises what it brings a second, among those that leave every owner its share, and of equal ones the
// shortest. counts: [candidates] how many tokens of each it takes.
void plan_drafts(const std::vector<DraftCandidate>& candidates, const DraftPlan& plan, int* counts);

}  // namespace realm
