#include "transformer.h"

#include "step.h"

namespace realm {

void Transformer::step(const StepInput& input, CachePool& pool, Team& team) {
  logit_row_count_ = static_cast<int>(input.logit_rows.size());
  Step run(*this, input, pool, team);
  team.run([&](int thread) { run.work(thread); }, run.range_count());
}

}  // namespace realm
