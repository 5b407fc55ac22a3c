// Adapters in a step: every row may have its own. The base product is computed for all rows at once; runs of
// rows with one adapter share its factors. A row's bits do not depend on the length of its run.
#include <algorithm>

#include "step.h"

namespace realm {

void Step::plan_adapters() {
  int slots = 0, widest = 0;
  const int outputs = static_cast<int>(input_.logit_rows.size());
  for (const AdapterRun& run : input_.adapters) {
    slots = std::max(slots, run.slot + 1);
    widest = std::max({widest, run.adapter->widest(), run.adapter->embedding_rank()});
    for (int at = run.first, end = run.first + run.count; at < end;) {
      const int stop = std::min(end, (at / kSlabRows + 1) * kSlabRows);
      adapter_runs_.push_back({run.adapter, at, stop - at, run.slot, run.weight});
      at = stop;
    }
    if (run.adapter->site(0, AdapterInput::kHead).a.groups == 0) continue;
    for (int o = 0; o < outputs; o++) {
      const int index = input_.logit_rows[static_cast<size_t>(o)] - run.first;
      if (index >= 0 && index < run.count) output_runs_.push_back({run.adapter, o, 1, run.slot, run.weight});
    }
  }
  if (slots == 0) return;
  shrunk_columns_ = static_cast<size_t>(widest);
  shrunk_rows_ = static_cast<size_t>(std::max(input_.rows, outputs));
  shrunk_ = model_.shrunk_.reserve(static_cast<size_t>(slots) * shrunk_rows_ * shrunk_columns_);
}

void Step::shrink(const std::vector<AdapterRun>& runs, int layer, AdapterInput input, const Activations& x,
                  int range, int thread) const {
  int groups = 0;
  for (const AdapterRun& run : runs) groups = std::max(groups, run.adapter->site(layer, input).a.groups);
  if (groups == 0) return;
  team_.for_range(range, thread, static_cast<int>(runs.size()) * groups, [&](int begin, int end) {
    for (int i = begin; i < end; i++) {
      const AdapterRun& run = runs[static_cast<size_t>(i / groups)];
      const PackedMatrix& a = run.adapter->site(layer, input).a;
      const int group = i % groups;
      if (group >= a.groups) continue;
      float* out = shrunk(run);
      kernels_.product(a, group, group + 1, rows_of(x, run.first, run.count), out,
                       static_cast<ptrdiff_t>(shrunk_columns_), false, scratch(thread));
      if (run.weight == 1.0f) continue;
      for (int r = run.first; r < run.first + run.count; r++)
        for (int lane = 0; lane < kGroupRows; lane++)
          row(out, r, shrunk_columns_)[group * kGroupRows + lane] *= run.weight;
    }
  });
  team_.barrier();
}

void Step::expand(const std::vector<AdapterRun>& runs, int layer, AdapterInput input, const Slab& slab,
                  int begin, int end, float* out, size_t stride) const {
  constexpr size_t kFetchBytes = 4096;
  for (const AdapterRun& run : runs) {
    if (run.first < slab.first || run.first >= slab.first + slab.rows) continue;
    for (const AdapterExpand& part : run.adapter->site(layer, input).expands) {
      const int from = std::max(begin - part.first_output, 0) / kGroupRows;
      const int to = std::min((end - part.first_output) / kGroupRows, part.b.groups);
      if (from >= to) continue;
      const Activations ranks{shrunk(run) + part.first_rank, static_cast<ptrdiff_t>(shrunk_columns_), nullptr,
                              run.count, run.first};
      kernels_.product(part.b, from, to, ranks, out + part.first_output, static_cast<ptrdiff_t>(stride), true,
                       nullptr);
      // This adapter's next outputs are computed when those of all others have been.
      const uint8_t* next = part.b.group(to);
      const size_t bytes = part.b.group_bytes * static_cast<size_t>(std::min(to - from, part.b.groups - to));
      for (size_t at = 0; at < std::min(bytes, kFetchBytes); at += 64) __builtin_prefetch(next + at);
    }
  }
}

void Step::add_embedding(int index, float* to) const {
  for (const AdapterRun& run : input_.adapters) {
    if (!run.adapter->has_embedding() || index < run.first || index >= run.first + run.count) continue;
    float* ranks = row(shrunk(run), index, shrunk_columns_);
    run.adapter->embedding_column(input_.tokens[index], run.weight * shape_.embedding_scale, ranks);
    const PackedMatrix& b = run.adapter->embedding_b();
    kernels_.product(b, 0, b.groups, {ranks, static_cast<ptrdiff_t>(shrunk_columns_), nullptr, 1, 0}, to,
                     static_cast<ptrdiff_t>(hidden_), true, nullptr);
  }
}

}  // namespace realm
