#include "draft_plan.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <queue>
#include <tuple>

namespace realm {
namespace {

// What every owner has of its tokens by now, at least.
double smallest_share(const DraftPlan& plan, const std::vector<double>& brought) {
  double least = std::numeric_limits<double>::infinity();
  for (size_t owner = 0; owner < brought.size(); owner++)
    least = std::min(least, 1.0 + brought[owner] / plan.owner_rows[owner]);
  return least;
}

}  // namespace

void plan_drafts(const std::vector<DraftCandidate>& candidates, const DraftPlan& plan, int* counts) {
  std::fill(counts, counts + candidates.size(), 0);
  using Place = std::tuple<double, int, size_t>;  // minus the survival, depth, candidate
  std::vector<Place> places;
  int most = 0;
  double likeliest = 0.0;
  for (size_t i = 0; i < candidates.size(); i++) {
    if (candidates[i].count < 1) continue;
    places.emplace_back(-candidates[i].survivals[0], 0, i);
    likeliest = std::max(likeliest, candidates[i].survivals[0]);
    most = std::min(plan.most, most + candidates[i].count);
  }
  double worth = plan.worth, best = plan.least_gain * worth / plan.seconds[0];
  // Not even with all of them as likely as the likeliest: the common case of a full step.
  bool may_pay = false;
  for (int n = 1; n <= most; n++) may_pay = may_pay || worth + n * likeliest > best * plan.seconds[n];
  if (!may_pay) return;
  std::priority_queue<Place, std::vector<Place>, std::greater<>> line(std::greater<>(), std::move(places));
  std::vector<size_t> taken;
  std::vector<double> brought(plan.owner_rows ? static_cast<size_t>(plan.owner_count) : 0);
  const double slowest = plan.least_share / plan.seconds[0];
  size_t best_count = 0;
  while (!line.empty() && static_cast<int>(taken.size()) < most) {
    const auto [survival, depth, index] = line.top();
    const DraftCandidate& candidate = candidates[index];
    line.pop();
    taken.push_back(index);
    worth -= survival;
    const double duration = plan.seconds[taken.size()];
    if (!brought.empty()) brought[static_cast<size_t>(candidate.owner)] -= survival;
    if (worth / duration > best && (brought.empty() || smallest_share(plan, brought) / duration >= slowest)) {
      best = worth / duration;
      best_count = taken.size();
    }
    if (depth + 1 < candidate.count) line.emplace(-candidate.survivals[depth + 1], depth + 1, index);
  }
  for (size_t n = 0; n < best_count; n++) counts[taken[n]]++;
}

}  // namespace realm
