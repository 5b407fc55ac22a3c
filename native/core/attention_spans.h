// Attention over a long context: positions fall into fixed spans, whose results are combined in order. The
// spans are the same for every query, so it does not show in a bit who computed them, or how many threads
// did.
#pragma once

#include <algorithm>

#include "kernels.h"

namespace realm {

constexpr int kSpanTokens = 512;

inline int span_of(int position) { return position / kSpanTokens; }
// The spans that some query of the tile sees.
inline int first_span(const AttentionTile& tile) {
  return span_of(*std::min_element(tile.first, tile.first + tile.heads * tile.query_count));
}
inline int last_span(const AttentionTile& tile) {
  return span_of(*std::max_element(tile.last, tile.last + tile.heads * tile.query_count));
}

inline void attend_span(const KernelTable& kernels, AttentionTile& tile, int span) {
  tile.begin = span * kSpanTokens;
  tile.end = tile.begin + kSpanTokens;
  kernels.attention(tile);
}

// All spans, one after the other. Its partials are complete afterwards; `scratch` holds as many once more.
inline void attend_spans(const KernelTable& kernels, AttentionTile& tile, float* scratch) {
  const int first = first_span(tile), last = last_span(tile);
  attend_span(kernels, tile, first);
  if (first == last) return;
  AttentionTile next = tile;
  for (int q = 0; q < tile.heads * tile.query_count; q++)
    next.partials[q] = scratch + q * partial_size(tile.head_dim);
  for (int span = first + 1; span <= last; span++) {
    attend_span(kernels, next, span);
    for (int q = 0; q < tile.heads * tile.query_count; q++)
      kernels.combine_partials(tile.partials[q], next.partials[q], tile.head_dim);
  }
}

}  // namespace realm
