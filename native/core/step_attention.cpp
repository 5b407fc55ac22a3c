// The phase of a step between the query, key and value product and the output product.
#include <algorithm>

#include "attention_spans.h"
#include "step.h"

namespace realm {

void Step::plan_attention() {
  const int group = shape_.heads / shape_.kv_heads;
  const int heads = std::min(group, kMaxQueries), tile_rows = std::max(1, kernels_.query_tile / group);
  tasks_are_whole_ = heads == group;
  int first = 0, longest = 0;
  for (size_t s = 0; s < input_.segments.size(); s++) {
    const Segment& segment = input_.segments[s];
    single_rows_ = single_rows_ && segment.count == 1;
    longest = std::max(longest, segment.position + segment.count);
    segment_first_.push_back(first);
    row_segment_.insert(row_segment_.end(), static_cast<size_t>(segment.count), static_cast<int>(s));
    // Where rows are many, a row's heads stay together: what they read stands together.
    const bool together = segment.count == 1 && tasks_are_whole_ && shape_.heads <= kTileQueries &&
                          input_.segments.size() >= static_cast<size_t>(4 * team_.size());
    if (together) {
      tasks_.push_back({first, 1, 0, shape_.kv_heads, 0, heads});
      first++;
      continue;
    }
    // The last tiles see the most tokens: they go first.
    for (int at = (segment.count - 1) / tile_rows * tile_rows; at >= 0; at -= tile_rows)
      for (int kv_head = 0; kv_head < shape_.kv_heads; kv_head++)
        for (int head = 0; head < group; head += heads)
          tasks_.push_back({first + at, std::min(tile_rows, segment.count - at), kv_head, 1, head,
                            std::min(heads, group - head)});
    first += segment.count;
  }
  // With few tiles over a long context, the threads share a tile's spans.
  const int spans = longest > 0 ? span_of(longest - 1) + 1 : 1;
  if (spans > 1 && tasks_.size() < static_cast<size_t>(8 * team_.size())) {
    span_count_ = spans;
    span_partials_ = model_.span_partials_.reserve(tasks_.size() * static_cast<size_t>(spans) * kTileQueries *
                                                   static_cast<size_t>(partial_size(shape_.head_dim)));
  }
}

size_t Step::cache_offset(int layer, int kv_head) const {
  return static_cast<size_t>(layer) * model_.layer_cache_bytes(pool_.form()) +
         static_cast<size_t>(2 * kv_head) * plane_bytes(shape_.head_dim, pool_.form());
}

void Step::prepare_head(const LayerWeights& layer, int layer_index, int r, int kv_head) const {
  const int dim = shape_.head_dim, group = shape_.heads / shape_.kv_heads;
  float* qkv = row(qkv_, r, qkv_columns_);
  float* key = qkv + attended_columns_ + kv_head * dim;
  float* value = key + shape_.kv_heads * dim;
  const Rope& rope = model_.ropes_[static_cast<size_t>(layer.rope)];
  const float* angles = row(angles_, r, angle_columns_);
  for (int i = 0; i < layer.rope; i++) angles += angle_count(model_.ropes_[static_cast<size_t>(i)]);
  const int rotated = static_cast<int>(angle_count(rope) / 2);
  const auto add_bias = [&](float* to) {
    if (!layer.qkv_bias.empty()) kernels_.add(to, layer.qkv_bias.data() + (to - qkv), dim);
  };
  for (int h = kv_head * group; h < (kv_head + 1) * group; h++) {
    float* query = qkv + h * dim;
    add_bias(query);
    if (!layer.query_norm.empty())
      kernels_.rms_norm(query, layer.query_norm.data(), dim, shape_.epsilon, query);
    kernels_.rotate(angles, rotated, rope.interleaved, query);
    for (int d = 0; d < dim; d++) query[d] *= shape_.attention_scale;
  }
  add_bias(key);
  add_bias(value);
  if (!layer.key_norm.empty()) kernels_.rms_norm(key, layer.key_norm.data(), dim, shape_.epsilon, key);
  kernels_.rotate(angles, rotated, rope.interleaved, key);
  const int position = position_of(r);
  uint8_t* planes = planes_of(layer_index, r, kv_head);
  const CacheForm form = pool_.form();
  kernels_.store_key(key, dim, position % kPageTokens, form, planes);
  kernels_.store_value(value, dim, position % kPageTokens, form, planes + plane_bytes(dim, form));
}

uint8_t* Step::planes_of(int layer, int index, int kv_head) const {
  return pool_.page(pages_of(index)[position_of(index) / kPageTokens]) + cache_offset(layer, kv_head);
}

void Step::fetch_planes(int layer_index, const AttentionTask& task) const {
  for (int kv_head = task.kv_head; kv_head < task.kv_head + task.kv_heads; kv_head++) {
    const uint8_t* planes = planes_of(layer_index, task.row, kv_head);
    for (size_t at = 0; at < plane_bytes(shape_.head_dim, pool_.form()); at += 64)
      __builtin_prefetch(planes + at, 1);
  }
}

AttentionTile Step::tile_of(const LayerWeights& layer, int layer_index, const AttentionTask& task) const {
  const int dim = shape_.head_dim, group = shape_.heads / shape_.kv_heads;
  AttentionTile tile;
  tile.pages = pages_of(task.row);
  tile.pool = pool_.page(0);
  tile.page_bytes = pool_.page_bytes();
  tile.offset = cache_offset(layer_index, task.kv_head);
  const AttentionTask& next = &task < &tasks_.back() ? *(&task + 1) : task;
  tile.next = pool_.page(pages_of(next.row)[0]) + cache_offset(layer_index, next.kv_head);
  tile.head_dim = dim;
  tile.form = pool_.form();
  tile.softcap = shape_.attention_softcap;
  tile.heads = task.kv_heads;
  tile.query_count = task.count * task.heads;
  int q = 0;
  for (int kv_head = task.kv_head; kv_head < task.kv_head + task.kv_heads; kv_head++)
    for (int r = task.row; r < task.row + task.count; r++)
      for (int head = task.first_head; head < task.first_head + task.heads; head++, q++) {
        const int position = position_of(r);
        tile.queries[q] = row(qkv_, r, qkv_columns_) + (kv_head * group + head) * dim;
        tile.first[q] = layer.window > 0 ? std::max(0, position - layer.window + 1) : 0;
        tile.last[q] = position;
      }
  return tile;
}

void Step::attend(const LayerWeights& layer, int layer_index, const AttentionTask& task, int thread) const {
  AttentionTile tile = tile_of(layer, layer_index, task);
  float* partials = reinterpret_cast<float*>(scratch(thread));
  const int size = partial_size(shape_.head_dim);
  for (int q = 0; q < task.queries(); q++) tile.partials[q] = partials + q * size;
  attend_spans(kernels_, tile, partials + kTileQueries * size);
  finish_task(task, partials);
}

void Step::attend_one_span(const LayerWeights& layer, int layer_index, int number) const {
  const int span = number % span_count_;
  const AttentionTask& task = tasks_[static_cast<size_t>(number / span_count_)];
  AttentionTile tile = tile_of(layer, layer_index, task);
  if (span < first_span(tile) || span > last_span(tile)) return;
  const int size = partial_size(shape_.head_dim);
  float* partials = span_partials_ + static_cast<ptrdiff_t>(number) * kTileQueries * size;
  for (int q = 0; q < task.queries(); q++) tile.partials[q] = partials + q * size;
  attend_span(kernels_, tile, span);
}

void Step::combine_spans(const LayerWeights& layer, int layer_index, int number) const {
  const AttentionTask& task = tasks_[static_cast<size_t>(number)];
  const AttentionTile tile = tile_of(layer, layer_index, task);
  const int size = partial_size(shape_.head_dim);
  const auto partials = [&](int span) {
    return span_partials_ + static_cast<ptrdiff_t>(number * span_count_ + span) * kTileQueries * size;
  };
  const int first = first_span(tile);
  for (int span = first + 1; span <= last_span(tile); span++)
    for (int q = 0; q < task.queries(); q++)
      kernels_.combine_partials(partials(first) + q * size, partials(span) + q * size, shape_.head_dim);
  finish_task(task, partials(first));
}

void Step::finish_task(const AttentionTask& task, const float* partials) const {
  const int dim = shape_.head_dim, group = shape_.heads / shape_.kv_heads;
  for (int kv_head = task.kv_head; kv_head < task.kv_head + task.kv_heads; kv_head++)
    for (int r = task.row; r < task.row + task.count; r++) {
      float* out = row(attended_, r, attended_columns_) + (kv_head * group + task.first_head) * dim;
      for (int h = 0; h < task.heads; h++, partials += partial_size(dim))
        kernels_.finish_partial(partials, dim, out + h * dim);
    }
  if (dim % kBlockColumns == 0) quantize_heads(task);
}

void Step::run_attention(const LayerWeights& layer, int index, int range, int thread) const {
  const int task_count = static_cast<int>(tasks_.size());
  const bool whole_heads = single_rows_ && span_count_ == 1 && tasks_are_whole_;
  if (!whole_heads) {
    team_.for_range(range, thread, input_.rows * shape_.kv_heads, [&](int begin, int end) {
      for (int i = begin; i < end; i++) prepare_head(layer, index, i / shape_.kv_heads, i % shape_.kv_heads);
    });
    team_.barrier();
  }
  if (span_count_ > 1) {
    team_.for_range(range + 1, thread, task_count * span_count_, [&](int begin, int end) {
      for (int i = begin; i < end; i++) attend_one_span(layer, index, i);
    });
    team_.barrier();
    team_.for_range(range + 2, thread, task_count, [&](int begin, int end) {
      for (int i = begin; i < end; i++) combine_spans(layer, index, i);
    });
  } else {
    team_.for_range(range + 1, thread, task_count, [&](int begin, int end) {
      for (int i = begin; i < end; i++) {
        const AttentionTask& task = tasks_[static_cast<size_t>(i)];
        for (int kv = task.kv_head; whole_heads && kv < task.kv_head + task.kv_heads; kv++)
          prepare_head(layer, index, task.row, kv);
        if (whole_heads && i + 1 < task_count) fetch_planes(index, tasks_[static_cast<size_t>(i + 1)]);
        attend(layer, index, task, thread);
      }
    });
  }
  team_.barrier();
  if (shape_.head_dim % kBlockColumns != 0) {
    team_.for_range(range + 3, thread, input_.rows, [&](int begin, int end) {
      for (int r = begin; r < end; r++)
        quantize(row(attended_, r, attended_columns_), 0, attended_columns_, attended_columns_,
                 attended_quants_, r);
    });
    team_.barrier();
  }
}

void Step::quantize_heads(const AttentionTask& task) const {
  const int dim = shape_.head_dim, group = shape_.heads / shape_.kv_heads;
  const size_t first = static_cast<size_t>((task.kv_head * group + task.first_head) * dim);
  for (int r = task.row; r < task.row + task.count; r++)
    quantize(row(attended_, r, attended_columns_) + first, first,
             static_cast<size_t>(task.kv_heads * task.heads * dim), attended_columns_, attended_quants_, r);
}

}  // namespace realm
