// Adapters in a step: every row may have its own. The base product is computed for all rows at once; runs of
// rows with one adapter share its factors. A row's bits do not depend on the length of its run.
#include <algorithm>

#include "step.h"

namespace realm {

void Step::plan_adapters() {
  int slots = 0, widest = 0, widest_quants = 0;
  const int outputs = static_cast<int>(input_.logit_rows.size());
  for (const AdapterRun& run : input_.adapters) {
    slots = std::max(slots, run.slot + 1);
    widest = std::max({widest, run.adapter->widest(), run.adapter->embedding_rank()});
    widest_quants = std::max(widest_quants, run.adapter->widest_quants());
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
  shrunk_quants_ = static_cast<size_t>(widest_quants);
  shrunk_rows_ = static_cast<size_t>(std::max(input_.rows, outputs));
  const size_t places = static_cast<size_t>(slots) * shrunk_rows_;
  shrunk_ = model_.shrunk_.reserve(places * shrunk_columns_);
  rank_quants_ = model_.rank_quants_.reserve(places * shrunk_quants_ + 1);
  rank_scales_ = model_.rank_scales_.reserve(places * kMostExpands);
  rank_sums_ = model_.rank_sums_.reserve(places * kMostExpands);
}

void Step::shrink(const AdapterPlace& place, const Activations& x, int range, int thread) const {
  const auto is_changed = [&](const AdapterRun& run) { return place.site(run).a.groups > 0; };
  if (std::none_of(place.runs.begin(), place.runs.end(), is_changed)) return;
  team_.for_range(range, thread, static_cast<int>(place.runs.size()), [&](int begin, int end) {
    for (int i = begin; i < end; i++) {
      const AdapterRun& run = place.runs[static_cast<size_t>(i)];
      if (is_changed(run)) shrink_run(run, place.site(run), x, thread);
    }
  });
  team_.barrier();
}

void Step::shrink_run(const AdapterRun& run, const AdapterSite& site, const Activations& x,
                      int thread) const {
  kernels_.product(site.a, 0, site.a.groups, rows_of(x, run.first, run.count), shrunk(run),
                   static_cast<ptrdiff_t>(shrunk_columns_), false, scratch(thread), {});
  for (int r = run.first; r < run.first + run.count; r++) {
    float* values = row(shrunk(run), r, shrunk_columns_);
    if (run.weight != 1.0f)
      for (int i = 0; i < site.a.rows; i++) values[i] *= run.weight;
    const size_t place = first_place(run) + static_cast<size_t>(r);
    for (size_t part = 0; part < site.expands.size(); part++) {
      const AdapterExpand& expand = site.expands[part];
      if (expand.quantized_b.groups == 0) continue;
      const size_t at = place * kMostExpands + part;
      kernels_.quantize_ranks(values + expand.first_rank, expand.rank,
                              rank_quants_ + place * shrunk_quants_ + expand.first_quant, rank_scales_ + at,
                              rank_sums_ + at);
    }
  }
}

void Step::expand(const AdapterPlace& place, const Slab& slab, int begin, int end, float* out,
                  size_t stride) const {
  for (const AdapterRun& run : place.runs) {
    if (run.first < slab.first || run.first >= slab.first + slab.rows) continue;
    const AdapterSite& site = place.site(run);
    for (size_t part = 0; part < site.expands.size(); part++) {
      const AdapterExpand& expand = site.expands[part];
      const int from = std::max(begin - expand.first_output, 0) / kGroupRows;
      const int to = std::min((end - expand.first_output) / kGroupRows, expand.groups());
      if (from < to) expand_part(run, expand, part, from, to, out + expand.first_output, stride);
    }
  }
}

void Step::expand_part(const AdapterRun& run, const AdapterExpand& expand, size_t part, int from, int to,
                       float* out, size_t stride) const {
  constexpr size_t kFetchBytes = 4096;
  const uint8_t* next;
  size_t group_bytes;
  if (const RankMatrix& b = expand.quantized_b; b.groups > 0) {
    const size_t place = first_place(run);
    const Ranks ranks{rank_quants_ + place * shrunk_quants_ + expand.first_quant,
                      static_cast<ptrdiff_t>(shrunk_quants_), rank_scales_ + place * kMostExpands + part,
                      rank_sums_ + place * kMostExpands + part, kMostExpands};
    kernels_.expand(b, from, to, ranks, run.first, run.count, out, static_cast<ptrdiff_t>(stride));
    next = b.group(to);
    group_bytes = b.group_bytes();
  } else {
    const Activations ranks{
        shrunk(run) + expand.first_rank, static_cast<ptrdiff_t>(shrunk_columns_), {}, run.count, run.first};
    kernels_.product(expand.b, from, to, ranks, out, static_cast<ptrdiff_t>(stride), true, nullptr, {});
    next = expand.b.group(to);
    group_bytes = expand.b.group_bytes;
  }
  // This adapter's next outputs are computed when those of all others have been.
  const size_t bytes = group_bytes * static_cast<size_t>(std::min(to - from, expand.groups() - to));
  for (size_t at = 0; at < std::min(bytes, kFetchBytes); at += 64) __builtin_prefetch(next + at);
}

void Step::add_embedding(int index, float* to) const {
  for (const AdapterRun& run : input_.adapters) {
    if (!run.adapter->has_embedding() || index < run.first || index >= run.first + run.count) continue;
    float* ranks = row(shrunk(run), index, shrunk_columns_);
    run.adapter->embedding_column(input_.tokens[index], run.weight * shape_.embedding_scale, ranks);
    const PackedMatrix& b = run.adapter->embedding_b();
    kernels_.product(b, 0, b.groups, {ranks, static_cast<ptrdiff_t>(shrunk_columns_), {}, 1, 0}, to,
                     static_cast<ptrdiff_t>(hidden_), true, nullptr, {});
  }
}

}  // namespace realm
